"""A transport that answers what a test says, and clients that are called in the same way, sync or async."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from typing import Any

import httpx

from airflow_qianfan.api.client import AsyncQianfanClient, QianfanClient
from airflow_qianfan.api.config import QianfanConfig
from airflow_qianfan.api.signing import BceV1Auth
from airflow_qianfan.hooks.qianfan import QianfanHook

ACCESS_KEY = "AKEXAMPLE0123456789abcdef0123456"
SECRET_KEY = "SKEXAMPLEfedcba9876543210fedcba9"
SESSION_TOKEN = "STSTOKEN+/=example"
PROXY_PASSWORD = "proxy-p%40ssword"
ENDPOINT = "http://127.0.0.1:9"

API_KEY = "bce-v3/ALTAK-EXAMPLE/0123456789abcdef0123456789abcdef01234567"

SECRETS = (
    SECRET_KEY,
    SESSION_TOKEN,
    "STSTOKEN%2B%2F%3Dexample",
    PROXY_PASSWORD,
    "proxy-p@ssword",
    API_KEY,
    "bce-v3%2FALTAK-EXAMPLE%2F0123456789abcdef0123456789abcdef01234567",
)

Answer = Callable[[httpx.Request], httpx.Response] | type[httpx.HTTPError]


def reply(body: Any = None, status: int = 200, headers: dict[str, Any] | None = None) -> Answer:
    """An answer: bytes as they are, None for an empty body, anything else as JSON."""
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda request: response(content, status, headers)


def response(content: bytes, status: int = 200, headers: Any = None) -> httpx.Response:
    """An answer whose body is still to be read and decoded, as it is when it comes from a network."""
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(content))


def ok(result: Any = True) -> Answer:
    return reply({"requestId": "req-1", "result": result})


def refusal(code: str, status: int = 400, message: str = "No.") -> Answer:
    return reply({"requestId": "req-1", "code": code, "message": message}, status)


def zipped(body: bytes, times: int = 1) -> Answer:
    for _ in range(times):
        body = gzip.compress(body)
    return reply(body, headers={"Content-Encoding": ", ".join(["gzip"] * times)})


class Wire:
    """Answers one request after the other; the last answer again and again."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[httpx.Request] = []

    def script(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests = []

    @property
    def last(self) -> httpx.Request:
        return self.requests[-1]

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, type):
            raise answer("from the transport", request=request)
        return answer(request)


class Caller:
    """A client, sync or async, behind one blocking form."""

    def __init__(self, runner: asyncio.Runner | None, **settings: Any) -> None:
        defaults = {
            "access_key_id": ACCESS_KEY,
            "secret_access_key": SECRET_KEY,
            "endpoint": ENDPOINT,
            # Without certificates a client is made ten times faster.
            "verify": False,
        }
        self.config = QianfanConfig(**{**defaults, **settings})
        self._runner = runner
        self.client: Any = (AsyncQianfanClient if runner else QianfanClient)(self.config)

    def set_clock(self, times: list[float]) -> None:
        """Sign with these times, one an attempt."""
        clock = iter(times)
        self.client._http.auth = BceV1Auth(ACCESS_KEY, SECRET_KEY, clock=lambda: next(clock))

    def call(self, request: Any) -> Any:
        return self._result(self.client.call(request))

    def call_action(self, *args: Any, **kwargs: Any) -> Any:
        return self._result(self.client.call_action(*args, **kwargs))

    def rows(self, request: Any, limit: int = 10_000) -> list[Any]:
        """The rows of a list; more than ``limit`` are an endless list."""
        rows: list[Any] = []
        if self._runner is None:
            for row in self.client.iterate(request):
                rows.append(row)
                assert len(rows) <= limit
            return rows

        async def collect() -> list[Any]:
            async for row in self.client.iterate(request):
                rows.append(row)
                assert len(rows) <= limit
            return rows

        return self._runner.run(collect())

    def close(self) -> None:
        self._result(self.client.aclose() if self._runner else self.client.close())

    def _result(self, value: Any) -> Any:
        return self._runner.run(value) if self._runner else value


def config_of(hook: QianfanHook, how: str) -> QianfanConfig:
    """The settings that a hook makes of its connection, on either side."""
    if how == "sync":
        return hook.client._config

    async def read() -> QianfanConfig:
        async with hook.async_client() as client:
            return client._config

    return asyncio.run(read())
