"""How long a signed call takes: this package, the official SDK, and httpx with nothing on top."""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pyperf

from benchmarks.report import Goal, Section, Suite
from benchmarks.server import server
from benchmarks.trainings import ROOM

ACCESS_KEY, SECRET_KEY = "ALTAK0123456789abcdefghi", "0123456789abcdef0123456789abcdef"
ROUTE, ACTION = "/v2/finetuning", "DescribeFineTuningTask"
LOOPS, AT_ONCE, ROUNDS = 100, 10, 3
SYNC, ASYNC, MANY = "Sync", "Async", f"Async, {AT_ONCE} at once"
RAW, OURS, TYPED, OFFICIAL = "raw httpx, unsigned", "ours: call_action", "ours: call, typed", "official SDK"

Call = Callable[[str], Any]

# Each process loads only what its contender needs: the SDK takes long.


def raw(endpoint: str) -> tuple[Call, Call]:
    """Send JSON and read JSON with httpx: no signature, no types, no rules for errors."""
    import httpx

    url = f"{endpoint}{ROUTE}?Action={ACTION}"
    limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE, keepalive_expiry=50)
    client = httpx.Client(timeout=60, trust_env=False)
    async_client = httpx.AsyncClient(timeout=60, trust_env=False, limits=limits)

    async def call(task_id: str) -> Any:
        return (await async_client.post(url, json={"taskId": task_id})).json()

    return lambda task_id: client.post(url, json={"taskId": task_id}).json(), call


def ours(endpoint: str, *, typed: bool = False) -> tuple[Call, Call]:
    """Send an Action and read the answer as it is, as the peers do; or send and read typed objects."""
    from airflow_qianfan.api.actions.finetuning import DescribeFineTuningTask
    from airflow_qianfan.api.client import AsyncQianfanClient, QianfanClient
    from airflow_qianfan.api.config import QianfanConfig

    config = QianfanConfig(access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY, endpoint=endpoint)
    client, async_client = QianfanClient(config), AsyncQianfanClient(config, max_connections=AT_ONCE)
    if typed:
        return (
            lambda task_id: client.call(DescribeFineTuningTask(task_id=task_id)),
            lambda task_id: async_client.call(DescribeFineTuningTask(task_id=task_id)),
        )
    return (
        lambda task_id: client.call_action(ROUTE, ACTION, {"taskId": task_id}),
        lambda task_id: async_client.call_action(ROUTE, ACTION, {"taskId": task_id}),
    )


def official(endpoint: str) -> tuple[Call, Call]:
    """Call the official SDK, and as its own async calls do: it has none for fine-tuning."""
    os.environ["QIANFAN_CONSOLE_API_BASE_URL"] = endpoint
    os.environ["QIANFAN_ACCESS_KEY"], os.environ["QIANFAN_SECRET_KEY"] = ACCESS_KEY, SECRET_KEY
    import qianfan
    from qianfan.resources import FineTune
    from qianfan.resources.console.utils import async_console_api_request

    qianfan.disable_log()
    # What is under the decorator builds the request.
    build: Any = FineTune.V2.task_detail

    @async_console_api_request
    async def call(task_id: str) -> Any:
        return build.__wrapped__(FineTune.V2, task_id=task_id)

    return lambda task_id: FineTune.V2.task_detail(task_id=task_id), call


CONTENDERS: dict[str, Callable[[str], tuple[Call, Call]]] = {
    RAW: raw,
    OURS: ours,
    TYPED: functools.partial(ours, typed=True),
    OFFICIAL: official,
}


def run(rounds: int = ROUNDS) -> Section:
    """Measure."""
    with server(10_800) as shared:
        suite = Suite("benchmarks.calls", rounds, QIANFAN_BENCHMARK=f"http://127.0.0.1:{shared.port}")
    raw, sdk = (suite.speedup(SYNC, OURS, peer) for peer in (RAW, OFFICIAL))
    goals = [
        Goal("signed sync calls at least 0.8 × as fast as raw httpx", f"{raw:.2f} ×", raw >= 0.8),
        Goal("signed sync calls at least 2 × as fast as the official SDK", f"{sdk:.1f} ×", sdk >= 2),
    ]
    tables = [suite.table(group, CONTENDERS, RAW, OFFICIAL) for group in (SYNC, ASYNC, MANY)]
    return Section("Calls", goals, [*tables, "The SDK opens a new connection for each of its async calls."])


def main() -> None:
    """Let pyperf measure."""
    runner = pyperf.Runner(loops=LOOPS, program_args=("-m", "benchmarks.calls"))
    endpoint = os.environ["QIANFAN_BENCHMARK"]
    start = int((time.time() - 3600) * 1000) * ROOM
    task_ids = (f"task-{start + place % ROOM}" for place in itertools.count())

    async def some(call: Callable[[str], Awaitable[Any]], calls: int) -> None:
        for task_id in itertools.islice(task_ids, calls):
            await call(task_id)

    async def all_of(call: Callable[[str], Awaitable[Any]], calls: int, at_once: int) -> None:
        await asyncio.gather(*(some(call, calls // at_once) for _ in range(at_once)))

    # A process measures one contender several times, over the same connections and in the same event loop.
    @functools.cache
    def clients(name: str) -> tuple[Call, Call]:
        return CONTENDERS[name](endpoint)

    def blocking(loops: int, name: str) -> float:
        call, _ = clients(name)
        begun = time.perf_counter()
        for task_id in itertools.islice(task_ids, loops):
            call(task_id)
        return time.perf_counter() - begun

    def awaited(loops: int, name: str, at_once: int) -> float:
        _, call = clients(name)
        begun = time.perf_counter()
        loop.run(all_of(call, loops, at_once))
        return time.perf_counter() - begun

    with asyncio.Runner() as loop:
        for name in CONTENDERS:
            runner.bench_time_func(f"{SYNC}: {name}", blocking, name)
        for group, at_once in ((ASYNC, 1), (MANY, AT_ONCE)):
            for name in CONTENDERS:
                runner.bench_time_func(f"{group}: {name}", awaited, name, at_once)


if __name__ == "__main__":
    main()
