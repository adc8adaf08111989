"""Who ends an Airflow task stops its training, and nobody else does."""

from __future__ import annotations

import contextlib
import functools
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from ground import SLOW, Ground, Outcome, Row, selected

from local_stack.ledger import read_ledger

pytestmark = pytest.mark.slow

BY_US = "Stopped fine-tuning task"
TRIGGER = "a user ended the Airflow task that waited for it"
WORKER = "a user ended this task"
CREATE = "CreateFineTuningTask"
ACTIVE = ("Waiting", "Running")


@dataclass
class Case:
    """One way to end a task.

    :param act: ends it.
    :param statuses: of its trainings, in the order of their creation, after an hour.
    :param state: of the Airflow task.
    :param says: what its log says of the reason, where the training was stopped.
    """

    name: str
    mode: str
    act: Callable[[Ground, Row], object]
    statuses: tuple[str, ...]
    state: str
    says: str | None = None
    dag: str = "train"
    conf: dict[str, str] = field(default_factory=dict)

    @property
    def row(self) -> Row:
        conf = {"conn_id": SLOW, **self.conf}
        dag_id = f"{self.dag}_{self.mode}"
        # A task that was marked as successful makes a successful run.
        return Row(self.name, self.mode, dag_id, conf, len(self.statuses), 0, self.state)

    def __str__(self) -> str:
        return str(self.row)


def mark(state: str) -> Callable[[Ground, Row], object]:
    def act(ground: Ground, row: Row) -> None:
        ground.airflow.api.set_task_state(row.dag_id, row.run_id, "train", state)

    return act


def mark_run_failed(ground: Ground, row: Row) -> None:
    path = f"/dags/{row.dag_id}/dagRuns/{row.run_id}"
    ground.airflow.api.call("PATCH", path, json={"state": "failed"})


def clear(ground: Ground, row: Row) -> None:
    ground.airflow.api.clear_tasks(row.dag_id, row.run_id, ["train"])


def signal_supervisor(number: signal.Signals) -> Callable[[Ground, Row], object]:
    return lambda ground, row: ground.send(row, number, to="supervisor")


def nothing(ground: Ground, row: Row) -> None:
    pass


def in_both_modes(
    name: str,
    act: Callable[[Ground, Row], object],
    statuses: tuple[str, ...],
    state: str,
    *,
    says: dict[str, str] | None = None,
    dag: str = "train",
) -> list[Case]:
    return [
        Case(name, mode, act, statuses, state, (says or {}).get(mode), dag) for mode in ("sync", "deferrable")
    ]


REASONS = {"sync": WORKER, "deferrable": TRIGGER}
TIME_OUT = dict.fromkeys(REASONS, "execution_timeout is over")

#: The task is told to end after the last moment at which it can refrain from its Create.
BEFORE_CREATE = [
    Case(
        "marked failed right before the Create",
        "sync",
        mark("failed"),
        ("Stopped",),
        "failed",
        WORKER,
        conf={"crash_at": "train/sending CreateFineTuningTask", "crash_how": "hold"},
    )
]
#: The service has carried out the Create, and its answer is still on the way.
DURING_CREATE = [
    Case("marked failed during the Create", "sync", mark("failed"), ("Stopped",), "failed", WORKER),
    Case("cleared during the Create", "sync", clear, ("Done",), "success"),
]
CASES = [
    *in_both_modes("marked failed", mark("failed"), ("Stopped",), "failed", says=REASONS),
    *in_both_modes("marked successful", mark("success"), ("Stopped",), "success", says=REASONS),
    *in_both_modes("DAG run marked failed", mark_run_failed, ("Stopped",), "failed", says=REASONS),
    *in_both_modes("cleared", clear, ("Done",), "success"),
    *in_both_modes(
        "cleared, on_clear=restart",
        clear,
        ("Stopped", "Done"),
        "success",
        says={"sync": WORKER},
        dag="restarted",
    ),
    *in_both_modes("execution_timeout", nothing, ("Stopped",), "failed", says=TIME_OUT, dag="limited"),
    *in_both_modes("marked failed, cancel_on_kill=False", mark("failed"), ("Done",), "failed", dag="kept"),
    Case("worker told to stop", "sync", signal_supervisor(signal.SIGTERM), ("Done",), "success"),
    Case("Ctrl-C on the worker", "sync", signal_supervisor(signal.SIGINT), ("Done",), "success"),
]
ALL = [*BEFORE_CREATE, *DURING_CREATE, *CASES]
#: The cases for each supported version of Airflow. How a trigger learns who has ended it differs most.
SHORT = {
    "marked failed [sync]",
    "marked failed [deferrable]",
    "marked successful [deferrable]",
    "DAG run marked failed [deferrable]",
    "execution_timeout [deferrable]",
    "marked failed, cancel_on_kill=False [deferrable]",
    "worker told to stop [sync]",
}


def with_short(cases: list[Case]) -> list[Any]:
    return [pytest.param(case, marks=[pytest.mark.short] if str(case) in SHORT else []) for case in cases]


@pytest.fixture(scope="module")
def outcomes(ground: Ground, request: pytest.FixtureRequest) -> dict[str, Outcome]:
    """End the tasks whose tests are selected, or all, each in its way, and let an hour pass."""
    chosen = selected(ALL, request)
    before = [case for case in BEFORE_CREATE if case in chosen]
    during = [case for case in DURING_CREATE if case in chosen]
    others = [case for case in CASES if case in chosen]
    for case in before:
        with ground.row(case.row):
            ground.start(case.row)
            ground.wait_until(ground.mark(case.row).exists, f"{case} is about to send")
            case.act(ground, case.row)
            ground.wait_until_it_trains(case.row)
    for case in during:
        with ground.row(case.row):
            ground.hold_answers(CREATE, 20)
            ground.start(case.row)
            ground.wait_until_it_trains(case.row)
            case.act(ground, case.row)
    finish(ground, [*before, *during])
    for first in range(0, len(others), ground.at_once):
        cases = others[first : first + ground.at_once]
        for case in cases:
            with ground.row(case.row):
                ground.start(case.row)
        for case in cases:
            with ground.row(case.row):
                wait_until_it_waits(ground, case)
        for case in cases:
            with ground.row(case.row):
                case.act(ground, case.row)
        finish(ground, cases)
    return ground.judge([case.row for case in chosen])


def wait_until_it_waits(ground: Ground, case: Case) -> None:
    row = case.row
    if case.dag != "limited":
        waiting = "running" if case.mode == "sync" else "deferred"
        task = ground.airflow.api.wait_for_task(row.dag_id, row.run_id, "train", waiting)
        assert task["try_number"] == 1
    ground.wait_until_it_trains(row)


def finish(ground: Ground, cases: list[Case]) -> None:
    """Wait until what these cases do has its effect, and let the rest be done."""
    with contextlib.suppress(TimeoutError):  # each is judged by its own test
        ground.wait_until(functools.partial(are_settled, ground, cases), "trainings are stopped")
    ground.pass_time()
    ground.wait_for_runs([case.row for case in cases])


def are_settled(ground: Ground, cases: list[Case]) -> bool:
    ledger = read_ledger(ground.slow)
    for case in cases:
        trainings = ledger.of("trainings", case.row.dag_id, case.row.run_id)
        statuses = [ledger.status[one] for one in trainings]
        stopped = statuses.count("Stopped") == case.statuses.count("Stopped")
        if not (stopped and len(statuses) == len(case.statuses)) and str(case) not in ground.trouble:
            return False
    return True


@pytest.mark.parametrize("case", with_short(ALL), ids=str)
def test_the_training_is_stopped_where_somebody_ends_its_task(
    case: Case, outcomes: dict[str, Outcome], ground: Ground
) -> None:
    outcome = outcomes[str(case)]
    outcome.check()
    assert tuple(outcome.statuses) == case.statuses
    assert ground.task(case.row)["state"] == outcome.state == case.state


@pytest.mark.parametrize("case", with_short([case for case in ALL if case.says]), ids=str)
def test_the_log_says_who_stopped_it(case: Case, outcomes: dict[str, Outcome], ground: Ground) -> None:
    training = outcomes[str(case)].trainings[0]
    assert f"{BY_US} {training}, since {case.says}" in ground.log(case.row)


@pytest.mark.parametrize("case", with_short([case for case in ALL if not case.says]), ids=str)
def test_nobody_is_said_to_have_stopped_what_goes_on(
    case: Case, outcomes: dict[str, Outcome], ground: Ground
) -> None:
    assert BY_US not in ground.log(case.row)


def test_each_training_was_stopped_for_one_of_these_tasks(
    outcomes: dict[str, Outcome], ground: Ground
) -> None:
    ledger = read_ledger(ground.slow)
    stopped = {training for training, status in ledger.status.items() if status == "Stopped"}
    ours = {one for outcome in outcomes.values() for one in outcome.trainings}
    assert stopped
    assert stopped <= ours


def test_the_short_cases_exist() -> None:
    assert {str(case) for case in ALL} >= SHORT
