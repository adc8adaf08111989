"""Waits for a training."""

from __future__ import annotations

from airflow_qianfan.triggers.base.trigger import QianfanTrigger


class QianfanFineTuningTaskTrigger(QianfanTrigger):
    """Polls a fine-tuning task until it is Done, Failed or Stopped.

    Takes ``fine_tuning_task_id`` and, if it is known, ``fine_tuning_job_id``; else see
    :class:`airflow_qianfan.triggers.base.trigger.QianfanTrigger`.
    """

    kind_path = "finetuning.FineTuningTask"
    id_name = "fine_tuning_task_id"
    parent_name = "fine_tuning_job_id"
