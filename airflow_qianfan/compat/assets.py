"""What Airflow keeps of an asset: in its asset state store from 3.3 on, in its Variables before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType


def _off_the_loop(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    from asgiref.sync import sync_to_async

    return sync_to_async(function)


def _ask(request: Any, *, missing: ErrorType | None = None) -> Any:
    """Return Airflow's answer; None where it says that something is missing.

    :raises AirflowRuntimeError: it answers with another error.
    """
    from airflow.sdk.execution_time.comms import ErrorResponse
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    try:
        answer = SUPERVISOR_COMMS.send(request)
        if isinstance(answer, ErrorResponse):
            raise AirflowRuntimeError(answer)
    except AirflowRuntimeError as error:
        if missing is None or error.error.error is not missing:
            raise
        return None
    return answer


class Memory(Protocol):
    """What Airflow keeps of an asset, for triggers and tasks alike: JSON values under keys."""

    def get(self, key: str, default: Any = None) -> Any: ...

    def set(self, key: str, value: Any) -> None: ...

    def delete(self, key: str) -> None: ...

    async def aget(self, key: str, default: Any = None) -> Any: ...

    async def aset(self, key: str, value: Any) -> None: ...

    async def adelete(self, key: str) -> None: ...


class _Variables:
    """A memory in Airflow's Variables, before 3.3.

    :param uri: of the asset.
    """

    def __init__(self, uri: str) -> None:
        self._prefix = f"qianfan_asset_{hashlib.sha256(uri.encode()).hexdigest()[:16]}_"

    # Not with ``Variable``: to that, one that cannot be read does not exist, and one that cannot be written
    # is a line in the log.

    def get(self, key: str, default: Any = None) -> Any:
        from airflow.sdk.execution_time.comms import GetVariable

        found = _ask(GetVariable(key=self._prefix + key), missing=ErrorType.VARIABLE_NOT_FOUND)
        return default if found is None or found.value is None else json.loads(found.value)

    def set(self, key: str, value: Any) -> None:
        from airflow.sdk.execution_time.comms import PutVariable

        text = json.dumps(value)
        _ask(PutVariable(key=self._prefix + key, value=text, description="Kept by airflow-qianfan"))

    def delete(self, key: str) -> None:
        from airflow.sdk.execution_time.comms import DeleteVariable

        _ask(DeleteVariable(key=self._prefix + key), missing=ErrorType.VARIABLE_NOT_FOUND)

    async def aget(self, key: str, default: Any = None) -> Any:
        return await _off_the_loop(self.get)(key, default)

    async def aset(self, key: str, value: Any) -> None:
        await _off_the_loop(self.set)(key, value)

    async def adelete(self, key: str) -> None:
        await _off_the_loop(self.delete)(key)


def asset_memory(uri: str) -> Memory:
    """Return what a task finds of what the watcher of an asset keeps.

    :param uri: of the asset. From 3.3 on, nothing is found of one that Airflow does not know.
    """
    try:
        from airflow.sdk.execution_time.context import AssetStateStoreAccessor
    except ImportError:  # before 3.3
        return _Variables(uri)
    return AssetStateStoreAccessor(uri=uri)


def watcher_memory(trigger: Any, uri: str) -> Memory:
    """Return what a trigger keeps of the asset that it watches.

    :param trigger: the trigger.
    :param uri: of the asset, as operators know it. From 3.3 on, the watched asset may have another.
    """
    found = getattr(trigger, "asset_state_store", None)
    if found is None:  # before 3.3
        return _Variables(uri)
    from airflow.sdk import Asset

    try:
        memory: Memory = found[Asset(uri)]
    except KeyError:
        memory = found
    return memory


def asset_events(uri: str) -> list[Any]:
    """Return the events of an asset, oldest first, with ``extra`` and ``timestamp``; only in a running task.

    :param uri: of the asset; where it does not exist, there are none.
    """
    from airflow.sdk.execution_time.comms import AssetEventsResult, GetAssetEventByAsset

    found: dict[int, Any] = {}
    # By the URI alone, Airflow finds only what a DAG is scheduled by, or has as an outlet.
    for name in (uri, None):
        answer = _ask(GetAssetEventByAsset(name=name, uri=uri), missing=ErrorType.ASSET_NOT_FOUND)
        if isinstance(answer, AssetEventsResult):
            found |= {event.id: event for event in answer.asset_events}
    events = AssetEventsResult(asset_events=list(found.values())).iter_asset_event_results()
    return sorted(events, key=lambda event: event.timestamp)
