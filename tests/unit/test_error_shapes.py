"""In which shapes the service and what is before it tell an error, and what is none."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from examples import READ
from wire import ok, reply

from airflow_qianfan.api.actions.finetuning import StopFineTuningTask
from airflow_qianfan.exceptions import (
    QianfanAPIError,
    QianfanError,
    QianfanGatewayError,
    QianfanInvalidAccessKeyError,
    QianfanNotFoundError,
    QianfanOperationFailedError,
    QianfanPermissionError,
    QianfanRequestError,
    QianfanResponseError,
    QianfanServerError,
    QianfanSignatureError,
    QianfanThrottledError,
)

SHAPES: dict[str, tuple[Any, tuple[type[QianfanAPIError], str | None, str, str | None]]] = {
    "as-documented": (
        reply({"requestId": "r", "code": "AccessDenied", "message": "Access denied."}, 403),
        (QianfanPermissionError, "AccessDenied", "Access denied.", "r"),
    ),
    "capitalised-without-request-id": (
        reply({"Code": "InvalidMarker", "Message": "bad marker"}, 400),
        (QianfanRequestError, "InvalidMarker", "bad marker", None),
    ),
    "capitalised-with-request-id-in-a-header": (
        reply({"Code": "InvalidMarker", "Message": "bad marker"}, 400, {"x-bce-request-id": "h"}),
        (QianfanRequestError, "InvalidMarker", "bad marker", "h"),
    ),
    "numeric-with-log-id": (
        reply({"error_code": 500001, "error_msg": "param invalid", "log_id": 7}),
        (QianfanRequestError, "500001", "param invalid", "7"),
    ),
    "numeric-as-text": (
        reply({"error_code": "336100", "error_msg": "busy", "request_id": "r"}),
        (QianfanServerError, "336100", "busy", "r"),
    ),
    "numeric-with-a-status": (
        reply({"error_code": 510202, "error_msg": "job not exist"}, 400),
        (QianfanNotFoundError, "510202", "job not exist", None),
    ),
    "numeric-beside-a-result": (
        reply({"error_code": 18, "error_msg": "qps", "result": {}}),
        (QianfanThrottledError, "18", "qps", None),
    ),
    "headers-only-unknown-key": (
        reply(
            None,
            400,
            {
                "X-Bce-Error-Code": "IamSignatureInvalid",
                "X-Bce-Error-Message": "NotFound, cause: Could not find credential.",
                "x-bce-request-id": "h",
            },
        ),
        (
            QianfanInvalidAccessKeyError,
            "IamSignatureInvalid",
            "NotFound, cause: Could not find credential.",
            "h",
        ),
    ),
    "headers-only-wrong-secret": (
        reply(
            None,
            403,
            {
                "X-Bce-Error-Message": "SignatureDoesNotMatch, cause: Fail to authn user: "
                "Signature does not match"
            },
        ),
        (
            QianfanSignatureError,
            None,
            "SignatureDoesNotMatch, cause: Fail to authn user: Signature does not match",
            None,
        ),
    ),
    "code-without-result-under-200": (
        reply({"requestId": "r", "code": "AccessDenied", "message": "no"}),
        (QianfanPermissionError, "AccessDenied", "no", "r"),
    ),
    "code-beside-a-null-result-under-200": (
        reply({"requestId": "r", "code": "AccessDenied", "message": "no", "result": None}),
        (QianfanPermissionError, "AccessDenied", "no", "r"),
    ),
    "error-as-text-under-200": (
        reply({"requestId": "r", "error": "internal trouble"}),
        (QianfanAPIError, None, "internal trouble", "r"),
    ),
    "error-as-an-object-under-200": (
        reply({"error": {"code": "NoSuchKey", "message": "gone"}, "result": None}),
        (QianfanNotFoundError, "NoSuchKey", "gone", None),
    ),
    "error-as-an-object-of-another-shape-under-200": (
        reply({"error": {"why": "x"}}),
        (QianfanAPIError, None, "{'why': 'x'}", None),
    ),
    "page-of-a-firewall": (
        reply(b"<html>blocked</html>", 403),
        (QianfanGatewayError, None, "the answer is '<html>blocked</html>'", None),
    ),
    "json-of-a-gateway": (
        reply({"detail": "blocked"}, 403),
        (QianfanGatewayError, None, "the answer has no message", None),
    ),
    "result-false": (
        reply({"requestId": "r", "result": False}),
        (
            QianfanOperationFailedError,
            None,
            "the service answered result: false, it did not do what was asked",
            "r",
        ),
    ),
    "page-of-a-gateway": (
        reply(b"<html>\n<h1>Bad gateway</h1></html>", 502),
        (QianfanServerError, None, "the answer is '<html> <h1>Bad gateway</h1></html>'", None),
    ),
    "no-message": (
        reply({"code": "AccessDenied"}, 403),
        (QianfanPermissionError, "AccessDenied", "the answer has no message", None),
    ),
    "members-of-other-types": (
        reply({"code": ["x"], "message": {"a": 1}, "requestId": 5}, 400),
        (QianfanRequestError, "['x']", "{'a': 1}", "5"),
    ),
}


@pytest.mark.parametrize(("answer", "expected"), SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("typed", [True, False], ids=["call", "call_action"])
def test_every_shape_of_an_error_is_understood(answer, expected, typed, connect, wire):
    wire.script(answer)
    caller = connect(max_retries=0)
    args = (READ,) if typed else (READ.route, READ.action, READ.body())
    with pytest.raises(QianfanAPIError) as caught:
        (caller.call if typed else caller.call_action)(*args)
    error = caught.value
    assert (type(error), error.code, error.message, error.request_id) == expected


SUCCESSES = {
    "result-true": {"requestId": "r", "result": True},
    "error-code-0": {"error_code": 0, "result": True},
    "error-code-0-as-text": {"error_code": "0", "result": True},
    "code-beside-a-result": {"code": "OK", "result": True},
    "code-0": {"code": 0, "result": True},
    "empty-error": {"error": None, "result": True},
    "error-beside-a-result": {"error": "ignored", "result": True},
    "empty-error-code": {"error_code": "", "result": True},
}


@pytest.mark.parametrize("body", SUCCESSES.values(), ids=SUCCESSES)
def test_what_is_no_error_is_none(body, connect, wire):
    wire.script(reply(body))
    assert connect().call(StopFineTuningTask(task_id="task-1")) is True


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_an_error_and_not_followed(status, connect, wire):
    wire.script(reply(None, status, {"Location": "https://elsewhere.example/login"}), ok())
    with pytest.raises(QianfanResponseError, match=r"redirects to 'https://elsewhere\.example/login'"):
        connect().call(READ)
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    "location", ["javascript:x", "http://[", "http://a:b:c/", "http://x:99999/", "//", ""]
)
def test_redirect_to_nowhere_is_an_error_of_ours(location, connect, wire):
    wire.script(reply(None, 302, {"Location": location}))
    with pytest.raises(QianfanError):
        connect(max_retries=0).call(READ)


def test_redirect_with_bytes_that_are_no_text_is_an_error_of_ours(connect, wire):
    wire.script(lambda request: httpx.Response(302, headers=[(b"Location", b"\xff\xfe")]))
    with pytest.raises(QianfanResponseError):
        connect().call(READ)
