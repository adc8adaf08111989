"""Synthetic trainings whose number says all about them, so that a server needs no memory to play them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from airflow_qianfan.emulator.training import WAITING_SHARE, Task

ROOM = 100_000
"""A training's number is its creation in milliseconds, followed by five digits of its place."""

PER_JOB = 100

_GOLDEN = (math.sqrt(5) - 1) / 2


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

    def is_done(self, now: float) -> bool:
        """Return whether it has ended."""
        return now >= self.end

    def is_waiting(self, now: float) -> bool:
        """Return whether it still waits for resources."""
        return now < self.created + WAITING_SHARE * self.seconds

    def progress(self, now: float) -> str:
        """Return the progress as the service shows it; every other training stands still at times."""
        if self.number % 2:
            return shape(self.seconds).progress(now - self.created)
        share = ((now - self.created) / self.seconds - WAITING_SHARE) / (1 - WAITING_SHARE)
        return f"{int(min(max(share, 0.0), 0.99) * 100)}%"


def shape(seconds: float) -> Task:
    """Return a task of the emulator that was created at 0; its progress rises fast, then stands still."""
    return Task(
        id="task-0",
        job_id="job-0",
        parameter_scale="LoRA",
        created=0.0,
        seconds=seconds,
        fails=False,
        text_generation=True,
        request={},
    )


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
