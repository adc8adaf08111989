"""What the poller does to the network: few TCP connections, none left behind, and no call that blocks."""

import asyncio
import json
import logging
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from blockbuster import BlockBuster, BlockBusterFunction, BlockingError

from airflow_qianfan.api.client import AsyncQianfanClient
from airflow_qianfan.exceptions import QianfanPollError
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.triggers.base import cancel
from airflow_qianfan.triggers.base import trigger as trigger_module
from airflow_qianfan.triggers.base.poller import MAX_CONNECTIONS
from airflow_qianfan.triggers.base.polling import output_of
from airflow_qianfan.triggers.base.registry import _REGISTRIES
from airflow_qianfan.triggers.finetuning import QianfanFineTuningTaskTrigger
from airflow_qianfan.triggers.model import QianfanModelTrigger

HOUR = 3600.0
SECRET = "s3nt1nel-secret-access-key"
PATIENCE = 60.0
"""Seconds after which a test gives up waiting for what should take a moment."""


class Polls:
    """Counts the answers that came to the pollers, and tells when there are enough."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = asyncio.Event()

    def note(self) -> None:
        self.count += 1
        self._changed.set()

    async def more(self, number: int) -> None:
        goal = self.count + number
        try:
            async with asyncio.timeout(PATIENCE):
                while self.count < goal:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(
                f"{goal - self.count} of {number} polls did not come in {PATIENCE} s"
            ) from None


@pytest.fixture
def polls(monkeypatch):
    """The answers that came to the pollers."""
    polls = Polls()
    call = AsyncQianfanClient.call

    async def noted(self: AsyncQianfanClient, request: Any) -> Any:
        try:
            return await call(self, request)
        finally:
            polls.note()

    monkeypatch.setattr(AsyncQianfanClient, "call", noted)
    return polls


def connections(emulator) -> int:
    """Return how many TCP connections are open to an emulator."""
    return sum(
        bool(connection.raddr) and connection.raddr.port == emulator.port
        for connection in psutil.Process().net_connections("tcp")
        if connection.status == psutil.CONN_ESTABLISHED
    )


async def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that happens outside of this event loop."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - nobody tells this event loop
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited {PATIENCE} s in vain until {what}") from None


async def event_of(trigger) -> dict[str, Any]:
    (event,) = [event.payload async for event in trigger.run()]
    return event


@asynccontextmanager
async def running(triggers) -> AsyncIterator[list[asyncio.Task[dict[str, Any]]]]:
    tasks = [asyncio.create_task(event_of(trigger)) for trigger in triggers]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def assert_nothing_is_left(emulator) -> None:
    await wait_until(lambda: not connections(emulator), "all connections are closed")
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert asyncio.get_running_loop() not in _REGISTRIES


def task_trigger(service, **arguments) -> QianfanFineTuningTaskTrigger:
    options = {"poll_interval": 0.05, "max_poll_interval": 0.05, **arguments}
    return QianfanFineTuningTaskTrigger(fine_tuning_task_id=service.task(), **options)


def model_triggers(service, number: int, name: str = "bot", **arguments) -> list[QianfanModelTrigger]:
    """Return triggers of one object; no list shows it, so that each polls by itself."""
    model_id = service.model(name)
    options = {"poll_interval": 0.05, "max_poll_interval": 0.05, **arguments}
    return [QianfanModelTrigger(model_id=model_id, **options) for _ in range(number)]


@pytest.fixture
def opened(caplog):
    """Count the TCP connections that HTTP clients have opened."""
    caplog.set_level(logging.DEBUG, "httpcore.connection")

    def count() -> int:
        return sum("connect_tcp.complete" in record.getMessage() for record in caplog.records)

    return count


@pytest.fixture
def user_ends_task(monkeypatch):
    """Airflow, which takes a moment to tell that a user has marked the task as failed."""
    asked: list[str] = []

    def answer(*, dag_id: str, task_ids: list[str], run_ids: list[str], map_index: int) -> Any:
        time.sleep(0.01)
        asked.extend(task_ids)
        return {run_ids[0]: dict.fromkeys(task_ids, "failed")}

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(answer))
    monkeypatch.setattr(cancel, "LOG_SECONDS", 0.0)

    def end(trigger: QianfanFineTuningTaskTrigger) -> Awaitable[None]:
        """Do with a trigger what Airflow does then."""
        task_instance: Any = SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=-1)
        trigger.task_instance = task_instance
        return trigger.on_kill()

    yield end
    assert asked == ["t"]


# Connections


async def test_one_connection_serves_all_polls_of_a_trigger(emulator, service, polls, opened):
    trigger = task_trigger(service)
    before = opened()
    async with running([trigger]) as (task,):
        await polls.more(10)
        emulator.advance(2 * HOUR)
        assert (await task)["status"] == "success"
    assert opened() - before == 1
    await assert_nothing_is_left(emulator)


async def test_many_triggers_use_few_connections(emulator, service, polls, opened):
    triggers = model_triggers(service, 300)
    before, most = opened(), 0
    async with running(triggers):
        for _ in range(30):
            await polls.more(20)
            most = max(most, connections(emulator))
        assert 1 <= most <= MAX_CONNECTIONS
        # Those that the server closes while nothing is due are opened again.
        assert 1 <= opened() - before <= polls.count / 10
    await assert_nothing_is_left(emulator)


async def test_triggers_cancelled_while_requests_are_under_way_leave_no_connection(emulator, service):
    triggers = [task_trigger(service), *model_triggers(service, 4)]
    emulator.fail_next("*", kind="timeout", seconds=PATIENCE, count=None)
    async with running(triggers):
        await wait_until(lambda: connections(emulator) >= 4, "four requests hang")
    emulator.clear_faults()
    await assert_nothing_is_left(emulator)


@pytest.mark.parametrize("polled", [0, 1, 5, 25])
async def test_triggers_cancelled_one_after_the_other_leave_no_connection(emulator, service, polls, polled):
    triggers = [task_trigger(service), *model_triggers(service, 5)]
    async with running(triggers) as tasks:
        for task in tasks[:3]:
            await polls.more(polled)
            task.cancel()
    await assert_nothing_is_left(emulator)


async def test_a_changed_endpoint_is_followed_and_the_old_connections_are_closed(
    start_emulator, service, polls, monkeypatch
):
    monkeypatch.setattr("airflow_qianfan.triggers.base.registry.CONFIG_SECONDS", 0.2)
    # The other emulator does not know the object.
    monkeypatch.setattr("airflow_qianfan.triggers.base.polling.MAX_REFUSED", 1_000_000)
    old = start_emulator(model_seconds=HOUR)
    triggers = model_triggers(service, 5)
    async with running(triggers):
        await polls.more(5)
        new = start_emulator(model_seconds=HOUR)
        await wait_until(lambda: len(new.journal) >= 1, "the other emulator is asked")
        await wait_until(lambda: not connections(old), "the old connections are closed")
        before = len(old.journal)
        await polls.more(10)
        assert len(old.journal) == before
    await assert_nothing_is_left(new)


# Errors that only a network makes


@pytest.mark.parametrize("trouble", ["down", "hanging", "refusing", "saying false"])
async def test_a_trigger_that_cannot_stop_a_training_says_so(
    start_emulator, reconnect, service, user_ends_task, monkeypatch, capsys, trouble
):
    emulator = start_emulator()
    trigger = task_trigger(service, cancel_on_kill=True)
    reconnect(emulator, max_retries=3)
    # It would go on trying for half a minute; the unit tests do that in virtual time.
    monkeypatch.setattr(trigger_module, "ON_KILL_TIMEOUT", 3.0)
    match trouble:
        case "down":
            emulator.stop()
        case "hanging":
            emulator.fail_next(kind="timeout", count=None, seconds=PATIENCE)
        case "refusing":
            emulator.fail_next(kind="error", status=403, code="AccessDenied", count=None)
        case _:
            emulator.fail_next("StopFineTuningTask", kind="false", count=None)
    await asyncio.wait_for(user_ends_task(trigger), PATIENCE)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "[error" in line]
    assert trigger.object_id in line
    assert "It may go on and cost money" in line


async def test_the_password_of_a_proxy_that_is_away_appears_nowhere(
    emulator, service, reconnect, monkeypatch, capsys, caplog
):
    for name in ("airflow_qianfan", "httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, name)
    trigger = task_trigger(service, max_poll_failures=0)
    connection = json.loads(emulator.connection_json)
    extra = {"proxy": f"http://user:{SECRET}@127.0.0.1:1", "max_retries": 0}
    stored = {**connection, "host": "https://qianfan.example", "password": SECRET[::-1], "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_QIANFAN_DEFAULT", json.dumps(stored))
    event = await event_of(trigger)
    with pytest.raises(QianfanPollError) as caught:
        output_of(event)
    out, err = capsys.readouterr()
    text = f"{event} {caught.value!r} {caught.value} {caught.value.__cause__!r} {out} {err} {caplog.text}"
    assert "https://qianfan.example" in text
    assert SECRET not in text
    assert SECRET[::-1] not in text


# The event loop


PACKAGE = [
    "airflow_qianfan.api",
    "airflow_qianfan.compat",
    "airflow_qianfan.hooks",
    "airflow_qianfan.triggers",
]


@asynccontextmanager
async def no_blocking_calls() -> AsyncIterator[None]:
    """Let each call of this package fail that blocks the event loop it is made on."""
    detector = BlockBuster(PACKAGE)
    # Reading certificates takes longer than an event loop should wait, and so may looking up a host.
    for owner, name in ((ssl.SSLContext, "load_verify_locations"), (ssl, "create_default_context")):
        path = f"ssl.{owner.__name__}.{name}"
        detector.functions[path] = BlockBusterFunction(owner, name, scanned_modules=PACKAGE)
    detector.activate()
    try:
        yield
    finally:
        detector.deactivate()


def _sleep() -> None:
    time.sleep(0.001)


def _read_certificates() -> None:
    ssl.create_default_context()


def _wait_for_a_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire(timeout=0.001)


@pytest.mark.parametrize("block", [_sleep, _read_certificates, _wait_for_a_lock])
async def test_a_trigger_that_blocks_the_event_loop_would_be_detected(
    emulator, service, monkeypatch, block: Callable[[], None]
):
    async def blocking_config(hook: QianfanHook) -> Any:
        block()

    (trigger,) = model_triggers(service, 1)
    async with running([trigger]) as (task,):
        await asyncio.sleep(0)
        assert not task.done()
    monkeypatch.setattr(QianfanHook, "aget_config", blocking_config)
    async with no_blocking_calls():
        with pytest.raises(BlockingError):
            await event_of(trigger)


FIRST_OF_ALL = """
import asyncio, sys, threading
from airflow_qianfan.triggers.finetuning import QianfanFineTuningTaskTrigger
from airflow_qianfan.triggers.model_version import QianfanModelVersionTrigger

class Told:
    def find_spec(self, name, path=None, target=None):
        if threading.current_thread() is threading.main_thread():
            print("on the event loop:", name)

async def wait():
    trigger = {
        "task": QianfanFineTuningTaskTrigger(fine_tuning_task_id=sys.argv[2], poll_interval=0.05),
        "version": QianfanModelVersionTrigger(model_set_id="am-1", poll_interval=0.05),
    }[sys.argv[1]]
    sys.meta_path.insert(0, Told())
    trigger.logger().error = lambda *arguments: sys.exit("it has polled")
    async for event in trigger.run():
        sys.exit("it has polled")

asyncio.run(wait())
"""


@pytest.mark.parametrize("kind", ["task", "version"])
def test_the_first_trigger_loads_what_is_large_in_another_thread(emulator, service, kind):
    """Building request classes takes a tenth of a second: Airflow complains of two tenths."""
    task_id = service.task(job_id=service.job("first"))
    emulator.advance(2 * HOUR)
    done = subprocess.run(
        [sys.executable, "-c", FIRST_OF_ALL, kind, task_id], capture_output=True, text=True, check=False
    )
    assert "it has polled" in done.stderr
    large = ("airflow_qianfan.api", "httpx", "pydantic")
    assert [line for line in done.stdout.splitlines() if line.split(": ")[-1].startswith(large)] == []


async def test_no_trigger_blocks_the_event_loop(emulator, service, reconnect, polls, user_ends_task, caplog):
    """From its first poll to its event, through faults, a changed connection, and a user who ends it."""
    reconnect(emulator, verify=True)
    # It has loaded already what a triggerer has loaded after its first triggers.
    async with running([task_trigger(service), *model_triggers(service, 1, name="first")]):
        await polls.more(4)
    job_id = service.job("shared")
    ids = [service.task(job_id=job_id) for _ in range(3)]
    triggers = [
        *(
            QianfanFineTuningTaskTrigger(
                fine_tuning_task_id=task_id,
                fine_tuning_job_id=job_id,
                poll_interval=0.05,
                max_poll_interval=0.05,
                cancel_on_kill=True,
            )
            for task_id in ids
        ),
        *model_triggers(service, 100),
    ]
    late = QianfanFineTuningTaskTrigger(fine_tuning_task_id=ids[0], deadline=time.time())
    async with no_blocking_calls(), running([*triggers, late]) as tasks:
        await polls.more(200)
        emulator.fail_next("*", kind="reset", count=3)
        emulator.fail_next("*", kind="throttle")
        await polls.more(200)
        reconnect(emulator, verify=True, timeout=30)
        await user_ends_task(triggers[0])
        emulator.advance(2 * HOUR)
        events = await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)
    assert [event["status"] for event in events] == ["failed", *["success"] * 102, "timeout"]
    assert events[0]["state"] == "Stopped"
    assert "BlockingError" not in caplog.text
    await assert_nothing_is_left(emulator)
