"""What waiting costs: 100, 1,000 and 10,000 trainings in one event loop, next to other providers' triggers.

Up to 1,000 trainings, an interval of 1 s stands for the 30 s of a real one, for all alike; a training lasts
360 intervals, as one of three hours does, and ages are spread evenly. At 10,000 the interval is 30 s.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from benchmarks.report import ROUNDS, Goal, Section, Table, show
from benchmarks.waiters import Waiters

LONGEST = 20
"""Intervals between two looks at most: ``max_poll_interval`` over ``poll_interval``, by default."""

NAMES = {
    "ours": "ours, one job each",
    "ours/job": "ours, 100 per job",
    "databricks": "Databricks",
    "dbt_cloud": "dbt Cloud",
    "sagemaker": "SageMaker",
    "raw": "one httpx client, fixed",
}
PEERS = ("databricks", "dbt_cloud", "sagemaker")

_COLUMNS = (
    "trigger",
    "requests per training and interval",
    "TCP connections",
    "opened per second",
    "CPU ms per training and interval",
    "KiB per training",
    "loop lag p99, ms",
    "worst lag, ms",
    "median delay, intervals",
    "until all are asked, s",
)


@dataclass
class Figures:
    """The windows of one contender; lags of the start belong to the first."""

    count: int
    interval: float
    windows: list[dict[str, Any]] = field(default_factory=list)
    ready: list[float] = field(default_factory=list)

    def median(self, value: Callable[[dict[str, Any]], float]) -> float:
        """Return the median over the windows."""
        return statistics.median(value(window) for window in self.windows)

    def _per_training(self, name: str) -> float:
        return self.median(lambda w: w[name] / w["waiting"] / (w["seconds"] / self.interval))

    @property
    def requests(self) -> float:
        """Requests per training and interval."""
        return self._per_training("requests")

    @property
    def cpu(self) -> float:
        """CPU milliseconds per training and interval."""
        return self._per_training("cpu") * 1000

    @property
    def collecting(self) -> float:
        """The share of the CPU time that garbage collection takes."""
        return self.median(lambda w: w["gc_cpu"] / w["cpu"] if w["cpu"] > 0 else 0.0)

    @property
    def memory(self) -> float:
        """KiB per training."""
        return self.median(lambda w: w["memory"] / 1024)

    @property
    def connections(self) -> int:
        """TCP connections open at once, at most."""
        return int(max(window["connections"] for window in self.windows))

    @property
    def delay(self) -> float:
        """Median of all delays, in intervals."""
        delays = [delay for window in self.windows for delay in window["delays"]]
        return statistics.median(delays) / self.interval if delays else float("nan")

    @property
    def p99(self) -> float:
        """The 99th percentile of the loop's lag in ms, the median of the windows."""
        return self.median(lambda w: w["p99"] * 1000)

    @property
    def worst(self) -> float:
        """The worst lag of the loop in ms, the start included."""
        return float(max(window["worst"] for window in self.windows) * 1000)

    def row(self, name: str) -> tuple[str, ...]:
        """Return it as a row of the table."""
        return (
            name,
            f"{self.requests:.3f}",
            f"{self.connections:,}",
            f"{self.median(lambda w: w['opened'] / w['seconds']):,.1f}",
            f"{self.cpu:.3f}",
            "< 1" if self.memory < 1 else f"{self.memory:,.1f}",
            f"{self.p99:.1f}",
            f"{self.worst:,.0f}",
            f"{self.delay:.2f}",
            f"{statistics.median(self.ready):,.1f}",
        )


def _waiters(name: str, count: int, interval: float = 1.0, *, at_once: bool = False) -> Waiters:
    kind, _, shared = name.partition("/")
    # What is planned needs a start that is spread over the longest pause to be steady from then on.
    spread = 0.0 if at_once or name != "ours" else LONGEST * interval
    return Waiters(kind, count, interval, spread, per_job=bool(shared))


def _start(waiters: Waiters, figures: Figures) -> None:
    begun = time.monotonic()
    waiters.start()
    waiters.until_all_seen()
    figures.ready.append(time.monotonic() - begun)


def _hundred() -> dict[str, Figures]:
    """All wait side by side, and are measured at the same time."""
    found = {name: Figures(100, 1.0) for name in NAMES}
    with ExitStack() as stack, ThreadPoolExecutor(len(NAMES)) as pool:
        waiters = {name: stack.enter_context(_waiters(name, 100)) for name in NAMES}
        list(pool.map(lambda name: _start(waiters[name], found[name]), NAMES))
        for number in range(ROUNDS + 1):
            answers = pool.map(lambda name: waiters[name].window(4.0), NAMES)
            for name, answer in zip(NAMES, answers, strict=True):
                # In the first window some still settle.
                if number:
                    found[name].windows.append(answer)
    return found


def _thousand() -> tuple[dict[str, Figures], str]:
    """Ours waits all the time; the others start anew in each round, each after the one before has ended."""
    found = {name: Figures(1000, 1.0) for name in NAMES if name != "raw"}
    with _waiters("ours", 1000) as steady:
        _start(steady, found["ours"])
        steady.window(2.0)
        for number in range(ROUNDS):
            found["ours"].windows.append(steady.window(4.0))
            others = ["ours/job", "databricks", "dbt_cloud"]
            for name in others[number % 3 :] + others[: number % 3]:
                with _waiters(name, 1000) as waiters:
                    _start(waiters, found[name])
                    found[name].windows.append(waiters.window(3.0))
        profile = steady.profile(4.0)
    with _waiters("sagemaker", 1000) as waiters:
        _start(waiters, found["sagemaker"])
        found["sagemaker"].windows += [waiters.window(2.0) for _ in range(ROUNDS)]
    return found, profile


def _ten_thousand() -> dict[str, Figures]:
    """All start at once, as after the restart of a triggerer."""
    found = {name: Figures(10_000, 30.0) for name in ("ours", "ours/job", "databricks")}
    for name, figures in found.items():
        with _waiters(name, 10_000, 30.0, at_once=True) as waiters:
            _start(waiters, figures)
            figures.windows.append(waiters.window(30.0))
    return found


def _table(title: str, figures: dict[str, Figures], notes: str) -> Table:
    rows = [one.row(NAMES[name]) for name, one in figures.items() if one.windows]
    return Table(title, _COLUMNS, rows, notes)


def _ratios(figures: dict[str, Figures]) -> Table:
    rows = [
        (
            NAMES[peer],
            *(
                f"{getattr(figures[peer], what) / getattr(figures[mine], what):.1f}"
                for mine in ("ours", "ours/job")
                for what in ("requests", "cpu", "memory")
            ),
        )
        for peer in PEERS
    ]
    columns = [
        f"× {what}, {who}"
        for who in ("one job each", "100 per job")
        for what in ("requests", "CPU", "memory")
    ]
    return Table("1,000 waiting: how many times more the others take than ours", ("trigger", *columns), rows)


def _best(figures: dict[str, Figures], what: str, mine: str) -> float:
    return float(min(getattr(figures[peer], what) for peer in PEERS) / getattr(figures[mine], what))


def _goals(hundred: dict[str, Figures], thousand: dict[str, Figures], most: dict[str, Figures]) -> list[Goal]:
    ours = [most["ours"], most["ours/job"]]
    p99, worst = max(one.p99 for one in ours), max(one.worst for one in ours)
    gc = max(one.median(lambda w: w["gc"] * 1000) for one in ours)
    idle = max(one.median(lambda w: w["gc_idle"] * 1000) for one in ours)
    fewer = 1 / thousand["ours/job"].requests
    connections = max(one[name].connections for one in (thousand, most) for name in ("ours", "ours/job"))
    floor = hundred["raw"].cpu / hundred["raw"].requests
    goals = [
        Goal(
            "10,000 waiting in one loop: p99 lag below 50 ms, worst below 200 ms",
            f"{p99:.0f} ms and {worst:.0f} ms",
            p99 < 50 and worst < 200,
            f"the longest garbage collection of Python took {gc:.0f} ms; a full one takes {idle:.0f} ms "
            "before anything waits, for all that Airflow has loaded",
        ),
        Goal(
            "100 tasks per job: at least 50 × fewer requests than one per task and interval",
            f"{fewer:.0f} ×",
            fewer >= 50,
            "every second list call is followed by one detail call, for the progress",
        ),
        Goal("at most 10 TCP connections", f"{connections}", connections <= 10),
    ]
    for mine in ("ours", "ours/job"):
        fast, memory = (_best(thousand, what, mine) for what in ("cpu", "memory"))
        # The window at 10,000 follows a restart, and holds fewer requests than there are in the long run.
        steady = most[mine].cpu / most[mine].requests * thousand[mine].requests
        real = most["databricks"].cpu / steady
        more = most["databricks"].memory / most[mine].memory
        per_request = thousand[mine].cpu / thousand[mine].requests
        theirs = min(thousand[peer].cpu / thousand[peer].requests for peer in PEERS)
        goals += [
            Goal(
                f"{NAMES[mine]}: at least 5 × less CPU per waiting training than the best peer, at the real "
                "interval and 10,000 waiting",
                f"{real:.1f} ×",
                real >= 5,
                f"{most[mine].collecting:.0%} of it is garbage collection",
            ),
            Goal(
                f"{NAMES[mine]}: the same at 1 s for 30 s and 1,000 waiting",
                f"{fast:.1f} ×",
                fast >= 5,
                f"{'one list call with its 100 rows' if mine == 'ours/job' else 'one request'} costs "
                f"{per_request:.2f} ms, a bare one of httpx {floor:.2f} ms, and one of the best peer, which "
                f"uses another HTTP library and keeps it busy, {theirs:.2f} ms",
            ),
            Goal(
                f"{NAMES[mine]}: at least 5 × less memory per waiting training than the best peer",
                f"{memory:.1f} × at 1,000 waiting, {more:.1f} × at 10,000",
                min(memory, more) >= 5,
                "over plain HTTP a connection is cheap, and what TLS adds to each connection of the peers is "
                "not measured",
            ),
        ]
    return goals


def _errors(figures: Iterable[dict[str, Figures]]) -> str:
    found = {
        f"{NAMES[name]}: {error}"
        for one in figures
        for name, figure in one.items()
        for window in figure.windows
        for error in window["errors"]
    }
    return " Errors: " + "; ".join(sorted(found)) + "." if found else ""


def run() -> Section:
    """Measure."""
    hundred = _hundred()
    thousand, profile = _thousand()
    most = _ten_thousand()
    tables = [
        _table("100 waiting", hundred, f"An interval of 1 s; medians of {ROUNDS} windows, all side by side."),
        _table(
            "1,000 waiting",
            thousand,
            f"An interval of 1 s; medians of {ROUNDS} rounds. Triggers of one job each wait in the "
            "background while the others are measured, since their start takes 20 s to be steady. "
            f"SageMaker's were started once, and measured in {ROUNDS} windows in a row.",
        ),
        _ratios(thousand),
        _table(
            "10,000 waiting",
            most,
            "The real interval of 30 s. All start at once, as after a restart; the figures are those of one "
            "window of 30 s after all have been asked once, in which planned looks are rarer than in the "
            "long run; the goals take the number of requests from the table above. Of the peers only "
            "Databricks', the cheapest, were started: 10,000 of SageMaker's would need about "
            f"{thousand['sagemaker'].memory * 10_000 / 2**20:.0f} GiB, dbt Cloud's were left out for time. "
            "At this interval Databricks' triggers connect anew for each request, which an interval of 1 s "
            "hides." + _errors((hundred, thousand, most)),
        ),
    ]
    return Section("Waiting", tables, _goals(hundred, thousand, most), profile)


if __name__ == "__main__":
    show(run())
