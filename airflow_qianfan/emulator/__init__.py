"""A local Qianfan for tests and demonstrations: real HTTP, real signature checks, state, faults.

>>> with QianfanEmulator(task_seconds=2) as emulator:  # doctest: +SKIP
...     print(emulator.endpoint)

The names are loaded on first use, because pytest imports this package in every run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_qianfan.emulator.assumptions import Assumptions
    from airflow_qianfan.emulator.errors import ApiError, Refusal
    from airflow_qianfan.emulator.server import QianfanEmulator
    from airflow_qianfan.emulator.store import StateError

__all__ = ["ApiError", "Assumptions", "QianfanEmulator", "Refusal", "StateError"]

_MODULES = {
    "ApiError": "errors",
    "Assumptions": "assumptions",
    "QianfanEmulator": "server",
    "Refusal": "errors",
    "StateError": "store",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
