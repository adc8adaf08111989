"""Operators of fine-tuning: one for each Action of jobs and tasks, and one that does the whole training."""

from __future__ import annotations

from airflow_qianfan.operators.finetuning.job import (
    QianfanCreateFineTuningJobOperator,
    QianfanDeleteFineTuningJobOperator,
    QianfanDescribeFineTuningJobsOperator,
)
from airflow_qianfan.operators.finetuning.task import (
    QianfanCreateFineTuningTaskOperator,
    QianfanDeleteFineTuningTaskOperator,
    QianfanDescribeFineTuningTaskOperator,
    QianfanDescribeFineTuningTasksOperator,
    QianfanStopFineTuningTaskOperator,
)
from airflow_qianfan.operators.finetuning.training import QianfanFineTuningOperator

__all__ = [
    "QianfanCreateFineTuningJobOperator",
    "QianfanCreateFineTuningTaskOperator",
    "QianfanDeleteFineTuningJobOperator",
    "QianfanDeleteFineTuningTaskOperator",
    "QianfanDescribeFineTuningJobsOperator",
    "QianfanDescribeFineTuningTaskOperator",
    "QianfanDescribeFineTuningTasksOperator",
    "QianfanFineTuningOperator",
    "QianfanStopFineTuningTaskOperator",
]
