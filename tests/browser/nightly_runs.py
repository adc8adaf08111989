"""Runs of the DAG that is looked at."""

from __future__ import annotations

from typing import Any

from local_stack.airflow import LocalAirflow
from local_stack.airflow_api import FINISHED
from local_stack.qianfan import LocalQianfan
from local_stack.waiting import wait_for

#: Its clock is not moved: a training from the future would have no times to show.
TASK_SECONDS = 40.0
DAG_ID = "nightly"


def begin(airflow: LocalAirflow, qianfan: LocalQianfan, **conf: Any) -> str:
    """Trigger a DAG run, and return its id once it trains."""
    before = _trainings(qianfan)
    run_id = airflow.api.trigger(DAG_ID, conf)
    wait_for(lambda: _trainings(qianfan) > before, what="it trains")
    return run_id


def finish(airflow: LocalAirflow, run_id: str) -> str:
    """Wait until a DAG run has succeeded, and return its id."""
    state = wait_for(
        lambda: airflow.api.run_state(DAG_ID, run_id), lambda state: state in FINISHED, what="the run ends"
    )
    assert state == "success"
    return run_id


def _trainings(qianfan: LocalQianfan) -> int:
    entries = qianfan.journal()
    return sum(entry["action"] == "CreateFineTuningTask" and bool(entry["effect"]) for entry in entries)
