"""Operators of fine-tuning: one for each Action of jobs and tasks, and one that does the whole training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_qianfan import links
from airflow_qianfan.arguments import member, option
from airflow_qianfan.exceptions import QianfanError
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.operators.base.create import QianfanCreateOperator
from airflow_qianfan.operators.base.list import QianfanListOperator, QianfanRowsOperator
from airflow_qianfan.operators.base.operator import QianfanRequestOperator
from airflow_qianfan.operators.base.remove import QianfanDeleteOperator
from airflow_qianfan.operators.base.stop import QianfanStopOperator
from airflow_qianfan.operators.base.wait import QianfanWaitingOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_qianfan.api.actions.finetuning import CreateFineTuningTask
    from airflow_qianfan.api.objects import RemoteObject

JOB = "finetuning.FineTuningJob"
TASK = "finetuning.FineTuningTask"
TASK_TRIGGER = "finetuning.QianfanFineTuningTaskTrigger"


class _ChecksTraining(QianfanCreateOperator):
    """Compares its arguments with what Qianfan supports, before it creates anything."""

    validate: Literal["warn", "error", "off"] = option(
        "compare model, train mode, scale and hyper-parameters with what Qianfan says that it can train, "
        "before anything is created: ``warn`` in the log, ``error`` to fail, or ``off``. Where Qianfan does "
        "not say, the tables of its documents are compared with, and only warned of.",
        default="warn",
    )

    def has_to_check(self, context: Context) -> bool:
        """Return whether to check; what an earlier attempt has created is paid for already."""
        return self.validate != "off" and not self.has_created(context)

    def check_training(self, model: str, train_mode: str, task: CreateFineTuningTask | None = None) -> None:
        """Check what is to be trained.

        :raises QianfanValidationError: it is not supported, and ``validate`` is ``error``.
        """
        from airflow_qianfan.operators.base.preflight import Training, check

        if task is not None and task.model_config_:
            # What a model of one's own may be trained with is not told.
            return
        scale, parameters = (task.parameter_scale, task.hyper_parameter_config) if task else (None, {})
        check(Training(model, train_mode, scale, parameters), self.validate, self.qianfan_conn_id, self.log)


class _JobArguments(_ChecksTraining):
    """The arguments that describe a job."""

    model: str = member("base model, such as ``ERNIE-Speed-8K``.")
    train_mode: str = member("``SFT``, ``PostPretrain``, ``DPO``, ``KTO`` …")
    name: str | None = member(
        "name of the job, unique in the account, 2 to 20 characters; None makes one from DAG and run.",
        default=None,
        length=(2, 20),
    )
    description: str | None = member(
        "description of the job, at most 500 characters; a mark is added by which the job is found again.",
        default=None,
        length=(0, 500),
    )


class _TaskArguments(_ChecksTraining):
    """The arguments that describe a training. Objects may be given as JSON text too, as a template does."""

    hyper_parameter_config: Mapping[str, Any] | str = member(
        "depends on model, train mode and scale; passed through.", json=True
    )
    dataset_config: Mapping[str, Any] | str = member(
        "``sourceType``, ``versions`` and ``splitRatio``.", json=True
    )
    parameter_scale: str | None = member("``FullFineTuning``, ``LoRA`` …", default=None)
    increment_task_id: str | None = member("task whose result is trained further.", default=None)
    increment_checkpoint_step: int | str | None = member(
        "its checkpoint, where it kept several.", default=None
    )
    corpus_config: Mapping[str, Any] | str | None = member(
        "general data that is mixed in; passed through.", default=None, json=True
    )
    model_config: Mapping[str, Any] | str | None = member(
        "for jobs of custom models; passed through.", default=None, json=True, name="model_config_"
    )
    resource_config: Mapping[str, Any] | str | None = member(
        "resource pool; passed through.", default=None, json=True
    )


class QianfanCreateFineTuningJobOperator(_JobArguments):
    """Create a job (CreateFineTuningJob). Returns ``fine_tuning_job_id`` and ``name``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/nmo1a7p4y
    """

    action = "finetuning.CreateFineTuningJob"
    kind_path = JOB

    def run_action(self, context: Context) -> dict[str, Any]:
        """Create the job, and return its id.

        :raises QianfanAmbiguousCreateError: nobody knows whether it was created.
        """
        request = self.make_request(name=self.name or "not known yet")
        if self.has_to_check(context):
            self.check_training(request.model, request.train_mode)
        return super().run_action(context)


class QianfanDescribeFineTuningJobsOperator(QianfanListOperator):
    """List jobs (DescribeFineTuningJobs). Returns a list with ``fine_tuning_job_id``, ``name``,
    ``description``, ``model``, ``train_mode`` and ``create_time`` of each.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/nmo1a7p4y
    """

    action = "finetuning.DescribeFineTuningJobs"

    train_mode: str | None = member("only jobs of this mode.", default=None)
    model: str | None = member("only jobs of this base model.", default=None)


class QianfanDeleteFineTuningJobOperator(QianfanDeleteOperator):
    """Delete a job (DeleteFineTuningJob). Returns ``fine_tuning_job_id`` and ``deleted``.

    .. seealso::
        https://ai.baidu.com/ai-doc/WENXINWORKSHOP/Im3gxxr1l
    """

    action = "finetuning.DeleteFineTuningJob"
    kind_path = JOB

    fine_tuning_job_id: str = member("the job, ``job-…``.", name="job_id")


class QianfanCreateFineTuningTaskOperator(_TaskArguments, QianfanWaitingOperator):
    """Start a training (CreateFineTuningTask). Returns ``fine_tuning_task_id`` and ``fine_tuning_job_id``.

    With ``wait_for_completion`` it waits for the training, and returns what
    :class:`QianfanDescribeFineTuningTaskOperator` does.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/1mo1a2ttv
    """

    action = "finetuning.CreateFineTuningTask"
    kind_path = TASK
    trigger_path = TASK_TRIGGER
    operator_extra_links = links.TRAINING

    fine_tuning_job_id: str = member("the job it belongs to, ``job-…``.", name="job_id")
    wait_for_completion: bool = option("wait until the training has ended.", default=False)

    def submit(self, context: Context) -> dict[str, Any]:
        """Create the training, and return its id."""
        request = self.make_request()
        if self.has_to_check(context) and (job := self._job()) is not None:
            self.check_training(job.model, job.train_mode or "", request)
        return super().submit(context)

    def _job(self) -> Any:
        """Return the job, whose model and mode the hyper-parameters depend on; None where it is not told."""
        from airflow_qianfan.api.actions import load
        from airflow_qianfan.operators.base.preflight import TIMEOUT

        # A list begins with the marker's row.
        request = load("finetuning.DescribeFineTuningJobs")(marker=self.fine_tuning_job_id, max_keys=1)
        try:
            hook = QianfanHook(self.qianfan_conn_id, timeout=TIMEOUT, max_retries=0)
            rows = hook.call(request).rows
        except QianfanError as error:
            self.log.warning("The arguments of the training were not checked: %s.", error.what_happened())
            return None
        return next((row for row in rows if row.job_id == self.fine_tuning_job_id and row.model), None)


class QianfanDescribeFineTuningTasksOperator(QianfanListOperator):
    """List the trainings of a job (DescribeFineTuningTasks). Returns a list of dicts like those of
    :class:`QianfanDescribeFineTuningTaskOperator`.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Dmo1adln5
    """

    action = "finetuning.DescribeFineTuningTasks"

    fine_tuning_job_id: str = member("the job, ``job-…``.", name="job_id")


class QianfanDescribeFineTuningTaskOperator(QianfanRequestOperator):
    """Describe a training (DescribeFineTuningTask), in whatever state it is.

    Returns ``fine_tuning_task_id``, ``fine_tuning_job_id``, ``status``, ``run_status`` (the service's own
    word), ``progress``, ``metrics`` as numbers (``"16.56%"`` is 0.1656), ``checkpoints``,
    ``best_checkpoint``, ``best_checkpoint_step`` and ``console_url``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/lmo1afnju
    """

    action = "finetuning.DescribeFineTuningTask"
    operator_extra_links = links.TRAINING

    fine_tuning_task_id: str = member("the task, ``task-…``.", name="task_id")


class QianfanStopFineTuningTaskOperator(QianfanStopOperator):
    """Stop a training (StopFineTuningTask). Returns ``fine_tuning_task_id``, ``status`` and ``run_status``.

    A training that has ended already is left as it is: ``status`` tells how it ended. It is None where the
    task does not exist and ``if_missing`` ignores that.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan/s/Zmh4sux81
    """

    action = "finetuning.StopFineTuningTask"
    operator_extra_links = links.TRAINING
    kind_path = TASK

    fine_tuning_task_id: str = member("the task, ``task-…``.", name="task_id")


class QianfanDeleteFineTuningTaskOperator(QianfanDeleteOperator):
    """Delete a training (DeleteFineTuningTask). Returns ``fine_tuning_task_id`` and ``deleted``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/ymo1a9xwn
    """

    action = "finetuning.DeleteFineTuningTask"
    kind_path = TASK

    fine_tuning_task_id: str = member("the task, ``task-…``.", name="task_id")


class QianfanDescribeFineTuningSupportModelsOperator(QianfanRowsOperator):
    """List which models can be trained, and how (DescribeFineTuningSupportModels).

    Returns a list with ``model``, ``model_type``, ``base_model`` and ``train_modes`` of each; a train mode
    has ``train_mode`` and ``parameter_scales``, a scale ``parameter_scale`` and ``hyper_parameters``, and
    each of those ``key``, ``type``, ``check_type``, ``check_value`` and ``default``.

    .. seealso::
        https://ai.baidu.com/ai-doc/WENXINWORKSHOP/clwgbz367
    """

    action = "finetuning.DescribeFineTuningSupportModels"


class QianfanFineTuningOperator(_TaskArguments, _JobArguments, QianfanWaitingOperator):
    """Train a model: create a job and a task in it, wait, and return the result.

    One run of this task costs exactly one training, whatever crashes: a retry attaches to the training of the
    attempt before, unless that has failed or was stopped. A cleared task trains anew, unless the training
    still goes on and has the same arguments; see ``on_clear``.

    Returns ``fine_tuning_job_id``, ``fine_tuning_task_id``, ``status``, ``run_status`` (the service's own
    word), ``progress``, ``metrics`` as numbers (``"16.56%"`` is 0.1656), ``checkpoints``,
    ``best_checkpoint``, ``best_checkpoint_step`` and ``console_url``; without ``wait_for_completion`` only
    the two ids. They are XComs as soon as they are known.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/nmo1a7p4y and https://cloud.baidu.com/doc/qianfan-api/s/1mo1a2ttv
    """

    action = "finetuning.CreateFineTuningTask"
    job_action = "finetuning.CreateFineTuningJob"
    custom_operator_name = "Train"
    kind_path = TASK
    trigger_path = TASK_TRIGGER
    operator_extra_links = links.TRAINING

    def __post_init__(self) -> None:
        super().__post_init__()
        self.fine_tuning_job_id: str | None = None

    @property
    def fine_tuning_task_id(self) -> str | None:
        """The training, once it is known."""
        return self.object_id

    @property
    def job_kind(self) -> type[RemoteObject]:
        """The kind of object that the job is."""
        from airflow_qianfan.api.actions import load

        kind: type[RemoteObject] = load(JOB)
        return kind

    @property
    def kinds(self) -> Sequence[type[RemoteObject]]:
        """The job and the training."""
        return self.job_kind, self.kind

    def submit(self, context: Context) -> dict[str, Any]:
        """Create the job and the task, and return their ids."""
        # Refuses bad arguments of the task before the job is created.
        request = self.make_request(job_id="not known yet")
        if self.has_to_check(context):
            self.check_training(self.model, self.train_mode, request)
        job = self.submission(
            context, self.job_kind, lambda origin: self.make_create(origin, self.job_action, self.job_kind)
        )
        job_id = self.fine_tuning_job_id = job.submit()
        ti: Any = context["ti"]
        ti.xcom_push(key="fine_tuning_job_id", value=job_id)
        task = self.submission(
            context,
            self.kind,
            lambda origin: self.make_request(job_id=job_id),
            owns_parent=True,
            may_exist=job.was_found,
        )
        return self.submit_main(context, task)

    def restore_ids(self, context: Context, ids: dict[str, str]) -> None:
        """Take over the ids of what was created before this task was deferred."""
        super().restore_ids(context, ids)
        self.fine_tuning_job_id = self.remembered_id(context, self.job_kind)
