"""Load what polling needs, and parsing a DAG file does not, without blocking the event loop."""

from __future__ import annotations

import asyncio
from importlib import import_module

_MODULES = ("api.client", "api.paging", "triggers.base.registry")
_LOADED: set[str] = set()


async def load_for_polling(kind_path: str) -> None:
    """Load the client and a kind of object.

    Building the request classes takes a tenth of a second, so a thread does it.

    :param kind_path: see :func:`airflow_qianfan.api.actions.load`.
    """
    if kind_path not in _LOADED:
        await asyncio.to_thread(_load, kind_path)
        _LOADED.add(kind_path)


def _load(kind_path: str) -> None:
    from airflow_qianfan.api.actions import load

    for module in _MODULES:
        import_module(f"airflow_qianfan.{module}")
    load(kind_path)
