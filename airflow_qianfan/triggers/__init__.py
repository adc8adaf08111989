"""One trigger class for each kind of object that is waited for; modules as in ``sensors``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_qianfan.triggers.base.trigger import QianfanTrigger


def load(path: str) -> type[QianfanTrigger]:
    """Return a trigger class.

    Operators and sensors name them by text, since a DAG file is parsed without them.

    :param path: module and name, such as ``finetuning.QianfanFineTuningTaskTrigger``.
    """
    module, _, name = path.rpartition(".")
    trigger: type[QianfanTrigger] = getattr(import_module(f"{__name__}.{module}"), name)
    return trigger
