"""Data sets as the emulator plays them: versions, and the imports into them and exports of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_qianfan.emulator.records import Record

if TYPE_CHECKING:
    from airflow_qianfan.emulator.store import View

CREATOR = "emulator"
MB_OF_A_SAMPLE = 0.01


def beijing_time(timestamp: float) -> str:
    """Return a time stamp in the form of the data-set actions: Beijing time without a zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(timestamp + 8 * 3600))


@dataclass(kw_only=True)
class Dataset(Record):
    """A data set with its versions."""

    kind = "dataset"
    heading = "Data sets"
    columns = ("datasetId", "datasetName", "dataFormat", "storageType", "createTime")

    name: str
    data_format: str
    storage_type: str
    storage_path: str
    versions_made: int = 0

    def versions(self, view: View) -> list[DatasetVersion]:
        """Return its versions, oldest first."""
        return [version for version in view.all(DatasetVersion) if version.dataset_id == self.id]

    def show(self, view: View) -> dict[str, Any]:
        return {
            "datasetId": self.id,
            "datasetName": self.name,
            "dataFormat": self.data_format,
            "storageType": self.storage_type,
            "storagePath": self.storage_path,
            "creator": CREATOR,
            "createTime": beijing_time(self.created),
        }


@dataclass(kw_only=True)
class DatasetVersion(Record):
    """A version of a data set. ``published`` is when publishing begins, None while nobody asked for it."""

    kind = "dataset_version"
    heading = "Data-set versions"
    columns = (
        "versionId",
        "datasetName",
        "versionNumber",
        "dataFormat",
        "importStatus",
        "publishStatus",
        "createTime",
    )

    dataset_id: str
    number: int
    description: str
    published: float | None = None
    publish_seconds: float = 0.0
    publish_fails: bool = False

    def dataset(self, view: View) -> Dataset:
        """Return its data set, which is only deleted together with it."""
        return view.store.table(Dataset)[self.dataset_id]

    def imports(self, view: View) -> list[ImportTask]:
        """Return the imports into it, oldest first."""
        return [task for task in view.all(ImportTask) if task.version_id == self.id]

    def exports(self, view: View) -> list[ExportTask]:
        """Return the exports of it, oldest first."""
        return [task for task in view.all(ExportTask) if task.version_id == self.id]

    def import_status(self, view: View) -> str:
        """Return the ``importStatus``: that of the last import into it."""
        imports = self.imports(view)
        return imports[-1].status(view.now) if imports else "Created"

    def publish_status(self, now: float) -> str:
        """Return the ``publishStatus`` at a time."""
        if self.published is None or now < self.published:
            return "Unpublished"
        if now < self.published + self.publish_seconds:
            return "Publishing"
        return "PublishFailed" if self.publish_fails else "Published"

    def samples(self, view: View) -> int:
        """Return how many samples it holds: those of all imports that succeeded."""
        return sum(task.samples for task in self.imports(view) if task.status(view.now) == task.finished)

    def head(self, view: View) -> dict[str, Any]:
        """Return it as it is shown when it is created."""
        return {
            **self.dataset(view).show(view),
            "versionId": self.id,
            "versionNumber": self.number,
            "description": self.description,
            "createTime": beijing_time(self.created),
        }

    def show(self, view: View) -> dict[str, Any]:
        return {
            **self.head(view),
            "importStatus": self.import_status(view),
            "publishStatus": self.publish_status(view.now),
        }

    def console_path(self, view: View) -> str | None:
        return f"/qianfan/data/dataset/{self.id}/detail"


@dataclass(kw_only=True)
class ImportTask(Record):
    """An import into a version. ``seconds`` is its length, ``samples`` what it brings."""

    kind = "import_task"
    heading = "Imports"
    columns = ("taskId", "versionId", "importStatus", "progress", "sampleCount", "startTime", "finishTime")
    finished = "ImportFinished"

    version_id: str
    seconds: float
    fails: bool
    samples: int

    def status(self, now: float) -> str:
        """Return the ``importStatus`` at a time."""
        if now < self.created + self.seconds:
            return "Importing"
        return "ImportFailed" if self.fails else self.finished

    def show(self, view: View) -> dict[str, Any]:
        status = self.status(view.now)
        samples = self.samples if status == self.finished else 0
        failed = status == "ImportFailed"
        return {
            "taskId": self.id,
            "versionId": self.version_id,
            "importStatus": status,
            **_progress(self, view.now, failed=failed),
            "sizeMB": round(samples * MB_OF_A_SAMPLE, 2),
            "sampleCount": samples,
            "errDownloadUrl": f"https://bj.bcebos.com/emulator/{self.id}/errors.txt" if failed else "",
        }


@dataclass(kw_only=True)
class ExportTask(Record):
    """An export of a version into a zip file. ``seconds`` is its length."""

    kind = "export_task"
    heading = "Exports"
    columns = ("taskId", "exportStatus", "progress", "storagePath", "sampleCount", "startTime", "finishTime")
    finished = "ExportFinished"

    version_id: str
    seconds: float
    fails: bool
    samples: int
    storage_type: str
    storage_path: str

    def status(self, now: float) -> str:
        """Return the ``exportStatus`` at a time."""
        if now < self.created + self.seconds:
            return "Exporting"
        return "ExportFailed" if self.fails else self.finished

    def show(self, view: View) -> dict[str, Any]:
        status = self.status(view.now)
        done = status == self.finished
        path = f"{self.storage_path.rstrip('/')}/{self.version_id}.zip" if self.storage_type == "BOS" else ""
        return {
            "taskId": self.id,
            "storageType": self.storage_type,
            "storagePath": path if done else "",
            "sizeMB": round(self.samples * MB_OF_A_SAMPLE, 2) if done else 0.0,
            "sampleCount": self.samples if done else 0,
            "exportStatus": status,
            **_progress(self, view.now, failed=status == "ExportFailed"),
            "downloadUrl": f"https://bj.bcebos.com/emulator/{self.version_id}.zip" if done else "",
        }


def _progress(task: ImportTask | ExportTask, now: float, *, failed: bool) -> dict[str, Any]:
    """Return the progress and the times: with a blank while it goes on, without one at the end."""
    end = task.created + task.seconds
    if now < end:
        progress, finish = f"{int(100 * max(0.0, now - task.created) / task.seconds)} %", ""
    else:
        progress, finish = "0%" if failed else "100%", beijing_time(end)
    return {
        "progress": progress,
        "creator": CREATOR,
        "startTime": beijing_time(task.created),
        "finishTime": finish,
    }
