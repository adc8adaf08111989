"""What the soak test does beside trainings: data sets, batch inferences, evaluations and services."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, ClassVar

from attempts import TaskRun

from airflow_qianfan.api.actions.batch_inference import BatchInferenceTask, DescribeBatchInferenceTasks
from airflow_qianfan.api.actions.dataset import (
    CreateDataset,
    Dataset,
    DatasetVersion,
    DescribeDatasets,
    DescribeDatasetVersions,
)
from airflow_qianfan.api.actions.evaluation import DescribeEvalTasks, EvalTask
from airflow_qianfan.api.actions.model import CreateCustomModel, CreateCustomModelSet, DescribeModel
from airflow_qianfan.api.actions.service import DescribeServices, Service
from airflow_qianfan.api.objects import RemoteObject
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.operators.batch_inference import QianfanBatchInferenceOperator
from airflow_qianfan.operators.evaluation import QianfanEvaluationOperator
from airflow_qianfan.operators.prepare_dataset import QianfanDatasetOperator
from airflow_qianfan.operators.service import QianfanDeactivateServiceOperator, QianfanServiceOperator
from local_stack.ledger import begun
from local_stack.waiting import wait_for

FILES = {"bucket": "b", "objectPath": "p", "modelFormat": "Safetensors", "modelApplicationType": "chat"}
RESOURCES = {
    "resource_config": {"region": "bj", "type": "GPU-1-1", "qps": 5},
    "billing": {"paymentTiming": "Postpaid", "chargeType": "ComputingUnit"},
}


@dataclass(frozen=True)
class Account:
    """What is there before anything goes wrong."""

    dataset_id: str
    model_set_id: str
    model_ids: tuple[str, str]

    @classmethod
    def prepare(cls) -> Account:
        """Make a data set, and two model versions that are Ready."""
        hook = QianfanHook()
        dataset = hook.call(
            CreateDataset(dataset_name="shared", data_format="PromptResponse", storage_type="sysStorage")
        )
        set_id = hook.call(CreateCustomModelSet(model_set_name="served", model_type="Text2Text")).model_set_id
        order = CreateCustomModel(model_set_id=set_id, source_type="Import", import_meta=FILES)
        first, second = (hook.call(order).model_id for _ in range(2))
        for model_id in (first, second):
            request = DescribeModel(model_id=model_id)
            wait_for(lambda: hook.call(request).status_text == "Ready", what=f"{model_id} is Ready")  # noqa: B023
        return cls(dataset.dataset_id, set_id, (first, second))


@dataclass
class Work:
    """One run of a DAG that does something else than train."""

    number: int
    deployment: str
    account: Account
    start: Callable[..., TaskRun] = field(repr=False)
    task_runs: list[TaskRun] = field(default_factory=list, repr=False)
    status: ClassVar[str]

    @property
    def _waiting(self) -> dict[str, Any]:
        return {"deferrable": self.number % 3 > 0, "poll_interval": 1.0}

    async def _step(self, task_id: str, make: Callable[[], Any], workers: Executor) -> Any:
        """Run a task, and return its result; None where it failed."""
        run = self.start(self.number, task_id, make)
        self.task_runs.append(run)
        await run.run(workers)
        return run.value if run.error is None else None

    async def run(self, workers: Executor) -> None:
        """Run all of its tasks, as far as they succeed."""
        raise NotImplementedError

    @property
    def created(self) -> tuple[type[RemoteObject], str | None]:
        """What its first task has created, and the id that this task has returned."""
        raise NotImplementedError

    @property
    def expected(self) -> list[tuple[str, str | None]]:
        """Actions and ids that the journal is to hold, each once."""
        raise NotImplementedError

    @property
    def value(self) -> dict[str, Any]:
        """The result of its first task."""
        return self.task_runs[0].value or {}


class DatasetWork(Work):
    """Prepares a data set of its own, or a version of one that both deployments share."""

    status = "Published"

    @property
    def _is_shared(self) -> bool:
        return self.number % 4 == 0

    async def run(self, workers: Executor) -> None:
        given = (
            {"dataset_id": self.account.dataset_id} if self._is_shared else {"data_format": "PromptResponse"}
        )

        def make() -> QianfanDatasetOperator:
            return QianfanDatasetOperator(
                task_id="prepare", files="bos:/bucket/faq.jsonl", **given, **self._waiting
            )

        await self._step("prepare", make, workers)

    @property
    def created(self) -> tuple[type[RemoteObject], str | None]:
        if self._is_shared:
            return DatasetVersion, self.value.get("dataset_version_id")
        return Dataset, self.value.get("dataset_id")

    @property
    def expected(self) -> list[tuple[str, str | None]]:
        kind, object_id = self.created
        version_id = self.value.get("dataset_version_id")
        return [
            ("CreateDataset" if kind is Dataset else "CreateDatasetVersion", object_id),
            ("CreateImportTask", version_id),
            ("PublishDatasetVersion", version_id),
        ]


class BatchInferenceWork(Work):
    """Answers prompts; so many do at a time that the quota is full now and then."""

    status = "Done"

    async def run(self, workers: Executor) -> None:
        def make() -> QianfanBatchInferenceOperator:
            return QianfanBatchInferenceOperator(
                task_id="answer",
                model_id=self.account.model_ids[0],
                input_bos_uri="bos:/bucket/in",
                output_bos_uri="bos:/bucket/out",
                **self._waiting,
            )

        await self._step("answer", make, workers)

    @property
    def created(self) -> tuple[type[RemoteObject], str | None]:
        return BatchInferenceTask, self.value.get("batch_inference_task_id")

    @property
    def expected(self) -> list[tuple[str, str | None]]:
        return [("CreateBatchInferenceTask", self.created[1])]


class EvaluationWork(Work):
    """Evaluates a model version."""

    status = "Successed"

    async def run(self, workers: Executor) -> None:
        evaluated = {"versionId": "ds-1", "evalModelConfigList": [{"modelId": self.account.model_ids[0]}]}

        def make() -> QianfanEvaluationOperator:
            return QianfanEvaluationOperator(
                task_id="evaluate",
                eval_object_config={"evalModelConfig": evaluated},
                eval_config={"evalMode": "rule"},
                **self._waiting,
            )

        await self._step("evaluate", make, workers)

    @property
    def created(self) -> tuple[type[RemoteObject], str | None]:
        return EvalTask, self.value.get("eval_task_id")

    @property
    def expected(self) -> list[tuple[str, str | None]]:
        return [("CreateEvalTask", self.created[1])]


class ServiceWork(Work):
    """Deploys a version, puts another behind the same service, and takes it off line."""

    status = "Serving"

    async def run(self, workers: Executor) -> None:
        first, second = self.account.model_ids

        def deploy(model_id: str, **more: Any) -> Callable[[], QianfanServiceOperator]:
            return lambda: QianfanServiceOperator(
                task_id="deploy",
                model_set_id=self.account.model_set_id,
                model_id=model_id,
                **self._waiting,
                **more,
            )

        if not (made := await self._step("deploy", deploy(first, **RESOURCES), workers)):
            return
        service_id = made["service_id"]
        updated = await self._step("update", deploy(second, service_id=service_id), workers)
        if updated and updated["model_id"] == second and updated["previous_model_id"] == first:
            await self._step(
                "deactivate",
                lambda: QianfanDeactivateServiceOperator(
                    task_id="deactivate", service_id=service_id, poll_interval=1.0
                ),
                workers,
            )

    @property
    def created(self) -> tuple[type[RemoteObject], str | None]:
        return Service, self.value.get("service_id")

    @property
    def expected(self) -> list[tuple[str, str | None]]:
        actions = ("CreateService", "ModifyService", "DeactivateService")
        return [(action, self.created[1]) for action in actions]


#: Which of every twenty DAG runs does not train.
WORKS: dict[int, type[Work]] = {
    2: DatasetWork,
    12: DatasetWork,
    5: BatchInferenceWork,
    15: BatchInferenceWork,
    8: EvaluationWork,
    18: ServiceWork,
}


def judge(works: list[Work], journal: list[dict[str, Any]], account: Account) -> dict[str, list[Any]]:
    """Return what is wrong with the works, by the journal of the service and what its lists show."""
    expected = Counter(pair for work in works for pair in work.expected)
    done = begun(journal)
    owned = _owned(account)
    wrong: dict[str, list[Any]] = {
        "works failed": [],
        "works misreported": [],
        "works of others": [],
        "works lost": list((expected - done).elements()),
        "works doubled or leaked": list((done - expected).elements()),
    }
    for work in works:
        wrong["works failed"] += [(work, run.task_id, run.error) for run in work.task_runs if run.error]
        kind, object_id = work.created
        if work.value.get("status") != work.status:
            wrong["works misreported"].append((work, work.value))
        store = work.task_runs[0].store
        assert store is not None
        identity = store.get(kind.record_key, {}).get("identity", "nobody")
        if identity not in owned.get(object_id or "", ""):
            wrong["works of others"].append((work, object_id))
    return wrong


def _owned(account: Account) -> dict[str, str]:
    """Return, by the id of each object, what shows whose it is: its name and its description."""
    hook = QianfanHook()
    lists: list[Iterable[Any]] = [
        hook.iterate(DescribeDatasets(max_keys=100)),
        hook.iterate(DescribeDatasetVersions(dataset_id=account.dataset_id, max_keys=100)),
        hook.iterate(DescribeBatchInferenceTasks(max_keys=100)),
        hook.iterate(DescribeEvalTasks(eval_type="auto", max_keys=100)),
        hook.iterate(DescribeServices(protocol_version=2, max_keys=100)),
    ]
    return {
        row.object_id: f"{getattr(row, row.name_member, '')} {getattr(row, 'description', '')}"
        for rows in lists
        for row in rows
    }
