"""What importing operators, sensors and triggers adds to ``airflow.sdk``: DAG processor and tasks pay it.

Each value comes from a process of its own, which has imported nothing else.
"""

from __future__ import annotations

import compileall
import importlib
import os
import time
from pathlib import Path

import pyperf

import airflow_qianfan
from airflow_qianfan.get_provider_info import get_provider_info
from benchmarks.report import ROUNDS, Goal, Section, Suite

GROUP = "Import, over airflow.sdk"
OURS = {
    f"ours: {kind}": [module for entry in get_provider_info()[kind] for module in entry["python-modules"]]
    for kind in ("operators", "sensors", "triggers")
}
ALL_OPERATORS = "ours: operators"
PEERS = {
    "SageMaker: operators": ["airflow.providers.amazon.aws.operators.sagemaker"],
    "Databricks: operators": ["airflow.providers.databricks.operators.databricks"],
    "dbt Cloud: operators": ["airflow.providers.dbt.cloud.operators.dbt"],
    "OpenAI: operators": ["airflow.providers.openai.operators.openai"],
}
ONLY = "QIANFAN_BENCH_ONLY"
"""The environment variable with the one contender that is measured; without it, all are."""
MODULES = {**OURS, **PEERS}


def seconds(_: int, modules: list[str]) -> float:
    """Return the CPU time of an import, which other programs on the machine disturb less."""
    from airflow.sdk import DAG, BaseHook, BaseOperator, task  # noqa: F401

    start = time.thread_time()
    for module in modules:
        importlib.import_module(module)
    return time.thread_time() - start


def run(rounds: int = ROUNDS) -> Section:
    """Measure."""
    # As pip does with what it installs; the peers are compiled already.
    compileall.compile_dir(str(Path(airflow_qianfan.__file__).parent), quiet=1)
    suite = Suite("benchmarks.import_time", rounds)
    # The goal in milliseconds is that of a processor that nothing slows down: rounds enough to meet it so.
    often = Suite("benchmarks.import_time", 4 * rounds, **{ONLY: ALL_OPERATORS})
    cheapest = min(PEERS, key=lambda name: suite.least_seconds(GROUP, name))
    least = often.least_seconds(GROUP, ALL_OPERATORS) * 1000
    ours, theirs = (suite.least_seconds(GROUP, name) * 1000 for name in (ALL_OPERATORS, cheapest))
    goals = [
        Goal(
            "import of all operators at most 30 ms over airflow.sdk, the least of all rounds",
            f"{least:.1f} ms",
            least <= 30,
        ),
        Goal(
            "no dearer than the cheapest peer", f"{ours:.0f} ms, {cheapest} {theirs:.0f} ms", ours <= theirs
        ),
    ]
    return Section("Import", goals, [suite.table(GROUP, MODULES, cheapest)])


def main() -> None:
    """Let pyperf measure."""
    runner = pyperf.Runner(
        values=1, warmups=0, loops=1, processes=ROUNDS, program_args=("-m", "benchmarks.import_time")
    )
    only = os.environ.get(ONLY)
    for name, modules in MODULES.items():
        if only not in (None, name):
            continue
        runner.bench_time_func(f"{GROUP}: {name}", seconds, modules)


if __name__ == "__main__":
    main()
