"""No more requests in a second than the connection allows."""

from __future__ import annotations

import time

import pytest
from examples import READ
from wire import reply

from airflow_qianfan.api.rate_limiter import RateLimiter
from airflow_qianfan.exceptions import QianfanServerError


@pytest.fixture
def now(monkeypatch) -> list[float]:
    """The time, in a list of one."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_max_qps_keeps_requests_apart(now):
    limiter = RateLimiter(4)
    assert [limiter.next_slot() for _ in range(4)] == [0, 0.25, 0.5, 0.75]
    now[0] += 10
    assert limiter.next_slot() == 0


def test_no_limit_never_waits():
    limiter = RateLimiter(None)
    assert [limiter.next_slot() for _ in range(100)] == [0] * 100


def test_client_waits_for_its_slot_before_every_attempt(now, connect, wire, slept):
    wire.script(reply(None, 503, {"Retry-After": "0"}))
    caller = connect(max_qps=0.125, max_retries=3)
    with pytest.raises(QianfanServerError):
        caller.call(READ)
    # The first slot is at once; then each pause before an attempt is followed by the wait for its slot.
    assert slept == [0, 8, 0, 16, 0, 24]
