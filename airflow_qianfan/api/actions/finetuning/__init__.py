"""Actions of route ``/v2/finetuning``: jobs (作业) and tasks (任务)."""

from __future__ import annotations

from airflow_qianfan.api.actions.finetuning.job import (
    CreateFineTuningJob,
    CreateFineTuningJobResult,
    DeleteFineTuningJob,
    DescribeFineTuningJobs,
    FineTuningJob,
    FineTuningJobPage,
)
from airflow_qianfan.api.actions.finetuning.support import (
    DescribeFineTuningSupportModels,
    HyperParameter,
    SupportedMode,
    SupportedModel,
    SupportedScale,
)
from airflow_qianfan.api.actions.finetuning.task import (
    Checkpoint,
    CreateFineTuningTask,
    CreateFineTuningTaskResult,
    DatasetConfig,
    DatasetVersion,
    DeleteFineTuningTask,
    DescribeFineTuningTask,
    DescribeFineTuningTasks,
    FineTuningTask,
    FineTuningTaskPage,
    StopFineTuningTask,
)

__all__ = [
    "Checkpoint",
    "CreateFineTuningJob",
    "CreateFineTuningJobResult",
    "CreateFineTuningTask",
    "CreateFineTuningTaskResult",
    "DatasetConfig",
    "DatasetVersion",
    "DeleteFineTuningJob",
    "DeleteFineTuningTask",
    "DescribeFineTuningJobs",
    "DescribeFineTuningSupportModels",
    "DescribeFineTuningTask",
    "DescribeFineTuningTasks",
    "FineTuningJob",
    "FineTuningJobPage",
    "FineTuningTask",
    "FineTuningTaskPage",
    "HyperParameter",
    "StopFineTuningTask",
    "SupportedMode",
    "SupportedModel",
    "SupportedScale",
]
