"""pytest fixtures: a running emulator with the connection that points at it, and an Airflow to run DAGs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.sdk import DAG

    from airflow_qianfan.emulator import QianfanEmulator

_BUNDLE = "qianfan-tests"
_SECONDS = {"POLL_INTERVAL": "0.2", "MAX_POLL_INTERVAL": "0.2", "SETTLE_SECONDS": "0.2"}


@pytest.fixture
def qianfan_emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[QianfanEmulator]:
    """Run an emulator for one test, and point ``AIRFLOW_CONN_QIANFAN_DEFAULT`` at it.

    It is strict: base models, train modes and hyper-parameters that Qianfan's documents exclude are refused,
    and data-set versions that do not exist; ``qianfan_emulator.add_dataset("ds-…")`` makes one.
    A training takes about two seconds and a model version about one. Operators and sensors that are made
    during the test poll every 0.2 seconds.
    """
    from airflow_qianfan.emulator import QianfanEmulator

    for name, seconds in _SECONDS.items():
        monkeypatch.setenv(f"AIRFLOW__QIANFAN__{name}", seconds)
    with QianfanEmulator(task_seconds=2.0, model_seconds=1.0, strict=True) as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_QIANFAN_DEFAULT", emulator.connection_json)
        yield emulator


class AirflowForTests:
    """Runs DAGs in this process, with a metadata database of its own."""

    def test(self, dag: DAG, **arguments: Any) -> DagRun:
        """Run ``dag.test()``, which needs the DAG in the database, and return the ended run.

        :param dag: any DAG; its file need not be in the DAGs folder.
        :param arguments: arguments of ``dag.test()``, such as ``run_conf``.
        """
        from airflow.dag_processing.bundles.manager import DagBundlesManager

        from airflow_qianfan.compat import store_dag

        DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
        store_dag(dag, _BUNDLE)
        run: DagRun = dag.test(**arguments)
        return run


@pytest.fixture(scope="session")
def qianfan_airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowForTests]:
    """Give Airflow an empty metadata database in a temporary folder until all tests have ended.

    The database that is configured is left alone. No DAGs folder and no example DAGs are read.
    """
    folder = tmp_path_factory.mktemp("airflow")
    (folder / "dags").mkdir()
    bundle = {
        "name": _BUNDLE,
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(folder / "dags")},
    }
    database = folder / "airflow.db"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        environment.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))
        environment.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"sqlite:///{database}")
        environment.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC", f"sqlite+aiosqlite:///{database}")
        from airflow.utils.db import initdb

        _connect()
        initdb()
        yield AirflowForTests()
    _connect()


def _connect() -> None:
    """Let Airflow use the database that is configured now."""
    from airflow import settings

    settings.dispose_orm()
    settings.configure_vars()  # type: ignore[no-untyped-call]
    settings.configure_orm()  # type: ignore[no-untyped-call]
