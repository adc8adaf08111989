"""Actions of batch inference (批量推理): many prompts in one task. Route ``/v2/batchinference``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import AliasChoices, BeforeValidator, Field, model_validator

from airflow_qianfan.api.actions.base import (
    Action,
    JsonObject,
    MemberError,
    Page,
    PagedRequest,
    Request,
    RequiredText,
    Result,
    RowList,
    read_json,
)
from airflow_qianfan.api.actions.values import Date, count, ratio
from airflow_qianfan.api.objects import Phase, Recognition, RemoteObject, States, timestamp

if TYPE_CHECKING:
    from airflow_qianfan.api.client import QianfanClient

ROUTE = "/v2/batchinference"


def _none_to_object(value: Any) -> Any:
    return {} if value is None else value


class CreateBatchInferenceTaskResult(Result):
    """The new task."""

    task_id: RequiredText

    @model_validator(mode="before")
    @classmethod
    def _plain_id(cls, data: Any) -> Any:
        return {"taskId": data} if isinstance(data, str) else data


class CreateBatchInferenceTask(Request, Action[CreateBatchInferenceTaskResult]):
    """Start a batch inference. https://cloud.baidu.com/doc/WENXINWORKSHOP/s/0lvggjek6

    :param name: name of the task.
    :param description: what it is for.
    :param endpoint: full address of a service; give this or ``model_id``.
    :param model_id: model version, ``amv-…``.
    :param inference_params: ``temperature``, ``top_p`` …; an empty object takes the model's own.
    :param input_bos_uri: directory of the prompts, ``bos:/bucket/dir``.
    :param output_bos_uri: directory of the answers, ``bos:/bucket/dir``.
    :param afs_config: Baidu's own file system instead of the two: ``userName``, ``password``,
        ``inputAfsUri`` and ``outputAfsUri``.
    :param completion_window: how long it may take; ``24h`` or nothing.
    """

    route: ClassVar[str] = ROUTE

    name: RequiredText
    description: str | None = None
    endpoint: str | None = None
    model_id: str | None = None
    inference_params: Annotated[JsonObject, BeforeValidator(_none_to_object)] = Field(default_factory=dict)
    input_bos_uri: str | None = None
    output_bos_uri: str | None = None
    afs_config: JsonObject | None = None
    # The only member that the service spells in this way.
    completion_window: str | None = Field(default=None, alias="completion_window")

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        if bool(self.endpoint) == bool(self.model_id):
            raise MemberError("give one of the two", "endpoint", "modelId")
        return self

    @model_validator(mode="after")
    def _has_its_files(self) -> Self:
        if self.afs_config is not None:
            return self
        missing = {"inputBosUri": self.input_bos_uri, "outputBosUri": self.output_bos_uri}
        if names := [name for name, value in missing.items() if not value]:
            raise MemberError("is needed where afsConfig is left out", *names)
        return self


class BatchInferenceTask(RemoteObject):
    """A batch inference as the service describes it."""

    noun: ClassVar[str] = "batch inference task"
    id_name: ClassVar[str] = "batch_inference_task_id"
    results: ClassVar[tuple[str, ...]] = ("result_uri",)
    id_member: ClassVar[str] = "task_id"
    record_key: ClassVar[str] = "qianfan_batch_inference_task"
    recognised_by: ClassVar[Recognition] = "mark"
    is_told_by_mark_alone: ClassVar[bool] = True
    state_member: ClassVar[str] = "run_status"
    states: ClassVar[States | None] = States(
        waiting=("Queuing",),
        active=("Running", "Stopping"),
        succeeded=("Done",),
        failed=("Failed", "Expired"),
        stopped=("Stopped",),
        spellings={"queueing": "Queuing", "queued": "Queuing", "fail": "Failed", "stop": "Stopped"},
    )

    task_id: str
    name: str | None = None
    description: str | None = None
    endpoint: str | None = None
    model_id: str | None = None
    inference_params: Any = None
    run_status: str | None = None
    input_bos_uri: str | None = None
    output_bos_uri: str | None = None
    output_dir: str | None = None
    rows_done: Any = Field(default=None, validation_alias=AliasChoices("progress"))
    input_token_usage: Any = None
    output_token_usage: Any = None
    source: str | None = None
    error_code: Any = None
    error_reason: Any = None
    create_time: Date = None
    finish_time: Date = None

    @property
    def started(self) -> float | None:
        """When it was created, in seconds since the epoch."""
        return timestamp(self.create_time)

    @property
    def rows(self) -> int | None:
        """How many rows are done; None where the service does not say."""
        return count(self.rows_done)

    @property
    def total_rows(self) -> int | None:
        """How many rows there are; None where the service does not say.

        The page has a member for it whose name is not known here.
        """
        for name, value in (self.model_extra or {}).items():
            words = name.lower()
            if "total" in words and not any(other in words for other in ("token", "search", "cost")):
                return count(value)
        return None

    @property
    def progress(self) -> float | None:
        """Share of the rows that is done, from 0 to 1; None where the service does not say."""
        if self.state.phase is Phase.SUCCEEDED:
            return 1.0
        rows, total = self.rows, self.total_rows
        if rows is not None and total:
            return min(rows / total, 1.0)
        # Documented is a count; a text such as 40 % would be a share.
        share = ratio(self.rows_done) if rows is None else None
        return None if share is None else min(max(share, 0.0), 1.0)

    @property
    def progress_words(self) -> str | None:
        """The rows that are done, for the log."""
        rows, total = self.rows, self.total_rows
        if rows is None:
            return None
        return f"{rows} rows done" if total is None else f"{rows} of {total} rows done"

    @property
    def result_uri(self) -> str | None:
        """The directory of the answers, one line of JSON for each prompt; None while it is not known."""
        if not (self.output_bos_uri and self.output_dir):
            return None
        return f"{self.output_bos_uri.rstrip('/')}/{self.output_dir.strip('/')}"

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        return {
            "batch_inference_task_id": self.task_id,
            "name": self.name,
            "status": self.status,
            "run_status": self.run_status,
            "progress": self.progress,
            "rows": self.rows,
            "total_rows": self.total_rows,
            "input_tokens": count(self.input_token_usage),
            "output_tokens": count(self.output_token_usage),
            "result_uri": self.result_uri,
            "error_code": count(self.error_code),
            "error_reason": str(self.error_reason) if self.error_reason else None,
        }

    def summary(self) -> list[str]:
        """Return rows, tokens and where the answers are."""
        lines = []
        if self.progress_words:
            lines.append(f"{self.progress_words}.")
        tokens = {"input": count(self.input_token_usage), "output": count(self.output_token_usage)}
        if used := [f"{number} {name}" for name, number in tokens.items() if number is not None]:
            lines.append(f"Tokens: {', '.join(used)}")
        if self.result_uri:
            lines.append(f"Answers: {self.result_uri}")
        return lines

    @classmethod
    def describe(cls, object_id: str) -> DescribeBatchInferenceTask:
        """Return the request that reads one."""
        return DescribeBatchInferenceTask(task_id=object_id)

    @classmethod
    def stop(cls, object_id: str) -> StopBatchInferenceTask:
        """Return the request that stops one."""
        return StopBatchInferenceTask(task_id=object_id)

    @classmethod
    def candidates(cls, client: QianfanClient, *, name: str, parent_id: str) -> Iterable[Self]:
        """Return all tasks of the account, whatever their state: one may be over before it is looked for."""
        return client.iterate(DescribeBatchInferenceTasks(max_keys=100))


class DescribeBatchInferenceTask(Request, Action[BatchInferenceTask]):
    """Describe a batch inference. https://cloud.baidu.com/doc/qianfan-api/s/Gmo1g4hxg

    :param task_id: the task, ``infer-…``.
    """

    route: ClassVar[str] = ROUTE

    task_id: RequiredText


class BatchInferenceTaskPage(Page):
    """One page of batch inferences."""

    id_member: ClassVar[str] = "task_id"
    task_list: RowList[BatchInferenceTask] = Field(default_factory=list)

    @property
    def rows(self) -> list[BatchInferenceTask]:
        """The tasks of this page."""
        return self.task_list


def _one_to_list(value: Any) -> Any:
    value = read_json(value)
    return [value] if isinstance(value, str) else value


class DescribeBatchInferenceTasks(PagedRequest, Action[BatchInferenceTaskPage]):
    """List the batch inferences of the account. https://cloud.baidu.com/doc/qianfan-api/s/Kmo1g1pvy

    :param run_status: only tasks in these states, such as ``Running``.
    """

    route: ClassVar[str] = ROUTE

    run_status: Annotated[list[str] | None, BeforeValidator(_one_to_list)] = None


class StopBatchInferenceTask(Request, Action[bool]):
    """Stop a batch inference. https://cloud.baidu.com/doc/qianfan-api/s/Tmo1fqp46

    :param task_id: the task, ``infer-…``.
    """

    route: ClassVar[str] = ROUTE

    task_id: RequiredText


class BatchInferenceModelVersion(Result):
    """A version that a batch inference can use."""

    model_version_id: str | None = None
    model_version_name: str | None = None


class BatchInferenceModel(Result):
    """A model that a batch inference can use, with its versions."""

    model_id: str | None = None
    model_name: str | None = None
    model_version_list: RowList[BatchInferenceModelVersion] = Field(default_factory=list)

    def output(self) -> dict[str, Any]:
        """Return it fit for XCom, with the names that ids have everywhere in this package."""
        return {
            "model_set_id": self.model_id,
            "model_set_name": self.model_name,
            "versions": [
                {"model_id": version.model_version_id, "model_name": version.model_version_name}
                for version in self.model_version_list
            ],
        }


class BatchInferenceModels(Result):
    """The models that a batch inference can use."""

    common_model_list: RowList[BatchInferenceModel] = Field(default_factory=list)
    custom_model_list: RowList[BatchInferenceModel] = Field(default_factory=list)

    def output(self) -> dict[str, Any]:
        """Return them fit for XCom."""
        return {
            "common_models": [model.output() for model in self.common_model_list],
            "custom_models": [model.output() for model in self.custom_model_list],
        }


class DescribeBatchInferenceModel(Request, Action[BatchInferenceModels]):
    """Show which models a batch inference can use. https://cloud.baidu.com/doc/qianfan-api/s/5mo1fxxjr"""

    route: ClassVar[str] = ROUTE
