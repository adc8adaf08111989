"""Sends Actions: one sync and one async client that share everything but the await."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from tenacity import AsyncRetrying, Retrying

from airflow_qianfan import __version__
from airflow_qianfan.api.actions.base import Action, Page
from airflow_qianfan.api.config import QianfanConfig
from airflow_qianfan.api.errors import clean
from airflow_qianfan.api.exchange import TRANSPORT_ERRORS, Body, Exchange, Pace, Pages
from airflow_qianfan.api.signing import BceV1Auth
from airflow_qianfan.exceptions import QianfanConfigurationError, QianfanError

ResultT = TypeVar("ResultT")
ClientT = TypeVar("ClientT", httpx.Client, httpx.AsyncClient)

KEEP_ALIVE = 50.0
"""Seconds for which an idle connection is kept open; load balancers close it after a minute."""


class QianfanClient:
    """Calls Actions and waits for the answer.

    :param config: where the service is and who calls it.
    """

    def __init__(self, config: QianfanConfig) -> None:
        self._pace = Pace(config.max_qps)
        self._config = config
        self._http = _open(httpx.Client, config)

    def call(self, request: Action[ResultT]) -> ResultT:
        """Send a request and return its typed result.

        :raises QianfanAPIError: the service answered with an error.
        :raises QianfanConnectionError: no answer came.
        :raises QianfanAmbiguousCreateError: a Create may or may not have taken effect.
        """
        exchange = Exchange(self._config, request.route, request.action, request.body())
        return exchange.typed_result(request, self._send(exchange))

    def call_action(
        self,
        route: str,
        action: str,
        body: Mapping[str, Any] | None = None,
        *,
        repeatable: bool | None = None,
    ) -> dict[str, Any]:
        """Call any Action and return the whole answer, ``requestId`` and ``result``.

        :param route: such as ``/v2/finetuning``.
        :param action: name of the Action.
        :param body: JSON body as the Action's page describes it.
        :param repeatable: whether it may be sent again when nobody knows whether it took effect; None decides
            by the name: Describe, Stop, Delete and Cancel may.
        :raises QianfanError: as :meth:`call`.
        """
        return self._send(Exchange(self._config, route, action, body or {}, repeatable))

    def iterate(self, request: Action[Page]) -> Iterator[Any]:
        """Yield the rows of a list, page after page, each row once.

        :raises QianfanError: as :meth:`call`, or the service's pages lead in a circle.
        """
        pages = Pages(request)
        while pages.request is not None:
            yield from pages.rows_of(self.call(pages.request))

    @property
    def endpoint(self) -> str:
        """Scheme, host and port of the service."""
        return self._config.endpoint

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, exchange: Exchange) -> dict[str, Any]:
        try:
            try:
                return self._attempt(exchange)
            except QianfanError as error:
                # Nearly all calls succeed at once, and tenacity takes a tenth of the time of such a call.
                failed = [error]
            return Retrying(**exchange.retry_policy())(self._repeat, exchange, failed)
        except QianfanError as error:
            raise exchange.final(error)  # noqa: B904 - it sets its cause itself

    def _repeat(self, exchange: Exchange, failed: list[QianfanError]) -> dict[str, Any]:
        """Fail as the first attempt did, then try again each time."""
        if failed:
            raise failed.pop()
        return self._attempt(exchange)

    def _attempt(self, exchange: Exchange) -> dict[str, Any]:
        if (pause := self._pace.next_slot()) > 0:
            time.sleep(pause)
        try:
            with self._http.stream(**exchange.http_request) as response:
                body = Body(exchange, response)
                for chunk in response.iter_bytes():
                    body.add(chunk)
        except TRANSPORT_ERRORS as error:
            raise exchange.transport_error(error) from None
        return exchange.answer(response, body.content())


class AsyncQianfanClient:
    """Calls Actions without blocking the event loop. Its methods are those of :class:`QianfanClient`.

    :param config: where the service is and who calls it.
    :param max_connections: TCP connections at most, which are kept open; None leaves it to httpx.
    """

    def __init__(self, config: QianfanConfig, *, max_connections: int | None = None) -> None:
        self._pace = Pace(config.max_qps)
        self._config = config
        options = {} if max_connections is None else {"limits": _limits(max_connections)}
        self._http = _open(httpx.AsyncClient, config, **options)

    async def call(self, request: Action[ResultT]) -> ResultT:
        """Send a request and return its typed result; see :meth:`QianfanClient.call`."""
        exchange = Exchange(self._config, request.route, request.action, request.body())
        return exchange.typed_result(request, await self._send(exchange))

    async def call_action(
        self,
        route: str,
        action: str,
        body: Mapping[str, Any] | None = None,
        *,
        repeatable: bool | None = None,
    ) -> dict[str, Any]:
        """Call any Action and return the whole answer; see :meth:`QianfanClient.call_action`."""
        return await self._send(Exchange(self._config, route, action, body or {}, repeatable))

    async def iterate(self, request: Action[Page]) -> AsyncIterator[Any]:
        """Yield the rows of a list; see :meth:`QianfanClient.iterate`."""
        pages = Pages(request)
        while pages.request is not None:
            for row in pages.rows_of(await self.call(pages.request)):
                yield row

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _send(self, exchange: Exchange) -> dict[str, Any]:
        try:
            try:
                return await self._attempt(exchange)
            except QianfanError as error:
                # Nearly all calls succeed at once, and tenacity takes a tenth of the time of such a call.
                failed = [error]
            return await AsyncRetrying(**exchange.retry_policy())(self._repeat, exchange, failed)
        except QianfanError as error:
            raise exchange.final(error)  # noqa: B904 - it sets its cause itself

    async def _repeat(self, exchange: Exchange, failed: list[QianfanError]) -> dict[str, Any]:
        """Fail as the first attempt did, then try again each time."""
        if failed:
            raise failed.pop()
        return await self._attempt(exchange)

    async def _attempt(self, exchange: Exchange) -> dict[str, Any]:
        if (pause := self._pace.next_slot()) > 0:
            await asyncio.sleep(pause)
        try:
            async with self._http.stream(**exchange.http_request) as response:
                body = Body(exchange, response)
                async for chunk in response.aiter_bytes():
                    body.add(chunk)
        except TRANSPORT_ERRORS as error:
            raise exchange.transport_error(error) from None
        return exchange.answer(response, body.content())


def _trusted(verify: bool | str) -> bool | ssl.SSLContext:
    if isinstance(verify, bool):
        return verify
    # httpx takes a path too, but warns that it will not for ever.
    if Path(verify).is_dir():
        return ssl.create_default_context(capath=verify)
    return ssl.create_default_context(cafile=verify)


def _limits(connections: int) -> httpx.Limits:
    return httpx.Limits(
        max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=KEEP_ALIVE
    )


def _open(kind: type[ClientT], config: QianfanConfig, **options: Any) -> ClientT:
    try:
        return kind(
            auth=BceV1Auth(config.access_key_id, config.secret_access_key, config.session_token),
            timeout=config.timeout,
            verify=_trusted(config.verify),
            proxy=config.proxy or None,
            # A proxy of the environment has no business between this machine and itself.
            trust_env=not config.is_local,
            follow_redirects=False,
            headers={"User-Agent": f"airflow-qianfan/{__version__}"},
            **options,
        )
    except (OSError, ValueError, ImportError) as error:
        raise QianfanConfigurationError(
            f"verify or proxy cannot be used: {clean(error, config.secrets)}"
        ) from None
