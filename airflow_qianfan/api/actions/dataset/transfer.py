"""Imports into versions of data sets, and exports of them: one task each."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from airflow_qianfan.api.actions.base import Action, Request, RequiredText, Result, read_json
from airflow_qianfan.api.actions.dataset.dataset import ROUTE, StorageType, bos_path, check_storage
from airflow_qianfan.api.actions.dataset.version import Count, VersionImport, version_console_url
from airflow_qianfan.api.actions.values import Number, ratio
from airflow_qianfan.api.objects import Phase, Recognition, RemoteObject, States

FILE_ENDINGS = (".jsonl", ".zip", ".xlsx")
MAX_FILES = 1000


class _Transfer(RemoteObject):
    """What an import and an export have in common. The service does not repeat the id that it was asked for.

    Their ids begin as those of trainings do.
    """

    id_member: ClassVar[str] = "task_id"
    parent_name: ClassVar[str | None] = "dataset_version_id"
    parent_member: ClassVar[str] = "version_id"

    task_id: str
    version_id: str | None = None
    # The text of the share: "40 %".
    progress_text: Any = Field(default=None, alias="progress")
    size_mb: Number = Field(default=None, alias="sizeMB")
    sample_count: Count = None

    @property
    def progress(self) -> float | None:
        """Share that is done, from 0 to 1; None where the service does not say."""
        if self.state.phase is Phase.SUCCEEDED:
            return 1.0
        share = ratio(self.progress_text)
        return None if share is None else min(max(share, 0.0), 1.0)

    @property
    def console_url(self) -> str | None:
        """The page of Baidu's console that shows the version."""
        return version_console_url(self.version_id)

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        return {
            self.id_name: self.task_id,
            "dataset_version_id": self.version_id,
            "status": self.status,
            self.state_member: getattr(self, self.state_member),
            "progress": self.progress,
            "size_mb": self.size_mb,
            "sample_count": self.sample_count,
            "console_url": self.console_url,
        }

    def summary(self) -> list[str]:
        """Return how much it was."""
        if self.sample_count is None:
            return []
        size = "" if self.size_mb is None else f", {self.size_mb:g} MB"
        return [f"Samples: {self.sample_count}{size}"]


class ImportTask(_Transfer):
    """An import of files into a version."""

    noun: ClassVar[str] = "data import"
    id_name: ClassVar[str] = "import_task_id"
    results: ClassVar[tuple[str, ...]] = ("dataset_version_id", "dataset_id")
    record_key: ClassVar[str] = "qianfan_dataset_import"
    # Nothing lists imports; the version shows whether one was begun.
    recognised_by: ClassVar[Recognition] = "parent"
    parent_view: ClassVar[type[RemoteObject] | None] = VersionImport
    state_member: ClassVar[str] = "import_status"
    states: ClassVar[States | None] = States(
        active=("Importing",), succeeded=("ImportFinished",), failed=("ImportFailed",)
    )

    import_status: str | None = None
    err_download_url: str | None = None

    @property
    def failure(self) -> str:
        """Where to read what is wrong with the data."""
        return f"errDownloadUrl {self.err_download_url}" if self.err_download_url else ""

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        return {**super().output(), "err_download_url": self.err_download_url or None}

    @classmethod
    def describe(cls, object_id: str) -> DescribeImportTask:
        """Return the request that reads one."""
        return DescribeImportTask(task_id=object_id)


class ExportTask(_Transfer):
    """An export of a version into a zip file."""

    noun: ClassVar[str] = "data export"
    id_name: ClassVar[str] = "export_task_id"
    results: ClassVar[tuple[str, ...]] = ("storage_path",)
    record_key: ClassVar[str] = "qianfan_dataset_export"
    recognised_by: ClassVar[Recognition] = "nothing"
    state_member: ClassVar[str] = "export_status"
    states: ClassVar[States | None] = States(
        active=("Exporting",), succeeded=("ExportFinished",), failed=("ExportFailed",)
    )

    export_status: str | None = None
    storage_type: str | None = None
    storage_path: str | None = None

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        return {**super().output(), "storage_type": self.storage_type, "storage_path": self.storage_path}

    @classmethod
    def describe(cls, object_id: str) -> DescribeExportTask:
        """Return the request that reads one."""
        return DescribeExportTask(task_id=object_id)


class _CreatedTask(Result):
    """The new task."""

    task_id: RequiredText

    @model_validator(mode="before")
    @classmethod
    def _plain_id(cls, data: Any) -> Any:
        # The service answers with nothing but the id.
        return {"taskId": data} if isinstance(data, str) else data


class CreateImportTaskResult(_CreatedTask):
    """The new import."""


class CreateExportTaskResult(_CreatedTask):
    """The new export."""


def _one_path_is_a_list(value: Any) -> Any:
    value = read_json(value)
    return [value] if isinstance(value, str) else value


class CreateImportTask(Request, Action[CreateImportTaskResult]):
    """Import files into a version. https://cloud.baidu.com/doc/qianfan-api/s/lmnzqpt7v

    :param version_id: the version that gets the data, ``ds-…``.
    :param files: exactly one directory, ``bos:/bucket/directory/``, or one or more files that end with
        ``.jsonl``, ``.zip`` or ``.xlsx``.
    """

    route: ClassVar[str] = ROUTE

    version_id: RequiredText
    files: Annotated[list[str], BeforeValidator(_one_path_is_a_list)]

    @field_validator("files")
    @classmethod
    def _one_directory_or_files(cls, files: list[str]) -> list[str]:
        if not 1 <= len(files) <= MAX_FILES:
            raise ValueError(f"must have 1 to {MAX_FILES} entries, has {len(files)}")
        for path in files:
            bos_path(path)
        others = [path for path in files if not path.endswith(FILE_ENDINGS)]
        if others and (len(files) > 1 or not _is_directory(others[0])):
            raise ValueError(
                "must be exactly one directory, which ends with a slash, or files that end with "
                f".jsonl, .zip or .xlsx, which {others[0][-80:]!r} does not"
            )
        return files


def _is_directory(path: str) -> bool:
    return path.endswith("/") or "." not in path.rpartition("/")[2]


class DescribeImportTask(Request, Action[ImportTask]):
    """Describe an import. https://cloud.baidu.com/doc/qianfan-api/s/Lmnzr4pth

    :param task_id: the import, ``task-…``.
    """

    route: ClassVar[str] = ROUTE

    task_id: RequiredText

    def read_result(self, result: Any) -> ImportTask:
        """Return the typed result, with the id that the answer leaves out."""
        return super().read_result(_with_id(self.task_id, result))


class CreateExportTask(Request, Action[CreateExportTaskResult]):
    """Export a version as a zip file. https://cloud.baidu.com/doc/qianfan-api/s/xmnzqra7z

    :param version_id: the version, ``ds-…``.
    :param storage_type: ``BOS`` or ``sysStorage``, which is the platform's own.
    :param storage_path: where to, for ``BOS``: ``bos:/bucket/directory/``.
    """

    route: ClassVar[str] = ROUTE

    version_id: RequiredText
    storage_type: StorageType
    storage_path: str | None = None

    @model_validator(mode="after")
    def _has_its_path(self) -> Self:
        check_storage(self.storage_type, self.storage_path)
        return self


class DescribeExportTask(Request, Action[ExportTask]):
    """Describe an export. https://cloud.baidu.com/doc/qianfan-api/s/3mnzr6ilo

    :param task_id: the export, ``task-…``.
    """

    route: ClassVar[str] = ROUTE

    task_id: RequiredText

    def read_result(self, result: Any) -> ExportTask:
        """Return the typed result, with the id that the answer leaves out."""
        return super().read_result(_with_id(self.task_id, result))


def _with_id(task_id: str, result: Any) -> Any:
    return {**result, "taskId": task_id} if isinstance(result, dict) else result
