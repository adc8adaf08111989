"""What is sent again after a failure, and when; each test runs with the sync and the async client."""

from __future__ import annotations

import random
import time
from email.utils import formatdate
from typing import Any, ClassVar

import httpx
import pytest
from examples import CREATE, CREATES, OTHERS, READ, TASK, action_of, all_requests
from wire import ok, refusal, reply

from airflow_qianfan.api.actions.base import Action, Request
from airflow_qianfan.api.call import MAX_ANSWER_BYTES
from airflow_qianfan.api.retry import is_repeatable
from airflow_qianfan.exceptions import (
    QianfanAmbiguousCreateError,
    QianfanAPIError,
    QianfanClockError,
    QianfanConnectionError,
    QianfanRequestError,
    QianfanServerError,
    QianfanThrottledError,
)


def pairs(requests, answers, *usual):
    """Each request with each answer; only the usual answers to all requests, and all to one, are quick."""
    return [
        pytest.param(
            request,
            answer,
            id=f"{action_of(request)}-{name}",
            marks=() if request is requests[0] or name in usual else pytest.mark.slow,
        )
        for request in requests
        for name, answer in answers.items()
    ]


# Which Actions may be repeated

VERBS = ("Describe", "Stop", "Delete", "Cancel", "Deactivate", "Release")


@pytest.mark.parametrize("request_type", all_requests(), ids=action_of)
def test_every_request_class_is_repeatable_by_its_verb_alone(request_type):
    assert is_repeatable(request_type.action) is request_type.__name__.startswith(VERBS)
    assert not hasattr(request_type, "repeatable")


@pytest.mark.parametrize(
    "action",
    ["Describe", "DescribeX", "StopX", "DeleteX", "CancelX", "DeactivateService", "ReleaseX", "StopXY2"],
)
def test_known_verb_may_be_repeated(action):
    assert is_repeatable(action)


@pytest.mark.parametrize(
    "action",
    [
        "CreateX",
        "ModifyX",
        "PublishX",
        "PurchaseX",
        "UploadX",
        "describeX",
        "DESCRIBEX",
        "DescriberX",
        "Describes",
        "Stopover",
        "Released",
        "Describe_X",
        "DescribeÄ",
        "Describe&Action=CreateX",
        "DescribeX\n",
        "XDescribe",
        "",
    ],
)
def test_verb_that_is_not_known_must_not_be_repeated(action):
    assert not is_repeatable(action)


class RefreshBill(Request, Action[Any]):
    """An Action that nobody classified."""

    route: ClassVar[str] = "/v2/bill"


@pytest.mark.parametrize(
    "lost",
    [httpx.ReadTimeout, httpx.ReadError, reply(None, 502), reply(b"half an ans")],
    ids=["time-out", "reset", "502", "cut"],
)
def test_lost_answer_of_an_action_that_nobody_classified_is_not_followed_by_another_request(
    lost, connect, wire, slept
):
    wire.script(lost)
    with pytest.raises(QianfanAmbiguousCreateError, match=r"^RefreshBill: .*it was not sent again"):
        connect(max_retries=5).call(RefreshBill())
    with pytest.raises(QianfanAmbiguousCreateError):
        connect(max_retries=5).call_action("/v2/bill", "RefreshBill")
    assert len(wire.requests) == 2


# What is sent again, and when


TRANSIENT = {
    "503": reply(None, 503),
    "429": reply(None, 429),
    "read-time-out": httpx.ReadTimeout,
    "no-connection": httpx.ConnectError,
    "reset": httpx.ReadError,
    "not-json": reply(b"<"),
}


@pytest.mark.parametrize(("request_", "failure"), pairs(OTHERS, TRANSIENT, "503", "read-time-out"))
def test_read_stop_and_delete_are_sent_again(request_, failure, connect, wire, slept):
    wire.script(failure)
    with pytest.raises((QianfanAPIError, QianfanConnectionError)):
        connect(max_retries=3).call(request_)
    assert len(wire.requests) == 4


def test_success_after_failures_is_a_success(connect, wire, slept):
    wire.script(reply(None, 502), httpx.ReadTimeout, refusal("InternalError", 500), ok(TASK))
    assert connect(max_retries=3).call(READ).task_id == "task-1"
    assert len(wire.requests) == 4


def test_pauses_are_random_below_a_bound_that_doubles_up_to_a_minute(connect, wire, slept, monkeypatch):
    drawn = []
    monkeypatch.setattr(random, "uniform", lambda low, high: drawn.append((low, high)) or high)
    wire.script(reply(None, 503))
    with pytest.raises(QianfanServerError):
        connect(max_retries=8).call(READ)
    assert slept == [1, 2, 4, 8, 16, 32, 60, 60]
    assert drawn[:8] == [(0, pause) for pause in slept]


@pytest.mark.parametrize("status", [429, 503])
def test_service_says_how_long_to_pause(status, connect, wire, slept):
    wire.script(
        reply(None, status, {"Retry-After": "7"}), reply(None, status, {"Retry-After": "60"}), ok(TASK)
    )
    connect().call(READ)
    assert slept == [7, 60]


def test_service_says_until_when_to_pause(connect, wire, slept, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1705398515.0)
    wire.script(
        reply(None, 503, {"Retry-After": formatdate(1705398515 + 12, usegmt=True)}),
        reply(None, 503, {"Retry-After": formatdate(1705398515 - 12, usegmt=True)}),
        ok(TASK),
    )
    connect().call(READ)
    assert slept == [12, 0]


@pytest.mark.parametrize("value", ["61", "86400", "9" * 400, "a-date"], ids=["61", "86400", "huge", "date"])
def test_longer_pause_than_a_minute_is_not_waited_for(value, connect, wire, slept, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1705398515.0)
    value = formatdate(1705398515 + 3600, usegmt=True) if value == "a-date" else value
    wire.script(reply(None, 429, {"Retry-After": value}))
    with pytest.raises(QianfanThrottledError) as caught:
        connect().call(READ)
    assert len(wire.requests) == 1
    assert caught.value.retry_after > 60


def test_unreadable_pause_is_replaced_by_the_own_one(connect, wire, slept):
    wire.script(reply(None, 503, {"Retry-After": "soon"}), ok(TASK))
    connect().call(READ)
    assert 0 <= slept[0] <= 1


def test_each_attempt_is_signed_anew(connect, wire, slept):
    wire.script(reply(None, 503))
    caller = connect(max_retries=2)
    caller.set_clock([1705398515, 1705398575, 1705398635])
    with pytest.raises(QianfanServerError):
        caller.call(READ)
    dates = [request.headers["x-bce-date"] for request in wire.requests]
    assert dates == ["2024-01-16T09:48:35Z", "2024-01-16T09:49:35Z", "2024-01-16T09:50:35Z"]
    assert all(
        date in request.headers["Authorization"] for date, request in zip(dates, wire.requests, strict=True)
    )
    assert len({request.headers["Authorization"] for request in wire.requests}) == 3


@pytest.mark.parametrize("before", [[], [reply(None, 503)]], ids=["at-once", "after-another-failure"])
def test_expired_request_is_signed_anew_once(before, connect, wire, slept):
    wire.script(*before, refusal("RequestExpired"), ok(TASK))
    assert connect().call(READ).task_id == "task-1"

    wire.script(*before, refusal("RequestExpired"))
    with pytest.raises(QianfanClockError):
        connect().call(READ)
    assert len(wire.requests) == len(before) + 2


def test_max_retries_0_sends_once(connect, wire, slept):
    wire.script(reply(None, 503))
    with pytest.raises(QianfanServerError):
        connect(max_retries=0).call(READ)
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    ("action", "repeatable", "attempts"),
    [
        ("DescribeX", None, 3),
        ("StopX", None, 3),
        ("DeleteX", None, 3),
        ("CancelX", None, 3),
        ("DeactivateX", None, 3),
        ("ReleaseX", None, 3),
        ("CreateX", None, 1),
        ("ModifyX", None, 1),
        ("UploadX", None, 1),
        ("PublishX", None, 1),
        ("PurchaseX", None, 1),
        ("DescriberX", None, 1),
        ("ModifyX", True, 3),
        ("DescribeX", False, 1),
    ],
)
def test_name_decides_whether_any_action_is_sent_again(action, repeatable, attempts, connect, wire, slept):
    wire.script(reply(None, 503))
    with pytest.raises((QianfanServerError, QianfanAmbiguousCreateError)):
        connect(max_retries=2).call_action("/v2/x", action, repeatable=repeatable)
    assert len(wire.requests) == attempts


def test_repeat_is_logged_with_its_reason(connect, wire, slept, caplog):
    wire.script(reply(None, 503, {"Retry-After": "7"}), ok(TASK))
    connect().call(READ)
    assert (
        "DescribeFineTuningTask: the answer is empty (taskId task-1; HTTP 503); attempt 2 of 4 in 7.0 s"
        in caplog.text
    )


# Creates


AMBIGUOUS = {
    "500": reply(None, 500),
    "502-page": reply(b"<html>", 502),
    "503-with-pause": reply(None, 503, {"Retry-After": "1"}),
    "504": reply(None, 504),
    "internal-error": refusal("InternalError", 500),
    "internal-error-under-400": refusal("InternalError", 400),
    "numeric-internal": reply({"error_code": 336000, "error_msg": "internal"}),
    "unknown-numeric": reply({"error_code": 424242, "error_msg": "what"}),
    "read-time-out": httpx.ReadTimeout,
    "write-time-out": httpx.WriteTimeout,
    "reset-while-reading": httpx.ReadError,
    "reset-while-writing": httpx.WriteError,
    "closed-without-answer": httpx.RemoteProtocolError,
    "not-json": reply(b"<html>welcome</html>"),
    "empty": reply(None),
    "array": reply([1]),
    "text": reply("ok"),
    "no-result": reply({"requestId": "r"}),
    "result-of-another-type": ok(42),
    "result-without-the-id": ok({}),
    "result-with-an-empty-id": ok({"jobId": "", "taskId": "", "modelId": "", "modelSetId": ""}),
    "too-large": reply(b" " * (MAX_ANSWER_BYTES + 1)),
    "broken-gzip": reply(b"not gzip", headers={"Content-Encoding": "gzip"}),
    "redirect": reply(None, 303, {"Location": "https://elsewhere.example/"}),
    "redirect-to-nowhere": reply(None, 302, {"Location": "javascript:x"}),
}


@pytest.mark.parametrize(
    ("request_", "answer"),
    pairs(CREATES, AMBIGUOUS, "500", "read-time-out", "not-json", "result-without-the-id"),
)
def test_create_of_unknown_effect_is_sent_once_and_says_so(request_, answer, connect, wire, slept):
    wire.script(answer)
    with pytest.raises(QianfanAmbiguousCreateError) as caught:
        connect(max_retries=5).call(request_)
    assert len(wire.requests) == 1
    assert str(caught.value).startswith(f"{request_.action}: ")
    assert "may or may not have taken effect" in str(caught.value)
    assert caught.value.__cause__.message in str(caught.value)


def test_ambiguous_create_names_status_code_and_request_id(connect, wire):
    wire.script(refusal("InternalError", 500))
    with pytest.raises(QianfanAmbiguousCreateError) as caught:
        connect().call(CREATE)
    assert str(caught.value).startswith(
        "CreateFineTuningJob: No. (name nightly; HTTP 500, code InternalError, request id req-1); "
        "it was not sent again"
    )


REFUSED = {
    "request": refusal("InappropriateJSON"),
    "permission": refusal("AccessDenied", 403),
    "expired": refusal("RequestExpired"),
    "unknown-code": refusal("SomethingNew", 409),
    "page-of-a-gateway": reply(b"<html>", 400),
    "not-found-page": reply(b"<html>", 404),
    "throttled": reply(None, 429),
    "throttled-with-pause": reply(None, 429, {"Retry-After": "1"}),
    "numeric-throttled": reply({"error_code": 18, "error_msg": "qps"}),
    "numeric-request": reply({"error_code": 500001, "error_msg": "param invalid"}),
    "quota": reply({"error_code": 510402, "error_msg": "too many"}),
    "result-false": ok(False),
}


@pytest.mark.parametrize(
    ("request_", "answer"), pairs(CREATES, REFUSED, "request", "throttled", "result-false")
)
def test_refused_create_is_sent_once_and_is_not_ambiguous(request_, answer, connect, wire, slept):
    wire.script(answer)
    with pytest.raises(QianfanAPIError) as caught:
        connect(max_retries=5).call(request_)
    assert not isinstance(caught.value, QianfanAmbiguousCreateError)
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    "failure", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError]
)
@pytest.mark.parametrize("request_", CREATES, ids=action_of)
def test_create_that_never_left_is_sent_again(request_, failure, connect, wire, slept):
    wire.script(failure)
    with pytest.raises(QianfanConnectionError) as caught:
        connect(max_retries=2).call(request_)
    assert len(wire.requests) == 3
    assert caught.value.sent is False


def test_create_that_left_at_the_second_attempt_is_not_sent_a_third_time(connect, wire, slept):
    wire.script(httpx.ConnectError, httpx.ReadTimeout)
    with pytest.raises(QianfanAmbiguousCreateError):
        connect(max_retries=5).call(CREATE)
    assert len(wire.requests) == 2


def test_request_error_is_not_repeated(connect, wire, slept):
    wire.script(refusal("InappropriateJSON"))
    with pytest.raises(QianfanRequestError):
        connect().call(READ)
    assert len(wire.requests) == 1
