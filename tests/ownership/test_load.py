"""How often is polled follows from how many wait: all at ``poll_interval`` where they are few."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from account import HOUR, Account
from tasks import training

from airflow_qianfan.api.actions.finetuning import FineTuningTask
from airflow_qianfan.api.actions.model import Model
from airflow_qianfan.exceptions import QianfanServerError
from airflow_qianfan.triggers.base import polling
from airflow_qianfan.triggers.base.poller import Poller
from airflow_qianfan.triggers.base.polling import PollSettings, PollState, Target
from airflow_qianfan.triggers.base.registry import PollerLease
from airflow_qianfan.triggers.finetuning import QianfanFineTuningTaskTrigger

NOW = 1_700_000_000.0
SHORTEST, LONGEST = 30.0, 600.0
LIMIT = 60.0
LOG: Any = SimpleNamespace(info=lambda *_: None, warning=lambda *_: None)


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time stands still, and nothing is random."""
    monkeypatch.setattr(polling, "time", SimpleNamespace(time=lambda: NOW, sleep=None))
    monkeypatch.setattr(random, "uniform", lambda low, high: (low + high) / 2)


def state_at(age: float, run_progress: str | None = None) -> PollState:
    """A training that has waited for so long, as its latest poll found it."""
    settings = PollSettings(started=NOW - age, poll_interval=SHORTEST, max_poll_interval=LONGEST)
    state = PollState(Target(FineTuningTask, "task-1"), settings, LOG, lambda url: url)
    found = {"taskId": "task-1", "runStatus": "Running", "runProgress": run_progress}
    assert state.record(FineTuningTask.model_validate(found)) is None
    return state


@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize(
    ("age", "progress", "affordable", "expected"),
    [
        pytest.param(3 * HOUR, None, 0.0, SHORTEST, id="alone"),
        pytest.param(3 * HOUR, None, 30.0, SHORTEST, id="60 wait"),
        pytest.param(3 * HOUR, "10%", 30.0, SHORTEST, id="60 wait, with progress"),
        pytest.param(3 * HOUR, None, 100.0, 100.0, id="200 wait"),
        pytest.param(3 * HOUR, None, 500.0, 500.0, id="1,000 wait"),
        pytest.param(3 * HOUR, None, 5000.0, LONGEST, id="10,000 wait"),
        # The plan is never waited longer than.
        pytest.param(600.0, None, 500.0, 120.0, id="young"),
        pytest.param(3 * HOUR, "99%", 500.0, SHORTEST, id="nearly done"),
    ],
)
def test_the_pause_is_the_planned_one_or_what_the_load_allows(
    age: float, progress: str | None, affordable: float, expected: float
) -> None:
    assert state_at(age, progress).pause(affordable) == expected


@pytest.mark.usefixtures("frozen")
def test_failed_polls_back_off_however_few_wait() -> None:
    state = state_at(3 * HOUR)
    pauses = []
    for _ in range(6):
        state.record_failure(QianfanServerError("no"))
        pauses.append(state.pause(0.0))
    assert pauses == [30.0, 60.0, 120.0, 240.0, 480.0, 600.0]


async def test_a_list_counts_once_for_all_its_rows() -> None:
    async def close() -> None:
        pass

    client: Any = SimpleNamespace(aclose=close)
    poller = Poller(client)
    loads = [poller.load]
    polls = []
    for target in (
        Target(FineTuningTask, "task-1", "job-1"),
        Target(FineTuningTask, "task-2", "job-1"),
        Target(FineTuningTask, "task-3", "job-2"),
        Target(FineTuningTask, "task-4", "job-1"),
        Target(FineTuningTask, "task-5"),
        Target(Model, "amv-1", "am-1"),
        Target(Model, "amv-2", "am-1"),
    ):
        polls.append(poller.poll(target, SHORTEST, HOUR))
        loads.append(poller.load)
    assert loads == [0, 1, 1, 2, 2, 3, 4, 5]
    # Whoever leaves, the list is read as long as one is left.
    for poll, load in zip(polls, (5, 5, 4, 3, 2, 1, 0), strict=True):
        poller.forget(poll)
        assert poller.load == load
    await poller.aclose()


@pytest.mark.parametrize(("setting", "affordable"), [("2", 50.0), ("0.5", 200.0)])
async def test_the_pause_that_a_lease_affords_follows_the_load_and_the_setting(
    account: Account, monkeypatch: pytest.MonkeyPatch, setting: str, affordable: float
) -> None:
    async def wait(number: int) -> None:
        async with PollerLease("qianfan_default") as lease:
            leases.append(lease)
            await lease.poll(Target(Model, f"amv-{number}"), SHORTEST, HOUR)

    leases: list[PollerLease] = []
    assert PollerLease("qianfan_default").affordable_pause == 0.0
    monkeypatch.setenv("AIRFLOW__QIANFAN__POLLS_PER_SECOND", setting)
    waiting = [asyncio.ensure_future(wait(number)) for number in range(100)]
    async with asyncio.timeout(LIMIT):
        while len(leases) < 100 or any(lease.affordable_pause != affordable for lease in leases):  # noqa: ASYNC110
            await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


@pytest.mark.parametrize(("setting", "affordable"), [("2", 0.5), ("0.01", 100.0)])
async def test_a_trigger_asks_its_lease_what_it_can_afford(
    account: Account, monkeypatch: pytest.MonkeyPatch, setting: str, affordable: float
) -> None:
    task = account.make_task(account.make_job())
    asked = []

    def pause(state: PollState, affordable: float = 0.0) -> None:
        asked.append(affordable)

    monkeypatch.setenv("AIRFLOW__QIANFAN__POLLS_PER_SECOND", setting)
    monkeypatch.setattr(PollState, "first_pause", lambda state: 0.0)
    monkeypatch.setattr(PollState, "pause", pause)
    # The poll itself is not awaited any more when the pause is chosen; another trigger's is.
    async with PollerLease("qianfan_default") as other:
        waiting = asyncio.ensure_future(other.poll(Target(Model, "amv-1"), SHORTEST, HOUR))
        async with asyncio.timeout(LIMIT):
            async for event in QianfanFineTuningTaskTrigger(fine_tuning_task_id=task).run():
                assert event.payload["status"] == "timeout"
        waiting.cancel()
    assert asked == [affordable]


def test_on_a_worker_is_polled_at_the_poll_interval_to_the_end(account: Account) -> None:
    account.backend.task_seconds = 5 * HOUR
    assert training(deferrable=False).attempt()["status"] == "Done"
    polls = [entry for entry in account.emulator.journal if entry["action"] == "DescribeFineTuningTask"]
    times = [entry["time"] for entry in polls]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    # A tenth is added or taken away at random, and pauses end at whole seconds.
    assert min(gaps) >= 26
    assert max(gaps) <= 35
