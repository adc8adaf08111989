"""What Airflow does around an operator: attempts, deferral, clears, and a store that outlives them."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from account import DATASET, FILES
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse

from airflow_qianfan.api.actions import load
from airflow_qianfan.compat import AirflowFailException, TaskDeferred
from airflow_qianfan.exceptions import QianfanError
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.operators.finetuning import (
    QianfanCreateFineTuningTaskOperator,
    QianfanFineTuningOperator,
)
from airflow_qianfan.operators.model import (
    QianfanCreateCustomModelOperator,
    QianfanCreateCustomModelSetOperator,
)
from airflow_qianfan.triggers.base.cancel import stop_object
from airflow_qianfan.triggers.base.polling import Target, final_event

NAME = "it"


class Store:
    """A task state store, which keeps JSON. ``before`` and ``after`` are told of each write."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self.before: Callable[[str], None] = lambda key: None
        self.after: Callable[[str], None] = lambda key: None

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self._texts[key]) if key in self._texts else default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self.before(key)
        self._texts[key] = json.dumps(value, allow_nan=False)
        self.after(key)

    @property
    def records(self) -> dict[str, Any]:
        """All that is stored."""
        return {key: json.loads(text) for key, text in self._texts.items()}


def refusal(status: int | None) -> AirflowRuntimeError:
    """The error with which Airflow refuses a write: 404 where the attempt was replaced."""
    detail = {"status_code": status} if status else None
    return AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=detail))


@dataclass
class AirflowTask:
    """One run of one task in one deployment, through all attempts and clears.

    :param make: makes the operator from its changed arguments; each attempt has its own.
    :param retries: the operator's, as the DAG file says it.
    """

    make: Callable[..., Any]
    retries: int = 0
    dag_id: str = "dag"
    run_id: str = "run"
    task_id: str = NAME
    map_index: int = -1
    store: Store | None = field(default_factory=Store)
    arguments: dict[str, Any] = field(default_factory=dict)
    clears: int = 0
    try_number: int = 0
    state: str | None = None
    deferred: TaskDeferred | None = None
    xcoms: dict[str, Any] = field(default_factory=dict)
    operator: Any = None

    def __post_init__(self) -> None:
        self.max_tries = self.retries

    def context(self) -> Any:
        ti = SimpleNamespace(
            dag_id=self.dag_id,
            run_id=self.run_id,
            task_id=self.task_id,
            map_index=self.map_index,
            try_number=self.try_number,
            max_tries=self.max_tries,
            xcom_push=lambda key, value: self.xcoms.__setitem__(key, json.loads(json.dumps(value))),
            xcom_pull=lambda *, task_ids, key, map_indexes: self.xcoms.get(key),
            get_task_states=lambda **_: {self.run_id: {self.task_id: self.state}},
        )
        dag_run = SimpleNamespace(clear_number=self.clears)
        return {"ti": ti, "dag_run": dag_run, "task_state_store": self.store}

    def attempt(self) -> Any:
        """Run the next attempt to its end, or until it defers itself; then None is returned."""
        self.try_number += 1
        self.xcoms.clear()
        return self._call("execute", self.context())

    def resume(self, event: Any) -> Any:
        """Go on after the deferral."""
        deferred, self.deferred = self.deferred, None
        assert deferred is not None
        kwargs = {**(deferred.kwargs or {}), "event": event}
        return self._call("resume_execution", deferred.method_name, kwargs, self.context())

    def give_up(self) -> Any:
        """Go on as Airflow does where no trigger has answered in time."""
        return self._call("resume_execution", "__fail__", {"error": "Trigger timeout"}, self.context())

    def _call(self, method: str, *arguments: Any) -> Any:
        self.operator = self.make(**self.arguments)
        running = copy_context()
        running.run(ExecutorSafeguard.tracker.set, self.operator)
        self.state, self.deferred = "running", None
        try:
            value = running.run(getattr(self.operator, method), *arguments)
        except TaskDeferred as deferred:
            self.deferred, self.state = deferred, "deferred"
            return None
        except BaseException as error:
            is_last = self.try_number > self.max_tries or isinstance(error, AirflowFailException)
            self.state = "failed" if is_last else "up_for_retry"
            raise
        self.state = "success"
        return json.loads(json.dumps(value, allow_nan=False))

    def clear(self, *, retries: int | None = None, **changed: Any) -> None:
        """Clear it, as a user does, perhaps after changing the number of retries or other arguments."""
        self.arguments |= changed
        self.retries = self.retries if retries is None else retries
        self.deferred, self.state = None, None
        # As Airflow does it. With fewer retries than before this may be the number that it was.
        self.max_tries = self.try_number + self.retries
        self.clears += 1

    @property
    def target(self) -> Target:
        """What it waits for in the triggerer."""
        assert self.deferred is not None
        trigger: Any = self.deferred.trigger
        return Target(load(trigger.kind_path), trigger.object_id, trigger.parent_id)

    def poll(self) -> Any:
        """Poll once, as its trigger does; go on where what it waits for has ended, else return None."""
        assert self.deferred is not None
        trigger: Any = self.deferred.trigger
        brought = {"ids": {trigger.id_name: trigger.object_id}} | (
            {} if trigger.carry is None else {"carry": trigger.carry}
        )
        try:
            found = self.target.kind.view(QianfanHook().call(self.target.request()))
        except QianfanError as error:
            return self.resume({"status": "error", "message": str(error), **brought})
        return self.resume({**final_event(found), **brought}) if found.state.is_final else None

    def mark(self, state: str) -> bool:
        """Mark it as failed or successful while it is deferred; return whether it was stopped."""
        target, self.deferred, self.state = self.target, None, state
        if target.kind.stop(target.object_id) is None:
            return False
        log: Any = self.operator.log
        return stop_object(QianfanHook(), target, "a user ended it", log, seconds=30)


def training(**arguments: Any) -> AirflowTask:
    """A training with a job of its own."""
    fixed = {"model": "ERNIE-Speed-8K", "train_mode": "SFT", "dataset_config": DATASET}
    return _task(QianfanFineTuningOperator, {**fixed, "hyper_parameter_config": {"epoch": 0}}, arguments)


def shared_training(job_id: str, **arguments: Any) -> AirflowTask:
    """A training in a job that others use, too."""
    fixed = {"fine_tuning_job_id": job_id, "dataset_config": DATASET, "wait_for_completion": True}
    given = {**fixed, "hyper_parameter_config": {"epoch": 0}}
    return _task(QianfanCreateFineTuningTaskOperator, given, arguments)


def model_set(**arguments: Any) -> AirflowTask:
    """A model set."""
    return _task(QianfanCreateCustomModelSetOperator, {}, arguments)


def version(model_set_id: str, **arguments: Any) -> AirflowTask:
    """A version of a model set, from files."""
    fixed = {"model_set_id": model_set_id, "import_meta": FILES, "wait_for_completion": True}
    return _task(QianfanCreateCustomModelOperator, fixed, arguments)


def _task(operator: Any, given: dict[str, Any], arguments: dict[str, Any]) -> AirflowTask:
    own = {
        name: arguments.pop(name) for name in ("retries", "store", "run_id", "map_index") if name in arguments
    }
    if "deferrable" in operator.arguments:
        given["deferrable"] = True

    def make(**changed: Any) -> Any:
        return operator(task_id=NAME, **{**given, **arguments, **changed})

    return AirflowTask(make, **own)
