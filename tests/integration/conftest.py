"""Runs tasks and DAGs in this process, through a real metadata database, against the emulator."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG
from example_dags import EXAMPLES
from sqlalchemy import select
from versions import DagSerialization, deserialize, read_dags, tell_exceptions

from airflow_qianfan.api.actions.finetuning import CreateFineTuningJob, CreateFineTuningTask
from airflow_qianfan.api.actions.model import CreateCustomModel, CreateCustomModelSet
from airflow_qianfan.compat import store_dag
from airflow_qianfan.emulator import QianfanEmulator
from airflow_qianfan.hooks.qianfan import QianfanHook

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

TASK = "it"
MAIN_JOB = {"test_docs.py", "test_sensors.py", "test_train_operator.py", "test_publish_operator.py"}
HOUR = 3600.0
DATASET = {"sourceType": "Platform", "versions": [{"versionId": "ds-0123456789abcdef"}]}
_numbers = itertools.count()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what together takes minutes: tests that run DAGs.

    All cases but the last of each are slow; the last is the deferrable one, where there are several modes.
    The last is `thorough`, unless it is about the main job.
    """
    running = [item for item in items if "run_dag" in getattr(item, "fixturenames", ())]
    last = set({item.nodeid.partition("[")[0]: item for item in running}.values())
    for item in running:
        if item not in last:
            item.add_marker(pytest.mark.slow)
        elif item.path.name not in MAIN_JOB:
            item.add_marker(pytest.mark.thorough)


@dataclass
class Run:
    """How one DAG run ended. ``errors`` and ``skips`` are what the tasks' callbacks were told."""

    state: str
    states: dict[str, str]
    tries: dict[str, int]
    xcoms: dict[str, dict[str, Any]]
    errors: list[BaseException] = field(default_factory=list)

    @property
    def value(self) -> Any:
        """The return value of the only task."""
        return self.xcoms.get(TASK, {}).get("return_value")

    @property
    def xcom(self) -> dict[str, Any]:
        """All XComs of the only task."""
        return self.xcoms.get(TASK, {})

    @property
    def error(self) -> BaseException:
        """The one error that ended the run."""
        (error,) = self.errors
        return error


@pytest.fixture(scope="session")
def _database() -> None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.utils.db import initdb

    initdb()
    DagBundlesManager().sync_bundles_to_db()


def _xcoms(dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    xcoms: dict[str, dict[str, Any]] = {}
    with create_session() as session:
        rows = select(XComModel).where(XComModel.dag_id == dag_id, XComModel.run_id == run_id)
        for row in session.scalars(rows):
            xcoms.setdefault(row.task_id, {})[row.key] = XComModel.deserialize_value(row)
    return xcoms


def _dag_of(operator: Any, params: dict[str, Any] | None, arguments: dict[str, Any]) -> DAG:
    with DAG(f"dag_{next(_numbers)}", schedule=None, params=params) as dag:
        operator(task_id=TASK, **arguments)
    return dag


@pytest.fixture
def run_dag(_database: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Run a DAG to its end, as ``airflow dags test`` does."""
    tell_exceptions(monkeypatch)

    def run(dag: Any, **kwargs: Any) -> Run:
        errors: list[BaseException] = []
        for task in dag.tasks:
            task.on_failure_callback = [lambda context: errors.append(context["exception"])]
        store_dag(dag, "dags-folder")
        ended = dag.test(**kwargs)
        tasks = ended.get_task_instances()
        return Run(
            state=str(ended.state),
            states={task.task_id: str(task.state) for task in tasks},
            tries={task.task_id: task.try_number for task in tasks},
            xcoms=_xcoms(dag.dag_id, ended.run_id),
            errors=errors,
        )

    return run


@pytest.fixture
def run_task(run_dag: Callable[..., Run]) -> Callable[..., Run]:
    """Run one operator or sensor in a DAG of its own."""

    def run(operator: Any, *, params: dict[str, Any] | None = None, **arguments: Any) -> Run:
        return run_dag(_dag_of(operator, params, arguments))

    return run


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example DAGs, whose tasks poll often."""
    monkeypatch.setenv("AIRFLOW__QIANFAN__POLL_INTERVAL", "0.1")
    return read_dags(EXAMPLES)


@dataclass
class Deferral:
    """What Airflow stores of a task that waits in the triggerer."""

    trigger: str
    arguments: dict[str, Any]
    timeout: timedelta | None
    xcom: dict[str, Any]

    def make_trigger(self) -> BaseTrigger:
        """Return the trigger as each start of a triggerer makes it."""
        trigger: BaseTrigger = resolve_name(self.trigger)(**deserialize(self.arguments))
        return trigger


@pytest.fixture
def defer_task(_database: None) -> Callable[..., Deferral]:
    """Run one operator or sensor until it defers itself."""
    from airflow.sdk.api.datamodels._generated import TaskInstance
    from airflow.sdk.execution_time.supervisor import run_task_in_process
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    def run(operator: Any, **arguments: Any) -> Deferral:
        dag = _dag_of(operator, None, arguments)
        store_dag(dag, "dags-folder")
        now = datetime.now(UTC)
        dag_run = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag)).create_dagrun(
            run_id="manual",
            logical_date=now,
            data_interval=(now, now),
            run_after=now,
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST,
            state="running",
        )
        (task,) = dag_run.get_task_instances()
        task.set_state("queued")
        names = ("id", "task_id", "dag_id", "run_id", "try_number", "map_index", "dag_version_id")
        values = {name: getattr(task, name) for name in names}
        result = run_task_in_process(ti=TaskInstance(**values), task=dag.task_dict[TASK])
        assert result.state == "deferred", result.error
        message: Any = result.msg
        return Deferral(
            trigger=message.classpath,
            arguments=message.trigger_kwargs,
            timeout=message.trigger_timeout,
            xcom=_xcoms(dag.dag_id, "manual")[TASK],
        )

    return run


@pytest.fixture(scope="session")
def _emulator() -> Iterator[QianfanEmulator]:
    with QianfanEmulator(task_seconds=HOUR, model_seconds=HOUR) as emulator:
        yield emulator


@pytest.fixture
def emulator(_emulator: QianfanEmulator, monkeypatch: pytest.MonkeyPatch) -> QianfanEmulator:
    """An emulator whose trainings and models take an hour unless a test moves its clock."""
    _emulator.reset()
    connect(monkeypatch, _emulator)
    return _emulator


@pytest.fixture
def start_emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., QianfanEmulator]]:
    """Start an emulator of another kind and point the default connection at it."""
    with ExitStack() as stack:

        def start(**arguments: Any) -> QianfanEmulator:
            emulator = stack.enter_context(QianfanEmulator(**{"task_seconds": HOUR, **arguments}))
            connect(monkeypatch, emulator)
            return emulator

        yield start


def connect(monkeypatch: pytest.MonkeyPatch, emulator: QianfanEmulator, **extra: Any) -> None:
    connection = json.loads(emulator.connection_json)
    connection["extra"] = connection.get("extra", {}) | extra
    monkeypatch.setenv("AIRFLOW_CONN_QIANFAN_DEFAULT", json.dumps(connection))


@pytest.fixture
def reconnect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Change the extra of the default connection."""
    return functools.partial(connect, monkeypatch)


class Service:
    """Makes what a test needs to be there."""

    def job(self, name: str = "nightly", **more: Any) -> str:
        members = {"name": name, "model": "ERNIE-Speed-8K", "train_mode": "SFT", **more}
        return QianfanHook().call(CreateFineTuningJob(**members)).job_id

    def task(self, name: str = "nightly", job_id: str | None = None) -> str:
        request = CreateFineTuningTask(
            job_id=job_id or self.job(name), hyper_parameter_config={}, dataset_config=DATASET
        )
        return QianfanHook().call(request).task_id

    def model_set(self, name: str = "bot") -> str:
        return (
            QianfanHook().call(CreateCustomModelSet(model_set_name=name, model_type="Text2Text")).model_set_id
        )

    def model(self, name: str = "bot", model_set_id: str | None = None) -> str:
        files = {
            "bucket": "b",
            "objectPath": "p",
            "modelFormat": "Safetensors",
            "modelApplicationType": "chat",
        }
        request = CreateCustomModel(
            model_set_id=model_set_id or self.model_set(name), source_type="Import", import_meta=files
        )
        return QianfanHook().call(request).model_id


@pytest.fixture
def service() -> Service:
    return Service()
