"""One event loop with many waiting triggers, measured in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import logging
import math
import os
import statistics
import sys
import time
from dataclasses import dataclass

import psutil

from benchmarks.server import Shared, job_of, server
from benchmarks.trainings import ROOM, Training, number_of
from benchmarks.triggers import TRIGGERS, connections

TICK = 0.01

Figures = dict[str, float]
"""Medians of the windows; lags are those of the start, and of as long as the windows last, after them."""


@dataclass(frozen=True)
class Setup:
    """What shall wait, and how long it is measured.

    A training lasts 360 intervals, as one of three hours does at the default of 30 s. Their ages are spread
    evenly, and one that ends is followed by a new one, where they share no jobs.

    :param kind: which provider's trigger.
    :param interval: seconds between two polls; ``poll_interval`` and what peers call it.
    :param per_job: whether a hundred trainings share a job.
    :param spread: seconds over which the triggers start.
    :param settle: seconds from when all were polled once to the first window.
    """

    kind: str
    count: int
    interval: float = 1.0
    per_job: bool = False
    spread: float = 0.0
    settle: float = 3.0
    windows: int = 5
    window_seconds: float = 3.0

    @property
    def seconds(self) -> float:
        """Length of a training."""
        return 360 * self.interval


class Waiting:
    """Starts the triggers and watches the loop."""

    def __init__(self, setup: Setup, shared: Shared) -> None:
        self._setup, self._shared = setup, shared
        self._make = TRIGGERS[setup.kind](setup.interval, shared.port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._forget = self._tasks.discard
        self._lags: list[float] = []
        self._delays: list[float] = []
        self._errors = 0

    async def measure(self) -> Figures:
        """Let all wait, and measure."""
        setup, process = self._setup, psutil.Process()
        watching = asyncio.create_task(self._watch_lag())
        # What is loaded and opened by the first one is not charged to each.
        first = self._begin(_now() * ROOM + ROOM - 1)
        await self._until_seen(1, limit=10)
        await asyncio.sleep(1.0)
        gc.collect()
        memory = process.memory_info().rss
        await asyncio.sleep(2 * TICK)
        self._lags.clear()

        base, start = _now(), time.monotonic()
        self._shared.base = base if setup.per_job else 0
        for place in range(setup.count):
            # A triggerer gives way to others between two triggers, too.
            pause = start + setup.spread * place / setup.count - time.monotonic()
            await asyncio.sleep(max(0.0, pause))
            self._begin(number_of(place, base, setup.seconds))
        first.cancel()
        await self._until_seen(setup.count, limit=120)
        ready = time.monotonic() - start
        await asyncio.sleep(setup.settle)
        self._delays.clear()
        # It wakes up more often than all that wait, so it rests while CPU time is measured.
        watching.cancel()

        windows, before = [], self._snapshot()
        for _ in range(setup.windows):
            await asyncio.sleep(setup.window_seconds)
            after = self._snapshot()
            if not self._tasks:
                raise RuntimeError("none waits any more")
            seconds, cpu, requests, opened = (b - a for a, b in zip(before, after, strict=True))
            share, before = setup.interval / seconds / len(self._tasks), after
            window = {"requests": requests * share, "opened": opened / seconds}
            window["cpu"] = cpu * share * 1000
            window["memory"] = (process.memory_info().rss - memory) / setup.count / 1024
            windows.append(window)
        watching = asyncio.create_task(self._watch_lag())
        await asyncio.sleep(setup.windows * setup.window_seconds)
        watching.cancel()
        return {
            **{name: statistics.median(window[name] for window in windows) for name in windows[0]},
            "connections": self._shared.most_open,
            "p99": statistics.quantiles(self._lags, n=100)[-1] * 1000,
            "worst": max(self._lags) * 1000,
            "delay": statistics.median(self._delays or [math.nan]) / setup.interval,
            "ready": ready,
            "errors": self._errors,
        }

    def _snapshot(self) -> tuple[float, float, int, int]:
        return time.monotonic(), time.process_time(), self._shared.requests, self._shared.opened

    async def _until_seen(self, count: int, limit: float) -> None:
        # The server counts in another process. What is late at the limit shows in the figures.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while self._shared.seen < count:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

    def _begin(self, number: int) -> asyncio.Task[None]:
        task = asyncio.create_task(self._wait(Training(number, self._setup.seconds)))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    async def _wait(self, training: Training) -> None:
        begun = time.time()
        try:
            async for event in self._make(training, job_of(training.number, self._shared)).run():
                if event.payload.get("status") == "error":
                    raise RuntimeError(event.payload)
        except Exception as error:
            self._errors += 1
            print(f"{self._setup.kind}: {type(error).__name__}: {error}", file=sys.stderr)
            return
        if training.end > begun:
            self._delays.append(time.time() - training.end)
        if not self._setup.per_job:
            self._begin(_now() * ROOM + training.number % ROOM)

    async def _watch_lag(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(TICK)
            self._lags.append(time.monotonic() - before - TICK)


def _now() -> int:
    return int(time.time() * 1000)


def measure(setup: Setup) -> Figures:
    """Measure, in a process that has done nothing before."""

    async def main() -> Figures:
        return await Waiting(setup, shared).measure()

    with server(setup.seconds) as shared, open(os.devnull, "w") as quiet, contextlib.redirect_stdout(quiet):
        os.environ.update(connections(shared.port), AIRFLOW__CORE__LOAD_EXAMPLES="False")
        # All that a triggerer has loaded; each garbage collection goes through it.
        importlib.import_module("airflow.jobs.triggerer_job_runner")
        logging.disable(logging.WARNING)
        return asyncio.run(main())
