"""What an object at Qianfan shows to a person."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from airflow_qianfan.api.actions.finetuning import FineTuningTask
from airflow_qianfan.api.objects import Phase, RemoteObject, timestamp
from airflow_qianfan.plugins.views import CheckpointView, ObjectView

_FACTS = (
    "model",
    "base_model",
    "train_mode",
    "parameter_scale",
    "model_set_name",
    "model_type",
    "model_application_type",
    "service_type",
    "charge_type",
    "url",
    "sample_count",
    "output_dir",
    "description",
    "job_description",
)
"""Members that are shown as they are, where a kind has them."""

_NAMES = ("job_name", "name", "model_name", "model_set_name", "dataset_name")
_ENDS = ("finish_date", "finish_time", "end_time")
_ZONE = re.compile(r"(Z|[+-]\d\d:?\d\d)$", re.IGNORECASE)


@dataclass(frozen=True)
class _Sighting:
    """When an object was first seen to wait for resources, and when to go on, as seconds since the epoch."""

    waiting: float | None = None
    running: float | None = None


class Sightings:
    """Remembers what the service does not tell: when an object that waited for resources has begun.

    It knows what was looked at in this process, and nothing else.

    :param size: how many objects are remembered.
    """

    def __init__(self, size: int = 2000) -> None:
        self._size = size
        self._seen: OrderedDict[str, _Sighting] = OrderedDict()

    def note(self, found: RemoteObject, now: float) -> _Sighting:
        """Take what was read, and return what is known by now."""
        if found.states is None:
            return _Sighting()
        seen = self._seen.pop(found.object_id, None)
        is_waiting = found.state.is_waiting
        if seen is None and not is_waiting:
            return _Sighting()
        if seen is None:
            seen = _Sighting(waiting=now)
        elif not is_waiting and seen.running is None:
            seen = replace(seen, running=now)
        self._seen[found.object_id] = seen
        while len(self._seen) > self._size:
            self._seen.popitem(last=False)
        return seen


SIGHTINGS = Sightings()


def show(found: RemoteObject, now: float, *, is_current: bool = True) -> ObjectView:
    """Return what a person is shown of an object.

    :param found: the object.
    :param now: time in seconds since the epoch.
    :param is_current: whether the service has just described it.
    """
    state = found.state if found.states is not None else None
    started = _created(found, now)
    seen = SIGHTINGS.note(found, now) if is_current else _Sighting()
    view = ObjectView(
        kind=found.id_name,
        id=found.object_id,
        name=_first(found, _NAMES),
        state=state.word if state else None,
        phase=state.phase.value if state else None,
        is_waiting=bool(state and state.is_waiting),
        progress=found.progress,
        started=started,
        ended=ended(found),
        facts={name: text for name in _FACTS if (text := _text(getattr(found, name, None)))},
        failure=found.failure or None if state and state.phase is Phase.FAILED else None,
        is_current=is_current,
    )
    if seen.waiting is not None and started is not None:
        view.waited = max(0.0, (seen.running or now) - started)
    if state and state.phase is Phase.ACTIVE:
        view.estimated_end = estimate(seen.running or started, view.progress, now)
    if isinstance(found, FineTuningTask):
        _show_training(found, view)
    return view


def remembered(kind: type[RemoteObject], object_id: str, result: Mapping[str, Any]) -> RemoteObject:
    """Return an object as a task's return value describes it, for when the service cannot.

    :param kind: its kind.
    :param object_id: its id.
    :param result: the return value of the task.
    """
    known = kind.model_fields
    members = {name: value for name, value in result.items() if name in known}
    members |= {kind.id_member: object_id}
    if kind.state_member:
        members[kind.state_member] = result.get("status") or result.get(kind.state_member)
    if issubclass(kind, FineTuningTask):
        members |= {"job_id": result.get("fine_tuning_job_id"), "checkpoint_list": result.get("checkpoints")}
    return kind(**members)


def ended(found: RemoteObject) -> float | None:
    """Return when it ended, in seconds since the epoch; None where the service does not say."""
    return _moment(_first(found, _ENDS))


def estimate(began: float | None, progress: float | None, now: float) -> float | None:
    """Return when something will be done that goes on as fast as until now; None where that is unknown."""
    if began is None or not progress or progress >= 1 or now <= began:
        return None
    return now + (now - began) * (1 - progress) / progress


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the members of an object as a person reads them."""
    return {str(name): text for name, value in values.items() if (text := _text(value)) is not None}


def _show_training(found: FineTuningTask, view: ObjectView) -> None:
    view.metrics = found.metric_values
    view.checkpoints = [
        CheckpointView(step=one.step, loss=one.training_loss, perplexity=one.perplexity)
        for one in sorted(found.checkpoint_list, key=lambda one: one.step)
    ]
    view.best_step = found.best_checkpoint.step if found.best_checkpoint else None


def _created(found: RemoteObject, now: float) -> float | None:
    created = found.started
    if created is None:
        created = _moment(_first(found, ("create_time",)))
    # In which time zone the service writes its dates is not documented: the future is in another than ours.
    return None if created is None or created > now + 60 else created


def _moment(text: str | None) -> float | None:
    """Return a date in seconds since the epoch; one without a zone is taken for Beijing's."""
    zone = "" if text is None or _ZONE.search(text) else "+08:00"
    return timestamp(f"{text}{zone}" if text else None)


def _first(found: RemoteObject, names: tuple[str, ...]) -> str | None:
    values = (getattr(found, name, None) for name in names)
    return next((value for value in values if isinstance(value, str) and value), None)


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
