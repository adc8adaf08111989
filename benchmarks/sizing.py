"""How many trainings wait, and what polling them costs, by how many start in a month.

``python -m benchmarks.sizing`` takes the polls from ``benchmarks.planning``: a mix of all kinds of trainings
there, three hours each. Each triggerer has its own budget of polls and takes as many triggers as
``[triggerer] capacity`` says.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from benchmarks.planning import BUDGET, CURVES, RECORDED, THREE_HOURS, Load, Run, trainings
from benchmarks.report import table

SIZES = (100, 10_000, 1_000_000)
MONTH = 30 * 24 * 3600.0
DAY = 24 * 3600.0
CAPACITY = 1000
"""Default of ``[triggerer] capacity``."""
PER_LOOP = 20
"""Default of ``[scheduler] max_dagruns_per_loop_to_schedule``."""
KIB_EACH = 4.9
"""Memory of one that waits, of 10,000: see RESULTS.md, "ours, one job each"."""
COUNT = 200


@dataclass(frozen=True)
class Waiting:
    """So many trainings that wait at the same time, shared out evenly over as few triggerers as take them."""

    number: float
    kinds: dict[str, list[Run]]

    @property
    def triggerers(self) -> int:
        """How many triggerers take them."""
        return max(1, math.ceil(self.number / CAPACITY))

    @property
    def load(self) -> Load:
        """What they cost one triggerer."""
        share = self.number / self.triggerers
        return Load(self.kinds, share, share / BUDGET)

    @property
    def polls_per_second(self) -> float:
        """Polls per second of all."""
        return self.load.calls_per_second * self.triggerers


def columns(name: str, waiting: Waiting) -> tuple[str, ...]:
    """Return one row of the table."""
    load = waiting.load
    return (
        name,
        f"{waiting.number:,.1f}" if waiting.number < 10 else f"{waiting.number:,.0f}",
        f"{waiting.triggerers}",
        f"{load.calls_per_second * waiting.triggerers:.2f}",
        f"{load.delays[RECORDED]:.0f} s",
        f"{load.delays['no progress shown']:.0f} s",
        f"{waiting.number * KIB_EACH / 1024:.1f} MiB",
        f"{math.ceil(waiting.number / PER_LOOP):,}",
    )


def main() -> None:
    """Print the tables."""
    rng = random.Random(30)
    kinds = {kind: trainings(kind, lambda _: THREE_HOURS, COUNT, rng) for kind in CURVES}
    longest = sum(run.end for runs in kinds.values() for run in runs) / (COUNT * len(kinds))
    head = (
        "trainings a month",
        "wait at once",
        "triggerers",
        "polls a second",
        "delay, progress shown",
        "delay, none shown",
        "memory of all that wait",
        "scheduler loops to see each",
    )
    rows = []
    for size in SIZES:
        even = Waiting(size / MONTH * THREE_HOURS, kinds)
        burst = Waiting(size / MONTH * DAY, kinds)
        rows.append(columns(f"{size:,}, evenly spread", even))
        rows.append(columns(f"{size:,}, a day's all at once", burst))
    print(table(head, rows))
    print(
        f"\nTrainings run for {THREE_HOURS / 3600:g} h, and queue besides ({longest / 3600:.1f} h in all, on "
        f"average of all kinds); {BUDGET:g} polls a second and {CAPACITY:,} triggers for each triggerer."
    )


if __name__ == "__main__":
    main()
