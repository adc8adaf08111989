"""What the retry policy makes of each error."""

from __future__ import annotations

import math
import sys
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import DAG
from versions import DagSerialization, needs

from airflow_qianfan import compat, exceptions
from airflow_qianfan.compat import AirflowException, AirflowFailException
from airflow_qianfan.exceptions import (
    QianfanAPIError,
    QianfanError,
    QianfanQuotaError,
    QianfanServerError,
    QianfanThrottledError,
)
from airflow_qianfan.operators.model import QianfanDescribeModelOperator

in_3_3 = needs(3, 3, "has no retry policies")

ERRORS = sorted(
    (
        value
        for value in vars(exceptions).values()
        if isinstance(value, type) and issubclass(value, QianfanError)
    ),
    key=lambda error: error.__name__,
)
MINUTE, HOUR = 60.0, 3600.0
SPREAD = 1.1

#: What another attempt may mend, and the seconds until then; None where Airflow decides.
TRIED_AGAIN = {
    "QianfanAPIError": None,
    "QianfanConnectionError": None,
    "QianfanError": None,
    "QianfanGatewayError": None,
    "QianfanInferenceError": None,
    "QianfanOperationFailedError": None,
    "QianfanPollError": None,
    "QianfanQuotaError": 15 * MINUTE,
    "QianfanResponseError": None,
    "QianfanServerError": None,
    "QianfanThrottledError": MINUTE,
    "QianfanUnreadableAnswerError": None,
    "QianfanWaitTimeoutError": None,
}


@pytest.fixture
def make_policy() -> Any:
    from airflow_qianfan.retry_policy import QianfanRetryPolicy

    return QianfanRetryPolicy


@pytest.fixture
def pause_after(make_policy):
    """Return the seconds until the next attempt, and fail where there is none or Airflow decides."""

    def pause(error, try_number=1, **arguments):
        decision = make_policy(**arguments).evaluate(error, try_number, 30)
        assert decision.action.value == "retry"
        assert type(error).__name__ in decision.reason
        return decision.retry_delay.total_seconds()

    return pause


def about(seconds):
    """Pauses are spread upwards."""
    return pytest.approx(seconds * (1 + SPREAD) / 2, abs=seconds * (SPREAD - 1) / 2 + 1e-3)


@in_3_3
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_each_error_is_decided(error, make_policy):
    decision = make_policy().evaluate(error("why"), 1, 3)
    if error.__name__ not in TRIED_AGAIN:
        assert issubclass(error, AirflowFailException)
        assert (decision.action.value, decision.retry_delay) == ("fail", None)
        return
    assert not issubclass(error, AirflowFailException)
    seconds = TRIED_AGAIN[error.__name__]
    if seconds is None:
        assert (decision.action.value, decision.retry_delay) == ("default", None)
    else:
        assert decision.action.value == "retry"
        assert decision.retry_delay.total_seconds() == about(seconds)


@in_3_3
@pytest.mark.parametrize("error", [ValueError("why"), AirflowException("why"), KeyboardInterrupt()])
def test_what_is_not_ours_is_left_to_airflow(error, make_policy):
    assert make_policy().evaluate(error, 1, 3).action.value == "default"


@in_3_3
@pytest.mark.parametrize("error", [QianfanThrottledError, QianfanServerError, QianfanAPIError])
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (90.0, 90.0),
        (0.0, 1.0),
        (-5.0, 1.0),
        (1e12, HOUR),
        (math.inf, HOUR),
        (-math.inf, 1.0),
    ],
)
def test_the_service_is_left_alone_for_as_long_as_it_asks_within_limits(error, asked, expected, pause_after):
    assert pause_after(error("why", retry_after=asked)) == about(expected)


@in_3_3
def test_a_pause_that_is_no_number_was_not_asked_for(pause_after, make_policy):
    assert pause_after(QianfanThrottledError("why", retry_after=math.nan)) == about(MINUTE)
    server_error = QianfanServerError("why", retry_after=math.nan)
    assert make_policy().evaluate(server_error, 1, 3).action.value == "default"


@in_3_3
def test_a_full_quota_is_tried_more_and_more_slowly(pause_after):
    error = QianfanQuotaError("why")
    assert [pause_after(error, number) for number in (1, 2, 3, 4, 5000)] == [
        about(15 * MINUTE),
        about(30 * MINUTE),
        about(HOUR),
        about(HOUR),
        about(HOUR),
    ]
    asked = QianfanQuotaError("why", retry_after=50 * MINUTE)
    assert [pause_after(asked, number) for number in (1, 3)] == [about(50 * MINUTE), about(HOUR)]


@in_3_3
def test_pauses_are_what_the_user_says(pause_after):
    seconds = timedelta(seconds=10)
    assert pause_after(QianfanThrottledError("why"), throttled_delay=seconds) == about(10)
    assert pause_after(QianfanQuotaError("why"), 2, quota_delay=seconds) == about(20)
    limits = dict.fromkeys(("throttled_delay", "quota_delay", "max_delay"), seconds)
    assert pause_after(QianfanThrottledError("why", retry_after=90), **limits) == about(10)


@in_3_3
@pytest.mark.parametrize("name", ["throttled_delay", "quota_delay", "max_delay"])
@pytest.mark.parametrize(
    "wrong", [timedelta(0), timedelta(seconds=-1), 30], ids=["none", "negative", "number"]
)
def test_a_pause_that_is_none_is_refused_by_name(name, wrong, make_policy):
    with pytest.raises(ValueError, match=f"{name} must be a timedelta above zero"):
        make_policy(**{name: wrong})


@in_3_3
def test_a_pause_above_the_longest_is_refused_by_name(make_policy):
    with pytest.raises(ValueError, match=r"quota_delay must be .* not above max_delay"):
        make_policy(quota_delay=timedelta(hours=2))


@in_3_3
def test_a_dag_with_a_policy_is_serialized_without_it(make_policy):
    with DAG("d", schedule=None, default_args={"retry_policy": make_policy(), "retries": 2}) as dag:
        task = QianfanDescribeModelOperator(task_id="t", model_id="amv-1")
        mapped = QianfanDescribeModelOperator.partial(task_id="m").expand(model_id=["amv-1", "amv-2"])
    stored = DagSerialization.serialize_dag(dag)
    assert "QianfanRetryPolicy" not in str(stored)
    assert DagSerialization.deserialize_dag(stored).get_task("t").has_retry_policy
    assert deepcopy(task).retry_policy.max_delay == mapped.retry_policy.max_delay == timedelta(hours=1)


def test_an_older_airflow_is_told_what_is_needed(monkeypatch):
    monkeypatch.delattr("airflow.sdk.RetryPolicy", raising=False)
    monkeypatch.setitem(sys.modules, "airflow.sdk.definitions.retry_policy", None)
    monkeypatch.delitem(sys.modules, "airflow_qianfan.retry_policy", raising=False)
    monkeypatch.setattr(compat, "__version__", "3.1.8")
    with pytest.raises(ImportError, match=r"needs Airflow 3\.3 or newer, and this is 3\.1\.8: leave"):
        import airflow_qianfan.retry_policy  # noqa: F401
