"""One poller for all that wait in an event loop with the same endpoint and credential.

It owns one HTTP client with a few connections, one schedule and one rate limit. Objects that one list shows,
such as the tasks of a job, are read with one call. Each trigger waits for its own answers in its own
coroutine, so that an error in handling one touches no other, and so that what it logs lands in the log of
its own task.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import logging
import math
import random
from typing import TYPE_CHECKING, Any

from airflow_qianfan.exceptions import (
    QianfanAPIError,
    QianfanAuthenticationError,
    QianfanError,
    QianfanThrottledError,
)
from airflow_qianfan.settings import setting

if TYPE_CHECKING:
    from airflow_qianfan.api.actions.base import Action, Page
    from airflow_qianfan.api.client import AsyncQianfanClient
    from airflow_qianfan.api.objects import RemoteObject
    from airflow_qianfan.metrics import Metrics
    from airflow_qianfan.triggers.base.polling import Target

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 10
"""TCP connections, and requests under way, at most."""

PATIENCE = 0.3
"""Wait so many seconds per request in flight before opening another connection: each open one makes all
requests dearer, and one is usually enough for thousands. The last one is opened after 2.7 s."""

FIRST_SLOWDOWN = 1.0
LONGEST_SLOWDOWN = 60.0
"""Seconds of silence after a throttled request; doubled each time, halved by each success."""

LONGEST_SILENCE = 600.0
"""Seconds of silence at most, where the service asks for them."""

MAX_THROTTLED = 10
"""How often in a row a poll is put off because the service is busy, before its trigger is told."""

DETAIL_SHARE = 0.5
"""Share of the list calls that are followed by one detail call, since a list shows no progress."""

MAX_HEAP_RATIO = 1.2
"""Compact the heap when it holds more than so many polls for each that is awaited."""

LIST_PAUSE = 600.0
"""Seconds for which a list is not used after it could not be read; its objects are asked for one by one."""


_ListKey = tuple[str, str]


class _Poll(asyncio.Future[Any]):
    """The answer that a trigger waits for. In the schedule, what falls due first comes first."""

    __slots__ = ("due", "is_listed", "key", "number", "place", "target", "throttled")

    def __init__(self, target: Target, due: float, number: int) -> None:
        super().__init__()
        self.target = target
        self.due = due
        self.number = number
        self.key = target.list_key
        self.is_listed = self.key is not None
        # In the group of those that a list answers.
        self.place = 0
        self.throttled = 0

    def __lt__(self, other: _Poll) -> bool:
        return (self.due, self.number) < (other.due, other.number)


class Poller:
    """Sends the polls of many triggers when they are due.

    :param client: a client that does not repeat by itself: a trigger bears failures, with longer pauses.
    :param max_qps: requests per second at most; None for no limit.
    :param metrics: is told how late polls are sent.
    """

    def __init__(
        self, client: AsyncQianfanClient, max_qps: float | None = None, metrics: Metrics | None = None
    ) -> None:
        from airflow_qianfan.api.rate_limiter import RateLimiter

        self._metrics = metrics
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._schedule: list[_Poll] = []
        # How many polls are awaited, and how many of them share a list with another.
        self._waiting = self._shared = 0
        self._numbers = itertools.count()
        # For each list: the polls that it answers, which take turns; those of them that fall due while it is
        # being read; and until when it is not used.
        self._groups: dict[_ListKey, list[_Poll]] = {}
        self._late: dict[_ListKey, list[_Poll]] = {}
        self._paused_lists: dict[_ListKey, float] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._gate = asyncio.Lock()
        self._limiter = RateLimiter(max_qps)
        # Airflow's configuration is slow to read, and every trigger asks.
        self._polls_per_second = setting("polls_per_second")
        self._slowdown = 0.0
        self._silent_until = 0.0

    def poll(self, target: Target, interval: float, pause: float) -> _Poll:
        """Return what will hold an object's state, as its own request or its row in a list shows it.

        :param target: the object.
        :param interval: seconds between two calls of a list that shows it and others that are waited for.
        :param pause: seconds to wait before; another object's turn may make it shorter.
        :return: to be awaited, and then to be forgotten; it raises a :class:`QianfanError` where the poll
            fails.
        :raises ValueError: the pause is no number of seconds; it would upset the schedule of all.
        """
        if not 0 <= pause < math.inf:
            raise ValueError(f"cannot wait {pause} s")
        now = self._loop.time()
        poll = _Poll(target, now + pause, next(self._numbers))
        if poll.key is not None:
            group = self._groups.get(poll.key)
            if group is None:
                self._groups[poll.key] = [poll]
            else:
                self._shared += 1
                if not self._is_paused(poll.key):
                    poll.due = min(poll.due, now + interval)
                poll.place = len(group)
                group.append(poll)
        self._waiting += 1
        self._put(poll)
        return poll

    def forget(self, poll: _Poll) -> None:
        """Drop a poll that nobody awaits any longer."""
        poll.cancel()
        self._waiting -= 1
        if poll.key is not None:
            group = self._groups[poll.key]
            # The last one moves to its place: with many of them, looking for it would take long.
            last = group.pop()
            if last is not poll:
                last.place = poll.place
                group[last.place] = last
            self._shared -= bool(group)
            if not group:
                del self._groups[poll.key]
                self._paused_lists.pop(poll.key, None)
        # Those that were answered before they fell due hold their answers, which are many times their size.
        if len(self._schedule) > MAX_HEAP_RATIO * self._waiting + MAX_CONNECTIONS:
            self._schedule = [other for other in self._schedule if not other.done()]
            heapq.heapify(self._schedule)

    @property
    def affordable_pause(self) -> float:
        """Seconds between two polls with which all that wait are polled within the budget."""
        return self.load / self._polls_per_second

    @property
    def load(self) -> int:
        """How many requests poll all that wait once: a list is one for all its rows, while it can be read."""
        unlisted = sum(len(self._groups[key]) - 1 for key in self._paused_lists if self._is_paused(key))
        return self._waiting - self._shared + unlisted

    async def aclose(self) -> None:
        """Stop, and close the connections."""
        if self._timer is not None:
            self._timer.cancel()
        for polls in (self._schedule, *self._late.values()):
            polls.clear()
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._client.aclose()

    def _put(self, poll: _Poll) -> None:
        heapq.heappush(self._schedule, poll)
        if self._schedule[0] is poll:
            self._send_due()

    def _send_due(self, _: Any = None) -> None:
        """Start what is due, and come back when something else is."""
        if self._timer is not None:
            self._timer.cancel()
        # What they log belongs to no task, least of all to the one that happened to come first.
        while (due := self._next_due()) <= self._loop.time():
            poll = heapq.heappop(self._schedule)
            task = self._loop.create_task(self._answer(poll), context=contextvars.Context())
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
            task.add_done_callback(self._send_due)
        self._timer = None
        if due < math.inf:
            self._timer = self._loop.call_at(due, self._send_due, context=contextvars.Context())

    def _next_due(self) -> float:
        # Those that were answered early, or whose triggers were cancelled.
        while self._schedule and self._schedule[0].done():
            heapq.heappop(self._schedule)
        if not self._schedule or len(self._under_way) >= MAX_CONNECTIONS:
            return math.inf
        return max(self._schedule[0].due, self._silent_until) + len(self._under_way) * PATIENCE

    async def _answer(self, poll: _Poll) -> None:
        try:
            await self._request(poll)
        except Exception as error:
            if not poll.done():
                poll.set_exception(error)
        except BaseException as error:
            # Its trigger would wait for ever.
            if not poll.done():
                unanswered = QianfanError(f"the poll was broken off by {type(error).__name__}")
                unanswered.transient = True
                poll.set_exception(unanswered)
            raise

    async def _request(self, poll: _Poll) -> None:
        key = poll.key
        if poll.is_listed and key in self._late:
            self._late[key].append(poll)
            return
        due: float | None = poll.due
        try:
            if key is not None and poll.is_listed and self._is_list_worthwhile(key):
                await self._answer_from_list(poll, key)
                due = None
            if not poll.done():
                result = await self._send(poll.target.request(), due)
                if not poll.done():
                    poll.set_result(result)
        except QianfanThrottledError:
            if poll.throttled >= MAX_THROTTLED:
                raise
            poll.throttled += 1
            poll.due = self._loop.time()
            self._put(poll)

    def _is_list_worthwhile(self, key: _ListKey) -> bool:
        return len(self._groups.get(key, ())) > 1 and not self._is_paused(key)

    def _is_paused(self, key: _ListKey) -> bool:
        return self._paused_lists.get(key, -math.inf) > self._loop.time()

    async def _answer_from_list(self, poll: _Poll, key: _ListKey) -> None:
        """Answer all that a list shows. What it does not show stays unanswered and is polled by itself."""
        members = list(self._groups[key])
        self._late[key] = []
        try:
            rows = await self._rows_of(poll.target.kind.siblings(key[1]), poll.due)
        except (QianfanThrottledError, QianfanAuthenticationError):
            # The same would happen to each.
            raise
        except QianfanError as error:
            log.warning("Cannot list each %s of %s; polling each by itself for a while: %s", *key, error)
            if key in self._groups:
                self._paused_lists[key] = self._loop.time() + LIST_PAUSE
        else:
            for member in members:
                row = rows.get(member.target.object_id)
                if row is None:
                    member.is_listed = False
                elif member is poll and not row.state.is_final and random.random() < DETAIL_SHARE:  # noqa: S311
                    continue
                elif not member.done():
                    member.set_result(row)
        finally:
            for late in self._late.pop(key):
                self._put(late)

    async def _rows_of(self, request: Action[Page], due: float | None) -> dict[str, RemoteObject]:
        from airflow_qianfan.api.paging import Pages

        pages = Pages(request)
        rows: dict[str, RemoteObject] = {}
        while pages.request is not None:
            page = await self._send(pages.request, due)
            rows.update({row.object_id: row for row in pages.rows_of(page)})
            due = None
        return rows

    async def _send(self, request: Action[Any], due: float | None) -> Any:
        """Send a request; ``due`` is when the poll was to be sent whose first request it is."""
        async with self._gate:
            while True:
                if (silence := self._silent_until - self._loop.time()) > 0:
                    await asyncio.sleep(silence)
                if (pause := self._limiter.next_slot()) > 0:
                    await asyncio.sleep(pause)
                sent = self._loop.time()
                # A request under way may have been throttled in the meantime.
                if self._silent_until <= sent:
                    break
        if self._metrics is not None and due is not None:
            self._metrics.poll_sent(max(0.0, sent - due))
        try:
            result = await self._client.call(request)
        except QianfanThrottledError as error:
            self._slow_down(error, sent)
            raise
        if sent >= self._silent_until:
            self._slowdown = self._slowdown / 2 if self._slowdown > FIRST_SLOWDOWN else 0.0
        return result

    def _slow_down(self, error: QianfanAPIError, sent: float) -> None:
        # Requests that were under way together are one reason, not several.
        if sent >= self._silent_until:
            self._slowdown = min(max(self._slowdown * 2, FIRST_SLOWDOWN), LONGEST_SLOWDOWN)
        pause = max(self._slowdown, min(error.retry_after or 0.0, LONGEST_SILENCE))
        self._silent_until = max(self._silent_until, self._loop.time() + pause)
