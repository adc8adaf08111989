"""Export (导出): the files of a model version, to be downloaded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from airflow_qianfan.api.actions.base import Action, Request, RequiredText, Result
from airflow_qianfan.api.actions.model.model_set import ROUTE
from airflow_qianfan.api.actions.model.version import MODEL_LIST_URL
from airflow_qianfan.api.objects import Recognition, RemoteObject, States

if TYPE_CHECKING:
    from airflow_qianfan.api.client import QianfanClient


class CreateModelExportTaskResult(Result):
    """The new export."""

    export_id: RequiredText
    model_id: str = ""


class CreateModelExportTask(Request, Action[CreateModelExportTaskResult]):
    """Export a model version. https://ai.baidu.com/ai-doc/WENXINWORKSHOP/Qlw02q2x4

    :param model_id: the version, ``amv-…``.
    """

    route: ClassVar[str] = ROUTE

    model_id: RequiredText

    def read_result(self, result: Any) -> CreateModelExportTaskResult:
        """Return the export with the id of its model version, which is what it is polled by."""
        return super().read_result(result).model_copy(update={"model_id": self.model_id})


class ModelExport(RemoteObject):
    """The latest export of a model version. It is read by the version's id, not by its own."""

    noun: ClassVar[str] = "export of model version"
    id_name: ClassVar[str] = "model_id"
    id_member: ClassVar[str] = "model_id"
    record_key: ClassVar[str] = "qianfan_model_export"
    # Two tasks may export the same version at once.
    recognised_by: ClassVar[Recognition] = "latest"
    parent_name: ClassVar[str | None] = "model_id"
    parent_member: ClassVar[str] = "model_id"
    state_member: ClassVar[str] = "status_text"
    states: ClassVar[States | None] = States(
        active=("Doing",), succeeded=("Done",), failed=("Fail",), spellings={"failed": "Fail"}
    )

    model_id: str = ""
    export_id: str | None = None
    has_record: bool | None = None
    status_text: str | None = Field(default=None, alias="status")
    file_name: str | None = None
    file_type: str | None = None
    md5: str | None = None
    file_size: int | float | str | None = None
    download_url: str | None = Field(default=None, repr=False)

    @property
    def is_absent(self) -> bool:
        """Whether there is none: it was never created, is too new to be seen, or has failed."""
        return self.has_record is False

    @property
    def creation_id(self) -> str:
        """The id of this export, which another export of the version has not."""
        return self.export_id or ""

    @property
    def console_url(self) -> str | None:
        """The page of Baidu's console that lists the models of the account."""
        return MODEL_LIST_URL

    def summary(self) -> list[str]:
        """Return which file it has made."""
        if not self.file_name:
            return []
        parts = (f"size {self.file_size}" if self.file_size else "", f"md5 {self.md5}" if self.md5 else "")
        return [", ".join((f"File: {self.file_name}", *filter(None, parts)))]

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom.

        The download link is left out: who has it needs no credentials, and events of triggers are logged.
        """
        return {
            "model_id": self.model_id,
            "export_id": self.export_id or None,
            "has_record": self.has_record is not False,
            "status": None if self.is_absent else self.status,
            "status_text": self.status_text,
            "file_name": self.file_name,
            "file_type": self.file_type,
            "file_size": self.file_size,
            "md5": self.md5,
            "console_url": self.console_url,
        }

    @classmethod
    def describe(cls, object_id: str) -> DescribeModelExportTask:
        """Return the request that reads the latest one of a model version."""
        return DescribeModelExportTask(model_id=object_id)

    @classmethod
    def candidates(cls, client: QianfanClient, *, name: str, parent_id: str) -> Iterable[ModelExport]:
        """Return the latest one of a model version, if it has one; older ones are not shown."""
        found = client.call(cls.describe(parent_id))
        return [] if found.is_absent else [found]


class DescribeModelExportTask(Request, Action[ModelExport]):
    """Describe the latest export of a model version. https://cloud.baidu.com/doc/qianfan-api/s/wmniloeoc

    Although it only reads, its key needs a policy for writing.

    :param model_id: the version, ``amv-…``; not the id of the export.
    """

    route: ClassVar[str] = ROUTE

    model_id: RequiredText

    def read_result(self, result: Any) -> ModelExport:
        """Return the export with the id of its model version, which the answer does not hold."""
        return super().read_result(result).model_copy(update={"model_id": self.model_id})
