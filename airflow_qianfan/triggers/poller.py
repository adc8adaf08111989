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
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from airflow_qianfan.exceptions import QianfanAPIError, QianfanAuthenticationError, QianfanThrottledError
from airflow_qianfan.hooks.qianfan import QianfanHook

if TYPE_CHECKING:
    from airflow_qianfan.api.actions.base import Action, Page
    from airflow_qianfan.api.client import AsyncQianfanClient
    from airflow_qianfan.api.config import QianfanConfig

MAX_CONNECTIONS = 10
"""TCP connections, and requests under way, at most."""

CONFIG_SECONDS = 60.0
"""How long a connection of Airflow is taken to be unchanged."""

FIRST_SLOWDOWN = 1.0
LONGEST_SLOWDOWN = 60.0
"""Seconds of silence after a throttled request; doubled each time, halved by each success."""

MAX_THROTTLED = 10
"""How often in a row a look is put off because the service is busy, before its trigger is told."""

DETAIL_SHARE = 0.5
"""Share of the list calls that are followed by one detail call, since a list shows no progress."""


@dataclass(frozen=True)
class Listing:
    """A list that shows the object, too, so that one call serves many.

    :param key: what all objects of the list have in common, such as the job.
    :param request: the request of the first page.
    :param row_id: the id of the object in the list.
    :param interval: seconds between two calls where several wait for rows of it.
    """

    key: str
    request: Action[Page]
    row_id: str
    interval: float


@dataclass(order=True)
class _Look:
    due: float
    number: int
    request: Action[Any] = field(compare=False)
    listing: Listing | None = field(compare=False)
    answer: asyncio.Future[Any] = field(compare=False)
    throttled: int = field(default=0, compare=False)


class Poller:
    """Sends the looks of many triggers when they are due.

    :param client: a client that does not repeat by itself: a trigger bears failures, with longer pauses.
    """

    def __init__(self, client: AsyncQianfanClient) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._schedule: list[_Look] = []
        self._numbers = itertools.count()
        self._groups: dict[str, dict[int, _Look]] = {}
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._slowdown = 0.0
        self._silent_until = 0.0
        # What they log belongs to no task, least of all to the one that happened to come first.
        self._workers = [
            self._loop.create_task(self._work(), context=contextvars.Context())
            for _ in range(MAX_CONNECTIONS)
        ]

    async def look(self, request: Action[Any], pause: float, listing: Listing | None = None) -> Any:
        """Return the result of a request that is sent after a pause.

        :param request: what to ask.
        :param pause: seconds to wait before; another object's turn may make it shorter.
        :param listing: a list that shows the object, too.
        :raises QianfanError: the look failed.
        """
        if listing is not None and self._groups.get(listing.key):
            pause = min(pause, listing.interval)
        answer: asyncio.Future[Any] = self._loop.create_future()
        look = _Look(self._loop.time() + pause, next(self._numbers), request, listing, answer)
        if listing is not None:
            self._groups.setdefault(listing.key, {})[look.number] = look
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
            group.pop(look.number, None)
            if not group:
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
        group = self._groups.get(look.listing.key, {}) if look.listing is not None else {}
        members = [member for member in group.values() if not member.answer.done()]
        try:
            if look.listing is not None and len(members) > 1:
                await self._ask_for_all(look.listing, members)
            # A member that the list does not show is asked for by itself.
            if not look.answer.done():
                result = await self._client.call(look.request)
                if not look.answer.done():
                    look.answer.set_result(result)
        except QianfanThrottledError as error:
            self._slow_down(error)
            if look.throttled >= MAX_THROTTLED:
                raise
            look.throttled += 1
            look.due = self._loop.time()
            if not look.answer.done():
                self._put(look)
        else:
            self._slowdown = self._slowdown / 2 if self._slowdown > FIRST_SLOWDOWN else 0.0

    async def _ask_for_all(self, listing: Listing, members: list[_Look]) -> None:
        rows = {
            getattr(row, listing.request.result_type.id_member): row
            async for row in self._client.iterate(listing.request)
        }
        shown = [
            (member, row)
            for member in members
            if member.listing is not None and (row := rows.get(member.listing.row_id)) is not None
        ]
        running = [member for member, row in shown if not row.status.is_terminal]
        detailed = random.choice(running) if running and random.random() < DETAIL_SHARE else None  # noqa: S311
        for member, row in shown:
            if member is not detailed and not member.answer.done():
                member.answer.set_result(row)
        if detailed is not None:
            detail = await self._client.call(detailed.request)
            if not detailed.answer.done():
                detailed.answer.set_result(detail)

    def _slow_down(self, error: QianfanAPIError) -> None:
        self._slowdown = min(max(self._slowdown * 2, FIRST_SLOWDOWN), LONGEST_SLOWDOWN)
        pause = max(self._slowdown, min(error.retry_after or 0.0, LONGEST_SLOWDOWN))
        self._silent_until = max(self._silent_until, self._loop.time() + pause)


class _Registry:
    """The pollers of one event loop, and what its connections say."""

    def __init__(self) -> None:
        self._pollers: dict[QianfanConfig, tuple[Poller, int]] = {}
        self._configs: dict[str, tuple[QianfanConfig, float]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._opening = asyncio.Lock()

    async def config(self, conn_id: str, *, not_older_than: float) -> QianfanConfig:
        """Return what a connection says, read once for all that ask."""
        async with self._locks.setdefault(conn_id, asyncio.Lock()):
            known = self._configs.get(conn_id)
            if known is None or known[1] < not_older_than:
                known = (await QianfanHook(conn_id).aget_config(), time.monotonic())
                self._configs[conn_id] = known
            return known[0]

    async def join(self, config: QianfanConfig) -> Poller:
        """Return the poller, which is started by the first that joins."""
        from airflow_qianfan.api.client import AsyncQianfanClient

        async with self._opening:
            if config not in self._pollers:
                # Reading the certificates takes longer than an event loop should wait.
                client = await asyncio.to_thread(
                    AsyncQianfanClient, replace(config, max_retries=0), max_connections=MAX_CONNECTIONS
                )
                self._pollers[config] = (Poller(client), 0)
            poller, count = self._pollers[config]
            self._pollers[config] = (poller, count + 1)
            return poller

    async def leave(self, config: QianfanConfig) -> None:
        """Leave the poller, which is closed by the last that leaves."""
        poller, count = self._pollers[config]
        if count > 1:
            self._pollers[config] = (poller, count - 1)
            return
        del self._pollers[config]
        if not self._pollers:
            self._configs.clear()
        await poller.aclose()


_REGISTRIES: WeakKeyDictionary[asyncio.AbstractEventLoop, _Registry] = WeakKeyDictionary()


class Seat:
    """A trigger's place at the poller of its connection; it moves when the connection changes."""

    def __init__(self, registry: _Registry, conn_id: str) -> None:
        self._registry = registry
        self._conn_id = conn_id
        self._config: QianfanConfig | None = None
        self._poller: Poller | None = None

    async def look(self, request: Action[Any], pause: float, listing: Listing | None = None) -> Any:
        """Return the result of a look; see :meth:`Poller.look`.

        :raises QianfanError: the look failed, or the connection cannot be used.
        """
        poller = await self._take(time.monotonic() - CONFIG_SECONDS)
        asked = time.monotonic()
        try:
            return await poller.look(request, pause, listing)
        except QianfanAuthenticationError:
            # Perhaps the key was changed in the connection in the meantime.
            changed = await self._take(asked)
            if changed is poller:
                raise
            return await changed.look(request, 0, listing)

    async def leave(self) -> None:
        """Give up the place."""
        config, self._config, self._poller = self._config, None, None
        if config is not None:
            await self._registry.leave(config)

    async def _take(self, not_older_than: float) -> Poller:
        config = await self._registry.config(self._conn_id, not_older_than=not_older_than)
        if self._poller is None or config != self._config:
            await self.leave()
            self._poller = await self._registry.join(config)
            self._config = config
        return self._poller


@asynccontextmanager
async def shared_poller(conn_id: str) -> AsyncIterator[Seat]:
    """Take a place at the poller of a connection, for as long as a trigger waits.

    :param conn_id: id of the connection.
    """
    registry = _REGISTRIES.setdefault(asyncio.get_running_loop(), _Registry())
    seat = Seat(registry, conn_id)
    try:
        yield seat
    finally:
        await seat.leave()
