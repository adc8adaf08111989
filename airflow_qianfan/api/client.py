"""Sends Actions: one sync and one async client that share everything but the await."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from tenacity import AsyncRetrying, Retrying

from airflow_qianfan import __version__
from airflow_qianfan.api.actions.base import Action, Page
from airflow_qianfan.api.call import TRANSPORT_ERRORS, AnswerBody, ApiCall
from airflow_qianfan.api.config import QianfanConfig
from airflow_qianfan.api.errors import clean
from airflow_qianfan.api.observer import Observer
from airflow_qianfan.api.paging import Pages
from airflow_qianfan.api.rate_limiter import RateLimiter
from airflow_qianfan.api.signing import BceV1Auth
from airflow_qianfan.exceptions import QianfanConfigurationError, QianfanError

ResultT = TypeVar("ResultT")
ClientT = TypeVar("ClientT", httpx.Client, httpx.AsyncClient)


class QianfanClient:
    """Calls Actions and waits for the answer.

    :param config: where the service is and who calls it.
    :param observer: is told how the calls go.
    """

    def __init__(self, config: QianfanConfig, *, observer: Observer | None = None) -> None:
        self._observer = observer
        self._rate_limiter = RateLimiter(config.max_qps)
        self._config = config
        self._http = open_http(httpx.Client, config)

    def call(self, request: Action[ResultT]) -> ResultT:
        """Send a request and return its typed result.

        :raises QianfanAPIError: the service answered with an error.
        :raises QianfanConnectionError: no answer came.
        :raises QianfanAmbiguousCreateError: an Action that must not be repeated may have taken effect.
        """
        body, observer = request.body(), self._observer
        with ApiCall(self._config, request.route, request.action, body, observer=observer) as call:
            return call.typed_result(request, self._send(call))

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
        :param repeatable: whether it may be sent again when nobody knows whether it took effect; None lets
            :func:`airflow_qianfan.api.retry.is_repeatable` decide, by the verb of its name.
        :raises QianfanError: as :meth:`call`.
        """
        with ApiCall(self._config, route, action, body or {}, repeatable, self._observer) as call:
            return self._send(call)

    def iterate(self, request: Action[Page]) -> Iterator[Any]:
        """Yield the rows of a list, page after page, each row once.

        :raises QianfanError: as :meth:`call`, or the service's pages lead in a circle.
        """
        pages = Pages(request)
        while pages.request is not None:
            yield from pages.rows_of(self.call(pages.request))

    @property
    def endpoint(self) -> str:
        """Base URL of the service."""
        return self._config.endpoint

    def console_url(self, url: str) -> str:
        """Return the address to show for a page of Baidu's console; see :meth:`QianfanConfig.console_url`."""
        return self._config.console_url(url)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, call: ApiCall) -> dict[str, Any]:
        try:
            return Retrying(**call.retry.arguments())(self._attempt, call)
        except QianfanError as error:
            raise call.retry.final(error)  # noqa: B904 - it sets its cause itself

    def _attempt(self, call: ApiCall) -> dict[str, Any]:
        if (pause := self._rate_limiter.next_slot()) > 0:
            time.sleep(pause)
        try:
            with self._http.stream(**call.http_request) as response:
                body = AnswerBody(call, response)
                for chunk in response.iter_bytes():
                    body.add(chunk)
        except TRANSPORT_ERRORS as error:
            raise call.transport_error(error) from None
        return call.answer(response, body.content())


class AsyncQianfanClient:
    """Calls Actions without blocking the event loop. Its methods are those of :class:`QianfanClient`.

    :param config: where the service is and who calls it.
    :param max_connections: TCP connections at most; None leaves it to httpx.
    :param observer: is told how the calls go.
    """

    def __init__(
        self,
        config: QianfanConfig,
        *,
        max_connections: int | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._observer = observer
        self._rate_limiter = RateLimiter(config.max_qps)
        self._config = config
        options: dict[str, Any] = {}
        if max_connections is not None:
            # Those that a busy moment has opened are closed when they are idle for 5 s: each makes every
            # request dearer.
            options["limits"] = httpx.Limits(max_connections=max_connections)
        self._http = open_http(httpx.AsyncClient, config, **options)

    async def call(self, request: Action[ResultT]) -> ResultT:
        """Send a request and return its typed result; see :meth:`QianfanClient.call`."""
        body, observer = request.body(), self._observer
        with ApiCall(self._config, request.route, request.action, body, observer=observer) as call:
            return call.typed_result(request, await self._send(call))

    async def call_action(
        self,
        route: str,
        action: str,
        body: Mapping[str, Any] | None = None,
        *,
        repeatable: bool | None = None,
    ) -> dict[str, Any]:
        """Call any Action and return the whole answer; see :meth:`QianfanClient.call_action`."""
        with ApiCall(self._config, route, action, body or {}, repeatable, self._observer) as call:
            return await self._send(call)

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

    async def _send(self, call: ApiCall) -> dict[str, Any]:
        try:
            return await AsyncRetrying(**call.retry.arguments())(self._attempt, call)
        except QianfanError as error:
            raise call.retry.final(error)  # noqa: B904 - it sets its cause itself

    async def _attempt(self, call: ApiCall) -> dict[str, Any]:
        if (pause := self._rate_limiter.next_slot()) > 0:
            await asyncio.sleep(pause)
        try:
            async with self._http.stream(**call.http_request) as response:
                body = AnswerBody(call, response)
                async for chunk in response.aiter_bytes():
                    body.add(chunk)
        except TRANSPORT_ERRORS as error:
            raise call.transport_error(error) from None
        return call.answer(response, body.content())


@lru_cache(maxsize=8)
def _context(path: str, changed: int) -> ssl.SSLContext:
    # Reading the certificates takes as long as twenty calls, and they rarely change.
    if not path:
        return httpx.create_ssl_context(trust_env=False)
    # httpx takes a path too, but warns that it will not for ever.
    if Path(path).is_dir():
        return ssl.create_default_context(capath=path)
    return ssl.create_default_context(cafile=path)


def _trusted(verify: bool | str, trust_env: bool) -> bool | ssl.SSLContext:
    if verify is False:
        return False
    path = verify if isinstance(verify, str) else ""
    if not path and trust_env:
        path = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR") or ""
    return _context(path, Path(path).stat().st_mtime_ns if path else 0)


def open_http(
    kind: type[ClientT], config: QianfanConfig, *, auth: httpx.Auth | None = None, **options: Any
) -> ClientT:
    """Open a connection pool as a configuration says.

    :param kind: of httpx, sync or async.
    :param config: TLS, proxy and time-out.
    :param auth: what proves who calls; None signs with the access key.
    :param options: further options of httpx.
    :raises QianfanConfigurationError: certificates or proxy cannot be used.
    """
    # A proxy of the environment has no business between this machine and itself.
    trust_env = not config.is_local
    try:
        trusted = _trusted(config.verify, trust_env)
    except (OSError, ValueError) as error:
        what = "SSL_CERT_FILE or SSL_CERT_DIR of the environment"
        what = what if config.verify is True else f"verify {config.verify!r}"
        raise QianfanConfigurationError(
            f"{what} cannot be used: {clean(error, config.secrets)}; "
            "it must be the path of a CA bundle on this machine"
        ) from None
    proxy = config.proxy.get_secret_value() if config.proxy else None
    try:
        return kind(
            auth=auth
            or BceV1Auth(
                config.access_key_id,
                config.secret_access_key.get_secret_value(),
                config.session_token.get_secret_value() if config.session_token else None,
            ),
            timeout=config.timeout,
            verify=trusted,
            proxy=proxy,
            trust_env=trust_env,
            follow_redirects=False,
            headers={"User-Agent": f"airflow-qianfan/{__version__}"},
            **options,
        )
    except (OSError, ValueError, ImportError) as error:
        which = "proxy" if proxy else "HTTPS_PROXY or ALL_PROXY of the environment"
        raise QianfanConfigurationError(f"{which} cannot be used: {clean(error, config.secrets)}") from None
