"""From an Airflow connection to a client: the only place that knows both."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence, Set
from contextlib import asynccontextmanager, contextmanager
from functools import cached_property
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import BaseHook

from airflow_qianfan.compat import (
    AirflowException,
    AirflowNotFoundException,
    amask_secret,
    aread_connection,
    connection_widgets,
    mask_secret,
)
from airflow_qianfan.exceptions import QianfanConfigurationError, QianfanError

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_qianfan.api.actions.base import Action, Page
    from airflow_qianfan.api.chat import ChatAnswer
    from airflow_qianfan.api.client import AsyncQianfanClient, QianfanClient
    from airflow_qianfan.api.config import QianfanConfig

ResultT = TypeVar("ResultT")

ACCESS_KEY_VARIABLE = "QIANFAN_ACCESS_KEY"
SECRET_KEY_VARIABLE = "QIANFAN_SECRET_KEY"  # noqa: S105 - the name, not the key

TEST_TIMEOUT = 20.0
"""Seconds to wait at most for the answer that ``test_connection`` asks for."""

_WARNED: set[tuple[str, str]] = set()
"""Connections and their unknown extras: a triggerer reads its connections again every minute."""


class QianfanHook(BaseHook):
    """Calls Qianfan's management API with the credentials of an Airflow connection.

    The connection is read at the first call, not before. Its login is the access key id, password the secret
    access key and host the endpoint; extra may hold ``session_token``, ``api_key`` (for calls of deployed
    services), ``timeout``, ``max_retries``, ``max_qps``, ``verify``, ``proxy`` and ``allow_http``, and
    ``endpoint``, which comes before host. Without a login, the environment variables ``QIANFAN_ACCESS_KEY``
    and ``QIANFAN_SECRET_KEY`` are used.

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

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the fields of the connection's extra, for Airflow before 3.2."""
        return connection_widgets(_connection_type()["conn-fields"])

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the form shows the other fields, for Airflow before 3.2."""
        behaviour: dict[str, Any] = _connection_type()["ui-field-behaviour"]
        return {name.replace("-", "_"): value for name, value in behaviour.items()}

    @cached_property
    def client(self) -> QianfanClient:
        """The client of this hook; it keeps its connections open between calls."""
        from airflow_qianfan.api.client import QianfanClient
        from airflow_qianfan.metrics import load_metrics

        config, metrics = self._read_config(), load_metrics()
        with self._naming_the_connection():
            return QianfanClient(config, observer=metrics)

    @asynccontextmanager
    async def async_client(self) -> AsyncIterator[AsyncQianfanClient]:
        """Open a client for the running event loop.

        Use it for several calls in a row: ``async with hook.async_client() as client: await client.call(…)``.
        """
        from airflow_qianfan.api.client import AsyncQianfanClient
        from airflow_qianfan.metrics import aload_metrics

        config, metrics = await self.aget_config(), await aload_metrics()
        with self._naming_the_connection():
            # Reading the certificates takes longer than an event loop should wait.
            opened = await asyncio.to_thread(AsyncQianfanClient, config, observer=metrics)
        async with opened as client:
            yield client

    async def aget_config(self) -> QianfanConfig:
        """Read the connection without blocking the event loop, and return what a client needs of it.

        :raises QianfanConfigurationError: the connection lacks something.
        """
        config = self._config(*await aread_connection(self, self.qianfan_conn_id))
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
            by the verb of its name.
        :raises QianfanError: it failed.
        """
        return self.client.call_action(route, action, body, repeatable=repeatable)

    async def acall_action(
        self,
        route: str,
        action: str,
        body: Mapping[str, Any] | None = None,
        *,
        repeatable: bool | None = None,
    ) -> dict[str, Any]:
        """Call any Action without blocking the event loop; see :meth:`call_action`."""
        async with self.async_client() as client:
            return await client.call_action(route, action, body, repeatable=repeatable)

    def iterate(self, request: Action[Page]) -> Iterator[Any]:
        """Yield the rows of a list, page after page, each row once.

        :param request: such as ``DescribeFineTuningJobs(max_keys=100)``.
        :raises QianfanError: it failed.
        """
        return self.client.iterate(request)

    def chat(self, model: str, messages: Sequence[Mapping[str, Any]]) -> ChatAnswer:
        """Ask a deployed service once, and return its answer.

        It is called with the connection's ``api_key``; without one, with a short-lived token that is made
        with the access key.

        :param model: the API address of the service, such as ``kzpitmni_daxx``.
        :param messages: such as ``[{"role": "user", "content": "ping"}]``.
        :raises QianfanInferenceError: the service did not answer as it should.
        :raises QianfanError: the call failed, or no token could be made.
        """
        from airflow_qianfan.api.chat import create_token, send_chat

        config = self._read_config()
        with self._naming_the_connection():
            key = config.api_key
            if key is None:
                key = create_token(config)
                mask_secret([key.get_secret_value()])
            return send_chat(config, key, model, messages)

    def console_url(self, url: str) -> str:
        """Return the address to show for a page of Baidu's console: the emulator has pages of its own.

        :param url: address of the page in Baidu's console.
        """
        try:
            return self.client.console_url(url)
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
            limits = {"timeout": min(config.timeout, TEST_TIMEOUT), "max_retries": 0}
            with self._naming_the_connection():
                opened = QianfanClient(config.model_copy(update=limits))
            with opened as client:
                client.call(DescribeFineTuningJobs(max_keys=1))
        except QianfanError as error:
            return False, str(error)
        except AirflowNotFoundException:
            return False, (
                f"Connection {self.qianfan_conn_id!r} does not exist, or Airflow cannot read it (in a URI, "
                "the :// of an endpoint is %3A%2F%2F). Add it in the UI (Admin, Connections), "
                f"in a secrets backend or as AIRFLOW_CONN_{self.qianfan_conn_id.upper()}."
            )
        except Exception as error:
            # Its text is not shown: that of an error we do not know might hold anything, secrets too.
            where = extract_tb(error.__traceback__)[-1]
            return False, (
                f"Connection {self.qianfan_conn_id!r}: unexpected {type(error).__name__} "
                f"in {where.name}, line {where.lineno} of {Path(where.filename).name}."
            )
        return True, "Qianfan accepts the credentials."

    def _read_config(self) -> QianfanConfig:
        connection = self.get_connection(self.qianfan_conn_id)
        config = self._config(connection, connection.extra_dejson)
        mask_secret(list(config.secrets))
        return config

    def _config(self, connection: Connection, extra: Any) -> QianfanConfig:
        from airflow_qianfan.api.config import QianfanConfig

        with self._naming_the_connection():
            if not isinstance(extra, Mapping):
                raise QianfanConfigurationError("extra must be an object")
            known = QianfanConfig.model_fields.keys() - {"access_key_id", "secret_access_key"}
            self._warn_of_unknown(extra, known)
            settings = {name: value for name, value in extra.items() if name in known}
            settings["endpoint"] = _endpoint(connection, extra.get("endpoint"))
            if self.timeout:
                settings["timeout"] = self.timeout
            if self.max_retries is not None:
                settings["max_retries"] = self.max_retries
            access_key_id, secret_access_key = self._keys(connection)
            return QianfanConfig(access_key_id=access_key_id, secret_access_key=secret_access_key, **settings)

    def _keys(self, connection: Connection) -> tuple[str, str | None]:
        if connection.login:
            return connection.login, connection.password
        access_key_id, secret_access_key = map(os.environ.get, (ACCESS_KEY_VARIABLE, SECRET_KEY_VARIABLE))
        if not (access_key_id and secret_access_key):
            raise QianfanConfigurationError(
                "login is empty. Put the Access Key ID there and the Secret Access Key into password, "
                f"or set {ACCESS_KEY_VARIABLE} and {SECRET_KEY_VARIABLE}"
            )
        self.log.info(
            "Connection %r has no login: using %s and %s of the environment.",
            self.qianfan_conn_id,
            ACCESS_KEY_VARIABLE,
            SECRET_KEY_VARIABLE,
        )
        return access_key_id, secret_access_key

    def _warn_of_unknown(self, extra: Mapping[str, Any], known: Set[str]) -> None:
        from difflib import get_close_matches

        for name in sorted(extra.keys() - known):
            if (self.qianfan_conn_id, name) in _WARNED:
                continue
            _WARNED.add((self.qianfan_conn_id, name))
            near = get_close_matches(name.lower(), known, n=1)
            self.log.warning(
                "Connection %r: extra %r is not known and has no effect; %s",
                self.qianfan_conn_id,
                name,
                f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}.",
            )

    @contextmanager
    def _naming_the_connection(self) -> Iterator[None]:
        try:
            yield
        except QianfanConfigurationError as error:
            raise QianfanConfigurationError(
                f"Connection {self.qianfan_conn_id!r}: {error.message}."
            ) from None


def _connection_type() -> dict[str, Any]:
    from airflow_qianfan.get_provider_info import get_provider_info

    (connection_type,) = get_provider_info()["connection-types"]
    found: dict[str, Any] = connection_type
    return found


def _endpoint(connection: Connection, endpoint: Any) -> Any:
    """Return the endpoint: the extra of this name, or host, port and scheme as the URI form spreads them."""
    if endpoint:
        return endpoint
    host = (connection.host or "").strip()
    if not host:
        return None
    if "://" not in host:
        scheme = connection.schema if connection.schema in ("http", "https") else "https"
        host = f"{scheme}://{host}"
    if connection.port and not host.rstrip("/").endswith(f":{connection.port}"):
        host = f"{host.rstrip('/')}:{connection.port}"
    return host
