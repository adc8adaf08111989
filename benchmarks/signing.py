"""How fast requests are signed: this package, Baidu's own ``bce-python-sdk``, and two bare HMACs.

The clock advances with every call, and routes, Actions, lengths and hosts change, so that no contender signs
the same request twice.
"""

from __future__ import annotations

import hmac
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass

import httpx
from baidubce.auth.bce_credentials import BceCredentials  # type: ignore[import-untyped]
from baidubce.auth.bce_v1_signer import sign as official_sign  # type: ignore[import-untyped]
from baidubce.utils import get_canonical_time  # type: ignore[import-untyped]

from airflow_qianfan.api.signing import BceV1Auth, canonical_time, sign
from benchmarks.report import Goal, Section, Table, interleaved, profile_of, ratio, show, spread

ACCESS_KEY = "ALTAK0123456789abcdefghi"
SECRET_KEY = "0123456789abcdef0123456789abcdef"
CALLS = 4000
START = 1_700_000_000.0
STEP = 0.001
NAMES = ("host", "x-bce-date")

ACTIONS = tuple(
    (route, action)
    for route, things in (
        ("/v2/finetuning", ("FineTuningJob", "FineTuningJobs", "FineTuningTask", "FineTuningTasks")),
        ("/v2/model", ("Model", "ModelSet", "ModelSets", "CustomModelSets")),
        ("/v2/service", ("Service", "Services")),
    )
    for action in (f"Describe{thing}" for thing in things)
)


@dataclass(frozen=True)
class Input:
    """One request to sign."""

    route: str
    action: str
    host: str
    length: str


def inputs(count: int) -> list[Input]:
    """Return requests of which no two neighbours are alike."""
    hosts = ("qianfan.baidubce.com", "qianfan.bj.baidubce.com", "127.0.0.1:8080")
    return [
        Input(*ACTIONS[n % len(ACTIONS)], hosts[n % len(hosts)], str(20 + n * 7 % 400)) for n in range(count)
    ]


class Clock:
    """A clock that advances by a step each time it is read."""

    def __init__(self, step: float) -> None:
        self._ticks: Iterator[int] = itertools.count(int(time.monotonic() * 1000))
        self._step = step

    def __call__(self) -> float:
        return START + next(self._ticks) * self._step


def _seconds(work: Callable[[], object]) -> float:
    """Return the CPU time, which other programs on the machine disturb less than the time on the clock."""
    start = time.thread_time()
    work()
    return time.thread_time() - start


def ours(requests: list[Input], clock: Clock) -> None:
    """Sign with this package's function."""
    for one in requests:
        now = clock()
        sign(
            ACCESS_KEY,
            SECRET_KEY,
            "POST",
            one.route,
            [("Action", one.action)],
            [
                ("host", one.host),
                ("content-type", "application/json"),
                ("content-length", one.length),
                ("x-bce-date", canonical_time(now)),
            ],
            timestamp=now,
            signed_headers=NAMES,
        )


def official(requests: list[tuple[bytes, ...]], clock: Clock) -> None:
    """Sign with the official package's function."""
    credentials = BceCredentials(ACCESS_KEY, SECRET_KEY)
    for route, action, host, length in requests:
        now = int(clock())
        official_sign(
            credentials,
            b"POST",
            route,
            {
                b"host": host,
                b"content-type": b"application/json",
                b"content-length": length,
                b"x-bce-date": get_canonical_time(now),
            },
            {b"Action": action},
            now,
            1800,
            [b"host", b"x-bce-date"],
        )


def through_httpx(requests: list[httpx.Request], auth: BceV1Auth) -> None:
    """Sign requests of httpx, as the client does."""
    for request in requests:
        next(auth.auth_flow(request))


def bare(requests: list[Input], clock: Clock) -> None:
    """Compute two HMACs, which is what any signer has to do."""
    secret = SECRET_KEY.encode()
    for one in requests:
        key = hmac.digest(secret, b"bce-auth-v1/%s/%f" % (ACCESS_KEY.encode(), clock()), "sha256").hex()
        hmac.digest(key.encode(), f"POST\n{one.route}\n{one.action}\n{one.host}".encode(), "sha256").hex()


def _contenders(step: float) -> dict[str, Callable[[], float]]:
    requests = inputs(CALLS)
    # The official package wants bytes; it is not charged for turning text into them.
    as_bytes = [tuple(value.encode() for value in astuple(one)) for one in requests]

    def flow() -> float:
        built = [
            httpx.Request(
                "POST", f"https://{one.host}{one.route}?Action={one.action}", content=b"x" * int(one.length)
            )
            for one in requests
        ]
        auth = BceV1Auth(ACCESS_KEY, SECRET_KEY, clock=Clock(step))
        return _seconds(lambda: through_httpx(built, auth))

    return {
        "bce-python-sdk": lambda: _seconds(lambda: official(as_bytes, Clock(step))),
        "ours: sign": lambda: _seconds(lambda: ours(requests, Clock(step))),
        "ours: auth_flow": flow,
        "two bare HMACs": lambda: _seconds(lambda: bare(requests, Clock(step))),
    }


def _table(step: float, title: str) -> tuple[Table, dict[str, list[float]]]:
    contenders = _contenders(step)
    for measure in contenders.values():
        measure()
    figures = interleaved(contenders, rounds=9)
    rows = [
        (
            name,
            spread([s / CALLS * 1e6 for s in seconds], ".1f"),
            f"{ratio(figures, official_name, name):.2f}",
        )
        for name, seconds in figures.items()
        for official_name in ("bce-python-sdk",)
    ]
    return Table(
        title, ("signer", "µs of CPU per signature", "times as fast as bce-python-sdk"), rows
    ), figures


def run() -> Section:
    """Measure."""
    steady, figures = _table(STEP, "A thousand signatures per second of the clock")
    fresh, _ = _table(1.0, "One signature per second of the clock: no time stamp is seen twice")
    steady.notes = (
        f"Medians of 9 rounds of {CALLS} signatures, lowest and highest in brackets. `auth_flow` also reads "
        "the request out of httpx and writes the headers into it."
    )
    best = ratio(figures, "bce-python-sdk", "ours: sign")
    goal = Goal(
        "signing at least 4 × as fast as the official signer",
        f"{best:.1f} ×",
        best >= 4,
        f"two bare HMACs alone are {ratio(figures, 'bce-python-sdk', 'two bare HMACs'):.1f} × as fast",
    )
    requests = inputs(CALLS)
    return Section("Signing", [steady, fresh], [goal], profile_of(lambda: ours(requests, Clock(STEP))))


if __name__ == "__main__":
    show(run())
