"""A clock and a service for all that waits."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
from fake_qianfan import CONNECTION, FakeQianfan
from virtual_time import Clock

from airflow_qianfan.api.client import AsyncQianfanClient
from airflow_qianfan.api.config import QianfanConfig
from airflow_qianfan.metrics import Metrics
from airflow_qianfan.triggers.base.poller import Poller


@pytest.fixture(autouse=True)
def _same_chances() -> None:
    """Have the same jitter in every run."""
    random.seed(20_240_516)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time, for the event loop and everything else; it moves only while everybody sleeps."""
    clock = Clock()
    clock.control(asyncio.get_running_loop(), monkeypatch)
    return clock


@pytest.fixture
def qianfan(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> FakeQianfan:
    """The service to which the default connection leads."""
    qianfan = FakeQianfan()
    qianfan.install(monkeypatch)
    return qianfan


@pytest.fixture
async def make_poller(qianfan: FakeQianfan) -> AsyncIterator[Callable[..., Poller]]:
    """Make a poller that nobody else uses."""
    async with AsyncExitStack() as stack:

        def make(max_qps: float | None = None, metrics: Metrics | None = None) -> Poller:
            config = QianfanConfig(
                access_key_id="AKEXAMPLE",
                secret_access_key="sk",
                endpoint=str(CONNECTION["host"]),
                max_retries=0,
                verify=False,
            )
            poller = Poller(AsyncQianfanClient(config), max_qps, metrics)
            stack.push_async_callback(poller.aclose)
            return poller

        yield make
