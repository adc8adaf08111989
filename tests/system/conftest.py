"""Real Airflows and emulators for the tests of this folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from ground import HOUR, Ground, Outcome, settings

from demo.__main__ import DAG_ID
from local_stack.airflow import LocalAirflow
from local_stack.postgres import LocalPostgres
from local_stack.qianfan import CONNECTION_ID, LocalQianfan

_HERE = Path(__file__).parent
_TABLE = pytest.StashKey[list[Outcome]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put these first: one worker runs them, and waits, while the others run all else."""
    items.sort(key=lambda item: _HERE not in item.path.parents)


@pytest.fixture(scope="module")
def qianfan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalQianfan]:
    """A Qianfan whose trainings take an hour, or until its clock is put forward."""
    with LocalQianfan(tmp_path_factory.mktemp("emulator"), task_seconds=HOUR, model_seconds=2) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, qianfan: LocalQianfan) -> Iterator[LocalAirflow]:
    home = tmp_path_factory.mktemp("airflow home")
    polls = {"AIRFLOW__QIANFAN__POLL_INTERVAL": "1", "AIRFLOW__QIANFAN__MAX_POLL_INTERVAL": "1"}
    with LocalAirflow(home, env=polls) as airflow:
        airflow.wait_ready(DAG_ID)
        airflow.api.add_connection(CONNECTION_ID, qianfan.connection)
        yield airflow


@pytest.fixture
def files_with() -> Callable[[str, Path], list[Path]]:
    """Find the files below a folder, the database included, that contain a text."""

    def find(text: str, folder: Path) -> list[Path]:
        return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]

    return find


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Ground]:
    """An Airflow whose tasks crash, with a fast and a slow Qianfan that know temporary keys only.

    Its database is PostgreSQL where that is installed, unless the environment variable QIANFAN_DATABASE is
    ``sqlite``. SQLite bears fewer DAG runs at once.
    """

    def qianfan(name: str, seconds: float) -> LocalQianfan:
        token = f"sentinel{secrets.token_hex(20)}"
        return LocalQianfan(
            tmp_path_factory.mktemp(name),
            task_seconds=seconds,
            model_seconds=seconds,
            session_token=token,
            keep_state=True,
        )

    home = tmp_path_factory.mktemp("airflow")
    stores, database, at_once = [home], {"AIRFLOW__CORE__PARALLELISM": "6"}, 3
    with ExitStack() as running:
        if os.environ.get("QIANFAN_DATABASE") != "sqlite" and LocalPostgres.is_installed():
            postgres = running.enter_context(LocalPostgres())
            stores, database, at_once = [home, postgres.folder], postgres.settings, 10
        fast = running.enter_context(qianfan("fast", 4))
        slow = running.enter_context(qianfan("slow", HOUR))
        dags = _HERE / "dags"
        pods = tmp_path_factory.mktemp("pods")
        env = settings(fast, slow, pods) | database
        airflow = running.enter_context(LocalAirflow(home, dags_folder=dags, env=env))
        airflow.wait_ready("actions")
        for dag in airflow.api.call("GET", "/dags")["dags"]:
            airflow.api.unpause(dag["dag_id"])
        table = request.config.stash.setdefault(_TABLE, [])
        marks = tmp_path_factory.mktemp("marks")
        yield Ground(airflow, fast, slow, marks, pods, at_once, stores, table)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what each row of the crash matrix cost."""
    table = config.stash.get(_TABLE, [])
    if not table:
        return
    terminalreporter.section("crash matrix")
    line = "{:<62} {:<10} {:>9} {:>8} {:<8} {:>7}"
    terminalreporter.line(line.format("row", "mode", "trainings", "versions", "state", "seconds"))
    for one in table:
        counts = len(one.trainings), len(one.versions)
        terminalreporter.line(
            line.format(one.row.name, one.row.mode, *counts, one.state, f"{one.seconds:.1f}")
        )
