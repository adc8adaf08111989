"""The poller that all triggers of an event loop share, against a real server."""

import asyncio
import gc
import itertools
import json
import logging
import random
import statistics
import time
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from types import SimpleNamespace
from typing import Any

import httpx
import psutil
import pytest
import structlog
from airflow_qianfan.triggers.poller import MAX_CONNECTIONS, Listing, Poller
from airflow_qianfan.triggers.sharing import Seat

from airflow_qianfan.api.actions.finetuning import DescribeFineTuningTask, DescribeFineTuningTasks
from airflow_qianfan.api.client import AsyncQianfanClient
from airflow_qianfan.api.config import QianfanConfig
from airflow_qianfan.api.rate_limiter import RateLimiter as Pace
from airflow_qianfan.emulator import QianfanEmulator
from airflow_qianfan.exceptions import QianfanConnectionError, QianfanServerError, QianfanThrottledError
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.triggers import base, poller, sharing
from airflow_qianfan.triggers.finetuning import QianfanFineTuningTaskTrigger
from airflow_qianfan.triggers.model import QianfanModelTrigger

HOUR = 3600.0
DATASET = {"sourceType": "Platform", "versions": [{"versionId": "ds-0123456789abcdef"}]}
FILES = {"bucket": "b", "objectPath": "p", "modelFormat": "Safetensors", "modelApplicationType": "chat"}


class Remote:
    """An emulator, and what a test needs in it."""

    def __init__(self, emulator: QianfanEmulator) -> None:
        self.emulator = emulator
        self._names = itertools.count()

    def create(self, route: str, *requests: tuple[str, dict[str, Any]]) -> list[Any]:
        hook = QianfanHook()
        with closing(hook.client):
            return [hook.call_action(route, action, body)["result"] for action, body in requests]

    def job(self, tasks: int, *, advance: float = HOUR / 2) -> list[str]:
        job = {"name": f"job-{next(self._names)}", "model": "ERNIE-Speed-8K", "trainMode": "SFT"}
        (made,) = self.create("/v2/finetuning", ("CreateFineTuningJob", job))
        task = {"jobId": made["jobId"], "hyperParameterConfig": {}, "datasetConfig": DATASET}
        started = self.create("/v2/finetuning", *[("CreateFineTuningTask", task)] * tasks)
        self.emulator.advance(advance)
        return [task["taskId"] for task in started]

    def triggers(self, tasks: int, **arguments: Any) -> list[QianfanFineTuningTaskTrigger]:
        """Return a trigger for each task of a new job."""
        arguments = {"poll_interval": 0.2, **arguments}
        ids = self.job(tasks)
        job_id = self.emulator.tasks[-1]["jobId"]
        return [
            QianfanFineTuningTaskTrigger(fine_tuning_task_id=i, fine_tuning_job_id=job_id, **arguments)
            for i in ids
        ]

    def singles(self, number: int, **arguments: Any) -> list[QianfanModelTrigger]:
        """Return triggers of objects that no list shows."""
        model_set = {"modelSetName": f"bot-{next(self._names)}", "modelType": "Text2Text"}
        (set_id,) = self.create("/v2/model", ("CreateCustomModelSet", model_set))
        model = {"modelSetId": set_id, "sourceType": "Import", "importMeta": FILES}
        (made,) = self.create("/v2/model", ("CreateCustomModel", model))
        return [
            QianfanModelTrigger(model_id=made["modelId"], **{"poll_interval": 0.2, **arguments})
            for _ in range(number)
        ]

    def calls(self, action: str | None = None, since: int = 0) -> list[dict[str, Any]]:
        journal = self.emulator.journal[since:]
        return [call for call in journal if call["action"] == action or action is None]

    def connections(self) -> int:
        """Return how many TCP connections are open to it."""
        return sum(
            bool(connection.raddr) and connection.raddr.port == self.emulator.port
            for connection in psutil.Process().net_connections("tcp")
            if connection.status == psutil.CONN_ESTABLISHED
        )

    async def wait_for(self, count: int, action: str | None = None) -> None:
        start = len(self.calls(action))
        async with asyncio.timeout(20):
            while len(self.calls(action)) < start + count:  # noqa: ASYNC110 - it lives in another thread
                await asyncio.sleep(0.01)


@pytest.fixture
def remote(monkeypatch):
    with QianfanEmulator(task_seconds=HOUR, model_seconds=HOUR) as emulator:
        connect(monkeypatch, emulator)
        yield Remote(emulator)


def connect(monkeypatch, emulator: QianfanEmulator, name: str = "QIANFAN_DEFAULT", **members: Any) -> None:
    connection = json.loads(emulator.connection_json)
    extra = {"timeout": 5, **members.pop("extra", {})}
    monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps({**connection, **members, "extra": extra}))


def pollers() -> list[Poller]:
    registry = sharing._REGISTRIES.get(asyncio.get_running_loop())
    return [found for found, _ in registry._pollers.values()] if registry else []


async def event_of(trigger: Any) -> dict[str, Any]:
    (event,) = [event.payload async for event in trigger.run()]
    return event


@asynccontextmanager
async def running(triggers: list[Any]) -> AsyncIterator[list[asyncio.Task[dict[str, Any]]]]:
    tasks = [asyncio.create_task(event_of(trigger)) for trigger in triggers]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def assert_nothing_is_left(remote: Remote) -> None:
    for _ in range(100):
        if not remote.connections():
            break
        await asyncio.sleep(0.01)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert remote.connections() == 0
    assert asyncio.get_running_loop() not in sharing._REGISTRIES


# Who shares


async def test_connections_with_the_same_credential_share_a_poller_others_do_not(remote, monkeypatch):
    connect(monkeypatch, remote.emulator, "SAME", extra={"max_retries": 7})
    connect(monkeypatch, remote.emulator, "OTHER", login="AKOTHER")
    async with (
        Seat("qianfan_default") as first,
        Seat("qianfan_default") as second,
        Seat("same") as same,
        Seat("other") as other,
    ):
        taken = [await seat._take(0) for seat in (first, second, same, other)]
        assert taken[0] is taken[1] is taken[2] is not taken[3]
        assert len(pollers()) == 2


async def test_two_event_loops_do_not_share(remote):
    async def take() -> Poller:
        async with Seat("qianfan_default") as seat:
            return await seat._take(0)

    async with Seat("qianfan_default") as seat:
        here = await seat._take(0)
        there = await asyncio.to_thread(lambda: asyncio.run(take()))
        assert there is not here
        assert pollers() == [here]


async def test_many_triggers_read_the_connection_once_and_use_few_tcp_connections(
    remote, monkeypatch, caplog
):
    reads = []
    read = QianfanHook.aget_config
    monkeypatch.setattr(
        QianfanHook, "aget_config", lambda hook: reads.append(hook.qianfan_conn_id) or read(hook)
    )
    triggers = remote.singles(300, poll_interval=0.5)
    caplog.set_level(logging.DEBUG, "httpcore.connection")
    caplog.clear()
    most = 0
    async with running(triggers):
        for _ in range(30):
            await asyncio.sleep(0.05)
            most = max(most, remote.connections())
    opened = sum("connect_tcp.complete" in record.getMessage() for record in caplog.records)
    assert len(remote.calls("DescribeModel")) >= 300
    assert 1 <= most <= MAX_CONNECTIONS
    assert 1 <= opened <= MAX_CONNECTIONS
    assert reads == ["qianfan_default"]
    await assert_nothing_is_left(remote)


async def test_joins_and_leaves_are_cheap(remote):
    async with Seat("qianfan_default") as first:
        await first._take(0)
        cost = []
        for _ in range(5):
            start = time.process_time()
            for _ in range(1000):
                async with Seat("qianfan_default") as seat:
                    await seat._take(0)
            cost.append((time.process_time() - start) / 1000)
        assert statistics.median(cost) < 0.001
        assert len(pollers()) == 1


async def test_a_thousand_triggers_that_join_at_once_do_not_block_the_loop(remote):
    triggers = remote.singles(1000, poll_interval=2.0)
    async with running(remote.singles(1)):  # what a triggerer has loaded already
        await remote.wait_for(1, "DescribeModel")
    worst = []
    # A machine that is busy elsewhere delays a loop too, but hardly three times in a row.
    for _ in range(3):
        gc.collect()
        lags = [0.0]
        async with running(triggers):
            end = time.monotonic() + 2.5
            while (before := time.monotonic()) < end:
                await asyncio.sleep(0.005)
                lags.append(time.monotonic() - before - 0.005)
        worst.append(max(lags))
        if worst[-1] < 0.2:
            break
    assert min(worst) < 0.2
    assert len(remote.calls("DescribeModel")) >= 1000


# What is left behind


async def test_the_last_one_out_closes_the_client(remote):
    triggers = [*remote.triggers(3), *remote.singles(3)]
    async with running(triggers) as tasks:
        await remote.wait_for(6)
        (shared,) = pollers()
        for task in tasks[1:]:
            task.cancel()
        await asyncio.wait(tasks[1:])
        assert pollers() == [shared]
        assert not shared._client._http.is_closed
        await remote.wait_for(2)
        assert sum(not look.done() for look in shared._schedule) <= 1
    assert shared._client._http.is_closed
    await assert_nothing_is_left(remote)


async def test_finished_triggers_leave_nothing_behind(remote):
    triggers = [*remote.triggers(5), *remote.singles(2)]
    remote.emulator.advance(2 * HOUR)
    async with running(triggers) as tasks:
        events = await asyncio.gather(*tasks)
    assert {event["status"] for event in events} == {"success"}
    await assert_nothing_is_left(remote)


@pytest.mark.parametrize("steps", [*range(12), 20, 40, 80])
async def test_triggers_cancelled_after_any_step_leave_nothing_behind(remote, steps):
    triggers = [*remote.triggers(3, poll_interval=0.01), *remote.singles(3, poll_interval=0.01)]
    tasks = [asyncio.create_task(event_of(trigger)) for trigger in triggers]
    for _ in range(steps):
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    assert all(
        isinstance(outcome, asyncio.CancelledError)
        for outcome in await asyncio.gather(*tasks, return_exceptions=True)
    )
    await assert_nothing_is_left(remote)


@pytest.mark.parametrize("seconds", [0.005, 0.02, 0.05, 0.1, 0.2, 0.3])
async def test_triggers_cancelled_at_any_time_leave_nothing_behind(remote, seconds, caplog):
    triggers = [*remote.triggers(5, poll_interval=0.02), *remote.singles(5, poll_interval=0.02)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tasks = [asyncio.create_task(event_of(trigger)) for trigger in triggers]
        for task in tasks:
            await asyncio.sleep(seconds * random.random() / 5)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await assert_nothing_is_left(remote)
        del tasks
        gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


async def test_triggers_cancelled_while_requests_are_under_way_leave_nothing_behind(remote):
    triggers = [*remote.triggers(2), *remote.singles(4)]
    remote.emulator.fail_next("*", kind="timeout", seconds=3, count=None)
    async with running(triggers):
        async with asyncio.timeout(5):
            while remote.connections() < 4:  # noqa: ASYNC110 - it lives in another thread
                await asyncio.sleep(0.01)
    await assert_nothing_is_left(remote)


async def test_a_second_cancellation_while_the_last_one_leaves_closes_all_the_same(remote, monkeypatch):
    aclose = AsyncQianfanClient.aclose

    async def slow_aclose(self: AsyncQianfanClient) -> None:
        await asyncio.sleep(0.2)
        await aclose(self)

    (trigger,) = remote.singles(1)
    task = asyncio.create_task(event_of(trigger))
    await remote.wait_for(1, "DescribeModel")
    monkeypatch.setattr(AsyncQianfanClient, "aclose", slow_aclose)
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0.05)
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.3)
    await assert_nothing_is_left(remote)


# Errors stay where they belong


@pytest.mark.parametrize("where", ["observe", "request", "listing", "log"])
async def test_an_error_in_handling_one_touches_no_other(remote, where):
    triggers = [*remote.triggers(4), *remote.singles(4)]

    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError(where)

    class BrokenLog:
        info = warning = error = broken

    for trigger in (triggers[0], triggers[-1]):
        if where == "log":
            trigger.logger = BrokenLog
        else:
            setattr(trigger, where, broken)
    async with running(triggers) as tasks:
        done, _ = await asyncio.wait(tasks, timeout=0.6)
        remote.emulator.advance(2 * HOUR)
        outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    broken_ones = {0, 7}
    if where == "request" and not isinstance(outcomes[0], ZeroDivisionError):
        # Its job's list has told it all; no request of its own was made.
        broken_ones = {7}
    assert {tasks.index(task) for task in done} <= {0, 7}
    assert {n for n, outcome in enumerate(outcomes) if isinstance(outcome, ZeroDivisionError)} == broken_ones
    assert {outcome["status"] for n, outcome in enumerate(outcomes) if n not in broken_ones} == {"success"}
    await assert_nothing_is_left(remote)


@pytest.mark.parametrize("pause", [float("nan"), float("inf"), -1.0])
async def test_a_pause_that_is_no_number_of_seconds_does_not_upset_the_schedule(remote, pause):
    (task_id,) = remote.job(1)
    watched = One(task_id)
    async with Seat("qianfan_default") as seat:
        waiting = asyncio.create_task(seat.look(watched, 0.1))
        with pytest.raises(ValueError, match="cannot wait"):
            await seat.look(watched, pause)
        assert (await waiting).task_id == task_id


async def test_a_failing_request_touches_no_other(remote):
    good = remote.singles(3)
    bad = [QianfanModelTrigger(model_id="amv-nowhere", poll_interval=0.02)]
    async with running([*good, *bad]) as tasks:
        done, _ = await asyncio.wait(tasks, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        assert done == {tasks[-1]}
        assert (await tasks[-1])["status"] == "error"
        await remote.wait_for(3, "DescribeModel")
        remote.emulator.advance(2 * HOUR)
        assert {event["status"] for event in await asyncio.gather(*tasks[:-1])} == {"success"}


async def test_requests_that_hang_hold_up_no_other_for_long(remote):
    remote.emulator.fail_next("DescribeFineTuningTask", kind="timeout", seconds=8, count=None)
    hanging = [
        QianfanFineTuningTaskTrigger(fine_tuning_task_id=task_id, poll_interval=0.01)
        for task_id in remote.job(MAX_CONNECTIONS - 1)
    ]
    async with running([*hanging, *remote.singles(5)]):
        await asyncio.sleep(1.5)
        before = len(remote.calls("DescribeModel"))
        await asyncio.sleep(5.0)
        # Each of the five waits 0.9 s for the nine that hang, and not for their end.
        assert len(remote.calls("DescribeModel")) - before >= 10


# Tasks of one job


async def test_a_hundred_tasks_of_a_job_take_one_call_and_sometimes_two_in_an_interval(remote, capsys):
    triggers = remote.triggers(100, poll_interval=1.0)
    before = len(remote.emulator.journal)
    async with running(triggers):
        await asyncio.sleep(12.0)
        calls = Counter(call["action"] for call in remote.calls(since=before))
    lists, details = calls.pop("DescribeFineTuningTasks"), calls.pop("DescribeFineTuningTask")
    assert not calls
    assert lists >= 8
    # How many details there are is left to chance; this is what they come to in the long run.
    assert lists * (1 + poller.DETAIL_SHARE) <= 100 * 12 / 50
    assert 1 <= details <= lists
    lines = capsys.readouterr().out.splitlines()
    assert sum("Running" in line and "elapsed" in line for line in lines) >= 100
    assert sum("% done" in line for line in lines) == len(
        {tuple(call["ids"].items()) for call in remote.calls("DescribeFineTuningTask", before)}
    )


async def test_progress_of_every_task_of_a_job_appears_in_time(remote, capsys):
    triggers = remote.triggers(4, poll_interval=0.02)
    async with running(triggers):
        async with asyncio.timeout(20):
            described: set[str] = set()
            while len(described) < 4:
                await asyncio.sleep(0.05)
                described = {call["ids"]["taskId"] for call in remote.calls("DescribeFineTuningTask")}
        await asyncio.sleep(0.1)
    out = capsys.readouterr().out
    for trigger in triggers:
        (line,) = [x for x in out.splitlines() if trigger.fine_tuning_task_id in x and "% done" in x]
        assert "Running" in line


async def test_looks_that_fall_due_while_the_list_is_read_do_not_read_it_again(remote):
    triggers = remote.triggers(30, poll_interval=0.3)
    remote.emulator.fail_next("DescribeFineTuningTasks", kind="timeout", seconds=0.5, count=None)
    before = len(remote.emulator.journal)
    async with running(triggers):
        await asyncio.sleep(2.0)
    assert 2 <= len(remote.calls("DescribeFineTuningTasks", before)) <= 4


async def test_the_list_is_read_once_in_an_interval_however_rarely_each_wants_to_look(remote):
    triggers = remote.triggers(3)
    async with Seat("qianfan_default") as seat:
        start = time.monotonic()
        looks = [asyncio.create_task(seat.look(trigger, 100.0)) for trigger in triggers]
        await asyncio.wait_for(asyncio.gather(*looks), 5)
    assert 0.15 <= time.monotonic() - start < 1
    assert len(remote.calls("DescribeFineTuningTasks")) == 1


async def test_a_single_task_is_asked_for_by_itself(remote):
    async with running(remote.triggers(1)):
        await remote.wait_for(3, "DescribeFineTuningTask")
    assert not remote.calls("DescribeFineTuningTasks")


async def test_a_task_that_ends_is_seen_in_the_list_with_all_its_results(remote, monkeypatch):
    monkeypatch.setattr("airflow_qianfan.triggers.poller.DETAIL_SHARE", 0.0)
    triggers = remote.triggers(3)
    async with running(triggers) as tasks:
        await remote.wait_for(2, "DescribeFineTuningTasks")
        remote.emulator.advance(2 * HOUR)
        before = len(remote.emulator.journal)
        events = await asyncio.gather(*tasks)
    assert not remote.calls("DescribeFineTuningTask", before)
    for event, trigger, task in zip(events, triggers, remote.emulator.tasks, strict=True):
        assert event["output"]["fine_tuning_task_id"] == trigger.fine_tuning_task_id
        assert set(event["output"]["metrics"]) == set(task["metrics"]) != set()
        assert event["output"]["checkpoints"]
        assert event["output"]["console_url"]


async def test_a_task_that_the_list_does_not_show_is_asked_for_by_itself(remote, monkeypatch):
    triggers = remote.triggers(4)
    (elsewhere,) = remote.job(1, advance=0)
    triggers[0].fine_tuning_task_id = elsewhere
    # What it observes would correct its job.
    observe = triggers[0].observe
    job_id = triggers[1].fine_tuning_job_id

    def forgetful(result: Any) -> Any:
        seen = observe(result)
        triggers[0].fine_tuning_job_id = job_id
        return seen

    monkeypatch.setattr(triggers[0], "observe", forgetful)
    before = len(remote.emulator.journal)
    async with running(triggers):
        await asyncio.sleep(2.2)
    asked = Counter(call["ids"].get("taskId") for call in remote.calls("DescribeFineTuningTask", before))
    lists = len(remote.calls("DescribeFineTuningTasks", before))
    assert 5 <= asked[elsewhere] <= 13
    assert 5 <= lists <= 13


@pytest.mark.parametrize("number", [100, 101, 250])
async def test_a_list_of_several_pages_is_read_to_its_end(remote, number):
    triggers = remote.triggers(number, poll_interval=30.0)
    remote.emulator.advance(2 * HOUR)
    before = len(remote.emulator.journal)
    events = await asyncio.wait_for(asyncio.gather(*map(event_of, triggers)), 20)
    assert {event["status"] for event in events} == {"success"}
    assert {event["ids"]["fine_tuning_task_id"] for event in events} == {
        task["taskId"] for task in remote.emulator.tasks
    }
    assert len(remote.calls(since=before)) <= 2 * -(-number // 100) + 2


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "error", "status": 403, "code": "AccessDenied"},
        {"kind": "malformed"},
        {"kind": "server_error"},
        {"kind": "reset"},
        {"kind": "false"},
    ],
    ids=lambda fault: fault["kind"],
)
async def test_where_the_list_cannot_be_read_each_is_asked_for_by_itself(remote, fault, caplog):
    triggers = remote.triggers(5, max_poll_failures=0)
    remote.emulator.fail_next("DescribeFineTuningTasks", count=None, **fault)
    async with running(triggers) as tasks:
        await remote.wait_for(10, "DescribeFineTuningTask")
        remote.emulator.advance(2 * HOUR)
        events = await asyncio.gather(*tasks)
    assert {event["status"] for event in events} == {"success"}
    assert len(remote.calls("DescribeFineTuningTasks")) == 1
    assert "Cannot list" in caplog.text


async def test_a_list_is_tried_again_later(remote, monkeypatch):
    monkeypatch.setattr(poller, "LIST_REST", 0.5)
    remote.emulator.fail_next("DescribeFineTuningTasks", kind="server_error")
    async with running(remote.triggers(5)):
        await remote.wait_for(3, "DescribeFineTuningTasks")


# The connection changes


@pytest.fixture
def two_keys(monkeypatch):
    """An emulator with an old and a new key, of which the connection has the old."""
    with QianfanEmulator(
        task_seconds=HOUR, model_seconds=HOUR, read_only_keys={"AKNEW": "new-secret"}
    ) as emulator:
        connect(monkeypatch, emulator)
        yield Remote(emulator)


async def test_a_changed_secret_is_picked_up_at_the_first_refusal(two_keys, monkeypatch):
    triggers = [*two_keys.triggers(5), *two_keys.singles(5)]
    async with running(triggers) as tasks:
        await two_keys.wait_for(20)
        old = pollers()
        connect(monkeypatch, two_keys.emulator, login="AKNEW", password="new-secret")
        two_keys.emulator.fail_next("*", kind="error", status=403, code="InvalidAccessKeyId", count=1)
        await two_keys.wait_for(40)
        assert not any(task.done() for task in tasks)
        assert pollers() != old
        two_keys.emulator.advance(2 * HOUR)
        events = await asyncio.gather(*tasks)
    assert {event["status"] for event in events} == {"success"}
    await assert_nothing_is_left(two_keys)


async def test_a_changed_connection_is_picked_up_in_time_without_a_refusal(two_keys, monkeypatch):
    monkeypatch.setattr(sharing, "CONFIG_SECONDS", 0.3)
    with QianfanEmulator(task_seconds=HOUR, model_seconds=HOUR) as other:
        triggers = two_keys.singles(5)
        async with running(triggers):
            await two_keys.wait_for(5)
            connect(monkeypatch, other)
            await asyncio.sleep(1.0)
            before = len(two_keys.calls())
            (moved,) = pollers()
            await asyncio.sleep(0.5)
            assert len(two_keys.calls()) == before
            assert two_keys.connections() == 0
            assert moved._client._config.endpoint == other.endpoint
        await assert_nothing_is_left(Remote(other))


async def test_a_key_disabled_before_the_connection_is_updated_ends_no_wait(two_keys, monkeypatch):
    triggers = [*two_keys.triggers(3), *two_keys.singles(3)]
    async with running(triggers) as tasks:
        await two_keys.wait_for(12)
        refusal = {"kind": "error", "status": 403, "code": "InvalidAccessKeyId"}
        two_keys.emulator.fail_next("*", **refusal, count=None)
        await asyncio.sleep(0.5)
        assert two_keys.calls()[-1]["outcome"] == "fault"
        two_keys.emulator.clear_faults()
        connect(monkeypatch, two_keys.emulator, login="AKNEW", password="new-secret")
        # They look for the list again, too.
        await two_keys.wait_for(2, "DescribeFineTuningTasks")
        two_keys.emulator.advance(2 * HOUR)
        events = await asyncio.gather(*tasks)
    assert {event["status"] for event in events} == {"success"}


async def test_a_wrong_key_from_the_start_fails_at_once(remote, monkeypatch):
    triggers = remote.singles(3)
    connect(monkeypatch, remote.emulator, password="wrong")
    events = await asyncio.wait_for(asyncio.gather(*map(event_of, triggers)), 5)
    assert {(event["status"], event["can_retry"]) for event in events} == {("error", False)}
    assert len(remote.calls("DescribeModel")) == 3
    await assert_nothing_is_left(remote)


@pytest.mark.parametrize("trouble", ["missing", "broken", "incomplete"])
async def test_a_connection_that_cannot_be_read_for_a_while_ends_no_wait(
    remote, monkeypatch, caplog, trouble
):
    monkeypatch.setattr(sharing, "CONFIG_SECONDS", 0.1)
    triggers = remote.singles(3)
    async with running(triggers) as tasks:
        await remote.wait_for(3, "DescribeModel")
        if trouble == "missing":
            monkeypatch.delenv("AIRFLOW_CONN_QIANFAN_DEFAULT")
        elif trouble == "broken":
            monkeypatch.setattr(QianfanHook, "aget_config", lambda hook: 1 / 0)
        else:
            connect(monkeypatch, remote.emulator, password="")
        await asyncio.sleep(0.3)
        await remote.wait_for(6, "DescribeModel")
        remote.emulator.advance(2 * HOUR)
        events = await asyncio.gather(*tasks)
    assert {event["status"] for event in events} == {"success"}
    assert "what it said before holds" in caplog.text


async def test_settings_that_cannot_be_used_end_no_wait(remote, monkeypatch, caplog):
    monkeypatch.setattr(sharing, "CONFIG_SECONDS", 0.1)
    triggers = remote.singles(2)
    async with running(triggers) as tasks:
        await remote.wait_for(4, "DescribeModel")
        connect(monkeypatch, remote.emulator, extra={"verify": "/nowhere/ca.pem"})
        await remote.wait_for(8, "DescribeModel")
        assert "what it said before holds" in caplog.text
        remote.emulator.advance(2 * HOUR)
        events = await asyncio.gather(*tasks)
    assert {event["status"] for event in events} == {"success"}
    await assert_nothing_is_left(remote)


# Throttling and rate


def times(remote: Remote, since: int = 0) -> list[float]:
    return [call["time"] for call in remote.calls(since=since)]


async def test_a_throttled_request_silences_all_for_as_long_as_the_service_asks(remote):
    triggers = [*remote.singles(40, poll_interval=0.05)]
    async with running(triggers) as tasks:
        await remote.wait_for(100)
        remote.emulator.fail_next("*", kind="throttle", retry_after=2)
        before = len(remote.emulator.journal)
        await asyncio.sleep(3.5)
        assert not any(task.done() for task in tasks)
    (throttled,) = [call["time"] for call in remote.calls(since=before) if call["outcome"] != "ok"]
    later = [moment - throttled for moment in times(remote, before) if moment > throttled]
    # What was under way together with it still arrives.
    assert sum(0.5 < seconds < 1.95 for seconds in later) == 0
    assert sum(seconds <= 0.5 for seconds in later) <= MAX_CONNECTIONS
    assert sum(seconds >= 1.95 for seconds in later) >= 40


async def test_requests_throttled_together_double_the_silence_once_and_it_recovers(monkeypatch):
    monkeypatch.setattr(poller, "FIRST_SLOWDOWN", 0.1)
    monkeypatch.setattr(poller, "PATIENCE", 0.0)
    service = Service()
    async with service.poller() as shared:
        service.script = [throttled] * MAX_CONNECTIONS
        await asyncio.gather(*(shared.look(One(), 0) for _ in range(MAX_CONNECTIONS)))
        assert len(service.sent) == 2 * MAX_CONNECTIONS
        gap = service.sent[MAX_CONNECTIONS] - service.sent[MAX_CONNECTIONS - 1]
        assert 0.09 <= gap < 2
        await shared.look(One(), 0)
        assert shared._slowdown == 0


async def test_throttling_that_lasts_makes_the_silence_longer_up_to_a_bound(monkeypatch):
    monkeypatch.setattr(poller, "FIRST_SLOWDOWN", 0.1)
    monkeypatch.setattr(poller, "LONGEST_SLOWDOWN", 0.4)
    service = Service(script=[throttled] * 5)
    async with service.poller() as shared:
        await shared.look(One(), 0)
    gaps = [later - sooner for sooner, later in itertools.pairwise(service.sent)]
    for gap, seconds in zip(gaps, (0.1, 0.2, 0.4, 0.4, 0.4), strict=True):
        assert seconds - 0.01 <= gap < seconds + 0.35


async def test_a_service_that_is_busy_for_ever_is_told_to_the_trigger(monkeypatch):
    monkeypatch.setattr(poller, "FIRST_SLOWDOWN", 0.001)
    monkeypatch.setattr(poller, "LONGEST_SLOWDOWN", 0.001)
    service = Service(script=[throttled] * 1000)
    async with service.poller() as shared:
        with pytest.raises(QianfanThrottledError):
            await shared.look(One(), 0)
    assert len(service.sent) == poller.MAX_THROTTLED + 1


async def test_a_retry_after_beyond_all_bounds_does_not_silence_for_ever(monkeypatch):
    monkeypatch.setattr(poller, "LONGEST_SILENCE", 0.2)
    monkeypatch.setattr(poller, "FIRST_SLOWDOWN", 0.01)
    service = Service(script=[lambda: throttled(10**9)])
    async with service.poller() as shared:
        await asyncio.wait_for(shared.look(One(), 0), 5)
    assert 0.19 <= service.sent[1] - service.sent[0] < 4


async def test_no_request_is_sent_into_a_silence_that_began_while_it_waited_for_its_slot(monkeypatch):
    service = Service(script=[lambda: throttled(1)])
    async with service.poller(max_qps=20) as shared:
        await asyncio.gather(*(shared.look(One(), 0) for _ in range(8)))
    assert service.sent[1] - service.sent[0] >= 0.99
    gaps = [later - sooner for sooner, later in itertools.pairwise(service.sent[1:])]
    assert min(gaps) >= 0.045


async def test_max_qps_is_kept_by_all_together_and_first_come_is_first_served():
    service = Service()
    order: list[int] = []

    async def look(shared: Poller, number: int) -> None:
        await shared.look(One(f"task-{number}"), number / 1000)
        order.append(number)

    async with service.poller(max_qps=50) as shared:
        await asyncio.gather(*(look(shared, number) for number in range(100)))
    gaps = [later - sooner for sooner, later in itertools.pairwise(service.sent)]
    assert 0.95 / 50 <= statistics.mean(gaps) <= 2 / 50
    assert most_in_a_second(service.sent) <= 51
    assert service.asked == [f"task-{number}" for number in range(100)]
    assert order == sorted(order)


async def test_max_qps_of_a_connection_holds_for_all_its_triggers(remote, monkeypatch):
    triggers = remote.singles(50, poll_interval=0.05)
    connect(monkeypatch, remote.emulator, extra={"max_qps": 20})
    before = len(remote.emulator.journal)
    async with running(triggers):
        await asyncio.sleep(3.0)
    # They are sent exactly apart, but do not arrive so.
    assert most_in_a_second(times(remote, before)) <= 25
    assert 45 <= len(times(remote, before)) <= 62


def most_in_a_second(moments: list[float]) -> int:
    return max(sum(start <= moment < start + 1 for moment in moments) for start in moments)


async def test_a_thousand_concurrent_callers_are_served_in_order_and_never_too_fast():
    service = Service()
    async with service.poller(max_qps=500) as shared:
        await asyncio.gather(*(shared.look(One(f"task-{number}"), 0) for number in range(1000)))
    assert service.asked == [f"task-{number}" for number in range(1000)]
    assert service.sent[-1] - service.sent[0] >= 999 / 500 - 0.05
    assert most_in_a_second(service.sent) <= 525


@pytest.mark.parametrize("callers", ["coroutines", "threads"])
async def test_a_thousand_callers_get_slots_exactly_apart_and_in_order(monkeypatch, callers):
    monkeypatch.setattr("airflow_qianfan.api.exchange.time", SimpleNamespace(monotonic=lambda: 1000.0))
    pace = Pace(500)
    slots: list[float] = []

    def take() -> None:
        mine = [pace.next_slot() for _ in range(20)]
        assert mine == sorted(mine)
        slots.extend(mine)

    if callers == "threads":
        await asyncio.gather(*(asyncio.to_thread(take) for _ in range(50)))
        slots.sort()
    else:

        async def caller() -> None:
            slots.append(pace.next_slot())

        await asyncio.gather(*(caller() for _ in range(1000)))
    assert slots == [pytest.approx(number / 500, abs=1e-9) for number in range(1000)]


async def test_slots_that_nobody_took_are_not_made_up_for(monkeypatch):
    clock = SimpleNamespace(monotonic=lambda: 1000.0)
    monkeypatch.setattr("airflow_qianfan.api.exchange.time", clock)
    pace = Pace(10)
    assert [pace.next_slot() for _ in range(3)] == pytest.approx([0, 0.1, 0.2])
    clock.monotonic = lambda: 1060.0
    assert [pace.next_slot() for _ in range(3)] == pytest.approx([0, 0.1, 0.2])


# Deadlines


async def test_no_look_is_planned_after_the_deadline(remote):
    deadline = time.time() + 0.8
    triggers = [*remote.triggers(5, deadline=deadline), *remote.singles(5, deadline=deadline)]
    events = await asyncio.gather(*map(event_of, triggers))
    assert {event["status"] for event in events} == {"timeout"}
    assert 0 <= time.time() - deadline < 0.5
    assert max(call["time"] for call in remote.calls()) - HOUR / 2 < deadline + 0.5


@pytest.mark.parametrize("trouble", ["hang", "silence", "slots"])
async def test_the_event_comes_soon_after_the_deadline_whatever_holds_up_the_last_look(
    remote, monkeypatch, trouble
):
    monkeypatch.setattr(base, "LAST_LOOK", 0.5)
    triggers = remote.singles(30)
    if trouble == "hang":
        remote.emulator.fail_next("*", kind="timeout", seconds=4, count=None)
    elif trouble == "silence":
        remote.emulator.fail_next("*", kind="throttle", retry_after=60, count=None)
    else:
        connect(monkeypatch, remote.emulator, extra={"max_qps": 0.5})
    deadline = time.time() + 0.6
    for trigger in triggers:
        trigger.deadline = deadline
    events = await asyncio.wait_for(asyncio.gather(*map(event_of, triggers)), 5)
    assert {event["status"] for event in events} == {"timeout"}
    assert time.time() - deadline < 0.9
    await assert_nothing_is_left(remote)


async def test_an_unexpected_time_out_is_not_taken_for_the_deadline(remote, monkeypatch):
    async def timed_out(hook: QianfanHook) -> Any:
        raise TimeoutError

    (trigger,) = remote.singles(1, deadline=time.time() + HOUR)
    monkeypatch.setattr(QianfanHook, "aget_config", timed_out)
    with pytest.raises(TimeoutError):
        await event_of(trigger)


# Logs


async def test_each_line_lands_in_the_log_of_its_own_task(remote, capsys):
    structlog.contextvars.clear_contextvars()
    triggers = [*remote.triggers(4), *remote.singles(2)]

    async def run(trigger: Any, name: str) -> None:
        structlog.contextvars.bind_contextvars(trigger_id=name)
        await event_of(trigger)

    tasks = [asyncio.create_task(run(trigger, f"mark-{n}")) for n, trigger in enumerate(triggers)]
    await remote.wait_for(8)
    remote.emulator.fail_next("DescribeModel", kind="server_error")
    await remote.wait_for(8)
    remote.emulator.advance(2 * HOUR)
    await asyncio.gather(*tasks)
    lines = [line for line in capsys.readouterr().out.splitlines() if "elapsed" in line or "Look" in line]
    for number, trigger in enumerate(triggers[:4]):
        own = [line for line in lines if trigger.fine_tuning_task_id in line]
        assert len(own) >= 2
        assert all(f"mark-{number}" in line for line in own)
    assert all("mark-4" in line or "mark-5" in line for line in lines if "Model" in line)
    assert any("Look failed" in line for line in lines)


async def test_what_the_poller_logs_belongs_to_no_task():
    service = Service()
    structlog.contextvars.bind_contextvars(trigger_id="first-come")
    try:
        async with service.poller() as shared:
            await shared.look(One(), 0)
    finally:
        structlog.contextvars.clear_contextvars()
    assert service.contexts == [{}]


# A service without a network


def answer(body: Any, status: int = 200, **headers: str) -> httpx.Response:
    return httpx.Response(status, json=body, headers=headers)


def throttled(retry_after: int | None = None) -> httpx.Response:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    body = {"requestId": "r", "code": "RequestLimitExceeded", "message": "Too many requests."}
    return answer(body, 429, **headers)


class One:
    """A task that no list shows."""

    def __init__(self, task_id: str = "task-1") -> None:
        self.task_id = task_id

    def request(self) -> DescribeFineTuningTask:
        return DescribeFineTuningTask(task_id=self.task_id)

    def listing(self) -> Listing | None:
        return None


class Member(One):
    """A task that a list shows together with others."""

    job_id = "job-1"

    def listing(self) -> Listing:
        return Listing(
            key=self.job_id,
            request=lambda: DescribeFineTuningTasks(job_id=self.job_id),
            row_id=self.task_id,
            interval=0.02,
        )


class Service:
    """Answers that a task is running, unless a script says otherwise; notes when it was asked for what."""

    def __init__(
        self, script: list[Callable[[], httpx.Response]] | None = None, seconds: float = 0.005
    ) -> None:
        self.script = script or []
        self.seconds = seconds
        self.sent: list[float] = []
        self.asked: list[str] = []
        self.contexts: list[dict[str, Any]] = []

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(time.monotonic())
        self.contexts.append(structlog.contextvars.get_contextvars())
        body = json.loads(request.content)
        scripted = self.script.pop(0) if self.script else None
        if "jobId" in body:
            await asyncio.sleep(self.seconds)
            rows = [{"taskId": f"task-{n}", "runStatus": "Running"} for n in range(300)]
            return answer(
                {"requestId": "r", "result": {"taskList": rows, "pageInfo": {"isTruncated": False}}}
            )
        self.asked.append(body["taskId"])
        await asyncio.sleep(self.seconds)
        if scripted is not None:
            return scripted()
        return answer({"requestId": "r", "result": {"taskId": body["taskId"], "runStatus": "Running"}})

    @asynccontextmanager
    async def poller(self, max_qps: float | None = None) -> AsyncIterator[Poller]:
        config = QianfanConfig(access_key_id="ak", secret_access_key="sk", max_retries=0)
        client = AsyncQianfanClient(config)
        await client._http.aclose()
        client._http = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        shared = Poller(client, max_qps)
        try:
            yield shared
        finally:
            await shared.aclose()


@pytest.mark.parametrize("number", [1, 2, 5])
async def test_answers_go_to_those_who_asked(number):
    service = Service()
    async with service.poller() as shared:
        found = await asyncio.gather(*(shared.look(One(f"task-{n}"), 0.01) for n in range(number * 20)))
    assert [task.task_id for task in found] == [f"task-{n}" for n in range(number * 20)]


async def test_a_look_is_sent_when_it_is_due_not_when_its_turn_came_first():
    service = Service()
    async with service.poller() as shared:
        start = time.monotonic()
        pauses = [0.4, 0.1, 0.3, 0.0, 0.2]
        await asyncio.gather(*(shared.look(One(f"task-{pause}"), pause) for pause in pauses))
    assert service.asked == [f"task-{pause}" for pause in sorted(pauses)]
    for moment, pause in zip(service.sent, sorted(pauses), strict=True):
        assert pause <= moment - start < pause + 0.3


async def test_what_is_due_takes_another_connection_only_where_the_others_do_not_keep_up(monkeypatch):
    monkeypatch.setattr(poller, "PATIENCE", 0.2)
    service = Service(seconds=0.5)
    async with service.poller() as shared:
        start = time.monotonic()
        await asyncio.gather(*(shared.look(One(), 0) for _ in range(5)))
    # The fourth would wait for three, 0.6 s, but the first has ended by then; so the fifth waits for three.
    for moment, due in zip(service.sent, (0, 0.2, 0.4, 0.5, 0.6), strict=True):
        assert due - 0.01 <= moment - start < due + 0.15


async def test_members_of_a_job_are_asked_for_their_progress_in_turn(monkeypatch):
    """However many fall due at the same moment."""
    monkeypatch.setattr(poller, "DETAIL_SHARE", 1.0)
    service = Service()
    async with service.poller() as shared:

        async def watch(member: Member) -> None:
            while len(service.asked) < 60:
                look = shared.look(member, 0.01)
                try:
                    await look
                finally:
                    shared.leave(look)

        async with asyncio.timeout(20):
            await asyncio.gather(*(watch(Member(f"task-{n}")) for n in range(20)))
        assert not shared._groups
    assert min(Counter(service.asked[:60]).values()) >= 2
    assert len(set(service.asked[:60])) == 20


async def test_a_schedule_holds_few_answers_of_those_that_fall_due_much_later():
    service = Service()
    async with service.poller() as shared:
        looks = [shared.look(Member(f"task-{n}"), 500) for n in range(200)]
        looks.append(shared.look(Member("task-200"), 0))
        for look in looks:
            await look
            shared.leave(look)
        assert len(shared._schedule) <= MAX_CONNECTIONS


async def test_a_poller_that_is_closed_while_a_list_is_read_starts_nothing_more():
    service = Service(seconds=1.0)
    async with service.poller() as shared:
        looks = [shared.look(Member(f"task-{n}"), 0.01 * n) for n in range(20)]
        await asyncio.sleep(0.5)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not shared._schedule
    for look in looks:
        look.cancel()


async def test_an_object_that_moves_to_another_list_while_it_waits_is_answered_all_the_same():
    service = Service()
    moving = Member("task-0")
    async with service.poller() as shared:
        looks = [shared.look(moving, 0.02), *(shared.look(Member(f"task-{n}"), 5) for n in (1, 2))]
        moving.job_id = "job-2"
        found = await asyncio.wait_for(asyncio.gather(*looks), 5)
    assert [task.task_id for task in found] == ["task-0", "task-1", "task-2"]


async def test_a_connection_that_fails_is_told_to_the_one_that_asked():
    def refuse() -> httpx.Response:
        raise httpx.ConnectError("refused")

    service = Service(script=[refuse, lambda: answer({}, 500)])
    async with service.poller() as shared:
        outcomes = await asyncio.gather(
            *(shared.look(One(f"task-{n}"), n / 20) for n in range(3)), return_exceptions=True
        )
    assert [type(outcome) for outcome in outcomes[:2]] == [QianfanConnectionError, QianfanServerError]
    assert outcomes[2].task_id == "task-2"
