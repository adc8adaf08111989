"""What differs between the supported versions of Airflow. No other module asks which of them runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowRescheduleException,
    AirflowRuntimeError,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferralError,
    TaskDeferralTimeout,
)
from airflow.sdk.log import amask_secret, mask_secret

if TYPE_CHECKING:
    from airflow.sdk import Connection, Context

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowRescheduleException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "AttemptReplaced",
    "TaskDeferralError",
    "TaskDeferralTimeout",
    "aget_task_state",
    "amask_secret",
    "aread_extra",
    "conf",
    "is_cancelled_by_airflow",
    "mask_secret",
    "task_state_store",
]


async def aread_extra(connection: Connection) -> Any:
    """Return the extra of a connection as an object, on an event loop."""
    if hasattr(connection, "aextra_dejson"):
        return await connection.aextra_dejson()
    # Before 3.3.2 Airflow has only the sync form, which may dead-lock on an event loop.
    try:
        return json.loads(connection.extra or "{}")
    except ValueError:
        return {}


def task_state_store(context: Context) -> Any:
    """Return what outlives the attempts of a task; None where Airflow has nothing of that kind."""
    return context.get("task_state_store")


def is_cancelled_by_airflow(error: asyncio.CancelledError) -> bool:
    """Return whether a trigger was cancelled because its task does not wait for it here any more.

    Airflow says so in the message of the error; a triggerer that ends says something else, or nothing.
    """
    return error.args[:1] == ("__airflow_user_action__",)


async def aget_task_state(ti: Any) -> str | None:
    """Return the state of a task instance as Airflow knows it, on the event loop of a triggerer.

    :param ti: the task instance, with ``dag_id``, ``run_id``, ``task_id`` and ``map_index``.
    :raises LookupError: Airflow does not know it.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    from asgiref.sync import sync_to_async

    found = await sync_to_async(RuntimeTaskInstance.get_task_states)(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
    )
    states = list(found.get(ti.run_id, {}).values())
    if not states:
        raise LookupError("Airflow does not know the task")
    state: str | None = states[0]
    return state


class AttemptReplaced(Exception):
    """Airflow has given up this attempt of a task, such as one on a worker that was paused for too long."""

    @classmethod
    @contextmanager
    def told_by_airflow(cls) -> Iterator[None]:
        """Raise this where Airflow answers that the attempt is gone, and on no other error."""
        try:
            yield
        except AirflowRuntimeError as error:
            detail = error.error.detail or {}
            if detail.get("status_code") == HTTPStatus.NOT_FOUND:
                raise cls("a later attempt of this task has begun") from error
            raise
