"""When Airflow tries a task again that Qianfan has refused; needs Airflow 3.3."""

from __future__ import annotations

import math
import random
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_qianfan.compat import AirflowFailException, load_retry_policy
from airflow_qianfan.exceptions import QianfanAPIError, QianfanQuotaError, QianfanThrottledError

if TYPE_CHECKING:
    from airflow.sdk import Context, RetryDecision, RetryPolicy
else:
    RetryPolicy, RetryDecision = load_retry_policy()

SHORTEST = 1.0
"""Seconds between two attempts at least, also where the service asks for none."""

SPREAD = 1.1
"""Pauses are longer by up to this factor, so that tasks that failed together do not come back together."""


class QianfanRetryPolicy(RetryPolicy):
    """Decides by the error when, and whether, a task is tried again: ``retry_policy=QianfanRetryPolicy()``.

    - The service asks for a pause (``Retry-After``), as it may when it throttles or fails: after that pause.
    - It throttles and names no pause: after ``throttled_delay``.
    - A quota is full: after ``quota_delay``, and twice as long after each further attempt.
    - Credentials, permissions, a request that is refused or that breaks a rule, and all else that another
      attempt cannot mend: never.
    - Everything else: as ``retry_delay`` and ``retry_exponential_backoff`` of the task say.

    No pause is longer than ``max_delay``, but for the tenth by which pauses are spread. ``retries`` limits
    the attempts in any case. Airflow asks the policy in the process of the task and stores only the pause, so
    that a policy never becomes a part of the serialized DAG.

    .. seealso::
        https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/tasks.html

    :param throttled_delay: pause after the service has throttled and named no pause.
    :param quota_delay: pause after the first attempt that met a full quota.
    :param max_delay: the longest pause.
    :raises ValueError: one of them is not longer than zero, or longer than ``max_delay``.
    """

    def __init__(
        self,
        *,
        throttled_delay: timedelta = timedelta(minutes=1),
        quota_delay: timedelta = timedelta(minutes=15),
        max_delay: timedelta = timedelta(hours=1),
    ) -> None:
        delays = {"max_delay": max_delay, "throttled_delay": throttled_delay, "quota_delay": quota_delay}
        for name, delay in delays.items():
            if not isinstance(delay, timedelta) or not timedelta(0) < delay <= max_delay:
                raise ValueError(
                    f"{name} must be a timedelta above zero and not above max_delay, not {delay!r}"
                )
        self.throttled_delay = throttled_delay
        self.quota_delay = quota_delay
        self.max_delay = max_delay

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Return what Airflow does after an error.

        :param exception: the error that has ended the attempt.
        :param try_number: the number of the attempt, from 1 on.
        :param max_tries: how many retries there may be, those before a clear included.
        :param context: context of the running task.
        """
        name = type(exception).__name__
        if isinstance(exception, AirflowFailException):
            # Airflow does not ask about these.
            return RetryDecision.fail(f"{name}: another attempt cannot mend it")
        if isinstance(exception, QianfanQuotaError):
            # A clear begins anew, but Airflow goes on counting.
            retries = max_tries if context is None else context["task"].retries or 0
            attempt = try_number - max(max_tries - retries, 0)
            growth = 2.0 ** min(max(attempt, 1) - 1, 30)
            seconds = max(self.quota_delay.total_seconds() * growth, _asked(exception) or 0.0)
            return self._retry(seconds, f"{name}: a quota is full")
        if isinstance(exception, QianfanAPIError) and (asked := _asked(exception)) is not None:
            return self._retry(asked, f"{name}: the service asks for a pause of {asked:.0f} s")
        if isinstance(exception, QianfanThrottledError):
            return self._retry(self.throttled_delay.total_seconds(), f"{name}: too many requests")
        return RetryDecision.default()

    def _retry(self, seconds: float, reason: str) -> RetryDecision:
        pause = min(max(seconds, SHORTEST), self.max_delay.total_seconds())
        return RetryDecision.retry(timedelta(seconds=pause * random.uniform(1.0, SPREAD)), reason)  # noqa: S311


def _asked(error: QianfanAPIError) -> float | None:
    """Return the seconds for which the service wants to be left alone, if it has said so."""
    asked = error.retry_after
    return None if asked is None or math.isnan(asked) else asked
