"""The transport, the clients and the clock of the unit tests."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs
from wire import ACCESS_KEY, SECRET_KEY, Caller, Wire

from airflow_qianfan.hooks import qianfan


@pytest.fixture(autouse=True)
def _no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit test neither connects to anything nor listens."""

    def refuse(*address: object) -> None:
        raise AssertionError(f"a unit test opens a socket: {address[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "bind", refuse)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Everything that any HTTP client sends."""
    wire = Wire()
    transport = httpx.MockTransport(wire.answer)

    def handle(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        return transport.handle_request(request)

    async def handle_async(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        return await transport.handle_async_request(request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle)
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle_async)
    return wire


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., Caller]]:
    """Make a client, of either kind."""
    callers: list[Caller] = []
    with asyncio.Runner() if request.param == "async" else nullcontext() as runner:

        def make(**settings: Any) -> Caller:
            callers.append(Caller(runner, **settings))
            return callers[-1]

        yield make
        for caller in callers:
            caller.close()


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited for: before each attempt for its slot, and between two attempts."""
    slept: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(asyncio, "sleep", note)
    return slept


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set the connection ``qianfan_default``, as JSON or as a URI."""

    def set_connection(uri: str | None = None, **fields: Any) -> None:
        fields = {"conn_type": "qianfan", "login": ACCESS_KEY, "password": SECRET_KEY, **fields}
        monkeypatch.setenv("AIRFLOW_CONN_QIANFAN_DEFAULT", uri or json.dumps(fields))

    monkeypatch.setattr(qianfan, "_WARNED", set())
    set_connection()
    return set_connection


@pytest.fixture
def logs(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], str]]:
    """All that is logged, by hooks through structlog and by the rest through the standard library."""
    caplog.set_level(logging.DEBUG)
    with capture_logs() as events:
        yield lambda: "\n".join([*(str(event) for event in events), caplog.text])
