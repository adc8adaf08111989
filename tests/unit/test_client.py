"""What both clients send and what they make of the answer; each test runs with the sync and the async one."""

from __future__ import annotations

import gzip
import json

import pytest
from examples import CREATE, READ, TASK
from wire import ACCESS_KEY, ENDPOINT, SECRET_KEY, SESSION_TOKEN, Caller, ok, reply, zipped

from airflow_qianfan import __version__
from airflow_qianfan.api.actions.finetuning import StopFineTuningTask
from airflow_qianfan.api.actions.model import CreateCustomModelSet, DeleteModelSet
from airflow_qianfan.api.call import MAX_ANSWER_BYTES
from airflow_qianfan.api.client import AsyncQianfanClient
from airflow_qianfan.api.config import QianfanConfig
from airflow_qianfan.api.signing import canonical_time, sign
from airflow_qianfan.exceptions import (
    QianfanOperationFailedError,
    QianfanResponseError,
    QianfanUnreadableAnswerError,
    QianfanValidationError,
)


def test_action_is_one_signed_post(connect, wire):
    wire.script(ok(TASK))
    caller = connect()
    caller.set_clock([1705398515])
    caller.call(READ)
    request = wire.last
    assert (request.method, str(request.url)) == (
        "POST",
        f"{ENDPOINT}/v2/finetuning?Action=DescribeFineTuningTask",
    )
    assert json.loads(request.content) == {"taskId": "task-1"}
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["User-Agent"] == f"airflow-qianfan/{__version__}"
    assert request.headers["x-bce-date"] == "2024-01-16T09:48:35Z"
    assert request.headers["Authorization"] == sign(
        ACCESS_KEY,
        SECRET_KEY,
        "POST",
        "/v2/finetuning",
        [("Action", "DescribeFineTuningTask")],
        [("Host", "127.0.0.1:9"), ("x-bce-date", canonical_time(1705398515))],
        timestamp=1705398515,
        signed_headers=["host", "x-bce-date"],
    )


@pytest.mark.parametrize("endpoint", [ENDPOINT, ENDPOINT + "/"])
def test_slash_after_the_endpoint_changes_nothing(endpoint, connect, wire):
    wire.script(ok(TASK))
    connect(endpoint=endpoint).call(READ)
    assert wire.last.url.path == "/v2/finetuning"


def test_session_token_is_sent_and_signed(connect, wire):
    wire.script(ok(TASK))
    connect(session_token=SESSION_TOKEN).call(READ)
    assert wire.last.headers["x-bce-security-token"] == SESSION_TOKEN
    assert "/host;x-bce-date;x-bce-security-token/" in wire.last.headers["Authorization"]


def test_any_action_can_be_called_and_gives_the_whole_answer(connect, wire):
    answer = {"requestId": "req-1", "result": [{"model": "ERNIE"}], "new": 1}
    wire.script(reply(answer))
    assert connect().call_action("/v2/dataset", "DescribeDatasets", {"名": "值", "n": 1.5}) == answer
    assert wire.last.url.path == "/v2/dataset"
    assert wire.last.url.params["Action"] == "DescribeDatasets"
    assert json.loads(wire.last.content) == {"名": "值", "n": 1.5}


def test_action_without_a_body_sends_an_empty_object(connect, wire):
    wire.script(ok([]))
    connect().call_action("/v2/finetuning", "DescribeFineTuningSupportModels")
    assert wire.last.content == b"{}"


@pytest.mark.parametrize(
    ("route", "action", "member"),
    [
        ("v2/finetuning", "DescribeX", "route"),
        ("//elsewhere.example/v2", "DescribeX", "route"),
        ("", "DescribeX", "route"),
        ("/v2/\ud800", "DescribeX", "route"),
        ("/v2/finetuning", "", "action"),
        ("/v2/finetuning", "Describe\ud800", "action"),
    ],
)
def test_route_and_action_that_lead_elsewhere_are_refused(route, action, member, connect, wire):
    with pytest.raises(QianfanValidationError) as caught:
        connect().call_action(route, action)
    assert member in caught.value.parameters
    assert wire.requests == []


def test_route_and_action_are_text_and_not_part_of_the_address(connect, wire):
    wire.script(ok())
    connect().call_action("/v2/x?Action=DeleteAll#", "Describe&Action=DeleteAll")
    assert wire.last.url.raw_path == b"/v2/x%3FAction%3DDeleteAll%23?Action=Describe%26Action%3DDeleteAll"


CIRCLE: dict = {}
CIRCLE["self"] = CIRCLE


@pytest.mark.parametrize(
    "body", [{"x": float("nan")}, {"x": float("inf")}, {"x": object()}, {"x": "\ud800"}, CIRCLE]
)
def test_body_that_is_no_json_is_refused(body, connect, wire):
    with pytest.raises(
        QianfanValidationError, match="DescribeX: the body cannot be written as JSON"
    ) as caught:
        connect().call_action("/v2/finetuning", "DescribeX", body)
    assert caught.value.parameters == ("body",)
    assert wire.requests == []


def test_result_comes_in_its_type(connect, wire):
    wire.script(ok({"jobId": "job-1"}))
    assert connect().call(CREATE).job_id == "job-1"
    wire.script(ok("am-1"))
    assert (
        connect().call(CreateCustomModelSet(model_set_name="bot", model_type="Text2Text")).model_set_id
        == "am-1"
    )
    wire.script(ok(True))
    assert connect().call(StopFineTuningTask(task_id="task-1")) is True
    wire.script(ok({}))
    assert connect().call(DeleteModelSet(model_set_id="am-1")) == {}


UNUSABLE = {
    "too-large": (reply(b'"' + b"x" * MAX_ANSWER_BYTES + b'"'), QianfanResponseError, "larger than 16 MiB"),
    "too-large-unzipped": (
        zipped(b'"' + b"x" * MAX_ANSWER_BYTES + b'"'),
        QianfanResponseError,
        "larger than 16 MiB",
    ),
    "zipped-twice": (zipped(b"{}", times=2), QianfanResponseError, "compressed more than once"),
    "broken-gzip": (
        reply(b"not gzip", headers={"Content-Encoding": "gzip"}),
        QianfanUnreadableAnswerError,
        "cannot decode the answer",
    ),
    "cut-gzip": (
        reply(gzip.compress(b'{"result": {}}')[:-15], headers={"Content-Encoding": "gzip"}),
        QianfanUnreadableAnswerError,
        "not a JSON object|cannot decode",
    ),
    "html": (
        reply(b"<html>welcome</html>"),
        QianfanUnreadableAnswerError,
        "not a JSON object but '<html>welcome</html>'",
    ),
    "empty": (reply(None), QianfanUnreadableAnswerError, "not a JSON object but ''"),
    "array": (reply([1, 2]), QianfanUnreadableAnswerError, r"not a JSON object but '\[1, 2\]'"),
    "number": (reply(5), QianfanUnreadableAnswerError, "not a JSON object but '5'"),
    "null": (reply(b"null"), QianfanUnreadableAnswerError, "not a JSON object but 'None'"),
    "not-utf-8": (reply(b"\xff\xfe\x00"), QianfanUnreadableAnswerError, "not a JSON object"),
    "deep": (reply(b"[" * 100_000), QianfanUnreadableAnswerError, "not a JSON object"),
    "endless-number": (
        reply(b'{"result": ' + b"9" * 5000 + b"}"),
        QianfanUnreadableAnswerError,
        "not a JSON object",
    ),
    "no-result": (reply({"requestId": "r"}), QianfanResponseError, "documented type: result: "),
    "null-result": (ok(None), QianfanResponseError, "documented type: result: "),
    "text-result": (ok("task-1"), QianfanResponseError, "documented type: result: "),
    "array-result": (ok([TASK]), QianfanResponseError, "documented type: result: "),
    "number-as-id": (
        ok({"taskId": 5}),
        QianfanResponseError,
        "documented type: result.taskId: .*valid string",
    ),
    "text-as-list": (
        ok({"taskId": "t", "checkpointList": "x"}),
        QianfanResponseError,
        "result.checkpointList: .*valid list",
    ),
}


@pytest.mark.parametrize(("answer", "error", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_answer_that_is_none_is_a_clear_error(answer, error, message, connect, wire):
    wire.script(answer)
    with pytest.raises(QianfanResponseError, match=message) as caught:
        connect(max_retries=0).call(READ)
    assert type(caught.value) is error
    assert caught.value.action == "DescribeFineTuningTask"


@pytest.mark.parametrize(
    "answer",
    [
        reply(b" " * (MAX_ANSWER_BYTES + 1), 201, {"x-bce-request-id": "h"}),
        reply(b"<html>", 201, {"x-bce-request-id": "h"}),
        reply(b"", 201, {"x-bce-request-id": "h", "Content-Encoding": "gzip, gzip"}),
    ],
    ids=["too-large", "not-json", "zipped-twice"],
)
def test_answer_that_is_none_names_status_and_request_id(answer, connect, wire):
    wire.script(answer)
    with pytest.raises(QianfanResponseError) as caught:
        connect(max_retries=0).call(READ)
    assert (caught.value.status_code, caught.value.request_id) == (201, "h")


def test_answer_of_just_16_mib_and_zipped_answers_are_read(connect, wire):
    body = json.dumps({"result": TASK}).encode()
    wire.script(reply(body.ljust(MAX_ANSWER_BYTES)))
    assert connect().call(READ).task_id == "task-1"
    wire.script(zipped(body))
    assert connect().call(READ).task_id == "task-1"


def test_wrong_type_of_a_result_shows_no_value(connect, wire):
    wire.script(ok({"taskId": {"secret-looking": "value"}}))
    with pytest.raises(QianfanResponseError) as caught:
        connect().call(READ)
    assert "secret-looking" not in str(caught.value)
    assert caught.value.request_id == "req-1"


def test_stop_that_did_nothing_is_an_error_of_its_own(connect, wire):
    wire.script(ok(False))
    with pytest.raises(QianfanOperationFailedError) as caught:
        connect().call(StopFineTuningTask(task_id="task-1"))
    assert len(wire.requests) == 1
    assert not caught.value.transient


def test_client_is_a_context_manager_that_closes_its_connections(wire):
    caller = Caller(None)
    wire.script(ok(TASK))
    with caller.client as client:
        client.call(READ)
    with pytest.raises(RuntimeError, match="closed"):
        client.call(READ)


async def test_async_client_is_a_context_manager_that_closes_its_connections(wire):
    wire.script(ok(TASK))
    async with AsyncQianfanClient(
        QianfanConfig(access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY)
    ) as client:
        await client.call(READ)
    with pytest.raises(RuntimeError, match="closed"):
        await client.call(READ)
