"""A child process that cannot outlive this program."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psutil

from local_stack import guard

_STOP_SECONDS = guard.GRACE_SECONDS + 12
#: Nothing else of the caller's environment reaches a child: no settings, proxies or paths by accident.
_INHERITED = ("HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH")


class ProcessFailed(RuntimeError):
    """A process did not start or ended by itself; the message ends with the last lines of its output."""


class Service(ABC):
    """What is started on entering a context, and ended on leaving it."""

    @abstractmethod
    def start(self) -> None:
        """Start it."""

    @abstractmethod
    def stop(self) -> None:
        """End every process of it; may be called at any time and repeatedly."""

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


class GuardedProcess(Service):
    """Start a command under ``guard.py`` and end all of its processes in `stop`.

    :param name: What error messages call it.
    :param command: Absolute path of the program and its arguments.
    :param folder: Its working directory, made if missing and locked until the last process is gone.
    :param env: Environment variables in addition to the few that are passed on.
    :param leftovers: Names in ``folder`` that an earlier run may have left and `start` removes.
    :param files: Text files that `start` writes into ``folder``.
    :param secret: Masked in what error messages show of the output.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        folder: Path,
        env: Mapping[str, str] | None = None,
        leftovers: Sequence[str] = (),
        files: Mapping[str, str] | None = None,
        secret: str | None = None,
    ) -> None:
        self.name = name
        self.log_path = folder / "output.log"
        self._command = list(command)
        self._folder = folder
        self._env = child_environment(env or {})
        self._leftovers = leftovers
        self._files = files or {}
        self._secret = secret
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the command."""
        guard_command = [sys.executable, "-P", guard.__file__, *self._command]
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as lock:
            _acquire(lock, self._folder)
            for name in ("pid", *self._leftovers):
                _remove(self._folder / name)
            for name, text in self._files.items():
                (self._folder / name).write_text(text)
            self._spawn(guard_command, lock.fileno())

    def _spawn(self, guard_command: list[str], lock: int) -> None:
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                guard_command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=self._env,
                pass_fds=[lock],  # an flock lasts as long as any process has the file open
                start_new_session=True,  # Ctrl-C in the terminal must reach this program only
            )

    def stop(self) -> None:
        """End every process that the command started."""
        if self._process is None or self._process.stdin is None:
            return
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            for process in [*self.descendants(), psutil.Process(self._process.pid)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.wait()

    def check(self) -> None:
        """Raise `ProcessFailed` if the command has ended."""
        if self._process is None or self._process.poll() is not None:
            raise self.failure("ended unexpectedly")

    def failure(self, what: str) -> ProcessFailed:
        """An error that says ``what`` happened and shows the end of the output."""
        return ProcessFailed(f"{self.name} {what}. Last lines of {self.log_path}:\n{self.tail()}")

    def tail(self, lines: int = 30) -> str:
        """The last lines of the output so far."""
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        if self._secret:
            text = text.replace(self._secret, "***")
        return "\n".join(text.splitlines()[-lines:])

    @property
    def pid(self) -> int | None:
        """Process id of the command, once it runs."""
        path = self._folder / "pid"
        return int(path.read_text() or 0) or None if path.exists() else None

    def descendants(self) -> list[psutil.Process]:
        """Every process below the guard, zombies included."""
        if self._process is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            return list(psutil.Process(self._process.pid).children(recursive=True))
        return []


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child process: the basics, the virtual environment's programs, and ``extra``."""
    basics = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    programs = str(Path(sys.executable).parent)
    path = os.pathsep.join([programs, os.environ.get("PATH", os.defpath)])
    return basics | {"PATH": path, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", "NO_PROXY": "*"} | dict(extra)


def _acquire(lock: IO[str], folder: Path) -> None:
    """Lock ``folder``; processes of a run that was just killed may need a moment to end."""
    deadline = time.monotonic() + _STOP_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise ProcessFailed(f"Another run is using {folder}; stop it first.") from None
            time.sleep(0.2)
        else:
            return


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
