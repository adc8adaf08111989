"""How fast requests are signed: this package, Baidu's own ``bce-python-sdk``, and two bare HMACs.

The clock and the Action change with every call, so that no contender signs a request twice.
"""

from __future__ import annotations

import hmac
import itertools
import time
from collections.abc import Callable

import httpx
import pyperf
from baidubce.auth.bce_credentials import BceCredentials  # type: ignore[import-untyped]
from baidubce.auth.bce_v1_signer import sign as official_sign  # type: ignore[import-untyped]
from baidubce.utils import get_canonical_time  # type: ignore[import-untyped]

from airflow_qianfan.api.signing import BceV1Auth, canonical_time, sign
from benchmarks.report import ROUNDS, Goal, Section, Suite

ACCESS_KEY, SECRET_KEY = "ALTAK0123456789abcdefghi", "0123456789abcdef0123456789abcdef"
HOST, ROUTE = "qianfan.baidubce.com", "/v2/finetuning"
HEADERS = {"host": HOST, "content-type": "application/json", "content-length": "2"}
SIGNED = ["host", "x-bce-date"]
BYTE_ROUTE, BYTE_SIGNED = ROUTE.encode(), [name.encode() for name in SIGNED]
BYTE_HEADERS = {name.encode(): value.encode() for name, value in HEADERS.items()}
OFTEN, SELDOM = "1,000 signatures a second", "One signature a second"
CLOCKS = {OFTEN: 0.001, SELDOM: 1.0}
"""Seconds by which the clock advances with each signature; its texts count seconds."""

OFFICIAL, OURS, FLOW, HMACS = "bce-python-sdk", "ours: sign", "ours: auth_flow", "two bare HMACs"


class Signers:
    """The contenders; each call signs another request."""

    def __init__(self, step: float) -> None:
        self._times = itertools.count(1_700_000_000.0, step)
        names = ("FineTuningJob", "FineTuningJobs", "FineTuningTask", "FineTuningTasks", "Model", "ModelSet")
        self._actions = itertools.cycle([f"Describe{name}" for name in names])
        # The official package wants bytes; it is not charged for turning text into them.
        self._as_bytes = itertools.cycle([f"Describe{name}".encode() for name in names])
        url = f"https://{HOST}{ROUTE}?Action=Describe"
        self._requests = itertools.cycle([httpx.Request("POST", url + name, content=b"{}") for name in names])
        self._auth = BceV1Auth(ACCESS_KEY, SECRET_KEY, clock=lambda: next(self._times))
        self._credentials = BceCredentials(ACCESS_KEY, SECRET_KEY)

    def ours(self) -> str:
        """Sign with this package's function."""
        now, query = next(self._times), [("Action", next(self._actions))]
        headers = [*HEADERS.items(), ("x-bce-date", canonical_time(now))]
        key = (ACCESS_KEY, SECRET_KEY)
        return sign(*key, "POST", ROUTE, query, headers, timestamp=now, signed_headers=SIGNED)

    def flow(self) -> httpx.Request:
        """Sign a request of httpx, as the client does: also read it, and write the headers into it."""
        return next(self._auth.auth_flow(next(self._requests)))

    def official(self) -> object:
        """Sign with the official package's function."""
        now, query = int(next(self._times)), {b"Action": next(self._as_bytes)}
        headers = {**BYTE_HEADERS, b"x-bce-date": get_canonical_time(now)}
        return official_sign(self._credentials, b"POST", BYTE_ROUTE, headers, query, now, 1800, BYTE_SIGNED)

    def hmacs(self) -> str:
        """Compute two HMACs, which is what any signer has to do."""
        key = hmac.digest(SECRET_KEY.encode(), b"bce-auth-v1/%f" % next(self._times), "sha256").hex()
        return hmac.digest(key.encode(), b"POST\n%b\nhost" % next(self._as_bytes), "sha256").hex()


def seconds(loops: int, sign_once: Callable[[], object]) -> float:
    """Return the CPU time, which other programs on the machine disturb less than the time on the clock."""
    start = time.thread_time()
    for _ in range(loops):
        sign_once()
    return time.thread_time() - start


def run(rounds: int = ROUNDS) -> Section:
    """Measure."""
    suite = Suite("benchmarks.signing", rounds)
    often, seldom = (suite.speedup(clock, OURS, OFFICIAL) for clock in CLOCKS)
    goal = Goal(
        "signing at least 2 × as fast as the official signer",
        f"{often:.1f} ×; {seldom:.1f} × with one signature a second",
        often >= 2,
    )
    tables = [suite.table(clock, (OFFICIAL, OURS, FLOW, HMACS), OFFICIAL) for clock in CLOCKS]
    return Section("Signing", [goal], tables)


def main() -> None:
    """Let pyperf measure."""
    runner = pyperf.Runner(processes=ROUNDS, loops=2000, program_args=("-m", "benchmarks.signing"))
    for clock, step in CLOCKS.items():
        one = Signers(step)
        contenders = {OFFICIAL: one.official, OURS: one.ours, FLOW: one.flow, HMACS: one.hmacs}
        for name, contender in contenders.items():
            runner.bench_time_func(f"{clock}: {name}", seconds, contender)


if __name__ == "__main__":
    main()
