"""The Qianfan emulator as a process of its own."""

from __future__ import annotations

import json
import re
import secrets
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from demo.process import GuardedProcess

CONNECTION_VARIABLE = "AIRFLOW_CONN_QIANFAN_DEFAULT"


class LocalQianfan:
    """Start the emulator on a free port on entering the context, and end it on leaving.

    :param folder: Where its output goes.
    :param task_seconds: How long a training takes.
    :param model_seconds: How long the creation of a model takes; the emulator's default if None.
    :param arguments: More arguments of ``python -m airflow_qianfan.emulator``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        task_seconds: float = 20,
        model_seconds: float | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self._poll_interval = max(0.5, task_seconds / 10)
        self.access_key = f"ALTAK{secrets.token_hex(10)}"
        self.secret_key = secrets.token_hex(16)
        #: The Airflow connection to this emulator, in Airflow's JSON form; filled by `start`.
        self.connection: dict[str, Any] = {}
        options = {
            "--port": 0,
            "--access-key": self.access_key,
            "--secret-key": self.secret_key,
            "--task-seconds": task_seconds,
            "--model-seconds": model_seconds,
        }
        parts = [str(part) for item in options.items() if item[1] is not None for part in item]
        self._process = GuardedProcess(
            "The Qianfan emulator",
            [sys.executable, "-P", "-m", "airflow_qianfan.emulator", *parts, *arguments],
            folder=folder.absolute(),
            secret=self.secret_key,
        )

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """Its base URL."""
        return str(self.connection["host"])

    def start(self, *, timeout: float = 30) -> None:
        """Start the emulator and wait until it answers."""
        self._process.start()
        deadline = time.monotonic() + timeout
        while not self._is_ready():
            self.check()
            if time.monotonic() > deadline:
                raise self._process.failure(f"was not ready within {timeout:g} s")
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        if not self.connection:
            line = re.search(rf"{CONNECTION_VARIABLE}=(.+)\n", self._process.log_path.read_text())
            if line is None:
                return False
            self.connection = json.loads(shlex.split(line[1])[0])
        try:
            return httpx.get(f"{self.endpoint}/_emulator/health", trust_env=False).is_success
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """End the emulator; may be called repeatedly."""
        self._process.stop()

    def kill(self) -> None:
        """End the emulator with SIGKILL, as a crash does; `start` starts it again."""
        for process in self._process.descendants():
            process.kill()
        self.stop()

    def check(self) -> None:
        """Raise `ProcessFailed` if the emulator has ended by itself."""
        self._process.check()

    def environment(self, *, secret_key: str | None = None) -> dict[str, str]:
        """Airflow's connection, optionally with another secret key, and a short poll interval."""
        connection = self.connection | ({"password": secret_key} if secret_key else {})
        return {
            CONNECTION_VARIABLE: json.dumps(connection),
            "AIRFLOW__QIANFAN__POLL_INTERVAL": str(self._poll_interval),
            "AIRFLOW__QIANFAN__MAX_POLL_INTERVAL": str(self._poll_interval),
        }

    def journal(self) -> Any:
        """What the emulator noted about the requests it got."""
        return httpx.get(f"{self.endpoint}/_emulator/journal", trust_env=False).raise_for_status().json()
