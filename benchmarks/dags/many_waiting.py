"""Sensors that wait in the triggerer for the trainings that ``benchmarks.views`` has begun."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, task

from airflow_qianfan.sensors.finetuning import QianfanFineTuningTaskSensor

with DAG("many_waiting", schedule=None, params={"fine_tuning_task_ids": []}):

    @task
    def trainings(params: Any = None) -> Any:
        """Say which trainings to wait for."""
        return params["fine_tuning_task_ids"]

    QianfanFineTuningTaskSensor.partial(task_id="wait", deferrable=True).expand(
        fine_tuning_task_id=trainings()
    )
