"""Redis for Celery, where it is installed."""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
from pathlib import Path

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

    def taken(self) -> int:
        """Return how many messages workers have taken and not acknowledged: the tasks that they run."""
        return int(self._client.hlen("unacked"))

    def deliver_again(self) -> list[str]:
        """Put such messages into their queue again, as Celery does when its visibility timeout is over.

        :return: the ids that Celery gave them.
        """
        delivered = []
        for text in self._client.hvals("unacked"):
            message, _, queue = json.loads(text)
            message["properties"]["delivery_info"]["redelivered"] = True
            self._client.lpush(queue, json.dumps(message))
            delivered.append(str(message["headers"]["id"]))
        return delivered

    def stop(self) -> None:
        """End it and delete its data."""
        self._client.close()
        self._process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
