"""The Actions of ``/v2/model``, and what they keep."""

from __future__ import annotations

# Each module registers its Actions.
from airflow_qianfan.emulator.model import compression, export, preset, version
from airflow_qianfan.emulator.model.model_set import ROUTE
from airflow_qianfan.emulator.model.records import Model, ModelSet

__all__ = ["ROUTE", "Model", "ModelSet", "compression", "export", "preset", "version"]
