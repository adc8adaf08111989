"""Synthetic trainings whose number says all about them, so that a server needs no memory to play them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

ROOM = 100_000
"""A training's number is its creation in milliseconds, followed by five digits of its place."""

PER_JOB = 100
QUEUED = 0.1
"""Share of its length for which a training waits for resources."""

_GOLDEN = (5**0.5 - 1) / 2
_RECORDED = ((0.0, 1), (0.1, 3), (0.2, 34), (0.3, 41), (0.55, 41), (0.7, 65), (0.85, 96), (1.0, 99))


@dataclass(frozen=True, slots=True)
class Training:
    """One run that waits for resources, shows progress, and ends.

    :param number: its number.
    :param seconds: its length from creation to the end.
    """

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


def recorded(share: float) -> float:
    """Return what is shown after a share of the running time: recorded runs rise fast, then stand still."""
    for (left, low), (right, high) in pairwise(_RECORDED):
        if share <= right:
            return (low + (high - low) * (share - left) / (right - left)) / 100
    return 0.99


def percent(share: float) -> int:
    """Return a share as running trainings show it: in whole percents, rounded down, and never 100."""
    return int(min(max(share, 0.0), 0.99) * 100 + 1e-9)


def number_of(place: int, base: int, seconds: float) -> int:
    """Return the number of the training at a place: the ages of all are spread evenly over the length.

    :param base: the present in milliseconds since the epoch.
    """
    return (base - _age(place, seconds)) * ROOM + place


def job_of(number: int, seconds: float) -> str:
    """Return the id of the job that a training shares with the others of its hundred."""
    created, place = divmod(number, ROOM)
    return f"job-{created + _age(place, seconds)}-{place // PER_JOB}"


def numbers_of(job_id: str, seconds: float) -> list[int]:
    """Return the numbers of all trainings of a job."""
    _, base, block = job_id.split("-")
    first = int(block) * PER_JOB
    return [number_of(place, int(base), seconds) for place in range(first, first + PER_JOB)]


def _age(place: int, seconds: float) -> int:
    return int(place * _GOLDEN % 1 * seconds * 1000)
