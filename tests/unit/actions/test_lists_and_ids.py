"""Lists and new ids as the service may send them."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_qianfan.api.actions.finetuning import (
    CreateFineTuningJob,
    CreateFineTuningTask,
    DescribeFineTuningJobs,
    DescribeFineTuningTasks,
)
from airflow_qianfan.api.actions.model import CreateCustomModel, CreateCustomModelSet, DescribeCustomModelSets


def read(request: Any, result: Any) -> Any:
    return request.read_result(result)


JOB = {"name": "nightly", "model": "ERNIE-Speed-8K", "train_mode": "SFT"}
PLATFORM = {"sourceType": "Platform", "versions": [{"versionId": "ds-1"}]}
TASK = {"job_id": "job-1", "hyper_parameter_config": {"epoch": 1}, "dataset_config": PLATFORM}
TRAIN = {"model_set_id": "am-1", "source_type": "Train", "train_meta": {"taskId": "task-1"}}


@pytest.mark.parametrize(
    ("request_", "rows"),
    [
        (DescribeFineTuningJobs(), "jobList"),
        (DescribeFineTuningTasks(job_id="job-1"), "taskList"),
        (DescribeCustomModelSets(), "customModelSetList"),
    ],
    ids=["jobs", "tasks", "model-sets"],
)
@pytest.mark.parametrize("result", [{}, {"rows": None}, {"rows": []}])
def test_list_may_be_missing_or_null(request_, rows, result):
    page = read(request_, {rows: result["rows"]} if "rows" in result else {})
    assert page.rows == []
    assert page.page_info.is_truncated is False


def test_created_ids_are_read():
    assert read(CreateFineTuningJob(**JOB), {"jobId": "job-1"}).job_id == "job-1"
    assert read(CreateFineTuningTask(**TASK), {"taskId": "task-1", "jobId": "job-1"}).task_id == "task-1"
    request = CreateCustomModelSet(model_set_name="bot", model_type="Text2Text")
    assert read(request, "am-1").model_set_id == "am-1"
    assert read(request, {"modelSetId": "am-1"}).model_set_id == "am-1"
    made = read(CreateCustomModel(**TRAIN), {"modelSetId": "am-1", "modelId": "amv-1"})
    assert (made.model_set_id, made.model_id) == ("am-1", "amv-1")


def test_a_page_without_page_info_is_the_last():
    page = DescribeFineTuningJobs().read_result({"jobList": [{"jobId": "job-1"}], "pageInfo": None})
    assert [job.job_id for job in page.rows] == ["job-1"]
    assert not page.page_info.is_truncated
