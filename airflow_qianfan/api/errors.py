"""From an answer of the service to an error class: one table, and how an answer is read for it.

Codes of the platform: https://cloud.baidu.com/doc/qianfan/s/Pmh4sv5qa; numeric codes of older interfaces:
https://cloud.baidu.com/doc/WENXINWORKSHOP/s/tlmyncueh.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from airflow_qianfan.exceptions import (
    QianfanAlreadyExistsError,
    QianfanAPIError,
    QianfanAuthenticationError,
    QianfanClockError,
    QianfanGatewayError,
    QianfanInvalidAccessKeyError,
    QianfanNotFoundError,
    QianfanOperationFailedError,
    QianfanPermissionError,
    QianfanQuotaError,
    QianfanRequestError,
    QianfanResponseError,
    QianfanServerError,
    QianfanSignatureError,
    QianfanThrottledError,
)

#: What a code means. A code that is not here is judged by its words, then by the HTTP status.
ERROR_BY_CODE: Mapping[str, type[QianfanAPIError]] = {
    # credentials
    "SignatureDoesNotMatch": QianfanSignatureError,
    "IamSignatureInvalid": QianfanSignatureError,
    "InvalidAccessKeyId": QianfanInvalidAccessKeyError,
    "InvalidHTTPAuthHeader": QianfanAuthenticationError,
    "RequestExpired": QianfanClockError,
    "RequestTimeTooSkewed": QianfanClockError,
    "13": QianfanAuthenticationError,
    "14": QianfanAuthenticationError,
    "15": QianfanAuthenticationError,
    "500002": QianfanAuthenticationError,
    # permission
    "AccessDenied": QianfanPermissionError,
    "OptInRequired": QianfanPermissionError,
    "6": QianfanPermissionError,
    # the request itself
    "InappropriateJSON": QianfanRequestError,
    "MalformedJSON": QianfanRequestError,
    "InvalidMarker": QianfanRequestError,
    "InvalidHTTPRequest": QianfanRequestError,
    "InvalidURI": QianfanRequestError,
    "InvalidVersion": QianfanRequestError,
    "IdempotentParameterMismatch": QianfanRequestError,
    "PreconditionFailed": QianfanRequestError,
    "336001": QianfanRequestError,
    "336002": QianfanRequestError,
    "336003": QianfanRequestError,
    "500001": QianfanRequestError,
    "510101": QianfanRequestError,
    "510102": QianfanRequestError,
    "510302": QianfanRequestError,
    "510401": QianfanRequestError,
    "510404": QianfanRequestError,
    "21002": QianfanRequestError,
    "70115": QianfanRequestError,
    "70128": QianfanRequestError,
    "70130": QianfanRequestError,
    "70131": QianfanRequestError,
    # what it speaks of
    "NoSuchKey": QianfanNotFoundError,
    "510202": QianfanNotFoundError,
    "510301": QianfanNotFoundError,
    "10001": QianfanNotFoundError,
    "70102": QianfanNotFoundError,
    "510201": QianfanAlreadyExistsError,
    "70101": QianfanAlreadyExistsError,
    "70118": QianfanAlreadyExistsError,
    # limits
    "510203": QianfanQuotaError,
    "510402": QianfanQuotaError,
    "510403": QianfanQuotaError,
    "TaskRunningNumberExceedLimit": QianfanQuotaError,
    "17": QianfanQuotaError,
    "19": QianfanQuotaError,
    "4": QianfanThrottledError,
    "18": QianfanThrottledError,
    "336501": QianfanThrottledError,
    "336502": QianfanThrottledError,
    # the service's own trouble
    "InternalError": QianfanServerError,
    "2": QianfanServerError,
    "336000": QianfanServerError,
    "336100": QianfanServerError,
    "500000": QianfanServerError,
}

#: What the words of a code mean that is not in the table: which codes the service uses for names that are
#: taken and ids that it does not know is not documented. The first that matches decides.
_ERROR_BY_WORDS: tuple[tuple[re.Pattern[str], type[QianfanAPIError]], ...] = (
    (re.compile(r"not_?(found|exist)|no_?such|non_?exist", re.IGNORECASE), QianfanNotFoundError),
    (
        # A conflict may be one of states; only that of a name is one that another name solves.
        re.compile(
            r"duplicat|already_?exist|exist(s|ed)?$|name_?conflict|conflict(ing)?_?name", re.IGNORECASE
        ),
        QianfanAlreadyExistsError,
    ),
)

#: What an HTTP status means where the code is absent or unknown.
ERROR_BY_STATUS: Mapping[int, type[QianfanAPIError]] = {
    401: QianfanAuthenticationError,
    403: QianfanPermissionError,
    404: QianfanNotFoundError,
    408: QianfanServerError,
    425: QianfanServerError,
    429: QianfanThrottledError,
}

#: With these, an answer that has nothing of Qianfan's in it comes from a gateway, a proxy or a firewall.
_GATEWAY_STATUSES = frozenset({400, 403, 405, 407, 451})

#: Strings by which the gateway's message tells credentials apart where its code does not.
_ERROR_BY_GATEWAY_MESSAGE: Mapping[str, type[QianfanAPIError]] = {
    "Could not find credential": QianfanInvalidAccessKeyError,
    "Signature does not match": QianfanSignatureError,
}

LONGEST_RETRY_AFTER = 3600.0
"""Seconds for which a service is believed that it wants to be left alone."""

_SUCCESS_CODES = frozenset({"", "0", "200", "ok", "success"})

_IDENTIFIES = re.compile(r"^(id|name)$|(Id|Name)$")
_MAX_SUBJECT = 5
_MAX_NAME = 100
_SIGNATURE = re.compile(r"bce-auth-v1[^\s\"']*|[0-9a-f]{64,}", re.IGNORECASE)
_MAX_MESSAGE = 500


def clean(text: object, secrets: tuple[str, ...] = ()) -> str:
    """Return text of foreign origin fit for a log: one line, of limited length, without secrets."""
    line = str(text)
    for secret in secrets:
        line = line.replace(secret, "***")
    line = _SIGNATURE.sub("***", line[: 20 * _MAX_MESSAGE])
    line = " ".join("".join(char if char.isprintable() else " " for char in line).split())
    return line if len(line) <= _MAX_MESSAGE else line[:_MAX_MESSAGE] + "…"


def subject_of(body: Any, secrets: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the ids and names in the body of a request: what an error about it has to name.

    :param body: the body.
    :param secrets: texts that must not appear.
    """
    found: dict[str, str] = {}
    for member, value in _texts(body, depth=4):
        if _IDENTIFIES.search(member) and 0 < len(value) <= _MAX_NAME and len(found) < _MAX_SUBJECT:
            found.setdefault(clean(member, secrets), clean(value, secrets))
    return found


def _texts(value: Any, depth: int) -> Iterator[tuple[str, str]]:
    """Yield the members that are texts, those of outer objects first."""
    inner = list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list) else []
    if isinstance(value, Mapping):
        yield from ((str(member), text) for member, text in value.items() if isinstance(text, str))
    if depth:
        for each in inner:
            yield from _texts(each, depth - 1)


def find_error(
    response: httpx.Response, answer: Any, *, action: str, secrets: tuple[str, ...] = ()
) -> QianfanAPIError | None:
    """Return the error that an answer stands for, or None where it is a success.

    :param response: status and headers of the answer.
    :param answer: its body as parsed JSON; the text of the body where it is not JSON.
    :param action: name of the Action that was called.
    :param secrets: texts that must not appear in the error.
    """
    status = response.status_code
    body: dict[str, Any] = answer if isinstance(answer, dict) else {}
    code = message = None
    refusal = _refusal(body.get("result"))
    if status >= 400:
        code = body.get("code") or body.get("Code") or body.get("error_code")
        message = body.get("message") or body.get("Message") or body.get("error_msg")
        code = code or response.headers.get("X-Bce-Error-Code")
        message = message or response.headers.get("X-Bce-Error-Message")
    elif status >= 300:
        location = response.headers.get("Location", "")
        message = f"the service redirects to {location!r}; redirects are not followed"
    elif body.get("error_code") not in (None, 0, "0", ""):
        code, message = body["error_code"], body.get("error_msg")
    elif body.get("result") is None and _is_failure(body.get("code")):
        code, message = body["code"], body.get("message")
    elif body.get("result") is None and body.get("error"):
        error = body["error"]
        parts = error if isinstance(error, dict) else {}
        code = parts.get("code")
        message = parts.get("message") or parts.get("msg") or error
    elif body.get("result") is False:
        message = "the service answered result: false, it did not do what was asked"
    elif refusal is not None:
        message = refusal or "the service answered operation: false, it did not do what was asked"
    else:
        return None

    code = clean(code, secrets) if code else None
    if status in _GATEWAY_STATUSES and not code and not message:
        error_class: type[QianfanAPIError] = QianfanGatewayError
    else:
        is_false = body.get("result") is False or refusal is not None
        error_class = _error_class(status, code, str(message or ""), is_false=is_false)
    if not message:
        shown = repr(clean(answer, secrets)) if answer else "empty"
        message = "the answer has no message" if body else f"the answer is {shown}"
    return error_class(
        clean(message, secrets),
        action=action,
        status_code=status,
        code=code,
        request_id=request_id(response, body, secrets),
        retry_after=_retry_after(response.headers.get("Retry-After")),
    )


def request_id(
    response: httpx.Response, body: Mapping[str, Any], secrets: tuple[str, ...] = ()
) -> str | None:
    """Return the id of a request, from the body or the header of its answer."""
    found = (
        body.get("requestId")
        or body.get("request_id")
        or body.get("log_id")
        or response.headers.get("x-bce-request-id")
    )
    return clean(found, secrets) if found else None


def _refusal(result: Any) -> Any:
    """Return the message of ``{"operation": false, "message": "…"}``; None where a result is none of that."""
    if not isinstance(result, dict) or result.get("operation") is not False:
        return None
    return result.get("message") or ""


def _is_failure(code: Any) -> bool:
    return code is not None and str(code).lower() not in _SUCCESS_CODES


def _error_class(status: int, code: str | None, message: str, *, is_false: bool) -> type[QianfanAPIError]:
    for text, error in _ERROR_BY_GATEWAY_MESSAGE.items():
        if text in message:
            return error
    if code and code in ERROR_BY_CODE:
        return ERROR_BY_CODE[code]
    if status >= 500:
        return QianfanServerError
    for words, error in _ERROR_BY_WORDS:
        if code and words.search(code):
            return error
    if status == 404 and code is None:
        # A page that Qianfan did not write says nothing about the object asked for.
        return QianfanResponseError
    if status in ERROR_BY_STATUS:
        return ERROR_BY_STATUS[status]
    if status >= 400:
        return QianfanRequestError
    if status >= 300:
        return QianfanResponseError
    return QianfanOperationFailedError if is_false and code is None else QianfanAPIError


def _retry_after(value: str | None) -> float | None:
    """Read a Retry-After header: seconds, or a date."""
    if not value:
        return None
    if value.strip().isdecimal():
        return min(float(value), LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, moment - time.time()), LONGEST_RETRY_AFTER)
