"""How fast requests are signed: this package, Baidu's own ``bce-python-sdk``, and two bare HMACs.

The clock, the Action and the length change with every call, so that no contender signs a request twice.
"""

from __future__ import annotations

import hmac
import itertools

import httpx
import pyperf  # type: ignore[import-untyped]
from baidubce.auth.bce_credentials import BceCredentials  # type: ignore[import-untyped]
from baidubce.auth.bce_v1_signer import sign as official_sign  # type: ignore[import-untyped]
from baidubce.utils import get_canonical_time  # type: ignore[import-untyped]

from airflow_qianfan.api.signing import BceV1Auth, canonical_time, sign
from benchmarks.report import ROUNDS, Goal, Section, Suite

ACCESS_KEY, SECRET_KEY = "ALTAK0123456789abcdefghi", "0123456789abcdef0123456789abcdef"
HOST, ROUTE = "qianfan.baidubce.com", "/v2/finetuning"
OFTEN, SELDOM = "1,000 signatures a second", "One signature a second"
CLOCKS = {OFTEN: 0.001, SELDOM: 1.0}
"""Seconds by which the clock advances with each signature; its texts count seconds."""

OFFICIAL, OURS, FLOW, HMACS = "bce-python-sdk", "ours: sign", "ours: auth_flow", "two bare HMACs"


class Signers:
    """The contenders; each call signs another request."""

    def __init__(self, step: float) -> None:
        self._times = itertools.count(1_700_000_000.0, step)
        things = ("FineTuningJob", "FineTuningJobs", "FineTuningTask", "FineTuningTasks", "Model", "ModelSet")
        names = [f"Describe{thing}" for thing in things]
        # The official package wants bytes; it is not charged for turning text into them.
        inputs = [
            (name, name.encode(), str(20 + 7 * n), b"%d" % (20 + 7 * n)) for n, name in enumerate(names)
        ]
        self._inputs = itertools.cycle(inputs)
        url = f"https://{HOST}{ROUTE}?Action="
        self._requests = itertools.cycle([httpx.Request("POST", url + name, content=b"{}") for name in names])
        self._auth = BceV1Auth(ACCESS_KEY, SECRET_KEY, clock=lambda: next(self._times))
        self._credentials = BceCredentials(ACCESS_KEY, SECRET_KEY)

    def ours(self) -> str:
        """Sign with this package's function."""
        now, (action, _, length, _) = next(self._times), next(self._inputs)
        headers = [
            ("host", HOST),
            ("content-type", "application/json"),
            ("content-length", length),
            ("x-bce-date", canonical_time(now)),
        ]
        query, signed = [("Action", action)], ("host", "x-bce-date")
        return sign(
            ACCESS_KEY, SECRET_KEY, "POST", ROUTE, query, headers, timestamp=now, signed_headers=signed
        )

    def flow(self) -> httpx.Request:
        """Sign a request of httpx, as the client does: also read it, and write the headers into it."""
        return next(self._auth.auth_flow(next(self._requests)))

    def official(self) -> object:
        """Sign with the official package's function."""
        now, (_, action, _, length) = int(next(self._times)), next(self._inputs)
        headers = {
            b"host": HOST.encode(),
            b"content-type": b"application/json",
            b"content-length": length,
            b"x-bce-date": get_canonical_time(now),
        }
        query, signed = {b"Action": action}, [b"host", b"x-bce-date"]
        return official_sign(self._credentials, b"POST", ROUTE.encode(), headers, query, now, 1800, signed)

    def hmacs(self) -> str:
        """Compute two HMACs, which is what any signer has to do."""
        action = next(self._inputs)[1]
        key = hmac.digest(SECRET_KEY.encode(), b"bce-auth-v1/%f" % next(self._times), "sha256").hex()
        return hmac.digest(key.encode(), b"POST\n/v2/finetuning\n%b\nhost" % action, "sha256").hex()


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
        signers = Signers(step)
        runner.bench_func(f"{clock}: {OFFICIAL}", signers.official)
        runner.bench_func(f"{clock}: {OURS}", signers.ours)
        runner.bench_func(f"{clock}: {FLOW}", signers.flow)
        runner.bench_func(f"{clock}: {HMACS}", signers.hmacs)


if __name__ == "__main__":
    main()
