"""Follow one DAG run through Airflow's REST API until it has finished."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local_stack.airflow_api import FINISHED, AirflowApi

_PERCENT = re.compile(r"\b(\d{1,3}(?:\.\d+)?)\s?%")
_ACTIVE = frozenset({"running", "deferred", "up_for_reschedule"})


@dataclass(frozen=True)
class Step:
    """A task of the run as the terminal shows it."""

    task_id: str
    state: str
    seconds: float | None = None
    percent: float | None = None


@dataclass(frozen=True)
class Run:
    """A DAG run: whose it is, how it stands, and its steps in the order of the DAG."""

    dag_id: str
    run_id: str
    state: str
    steps: tuple[Step, ...]


def follow(
    api: AirflowApi, dag_id: str, run_id: str, *, each: Callable[[Run], None], interval: float, timeout: float
) -> Run:
    """Call ``each`` with the state of the run every ``interval`` seconds; return the finished run.

    :raises TimeoutError: if the run takes longer than ``timeout`` seconds.
    """
    order = api.task_order(dag_id)
    deadline = time.monotonic() + timeout
    while True:
        state = api.run_state(dag_id, run_id)
        tasks = api.tasks(dag_id, run_id)
        steps = tuple(_step(api, tasks[task_id]) for task_id in order if task_id in tasks)
        run = Run(dag_id, run_id, state, steps)
        each(run)
        if state in FINISHED:
            return run
        if time.monotonic() > deadline:
            raise TimeoutError(f"The run of {dag_id} has not finished within {timeout:g} s.")
        time.sleep(interval)


def _step(api: AirflowApi, task: dict[str, Any]) -> Step:
    state = task["state"] or "waiting"
    percent = _percent(api, task) if state in _ACTIVE else None
    if task["start_date"] is None or state == "upstream_failed":
        return Step(task["task_id"], state)
    end = datetime.fromisoformat(task["end_date"]) if task["end_date"] else datetime.now(UTC)
    seconds = (end - datetime.fromisoformat(task["start_date"])).total_seconds()
    return Step(task["task_id"], state, max(0.0, seconds), percent)


def _percent(api: AirflowApi, task: dict[str, Any]) -> float | None:
    """The last percentage in the task's log."""
    entries = api.log(task["dag_id"], task["dag_run_id"], task["task_id"], task["try_number"])
    found = [match[1] for entry in entries if (match := _PERCENT.search(str(entry.get("event", ""))))]
    return float(found[-1]) if found else None


def error_lines(api: AirflowApi, run: Run, task_id: str, *, limit: int = 12) -> list[str]:
    """The last errors in the log of a task, one line per message and per exception."""
    try_number = api.tasks(run.dag_id, run.run_id)[task_id]["try_number"]
    lines: list[str] = []
    for entry in api.log(run.dag_id, run.run_id, task_id, try_number):
        if entry.get("level") in {"error", "critical"}:
            lines.append(str(entry["event"]))
            errors = entry.get("error_detail") or []
            lines.extend(f"{error['exc_type']}: {error['exc_value']}" for error in errors)
    return lines[-limit:]
