"""What the tab of a task instance shows, from what Airflow knows and what Qianfan says."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_qianfan.api.actions import load
from airflow_qianfan.api.objects import RemoteObject
from airflow_qianfan.compat import AirflowNotFoundException
from airflow_qianfan.exceptions import QianfanError
from airflow_qianfan.plugins.objects import remembered, show, texts
from airflow_qianfan.plugins.reader import Reader
from airflow_qianfan.plugins.runs import KINDS, TRAINING, Task, TaskKey, read_object
from airflow_qianfan.plugins.views import (
    ChainTask,
    EarlierRun,
    LinkView,
    ObjectView,
    PublishedView,
    TaskRef,
    TaskView,
)

_FINISHED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


class Queueing:
    """Remembers how long tasks waited in Airflow: one that was deferred is queued anew, and forgets it.

    It knows what was looked at in this process, and nothing else.

    :param size: how many tries of tasks are remembered.
    """

    def __init__(self, size: int = 2000) -> None:
        self._size = size
        self._seen: OrderedDict[tuple[TaskKey, float], float] = OrderedDict()

    def note(self, task: Task) -> float | None:
        """Take what Airflow tells, and return for how many seconds the task waited, if that is known."""
        if task.started is None:
            return None
        key = task.key, task.started
        if task.queued is None or task.queued > task.started:
            return self._seen.get(key)
        self._seen[key] = task.started - task.queued
        while len(self._seen) > self._size:
            self._seen.popitem(last=False)
        return self._seen[key]


QUEUEING = Queueing()


@dataclass(frozen=True)
class TaskFacts:
    """What Airflow knows.

    :param task: the task instance.
    :param run: all tasks of ours in its DAG run.
    :param earlier: its last successful runs.
    """

    task: Task
    run: Sequence[Task]
    earlier: Sequence[Task]


def ref(key: TaskKey) -> TaskRef:
    """Return a task instance as the routes answer with it."""
    return TaskRef(dag_id=key.dag_id, run_id=key.run_id, task_id=key.task_id, map_index=key.map_index)


async def make_task_view(facts: TaskFacts, now: float) -> TaskView:
    """Return what the tab shows.

    :param facts: what Airflow knows.
    :param now: time in seconds since the epoch.
    """
    task = facts.task
    view = TaskView(
        is_ours=True,
        now=now,
        state=task.state,
        # What follows, such as a publication, is shown too.
        goes_on=any(one.state not in _FINISHED for one in (task, *facts.run)),
        queued=QUEUEING.note(task),
        started=task.started,
        ended=task.ended,
        ids=task.ids,
        chain=[
            ChainTask(task=ref(one.key), operator=one.operator, state=one.state, ids=one.ids)
            for one in facts.run
        ],
    )
    if task.subject is None:
        return view
    id_name, object_id = task.subject
    view.object, view.problem, view.links = await _read(task, id_name, object_id, now)
    # A task may have ended with success while its object goes on, where it does not wait for it.
    view.goes_on |= view.object is not None and view.object.phase == "active" and view.object.is_current
    if id_name == TRAINING:
        _add_training(view, facts, object_id)
    return view


async def find_page(task: Task, name: str) -> tuple[str | None, str | None]:
    """Return a page about what a task has made or was given, and why there is none.

    :param task: the task.
    :param name: the name of the link, such as ``visualdl``.
    """
    if not task.is_ours or task.subject is None:
        return None, None
    _, problem, links = await _read(task, *task.subject, time.time())
    return next((link.url for link in links if link.name == name), None), problem


async def _read(
    task: Task, id_name: str, object_id: str, now: float
) -> tuple[ObjectView | None, str | None, list[LinkView]]:
    """Return the object, why the service could not be asked, and pages about it."""
    kind: type[RemoteObject] = load(KINDS[id_name])
    found, problem, links = None, None, []
    reader = Reader(task.connection_id or "qianfan_default")
    try:
        described = await reader.call(kind.describe(object_id))
        # There is no request that describes a job: this one only fails where there is none.
        found = described if isinstance(described, kind) else kind(**{kind.id_member: object_id})
        pages = {"console": found.console_url, "visualdl": getattr(found, "vdl_link", None)}
        urls = {name: await reader.link(url) for name, url in pages.items()}
        links = [LinkView(name=name, url=url) for name, url in urls.items() if url]
    except QianfanError as error:
        problem = str(error)
    except AirflowNotFoundException:
        problem = f"The connection {reader.connection_id!r} does not exist."
    if found is not None:
        return show(found, now), problem, links
    if task.result.get(id_name) == object_id:
        return show(remembered(kind, object_id, task.result), now, is_current=False), problem, links
    return ObjectView(kind=id_name, id=object_id, is_current=False), problem, links


def _add_training(view: TaskView, facts: TaskFacts, training_id: str) -> None:
    of_training = [task for task in (facts.task, *facts.run) if task.ids.get(TRAINING) == training_id]
    arguments = arguments_of_training(of_training)
    view.hyper_parameters = texts(read_object(arguments.get("hyper_parameter_config")))
    view.dataset = _dataset(read_object(arguments.get("dataset_config")))
    view.published = [
        PublishedView(
            model_id=task.ids.get("model_id"),
            step=_step(task.arguments.get("checkpoint_step")),
            task_id=task.key.task_id,
        )
        for task in of_training
        if "checkpoint_step" in task.arguments and "model_id" in task.xcoms
    ]
    view.earlier = [
        EarlierRun(task=ref(task.key), ended=task.ended, metrics=metrics)
        for task in facts.earlier
        if (metrics := _numbers(task.result.get("metrics")))
    ]


def arguments_of_training(tasks: Sequence[Task]) -> Mapping[str, Any]:
    """Return the arguments of that one of some tasks which has begun a training; empty where none has."""
    return next((task.arguments for task in tasks if task.arguments.get("hyper_parameter_config")), {})


def _dataset(config: Mapping[str, Any]) -> dict[str, str]:
    versions = config.get("versions")
    parts = [one for one in versions if isinstance(one, dict)] if isinstance(versions, list) else []
    names = ", ".join(str(one.get("versionId") or one.get("versionBosUri") or "?") for one in parts)
    rest = {name: value for name, value in config.items() if name != "versions"}
    return ({"versions": names} if names else {}) | texts(rest)


def _step(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _numbers(values: Any) -> dict[str, float]:
    found = values if isinstance(values, dict) else {}
    is_number = (int, float)
    return {
        str(name): float(value)
        for name, value in found.items()
        if isinstance(value, is_number) and not isinstance(value, bool)
    }
