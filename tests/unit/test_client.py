"""What both clients send, wait for, send again and refuse; each test runs with the sync and the async one."""

from __future__ import annotations

import gzip
import json
import time
from email.utils import formatdate
from itertools import pairwise

import httpx
import pytest
from wire import (
    ACCESS_KEY,
    ENDPOINT,
    SECRET_KEY,
    SESSION_TOKEN,
    ok,
    refusal,
    reply,
    zipped,
)

from airflow_qianfan import __version__
from airflow_qianfan.api.actions.finetuning import (
    CreateFineTuningJob,
    CreateFineTuningTask,
    DeleteFineTuningJob,
    DeleteFineTuningTask,
    DescribeFineTuningJobs,
    DescribeFineTuningTask,
    DescribeFineTuningTasks,
    StopFineTuningTask,
)
from airflow_qianfan.api.actions.model import (
    CreateCustomModel,
    CreateCustomModelSet,
    DeleteModel,
    DeleteModelSet,
    DescribeCustomModelSets,
    DescribeModel,
    DescribeModelSet,
)
from airflow_qianfan.api.exchange import MAX_ANSWER_BYTES, Pace
from airflow_qianfan.api.signing import canonical_time, sign
from airflow_qianfan.exceptions import (
    QianfanAmbiguousCreateError,
    QianfanAPIError,
    QianfanClockError,
    QianfanConnectionError,
    QianfanOperationFailedError,
    QianfanRequestError,
    QianfanResponseError,
    QianfanServerError,
    QianfanThrottledError,
    QianfanUnreadableAnswerError,
    QianfanValidationError,
)

READ = DescribeFineTuningTask(task_id="task-1")
CREATE = CreateFineTuningJob(name="nightly", model="ERNIE-Speed-8K", train_mode="SFT")
TASK = {"taskId": "task-1", "runStatus": "Running"}

REPEATABLE = [
    DescribeFineTuningJobs(),
    DescribeFineTuningTasks(job_id="job-1"),
    READ,
    DescribeCustomModelSets(),
    DescribeModelSet(model_set_id="am-1"),
    DescribeModel(model_id="amv-1"),
    StopFineTuningTask(task_id="task-1"),
    DeleteFineTuningTask(task_id="task-1"),
    DeleteFineTuningJob(job_id="job-1"),
    DeleteModel(model_id="amv-1"),
    DeleteModelSet(model_set_id="am-1"),
]

CREATES = [
    CREATE,
    CreateFineTuningTask(
        job_id="job-1",
        hyper_parameter_config={"epoch": 1},
        dataset_config={"source_type": "Platform", "versions": [{"version_id": "ds-1"}]},
    ),
    CreateCustomModelSet(model_set_name="bot", model_type="Text2Text"),
    CreateCustomModel(model_set_id="am-1", source_type="Train", train_meta={"task_id": "task-1"}),
]


def action_of(request) -> str:
    return request.action


# What goes out


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


# What is sent again, and when


@pytest.mark.parametrize("request_", REPEATABLE, ids=action_of)
@pytest.mark.parametrize(
    "failure",
    [reply(None, 503), reply(None, 429), httpx.ReadTimeout, httpx.ConnectError, httpx.ReadError, reply(b"<")],
    ids=["503", "429", "read-time-out", "no-connection", "reset", "not-json"],
)
def test_read_stop_and_delete_are_sent_again(request_, failure, connect, wire, slept):
    wire.script(failure)
    with pytest.raises((QianfanAPIError, QianfanConnectionError)):
        connect(max_retries=3).call(request_)
    assert len(wire.requests) == 4


def test_success_after_failures_is_a_success(connect, wire, slept):
    wire.script(reply(None, 502), httpx.ReadTimeout, refusal("InternalError", 500), ok(TASK))
    assert connect(max_retries=3).call(READ).task_id == "task-1"
    assert len(wire.requests) == 4


def test_pauses_grow_and_differ_within_bounds(connect, wire, slept):
    wire.script(reply(None, 503))
    with pytest.raises(QianfanServerError):
        connect(max_retries=20).call(READ)
    pauses = slept
    assert len(pauses) == 20
    for number, pause in enumerate(pauses):
        assert 0 <= pause <= min(2**number, 60)
    # Of the last fourteen, each anywhere up to a minute, all below 20 s would be one case in four million.
    assert max(pauses) > 20
    assert len(set(pauses)) == 20


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


@pytest.mark.parametrize(
    "value",
    ["61", "86400", "9" * 400, pytest.param(formatdate(time.time() + 3600, usegmt=True), id="in an hour")],
)
def test_longer_pause_than_a_minute_is_not_waited_for(value, connect, wire, slept):
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
        ("CreateX", None, 1),
        ("ModifyX", None, 1),
        ("UploadX", None, 1),
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
    assert "DescribeFineTuningTask: the answer is empty; attempt 2 of 4 in 7.0 s" in caplog.text


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


@pytest.mark.parametrize("answer", AMBIGUOUS.values(), ids=AMBIGUOUS)
@pytest.mark.parametrize("request_", CREATES, ids=action_of)
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
    assert "(HTTP 500, code InternalError, request id req-1); it was not sent again" in str(caught.value)


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


@pytest.mark.parametrize("answer", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("request_", CREATES, ids=action_of)
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


# Answers


def test_result_comes_in_its_type(connect, wire):
    wire.script(ok({"jobId": "job-1"}))
    assert connect().call(CREATE).job_id == "job-1"
    wire.script(ok("am-1"))
    assert connect().call(CREATES[2]).model_set_id == "am-1"
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


# Lists


def jobs(*ids: str, next_marker: str | None = None, truncated: bool | None = None):
    page_info = {"isTruncated": next_marker is not None if truncated is None else truncated}
    if next_marker is not None:
        page_info["nextMarker"] = next_marker
    return ok({"jobList": [{"jobId": job_id} for job_id in ids], "pageInfo": page_info})


def ids_of(rows) -> list[str]:
    return [row.job_id for row in rows]


def markers(wire) -> list[str | None]:
    return [json.loads(request.content).get("marker") for request in wire.requests]


def test_list_is_followed_to_its_end_and_no_row_comes_twice(connect, wire):
    wire.script(
        jobs("job-1", "job-2", next_marker="job-2"),
        jobs("job-2", "job-3", next_marker="job-4"),
        jobs("job-4", "job-5"),
    )
    rows = connect().rows(DescribeFineTuningJobs(train_mode="SFT", max_keys=2))
    assert ids_of(rows) == ["job-1", "job-2", "job-3", "job-4", "job-5"]
    assert markers(wire) == [None, "job-2", "job-4"]
    assert all(
        json.loads(request.content).items() >= {"trainMode": "SFT", "maxKeys": 2}.items()
        for request in wire.requests
    )


@pytest.mark.parametrize("answer", [ok({}), ok({"jobList": None}), ok({"jobList": []}), jobs()])
def test_empty_list_has_no_rows(answer, connect, wire):
    wire.script(answer)
    assert connect().rows(DescribeFineTuningJobs()) == []
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    ("request_", "list_name", "id_name"),
    [
        (DescribeFineTuningJobs(), "jobList", "jobId"),
        (DescribeFineTuningTasks(job_id="job-1"), "taskList", "taskId"),
        (DescribeCustomModelSets(), "customModelSetList", "modelSetId"),
    ],
    ids=["jobs", "tasks", "model-sets"],
)
def test_each_list_knows_its_rows_and_their_ids(request_, list_name, id_name, connect, wire):
    more = {"isTruncated": True, "nextMarker": "b"}
    wire.script(
        ok({list_name: [{id_name: "a"}, {id_name: "b"}], "pageInfo": more}),
        ok({list_name: [{id_name: "b"}, {id_name: "c"}]}),
    )
    rows = connect().rows(request_)
    assert [row.model_dump(by_alias=True)[id_name] for row in rows] == ["a", "b", "c"]


def new_jobs_for_ever(next_marker):
    """A page of jobs that were never seen before, at whichever marker."""
    numbers = iter(range(1_000_000))

    def answer(request: httpx.Request) -> httpx.Response:
        number = next(numbers)
        return jobs(f"job-{number}", next_marker=next_marker(number))(request)

    return answer


ENDLESS = {
    "same-page-again-and-again": jobs("job-1", "job-2", next_marker="job-1"),
    "says-truncated-without-a-marker": jobs("job-1", truncated=True),
    "says-truncated-with-an-empty-marker": jobs("job-1", next_marker=""),
    "empty-pages": jobs(next_marker="job-9"),
    "same-marker-but-new-rows": new_jobs_for_ever(lambda number: "job-1"),
    "two-markers-in-turn-but-new-rows": new_jobs_for_ever(lambda number: f"job-{number % 2}"),
}


@pytest.mark.parametrize("answer", ENDLESS.values(), ids=ENDLESS)
def test_list_without_an_end_is_an_error_and_not_a_loop(answer, connect, wire):
    wire.script(answer)
    with pytest.raises(QianfanResponseError, match="DescribeFineTuningJobs: the list is incomplete"):
        connect().rows(DescribeFineTuningJobs(), limit=100)
    assert len(wire.requests) <= 4


def test_failing_page_is_read_again(connect, wire, slept):
    wire.script(
        jobs("job-1", next_marker="job-2"), reply(None, 503), httpx.ReadTimeout, jobs("job-2", "job-3")
    )
    assert ids_of(connect().rows(DescribeFineTuningJobs())) == ["job-1", "job-2", "job-3"]


def test_list_is_read_only_as_far_as_it_is_looked_at(connect, wire):
    wire.script(jobs("job-1", next_marker="job-2"), jobs("job-2"))
    connect().client.iterate(DescribeFineTuningJobs())
    assert wire.requests == []


# Pace


def test_max_qps_keeps_requests_apart(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace = Pace(4)
    assert [pace.next_slot() for _ in range(4)] == [0, 0.25, 0.5, 0.75]
    now[0] += 10
    assert pace.next_slot() == 0


def test_no_limit_never_waits():
    pace = Pace(None)
    assert [pace.next_slot() for _ in range(100)] == [0] * 100


def test_client_waits_for_its_slot_before_every_attempt(connect, wire, slept):
    wire.script(reply(None, 503, {"Retry-After": "0"}))
    with pytest.raises(QianfanServerError):
        connect(max_qps=0.1, max_retries=3).call(READ)
    # The first slot is at once; then each pause before an attempt is followed by the wait for its slot.
    slots = slept[1::2]
    assert len(slots) == 3
    assert all(9 < later - earlier <= 10 for earlier, later in pairwise(slots))


# Operations that report failure


def test_stop_that_did_nothing_is_an_error_of_its_own(connect, wire):
    wire.script(ok(False))
    with pytest.raises(QianfanOperationFailedError) as caught:
        connect().call(StopFineTuningTask(task_id="task-1"))
    assert len(wire.requests) == 1
    assert not caught.value.transient


def test_client_is_a_context_manager_that_closes_its_connections(wire):
    from wire import Caller

    caller = Caller(None)
    wire.script(ok(TASK))
    with caller.client as client:
        client.call(READ)
    with pytest.raises(RuntimeError, match="closed"):
        client.call(READ)


async def test_async_client_is_a_context_manager_that_closes_its_connections(wire):
    from airflow_qianfan.api.client import AsyncQianfanClient
    from airflow_qianfan.api.config import QianfanConfig

    wire.script(ok(TASK))
    async with AsyncQianfanClient(QianfanConfig(ACCESS_KEY, SECRET_KEY)) as client:
        await client.call(READ)
    with pytest.raises(RuntimeError, match="closed"):
        await client.call(READ)


def test_request_error_is_not_repeated(connect, wire, slept):
    wire.script(refusal("InappropriateJSON"))
    with pytest.raises(QianfanRequestError):
        connect().call(READ)
    assert len(wire.requests) == 1
