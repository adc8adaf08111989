"""A training is stopped."""

from __future__ import annotations

import pytest
from operator_values import HOUR, RETRIES, actions_of

from airflow_qianfan.emulator import Assumptions
from airflow_qianfan.exceptions import (
    QianfanNotFoundError,
    QianfanOperationFailedError,
    QianfanRequestError,
    QianfanWaitTimeoutError,
)
from airflow_qianfan.operators.finetuning import QianfanStopFineTuningTaskOperator


def stop(run_task, task_id, **arguments):
    return run_task(
        QianfanStopFineTuningTaskOperator,
        fine_tuning_task_id="{{ params.t }}",
        params={"t": task_id},
        **{"poll_interval": 0.05, **arguments},
    )


def test_stop_returns_when_the_training_has_really_ended(emulator, service, run_task):
    task_id = service.task()
    emulator.advance(HOUR / 2)
    emulator.fail_next("DescribeFineTuningTask", kind="unknown_status", word="Running", count=3)
    run = stop(run_task, task_id)
    assert run.value == {"fine_tuning_task_id": task_id, "status": "Stopped", "run_status": "Stopped"}
    assert (run.xcom["status"], run.xcom["run_status"]) == ("Stopped", "Stopped")
    assert actions_of(emulator).count("StopFineTuningTask") == 1
    assert actions_of(emulator).count("DescribeFineTuningTask") == 4


def test_stop_does_not_wait_if_told_so(start_emulator, service, run_task):
    emulator = start_emulator(assumptions=Assumptions(stop_delay_seconds=HOUR))
    task_id = service.task()
    emulator.advance(HOUR / 2)
    assert stop(run_task, task_id, wait_for_completion=False).value["run_status"] == "Running"


def test_stop_that_takes_too_long_says_what_still_runs(start_emulator, service, run_task):
    emulator = start_emulator(assumptions=Assumptions(stop_delay_seconds=HOUR / 4))
    task_id = service.task()
    emulator.advance(HOUR / 2)
    run = stop(run_task, task_id, timeout=0.3)
    assert isinstance(run.error, QianfanWaitTimeoutError)
    assert str(run.error) == (
        f"fine-tuning task {task_id} was told to stop: it has not ended within 0.3 s and is still Running"
    )


@pytest.mark.parametrize("answer", ["error", "false", "true"])
@pytest.mark.parametrize(("name", "state"), [("nightly", "Done"), ("will-fail", "Failed")])
def test_stop_of_a_training_that_has_ended_tells_how(start_emulator, service, run_task, answer, name, state):
    emulator = start_emulator(assumptions=Assumptions(stop_finished_task=answer))
    task_id = service.task(name)
    emulator.advance(2 * HOUR)
    assert stop(run_task, task_id).value == {
        "fine_tuning_task_id": task_id,
        "status": state,
        "run_status": state,
    }


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "false"}, QianfanOperationFailedError),
        ({"kind": "error", "code": "InappropriateJSON"}, QianfanRequestError),
    ],
    ids=["false", "refused"],
)
def test_a_refused_stop_of_a_running_training_fails(emulator, service, run_task, fault, error):
    task_id = service.task()
    emulator.fail_next("StopFineTuningTask", **fault)
    assert isinstance(stop(run_task, task_id).error, error)
    assert emulator.tasks[0]["runStatus"] == "Waiting"


def test_a_stop_whose_answer_was_lost_succeeds(emulator, service, run_task):
    task_id = service.task()
    emulator.fail_next("StopFineTuningTask", kind="lost_answer")
    assert stop(run_task, task_id).value["run_status"] == "Stopped"
    assert actions_of(emulator).count("StopFineTuningTask") == 2


def test_a_stop_whose_answer_was_lost_succeeds_although_the_next_attempt_finds_nothing(
    emulator, service, run_task
):
    task_id = service.task()
    emulator.fail_next("StopFineTuningTask", kind="lost_answer")
    emulator.fail_next("StopFineTuningTask", kind="error", status=404, code="NoSuchKey")
    run = stop(run_task, task_id)
    assert run.value == {"fine_tuning_task_id": task_id, "status": None, "run_status": None}


def test_a_stop_whose_answer_was_lost_waits_although_the_next_attempt_is_refused(emulator, service, run_task):
    task_id = service.task()
    emulator.fail_next("DescribeFineTuningTask", kind="unknown_status", word="Running", count=2)
    emulator.fail_next("StopFineTuningTask", kind="lost_answer")
    emulator.fail_next("StopFineTuningTask", kind="false")
    assert stop(run_task, task_id).value["run_status"] == "Stopped"


@pytest.mark.parametrize("answer", ["error", "false"])
def test_a_stop_of_a_missing_training_fails_or_is_ignored(start_emulator, run_task, answer):
    start_emulator(assumptions=Assumptions(stop_unknown_task=answer))
    run = stop(run_task, "task-gone", **RETRIES)
    assert isinstance(run.error, QianfanNotFoundError)
    assert run.tries == {"it": 1}
    ignored = stop(run_task, "task-gone", if_missing="ignore")
    assert ignored.state == "success"
    assert ignored.value == {"fine_tuning_task_id": "task-gone", "status": None, "run_status": None}
