"""Connections that break, hang or lead nowhere: always an error of ours, and never a hang."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from airflow_qianfan.api.actions.finetuning import CreateFineTuningJob, DescribeFineTuningJobs
from airflow_qianfan.api.client import AsyncQianfanClient, QianfanClient
from airflow_qianfan.api.config import QianfanConfig
from airflow_qianfan.exceptions import QianfanAmbiguousCreateError, QianfanConnectionError

READ = DescribeFineTuningJobs()
CREATE = CreateFineTuningJob(name="nightly", model="ERNIE-Speed-8K", train_mode="SFT")

# The servers below go on for ever: a call that had no limit of its own would run into this one.
pytestmark = pytest.mark.timeout(60)


def call_sync(config: QianfanConfig, request: Any) -> Any:
    with QianfanClient(config) as client:
        return client.call(request)


def call_async(config: QianfanConfig, request: Any) -> Any:
    async def call() -> Any:
        async with AsyncQianfanClient(config) as client:
            return await client.call(request)

    return asyncio.run(call())


both = pytest.mark.parametrize("call", [call_sync, call_async], ids=["sync", "async"])


def config(endpoint: str, **settings: Any) -> QianfanConfig:
    return QianfanConfig(
        access_key_id="ak", secret_access_key="sk", endpoint=endpoint, verify=False, **settings
    )


@contextmanager
def server(talk: Callable[[socket.socket, threading.Event], None]) -> Iterator[tuple[str, list[int]]]:
    """Answer each connection with ``talk``; yield the address and, growing, one entry a connection."""
    done = threading.Event()
    connections: list[int] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(1)
                threads.append(threading.Thread(target=serve_one, args=(connection,)))
                threads[-1].start()

    def serve_one(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65536)
            talk(connection, done)

    threads = [threading.Thread(target=serve)]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads[0].start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", connections
        finally:
            done.set()
            listener.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def trickle(connection: socket.socket, done: threading.Event) -> None:
    connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
    while not done.wait(0.05):
        connection.sendall(b" ")


def never_answer(connection: socket.socket, done: threading.Event) -> None:
    done.wait()


def hang_up(connection: socket.socket, done: threading.Event) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def hang_up_in_the_body(connection: socket.socket, done: threading.Event) -> None:
    connection.sendall(HEAD + b'Content-Length: 100\r\n\r\n{"result": ')


def talk_nonsense(connection: socket.socket, done: threading.Event) -> None:
    connection.sendall(b"220 mail.example ESMTP\r\n")


@both
@pytest.mark.parametrize("talk", [trickle, never_answer, hang_up, hang_up_in_the_body, talk_nonsense])
def test_answer_that_never_ends_or_breaks_off_is_a_connection_error(talk, call):
    with server(talk) as (endpoint, connections):
        with pytest.raises(QianfanConnectionError) as caught:
            call(config(endpoint, timeout=0.4, max_retries=0), READ)
        assert caught.value.sent is True
        if talk in (trickle, never_answer):
            assert "no answer within 0.4 s" in str(caught.value)

        with pytest.raises(QianfanAmbiguousCreateError, match="name nightly"):
            call(config(endpoint, timeout=0.4), CREATE)
        assert len(connections) == 2


@both
@pytest.mark.parametrize("request_", [READ, CREATE], ids=["read", "create"])
def test_nobody_there_is_a_connection_error_and_nothing_was_sent(request_, call):
    # Bound, but not listening: nobody else gets this port meanwhile.
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        with pytest.raises(QianfanConnectionError, match=f"no answer from http://127.0.0.1:{port}") as caught:
            call(config(f"http://127.0.0.1:{port}", max_retries=0), request_)
        assert caught.value.sent is False
