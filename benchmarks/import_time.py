"""What importing operators, sensors and triggers adds to ``airflow.sdk``.

Each measurement is a process of its own, which has imported nothing else. A DAG processor and every task pay
it. The modules are compiled beforehand, as they are in an installation.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial

from benchmarks.report import Goal, Section, Table, interleaved, show, spread
from benchmarks.server import ROOT

OURS = {
    "ours: operators.finetuning": ("airflow_qianfan.operators.finetuning",),
    "ours: operators.model": ("airflow_qianfan.operators.model",),
    "ours: sensors": ("airflow_qianfan.sensors.finetuning", "airflow_qianfan.sensors.model"),
    "ours: triggers": ("airflow_qianfan.triggers.finetuning", "airflow_qianfan.triggers.model"),
    "ours: all of them": (
        "airflow_qianfan.operators.finetuning",
        "airflow_qianfan.operators.model",
        "airflow_qianfan.sensors.finetuning",
        "airflow_qianfan.sensors.model",
        "airflow_qianfan.triggers.finetuning",
        "airflow_qianfan.triggers.model",
    ),
}
PEERS = {
    "SageMaker: operators": ("airflow.providers.amazon.aws.operators.sagemaker",),
    "Databricks: operators": ("airflow.providers.databricks.operators.databricks",),
    "dbt Cloud: operators": ("airflow.providers.dbt.cloud.operators.dbt",),
    "OpenAI: operators": ("airflow.providers.openai.operators.openai",),
}

_BASE = "from airflow.sdk import DAG, BaseHook, BaseOperator, task"

# Imports airflow.sdk once; each measurement is a fork of that, in which nothing else has been imported.
_FORKS = f"""
import json, os, sys, time
{_BASE}
for line in sys.stdin:
    if os.fork() == 0:
        start = time.thread_time()
        for name in json.loads(line):
            __import__(name)
        print((time.thread_time() - start) * 1000, flush=True)
        os._exit(0)
    os.wait()
"""

_ALONE = f"""
import sys, time
{_BASE}
start = time.thread_time()
for name in sys.argv[1:]:
    __import__(name)
print((time.thread_time() - start) * 1000)
"""

FRESH = ", fresh process"


class Forks:
    """Forks of a process that has imported ``airflow.sdk``."""

    def __init__(self, home: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _FORKS],
            cwd=ROOT,
            env=_environment(home),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout

    def measure(self, modules: tuple[str, ...]) -> float:
        """Return the milliseconds that importing some modules takes."""
        self._in.write(json.dumps(modules) + "\n")
        self._in.flush()
        for line in self._out:
            if re.fullmatch(r"[0-9.]+\n", line):
                return float(line)
        raise RuntimeError(f"cannot import {modules}")

    def close(self) -> None:
        """End the process."""
        self._in.close()
        self._process.wait(20)
        self._out.close()


def _environment(home: str) -> dict[str, str]:
    return {**os.environ, "AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}


def _fresh(home: str, modules: tuple[str, ...]) -> float:
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _ALONE, *modules],
        cwd=ROOT,
        env=_environment(home),
        capture_output=True,
        text=True,
        check=True,
    )
    return float(answer.stdout.split()[-1])


def _profile(home: str, modules: tuple[str, ...]) -> str:
    """Return the modules whose own import takes longest."""
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-X", "importtime", "-c", _ALONE, *modules],
        cwd=ROOT,
        env=_environment(home),
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split("|") for line in answer.stderr.splitlines() if line.count("|") == 2]
    names = [row[2].strip() for row in rows]
    start = max(i for i, name in enumerate(names) if name.startswith("airflow.sdk"))
    tail = [(int(row[0].rpartition(":")[2]), row[2].strip()) for row in rows[start + 1 :]]
    return "\n".join(f"{micros / 1000:7.1f} ms  {name}" for micros, name in sorted(tail, reverse=True)[:12])


def run() -> Section:
    """Measure."""
    with tempfile.TemporaryDirectory() as home:
        forks = Forks(home)
        contenders: dict[str, Callable[[], float]] = {
            name: partial(forks.measure, modules) for name, modules in {**OURS, **PEERS}.items()
        }
        # A fork pays for memory that it shares with its parent; these two show how much.
        for name, modules in (("ours: all of them", OURS["ours: all of them"]), *list(PEERS.items())[2:3]):
            contenders[name + FRESH] = partial(_fresh, home, modules)
        for measure in contenders.values():
            measure()
        figures = interleaved(contenders)
        forks.close()
        profile = _profile(home, OURS["ours: all of them"])
    middle = {name: statistics.median(values) for name, values in figures.items()}
    cheapest = min(PEERS, key=lambda name: middle[name])
    rows = [
        (name, spread(values, ".1f"), f"{middle[name] / middle[cheapest]:.2f}")
        for name, values in figures.items()
    ]
    table = Table(
        f"Over `{_BASE}`",
        ("modules", "ms of CPU", f"× {cheapest}"),
        rows,
        "Medians of 5 rounds of fresh forks of a process with `airflow.sdk` only; lowest and highest too. "
        "The goals are judged by the fresh process.",
    )
    worst = middle["ours: all of them" + FRESH]
    theirs = middle.get(cheapest + FRESH, middle[cheapest])
    goals = [
        Goal("import at most 30 ms over airflow.sdk", f"{worst:.1f} ms", worst <= 30),
        Goal(
            "import no dearer than the cheapest peer",
            f"{worst:.0f} ms, {cheapest} {theirs:.0f} ms",
            worst <= theirs,
        ),
    ]
    for goal in goals:
        goal.limit = "see the profile under Import"
    return Section("Import", [table], goals, profile)


if __name__ == "__main__":
    show(run())
