"""Reads Qianfan for the views, through the hook: each answer is shared by all viewers for some seconds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from airflow_qianfan.exceptions import QianfanError
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.plugins.cache import SharedCache

if TYPE_CHECKING:
    from airflow_qianfan.api.actions.base import Action
    from airflow_qianfan.api.client import AsyncQianfanClient
    from airflow_qianfan.api.config import QianfanConfig

ResultT = TypeVar("ResultT")

SECONDS = 5.0
"""How long an answer is shared."""

TIMEOUT = 15.0
"""Seconds to wait for one answer of the service: a person is waiting, too."""

AT_ONCE = 8
"""Calls of one viewer that are on their way at the same time."""

_ANSWERS = SharedCache(SECONDS, 4000)
_CONFIGS = SharedCache(SECONDS, 100)


@dataclass
class _Held:
    config: QianfanConfig
    client: AsyncQianfanClient
    loop: asyncio.AbstractEventLoop
    stack: AsyncExitStack


_held: dict[str, _Held] = {}
_opening: dict[tuple[str, asyncio.AbstractEventLoop], asyncio.Lock] = {}


class Reader:
    """Reads with the credentials of a connection.

    :param connection_id: the connection.
    """

    def __init__(self, connection_id: str) -> None:
        self.connection_id = connection_id
        self._hook = QianfanHook(connection_id, timeout=TIMEOUT, max_retries=1)

    async def call(self, request: Action[ResultT]) -> ResultT:
        """Return the answer to a request, which may be some seconds old.

        :raises QianfanError: the call failed.
        :raises AirflowNotFoundException: there is no such connection.
        """
        key = (self.connection_id, request.action, json.dumps(request.body(), sort_keys=True))
        return await _ANSWERS.get(key, lambda: self._send(request))

    async def call_all(self, requests: Sequence[Action[ResultT]]) -> list[ResultT | QianfanError]:
        """Return the answers to requests in their order; an error stands in the place of its answer."""
        limit = asyncio.Semaphore(AT_ONCE)

        async def call(request: Action[ResultT]) -> ResultT | QianfanError:
            async with limit:
                try:
                    return await self.call(request)
                except QianfanError as error:
                    return error

        return list(await asyncio.gather(*(call(request) for request in requests)))

    async def link(self, url: str | None) -> str | None:
        """Return the address to show for a page of the console; None for what is no address of the web."""
        config = await self._config()
        return config.console_url(url) if url and url.startswith(("https://", "http://")) else None

    async def _send(self, request: Action[ResultT]) -> ResultT:
        client = await self._client()
        return await client.call(request)

    async def _config(self) -> QianfanConfig:
        return await _CONFIGS.get(self.connection_id, self._hook.aget_config)

    async def _client(self) -> AsyncQianfanClient:
        """Return the client of this connection, and another one once the connection has changed."""
        loop = asyncio.get_running_loop()
        config = await self._config()
        async with _opening.setdefault((self.connection_id, loop), asyncio.Lock()):
            held = _held.get(self.connection_id)
            if held is not None and held.loop is loop and held.config == config:
                return held.client
            if held is not None and held.loop is loop:
                await held.stack.aclose()
            stack = AsyncExitStack()
            client = await stack.enter_async_context(self._hook.async_client())
            _held[self.connection_id] = _Held(config, client, loop, stack)
            return client


def forget() -> None:
    """Forget all answers, connections and clients."""
    for kept in (_ANSWERS, _CONFIGS, _held, _opening):
        kept.clear()
