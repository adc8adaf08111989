"""One operator for each Action of fine-tuning tasks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_qianfan.exceptions import (
    QianfanAPIError,
    QianfanNotFoundError,
    QianfanOperationFailedError,
    QianfanRequestError,
    QianfanWaitTimeoutError,
)
from airflow_qianfan.links import QianfanFineTuningTaskLink
from airflow_qianfan.operators.base import QianfanListOperator, QianfanOperator, QianfanRemovalOperator
from airflow_qianfan.operators.creations import TaskCreation
from airflow_qianfan.operators.durable import Origin
from airflow_qianfan.operators.finetuning.arguments import QianfanTrainingOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_qianfan.api.actions.finetuning import FineTuningTask


class QianfanCreateFineTuningTaskOperator(QianfanTrainingOperator):
    """Start a training (CreateFineTuningTask). Returns ``fine_tuning_task_id`` and ``fine_tuning_job_id``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/1mo1a2ttv

    :param fine_tuning_job_id: the job it belongs to, ``job-…``. (templated)
    :param kwargs: ``hyper_parameter_config``, ``dataset_config``, ``parameter_scale`` … see
        :class:`airflow_qianfan.operators.finetuning.arguments.QianfanTrainingOperator`.
    """

    template_fields: Sequence[str] = (*QianfanTrainingOperator.template_fields, "fine_tuning_job_id")

    def __init__(self, *, fine_tuning_job_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fine_tuning_job_id = fine_tuning_job_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Start the training.

        :raises QianfanAmbiguousCreateError: nobody knows whether it was started.
        """
        request = self.task_request(self.fine_tuning_job_id)
        origin = Origin.of(context, durable=self.durable)
        task_id = self.submit_or_attach(context, TaskCreation(self.hook, origin, request))
        return {"fine_tuning_task_id": task_id, "fine_tuning_job_id": self.fine_tuning_job_id}


class QianfanDescribeFineTuningTasksOperator(QianfanListOperator):
    """List the trainings of a job (DescribeFineTuningTasks). Returns a list of dicts like those of
    :class:`QianfanDescribeFineTuningTaskOperator`.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Dmo1adln5

    :param fine_tuning_job_id: the job, ``job-…``. (templated)
    :param kwargs: see :class:`airflow_qianfan.operators.base.QianfanListOperator`.
    """

    template_fields: Sequence[str] = (*QianfanOperator.template_fields, "fine_tuning_job_id")

    def __init__(self, *, fine_tuning_job_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fine_tuning_job_id = fine_tuning_job_id

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """List the tasks."""
        from airflow_qianfan.api.actions.finetuning import DescribeFineTuningTasks

        return self.rows(DescribeFineTuningTasks(job_id=self.fine_tuning_job_id, **self.paging()))


class QianfanDescribeFineTuningTaskOperator(QianfanOperator):
    """Describe a training (DescribeFineTuningTask), in whatever state it is.

    Returns ``fine_tuning_task_id``, ``fine_tuning_job_id``, ``run_status``, ``progress``, ``metrics`` as
    numbers (``"16.56%"`` is 0.1656), ``checkpoints``, ``best_checkpoint``, ``best_checkpoint_step`` and
    ``console_url``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/lmo1afnju

    :param fine_tuning_task_id: the task, ``task-…``. (templated)
    :param kwargs: see :class:`airflow_qianfan.operators.base.QianfanOperator`.
    """

    template_fields: Sequence[str] = (*QianfanOperator.template_fields, "fine_tuning_task_id")
    operator_extra_links = (QianfanFineTuningTaskLink(),)

    def __init__(self, *, fine_tuning_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fine_tuning_task_id = fine_tuning_task_id
        self.console_url: str | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Describe the task."""
        from airflow_qianfan.api.actions.finetuning import DescribeFineTuningTask

        task = self.hook.call(DescribeFineTuningTask(task_id=self.fine_tuning_task_id))
        self.console_url = task.console_url
        return task.output()


class QianfanStopFineTuningTaskOperator(QianfanRemovalOperator):
    """Stop a training (StopFineTuningTask). Returns ``fine_tuning_task_id`` and ``run_status``.

    A training that has ended already is left as it is: ``run_status`` tells how it ended. It is None where
    the task does not exist and ``if_missing`` ignores that.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan/s/Zmh4sux81

    :param fine_tuning_task_id: the task, ``task-…``. (templated)
    :param wait_for_completion: wait until the training has really ended.
    :param poll_interval: seconds between two looks.
    :param timeout: seconds to wait at most.
    :param kwargs: see :class:`airflow_qianfan.operators.base.QianfanRemovalOperator`.
    """

    template_fields: Sequence[str] = (*QianfanOperator.template_fields, "fine_tuning_task_id")

    def __init__(
        self,
        *,
        fine_tuning_task_id: str,
        wait_for_completion: bool = True,
        poll_interval: float = 10.0,
        timeout: float = 600.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.fine_tuning_task_id = fine_tuning_task_id
        self.wait_for_completion = wait_for_completion
        self.poll_interval = poll_interval
        self.timeout = timeout

    def execute(self, context: Context) -> dict[str, Any]:
        """Stop the task.

        :raises QianfanNotFoundError: there is none, and ``if_missing`` is ``fail``.
        :raises QianfanWaitTimeoutError: it still runs after ``timeout``.
        """
        try:
            task = self._stop()
        except QianfanNotFoundError as error:
            self.accept_missing(error)
            return {"fine_tuning_task_id": self.fine_tuning_task_id, "run_status": None}
        self.log.info("Fine-tuning task %s is %s.", self.fine_tuning_task_id, task.run_status)
        return {"fine_tuning_task_id": self.fine_tuning_task_id, "run_status": task.run_status}

    def _stop(self) -> FineTuningTask:
        from airflow_qianfan.api.actions.finetuning import DescribeFineTuningTask, StopFineTuningTask

        describe = DescribeFineTuningTask(task_id=self.fine_tuning_task_id)
        refusal: QianfanAPIError | None = None
        try:
            self.hook.call(StopFineTuningTask(task_id=self.fine_tuning_task_id))
        except (QianfanOperationFailedError, QianfanRequestError) as error:
            # What the service answers for a training that has ended is not documented: its state decides.
            refusal = error
        task = self.hook.call(describe)
        if refusal and not (task.status.is_terminal or refusal.after_lost_answer):
            raise refusal
        deadline = time.monotonic() + self.timeout
        while self.wait_for_completion and not task.status.is_terminal:
            left = deadline - time.monotonic()
            if left <= 0:
                raise QianfanWaitTimeoutError(
                    f"fine-tuning task {self.fine_tuning_task_id} is still {task.run_status} "
                    f"{self.timeout:g} s after it was told to stop"
                )
            time.sleep(min(self.poll_interval, left))
            task = self.hook.call(describe)
        return task


class QianfanDeleteFineTuningTaskOperator(QianfanRemovalOperator):
    """Delete a training (DeleteFineTuningTask). Returns ``fine_tuning_task_id`` and ``deleted``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/ymo1a9xwn

    :param fine_tuning_task_id: the task, ``task-…``. (templated)
    :param kwargs: see :class:`airflow_qianfan.operators.base.QianfanRemovalOperator`.
    """

    template_fields: Sequence[str] = (*QianfanOperator.template_fields, "fine_tuning_task_id")

    def __init__(self, *, fine_tuning_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fine_tuning_task_id = fine_tuning_task_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Delete the task.

        :raises QianfanNotFoundError: there is none, and ``if_missing`` is ``fail``.
        """
        from airflow_qianfan.api.actions.finetuning import DeleteFineTuningTask, DescribeFineTuningTask

        task_id = self.fine_tuning_task_id
        deleted = self.delete(DeleteFineTuningTask(task_id=task_id), DescribeFineTuningTask(task_id=task_id))
        return {"fine_tuning_task_id": task_id, "deleted": deleted}
