"""A watched model set: each version is told once, whoever published it and whatever restarts."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from fake_qianfan import SECRET, TOKEN, FakeQianfan, refusal, server_error
from waiting import again, assert_nothing_is_left

from airflow_qianfan.api.actions.model import Model, ModelSet
from airflow_qianfan.triggers import model_version
from airflow_qianfan.triggers.base.watch import MAX_GONE, VERSIONS, Seen, claim_key
from airflow_qianfan.triggers.model_version import STORE_SECONDS, QianfanModelVersionTrigger

SET = "am-1"
INTERVAL = 30.0
CLAIM = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}


class Memory:
    """What Airflow keeps of the watched asset."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.is_down = False

    async def aget(self, key: str, default: Any = None) -> Any:
        if self.is_down:
            raise model_version.AirflowException("the database is away")
        return json.loads(self.values[key]) if key in self.values else default

    async def aset(self, key: str, value: Any) -> None:
        self.values[key] = json.dumps(value)

    async def adelete(self, key: str) -> None:
        del self.values[key]

    @property
    def seen(self) -> Seen | None:
        return Seen.load(json.loads(self.values.get(VERSIONS, "null")))


class Watching:
    """A watcher, its model set and what Airflow keeps. ``told`` is what all its runs have told."""

    def __init__(self, qianfan: FakeQianfan) -> None:
        self.qianfan = qianfan
        self.set = qianfan.add(ModelSet, SET, "", modelIds=[])
        self.memory = Memory()
        self.told: list[dict[str, Any]] = []

    @property
    def ids(self) -> list[str]:
        return [one["model_id"] for one in self.told]

    def publish(self, model_id: str, word: str = "Ready", **members: Any) -> Any:
        remote = self.qianfan.add(Model, model_id, word, parent_id=SET, **members)
        self.set.members["modelIds"] = [model_id, *self.set.members["modelIds"]]
        return remote

    def make_trigger(self) -> Any:
        trigger = again(QianfanModelVersionTrigger(model_set_id=SET, poll_interval=INTERVAL))
        trigger.asset_state_store = _Store(self.memory)
        return trigger

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the watcher until the block ends, as a triggerer that is killed then does."""

        async def run() -> None:
            async for event in self.make_trigger().run():
                self.told.append(event.payload)

        task = asyncio.create_task(run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def polls(self, number: int = 3) -> None:
        await self.qianfan.more(number, "DescribeModelSet")


class _Store:
    """What a triggerer gives to a trigger whose asset has a name of its own."""

    def __init__(self, memory: Memory) -> None:
        self.aget, self.aset, self.adelete = memory.aget, memory.aset, memory.adelete

    def __getitem__(self, asset: Any) -> Any:
        raise KeyError(asset)


@pytest.fixture
async def watching(qianfan: FakeQianfan) -> AsyncIterator[Watching]:
    watching = Watching(qianfan)
    yield watching
    assert_nothing_is_left(qianfan)


async def test_what_exists_at_first_is_no_news_and_what_comes_later_is_told_once_each_in_order(watching):
    watching.publish("amv-old")
    async with watching.running():
        await watching.polls()
        assert watching.told == []
        watching.publish("amv-1", modelName="bot-V2", sourceInfo={"taskId": "task-1"})
        watching.publish("amv-2")
        await watching.polls(5)
    assert watching.told[0] == {
        "model_set_id": SET,
        "model_id": "amv-1",
        "model_name": "bot-V2",
        "state": "Ready",
        "fine_tuning_task_id": "task-1",
        "is_repeated": False,
    }
    assert watching.ids == ["amv-1", "amv-2"]
    assert watching.memory.seen == Seen(told=["amv-old", "amv-1", "amv-2"])


async def test_a_version_is_told_when_it_is_ready_and_not_when_it_fails(watching):
    async with watching.running():
        await watching.polls()
        slow, bad = watching.publish("amv-slow", "Creating"), watching.publish("amv-bad", "Creating")
        await watching.polls()
        assert watching.told == []
        slow.word, bad.word = "Ready", "Fail"
        await watching.polls()
    assert watching.ids == ["amv-slow"]
    assert set(watching.memory.seen.told) == {"amv-slow", "amv-bad"}


async def test_nothing_is_missed_and_nothing_comes_twice_over_restarts(watching):
    for number in range(5):
        async with watching.running():
            await watching.polls(4)
        watching.publish(f"amv-{number}")
    async with watching.running():
        await watching.polls(4)
    assert watching.ids == [f"amv-{number}" for number in range(5)]
    assert not any(one["is_repeated"] for one in watching.told)


async def test_an_event_that_airflow_may_not_have_stored_is_sent_again_and_says_so(watching):
    async with watching.running():
        await watching.polls()
        watching.publish("amv-1")
        await watching.qianfan.until(lambda: bool(watching.qianfan.count("DescribeModel")))
        await asyncio.sleep(STORE_SECONDS / 2)
    assert watching.ids == ["amv-1"]
    assert watching.memory.seen.told == []
    assert list(watching.memory.seen.telling) == ["amv-1"]
    async with watching.running():
        await watching.polls(5)
    assert [(one["model_id"], one["is_repeated"]) for one in watching.told] == [
        ("amv-1", False),
        ("amv-1", True),
    ]
    assert watching.memory.seen == Seen(told=["amv-1"])


async def test_failing_polls_end_nothing_and_lose_nothing(watching):
    async with watching.running():
        await watching.polls()
        watching.publish("amv-1")
        watching.qianfan.fail(server_error(), times=math.inf)
        await watching.polls(20)
        watching.qianfan.heal()
        await watching.polls()
    assert watching.ids == ["amv-1"]
    pauses = [
        later.time - sooner.time
        for sooner, later in zip(watching.qianfan.calls, watching.qianfan.calls[1:], strict=False)
    ]
    assert max(pauses) > 10 * INTERVAL, "failures make the pauses longer"


async def test_an_error_between_two_versions_repeats_none(watching):
    async with watching.running():
        await watching.polls()
        watching.publish("amv-1")
        watching.publish("amv-2")
        watching.qianfan.fail(None, action="DescribeModel")
        watching.qianfan.fail(server_error(), action="DescribeModel")
        await watching.polls()
    assert watching.ids == ["amv-1", "amv-2"]


async def test_a_version_that_cannot_be_read_holds_up_no_other(watching):
    async with watching.running():
        await watching.polls()
        watching.publish("amv-1")
        watching.publish("amv-2")
        watching.qianfan.fail(refusal("AccessDenied"), action="DescribeModel")
        await watching.qianfan.until(lambda: watching.memory.seen == Seen(told=["amv-2"]))
        await watching.polls()
    assert watching.ids == ["amv-2", "amv-1"]


async def test_a_memory_that_is_away_is_waited_for(watching):
    watching.memory.is_down = True
    async with watching.running():
        await watching.polls()
        watching.memory.is_down = False
        await watching.polls()
        watching.publish("amv-1")
        await watching.polls()
    assert watching.ids == ["amv-1"]


async def test_a_triggerer_that_was_paused_does_not_repeat_what_another_has_told(watching):
    async with watching.running():
        await watching.polls()
        async with watching.running():
            await watching.polls(4)
            watching.publish("amv-1")
            await watching.polls(8)
    assert watching.ids.count("amv-1") == 1


async def test_a_deleted_version_is_forgotten_late(watching):
    async with watching.running():
        await watching.polls()
        watching.publish("amv-1")
        await watching.polls()
        listed = watching.set.members["modelIds"]
        watching.set.members["modelIds"] = []
        await watching.polls()
        watching.set.members["modelIds"] = listed
        await watching.polls()
    assert watching.ids == ["amv-1"], "a list may lag behind"


def test_what_is_gone_for_long_is_forgotten():
    seen = Seen(told=[f"amv-{number}" for number in range(MAX_GONE + 10)])
    assert seen.forget_gone(["amv-0"])
    assert len(seen.told) == MAX_GONE + 1
    assert seen.told[0] == "amv-0"
    assert not seen.forget_gone(["amv-0"])


@pytest.mark.parametrize(
    ("state", "told", "claimed"),
    [
        ("success", [], False),
        ("failed", ["amv-1"], False),
        ("skipped", ["amv-1"], False),
        (LookupError, ["amv-1"], False),
        ("running", [], True),
        (None, [], True),
    ],
)
async def test_a_version_of_which_a_task_tells_is_left_to_it(watching, monkeypatch, state, told, claimed):
    async def state_of(ti):
        assert vars(ti) == CLAIM
        if state is LookupError:
            raise LookupError
        return state

    monkeypatch.setattr(model_version, "aget_task_state", state_of)
    async with watching.running():
        await watching.polls()
        await watching.memory.aset(claim_key("amv-1"), CLAIM)
        watching.publish("amv-1")
        await watching.polls()
    assert watching.ids == told
    assert (claim_key("amv-1") in watching.memory.values) is claimed
    assert watching.memory.seen == Seen(told=[] if claimed else ["amv-1"])


async def test_no_secret_is_in_what_airflow_stores_of_it(watching, capsys):
    async with watching.running():
        await watching.polls()
        watching.publish("amv-1")
        watching.qianfan.fail(server_error(), times=2)
        await watching.polls()
    trigger = watching.make_trigger()
    shown = "".join((repr(trigger), str(trigger.serialize()), str(watching.told), *capsys.readouterr()))
    shown += str(watching.memory.values)
    assert SECRET not in shown
    assert TOKEN not in shown


@pytest.mark.parametrize("bad", [{"model_set_id": ""}, {"model_set_id": SET, "poll_interval": 0}])
def test_bad_arguments_are_refused_when_the_dag_is_parsed(bad):
    with pytest.raises(ValueError, match=r"model_set_id|poll_interval"):
        QianfanModelVersionTrigger(**bad)
