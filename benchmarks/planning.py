"""A simulation of the polls of thousands of synthetic trainings, against a poll every 30 s.

A training's progress is shown in whole percents while it runs; before that it queues, without progress. A
poll costs one call; the delay is the time from the end of the training to the poll that sees it. How many
wait decides how much of the plan is used: few are polled every 30 s, very many as planned.
"""

from __future__ import annotations

import math
import random
import statistics
from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass

from airflow_qianfan.settings import DEFAULTS
from airflow_qianfan.triggers.base.plan import next_pause, within_budget
from benchmarks.report import Goal, Section, table
from benchmarks.trainings import percent, recorded

SHORTEST, LONGEST = 30.0, 600.0
BUDGET = DEFAULTS["polls_per_second"]
COUNT = 2000
#: How many trainings wait at the same time.
LOADS = (50, 1000, 10_000)
#: Seconds by which medians of two samples of this size differ by chance: three standard deviations.
SAME_DELAY = 1.5
THREE_HOURS = 3 * 3600.0

Curve = Callable[[float], float]
"""What share is shown as done after a share of the running time."""


@dataclass(frozen=True)
class Run:
    """One synthetic training, which queues for some seconds and then runs for some."""

    queued: float
    seconds: float
    curve: Curve

    @property
    def end(self) -> float:
        """Seconds from the creation to the end."""
        return self.queued + self.seconds

    def progress(self, age: float) -> float | None:
        """Return what the service shows at an age; nothing while it queues."""
        return percent(self.curve((age - self.queued) / self.seconds)) / 100 if age >= self.queued else None


def stairs(rng: random.Random) -> Curve:
    """Return a curve that stands still for long and then jumps, at places of its own."""
    steps = rng.randint(3, 12)
    times, values = (sorted(rng.random() for _ in range(steps)) for _ in range(2))
    return lambda share: [0.0, *values][bisect(times, share)]


def early_end(rng: random.Random) -> Curve:
    """Return a curve of a training that fails at some progress, without a warning."""
    at = rng.uniform(0.02, 0.98)
    return lambda share: share * at


EVEN, RECORDED, QUEUED = "even", "recorded: plateaus, slow end", "long queue, then even"
CURVES: dict[str, Callable[[random.Random], Curve]] = {
    EVEN: lambda rng: lambda share: share,
    RECORDED: lambda rng: recorded,
    "stairs at random": stairs,
    "accelerating": lambda rng: lambda share: share**3,
    "slowing down": lambda rng: lambda share: 1 - (1 - share) ** 3,
    QUEUED: lambda rng: lambda share: share,
    "sudden failure": early_end,
    "no progress shown": lambda rng: lambda share: 0.0,
}


def trainings(
    kind: str, length: Callable[[random.Random], float], count: int, rng: random.Random
) -> list[Run]:
    """Return trainings of one kind."""
    lengths = [length(rng) for _ in range(count)]
    queue = (0.5, 3.0) if kind == QUEUED else (0.0, 0.1)
    return [Run(rng.uniform(*queue) * seconds, seconds, CURVES[kind](rng)) for seconds in lengths]


def planned(run: Run, rng: random.Random, affordable: float = math.inf) -> tuple[int, float]:
    """Return how many polls the triggers' schedule takes, and how late the end is seen.

    :param affordable: the pause with which all that wait are polled within the budget.
    """
    age, calls = rng.uniform(0, SHORTEST), 1
    last: tuple[float, float] | None = None
    while age < run.end:
        progress, speed = run.progress(age), 0.0
        if progress is not None:
            if last is not None:
                speed = (progress - last[1]) / (age - last[0])
            last = (age, progress)
        pause = next_pause(age, progress, SHORTEST, LONGEST, speed=speed)
        pause = within_budget(pause, SHORTEST, affordable)
        # Jitter; and longer pauses end at whole seconds.
        age = float(round(age + pause * rng.uniform(0.9, 1.1)))
        calls += 1
    return calls, age - run.end


def fixed(run: Run, rng: random.Random) -> tuple[int, float]:
    """Return the same for a poll every 30 s."""
    polls = int((run.end - (first := rng.uniform(0, SHORTEST))) // SHORTEST) + 1
    return polls + 1, first + polls * SHORTEST - run.end


class Outcome:
    """What one kind of training costs."""

    def __init__(self, runs: list[Run], rng: random.Random) -> None:
        calls, delays = zip(*(planned(run, rng) for run in runs), strict=True)
        fixed_calls, fixed_delays = zip(*(fixed(run, rng) for run in runs), strict=True)
        self.calls, self.fixed_calls = statistics.median(calls), statistics.median(fixed_calls)
        self.delay, self.fixed_delay = statistics.median(delays), statistics.median(fixed_delays)
        self.fewer = sum(fixed_calls) / sum(calls)
        self.late = statistics.quantiles(delays, n=20)[-1]
        self.is_good = self.fewer >= 5 and self.delay <= self.fixed_delay + SAME_DELAY

    def row(self, name: str) -> tuple[str, ...]:
        """Return it as a row of the table."""
        counts = (f"{self.calls:,.0f}", f"{self.fixed_calls:,.0f}", f"{self.fewer:.1f}")
        return (name, *counts, *(f"{delay:.0f} s" for delay in (self.delay, self.fixed_delay, self.late)))


class Load:
    """What so many trainings that wait at the same time cost, equally many of each kind.

    :param affordable: the pause with which all of them are polled within the budget; none for the plan alone.
    """

    def __init__(self, kinds: dict[str, list[Run]], waiting: float, affordable: float) -> None:
        rng = random.Random(21)
        self.delays: dict[str, float] = {}
        calls, seconds = 0, 0.0
        for kind, runs in kinds.items():
            counts, delays = zip(*(planned(run, rng, affordable) for run in runs), strict=True)
            self.delays[kind] = statistics.median(delays)
            calls += sum(counts)
            seconds += sum(run.end + delay for run, delay in zip(runs, delays, strict=True))
        self.calls_per_second = waiting * calls / seconds


def loads(kinds: dict[str, list[Run]]) -> tuple[str, list[Goal]]:
    """Return the table and the goals of how the polls follow the load."""
    rng = random.Random(22)
    plain = {kind: statistics.median(fixed(run, rng)[1] for run in runs) for kind, runs in kinds.items()}
    by_load = {waiting: Load(kinds, waiting, waiting / BUDGET) for waiting in LOADS}
    plans = {waiting: Load(kinds, waiting, math.inf) for waiting in LOADS}
    rows = [
        (kind, f"{plain[kind]:.0f} s", *(f"{load.delays[kind]:.0f} s" for load in by_load.values()))
        for kind in kinds
    ]
    rates = [f"{load.calls_per_second:.1f}" for load in by_load.values()]
    rows.append(("polls per second of all", "", *rates))
    rows.append(
        ("the same, by the plan alone", "", *(f"{one.calls_per_second:.1f}" for one in plans.values()))
    )
    rows.append(("the same, every 30 s", "", *(f"{waiting / SHORTEST:.1f}" for waiting in LOADS)))
    head = ("median delay, by how many wait", "every 30 s", *(f"{waiting:,}" for waiting in LOADS))

    few, many, most = LOADS
    late = [kind for kind in kinds if by_load[few].delays[kind] > plain[kind] + SAME_DELAY]
    rate = by_load[many].calls_per_second
    allowed = max(BUDGET, plans[many].calls_per_second)
    share = by_load[most].calls_per_second / plans[most].calls_per_second
    return table(head, rows), [
        Goal(
            f"{few} waiting: median delay of every kind of training as with fixed 30 s",
            f"later: {', '.join(late) or 'none'} of {len(kinds)} kinds",
            not late,
        ),
        Goal(
            f"{many:,} waiting: polls per second within the budget or the plan, whichever is more, and 10 %",
            f"{rate:.1f}, budget {BUDGET:g}, plan {plans[many].calls_per_second:.1f}",
            rate <= 1.1 * allowed,
        ),
        Goal(
            f"{most:,} waiting: as many polls as by the plan alone",
            f"{share:.3f} ×",
            share <= 1.01,
        ),
    ]


def run(count: int = COUNT) -> Section:
    """Simulate."""
    tables: list[str] = []
    goals: list[Goal] = []
    lengths: dict[str, Callable[[random.Random], float]] = {
        "three hours": lambda rng: THREE_HOURS,
        # Each order of magnitude is as likely as the other.
        "ten minutes to three days": lambda rng: float(600 * (72 * 6) ** rng.random()),
    }
    columns = ("calls", "fixed", "× fewer in all", "median delay", "fixed", "95th percentile")
    for title, length in lengths.items():
        rng = random.Random(20)
        kinds = {kind: trainings(kind, length, count, rng) for kind in CURVES}
        outcomes = {kind: Outcome(runs, rng) for kind, runs in kinds.items()}
        tables.append(table((title, *columns), [outcome.row(kind) for kind, outcome in outcomes.items()]))
        if not goals:
            goals = [
                Goal(
                    f"three hours, {kind}: at least 5 × fewer calls, median delay as with fixed 30 s",
                    f"{one.fewer:.1f} × at {one.delay:.0f} s, fixed {one.fixed_delay:.0f} s",
                    one.is_good,
                )
                for kind, one in outcomes.items()
                if kind in (EVEN, RECORDED)
            ]
            by_load, load_goals = loads(kinds)
    notes = (
        f"{count:,} trainings of each kind; {SHORTEST:.0f} s to {LONGEST:.0f} s between two polls, which are "
        "the defaults. An end that nothing announces is seen after half a pause, which grows with the age up "
        "to `max_poll_interval`; whoever needs it sooner sets that lower."
    )
    load_notes = (
        f"Three hours each. Up to {BUDGET * SHORTEST:.0f} are polled every {SHORTEST:.0f} s; above, each as "
        f"often as {BUDGET:g} polls per second in all allow, or as planned, whichever is more often."
    )
    return Section("Planned polls", [*goals, *load_goals], [*tables, notes, by_load, load_notes])
