"""What the page lists: one kind of object each, one list call for each part of it.

Some lists show no states. Their rows are pending, and the browser asks for those that it shows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_qianfan.api.actions.base import Action, Page
from airflow_qianfan.api.actions.batch_inference import DescribeBatchInferenceTasks
from airflow_qianfan.api.actions.dataset import (
    DescribeDatasets,
    DescribeDatasetVersions,
    VersionImport,
)
from airflow_qianfan.api.actions.finetuning import (
    DescribeFineTuningJobs,
    DescribeFineTuningTask,
    DescribeFineTuningTasks,
)
from airflow_qianfan.api.actions.model import DescribeCustomModelSets, DescribeModel, Model
from airflow_qianfan.api.actions.service import DescribeServices
from airflow_qianfan.api.objects import Phase, RemoteObject
from airflow_qianfan.exceptions import QianfanError
from airflow_qianfan.plugins.objects import show
from airflow_qianfan.plugins.reader import Reader
from airflow_qianfan.plugins.views import Row

PAGE = 100

Described = list[tuple[Row, str | None]]
"""Rows, each with the description of its object, which may hold a mark."""


class Listing(ABC):
    """A kind of object, as the page lists it."""

    @abstractmethod
    def request(self, marker: str | None) -> Action[Page]:
        """Return the request for a part of the list."""

    @abstractmethod
    def rows(self, page: Page, now: float) -> Described:
        """Return the rows of a part."""

    async def details(
        self, reader: Reader, groups: Sequence[str], now: float
    ) -> tuple[Described, list[QianfanError]]:
        """Return the rows in place of those that are pending, and what could not be read.

        :param reader: reads Qianfan.
        :param groups: the groups of the pending rows.
        :param now: time in seconds since the epoch.
        """
        raise NotImplementedError


class Trainings(Listing):
    """Trainings: a list of their jobs, and one of the trainings of each."""

    def request(self, marker: str | None) -> Action[Page]:
        return DescribeFineTuningJobs(max_keys=PAGE, marker=marker, page_reverse=True)

    def rows(self, page: Page, now: float) -> Described:
        found: Described = []
        for job in page.rows:
            shown = show(job, now)
            model = _joined(job.model, job.train_mode)
            row = Row(
                id=job.job_id,
                group=job.job_id,
                name=job.name,
                created=shown.started,
                model=model,
                is_pending=True,
            )
            found.append((row, job.description))
        return found

    async def details(
        self, reader: Reader, groups: Sequence[str], now: float
    ) -> tuple[Described, list[QianfanError]]:
        requests = [DescribeFineTuningTasks(job_id=group, max_keys=PAGE) for group in groups]
        pages, problems = _apart(await reader.call_all(requests))
        trainings = [training for page in pages for training in page.rows]
        # Whether a list tells the progress is not documented.
        silent = [one for one in trainings if one.state.phase is Phase.ACTIVE and one.progress is None]
        told, more = _apart(
            await reader.call_all([DescribeFineTuningTask(task_id=one.task_id) for one in silent])
        )
        by_id = {one.task_id: one for one in (*trainings, *told)}
        found: Described = []
        for training in by_id.values():
            row = await row_of(training, reader, now)
            row.group = training.job_id
            row.model = _joined(training.model, training.train_mode, training.parameter_scale)
            found.append((row, training.job_description))
        return found, problems + more


class Models(Listing):
    """Model versions: a list of their sets, and a description of each."""

    def request(self, marker: str | None) -> Action[Page]:
        return DescribeCustomModelSets(max_keys=PAGE, marker=marker, page_reverse=True)

    def rows(self, page: Page, now: float) -> Described:
        found: Described = []
        for model_set in page.rows:
            shown = show(model_set, now)
            names = dict(zip(model_set.model_ids, model_set.model_names, strict=False))
            for model_id in model_set.model_ids:
                row = Row(
                    id=model_id,
                    group=model_id,
                    name=names.get(model_id) or model_set.model_set_name,
                    created=shown.started,
                    is_pending=True,
                )
                found.append((row, None))
        return found

    async def details(
        self, reader: Reader, groups: Sequence[str], now: float
    ) -> tuple[Described, list[QianfanError]]:
        models, problems = _apart(await reader.call_all([DescribeModel(model_id=group) for group in groups]))
        found: Described = []
        for model in models:
            row = await row_of(model, reader, now)
            row.group, row.model, row.detail = model.model_id, model.model, _source(model)
            found.append((row, model.description))
        return found, problems


class Services(Listing):
    """Services."""

    def request(self, marker: str | None) -> Action[Page]:
        return DescribeServices(max_keys=PAGE, marker=marker, page_reverse=True)

    def rows(self, page: Page, now: float) -> Described:
        found: Described = []
        for service in page.rows:
            row = plain_row(service, now)
            row.model = _joined(service.base_model, service.model_id)
            row.detail = service.address
            found.append((row, service.description))
        return found


class BatchInferences(Listing):
    """Batch inferences."""

    def request(self, marker: str | None) -> Action[Page]:
        return DescribeBatchInferenceTasks(max_keys=PAGE, marker=marker, page_reverse=True)

    def rows(self, page: Page, now: float) -> Described:
        found: Described = []
        for task in page.rows:
            row = plain_row(task, now)
            row.model = task.model_id or task.endpoint
            row.detail = task.progress_words
            found.append((row, task.description))
        return found


class Imports(Listing):
    """Imports, as the versions of data sets show them: no Action lists imports themselves."""

    def request(self, marker: str | None) -> Action[Page]:
        return DescribeDatasets(max_keys=PAGE, marker=marker, page_reverse=True)

    def rows(self, page: Page, now: float) -> Described:
        found: Described = []
        for dataset in page.rows:
            shown = show(dataset, now)
            row = Row(
                id=dataset.dataset_id,
                group=dataset.dataset_id,
                name=shown.name,
                created=shown.started,
                is_pending=True,
            )
            found.append((row, None))
        return found

    async def details(
        self, reader: Reader, groups: Sequence[str], now: float
    ) -> tuple[Described, list[QianfanError]]:
        requests = [DescribeDatasetVersions(dataset_id=group, max_keys=PAGE) for group in groups]
        pages, problems = _apart(await reader.call_all(requests))
        found: Described = []
        for version in (version for page in pages for version in page.rows):
            row = await row_of(VersionImport.view(version), reader, now)
            row.group, row.detail = version.dataset_id, version.publish_status
            row.name = _joined(version.dataset_name, version.version_number and f"V{version.version_number}")
            row.model = version.sample_count and str(version.sample_count)
            found.append((row, version.description))
        return found, problems


LISTINGS: Mapping[str, Listing] = {
    "trainings": Trainings(),
    "models": Models(),
    "services": Services(),
    "batch-inferences": BatchInferences(),
    "imports": Imports(),
}


def plain_row(found: RemoteObject, now: float) -> Row:
    """Return the row of an object, without its page."""
    view = show(found, now)
    return Row(
        id=view.id,
        name=view.name,
        state=view.state,
        phase=view.phase,
        is_waiting=view.is_waiting,
        progress=view.progress,
        created=view.started,
        ended=view.ended,
    )


async def row_of(found: RemoteObject, reader: Reader, now: float) -> Row:
    """Return the row of an object, with its page in the console."""
    row = plain_row(found, now)
    row.url = await reader.link(found.console_url)
    return row


def _apart(answers: Sequence[Any]) -> tuple[list[Any], list[QianfanError]]:
    """Return answers and errors apart."""
    errors = [answer for answer in answers if isinstance(answer, QianfanError)]
    return [answer for answer in answers if not isinstance(answer, QianfanError)], errors


def _joined(*parts: Any) -> str | None:
    return " · ".join(str(part) for part in parts if part) or None


def _source(model: Model) -> str | None:
    """Return what a model version was made from, as far as its description says."""
    info = model.source_info if isinstance(model.source_info, dict) else {}
    meta = info.get("trainMeta")
    # What it holds beside the type is not documented: it may be what was sent, or flat.
    places = (meta if isinstance(meta, dict) else {}, info)
    found = [place.get("taskId") for place in places] + [info.get("sourceType")]
    return next((text for text in found if isinstance(text, str)), None)
