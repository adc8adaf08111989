"""A run of the operator that trains costs one training: job and task are created once."""

from __future__ import annotations

import pytest
from creating import FT, LOST, Work, call
from in_process import HOUR

from airflow_qianfan.exceptions import QianfanError, QianfanPermissionError, QianfanThrottledError


@pytest.mark.parametrize("write", [1, 2, 3, 4])
def test_training_is_one_wherever_the_memory_fails(training, write):
    training.store.broken = write
    with pytest.raises(ConnectionError):
        training.attempt()
    assert training.attempt(2) == training.ours()[0]
    assert len(training.emulator.jobs) == len(training.emulator.tasks) == 1


def test_training_is_found_by_the_name_of_its_job_where_there_is_no_store(training):
    training.store = None
    created = training.attempt()
    assert training.attempt(2) == created
    assert len(training.emulator.jobs) == len(training.emulator.tasks) == 1


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
@pytest.mark.parametrize("action", ["CreateFineTuningJob", "CreateFineTuningTask"])
def test_training_is_one_whatever_becomes_of_either_create(training, action, fault):
    training.emulator.fail_next(action, **fault)
    created = training.attempt()
    assert training.ours() == [created]
    assert len(training.emulator.jobs) == 1


def test_training_is_started_right_after_its_job_where_reads_lag_behind(training):
    training.emulator.fail_next(kind="stale", seconds=12.0, count=None)
    assert training.attempt() == training.ours()[0]


def unreadable(training: Work) -> str:
    """Let a run of the task start a training and fail only because its state cannot be read."""
    watching = {"wait_for_completion": True, "max_poll_failures": 0, "poll_interval": 0.01}
    training.emulator.fail_next("DescribeFineTuningTask", kind="server_error")
    with pytest.raises(QianfanError, match="DescribeFineTuningTask"):
        training.attempt(operator=training.operator(**watching))
    return training.ours()[0]


def test_cleared_task_attaches_to_the_training_that_nobody_watches_any_more(training, task_log):
    created = unreadable(training)
    assert training.attempt(2, generation=7) == created
    (advice,) = [line for line in task_log().splitlines() if "For a fresh one" in line]
    assert created in advice
    assert len(training.emulator.jobs) == len(training.ours()) == 1


def test_task_that_is_cleared_once_more_trains_anew_after_its_result_was_delivered(training):
    created = unreadable(training)
    assert training.attempt(2, generation=7) == created
    assert training.attempt(3, generation=11) == created, "it still goes on"
    training.emulator.advance(2 * HOUR)
    assert training.attempt(4, generation=15) != created
    assert len(training.ours()) == 2


def test_cleared_task_trains_anew_where_the_unwatched_training_was_stopped(training):
    created = unreadable(training)
    call(FT, "StopFineTuningTask", taskId=created)
    assert training.attempt(2, generation=7) != created


@pytest.mark.parametrize("error", [QianfanPermissionError, QianfanThrottledError])
def test_cleared_task_attaches_where_the_retry_could_not_read_what_the_first_attempt_created(training, error):
    training.store.broken = 4
    with pytest.raises(ConnectionError):
        training.attempt()
    fault = {"code": "AccessDenied", "status": 403} if error is QianfanPermissionError else {"code": "18"}
    training.emulator.fail_next("DescribeFineTuningTasks", kind="error", count=20, **fault)
    with pytest.raises(QianfanError):
        training.attempt(2)
    training.emulator.clear_faults()
    assert training.attempt(3, generation=7) == training.ours()[0]
    assert len(training.ours()) == 1


def test_permission_that_is_withdrawn_while_waiting_does_not_lose_the_training(training):
    operator = training.operator(wait_for_completion=True, poll_interval=0.01)
    training.emulator.fail_next("DescribeFineTuningTask", kind="error", code="AccessDenied", status=403)
    with pytest.raises(QianfanPermissionError):
        training.attempt(operator=operator)
    assert training.attempt(2, generation=7) == training.ours()[0]


def test_each_attempt_of_a_training_that_is_not_durable_has_a_name_of_its_own(training):
    first = training.attempt(durable=False)
    assert training.attempt(2, durable=False) != first
    assert len({job["name"] for job in training.emulator.jobs}) == 2
