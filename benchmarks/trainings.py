"""Synthetic trainings whose number says all about them, so that a server needs no memory to play them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

ROOM = 100_000
"""A training's number is its creation in milliseconds, followed by five digits of its place."""

PER_JOB = 100
QUEUED = 0.1
"""Share of its length for which a training waits for resources."""

_RECORDED = ((0.0, 1), (0.1, 3), (0.2, 34), (0.3, 41), (0.55, 41), (0.7, 65), (0.85, 96), (1.0, 99))


@dataclass(frozen=True, slots=True)
class Training:
    """One run that lasts some seconds from its creation to the end."""

    number: int
    seconds: float

    @property
    def created(self) -> float:
        """When it was created, in seconds since the epoch."""
        return self.number // ROOM / 1000

    @property
    def end(self) -> float:
        """When it ends."""
        return self.created + self.seconds

    def status(self, now: float) -> str:
        """Return Qianfan's word for its state."""
        if now >= self.end:
            return "Done"
        return "Waiting" if now < self.created + QUEUED * self.seconds else "Running"

    def progress(self, now: float) -> str:
        """Return the progress as Qianfan shows it; every other training stands still at times."""
        share = ((now - self.created) / self.seconds - QUEUED) / (1 - QUEUED)
        return f"{percent(recorded(share) if self.number % 2 else share)}%"


def number_of(place: int, base: int, seconds: float) -> int:
    """Return a training's number; the ages at ``base`` (in ms) are spread evenly over the length."""
    return (base - int(place * 0.6180339887 % 1 * seconds * 1000)) * ROOM + place


def recorded(share: float) -> float:
    """Return what is shown after a share of the running time: recorded runs rise fast, then stand still."""
    for (left, low), (right, high) in pairwise(_RECORDED):
        if share <= right:
            return (low + (high - low) * (share - left) / (right - left)) / 100
    return 0.99


def percent(share: float) -> int:
    """Return a share as running trainings show it: in whole percents, rounded down, and never 100."""
    return int(min(max(share, 0.0), 0.99) * 100 + 1e-9)
