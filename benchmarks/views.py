"""How fast the views are with 1,000 trainings, on a real Airflow whose triggerer waits for some of them.

Each answer is compared with as many lists of the service, read without Airflow a moment before.
"""

from __future__ import annotations

import contextlib
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from airflow_qianfan.api.actions.finetuning import (
    CreateFineTuningJob,
    CreateFineTuningTask,
    DescribeFineTuningJobs,
)
from airflow_qianfan.api.client import QianfanClient
from airflow_qianfan.plugins.reader import SECONDS
from benchmarks.report import Goal, Section, table
from local_stack.airflow import USER, LocalAirflow
from local_stack.qianfan import CONNECTION_ID, LocalQianfan
from local_stack.waiting import wait_for

DAG_ID, WAITING = "many_waiting", 10
RUN_ID = "of_all_trainings"
"""The DAG run that the descriptions of all trainings name, so that each row has to be led back to it."""
HOUR = 3600.0
DETAILS = 25
"""How many trainings the page asks for at once, when they are scrolled into sight."""
PART = 100
"""How many rows one call lists."""
#: A line of Airflow's log for each request.
_REQUEST = re.compile(r"request finished .*duration_us=(\d+) .*path=(\S+)")
#: What a triggerer whose loop was held up writes.
_BLOCKED = re.compile(r"thread was blocked for [\d.]+ seconds")


def run(trainings: int = 1000, rounds: int = 10) -> Section:
    """Measure.

    :param trainings: how many the account holds, each of a job of its own.
    :param rounds: how often each answer is asked for.
    """
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as running:
        folder = Path(name)
        qianfan = running.enter_context(LocalQianfan(folder / "emulator", task_seconds=HOUR))
        client = running.enter_context(qianfan.client())
        task_ids = [_train(client, number) for number in range(trainings)]
        env = qianfan.connection_variable() | {"AIRFLOW__QIANFAN__POLL_INTERVAL": "1"}
        dags = Path(__file__).with_name("dags")
        airflow = running.enter_context(LocalAirflow(folder / "airflow", dags_folder=dags, env=env))
        airflow.wait_ready(DAG_ID)
        airflow.api.add_connection(CONNECTION_ID, qianfan.connection)
        airflow.api.unpause(DAG_ID)
        airflow.api.trigger(DAG_ID, {"fine_tuning_task_ids": task_ids[:WAITING]}, run_id=RUN_ID)
        wait_for(lambda: _deferred(airflow, RUN_ID) == WAITING, what=f"{WAITING} sensors wait")
        rows, first = _ask(airflow, client, trainings, rounds)
        log = airflow.log_path.read_text(encoding="utf-8", errors="replace")
    slowest = max(int(took) for took, path in _REQUEST.findall(log) if path.startswith("/qianfan/")) / 1e6
    blocked = len(_BLOCKED.findall(log))
    goals = [
        Goal(f"first rows of {trainings:,} trainings below 1 s", f"{first * 1e3:.0f} ms", first < 1),
        Goal(
            "no request of the views above 1 s in the API server's log",
            f"slowest {slowest * 1e3:.0f} ms",
            slowest < 1,
        ),
        Goal("the triggerer never tells that its loop was held up", f"{blocked} times", blocked == 0),
    ]
    columns = (
        f"{trainings:,} trainings",
        "calls",
        "median, ms",
        "longest, ms",
        "× as many calls without Airflow",
    )
    notes = (
        "A list is kept for some seconds, for all viewers; each round waits until it is read again. "
        f"Meanwhile the triggerer polls {WAITING} trainings each second."
    )
    return Section("Views", goals, [table(columns, rows), notes])


def _train(client: QianfanClient, number: int) -> str:
    job = client.call(
        CreateFineTuningJob(
            name=f"training_{number}",
            model="ERNIE-Speed-8K",
            train_mode="SFT",
            description=f"Airflow: {DAG_ID} / {RUN_ID} / wait [airflow:{number:012x}]",
        )
    )
    data = {"sourceType": "Platform", "versions": [{"versionId": "ds-0123456789abcdef"}]}
    request = CreateFineTuningTask(
        job_id=job.job_id, hyper_parameter_config={"epoch": 1}, dataset_config=data
    )
    return client.call(request).task_id


def _deferred(airflow: LocalAirflow, run_id: str) -> int:
    path = f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances"
    return int(airflow.api.call("GET", path, params={"state": "deferred"})["total_entries"])


def _ask(
    airflow: LocalAirflow, client: QianfanClient, trainings: int, rounds: int
) -> tuple[list[list[str]], float]:
    """Ask for each part of the page; return the rows of the table, and how long the first list took."""
    login = {"username": USER, "password": airflow.password}
    with httpx.Client(base_url=airflow.url, timeout=60, trust_env=False) as web:
        token = web.post("/auth/token", json=login).raise_for_status().json()["access_token"]
        web.headers["Authorization"] = f"Bearer {token}"
        base = f"/qianfan/api/connections/{CONNECTION_ID}"

        def get(path: str, **params: object) -> httpx.Response:
            return web.get(f"{base}/{path}", params=params).raise_for_status()  # type: ignore[arg-type]

        def read_all() -> None:
            after: str | None = None
            while True:
                answer = get("trainings", **({"marker": after} if after else {})).json()
                if not (after := answer["next"]):
                    return

        begun = time.perf_counter()
        shown = get("trainings").json()["rows"]
        first = time.perf_counter() - begun
        if not all(row["origin"] for row in shown):
            raise RuntimeError("The DAG run of a training was not found: there is nothing to measure.")
        groups = [row["group"] for row in shown[:DETAILS]]
        task: dict[str, str | int] = {"dag_id": DAG_ID, "run_id": RUN_ID, "task_id": "wait", "map_index": 0}
        asked: dict[str, tuple[Callable[[], object], int]] = {
            "first rows": (lambda: get("trainings"), 1),
            f"states of {DETAILS}": (lambda: get("trainings/details", group=groups), len(groups)),
            "all rows": (read_all, -(-trainings // PART)),
            "tab of a task": (lambda: web.get("/qianfan/api/task", params=task).raise_for_status(), 1),
        }
        rows = []
        for name, (ask, calls) in asked.items():
            took, ratios = [], []
            for _ in range(rounds):
                time.sleep(SECONDS)  # until it is read again
                own = _seconds(lambda: client.call(DescribeFineTuningJobs(max_keys=PART)))
                took.append(_seconds(ask))
                ratios.append(took[-1] / (calls * own))
            figures = [statistics.median(took) * 1e3, max(took) * 1e3]
            ratio = f"{statistics.median(ratios):.1f}"
            rows.append([name, str(calls), *(f"{figure:.0f}" for figure in figures), ratio])
    return rows, first


def _seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
