"""A simulation of the planned polls over thousands of synthetic trainings, against a poll every 30 s.

A training's progress is shown in whole percents while it runs; before that it queues, without progress. A
poll costs one call; the delay is the time from the end of the training to the poll that sees it. How many
trainings wait in one poller decides how much of the plan is needed.
"""

from __future__ import annotations

import math
import random
import statistics
from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass

from airflow_qianfan.emulator.training import WAITING_SHARE
from airflow_qianfan.settings import DEFAULTS
from airflow_qianfan.triggers.base.plan import next_pause
from benchmarks.report import Goal, Section, Table, show
from benchmarks.trainings import shape

SHORTEST, LONGEST = 30.0, 600.0
BUDGET = DEFAULTS["polls_per_second"]
FEW, MANY, MOST = 50, 1000, 10_000
COUNT = 2000
LOADED = 300
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


def planned(run: Run, rng: random.Random, waiting: float = math.inf) -> tuple[int, float]:
    """Return how many polls the triggers take, and how late the end is seen.

    :param waiting: how many trainings wait in the poller; so many that the plan alone decides where infinite.
    """
    longest = max(SHORTEST, waiting / BUDGET)
    age, calls, speed = rng.uniform(0, SHORTEST), 1, 0.0
    last: tuple[float, float] | None = None
    while age < run.end:
        progress = run.progress(age)
        if progress is not None:
            speed = 0.0 if last is None else (progress - last[1]) / (age - last[0])
            last = (age, progress)
        pause = next_pause(age, progress, SHORTEST, LONGEST, speed=speed if progress is not None else 0.0)
        pause = min(pause, longest)
        # Long pauses end at whole seconds.
        age = float(round(age + pause * rng.uniform(0.9, 1.1)))
        calls += 1
    return calls, age - run.end


def fixed(run: Run, rng: random.Random) -> tuple[int, float]:
    """Return the same for a poll every 30 s."""
    polls = int((run.end - (first := rng.uniform(0, SHORTEST))) // SHORTEST) + 1
    return polls + 1, first + polls * SHORTEST - run.end


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
        polls = [planned(run, rng, MOST) for run in runs]
        others = [fixed(run, rng) for run in runs]
        delays = [delay for _, delay in polls]
        return cls(
            statistics.median(calls for calls, _ in polls),
            statistics.median(calls for calls, _ in others),
            sum(calls for calls, _ in others) / sum(calls for calls, _ in polls),
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


@dataclass(frozen=True)
class Load:
    """How one kind of training is polled while so many of it wait: requests per second, and median delays."""

    delay: float
    fixed_delay: float
    rate: float
    planned_rate: float

    @classmethod
    def of(cls, runs: list[Run], waiting: int, rng: random.Random) -> Load:
        """Simulate; each training that ends is followed by another."""
        seconds = sum(run.end for run in runs)
        polls = [planned(run, rng, waiting) for run in runs]
        return cls(
            statistics.median(delay for _, delay in polls),
            statistics.median(fixed(run, rng)[1] for run in runs),
            waiting * sum(calls for calls, _ in polls) / seconds,
            waiting * sum(planned(run, rng)[0] for run in runs) / seconds,
        )

    @property
    def is_prompt(self) -> bool:
        """Whether ends are seen as with a fixed schedule; medians of two samples differ by some seconds."""
        return self.delay <= self.fixed_delay + 3

    @property
    def is_within_budget(self) -> bool:
        """Whether there are no more requests than the budget or the plan allows.

        The plan pauses for up to 600 s and the budget for 500: where both count, there may be a fifth more.
        """
        return self.rate <= LONGEST / (MANY / BUDGET) * max(BUDGET, self.planned_rate)


def _loads() -> tuple[Table, Goal]:
    rng = random.Random(SEED)
    rows, loads = [], []
    for name, make in _kinds(_three_hours).items():
        runs = [make(rng) for _ in range(LOADED)]
        few, many, most = (Load.of(runs, waiting, rng) for waiting in (FEW, MANY, MOST))
        loads.append((few, many))
        delays = (f"{delay:.0f} s" for delay in (few.fixed_delay, few.delay, many.delay, most.delay))
        rates = (f"{rate:.1f}" for rate in (few.rate, many.rate, most.rate))
        rows.append((name, *delays, *rates))
    table = Table(
        "Three hours, by how many wait",
        (
            "training",
            "median delay, fixed",
            *(f"{waiting:,} wait" for waiting in (FEW, MANY, MOST)),
            *(f"requests/s, {waiting:,} wait" for waiting in (FEW, MANY, MOST)),
        ),
        rows,
        f"The pause is the planned one, but no longer than {SHORTEST:.0f} s or what polls all that wait "
        f"{BUDGET:g} times a second in all. No list is used.",
    )
    prompt, within = (
        sum(test)
        for test in zip(*((few.is_prompt, many.is_within_budget) for few, many in loads), strict=True)
    )
    goal = Goal(
        f"{FEW} waiting: the median delay of every kind is that of fixed 30 s; {MANY:,} waiting: requests "
        "within the budget or the plan, whichever is more, and a fifth",
        f"{prompt} and {within} of {len(loads)} kinds",
        prompt == within == len(loads),
        "each pause is the shorter of the planned one, up to 600 s, and the affordable one, 500 s",
    )
    return table, goal


def run() -> Section:
    """Simulate."""
    hours, outcomes = _table("Three hours", _three_hours)
    mixed, _ = _table("Ten minutes to three days", _minutes_to_days)
    mixed.notes = (
        f"{COUNT:,} trainings of each kind, while {MOST:,} wait; at least {SHORTEST:.0f} s and at most "
        f"{LONGEST:.0f} s between two polls, which are the defaults. The fixed schedule polls every 30 s."
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
        "polls that come rarer near an end that shows itself only in the last percents would find it later",
    )
    loads, load_goal = _loads()
    return Section("Planned polls", [hours, mixed, loads], [goal, load_goal])


if __name__ == "__main__":
    show(run())
