"""A StatsD of the tests' own: a real UDP socket that keeps what arrives."""

from __future__ import annotations

import re
import secrets
import socket
import threading
from typing import Self

PATIENCE = 60.0
"""Seconds after which a test gives up waiting for what is there in a moment."""


class StatsdListener:
    """Receives datagrams from entering the context until leaving it."""

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._send("end")
        self._thread.join(PATIENCE)
        self._socket.close()

    @property
    def settings(self) -> dict[str, str]:
        """The environment with which Airflow sends its metrics here."""
        return {
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(self._socket.getsockname()[1]),
        }

    def lines(self) -> list[str]:
        """Return all of ours that has arrived, such as ``qianfan.calls.DescribeModel.ok:1|c``, in order."""
        # What is sent on one machine arrives in order: all that was sent before is there when this is.
        mark = secrets.token_hex(8)
        self._send(mark)
        with self._changed:
            assert self._changed.wait_for(lambda: mark in self._lines, PATIENCE)
            return [line.removeprefix("airflow.") for line in self._lines if ".qianfan." in line]

    def count(self, name: str) -> int:
        """Return how often a counter was told."""
        return self.lines().count(f"qianfan.{name}:1|c")

    def values(self, name: str) -> list[float]:
        """Return the values of a gauge or timer, in order."""
        pattern = re.compile(rf"qianfan\.{re.escape(name)}:([0-9.]+)\|(?:g|ms)")
        return [float(found[1]) for line in self.lines() if (found := pattern.fullmatch(line))]

    def _send(self, text: str) -> None:
        self._socket.sendto(text.encode(), self._socket.getsockname())

    def _receive(self) -> None:
        while (line := self._socket.recv(65_536).decode()) != "end":
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
