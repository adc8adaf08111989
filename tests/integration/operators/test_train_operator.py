"""A training is one task, on a worker and in the triggerer."""

from __future__ import annotations

import re
from datetime import timedelta

from operator_values import DATASET, HYPER, MARK, MODES, RETRIES, TRAINING

from airflow_qianfan.exceptions import QianfanExecutionTimeoutError, QianfanTerminalStateError
from airflow_qianfan.operators.finetuning import (
    QianfanCreateFineTuningTaskOperator,
    QianfanFineTuningOperator,
)


@MODES
def test_the_whole_training_is_one_task(start_emulator, run_task, deferrable):
    emulator = start_emulator(task_seconds=0.5)
    run = run_task(
        QianfanFineTuningOperator,
        qianfan_conn_id="qianfan_{{ params.c }}",
        model="{{ params.p }}-model",
        train_mode="{{ params.mode }}",
        parameter_scale="{{ params.p }}-scale",
        hyper_parameter_config='{"epoch": {{ params.n }}}',
        dataset_config={**DATASET, "versions": [{"versionId": "ds-{{ params.n }}"}]},
        name="{{ params.p }}-job",
        description="{{ params.p }} job",
        corpus_config={"copyData": "{{ params.p }}"},
        model_config='{"any": "{{ params.p }}"}',
        resource_config={"resourceId": "{{ params.p }}"},
        poll_interval=0.1,
        deferrable=deferrable,
        params={"c": "default", "p": "my", "mode": "DPO", "n": 3},
    )
    (job,), (task,) = emulator.jobs, emulator.tasks
    assert re.fullmatch(f"my job {MARK}", job["description"])
    assert job["request"] == {
        "name": "my-job",
        "model": "my-model",
        "trainMode": "DPO",
        "description": job["description"],
    }
    assert task["request"] == {
        "jobId": job["jobId"],
        "parameterScale": "my-scale",
        "hyperParameterConfig": {"epoch": 3},
        "datasetConfig": {"sourceType": "Platform", "versions": [{"versionId": "ds-3"}], "splitRatio": 20},
        "corpusConfig": {"copyData": "my"},
        "modelConfig": {"any": "my"},
        "resourceConfig": {"resourceId": "my"},
    }
    assert (run.value["status"], run.value["run_status"], run.value["progress"]) == ("Done", "Done", 1.0)
    assert run.value["fine_tuning_job_id"] == run.xcom["fine_tuning_job_id"] == job["jobId"]
    assert run.value["fine_tuning_task_id"] == run.xcom["fine_tuning_task_id"] == task["taskId"]
    assert run.value["best_checkpoint_step"] in [point["step"] for point in run.value["checkpoints"]]
    assert len(run.value["metrics"]) == 4
    link = run.xcom["_link_QianfanFineTuningTaskLink"]
    assert link == run.value["console_url"]
    assert f"/train/dpo/{job['jobId']}/{task['taskId']}/" in link


@MODES
def test_a_failed_training_ends_the_task_without_retries(start_emulator, run_task, deferrable):
    emulator = start_emulator(task_seconds=0.4)
    run = run_task(QianfanFineTuningOperator, **TRAINING, name="will-fail", deferrable=deferrable, **RETRIES)
    assert isinstance(run.error, QianfanTerminalStateError)
    assert run.error.state == "Failed"
    link = run.xcom["_link_QianfanFineTuningTaskLink"]
    assert emulator.tasks[0]["taskId"] in link
    assert link in str(run.error)
    assert run.tries == {"it": 1}
    assert len(emulator.tasks) == 1


@MODES
def test_execution_timeout_stops_the_training(emulator, run_task, deferrable):
    run = run_task(
        QianfanFineTuningOperator, **TRAINING, deferrable=deferrable, execution_timeout=timedelta(seconds=5)
    )
    assert isinstance(run.error, QianfanExecutionTimeoutError)
    (task,) = emulator.tasks
    assert task["runStatus"] == "Stopped"
    assert f"{task['taskId']} was stopped" in str(run.error)
    assert task["taskId"] in run.xcom["_link_QianfanFineTuningTaskLink"]


def test_without_waiting_the_training_goes_on(emulator, run_task):
    run = run_task(QianfanFineTuningOperator, **TRAINING, wait_for_completion=False)
    (task,) = emulator.tasks
    assert run.value == {"fine_tuning_job_id": task["jobId"], "fine_tuning_task_id": task["taskId"]}
    assert task["runStatus"] == "Waiting"
    assert task["taskId"] in run.xcom["_link_QianfanFineTuningTaskLink"]


@MODES
def test_creating_a_training_can_wait_for_it(start_emulator, service, run_task, deferrable):
    emulator = start_emulator(task_seconds=0.5)
    run = run_task(
        QianfanCreateFineTuningTaskOperator,
        fine_tuning_job_id=service.job(),
        hyper_parameter_config=HYPER,
        dataset_config=DATASET,
        wait_for_completion=True,
        deferrable=deferrable,
        poll_interval=0.05,
    )
    (task,) = emulator.tasks
    assert (run.value["status"], run.value["progress"]) == ("Done", 1.0)
    assert run.value["fine_tuning_task_id"] == run.xcom["fine_tuning_task_id"] == task["taskId"]
    assert run.xcom["_link_QianfanFineTuningTaskLink"] == run.value["console_url"]


def test_creating_a_training_does_not_wait_unless_told_so(emulator, service, run_task):
    run = run_task(
        QianfanCreateFineTuningTaskOperator,
        fine_tuning_job_id=service.job(),
        hyper_parameter_config=HYPER,
        dataset_config=DATASET,
    )
    (task,) = emulator.tasks
    assert run.value == {"fine_tuning_task_id": task["taskId"], "fine_tuning_job_id": task["jobId"]}
    assert task["runStatus"] == "Waiting"
