"""All that wait slow down together, and keep the rate that the connection allows."""

import asyncio
import itertools
import math

import pytest
from fake_qianfan import connect, throttled
from waiting import models, running

from airflow_qianfan.api.actions.finetuning import FineTuningTask
from airflow_qianfan.exceptions import QianfanThrottledError
from airflow_qianfan.triggers.base import poller as poller_module
from airflow_qianfan.triggers.base.poller import (
    FIRST_SLOWDOWN,
    LONGEST_SILENCE,
    LONGEST_SLOWDOWN,
    MAX_CONNECTIONS,
    MAX_THROTTLED,
)
from airflow_qianfan.triggers.base.polling import Target


def one(number: int = 0) -> Target:
    """Return a task that no list shows."""
    return Target(FineTuningTask, f"task-{number}")


@pytest.fixture
def service(qianfan):
    """The service, with some tasks."""
    for n in range(1000):
        qianfan.add(FineTuningTask, f"task-{n}", "Running")
    return qianfan


def gaps(moments: list[float]) -> list[float]:
    return [later - sooner for sooner, later in itertools.pairwise(moments)]


async def test_a_throttled_request_silences_all_for_as_long_as_the_service_asks(qianfan):
    triggers = models(qianfan, 40, poll_interval=5.0, max_poll_interval=5.0)
    async with running(triggers) as tasks:
        await qianfan.more(100)
        qianfan.fail(throttled(200))
        before = len(qianfan.calls)
        await qianfan.more(100)
        assert not any(task.done() for task in tasks)
    silenced, *later = qianfan.times[before:]
    # What was under way together with it still arrives.
    assert sum(moment < silenced + 200 for moment in later) < MAX_CONNECTIONS
    assert sum(moment >= silenced + 200 for moment in later) >= 90


async def test_requests_throttled_together_double_the_silence_once_and_it_recovers(
    service, make_poller, monkeypatch
):
    monkeypatch.setattr(poller_module, "PATIENCE", 0.0)
    service.fail(throttled(), times=MAX_CONNECTIONS)
    poller = make_poller()
    await asyncio.gather(*(poller.poll(one(n), 1, 0) for n in range(MAX_CONNECTIONS)))
    assert len(service.calls) == 2 * MAX_CONNECTIONS
    pause = service.times[MAX_CONNECTIONS] - service.times[MAX_CONNECTIONS - 1]
    assert pause == pytest.approx(FIRST_SLOWDOWN, abs=0.01)
    await poller.poll(one(), 1, 0)
    assert poller._slowdown == 0


async def test_throttling_that_lasts_makes_the_silence_longer_up_to_a_bound(service, make_poller):
    service.fail(throttled(), times=MAX_THROTTLED)
    await make_poller().poll(one(), 1, 0)
    expected = [min(FIRST_SLOWDOWN * 2**n, LONGEST_SLOWDOWN) for n in range(MAX_THROTTLED)]
    assert expected[-1] == LONGEST_SLOWDOWN
    assert gaps(service.times) == pytest.approx(expected, abs=0.02)


async def test_each_success_halves_the_silence_that_a_further_refusal_takes(service, make_poller):
    service.fail(throttled(), times=3)
    poller = make_poller()
    await poller.poll(one(), 1, 0)
    assert poller._slowdown == 2 * FIRST_SLOWDOWN
    await poller.poll(one(), 1, 0)
    assert poller._slowdown == FIRST_SLOWDOWN
    await poller.poll(one(), 1, 0)
    assert poller._slowdown == 0


async def test_a_service_that_is_busy_for_ever_is_told_to_the_trigger(service, make_poller):
    service.fail(throttled(), times=math.inf)
    with pytest.raises(QianfanThrottledError):
        await make_poller().poll(one(), 1, 0)
    assert len(service.calls) == MAX_THROTTLED + 1


async def test_a_retry_after_beyond_all_bounds_does_not_silence_for_ever(service, make_poller):
    service.fail(throttled(10**9))
    await make_poller().poll(one(), 1, 0)
    assert gaps(service.times) == pytest.approx([LONGEST_SILENCE], abs=0.02)


async def test_no_request_is_sent_into_a_silence_that_began_while_it_waited_for_its_slot(
    service, make_poller
):
    service.fail(throttled(10))
    service.seconds = 0.06
    poller = make_poller(max_qps=20)
    await asyncio.gather(*(poller.poll(one(n), 1, 0) for n in range(8)))
    first, *others = service.times
    # One or two more were on their way before the first was answered.
    assert sum(moment < first + 10 for moment in others) <= 2
    assert len(others) == 8
    assert min(gaps(service.times)) >= 0.0499


async def test_max_qps_is_kept_by_all_together_and_first_come_is_first_served(service, clock, make_poller):
    order: list[int] = []
    poller = make_poller(max_qps=50)

    async def poll(number: int) -> None:
        await poller.poll(one(number), 1, number / 1000)
        order.append(number)

    await asyncio.gather(*map(poll, range(100)))
    assert gaps(service.times) == [pytest.approx(1 / 50, abs=1e-6)] * 99
    assert [call.body["taskId"] for call in service.calls] == [f"task-{n}" for n in range(100)]
    assert order == sorted(order)


async def test_a_thousand_concurrent_callers_are_served_in_order_and_never_too_fast(service, make_poller):
    poller = make_poller(max_qps=500)
    await asyncio.gather(*(poller.poll(one(n), 1, 0) for n in range(1000)))
    assert [call.body["taskId"] for call in service.calls] == [f"task-{n}" for n in range(1000)]
    assert min(gaps(service.times)) >= 1 / 500 - 1e-6


async def test_max_qps_of_a_connection_holds_for_all_its_triggers(qianfan, monkeypatch):
    connect(monkeypatch, extra={"max_qps": 20})
    async with running(models(qianfan, 50, poll_interval=0.05, max_poll_interval=0.05)):
        await asyncio.sleep(10)
    assert min(gaps(qianfan.times)) >= 1 / 20 - 1e-6
    assert 190 <= len(qianfan.calls) <= 201
