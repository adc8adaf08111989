"""Actions of fine-tuning jobs (作业) and tasks (任务), route ``/v2/finetuning``."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, model_validator

from airflow_qianfan.api.actions.base import (
    Action,
    JsonObject,
    Member,
    MemberError,
    Page,
    PagedRequest,
    Request,
    RequiredText,
    Result,
    RowList,
    read_json,
)

ROUTE = "/v2/finetuning"


class FineTuningTaskStatus(StrEnum):
    """State of a task (``runStatus``), whichever spelling the service uses."""

    WAITING = "Waiting"
    RUNNING = "Running"
    DONE = "Done"
    FAILED = "Failed"
    STOPPED = "Stopped"
    UNKNOWN = "Unknown"

    @classmethod
    def _missing_(cls, value: object) -> Self:
        spellings = {"": "Waiting", "finish": "Done", "fail": "Failed", "stop": "Stopped"}
        word = str(value or "").strip().lower()
        word = spellings.get(word, word).capitalize()
        return cls(word) if word in cls._value2member_map_ else cls("Unknown")

    @property
    def is_terminal(self) -> bool:
        """Whether it stays like this. A state that nobody knows is not final."""
        return self in (self.DONE, self.FAILED, self.STOPPED)


def _no_date(value: Any) -> Any:
    """Qianfan writes the date of what has not happened as ``0000-00-00T00:00:00Z``."""
    return None if isinstance(value, str) and value.startswith("0000") else value


Date = Annotated[str | None, BeforeValidator(_no_date)]


def _finite(value: Any) -> Any:
    """A diverged training may show ``NaN``, which is no number to compare or to store as JSON."""
    try:
        return value if math.isfinite(float(value)) else None
    except (TypeError, ValueError, OverflowError):
        return None


def _ratio(value: Any) -> float | None:
    """Read ``"16.56%"`` as 0.1656, and a plain number as it is."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    text = str(value).strip()
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return None
    # Removes what the division adds: 16.56 / 100 is 0.16559999999999997.
    return round(number, 10) if math.isfinite(number) else None


Number = Annotated[float | None, BeforeValidator(_finite)]


class Checkpoint(Result):
    """A saved step of a training."""

    step: int
    perplexity: Number = None
    training_loss: Number = None

    def output(self) -> dict[str, Any]:
        """Return it fit for XCom."""
        return {"step": self.step, "perplexity": self.perplexity, "training_loss": self.training_loss}


def _usable_checkpoints(value: Any) -> Any:
    """Leave out what has no step: nothing can be done with it, and it must not hide how a training ended."""
    if not isinstance(value, list):
        return () if value is None else value
    return [row for row in value if isinstance(row, Checkpoint) or (isinstance(row, dict) and "step" in row)]


class FineTuningTask(Result):
    """A training as the service describes it."""

    task_id: str
    job_id: str | None = None
    job_name: str | None = None
    job_description: str | None = None
    model: str | None = None
    train_mode: str | None = None
    parameter_scale: str | None = None
    run_status: str | None = None
    run_progress: Any = None
    vdl_link: str | None = None
    metrics: Any = None
    checkpoint_list: Annotated[list[Checkpoint], BeforeValidator(_usable_checkpoints)] = Field(
        default_factory=list
    )
    create_date: Date = Field(default=None, validation_alias=AliasChoices("createDate", "createTime"))
    finish_date: Date = Field(default=None, validation_alias=AliasChoices("finishDate", "finishTime"))

    @property
    def status(self) -> FineTuningTaskStatus:
        """The state; ``UNKNOWN`` where the service uses a word that is not documented."""
        return FineTuningTaskStatus(self.run_status or "")

    @property
    def progress(self) -> float | None:
        """Share of the training that is done, from 0 to 1; None where the service does not say."""
        ratio = _ratio(self.run_progress)
        return None if ratio is None else min(max(ratio, 0.0), 1.0)

    @property
    def metric_values(self) -> dict[str, float]:
        """The metrics as numbers: ``"16.56%"`` is 0.1656. What is not a number is left out."""
        metrics = self.metrics if isinstance(self.metrics, dict) else {}
        values = {name: _ratio(value) for name, value in metrics.items()}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def best_checkpoint(self) -> Checkpoint | None:
        """The checkpoint with the lowest perplexity, else the lowest training loss, else the last step."""

        def badness(checkpoint: Checkpoint) -> tuple[float, float, int]:
            perplexity, loss = checkpoint.perplexity, checkpoint.training_loss
            return (
                math.inf if perplexity is None else perplexity,
                math.inf if loss is None else loss,
                -checkpoint.step,
            )

        return min(self.checkpoint_list, key=badness, default=None)

    @property
    def console_url(self) -> str | None:
        """The page of Baidu's console with the log of this training."""
        if not self.job_id:
            return None
        return task_console_url(self.job_id, self.task_id, self.train_mode)

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        best = self.best_checkpoint
        return {
            "fine_tuning_task_id": self.task_id,
            "fine_tuning_job_id": self.job_id,
            "run_status": self.run_status,
            "progress": self.progress,
            "metrics": self.metric_values,
            "checkpoints": [checkpoint.output() for checkpoint in self.checkpoint_list],
            "best_checkpoint": best.output() if best else None,
            "best_checkpoint_step": best.step if best else None,
            "console_url": self.console_url,
        }


def task_console_url(job_id: str, task_id: str, train_mode: str | None = None) -> str:
    """Return the page of Baidu's console with the log of a training."""
    modes = {"postpretrain": "postPretrain", "dpo": "dpo"}
    mode = modes.get((train_mode or "").lower(), "sft")
    return f"https://console.bce.baidu.com/qianfan/train/{mode}/{job_id}/{task_id}/detail/traininglog"


class FineTuningJob(Result):
    """A job as a list shows it. It has no state of its own; its tasks have."""

    job_id: str
    name: str | None = None
    description: str | None = None
    model: str | None = None
    train_mode: str | None = None
    create_time: Date = Field(default=None, validation_alias=AliasChoices("createTime", "createDate"))

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        return {
            "fine_tuning_job_id": self.job_id,
            "name": self.name,
            "description": self.description,
            "model": self.model,
            "train_mode": self.train_mode,
            "create_time": self.create_time,
        }


class CreateFineTuningJobResult(Result):
    """The new job."""

    job_id: RequiredText


class CreateFineTuningJob(Request, Action[CreateFineTuningJobResult]):
    """Create a job, the container of training tasks. https://cloud.baidu.com/doc/qianfan-api/s/nmo1a7p4y

    :param name: unique name, 2 to 20 characters.
    :param model: base model, such as ``ERNIE-Speed-8K``.
    :param train_mode: ``SFT``, ``PostPretrain``, ``DPO``, ``KTO`` …
    :param description: at most 500 characters.
    """

    route: ClassVar[str] = ROUTE

    name: str = Field(min_length=2, max_length=20)
    model: RequiredText
    train_mode: RequiredText
    description: str | None = Field(default=None, max_length=500)


class FineTuningJobPage(Page):
    """One page of jobs."""

    id_member: ClassVar[str] = "job_id"
    job_list: RowList[FineTuningJob] = Field(default_factory=list)

    @property
    def rows(self) -> list[FineTuningJob]:
        """The jobs of this page."""
        return self.job_list


class DescribeFineTuningJobs(PagedRequest, Action[FineTuningJobPage]):
    """List the jobs. https://cloud.baidu.com/doc/qianfan-api/s/nmo1a7p4y

    :param train_mode: only jobs of this mode.
    :param model: only jobs of this base model.
    """

    route: ClassVar[str] = ROUTE

    train_mode: str | None = None
    model: str | None = None


class DeleteFineTuningJob(Request, Action[bool]):
    """Delete a job. https://ai.baidu.com/ai-doc/WENXINWORKSHOP/Im3gxxr1l

    :param job_id: the job, ``job-…``.
    """

    route: ClassVar[str] = ROUTE

    job_id: RequiredText


class DatasetVersion(Member):
    """One part of the training data.

    :param version_id: version of a data set, ``ds-…``, for the source ``Platform``.
    :param version_bos_uri: file, ``bos:/bucket/path/file.jsonl``, for the source ``Bos``.
    :param sampling_rate: share that is used, 0.01 to 10, for the source ``Platform``.
    """

    version_id: str | None = None
    version_bos_uri: str | None = None
    sampling_rate: float | None = Field(default=None, ge=0.01, le=10)


class DatasetConfig(Member):
    """The training data.

    :param source_type: ``Platform``, ``Bos`` or ``Afs``.
    :param versions: the parts, all of this source.
    :param split_ratio: percentage that is cut off for validation.
    """

    source_type: Literal["Platform", "Bos", "Afs"]
    versions: list[DatasetVersion] = Field(min_length=1)
    split_ratio: float | None = Field(default=None, ge=0, le=100)

    @model_validator(mode="after")
    def _has_what_its_source_needs(self) -> Self:
        member = {"Platform": "version_id", "Bos": "version_bos_uri"}.get(self.source_type)
        if member and not all(getattr(version, member) for version in self.versions):
            alias = {"version_id": "versionId", "version_bos_uri": "versionBosUri"}[member]
            raise MemberError(f"each needs {alias} when sourceType is {self.source_type}", "versions")
        return self


class CreateFineTuningTaskResult(Result):
    """The new task."""

    task_id: RequiredText
    job_id: str | None = None


class CreateFineTuningTask(Request, Action[CreateFineTuningTaskResult]):
    """Start a training. https://cloud.baidu.com/doc/qianfan-api/s/1mo1a2ttv

    :param job_id: the job it belongs to.
    :param hyper_parameter_config: depends on model, mode and scale; passed through as it is.
    :param dataset_config: the training data.
    :param parameter_scale: ``FullFineTuning``, ``LoRA`` …
    :param increment_task_id: task whose result is trained further.
    :param increment_checkpoint_step: its checkpoint, where it kept several.
    :param corpus_config: general data that is mixed in.
    :param model_config_: ``modelConfig``, for jobs of custom models.
    :param resource_config: resource pool, ``resourceId`` and ``nodeNum``.
    """

    route: ClassVar[str] = ROUTE

    job_id: RequiredText
    hyper_parameter_config: JsonObject
    dataset_config: Annotated[DatasetConfig, BeforeValidator(read_json)]
    parameter_scale: str | None = None
    increment_task_id: str | None = None
    increment_checkpoint_step: int | None = Field(default=None, ge=0)
    corpus_config: JsonObject | None = None
    # pydantic owns the name model_config.
    model_config_: JsonObject | None = Field(default=None, alias="modelConfig")
    resource_config: JsonObject | None = None


class DescribeFineTuningTask(Request, Action[FineTuningTask]):
    """Describe a training. https://cloud.baidu.com/doc/qianfan-api/s/lmo1afnju

    :param task_id: the task, ``task-…``.
    """

    route: ClassVar[str] = ROUTE

    task_id: RequiredText


class FineTuningTaskPage(Page):
    """One page of tasks."""

    id_member: ClassVar[str] = "task_id"
    task_list: RowList[FineTuningTask] = Field(default_factory=list)

    @property
    def rows(self) -> list[FineTuningTask]:
        """The tasks of this page."""
        return self.task_list


class DescribeFineTuningTasks(PagedRequest, Action[FineTuningTaskPage]):
    """List the tasks of a job. https://cloud.baidu.com/doc/qianfan-api/s/Dmo1adln5

    :param job_id: the job, ``job-…``.
    """

    route: ClassVar[str] = ROUTE

    job_id: RequiredText


class StopFineTuningTask(Request, Action[bool]):
    """Stop a training. https://cloud.baidu.com/doc/qianfan/s/Zmh4sux81

    :param task_id: the task, ``task-…``.
    """

    route: ClassVar[str] = ROUTE

    task_id: RequiredText


class DeleteFineTuningTask(Request, Action[bool]):
    """Delete a training. https://cloud.baidu.com/doc/qianfan-api/s/ymo1a9xwn

    :param task_id: the task, ``task-…``.
    """

    route: ClassVar[str] = ROUTE

    task_id: RequiredText
