"""Slots for requests, taken by many callers at once."""

import asyncio
import threading
import time

import pytest

from airflow_qianfan.api.rate_limiter import RateLimiter


@pytest.fixture
def now(monkeypatch):
    """A clock that a test sets."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_thousand_calls_of_many_threads_get_slots_exactly_apart(now):
    limiter = RateLimiter(500)
    slots: list[float] = []

    def take() -> None:
        mine = [limiter.next_slot() for _ in range(20)]
        assert mine == sorted(mine)
        slots.extend(mine)

    threads = [threading.Thread(target=take) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(slots) == [pytest.approx(number / 500, abs=1e-9) for number in range(1000)]


def test_a_thousand_coroutines_get_slots_exactly_apart_and_in_order(now):
    limiter = RateLimiter(500)
    slots: list[float] = []

    async def take() -> None:
        slots.append(limiter.next_slot())

    async def take_all() -> None:
        await asyncio.gather(*(take() for _ in range(1000)))

    asyncio.run(take_all())
    assert slots == [pytest.approx(number / 500, abs=1e-9) for number in range(1000)]


def test_slots_that_nobody_took_are_not_made_up_for(now):
    limiter = RateLimiter(10)
    assert [limiter.next_slot() for _ in range(3)] == pytest.approx([0, 0.1, 0.2])
    now[0] = 1060.0
    assert [limiter.next_slot() for _ in range(3)] == pytest.approx([0, 0.1, 0.2])
