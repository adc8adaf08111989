"""Runs of the DAG that is looked at: a test says when its training is done."""

from __future__ import annotations

from typing import Any

from local_stack.airflow import LocalAirflow
from local_stack.airflow_api import FINISHED
from local_stack.qianfan import LocalQianfan
from local_stack.waiting import wait_for

HOUR = 3600.0
DAG_ID = "nightly"


def begin(airflow: LocalAirflow, qianfan: LocalQianfan, **conf: Any) -> str:
    """Trigger a DAG run, and return its id once it trains."""
    before = _trainings(qianfan)
    run_id = airflow.api.trigger(DAG_ID, conf)
    wait_for(lambda: _trainings(qianfan) > before, what="it trains")
    return run_id


def finish(airflow: LocalAirflow, qianfan: LocalQianfan, run_id: str) -> str:
    """Let a DAG run come to its end, and return its id."""
    qianfan.pass_time(HOUR)
    state = wait_for(
        lambda: airflow.api.run_state(DAG_ID, run_id), lambda state: state in FINISHED, what="the run ends"
    )
    assert state == "success"
    return run_id


def _trainings(qianfan: LocalQianfan) -> int:
    entries = qianfan.journal()
    return sum(entry["action"] == "CreateFineTuningTask" and bool(entry["effect"]) for entry in entries)
