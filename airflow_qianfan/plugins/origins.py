"""Which DAG run has made an object at Qianfan: from its mark."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from airflow.models.dagrun import DagRun
from sqlalchemy import or_, select

from airflow_qianfan.compat import read_records
from airflow_qianfan.plugins.runs import TaskKey

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_TOLD = re.compile(r"^Airflow: (?P<dag>\S+) / (?P<run>.+?) / (?P<task>[\w.-]+)(?:\[(?P<index>\d+)\])? ")
_MARK = re.compile(r"\[airflow:([0-9a-f]{12})\]\s*$")


def find_origins(session: Session, descriptions: Mapping[str, str | None]) -> dict[str, TaskKey]:
    """Return which task has made each object, for those that a task of this Airflow has made.

    A description that the provider has written names the task; one of the user's own has only a mark, which
    Airflow's task state store leads back to its task. What is told is believed only where there is such a
    DAG run: another Airflow may use the same account.

    :param descriptions: by the id of the object.
    """
    told: dict[str, TaskKey] = {}
    marks: dict[str, str] = {}
    for object_id, description in descriptions.items():
        mark = _MARK.search(description or "")
        if mark is None:
            continue
        found = _TOLD.match(description or "")
        if found is None:
            marks[mark[1]] = object_id
        else:
            told[object_id] = TaskKey(found["dag"], found["run"], found["task"], int(found["index"] or -1))
    told |= _by_mark(session, marks)
    existing = _existing(session, {(key.dag_id, key.run_id) for key in told.values()})
    return {object_id: key for object_id, key in told.items() if (key.dag_id, key.run_id) in existing}


def _by_mark(session: Session, marks: Mapping[str, str]) -> dict[str, TaskKey]:
    found = {}
    for row in read_records(session) if marks else ():
        identity = _identity(row.value)
        if identity is not None and identity in marks:
            found[marks[identity]] = TaskKey(row.dag_id, row.run_id, row.task_id, row.map_index)
    return found


def _identity(value: str) -> str | None:
    try:
        record = json.loads(value)
    except ValueError:
        return None
    return record.get("identity") if isinstance(record, dict) else None


def _existing(session: Session, runs: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    if not runs:
        return set()
    wanted = [(DagRun.dag_id == dag_id) & (DagRun.run_id == run_id) for dag_id, run_id in runs]
    rows = session.execute(select(DagRun.dag_id, DagRun.run_id).where(or_(*wanted)))
    return {(dag_id, run_id) for dag_id, run_id in rows}
