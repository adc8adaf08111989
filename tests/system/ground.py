"""Where the crash tests take place: one Airflow, a fast and a slow Qianfan, and what they say happened."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import pytest

from local_stack.airflow import LocalAirflow
from local_stack.airflow_api import FINISHED
from local_stack.guard import is_alive
from local_stack.ledger import read_ledger
from local_stack.qianfan import LocalQianfan
from local_stack.search import Texts
from local_stack.waiting import PATIENCE, wait_for

HOUR = 3600.0
SLOW = "qianfan_slow"
#: The environment variable that names the folder for the folders of all pods; see ``pods.py``.
PODS = "QIANFAN_TEST_PODS"
#: What may go wrong with one row and is told as its failure.
_TROUBLE = (AssertionError, TimeoutError, httpx.HTTPError, psutil.Error)


@dataclass
class Row:
    """One DAG run of the matrix: what happens to it, and what must hold after it."""

    name: str
    mode: str
    dag_id: str
    conf: dict[str, str] = field(default_factory=dict)
    trainings: int = 1
    versions: int = 1
    state: str = "success"
    #: Task whose process dies, if one does.
    dies: str | None = None

    @property
    def run_id(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", f"{self.name}-{self.mode}".lower())

    def __str__(self) -> str:
        return f"{self.name} [{self.mode}]"


@dataclass
class Outcome:
    """What a row came to."""

    row: Row
    state: str
    trainings: list[str]
    versions: list[str]
    statuses: list[str]
    seconds: float
    jobs: list[str] = field(default_factory=list)
    trouble: Exception | None = None

    def check(self) -> None:
        """Fail with what went wrong while the row was run, if anything did."""
        if self.trouble is not None:
            raise AssertionError(f"{self.row} could not be run as planned") from self.trouble


@dataclass(repr=False)
class Ground:
    """One Airflow and its two services.

    :param fast: trainings take seconds; the default connection.
    :param slow: trainings take an hour, or until `pass_time`; the connection ``qianfan_slow``.
    :param folder: for the marks of what has crashed already.
    :param pods: for what pods write.
    :param at_once: how many DAG runs the database bears at the same time.
    :param stores: the folders in which Airflow and its database write.
    :param table: the outcomes, for the report at the end.
    :param trouble: what went wrong, by row.
    :param dump: Airflow's database while a task was deferred.
    """

    airflow: LocalAirflow
    fast: LocalQianfan
    slow: LocalQianfan
    folder: Path
    pods: Path
    at_once: int
    stores: list[Path]
    table: list[Outcome]
    trouble: dict[str, Exception] = field(default_factory=dict)
    dump: Texts = field(default_factory=list)

    @contextlib.contextmanager
    def row(self, row: Row) -> Iterator[None]:
        """Let what goes wrong inside be this row's failure, and not that of all others."""
        try:
            yield
        except _TROUBLE as error:
            self.airflow.check()  # without Airflow it would be the failure of all
            self.trouble.setdefault(str(row), error)

    def start(self, row: Row) -> None:
        """Trigger the DAG run of a row."""
        conf = {**row.conf, "crash_mark": str(self.mark(row))}
        self.airflow.api.trigger(row.dag_id, conf, run_id=row.run_id)

    def run(self, rows: Sequence[Row]) -> None:
        """Run all rows, a few at a time; one that cannot be started is tried once more after the others."""
        self._follow(deque(rows), [])

    def wait_for_runs(self, rows: Sequence[Row]) -> None:
        """Wait until the runs of all rows have finished."""
        self._follow(deque(), list(rows))

    def _follow(self, waiting: deque[Row], active: list[Row]) -> None:
        """Start what waits and follow what is active, as long as anything makes progress."""
        starts: Counter[str] = Counter()
        seen: object = None
        since = time.monotonic()
        while waiting or active:
            self.airflow.check()
            while waiting and len(active) < self.at_once:
                row = waiting.popleft()
                starts[str(row)] += 1
                try:
                    self.start(row)
                except httpx.HTTPError as error:
                    if starts[str(row)] == 1:
                        waiting.append(row)
                    else:
                        self.trouble.setdefault(str(row), error)
                else:
                    active.append(row)
            with contextlib.suppress(httpx.HTTPError):
                active = self._unfinished(active)
                if (now := self._progress(active)) != seen:
                    seen, since = now, time.monotonic()
            if time.monotonic() - since > PATIENCE:
                for row in active:
                    error = TimeoutError(f"Nothing made progress for {PATIENCE:g} s, when it was: {seen}")
                    self.trouble.setdefault(str(row), error)
                active, since = [], time.monotonic()
            time.sleep(2)

    def mark(self, row: Row) -> Path:
        """The file that says that the crash of a row has happened."""
        return self.folder / f"{row.dag_id}-{row.run_id}"

    def runs(self) -> dict[tuple[str, str], dict[str, Any]]:
        """All DAG runs by DAG and run id."""
        found = self._all("/dags/~/dagRuns", "dag_runs")
        return {(run["dag_id"], run["dag_run_id"]): run for run in found}

    def _all(self, path: str, member: str) -> list[dict[str, Any]]:
        """All pages of a list of Airflow's API."""
        found: list[dict[str, Any]] = []
        while True:
            params = {"limit": 100, "offset": len(found), "order_by": "id"}
            answer = self.airflow.api.call("GET", path, params=params)
            found += answer[member]
            if len(found) >= answer["total_entries"] or not answer[member]:
                return found

    def _unfinished(self, rows: Sequence[Row]) -> list[Row]:
        runs = self.runs()
        states = {key: run["state"] for key, run in runs.items()}
        return [row for row in rows if states.get((row.dag_id, row.run_id), "failed") not in FINISHED]

    def _progress(self, rows: Sequence[Row]) -> object:
        """State and try of every task of these rows, and how many requests have changed something."""
        wanted = {(row.dag_id, row.run_id) for row in rows}
        states = {
            f"{task['dag_id']} / {task['dag_run_id']} / {task['task_id']}[{task['map_index']}]": (
                task["state"],
                task["try_number"],
            )
            for task in self._all("/dags/~/dagRuns/~/taskInstances", "task_instances")
            if (task["dag_id"], task["dag_run_id"]) in wanted
        }
        changes = [sum(bool(entry["effect"]) for entry in one.journal()) for one in (self.fast, self.slow)]
        return states, changes

    def task(self, row: Row, task_id: str = "train") -> dict[str, Any]:
        """A task instance as Airflow's API shows it."""
        return self.airflow.api.tasks(row.dag_id, row.run_id).get(task_id, {})

    def log(self, row: Row, task_id: str = "train") -> str:
        """The log of all tries of a task."""
        tries = range(1, self.task(row, task_id)["try_number"] + 1)
        api = self.airflow.api
        entries = [entry for number in tries for entry in api.log(row.dag_id, row.run_id, task_id, number)]
        return "\n".join(str(entry.get("event")) for entry in entries)

    def count(self, kind: str, row: Row) -> int:
        """How many ``jobs``, ``trainings`` or ``versions`` a row has at the slow service."""
        return len(read_ledger(self.slow).of(kind, row.dag_id, row.run_id))

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait for something."""
        wait_for(holds, what=what)

    def wait_until_it_trains(self, row: Row, number: int = 1) -> None:
        """Wait until a row has begun so many trainings."""
        wait_for(lambda: self.count("trainings", row) >= number, what=f"{row} trains")

    def pass_time(self, seconds: float = HOUR) -> None:
        """Let what the slow service has begun be done."""
        self.slow.pass_time(seconds)

    def hold_answers(self, action: str, seconds: float) -> None:
        """Let the slow service carry out the next such action, and answer late."""
        order = {"action": action, "kind": "timeout", "seconds": seconds}
        self.slow.administer("POST", "faults", order)

    def send(self, row: Row, number: signal.Signals, *, to: str, task_id: str = "train") -> None:
        """Send a signal to the process of a task, or to its supervisor."""
        ti_id = self.task(row, task_id)["id"]
        prefix = "airflow worker -- " if to == "task" else "airflow worker -- LocalExecutor: "
        found = self.airflow.processes_named(f"{prefix}{ti_id}")
        assert len(found) == 1, (prefix, ti_id, found)
        found[0].send_signal(number)

    def pod(self, row: Row, task_id: str = "train") -> psutil.Process:
        """The first process of the pod in which a task runs."""
        ti_id = self.task(row, task_id)["id"]
        (found,) = self.airflow.processes_named(f"airflow supervisor: {ti_id}")
        return found

    def replace_triggerer(self, number: signal.Signals) -> None:
        """End the triggerer and the process that runs its triggers, and start another."""
        old = [psutil.Process(pid) for pid in self.airflow.pids("triggerer")]
        assert old
        old += [child for process in old for child in process.children(recursive=True)]
        if number is not signal.SIGKILL:
            old = old[:1]
        for process in old:
            process.send_signal(number)
        wait_for(
            lambda: not any(is_alive(process) for process in old),
            what=f"the triggerer has ended after {number.name}",
        )
        before = len(self.slow.journal())
        self.airflow.start_component("triggerer")
        self.wait_until(
            lambda: any("Describe" in entry["action"] for entry in self.slow.journal()[before:]),
            "a new triggerer looks again",
        )

    def replace_scheduler(self) -> None:
        """Kill the scheduler, and start another that takes over what it left."""
        assert self.airflow.kill("scheduler")
        self.airflow.start_component("scheduler")

    def judge(self, rows: Sequence[Row]) -> dict[str, Outcome]:
        """Say what the runs of all rows came to."""
        runs = self.runs()
        ledgers = {SLOW: read_ledger(self.slow), None: read_ledger(self.fast)}
        outcomes = {}
        for row in rows:
            run = runs.get((row.dag_id, row.run_id), {})
            ledger = ledgers[SLOW if row.conf.get("conn_id") == SLOW else None]
            trainings = ledger.of("trainings", row.dag_id, row.run_id)
            outcomes[str(row)] = Outcome(
                row=row,
                state=run.get("state", "not started"),
                trainings=trainings,
                versions=ledger.of("versions", row.dag_id, row.run_id),
                statuses=[ledger.status[one] for one in trainings],
                seconds=run.get("duration") or 0.0,
                jobs=ledger.of("jobs", row.dag_id, row.run_id),
                trouble=self.trouble.get(str(row)),
            )
        self.table += outcomes.values()
        return outcomes


_Row = TypeVar("_Row")


def selected(rows: Sequence[_Row], request: pytest.FixtureRequest) -> list[_Row]:
    """The rows whose tests are selected, or all."""
    params = [getattr(item, "callspec", None) for item in request.session.items]
    chosen = {str(value) for one in params if one is not None for value in one.params.values()}
    return [row for row in rows if str(row) in chosen] or list(rows)


def settings(fast: LocalQianfan, slow: LocalQianfan, pods: Path) -> dict[str, str]:
    """Airflow's configuration for these tests: much at once, and what is lost is missed soon."""
    return {
        **fast.settings,
        **fast.connection_variable(),
        **slow.connection_variable(SLOW),
        "AIRFLOW__QIANFAN__POLL_INTERVAL": "1",
        "AIRFLOW__QIANFAN__SETTLE_SECONDS": "3",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor,pods.PodExecutor",
        PODS: str(pods),
        "AIRFLOW__CORE__PARALLELISM": "14",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
        # Nobody changes a DAG meanwhile.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
        "PYTHONPATH": os.path.dirname(__file__),
    }
