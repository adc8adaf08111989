"""Objects are deleted."""

from __future__ import annotations

import pytest
from operator_values import HOUR, RETRIES, actions_of

from airflow_qianfan.exceptions import QianfanNotFoundError, QianfanOperationFailedError
from airflow_qianfan.operators.finetuning import (
    QianfanDeleteFineTuningJobOperator,
    QianfanDeleteFineTuningTaskOperator,
)
from airflow_qianfan.operators.model import QianfanDeleteModelOperator

DELETIONS = [
    (QianfanDeleteFineTuningJobOperator, "fine_tuning_job_id", "DeleteFineTuningJob", "job"),
    (QianfanDeleteFineTuningTaskOperator, "fine_tuning_task_id", "DeleteFineTuningTask", "task"),
    (QianfanDeleteModelOperator, "model_id", "DeleteModel", "model"),
]
deletions = pytest.mark.parametrize(("operator", "argument", "action", "kind"), DELETIONS)


def delete(run_task, operator, argument, object_id, **arguments):
    return run_task(operator, **{argument: "{{ params.id }}"}, params={"id": object_id}, **arguments)


def existing(emulator, kind):
    return {"job": emulator.jobs, "task": emulator.tasks, "model": emulator.models}[kind]


@pytest.fixture
def made(emulator, service):
    """Make an object of each kind that can be deleted, and return its id."""

    def make(kind):
        object_id = getattr(service, kind)()
        emulator.advance(2 * HOUR)
        return object_id

    return make


@deletions
def test_delete_deletes(emulator, made, run_task, operator, argument, action, kind):
    object_id = made(kind)
    run = delete(run_task, operator, argument, object_id)
    assert run.value == {argument: object_id, "deleted": True}
    assert run.xcom[argument] == object_id
    assert existing(emulator, kind) == []


@deletions
def test_delete_of_what_is_gone_fails_or_is_ignored(emulator, run_task, operator, argument, action, kind):
    run = delete(run_task, operator, argument, "gone-1", **RETRIES)
    assert isinstance(run.error, QianfanNotFoundError)
    assert run.tries == {"it": 1}
    ignored = delete(run_task, operator, argument, "gone-1", if_missing="ignore")
    assert ignored.value == {argument: "gone-1", "deleted": False}


@deletions
@pytest.mark.parametrize("if_missing", ["fail", "ignore"])
def test_a_delete_whose_answer_was_lost_succeeds(
    emulator, made, run_task, operator, argument, action, kind, if_missing
):
    object_id = made(kind)
    emulator.fail_next(action, kind="lost_answer")
    run = delete(run_task, operator, argument, object_id, if_missing=if_missing)
    assert run.value == {argument: object_id, "deleted": True}
    assert actions_of(emulator).count(action) == 2


@deletions
def test_a_delete_whose_answer_was_lost_and_then_is_said_to_do_nothing_succeeds(
    emulator, made, run_task, operator, argument, action, kind
):
    object_id = made(kind)
    emulator.fail_next(action, kind="lost_answer")
    emulator.fail_next(action, kind="false")
    assert delete(run_task, operator, argument, object_id).value == {argument: object_id, "deleted": True}


@deletions
def test_a_delete_that_did_nothing_fails_while_the_object_exists(
    emulator, made, run_task, operator, argument, action, kind
):
    object_id = made(kind)
    emulator.fail_next(action, kind="false")
    run = delete(run_task, operator, argument, object_id, if_missing="ignore")
    assert isinstance(run.error, QianfanOperationFailedError)
    assert len(existing(emulator, kind)) == 1


@deletions
def test_a_delete_that_did_nothing_is_about_a_missing_object_if_there_is_none(
    emulator, run_task, operator, argument, action, kind
):
    emulator.fail_next(action, kind="false", count=2)
    assert isinstance(delete(run_task, operator, argument, "gone-1").error, QianfanNotFoundError)
    ignored = delete(run_task, operator, argument, "gone-1", if_missing="ignore")
    assert ignored.value == {argument: "gone-1", "deleted": False}
