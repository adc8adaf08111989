"""A server, and a process with triggers that wait for its trainings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.loop import Setup
from benchmarks.server import ROOT, Server


class Waiters:
    """Triggers of one provider that wait at a server of their own.

    Its parameters are those of :class:`benchmarks.loop.Setup`; a training lasts 360 intervals, as one of
    three hours does at the default of 30 s.
    """

    def __init__(
        self, kind: str, count: int, interval: float, spread: float, *, per_job: bool = False
    ) -> None:
        self.interval, self.count = interval, count
        self.server = Server(360 * interval, shared_jobs=per_job)
        self._home = tempfile.TemporaryDirectory()
        setup = Setup(kind, count, interval, spread, 360 * interval, per_job, self.server.port)
        reading, writing = os.pipe()
        self._errors = (Path(self._home.name) / "errors").open("w+")
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "benchmarks.loop",
                json.dumps(asdict(setup)),
                str(writing),
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "AIRFLOW_HOME": self._home.name,
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            pass_fds=(writing,),
            text=True,
        )
        os.close(writing)
        self._answers = os.fdopen(reading)

    def start(self) -> dict[str, float]:
        """Let all wait."""
        return self._order("start")

    def until_all_seen(self, limit: float = 120) -> float:
        """Return the seconds until each training has been asked for."""
        start = time.monotonic()
        while self.server.counts().seen < self.count and time.monotonic() - start < limit:
            time.sleep(0.05)
        return time.monotonic() - start

    def window(self, seconds: float) -> dict[str, Any]:
        """Measure for some seconds; the server's counts of the window come along."""
        before = self.server.counts()
        answer = self._order("window", seconds)
        if not answer["waiting"]:
            raise RuntimeError(f"none waits any more: {answer['errors']}")
        after = self.server.counts()
        more = {"requests": after.requests - before.requests, "opened": after.opened - before.opened}
        return {**answer, **more, "connections": after.most_open}

    def profile(self, seconds: float) -> str:
        """Return where the time goes."""
        return str(self._order("profile", seconds)["profile"])

    def _order(self, *order: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._answers.readline()
        if not line:
            self._errors.seek(0)
            raise RuntimeError(f"the process ended: {self._errors.read()[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._answers.close()
        self._errors.close()
        self.server.__exit__(kind, error, trace)
        self._home.cleanup()
