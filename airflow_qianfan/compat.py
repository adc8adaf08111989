"""What differs between the supported versions of Airflow. No other module asks which of them runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowRescheduleException,
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
    "TaskDeferralError",
    "TaskDeferralTimeout",
    "amask_secret",
    "aread_extra",
    "conf",
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
