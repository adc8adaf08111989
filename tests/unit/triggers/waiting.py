"""What tests of triggers share: which kinds and triggers there are, and how to run one."""

from __future__ import annotations

import asyncio
import inspect
import json
import pkgutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from importlib import import_module
from pkgutil import resolve_name
from types import ModuleType
from typing import Any

from airflow.triggers.base import BaseTrigger
from fake_qianfan import FakeQianfan
from versions import deserialize, serialize

from airflow_qianfan import sensors, triggers
from airflow_qianfan.api import actions
from airflow_qianfan.api.actions.finetuning import FineTuningTask
from airflow_qianfan.api.actions.model import Model
from airflow_qianfan.api.objects import RemoteObject
from airflow_qianfan.sensors.base import QianfanSensor
from airflow_qianfan.triggers.base.poller import Poller
from airflow_qianfan.triggers.base.registry import _REGISTRIES
from airflow_qianfan.triggers.base.trigger import QianfanTrigger
from airflow_qianfan.triggers.finetuning import QianfanFineTuningTaskTrigger
from airflow_qianfan.triggers.model import QianfanModelTrigger

JOB = "job-1"


def _subclasses(package: ModuleType, base: type[Any]) -> list[Any]:
    """Return all classes of a package that derive from another, in the order of their names."""
    found = set()
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        members = vars(import_module(module.name)).values()
        found |= {member for member in members if inspect.isclass(member) and issubclass(member, base)}
    public = {member for member in found - {base} if not member.__name__.startswith("_")}
    return sorted(public, key=lambda member: member.__name__)


KINDS: list[type[RemoteObject]] = _subclasses(actions, RemoteObject)
ROOTS = [kind for kind in KINDS if not set(kind.__mro__[1:]) & set(KINDS)]
"""All but those that show another side of what another kind is."""
STATEFUL: list[type[RemoteObject]] = [kind for kind in KINDS if kind.states is not None]
TRIGGERS: list[type[QianfanTrigger]] = _subclasses(triggers, QianfanTrigger)
SENSORS: list[type[QianfanSensor]] = _subclasses(sensors, QianfanSensor)
STOPPABLE = [trigger for trigger in TRIGGERS if trigger.kind().stop("id-1") is not None]
UNSTOPPABLE = [trigger for trigger in TRIGGERS if trigger.kind().stop("id-1") is None]


def task_trigger(task_id: str = "task-1", **arguments: Any) -> QianfanFineTuningTaskTrigger:
    return QianfanFineTuningTaskTrigger(fine_tuning_task_id=task_id, **arguments)


def model_trigger(model_id: str = "amv-1", **arguments: Any) -> QianfanModelTrigger:
    return QianfanModelTrigger(model_id=model_id, **arguments)


def tasks_of_a_job(qianfan: FakeQianfan, number: int, **arguments: Any) -> list[QianfanFineTuningTaskTrigger]:
    """Return a trigger for each task of a job."""
    for n in range(number):
        qianfan.add(FineTuningTask, f"task-{n}", "Running", parent_id=JOB, runProgress="50%")
    arguments = {"fine_tuning_job_id": JOB, **arguments}
    return [task_trigger(f"task-{n}", **arguments) for n in range(number)]


def models(qianfan: FakeQianfan, number: int, **arguments: Any) -> list[QianfanModelTrigger]:
    """Return triggers of objects that no list shows."""
    for n in range(number):
        qianfan.add(Model, f"amv-{n}")
    return [model_trigger(f"amv-{n}", **arguments) for n in range(number)]


async def event_of(trigger: BaseTrigger) -> dict[str, Any]:
    """Run a trigger, and return the payload of its only event."""
    (event,) = [event.payload async for event in trigger.run()]
    return event


def again(trigger: BaseTrigger) -> Any:
    """Return the trigger as a triggerer makes it from the database."""
    path, arguments = trigger.serialize()
    stored = json.loads(json.dumps(serialize(arguments)))
    return resolve_name(path)(**deserialize(stored))


@asynccontextmanager
async def running(waiting: Iterable[BaseTrigger]) -> AsyncIterator[list[asyncio.Task[dict[str, Any]]]]:
    """Run triggers in the background, and cancel those that are not done in the end."""
    tasks = [asyncio.create_task(event_of(trigger)) for trigger in waiting]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def pollers() -> list[Poller]:
    """Return the pollers of this event loop."""
    registry = _REGISTRIES.get(asyncio.get_running_loop())
    return [found for found, _ in registry._pollers.values()] if registry else []


def assert_nothing_is_left(qianfan: FakeQianfan) -> None:
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert qianfan.in_flight == 0
    assert asyncio.get_running_loop() not in _REGISTRIES
