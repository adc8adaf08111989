"""One request of each class."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import batch_and_eval
import dataset_members
import finetuning_and_model
import service_requests

from airflow_qianfan.api import actions
from airflow_qianfan.api.actions import finetuning
from airflow_qianfan.api.actions.base import Action
from airflow_qianfan.api.retry import is_repeatable

READ = finetuning.DescribeFineTuningTask(task_id="task-1")
CREATE = finetuning.CreateFineTuningJob(name="nightly", model="ERNIE-Speed-8K", train_mode="SFT")
TASK = {"taskId": "task-1", "runStatus": "Running"}

BODIES: dict[str, tuple[type[Any], dict[str, Any], dict[str, Any]]] = {
    **finetuning_and_model.BODIES,
    **dataset_members.BODIES,
    **service_requests.BODIES,
    **batch_and_eval.BODIES,
}
"""Requests, their members and what they send, by what they show."""


def all_requests() -> list[type[Any]]:
    """Every request class of the package."""
    modules = [import_module(f"{actions.__name__}.{found.name}") for found in iter_modules(actions.__path__)]
    found = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Action) and hasattr(value, "route")
    }
    return sorted(found, key=action_of)


def is_plain(request_type: type[Any]) -> bool:
    """Whether all members of a request are texts that are needed, such as ids."""
    fields = request_type.model_fields.values()
    return all(field.annotation is str and field.is_required() and field.metadata for field in fields)


def plain_requests() -> list[type[Any]]:
    """All requests of which that is so."""
    return list(filter(is_plain, all_requests()))


def plain_members(request_type: type[Any]) -> dict[str, Any]:
    """The members of such a request."""
    return {name: f"{name}-1" for name in request_type.model_fields}


def example(request_type: type[Any]) -> Any:
    """Make a request of a class."""
    if is_plain(request_type):
        return request_type(**plain_members(request_type))
    known = [members for one, members, _ in BODIES.values() if one is request_type]
    assert known, f"{request_type.__name__} needs an example in BODIES"
    return request_type(**known[0])


def action_of(request: Any) -> str:
    return request.action


REQUESTS = [example(request_type) for request_type in all_requests()]
CREATES = [request for request in REQUESTS if request.action.startswith("Create")]
OTHERS = [request for request in REQUESTS if is_repeatable(request.action)]
