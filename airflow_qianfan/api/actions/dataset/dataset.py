"""Data sets (数据集), the containers of versions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from airflow_qianfan.api.actions.base import (
    Action,
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
from airflow_qianfan.api.objects import Recognition, RemoteObject

if TYPE_CHECKING:
    from airflow_qianfan.api.client import QianfanClient

ROUTE = "/v2/dataset"

StorageType = Literal["BOS", "sysStorage"]

_FORMATS = {
    name.lower(): name
    for name in (
        "PromptResponse",
        "Role",
        "SFT_FIM",
        "Text",
        "DPO_PromptChosenRejected",
        "KTO_PromptChosenRejected",
        "PromptSortedresponses",
        "Prompt",
        "PromptImage",
        "PromptImageResponse",
    )
}


def _documented_format(value: Any) -> Any:
    """Write a known format as the page does, which has a small r in ``PromptSortedresponses``."""
    return _FORMATS.get(value.lower(), value) if isinstance(value, str) else value


DataFormat = Annotated[RequiredText, BeforeValidator(_documented_format)]


def bos_path(value: str) -> str:
    """Check the form of a path in Baidu Object Storage."""
    if not value.startswith("bos:/"):
        raise ValueError("must be a path in Baidu Object Storage, such as 'bos:/bucket/directory/'")
    return value


def rows_under(data: Any, name: str) -> Any:
    """Put the rows of a list under a name: the pages do not show which member holds them.

    :param data: the result as it came.
    :param name: the member that is to hold them.
    """
    if isinstance(data, list):
        return {name: data}
    if isinstance(data, dict) and name not in data:
        lists = [value for value in data.values() if isinstance(value, list)]
        if len(lists) == 1:
            return {**data, name: lists[0]}
    return data


class Dataset(RemoteObject):
    """A data set as a list shows it. It has no state of its own; its versions have."""

    noun: ClassVar[str] = "data set"
    id_name: ClassVar[str] = "dataset_id"
    results: ClassVar[tuple[str, ...]] = ("dataset_version_id", "dataset_id")
    id_member: ClassVar[str] = "dataset_id"
    name_member: ClassVar[str] = "dataset_name"
    record_key: ClassVar[str] = "qianfan_dataset"
    recognised_by: ClassVar[Recognition] = "name"
    has_unique_names: ClassVar[bool] = False

    dataset_id: str
    dataset_name: str | None = None
    data_format: str | None = None
    storage_type: str | None = None
    storage_path: str | None = None
    create_time: str | None = None

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        return {
            "dataset_id": self.dataset_id,
            "dataset_name": self.dataset_name,
            "data_format": self.data_format,
            "storage_type": self.storage_type,
            "storage_path": self.storage_path,
            "create_time": self.create_time,
        }

    @classmethod
    def describe(cls, object_id: str) -> Action[Any]:
        """Return a request that fails where it does not exist: there is none that describes a data set."""
        from airflow_qianfan.api.actions.dataset.version import DescribeDatasetVersions

        return DescribeDatasetVersions(dataset_id=object_id, max_keys=1)

    @classmethod
    def candidates(cls, client: QianfanClient, *, name: str, parent_id: str) -> Iterable[Self]:
        """Return the data sets whose name holds another."""
        return client.iterate(DescribeDatasets(filter={"dataset_name": name}, max_keys=100))


class CreateDatasetResult(Result):
    """The new data set. ``version_id`` is its version V1."""

    dataset_id: RequiredText
    version_id: str | None = None


class CreateDataset(Request, Action[CreateDatasetResult]):
    """Create a data set and its version V1. https://cloud.baidu.com/doc/qianfan-api/s/9mnzot7x8

    :param dataset_name: its name.
    :param data_format: ``PromptResponse``, ``Role``, ``Text``, ``DPO_PromptChosenRejected`` …
    :param storage_type: ``BOS`` or ``sysStorage``, which is the platform's own.
    :param storage_path: directory for ``BOS``, ``bos:/bucket/directory/``; a slash is added at its end.
    """

    route: ClassVar[str] = ROUTE

    dataset_name: RequiredText
    data_format: DataFormat
    storage_type: StorageType
    storage_path: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _slash_at_the_end(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        paths = {
            name: value if value.endswith("/") else f"{value}/"
            for name, value in data.items()
            if name in ("storage_path", "storagePath") and isinstance(value, str) and value
        }
        return {**data, **paths}

    @model_validator(mode="after")
    def _has_its_path(self) -> Self:
        check_storage(self.storage_type, self.storage_path)
        return self


def check_storage(storage_type: str, storage_path: str | None) -> None:
    """Check that a storage of the user's own has its path.

    :raises MemberError: it has none, or one of another form.
    """
    if storage_type != "BOS":
        return
    if not storage_path:
        raise MemberError("storageType BOS needs it", "storagePath")
    try:
        bos_path(storage_path)
    except ValueError as error:
        raise MemberError(str(error), "storagePath") from None


class DatasetFilter(Member):
    """Which data sets are listed.

    :param dataset_name: only those whose name holds it.
    :param data_format_list: only those of these formats.
    """

    dataset_name: str | None = None
    data_format_list: list[str] | None = None


class DatasetPage(Page):
    """One page of data sets."""

    id_member: ClassVar[str] = "dataset_id"
    dataset_list: RowList[Dataset] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _rows_of_any_name(cls, data: Any) -> Any:
        return rows_under(data, "datasetList")

    @property
    def rows(self) -> list[Dataset]:
        """The data sets of this page."""
        return self.dataset_list


class DescribeDatasets(PagedRequest, Action[DatasetPage]):
    """List the data sets, oldest first. https://cloud.baidu.com/doc/qianfan-api/s/Nmnzrmd46

    :param filter: ``datasetName``, a part of the name, and ``dataFormatList``.
    """

    route: ClassVar[str] = ROUTE

    filter: Annotated[DatasetFilter | None, BeforeValidator(read_json)] = None


class DeleteDataset(Request, Action[Any]):
    """Delete a data set with all its versions. https://cloud.baidu.com/doc/qianfan-api/s/gmnzp6s4r

    :param dataset_id: the data set, ``dg-…``.
    """

    route: ClassVar[str] = ROUTE

    dataset_id: RequiredText
