"""A task that is ended on a worker creates nothing any more, and stops what it has created."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
from creating import FT, KINDS, WHOLE_TRAINING, Work, call

from airflow_qianfan.compat import AirflowTaskTimeout, TaskDeferred
from airflow_qianfan.exceptions import (
    QianfanError,
    QianfanExecutionTimeoutError,
    QianfanTerminalStateError,
    QianfanWaitTimeoutError,
)
from airflow_qianfan.operators.base.creation import Creation
from airflow_qianfan.operators.finetuning import QianfanStopFineTuningTaskOperator


@pytest.mark.parametrize("durable", [True, False])
def test_nothing_is_created_after_the_task_was_killed(work, durable):
    operator = work.operator(durable=durable)
    operator.on_kill()
    with pytest.raises(QianfanError, match="was not created, since this task was ended"):
        work.attempt(operator=operator)
    assert work.sent() == 0


def test_killed_while_looking_for_a_lost_create_sends_no_other(work, monkeypatch):
    operator = work.operator()
    work.emulator.fail_next(work.kind.create, kind="server_error")
    monkeypatch.setattr(time, "sleep", lambda _: operator.on_kill() if work.sent() else None)
    with pytest.raises(QianfanError, match="was not created"):
        work.attempt(operator=operator)
    assert (work.sent(), work.ours()) == (1, [])


def test_training_that_a_lost_create_started_is_stopped_when_the_task_is_killed(training, monkeypatch):
    operator = training.operator()
    training.emulator.fail_next("CreateFineTuningTask", kind="lost_answer")
    killed: list[bool] = []

    def kill(_: float) -> None:
        if training.ours() and not killed:
            killed.append(True)
            operator.on_kill()

    monkeypatch.setattr(time, "sleep", kill)
    with pytest.raises(QianfanError, match="was not created, since this task was ended"):
        training.attempt(operator=operator)
    assert [task["runStatus"] for task in training.emulator.tasks] == ["Stopped"]


def test_task_that_is_ended_while_it_attaches_stops_the_training(training, monkeypatch):
    training.attempt()
    operator = training.operator(**WAITING)
    phase_of = Creation.phase_of

    def kill_and_look(creation: Creation, created_id: str, parent_id=None) -> Any:
        operator.on_kill()
        return phase_of(creation, created_id, parent_id)

    monkeypatch.setattr(Creation, "phase_of", kill_and_look)
    with pytest.raises(QianfanTerminalStateError, match="Stopped"):
        training.attempt(2, operator=operator)
    assert {task["runStatus"] for task in training.emulator.tasks} == {"Stopped"}


def test_task_that_is_ended_while_it_trains_anew_stops_the_new_training(training, monkeypatch):
    first = training.attempt()
    call(FT, "StopFineTuningTask", taskId=first)
    operator = training.operator()
    training.emulator.fail_next("CreateFineTuningTask", kind="lost_answer")
    sleep, killed = time.sleep, []

    def kill(seconds: float) -> None:
        if len(training.ours()) == 2 and not killed:
            killed.append(True)
            operator.on_kill()
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", kill)
    # Attached or refused: what counts is that nothing goes on training.
    with suppress(QianfanError):
        training.attempt(2, operator=operator)
    assert killed
    assert {task["runStatus"] for task in training.emulator.tasks} == {"Stopped"}


# While it waits

WAITING = {"wait_for_completion": True, "poll_interval": 600.0}


@pytest.fixture(params=[KINDS["task"], WHOLE_TRAINING], ids=["task", "whole training"])
def waiting(request, emulator):
    """A task that creates a training and waits for it."""
    work = Work(emulator, request.param)
    work.arguments |= WAITING
    return work


def when_started(work, act, monkeypatch):
    """Act once, in the first pause between two polls."""
    sleep, done = time.sleep, []

    def pause(seconds):
        if work.ours() and not done:
            done.append(True)
            act()
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", pause)


def states(work):
    return [task["runStatus"] for task in work.emulator.tasks]


def test_task_that_waits_returns_the_result(waiting):
    result = waiting.run()
    assert (result["status"], result["progress"]) == ("Done", 1.0)
    assert result[waiting.kind.id] == waiting.ours()[0]


@pytest.mark.parametrize(("cancel", "state"), [(True, "Stopped"), (False, "Done")])
def test_task_that_is_ended_while_it_waits_stops_the_training_unless_told_otherwise(
    waiting, monkeypatch, cancel, state
):
    operator = waiting.operator(cancel_on_kill=cancel)
    when_started(waiting, operator.on_kill, monkeypatch)
    with suppress(QianfanError):
        waiting.attempt(operator=operator)
    assert states(waiting) == [state]


def test_training_goes_on_where_the_worker_ends_but_nobody_ended_the_task(waiting, monkeypatch, task_log):
    monkeypatch.setattr("airflow_qianfan.operators.base.wait.user_has_ended_task", lambda *_, **__: False)
    operator = waiting.operator()
    when_started(waiting, operator.on_kill, monkeypatch)
    assert waiting.attempt(operator=operator) == waiting.ours()[0]
    assert states(waiting) == ["Done"]
    assert "the fine-tuning task goes on, and the next attempt re-attaches to it" in task_log()


@pytest.mark.parametrize("wait", [False, True])
def test_training_goes_on_where_the_worker_ends_while_its_result_is_handed_over(work_on, wait):
    work = work_on("task")
    operator = work.operator(wait_for_completion=wait, deferrable=wait)
    with suppress(TaskDeferred):
        work.attempt(operator=operator)
    # Airflow has left the context of the task, and may hold the lock for talking to it.
    operator.on_kill()
    assert len(states(work)) == 1
    assert states(work) != ["Stopped"]


def interrupt(error):
    def act():
        raise error

    return act


def test_interrupt_stops_the_training_and_goes_on(waiting, monkeypatch):
    when_started(waiting, interrupt(KeyboardInterrupt()), monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        waiting.attempt()
    assert states(waiting) == ["Stopped"]


def test_execution_timeout_stops_the_training_and_names_it(waiting, monkeypatch):
    when_started(waiting, interrupt(AirflowTaskTimeout()), monkeypatch)
    with pytest.raises(QianfanExecutionTimeoutError, match="was stopped") as caught:
        waiting.attempt()
    assert waiting.ours()[0] in str(caught.value)
    assert states(waiting) == ["Stopped"]


@pytest.mark.parametrize("act", ["kill", "time-out"])
def test_version_is_left_alone_since_the_service_cannot_stop_it(work_on, monkeypatch, act):
    work = work_on("model")
    operator = work.operator(**WAITING)
    when_started(work, operator.on_kill if act == "kill" else interrupt(AirflowTaskTimeout()), monkeypatch)
    if act == "kill":
        assert work.run(operator=operator)["status"] == "Ready"
    else:
        with pytest.raises(QianfanExecutionTimeoutError, match="may go on") as caught:
            work.attempt(operator=operator)
        assert work.ours()[0] in str(caught.value)
    assert not [entry for entry in work.emulator.journal if entry["action"].startswith(("Stop", "Delete"))]


def test_training_that_cannot_be_stopped_any_more_is_reported(waiting, monkeypatch, task_log):
    waiting.emulator.fail_next("StopFineTuningTask", kind="server_error", count=None)
    operator = waiting.operator()
    when_started(waiting, operator.on_kill, monkeypatch)
    waiting.attempt(operator=operator)
    (line,) = [line for line in task_log().splitlines() if "did not succeed" in line]
    assert waiting.ours()[0] in line
    assert "look in the console" in line


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("Running", "within 0 s and is still Running$"),
        ("s3cret", "still in a state that is not documented$"),
    ],
)
def test_stop_that_takes_too_long_tells_only_states_that_are_documented(work_on, word, told):
    work = work_on("task")
    work.emulator.fail_next("DescribeFineTuningTask", kind="unknown_status", word=word, count=None)
    stop = QianfanStopFineTuningTaskOperator(task_id="it", fine_tuning_task_id=work.attempt(), timeout=0)
    with pytest.raises(QianfanWaitTimeoutError, match=told) as caught:
        work.run(operator=stop)
    assert work.ours()[0] in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "error"), [("task", QianfanExecutionTimeoutError), ("model", AirflowTaskTimeout)]
)
def test_execution_timeout_during_the_create_stops_it_or_leaves_it_to_the_retry(
    work_on, monkeypatch, kind, error
):
    work = work_on(kind)
    create = Creation.create

    def create_slowly(creation):
        create(creation)
        raise AirflowTaskTimeout

    with monkeypatch.context() as patch:
        patch.setattr(Creation, "create", create_slowly)
        with pytest.raises(error):
            work.attempt()
    if kind == "task":
        assert states(work) == ["Stopped"]
    else:
        assert work.attempt(2) == work.ours()[0]
    assert len(work.ours()) == 1
