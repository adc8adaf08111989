"""Which triggers share a poller: those of one event loop whose connections say the same."""

from __future__ import annotations

import asyncio
import logging
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

from airflow_qianfan.compat import AirflowException
from airflow_qianfan.exceptions import (
    QianfanAuthenticationError,
    QianfanConfigurationError,
    QianfanError,
)
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.metrics import aload_metrics
from airflow_qianfan.triggers.base.poller import MAX_CONNECTIONS, Poller

if TYPE_CHECKING:
    from airflow_qianfan.api.config import QianfanConfig
    from airflow_qianfan.metrics import Metrics
    from airflow_qianfan.triggers.base.polling import Target

log = logging.getLogger(__name__)

CONFIG_SECONDS = 60.0
"""How long a connection of Airflow is taken to be unchanged."""

CANNOT_CHANGE = "Connection %r cannot be used; keeping its previous settings: %s"


class _Registry:
    """The pollers of one event loop, and what its connections say."""

    def __init__(self) -> None:
        self.leases = 0
        self.metrics: Metrics | None = None
        self._pollers: dict[QianfanConfig, tuple[Poller, int]] = {}
        self._configs: dict[str, tuple[QianfanConfig, float]] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._opening = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def config(self, conn_id: str, *, not_older_than: float) -> QianfanConfig:
        """Return what a connection says, read once for all that ask."""
        while (known := self._configs.get(conn_id)) is None or known[1] < not_older_than:
            reading = self._reading.get(conn_id)
            if reading is None:
                # A task of its own: the trigger that happens to ask first may be cancelled meanwhile, and
                # Airflow's way to a secrets backend loses the message that says why.
                reading = asyncio.create_task(self._read(conn_id, known))
                self._reading[conn_id] = reading
                reading.add_done_callback(lambda _: self._reading.pop(conn_id))
            await asyncio.shield(reading)
        return known[0]

    async def _read(self, conn_id: str, known: tuple[QianfanConfig, float] | None) -> None:
        asked = time.monotonic()
        try:
            config = await QianfanHook(conn_id).aget_config()
            config = config.model_copy(update={"max_retries": 0})
        except Exception as error:
            if known is None:
                if isinstance(error, QianfanConfigurationError) or not isinstance(error, AirflowException):
                    raise
                # Airflow says so too where its secrets backend is away for a moment.
                unread = QianfanError(f"connection {conn_id!r} cannot be read: {error}")
                unread.transient = True
                raise unread from error
            # All that wait would fail with it, and what they wait for goes on.
            reason = error if isinstance(error, AirflowException) else type(error).__name__
            log.warning(CANNOT_CHANGE, conn_id, reason)
            config = known[0]
        self._configs[conn_id] = (config, asked)

    async def join(self, config: QianfanConfig) -> Poller:
        """Return the poller, which is started by the first that joins."""
        from airflow_qianfan.api.client import AsyncQianfanClient

        # Most find it open, and need not queue.
        if config not in self._pollers:
            async with self._opening:
                if config not in self._pollers:
                    # Reading the certificates takes longer than an event loop should wait.
                    client = await asyncio.to_thread(
                        AsyncQianfanClient,
                        config.model_copy(update={"max_qps": None}),
                        max_connections=MAX_CONNECTIONS,
                        observer=self.metrics,
                    )
                    self._pollers[config] = (Poller(client, config.max_qps, self.metrics), 0)
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
        closing = asyncio.create_task(poller.aclose())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        # Whoever is cancelled a second time must not leave connections behind.
        await asyncio.shield(closing)


_REGISTRIES: WeakKeyDictionary[asyncio.AbstractEventLoop, _Registry] = WeakKeyDictionary()


class PollerLease:
    """A trigger's share in the poller of its connection; it moves when the connection changes.

    :param conn_id: id of the connection.
    """

    __slots__ = ("_config", "_conn_id", "_poller", "_registry")

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id
        self._config: QianfanConfig | None = None
        self._poller: Poller | None = None

    async def __aenter__(self) -> Self:
        metrics = await aload_metrics()
        self._registry = _REGISTRIES.setdefault(asyncio.get_running_loop(), _Registry())
        self._registry.leases += 1
        self._registry.metrics = metrics
        if metrics is not None:
            metrics.wait_changed(+1)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        config, self._config, self._poller = self._config, None, None
        try:
            if config is not None:
                await self._registry.leave(config)
        finally:
            if self._registry.metrics is not None:
                self._registry.metrics.wait_changed(-1)
            self._registry.leases -= 1
            if not self._registry.leases:
                _REGISTRIES.pop(asyncio.get_running_loop(), None)

    def console_url(self, url: str) -> str:
        """Return the address to show for a page of Baidu's console."""
        return url if self._config is None else self._config.console_url(url)

    @property
    def endpoint(self) -> str:
        """Where the polls go; known from the first poll on."""
        if self._config is None:
            raise RuntimeError("nothing was polled yet")
        return self._config.endpoint

    @property
    def affordable_pause(self) -> float:
        """Seconds between two polls with which all that wait are polled within the budget."""
        return 0.0 if self._poller is None else self._poller.affordable_pause

    async def poll(self, target: Target, interval: float, pause: float) -> Any:
        """Return the object as a poll finds it; see :meth:`Poller.poll`.

        :raises QianfanError: the poll failed, or the connection cannot be used.
        """
        try:
            poller = await self._take(time.monotonic() - CONFIG_SECONDS)
        except QianfanError as error:
            if not error.transient:
                raise
            # A secrets backend that is away for a moment must not use up all failures in that moment.
            await asyncio.sleep(pause)
            poller, pause = await self._take(time.monotonic()), 0.0
        while True:
            poll = poller.poll(target, interval, pause)
            try:
                return await poll
            except QianfanAuthenticationError as error:
                refusal = error
            finally:
                poller.forget(poll)
            # Perhaps the key was changed in the connection in the meantime.
            changed = await self._take(time.monotonic())
            if changed is poller:
                raise refusal
            poller, pause = changed, 0.0

    async def _take(self, not_older_than: float) -> Poller:
        config = await self._registry.config(self._conn_id, not_older_than=not_older_than)
        if self._poller is None or config != self._config:
            try:
                poller = await self._registry.join(config)
            except QianfanConfigurationError as error:
                if self._poller is None:
                    raise
                log.warning(CANNOT_CHANGE, self._conn_id, error)
                return self._poller
            left, self._config, self._poller = self._config, config, poller
            if left is not None:
                await self._registry.leave(left)
            return poller
        return self._poller
