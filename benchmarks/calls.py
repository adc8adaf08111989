"""How many signed calls a second: this package, the official SDK, and httpx with nothing on top.

The server is a raw asyncio server in another process, without TLS.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import qianfan
from qianfan.resources import FineTune
from qianfan.resources.console.utils import async_console_api_request

from airflow_qianfan.api.actions.finetuning import ROUTE, DescribeFineTuningTask
from airflow_qianfan.api.client import AsyncQianfanClient, QianfanClient
from airflow_qianfan.api.config import QianfanConfig
from benchmarks.report import Goal, Section, Table, interleaved, profile_of, ratio, show, spread
from benchmarks.server import Server
from benchmarks.trainings import ROOM

ACCESS_KEY, SECRET_KEY = "ALTAK0123456789abcdefghi", "0123456789abcdef0123456789abcdef"
ACTION = "DescribeFineTuningTask"
BLOCK = 250
AT_ONCE = 10


def _task_ids() -> Iterator[str]:
    """Yield ids of running trainings, another one each time."""
    start = int((time.time() - 3600) * 1000) * ROOM
    return (f"task-{start + place % ROOM}" for place in itertools.count())


def _per_second(calls: int, start: float) -> float:
    return calls / (time.perf_counter() - start)


class Sync:
    """The contenders that block."""

    def __init__(self, endpoint: str) -> None:
        self._ids = _task_ids()
        self._client = QianfanClient(
            QianfanConfig(access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY, endpoint=endpoint)
        )
        self._http = httpx.Client(timeout=60, trust_env=False, follow_redirects=False)
        self._url = f"{endpoint}{ROUTE}?Action={ACTION}"

    def raw(self, task_id: str) -> Any:
        """Send JSON and read JSON with httpx: no signature, no types, no rules for errors."""
        return self._http.post(self._url, json={"taskId": task_id}).json()

    def ours_typed(self, task_id: str) -> Any:
        """Send a request and read a typed result."""
        return self._client.call(DescribeFineTuningTask(task_id=task_id))

    def ours(self, task_id: str) -> Any:
        """Send an Action and read the answer as it is, as the two others do."""
        return self._client.call_action(ROUTE, ACTION, {"taskId": task_id})

    def official(self, task_id: str) -> Any:
        """Call the official SDK."""
        return FineTune.V2.task_detail(task_id=task_id)

    def timed(self, call: Callable[[str], Any]) -> Callable[[], float]:
        """Return a measurement of one block of calls."""

        def measure() -> float:
            start = time.perf_counter()
            for task_id in itertools.islice(self._ids, BLOCK):
                call(task_id)
            return _per_second(BLOCK, start)

        return measure

    def contenders(self) -> dict[str, Callable[[], float]]:
        """Return all measurements."""
        return {
            "raw httpx, unsigned": self.timed(self.raw),
            "ours: call_action": self.timed(self.ours),
            "ours: call, typed": self.timed(self.ours_typed),
            "official SDK": self.timed(self.official),
        }


class Async:
    """The contenders that wait on an event loop, with some calls under way at once."""

    def __init__(self, endpoint: str, runner: asyncio.Runner) -> None:
        self._ids = _task_ids()
        self._runner = runner
        self._client = AsyncQianfanClient(
            QianfanConfig(access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY, endpoint=endpoint),
            max_connections=AT_ONCE,
        )
        limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE, keepalive_expiry=50)
        self._http = httpx.AsyncClient(timeout=60, trust_env=False, follow_redirects=False, limits=limits)
        self._url = f"{endpoint}{ROUTE}?Action={ACTION}"

    async def raw(self, task_id: str) -> Any:
        """Send JSON and read JSON with httpx."""
        return (await self._http.post(self._url, json={"taskId": task_id})).json()

    async def ours(self, task_id: str) -> Any:
        """Send an Action and read the answer as it is."""
        return await self._client.call_action(ROUTE, ACTION, {"taskId": task_id})

    async def ours_typed(self, task_id: str) -> Any:
        """Send a request and read a typed result."""
        return await self._client.call(DescribeFineTuningTask(task_id=task_id))

    async def official(self, task_id: str) -> Any:
        """Call the official SDK in the way its own async calls do; it has none for fine-tuning."""
        return await _official_task_detail(task_id)

    def timed(self, call: Callable[[str], Awaitable[Any]], at_once: int) -> Callable[[], float]:
        """Return a measurement of one block of calls."""

        async def work() -> None:
            for task_id in itertools.islice(self._ids, BLOCK // at_once):
                await call(task_id)

        async def block() -> None:
            await asyncio.gather(*(work() for _ in range(at_once)))

        def measure() -> float:
            start = time.perf_counter()
            self._runner.run(block())
            return _per_second(BLOCK // at_once * at_once, start)

        return measure

    def contenders(self, at_once: int) -> dict[str, Callable[[], float]]:
        """Return all measurements."""
        return {
            "raw httpx, unsigned": self.timed(self.raw, at_once),
            "ours: call_action": self.timed(self.ours, at_once),
            "ours: call, typed": self.timed(self.ours_typed, at_once),
            "official SDK": self.timed(self.official, at_once),
        }


@async_console_api_request
async def _official_task_detail(task_id: str) -> Any:
    # What is under the decorator builds the request.
    build: Any = FineTune.V2.task_detail
    return build.__wrapped__(FineTune.V2, task_id=task_id)


def _table(title: str, figures: dict[str, list[float]]) -> Table:
    rows = [
        (
            name,
            spread(values),
            f"{ratio(figures, name, 'raw httpx, unsigned'):.2f}",
            f"{ratio(figures, name, 'official SDK'):.2f}",
        )
        for name, values in figures.items()
    ]
    return Table(title, ("client", "calls per second", "× raw httpx", "× official SDK"), rows)


def _measured(contenders: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    for measure in contenders.values():
        measure()
    return interleaved(contenders, rounds=7)


def run() -> Section:
    """Measure."""
    with Server(10_800) as server, asyncio.Runner() as runner:
        os.environ["QIANFAN_CONSOLE_API_BASE_URL"] = server.endpoint
        os.environ["QIANFAN_ACCESS_KEY"], os.environ["QIANFAN_SECRET_KEY"] = ACCESS_KEY, SECRET_KEY
        qianfan.disable_log()
        sync = Sync(server.endpoint)
        waiting = Async(server.endpoint, runner)
        blocking = _measured(sync.contenders())
        alone, many = (_measured(waiting.contenders(at_once)) for at_once in (1, AT_ONCE))
        profile = profile_of(sync.timed(sync.ours))
    tables = [
        _table("One call after the other, sync", blocking),
        _table("One call after the other, async", alone),
        _table(f"{AT_ONCE} calls at once, async", many),
    ]
    tables[0].notes = f"Medians of 7 rounds of {BLOCK} calls, lowest and highest in brackets."
    tables[2].notes = "The SDK's async calls go through aiohttp, over a new connection each."
    raw, sdk = (
        ratio(blocking, "ours: call_action", name) for name in ("raw httpx, unsigned", "official SDK")
    )
    goals = [
        Goal("signed sync calls at least 0.85 × raw httpx", f"{raw:.2f} ×", raw >= 0.85),
        Goal("signed sync calls at least 2 × the official SDK", f"{sdk:.1f} ×", sdk >= 2),
    ]
    goals[0].limit = "see the profile under Calls"
    goals[
        1
    ].limit = (
        f"raw httpx itself reaches {ratio(blocking, 'raw httpx, unsigned', 'official SDK'):.2f} × the SDK"
    )
    return Section("Calls", tables, goals, profile)


if __name__ == "__main__":
    show(run())
