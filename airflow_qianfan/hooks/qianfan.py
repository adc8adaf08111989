"""From an Airflow connection to a client: the only place that knows both."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import BaseHook

from airflow_qianfan.compat import AirflowException, amask_secret, aread_extra, mask_secret
from airflow_qianfan.exceptions import QianfanConfigurationError, QianfanError

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_qianfan.api.actions.base import Action, Page
    from airflow_qianfan.api.client import AsyncQianfanClient, QianfanClient
    from airflow_qianfan.api.config import QianfanConfig

ResultT = TypeVar("ResultT")

ACCESS_KEY_VARIABLE = "QIANFAN_ACCESS_KEY"
SECRET_KEY_VARIABLE = "QIANFAN_SECRET_KEY"  # noqa: S105 - the name, not the key

TEST_TIMEOUT = 20.0
"""Seconds to wait at most for the answer that ``test_connection`` asks for."""


class QianfanHook(BaseHook):
    """Calls Qianfan's management API with the credentials of an Airflow connection.

    The connection is read at the first call, not before. Its login is the access key id, password the secret
    access key and host the endpoint; extra may hold ``session_token``, ``timeout``, ``max_retries``,
    ``max_qps``, ``verify``, ``proxy`` and ``allow_http``. Without a login, the environment variables
    ``QIANFAN_ACCESS_KEY`` and ``QIANFAN_SECRET_KEY`` are used.

    :param qianfan_conn_id: id of the connection.
    :param timeout: seconds to wait for one answer; None takes the connection's.
    :param max_retries: see :class:`airflow_qianfan.api.config.QianfanConfig`; None takes the connection's.
    """

    conn_name_attr = "qianfan_conn_id"
    default_conn_name = "qianfan_default"
    conn_type = "qianfan"
    hook_name = "Baidu Qianfan"

    def __init__(
        self,
        qianfan_conn_id: str = default_conn_name,
        *,
        timeout: float | None = None,
        max_retries: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.qianfan_conn_id = qianfan_conn_id
        self.timeout = timeout
        self.max_retries = max_retries

    @cached_property
    def client(self) -> QianfanClient:
        """The client of this hook; it keeps its connections open between calls."""
        from airflow_qianfan.api.client import QianfanClient

        return QianfanClient(self._read_config())

    @asynccontextmanager
    async def async_client(self) -> AsyncIterator[AsyncQianfanClient]:
        """Open a client for the running event loop.

        Use it for several calls in a row: ``async with hook.async_client() as client: await client.call(…)``.
        """
        from airflow_qianfan.api.client import AsyncQianfanClient

        config = await self.aget_config()
        # Reading the certificates takes longer than an event loop should wait.
        async with await asyncio.to_thread(AsyncQianfanClient, config) as client:
            yield client

    async def aget_config(self) -> QianfanConfig:
        """Read the connection without blocking the event loop, and return what a client needs of it.

        :raises QianfanConfigurationError: the connection lacks something.
        """
        connection = await self.aget_connection(self.qianfan_conn_id)
        config = self._config(connection, await aread_extra(connection))
        await amask_secret(list(config.secrets))
        return config

    def reload(self) -> None:
        """Read the connection again at the next call."""
        if (client := self.__dict__.pop("client", None)) is not None:
            client.close()

    def get_conn(self) -> QianfanClient:
        """Return the client."""
        return self.client

    def call(self, request: Action[ResultT]) -> ResultT:
        """Send a request and return its typed result.

        :param request: such as ``DescribeFineTuningTask(task_id="task-…")``.
        :raises QianfanError: it failed; see :mod:`airflow_qianfan.exceptions`.
        """
        return self.client.call(request)

    async def acall(self, request: Action[ResultT]) -> ResultT:
        """Send a request without blocking the event loop, over a connection of its own; see :meth:`call`."""
        async with self.async_client() as client:
            return await client.call(request)

    def call_action(
        self, route: str, action: str, body: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Call any Action and return the whole answer, ``requestId`` and ``result``.

        :param route: such as ``/v2/finetuning``.
        :param action: name of the Action.
        :param body: JSON body as the Action's page describes it.
        :param kwargs: ``repeatable``, see :meth:`airflow_qianfan.api.client.QianfanClient.call_action`.
        :raises QianfanError: it failed.
        """
        return self.client.call_action(route, action, body, **kwargs)

    async def acall_action(
        self, route: str, action: str, body: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Call any Action without blocking the event loop; see :meth:`call_action`."""
        async with self.async_client() as client:
            return await client.call_action(route, action, body, **kwargs)

    def iterate(self, request: Action[Page]) -> Iterator[Any]:
        """Yield the rows of a list, page after page, each row once.

        :param request: such as ``DescribeFineTuningJobs(max_keys=100)``.
        :raises QianfanError: it failed.
        """
        return self.client.iterate(request)

    def console_url(self, url: str) -> str:
        """Return the address to show for a page of Baidu's console: the emulator has pages of its own.

        :param url: address of the page in Baidu's console.
        """
        from airflow_qianfan.api.objects import console_url

        try:
            return console_url(self.client.endpoint, url)
        except AirflowException:
            # A link is not worth a task that is done.
            return url

    def test_connection(self) -> tuple[bool, str]:
        """Make one cheap read; return whether it succeeded, and what to correct if not.

        It is not repeated and waits no longer than a person in front of a form does.
        """
        from airflow_qianfan.api.actions.finetuning import DescribeFineTuningJobs
        from airflow_qianfan.api.client import QianfanClient

        try:
            config = self._read_config()
            config = replace(config, timeout=min(config.timeout, TEST_TIMEOUT), max_retries=0)
            with QianfanClient(config) as client:
                client.call(DescribeFineTuningJobs(max_keys=1))
        except QianfanError as error:
            return False, str(error)
        except Exception as error:
            # Airflow shows this to a person; the text of an error we do not know might hold anything.
            return (
                False,
                f"Unexpected {type(error).__name__}; see the log of the component that ran the test.",
            )
        return True, "Qianfan accepts the credentials."

    def _read_config(self) -> QianfanConfig:
        connection = self.get_connection(self.qianfan_conn_id)
        config = self._config(connection, connection.extra_dejson)
        mask_secret(list(config.secrets))
        return config

    def _config(self, connection: Connection, extra: Mapping[str, Any]) -> QianfanConfig:
        from airflow_qianfan.api.config import QianfanConfig

        if not isinstance(extra, Mapping):
            raise QianfanConfigurationError(f"Connection {self.qianfan_conn_id!r}: extra must be an object.")
        settings = {
            "session_token": extra.get("session_token") or None,
            "timeout": self.timeout or self._number(extra, "timeout", float),
            "max_retries": (
                self._number(extra, "max_retries", int) if self.max_retries is None else self.max_retries
            ),
            "max_qps": self._number(extra, "max_qps", float),
            "verify": _flag(extra.get("verify")),
            "proxy": extra.get("proxy") or None,
            "allow_http": _flag(extra.get("allow_http")),
        }
        login, password = connection.login, connection.password
        if not login:
            login, password = os.environ.get(ACCESS_KEY_VARIABLE), os.environ.get(SECRET_KEY_VARIABLE)
            if not (login and password):
                raise QianfanConfigurationError(
                    f"Connection {self.qianfan_conn_id!r} has no login. Put the Access Key ID there and "
                    "the Secret Access Key into password, "
                    f"or set {ACCESS_KEY_VARIABLE} and {SECRET_KEY_VARIABLE}."
                )
            self.log.info(
                "Connection %r has no login: using %s and %s of the environment.",
                self.qianfan_conn_id,
                ACCESS_KEY_VARIABLE,
                SECRET_KEY_VARIABLE,
            )
        given = {name: value for name, value in settings.items() if value is not None}
        if endpoint := _endpoint(connection):
            given["endpoint"] = endpoint
        try:
            return QianfanConfig(access_key_id=login, secret_access_key=password or "", **given)
        except QianfanConfigurationError as error:
            raise QianfanConfigurationError(
                f"Connection {self.qianfan_conn_id!r}: {error.message}."
            ) from None

    def _number(self, extra: Mapping[str, Any], name: str, kind: type[float] | type[int]) -> float | None:
        value = extra.get(name)
        if value is None or value == "":
            return None
        try:
            number = kind(value)
            exact = not isinstance(value, bool) and number == float(value)
        except (TypeError, ValueError, OverflowError):
            exact = False
        if exact:
            return number
        what = "a whole number" if kind is int else "a number"
        raise QianfanConfigurationError(
            f"Connection {self.qianfan_conn_id!r}: {name} in extra must be {what}, not {value!r}."
        )


def _flag(value: Any) -> Any:
    """Read true and false, which the form and the URI of a connection write as text."""
    if isinstance(value, str):
        return {"": None, "true": True, "false": False}.get(value.strip().lower(), value)
    return value


def _endpoint(connection: Connection) -> str | None:
    """Return the endpoint: host with or without scheme, port and scheme as the URI form spreads them."""
    host = (connection.host or "").strip()
    if not host:
        return None
    if "://" not in host:
        scheme = connection.schema if connection.schema in ("http", "https") else "https"
        host = f"{scheme}://{host}"
    if connection.port and not host.rstrip("/").endswith(f":{connection.port}"):
        host = f"{host.rstrip('/')}:{connection.port}"
    return host
