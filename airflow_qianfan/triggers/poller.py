"""One poller for all that wait in an event loop with the same endpoint and credential.

It owns one HTTP client with a few connections, one schedule and one rate limit. Tasks of the same job are
read with one list call. Each trigger waits for its own answers in its own coroutine, so that an error in
handling one touches no other, and so that what it logs lands in the log of its own task.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import logging
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from airflow_qianfan.exceptions import (
    QianfanAPIError,
    QianfanAuthenticationError,
    QianfanError,
    QianfanThrottledError,
)

if TYPE_CHECKING:
    from airflow_qianfan.api.actions.base import Action, Page
    from airflow_qianfan.api.client import AsyncQianfanClient

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 10
"""TCP connections, and requests under way, at most."""

PATIENCE = 0.1
"""Seconds for which what is due waits for each request that is under way, before it takes another connection.
Each open one makes all requests dearer, and one is usually enough for thousands. The last one is taken after
0.9 s."""

FIRST_SLOWDOWN = 1.0
LONGEST_SLOWDOWN = 60.0
"""Seconds of silence after a throttled request; doubled each time, halved by each success."""

LONGEST_SILENCE = 600.0
"""Seconds of silence at most, where the service asks for them."""

MAX_THROTTLED = 10
"""How often in a row a look is put off because the service is busy, before its trigger is told."""

DETAIL_SHARE = 0.5
"""Share of the list calls that are followed by one detail call, since a list shows no progress."""

MOST_STALE = 1.2
"""How many looks the schedule holds for each that is waited for, at most."""

LIST_REST = 600.0
"""Seconds for which a list is not used after it could not be read; its objects are asked for one by one."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A list that shows the object, too, so that one call serves many.

    :param key: what all objects of the list have in common, such as the job.
    :param request: makes the request of the first page.
    :param row_id: the id of the object in the list.
    :param interval: seconds between two calls where several wait for rows of it.
    """

    key: str
    request: Callable[[], Action[Page]]
    row_id: str
    interval: float


class Watched(Protocol):
    """A remote object that is waited for. Many wait and few ask, so requests are made when they are due."""

    def request(self) -> Action[Any]:
        """Return the request that reads its state."""

    def listing(self) -> Listing | None:
        """Return a list that shows it too, if there is one."""


class _Look(asyncio.Future[Any]):
    """The answer that a trigger waits for. In the schedule, what falls due first comes first."""

    __slots__ = ("due", "is_alone", "key", "number", "row_id", "throttled", "watched")

    def __init__(self, watched: Watched, due: float, number: int) -> None:
        super().__init__()
        self.watched = watched
        self.due = due
        self.number = number
        self.key: str | None = None
        self.row_id: str | None = None
        self.is_alone = True
        """Whether no list shows it."""
        self.throttled = 0

    def __lt__(self, other: _Look) -> bool:
        return (self.due, self.number) < (other.due, other.number)


class Poller:
    """Sends the looks of many triggers when they are due.

    :param client: a client that does not repeat by itself: a trigger bears failures, with longer pauses.
    :param max_qps: requests per second at most; None for no limit.
    """

    def __init__(self, client: AsyncQianfanClient, max_qps: float | None = None) -> None:
        from airflow_qianfan.api.rate_limiter import RateLimiter

        self._client = client
        self._loop = asyncio.get_running_loop()
        self._schedule: list[_Look] = []
        self._waiting = 0
        self._numbers = itertools.count()
        # For each list: the looks that it answers, which take turns; those of them that fall due while it is
        # being read; and until when it is not used.
        self._groups: dict[str, dict[_Look, None]] = {}
        self._late: dict[str, list[_Look]] = {}
        self._resting: dict[str, float] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._gate = asyncio.Lock()
        self._pace = RateLimiter(max_qps)
        self._slowdown = 0.0
        self._silent_until = 0.0

    def look(self, watched: Watched, pause: float) -> _Look:
        """Return what will hold what an object's request, or its row in a list, shows after a pause.

        :param watched: the object.
        :param pause: seconds to wait before; another object's turn may make it shorter.
        :return: to be awaited, and then to be left; it raises a :class:`QianfanError` where the look fails.
        :raises ValueError: the pause is no number of seconds; it would upset the schedule of all.
        """
        if not 0 <= pause < math.inf:
            raise ValueError(f"cannot wait {pause} s")
        now, listing = self._loop.time(), watched.listing()
        look = _Look(watched, now + pause, next(self._numbers))
        if listing is not None:
            look.key, look.row_id, look.is_alone = listing.key, listing.row_id, False
            group = self._groups.setdefault(listing.key, {})
            if group and not self._is_resting(listing.key):
                look.due = min(look.due, now + listing.interval)
            group[look] = None
        self._waiting += 1
        self._put(look)
        return look

    def leave(self, look: _Look) -> None:
        """Forget a look that nobody awaits any longer."""
        look.cancel()
        self._waiting -= 1
        if look.key is not None:
            group = self._groups[look.key]
            del group[look]
            if not group:
                del self._groups[look.key]
                self._resting.pop(look.key, None)
        # Those that were answered before they fell due hold their answers, which are many times their size.
        if len(self._schedule) > MOST_STALE * self._waiting + MAX_CONNECTIONS:
            self._schedule = [other for other in self._schedule if not other.done()]
            heapq.heapify(self._schedule)

    async def aclose(self) -> None:
        """Stop, and close the connections."""
        if self._timer is not None:
            self._timer.cancel()
        for looks in (self._schedule, *self._late.values()):
            looks.clear()
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._client.aclose()

    def _put(self, look: _Look) -> None:
        heapq.heappush(self._schedule, look)
        if self._schedule[0] is look:
            self._hand_out()

    def _hand_out(self, _: Any = None) -> None:
        """Start what is due, and come back when something else is."""
        if self._timer is not None:
            self._timer.cancel()
        # What they log belongs to no task, least of all to the one that happened to come first.
        while (due := self._next_due()) <= self._loop.time():
            look = heapq.heappop(self._schedule)
            task = self._loop.create_task(self._answer(look), context=contextvars.Context())
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
            task.add_done_callback(self._hand_out)
        self._timer = None
        if due < math.inf:
            self._timer = self._loop.call_at(due, self._hand_out, context=contextvars.Context())

    def _next_due(self) -> float:
        # Those that were answered early, or whose triggers were cancelled.
        while self._schedule and self._schedule[0].done():
            heapq.heappop(self._schedule)
        if not self._schedule or len(self._under_way) >= MAX_CONNECTIONS:
            return math.inf
        return max(self._schedule[0].due, self._silent_until) + len(self._under_way) * PATIENCE

    async def _answer(self, look: _Look) -> None:
        try:
            await self._ask(look)
        except Exception as error:
            if not look.done():
                look.set_exception(error)

    async def _ask(self, look: _Look) -> None:
        if look.key in self._late and not look.is_alone:
            self._late[look.key].append(look)
            return
        try:
            key = self._key_of_many(look)
            if key is not None and (listing := look.watched.listing()) is not None:
                await self._ask_for_all(look, key, listing.request())
            if not look.done():
                result = await self._send(look.watched.request())
                if not look.done():
                    look.set_result(result)
        except QianfanThrottledError:
            if look.throttled >= MAX_THROTTLED:
                raise
            look.throttled += 1
            look.due = self._loop.time()
            self._put(look)

    def _key_of_many(self, look: _Look) -> str | None:
        if look.key is None or look.is_alone or self._is_resting(look.key):
            return None
        return look.key if len(self._groups.get(look.key, ())) > 1 else None

    def _is_resting(self, key: str) -> bool:
        return self._resting.get(key, -math.inf) > self._loop.time()

    async def _ask_for_all(self, look: _Look, key: str, request: Action[Page]) -> None:
        """Answer what a list shows. What it does not show stays unanswered and is asked for by itself."""
        members = list(self._groups[key])
        self._late[key] = []
        try:
            rows = await self._rows_of(request)
        except (QianfanThrottledError, QianfanAuthenticationError):
            # The same would happen to each.
            raise
        except QianfanError as error:
            log.warning("Cannot list what belongs to %s, so each is asked for by itself: %s", key, error)
            if key in self._groups:
                self._resting[key] = self._loop.time() + LIST_REST
        else:
            for member in members:
                row = rows.get(member.row_id)
                if row is None:
                    member.is_alone = True
                elif member is look and not row.status.is_terminal and random.random() < DETAIL_SHARE:  # noqa: S311
                    continue
                elif not member.done():
                    member.set_result(row)
        finally:
            for late in self._late.pop(key):
                self._put(late)

    async def _rows_of(self, request: Action[Page]) -> dict[str | None, Any]:
        from airflow_qianfan.api.paging import Pages

        pages = Pages(request)
        rows: dict[str | None, Any] = {}
        while pages.request is not None:
            page = await self._send(pages.request)
            rows.update({getattr(row, page.id_member): row for row in pages.rows_of(page)})
        return rows

    async def _send(self, request: Action[Any]) -> Any:
        async with self._gate:
            while True:
                if (silence := self._silent_until - self._loop.time()) > 0:
                    await asyncio.sleep(silence)
                if (pause := self._pace.next_slot()) > 0:
                    await asyncio.sleep(pause)
                sent = self._loop.time()
                # A request under way may have been throttled in the meantime.
                if self._silent_until <= sent:
                    break
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
