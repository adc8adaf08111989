"""A run of a task creates one batch inference, one evaluation or one export, whatever crashes or is lost.

The kinds of ``creating.KINDS`` belong to something or have a unique name. These do not: a batch inference and
an evaluation are known by their mark alone, and nothing lists exports.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest
from creating import BATCH, EVALUATION, LOST, Kind, Work, call
from in_process import HOUR, InProcessEmulator

from airflow_qianfan.compat import AirflowFailException
from airflow_qianfan.emulator import Assumptions
from airflow_qianfan.exceptions import QianfanAmbiguousCreateError, QianfanError, QianfanThrottledError
from airflow_qianfan.operators.base import wait as operators
from airflow_qianfan.operators.batch_inference import (
    QianfanBatchInferenceOperator,
    QianfanCreateBatchInferenceTaskOperator,
)
from airflow_qianfan.operators.evaluation import (
    QianfanCreateEvalResultExportTaskOperator,
    QianfanCreateEvalTaskOperator,
    QianfanEvaluationOperator,
)

BI, EV = "/v2/batchinference", "/v2/eval"
NO_DELETE = ("", "", "")
NO_WAIT = {"wait_for_completion": False}


def new_batch(**more: Any) -> str:
    body = {"name": "theirs", "modelId": "amv-1", "inputBosUri": "bos:/b/i", "outputBosUri": "bos:/b/o"}
    return str(call(BI, "CreateBatchInferenceTask", **{**body, **more})["taskId"])


def new_evaluation(**more: Any) -> str:
    body = {
        "taskName": "theirs",
        "evalObjectType": "model",
        "evalObjectConfig": EVALUATION["eval_object_config"],
        "evalConfig": {"evalMode": "rule"},
    }
    return str(call(EV, "CreateEvalTask", **{**body, **more}))


KINDS = {
    "batch": Kind(
        QianfanCreateBatchInferenceTaskOperator,
        BATCH,
        "CreateBatchInferenceTask",
        "batch_inference_task_id",
        "qianfan_task",
        NO_DELETE,
    ),
    "evaluation": Kind(
        QianfanCreateEvalTaskOperator,
        EVALUATION,
        "CreateEvalTask",
        "eval_task_id",
        "qianfan_task",
        (EV, "DeleteEvalTask", "taskId"),
    ),
}
KINDS["whole batch"] = replace(
    KINDS["batch"], operator=QianfanBatchInferenceOperator, arguments={**BATCH, **NO_WAIT}
)
KINDS["whole evaluation"] = replace(
    KINDS["evaluation"], operator=QianfanEvaluationOperator, arguments={**EVALUATION, **NO_WAIT}
)
NEW = {"CreateBatchInferenceTask": new_batch, "CreateEvalTask": new_evaluation}
LISTS = {
    "CreateBatchInferenceTask": "DescribeBatchInferenceTasks",
    "CreateEvalTask": "DescribeEvalTasks",
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def work(request: pytest.FixtureRequest, emulator: InProcessEmulator) -> Work:
    return Work(emulator, request.param)


def test_nothing_is_listed_before_a_create_since_the_account_may_hold_any_number(work):
    work.attempt()
    assert work.calls(LISTS[work.kind.create]) == 0
    assert sum(work.emulator.slept) == 0


def test_retry_attaches(work):
    created = work.attempt()
    assert [work.attempt(number) for number in (2, 3)] == [created, created]
    assert work.ours() == [created]


def test_retry_attaches_to_what_is_done_and_a_clear_does_it_anew(work):
    created = work.attempt()
    work.emulator.advance(2 * HOUR)
    assert work.attempt(2) == created
    again = work.attempt(3, generation=7)
    assert work.ours() == [created, again]


def test_clear_attaches_to_what_goes_on_unless_other_arguments_are_wanted(work):
    created = work.attempt()
    assert work.attempt(2, generation=7) == created
    is_batch = work.kind.create == "CreateBatchInferenceTask"
    other = {"completion_window": "24h"} if is_batch else {"eval_config": {"evalMode": "model"}}
    again = work.attempt(3, generation=11, **other)
    assert work.ours() == [created, again]
    first, _ = work.emulator.objects("batch_inference_task" if is_batch else "eval_task")
    assert first["runStatus" if is_batch else "state"] == "Stopped"


@pytest.mark.parametrize("has_store", [True, False], ids=["remembered", "no store"])
@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_one_is_created_whatever_becomes_of_the_create(work, fault, has_store):
    work.store = work.store if has_store else None
    work.emulator.fail_next(work.kind.create, **fault)
    created = work.attempt()
    assert work.ours() == [created]
    assert work.sent() == (1 if fault["kind"] in ("lost_answer", "timeout") or fault.get("effect") else 2)


@pytest.mark.parametrize("more", [{}, {"description": "weekly"}, {"name": "shared"}], ids=str)
def test_lost_create_is_found_by_its_mark_among_those_of_others(work, more):
    NEW[work.kind.create]()
    work.before = len(work.created())
    if "name" in more and work.kind.create == "CreateEvalTask":
        more = {"task_name": "shared"}
    work.emulator.fail_next(work.kind.create, kind="lost_answer")
    created = work.attempt(**more)
    assert work.ours() == [created]
    assert work.attempt(2, **more) == created
    assert work.sent() == 1


def test_crash_between_create_and_its_record_is_found_by_the_next_attempt(work):
    work.lose_answer()
    assert work.attempt(2) == work.ours()[0]
    assert len(work.ours()) == 1


def test_crash_is_found_by_the_next_attempt_also_where_it_is_over_by_then(work):
    work.lose_answer()
    work.emulator.advance(5 * HOUR)
    assert work.attempt(2) == work.ours()[0]
    assert len(work.ours()) == 1


def test_lost_create_is_found_on_a_later_page(work):
    vars(work.emulator)["_backend"].assumptions = Assumptions(batch_inference_limit=500)
    for _ in range(105):
        NEW[work.kind.create]()
    work.before = len(work.created())
    work.lose_answer()
    assert work.attempt(2) == work.ours()[0]


def test_lost_create_is_found_where_lists_lag_behind(work):
    work.emulator.advance(60)
    work.emulator.fail_next(work.kind.create, kind="lost_answer")
    work.emulator.fail_next(kind="stale", seconds=12.0, count=None)
    assert work.attempt() == work.ours()[0]
    assert work.sent() == 1


def test_what_somebody_else_creates_meanwhile_is_never_adopted(work, monkeypatch):
    """Also where it has no description, so that it might be ours with its mark cut off."""
    theirs = []
    # The Create has no effect, and before anybody looks for it somebody else creates one.
    work.emulator.fail_next(work.kind.create, kind="server_error")

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.params["Action"] == LISTS[work.kind.create] and not theirs:
            theirs.append("soon")
            theirs[0] = NEW[work.kind.create]()
        return work.emulator.handle(request)

    transport = httpx.MockTransport(handle)
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda _, sent: transport.handle_request(sent))
    created = work.attempt()
    assert work.ours() == [*theirs, created]
    assert created not in theirs


def test_one_of_the_same_name_without_a_mark_may_be_ours_so_no_other_is_sent(work):
    """The service may leave out descriptions, or cut their ends."""
    is_batch = work.kind.create == "CreateBatchInferenceTask"
    name = "name" if is_batch else "task_name"
    theirs = NEW[work.kind.create](**{"name" if is_batch else "taskName": "shared"})
    work.before = len(work.created())
    work.emulator.fail_next(work.kind.create, kind="server_error")
    with pytest.raises(QianfanAmbiguousCreateError, match=f"{theirs} has the name 'shared' and no mark"):
        work.attempt(**{name: "shared"})
    assert work.sent() == 1
    # Another name is another object, and cannot be that one.
    assert work.attempt(2, **{name: "ours alone"}) == work.ours()[0]


def test_those_of_earlier_runs_with_the_same_name_have_marks_of_their_own(work):
    name = "name" if work.kind.create == "CreateBatchInferenceTask" else "task_name"
    first = work.attempt(**{name: "shared"})
    work.emulator.advance(2 * HOUR)
    work.emulator.fail_next(work.kind.create, kind="server_error")
    second = work.attempt(2, generation=7, **{name: "shared"})
    assert work.ours() == [first, second]


def test_no_other_is_sent_where_nobody_can_tell(work):
    work.emulator.fail_next(work.kind.create, kind="lost_answer")
    work.emulator.fail_next(LISTS[work.kind.create], kind="server_error", count=None)
    with pytest.raises(QianfanError, match="cannot tell whether") as caught:
        work.attempt()
    assert not isinstance(caught.value, AirflowFailException)
    work.emulator.clear_faults()
    assert work.attempt(2) == work.ours()[0]
    assert work.sent() == 1


def test_names_and_descriptions_lead_back_to_airflow(work):
    work.attempt()
    work.attempt(2, generation=9, on_clear="restart", description="d" * 1000)
    is_batch = work.kind.create == "CreateBatchInferenceTask"
    kind = "batch_inference_task" if is_batch else "eval_task"
    first, second = (row["request"] for row in work.emulator.objects(kind))
    name = first.get("name") or first["taskName"]
    assert name.startswith("nightly_")
    mark = f"[airflow:{name.removeprefix('nightly_')}]"
    assert first["description"] == f"Airflow: nightly / manual__1 / it {mark}"
    # No limit is documented, so nothing of the user's own is cut.
    assert second["description"].startswith("d" * 1000 + " [airflow:")


@pytest.mark.parametrize("has_descriptions", [True, False])
def test_lost_evaluation_is_found_where_the_list_shows_no_descriptions(emulator, has_descriptions):
    vars(emulator)["_backend"].assumptions = Assumptions(
        evaluation_list="evaluations", evaluation_list_has_descriptions=has_descriptions
    )
    work = Work(emulator, KINDS["evaluation"])
    for name in ("other", "shared"):
        new_evaluation(taskName=name)
    work.before = len(work.created())
    work.emulator.fail_next("CreateEvalTask", kind="lost_answer")
    created = work.attempt(task_name="shared")
    assert work.ours() == [created]
    # Only those of the same name have to be described.
    assert work.calls("DescribeEvalTask") == (0 if has_descriptions else 2)


def test_lost_manual_evaluation_is_found_too(emulator):
    work = Work(emulator, KINDS["evaluation"])
    work.emulator.fail_next("CreateEvalTask", kind="lost_answer")
    created = work.attempt(eval_config={"evalMode": "manual"})
    assert work.ours() == [created]


# Exports, which nothing lists

EXPORT = Kind(
    QianfanCreateEvalResultExportTaskOperator,
    {},
    "CreateEvalResultExportTask",
    "eval_result_export_task_id",
    "qianfan_task",
    NO_DELETE,
)


@pytest.fixture
def export(emulator: InProcessEmulator) -> Work:
    evaluation = new_evaluation()
    emulator.advance(2 * HOUR)
    return Work(emulator, replace(EXPORT, arguments={"eval_task_id": evaluation}))


def test_retry_attaches_to_an_export(export):
    created = export.attempt()
    assert export.attempt(2) == created
    export.emulator.advance(2 * HOUR)
    assert export.attempt(3) == created
    assert export.attempt(4, generation=9) != created


@pytest.mark.parametrize("fault", ["lost_answer", "server_error", "reset", "malformed"])
def test_lost_export_fails_and_is_not_sent_again_until_a_user_clears_it(export, fault):
    export.emulator.fail_next("CreateEvalResultExportTask", kind=fault)
    for number in (1, 2):
        with pytest.raises(QianfanAmbiguousCreateError) as caught:
            export.attempt(number)
        assert isinstance(caught.value, AirflowFailException)
    assert export.sent() == 1
    with pytest.raises(QianfanAmbiguousCreateError, match='on_clear="restart"'):
        export.attempt(3, generation=7)
    created = export.attempt(4, generation=11, on_clear="restart")
    assert export.sent() == 2
    assert export.attempt(5, generation=11) == created


def test_crash_after_an_export_was_created_is_told(export):
    export.lose_answer()
    with pytest.raises(QianfanAmbiguousCreateError, match="may have been created"):
        export.attempt(2)
    assert export.sent() == 1


def test_export_that_was_refused_is_tried_again_by_the_retry(export):
    export.emulator.fail_next("CreateEvalResultExportTask", kind="error", code="AccessDenied", status=403)
    with pytest.raises(QianfanError):
        export.attempt()
    assert export.attempt(2) == export.ours()[0]


# A full quota


@pytest.fixture
def full(emulator: InProcessEmulator) -> Work:
    """A whole batch inference for which there is no place."""
    vars(emulator)["_backend"].assumptions = Assumptions(batch_inference_limit=1)
    new_batch()
    return Work(emulator, KINDS["whole batch"])


def test_place_that_gets_free_is_taken(full):
    assert full.attempt() == full.ours()[0]
    # The other one took an hour, and was waited for with growing pauses.
    assert 4 < full.sent() < 20
    assert 3600 <= sum(full.emulator.slept) < 2 * 3600


def test_nothing_is_created_any_more_where_the_task_is_ended_while_it_waits_for_a_place(full, monkeypatch):
    operator = full.operator()
    monkeypatch.setattr("time.sleep", lambda seconds: operator.on_kill() if seconds else None)
    monkeypatch.setattr(operators, "user_has_ended_task", lambda *_, **__: True)
    with pytest.raises(QianfanError, match="was not created, since this task was ended"):
        full.attempt(operator=operator)
    assert full.sent() == 1
    assert full.calls("StopBatchInferenceTask") == 0


def test_retry_goes_on_waiting_for_a_place_under_the_same_name(full):
    full.emulator.fail_next("CreateBatchInferenceTask", kind="throttle", count=4)
    with pytest.raises(QianfanThrottledError):
        full.attempt()
    created = full.attempt(2)
    assert full.ours() == [created]


def test_answer_that_is_lost_while_the_place_gets_free_is_found(full):
    full.emulator.advance(2 * HOUR)
    full.emulator.fail_next("CreateBatchInferenceTask", kind="lost_answer")
    created = full.attempt()
    # Sent again, it would have met a full quota of its own making, and would have waited for itself.
    assert full.ours() == [created]
    assert full.sent() == 1
