"""The emulator as a Python object: an HTTP server in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from airflow_qianfan.emulator.answers import Registration, Result
from airflow_qianfan.emulator.assumptions import Assumptions
from airflow_qianfan.emulator.auth import API_KEY, Credentials
from airflow_qianfan.emulator.backend import Backend
from airflow_qianfan.emulator.faults import Fault
from airflow_qianfan.emulator.records import Record
from airflow_qianfan.emulator.store import Store

if TYPE_CHECKING:
    import uvicorn

    from airflow_qianfan.emulator.app import Connections

ACCESS_KEY = "ALTAKEMULATOR0000000000"
SECRET_KEY = "5ec0e7e0000000000000000000000000"  # noqa: S105 - opens nothing but an emulator
_START_SECONDS = 20.0
_STOP_SECONDS = 5.0
_SMALL_MODEL_SECONDS = 2.0


class QianfanEmulator:
    """A local Qianfan with its own HTTP server. Use it in a ``with`` statement, or call start and stop.

    After a stop it can be started again, on the same port and with the same state.

    :param task_seconds: how long a fine-tuning task takes, in seconds.
    :param model_seconds: how long a model takes to become ready; default: as a task, but at most 2 seconds.
    :param access_key: id of the key that clients sign with.
    :param secret_key: its secret.
    :param session_token: token that clients must send with that key.
    :param read_only_keys: id and secret of further keys, which may only use actions that begin with Describe.
    :param api_key: key with which deployed services are called.
    :param strict: refuse base models, train modes, scales and hyper-parameters that the documents' tables
        exclude, and data-set versions that do not exist, so that a misspelt one shows in a test.
    :param state: file that keeps everything over a restart; without it all is forgotten.
    :param host: address to listen on. The administration is open to all who reach it.
    :param port: port to listen on; 0 for a free one.
    :param assumptions: behaviour that the documents of the service leave open.
    :param clock: returns the time in seconds since the epoch.
    """

    def __init__(
        self,
        *,
        task_seconds: float = 10.0,
        model_seconds: float | None = None,
        access_key: str = ACCESS_KEY,
        secret_key: str = SECRET_KEY,
        session_token: str | None = None,
        read_only_keys: Mapping[str, str] | None = None,
        api_key: str = API_KEY,
        strict: bool = False,
        state: str | Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        assumptions: Assumptions | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if model_seconds is None:
            model_seconds = min(task_seconds, _SMALL_MODEL_SECONDS)
        self.access_key = access_key
        self.secret_key = secret_key
        self.session_token = session_token
        self.api_key = api_key
        self.host = host
        self.port = port
        self._backend = Backend(
            Store(Path(state) if state is not None else None, clock),
            Credentials(access_key, secret_key, session_token, dict(read_only_keys or {}), api_key),
            assumptions or Assumptions(),
            task_seconds,
            model_seconds,
            strict=strict,
        )
        self._connections: Connections = {}
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, and return when requests are answered.

        :raises ImportError: if the extra ``emulator`` is not installed.
        :raises OSError: if the address cannot be used.
        :raises StateError: if the state file cannot be used.
        """
        if self._thread is not None:
            return
        try:
            import uvicorn
            from uvicorn.protocols.http.h11_impl import H11Protocol

            from airflow_qianfan.emulator.app import create_app
        except ImportError as error:
            hint = f"{error.name} is missing: pip install 'airflow-qianfan[emulator]'"
            raise ImportError(hint, name=error.name) from error

        connections = self._connections

        class Protocol(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                # asyncio does this only for sockets it made itself; without it an answer takes 40 ms.
                raw = transport.get_extra_info("socket")
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                super().connection_made(transport)
                if self.client is not None:
                    connections[self.client] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                if self.client is not None:
                    connections.pop(self.client, None)
                super().connection_lost(exc)

        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.create_server((self.host, self.port), family=family, backlog=512)
        try:
            self._backend.store.open()
        except BaseException:
            listener.close()
            raise
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            create_app(self._backend, connections),
            http=Protocol,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._serve, args=[listener], name="qianfan-emulator", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the emulator's HTTP server did not start")
            time.sleep(0.005)

    def _serve(self, listener: socket.socket) -> None:
        async def serve() -> None:
            assert self._server is not None  # noqa: S101 - set before the thread starts
            self._loop = asyncio.get_running_loop()
            await self._server.serve(sockets=[listener])

        asyncio.run(serve())

    def stop(self) -> None:
        """Cut all connections, stop listening and let go of the state file."""
        if self._thread is None or self._server is None or self._loop is None:
            return
        self._server.should_exit = True
        self._loop.call_soon_threadsafe(self._cut_connections)
        self._thread.join(_STOP_SECONDS)
        self._backend.store.close()
        self._server = self._thread = self._loop = None

    def _cut_connections(self) -> None:
        for transport in list(self._connections.values()):
            transport.abort()

    @property
    def strict(self) -> bool:
        """Whether what the documents' tables exclude, and unknown data sets, are refused; can be set."""
        return self._backend.strict

    @strict.setter
    def strict(self, value: bool) -> None:
        self._backend.strict = value

    @property
    def endpoint(self) -> str:
        """Base URL, without a slash at the end."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - not listening
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def connection_json(self) -> str:
        """The Airflow connection to this emulator, as the value of an ``AIRFLOW_CONN_…`` variable."""
        connection: dict[str, Any] = {
            "conn_type": "qianfan",
            "login": self.access_key,
            "password": self.secret_key,
            "host": self.endpoint,
            "extra": {"api_key": self.api_key},
        }
        if self.session_token:
            connection["extra"]["session_token"] = self.session_token
        return json.dumps(connection)

    @property
    def journal(self) -> list[dict[str, Any]]:
        """Every call so far, oldest first.

        ``seq``, ``time`` (seconds since the epoch, by the clock of the service), ``action``, ``request_id``,
        ``status`` (None if the connection was cut), ``code`` of a refusal, ``outcome`` (ok, refused, fault),
        ``ids``, ``effect`` (whether something changed) and ``fault`` (its kind).
        """
        with self._backend.lock:
            return [dict(entry) for entry in self._backend.store.journal]

    @property
    def jobs(self) -> list[dict[str, Any]]:
        """All jobs as the service shows them, each with the ``request`` that created it, oldest first."""
        return self.objects("job")

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """All tasks as the service shows them, each with the ``request`` that created it, oldest first."""
        return self.objects("task")

    @property
    def models(self) -> list[dict[str, Any]]:
        """All models as the service shows them, each with the ``request`` that created it, oldest first."""
        return self.objects("model")

    @property
    def services(self) -> list[dict[str, Any]]:
        """All services as the service shows them, each with the ``request`` that created it, oldest first."""
        return self.objects("service")

    def objects(self, kind: str) -> list[dict[str, Any]]:
        """Return all objects of a kind as the service shows them, each with its ``request``, oldest first.

        :param kind: one of :attr:`Record.kinds`, such as ``job``, ``task``, ``model_set`` or ``service``.
        :raises ValueError: if there is no such kind.
        """
        if kind not in Record.kinds:
            raise ValueError(f"there is no kind {kind!r}; there are {', '.join(sorted(Record.kinds))}")
        with self._backend.lock:
            view = self._backend.view()
            records = view.all(Record.kinds[kind])
            return [{**record.show(view), "request": record.request} for record in records]

    def answer(self, route: str, action: str, result: Result) -> None:
        """Register the answer of an Action that the emulator does not know, or replace its own.

        The call must still be signed, is noted in the journal, and can be hit by faults.

        :param route: path of the API, such as ``/v2/dataset``.
        :param action: name of the Action.
        :param result: ``result`` of the answer: a JSON value, or a function that makes it from the body of
            the call. The function may raise ``ApiError``, and is called by the thread of the HTTP server.
        :raises ValueError: if one of them is not what it should be.
        """
        registration = Registration(route=route, action=action, result=result)
        with self._backend.lock:
            self._backend.answers.add(registration)

    def fail_next(self, action: str = "*", *, kind: str, count: int | None = 1, **options: Any) -> None:
        """Order a fault; the members of ``Fault`` in ``emulator/faults.py`` are the options.

        :param action: name of the action it hits, ``*`` for any.
        :param kind: what happens.
        :param count: how many calls it hits; None for no end.
        :param options: ``probability``, ``seconds``, ``status``, ``code``, ``effect`` and others.
        :raises ValueError: if there is no such fault, or it could never hit.
        """
        fault = Fault.model_validate({"action": action, "kind": kind, "count": count, **options})
        with self._backend.lock:
            self._backend.faults.add(fault)

    def add_dataset(
        self,
        dataset_version_id: str | None = None,
        *,
        dataset_id: str | None = None,
        name: str | None = None,
        data_format: str = "PromptResponse",
        samples: int = 100,
    ) -> dict[str, Any]:
        """Put a data set there with one version, imported and published, and return that as it is shown.

        :param dataset_version_id: id of the version, such as ``ds-0123456789abcdef``; None for a new one.
        :param dataset_id: id of the data set, such as ``dg-0123456789ab``; None for a new one.
        :param name: name of the data set; None for its id.
        :param data_format: ``dataFormat``, as CreateDataset takes it.
        :param samples: how many samples it holds.
        :raises ValueError: an id or the name is taken, or there is no such format.
        """
        from airflow_qianfan.emulator.dataset import NewDataset, add

        new = NewDataset.model_validate(
            {
                "dataset_version_id": dataset_version_id,
                "dataset_id": dataset_id,
                "name": name,
                "data_format": data_format,
                "samples": samples,
            }
        )
        with self._backend.lock:
            view = self._backend.view()
            return add(view, new).show(view)

    def judge(self, eval_task_id: str) -> None:
        """Let a person judge the answers of an evaluation that waits for that.

        :param eval_task_id: the evaluation, ``ame-…``.
        :raises ValueError: it does not wait for anybody.
        """
        from airflow_qianfan.emulator.evaluation import judge

        with self._backend.lock:
            judge(self._backend.view(), eval_task_id)

    def clear_faults(self) -> None:
        """Drop all ordered faults."""
        with self._backend.lock:
            self._backend.faults.clear()

    def advance(self, seconds: float) -> None:
        """Move the clock of the service forward. Signatures are still checked by the real clock."""
        with self._backend.lock:
            self._backend.store.advance(seconds)

    def reset(self) -> None:
        """Forget all objects, the journal, the moved clock, ordered faults and registered answers."""
        self._backend.reset()
