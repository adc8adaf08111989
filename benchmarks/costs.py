"""What a deferred training costs Airflow: rows, CPU time and memory, on a real Airflow with PostgreSQL.

``python -m benchmarks.costs`` starts one DAG run for each training, lets all of them wait at the same time
for a while, and lets them end. What Airflow does without any DAG run in as much time is subtracted.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from benchmarks.report import machine, table
from local_stack.airflow import COMPONENTS, LocalAirflow
from local_stack.postgres import LocalPostgres
from local_stack.qianfan import LocalQianfan
from local_stack.waiting import wait_for

DAG_ID = "one_training"
HOUR = 3600.0
KINDS = ("inserted", "updated", "deleted")
_ROWS = text("SELECT relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables")
_COMMITS = text("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")


@dataclass
class Costs:
    """What has been spent until now, or in a phase.

    :param rows: rows by table and kind of change.
    :param cpu: seconds by component.
    """

    seconds: float
    commits: float
    rows: Counter[tuple[str, str]] = field(default_factory=Counter)
    cpu: Counter[str] = field(default_factory=Counter)

    def __sub__(self, other: Costs) -> Costs:
        return self.plus(other, -1)

    def plus(self, other: Costs, times: float = 1) -> Costs:
        """Return the sum of this and some times the other."""
        rows: Counter[tuple[str, str]] = Counter()
        cpu: Counter[str] = Counter()
        for total, mine, its in ((rows, self.rows, other.rows), (cpu, self.cpu, other.cpu)):
            for key in {*mine, *its}:
                total[key] = mine[key] + times * its[key]  # type: ignore[assignment]
        return Costs(self.seconds + times * other.seconds, self.commits + times * other.commits, rows, cpu)

    def beyond(self, idle: Costs) -> Costs:
        """Return what this costs more than doing nothing for as long."""
        return self.plus(idle, -self.seconds / idle.seconds)


class Measurement:
    """One Airflow, whose trainings take an hour or until their clock is put forward."""

    def __init__(self, running: ExitStack, folder: Path) -> None:
        self.postgres = running.enter_context(LocalPostgres())
        self.qianfan = running.enter_context(LocalQianfan(folder / "emulator", task_seconds=HOUR))
        env = {
            **self.postgres.settings,
            **self.qianfan.connection_variable(),
            "AIRFLOW__QIANFAN__POLL_INTERVAL": "10",
            "AIRFLOW__QIANFAN__MAX_POLL_INTERVAL": "10",
            # The defaults, which `LocalAirflow` shortens.
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
            "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "5",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "5",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "5",
            # So that a busy machine causes no further tries.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "300",
        }
        dags = Path(__file__).with_name("dags")
        self.airflow = running.enter_context(LocalAirflow(folder / "airflow", dags_folder=dags, env=env))
        self.airflow.wait_ready(DAG_ID)
        self.airflow.api.unpause(DAG_ID)
        url = self.postgres.settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
        self._engine = create_engine(url, poolclass=NullPool)

    def costs(self) -> Costs:
        """What has been spent until now."""
        time.sleep(2)  # PostgreSQL's processes report with a delay of a second
        with self._engine.connect() as connection:
            rows = Counter(
                {
                    (name, kind): count
                    for name, *counts in connection.execute(_ROWS)
                    for kind, count in zip(KINDS, counts, strict=True)
                }
            )
            commits = connection.execute(_COMMITS).scalar_one()
        cpu = Counter({name: cpu_seconds(self._processes(name)) for name in (*COMPONENTS, "postgresql")})
        return Costs(time.monotonic(), commits, rows, cpu)

    def _processes(self, component: str) -> list[psutil.Process]:
        if component != "postgresql":
            return [psutil.Process(pid) for pid in self.airflow.pids(component)]
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                command = process.cmdline()
                if (
                    command
                    and command[0].endswith("postgres")
                    and str(self.postgres.folder) in " ".join(command)
                ):
                    found.append(process)
        return found

    def memory(self) -> float:
        """MiB of the triggerer that no other process shares."""
        processes = {
            one
            for process in self._processes("triggerer")
            for one in (process, *process.children(recursive=True))
        }
        return sum(process.memory_full_info().uss for process in processes) / 2**20

    def spend(self, what: Callable[[], object]) -> Costs:
        """Return what something costs."""
        before = self.costs()
        what()
        return self.costs() - before

    def start(self, run_ids: Iterable[str]) -> None:
        """Start trainings, and wait until all of them are waited for."""
        run_ids = list(run_ids)
        for run_id in run_ids:
            self.airflow.api.trigger(DAG_ID, run_id=run_id)
        self._wait(len(run_ids), "deferred")

    def finish(self, number: int) -> None:
        """Let all trainings end, and wait for their DAG runs."""
        self.qianfan.pass_time(HOUR)
        self._wait(number, "success")

        def have_ended() -> bool:
            path, params = f"/dags/{DAG_ID}/dagRuns", {"state": "success", "limit": 1}
            return bool(self.airflow.api.call("GET", path, params=params)["total_entries"] == number)

        wait_for(have_ended, what="all DAG runs have ended", timeout=1200, pause=2)

    def _wait(self, number: int, state: str) -> None:
        def count(state: str) -> int:
            path, params = f"/dags/{DAG_ID}/dagRuns/~/taskInstances", {"state": state, "limit": 1}
            return int(self.airflow.api.call("GET", path, params=params)["total_entries"])

        def are_all() -> bool:
            self.airflow.check()
            assert not count("failed"), "a task failed"
            return count(state) == number

        wait_for(are_all, what=f"{number} tasks are {state}", timeout=1200, pause=2)


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """CPU time of processes and their children, those that have ended included."""
    total = 0.0
    seen: set[int] = set()
    for first in processes:
        with contextlib.suppress(psutil.Error):
            for process in (first, *first.children(recursive=True)):
                if process.pid not in seen:
                    seen.add(process.pid)
                    with contextlib.suppress(psutil.Error):
                        total += sum(process.cpu_times()[:4])
    return total


def report(number: int, idle: Costs, work: Costs, waiting: Costs, memory: tuple[float, float]) -> str:
    """Return the tables.

    :param work: of submitting all, and of taking over their results.
    :param memory: of the triggerer, idle and with all that wait.
    """
    each, more = work.beyond(idle), waiting.beyond(idle)
    names = sorted({name for name, _ in each.rows})
    rows = [
        (name, *(f"{each.rows[name, kind] / number:.1f}" for kind in KINDS))
        for name in names
        if sum(each.rows[name, kind] for kind in KINDS) / number >= 0.1
    ]
    total = [sum(each.rows[name, kind] for name in names) / number for kind in KINDS]
    rows.append(("all", *(f"{count:.1f}" for count in total)))
    cpu = [
        (
            name,
            f"{each.cpu[name] / number:.2f}",
            f"{1000 * idle.cpu[name] / idle.seconds:.0f}",
            f"{1000 * more.cpu[name] / waiting.seconds:.0f}",
        )
        for name in sorted(each.cpu)
    ]
    pace = [
        (name, f"{sum(phase.rows.values()) / phase.seconds:.1f}", f"{phase.commits / phase.seconds:.1f}")
        for name, phase in (("idle", idle), (f"{number} wait", waiting))
    ]
    return "\n\n".join(
        [
            f"{number} trainings, one DAG run with one deferred task each. Machine: {machine()}.",
            table(("rows per training", *KINDS), rows),
            f"Commits per training: {each.commits / number:.0f}.",
            table(("database", "rows a second", "commits a second"), pace),
            table(
                ("CPU", "s per training", "idle, ms a second", f"more while {number} wait, ms a second"), cpu
            ),
            f"Triggerer: {memory[0]:.0f} MiB idle, {memory[1]:.0f} MiB with {number} triggers.",
        ]
    )


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.costs", description=__doc__.splitlines()[0])
    parser.add_argument("--trainings", type=int, default=40, help="how many wait at the same time")
    parser.add_argument("--seconds", type=float, default=60, help="length of the phases idle and waiting")
    arguments = parser.parse_args()
    number: int = arguments.trainings
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="costs-")))
        measurement = Measurement(running, folder)

        def rest() -> None:
            time.sleep(arguments.seconds)

        # What is done once, such as loading modules, is none of a training's costs.
        measurement.start(["first"])
        measurement.finish(1)
        idle = measurement.spend(rest)
        alone = measurement.memory()
        begun = measurement.spend(lambda: measurement.start(f"run-{index}" for index in range(number)))
        waiting = measurement.spend(rest)
        memory = alone, measurement.memory()
        ended = measurement.spend(lambda: measurement.finish(number + 1))
        print(report(number, idle, begun.plus(ended), waiting, memory))


if __name__ == "__main__":
    main()
