"""Real Airflows and emulators for the tests of this folder."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ground import HOUR, Ground, Outcome, settings

from demo.__main__ import DAG_ID
from demo.local_airflow import LocalAirflow, free_ports
from demo.local_qianfan import LocalQianfan

_TABLE = pytest.StashKey[list[Outcome]]()


@pytest.fixture(scope="module")
def qianfan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalQianfan]:
    with LocalQianfan(tmp_path_factory.mktemp("emulator"), task_seconds=6) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, qianfan: LocalQianfan) -> Iterator[LocalAirflow]:
    home = tmp_path_factory.mktemp("airflow home")
    with LocalAirflow(home, env=qianfan.environment()) as airflow:
        airflow.wait_ready(DAG_ID)
        yield airflow


@pytest.fixture
def files_with() -> Callable[[str, Path], list[Path]]:
    """Find the files below a folder, the database included, that contain a text."""

    def find(text: str, folder: Path) -> list[Path]:
        return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]

    return find


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Ground]:
    """An Airflow whose tasks crash, with a fast and a slow Qianfan that know temporary keys only."""

    def qianfan(name: str, seconds: float) -> LocalQianfan:
        folder = tmp_path_factory.mktemp(name)
        token = f"sentinel{secrets.token_hex(20)}"
        arguments = [
            "--port",
            str(free_ports(1)[0]),
            "--state",
            str(folder / "state"),
            "--session-token",
            token,
        ]
        return LocalQianfan(folder, task_seconds=seconds, model_seconds=seconds, arguments=arguments)

    table = request.config.stash.setdefault(_TABLE, [])
    with qianfan("fast", 4) as fast, qianfan("slow", HOUR) as slow:
        home = tmp_path_factory.mktemp("airflow")
        dags = Path(__file__).parent / "dags"
        with LocalAirflow(home, dags_folder=dags, env=settings(fast, slow)) as airflow:
            airflow.wait_ready("actions")
            ground = Ground(airflow, fast, slow, tmp_path_factory.mktemp("marks"), table)
            dags_found = airflow.api.call("GET", "/dags")["dags"]
            ground.unpause(dag["dag_id"] for dag in dags_found)
            yield ground


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
