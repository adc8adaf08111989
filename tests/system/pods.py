"""An executor whose tasks run as in the pods of Kubernetes, without Kubernetes.

It starts what a pod of KubernetesExecutor starts: ``python -m airflow.sdk.execution_time.execute_workload``.
Each attempt has new and empty folders as home, AIRFLOW_HOME, temporary folder and working directory, and of
the environment only what a chart gives to all pods: Airflow's settings, here without the address of the
database. When its process ends, or is killed, its folders are deleted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from airflow.executors.base_executor import BaseExecutor
from ground import PODS

#: After so many seconds Kubernetes kills what did not end when it was told to.
GRACE_SECONDS = 30.0
#: What an image sets, and where the code of these tests is.
_IMAGE = ("PATH", "PYTHONPATH", "PYTHONUTF8", "PYTHONUNBUFFERED", "LANG", "NO_PROXY")


def environment(folder: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a pod, and make its folders.

    :param folder: new, for everything that the pod writes.
    :param given: the environment of the scheduler.
    """
    kept = {
        name: value
        for name, value in given.items()
        if name in _IMAGE or (name.startswith("AIRFLOW_") and not name.startswith("AIRFLOW__DATABASE__"))
    }
    own = {name: str(folder / name.lower()) for name in ("HOME", "AIRFLOW_HOME", "TMPDIR")}
    for path in own.values():
        Path(path).mkdir()
    return {**kept, **own}


def delete(pods: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Do what Kubernetes does with deleted pods: SIGTERM, 30 s later SIGKILL; return those it had to kill.

    :param pods: their first processes; Kubernetes tells only these.
    """
    for pod in pods:
        pod.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(pods, timeout=GRACE_SECONDS)
    for pod in alive:
        kill(pod)
    return list(alive)


def kill(pod: psutil.Process) -> None:
    """Let all processes of a pod vanish, as those of a machine that fails."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in [*pod.children(recursive=True), pod]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


class PodExecutor(BaseExecutor):
    """Runs each attempt in a process of its own that shares only environment variables with all others."""

    def start(self) -> None:
        #: The key of a task that was deferred may come again before its first process is seen to have ended.
        self._pods: list[tuple[Any, subprocess.Popen[bytes], Path]] = []

    def _process_workloads(self, workload_items: Sequence[Any]) -> None:
        for workload in workload_items:
            key = workload.ti.key
            del self.queued_tasks[key]
            self.running.add(key)
            folder = Path(tempfile.mkdtemp(prefix=f"{key.task_id}-", dir=os.environ[PODS]))
            command = [sys.executable, "-m", "airflow.sdk.execution_time.execute_workload"]
            process = subprocess.Popen(
                [*command, "--json-string", workload.model_dump_json()],
                env=environment(folder, os.environ),
                cwd=folder / "home",
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._pods.append((key, process, folder))

    def sync(self) -> None:
        """Report which pods have ended, and remove what they leave."""
        for pod in list(self._pods):
            key, process, folder = pod
            if (code := process.poll()) is None:
                continue
            self._pods.remove(pod)
            shutil.rmtree(folder)
            if any(other[0] == key for other in self._pods):
                continue  # its next process is what the key stands for now
            if code:
                self.fail(key)
            else:
                self.success(key)

    def end(self) -> None:
        """Wait for what runs."""
        for _, process, _ in self._pods:
            process.wait()
        self.sync()

    def terminate(self) -> None:
        """End what runs."""
        for _, process, _ in self._pods:
            process.kill()
