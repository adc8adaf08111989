"""Names that only the tests need, wherever the installed Airflow keeps them."""

from __future__ import annotations

from pathlib import Path
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

__all__ = [
    "AIRFLOW",
    "DagSerialization",
    "deserialize",
    "needs",
    "read_dags",
    "serialize",
    "set_up_stats",
    "tell_exceptions",
]


def needs(major: int, minor: int, why: str) -> pytest.MarkDecorator:
    """Leave a test or a case out where Airflow cannot do what it shows.

    :param why: what this version of Airflow lacks.
    """
    return pytest.mark.skipif((major, minor) > AIRFLOW, reason=f"Airflow before {major}.{minor}: {why}")


def read_dags(folder: Path) -> Any:
    """Return the ``DagBag`` of a folder."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # 3.1
        from airflow.models.dagbag import DagBag

        return DagBag(folder, include_examples=False)
    return DagBag(folder, bundle_name="dags-folder")


def tell_exceptions(patch: pytest.MonkeyPatch) -> None:
    """Let callbacks find the exception in ``dag.test()`` too; before 3.3 they find it on a worker only."""
    from airflow.sdk.execution_time import task_runner

    end = task_runner.finalize

    def finalize(ti: Any, state: Any, context: Any, log: Any, error: BaseException | None = None) -> None:
        if error is not None:
            context["exception"] = error
        end(ti, state, context, log, error)

    patch.setattr(task_runner, "finalize", finalize)


def set_up_stats() -> None:
    """Let Airflow read ``[metrics]`` of its configuration anew, as it does when a process begins."""
    try:
        from airflow.sdk.observability import stats
        from airflow.sdk.observability.metrics.stats_utils import get_stats_factory
    except ImportError:  # 3.1
        from airflow.configuration import conf
        from airflow.metrics.base_stats_logger import NoStatsLogger
        from airflow.metrics.statsd_logger import get_statsd_logger
        from airflow.stats import Stats

        is_on = conf.getboolean("metrics", "statsd_on")
        type(Stats).factory = get_statsd_logger if is_on else NoStatsLogger
        Stats.instance = None
        return
    if AIRFLOW < (3, 3):
        stats.Stats.initialize(factory=get_stats_factory(stats.Stats))
    else:
        stats.initialize(factory=get_stats_factory(), export_legacy_names=True)
