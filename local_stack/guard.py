"""Run one command and leave nothing of it behind, whatever happens to the program that asked for it.

``python guard.py COMMAND...`` writes the command's process id to the file ``pid`` and ends the command
with all its descendants when standard input is closed (the parent has gone, even by SIGKILL), on SIGTERM,
and when the command itself ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

import psutil

GRACE_SECONDS = 5.0
_PR_SET_CHILD_SUBREAPER = 36


def main(command: list[str]) -> int:
    """Run ``command``; return its exit code, or 0 if it was asked to stop."""
    if sys.platform == "linux":
        # Orphans become our children instead of init's, so walking our descendants finds them all.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _exit_on_signal)
    pid = os.posix_spawn(
        command[0],
        command,
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
        setsigdef=[signal.SIGINT, signal.SIGTERM],
    )
    Path("pid").write_text(str(pid))
    child = psutil.Process(pid)
    try:
        return _watch(pid)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _end_all(child)


def _exit_on_signal(signum: int, frame: object) -> NoReturn:
    raise SystemExit(0)


def _watch(child: int) -> int:
    """Wait until the child ends or standard input is closed, and reap whatever ends meanwhile."""
    while not select.select([sys.stdin], [], [], 0.3)[0]:
        for pid, status in _reap():
            if pid == child:
                return os.waitstatus_to_exitcode(status)
    return 0


def _reap() -> list[tuple[int, int]]:
    ended = []
    with contextlib.suppress(ChildProcessError):
        while (result := os.waitpid(-1, os.WNOHANG))[0]:
            ended.append(result)
    return ended


def _remaining() -> list[psutil.Process]:
    """Our descendants and, where orphans are not handed to us, the rest of our session."""
    _reap()
    found = set(psutil.Process().children(recursive=True))
    for process in psutil.process_iter():
        with contextlib.suppress(OSError):
            if process.pid != os.getpid() and os.getsid(process.pid) == os.getsid(0):
                found.add(process)
    return [process for process in found if is_alive(process)]


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; a process that has ended and that its parent ignores does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _end_all(child: psutil.Process) -> None:
    """Interrupt the command as Ctrl-C does, give it time to end its own processes, then kill the rest."""
    with contextlib.suppress(psutil.NoSuchProcess):
        child.send_signal(signal.SIGINT)
    deadline = time.monotonic() + GRACE_SECONDS
    while _remaining() and time.monotonic() < deadline and child.is_running():
        time.sleep(0.1)
    while remaining := _remaining():
        for process in remaining:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.05)
    _reap()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
