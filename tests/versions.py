"""Names that only the tests need, wherever the installed Airflow keeps them."""

from __future__ import annotations

from typing import Any

import pytest
from airflow import __version__

AIRFLOW = tuple(int(part) for part in __version__.split(".")[:2])
"""The installed version, such as ``(3, 3)``."""

DagSerialization: Any
try:
    from airflow.sdk.serde import deserialize, serialize
    from airflow.serialization.serialized_objects import DagSerialization
except ImportError:  # 3.1
    from airflow.serialization.serde import deserialize, serialize
    from airflow.serialization.serialized_objects import SerializedDAG as DagSerialization

__all__ = ["AIRFLOW", "DagSerialization", "deserialize", "needs", "serialize"]


def needs(major: int, minor: int, why: str) -> pytest.MarkDecorator:
    """Leave a test or a case out where Airflow cannot do what it shows.

    :param why: what this version of Airflow lacks.
    """
    return pytest.mark.skipif((major, minor) > AIRFLOW, reason=f"Airflow before {major}.{minor}: {why}")
