"""Evaluations, their reports and exports as the service may send them."""

from __future__ import annotations

from typing import Any

import pytest
from batch_and_eval import EVALUATION
from pydantic import ValidationError

from airflow_qianfan.api.actions.evaluation import (
    CreateEvalResultExportTask,
    CreateEvalTask,
    DeleteEvalTask,
    DescribeEvalResultExportTask,
    DescribeEvalTask,
    DescribeEvalTaskReport,
    DescribeEvalTasks,
    StopEvalTask,
)
from airflow_qianfan.api.objects import Phase

REPORT = DescribeEvalTaskReport(task_id="ame-1")
EXPORT = DescribeEvalResultExportTask(task_id="amemt-1")


def metrics(*entries: Any) -> Any:
    return REPORT.read_result(list(entries)).metrics


@pytest.mark.parametrize("answer", ["ame-1", {"taskId": "ame-1"}])
def test_id_of_a_new_evaluation_may_come_alone_or_in_an_object(answer):
    assert CreateEvalTask(**EVALUATION).read_result(answer).task_id == "ame-1"
    assert CreateEvalResultExportTask(eval_id="ame-1").read_result(answer).task_id == "ame-1"


@pytest.mark.parametrize("answer", [None, {}, [], "", {"taskId": ""}])
def test_answer_without_an_id_is_no_success(answer):
    with pytest.raises(ValidationError):
        CreateEvalTask(**EVALUATION).read_result(answer)


def test_successed_is_a_success_although_it_is_spelled_so():
    task = DescribeEvalTask(task_id="x").read_result(
        {"taskId": "ame-1", "taskName": "n", "evalType": "auto", "state": "Successed"}
    )
    assert task.state.phase is Phase.SUCCEEDED
    assert task.output() == {
        "eval_task_id": "ame-1",
        "task_name": "n",
        "eval_type": "auto",
        "status": "Successed",
        "state_text": "Successed",
        "console_url": "https://console.bce.baidu.com/qianfan/modelcenter/model/eval/detail/task/ame-1",
    }


def test_export_succeeds_with_another_spelling_than_the_evaluation():
    export = EXPORT.read_result({"taskId": "amemt-1", "status": "Succeeded", "downloadUrl": "https://x/y"})
    assert export.state.phase is Phase.SUCCEEDED
    assert export.output() == {
        "eval_result_export_task_id": "amemt-1",
        "status": "Succeeded",
        "status_text": "Succeeded",
        "download_url": "https://x/y",
    }


@pytest.mark.parametrize(
    ("members", "status", "url"),
    [
        ({"state": "Failed"}, "Failed", None),
        ({"status": "Running", "state": "x", "bosUrl": ""}, "Running", None),
        ({"status": None, "url": "https://x"}, "Queued", "https://x"),
    ],
)
def test_export_is_read_whatever_its_members_are_called(members, status, url):
    export = EXPORT.read_result({"taskId": "amemt-1", **members})
    assert (export.status, export.download_url) == (status, url)


@pytest.mark.parametrize(
    ("state", "waits"),
    [
        ("RunningWithManualBegin", True),
        ("runningwithmanualbegin", True),
        ("DoingWithManualBegin", True),
        ("Running", False),
        ("RunningWithMetricsCalculating", False),
        (None, False),
    ],
)
def test_only_one_state_waits_for_a_person(state, waits):
    task = DescribeEvalTask(task_id="x").read_result({"taskId": "ame-1", "state": state})
    assert task.waits_for_person is waits
    assert not task.state.is_final


@pytest.mark.parametrize(
    "answer",
    [
        {"taskList": [{"taskId": "ame-1"}], "pageInfo": {"isTruncated": False}},
        {"evalTaskList": [{"taskId": "ame-1"}], "pageInfo": {}},
        [{"taskId": "ame-1"}],
    ],
)
def test_list_is_found_whatever_it_is_called(answer):
    page = DescribeEvalTasks(eval_type="auto").read_result(answer)
    assert [task.task_id for task in page.rows] == ["ame-1"]
    assert not page.page_info.is_truncated


@pytest.mark.parametrize("answer", [{}, {"taskList": None}, {"other": "x"}])
def test_list_may_be_missing(answer):
    assert DescribeEvalTasks(eval_type="auto").read_result(answer).rows == []


@pytest.mark.parametrize("answer", [{}, True, None, "ok"])
def test_stop_and_delete_take_any_answer(answer):
    assert StopEvalTask(task_id="ame-1").read_result(answer) == answer
    assert DeleteEvalTask(task_id="ame-1").read_result(answer) == answer


def test_report_is_numbers_by_model_version():
    found = metrics(
        {
            "taskId": "ame-1",
            "taskName": "3",
            "modelId": "amv-1",
            "evalMode": "rule",
            "accuracy": "16.56%",
            "rouge_l": 0.25,
            "editDistance": "43.07",
        },
        {"modelId": "amv-2", "accuracy": 0.5},
    )
    assert found == {
        "amv-1": {"accuracy": 0.1656, "rouge_l": 0.25, "editDistance": 43.07},
        "amv-2": {"accuracy": 0.5},
    }


def test_report_of_results_is_by_their_data_set():
    assert metrics({"inferDatasetId": "ds-1", "bleu4": 0.1}) == {"ds-1": {"bleu4": 0.1}}


def test_entries_about_one_model_are_put_together():
    assert metrics({"modelId": "a", "x": 1}, {"modelId": "a", "y": 2}) == {"a": {"x": 1.0, "y": 2.0}}


def test_metrics_in_groups_and_in_other_objects():
    found = metrics(
        {
            "modelId": "amv-1",
            "effectMetric": {"f1Score": 0.5, "scoreDistribution": {"1": 7, "5": 3}},
            "performanceMetrics": {},
            "judge": {"avg": 4},
        }
    )
    assert found["amv-1"] == {
        "f1Score": 0.5,
        "scoreDistribution.1": 7.0,
        "scoreDistribution.5": 3.0,
        "judge.avg": 4.0,
    }


@pytest.mark.parametrize("value", [None, "n/a", float("nan"), "NaN", float("inf"), True, [1], "", {}])
def test_what_is_not_a_number_is_no_metric(value):
    assert metrics({"modelId": "amv-1", "accuracy": value}) == {"amv-1": {}}


@pytest.mark.parametrize("member", ["id", "userId", "modelVersion", "createTime"])
def test_numbers_that_measure_nothing_are_left_out(member):
    assert metrics({"inferDatasetId": "ds-1", member: 3}) == {"ds-1": {}}


def test_objects_that_are_nested_without_end_are_left_out():
    deep: dict[str, Any] = {"x": 1}
    for _ in range(500):
        deep = {"inner": deep}
    assert metrics({"modelId": "amv-1", **deep}) == {"amv-1": {}}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, {}),
        ([], {}),
        ({}, {}),
        ({"reportList": [{"modelId": "a", "x": 1}]}, {"a": {"x": 1.0}}),
        ({"modelId": "a", "x": 1}, {"a": {"x": 1.0}}),
        ([{"x": 1}], {"": {"x": 1.0}}),
    ],
)
def test_report_may_come_in_another_wrapping(answer, expected):
    assert REPORT.read_result(answer).metrics == expected


def test_report_in_the_log_has_a_column_for_each_model():
    report = REPORT.read_result([{"modelId": "a", "x": 1, "y": "5%"}, {"modelId": "b"}, {"z": 1}])
    assert report.summary() == [
        "Metric     a  b  Value",
        "x          1  –      –",
        "y       0.05  –      –",
        "z          –  –      1",
    ]
    assert REPORT.read_result([{"modelId": "a"}]).summary() == ["The report holds no metrics."]
