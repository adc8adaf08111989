"""What each answer of the service means: its class, and whether it is sent again."""

from __future__ import annotations

import pickle
from typing import NamedTuple

import httpx
import pytest
from examples import CREATE, READ
from wire import ok, refusal, reply

from airflow_qianfan import exceptions
from airflow_qianfan.api.actions.finetuning import (
    DeleteFineTuningTask,
    StopFineTuningTask,
)
from airflow_qianfan.api.actions.model import CreateCustomModelSet, DescribeModelSet
from airflow_qianfan.api.errors import ERROR_BY_CODE, clean, find_error, subject_of
from airflow_qianfan.compat import AirflowException, AirflowFailException
from airflow_qianfan.exceptions import (
    QianfanAlreadyExistsError,
    QianfanAmbiguousCreateError,
    QianfanAPIError,
    QianfanAuthenticationError,
    QianfanClockError,
    QianfanConnectionError,
    QianfanError,
    QianfanGatewayError,
    QianfanInvalidAccessKeyError,
    QianfanNotFoundError,
    QianfanPermissionError,
    QianfanQuotaError,
    QianfanRequestError,
    QianfanResponseError,
    QianfanServerError,
    QianfanSignatureError,
    QianfanThrottledError,
    QianfanUnreadableAnswerError,
)

MAX_RETRIES = 2
NEVER, ONCE, ALWAYS = 1, 2, 1 + MAX_RETRIES


class Row(NamedTuple):
    """A line of the documents.

    ``attempts`` is how often a read is sent; ``ambiguous`` whether a Create that gets this may have worked.
    """

    status: int
    code: str
    error: type[QianfanAPIError]
    attempts: int = NEVER
    ambiguous: bool = False


#: Codes of the platform, which come with an HTTP status.
PLATFORM = [
    Row(400, "InappropriateJSON", QianfanRequestError),
    Row(400, "InvalidMarker", QianfanRequestError),
    Row(400, "SignatureDoesNotMatch", QianfanSignatureError),
    Row(400, "RequestExpired", QianfanClockError, ONCE),
    Row(400, "InvalidHTTPAuthHeader", QianfanAuthenticationError),
    Row(400, "InvalidHTTPRequest", QianfanRequestError),
    Row(400, "InvalidURI", QianfanRequestError),
    Row(400, "MalformedJSON", QianfanRequestError),
    Row(400, "NoSuchKey", QianfanNotFoundError),
    Row(403, "AccessDenied", QianfanPermissionError),
    Row(403, "IdempotentParameterMismatch", QianfanRequestError),
    Row(403, "InvalidAccessKeyId", QianfanInvalidAccessKeyError),
    Row(403, "OptInRequired", QianfanPermissionError),
    Row(403, "RequestTimeTooSkewed", QianfanClockError, ONCE),
    Row(403, "IamSignatureInvalid", QianfanSignatureError),
    Row(404, "InvalidVersion", QianfanRequestError),
    Row(412, "PreconditionFailed", QianfanRequestError),
    Row(400, "TaskRunningNumberExceedLimit", QianfanQuotaError),
    Row(500, "InternalError", QianfanServerError, ALWAYS, ambiguous=True),
]

#: Numeric codes of older interfaces, which come with HTTP 200.
NUMERIC = [
    Row(200, "2", QianfanServerError, ALWAYS, ambiguous=True),
    Row(200, "4", QianfanThrottledError, ALWAYS),
    Row(200, "6", QianfanPermissionError),
    Row(200, "13", QianfanAuthenticationError),
    Row(200, "14", QianfanAuthenticationError),
    Row(200, "15", QianfanAuthenticationError),
    Row(200, "17", QianfanQuotaError),
    Row(200, "18", QianfanThrottledError, ALWAYS),
    Row(200, "19", QianfanQuotaError),
    Row(200, "336000", QianfanServerError, ALWAYS, ambiguous=True),
    Row(200, "336001", QianfanRequestError),
    Row(200, "336002", QianfanRequestError),
    Row(200, "336003", QianfanRequestError),
    Row(200, "336100", QianfanServerError, ALWAYS, ambiguous=True),
    Row(200, "336501", QianfanThrottledError, ALWAYS),
    Row(200, "336502", QianfanThrottledError, ALWAYS),
    Row(200, "500000", QianfanServerError, ALWAYS, ambiguous=True),
    Row(200, "500001", QianfanRequestError),
    Row(200, "500002", QianfanAuthenticationError),
    Row(200, "510101", QianfanRequestError),
    Row(200, "510102", QianfanRequestError),
    Row(200, "510201", QianfanAlreadyExistsError),
    Row(200, "510202", QianfanNotFoundError),
    Row(200, "510203", QianfanQuotaError),
    Row(200, "510301", QianfanNotFoundError),
    Row(200, "510302", QianfanRequestError),
    Row(200, "510401", QianfanRequestError),
    Row(200, "510402", QianfanQuotaError),
    Row(200, "510403", QianfanQuotaError),
    Row(200, "510404", QianfanRequestError),
    Row(200, "21002", QianfanRequestError),
    Row(200, "10001", QianfanNotFoundError),
    Row(200, "70101", QianfanAlreadyExistsError),
    Row(200, "70102", QianfanNotFoundError),
    Row(200, "70115", QianfanRequestError),
    Row(200, "70118", QianfanAlreadyExistsError),
    Row(200, "70128", QianfanRequestError),
    Row(200, "70130", QianfanRequestError),
    Row(200, "70131", QianfanRequestError),
]

#: Codes that no table explains: the HTTP status decides.
UNKNOWN = [
    Row(400, "SomethingNew", QianfanRequestError),
    Row(401, "SomethingNew", QianfanAuthenticationError),
    Row(403, "SomethingNew", QianfanPermissionError),
    Row(404, "SomethingNew", QianfanNotFoundError),
    Row(409, "SomethingNew", QianfanRequestError),
    Row(409, "StateConflict", QianfanRequestError),
    Row(429, "SomethingNew", QianfanThrottledError, ALWAYS),
    Row(500, "SomethingNew", QianfanServerError, ALWAYS, ambiguous=True),
    Row(503, "SomethingNew", QianfanServerError, ALWAYS, ambiguous=True),
    # Neither code nor status says what it is.
    Row(200, "1000", QianfanAPIError, NEVER, ambiguous=True),
    Row(200, "70002", QianfanAPIError, NEVER, ambiguous=True),
]

#: Codes that no table explains, but whose words do.
WORDS = [
    *(
        Row(400, code, QianfanAlreadyExistsError)
        for code in (
            "DuplicateName",
            "DuplicatedJobName",
            "NameDuplicate",
            "NameAlreadyExists",
            "JOB_ALREADY_EXISTS",
            "EntityAlreadyExist",
            "NameExists",
            "ModelSetNameExist",
            "TaskExisted",
            "NameConflict",
            "ConflictingName",
        )
    ),
    Row(409, "ResourceAlreadyExists", QianfanAlreadyExistsError),
    *(
        Row(400, code, QianfanNotFoundError)
        for code in (
            "JobNotExist",
            "TaskNotExists",
            "MODEL_NOT_FOUND",
            "NoSuchModel",
            "NotExist",
            "NonExistentId",
        )
    ),
    # A failure of the service is one, whatever it is called.
    Row(500, "NameAlreadyExists", QianfanServerError, ALWAYS, ambiguous=True),
]

#: Answers of a gateway, which have no code.
STATUS_ONLY = [
    Row(401, "", QianfanAuthenticationError),
    Row(404, "", QianfanResponseError),
    *(Row(status, "", QianfanGatewayError, ALWAYS) for status in (400, 403, 405, 407, 451)),
    Row(413, "", QianfanRequestError),
    Row(429, "", QianfanThrottledError, ALWAYS),
    *(Row(status, "", QianfanServerError, ALWAYS, ambiguous=True) for status in (500, 502, 503, 504)),
]

ROWS = PLATFORM + NUMERIC + UNKNOWN + WORDS


def answer_of(row: Row):
    if not row.code:
        return reply(b"<html>gateway</html>", row.status)
    if row.status == 200:
        return reply({"error_code": int(row.code), "error_msg": "No.", "log_id": "req-1"})
    return refusal(row.code, row.status)


def name_of(row: Row) -> str:
    return f"{row.status}-{row.code or 'no-code'}"


def test_every_code_the_package_knows_has_a_line_here():
    assert {row.code for row in PLATFORM + NUMERIC} == set(ERROR_BY_CODE)


@pytest.mark.parametrize("row", ROWS + STATUS_ONLY, ids=name_of)
def test_read_gets_the_class_of_its_code_and_is_sent_again_where_that_helps(row, connect, wire, slept):
    wire.script(answer_of(row))
    with pytest.raises(QianfanAPIError) as caught:
        connect(max_retries=MAX_RETRIES).call(READ)
    assert type(caught.value) is row.error
    assert len(wire.requests) == row.attempts
    assert caught.value.transient is (row.attempts == ALWAYS)


@pytest.mark.parametrize("row", ROWS + STATUS_ONLY, ids=name_of)
def test_create_is_sent_once_and_tells_refused_from_unknown(row, connect, wire, slept):
    wire.script(answer_of(row))
    with pytest.raises(QianfanError) as caught:
        connect(max_retries=MAX_RETRIES).call(CREATE)
    assert len(wire.requests) == 1
    if row.ambiguous:
        assert type(caught.value) is QianfanAmbiguousCreateError
        assert type(caught.value.__cause__) is row.error
    else:
        assert type(caught.value) is row.error


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_error_carries_action_status_code_message_and_request_id(row, connect, wire, slept):
    wire.script(answer_of(row))
    with pytest.raises(QianfanAPIError) as caught:
        connect(max_retries=0).call(READ)
    error = caught.value
    assert (error.action, error.status_code, error.code) == ("DescribeFineTuningTask", row.status, row.code)
    assert (error.message, error.request_id) == ("No.", "req-1")
    assert str(error).startswith(
        f"DescribeFineTuningTask: No. (taskId task-1; HTTP {row.status}, code {row.code}, request id req-1)"
    )
    assert error.advice in str(error)


@pytest.mark.parametrize("request_type", [StopFineTuningTask, DeleteFineTuningTask])
@pytest.mark.parametrize(
    ("first", "lost"),
    [
        (reply(None, 503), True),
        (reply(b"half an ans"), True),
        (httpx.ReadTimeout, True),
        (httpx.ConnectError, False),
        (reply(None, 429), False),
    ],
    ids=["503", "not-json", "read-time-out", "no-connection", "throttled"],
)
@pytest.mark.parametrize("refused", [refusal("510301", 404), refusal("510302"), ok(False)])
def test_refusal_tells_whether_an_earlier_attempt_whose_answer_was_lost_may_be_the_reason(
    refused, first, lost, request_type, connect, wire, slept
):
    wire.script(first, refused)
    with pytest.raises(QianfanAPIError) as caught:
        connect().call(request_type(task_id="task-1"))
    assert caught.value.after_lost_answer is lost


ALL_ERRORS = [
    value
    for value in vars(exceptions).values()
    if isinstance(value, type) and issubclass(value, QianfanError)
]

HOPELESS = {
    "QianfanConfigurationError",
    "QianfanValidationError",
    "QianfanAmbiguousCreateError",
    "QianfanAuthenticationError",
    "QianfanInvalidAccessKeyError",
    "QianfanSignatureError",
    "QianfanClockError",
    "QianfanPermissionError",
    "QianfanRequestError",
    "QianfanNotFoundError",
    "QianfanAlreadyExistsError",
    "QianfanMetricsRejectedError",
    "QianfanPersonNeededError",
    "QianfanPollRefusedError",
    "QianfanTerminalStateError",
    "QianfanExecutionTimeoutError",
    "QianfanInferenceRefusedError",
    "QianfanUpdateError",
}


def test_only_errors_that_no_retry_mends_spend_no_retries():
    assert {error.__name__ for error in ALL_ERRORS if issubclass(error, AirflowFailException)} == HOPELESS


@pytest.mark.parametrize("error", ALL_ERRORS, ids=lambda error: error.__name__)
def test_every_error_is_one_of_airflow_and_survives_a_process_boundary(error):
    assert issubclass(error, AirflowException)
    original = error("what happened")
    copy = pickle.loads(pickle.dumps(original))
    assert (type(copy), str(copy), vars(copy)) == (error, str(original), vars(original))
    assert str(original).startswith("what happened")


def test_transient_errors_are_those_that_pass():
    assert {error for error in ALL_ERRORS if error.transient} == {
        exceptions.QianfanConnectionError,
        QianfanThrottledError,
        QianfanServerError,
        QianfanGatewayError,
        QianfanUnreadableAnswerError,
    }


# Which object an error is about


def test_error_names_what_the_request_asked_for(connect, wire, slept):
    wire.script(refusal("NoSuchKey", 404))
    with pytest.raises(QianfanNotFoundError) as caught:
        connect().call(DescribeModelSet(model_set_id="am-5sxpz4xn25uw"))
    assert str(caught.value) == (
        "DescribeModelSet: No. (modelSetId am-5sxpz4xn25uw; HTTP 404, code NoSuchKey, request id req-1). "
        "Check the id: it may be mistyped, its object deleted, or in another account than the connection's."
    )
    wire.script(httpx.ReadTimeout)
    with pytest.raises(QianfanConnectionError, match=r"\(modelSetId am-1\)"):
        connect(max_retries=0).call(DescribeModelSet(model_set_id="am-1"))
    wire.script(ok({"modelSetId": 5}))
    with pytest.raises(QianfanResponseError, match=r"\(modelSetId am-1; request id req-1\)"):
        connect(max_retries=0).call(DescribeModelSet(model_set_id="am-1"))


def test_name_that_is_taken_is_said(connect, wire):
    wire.script(refusal("DuplicateName"))
    with pytest.raises(
        QianfanAlreadyExistsError, match=r"\(name nightly; HTTP 400, code DuplicateName"
    ) as caught:
        connect().call(CREATE)
    assert caught.value.name == "nightly"
    wire.script(refusal("70101"))
    with pytest.raises(QianfanAlreadyExistsError) as caught:
        connect().call(CreateCustomModelSet(model_set_name="bot", model_type="Text2Text"))
    assert caught.value.name == "bot"
    assert QianfanAlreadyExistsError("taken").name is None


@pytest.mark.parametrize(
    ("body", "subject"),
    [
        ({"taskId": "task-1", "model": "m", "maxKeys": 5}, {"taskId": "task-1"}),
        ({"name": "n", "id": "i", "description": "d"}, {"name": "n", "id": "i"}),
        (
            {"modelSetId": "am-1", "trainMeta": {"taskId": "task-1"}},
            {"modelSetId": "am-1", "taskId": "task-1"},
        ),
        ({"versions": [{"versionId": "ds-1"}, {"versionId": "ds-2"}]}, {"versionId": "ds-1"}),
        ({"jobId": "", "taskId": 5, "modelId": None, "serviceName": "x" * 101}, {}),
        ({"valid": "x", "rename": "y", "ID": "z"}, {}),
        ({"jobId": "a\nb", "taskId": "key the-secret"}, {"jobId": "a b", "taskId": "key ***"}),
        ({f"{n}Id": "x" for n in range(9)}, {f"{n}Id": "x" for n in range(5)}),
        ({"a": {"b": {"c": {"d": {"e": {"jobId": "deep"}}}}}}, {}),
        ({5: "x"}, {}),
    ],
)
def test_ids_and_names_of_a_body_are_its_subject(body, subject):
    assert subject_of(body, ("the-secret",)) == subject


# Foreign text

AUTHORIZATION = f"bce-auth-v1/AK/2024-01-16T09:48:35Z/1800/host;x-bce-date/{'0a' * 32}"

UNFIT_TEXTS = {
    "authorization": (f"got {AUTHORIZATION} here", "got *** here"),
    "authorization-in-capitals": (f"got {AUTHORIZATION.upper()}.", "got ***"),
    "authorization-percent-encoded": (
        f"a=bce-auth-v1%2FAK%2F1800%2Fhost%2F{'0a' * 32}",
        "a=***",
    ),
    "bare-signature": (f"computed {'AB' * 32}, sent {'cd' * 32}", "computed ***, sent ***"),
    "signature-glued-to-text": (f"x%2F{'0a' * 32}", "x%***"),
    "secret": ("the key the-secret is wrong", "the key *** is wrong"),
    "secret-at-the-edge": (" " * 9_995 + "the-secret", "***"),
    "line-breaks-and-controls": ("a\r\nINFO forged\x1b[31m\x00b", "a INFO forged [31m b"),
    "long": ("x" * 600, "x" * 500 + "…"),
    "not-text": ({"a": 1}, "{'a': 1}"),
}


@pytest.mark.parametrize(("text", "expected"), UNFIT_TEXTS.values(), ids=UNFIT_TEXTS)
def test_foreign_text_is_made_fit_for_a_log(text, expected):
    assert clean(text, ("the-secret",)) == expected


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("30", 30),
        (" 7 ", 7),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("Fri, 99 Xyz 2020 00:00:00 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00", 0),
        ("Tue, 16 Jan 2024 09:48:35 GMT", 0),
    ],
)
def test_retry_after_is_read(value, seconds):
    error = find_error(httpx.Response(503, headers={"Retry-After": value}), "", action="X")
    assert error is not None
    assert error.retry_after == seconds
