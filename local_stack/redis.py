"""Redis for Celery, where it is installed."""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Any

import port_for
from redis import Redis
from redis.exceptions import RedisError

from local_stack.process import GuardedProcess, Service
from local_stack.unprivileged import can_be_unprivileged, give_to_unprivileged, unprivileged
from local_stack.waiting import wait_for


class LocalRedis(Service):
    """Start Redis on entering the context; end it and delete its data on leaving."""

    def __init__(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise FileNotFoundError("Redis is not installed")
        self.folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self.password = secrets.token_hex(16)
        port = port_for.select_random()
        #: Where Celery finds it.
        self.url = f"redis://:{self.password}@127.0.0.1:{port}/0"
        self._client = Redis(port=port, password=self.password)
        options = {
            "port": port,
            "bind": "127.0.0.1",
            "dir": self.folder,
            # What was queued outlives a crash.
            "appendonly": "yes",
            "requirepass": self.password,
        }
        self._config = self.folder / "redis.conf"
        self._config.write_text("".join(f"{name} {value}\n" for name, value in options.items()))
        self._process = GuardedProcess(
            "Redis",
            unprivileged(program, str(self._config)),
            folder=self.folder / "process",
            secret=self.password,
        )

    @staticmethod
    def is_installed() -> bool:
        """Whether it can be started here."""
        return shutil.which("redis-server") is not None and can_be_unprivileged()

    def start(self) -> None:
        """Start it, with what it held before."""
        for path in (self.folder, self._config):
            give_to_unprivileged(path)
        self._process.start()
        wait_for(self._answers, what="Redis answers", pause=0.1)

    def _answers(self) -> bool:
        self._process.check()
        try:
            return bool(self._client.ping())
        except RedisError:
            return False

    def kill(self) -> None:
        """End it with SIGKILL; `start` starts it again."""
        for process in self._process.descendants():
            process.kill()
        self._process.stop()

    def taken(self) -> set[str]:
        """Return Celery's ids of the messages that workers have taken and not acknowledged.

        They are those of the tasks that they run, and of what a worker held when it was killed.
        """
        return {_celery_id(message) for message, _ in self._unacked()}

    def deliver_again(self) -> set[str]:
        """Put such messages into their queue again, as Celery does when its visibility timeout is over.

        :return: the ids that Celery gave them.
        """
        delivered = set()
        for message, queue in self._unacked():
            message["properties"]["delivery_info"]["redelivered"] = True
            self._client.lpush(queue, json.dumps(message))
            delivered.add(_celery_id(message))
        return delivered

    def _unacked(self) -> list[tuple[dict[str, Any], str]]:
        found = [json.loads(text) for text in self._client.hvals("unacked")]
        return [(message, queue) for message, _, queue in found]

    def stop(self) -> None:
        """End it and delete its data."""
        self._client.close()
        self._process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _celery_id(message: dict[str, Any]) -> str:
    return str(message["headers"]["id"])
