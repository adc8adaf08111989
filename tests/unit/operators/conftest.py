"""An emulator without sockets and without waiting, and runs of tasks that create something there."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import httpx
import pytest
from creating import KINDS, TASK_LOG, WHOLE_TRAINING, Work
from in_process import HOUR, InProcessEmulator


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> InProcessEmulator:
    """An emulator whose trainings and models take an hour of its own time."""
    emulator = InProcessEmulator(task_seconds=HOUR, model_seconds=HOUR)
    transport = httpx.MockTransport(emulator.handle)
    monkeypatch.setattr(
        httpx.HTTPTransport, "handle_request", lambda _, request: transport.handle_request(request)
    )
    monkeypatch.setattr(time, "sleep", emulator.sleep)
    monkeypatch.setenv("AIRFLOW_CONN_QIANFAN_DEFAULT", emulator.connection)
    monkeypatch.setenv("AIRFLOW__QIANFAN__SETTLE_SECONDS", "30")
    return emulator


@pytest.fixture
def task_log(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What the log of the task says so far, a line for each entry, with its level."""
    caplog.set_level(logging.INFO, TASK_LOG.name)

    def read() -> str:
        records = (record for record in caplog.records if record.name == TASK_LOG.name)
        return "\n".join(f"{record.levelname} {record.getMessage()}" for record in records)

    return read


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def work(request: pytest.FixtureRequest, emulator: InProcessEmulator) -> Work:
    """A task that creates one object, of each kind."""
    return Work(emulator, request.param)


@pytest.fixture
def work_on(emulator: InProcessEmulator) -> Callable[[str], Work]:
    """A task that creates one object of a kind."""
    return lambda kind: Work(emulator, KINDS[kind])


@pytest.fixture
def training(emulator: InProcessEmulator) -> Work:
    """A task that creates a job and a training, and does not wait for it."""
    return Work(emulator, WHOLE_TRAINING)
