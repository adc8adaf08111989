"""A run of a task creates one object, whatever becomes of the Create or of its answer."""

from __future__ import annotations

import pytest
from creating import KINDS, LOST, new_task

from airflow_qianfan.compat import AirflowFailException
from airflow_qianfan.exceptions import (
    QianfanAmbiguousCreateError,
    QianfanConnectionError,
    QianfanError,
    QianfanNotFoundError,
    QianfanPermissionError,
    QianfanQuotaError,
    QianfanRequestError,
    QianfanThrottledError,
)
from airflow_qianfan.operators.base.submission import MAX_SUBMITS


@pytest.mark.parametrize("has_store", [True, False], ids=["remembered", "no store"])
@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_one_is_created_whatever_becomes_of_the_create(work, fault, has_store):
    work.store = work.store if has_store else None
    work.emulator.fail_next(work.kind.create, **fault)
    created = work.attempt()
    assert work.ours() == [created]
    assert work.sent() == (1 if fault["kind"] in ("lost_answer", "timeout") or fault.get("effect") else 2)


def test_lost_create_is_found_where_reads_lag_behind(work):
    # What it belongs to is not new.
    work.emulator.advance(60)
    work.emulator.fail_next(work.kind.create, kind="lost_answer")
    work.emulator.fail_next(kind="stale", seconds=12.0, count=None)
    created = work.attempt()
    assert work.ours() == [created]
    assert work.attempt(2) == created
    assert work.sent() == 1


@pytest.mark.parametrize("kind", ["task", "model"])
def test_look_ups_that_fail_are_tolerated_while_a_lost_create_is_looked_for(work_on, kind):
    work = work_on(kind)
    operator = work.operator()
    work.store.on_set = lambda: work.emulator.fail_next(
        "DescribeFineTuningTasks" if kind == "task" else "DescribeModelSet", kind="server_error", count=4
    )
    work.emulator.fail_next(work.kind.create, kind="lost_answer")
    assert work.attempt(operator=operator) == work.ours()[0]
    assert work.sent() == 1


def test_no_other_is_sent_where_nobody_can_tell_and_the_retry_looks_again(work):
    describes = {
        "job": "DescribeFineTuningJobs",
        "task": "DescribeFineTuningTasks",
        "service": "DescribeServices",
        "model_comp_task": "DescribeModelCompTasks",
    }
    describe = describes.get(work.kind.key.removeprefix("qianfan_"), "DescribeModelSet")
    work.store.on_set = lambda: work.emulator.fail_next(describe, kind="server_error", count=None)
    work.emulator.fail_next(work.kind.create, kind="lost_answer")
    with pytest.raises(QianfanError, match="cannot tell whether") as caught:
        work.attempt()
    assert not isinstance(caught.value, AirflowFailException)
    work.store.on_set = lambda: None
    work.emulator.clear_faults()
    assert work.attempt(2) == work.ours()[0]
    assert work.sent() == 1


@pytest.mark.parametrize("has_store", [True, False], ids=["remembered", "no store"])
def test_create_that_never_takes_effect_is_given_up_and_only_retried_where_that_is_safe(work, has_store):
    work.store = work.store if has_store else None
    work.emulator.fail_next(work.kind.create, kind="server_error", count=None)
    with pytest.raises(QianfanError) as caught:
        work.attempt()
    assert isinstance(caught.value, AirflowFailException) is not has_store
    assert isinstance(caught.value, QianfanAmbiguousCreateError) is not has_store
    assert (work.sent(), work.ours()) == (MAX_SUBMITS, [])


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"code": "InappropriateJSON", "status": 400}, QianfanRequestError),
        ({"code": "AccessDenied", "status": 403}, QianfanPermissionError),
        ({"code": 510402, "status": 400}, QianfanQuotaError),
    ],
)
def test_refused_create_is_sent_once(work, fault, error):
    work.emulator.fail_next(work.kind.create, kind="error", count=None, **fault)
    with pytest.raises(error):
        work.attempt()
    assert (work.sent(), work.ours()) == (1, [])


def test_create_that_stays_throttled_leaves_the_rest_to_the_retry(work):
    work.emulator.fail_next(work.kind.create, kind="throttle", count=MAX_SUBMITS)
    with pytest.raises(QianfanThrottledError):
        work.attempt()
    assert work.sent() == MAX_SUBMITS
    assert work.attempt(2) == work.ours()[0]
    assert len(work.ours()) == 1


def test_service_that_asks_for_a_long_pause_gets_no_other_create(work):
    work.emulator.fail_next(work.kind.create, kind="throttle", retry_after=3600)
    with pytest.raises(QianfanThrottledError):
        work.attempt()
    assert work.sent() == 1


@pytest.mark.parametrize("kind", ["task", "model"])
def test_wrong_id_of_what_it_belongs_to_is_told_soon_and_named(work_on, kind, task_log):
    work = work_on(kind)
    work.arguments[KINDS[kind].needs[0]] = "no-such"
    with pytest.raises(QianfanNotFoundError):
        work.attempt()
    assert work.sent() == 0
    assert work.calls("DescribeFineTuningTasks" if kind == "task" else "DescribeModelSet") == 3
    assert sum(work.emulator.slept) <= 30 / 10
    assert "no-such" in task_log()


@pytest.mark.parametrize("kind", ["job", "set"])
def test_what_belongs_to_nothing_is_created_without_a_wait(work_on, kind):
    work = work_on(kind)
    work.attempt()
    assert sum(work.emulator.slept) == 0


@pytest.mark.parametrize("failure", ["never sent", "refused"])
def test_create_that_certainly_failed_is_not_looked_for_by_the_next_attempt(work, failure):
    if failure == "refused":
        work.emulator.fail_next(work.kind.create, kind="error", code="AccessDenied", status=403)
    else:
        # What existed before was read; the Create comes next.
        work.store.on_set = lambda: setattr(work.emulator, "is_down", True)
    with pytest.raises(QianfanPermissionError if failure == "refused" else QianfanConnectionError):
        work.attempt()
    assert work.ours() == []
    work.store.on_set = lambda: None
    work.emulator.is_down = False
    known, slept = len(work.emulator.journal), len(work.emulator.slept)
    created = work.attempt(2)
    assert work.ours() == [created]
    # One list or description to know what exists before, none to find what might have been created.
    assert len(work.emulator.journal) - known <= 2
    assert sum(work.emulator.slept[slept:]) == 0


def test_create_that_was_lost_before_it_was_refused_is_looked_for_by_the_next_attempt(work_on):
    work = work_on("task")
    work.emulator.fail_next(work.kind.create, kind="server_error")
    work.emulator.fail_next(work.kind.create, kind="error", code="AccessDenied", status=403)
    with pytest.raises(QianfanPermissionError):
        work.attempt()
    late = new_task(work.arguments["fine_tuning_job_id"])
    assert work.attempt(2) == late
