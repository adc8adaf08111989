"""A simulation of the planned looks over thousands of synthetic trainings, against a look every 30 s.

A training's progress is shown in whole percents while it runs; before that it queues, without progress. A
look costs one call; the delay is the time from the end of the training to the look that sees it.
"""

from __future__ import annotations

import random
import statistics
from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass

from airflow_qianfan.emulator.training import WAITING_SHARE
from airflow_qianfan.triggers.plan import next_pause
from benchmarks.report import Goal, Section, Table, show
from benchmarks.trainings import shape

SHORTEST, LONGEST = 30.0, 600.0
COUNT = 2000
HOUR = 3600.0
SEED = 20


@dataclass(frozen=True)
class Run:
    """One synthetic training.

    :param queued: seconds until it starts.
    :param seconds: seconds from the start to the end.
    :param curve: what share is shown as done at a share of the running time.
    """

    queued: float
    seconds: float
    curve: Callable[[float], float]

    @property
    def end(self) -> float:
        """Seconds from the beginning to the end."""
        return self.queued + self.seconds

    def progress(self, age: float) -> float | None:
        """Return what the service shows at an age; nothing while it queues."""
        if age < self.queued:
            return None
        return int(min(max(self.curve((age - self.queued) / self.seconds), 0.0), 0.99) * 100) / 100


def linear(share: float) -> float:
    """Advance evenly."""
    return share


_RECORDED = shape(1.0)


def recorded(share: float) -> float:
    """Rise fast, stand still, and crawl at the end, as recorded runs did."""
    return int(_RECORDED.progress(WAITING_SHARE + share * (1 - WAITING_SHARE))[:-1]) / 100


def accelerating(share: float) -> float:
    """Advance slowly first, and ever faster: loading and warming up take most of the time."""
    return share**3


def slowing(share: float) -> float:
    """Advance fast first, and ever slower: evaluation and saving take most of the time."""
    return 1 - (1 - share) ** 3


def stairs(rng: random.Random) -> Callable[[float], float]:
    """Return a curve that stands still for long and then jumps, at places of its own."""
    steps = rng.randint(3, 12)
    times = sorted(rng.random() for _ in range(steps))
    values = [0.0, *sorted(rng.random() for _ in range(steps))]
    return lambda share: values[bisect(times, share)]


def early_end(rng: random.Random) -> Callable[[float], float]:
    """Return a curve of a training that fails at some progress, without a warning."""
    at = rng.uniform(0.02, 0.98)
    return lambda share: share * at


def hidden(share: float) -> float:
    """Show no progress, as trainings do of which the service knows none."""
    return 0.0


def _minutes_to_days(rng: random.Random) -> float:
    """Return a length between ten minutes and three days; each order of magnitude as likely as the other."""
    return float(600 * (72 * 6) ** rng.random())


def _three_hours(rng: random.Random) -> float:
    return 3 * HOUR


def _kinds(length: Callable[[random.Random], float]) -> dict[str, Callable[[random.Random], Run]]:
    def without_queue(curve: Callable[[random.Random], Callable[[float], float]]) -> Callable[..., Run]:
        return lambda rng: Run(rng.uniform(0, 0.1) * (seconds := length(rng)), seconds, curve(rng))

    def with_queue(rng: random.Random) -> Run:
        return Run(rng.uniform(0.5, 3) * (seconds := length(rng)), seconds, linear)

    return {
        "even": without_queue(lambda rng: linear),
        "recorded: plateaus, slow end": without_queue(lambda rng: recorded),
        "stairs at random": without_queue(stairs),
        "accelerating": without_queue(lambda rng: accelerating),
        "slowing down": without_queue(lambda rng: slowing),
        "long queue, then even": with_queue,
        "sudden failure": without_queue(early_end),
        "no progress shown": without_queue(lambda rng: hidden),
    }


def planned(run: Run, rng: random.Random) -> tuple[int, float]:
    """Return how many looks the triggers' plan takes, and how late the end is seen."""
    age, calls, speed = rng.uniform(0, SHORTEST), 1, 0.0
    last: tuple[float, float] | None = None
    while age < run.end:
        progress = run.progress(age)
        if progress is not None:
            speed = 0.0 if last is None else (progress - last[1]) / (age - last[0])
            last = (age, progress)
        pause = next_pause(age, progress, SHORTEST, LONGEST, speed=speed if progress is not None else 0.0)
        # Long pauses end at whole seconds.
        age = float(round(age + pause * rng.uniform(0.9, 1.1)))
        calls += 1
    return calls, age - run.end


def fixed(run: Run, rng: random.Random) -> tuple[int, float]:
    """Return the same for a look every 30 s."""
    looks = int((run.end - (first := rng.uniform(0, SHORTEST))) // SHORTEST) + 1
    return looks + 1, first + looks * SHORTEST - run.end


@dataclass(frozen=True)
class Outcome:
    """What one kind of training costs: medians, and the delays that one in twenty exceeds."""

    calls: float
    fixed_calls: float
    fewer: float
    delay: float
    fixed_delay: float
    late: float

    @classmethod
    def of(cls, runs: list[Run], rng: random.Random) -> Outcome:
        """Simulate."""
        looks = [planned(run, rng) for run in runs]
        others = [fixed(run, rng) for run in runs]
        delays = [delay for _, delay in looks]
        return cls(
            statistics.median(calls for calls, _ in looks),
            statistics.median(calls for calls, _ in others),
            sum(calls for calls, _ in others) / sum(calls for calls, _ in looks),
            statistics.median(delays),
            statistics.median(delay for _, delay in others),
            statistics.quantiles(delays, n=20)[-1],
        )

    def row(self, name: str) -> tuple[str, ...]:
        """Return it as a row of the table."""
        return (
            name,
            f"{self.calls:,.0f}",
            f"{self.fixed_calls:,.0f}",
            f"{self.fewer:.1f}",
            f"{self.delay:.0f} s",
            f"{self.fixed_delay:.0f} s",
            f"{self.late:.0f} s",
        )


_COLUMNS = (
    "training",
    "calls",
    "calls, fixed",
    "× fewer in all",
    "median delay",
    "median delay, fixed",
    "95th percentile",
)


def _table(title: str, length: Callable[[random.Random], float]) -> tuple[Table, dict[str, Outcome]]:
    rng = random.Random(SEED)
    outcomes = {
        name: Outcome.of([make(rng) for _ in range(COUNT)], rng) for name, make in _kinds(length).items()
    }
    rows = [outcome.row(name) for name, outcome in outcomes.items()]
    return Table(title, _COLUMNS, rows), outcomes


def _meets(outcome: Outcome) -> bool:
    # Half a second is what the medians of two samples of this size differ by.
    return outcome.fewer >= 5 and outcome.delay <= outcome.fixed_delay + 0.5


def run() -> Section:
    """Simulate."""
    hours, outcomes = _table("Three hours", _three_hours)
    mixed, _ = _table("Ten minutes to three days", _minutes_to_days)
    mixed.notes = (
        f"{COUNT:,} trainings of each kind; at least {SHORTEST:.0f} s and at most {LONGEST:.0f} s between "
        "two looks, which are the defaults. The fixed schedule looks every 30 s."
    )
    chosen = {name: outcomes[name] for name in ("even", "recorded: plateaus, slow end")}
    figures = ", ".join(
        f"{name} {one.fewer:.1f} × at {one.delay:.0f} s (fixed {one.fixed_delay:.0f} s)"
        for name, one in chosen.items()
    )
    others = [name for name, one in outcomes.items() if name not in chosen and not _meets(one)]
    hours.notes = (
        "The goal is judged by the first two. It would be missed by: "
        + "; ".join(f"{name} ({outcomes[name].fewer:.1f} ×, {outcomes[name].delay:.0f} s)" for name in others)
        + ". An end that nothing announces is seen after half a pause, which grows with the age up to "
        "`max_poll_interval`; whoever needs it sooner sets that lower."
    )
    goal = Goal(
        "single-task jobs whose progress is shown: at least 5 × fewer calls over three hours, "
        "median delay as with fixed 30 s",
        figures,
        all(_meets(one) for one in chosen.values()),
        "looks that come rarer near an end that shows itself only in the last percents would find it later",
    )
    return Section("Planned looks", [hours, mixed], [goal])


if __name__ == "__main__":
    show(run())
