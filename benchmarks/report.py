"""Goals and tables as Markdown, and pyperf's figures."""

from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil
import pyperf

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 5

PACKAGES = ("apache-airflow", "httpx", "pydantic", "pyperf", "bce-python-sdk", "qianfan", "aiobotocore")
PROVIDERS = ("amazon", "databricks", "dbt-cloud", "openai")


@dataclass(frozen=True)
class Goal:
    """What should be reached, and what was."""

    wanted: str
    measured: str
    reached: bool


@dataclass(frozen=True)
class Section:
    """All that one benchmark found out; ``parts`` are Markdown."""

    name: str
    goals: Sequence[Goal]
    parts: Sequence[str]

    def __str__(self) -> str:
        return "\n\n".join([f"## {self.name}", *self.parts])


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], align: str = "---:") -> str:
    """Return a table; the first column names the contender."""
    lines = [columns, ["---", *[align] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def goals_table(sections: Iterable[Section]) -> str:
    """Return all goals."""
    rows = [
        (section.name, goal.wanted, goal.measured, "reached" if goal.reached else "**missed**")
        for section in sections
        for goal in section.goals
    ]
    return table(("Benchmark", "Goal", "Measured", ""), rows, align="---")


class Suite:
    """What pyperf measured in a script.

    The contenders take turns, round after round, each time in a new process.

    :param script: name of its module.
    :param rounds: how many processes measure each contender.
    :param environment: variables for the script.
    """

    def __init__(self, script: str, rounds: int = ROUNDS, **environment: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = f"{folder}/{script}.json"
            command = [sys.executable, "-m", script, "--processes=1", "--copy-env", "--quiet"]
            for _ in range(rounds):
                subprocess.run(
                    [*command, f"--append={file}"], cwd=ROOT, env={**os.environ, **environment}, check=True
                )
            self._suite = pyperf.BenchmarkSuite.load(file)

    def seconds(self, group: str, name: str) -> float:
        """Return the median of one contender."""
        return statistics.median(self._rounds(group, name))

    def least_seconds(self, group: str, name: str) -> float:
        """Return the smallest value of one contender: a busy or throttled processor only adds."""
        return min(self._rounds(group, name))

    def speedup(self, group: str, name: str, peer: str) -> float:
        """Return how many times as fast as its peer a contender is: the median over the rounds."""
        pairs = zip(self._rounds(group, peer), self._rounds(group, name), strict=True)
        return statistics.median(theirs / own for theirs, own in pairs)

    def _rounds(self, group: str, name: str) -> list[float]:
        runs = self._suite.get_benchmark(f"{group}: {name}").get_runs()
        return [statistics.median(run.values) for run in runs]

    def table(self, group: str, names: Iterable[str], *peers: str) -> str:
        """Return the times of a group, and how many times as fast as each peer the contenders are."""
        rows = []
        for name in names:
            bench = self._suite.get_benchmark(f"{group}: {name}")
            time = " ± ".join(bench.format_values((bench.median(), bench.median_abs_dev())))
            rows.append((name, time, *(f"{self.speedup(group, name, peer):.2f}" for peer in peers)))
        columns = (group, "median ± MAD", *(f"× as fast as {peer}" for peer in peers))
        return table(columns, rows)


def machine() -> str:
    """Return what the figures were measured on, without anything that identifies the machine."""
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    cpu = found[1] if found else platform.machine()
    memory = psutil.virtual_memory().total / 2**30
    return f"{cpu}, {psutil.cpu_count()} cores, {memory:.0f} GiB; Python {platform.python_version()}"


def versions() -> str:
    """Return the versions of the packages that are compared."""
    names = [*PACKAGES, *(f"apache-airflow-providers-{name}" for name in PROVIDERS)]
    return ", ".join(f"{name} {metadata.version(name)}" for name in names)
