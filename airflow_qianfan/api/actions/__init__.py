"""One request class for each Action, its result class beside it; a module for each route."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def load(path: str) -> Any:
    """Return a request class, or the class of a kind of object.

    Operators and triggers name them by text, since building the classes costs more than parsing a DAG file.

    :param path: module and name, such as ``finetuning.CreateFineTuningJob``.
    """
    module, _, name = path.rpartition(".")
    return getattr(import_module(f"{__name__}.{module}"), name)
