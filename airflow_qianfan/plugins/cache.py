"""What was read a moment ago, shared by all who look at it."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class SharedCache:
    """Keeps what was read for some seconds; who asks while it is being read waits for the same answer.

    An error is kept as long as a value: a service that is down is not asked by every viewer.

    :param seconds: how long it is kept.
    :param size: how many answers are kept at most.
    :param now: the time in seconds, which only grows.
    """

    def __init__(self, seconds: float, size: int, now: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._size = size
        self._now = now
        self._kept: OrderedDict[Hashable, tuple[float, asyncio.Task[Any]]] = OrderedDict()

    async def get(self, key: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """Return what is kept under a key, or read it.

        :param key: what is read, and for whom where that makes a difference.
        :param read: reads it.
        """
        task = self._find(key)
        if task is None:
            task = asyncio.ensure_future(_awaited(read))
            # Nobody may be left to take an error.
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            self._keep(key, task)
        # A viewer who leaves does not end it for the others.
        found: T = await asyncio.shield(task)
        return found

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()

    def _find(self, key: Hashable) -> asyncio.Task[Any] | None:
        read_at, task = self._kept.get(key, (0.0, None))
        if task is None or task.get_loop() is not asyncio.get_running_loop() or task.cancelled():
            return None
        is_fresh = not task.done() or self._now() - read_at < self._seconds
        return task if is_fresh else None

    def _keep(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        self._kept[key] = (self._now(), task)
        self._kept.move_to_end(key)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)


async def _awaited(read: Callable[[], Awaitable[T]]) -> T:
    return await read()
