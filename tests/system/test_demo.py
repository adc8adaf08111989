"""``make demo`` as its user sees it: output, exit code, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from local_stack.airflow import ROOT
from local_stack.guard import is_alive

pytestmark = pytest.mark.slow

#: Settings that a user's shell may hold by accident.
STRAY = {
    "AIRFLOW_HOME": "/nonexistent",
    "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://nowhere/airflow",
    "AIRFLOW_CONN_QIANFAN_DEFAULT": "http://nowhere",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "NO_PROXY": "",
}


def start_demo(home: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "demo", "--home", str(home), "--task-seconds", "5", *arguments]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | STRAY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_success(tmp_path: Path) -> None:
    demo = start_demo(tmp_path / "home with spaces")
    output = demo.communicate()[0]
    assert demo.returncode == 0, output
    for label in ("Fine-tuning job", "Fine-tuning task", "Metrics", "Model set", "Model version"):
        assert re.search(rf"{label} +│ \S", output), output
    assert "\x1b" not in output


def test_wrong_secret(tmp_path: Path, files_with: Callable[[str, Path], list[Path]]) -> None:
    demo = start_demo(tmp_path, "--wrong-secret")
    output = demo.communicate()[0]
    assert demo.returncode == 1, output
    assert "The task create_model_set failed" in output
    assert output.count("QianfanSignatureError: DescribeModelSet: SignatureDoesNotMatch") == 1, output
    assert files_with("a-wrong-secret-key", tmp_path / "airflow") == []
    secret = re.search(r'"password": "(\w+)"', (tmp_path / "emulator" / "output.log").read_text())
    assert secret is not None
    assert files_with(secret[1], tmp_path / "airflow") == []
    assert secret[1] not in output


def test_interrupted_twice(tmp_path: Path) -> None:
    demo = start_demo(tmp_path)
    assert demo.stdout is not None
    for line in demo.stdout:
        if "create_job" in line:
            break
    children = psutil.Process(demo.pid).children(recursive=True)
    assert len(children) > 8
    for _ in range(2):
        os.killpg(demo.pid, signal.SIGINT)
    output = demo.communicate()[0]
    assert demo.returncode == 130, output
    assert "Traceback" not in output
    assert [child for child in children if is_alive(child)] == []
