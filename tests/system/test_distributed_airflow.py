"""A distributed Airflow: a worker is killed, a triggerer's triggers move, the broker is started anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from distributed.__main__ import SHORT, SHORT_RUNS, Trial
from distributed.cluster import Cluster, missing

pytestmark = pytest.mark.slow


@pytest.mark.timeout(1800)
def test_each_training_happens_once_while_parts_fail(tmp_path: Path) -> None:
    if packages := missing():
        pytest.skip(
            f"LEFT OUT: the distributed Airflow needs {', '.join(packages)}; `make distributed` installs"
        )
    with Cluster(tmp_path, task_seconds=20) as cluster:
        assert Trial(cluster, Console(width=150)).run(iter(SHORT), SHORT_RUNS, sweep=False) == []
