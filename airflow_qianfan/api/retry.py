"""Which calls are sent again after a failure, when, and what their last failure means."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from tenacity import RetryCallState, stop_after_attempt, wait_random_exponential

from airflow_qianfan.api.observer import Observer
from airflow_qianfan.exceptions import (
    QianfanAmbiguousCreateError,
    QianfanAPIError,
    QianfanClockError,
    QianfanConnectionError,
    QianfanError,
    QianfanResponseError,
    QianfanServerError,
)

log = logging.getLogger(__name__)

MAX_WAIT = 60.0
"""Seconds between two attempts at most; a service that asks for a longer pause gets no other attempt."""

_BACKOFF = wait_random_exponential(multiplier=1, max=MAX_WAIT)

# Done twice, these do what they do once. Whatever is not listed may cost or make something a second time.
_REPEATABLE = re.compile(r"(Describe|Stop|Delete|Cancel|Deactivate|Release)([A-Z]\w*)?", re.ASCII)


def is_repeatable(action: str) -> bool:
    """Return whether an Action may be sent again when nobody knows whether it took effect.

    The verb that its name begins with decides; a verb that is not known says no.

    :param action: name of the Action, such as ``DescribeFineTuningTask``.
    """
    return _REPEATABLE.fullmatch(action) is not None


class RetryPolicy:
    """Retries one call, and remembers what its attempts say about its effect.

    :param action: name of the Action.
    :param repeatable: the user's word on :func:`is_repeatable`; None asks that function.
    :param max_retries: further attempts at most.
    :param observer: is told of them.
    """

    def __init__(
        self, action: str, repeatable: bool | None, max_retries: int, observer: Observer | None = None
    ) -> None:
        self._action = action
        self._observer = observer
        self._repeatable = is_repeatable(action) if repeatable is None else repeatable
        self._attempts = 1 + max_retries
        self._answer_lost = False
        self._signed_anew = False

    def arguments(self) -> Mapping[str, Any]:
        """Return the arguments for ``tenacity.Retrying`` and ``tenacity.AsyncRetrying``."""
        return {
            "retry": self._may_retry,
            "stop": stop_after_attempt(self._attempts),
            "wait": _wait,
            "before_sleep": self._log_retry,
            "reraise": True,
        }

    def final(self, error: QianfanError) -> QianfanError:
        """Return the error that ends the call: another one where the call may have taken effect."""
        if isinstance(error, QianfanAPIError):
            error.after_lost_answer = self._answer_lost
        if self._repeatable or not _may_have_taken_effect(error):
            return error
        ambiguous = QianfanAmbiguousCreateError(
            f"{error.what_happened()}; it was not sent again", action=self._action
        )
        ambiguous.__cause__ = error
        return ambiguous

    def _may_retry(self, state: RetryCallState) -> bool:
        error = _error_of(state)
        if not isinstance(error, QianfanError):
            return False
        self._answer_lost = self._answer_lost or _may_have_taken_effect(error)
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

    def _log_retry(self, state: RetryCallState) -> None:
        error = _error_of(state)
        log.warning(
            "%s: %s; attempt %d of %d in %.1f s",
            self._action,
            error.what_happened() if isinstance(error, QianfanError) else error,
            state.attempt_number + 1,
            self._attempts,
            state.upcoming_sleep,
        )
        if self._observer is not None and isinstance(error, QianfanError):
            self._observer.call_retried(self._action, error)


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _wait(state: RetryCallState) -> float:
    error = _error_of(state)
    if isinstance(error, QianfanAPIError) and error.retry_after is not None:
        return error.retry_after
    return _BACKOFF(state)


def _may_have_taken_effect(error: QianfanError) -> bool:
    if isinstance(error, QianfanConnectionError):
        return error.sent
    if isinstance(error, QianfanResponseError) and error.status_code and 400 <= error.status_code < 500:
        return False
    unclear = (QianfanServerError, QianfanResponseError)
    # A code that nobody knows may mean anything.
    return isinstance(error, unclear) or type(error) is QianfanAPIError
