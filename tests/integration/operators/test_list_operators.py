"""Lists and descriptions."""

from __future__ import annotations

import pytest
from operator_values import HOUR

from airflow_qianfan.operators.finetuning import (
    QianfanDescribeFineTuningJobsOperator,
    QianfanDescribeFineTuningTaskOperator,
    QianfanDescribeFineTuningTasksOperator,
)
from airflow_qianfan.operators.model import QianfanDescribeModelOperator, QianfanDescribeModelSetOperator


def test_lists_follow_all_pages_up_to_the_limit(emulator, service, run_task):
    ids = [service.job(f"job-{number}") for number in range(230)]
    known = len(emulator.journal)
    for limit, pages in ((None, 3), (1000, 3), (150, 2), (100, 1), (7, 1), (0, 0)):
        run = run_task(QianfanDescribeFineTuningJobsOperator, limit=limit)
        assert [row["fine_tuning_job_id"] for row in run.value] == ids[:limit]
        assert len(emulator.journal) - known == pages
        known = len(emulator.journal)
    backwards = run_task(QianfanDescribeFineTuningJobsOperator, page_reverse=True, limit=101).value
    assert [row["fine_tuning_job_id"] for row in backwards] == ids[:-102:-1]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, ["aa", "bb", "cc"]),
        ({"train_mode": "{{ params.mode }}"}, ["bb", "cc"]),
        ({"model": "{{ params.model }}"}, ["aa", "bb"]),
        ({"train_mode": "{{ params.mode }}", "model": "{{ params.model }}"}, ["bb"]),
        ({"train_mode": "{{ params.none }}"}, ["aa", "bb", "cc"]),
    ],
)
def test_jobs_are_filtered_by_the_service(emulator, service, run_task, filters, names):
    service.job("aa", model="M1", train_mode="SFT")
    service.job("bb", model="M1", train_mode="DPO")
    service.job("cc", model="M2", train_mode="DPO")
    params = {"mode": "DPO", "model": "M1", "none": ""}
    run = run_task(QianfanDescribeFineTuningJobsOperator, **filters, params=params)
    assert [row["name"] for row in run.value] == names
    assert set(run.value[0]) == {
        "fine_tuning_job_id",
        "name",
        "description",
        "model",
        "train_mode",
        "create_time",
    }


def test_the_tasks_of_a_job_are_listed(emulator, service, run_task):
    job_id = service.job()
    ids = [service.task(job_id=job_id) for _ in range(3)]
    service.task("other")
    run = run_task(
        QianfanDescribeFineTuningTasksOperator, fine_tuning_job_id="{{ params.j }}", params={"j": job_id}
    )
    assert [row["fine_tuning_task_id"] for row in run.value] == ids
    assert {(row["status"], row["run_status"]) for row in run.value} == {("Waiting", "Waiting")}


@pytest.mark.parametrize(
    ("name", "advance", "state", "progress"),
    [
        ("nightly", 0, "Waiting", None),
        ("nightly", HOUR / 2, "Running", 0.41),
        ("nightly", 2 * HOUR, "Done", 1.0),
        ("will-fail", 2 * HOUR, "Failed", None),
    ],
)
def test_a_task_is_described_in_whatever_state_it_is(
    emulator, service, run_task, name, advance, state, progress
):
    task_id = service.task(name)
    emulator.advance(advance)
    run = run_task(
        QianfanDescribeFineTuningTaskOperator, fine_tuning_task_id="{{ params.t }}", params={"t": task_id}
    )
    (task,) = emulator.tasks
    assert (run.value["status"], run.value["run_status"]) == (state, state)
    assert run.value["progress"] == progress
    assert run.value["fine_tuning_task_id"] == run.xcom["fine_tuning_task_id"] == task_id
    assert run.value["fine_tuning_job_id"] == task["jobId"]
    assert len(run.value["checkpoints"]) == len(task.get("checkpointList", []))
    assert all(0 < value < 1 for value in run.value["metrics"].values())
    assert len(run.value["metrics"]) == (4 if state == "Done" else 0)
    assert run.xcom["_link_QianfanFineTuningTaskLink"] == run.value["console_url"]
    assert f"/sft/{task['jobId']}/{task_id}/" in run.value["console_url"]


def test_a_model_and_its_set_are_described(emulator, service, run_task):
    model_id = service.model("bot")
    run = run_task(QianfanDescribeModelOperator, model_id="{{ params.m }}", params={"m": model_id})
    (version,) = emulator.models
    assert run.value == {
        "model_id": model_id,
        "model_set_id": version["modelSetId"],
        "model_name": "bot-V1",
        "status": "Creating",
        "status_text": "Creating",
        "model": "HuggingFace",
        "description": None,
        "is_support_deploy": False,
        "console_url": f"{emulator.endpoint}/qianfan/modelcenter/model/user/list",
    }
    by_id = run_task(
        QianfanDescribeModelSetOperator, model_set_id="{{ params.s }}", params={"s": version["modelSetId"]}
    )
    assert (by_id.value["model_set_name"], by_id.value["model_ids"]) == ("bot", [model_id])
    assert by_id.xcom["model_ids"] == [model_id]
