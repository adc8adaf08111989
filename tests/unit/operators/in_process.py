"""The emulator without its HTTP server: what a client sends is handed to it, and time is what it is told."""

from __future__ import annotations

import inspect
import json
from typing import Any

import httpx
from wire import response

from airflow_qianfan.emulator import QianfanEmulator

HOUR = 3600.0


class InProcessEmulator(QianfanEmulator):
    """An emulator that opens no socket: its answers come through a transport, its time from ``sleep``."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(port=9, **arguments)
        self.is_down = False
        """Whether connections are refused."""
        self.slept: list[float] = []
        """The seconds of each ``sleep``."""

    @property
    def connection(self) -> str:
        """The connection to it, with few seconds of patience, which nobody has to wait for."""
        connection = json.loads(self.connection_json)
        connection["extra"] |= {"timeout": 5, "max_retries": 0, "verify": False}
        return json.dumps(connection)

    def sleep(self, seconds: float) -> None:
        """Let time pass at the service instead of here."""
        self.slept.append(seconds)
        self.advance(max(0.0, seconds))

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer a request, or fail as a connection does."""
        if self.is_down:
            raise httpx.ConnectError("connection refused", request=request)
        backend: Any = vars(self).get("_backend") or vars(self)["_service"]
        path, _, query = request.url.raw_path.partition(b"?")
        headers = [(name.lower(), value) for name, value in request.headers.raw]
        received = inspect.getmodule(type(backend)).Request(
            request.method, path, query, headers, request.read()
        )
        answer = backend.answer(received)
        patience = request.extensions["timeout"]["read"]
        self.advance(min(answer.hold, patience))
        if answer.hold > patience:
            raise httpx.ReadTimeout("no answer", request=request)
        if answer.status is None:
            raise httpx.ReadError("connection reset by peer", request=request)
        return response(answer.body, answer.status, list(answer.headers.items()))
