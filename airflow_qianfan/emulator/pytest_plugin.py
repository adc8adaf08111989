"""The pytest fixture ``qianfan_emulator``: a running emulator and the connection that points at it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow_qianfan.emulator import QianfanEmulator


@pytest.fixture
def qianfan_emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[QianfanEmulator]:
    """Run an emulator for one test and point ``AIRFLOW_CONN_QIANFAN_DEFAULT`` at it.

    A fine-tuning task takes about two seconds and a model about one.
    """
    from airflow_qianfan.emulator import QianfanEmulator

    with QianfanEmulator(task_seconds=2.0, model_seconds=1.0) as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_QIANFAN_DEFAULT", emulator.connection_json)
        yield emulator
