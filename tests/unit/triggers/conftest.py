"""A clock and a service for all that waits."""

from __future__ import annotations

import asyncio

import pytest
from fake_qianfan import FakeQianfan
from virtual_time import Clock


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
