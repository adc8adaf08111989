"""What Airflow knows about tasks of ours: their state, arguments and XComs. Everything here only reads."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import Text, and_, case, cast, or_, select

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

KINDS = {
    "eval_result_export_task_id": "evaluation.EvalResultExportTask",
    "eval_task_id": "evaluation.EvalTask",
    "batch_inference_task_id": "batch_inference.BatchInferenceTask",
    "model_comp_task_id": "model.ModelCompTask",
    "import_task_id": "dataset.ImportTask",
    "export_task_id": "dataset.ExportTask",
    "service_id": "service.Service",
    "compute_unit_id": "service.ComputeUnit",
    "model_id": "model.Model",
    "fine_tuning_task_id": "finetuning.FineTuningTask",
    "dataset_version_id": "dataset.DatasetVersion",
    "fine_tuning_job_id": "finetuning.FineTuningJob",
    "model_set_id": "model.ModelSet",
    "dataset_id": "dataset.Dataset",
}
"""The names of ids, and what each is the id of. A task that has several is about the first of them."""

TRAINING = "fine_tuning_task_id"
RESULT = "return_value"
MAX_TASKS = 100
"""Tasks of a DAG run that are shown at most; a mapped task may have thousands."""


@dataclass(frozen=True)
class TaskKey:
    """Which task instance.

    :param map_index: -1 where the task is not mapped.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1


@dataclass(frozen=True)
class Task:
    """A task instance.

    :param arguments: its arguments as they were rendered; empty before it has begun.
    :param xcoms: its ids, and its return value where that was asked for.
    """

    key: TaskKey
    state: str | None
    operator: str
    queued: float | None
    started: float | None
    ended: float | None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    xcoms: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Whether it runs an operator or sensor of this provider, or of a class derived from one."""
        return "qianfan_conn_id" in self.arguments or self.operator.startswith("Qianfan")

    @property
    def connection_id(self) -> str | None:
        """The connection that it uses; None before it has begun."""
        found = self.arguments.get("qianfan_conn_id")
        return found if isinstance(found, str) else None

    @property
    def ids(self) -> dict[str, str]:
        """All ids that it was given or has made."""
        both = {**self.arguments, **self.xcoms}
        return {name: both[name] for name in KINDS if _is_id(both.get(name))}

    @property
    def subject(self) -> tuple[str, str] | None:
        """What it is about, as name and value of an id: what it has made, else what it was given."""
        made = {
            name for name in KINDS if _is_id(self.xcoms.get(name)) and not _is_id(self.arguments.get(name))
        }
        ids = self.ids
        return next(((name, ids[name]) for name in KINDS if name in (made or ids)), None)

    @property
    def result(self) -> Mapping[str, Any]:
        """Its return value; empty where that is no object."""
        found = self.xcoms.get(RESULT)
        return found if isinstance(found, dict) else {}


def read_task(session: Session, key: TaskKey) -> Task | None:
    """Return a task instance; None where there is none."""
    rows = session.scalars(
        select(TaskInstance).where(
            TaskInstance.dag_id == key.dag_id,
            TaskInstance.run_id == key.run_id,
            TaskInstance.task_id == key.task_id,
            TaskInstance.map_index == key.map_index,
        )
    )
    return next(iter(_with_values(session, list(rows), [*KINDS, RESULT])), None)


def read_run(session: Session, key: TaskKey) -> list[Task]:
    """Return the tasks of ours in the run of a task, that one included, in the order in which they began.

    Where there are too many, it is those of the same mapped instance and those that are not mapped.
    """
    ti = TaskInstance
    nearness = case(
        (and_(ti.task_id == key.task_id, ti.map_index == key.map_index), 0),
        (ti.map_index.in_([-1, key.map_index]), 1),
        else_=2,
    )
    rows = session.scalars(
        select(ti)
        .where(ti.dag_id == key.dag_id, ti.run_id == key.run_id, _may_be_ours())
        .order_by(nearness, ti.start_date.is_(None), ti.start_date, ti.task_id, ti.map_index)
        .limit(MAX_TASKS)
    )
    found = [task for task in _with_values(session, list(rows), [*KINDS]) if task.is_ours]
    return sorted(found, key=_begun)


def read_earlier(session: Session, key: TaskKey, before: float | None, count: int) -> list[Task]:
    """Return the last successful runs of the same task, the newest first.

    :param before: only those that began earlier than this, in seconds since the epoch.
    :param count: how many at most.
    """
    statement = select(TaskInstance).where(
        TaskInstance.dag_id == key.dag_id,
        TaskInstance.task_id == key.task_id,
        TaskInstance.map_index == key.map_index,
        TaskInstance.run_id != key.run_id,
        TaskInstance.state == "success",
    )
    if before is not None:
        moment = datetime.fromtimestamp(before).astimezone()
        statement = statement.where(TaskInstance.start_date < moment)
    rows = session.scalars(statement.order_by(TaskInstance.start_date.desc()).limit(count))
    return _with_values(session, list(rows), [*KINDS, RESULT])


def read_arguments(session: Session, trainings: Mapping[str, TaskKey]) -> list[Task]:
    """Return the tasks that have begun or awaited trainings, in the order in which they began.

    :param trainings: by the id of each, a task of the DAG run in which it was begun.
    """
    ti, xcom = TaskInstance, XComModel
    wanted = [
        select(xcom.key)
        .where(*_same_task(xcom), xcom.key == TRAINING, cast(xcom.value, Text).contains(one, autoescape=True))
        .where(ti.dag_id == key.dag_id, ti.run_id == key.run_id)
        .exists()
        for one, key in trainings.items()
    ]
    if not wanted:
        return []
    statement = select(ti).where(or_(*wanted)).order_by(ti.start_date, ti.task_id, ti.map_index)
    rows = session.scalars(statement.limit(MAX_TASKS * len(wanted)))
    return [task for task in _with_values(session, list(rows), [*KINDS]) if task.is_ours]


def read_object(value: Any) -> dict[str, Any]:
    """Return an argument that is an object, also one that was given as JSON; empty for anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


def _may_be_ours() -> ColumnElement[bool]:
    """Return the condition that leaves out tasks that are not ours; :attr:`Task.is_ours` is exact."""
    fields = RenderedTaskInstanceFields
    named = cast(fields.rendered_fields, Text).contains('"qianfan_conn_id"', autoescape=True)
    is_derived = select(fields.task_id).where(*_same_task(fields), named).exists()
    return or_(TaskInstance.operator.startswith("Qianfan"), is_derived)


def _same_task(table: Any) -> list[ColumnElement[bool]]:
    names = ("dag_id", "run_id", "task_id", "map_index")
    return [getattr(table, name) == getattr(TaskInstance, name) for name in names]


def _begun(task: Task) -> tuple[bool, float, str, int]:
    return task.started is None, task.started or 0.0, task.key.task_id, task.key.map_index


def _with_values(session: Session, found: Sequence[TaskInstance], names: list[str]) -> list[Task]:
    """Return task instances with their arguments and XComs, in the same order."""
    runs = {(ti.dag_id, ti.run_id) for ti in found}
    task_ids = {ti.task_id for ti in found}
    # A mapped task may have thousands of instances.
    indexes = {ti.map_index for ti in found}
    arguments: dict[TaskKey, dict[str, Any]] = {}
    xcoms: dict[TaskKey, dict[str, Any]] = {}
    for dag_id, run_id in runs:
        fields, xcom = RenderedTaskInstanceFields, XComModel
        for row in session.scalars(select(fields).where(*_in(fields, dag_id, run_id, task_ids, indexes))):
            arguments[_key_of(row)] = row.rendered_fields or {}
        of_run = _in(xcom, dag_id, run_id, task_ids, indexes)
        for value in session.scalars(select(xcom).where(*of_run, xcom.key.in_(names))):
            xcoms.setdefault(_key_of(value), {})[value.key] = XComModel.deserialize_value(value)
    return [_task(ti, arguments.get(_key_of(ti), {}), xcoms.get(_key_of(ti), {})) for ti in found]


def _in(
    table: Any, dag_id: str, run_id: str, task_ids: Collection[str], indexes: Collection[int]
) -> list[ColumnElement[bool]]:
    of_run = [table.dag_id == dag_id, table.run_id == run_id]
    return [*of_run, table.task_id.in_(task_ids), table.map_index.in_(indexes)]


def _task(ti: TaskInstance, arguments: dict[str, Any], xcoms: dict[str, Any]) -> Task:
    dates = (ti.queued_dttm, ti.start_date, ti.end_date)
    queued, started, ended = (None if date is None else date.timestamp() for date in dates)
    return Task(_key_of(ti), ti.state, ti.operator or "", queued, started, ended, arguments, xcoms)


def _key_of(row: Any) -> TaskKey:
    return TaskKey(row.dag_id, row.run_id, row.task_id, row.map_index)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and value != "None"
