"""When a task ends: only a user who ends it stops what it waits for, and then that is really stopped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from account import Account
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from tasks import AirflowTask, training, version

from airflow_qianfan.exceptions import QianfanExecutionTimeoutError
from airflow_qianfan.triggers.base import cancel

LIMIT = 60.0
"""Seconds after which a test that hangs is given up."""


class Log(list[tuple[str, str]]):
    """What a task's log is told."""

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda message, *values, **_: self.append((level, message % values))

    def of(self, level: str) -> str:
        return "\n".join(text for found, text in self if found == level)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def waiting(account: Account) -> AirflowTask:
    """A training that a deferred task waits for."""
    task = training()
    task.attempt()
    account.emulator._backend.store.journal.clear()
    return task


class Airflow:
    """What Airflow answers when it is asked for the state of a task."""

    def __init__(self) -> None:
        self.answer: Callable[[], Any] = dict

    def says(self, task: AirflowTask, state: str | None) -> None:
        self.answer = lambda: {task.run_id: {task.task_id: state}}

    def get_task_states(self, **_: Any) -> Any:
        return self.answer()


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    airflow = Airflow()
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(airflow.get_task_states))
    return airflow


async def cancel_trigger(
    task: AirflowTask, log: Log, *, every: float | None = None, seconds: float = 30
) -> None:
    """Let Airflow cancel the trigger of a task; ``on_kill`` too, again and again where ``every`` says so."""
    trigger: Any = task.deferred.trigger if task.deferred else None
    ti = SimpleNamespace(dag_id=task.dag_id, run_id=task.run_id, task_id=task.task_id, map_index=-1)
    hook = cancel_hook(trigger.qianfan_conn_id)
    stopping = asyncio.ensure_future(
        cancel.stop_if_user_ended_task(hook, task.target, ti, log, seconds=seconds)  # type: ignore[arg-type]
    )
    async with asyncio.timeout(LIMIT):
        while every is not None and not stopping.done():
            await asyncio.sleep(every)
            stopping.cancel()
        await stopping


def cancel_hook(conn_id: str) -> Any:
    from airflow_qianfan.hooks.qianfan import QianfanHook

    return QianfanHook(conn_id, timeout=15)


# ---------------------------------------------------------------------- in the triggerer


@pytest.mark.parametrize(
    "state",
    [None, "scheduled", "queued", "running", "deferred", "up_for_retry", "up_for_reschedule", "restarting"],
)
async def test_nothing_is_stopped_where_no_user_has_ended_the_task(
    account: Account,
    waiting: AirflowTask,
    airflow: Airflow,
    log: Log,
    state: str | None,
) -> None:
    airflow.says(waiting, state)
    await cancel_trigger(waiting, log)
    assert len(account.active) == 1
    assert account.emulator.journal == []
    assert "goes on" in log.of("info")


@pytest.mark.parametrize("state", ["failed", "success", "skipped", "upstream_failed", "removed"])
async def test_what_a_user_has_ended_is_stopped_and_verified(
    account: Account, waiting: AirflowTask, airflow: Airflow, log: Log, state: str
) -> None:
    airflow.says(waiting, state)
    await cancel_trigger(waiting, log)
    assert account.active == []
    assert [entry["action"] for entry in account.emulator.journal] == [
        "StopFineTuningTask",
        "DescribeFineTuningTask",
    ]
    assert log == [
        (
            "info",
            f"Stopped {waiting.target.label}, since a user ended the Airflow task that waited for it: "
            f"it is {state}: it is Stopped.",
        )
    ]


def unanswered() -> Any:
    raise OSError("no answer")


@pytest.mark.parametrize(
    "answer", [unanswered, dict, lambda: {"run": {}}], ids=["error", "no run", "no task"]
)
async def test_where_airflow_does_not_answer_nothing_is_stopped_and_an_error_says_so(
    account: Account, waiting: AirflowTask, airflow: Airflow, log: Log, answer: Any
) -> None:
    airflow.answer = answer
    await cancel_trigger(waiting, log)
    assert len(account.active) == 1
    assert account.emulator.journal == []
    assert "does not tell whether a user ended the task" in log.of("error")
    assert waiting.target.object_id in log.of("error")


async def test_an_airflow_that_hangs_is_not_waited_for_without_end(
    account: Account,
    waiting: AirflowTask,
    airflow: Airflow,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cancel, "TRIGGERER_ASK_SECONDS", 0.05)
    answered = threading.Event()

    def answer() -> Any:
        assert answered.wait(2 * LIMIT), "it was waited for"
        raise AssertionError("too late")

    airflow.answer = answer
    try:
        await cancel_trigger(waiting, log)
    finally:
        answered.set()
    assert len(account.active) == 1
    assert "does not tell" in log.of("error")


FAULTS: dict[str, dict[str, Any]] = {
    "429 twice": {"kind": "throttle", "count": 2},
    "500 twice": {"kind": "server_error", "count": 2},
    "reset": {"kind": "reset"},
    "answer lost": {"kind": "lost_answer"},
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_stop_goes_on_although_airflow_cancels_it_again_and_again(
    account: Account, waiting: AirflowTask, airflow: Airflow, log: Log, fault: str
) -> None:
    airflow.says(waiting, "failed")
    account.fail("StopFineTuningTask", **FAULTS[fault])
    await cancel_trigger(waiting, log, every=0.003)
    assert account.active == []
    assert "it is Stopped" in log.of("info")
    assert not log.of("error")


async def test_a_stop_waits_for_a_slow_connection_although_it_is_cancelled(
    account: Account, waiting: AirflowTask, airflow: Airflow, log: Log
) -> None:
    airflow.says(waiting, "success")
    connecting, connected = asyncio.Event(), asyncio.Event()

    async def connect() -> None:
        connecting.set()
        await connected.wait()

    account.before_async = connect
    stopping = asyncio.ensure_future(cancel_trigger(waiting, log, every=0.003))
    async with asyncio.timeout(LIMIT):
        await connecting.wait()
        for _ in range(20):
            await asyncio.sleep(0.003)
        assert account.emulator.journal == []
        connected.set()
        await stopping
    assert account.active == []
    assert "it is Stopped" in log.of("info")


async def test_a_stop_that_fails_until_time_is_over_is_an_error_in_the_log(
    account: Account, waiting: AirflowTask, airflow: Airflow, log: Log
) -> None:
    airflow.says(waiting, "failed")
    account.fail("StopFineTuningTask", "server_error", count=None)
    await cancel_trigger(waiting, log, every=0.003, seconds=0.2)
    assert len(account.active) == 1
    assert "did not succeed" in log.of("error")
    assert "look in the console" in log.of("error")


async def test_many_are_stopped_at_once(account: Account, airflow: Airflow, log: Log) -> None:
    tasks = [training(map_index=index) for index in range(10)]
    for task in tasks:
        task.attempt()
    airflow.says(tasks[0], "failed")
    account.fail("StopFineTuningTask", "throttle", count=10)
    await asyncio.gather(*(cancel_trigger(task, log, every=0.003) for task in tasks))
    assert account.active == []
    assert len(log) == len(tasks)


async def test_what_the_service_cannot_stop_is_left_alone(
    account: Account, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = version(account.make_set())
    task.attempt()
    airflow.says(task, "failed")
    trigger: Any = task.deferred.trigger if task.deferred else None
    account.backend.store.journal.clear()
    await trigger.on_kill()
    assert account.emulator.journal == []
    assert len(account.active) == 1


# ---------------------------------------------------------------------- on a worker


@pytest.fixture
def running(account: Account, monkeypatch: pytest.MonkeyPatch) -> AirflowTask:
    """A training that a task waits for on a worker."""
    task = training()
    task.arguments["deferrable"] = False
    monkeypatch.setattr(cancel, "get_current_context", task.context)
    return task


def killed(
    account: Account, task: AirflowTask, state: str | None, fault: dict[str, Any] | None = None
) -> None:
    """Let Airflow end the process of a task while it polls, after the state of the task has changed."""

    class Killed(BaseException):
        pass

    def kill(action: str) -> None:
        if action == "DescribeFineTuningTask":
            account.before = lambda action: None
            task.state = state
            if fault:
                account.fail("StopFineTuningTask", **fault)
            task.operator.on_kill()
            raise Killed

    account.before = kill
    with pytest.raises(Killed):
        task.attempt()


WORKER_FAULTS: dict[str, dict[str, Any]] = {
    "429": {"kind": "throttle"},
    "500": {"kind": "server_error"},
    "reset": {"kind": "reset"},
    "answer lost": {"kind": "lost_answer"},
    "500 three times": {"kind": "server_error", "count": 3},
}


@pytest.mark.parametrize("fault", WORKER_FAULTS)
def test_on_a_worker_a_stop_is_repeated_while_there_is_time(
    account: Account, running: AirflowTask, fault: str
) -> None:
    killed(account, running, "failed", WORKER_FAULTS[fault])
    assert account.active == []
    assert account.passed < 5, "Airflow kills the process after that"


def test_on_a_worker_a_stop_ends_before_airflow_kills_its_process(
    account: Account, running: AirflowTask, capsys: pytest.CaptureFixture[str]
) -> None:
    killed(account, running, "failed", {"kind": "server_error", "count": None})
    assert len(account.active) == 1
    assert account.passed < 5
    assert "did not succeed" in capsys.readouterr().out


@pytest.mark.parametrize("state", [None, "running", "queued", "up_for_retry"])
def test_on_a_worker_nothing_is_stopped_where_no_user_has_ended_the_task(
    account: Account, running: AirflowTask, state: str | None
) -> None:
    killed(account, running, state)
    assert len(account.active) == 1
    assert account.sent("StopFineTuningTask") == []


@pytest.mark.parametrize("change", ["key", "token"])
def test_a_worker_reads_the_connection_again_where_its_key_or_token_has_ended(
    account: Account, running: AirflowTask, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    credentials = account.backend.credentials
    polls = 0

    def rotate(action: str) -> None:
        nonlocal polls
        if action != "DescribeFineTuningTask":
            return
        polls += 1
        if polls == 2:
            if change == "key":
                new = {"login": "ALTAKNEWKEY000000000000", "password": "0" * 32}
                object.__setattr__(credentials, "access_key", new["login"])
                object.__setattr__(credentials, "secret_key", new["password"])
                account.connect(monkeypatch, **new)
            else:
                object.__setattr__(credentials, "session_token", "a-new-token")
                account.connect(monkeypatch, extra={"session_token": "a-new-token"})

    account.before = rotate
    assert running.attempt()["status"] == "Done"
    assert polls > 3
    assert len(account.ids("task")) == 1


@pytest.mark.parametrize("has_store", [True, False], ids=["records", "no records"])
def test_the_time_out_of_a_deferral_that_no_triggerer_served_stops_the_training(
    account: Account, has_store: bool
) -> None:
    task = training(**({} if has_store else {"store": None}), execution_timeout=timedelta(hours=1))
    task.attempt()
    with pytest.raises(QianfanExecutionTimeoutError, match="was stopped"):
        task.give_up()
    assert list(account.states().values()) == ["Stopped"]
