"""What differs between the supported versions of Airflow, 3.1 to 3.3. No other module asks which one runs."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from airflow import __version__
from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.sdk.log import mask_secret

if TYPE_CHECKING:
    from airflow.sdk import DAG, BaseHook, Connection, Context, conf
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
        TaskDeferred,
    )
    from pydantic import JsonValue
else:
    try:
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
            TaskDeferred,
        )
    except ImportError:  # 3.1
        from airflow.configuration import conf
        from airflow.exceptions import (
            AirflowException,
            AirflowFailException,
            AirflowNotFoundException,
            AirflowRescheduleException,
            AirflowSensorTimeout,
            AirflowSkipException,
            AirflowTaskTimeout,
            TaskDeferralError,
            TaskDeferralTimeout,
            TaskDeferred,
        )

__all__ = [
    "AFTER_A_CLEAR",
    "REMEMBERS",
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowRescheduleException",
    "AirflowRuntimeError",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "AttemptReplaced",
    "TaskDeferralError",
    "TaskDeferralTimeout",
    "TaskDeferred",
    "aget_task_state",
    "amask_secret",
    "aread_connection",
    "conf",
    "connection_widgets",
    "is_cancelled_by_airflow",
    "load_retry_policy",
    "mask_secret",
    "read_records",
    "skip_tasks",
    "smaller_guarantees",
    "stats",
    "store_dag",
    "task_state_store",
    "task_traces",
]


REMEMBERS = tuple(map(int, __version__.split(".")[:2])) >= (3, 3)
"""Whether this is 3.3 or later, which keeps what an attempt stores for the next, and tells a trigger why it
is cancelled."""


async def aread_connection(hook: BaseHook, conn_id: str) -> tuple[Connection, Any]:
    """Return a connection and its extra as an object, on an event loop."""
    from airflow.sdk import Connection

    if hasattr(Connection, "aextra_dejson"):  # 3.3.2
        found: Connection = await hook.aget_connection(conn_id)
        if isinstance(found, Connection):
            return found, await found.aextra_dejson()
        # The API server gets one of another class, with the same members.
    else:
        # Before, Airflow masks what it reads through a call that may dead-lock on an event loop.
        from asgiref.sync import sync_to_async

        found = await sync_to_async(hook.get_connection)(conn_id)
    try:
        return found, json.loads(found.extra or "{}")
    except ValueError:
        return found, {}


async def amask_secret(secrets: list[JsonValue]) -> None:
    """Keep secrets out of the logs, on an event loop."""
    try:
        from airflow.sdk.log import amask_secret as mask
    except ImportError:  # before 3.3
        from asgiref.sync import sync_to_async

        mask = sync_to_async(mask_secret)
    await mask(secrets)


def connection_widgets(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the provider's ``conn-fields`` as Airflow 3.1 wants them, which does not read them by itself."""
    from wtforms import BooleanField, IntegerField, PasswordField, StringField

    widgets = {}
    for name, field in fields.items():
        schema = field["schema"]
        widget = {"integer": IntegerField, "boolean": BooleanField}.get(schema["type"][0], StringField)
        if schema.get("format") == "password":
            widget = PasswordField
        widgets[name] = widget(field["label"], description=field["description"])
    return widgets


def skip_tasks(ti: Any, tasks: Sequence[Any]) -> None:
    """Skip tasks of a run, as a task that decides about them does.

    :param ti: the task instance that decides.
    :param tasks: the tasks.
    """
    try:
        from airflow.sdk import SkipMixin
    except ImportError:  # before 3.3
        from airflow.providers.standard.utils.skipmixin import SkipMixin  # type: ignore[assignment]
    SkipMixin().skip(ti, tasks)  # type: ignore[no-untyped-call]


def task_state_store(context: Context) -> Any:
    """Return what outlives the attempts of a task; None where Airflow has no such thing: before 3.3."""
    return context.get("task_state_store")


def smaller_guarantees(context: Context) -> tuple[str, ...]:
    """Return the log lines that tell where this Airflow gives less than 3.3; none where it does not."""
    if REMEMBERS or task_state_store(context) is not None:
        return ()
    return (
        # Airflow's UI shows the first, and folds the others.
        f"::group::Airflow {__version__} keeps nothing between the attempts of a task, 3.3 does: before you "
        "clear this task, stop at Qianfan what still goes on, since a clear creates anew",
        "What this task creates is found again by its name and its mark. Less than with 3.3 is guaranteed:",
        "- Deployments that share a Qianfan account need different values of [qianfan] deployment.",
        "- A DAG run that is deleted and run again under its id may attach to what the first one made.",
        "- An attempt that Airflow has given up, as on a worker that was paused, may create once more.",
        "- After a crash, a training in a job that others use too may need a person to tell whose it is.",
        "- After a crash, the version that a service had before it was changed is not known.",
        "::endgroup::",
    )


def is_cancelled_by_airflow(error: asyncio.CancelledError) -> bool:
    """Return whether a trigger was cancelled because its task does not wait for it here any more.

    From 3.3 on Airflow says so in the message of the error, which may get lost on the way. Before, there is
    none. A triggerer that ends cancels all that runs in its event loop, without a message too; nothing would
    answer it then.
    """
    if error.args:
        return error.args[:1] == ("__airflow_user_action__",)
    return not all(task.cancelling() for task in asyncio.all_tasks())


def load_retry_policy() -> tuple[Any, Any]:
    """Return Airflow's ``RetryPolicy`` and ``RetryDecision``.

    :raises ImportError: this is Airflow before 3.3, which has none.
    """
    try:
        from airflow.sdk import RetryDecision, RetryPolicy
    except ImportError:
        raise ImportError(
            f"QianfanRetryPolicy needs Airflow 3.3 or newer, and this is {__version__}: leave retry_policy "
            "out, and set retries and retry_delay"
        ) from None
    return RetryPolicy, RetryDecision


MAX_RECORDS = 5000
"""How many of the newest records are looked through for a mark: the store has no index for it."""

AFTER_A_CLEAR = (
    "a retry or a clear of the task re-attaches to it or stops it"
    if REMEMBERS
    else "a retry of the task re-attaches to it; before you clear the task, stop it in the console"
)
"""What becomes of something that goes on at the service while no attempt of its task waits for it."""


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


def stats() -> Any:
    """Return what takes metrics, with ``incr``, ``gauge`` and ``timing``; None where ``[metrics]`` is off."""
    backends = ("statsd_on", "statsd_datadog_enabled", "otel_on")
    if not any(conf.getboolean("metrics", backend, fallback=False) for backend in backends):
        return None
    try:
        # A triggerer sets up a copy of Airflow's own; this sets up that of the SDK where nobody has.
        import airflow.sdk.serde  # noqa: F401
        from airflow.sdk.observability import stats as found
    except ImportError:  # 3.1
        from airflow.stats import Stats

        return Stats
    return found if hasattr(found, "incr") else found.Stats  # 3.2


def task_traces() -> Any:
    """Return OpenTelemetry's ``trace`` where Airflow traces tasks, which is from 3.2 on; None elsewhere."""
    if not conf.getboolean("traces", "otel_on", fallback=False):
        return None
    try:
        from airflow.sdk.observability import trace
    except ImportError:  # 3.1
        return None
    return trace


def store_dag(dag: DAG, bundle_name: str) -> None:
    """Store a DAG that stands in no file in the metadata database, as ``dag.test()`` needs it."""
    try:
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

        bag = DagBag(os.devnull, bundle_name=bundle_name)
    except ImportError:  # 3.1
        from airflow.models.dagbag import DagBag, sync_bag_to_db  # type: ignore[no-redef]

        bag = DagBag(os.devnull)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, bundle_name, None)


def read_records(session: Any) -> list[Any]:
    """Return what the task state store holds of creations, the newest first; nothing before Airflow 3.3.

    Each row has ``dag_id``, ``run_id``, ``task_id``, ``map_index`` and ``value``. Only the API server can
    read it in this way.

    :param session: of the metadata database.
    """
    try:
        from airflow.models.task_state_store import TaskStateStoreModel as Store
    except ImportError:  # before 3.3
        return []
    from sqlalchemy import select

    columns = (Store.dag_id, Store.run_id, Store.task_id, Store.map_index, Store.value)
    ours = select(*columns).where(Store.key.startswith("qianfan_")).order_by(Store.updated_at.desc())
    return list(session.execute(ours.limit(MAX_RECORDS)))


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
