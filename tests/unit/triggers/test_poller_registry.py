"""Which triggers share a poller, and what becomes of it when the connection changes."""

import asyncio
import math

import pytest
from fake_qianfan import REFUSED_KEY, FakeQianfan, connect
from waiting import (
    assert_nothing_is_left,
    event_of,
    model_trigger,
    models,
    pollers,
    running,
    tasks_of_a_job,
)

from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.triggers.base.poller import Poller
from airflow_qianfan.triggers.base.registry import CONFIG_SECONDS, PollerLease

KEEPS = "cannot be used; keeping its previous settings"


@pytest.fixture
def reads(monkeypatch):
    """The ids of the connections that were read."""
    reads: list[str] = []
    read = QianfanHook.aget_config

    async def note(hook):
        reads.append(hook.qianfan_conn_id)
        return await read(hook)

    monkeypatch.setattr(QianfanHook, "aget_config", note)
    return reads


# Who shares


async def test_connections_with_the_same_credential_share_a_poller_others_do_not(qianfan, monkeypatch):
    connect(monkeypatch, "SAME", extra={"max_retries": 7})
    connect(monkeypatch, "OTHER", login="AKOTHER")
    async with (
        PollerLease("qianfan_default") as first,
        PollerLease("qianfan_default") as second,
        PollerLease("same") as same,
        PollerLease("other") as other,
    ):
        taken = [await lease._take(0) for lease in (first, second, same, other)]
        assert taken[0] is taken[1] is taken[2] is not taken[3]
        assert len(pollers()) == 2
    assert_nothing_is_left(qianfan)


async def test_two_event_loops_do_not_share(monkeypatch):
    FakeQianfan().install(monkeypatch)

    async def take() -> Poller:
        async with PollerLease("qianfan_default") as lease:
            return await lease._take(0)

    async with PollerLease("qianfan_default") as lease:
        here = await lease._take(0)
        there = await asyncio.to_thread(lambda: asyncio.run(take()))
        assert there is not here
        assert pollers() == [here]


async def test_many_triggers_read_the_connection_once_and_share_one_client(qianfan, reads):
    async with running(models(qianfan, 300, poll_interval=10.0)):
        await qianfan.more(300)
        assert len(pollers()) == 1
    assert reads == ["qianfan_default"]
    assert_nothing_is_left(qianfan)


async def test_joining_and_leaving_neither_reads_the_connection_nor_opens_a_client(qianfan, reads):
    async with PollerLease("qianfan_default") as first:
        shared = await first._take(0)
        for _ in range(1000):
            async with PollerLease("qianfan_default") as lease:
                assert await lease._take(0) is shared
        assert pollers() == [shared]
        assert not shared._client._http.is_closed
    assert reads == ["qianfan_default"]


async def test_a_connection_is_read_again_after_a_while(qianfan, reads):
    async with running(models(qianfan, 3, poll_interval=5.0, max_poll_interval=5.0)):
        await asyncio.sleep(10 * CONFIG_SECONDS)
    assert 9 <= len(reads) <= 11


# The connection changes


async def test_a_changed_secret_is_picked_up_at_the_first_refusal(qianfan, monkeypatch):
    qianfan.keys = {"AKEXAMPLE"}
    triggers = [*tasks_of_a_job(qianfan, 5, poll_interval=5.0), *models(qianfan, 5, poll_interval=5.0)]
    async with running(triggers) as tasks:
        await qianfan.more(20)
        old = pollers()
        connect(monkeypatch, login="AKNEW", password="new-secret")
        qianfan.keys = {"AKNEW"}
        before = len(qianfan.calls)
        await qianfan.until(lambda: len(pollers()) == 1 and pollers() != old)
        assert not any(task.done() for task in tasks)
        # Each was refused once at most.
        assert sum(call.key != "AKNEW" for call in qianfan.calls[before:]) <= len(tasks)
        qianfan.end()
        events = await asyncio.gather(*tasks)
    assert {event["status"] for event in events} == {"success"}
    assert_nothing_is_left(qianfan)


async def test_a_changed_connection_is_picked_up_in_time_without_a_refusal(qianfan, monkeypatch):
    async with running(models(qianfan, 5, poll_interval=5.0, max_poll_interval=5.0)):
        await qianfan.more(5)
        connect(monkeypatch, login="AKNEW")
        await asyncio.sleep(CONFIG_SECONDS + 6)
        before = len(qianfan.calls)
        await qianfan.more(10)
        assert {call.key for call in qianfan.calls[before:]} == {"AKNEW"}
        assert len(pollers()) == 1
    assert_nothing_is_left(qianfan)


async def test_a_key_disabled_before_the_connection_is_updated_ends_no_wait(qianfan, monkeypatch):
    triggers = [*tasks_of_a_job(qianfan, 3, poll_interval=5.0), *models(qianfan, 3, poll_interval=5.0)]
    async with running(triggers) as tasks:
        await qianfan.more(12)
        qianfan.keys = {"AKNEW"}
        await qianfan.more(6)
        connect(monkeypatch, login="AKNEW", password="new-secret")
        # They read the list again, too.
        await qianfan.more(3, "DescribeFineTuningTasks")
        assert not any(task.done() for task in tasks)
        qianfan.end()
        events = await asyncio.gather(*tasks)
    assert {event["status"] for event in events} == {"success"}


async def test_a_wrong_key_from_the_start_fails_at_once(qianfan):
    qianfan.fail(REFUSED_KEY, times=math.inf)
    events = await asyncio.gather(*map(event_of, models(qianfan, 3)))
    assert {(event["status"], event["can_retry"]) for event in events} == {("error", False)}
    assert len(qianfan.calls) == 3
    assert_nothing_is_left(qianfan)


@pytest.mark.parametrize("trouble", ["missing", "broken", "incomplete", "unusable"])
async def test_a_connection_that_cannot_be_used_for_a_while_ends_no_wait(
    qianfan, monkeypatch, caplog, trouble
):
    async with running(models(qianfan, 3, poll_interval=5.0, max_poll_interval=5.0)) as tasks:
        await qianfan.more(3)
        match trouble:
            case "missing":
                monkeypatch.delenv("AIRFLOW_CONN_QIANFAN_DEFAULT")
            case "broken":
                monkeypatch.setattr(QianfanHook, "aget_config", lambda hook: 1 / 0)
            case "incomplete":
                connect(monkeypatch, password="")
            case _:
                connect(monkeypatch, extra={"verify": "/nowhere/ca.pem"})
        await asyncio.sleep(2 * CONFIG_SECONDS)
        await qianfan.more(6)
        assert f"Connection 'qianfan_default' {KEEPS}" in caplog.text
        qianfan.end()
        events = await asyncio.gather(*tasks)
    assert {event["status"] for event in events} == {"success"}
    assert_nothing_is_left(qianfan)


async def test_a_secrets_backend_that_is_away_at_the_start_is_tried_again(qianfan, monkeypatch):
    """Airflow says that the connection is missing then, too."""
    (trigger,) = models(qianfan, 1)
    qianfan.end()
    monkeypatch.delenv("AIRFLOW_CONN_QIANFAN_DEFAULT")
    waiting = asyncio.create_task(event_of(trigger))
    await asyncio.sleep(100)
    assert not waiting.done()
    connect(monkeypatch)
    assert (await waiting)["status"] == "success"


async def test_a_connection_without_a_key_fails_at_once_and_says_so(qianfan, monkeypatch):
    connect(monkeypatch, password="")
    event = await event_of(model_trigger())
    assert (event["status"], event["can_retry"]) == ("error", False)
    assert "qianfan_default" in event["message"]
    assert not qianfan.calls
    assert_nothing_is_left(qianfan)
