"""Waits for a training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.links import QianfanFineTuningTaskLink
from airflow_qianfan.sensors.base import QianfanSensor
from airflow_qianfan.triggers.ending import is_given_up
from airflow_qianfan.triggers.finetuning import QianfanFineTuningTaskTrigger
from airflow_qianfan.triggers.stopping import stop_training


class QianfanFineTuningTaskSensor(QianfanSensor):
    """Waits until a fine-tuning task is Done; fails when it is Failed or Stopped.

    Returns ``fine_tuning_task_id``, ``fine_tuning_job_id``, ``run_status``, ``progress``, ``metrics`` as
    numbers (``"16.56%"`` is 0.1656), ``checkpoints``, ``best_checkpoint``, ``best_checkpoint_step`` and
    ``console_url``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/lmo1afnju

    :param fine_tuning_task_id: the task, ``task-…``. (templated)
    :param cancel_on_kill: whether a user who ends this task stops the training too. In reschedule mode this
        holds only while a look is going on.
    :param kwargs: see :class:`airflow_qianfan.sensors.base.QianfanSensor`.
    """

    template_fields: Sequence[str] = (*QianfanSensor.template_fields, "fine_tuning_task_id")
    operator_extra_links = (QianfanFineTuningTaskLink(),)

    def __init__(self, *, fine_tuning_task_id: str, cancel_on_kill: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fine_tuning_task_id = fine_tuning_task_id
        self.cancel_on_kill = cancel_on_kill

    def make_trigger(self, **kwargs: Any) -> QianfanFineTuningTaskTrigger:
        """Return the trigger that looks at the task."""
        return QianfanFineTuningTaskTrigger(
            fine_tuning_task_id=self.fine_tuning_task_id,
            qianfan_conn_id=self.qianfan_conn_id,
            poll_interval=self.poke_interval,
            max_poll_interval=self.max_poll_interval,
            max_poll_failures=self.max_poll_failures,
            cancel_on_kill=self.cancel_on_kill,
            **kwargs,
        )

    def on_kill(self) -> None:
        """Stop the training, where a user has ended this task and ``cancel_on_kill`` asks for it."""
        if self.cancel_on_kill and is_given_up():
            # Airflow kills this process after 5 s, and the interrupted client may hold a lock.
            stop_training(
                QianfanHook(self.qianfan_conn_id, timeout=2, max_retries=0),
                self.fine_tuning_task_id,
                "the Airflow task that waited for it was ended",
                self.log,
                seconds=2,
            )
