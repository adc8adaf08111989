"""One API call, except its I/O: what is sent, and how the answer is read."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping
from functools import lru_cache
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from airflow_qianfan.api.actions.base import Action
from airflow_qianfan.api.config import QianfanConfig
from airflow_qianfan.api.errors import clean, find_error, request_id, subject_of
from airflow_qianfan.api.observer import Observer
from airflow_qianfan.api.retry import RetryPolicy
from airflow_qianfan.exceptions import (
    QianfanAmbiguousCreateError,
    QianfanConnectionError,
    QianfanError,
    QianfanResponseError,
    QianfanUnreadableAnswerError,
    QianfanValidationError,
)

log = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")
ErrorT = TypeVar("ErrorT", bound=QianfanError)

MAX_ANSWER_BYTES = 16 * 1024 * 1024

TRANSPORT_ERRORS = (httpx.HTTPError, httpx.InvalidURL, UnicodeError)
"""What the HTTP client raises; the last two where a redirect leads to no address at all."""

_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


class ApiCall:
    """One call of an Action, through all its attempts; a context from the first to the last of them.

    :param config: settings of the client.
    :param route: such as ``/v2/finetuning``.
    :param action: name of the Action.
    :param body: its JSON body.
    :param repeatable: whether it may be sent again when nobody knows whether it took effect; None lets
        :func:`airflow_qianfan.api.retry.is_repeatable` decide.
    :param observer: is told how it goes.
    :raises QianfanValidationError: the request cannot be sent.
    """

    def __init__(
        self,
        config: QianfanConfig,
        route: str,
        action: str,
        body: Mapping[str, Any],
        repeatable: bool | None = None,
        observer: Observer | None = None,
    ) -> None:
        if not route.startswith("/") or route.startswith("//"):
            raise QianfanValidationError(
                f"route: must start with one slash, not {route!r}.", action=action, parameters=("route",)
            )
        if not action:
            raise QianfanValidationError(
                "action: must not be empty; give the name of the Action.", parameters=("action",)
            )
        try:
            url = _url(config.endpoint, route, action)
        except (UnicodeEncodeError, httpx.InvalidURL):
            raise QianfanValidationError(
                "route or action: must be text that an address can hold.", parameters=("route", "action")
            ) from None
        try:
            content = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise QianfanValidationError(
                f"the body cannot be written as JSON: {error}", action=action, parameters=("body",)
            ) from None
        self.action = action
        self.timeout = config.timeout
        self.retry = RetryPolicy(action, repeatable, config.max_retries, observer)
        self._config = config
        self._body = body
        self._observer = observer
        self._request_id: str | None = None
        self.http_request: dict[str, Any] = {
            "method": "POST",
            "url": url,
            "content": content,
            "headers": {"Content-Type": "application/json"},
        }

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._observer is None or not (error is None or isinstance(error, QianfanError)):
            return
        last = error.__cause__ if isinstance(error, QianfanAmbiguousCreateError) else error
        found = self._request_id if error is None else getattr(last, "request_id", None)
        self._observer.call_ended(self.action, time.monotonic() - self._began, error, found)

    def transport_error(self, error: Exception) -> QianfanError:
        """Return what a failure of the HTTP client means."""
        text = clean(error, self._config.secrets)
        message = f"{type(error).__name__}: {text}" if text else type(error).__name__
        if isinstance(error, httpx.DecodingError):
            return self._about(
                QianfanUnreadableAnswerError(f"cannot decode the answer: {message}", action=self.action)
            )
        if not isinstance(error, httpx.HTTPError):
            return self._about(QianfanResponseError(f"cannot read the answer: {message}", action=self.action))
        sent = not isinstance(error, _NOT_SENT)
        what = f"no answer within {self.timeout:g} s" if "Timeout" in message else "no answer"
        return self._about(
            QianfanConnectionError(
                f"{what} from {self._config.endpoint}: {message}", action=self.action, sent=sent
            )
        )

    def unusable(self, response: httpx.Response, what: str) -> QianfanResponseError:
        """Return the error for an answer that is not even read."""
        return self._about(
            QianfanResponseError(
                f"the answer is {what}",
                action=self.action,
                status_code=response.status_code,
                request_id=request_id(response, {}, self._config.secrets),
            )
        )

    def answer(self, response: httpx.Response, content: bytes) -> dict[str, Any]:
        """Return the parsed answer.

        :raises QianfanAPIError: it is an error, or not an answer of Qianfan.
        """
        secrets = self._config.secrets
        answer: Any = content.decode("utf-8", "replace")
        try:
            answer = json.loads(answer, parse_constant=_finite, parse_float=_finite)
        except (ValueError, RecursionError):
            unreadable = True
        else:
            unreadable = not isinstance(answer, dict)
        error = find_error(response, answer, action=self.action, secrets=secrets)
        if error is not None:
            raise self._about(error)
        if unreadable:
            raise self._about(
                QianfanUnreadableAnswerError(
                    f"the answer is not a JSON object but {clean(answer, secrets)[:200]!r}",
                    action=self.action,
                    status_code=response.status_code,
                    request_id=request_id(response, {}, secrets),
                )
            )
        if self._observer is not None or log.isEnabledFor(logging.DEBUG):
            self._request_id = request_id(response, answer, secrets)
            log.debug("%s answered, request id %s", self.action, self._request_id)
        whole: dict[str, Any] = answer
        return whole

    def typed_result(self, request: Action[ResultT], answer: Mapping[str, Any]) -> ResultT:
        """Return the result of an answer in its type.

        :raises QianfanResponseError: it is of another type.
        """
        try:
            return request.read_result(answer.get("result"))
        except (ValidationError, RecursionError) as error:
            details = error.errors(include_input=False) if isinstance(error, ValidationError) else []
            where = "; ".join(
                f"{'.'.join(map(str, ('result', *detail['loc'])))}: {detail['msg']}" for detail in details[:5]
            )
            wrong = QianfanResponseError(
                f"the answer is not of the documented type: {clean(where, self._config.secrets)}",
                action=self.action,
                request_id=clean(answer.get("requestId") or "", self._config.secrets) or None,
            )
        raise self.retry.final(self._about(wrong))

    def _about(self, error: ErrorT) -> ErrorT:
        """Let an error say which object the call was about."""
        error.subject = subject_of(self._body, self._config.secrets)
        return error


class AnswerBody:
    """Collects the body of an answer, within the limits of size and time.

    :param call: the call that is answered.
    :param response: the answer, of which only the headers were read.
    :raises QianfanResponseError: it is compressed twice, which makes a few bytes fill all memory.
    """

    def __init__(self, call: ApiCall, response: httpx.Response) -> None:
        self._call = call
        self._response = response
        self._chunks: list[bytes] = []
        self._size = 0
        self._deadline = time.monotonic() + call.timeout
        if len(response.headers.get_list("Content-Encoding", split_commas=True)) > 1:
            raise call.unusable(response, "compressed more than once")

    def add(self, chunk: bytes) -> None:
        """Take the next chunk.

        :raises QianfanResponseError: the body is too large.
        """
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > MAX_ANSWER_BYTES:
            raise self._call.unusable(self._response, f"larger than {MAX_ANSWER_BYTES >> 20} MiB")
        if time.monotonic() > self._deadline:
            raise httpx.ReadTimeout("the answer was still incomplete")

    def content(self) -> bytes:
        """Return the whole body."""
        return b"".join(self._chunks)


@lru_cache(maxsize=64)
def _url(endpoint: str, route: str, action: str) -> httpx.URL:
    return httpx.URL(f"{endpoint.rstrip('/')}{quote(route)}?Action={quote(action, safe='')}")


def _finite(text: str) -> float | None:
    """Read a number, or nothing where Airflow could not store it: ``NaN``, ``Infinity``, ``1e999``."""
    number = float(text)
    return number if math.isfinite(number) else None
