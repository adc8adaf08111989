"""One call of an Action but for the sending: what goes out, how the answer is read, what is sent again."""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import ValidationError
from tenacity import RetryCallState, stop_after_attempt, wait_random_exponential

from airflow_qianfan.api.actions.base import Action, Page
from airflow_qianfan.api.config import QianfanConfig
from airflow_qianfan.api.errors import clean, find_error, request_id
from airflow_qianfan.exceptions import (
    QianfanAmbiguousCreateError,
    QianfanAPIError,
    QianfanClockError,
    QianfanConnectionError,
    QianfanError,
    QianfanResponseError,
    QianfanServerError,
    QianfanUnreadableAnswerError,
    QianfanValidationError,
)

log = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")

MAX_ANSWER_BYTES = 16 * 1024 * 1024
MAX_WAIT = 60.0
"""Seconds between two attempts at most; a service that asks for a longer pause gets no other attempt."""

TRANSPORT_ERRORS = (httpx.HTTPError, httpx.InvalidURL, UnicodeError)
"""What the HTTP client raises; the last two where a redirect leads to no address at all."""

_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
_BACKOFF = wait_random_exponential(multiplier=1, max=MAX_WAIT)
_REPEATABLE = ("Describe", "Stop", "Delete", "Cancel")


class Exchange:
    """One call of an Action, through all its attempts.

    :param config: settings of the client.
    :param route: such as ``/v2/finetuning``.
    :param action: name of the Action.
    :param body: its JSON body.
    :param repeatable: whether it may be sent again when nobody knows whether it took effect; None decides by
        the name.
    :raises QianfanValidationError: the request cannot be sent.
    """

    def __init__(
        self,
        config: QianfanConfig,
        route: str,
        action: str,
        body: Mapping[str, Any],
        repeatable: bool | None = None,
    ) -> None:
        if not route.startswith("/") or route.startswith("//"):
            raise QianfanValidationError(
                f"route must start with one slash, not {route!r}", action=action, parameters=("route",)
            )
        if not action:
            raise QianfanValidationError("the name of the Action is empty", parameters=("action",))
        try:
            url = _url(config.endpoint, route, action)
        except (UnicodeEncodeError, httpx.InvalidURL):
            raise QianfanValidationError(
                "route or name of the Action is not valid text", parameters=("route", "action")
            ) from None
        try:
            content = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise QianfanValidationError(
                f"the body cannot be written as JSON: {error}", action=action, parameters=("body",)
            ) from None
        self.action = action
        self.timeout = config.timeout
        self._answer_lost = False
        self._signed_anew = False
        self._config = config
        self._repeatable = action.startswith(_REPEATABLE) if repeatable is None else repeatable
        self.http_request: dict[str, Any] = {
            "method": "POST",
            "url": url,
            "content": content,
            "headers": {"Content-Type": "application/json"},
        }

    def retry_policy(self) -> dict[str, Any]:
        """Return the arguments for tenacity."""
        return {
            "retry": self._may_repeat,
            "stop": stop_after_attempt(1 + self._config.max_retries),
            "wait": _wait,
            "before_sleep": self._log_repeat,
            "reraise": True,
        }

    def transport_error(self, error: Exception) -> QianfanError:
        """Return what a failure of the HTTP client means."""
        text = clean(error, self._config.secrets)
        message = f"{type(error).__name__}: {text}" if text else type(error).__name__
        if isinstance(error, httpx.DecodingError):
            return QianfanUnreadableAnswerError(f"cannot decode the answer: {message}", action=self.action)
        if not isinstance(error, httpx.HTTPError):
            return QianfanResponseError(f"cannot read the answer: {message}", action=self.action)
        sent = not isinstance(error, _NOT_SENT)
        what = f"no answer within {self._config.timeout:g} s" if "Timeout" in message else "no answer"
        return QianfanConnectionError(
            f"{what} from {self._config.endpoint}: {message}", action=self.action, sent=sent
        )

    def unusable(self, response: httpx.Response, what: str) -> QianfanResponseError:
        """Return the error for an answer that is not even read."""
        return QianfanResponseError(
            f"the answer is {what}",
            action=self.action,
            status_code=response.status_code,
            request_id=request_id(response, {}, self._config.secrets),
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
            raise error
        if unreadable:
            raise QianfanUnreadableAnswerError(
                f"the answer is not a JSON object but {clean(answer, secrets)[:200]!r}",
                action=self.action,
                status_code=response.status_code,
                request_id=request_id(response, {}, secrets),
            )
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s answered, request id %s", self.action, request_id(response, answer, secrets))
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
        raise self.final(wrong)

    def final(self, error: QianfanError) -> QianfanError:
        """Return the error that ends the call; for a Create whose effect is unknown, one that says so."""
        if isinstance(error, QianfanAPIError):
            error.after_lost_answer = self._answer_lost
        if self._repeatable or not _is_ambiguous(error):
            return error
        details = error.details()
        ambiguous = QianfanAmbiguousCreateError(
            f"{error.message}{f' ({details})' if details else ''}; it was not sent again", action=self.action
        )
        ambiguous.__cause__ = error
        return ambiguous

    def _may_repeat(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, QianfanError):
            return False
        self._answer_lost = self._answer_lost or _is_ambiguous(error)
        if isinstance(error, QianfanConnectionError) and not error.sent:
            return True
        if not self._repeatable:
            return False
        if isinstance(error, QianfanClockError):
            # A fresh time stamp helps a request that was on its way for too long, not a wrong clock.
            first, self._signed_anew = not self._signed_anew, True
            return first
        if isinstance(error, QianfanAPIError) and (error.retry_after or 0) > MAX_WAIT:
            return False
        return error.transient

    def _log_repeat(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        message = error.message if isinstance(error, QianfanError) else error
        log.warning(
            "%s: %s; attempt %d of %d in %.1f s",
            self.action,
            message,
            state.attempt_number + 1,
            1 + self._config.max_retries,
            state.upcoming_sleep,
        )


class Body:
    """Collects the body of an answer, within the limits of size and time.

    :param exchange: the call that is answered.
    :param response: the answer, of which only the headers are there.
    :raises QianfanResponseError: it is compressed twice, which makes a few bytes fill all memory.
    """

    def __init__(self, exchange: Exchange, response: httpx.Response) -> None:
        self._exchange = exchange
        self._response = response
        self._chunks: list[bytes] = []
        self._size = 0
        self._deadline = time.monotonic() + exchange.timeout
        if len(response.headers.get_list("Content-Encoding", split_commas=True)) > 1:
            raise exchange.unusable(response, "compressed more than once")

    def add(self, chunk: bytes) -> None:
        """Take the next piece.

        :raises QianfanResponseError: the body is too large.
        """
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > MAX_ANSWER_BYTES:
            raise self._exchange.unusable(self._response, f"larger than {MAX_ANSWER_BYTES >> 20} MiB")
        if time.monotonic() > self._deadline:
            raise httpx.ReadTimeout("the answer trickles in too slowly")

    def content(self) -> bytes:
        """Return the whole body."""
        return b"".join(self._chunks)


class Pages:
    """Walks through the pages of a list: which request is next, and which of the answer's rows are new.

    Markers are inclusive, so a page may start with the row that ended the one before. No marker is asked for
    twice, and a page has to show something new, so the walk ends.

    :param request: the request of the first page.
    """

    def __init__(self, request: Action[Page]) -> None:
        self.request: Action[Page] | None = request
        self._seen: set[str] = set()
        self._markers: set[str] = set()

    def rows_of(self, page: Page) -> list[Any]:
        """Return the rows of a page that no earlier page had, and turn to the next page.

        :raises QianfanResponseError: there should be more, but this page led nowhere.
        """
        request: Any = self.request
        new = []
        for row in page.rows:
            row_id = getattr(row, page.id_member)
            if row_id not in self._seen:
                self._seen.add(row_id)
                new.append(row)
        info = page.page_info
        if request.marker:
            self._markers.add(request.marker)
        if not info.is_truncated:
            self.request = None
        elif new and info.next_marker and info.next_marker not in self._markers:
            self.request = request.model_copy(update={"marker": info.next_marker})
        else:
            raise QianfanResponseError(
                f"the list is incomplete: the page at marker {request.marker!r} promises more "
                f"but leads to {info.next_marker!r}",
                action=request.action,
            )
        return new


class Pace:
    """Keeps requests apart, so that there are no more than ``max_qps`` in a second.

    :param max_qps: requests per second; None for no limit.
    """

    def __init__(self, max_qps: float | None) -> None:
        self._gap = 1 / max_qps if max_qps else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def next_slot(self) -> float:
        """Take the next slot, and return the seconds to wait until then."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._gap
            return start - now


@lru_cache(maxsize=64)
def _url(endpoint: str, route: str, action: str) -> httpx.URL:
    return httpx.URL(f"{endpoint.rstrip('/')}{quote(route)}?Action={quote(action, safe='')}")


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, QianfanAPIError) and error.retry_after is not None:
        return error.retry_after
    return _BACKOFF(state)


def _finite(text: str) -> float | None:
    """Read a number, or nothing where Airflow could not store it: ``NaN``, ``Infinity``, ``1e999``."""
    number = float(text)
    return number if math.isfinite(number) else None


def _is_ambiguous(error: QianfanError) -> bool:
    if isinstance(error, QianfanConnectionError):
        return error.sent
    if isinstance(error, QianfanResponseError) and error.status_code and 400 <= error.status_code < 500:
        return False
    unclear = (QianfanServerError, QianfanResponseError)
    # A code that nobody knows may mean anything.
    return isinstance(error, unclear) or type(error) is QianfanAPIError
