"""The Actions of ``/v2/dataset``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from airflow_qianfan.emulator.actions import Body, Call, Page, Route, Text, page, parse
from airflow_qianfan.emulator.data import Dataset, DatasetVersion, ExportTask, ImportTask
from airflow_qianfan.emulator.errors import bad_parameter
from airflow_qianfan.emulator.records import new_id

if TYPE_CHECKING:
    from airflow_qianfan.emulator.store import View

ROUTE = Route("/v2/dataset")
FILE_ENDINGS = (".jsonl", ".zip", ".xlsx")
MAX_FILES = {"BOS": 1000, "sysStorage": 100}

DataFormat = Literal[
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
]


class CreateDataset(Body):
    dataset_name: Text
    data_format: DataFormat
    storage_type: Literal["BOS", "sysStorage"]
    storage_path: str | None = None


class DatasetFilter(Body):
    dataset_name: str | None = None
    data_format_list: list[str] | None = None


class ListDatasets(Page):
    filter: DatasetFilter | None = None


class DatasetId(Body):
    dataset_id: Text


class CreateVersion(Body):
    dataset_id: Text
    description: str | None = None


class VersionId(Body):
    version_id: Text


class VersionFilter(Body):
    import_status_list: list[str] | None = None
    publish_status_list: list[str] | None = None


class ListVersions(Page):
    dataset_id: Text
    filter: VersionFilter | None = None


class CreateImport(Body):
    version_id: Text
    files: Annotated[list[Text], Field(min_length=1)]


class CreateExport(Body):
    version_id: Text
    storage_type: Literal["BOS", "sysStorage"]
    storage_path: str | None = None


class TaskId(Body):
    task_id: Text


@ROUTE.action("CreateDataset")
def create_dataset(call: Call) -> Any:
    request = parse(CreateDataset, call.body)
    path = request.storage_path or ""
    if request.storage_type == "BOS" and not (path.startswith("bos:/") and path.endswith("/")):
        raise bad_parameter("storagePath")
    taken = any(known.name == request.dataset_name for known in call.all(Dataset))
    if taken and call.assumptions.duplicate_dataset_name == "refuse":
        raise call.duplicate("A data set with this name exists.")
    dataset = Dataset(
        id=new_id("dg"),
        name=request.dataset_name,
        data_format=request.data_format,
        storage_type=request.storage_type,
        storage_path=path if request.storage_type == "BOS" else "",
        created=call.now,
        request=call.body,
    )
    call.ids["datasetId"] = dataset.id
    return _new_version(call, dataset, "").head(call)


def _new_version(call: Call, dataset: Dataset, description: str) -> DatasetVersion:
    dataset.versions_made += 1
    version = DatasetVersion(
        id=new_id("ds", 16),
        dataset_id=dataset.id,
        number=dataset.versions_made,
        description=description,
        created=call.now,
        request=call.body,
    )
    call.put(dataset)
    call.put(version)
    call.ids["versionId"] = version.id
    return version


@ROUTE.action("DescribeDatasets")
def describe_datasets(call: Call) -> Any:
    request = parse(ListDatasets, call.body)
    wanted = request.filter or DatasetFilter()
    formats = wanted.data_format_list or None
    datasets = [
        dataset
        for dataset in call.all(Dataset)
        if (wanted.dataset_name or "").lower() in dataset.name.lower()
        and (formats is None or dataset.data_format in formats)
    ]
    # Oldest first, as the page says.
    chosen, info = page(datasets, request, newest_first=False)
    return {call.assumptions.dataset_list: [dataset.show(call) for dataset in chosen], "pageInfo": info}


@ROUTE.action("DeleteDataset")
def delete_dataset(call: Call) -> Any:
    dataset = call.find(Dataset, "datasetId", parse(DatasetId, call.body).dataset_id)
    versions = dataset.versions(call)
    for version in versions:
        _remove_version(call, version)
    call.remove(dataset)
    call.ids["versionIds"] = [version.id for version in versions]
    return True


def _remove_version(call: Call, version: DatasetVersion) -> None:
    for task in (*version.imports(call), *version.exports(call)):
        call.remove(task)
    call.remove(version)


@ROUTE.action("CreateDatasetVersion")
def create_version(call: Call) -> Any:
    request = parse(CreateVersion, call.body)
    dataset = call.find(Dataset, "datasetId", request.dataset_id)
    return _new_version(call, dataset, request.description or "").head(call)


@ROUTE.action("DescribeDatasetVersion", shows_state=True)
def describe_version(call: Call) -> Any:
    version = call.find(DatasetVersion, "versionId", parse(VersionId, call.body).version_id)
    return _shown(call, version)


def _shown(call: Call, version: DatasetVersion) -> dict[str, Any]:
    row = version.show(call)
    if not call.assumptions.dataset_version_has_states:
        del row["importStatus"], row["publishStatus"]
    return row


@ROUTE.action("DescribeDatasetVersions", shows_state=True)
def describe_versions(call: Call) -> Any:
    request = parse(ListVersions, call.body)
    dataset = call.find(Dataset, "datasetId", request.dataset_id)
    wanted = request.filter or VersionFilter()
    imports, publications = wanted.import_status_list or None, wanted.publish_status_list or None
    versions = [
        version
        for version in dataset.versions(call)
        if (imports is None or version.import_status(call) in imports)
        and (publications is None or version.publish_status(call.now) in publications)
    ]
    chosen, info = page(versions, request, call.assumptions.newest_first)
    return {
        call.assumptions.dataset_version_list: [_shown(call, version) for version in chosen],
        "pageInfo": info,
    }


@ROUTE.action("DeleteDatasetVersion")
def delete_version(call: Call) -> Any:
    version = call.find(DatasetVersion, "versionId", parse(VersionId, call.body).version_id)
    _remove_version(call, version)
    return True


@ROUTE.action("CreateImportTask")
def create_import(call: Call) -> Any:
    request = parse(CreateImport, call.body)
    files = request.files
    is_directory = len(files) == 1 and not files[0].endswith(FILE_ENDINGS)
    # A last part with another ending is a file that cannot be imported.
    if is_directory and not files[0].endswith("/") and "." in files[0].rpartition("/")[2]:
        raise bad_parameter("files")
    if any(
        not path.startswith("bos:/") or not (is_directory or path.endswith(FILE_ENDINGS)) for path in files
    ):
        raise bad_parameter("files")
    version = call.find(DatasetVersion, "versionId", request.version_id)
    if len(files) > MAX_FILES[version.dataset(call).storage_type]:
        raise bad_parameter("files")
    status = version.import_status(call)
    if status == "Importing":
        raise call.wrong_state("Another import goes on.")
    if status == "ImportFinished" and call.assumptions.second_import == "refuse":
        raise call.wrong_state("The version has data already.")
    published = version.publish_status(call.now) in ("Publishing", "Published")
    if published and call.assumptions.import_into_published == "refuse":
        raise call.wrong_state("The version is published.")
    task = ImportTask(
        id=new_id("task"),
        version_id=version.id,
        seconds=call.model_seconds,
        fails=any("fail" in path.lower() for path in files),
        samples=sum(0 if "empty" in path.lower() else 100 for path in files),
        created=call.now,
        request=call.body,
    )
    call.put(task)
    call.ids["taskId"] = task.id
    return task.id


@ROUTE.action("DescribeImportTask", shows_state=True, shows_progress=True)
def describe_import(call: Call) -> Any:
    return _without_id(call, call.find(ImportTask, "taskId", parse(TaskId, call.body).task_id))


def _without_id(call: Call, task: ImportTask | ExportTask) -> dict[str, Any]:
    """Return a task as the service does, which does not repeat the id that it was asked for."""
    return {name: value for name, value in task.show(call).items() if name != "taskId"}


@ROUTE.action("PublishDatasetVersion")
def publish_version(call: Call) -> Any:
    version = call.find(DatasetVersion, "versionId", parse(VersionId, call.body).version_id)
    if version.import_status(call) != "ImportFinished":
        raise call.wrong_state("The version has no data yet.")
    if version.publish_status(call.now) not in ("Unpublished", "PublishFailed"):
        if call.assumptions.publish_dataset_twice == "refuse":
            raise call.wrong_state("The version is published already.")
        return True
    version.published = call.now + call.assumptions.publish_delay_seconds
    version.publish_seconds = call.model_seconds
    version.publish_fails = "fail" in (version.dataset(call).name + version.description).lower()
    call.put(version)
    return True


@ROUTE.action("CreateExportTask")
def create_export(call: Call) -> Any:
    request = parse(CreateExport, call.body)
    path = request.storage_path or ""
    if request.storage_type == "BOS" and not path.startswith("bos:/"):
        raise bad_parameter("storagePath")
    version = call.find(DatasetVersion, "versionId", request.version_id)
    if version.import_status(call) != "ImportFinished":
        raise call.wrong_state("The version has no data yet.")
    task = ExportTask(
        id=new_id("task"),
        version_id=version.id,
        seconds=call.model_seconds,
        fails="fail" in path.lower(),
        samples=version.samples(call),
        storage_type=request.storage_type,
        storage_path=path if request.storage_type == "BOS" else "",
        created=call.now,
        request=call.body,
    )
    call.put(task)
    call.ids["taskId"] = task.id
    return task.id


@ROUTE.action("DescribeExportTask", shows_state=True, shows_progress=True)
def describe_export(call: Call) -> Any:
    return _without_id(call, call.find(ExportTask, "taskId", parse(TaskId, call.body).task_id))


class NewDataset(BaseModel):
    """Body of ``POST /_emulator/datasets``: a data set with one version, imported and published.

    :param dataset_version_id: id of the version; None for a new one.
    :param dataset_id: id of the data set; None for a new one.
    :param name: its name; None for its id.
    :param data_format: what its lines are.
    :param samples: how many there are.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    dataset_version_id: Text | None = None
    dataset_id: Text | None = None
    name: Text | None = None
    data_format: DataFormat = "PromptResponse"
    samples: int = Field(default=100, ge=0)


def add(view: View, new: NewDataset) -> DatasetVersion:
    """Put a data set there that can be trained on at once, and return its version.

    :raises ValueError: an id or the name is taken.
    """
    dataset_id = new.dataset_id or new_id("dg")
    dataset = Dataset(
        id=dataset_id,
        name=new.name or dataset_id,
        data_format=new.data_format,
        storage_type="sysStorage",
        storage_path="",
        versions_made=1,
        created=view.now,
    )
    version = DatasetVersion(
        id=new.dataset_version_id or new_id("ds", 16),
        dataset_id=dataset.id,
        number=1,
        description="",
        published=view.now,
        created=view.now,
    )
    if version.id in view.store.table(DatasetVersion):
        raise ValueError(f"there is a data-set version {version.id!r} already")
    if any(dataset.id == known.id or dataset.name == known.name for known in view.all(Dataset)):
        raise ValueError(f"there is a data set {dataset.name!r} already")
    loaded = ImportTask(
        id=new_id("task"),
        version_id=version.id,
        seconds=0.0,
        fails=False,
        samples=new.samples,
        created=view.now,
    )
    for record in (dataset, version, loaded):
        view.store.put(record)
    # Writes them to the state file.
    view.store.advance(0.0)
    return version
