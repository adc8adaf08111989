"""Whatever the other side answers: an error of ours or a result, never a secret."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import httpx
import pytest
from cases import cases
from examples import CREATE, READ, REQUESTS
from hostile import BODIES, HEADERS, STATUSES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire import API_KEY, PROXY_PASSWORD, SECRET_KEY, SECRETS, SESSION_TOKEN, Caller, reply, response

from airflow_qianfan.api.actions import finetuning, model
from airflow_qianfan.api.actions.base import Page, PagedRequest
from airflow_qianfan.exceptions import QianfanConnectionError, QianfanError

CREDENTIALS = {
    "session_token": SESSION_TOKEN,
    "api_key": API_KEY,
    "proxy": f"http://user:{PROXY_PASSWORD}@127.0.0.1:9",
}


def all_texts(error: BaseException) -> str:
    """Everything that a traceback or a log may show of an error."""
    texts = []
    shown: BaseException | None = error
    while shown is not None:
        texts += [str(shown), repr(shown), repr(vars(shown))]
        shown = shown.__cause__
    return "\n".join(texts)


# Echoes


def canonical_echo(request: httpx.Request) -> str:
    """The canonical request, as services like to show it when a signature does not match."""
    token = request.headers["x-bce-security-token"].replace("+", "%2B").replace("/", "%2F")
    return f"canonical: x-bce-security-token:{token.replace('=', '%3D')}"


ECHOES: dict[str, Callable[[httpx.Request], str]] = {
    "authorization": lambda request: request.headers["Authorization"],
    "session-token": lambda request: f"token {request.headers['x-bce-security-token']} expired",
    "canonical-request": canonical_echo,
    "all-headers": lambda request: str(dict(request.headers)),
    "secret-key": lambda request: f"the key {SECRET_KEY}",
    "proxy": lambda request: f"user:{PROXY_PASSWORD}@proxy and user:proxy-p@ssword@proxy",
    "in-the-distance": lambda request: " " * 9_990 + SECRET_KEY,
}

PLACES: dict[str, Callable[[str], tuple[int, Any, dict[str, str]]]] = {
    "message": lambda text: (400, {"code": "SignatureDoesNotMatch", "message": text}, {}),
    "code": lambda text: (403, {"code": text}, {}),
    "request-id": lambda text: (500, {"code": "InternalError", "requestId": text}, {}),
    "request-id-of-a-success": lambda text: (200, {"requestId": text, "result": {"x": 1}}, {}),
    "numeric-message": lambda text: (200, {"error_code": 14, "error_msg": text}, {}),
    "nested": lambda text: (400, {"code": {"x": [text]}, "message": [text]}, {}),
    "error-headers": lambda text: (
        400,
        None,
        {"X-Bce-Error-Code": text, "X-Bce-Error-Message": text, "x-bce-request-id": text},
    ),
    "location": lambda text: (302, None, {"Location": f"/login?{text}"}),
    "page": lambda text: (502, text.encode(), {}),
    "page-under-200": lambda text: (200, text.encode(), {}),
    "array": lambda text: (200, [text], {}),
    "result-of-another-type": lambda text: (200, {"result": text}, {}),
    "member-of-another-type": lambda text: (200, {"result": {"jobList": {text: text}}}, {}),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_echoed_secret_is_in_no_error_and_no_log(echo, place, connect, wire, slept, caplog):
    caplog.set_level(logging.DEBUG)

    def answer(request: httpx.Request) -> httpx.Response:
        text = echo(request)
        signatures.append(request.headers["Authorization"].rpartition("/")[2])
        status, body, headers = place(text)
        return reply(body, status, headers)(request)

    for request in (CREATE, READ):
        signatures: list[str] = []
        wire.script(answer)
        try:
            connect(max_retries=1, **CREDENTIALS).call(request)
            shown = ""
        except QianfanError as error:
            shown = all_texts(error)
        for secret in (*SECRETS, SECRET_KEY[:10], *signatures):
            assert secret not in shown
            assert secret not in caplog.text


def test_secret_in_a_failure_of_the_transport_is_not_shown(connect, wire, slept, caplog):
    caplog.set_level(logging.DEBUG)

    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ProxyError(f"407 {SECRET_KEY} {SESSION_TOKEN} {PROXY_PASSWORD}", request=request)

    wire.script(fail)
    with pytest.raises(QianfanConnectionError) as caught:
        connect(max_retries=1, **CREDENTIALS).call(CREATE)
    shown = all_texts(caught.value) + caplog.text
    assert "407 *** *** ***" in shown
    assert not [secret for secret in SECRETS if secret in shown]


def test_caller_sees_the_text_around_a_secret(connect, wire):
    wire.script(reply({"code": "AccessDenied", "message": f"key {SECRET_KEY} lacks a policy"}, 403))
    with pytest.raises(QianfanError, match=r"key \*\*\* lacks a policy"):
        connect().call(CREATE)


# Anything at all


def check_result(result: Any) -> None:
    """A result that came through can be worked with, and stored."""
    for row in result.rows if isinstance(result, Page) else [result]:
        if hasattr(row, "output"):
            json.dumps(row.output(), allow_nan=False)
        if isinstance(row, finetuning.FineTuningTask | model.Model):
            assert row.status.is_terminal in (True, False)


@pytest.fixture(scope="class", params=["sync", "async"])
def hostile(request) -> Iterator[tuple[Caller, list[Callable[[], httpx.Response]]]]:
    """A client whose transport gives the answer that lies in the list."""
    answers: list[Callable[[], httpx.Response]] = []
    transport = httpx.MockTransport(lambda _: answers[0]())
    with (
        pytest.MonkeyPatch.context() as patch,
        asyncio.Runner() if request.param == "async" else nullcontext() as runner,
    ):
        patch.setattr(
            httpx.HTTPTransport, "handle_request", lambda _, request: transport.handle_request(request)
        )
        patch.setattr(
            httpx.AsyncHTTPTransport,
            "handle_async_request",
            lambda _, request: transport.handle_async_request(request),
        )
        caller = Caller(runner, max_retries=0, **CREDENTIALS)
        yield caller, answers
        caller.close()


class TestAnyAnswer:
    @settings(max_examples=cases(4000), deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        status=STATUSES,
        headers=HEADERS,
        body=BODIES,
        number=st.integers(-1, len(REQUESTS) - 1),
        walk=st.booleans(),
    )
    def test_gives_a_result_or_an_error_of_ours(self, hostile, status, headers, body, number, walk):
        caller, answers = hostile
        answers[:] = [lambda: response(body, status, list(headers.items()))]
        try:
            if number < 0:
                assert isinstance(caller.call_action("/v2/x", "CreateX", {"a": 1}), dict)
            elif walk and isinstance(REQUESTS[number], PagedRequest):
                caller.rows(REQUESTS[number], limit=100)
            else:
                check_result(caller.call(REQUESTS[number]))
        except QianfanError as error:
            shown = all_texts(error)
            assert not [secret for secret in SECRETS if secret in shown]
