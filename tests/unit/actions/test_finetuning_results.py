"""Trainings and jobs as the service may send them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_qianfan.api.actions.finetuning import (
    Checkpoint,
    DescribeFineTuningJobs,
    DescribeFineTuningTask,
    DescribeFineTuningTasks,
    FineTuningTask,
)
from airflow_qianfan.api.actions.finetuning.task import task_console_url
from airflow_qianfan.api.objects import Phase


def read(request: Any, result: Any) -> Any:
    return request.read_result(result)


def task(**members: Any) -> FineTuningTask:
    return read(DescribeFineTuningTask(task_id="task-1"), {"taskId": "task-1", **members})


def test_task_is_read_as_the_page_shows_it():
    read_task = task(
        jobId="job-1",
        jobName="nightly",
        jobDescription="",
        model="ERNIE-Speed-8K",
        trainMode="SFT",
        parameterScale="LoRA",
        runStatus="Running",
        runProgress="40%",
        vdlLink="https://console.bce.baidu.com/qianfan/visualdl/index?displayToken=x",
        createDate="2025-01-16T09:48:35Z",
        finishDate="0000-00-00T00:00:00Z",
    )
    assert (read_task.job_id, read_task.job_name, read_task.job_description) == ("job-1", "nightly", "")
    assert (read_task.status, read_task.state.phase, read_task.progress) == ("Running", Phase.ACTIVE, 0.4)
    assert (read_task.create_date, read_task.finish_date) == ("2025-01-16T09:48:35Z", None)
    assert read_task.parameter_scale == "LoRA"
    assert read_task.vdl_link.endswith("displayToken=x")


def test_task_without_anything_but_its_id_is_waiting():
    bare = task()
    assert (bare.status, bare.run_status, bare.state.phase) == ("Waiting", None, Phase.ACTIVE)
    assert (bare.started, bare.summary()) == (None, [])
    assert (bare.progress, bare.metric_values, bare.checkpoint_list) == (None, {}, [])
    assert (bare.best_checkpoint, bare.console_url, bare.finish_date) == (None, None, None)


@pytest.mark.parametrize(
    "member",
    ["jobId", "runStatus", "runProgress", "metrics", "checkpointList", "createDate", "finishDate", "vdlLink"],
)
def test_null_is_as_good_as_missing(member):
    assert task(**{member: None}).output() == task().output()


def test_members_nobody_knows_are_kept():
    assert task(newMember={"a": 1}).model_extra == {"newMember": {"a": 1}}


@pytest.mark.parametrize(
    ("spelling", "status", "phase", "is_known"),
    [
        ("Waiting", "Waiting", Phase.ACTIVE, True),
        ("", "Waiting", Phase.ACTIVE, True),
        ("Running", "Running", Phase.ACTIVE, True),
        ("RUNNING", "Running", Phase.ACTIVE, True),
        ("Done", "Done", Phase.SUCCEEDED, True),
        ("FINISH", "Done", Phase.SUCCEEDED, True),
        ("Finish", "Done", Phase.SUCCEEDED, True),
        ("Failed", "Failed", Phase.FAILED, True),
        ("Fail", "Failed", Phase.FAILED, True),
        ("FAIL", "Failed", Phase.FAILED, True),
        ("Stopped", "Stopped", Phase.STOPPED, True),
        ("Stop", "Stopped", Phase.STOPPED, True),
        ("STOP", "Stopped", Phase.STOPPED, True),
        ("Stopping", "Stopping", Phase.ACTIVE, False),
        ("Unknown", "Unknown", Phase.ACTIVE, False),
        ("暂停", "暂停", Phase.ACTIVE, False),
    ],
)
def test_every_spelling_of_a_task_status_is_understood(spelling, status, phase, is_known):
    read_task = task(runStatus=spelling)
    state = read_task.state
    assert (read_task.status, state.phase, state.is_known) == (status, phase, is_known)
    assert state.is_final is (phase is not Phase.ACTIVE)
    output = read_task.output()
    assert (output["status"], output["run_status"]) == (status, spelling)


@pytest.mark.parametrize("name", ["createDate", "createTime"])
@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2024-01-16T09:48:35Z", "2024-01-16T09:48:35Z"),
        ("2024-06-04T18:38:59+08:00", "2024-06-04T18:38:59+08:00"),
        ("0000-00-00T00:00:00Z", None),
        ("0000-00-00 00:00:00", None),
    ],
)
def test_dates_are_read_under_both_names_and_none_where_there_is_none(name, text, date):
    assert task(**{name: text}).create_date == date
    page = read(DescribeFineTuningJobs(), {"jobList": [{"jobId": "job-1", name: text}]})
    assert page.rows[0].create_time == date
    assert page.rows[0].output()["create_time"] == date


@pytest.mark.parametrize("name", ["finishDate", "finishTime"])
def test_end_is_read_under_both_names(name):
    assert task(**{name: "2024-01-16T09:48:35Z"}).finish_date == "2024-01-16T09:48:35Z"
    assert task(**{name: "0000-00-00T00:00:00Z"}).finish_date is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("16.56%", 0.1656),
        (" 27.84 %", 0.2784),
        ("0%", 0.0),
        ("100%", 1.0),
        ("43.07", 43.07),
        (43.07, 43.07),
        (7, 7.0),
        ("1e-3", 0.001),
        ("NaN", None),
        ("nan%", None),
        ("Infinity", None),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
        ("", None),
        ("%", None),
        ("-", None),
        ("n/a", None),
        (None, None),
        (True, None),
        ([1], None),
        ({"value": 1}, None),
    ],
)
def test_metric_is_a_number_or_left_out(text, value):
    expected = {} if value is None else {"BLEU-4": value}
    assert task(metrics={"BLEU-4": text}).metric_values == expected


@pytest.mark.parametrize("metrics", [None, {}, [], "", "16.56%", 5])
def test_metrics_of_another_shape_are_none(metrics):
    assert task(metrics=metrics).metric_values == {}


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("51%", 0.51),
        ("0%", 0.0),
        ("100%", 1.0),
        ("120%", 1.0),
        ("-5%", 0.0),
        ("0.5", 0.5),
        ("", None),
        ("soon", None),
        (None, None),
        ([], None),
    ],
)
def test_progress_is_a_share_or_none(text, share):
    assert task(runProgress=text).progress == share


@pytest.mark.parametrize(
    ("checkpoints", "best"),
    [
        ([(64, 1.41, 0.34), (128, 1.22, 0.2), (192, 1.3, 0.26)], 128),
        ([(64, None, 0.34), (128, None, 0.2), (192, None, 0.26)], 128),
        ([(64, None, None), (192, None, None), (128, None, None)], 192),
        ([(64, 1.2, 0.3), (128, 1.2, 0.2)], 128),
        ([(64, 1.2, 0.2), (128, 1.2, 0.2)], 128),
        ([(64, 9.9, None), (128, None, 0.01)], 64),
        ([(64, "NaN", "NaN"), (128, 1.5, 0.4)], 128),
        ([(64, float("inf"), 0.1), (128, 1.5, 0.4)], 128),
        ([(64, "1.41", 0.34), (128, "1.22", 0.2)], 128),
    ],
)
def test_best_checkpoint_has_the_lowest_perplexity_then_loss_then_is_the_last(checkpoints, best):
    listed = [{"step": step, "perplexity": p, "trainingLoss": loss} for step, p, loss in checkpoints]
    found = task(checkpointList=listed)
    assert found.best_checkpoint.step == best
    assert found.output()["best_checkpoint_step"] == best


def test_output_of_a_task_is_small_and_fit_for_xcom():
    output = task(
        jobId="job-1",
        trainMode="SFT",
        runStatus="FINISH",
        metrics={"BLEU-4": "16.56%", "ROUGE-1": "NaN"},
        checkpointList=[{"step": 64, "perplexity": float("nan"), "trainingLoss": 0.35, "more": 1}],
        vdlLink="https://example.com",
    ).output()
    checkpoint = {"step": 64, "perplexity": None, "training_loss": 0.35}
    assert output == {
        "fine_tuning_task_id": "task-1",
        "fine_tuning_job_id": "job-1",
        "status": "Done",
        "run_status": "FINISH",
        "progress": 1.0,
        "metrics": {"BLEU-4": 0.1656},
        "checkpoints": [checkpoint],
        "best_checkpoint": checkpoint,
        "best_checkpoint_step": 64,
        "console_url": "https://console.bce.baidu.com/qianfan/train/sft/job-1/task-1/detail/traininglog",
    }
    assert json.loads(json.dumps(output, allow_nan=False)) == output


@pytest.mark.parametrize(
    ("train_mode", "part"),
    [
        ("SFT", "sft"),
        ("PostPretrain", "postPretrain"),
        ("DPO", "dpo"),
        ("KTO", "sft"),
        (None, "sft"),
        ("postpretrain", "postPretrain"),
    ],
)
def test_console_page_depends_on_the_mode(train_mode, part):
    expected = f"https://console.bce.baidu.com/qianfan/train/{part}/job-1/task-1/detail/traininglog"
    assert task_console_url("job-1", "task-1", train_mode) == expected
    assert task(jobId="job-1", trainMode=train_mode).console_url == expected


def test_checkpoint_keeps_what_else_the_service_says():
    listed = Checkpoint.model_validate({"step": 64, "validationLoss": 0.5})
    assert listed.model_extra == {"validationLoss": 0.5}


def test_a_checkpoint_without_a_step_does_not_hide_how_a_training_ended():
    task = DescribeFineTuningTask(task_id="task-1").read_result(
        {
            "taskId": "task-1",
            "runStatus": "Done",
            "checkpointList": [{"perplexity": 1.5}, None, {"step": 64, "perplexity": 2.0}],
        }
    )
    assert task.state.phase is Phase.SUCCEEDED
    assert [checkpoint.step for checkpoint in task.checkpoint_list] == [64]


@pytest.mark.parametrize("spelling", ["Done", "FINISH"])
def test_progress_of_what_is_done_is_whole(spelling):
    assert task(runStatus=spelling, runProgress="97%").progress == 1.0
    assert task(runStatus=spelling).progress == 1.0


def test_progress_of_what_failed_is_what_the_service_says():
    assert task(runStatus="Failed", runProgress="97%").progress == 0.97
    assert task(runStatus="Failed").progress is None


def test_summary_has_the_metrics_and_the_best_checkpoint():
    done = task(
        runStatus="Done",
        metrics={"BLEU-4": "16.56%", "ROUGE-1": "n/a"},
        checkpointList=[
            {"step": 64, "perplexity": 1.5, "trainingLoss": 0.35},
            {"step": 128, "perplexity": 1.2},
        ],
    )
    assert done.summary() == [
        "Metric   Value",
        "BLEU-4  0.1656",
        "Best checkpoint: step 128, perplexity 1.2",
    ]
    assert task(runStatus="Done").summary() == []


def test_start_is_a_time_with_its_zone():
    utc, beijing = task(createDate="2024-01-16T09:48:35Z"), task(createDate="2024-01-16T17:48:35+08:00")
    assert utc.started == beijing.started == 1705398515.0
    assert task(createDate="yesterday").started is None


def test_training_is_an_object_with_ids_and_requests():
    found = task(jobId="job-1")
    assert (found.object_id, found.parent_id, found.label) == ("task-1", "job-1", "fine-tuning task task-1")
    assert FineTuningTask.describe("task-1") == DescribeFineTuningTask(task_id="task-1")
    assert FineTuningTask.stop("task-1").body() == {"taskId": "task-1"}
    assert FineTuningTask.siblings("job-1") == DescribeFineTuningTasks(job_id="job-1", max_keys=100)
