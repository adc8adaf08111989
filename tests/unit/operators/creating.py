"""Runs of a task that creates something, and what a test needs at the service for that."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.bases.operator import ExecutorSafeguard
from in_process import HOUR, InProcessEmulator

from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.operators.compute_unit import QianfanPurchaseComputeUnitOperator
from airflow_qianfan.operators.finetuning import (
    QianfanCreateFineTuningJobOperator,
    QianfanCreateFineTuningTaskOperator,
    QianfanFineTuningOperator,
)
from airflow_qianfan.operators.model import (
    QianfanCreateCustomModelOperator,
    QianfanCreateCustomModelSetOperator,
    QianfanCreateModelCompTaskOperator,
    QianfanCreateModelExportTaskOperator,
)
from airflow_qianfan.operators.service import QianfanCreateServiceOperator

FT, MD, SV = "/v2/finetuning", "/v2/model", "/v2/service"
DATASET = {"sourceType": "Platform", "versions": [{"versionId": "ds-0123456789abcdef"}]}
FILES = {"bucket": "b", "objectPath": "p", "modelFormat": "Safetensors", "modelApplicationType": "chat"}
JOB = {"model": "ERNIE-Speed-8K", "train_mode": "SFT"}
TRAINING = {"hyper_parameter_config": {}, "dataset_config": DATASET}
BATCH = {"model_id": "amv-1", "input_bos_uri": "bos:/b/in", "output_bos_uri": "bos:/b/out"}
EVALUATION = {
    "eval_object_config": {
        "evalModelConfig": {"versionId": "ds-1", "evalModelConfigList": [{"modelId": "amv-1"}]}
    },
    "eval_config": {"evalMode": "rule"},
}

SERVICE = {"resource_config": {"type": "GPU-1-1"}, "billing": {"paymentTiming": "Postpaid"}}
UNIT = {
    "compute_unit_count": 4,
    "compute_unit_config": {"region": "bj", "type": "gpu-1"},
    "billing": {"paymentTiming": "Postpaid"},
}

TASK_LOG = logging.getLogger("the log of the task")


class Store:
    """Airflow's task state store. ``broken`` lets that call of ``set`` fail, counted from 1."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.broken: int | None = None
        self.on_set: Callable[[], None] = lambda: None

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self.on_set()
        if self.broken is not None:
            self.broken -= 1
            if self.broken == 0:
                raise ConnectionError("the API server of Airflow is away")
        self.values[key] = json.dumps(value)


def call(route: str, action: str, **body: Any) -> Any:
    return QianfanHook().call_action(route, action, body, repeatable=True).get("result")


def new_job(name: str = "mine") -> str:
    body = {"name": name, "model": "ERNIE-Speed-8K", "trainMode": "SFT"}
    return str(call(FT, "CreateFineTuningJob", **body)["jobId"])


def new_task(job_id: str) -> str:
    body = {"jobId": job_id, "hyperParameterConfig": {}, "datasetConfig": DATASET}
    return str(call(FT, "CreateFineTuningTask", **body)["taskId"])


def new_model_set(name: str = "mine") -> str:
    return str(call(MD, "CreateCustomModelSet", modelSetName=name, modelType="Text2Text"))


def new_model(model_set_id: str, **more: Any) -> str:
    body = {"modelSetId": model_set_id, "sourceType": "Import", "importMeta": FILES, **more}
    return str(call(MD, "CreateCustomModel", **body)["modelId"])


def new_version() -> dict[str, str]:
    """A version that can be deployed."""
    model_set_id = new_model_set()
    return {"model_set_id": model_set_id, "model_id": new_model(model_set_id)}


def ready_model() -> str:
    model_id = new_model(new_model_set("of a source"))
    time.sleep(HOUR)
    return model_id


@dataclass(frozen=True)
class Kind:
    """A kind of object: its operator, how it is created and deleted, and what it needs to be there."""

    operator: type[Any]
    arguments: dict[str, Any]
    create: str
    id: str
    key: str
    remove: tuple[str, str, str]
    needs: tuple[str, Callable[[], str | dict[str, str]]] | None = None


KINDS = {
    "job": Kind(
        QianfanCreateFineTuningJobOperator,
        JOB,
        "CreateFineTuningJob",
        "fine_tuning_job_id",
        "qianfan_job",
        (FT, "DeleteFineTuningJob", "jobId"),
    ),
    "task": Kind(
        QianfanCreateFineTuningTaskOperator,
        # The tests count lists of jobs.
        {**TRAINING, "validate": "off"},
        "CreateFineTuningTask",
        "fine_tuning_task_id",
        "qianfan_task",
        (FT, "DeleteFineTuningTask", "taskId"),
        ("fine_tuning_job_id", new_job),
    ),
    "set": Kind(
        QianfanCreateCustomModelSetOperator,
        {},
        "CreateCustomModelSet",
        "model_set_id",
        "qianfan_model_set",
        (MD, "DeleteModelSet", "modelSetId"),
    ),
    "model": Kind(
        QianfanCreateCustomModelOperator,
        {"import_meta": FILES},
        "CreateCustomModel",
        "model_id",
        "qianfan_model",
        (MD, "DeleteModel", "modelId"),
        ("model_set_id", new_model_set),
    ),
    "service": Kind(
        QianfanCreateServiceOperator,
        SERVICE,
        "CreateService",
        "service_id",
        "qianfan_service",
        (SV, "DeactivateService", "serviceId"),
        ("model_id", new_version),
    ),
    "compression": Kind(
        QianfanCreateModelCompTaskOperator,
        {"config": {"strategy": "Sparsity"}},
        "CreateModelCompTask",
        "model_comp_task_id",
        "qianfan_model_comp_task",
        (MD, "DeleteModelCompTask", "modelCompTaskId"),
        ("source_model_id", ready_model),
    ),
}
PURCHASE = Kind(
    QianfanPurchaseComputeUnitOperator,
    UNIT,
    "PurchaseComputeUnit",
    "compute_unit_id",
    "qianfan_compute_unit",
    ("/v2/computeunit", "ReleaseComputeUnit", "instanceId"),
)
WHOLE_TRAINING = Kind(
    QianfanFineTuningOperator,
    {**JOB, **TRAINING, "wait_for_completion": False},
    "CreateFineTuningTask",
    "fine_tuning_task_id",
    "qianfan_task",
    KINDS["task"].remove,
)


EXPORT = Kind(
    QianfanCreateModelExportTaskOperator,
    {},
    "CreateModelExportTask",
    "export_id",
    "qianfan_model_export",
    (MD, "DeleteModel", "modelId"),
    ("model_id", ready_model),
)
"""An export has an id of its own, but is read by that of its version: what is remembered is the latter."""


class Work:
    """One run of a task that creates something, in as many attempts as a test wants."""

    def __init__(self, emulator: InProcessEmulator, kind: Kind) -> None:
        self.emulator = emulator
        self.kind = kind
        self.store: Store | None = Store()
        self.arguments = dict(kind.arguments)
        if kind.needs is not None:
            name, make = kind.needs
            made = make()
            self.arguments |= made if isinstance(made, dict) else {name: made}
            if isinstance(made, dict):
                # Only a version that is ready can be deployed.
                emulator.advance(HOUR)
            if name == "source_model_id":
                source = call(MD, "DescribeModel", modelId=made)
                self.arguments["model_set_id"] = source["modelSetId"]
        self.before = len(self.created())
        self.xcoms: dict[str, Any] = {}

    def operator(self, **more: Any) -> Any:
        operator = self.kind.operator(task_id="it", **{**self.arguments, **more})
        operator._cached_logger = TASK_LOG
        return operator

    def context(self, number: int = 1, *, generation: int = 3) -> dict[str, Any]:
        ti = SimpleNamespace(
            dag_id="nightly",
            run_id="manual__1",
            task_id="it",
            map_index=-1,
            try_number=number,
            max_tries=generation,
            xcom_push=lambda key, value: self.xcoms.__setitem__(key, value),
            xcom_pull=lambda *, task_ids, key, map_indexes: self.xcoms.get(key),
        )
        return {"ti": ti} if self.store is None else {"ti": ti, "task_state_store": self.store}

    def run(self, number: int = 1, *, generation: int = 3, operator: Any = None, **more: Any) -> Any:
        """The return value of an attempt."""
        operator = operator or self.operator(**more)
        self.xcoms.clear()
        token = ExecutorSafeguard.tracker.set(operator)
        try:
            return operator.execute(self.context(number, generation=generation))
        finally:
            ExecutorSafeguard.tracker.reset(token)

    def attempt(self, number: int = 1, **more: Any) -> str:
        """The id that an attempt returns."""
        return str(self.run(number, **more)[self.kind.id])

    def created(self) -> list[str]:
        """The ids of all objects of this kind that were ever created."""
        ids = {
            "job": "jobId",
            "task": "taskId",
            "model": "modelId",
            "model_set": "modelSetId",
            "service": "serviceId",
            "compute_unit": "instanceId",
            "model_comp_task": "modelCompTaskId",
            "model_export": "exportId",
        }
        member = ids[self.kind.key.removeprefix("qianfan_")]
        return [
            entry["ids"][member]
            for entry in self.emulator.journal
            if entry["action"] == self.kind.create and entry["effect"]
        ]

    def ours(self) -> list[str]:
        return self.created()[self.before :]

    def sent(self) -> int:
        return sum(entry["action"] == self.kind.create for entry in self.emulator.journal) - self.before

    def calls(self, action: str) -> int:
        return sum(entry["action"] == action for entry in self.emulator.journal)

    def lose_answer(self) -> None:
        """Let an attempt create, and forget the id before it is stored."""
        assert self.store is not None
        self.store.broken = 2
        with pytest.raises(ConnectionError):
            self.attempt()
        assert len(self.ours()) == 1

    def remove(self, object_id: str) -> None:
        route, action, member = self.kind.remove
        call(route, action, **{member: object_id})


LOST = {
    "answer lost": {"kind": "lost_answer"},
    "5xx before the effect": {"kind": "server_error"},
    "5xx after the effect": {"kind": "server_error", "status": 502, "effect": True},
    "time-out": {"kind": "timeout", "seconds": 60.0},
    "reset": {"kind": "reset"},
    "malformed before the effect": {"kind": "malformed"},
    "malformed after the effect": {"kind": "malformed", "effect": True},
    "numeric error": {"kind": "numeric"},
    "numeric error after the effect": {"kind": "numeric", "effect": True},
    "redirect after the effect": {"kind": "redirect", "effect": True},
    "throttled": {"kind": "throttle"},
}
"""What may become of a Create, as faults of the emulator."""
