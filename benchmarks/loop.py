"""One event loop with many waiting triggers, measured in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import logging
import os
import statistics
import time
from dataclasses import dataclass

import psutil

from benchmarks.server import Server
from benchmarks.trainings import ROOM, Training, job_of, number_of
from benchmarks.triggers import FACTORIES, connections

TICK = 0.01


@dataclass(frozen=True)
class Setup:
    """What shall wait.

    A training lasts 360 intervals, as one of three hours does at the default of 30 s. Their ages are spread
    evenly, and one that ends is followed by a new one, where they share no jobs.

    :param kind: which provider's trigger.
    :param count: how many of them.
    :param interval: seconds between two polls; ``poll_interval`` and what peers call it.
    :param per_job: whether a hundred trainings share a job.
    :param spread: seconds over which the triggers start.
    :param settle: seconds from when all were polled once to the first window.
    :param windows: how many windows are measured.
    :param seconds: length of a window.
    """

    kind: str
    count: int
    interval: float = 1.0
    per_job: bool = False
    spread: float = 0.0
    settle: float = 3.0
    windows: int = 5
    seconds: float = 3.0

    @property
    def length(self) -> float:
        """Seconds from a training's creation to its end."""
        return 360 * self.interval


@dataclass(frozen=True)
class Figures:
    """What waiting cost: medians of the windows, but for lags and connections, which include the start."""

    requests: float
    """Requests per training and interval."""
    connections: float
    """TCP connections open at once, at most."""
    opened: float
    """TCP connections opened per second."""
    cpu: float
    """CPU milliseconds per training and interval."""
    memory: float
    """KiB per training."""
    p99: float
    """The 99th percentile of the loop's lag in milliseconds."""
    worst: float
    """The worst lag in milliseconds."""
    delay: float
    """The median time from a training's end to its event, in intervals."""
    ready: float
    """Seconds until all were polled once."""
    errors: tuple[str, ...]


class Waiting:
    """Starts the triggers and watches the loop."""

    def __init__(self, setup: Setup, server: Server) -> None:
        self._setup, self._server = setup, server
        self._make = FACTORIES[setup.kind](setup.interval, server.port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._forget = self._tasks.discard
        self._lags: list[float] = []
        self._delays: list[float] = []
        self._errors: list[str] = []

    async def measure(self) -> Figures:
        """Let all wait, and measure."""
        setup, counts, process = self._setup, self._server.counts, psutil.Process()
        watching = asyncio.create_task(self._watch_lag())
        idle = time.process_time()
        await asyncio.sleep(1.0)
        idle = time.process_time() - idle
        # What is loaded and opened by the first one is not charged to each.
        first = self._begin(_now() * ROOM + ROOM - 1)
        await self._until_seen(1, limit=10)
        await asyncio.sleep(1.0)
        gc.collect()
        memory = process.memory_info().rss
        await asyncio.sleep(2 * TICK)
        self._lags.clear()

        base, start = _now(), time.monotonic()
        for place in range(setup.count):
            # A triggerer gives way to others between two triggers, too.
            pause = start + setup.spread * place / setup.count - time.monotonic()
            await asyncio.sleep(max(0.0, pause))
            self._begin(number_of(place, base, setup.length))
        first.cancel()
        await self._until_seen(setup.count, limit=120)
        ready = time.monotonic() - start
        await asyncio.sleep(setup.settle)
        self._delays.clear()

        windows = []
        for _ in range(setup.windows):
            before = time.monotonic(), time.process_time(), counts.requests, counts.opened
            await asyncio.sleep(setup.seconds)
            after = time.monotonic(), time.process_time(), counts.requests, counts.opened
            seconds, cpu, requests, opened = (b - a for a, b in zip(before, after, strict=True))
            if not self._tasks:
                raise RuntimeError(f"none waits any more: {self._errors[:3]}")
            share = setup.interval / seconds / len(self._tasks)
            windows.append(
                {
                    "requests": requests * share,
                    "opened": opened / seconds,
                    "cpu": (cpu - idle * seconds) * share * 1000,
                    "memory": (process.memory_info().rss - memory) / setup.count / 1024,
                }
            )
        watching.cancel()
        return Figures(
            **{name: statistics.median(window[name] for window in windows) for name in windows[0]},
            connections=counts.most_open,
            p99=statistics.quantiles(self._lags, n=100)[-1] * 1000,
            worst=max(self._lags) * 1000,
            delay=statistics.median(self._delays) / setup.interval if self._delays else float("nan"),
            ready=ready,
            errors=tuple(sorted(set(self._errors)))[:3],
        )

    async def _until_seen(self, count: int, limit: float) -> None:
        # The server counts in another process. What is late at the limit shows in the figures.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while self._server.counts.seen < count:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

    def _begin(self, number: int) -> asyncio.Task[None]:
        shared = self._setup.per_job and number % ROOM < self._setup.count
        job = job_of(number, self._setup.length) if shared else f"job-of-{number}"
        task = asyncio.create_task(self._wait(Training(number, self._setup.length), job))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    async def _wait(self, training: Training, job: str) -> None:
        begun = time.time()
        try:
            async for event in self._make(training, job).run():
                if event.payload.get("status") == "error":
                    self._errors.append(str(event.payload))
                    return
        except Exception as error:
            self._errors.append(f"{type(error).__name__}: {error}")
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
    with (
        Server(setup.length, shared_jobs=setup.per_job) as server,
        open(os.devnull, "w") as quiet,
        contextlib.redirect_stdout(quiet),
        contextlib.redirect_stderr(quiet),
    ):
        os.environ.update(connections(server.port), AIRFLOW__CORE__LOAD_EXAMPLES="False")
        # All that a triggerer has loaded; each garbage collection goes through it.
        importlib.import_module("airflow.jobs.triggerer_job_runner")
        logging.disable(logging.WARNING)

        async def main() -> Figures:
            return await Waiting(setup, server).measure()

        return asyncio.run(main())
