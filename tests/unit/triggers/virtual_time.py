"""A clock that moves only while everybody sleeps: hours of polling take milliseconds, to the second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

EPOCH = 1_700_000_000.0
START = 1000.0
DAY = 86_400.0


class Clock:
    """The time of a test.

    :param longest: seconds after which a test is ended that should have been over long ago.
    """

    def __init__(self, longest: float = 30 * DAY) -> None:
        self._now = START
        self._end = START + longest

    def monotonic(self) -> float:
        return self._now

    def time(self) -> float:
        return EPOCH + self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds
        assert self._now <= self._end, "the test still waits for something after a virtual month"

    @property
    def seconds(self) -> float:
        """How long the test has taken."""
        return self._now - START

    def control(self, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let an event loop and all that asks for the time or sleeps go by this clock."""
        monkeypatch.setattr(time, "time", self.time)
        monkeypatch.setattr(time, "monotonic", self.monotonic)
        monkeypatch.setattr(time, "sleep", self.sleep)
        monkeypatch.setattr(loop, "time", self.monotonic)
        monkeypatch.setattr(loop, "run_in_executor", _run_at_once)
        selector = loop._selector  # type: ignore[attr-defined]
        select = selector.select

        def select_at_once(timeout: float | None) -> Any:
            ready = select(0)
            if not ready and timeout is None:
                raise AssertionError("all coroutines wait for something that nobody will do")
            if not ready and timeout:
                self.sleep(timeout)
            return ready

        monkeypatch.setattr(selector, "select", select_at_once)


def _run_at_once(executor: Any, function: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
    """Run what would go to another thread here and now: threads do not know of the clock."""
    future = asyncio.get_running_loop().create_future()
    try:
        future.set_result(function(*arguments))
    except Exception as error:
        future.set_exception(error)
    return future
