"""Exports of the results of an evaluation to a file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from airflow_qianfan.api.actions.base import Action, Request, RequiredText, Result, read_json
from airflow_qianfan.api.actions.evaluation.task import ROUTE
from airflow_qianfan.api.objects import Recognition, RemoteObject, States

if TYPE_CHECKING:
    from airflow_qianfan.api.client import QianfanClient


class CreateEvalResultExportTaskResult(Result):
    """The new export."""

    task_id: RequiredText

    @model_validator(mode="before")
    @classmethod
    def _plain_id(cls, data: Any) -> Any:
        return {"taskId": data} if isinstance(data, str) else data


class CreateEvalResultExportTask(Request, Action[CreateEvalResultExportTaskResult]):
    """Export the results of an evaluation. https://cloud.baidu.com/doc/qianfan-api/s/gmm4mlezs

    :param eval_id: the evaluation, ``ame-…``.
    :param storage_type: where to, such as ``BOS`` or ``sysStorage``.
    :param bucket: bucket of Baidu Object Storage.
    :param export_content: what of it: ``prompt``, ``prediction``, ``completion``, ``metrics``, ``system``.
    """

    route: ClassVar[str] = ROUTE

    eval_id: RequiredText
    storage_type: str | None = None
    bucket: str | None = None
    export_content: Annotated[
        list[Literal["prompt", "prediction", "completion", "metrics", "system"]] | None,
        BeforeValidator(read_json),
    ] = None


class EvalResultExportTask(RemoteObject):
    """An export as the service describes it."""

    noun: ClassVar[str] = "export of evaluation results"
    id_name: ClassVar[str] = "eval_result_export_task_id"
    id_member: ClassVar[str] = "task_id"
    record_key: ClassVar[str] = "qianfan_eval_result_export_task"
    recognised_by: ClassVar[Recognition] = "nothing"
    state_member: ClassVar[str] = "status_text"
    states: ClassVar[States | None] = States(
        waiting=("Queued",),
        active=("Running",),
        # Spelled otherwise than the end of the evaluation itself.
        succeeded=("Succeeded",),
        failed=("Failed",),
        spellings={
            "successed": "Succeeded",
            "success": "Succeeded",
            "done": "Succeeded",
            "fail": "Failed",
            "pending": "Queued",
            "uploading": "Running",
        },
    )

    task_id: str
    status_text: str | None = Field(default=None, alias="status")

    @model_validator(mode="before")
    @classmethod
    def _spellings(cls, data: Any) -> Any:
        # Which of the two is the member's name is not known for sure.
        if isinstance(data, dict) and "status" not in data and "state" in data:
            return {**data, "status": data["state"]}
        return data

    @property
    def download_url(self) -> str | None:
        """Where the file is, once it is there; the service's name for this member is not known."""
        for name, value in (self.model_extra or {}).items():
            if "url" in name.lower() and isinstance(value, str) and value:
                return value
        return None

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        return {
            "eval_result_export_task_id": self.task_id,
            "status": self.status,
            "status_text": self.status_text,
            "download_url": self.download_url,
        }

    @classmethod
    def describe(cls, object_id: str) -> DescribeEvalResultExportTask:
        """Return the request that reads one."""
        return DescribeEvalResultExportTask(task_id=object_id)

    @classmethod
    def candidates(cls, client: QianfanClient, *, name: str, parent_id: str) -> Iterable[Self]:
        """Return nothing: the service lists no exports."""
        return ()


class DescribeEvalResultExportTask(Request, Action[EvalResultExportTask]):
    """Describe an export. https://cloud.baidu.com/doc/qianfan-api/s/omm4vm3ot

    :param task_id: the export, ``amemt-…``.
    """

    route: ClassVar[str] = ROUTE

    task_id: RequiredText
