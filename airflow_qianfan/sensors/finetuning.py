"""Waits for a training."""

from __future__ import annotations

from airflow_qianfan import links
from airflow_qianfan.arguments import templated
from airflow_qianfan.sensors.base import QianfanSensor


class QianfanFineTuningTaskSensor(QianfanSensor):
    """Waits until a fine-tuning task is Done; fails when it is Failed or Stopped.

    Returns ``fine_tuning_task_id``, ``fine_tuning_job_id``, ``status``, ``run_status`` (the service's own
    word), ``progress``, ``metrics`` as numbers (``"16.56%"`` is 0.1656), ``checkpoints``,
    ``best_checkpoint``, ``best_checkpoint_step`` and ``console_url``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/lmo1afnju
    """

    trigger_path = "finetuning.QianfanFineTuningTaskTrigger"
    operator_extra_links = links.TRAINING

    fine_tuning_task_id: str = templated("the task, ``task-…``.")
