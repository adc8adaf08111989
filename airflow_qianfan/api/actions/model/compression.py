"""Compression (压缩): a model version becomes a smaller one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import AliasChoices, Field, model_validator

from airflow_qianfan.api.actions.base import (
    Action,
    JsonObject,
    Page,
    PagedRequest,
    Request,
    RequiredText,
    Result,
    RowList,
)
from airflow_qianfan.api.actions.model.model_set import ROUTE
from airflow_qianfan.api.actions.model.version import MODEL_LIST_URL
from airflow_qianfan.api.actions.values import Date
from airflow_qianfan.api.objects import Recognition, RemoteObject, States, timestamp

if TYPE_CHECKING:
    from airflow_qianfan.api.client import QianfanClient

_ID = AliasChoices("id", "modelCompTaskId", "taskId")


class CreateModelCompTaskResult(Result):
    """The new compression task."""

    model_comp_task_id: RequiredText = Field(validation_alias=_ID)

    @model_validator(mode="before")
    @classmethod
    def _plain_id(cls, data: Any) -> Any:
        # The service answers with nothing but the id.
        return {"id": data} if isinstance(data, str) else data


class CreateModelCompTask(Request, Action[CreateModelCompTaskResult]):
    """Compress a model version. https://cloud.baidu.com/doc/qianfan-api/s/8mm39ei54

    :param name: name of the task.
    :param source_model_id: the version to compress, ``amv-…``; its ``isSupportModelComp`` must be true.
    :param model_set_id: the model set that gets the compressed version, ``am-…``.
    :param config: ``strategy``, ``Quantization`` or ``Sparsity``, and for the former ``weight``:
        ``INT8-PTQ``, ``W8A16C16`` or ``W4A16C16``; passed through as it is.
    :param description: a text of your own.
    """

    route: ClassVar[str] = ROUTE

    name: RequiredText
    source_model_id: RequiredText
    model_set_id: RequiredText
    config: JsonObject
    description: str | None = None


class ModelCompTask(RemoteObject):
    """A compression task as the service describes it."""

    noun: ClassVar[str] = "compression task"
    id_name: ClassVar[str] = "model_comp_task_id"
    results: ClassVar[tuple[str, ...]] = ("model_id",)
    id_member: ClassVar[str] = "model_comp_task_id"
    record_key: ClassVar[str] = "qianfan_model_comp_task"
    recognised_by: ClassVar[Recognition] = "mark"
    parent_name: ClassVar[str | None] = "source_model_id"
    parent_member: ClassVar[str] = "source_model_id"
    # What a list shows of each is not documented.
    is_listed_by_id_only: ClassVar[bool] = True
    state_member: ClassVar[str] = "status_text"
    states: ClassVar[States | None] = States(
        active=("creating", "running", "stopping"),
        succeeded=("succeeded",),
        failed=("failed",),
        stopped=("stopped",),
    )

    model_comp_task_id: str = Field(validation_alias=_ID)
    name: str | None = None
    description: str | None = None
    status_text: str | None = Field(default=None, alias="status")
    failed_reason: str | None = None
    source_model_id: str | None = None
    model_id: str | None = None
    config: Any = None
    create_time: Date = None
    finish_time: Date = None

    @property
    def started(self) -> float | None:
        """When it was created, in seconds since the epoch."""
        return timestamp(self.create_time)

    @property
    def console_url(self) -> str | None:
        """The page of Baidu's console that lists the models of the account, the compressed one too."""
        return MODEL_LIST_URL

    def summary(self) -> list[str]:
        """Return which version it has made."""
        return [f"Compressed model version: {self.model_id}"] if self.model_id else []

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        return {
            "model_comp_task_id": self.model_comp_task_id,
            "name": self.name,
            "status": self.status,
            "status_text": self.status_text,
            "failed_reason": self.failed_reason or None,
            "source_model_id": self.source_model_id,
            "model_id": self.model_id or None,
            "console_url": self.console_url,
        }

    @classmethod
    def describe(cls, object_id: str) -> DescribeModelCompTask:
        """Return the request that reads one."""
        return DescribeModelCompTask(model_comp_task_id=object_id)

    @classmethod
    def stop(cls, object_id: str) -> CancelModelCompTask:
        """Return the request that cancels one."""
        return CancelModelCompTask(model_comp_task_id=object_id)

    @classmethod
    def candidates(cls, client: QianfanClient, *, name: str, parent_id: str) -> Iterable[Self]:
        """Return the tasks that compress a version."""
        return client.iterate(DescribeModelCompTasks(source_model_id=parent_id, max_keys=100))


class DescribeModelCompTask(Request, Action[ModelCompTask]):
    """Describe a compression task. https://cloud.baidu.com/doc/qianfan-api/s/Emm4awfhv

    :param model_comp_task_id: the task, ``amva-…``.
    """

    route: ClassVar[str] = ROUTE

    model_comp_task_id: RequiredText


class ModelCompTaskPage(Page):
    """One page of compression tasks."""

    id_member: ClassVar[str] = "model_comp_task_id"
    model_comp_task_list: RowList[ModelCompTask] = Field(default_factory=list)

    @property
    def rows(self) -> list[ModelCompTask]:
        """The tasks of this page."""
        return self.model_comp_task_list


class DescribeModelCompTasks(PagedRequest, Action[ModelCompTaskPage]):
    """List compression tasks. https://cloud.baidu.com/doc/qianfan-api/s/3mwbl47g5

    :param source_model_id: only tasks that compress this version, ``amv-…``.
    """

    route: ClassVar[str] = ROUTE

    source_model_id: str | None = None


class CancelModelCompTask(Request, Action[Any]):
    """Cancel a compression task; the answer has no result. https://cloud.baidu.com/doc/qianfan-api/s/6mm37ozcf

    :param model_comp_task_id: the task, ``amva-…``.
    """

    route: ClassVar[str] = ROUTE

    model_comp_task_id: RequiredText


class DeleteModelCompTask(Request, Action[Any]):
    """Delete a compression task; the answer has no result. https://cloud.baidu.com/doc/qianfan-api/s/nmm39unwk

    :param model_comp_task_id: the task, ``amva-…``.
    """

    route: ClassVar[str] = ROUTE

    model_comp_task_id: RequiredText
