"""Waits for a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.triggers.base import Observation, QianfanTrigger
from airflow_qianfan.triggers.stopping import astop_training

if TYPE_CHECKING:
    from airflow_qianfan.api.actions.finetuning import (
        DescribeFineTuningTask,
        DescribeFineTuningTasks,
        FineTuningTask,
    )
    from airflow_qianfan.triggers.poller import Listing

ON_KILL_TIMEOUT = 20.0
"""Seconds for stopping a training; Airflow gives a trigger 30 by default."""


class QianfanFineTuningTaskTrigger(QianfanTrigger):
    """Looks at a fine-tuning task until it is Done, Failed or Stopped.

    :param fine_tuning_task_id: the task, ``task-…``.
    :param cancel_on_kill: whether a user who ends the waiting task (mark failed, mark success, clear) stops
        the training too. Restarts of the triggerer never do.
    :param fine_tuning_job_id: its job, whose list shows all its tasks at once; found out where it is None.
    :param kwargs: see :class:`airflow_qianfan.triggers.base.QianfanTrigger`.
    """

    def __init__(
        self,
        *,
        fine_tuning_task_id: str,
        cancel_on_kill: bool = False,
        fine_tuning_job_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.fine_tuning_task_id = fine_tuning_task_id
        self.cancel_on_kill = cancel_on_kill
        self.fine_tuning_job_id = fine_tuning_job_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments."""
        path, arguments = super().serialize()
        return path, {
            "fine_tuning_task_id": self.fine_tuning_task_id,
            "cancel_on_kill": self.cancel_on_kill,
            "fine_tuning_job_id": self.fine_tuning_job_id,
            **arguments,
        }

    def ids(self) -> dict[str, str]:
        """Return the id of the task."""
        return {"fine_tuning_task_id": self.fine_tuning_task_id}

    def request(self) -> DescribeFineTuningTask:
        """Return the request that reads the state."""
        from airflow_qianfan.api.actions.finetuning import DescribeFineTuningTask

        return DescribeFineTuningTask(task_id=self.fine_tuning_task_id)

    def listing(self) -> Listing | None:
        """Return the list of the job's tasks."""
        from airflow_qianfan.triggers.poller import Listing

        if self.fine_tuning_job_id is None:
            return None
        return Listing(
            key=self.fine_tuning_job_id,
            request=self.list_request,
            row_id=self.fine_tuning_task_id,
            interval=self.poll_interval,
        )

    def list_request(self) -> DescribeFineTuningTasks:
        """Return the request that lists the job's tasks."""
        from airflow_qianfan.api.actions.finetuning import DescribeFineTuningTasks

        return DescribeFineTuningTasks(job_id=self.fine_tuning_job_id or "", max_keys=100)

    def observe(self, result: FineTuningTask) -> Observation:
        """Return what the state of the task means."""
        from airflow_qianfan.api.actions.finetuning import FineTuningTaskStatus

        self.fine_tuning_job_id = result.job_id or self.fine_tuning_job_id
        return Observation(
            what=f"Fine-tuning task {self.fine_tuning_task_id}",
            state=result.run_status or "",
            is_known=result.status is not FineTuningTaskStatus.UNKNOWN,
            is_terminal=result.status.is_terminal,
            is_success=result.status is FineTuningTaskStatus.DONE,
            progress=result.progress,
            output=result.output(),
        )

    async def on_kill(self) -> None:
        """Stop the training, where ``cancel_on_kill`` asks for it."""
        if self.cancel_on_kill:
            # run() has been unwound, and its client with it.
            await astop_training(
                QianfanHook(self.qianfan_conn_id, timeout=ON_KILL_TIMEOUT / 2),
                self.fine_tuning_task_id,
                "a user ended the Airflow task that waited for it",
                self.log,
                seconds=ON_KILL_TIMEOUT,
            )
