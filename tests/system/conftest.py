"""One emulator and one real Airflow for all tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.__main__ import DAG_ID
from demo.local_airflow import LocalAirflow
from demo.local_qianfan import LocalQianfan


@pytest.fixture(scope="session")
def qianfan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalQianfan]:
    with LocalQianfan(tmp_path_factory.mktemp("emulator"), task_seconds=6) as emulator:
        yield emulator


@pytest.fixture(scope="session")
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
