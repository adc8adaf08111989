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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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

FIRST_SLOWDOWN = 1.0
LONGEST_SLOWDOWN = 60.0
"""Seconds of silence after a throttled request; doubled each time, halved by each success."""

LONGEST_SILENCE = 600.0
"""Seconds of silence at most, where the service asks for them."""

MAX_THROTTLED = 10
"""How often in a row a look is put off because the service is busy, before its trigger is told."""

DETAIL_SHARE = 0.5
"""Share of the list calls that are followed by one detail call, since a list shows no progress."""

LIST_REST = 600.0
"""Seconds for which a list is not used after it could not be read; its objects are asked for one by one."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A list that shows the object, too, so that one call serves many.

    :param key: what all objects of the list have in common, such as the job.
    :param request: makes the request of the first page, when it is needed: many wait, few ask.
    :param row_id: the id of the object in the list.
    :param interval: seconds between two calls where several wait for rows of it.
    """

    key: str
    request: Callable[[], Action[Page]]
    row_id: str
    interval: float


@dataclass(order=True, slots=True)
class _Look:
    due: float
    number: int
    request: Callable[[], Action[Any]] = field(compare=False)
    listing: Listing | None = field(compare=False)
    answer: asyncio.Future[Any] = field(compare=False)
    throttled: int = field(default=0, compare=False)
    is_alone: bool = field(default=False, compare=False)
    """Whether its list was seen not to show it."""


@dataclass
class _Group:
    """The looks that one list answers."""

    looks: dict[int, _Look] = field(default_factory=dict)
    resting_until: float = -math.inf
    late: list[_Look] | None = None
    """What falls due while the list is being read; None while it is not."""


class Poller:
    """Sends the looks of many triggers when they are due.

    :param client: a client that does not repeat by itself: a trigger bears failures, with longer pauses.
    :param max_qps: requests per second at most; None for no limit.
    """

    def __init__(self, client: AsyncQianfanClient, max_qps: float | None = None) -> None:
        from airflow_qianfan.api.exchange import Pace

        self._client = client
        self._loop = asyncio.get_running_loop()
        self._schedule: list[_Look] = []
        self._numbers = itertools.count()
        self._groups: dict[str, _Group] = {}
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._gate = asyncio.Lock()
        self._pace = Pace(max_qps)
        self._slowdown = 0.0
        self._silent_until = 0.0
        # What they log belongs to no task, least of all to the one that happened to come first.
        self._workers = [
            self._loop.create_task(self._work(), context=contextvars.Context())
            for _ in range(MAX_CONNECTIONS)
        ]

    async def look(
        self, request: Callable[[], Action[Any]], pause: float, listing: Listing | None = None
    ) -> Any:
        """Return the result of a request that is sent after a pause.

        :param request: makes the request, when it is needed.
        :param pause: seconds to wait before; another object's turn may make it shorter.
        :param listing: a list that shows the object, too.
        :raises QianfanError: the look failed.
        :raises ValueError: the pause is no number of seconds; it would upset the schedule of all.
        """
        if not 0 <= pause < math.inf:
            raise ValueError(f"cannot wait {pause} s")
        now = self._loop.time()
        look = _Look(now + pause, next(self._numbers), request, listing, self._loop.create_future())
        if listing is not None:
            group = self._groups.setdefault(listing.key, _Group())
            if group.looks and group.resting_until <= now:
                look.due = min(look.due, now + listing.interval)
            group.looks[look.number] = look
        self._put(look)
        try:
            return await look.answer
        finally:
            self._leave(look)

    async def aclose(self) -> None:
        """Stop, and close the connections."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        await self._client.aclose()

    def _put(self, look: _Look) -> None:
        heapq.heappush(self._schedule, look)
        if self._schedule[0] is look:
            self._changed.set()

    def _leave(self, look: _Look) -> None:
        # Its place in the schedule is cleared when its turn comes, which costs nothing.
        look.answer.cancel()
        if look.listing is not None and (group := self._groups.get(look.listing.key)) is not None:
            group.looks.pop(look.number, None)
            if not group.looks:
                del self._groups[look.listing.key]

    async def _work(self) -> None:
        while True:
            async with self._turn:
                look = await self._next_due()
            try:
                await self._ask(look)
            except Exception as error:
                if not look.answer.done():
                    look.answer.set_exception(error)

    async def _next_due(self) -> _Look:
        while True:
            while self._schedule and self._schedule[0].answer.done():
                heapq.heappop(self._schedule)
            self._changed.clear()
            if not self._schedule:
                await self._changed.wait()
                continue
            delay = max(self._schedule[0].due, self._silent_until) - self._loop.time()
            if delay <= 0:
                return heapq.heappop(self._schedule)
            try:
                async with asyncio.timeout(delay):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _ask(self, look: _Look) -> None:
        group = self._group_of(look)
        if group is not None and group.late is not None:
            group.late.append(look)
            return
        try:
            if group is not None and look.listing is not None:
                await self._ask_for_all(look, look.listing, group)
            if not look.answer.done():
                result = await self._send(look.request())
                if not look.answer.done():
                    look.answer.set_result(result)
        except QianfanThrottledError:
            if look.throttled >= MAX_THROTTLED:
                raise
            look.throttled += 1
            look.due = self._loop.time()
            self._put(look)

    def _group_of(self, look: _Look) -> _Group | None:
        if look.listing is None or look.is_alone:
            return None
        group = self._groups.get(look.listing.key)
        if group is None or len(group.looks) < 2 or group.resting_until > self._loop.time():
            return None
        return group

    async def _ask_for_all(self, look: _Look, listing: Listing, group: _Group) -> None:
        """Answer what a list shows. What it does not show stays unanswered and is asked for by itself."""
        members = list(group.looks.values())
        group.late = []
        try:
            rows = await self._rows_of(listing.request())
        except (QianfanThrottledError, QianfanAuthenticationError):
            # The same would happen to each.
            raise
        except QianfanError as error:
            log.warning(
                "Cannot list what belongs to %s, so each is asked for by itself: %s", listing.key, error
            )
            group.resting_until = self._loop.time() + LIST_REST
        else:
            for member in members:
                row = rows.get(member.listing.row_id) if member.listing is not None else None
                if row is None:
                    member.is_alone = True
                elif member is look and not row.status.is_terminal and random.random() < DETAIL_SHARE:  # noqa: S311
                    continue
                elif not member.answer.done():
                    member.answer.set_result(row)
        finally:
            for late in group.late:
                self._put(late)
            group.late = None

    async def _rows_of(self, request: Action[Page]) -> dict[str, Any]:
        from airflow_qianfan.api.exchange import Pages

        pages = Pages(request)
        rows = {}
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
