"""The whole training as one task: job, task, waiting, result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowTaskTimeout

from airflow_qianfan.exceptions import QianfanError
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.links import QianfanFineTuningTaskLink
from airflow_qianfan.operators.creations import JobCreation, TaskCreation
from airflow_qianfan.operators.durable import Creation, Origin
from airflow_qianfan.operators.finetuning.arguments import QianfanTrainingOperator
from airflow_qianfan.operators.waiting import QianfanWaitingOperator
from airflow_qianfan.triggers.ending import is_given_up
from airflow_qianfan.triggers.finetuning import QianfanFineTuningTaskTrigger
from airflow_qianfan.triggers.stopping import stop_training

if TYPE_CHECKING:
    from airflow.sdk import Context

_LINK = QianfanFineTuningTaskLink()


class QianfanFineTuningOperator(QianfanTrainingOperator, QianfanWaitingOperator):
    """Train a model: create a job and a task in it, wait, and return the result.

    One run of this task costs exactly one training, whatever crashes: a retry attaches to the training of the
    attempt before, unless that has failed or was stopped. A cleared task trains anew.

    Returns ``fine_tuning_job_id``, ``fine_tuning_task_id``, ``run_status``, ``progress``, ``metrics`` as
    numbers (``"16.56%"`` is 0.1656), ``checkpoints``, ``best_checkpoint``, ``best_checkpoint_step`` and
    ``console_url``; without ``wait_for_completion`` only the two ids. They are XComs as soon as they are
    known.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/nmo1a7p4y and https://cloud.baidu.com/doc/qianfan-api/s/1mo1a2ttv

    :param model: base model, such as ``ERNIE-Speed-8K``. (templated)
    :param train_mode: ``SFT``, ``PostPretrain``, ``DPO``, ``KTO`` … (templated)
    :param name: name of the job, unique in the account, 2 to 20 characters; None makes one from the DAG and
        its run. (templated)
    :param description: description of the job, at most 500 characters. (templated)
    :param cancel_on_kill: stop the training when a user ends this task: marks it as failed or successful, or
        clears it. Replacing a worker, scheduler or triggerer never does.
    :param kwargs: ``hyper_parameter_config``, ``dataset_config``, ``parameter_scale`` … see
        :class:`airflow_qianfan.operators.finetuning.arguments.QianfanTrainingOperator`; ``deferrable``,
        ``poll_interval`` … see :class:`airflow_qianfan.operators.waiting.QianfanWaitingOperator`.
    """

    template_fields: Sequence[str] = (
        *QianfanTrainingOperator.template_fields,
        "model",
        "train_mode",
        "name",
        "description",
    )
    operator_extra_links = (_LINK,)
    creation_keys = (JobCreation.key, TaskCreation.key)

    def __init__(
        self,
        *,
        model: str,
        train_mode: str,
        name: str | None = None,
        description: str | None = None,
        cancel_on_kill: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.train_mode = train_mode
        self.name = name
        self.description = description
        self.cancel_on_kill = cancel_on_kill
        self.fine_tuning_job_id: str | None = None
        self.fine_tuning_task_id: str | None = None
        self._submitting: TaskCreation | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Train.

        :raises QianfanTerminalStateError: the training failed or was stopped.
        :raises QianfanExecutionTimeoutError: it took longer than ``execution_timeout``; it was stopped.
        """
        try:
            self._submit(context)
            if self.wait_for_completion:
                return self.wait(context)
        except KeyboardInterrupt:
            if self.cancel_on_kill:
                self._stop("this task was interrupted")
            raise
        except AirflowTaskTimeout:
            raise self.timed_out() from None
        return {
            "fine_tuning_job_id": self.fine_tuning_job_id,
            "fine_tuning_task_id": self.fine_tuning_task_id,
        }

    def _submit(self, context: Context) -> None:
        from airflow_qianfan.api.actions.finetuning import CreateFineTuningJob, task_console_url

        origin = Origin.of(context, durable=self.durable)
        # Both are checked before the first is sent.
        task_request = self.task_request("the job of this task")
        job_request = CreateFineTuningJob(
            name=self.name or origin.name,
            model=self.model,
            train_mode=self.train_mode,
            description=origin.describe(self.description, 500),
        )
        ti: Any = context["ti"]
        job = JobCreation(self.hook, origin, job_request)
        job_id = self.submit_or_attach(context, job)
        self.fine_tuning_job_id = job_id
        ti.xcom_push(key="fine_tuning_job_id", value=job_id)

        task_request = task_request.model_copy(update={"job_id": job_id})
        task = TaskCreation(self.hook, origin, task_request, owns_job=True)
        self._submitting = task
        task_id = self.submit_or_attach(context, task, may_exist=job.is_surprise)
        self.fine_tuning_task_id = task_id
        self.console_url = task_console_url(job_id, task_id, self.train_mode)
        ti.xcom_push(key="fine_tuning_task_id", value=task_id)
        ti.xcom_push(key=_LINK.xcom_key, value=self.console_url)

    def make_trigger(self, **kwargs: Any) -> QianfanFineTuningTaskTrigger:
        """Return the trigger that looks at the training."""
        return QianfanFineTuningTaskTrigger(
            fine_tuning_task_id=self.fine_tuning_task_id or "",
            qianfan_conn_id=self.qianfan_conn_id,
            poll_interval=self.poll_interval,
            max_poll_interval=self.max_poll_interval,
            max_poll_failures=self.max_poll_failures,
            cancel_on_kill=self.cancel_on_kill,
            fine_tuning_job_id=self.fine_tuning_job_id,
            **kwargs,
        )

    def restore_ids(self, context: Context, ids: dict[str, str]) -> None:
        """Take over the ids of the training that this task started before it was deferred."""
        self.fine_tuning_job_id = self.remembered_id(context, JobCreation.key)
        self.fine_tuning_task_id = self.remembered_id(context, TaskCreation.key)
        super().restore_ids(context, ids)

    def created(self, creation: Creation, created_id: str | None) -> None:
        """Stop the training where this task was ended while its Create was on the way."""
        if creation is self._submitting:
            self.fine_tuning_task_id = created_id
            if self._killed and created_id is not None:
                self.on_kill()

    def cancel(self, why: str) -> None:
        """Stop the training."""
        hook = QianfanHook(self.qianfan_conn_id)
        task_id = self.fine_tuning_task_id or self._find_submitted(hook)
        self._submitting = None
        if task_id:
            stop_training(hook, task_id, why, self.log, seconds=60)

    def on_kill(self) -> None:
        """Stop the training, where a user has ended this task and ``cancel_on_kill`` asks for it."""
        super().on_kill()
        if not self.cancel_on_kill or self._submitting is None:
            return
        if is_given_up():
            self._stop("this task was ended")
        else:
            self.log.info("This process was told to end, but nobody ended its task: the training goes on.")

    def _stop(self, why: str) -> None:
        """Stop the training at once, even where its id is not known yet."""
        if self._submitting is None:
            return
        # Airflow kills this process 5 s after a signal, and the interrupted client may hold a lock.
        hook = QianfanHook(self.qianfan_conn_id, timeout=1.5, max_retries=0)
        task_id = self.fine_tuning_task_id or self._find_submitted(hook)
        if task_id:
            stop_training(hook, task_id, why, self.log, seconds=2)

    def _find_submitted(self, hook: QianfanHook) -> str | None:
        """Return the training whose Create was interrupted, if it has taken effect already."""
        task = self._submitting
        if task is None or task.before is None:
            return None
        try:
            found = TaskCreation(hook, task.origin, task.request).find(task.before)
        except QianfanError as error:
            self.log.error("A training may have been started in job %s: %s", task.request.job_id, error)
            return None
        return found[0] if len(found) == 1 else None
