"""The operators and sensors that the provider's metadata names."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from airflow_qianfan.get_provider_info import get_provider_info
from airflow_qianfan.triggers.base.trigger import QianfanTrigger


def modules(room: str) -> list[str]:
    """The modules of a room, such as ``operators``."""
    return [name for entry in get_provider_info()[room] for name in entry["python-modules"]]


def classes(room: str, ending: str) -> list[type[Any]]:
    """The public classes that the modules of a room define and whose names end so."""
    return [
        value
        for name in modules(room)
        for value in vars(import_module(name)).values()
        if isinstance(value, type) and f"{value.__module__}.".startswith(f"{name}.")
        if value.__name__.startswith("Qianfan") and value.__name__.endswith(ending)
    ]


OPERATORS = classes("operators", "Operator")
SENSORS = classes("sensors", "Sensor")
TRIGGERS = [trigger for trigger in classes("triggers", "Trigger") if issubclass(trigger, QianfanTrigger)]
