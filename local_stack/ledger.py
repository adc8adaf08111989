"""What a Qianfan emulator has done, and who asked for it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_qianfan.api.actions.finetuning import DescribeFineTuningJobs, DescribeFineTuningTask
from airflow_qianfan.api.actions.model import DescribeModel
from airflow_qianfan.exceptions import QianfanNotFoundError
from local_stack.qianfan import LocalQianfan

_SOURCE = re.compile(r"Airflow: (\S+) / (\S+) / (\w+)(?:\[(\d+)\])? \[airflow:\w{12}\]")


#: What begins something beside trainings and versions of models, and which id of its journal entry tells for
#: what. Of each id it may happen once.
BEGINS = {
    "CreateDataset": "datasetId",
    "CreateDatasetVersion": "versionId",
    "CreateImportTask": "versionId",
    "PublishDatasetVersion": "versionId",
    "CreateBatchInferenceTask": "taskId",
    "CreateEvalTask": "taskId",
    "CreateService": "serviceId",
    "ModifyService": "serviceId",
    "DeactivateService": "serviceId",
    "CreateModelCompTask": "modelCompTaskId",
    "CreateModelExportTask": "modelId",
}


def begun(journal: Iterable[Mapping[str, Any]]) -> Counter[tuple[str, str]]:
    """Return how often each Action of ``BEGINS`` took effect for each id."""
    return Counter(
        (entry["action"], entry["ids"][BEGINS[entry["action"]]])
        for entry in journal
        if entry["effect"] and entry["action"] in BEGINS
    )


@dataclass(frozen=True)
class Source:
    """Which task of which DAG run created something, as its description says."""

    dag_id: str
    run_id: str
    map_index: int | None


@dataclass
class Ledger:
    """What one Qianfan has done, by who asked for it. Only what took effect counts."""

    jobs: dict[Source, list[str]] = field(default_factory=lambda: defaultdict(list))
    trainings: dict[Source, list[str]] = field(default_factory=lambda: defaultdict(list))
    versions: dict[Source, list[str]] = field(default_factory=lambda: defaultdict(list))
    #: Versions that were made and deleted again, as an attempt does that finds another's beside its own. They
    #: are told by the training that was published.
    undone: dict[Source, list[str]] = field(default_factory=lambda: defaultdict(list))
    #: ``runStatus`` of each training.
    status: dict[str, str] = field(default_factory=dict)

    def of(self, kind: str, dag_id: str, run_id: str) -> list[str]:
        """Return the ``jobs``, ``trainings``, ``versions`` or ``undone`` versions of a DAG run."""
        created = getattr(self, kind)
        return [one for source in created if (source.dag_id, source.run_id) == (dag_id, run_id)
                for one in created[source]]  # fmt: skip


def read_ledger(qianfan: LocalQianfan) -> Ledger:
    """Read a Qianfan's journal, and find out through its API who is behind each entry."""
    ledger = Ledger()
    sources: dict[str, Source] = {}
    trained_by: dict[str, Source] = {}
    effective = [entry for entry in qianfan.journal() if entry["effect"]]
    with qianfan.client() as client:
        for job in client.iterate(DescribeFineTuningJobs(max_keys=100)):
            sources[job.job_id] = _source(job.description)
        for entry in effective:
            ids = entry["ids"]
            match entry["action"]:
                case "CreateFineTuningJob":
                    ledger.jobs[sources[ids["jobId"]]].append(ids["jobId"])
                case "CreateFineTuningTask":
                    trained_by[ids["taskId"]] = sources[ids["jobId"]]
                    ledger.trainings[sources[ids["jobId"]]].append(ids["taskId"])
                    seen = client.call(DescribeFineTuningTask(task_id=ids["taskId"]))
                    ledger.status[ids["taskId"]] = seen.run_status or ""
                case "CreateCustomModel":
                    try:
                        model = client.call(DescribeModel(model_id=ids["modelId"]))
                    except QianfanNotFoundError:
                        ledger.undone[trained_by[ids["taskId"]]].append(ids["modelId"])
                    else:
                        ledger.versions[_source(model.description)].append(ids["modelId"])
    return ledger


def _source(description: str | None) -> Source:
    match = _SOURCE.fullmatch(description or "")
    assert match, f"nobody knows who created this: {description!r}"
    return Source(match[1], match[2], None if match[4] is None else int(match[4]))
