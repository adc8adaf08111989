"""Finds out why the process of a task is told to end: has a user ended the task, or does it go on?"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

from airflow.sdk import get_current_context

ASK_SECONDS = 1.5
"""How long to wait for Airflow's answer; it kills the process 5 s after the signal."""

# The state of the task after a user has marked or cleared it, or where no further attempt follows.
_GIVEN_UP = frozenset({"failed", "success", "skipped", "upstream_failed", "removed", "restarting"})


def is_given_up() -> bool:
    """Return whether nobody wants the running task any more.

    It is not where a worker or scheduler is replaced, or Airflow has lost touch with the worker: then the
    task is still running, or waits for its next attempt.
    """
    try:
        ti: Any = get_current_context()["ti"]
    except RuntimeError:
        return True
    states: list[str | None] = []

    def ask() -> None:
        with suppress(Exception):
            found = ti.get_task_states(
                dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
            )
            states.extend(found.get(ti.run_id, {}).values())

    # The signal may have interrupted this thread while it talked to Airflow and held the lock for that.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ASK_SECONDS)
    return bool(states) and states[0] in _GIVEN_UP
