"""Batch inferences as the service may send them."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_qianfan.api.actions.batch_inference import (
    BatchInferenceTask,
    CreateBatchInferenceTask,
    DescribeBatchInferenceModel,
    DescribeBatchInferenceTask,
    DescribeBatchInferenceTasks,
)
from airflow_qianfan.api.objects import Phase

CREATE = CreateBatchInferenceTask(
    name="n", model_id="amv-1", input_bos_uri="bos:/b/i", output_bos_uri="bos:/b/o"
)


def read(**members: Any) -> BatchInferenceTask:
    return DescribeBatchInferenceTask(task_id="i").read_result({"taskId": "infer-1", **members})


@pytest.mark.parametrize("answer", [{"taskId": "infer-1"}, "infer-1", {"taskId": "infer-1", "more": 1}])
def test_id_of_a_new_task_may_come_alone(answer):
    assert CREATE.read_result(answer).task_id == "infer-1"


def test_finished_task_is_read_as_the_page_shows_it():
    task = read(
        name="nightly",
        runStatus="Done",
        progress=120,
        total=120,
        inputTokenUsage=10,
        outputTokenUsage="20",
        outputBosUri="bos:/b/out/",
        outputDir="0123abcd",
        createTime="2024-05-16T15:23:30Z",
    )
    assert task.output() == {
        "batch_inference_task_id": "infer-1",
        "name": "nightly",
        "status": "Done",
        "run_status": "Done",
        "progress": 1.0,
        "rows": 120,
        "total_rows": 120,
        "input_tokens": 10,
        "output_tokens": 20,
        "result_uri": "bos:/b/out/0123abcd",
        "error_code": None,
        "error_reason": None,
    }
    assert task.summary() == [
        "120 of 120 rows done.",
        "Tokens: 10 input, 20 output",
        "Answers: bos:/b/out/0123abcd",
    ]
    assert task.started == 1715873010.0


@pytest.mark.parametrize(
    ("members", "progress", "text"),
    [
        # A count, not a percentage: 57 rows are not 57 %.
        ({"progress": 57}, None, "57 rows done"),
        ({"progress": "57"}, None, "57 rows done"),
        ({"progress": 57, "total": 114}, 0.5, "57 of 114 rows done"),
        ({"progress": 57, "totalLines": "228"}, 0.25, "57 of 228 rows done"),
        ({"progress": 57, "total": 50}, 1.0, "57 of 50 rows done"),
        ({"progress": 0, "total": 10}, 0.0, "0 of 10 rows done"),
        ({"progress": 57, "total": 0}, None, "57 of 0 rows done"),
        ({"progress": 57, "totalTokens": 1000}, None, "57 rows done"),
        ({"progress": 57, "total": None}, None, "57 rows done"),
        ({"progress": "40 %"}, 0.4, None),
        ({"progress": "40%", "total": 10}, 0.4, None),
        ({}, None, None),
        ({"progress": None}, None, None),
        ({"progress": "soon"}, None, None),
        ({"progress": [1]}, None, None),
        ({"progress": True}, None, None),
        ({"progress": -1}, None, None),
        ({"progress": 10**30}, None, None),
    ],
    ids=str,
)
def test_progress_counts_rows_and_is_a_share_only_where_their_number_is_known(members, progress, text):
    task = read(runStatus="Running", **members)
    if members.get("progress") == -1 or members.get("progress") == 10**30:
        assert task.rows is None
        return
    assert (task.progress, task.progress_words) == (progress, text)


def test_done_is_done_whatever_the_rows_say():
    assert read(runStatus="DONE").progress == 1.0


@pytest.mark.parametrize("word", ["Failed", "Expired"])
def test_a_failure_and_what_has_expired_are_failures(word):
    assert read(runStatus=word).state.phase is Phase.FAILED


def test_reason_of_a_failure_is_in_the_output():
    output = read(runStatus="Failed", errorCode=5, errorReason="bad line").output()
    assert (output["error_code"], output["error_reason"]) == (5, "bad line")


@pytest.mark.parametrize("members", [{"outputBosUri": "bos:/b"}, {"outputDir": "x"}, {"outputDir": None}])
def test_directory_of_the_answers_is_none_while_it_is_not_known(members):
    assert read(**members).result_uri is None


@pytest.mark.parametrize("answer", [{}, {"taskList": None}, {"taskList": []}])
def test_list_may_be_missing_or_null(answer):
    assert DescribeBatchInferenceTasks().read_result(answer).rows == []


def test_models_get_the_names_that_ids_have_everywhere():
    answer = {
        "commonModelList": None,
        "customModelList": [
            {
                "modelId": "am-1",
                "modelName": "bot",
                "modelVersionList": [{"modelVersionId": "amv-1", "modelVersionName": "bot_1"}],
            },
            {"modelId": "am-2"},
        ],
    }
    assert DescribeBatchInferenceModel().read_result(answer).output() == {
        "common_models": [],
        "custom_models": [
            {
                "model_set_id": "am-1",
                "model_set_name": "bot",
                "versions": [{"model_id": "amv-1", "model_name": "bot_1"}],
            },
            {"model_set_id": "am-2", "model_set_name": None, "versions": []},
        ],
    }
