"""Whose is it? One object for each run of a task, through lost answers, refusals, clears and changes."""

from __future__ import annotations

from typing import Any

import pytest
from account import FILES, HOUR, Account
from tasks import AirflowTask, model_set, shared_training, training, version

from airflow_qianfan.exceptions import (
    QianfanAlreadyExistsError,
    QianfanAmbiguousCreateError,
    QianfanError,
    QianfanExecutionTimeoutError,
    QianfanPollError,
    QianfanQuotaError,
    QianfanRequestError,
)
from airflow_qianfan.operators.base.lookup import LOOKUPS


def fails(task: AirflowTask, error: type[Exception] = QianfanError, **event: Any) -> Any:
    """Let an attempt fail, or what follows its deferral."""
    with pytest.raises(error) as raised:
        task.resume(event) if event else task.attempt()
    return raised.value


def owned(task: AirflowTask, key: str = "qianfan_task") -> Any:
    assert task.store is not None
    return task.store.records[key]["id"]


def finish(account: Account, task: AirflowTask) -> Any:
    """Let what a deferred task waits for come to its end."""
    account.advance(HOUR)
    return task.poll()


# ---------------------------------------------------------------------- two deployments with the same ids


def test_two_deployments_with_the_same_ids_train_each_its_own(account: Account) -> None:
    staging, production = training(), training()
    staging.attempt()
    production.attempt()
    assert owned(staging) != owned(production)
    assert len(account.ids("job")) == len(account.active) == 2
    finish(account, staging)
    staging.clear(on_clear="restart")
    staging.attempt()
    assert account.sent("StopFineTuningTask") == []


def test_a_dag_run_that_was_deleted_and_run_again_trains_its_own(account: Account) -> None:
    deleted = training()
    deleted.attempt()
    # Airflow deletes what a task has stored together with its DAG run.
    again = training()
    again.attempt()
    assert owned(again) != owned(deleted)
    assert len(account.active) == 2


def test_two_deployments_publish_each_its_own_version(account: Account) -> None:
    parent = account.make_set()
    staging, production = version(parent), version(parent)
    account.fail("CreateCustomModel", "lost_answer")
    staging.attempt()
    account.fail("CreateCustomModel", "lost_answer")
    production.attempt()
    assert owned(staging, "qianfan_model") != owned(production, "qianfan_model")
    assert len(account.ids("model")) == 2


# ---------------------------------------------------------------------- a refusal that is certain


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param(
            {"kind": "error", "code": "TaskRunningNumberExceedLimit"}, QianfanQuotaError, id="quota"
        ),
        pytest.param({"kind": "error", "code": "InvalidParam"}, QianfanRequestError, id="bad request"),
        pytest.param({"kind": "throttle", "count": None, "retry_after": 600}, QianfanError, id="throttled"),
    ],
)
def test_in_a_sweep_a_refused_training_does_not_take_a_siblings(
    account: Account, fault: dict[str, Any], error: type[Exception]
) -> None:
    job = account.make_job()
    first, second = shared_training(job, retries=1), shared_training(job, map_index=1)
    account.fail("CreateFineTuningTask", **fault)
    fails(first, error)
    account.emulator.clear_faults()
    account.advance(60)
    second.attempt()
    if first.state == "failed":
        first.clear()
    first.attempt()
    assert owned(first) != owned(second)
    assert len(account.active) == 2


@pytest.mark.parametrize("first", ["throttle", "reset"])
def test_what_a_sibling_creates_between_two_creates_is_not_taken(account: Account, first: str) -> None:
    job = account.make_job()
    task, sibling = shared_training(job), shared_training(job, map_index=1)
    account.fail("CreateFineTuningTask", first)

    def train(action: str) -> None:
        """The sibling creates its own after the first Create of the task; the second has no effect either."""
        if len(account.sent("CreateFineTuningTask")) == 1 and action == "DescribeFineTuningTasks":
            account.before = lambda action: None
            account.advance(60)
            sibling.attempt()
            account.fail("CreateFineTuningTask", "reset")

    if first == "throttle":
        account.before = train
    else:
        looks = len(LOOKUPS)

        def train_after_the_look(action: str) -> None:
            nonlocal looks
            if len(account.sent("CreateFineTuningTask")) == 1 and action == "DescribeFineTuningTasks":
                looks -= 1
                if looks < 0:
                    train(action)

        account.before = train_after_the_look
    task.attempt()
    assert owned(task) != owned(sibling)
    assert len(account.active) == 2


def test_where_ours_was_stopped_in_doubt_a_siblings_is_not_taken_for_it(account: Account) -> None:
    task = shared_training(account.make_job())
    assert task.store is not None
    account.fail("CreateFineTuningTask", "lost_answer")
    account.after = lambda action: (
        account.fail("DescribeFineTuningTasks", "server_error", count=None)
        if action == "CreateFineTuningTask"
        else None
    )
    fails(task)
    account.after = lambda action: None
    account.emulator.clear_faults()
    account.stop(account.ids("task")[0])
    strangers = account.make_task(account.ids("job")[0])
    account.advance(60)
    task.clear()
    error = fails(task, QianfanAmbiguousCreateError)
    assert all(found in str(error) for found in account.ids("task"))
    assert account.active == [strangers]


# ---------------------------------------------------------------------- deaths on the last attempt


@pytest.mark.parametrize("make", [training, lambda: shared_training("job")], ids=["own job", "shared job"])
@pytest.mark.parametrize("point", ["before", "after", "stored"])
def test_a_clear_after_a_death_on_the_last_attempt_leaves_one(
    account: Account, make: Any, point: str
) -> None:
    job = account.make_job()
    task = training() if make is training else shared_training(job)

    class Death(BaseException):
        pass

    def die(what: str) -> None:
        if what in ("CreateFineTuningTask", "qianfan_task"):
            raise Death

    assert task.store is not None
    if point == "stored":
        task.store.after = lambda key: die(key) if task.store and task.store.get(key)["id"] else None
    else:
        setattr(account, point, die)
    with pytest.raises(Death):
        task.attempt()
    account.before = account.after = task.store.after = lambda what: None
    assert task.state == "failed"
    task.clear()
    task.attempt()
    assert account.active == [owned(task)]
    assert len(account.ids("task")) == 1


def test_a_clear_while_a_training_goes_on_attaches_and_says_how_to_get_a_fresh_one(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    task = training()
    task.attempt()
    first = owned(task)
    task.clear()
    capsys.readouterr()
    task.attempt()
    said = capsys.readouterr().out
    assert account.active == [owned(task)] == [first]
    assert "still goes on with the same arguments. For a fresh one, stop it and clear" in said
    assert 'on_clear="restart"' in said


def test_with_restart_a_clear_stops_what_goes_on_before_another_is_created(account: Account) -> None:
    account.backend.assumptions = type(account.backend.assumptions)(stop_delay_seconds=20.0)
    task = training(on_clear="restart")
    task.attempt()
    first = owned(task)
    task.clear()
    task.attempt()
    assert account.active == [owned(task)] != [first]
    assert account.states()[first] == "Stopped"
    # A retry after it does not restart once more.
    assert account.sent("StopFineTuningTask") == [{"taskId": first}]
    task.try_number -= 1
    task.attempt()
    assert account.active == [owned(task)]
    assert len(account.ids("task")) == 2


def test_where_stopping_fails_nothing_is_created(account: Account) -> None:
    task = training(on_clear="restart", retries=1)
    task.attempt()
    first = owned(task)
    task.clear()
    account.fail("StopFineTuningTask", "server_error", count=None)
    fails(task)
    assert account.active == [first]
    account.emulator.clear_faults()
    task.attempt()
    assert account.active == [owned(task)] != [first]


def test_a_job_that_was_deleted_while_a_create_in_it_was_in_doubt_is_replaced(account: Account) -> None:
    task = training()
    account.fail("CreateFineTuningTask", "lost_answer")
    account.after = lambda action: (
        account.fail("DescribeFineTuningTasks", "server_error", count=None)
        if action == "CreateFineTuningTask"
        else None
    )
    fails(task)
    account.after = lambda action: None
    account.emulator.clear_faults()
    account.delete(owned(task, "qianfan_job"))
    task.clear()
    task.attempt()
    assert account.active == [owned(task)]


# ---------------------------------------------------------------------- changed requests


def test_the_result_of_a_corrected_request_is_its_own(account: Account) -> None:
    task = training()
    account.fail("CreateFineTuningTask", "error", code="InvalidParam")
    fails(task, QianfanRequestError)
    task.clear(model="ERNIE-Lite-8K", train_mode="PostPretrain")
    task.attempt()
    (found,) = account.emulator.tasks
    assert (found["model"], found["trainMode"]) == ("ERNIE-Lite-8K", "PostPretrain")


def test_another_epoch_after_a_poll_error_is_trained(account: Account) -> None:
    task = training()
    task.attempt()
    first = owned(task)
    fails(task, QianfanPollError, status="error", message="no answer")
    task.clear(hyper_parameter_config={"epoch": 7})
    task.attempt()
    assert account.active == [owned(task)] != [first]
    assert account.states()[first] == "Stopped"
    assert account.emulator.tasks[-1]["request"]["hyperParameterConfig"] == {"epoch": 7}


def test_another_epoch_is_trained_where_the_old_one_has_ended_unwatched(account: Account) -> None:
    task = training()
    task.attempt()
    first = owned(task)
    fails(task, QianfanPollError, status="error", message="no answer")
    account.advance(HOUR)
    task.clear(hyper_parameter_config={"epoch": 7})
    task.attempt()
    assert owned(task) != first
    assert finish(account, task)["fine_tuning_task_id"] == owned(task)


def test_a_success_that_no_attempt_has_taken_is_taken_after_a_clear(account: Account) -> None:
    task = training()
    task.attempt()
    fails(task, QianfanPollError, status="error", message="no answer")
    account.advance(HOUR)
    task.clear()
    task.attempt()
    assert task.poll()["fine_tuning_task_id"] == owned(task)
    assert len(account.ids("task")) == 1


# ---------------------------------------------------------------------- time-outs


def test_a_stop_that_was_not_verified_is_remembered(account: Account) -> None:
    task = training()
    task.attempt()
    first = owned(task)
    account.fail("StopFineTuningTask", "server_error", count=None)
    error = fails(task, QianfanExecutionTimeoutError, status="timeout", message="over")
    assert first in str(error)
    assert account.active == [first]
    account.emulator.clear_faults()
    task.clear()
    task.attempt()
    assert account.active == [owned(task)] != [first]
    assert account.states()[first] == "Stopped"


def test_a_version_that_took_too_long_is_not_published_twice(account: Account) -> None:
    task = version(account.make_set())
    task.attempt()
    fails(task, QianfanExecutionTimeoutError, status="timeout", message="over")
    task.clear()
    task.attempt()
    assert finish(account, task)["status"] == "Ready"
    assert len(account.ids("model")) == 1


def test_a_version_that_became_ready_after_the_time_out_is_taken(account: Account) -> None:
    task = version(account.make_set())
    task.attempt()
    fails(task, QianfanExecutionTimeoutError, status="timeout", message="over")
    account.advance(HOUR)
    task.clear()
    task.attempt()
    assert task.poll()["status"] == "Ready"
    assert len(account.ids("model")) == 1


# ---------------------------------------------------------------------- descriptions and names


@pytest.mark.parametrize("read", ["DescribeModel", "DescribeModelSet"])
def test_a_version_whose_answer_was_lost_is_found_by_a_later_generation(account: Account, read: str) -> None:
    task = version(account.make_set())
    account.fail("CreateCustomModel", "lost_answer")
    # One look at what exists before.
    account.before = lambda action: (
        account.fail(read, "server_error", count=None) if action == "CreateCustomModel" else None
    )
    error = fails(task)
    assert "cannot tell whether" in str(error)
    account.before = lambda action: None
    account.emulator.clear_faults()
    task.clear()
    task.attempt()
    assert account.ids("model") == [owned(task, "qianfan_model")]


@pytest.mark.parametrize(
    "description", ["", None, "nightly", "x" * 300], ids=["empty", "none", "short", "longest"]
)
@pytest.mark.parametrize("shown", [None, 0, 5], ids=["whole", "left out", "cut"])
def test_a_version_is_found_whatever_becomes_of_its_description(
    account: Account, description: str | None, shown: int | None
) -> None:
    parent = account.make_set()
    account.make("/v2/model", "CreateCustomModel", modelSetId=parent, sourceType="Import", importMeta=FILES)
    account.advance(60)
    task = version(parent, description=description)

    def cut(action: str) -> None:
        for record in account.backend.store._tables.get("model", {}).values():
            if shown is not None:
                record.description = record.description[:shown]  # type: ignore[attr-defined]

    account.after = cut
    account.fail("CreateCustomModel", "lost_answer")
    task.attempt()
    assert len(account.ids("model")) == 2
    assert owned(task, "qianfan_model") == account.ids("model")[-1]


def test_an_own_name_is_attached_to_after_a_lost_answer_and_a_clear(account: Account) -> None:
    task = training(name="nightly")
    account.fail("CreateFineTuningJob", "lost_answer")
    account.before = lambda action: (
        account.fail("DescribeFineTuningJobs", "server_error", count=None)
        if action == "CreateFineTuningJob"
        else None
    )
    fails(task)
    account.before = lambda action: None
    account.emulator.clear_faults()
    task.clear()
    task.attempt()
    assert account.ids("job") == [owned(task, "qianfan_job")]


@pytest.mark.parametrize("on_clear", ["attach", "restart"])
def test_a_job_with_an_own_name_gets_another_training_after_a_clear(account: Account, on_clear: str) -> None:
    task = training(name="nightly", on_clear=on_clear)
    task.attempt()
    finish(account, task)
    first = owned(task)
    task.clear()
    task.attempt()
    assert owned(task) != first
    assert len(account.ids("job")) == 1


@pytest.mark.parametrize(
    "make",
    [lambda: training(name="nightly"), lambda: model_set(model_set_name="nightly")],
    ids=["job", "model set"],
)
def test_a_name_that_somebody_else_has_is_an_error_that_says_what_to_do(account: Account, make: Any) -> None:
    account.make_job("nightly")
    account.make_set("nightly")
    task = make()
    for _ in range(2):
        error = fails(task, QianfanAlreadyExistsError)
        assert "Choose another name" in str(error)
        assert any(found in str(error) for found in (*account.ids("job"), *account.ids("model_set")))
        task.clear()
    assert len(account.ids("job")) == len(account.ids("model_set")) == 1


# ---------------------------------------------------------------------- a clear is a clear


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_finished_task_is_done_again_whatever_retries_has_become(account: Account, retries: int) -> None:
    task = training(retries=1)
    task.attempt()
    first = finish(account, task)["fine_tuning_task_id"]
    task.clear(retries=retries)
    if retries == 0:
        assert task.max_tries == 1, "the number that tells a clear from a retry is as before"
    task.attempt()
    assert finish(account, task)["fine_tuning_task_id"] != first
