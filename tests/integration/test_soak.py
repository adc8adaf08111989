"""Much at once while everything goes wrong: no training is lost, doubled or misreported, and nothing else.

Two deployments of Airflow with the same DAGs and run ids share one account.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import logging
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from pprint import pformat
from typing import Any

import pytest
import structlog
from attempts import TaskRun
from soak_works import WORKS, Account, Work, judge
from tenacity import wait_random_exponential

from airflow_qianfan.api import retry
from airflow_qianfan.api.actions.finetuning import (
    DescribeFineTuningJobs,
    DescribeFineTuningTasks,
    FineTuningJob,
)
from airflow_qianfan.api.actions.model import DescribeCustomModelSets, DescribeModel, Model
from airflow_qianfan.api.objects import RemoteObject
from airflow_qianfan.exceptions import QianfanTerminalStateError
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.operators.finetuning import QianfanFineTuningOperator
from airflow_qianfan.operators.model import (
    QianfanCreateCustomModelOperator,
    QianfanCreateCustomModelSetOperator,
)
from airflow_qianfan.triggers.base import poller, polling
from local_stack.qianfan import LocalQianfan

pytestmark = pytest.mark.slow

DEPLOYMENTS = ("staging", "production")
RUNS = int(os.environ.get("QIANFAN_SOAK", "400")) // len(DEPLOYMENTS)
#: So few at once that a busy machine, too, answers in time, and only the faults below happen.
AT_ONCE = 120
WORKERS = 40
RETRIES = 8
RETRY_DELAY = 2.0
TASK_SECONDS = 5.0
STALE_SECONDS = 0.8
#: How long Airflow takes at least to start the next task of a run: three look-ups for what the one before it
#: has created then last longer than reads are stale.
START_SECONDS = STALE_SECONDS / 2
SETTLE_SECONDS = 4.0
CLIENT_TIMEOUT = 3.0
#: Only against hanging: it takes a minute or two.
PATIENCE = 540.0

DATASET = {"sourceType": "Platform", "versions": [{"versionId": "ds-0123456789abcdef"}]}

#: Share of all calls that each fault hits.
FAULTS: list[tuple[float, dict[str, Any]]] = [
    (0.05, {"kind": "server_error"}),
    (0.05, {"kind": "server_error", "status": 502, "effect": True}),
    (0.05, {"kind": "timeout", "seconds": 2 * CLIENT_TIMEOUT}),
    (0.025, {"kind": "reset"}),
    (0.025, {"kind": "lost_answer"}),
    (0.01, {"kind": "malformed"}),
    (0.01, {"kind": "malformed", "effect": True}),
    (0.01, {"kind": "numeric"}),
    (0.01, {"kind": "numeric", "effect": True}),
    (0.03, {"kind": "unknown_status"}),
    (0.10, {"kind": "stale", "seconds": STALE_SECONDS}),
]
#: After each burst, one answer to each of these is lost for certain.
CREATES = {
    "CreateFineTuningJob",
    "CreateFineTuningTask",
    "CreateCustomModelSet",
    "CreateCustomModel",
    "CreateDataset",
    "CreateDatasetVersion",
    "CreateImportTask",
    "CreateBatchInferenceTask",
    "CreateEvalTask",
    "CreateService",
}
#: The same for what changes something that exists.
CHANGES = {"ModifyService", "PublishDatasetVersion"}
BURST_EVERY = 4.0
BURST_SECONDS = 0.4


def order_faults(qianfan: LocalQianfan) -> None:
    orders: list[dict[str, Any]] = [
        {"action": action, "kind": "lost_answer"} for action in sorted(CREATES | CHANGES)
    ]
    left = 1.0
    for share, fault in FAULTS:
        # The first that hits is taken, so each sees only what those before it have left.
        orders.append({**fault, "count": None, "probability": share / left})
        left -= share
    qianfan.administer("POST", "faults", orders)


def clear_faults(qianfan: LocalQianfan) -> None:
    qianfan.administer("DELETE", "faults")


def throttle(qianfan: LocalQianfan, seconds: float) -> None:
    """Refuse, for a while, all calls that no other fault hits."""
    qianfan.administer("POST", "faults", {"kind": "throttle", "count": None})
    time.sleep(seconds)
    clear_faults(qianfan)
    order_faults(qianfan)


@pytest.fixture
def qianfan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalQianfan]:
    """An emulator in a process of its own, to which the default connection leads."""
    with LocalQianfan(tmp_path, task_seconds=TASK_SECONDS, model_seconds=1) as qianfan:
        connection = qianfan.connection | {"extra": {"timeout": CLIENT_TIMEOUT}}
        monkeypatch.setenv("AIRFLOW_CONN_QIANFAN_DEFAULT", json.dumps(connection))
        yield qianfan


@pytest.fixture
def scaled_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All waits of the package, in a tenth of the time, and none of its log."""
    monkeypatch.setenv("AIRFLOW__QIANFAN__SETTLE_SECONDS", str(SETTLE_SECONDS))
    monkeypatch.setenv("AIRFLOW__QIANFAN__MAX_POLL_INTERVAL", "2")
    monkeypatch.setattr(retry, "_BACKOFF", wait_random_exponential(multiplier=0.1, max=1.0))
    monkeypatch.setattr(polling, "MAX_BACKOFF", 4.0)
    monkeypatch.setattr(poller, "FIRST_SLOWDOWN", 0.1)
    monkeypatch.setattr(poller, "LONGEST_SLOWDOWN", 6.0)
    before = structlog.get_config()["wrapper_class"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
    structlog.configure(wrapper_class=before)


@dataclass
class Logical:
    """One run of a DAG that trains, and what it has to end as."""

    number: int
    deployment: str

    @property
    def is_to_fail(self) -> bool:
        return self.number % 19 == 0

    @property
    def is_deferrable(self) -> bool:
        return self.number % 20 != 7

    @property
    def is_published(self) -> bool:
        return self.number % 5 == 1

    @property
    def given_name(self) -> str | None:
        if self.number % 4:
            return None
        return f"{'fail' if self.is_to_fail else '训练'} {self.number} {self.deployment}"

    def training(self) -> TaskRun:
        def make() -> QianfanFineTuningOperator:
            return QianfanFineTuningOperator(
                task_id="train",
                name=self.given_name,
                model="ERNIE-Speed-8K",
                train_mode="SFT",
                hyper_parameter_config={"epoch": 1},
                dataset_config=DATASET,
                deferrable=self.is_deferrable,
                poll_interval=1.0,
            )

        return self._run("train", make)

    def model_set(self) -> TaskRun:
        def make() -> QianfanCreateCustomModelSetOperator:
            # Some have a model set of their own; the others share one, across deployments.
            shared = self.number % 2
            name = f"shared-{self.number // 100}" if shared else None
            return QianfanCreateCustomModelSetOperator(
                task_id="set", model_set_name=name, if_exists="use" if shared else "fail"
            )

        return self._run("set", make)

    def publication(self, model_set_id: str, fine_tuning_task_id: str) -> TaskRun:
        def make() -> QianfanCreateCustomModelOperator:
            return QianfanCreateCustomModelOperator(
                task_id="publish",
                model_set_id=model_set_id,
                fine_tuning_task_id=fine_tuning_task_id,
                wait_for_completion=True,
                deferrable=self.is_deferrable,
                poll_interval=1.0,
            )

        return self._run("publish", make)

    def _run(self, task_id: str, make: Any) -> TaskRun:
        return start(self.number, task_id, make, "failing" if self.is_to_fail else "nightly")


def start(number: int, task_id: str, make: Any, dag_id: str = "nightly") -> TaskRun:
    return TaskRun(make, dag_id, f"run-{number}", task_id, retries=RETRIES, retry_delay=RETRY_DELAY)


@dataclass
class Outcome:
    logical: Logical
    training: TaskRun
    model_set: TaskRun | None = None
    publication: TaskRun | None = None

    @property
    def task_runs(self) -> list[TaskRun]:
        return [run for run in (self.training, self.model_set, self.publication) if run is not None]


def identity_in(run: TaskRun, kind: type[RemoteObject]) -> str:
    """The identity of what a task run has created, as Airflow remembers it."""
    assert run.store is not None
    return str(run.store.get(kind.record_key, {}).get("identity"))


def identity_of(description: str | None) -> str:
    """The identity of what an object was created as, as its description says."""
    (identity,) = re.findall(r"\[airflow:(\w+)\]", description or "")
    return str(identity)


async def work(logical: Logical, workers: ThreadPoolExecutor) -> Outcome:
    outcome = Outcome(logical, logical.training())
    await outcome.training.run(workers)
    if logical.is_published and outcome.training.error is None:
        outcome.model_set = logical.model_set()
        await outcome.model_set.run(workers)
        if outcome.model_set.error is None:
            await asyncio.sleep(START_SECONDS)
            outcome.publication = logical.publication(
                outcome.model_set.value["model_set_id"], outcome.training.value["fine_tuning_task_id"]
            )
            await outcome.publication.run(workers)
    return outcome


async def soak(qianfan: LocalQianfan, works: list[Work]) -> list[Outcome]:
    async def throttle_now_and_then() -> None:
        while True:
            await asyncio.sleep(BURST_EVERY)
            await asyncio.to_thread(throttle, qianfan, BURST_SECONDS)

    room = asyncio.Semaphore(AT_ONCE)

    async def one(logical: Logical) -> Outcome:
        async with room:
            return await work(logical, workers)

    async def other(work: Work) -> None:
        async with room:
            await work.run(workers)

    workers = ThreadPoolExecutor(WORKERS)
    bursts = asyncio.create_task(throttle_now_and_then())
    runs = [
        Logical(number, deployment)
        for number in range(RUNS)
        for deployment in DEPLOYMENTS
        if number % 20 not in WORKS
    ]
    others = [asyncio.create_task(other(work)) for work in works]
    trainings = [asyncio.create_task(one(logical)) for logical in runs]
    _, unfinished = await asyncio.wait([*others, *trainings], timeout=PATIENCE)
    bursts.cancel()
    workers.shutdown(wait=not unfinished, cancel_futures=True)
    if unfinished:
        faulthandler.dump_traceback()
    assert not unfinished, f"after {PATIENCE:.0f} s: {pformat([task.get_name() for task in unfinished])}"
    with suppress(asyncio.CancelledError):
        await bursts
    for done in others:
        done.result()
    return [training.result() for training in trainings]


def test_no_training_is_lost_doubled_or_misreported(qianfan, scaled_time, capsys):
    account = Account.prepare()
    known = len(qianfan.journal())
    works = [
        WORKS[number % 20](number, deployment, account, start)
        for number in range(RUNS)
        for deployment in DEPLOYMENTS
        if number % 20 in WORKS
    ]
    order_faults(qianfan)
    started = time.monotonic()
    outcomes = asyncio.run(soak(qianfan, works))
    seconds = time.monotonic() - started
    clear_faults(qianfan)

    journal = qianfan.journal()[known:]
    hook = QianfanHook()
    jobs = list(hook.iterate(DescribeFineTuningJobs(max_keys=100)))
    # By the creation of their job, whose identity is in its description and in the store of one task run.
    trainings: dict[str, list[Any]] = {}
    for job in jobs:
        rows = hook.iterate(DescribeFineTuningTasks(job_id=job.job_id, max_keys=100))
        trainings.setdefault(identity_of(job.description), []).extend(rows)
    sets = {row.model_set_id: row for row in hook.iterate(DescribeCustomModelSets(max_keys=100))}
    del sets[account.model_set_id]
    versions = [hook.call(DescribeModel(model_id=key)) for row in sets.values() for key in row.model_ids]
    marked: dict[str, list[Any]] = {}
    for version in versions:
        marked.setdefault(identity_of(version.description), []).append(version)

    wrong: dict[str, list[Any]] = {
        "lost": [],
        "doubled": [],
        "reported failed": [],
        "reported done": [],
        "lost versions": [],
        "doubled versions": [],
    }
    for outcome in outcomes:
        logical, training = outcome.logical, outcome.training
        found = trainings.pop(identity_in(training, FineTuningJob), [])
        done = [task.task_id for task in found if task.run_status == "Done"]
        if not found:
            wrong["lost"].append(logical)
        if len(found) > 1:
            wrong["doubled"].append(logical)
        is_true_failure = isinstance(training.error, QianfanTerminalStateError) and not done
        if training.error is not None and not (logical.is_to_fail and is_true_failure):
            wrong["reported failed"].append((logical, training.error))
        if training.error is None and (
            logical.is_to_fail or training.value["fine_tuning_task_id"] not in done
        ):
            wrong["reported done"].append((logical, training.value))
        wrong["reported failed"] += [(logical, run.error) for run in outcome.task_runs[1:] if run.error]
        if logical.is_published and not logical.is_to_fail:
            publication = outcome.publication
            published: list[Any] = []
            if publication is not None:
                published = marked.pop(identity_in(publication, Model), [])
            if len(published) > 1:
                wrong["doubled versions"].append(logical)
            ready = [row.model_id for row in published if row.status_text == "Ready"]
            if publication is None or ready != [(publication.value or {}).get("model_id")]:
                wrong["lost versions"].append(logical)
    wrong["nobody's"] = [*trainings.values(), *marked.values()]
    wrong |= judge(works, journal, account)

    effective = Counter(entry["action"] for entry in journal if entry["effect"])
    kinds = Counter(entry["fault"] for entry in journal if entry["fault"])
    lost = Counter(
        entry["action"]
        for entry in journal
        if entry["effect"] and entry["fault"] and entry["action"] in CREATES | CHANGES
    )
    task_runs = [run for chain in (*outcomes, *works) for run in chain.task_runs]
    retried = Counter(type(error).__name__ for run in task_runs for error in run.retried_after)
    tries = max(run.try_number for run in task_runs)
    with capsys.disabled():
        shown = ", ".join(f"{len(found)} {what}" for what, found in wrong.items())
        print(  # noqa: T201 - the figures
            f"\nsoak: {len(outcomes)} trainings of {len(DEPLOYMENTS)} deployments, "
            f"{len(versions)} versions, {dict(Counter(type(one).__name__ for one in works))} "
            f"in {seconds:.0f} s: {shown}; "
            f"{len(journal)} calls, {sum(kinds.values())} faults {dict(kinds)}, "
            f"{sum(lost.values())} answers lost {dict(lost)}, "
            f"attempts repeated after {dict(retried)}, at most {tries} of a task"
        )
    assert not any(wrong.values()), pformat({what: found for what, found in wrong.items() if found})
    assert len(jobs) == len(outcomes)
    assert effective["CreateFineTuningJob"] == effective["CreateFineTuningTask"] == len(outcomes)
    assert effective["CreateCustomModel"] == len(versions) > 0
    assert effective["CreateCustomModelSet"] == len(sets)
    assert kinds.keys() == {fault["kind"] for _, fault in FAULTS} | {"throttle"}
    assert lost.keys() == CREATES | CHANGES
