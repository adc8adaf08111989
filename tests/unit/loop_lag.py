"""Runs triggers as a triggerer does and prints, as JSON, how long each blocked the event loop, in seconds."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import airflow.jobs.triggerer_job_runner  # noqa: F401 - what a triggerer has loaded already
from airflow.triggers.base import BaseTrigger


async def _measure(work: Callable[[], Awaitable[Any]]) -> tuple[float, Any]:
    worst = 0.0

    async def watch() -> None:
        nonlocal worst
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            worst = max(worst, time.monotonic() - before - 0.01)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.02)
    result = await work()
    await asyncio.sleep(0.02)
    watching.cancel()
    return worst, result


async def _run(path: str, arguments: dict[str, Any]) -> str:
    module, _, name = path.rpartition(".")
    __import__(module)
    trigger: BaseTrigger = getattr(sys.modules[module], name)(**arguments)
    events: AsyncIterator[Any] = trigger.run()
    (event,) = [event async for event in events]
    await trigger.on_kill()
    return str(event.payload["status"])


async def _block() -> None:
    time.sleep(0.3)  # noqa: ASYNC251 - shows that the measure works


async def _main() -> None:
    measured = [
        await _measure(lambda work=work: _run(*work))  # type: ignore[misc]
        for work in json.loads(sys.argv[1])
    ]
    control, _ = await _measure(_block)
    figures = {
        "lags": [lag for lag, _ in measured],
        "events": [event for _, event in measured],
        "control": control,
    }
    print(json.dumps(figures))  # noqa: T201


asyncio.run(_main())
