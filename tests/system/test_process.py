"""No process outlives the program that started it, however that ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from local_stack.airflow import ROOT
from local_stack.process import GuardedProcess, ProcessFailed
from local_stack.waiting import wait_for

#: A process with a child that has lost its parent, and one that ignores SIGINT and SIGTERM.
FAMILY = "(sleep 1000 &); (trap '' INT TERM; sleep 1000) & echo ready; wait"
PARENT = """
import signal, sys, time
from pathlib import Path
from local_stack.process import GuardedProcess

# Tests that were started in the background pass it on as ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
with GuardedProcess("family", ["/bin/sh", "-c", sys.argv[2]], folder=Path(sys.argv[1])):
    {then}
"""


def is_ready(folder: Path) -> bool:
    log = folder / "output.log"
    return log.exists() and "ready" in log.read_text()


def family(folder: Path) -> list[psutil.Process]:
    """All processes that work in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()) == folder:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize(
    ("then", "end"),
    [
        ("time.sleep(1000)", lambda parent: parent.send_signal(signal.SIGKILL)),
        ("time.sleep(1000)", lambda parent: parent.send_signal(signal.SIGINT)),
        ("sys.stdin.read(); raise RuntimeError", lambda parent: parent.stdin.close()),
    ],
    ids=["killed", "interrupted", "failed"],
)
def test_nothing_is_left(tmp_path: Path, then: str, end: Callable[[subprocess.Popen[bytes]], None]) -> None:
    command = [sys.executable, "-c", PARENT.format(then=then), str(tmp_path), FAMILY]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        wait_for(lambda: is_ready(tmp_path), what="the processes run")
        processes = family(tmp_path)
        assert len(processes) > 3
        end(parent)
        parent.wait()
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert alive == []
    assert family(tmp_path) == []


def test_what_has_ended_is_noticed_and_its_secret_masked(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", "echo the key is abc123; exit 3"]
    with GuardedProcess("It", command, folder=tmp_path, secret="abc123") as process:

        def check() -> bool:
            process.check()
            return False

        with pytest.raises(ProcessFailed, match=r"It ended unexpectedly(?s:.)*the key is \*\*\*"):
            wait_for(check, what="the end is noticed")


def test_a_folder_is_used_by_one_run_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local_stack.process._STOP_SECONDS", 0.5)
    command = ["/bin/sleep", "1000"]
    with GuardedProcess("It", command, folder=tmp_path) as first:
        with pytest.raises(ProcessFailed, match="Another run is using"):
            GuardedProcess("It", command, folder=tmp_path).start()
        first.check()
