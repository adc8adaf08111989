"""One part of a distributed Airflow: it can be killed, paused and kept away, and starts again by itself."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

from local_stack.process import GuardedProcess, ProcessFailed, Service

RESTART_SECONDS = 2.0
"""How long after its end it starts again."""


class Component(Service):
    """A command with all of its processes.

    :param name: what it is called.
    :param command: absolute path of the program and its arguments.
    :param folder: gets a folder for each start, with the output.
    :param env: its environment variables.
    """

    def __init__(self, name: str, command: list[str], *, folder: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.starts = 0
        self._command, self._folder, self._env = command, folder, env
        self._process: GuardedProcess | None = None
        self._ended: float | None = None
        self._is_wanted = False

    def start(self) -> None:
        """Start it."""
        self.starts += 1
        self._is_wanted = True
        self._ended = None
        self._process = GuardedProcess(
            self.name, self._command, folder=self._folder / f"{self.name}-{self.starts}", env=self._env
        )
        self._process.start()

    def stop(self) -> None:
        """End it, paused or not, and let it stay away."""
        self._is_wanted = False
        if self._process is not None:
            # What is paused does not hear that it shall end.
            self.resume()
            self._process.stop()

    def keep(self) -> None:
        """Start it again where it has ended a while ago."""
        if not self._is_wanted or self.is_running:
            return
        now = time.monotonic()
        self._ended = self._ended or now
        if now - self._ended >= RESTART_SECONDS:
            if self._process is not None:
                self._process.stop()
            self.start()

    @property
    def is_running(self) -> bool:
        """Whether its main process runs."""
        return self._main is not None

    @property
    def _main(self) -> psutil.Process | None:
        pid = self._process.pid if self._process else None
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid) if pid else None
            if process is not None and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def processes(self) -> list[psutil.Process]:
        """All of its processes."""
        return self._process.descendants() if self._process else []

    def send(self, number: signal.Signals, *, to_all: bool) -> None:
        """Send a signal to its main process, or to all of its processes at once.

        :raises ProcessFailed: its main process has ended, so that nothing was hit.
        """
        main = self._main
        if main is None:
            raise ProcessFailed(f"{self.name} cannot be hit: it has ended")
        self._send(number, self.processes() if to_all else [main])

    def pause(self) -> None:
        """Let all of its processes stand still, as on a machine that hangs."""
        self.send(signal.SIGSTOP, to_all=True)

    def resume(self) -> None:
        """Let them go on, where there are any."""
        self._send(signal.SIGCONT, self.processes())

    def _send(self, number: signal.Signals, processes: Iterable[psutil.Process]) -> None:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
