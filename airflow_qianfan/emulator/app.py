"""The HTTP side: the API's paths, the administration under ``/_emulator/``, and the console."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from airflow_qianfan.emulator import backend as core
from airflow_qianfan.emulator.answers import Registration
from airflow_qianfan.emulator.console import Console
from airflow_qianfan.emulator.data import DatasetVersion
from airflow_qianfan.emulator.dataset import NewDataset, add
from airflow_qianfan.emulator.evaluation import judge
from airflow_qianfan.emulator.faults import Fault

ItemT = TypeVar("ItemT")

Address = tuple[str, int]
Connections = dict[Address, asyncio.Transport]
"""Open connections by the address of the client, so that a fault can cut one."""

_RESET = struct.pack("ii", 1, 0)


class Advance(BaseModel):
    """Body of ``POST /_emulator/clock``: how many seconds to move the clock."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    advance: float = Field(ge=0)


class Judgement(BaseModel):
    """Body of ``POST /_emulator/judgements``: whose answers a person has judged."""

    model_config = ConfigDict(extra="forbid", strict=True)

    eval_task_id: str


class Api:
    """The API's paths, as an ASGI application that can also refuse to answer."""

    def __init__(self, backend: core.Backend, connections: Connections) -> None:
        self._backend = backend
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        http = Request(scope, receive)
        try:
            body = await read(http, self._backend.assumptions.max_body_bytes)
        except ClientDisconnect:
            return
        request = core.Request(
            http.method,
            scope.get("raw_path") or scope["path"].encode(),
            scope["query_string"],
            list(scope["headers"]),
            body,
        )
        answer = self._backend.answer(request)
        if answer.hold:
            await wait_for_disconnect(receive, answer.hold)
        if answer.status is None:
            cut(self._connections.get(scope["client"]))
            await wait_for_disconnect(receive, 1.0)
            return
        headers = dict(answer.headers)
        if body is None:
            headers["Connection"] = "close"
        await Response(answer.body, answer.status, headers)(scope, receive, send)


class Admin:
    """The paths under ``/_emulator/``. They are not signed and exist on the emulator only."""

    def __init__(self, backend: core.Backend) -> None:
        self._backend = backend
        self._orders: TypeAdapter[list[Fault]] = TypeAdapter(list[Fault])
        self._registrations: TypeAdapter[list[Registration]] = TypeAdapter(list[Registration])
        self._datasets: TypeAdapter[list[NewDataset]] = TypeAdapter(list[NewDataset])

    def routes(self) -> list[Route]:
        """Return the paths."""
        return [
            Route("/_emulator/health", self.health),
            Route("/_emulator/journal", self.journal),
            Route("/_emulator/faults", self.faults, methods=["GET", "POST", "DELETE"]),
            Route("/_emulator/answers", self.answers, methods=["GET", "POST", "DELETE"]),
            Route("/_emulator/datasets", self.datasets, methods=["GET", "POST"]),
            Route("/_emulator/judgements", self.judgements, methods=["POST"]),
            Route("/_emulator/clock", self.clock, methods=["GET", "POST"]),
            Route("/_emulator/reset", self.reset, methods=["POST"]),
        ]

    async def health(self, request: Request) -> Response:
        """Tell that the emulator runs."""
        return JSONResponse({"status": "ok"})

    async def journal(self, request: Request) -> Response:
        """Return the journal."""
        with self._backend.lock:
            return JSONResponse(self._backend.store.journal)

    async def faults(self, request: Request) -> Response:
        """Return, order (an object or a list of them) or drop faults."""
        orders = await self._sent(request, self._orders)
        with self._backend.lock:
            if request.method == "DELETE":
                self._backend.faults.clear()
            for order in orders:
                self._backend.faults.add(order)
            return JSONResponse([order.model_dump() for order in self._backend.faults.orders])

    async def answers(self, request: Request) -> Response:
        """Return, register (an object or a list of them) or drop answers."""
        registrations = await self._sent(request, self._registrations)
        with self._backend.lock:
            if request.method == "DELETE":
                self._backend.answers.clear()
            for registration in registrations:
                self._backend.answers.add(registration)
            return JSONResponse(self._backend.answers.rows())

    async def datasets(self, request: Request) -> Response:
        """Return all data-set versions, after adding some (an object or a list of them) if so asked."""
        new = await self._sent(request, self._datasets)
        with self._backend.lock:
            view = self._backend.view()
            for one in new:
                add(view, one)
            return JSONResponse([version.show(view) for version in view.all(DatasetVersion)])

    async def judgements(self, request: Request) -> Response:
        """Let a person judge the answers of an evaluation that waits for that."""
        judgement = Judgement.model_validate_json(await self._body(request))
        with self._backend.lock:
            judge(self._backend.view(), judgement.eval_task_id)
        return JSONResponse({"status": "ok"})

    async def clock(self, request: Request) -> Response:
        """Return the time of the service, after moving it if so asked."""
        body = await self._body(request) if request.method == "POST" else None
        with self._backend.lock:
            if body is not None:
                self._backend.store.advance(Advance.model_validate_json(body).advance)
            store = self._backend.store
            return JSONResponse({"now": store.now(), "offset": store.offset})

    async def _sent(self, request: Request, items: TypeAdapter[list[ItemT]]) -> list[ItemT]:
        """Return what was posted; a single JSON object stands for a list of one."""
        if request.method != "POST":
            return []
        text = (await self._body(request)).strip()
        return items.validate_json(text if text.startswith(b"[") else b"[" + text + b"]")

    async def _body(self, request: Request) -> bytes:
        return await read(request, self._backend.assumptions.max_body_bytes) or b""

    async def reset(self, request: Request) -> Response:
        """Forget everything, ordered faults and registered answers included."""
        self._backend.reset()
        return JSONResponse({"status": "ok"})


def create_app(backend: core.Backend, connections: Connections | None = None) -> Starlette:
    """Return the ASGI application of an emulator.

    :param backend: what answers.
    :param connections: open connections by client; without them, faults cannot cut one.
    """
    api = Api(backend, {} if connections is None else connections)
    handlers: dict[Any, Callable[[Request, Exception], Response]] = {
        ValidationError: _bad_order,
        ValueError: _bad_order,
    }
    routes = [*Admin(backend).routes(), *Console(backend).routes(), Route("/{path:path}", api)]
    return Starlette(routes=routes, exception_handlers=handlers)


async def read(request: Request, limit: int) -> bytes | None:
    """Return the body of a request, None if it is larger than ``limit`` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)


async def wait_for_disconnect(receive: Receive, seconds: float) -> None:
    """Wait until the client is gone, or some seconds have passed."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return


def cut(transport: asyncio.Transport | None) -> None:
    """Close a connection at once with a TCP reset."""
    if transport is None:
        return
    raw = transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


def _bad_order(request: Request, error: Exception) -> Response:
    detail = (
        error.errors(include_url=False, include_input=False, include_context=False)
        if (isinstance(error, ValidationError))
        else str(error)
    )
    return JSONResponse({"error": detail}, status_code=400)
