"""What waiting costs: 100, 1,000 and 10,000 trainings in one event loop, next to other providers' triggers.

Up to 1,000 trainings, an interval of 1 s stands for the real one of 30 s, for all alike.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor

from benchmarks.loop import Figures, Setup, measure
from benchmarks.report import Goal, Section, table

NAMES = {
    "ours": "ours, one job each",
    "ours/job": "ours, 100 per job",
    "databricks": "Databricks",
    "dbt_cloud": "dbt Cloud",
    "sagemaker": "SageMaker",
    "raw": "one httpx client, fixed",
}
OURS, PEERS = ("ours", "ours/job"), ("databricks", "dbt_cloud", "sagemaker")

COLUMNS = {
    "requests": ("requests per training and interval", ".3f"),
    "connections": ("TCP connections", ",.0f"),
    "opened": ("opened per second", ",.1f"),
    "cpu": ("CPU ms per training and interval", ".3f"),
    "memory": ("KiB per training", ",.1f"),
    "p99": ("loop lag p99, ms", ".1f"),
    "worst": ("worst lag, ms", ",.0f"),
    "delay": ("median delay, intervals", ".2f"),
    "ready": ("until all are polled, s", ".1f"),
    "errors": ("errors", ".0f"),
}

Found = Mapping[str, Figures]


def measured(names: Iterable[str], count: int) -> Found:
    """Measure some contenders side by side, with 1 s for 30 s."""

    def setup(name: str) -> Setup:
        kind, _, shared = name.partition("/")
        # What is planned needs a start that is spread over the longest pause, to be steady from then on.
        return Setup(kind, count, per_job=bool(shared), spread=20.0 if name == "ours" else 0.0)

    return _measured({name: setup(name) for name in names})


def restarted(name: str, count: int, interval: float) -> Found:
    """Measure one contender after all have started at once, as after the restart of a triggerer."""
    kind, _, shared = name.partition("/")
    setup = Setup(kind, count, interval, per_job=bool(shared), settle=0.0, windows=1, window_seconds=interval)
    return _measured({name: setup})


def _measured(setups: Mapping[str, Setup]) -> Found:
    with ProcessPoolExecutor(len(setups), multiprocessing.get_context("spawn")) as pool:
        return dict(zip(setups, pool.map(measure, setups.values()), strict=True))


def _table(title: str, found: Found) -> str:
    rows = [
        (NAMES[name], *(f"{one[key]:{form}}" for key, (_, form) in COLUMNS.items()))
        for name, one in found.items()
    ]
    return table((title, *(column for column, _ in COLUMNS.values())), rows)


def _ratios(title: str, found: Found) -> str:
    whats = ("requests", "cpu", "memory")
    rows = [
        (NAMES[peer], *(f"{_times(found, peer, mine, what):.1f}" for mine in OURS for what in whats))
        for peer in PEERS
    ]
    return table((title, *(f"× {what}, {NAMES[mine]}" for mine in OURS for what in whats)), rows)


def _times(found: Found, peer: str, mine: str, what: str) -> float:
    """Return how many times as much a peer takes; less than a page per training counts as 1 KiB."""
    own = found[mine][what]
    return found[peer][what] / (max(own, 1.0) if what == "memory" else own)


def _best(found: Found, mine: str, what: str) -> float:
    return min(_times(found, peer, mine, what) for peer in PEERS)


def _goals(thousand: Found, most: Found) -> list[Goal]:
    p99, worst = (max(most[mine][what] for mine in OURS) for what in ("p99", "worst"))
    fewer = 1 / thousand["ours/job"]["requests"]
    connections = max(found[mine]["connections"] for found in (thousand, most) for mine in OURS)
    lags = "10,000 waiting in one loop: p99 lag below 50 ms, worst below 200 ms"
    goals = [
        Goal(lags, f"{p99:.0f} ms and {worst:.0f} ms", p99 < 50 and worst < 200),
        Goal("100 per job: at least 50 × fewer requests than 1 per interval", f"{fewer:.0f} ×", fewer >= 50),
        Goal("at most 10 TCP connections", f"{connections:.0f}", connections <= 10),
    ]
    for mine in OURS:
        # The window at 10,000 follows a restart, and holds fewer requests than there are in the long run.
        steady = most[mine]["cpu"] / most[mine]["requests"] * thousand[mine]["requests"]
        five_times = {
            "CPU than the best peer, 10,000 waiting, every 30 s": most["databricks"]["cpu"] / steady,
            "CPU than the best peer, 1,000 waiting, every second": _best(thousand, mine, "cpu"),
            "memory than the best peer, 1,000 waiting": _best(thousand, mine, "memory"),
            "memory than the best peer, 10,000 waiting": _times(most, "databricks", mine, "memory"),
        }
        for what, times in five_times.items():
            goals.append(Goal(f"{NAMES[mine]}: at least 5 × less {what}", f"{times:.1f} ×", times >= 5))
    return goals


def run(few: int = 100, some: int = 1_000, many: int = 10_000, interval: float = 30.0) -> Section:
    """Measure."""
    hundred = measured(NAMES, few)
    thousand = {**measured(OURS, some)}
    for peer in PEERS:
        thousand |= measured([peer], some)
    most: dict[str, Figures] = {}
    for name in (*OURS, "databricks"):
        most |= restarted(name, many, interval)
    parts = [
        _table(f"{few:,} waiting, every second", hundred),
        _table(f"{some:,} waiting, every second", thousand),
        _ratios(f"{some:,} waiting: how many times as much as ours", thousand),
        _table(f"{many:,} waiting, every {interval:.0f} s", most),
        f"{few:,} waited side by side; of {some:,} only ours did. All of the {many:,} started at once, as "
        "after a restart, and were measured for one interval after all were polled once; the lags are those "
        "of the start and of one more interval. Planned polls are rarer then than in the long run, so the "
        "goals take the number of requests from the table above. Of the peers only Databricks', the "
        f"cheapest, were started: {many:,} of SageMaker's would need about "
        f"{thousand['sagemaker']['memory'] * many / 2**20:.0f} GiB, and dbt Cloud's would take too long. At "
        "this interval Databricks' triggers connect anew for each request, which an interval of 1 s hides.",
    ]
    return Section("Waiting", _goals(thousand, most), parts)
