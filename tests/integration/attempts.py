"""What Airflow does around operators and triggers: attempts, deferral, and what is kept between them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import copy_context
from dataclasses import dataclass, field
from pkgutil import resolve_name
from types import SimpleNamespace
from typing import Any

from airflow.sdk.bases.operator import ExecutorSafeguard

from airflow_qianfan.compat import AirflowException, AirflowFailException, TaskDeferred


class TaskStateStore:
    """Keeps JSON, as Airflow's does."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self._texts[key]) if key in self._texts else default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        text = json.dumps(value, allow_nan=False)
        assert len(text) <= 65_536
        self._texts[key] = text


@dataclass
class TaskRun:
    """One run of one task, through all its attempts.

    :param make: makes the operator; each process that works on the task has its own.
    :param retries: how many attempts there are besides the first.
    :param retry_delay: seconds before each of them.
    """

    make: Callable[[], Any]
    dag_id: str
    run_id: str
    task_id: str = "it"
    map_index: int = -1
    retries: int = 0
    retry_delay: float = 0.0
    store: TaskStateStore | None = field(default_factory=TaskStateStore)
    try_number: int = 0
    xcoms: dict[str, Any] = field(default_factory=dict)
    value: Any = None
    error: BaseException | None = None
    retried_after: list[BaseException] = field(default_factory=list)

    def context(self) -> dict[str, Any]:
        ti = SimpleNamespace(
            dag_id=self.dag_id,
            run_id=self.run_id,
            task_id=self.task_id,
            map_index=self.map_index,
            try_number=self.try_number,
            max_tries=self.retries,
            xcom_push=lambda key, value: self.xcoms.__setitem__(key, _stored(value)),
        )
        return {"ti": ti, "task_state_store": self.store}

    async def run(self, workers: Executor) -> None:
        """Run it to its end: ``value`` or ``error`` tells which.

        :param workers: where operators work; triggers run in this event loop.
        """
        loop = asyncio.get_running_loop()
        while self.try_number <= self.retries:
            if self.try_number:
                await asyncio.sleep(self.retry_delay)
            self.try_number += 1
            self.xcoms.clear()
            self.error = None
            try:
                self._tell("on a worker")
                deferred = await loop.run_in_executor(workers, self._execute)
                while deferred is not None:
                    self._tell(f"in the triggerer: {deferred.trigger.serialize()}")
                    event = await _first_event(deferred.trigger)
                    self._tell(f"on a worker, after {event}")
                    deferred = await loop.run_in_executor(workers, self._resume, deferred, event)
                return
            except AirflowException as error:
                self.error = error
                if isinstance(error, AirflowFailException):
                    return
                self.retried_after.append(error)

    def _tell(self, place: str) -> None:
        """Let the asyncio task say where this one is, for whoever finds that it does not end."""
        if (task := asyncio.current_task()) is not None:
            task.set_name(f"{self.dag_id} {self.run_id} {self.task_id}, attempt {self.try_number}, {place}")

    def _execute(self) -> TaskDeferred | None:
        return self._call("execute", self.context())

    def _resume(self, deferred: TaskDeferred, event: Any) -> TaskDeferred | None:
        kwargs = {**(deferred.kwargs or {}), "event": event}
        return self._call("resume_execution", deferred.method_name, kwargs, self.context())

    def _call(self, method: str, *arguments: Any) -> TaskDeferred | None:
        """Let a new process work on it; return how it was deferred, if it was."""
        operator = self.make()
        running = copy_context()
        running.run(ExecutorSafeguard.tracker.set, operator)
        try:
            self.value = _stored(running.run(getattr(operator, method), *arguments))
        except TaskDeferred as deferred:
            return deferred
        return None


async def _first_event(trigger: Any) -> Any:
    path, arguments = trigger.serialize()
    async for event in resolve_name(path)(**_stored(arguments)).run():
        return _stored(event.payload)
    raise AssertionError("the trigger ended without an event")


def _stored(value: Any) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))
