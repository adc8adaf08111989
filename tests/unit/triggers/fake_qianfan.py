"""The service as triggers and sensors see it, behind the HTTP transport: objects of any kind, and faults."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import structlog

from airflow_qianfan.api.objects import Phase, RemoteObject

SECRET = "s3nt1nel-secret-access-key"
TOKEN = "s3nt1nel-session-token"
CONNECTION = {
    "conn_type": "qianfan",
    "login": "AKEXAMPLE",
    "password": SECRET,
    "host": "http://127.0.0.1:9",
    "extra": {"session_token": TOKEN, "timeout": 60, "max_retries": 0, "verify": False},
}
LISTS = {"DescribeFineTuningTasks": "taskList"}

Answer = Callable[[], httpx.Response] | type[httpx.HTTPError]


def answer(body: Any, status: int = 200, **headers: str) -> Callable[[], httpx.Response]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    # Its body is still to be read, as it is when it comes from a network.
    return lambda: httpx.Response(status, headers=headers, stream=httpx.ByteStream(content))


def refusal(code: str, status: int = 403, message: str = "No.") -> Callable[[], httpx.Response]:
    return answer({"requestId": "r", "code": code, "message": message}, status)


def throttled(retry_after: float | None = None) -> Callable[[], httpx.Response]:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    body = {"requestId": "r", "code": "RequestLimitExceeded", "message": "Too many requests."}
    return answer(body, 429, **headers)


def server_error(status: int = 500, **headers: str) -> Callable[[], httpx.Response]:
    return answer({"requestId": "r", "code": "InternalError", "message": "Oops."}, status, **headers)


NUMERIC = answer({"error_code": 336100, "error_msg": "busy"})
MALFORMED = answer(b"<html>")
FALSE = answer({"requestId": "r", "result": False})
MISSING = refusal("NoSuchKey", 404, "It does not exist.")
REFUSED_KEY = refusal("InvalidAccessKeyId")
RESET = httpx.ReadError


@dataclass
class Remote:
    """One object at the service. Tests change ``word``, the service's word for its state, and ``members``."""

    kind: type[RemoteObject]
    object_id: str
    word: str
    parent_id: str | None = None
    members: dict[str, Any] = field(default_factory=dict)
    is_listed: bool = True

    def row(self) -> dict[str, Any]:
        """Return it as a list shows it."""
        members = {self.kind.id_member: self.object_id}
        if self.kind.state_member:
            members[self.kind.state_member] = self.word
        if self.kind.parent_member not in ("", self.kind.id_member):
            members[self.kind.parent_member] = self.parent_id
        fields = self.kind.model_fields
        row = {fields[name].alias or name: value for name, value in members.items()} | self.members
        return {name: value for name, value in row.items() if name != "runProgress"}

    def detail(self) -> dict[str, Any]:
        """Return it as a request of its own shows it."""
        return self.row() | self.members


@dataclass
class Call:
    """A request that arrived."""

    action: str
    body: dict[str, Any]
    time: float
    context: dict[str, Any]
    key: str


@dataclass
class Fault:
    answer: Answer | None
    action: str | None
    times: float
    seconds: float


class FakeQianfan:
    """Answers requests; each takes some seconds."""

    def __init__(self, seconds: float = 0.005) -> None:
        self.seconds = seconds
        self.calls: list[Call] = []
        self.in_flight = self.most_in_flight = 0
        self.keys: set[str] | None = None
        self._changes: list[asyncio.Future[None]] = []
        self.objects: list[Remote] = []
        self._faults: list[Fault] = []

    def add(
        self,
        kind: type[RemoteObject],
        object_id: str,
        word: str | None = None,
        *,
        parent_id: str | None = None,
        **members: Any,
    ) -> Remote:
        """Have an object; without a word it is in the state that the kind begins with."""
        if word is None:
            assert kind.states is not None
            word = kind.states.read(None).word
        remote = Remote(kind, object_id, word, parent_id, members)
        self.objects.append(remote)
        return remote

    def end(self, phase: Phase = Phase.SUCCEEDED) -> None:
        """Let all objects end."""
        for remote in self.objects:
            remote.word = word_of(remote.kind, phase)

    def fail(
        self, answer: Answer | None, *, action: str | None = None, times: float = 1, seconds: float = 0.0
    ) -> None:
        """Answer the next requests like this, or after some more seconds as always.

        :param action: only requests of this Action.
        :param times: how many requests; ``math.inf`` for all until :meth:`heal`.
        :param seconds: how much longer it takes.
        """
        self._faults.append(Fault(answer, action, times, seconds))

    def heal(self) -> None:
        self._faults.clear()

    def count(self, action: str | None = None, since: int = 0) -> int:
        return len(self.of(action, since))

    def of(self, action: str | None = None, since: int = 0) -> list[Call]:
        return [call for call in self.calls[since:] if action in (None, call.action)]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so; it is looked at whenever a request arrives or has been answered.

        The clock ends a test that waits for what never comes.
        """
        while not condition():
            self._changes.append(asyncio.get_running_loop().create_future())
            await self._changes[-1]

    async def more(self, number: int, action: str | None = None) -> None:
        """Wait until so many more requests have arrived."""
        goal = self.count(action) + number
        await self.until(lambda: self.count(action) >= goal)

    def _tell_change(self) -> None:
        changes, self._changes = self._changes, []
        for change in changes:
            if not change.done():
                change.set_result(None)

    @property
    def actions(self) -> list[str]:
        return [call.action for call in self.calls]

    @property
    def times(self) -> list[float]:
        return [call.time for call in self.calls]

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Stand behind every HTTP client, and behind the default connection."""

        def handle(_: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
            found, seconds = self._take(request)
            time.sleep(seconds)
            return found(request)

        async def handle_async(_: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
            found, seconds = self._take(request)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            try:
                await asyncio.sleep(seconds)
            finally:
                self.in_flight -= 1
                self._tell_change()
            return found(request)

        monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle)
        monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle_async)
        connect(monkeypatch)

    def _take(self, request: httpx.Request) -> tuple[Callable[[httpx.Request], httpx.Response], float]:
        action, body = request.url.params["Action"], json.loads(request.content)
        key = request.headers["Authorization"].split("/")[1]
        self.calls.append(Call(action, body, time.monotonic(), structlog.contextvars.get_contextvars(), key))
        self._tell_change()
        patience = request.extensions["timeout"]["read"]
        for fault in self._faults:
            if fault.times > 0 and fault.action in (None, action):
                fault.times -= 1
                if self.seconds + fault.seconds > patience:
                    hanging = Fault(httpx.ReadTimeout, action, 0, 0)
                    return self._faulty(hanging, action, body), patience
                return self._faulty(fault, action, body), self.seconds + fault.seconds
        if self.keys is not None and key not in self.keys:
            return lambda _: REFUSED_KEY(), self.seconds
        # What it finds is what is there when the answer comes.
        return lambda _: self._answer(action, body)(), self.seconds

    def _faulty(
        self, fault: Fault, action: str, body: dict[str, Any]
    ) -> Callable[[httpx.Request], httpx.Response]:
        def respond(request: httpx.Request) -> httpx.Response:
            if fault.answer is None:
                return self._answer(action, body)()
            if isinstance(fault.answer, type):
                raise fault.answer("from the transport", request=request)
            return fault.answer()

        return respond

    def _answer(self, action: str, body: dict[str, Any]) -> Callable[[], httpx.Response]:
        if action in LISTS:
            return self._page(LISTS[action], body)
        for remote in self.objects:
            if remote.object_id not in body.values():
                continue
            if action == remote.kind.describe(remote.object_id).action:
                return answer({"requestId": "r", "result": remote.detail()})
            stop = remote.kind.stop(remote.object_id)
            if stop is not None and action == stop.action:
                assert remote.kind.states is not None
                state = remote.kind.states.read(remote.word)
                if not state.is_final or (remote.kind.goes_on and state.phase is Phase.SUCCEEDED):
                    remote.word = word_of(remote.kind, Phase.STOPPED)
                return answer({"requestId": "r", "result": True})
        return MISSING

    def _page(self, member: str, body: dict[str, Any]) -> Callable[[], httpx.Response]:
        rows = [
            remote.row()
            for remote in self.objects
            if remote.is_listed and remote.parent_id is not None and remote.parent_id in body.values()
        ]
        start, size = int(body.get("marker") or 0), int(body["maxKeys"])
        info = {"isTruncated": len(rows) > start + size, "nextMarker": str(start + size)}
        return answer({"requestId": "r", "result": {member: rows[start : start + size], "pageInfo": info}})


def word_of(kind: type[RemoteObject], phase: Phase) -> str:
    """Return the service's word for a state of this phase."""
    assert kind.states is not None
    return next(state.word for state in kind.states.documented.values() if state.phase is phase)


def connect(monkeypatch: pytest.MonkeyPatch, name: str = "QIANFAN_DEFAULT", **members: Any) -> None:
    """Set a connection of Airflow."""
    extra = CONNECTION["extra"] | members.pop("extra", {})  # type: ignore[operator]
    connection = json.dumps({**CONNECTION, **members, "extra": extra})
    monkeypatch.setenv(f"AIRFLOW_CONN_{name}", connection)
