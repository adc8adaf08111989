"""The Qianfan emulator as a process of its own."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import port_for

from local_stack.process import GuardedProcess, Service
from local_stack.waiting import wait_for

if TYPE_CHECKING:
    from airflow_qianfan.api.client import QianfanClient

CONNECTION_ID = "qianfan_default"


class LocalQianfan(Service):
    """Start the emulator on a free port on entering the context, and end it on leaving.

    :param folder: Where its output and its state go.
    :param task_seconds: How long a training takes.
    :param model_seconds: How long the creation of a model takes; the emulator's default if None.
    :param session_token: Token that must come with the key, if given.
    :param strict: Whether it refuses models and values that the documents' tables exclude, and data sets that
        do not exist.
    :param keep_state: Whether it remembers everything when it is killed and started again.
    """

    def __init__(
        self,
        folder: Path,
        *,
        task_seconds: float = 20,
        model_seconds: float | None = None,
        session_token: str | None = None,
        strict: bool = False,
        keep_state: bool = False,
    ) -> None:
        port = port_for.select_random()
        self.endpoint = f"http://127.0.0.1:{port}"
        self.access_key = f"ALTAK{secrets.token_hex(10)}"
        self.secret_key = secrets.token_hex(16)
        #: The Airflow connection to this emulator, in Airflow's JSON form.
        self.connection: dict[str, Any] = {
            "conn_type": "qianfan",
            "login": self.access_key,
            "password": self.secret_key,
            "host": self.endpoint,
            "extra": {"session_token": session_token} if session_token else None,
        }
        #: Airflow's settings that suit trainings of a few seconds.
        self.settings = {
            f"AIRFLOW__QIANFAN__{name}": str(max(0.5, task_seconds / 10))
            for name in ("POLL_INTERVAL", "MAX_POLL_INTERVAL")
        }
        options = {
            "--port": port,
            "--access-key": self.access_key,
            "--secret-key": self.secret_key,
            "--session-token": session_token,
            "--task-seconds": task_seconds,
            "--model-seconds": model_seconds,
            "--state": folder.absolute() / "state" if keep_state else None,
        }
        arguments = [str(part) for item in options.items() if item[1] is not None for part in item]
        if strict:
            arguments.append("--strict")
        self._process = GuardedProcess(
            "The Qianfan emulator",
            [sys.executable, "-P", "-m", "airflow_qianfan.emulator", *arguments],
            folder=folder.absolute(),
            secret=self.secret_key,
        )

    def start(self) -> None:
        """Start the emulator and wait until it answers."""
        self._process.start()
        wait_for(self._answers, what="the Qianfan emulator answers", pause=0.1)

    def _answers(self) -> bool:
        self.check()
        try:
            return httpx.get(f"{self.endpoint}/_emulator/health", trust_env=False).is_success
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """End the emulator."""
        self._process.stop()

    def kill(self) -> None:
        """End the emulator with SIGKILL, as a crash does; `start` starts it again."""
        for process in self._process.descendants():
            process.kill()
        self.stop()

    def check(self) -> None:
        """Raise `ProcessFailed` if the emulator has ended by itself."""
        self._process.check()

    def connection_variable(self, connection_id: str = CONNECTION_ID) -> dict[str, str]:
        """The connection as an environment variable of Airflow."""
        return {f"AIRFLOW_CONN_{connection_id.upper()}": json.dumps(self.connection)}

    def client(self) -> QianfanClient:
        """Return a client with its key, which its caller closes."""
        # They load Airflow, which would read what the environment of the demonstration's user holds.
        from airflow_qianfan.api.client import QianfanClient
        from airflow_qianfan.api.config import QianfanConfig

        config = QianfanConfig(
            access_key_id=self.access_key,
            secret_access_key=self.secret_key,
            session_token=(self.connection["extra"] or {}).get("session_token"),
            endpoint=self.endpoint,
        )
        return QianfanClient(config)

    def administer(self, method: str, path: str, order: Any = None) -> Any:
        """Send a request to one of the emulator's own paths, such as ``faults``, which need no signature."""
        url = f"{self.endpoint}/_emulator/{path}"
        return httpx.request(method, url, json=order, timeout=60, trust_env=False).raise_for_status().json()

    def add_dataset(self, dataset_version_id: str) -> None:
        """Put a data set there that can be trained on."""
        self.administer("POST", "datasets", {"dataset_version_id": dataset_version_id})

    def pass_time(self, seconds: float) -> None:
        """Put its clock forward."""
        self.administer("POST", "clock", {"advance": seconds})

    def journal(self) -> list[dict[str, Any]]:
        """What the emulator noted about the requests it got."""
        entries: list[dict[str, Any]] = self.administer("GET", "journal")
        return entries
