"""One event loop with many waiting triggers, in a process of its own; orders come on standard input.

Orders and answers are lines of JSON. ``start`` makes the triggers wait, ``window`` measures for some seconds,
``profile`` tells where the time goes.
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import importlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import psutil

from benchmarks.report import top_lines
from benchmarks.trainings import ROOM, Training, job_of, number_of

TICK = 0.01


class Trigger(Protocol):
    """What a triggerer asks of a trigger."""

    def run(self) -> Any:
        """Yield events."""


@dataclass(frozen=True)
class Setup:
    """What shall wait.

    :param kind: which provider's trigger.
    :param count: how many of them.
    :param interval: seconds between two looks; ``poll_interval`` and what peers call it.
    :param spread: seconds over which the triggers start, evenly; 0 starts them one after the other.
    :param seconds: length of the trainings.
    :param per_job: whether a hundred trainings share a job, each an hour apart from the others.
    :param port: where the server listens.
    """

    kind: str
    count: int
    interval: float
    spread: float
    seconds: float
    per_job: bool
    port: int

    def environment(self) -> dict[str, str]:
        """Return the connections that the triggers read."""
        address = {"host": "127.0.0.1", "schema": "http", "port": self.port}
        endpoint = f"http://127.0.0.1:{self.port}"
        extra = {"region_name": "eu-west-1", "endpoint_url": endpoint}
        connections = {
            "QIANFAN_DEFAULT": {"conn_type": "qianfan", "login": "access", "password": "secret", **address},
            "DATABRICKS_DEFAULT": {"conn_type": "databricks", "password": "token", **address},
            "DBT_CLOUD_DEFAULT": {
                "conn_type": "dbt_cloud",
                "login": "1",
                "password": "token",
                "host": f"127.0.0.1:{self.port}",
            },
            "AWS_DEFAULT": {"conn_type": "aws", "login": "access", "password": "secret", "extra": extra},
        }
        return {f"AIRFLOW_CONN_{name}": json.dumps(value) for name, value in connections.items()}


class Loop:
    """Starts the triggers and watches the loop."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._make = _FACTORIES[setup.kind](setup)
        self._tasks: set[asyncio.Task[None]] = set()
        self._forget = self._tasks.discard
        self._lags: list[float] = []
        self._delays: list[float] = []
        self._errors: list[str] = []
        self._idle_cpu = self._idle_collection = self._memory = 0.0
        self._process = psutil.Process()
        self._collecting = self._longest_collection = 0.0
        self._collecting_cpu = self._collections_cpu = 0.0
        gc.callbacks.append(self._note_collection)

    async def start(self) -> dict[str, float]:
        """Let all wait; return what that took."""
        watching = asyncio.create_task(self._watch_lag())
        # What is loaded and opened by the first one is not charged to each.
        first = self._begin(_now() * ROOM + ROOM - 1)
        await asyncio.sleep(max(1.0, 2 * min(self.setup.interval, 1.0)))
        before = time.process_time()
        await asyncio.sleep(1.0)
        self._idle_cpu = time.process_time() - before
        gc.collect()
        self._longest_collection = 0.0
        gc.collect()
        self._idle_collection = self._longest_collection
        self._memory = self._process.memory_info().rss
        await asyncio.sleep(2 * TICK)
        self._lags.clear()
        self._longest_collection = 0.0
        base, start = _now(), time.monotonic()
        for place in range(self.setup.count):
            # A triggerer gives way to others between two triggers, too.
            pause = start + self.setup.spread * place / self.setup.count - time.monotonic()
            await asyncio.sleep(max(0.0, pause))
            self._begin(number_of(place, base, self.setup.seconds))
        first.cancel()
        self._watching = watching
        return {"started": time.monotonic() - start}

    async def window(self, seconds: float) -> dict[str, Any]:
        """Measure for some seconds, from the last window or the start on for what the loop went through."""
        self._delays.clear()
        cpu, start, collections = time.process_time(), time.monotonic(), self._collections_cpu
        await asyncio.sleep(seconds)
        took = time.monotonic() - start
        cpu = time.process_time() - cpu - self._idle_cpu * took
        lags = sorted(self._lags)
        self._lags.clear()
        memory = (self._process.memory_info().rss - self._memory) / self.setup.count
        return {
            "seconds": took,
            "cpu": cpu,
            "memory": memory,
            "waiting": len(self._tasks),
            "p99": lags[int(len(lags) * 0.99)] if lags else 0.0,
            "gc_cpu": self._collections_cpu - collections,
            "gc": self._longest_collection,
            "gc_idle": self._idle_collection,
            "worst": lags[-1] if lags else 0.0,
            "delays": list(self._delays),
            "errors": self._errors[:3],
        }

    async def profile(self, seconds: float) -> dict[str, str]:
        """Return the functions that take most of the time."""
        profiler = cProfile.Profile(builtins=False)
        profiler.enable()
        await asyncio.sleep(seconds)
        profiler.disable()
        return {"profile": top_lines(profiler)}

    def _begin(self, number: int) -> asyncio.Task[None]:
        shared = self.setup.per_job and number % ROOM < self.setup.count
        job = job_of(number, self.setup.seconds) if shared else f"job-of-{number}"
        task = asyncio.create_task(self._wait(Training(number, self.setup.seconds), job))
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
        if not self.setup.per_job:
            # Another one is begun in its place, so that their number and ages stay as they are.
            self._begin(_now() * ROOM + training.number % ROOM)

    def _note_collection(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._collecting, self._collecting_cpu = time.monotonic(), time.thread_time()
        else:
            took = time.monotonic() - self._collecting
            self._longest_collection = max(self._longest_collection, took)
            self._collections_cpu += time.thread_time() - self._collecting_cpu

    async def _watch_lag(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(TICK)
            self._lags.append(time.monotonic() - before - TICK)


def _now() -> int:
    return int(time.time() * 1000)


Make = Callable[[Training, str], Trigger]


def _ours(setup: Setup) -> Make:
    trigger = importlib.import_module("airflow_qianfan.triggers.finetuning").QianfanFineTuningTaskTrigger

    def make(training: Training, job: str) -> Any:
        return trigger(
            fine_tuning_task_id=f"task-{training.number}",
            fine_tuning_job_id=job,
            poll_interval=setup.interval,
            max_poll_interval=20 * setup.interval,
            started=training.created,
        )

    return make


def _databricks(setup: Setup) -> Make:
    trigger = importlib.import_module(
        "airflow.providers.databricks.triggers.databricks"
    ).DatabricksExecutionTrigger
    return lambda training, job: trigger(
        training.number, "databricks_default", polling_period_seconds=setup.interval
    )


def _dbt_cloud(setup: Setup) -> Make:
    hook = importlib.import_module("airflow.providers.dbt.cloud.hooks.dbt").DbtCloudHook
    trigger = importlib.import_module("airflow.providers.dbt.cloud.triggers.dbt").DbtCloudRunJobTrigger
    original = hook.get_request_url_params

    def without_tls(*args: Any, **kwargs: Any) -> Any:
        url, parameters = original(*args, **kwargs)
        return url.replace("https:", "http:", 1), parameters

    hook.get_request_url_params = staticmethod(without_tls)
    return lambda training, job: trigger(
        "dbt_cloud_default", training.number, time.time() + 86_400, setup.interval, 1
    )


def _sagemaker(setup: Setup) -> Make:
    trigger = importlib.import_module("airflow.providers.amazon.aws.triggers.sagemaker").SageMakerTrigger
    return lambda training, job: trigger(
        f"job-{training.number}", "training", waiter_delay=setup.interval, waiter_max_attempts=100_000
    )


def _raw(setup: Setup) -> Make:
    httpx = importlib.import_module("httpx")
    event = importlib.import_module("airflow.triggers.base").TriggerEvent
    client = httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_connections=10))
    url = f"http://127.0.0.1:{setup.port}/v2/finetuning?Action=DescribeFineTuningTask"

    class Raw:
        def __init__(self, training: Training, job: str) -> None:
            self._body = {"taskId": f"task-{training.number}"}

        async def run(self) -> Any:
            while True:
                answer = await client.post(url, json=self._body, timeout=60)
                if answer.json()["result"]["runStatus"] == "Done":
                    yield event({"status": "success"})
                    return
                await asyncio.sleep(setup.interval)

    return Raw


_FACTORIES: dict[str, Callable[[Setup], Make]] = {
    "ours": _ours,
    "databricks": _databricks,
    "dbt_cloud": _dbt_cloud,
    "sagemaker": _sagemaker,
    "raw": _raw,
}


async def _main(setup: Setup) -> None:
    os.environ.update(setup.environment())
    importlib.import_module("airflow.jobs.triggerer_job_runner")
    loop = Loop(setup)
    orders: dict[str, Callable[..., Any]] = {
        "start": loop.start,
        "window": loop.window,
        "profile": loop.profile,
    }
    logging.disable(logging.WARNING)
    answers = os.fdopen(int(sys.argv[2]), "w")
    while line := await asyncio.to_thread(sys.stdin.readline):
        name, *arguments = json.loads(line)
        print(json.dumps(await orders[name](*arguments)), file=answers, flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(_main(Setup(**json.loads(sys.argv[1]))))
