"""Versions of data sets (数据集版本): each holds data, which is imported and then published."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, model_validator

from airflow_qianfan.api.actions.base import (
    Action,
    Member,
    Page,
    PagedRequest,
    Request,
    RequiredText,
    Result,
    RowList,
    read_json,
)
from airflow_qianfan.api.actions.dataset.dataset import ROUTE, rows_under
from airflow_qianfan.api.actions.values import whole
from airflow_qianfan.api.config import CONSOLE
from airflow_qianfan.api.objects import Recognition, RemoteObject, States

if TYPE_CHECKING:
    from airflow_qianfan.api.client import QianfanClient

Count = Annotated[int | None, BeforeValidator(whole)]


def version_console_url(version_id: str | None) -> str | None:
    """Return the page of Baidu's console that shows a version."""
    return f"{CONSOLE}/qianfan/data/dataset/{version_id}/detail" if version_id else None


class DatasetVersion(RemoteObject):
    """A version as the service describes it.

    As a kind of object it exists or does not. What is done with its data has states of its own, which the
    same description shows: see :class:`VersionImport` and :class:`VersionPublication`.
    """

    noun: ClassVar[str] = "data-set version"
    id_name: ClassVar[str] = "dataset_version_id"
    results: ClassVar[tuple[str, ...]] = ("dataset_version_id", "dataset_id")
    id_member: ClassVar[str] = "version_id"
    parent_name: ClassVar[str | None] = "dataset_id"
    parent_member: ClassVar[str] = "dataset_id"
    record_key: ClassVar[str] = "qianfan_dataset_version"
    recognised_by: ClassVar[Recognition] = "mark"
    # Whether a list shows the description is not documented.
    is_listed_by_id_only: ClassVar[bool] = True

    version_id: str
    dataset_id: str | None = None
    version_number: Count = None
    dataset_name: str | None = None
    data_format: str | None = None
    description: str | None = None
    storage_type: str | None = None
    storage_path: str | None = None
    create_time: str | None = None
    import_status: str | None = None
    publish_status: str | None = None
    # The end of the page's table was not visible.
    sample_count: Count = None

    @property
    def console_url(self) -> str | None:
        """The page of Baidu's console that shows it."""
        return version_console_url(self.version_id)

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        return {
            "dataset_version_id": self.version_id,
            "dataset_id": self.dataset_id,
            "version_number": self.version_number,
            "dataset_name": self.dataset_name,
            "data_format": self.data_format,
            "description": self.description,
            "sample_count": self.sample_count,
            "status": self.status or VersionPublication.states.read(self.publish_status).word,
            "import_status": self.import_status,
            "publish_status": self.publish_status,
            "console_url": self.console_url,
        }

    @classmethod
    def describe(cls, object_id: str) -> DescribeDatasetVersion:
        """Return the request that reads one."""
        return DescribeDatasetVersion(version_id=object_id)

    @classmethod
    def view(cls, found: RemoteObject) -> RemoteObject:
        """Return what a description shows as one of this kind."""
        return found if type(found) is cls else cls.model_validate(found.model_dump(by_alias=True))

    @classmethod
    def discard(cls, object_id: str) -> DeleteDatasetVersion:
        """Return the request that deletes one."""
        return DeleteDatasetVersion(version_id=object_id)

    @classmethod
    def candidates(cls, client: QianfanClient, *, name: str, parent_id: str) -> Iterable[Self]:
        """Return the versions of the data set, newest first."""
        return client.iterate(DescribeDatasetVersions(dataset_id=parent_id, max_keys=100, page_reverse=True))


class VersionImport(DatasetVersion):
    """A version, seen by how far the import of its data is."""

    noun: ClassVar[str] = "import into data-set version"
    state_member: ClassVar[str] = "import_status"
    states: ClassVar[States] = States(
        waiting=("Created",),
        active=("Importing",),
        succeeded=("ImportFinished",),
        failed=("ImportFailed",),
    )


class VersionPublication(DatasetVersion):
    """A version, seen by whether it is published, so that it can be trained on."""

    noun: ClassVar[str] = "publication of data-set version"
    state_member: ClassVar[str] = "publish_status"
    states: ClassVar[States] = States(
        waiting=("Unpublished",),
        active=("Publishing",),
        succeeded=("Published",),
        failed=("PublishFailed",),
    )


class CreateDatasetVersionResult(Result):
    """The new version."""

    version_id: RequiredText
    dataset_id: str | None = None
    version_number: Count = None


class CreateDatasetVersion(Request, Action[CreateDatasetVersionResult]):
    """Create a version, which inherits no data. https://cloud.baidu.com/doc/qianfan-api/s/dmnzqtolr

    :param dataset_id: the data set that gets it, ``dg-…``.
    :param description: what it is.
    """

    route: ClassVar[str] = ROUTE

    dataset_id: RequiredText
    description: str | None = None


class DescribeDatasetVersion(Request, Action[DatasetVersion]):
    """Describe a version. https://cloud.baidu.com/doc/qianfan-api/s/1mnzr9j3b

    :param version_id: the version, ``ds-…``.
    """

    route: ClassVar[str] = ROUTE

    version_id: RequiredText


class DatasetVersionFilter(Member):
    """Which versions are listed.

    :param import_status_list: only those in these states of import.
    :param publish_status_list: only those in these states of publishing.
    """

    import_status_list: list[str] | None = None
    publish_status_list: list[str] | None = None


class DatasetVersionPage(Page):
    """One page of versions."""

    id_member: ClassVar[str] = "version_id"
    version_list: RowList[DatasetVersion] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _rows_of_any_name(cls, data: Any) -> Any:
        return rows_under(data, "versionList")

    @property
    def rows(self) -> list[DatasetVersion]:
        """The versions of this page."""
        return self.version_list


class DescribeDatasetVersions(PagedRequest, Action[DatasetVersionPage]):
    """List the versions of a data set. https://cloud.baidu.com/doc/qianfan-api/s/9mnzr02r9

    :param dataset_id: the data set, ``dg-…``.
    :param filter: ``importStatusList`` and ``publishStatusList``.
    """

    route: ClassVar[str] = ROUTE

    dataset_id: RequiredText
    filter: Annotated[DatasetVersionFilter | None, BeforeValidator(read_json)] = None


class DeleteDatasetVersion(Request, Action[Any]):
    """Delete a version. https://cloud.baidu.com/doc/qianfan-api/s/imnzqm4d8

    :param version_id: the version, ``ds-…``.
    """

    route: ClassVar[str] = ROUTE

    version_id: RequiredText


class PublishDatasetVersion(Request, Action[Any]):
    """Publish a version, so that it can be trained on. https://cloud.baidu.com/doc/WENXINWORKSHOP/s/1lyyakavj

    :param version_id: the version, ``ds-…``; its data must be imported and annotated.
    """

    route: ClassVar[str] = ROUTE

    version_id: RequiredText
