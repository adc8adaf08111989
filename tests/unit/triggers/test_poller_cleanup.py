"""What triggers that end, are cancelled or crash leave behind: nothing."""

import asyncio
import gc
import math
import warnings

import pytest
from waiting import assert_nothing_is_left, event_of, models, pollers, running, tasks_of_a_job

from airflow_qianfan.api.client import AsyncQianfanClient


def some(qianfan, listed: int, single: int, **arguments):
    return [*tasks_of_a_job(qianfan, listed, **arguments), *models(qianfan, single, **arguments)]


async def test_the_last_one_out_closes_the_client(qianfan):
    async with running(some(qianfan, 3, 3)) as tasks:
        await qianfan.more(6)
        (shared,) = pollers()
        for task in tasks[1:]:
            task.cancel()
        await asyncio.wait(tasks[1:])
        assert pollers() == [shared]
        assert not shared._client._http.is_closed
        await qianfan.more(2)
        assert sum(not poll.done() for poll in shared._schedule) <= 1
    assert shared._client._http.is_closed
    assert_nothing_is_left(qianfan)


async def test_finished_triggers_leave_nothing_behind(qianfan):
    triggers = some(qianfan, 5, 2)
    qianfan.end()
    events = await asyncio.gather(*map(event_of, triggers))
    assert {event["status"] for event in events} == {"success"}
    assert_nothing_is_left(qianfan)


@pytest.mark.parametrize("steps", [*range(12), 20, 40, 80])
async def test_triggers_cancelled_after_any_step_leave_nothing_behind(qianfan, steps):
    tasks = [asyncio.create_task(event_of(trigger)) for trigger in some(qianfan, 3, 3, poll_interval=0.01)]
    for _ in range(steps):
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {asyncio.CancelledError}
    assert_nothing_is_left(qianfan)


@pytest.mark.parametrize("seconds", [0.001, 0.004, 0.005, 0.02, 0.05, 0.1, 1.0])
async def test_triggers_cancelled_at_any_time_leave_nothing_behind(qianfan, seconds, caplog):
    # What others have left is theirs, and is not looked through again.
    gc.collect()
    gc.freeze()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        tasks = [
            asyncio.create_task(event_of(trigger))
            for trigger in some(qianfan, 5, 5, poll_interval=0.02, max_poll_interval=0.02)
        ]
        for task in tasks:
            await asyncio.sleep(seconds / 10)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert_nothing_is_left(qianfan)
        del tasks, task
        gc.collect()
    gc.unfreeze()
    assert not [str(warning.message) for warning in warned]
    assert not [record for record in caplog.records if record.name == "asyncio"]


async def test_triggers_cancelled_while_requests_are_under_way_leave_nothing_behind(qianfan):
    qianfan.fail(None, times=math.inf, seconds=1e6)
    async with running(some(qianfan, 2, 4)):
        await qianfan.until(lambda: qianfan.in_flight >= 4)
    assert_nothing_is_left(qianfan)


async def test_a_second_cancellation_while_the_last_one_leaves_closes_all_the_same(qianfan, monkeypatch):
    aclose = AsyncQianfanClient.aclose

    async def slow_aclose(self: AsyncQianfanClient) -> None:
        await asyncio.sleep(10)
        await aclose(self)

    (trigger,) = models(qianfan, 1)
    task = asyncio.create_task(event_of(trigger))
    await qianfan.more(1)
    monkeypatch.setattr(AsyncQianfanClient, "aclose", slow_aclose)
    (shared,) = pollers()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(1)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not shared._client._http.is_closed
    await asyncio.sleep(10)
    assert shared._client._http.is_closed
    assert_nothing_is_left(qianfan)


@pytest.mark.parametrize("make", [models, tasks_of_a_job])
async def test_a_poll_that_something_else_breaks_off_is_repeated(qianfan, monkeypatch, make):
    call = AsyncQianfanClient.call
    broken = []

    async def break_off_first(self: AsyncQianfanClient, request: object) -> object:
        if not broken:
            broken.append(request)
            raise asyncio.CancelledError
        return await call(self, request)

    monkeypatch.setattr(AsyncQianfanClient, "call", break_off_first)
    triggers = make(qianfan, 3)
    qianfan.end()
    async with asyncio.timeout(3600):
        events = await asyncio.gather(*map(event_of, triggers))
    assert {event["status"] for event in events} == {"success"}
    assert broken
    assert_nothing_is_left(qianfan)
