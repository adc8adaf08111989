"""Fine-tuning tasks (任务): one training each."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

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
from airflow_qianfan.api.actions.finetuning.job import ROUTE
from airflow_qianfan.api.actions.values import Date, Number, ratio
from airflow_qianfan.api.config import CONSOLE
from airflow_qianfan.api.objects import Phase, RemoteObject, States, timestamp
from airflow_qianfan.api.tables import number, table

if TYPE_CHECKING:
    from airflow_qianfan.api.client import QianfanClient


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


class FineTuningTask(RemoteObject):
    """A training as the service describes it."""

    noun: ClassVar[str] = "fine-tuning task"
    id_name: ClassVar[str] = "fine_tuning_task_id"
    results: ClassVar[tuple[str, ...]] = ("fine_tuning_task_id",)
    id_member: ClassVar[str] = "task_id"
    parent_name: ClassVar[str | None] = "fine_tuning_job_id"
    parent_member: ClassVar[str] = "job_id"
    is_listed_with_state: ClassVar[bool] = True
    record_key: ClassVar[str] = "qianfan_task"
    state_member: ClassVar[str] = "run_status"
    states: ClassVar[States | None] = States(
        waiting=("Waiting",),
        active=("Running",),
        succeeded=("Done",),
        failed=("Failed",),
        stopped=("Stopped",),
        spellings={"finish": "Done", "fail": "Failed", "stop": "Stopped"},
    )

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
    def started(self) -> float | None:
        """When it was created, in seconds since the epoch."""
        return timestamp(self.create_date)

    @property
    def progress(self) -> float | None:
        """Share of the training that is done, from 0 to 1; None where the service does not say."""
        if self.state.phase is Phase.SUCCEEDED:
            return 1.0
        share = ratio(self.run_progress)
        return None if share is None else min(max(share, 0.0), 1.0)

    @property
    def metric_values(self) -> dict[str, float]:
        """The metrics as numbers: ``"16.56%"`` is 0.1656. What is not a number is left out."""
        metrics = self.metrics if isinstance(self.metrics, dict) else {}
        values = {name: ratio(value) for name, value in metrics.items()}
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
            "status": self.status,
            "run_status": self.run_status,
            "progress": self.progress,
            "metrics": self.metric_values,
            "checkpoints": [checkpoint.output() for checkpoint in self.checkpoint_list],
            "best_checkpoint": best.output() if best else None,
            "best_checkpoint_step": best.step if best else None,
            "console_url": self.console_url,
        }

    def summary(self) -> list[str]:
        """Return the metrics and the best checkpoint."""
        lines = []
        if metrics := self.metric_values:
            lines += table(("Metric", "Value"), ((name, number(value)) for name, value in metrics.items()))
        if (best := self.best_checkpoint) is not None:
            values = {"perplexity": best.perplexity, "training loss": best.training_loss}
            shown = [f"{name} {value:g}" for name, value in values.items() if value is not None]
            lines.append(", ".join((f"Best checkpoint: step {best.step}", *shown)))
        return lines

    def details(self) -> dict[str, list[str]]:
        """Return all checkpoints, where there are several."""
        checkpoints = sorted(self.checkpoint_list, key=lambda checkpoint: checkpoint.step)
        if len(checkpoints) < 2:
            return {}
        rows = ((str(one.step), number(one.perplexity), number(one.training_loss)) for one in checkpoints)
        return {f"{len(checkpoints)} checkpoints": table(("Step", "Perplexity", "Training loss"), rows)}

    @classmethod
    def describe(cls, object_id: str) -> DescribeFineTuningTask:
        """Return the request that reads one."""
        return DescribeFineTuningTask(task_id=object_id)

    @classmethod
    def stop(cls, object_id: str) -> StopFineTuningTask:
        """Return the request that stops one."""
        return StopFineTuningTask(task_id=object_id)

    @classmethod
    def siblings(cls, parent_id: str) -> DescribeFineTuningTasks:
        """Return the request that lists the tasks of a job."""
        return DescribeFineTuningTasks(job_id=parent_id, max_keys=100)

    @classmethod
    def candidates(cls, client: QianfanClient, *, name: str, parent_id: str) -> Iterable[Self]:
        """Return the tasks of a job."""
        return client.iterate(cls.siblings(parent_id))


def task_console_url(job_id: str, task_id: str, train_mode: str | None = None) -> str:
    """Return the page of Baidu's console with the log of a training."""
    modes = {"postpretrain": "postPretrain", "dpo": "dpo"}
    mode = modes.get((train_mode or "").lower(), "sft")
    return f"{CONSOLE}/qianfan/train/{mode}/{job_id}/{task_id}/detail/traininglog"


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
