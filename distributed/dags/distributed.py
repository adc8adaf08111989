"""The DAGs that run while parts of Airflow fail: action by action, in one step, and a sweep."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_qianfan.operators.finetuning import (
    QianfanCreateFineTuningJobOperator,
    QianfanCreateFineTuningTaskOperator,
    QianfanFineTuningOperator,
)
from airflow_qianfan.operators.model import (
    QianfanCreateCustomModelOperator,
    QianfanCreateCustomModelSetOperator,
)
from airflow_qianfan.sensors.finetuning import QianfanFineTuningTaskSensor

SWEEP = 20
JOB = {"model": "ERNIE-Speed-8K", "train_mode": "SFT"}
DATASET = {"sourceType": "Platform", "versions": [{"versionId": "ds-0123456789abcdef"}]}
TASK: dict[str, Any] = {"hyper_parameter_config": {"epoch": 1}, "dataset_config": DATASET}
DAG_ARGUMENTS: dict[str, Any] = {
    "schedule": None,
    # Airflow itself uses some up where many of its parts fail one after the other.
    "default_args": {"retries": 8, "retry_delay": timedelta(seconds=1)},
    "max_active_runs": 100,
    "max_active_tasks": 100,
}

for mode in ("sync", "deferrable"):
    deferrable = mode == "deferrable"

    with DAG(f"train_and_publish_{mode}", **DAG_ARGUMENTS):
        model_set = QianfanCreateCustomModelSetOperator(task_id="create_model_set")
        job = QianfanCreateFineTuningJobOperator(task_id="create_job", **JOB)
        task = QianfanCreateFineTuningTaskOperator(
            task_id="create_task", fine_tuning_job_id=job.output["fine_tuning_job_id"], **TASK
        )
        wait = QianfanFineTuningTaskSensor(
            task_id="wait_for_training",
            fine_tuning_task_id=task.output["fine_tuning_task_id"],
            deferrable=deferrable,
        )
        publish = QianfanCreateCustomModelOperator(
            task_id="publish_model",
            model_set_id=model_set.output["model_set_id"],
            fine_tuning_task_id=wait.output["fine_tuning_task_id"],
            wait_for_completion=True,
            deferrable=deferrable,
        )
        model_set >> job

    with DAG(f"fine_tune_{mode}", **DAG_ARGUMENTS):
        model_set = QianfanCreateCustomModelSetOperator(task_id="create_model_set")
        train = QianfanFineTuningOperator(task_id="train", deferrable=deferrable, **JOB, **TASK)
        publish = QianfanCreateCustomModelOperator(
            task_id="publish_model",
            model_set_id=model_set.output["model_set_id"],
            fine_tuning_task_id=train.output["fine_tuning_task_id"],
            wait_for_completion=True,
            deferrable=deferrable,
        )
        model_set >> train

with DAG("sweep", **DAG_ARGUMENTS):
    QianfanFineTuningOperator.partial(task_id="train", deferrable=True, dataset_config=DATASET, **JOB).expand(
        hyper_parameter_config=[{"epoch": 1 + number} for number in range(SWEEP)]
    )
