"""DAGs whose tasks end where the DAG run says; see ``crash_points.py``."""

from __future__ import annotations

from datetime import timedelta

import crash_points
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
from airflow_qianfan.sensors.model import QianfanModelSensor

crash_points.install()

JOB = {"model": "ERNIE-Speed-8K", "train_mode": "SFT"}
TASK = {
    "hyper_parameter_config": {"epoch": 1},
    "dataset_config": {"sourceType": "Platform", "versions": [{"versionId": "ds-0123456789abcdef"}]},
}
DEFAULT_ARGUMENTS = {
    "qianfan_conn_id": "{{ dag_run.conf.get('conn_id', 'qianfan_default') }}",
    "retries": 6,  # Airflow itself uses some up on a busy machine
    "retry_delay": timedelta(seconds=1),
}
DAG_ARGUMENTS = {
    "schedule": None,
    "default_args": DEFAULT_ARGUMENTS,
    "max_active_runs": 100,
    "max_active_tasks": 100,
}

for mode in ("sync", "deferrable"):
    deferrable = mode == "deferrable"

    for name, executor in (("chain", None), ("pods", "PodExecutor")):
        arguments = {**DAG_ARGUMENTS, "default_args": {**DEFAULT_ARGUMENTS, "executor": executor}}
        with DAG(f"{name}_{mode}", **arguments):
            train = QianfanFineTuningOperator(task_id="train", deferrable=deferrable, **JOB, **TASK)
            make_set = QianfanCreateCustomModelSetOperator(task_id="make_set")
            train >> make_set
            QianfanCreateCustomModelOperator(
                task_id="publish",
                model_set_id=make_set.output["model_set_id"],
                fine_tuning_task_id=train.output["fine_tuning_task_id"],
                wait_for_completion=True,
                deferrable=deferrable,
            )

    for kind, more in {
        "train": {},
        "kept": {"cancel_on_kill": False},
        "restarted": {"on_clear": "restart"},
        "limited": {"execution_timeout": timedelta(seconds=20), "retries": 0},
    }.items():
        with DAG(f"{kind}_{mode}", **DAG_ARGUMENTS):
            QianfanFineTuningOperator(task_id="train", deferrable=deferrable, **JOB, **TASK, **more)

    with DAG(f"mapped_{mode}", **DAG_ARGUMENTS):
        QianfanFineTuningOperator.partial(
            task_id="train", deferrable=deferrable, dataset_config=TASK["dataset_config"], **JOB
        ).expand(hyper_parameter_config=[{"epoch": epoch} for epoch in range(1, 9)])

with DAG("actions", **DAG_ARGUMENTS):
    create_job = QianfanCreateFineTuningJobOperator(task_id="create_job", **JOB)
    create_task = QianfanCreateFineTuningTaskOperator(
        task_id="create_task", fine_tuning_job_id=create_job.output["fine_tuning_job_id"], **TASK
    )
    wait = QianfanFineTuningTaskSensor(
        task_id="wait", fine_tuning_task_id=create_task.output["fine_tuning_task_id"], deferrable=True
    )
    make_set = QianfanCreateCustomModelSetOperator(task_id="make_set")
    wait >> make_set
    publish = QianfanCreateCustomModelOperator(
        task_id="publish",
        model_set_id=make_set.output["model_set_id"],
        fine_tuning_task_id=wait.output["fine_tuning_task_id"],
    )
    QianfanModelSensor(task_id="wait_ready", model_id=publish.output["model_id"], deferrable=True)
