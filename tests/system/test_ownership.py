"""A training is stopped by its owner's user only, and belongs to one attempt, whatever is paused."""

from __future__ import annotations

import contextlib
import signal

import psutil
import pytest
from ground import SLOW, Ground, Outcome, Row

from local_stack.ledger import read_ledger
from local_stack.waiting import wait_for

pytestmark = pytest.mark.slow

HANDED_OVER = [
    Row(f"handed over {number}", "deferrable", "train_deferrable", {"conn_id": SLOW}, versions=0)
    for number in range(6)
]
MARKED = [
    Row(
        f"marked failed at once {number}", "deferrable", "train_deferrable", {"conn_id": SLOW}, state="failed"
    )
    for number in range(40)
]
CLEARED = [
    Row(f"cleared at once {number}", "deferrable", "train_deferrable", {"conn_id": SLOW}, versions=0)
    for number in range(20)
]
FROZEN = [
    Row(
        f"frozen before {action}",
        "sync",
        "chain_sync",
        {"crash_at": f"{task}/sending {action}", "crash_how": "freeze"},
    )
    for task, action in (
        ("train", "CreateFineTuningJob"),
        ("train", "CreateFineTuningTask"),
        ("make_set", "CreateCustomModelSet"),
        ("publish", "CreateCustomModel"),
    )
]


def start_all(ground: Ground, rows: list[Row]) -> None:
    for row in rows:
        with ground.row(row):
            ground.start(row)
    for row in rows:
        with ground.row(row):
            ground.airflow.api.wait_for_task(row.dag_id, row.run_id, "train", "deferred")


def trainings(ground: Ground, rows: list[Row]) -> list[list[str]]:
    """The states of the trainings of each row."""
    ledger = read_ledger(ground.slow)
    return [[ledger.status[one] for one in ledger.of("trainings", row.dag_id, row.run_id)] for row in rows]


def stops(ground: Ground) -> int:
    """How many trainings somebody has asked the slow service to stop."""
    return sum(entry["action"] == "StopFineTuningTask" for entry in ground.slow.journal())


def triggerers(ground: Ground, rows: list[Row]) -> set[int | None]:
    """Which triggerers the triggers of these rows are assigned to, by the ids of their jobs."""
    jobs = [ground.task(row).get("triggerer_job") or {} for row in rows]
    return {job.get("id") for job in jobs}


@pytest.fixture(scope="module")
def handed_over(ground: Ground) -> dict[str, Outcome]:
    """Pause a triggerer until another has taken over its triggers, and wake it up."""
    start_all(ground, HANDED_OVER)
    ground.wait_until(lambda: None not in triggerers(ground, HANDED_OVER), "a triggerer has all triggers")
    for row in HANDED_OVER:
        with ground.row(row):
            ground.wait_until(lambda row=row: "Waiting" in ground.log(row), f"{row} was polled")
    former = triggerers(ground, HANDED_OVER)
    first = [psutil.Process(pid) for pid in ground.airflow.pids("triggerer")]
    first += [child for process in first for child in process.children(recursive=True)]
    for process in first:
        process.suspend()
    ground.airflow.start_component("triggerer")
    ground.wait_until(
        lambda: not triggerers(ground, HANDED_OVER) & {*former, None}, "another triggerer has taken over"
    )
    asked = stops(ground)
    for process in first:
        process.resume()
    # It has noticed what it lost when it says so in the log of each task.
    for row in HANDED_OVER:
        with ground.row(row):
            ground.wait_until(
                lambda row=row: "goes on: its task is deferred" in ground.log(row), f"{row} moved"
            )
    assert stops(ground) == asked
    ground.pass_time()
    ground.wait_for_runs(HANDED_OVER)
    return ground.judge(HANDED_OVER)


@pytest.mark.parametrize("row", HANDED_OVER, ids=str)
def test_a_triggerer_that_wakes_up_stops_nothing(row: Row, handed_over: dict[str, Outcome]) -> None:
    outcome = handed_over[str(row)]
    outcome.check()
    assert (outcome.state, outcome.statuses) == ("success", ["Done"])


@pytest.fixture(scope="module")
def at_once(ground: Ground, handed_over: dict[str, Outcome]) -> None:
    """Mark forty waiting tasks as failed and clear twenty, all at once, while stops fail at first."""
    start_all(ground, [*MARKED, *CLEARED])
    for row in [*MARKED, *CLEARED]:
        with ground.row(row):
            ground.wait_until(lambda row=row: "Waiting" in ground.log(row), f"{row} was polled")
    for kind in ("server_error", "throttle"):
        fault = {"action": "StopFineTuningTask", "kind": kind, "count": len(MARKED)}
        ground.slow.administer("POST", "faults", fault)
    for row in MARKED:
        with ground.row(row):
            ground.airflow.api.set_task_state(row.dag_id, row.run_id, "train", "failed")
    for row in CLEARED:
        with ground.row(row):
            ground.airflow.api.clear_tasks(row.dag_id, row.run_id, ["train"])
    with contextlib.suppress(TimeoutError):  # each is judged by its own test
        ground.wait_until(
            lambda: trainings(ground, MARKED) == [["Stopped"]] * len(MARKED), "forty trainings are stopped"
        )
    for row in CLEARED:
        with ground.row(row):
            wait_for(
                lambda row=row: (
                    ground.task(row)["try_number"] > 1 and ground.task(row)["state"] == "deferred"
                ),
                what=f"{row} waits again",
            )
    ground.pass_time()
    ground.wait_for_runs([*MARKED, *CLEARED])


def test_forty_tasks_that_are_marked_failed_at_once_stop_their_trainings(
    ground: Ground, at_once: None
) -> None:
    assert trainings(ground, MARKED) == [["Stopped"]] * len(MARKED)


@pytest.mark.parametrize("row", MARKED, ids=str)
def test_the_log_says_how_each_stop_ended(row: Row, ground: Ground, at_once: None) -> None:
    (training,) = read_ledger(ground.slow).of("trainings", row.dag_id, row.run_id)
    # A triggerer that is behind with its logs by more than `LOG_SECONDS` writes the line into its own.
    assert f"Stopped fine-tuning task {training}" in ground.log(row) + ground.airflow.output()


def test_most_stops_are_told_in_the_logs_of_their_tasks(ground: Ground, at_once: None) -> None:
    told = [row for row in MARKED if "Stopped fine-tuning task" in ground.log(row)]
    assert len(told) > len(MARKED) / 2


def test_twenty_tasks_that_are_cleared_at_once_keep_their_trainings(ground: Ground, at_once: None) -> None:
    assert trainings(ground, CLEARED) == [["Done"]] * len(CLEARED)
    runs = ground.runs()
    assert {runs[row.dag_id, row.run_id]["state"] for row in CLEARED} == {"success"}


@pytest.fixture(scope="module")
def frozen(ground: Ground) -> dict[str, Outcome]:
    """Freeze tasks right before they send a Create, and wake them up when their retries are done."""
    for row in FROZEN:
        with ground.row(row):
            ground.start(row)
    for row in FROZEN:
        with ground.row(row):
            ground.wait_until(lambda row=row: ground.mark(row).exists(), f"{row} is frozen")
    ground.wait_for_runs(FROZEN)
    for row in FROZEN:
        pids = [int(pid) for pid in ground.mark(row).read_text().split()]
        processes = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)
        _, alive = psutil.wait_procs(processes[1:], timeout=120)
        assert not alive, f"the frozen process of {row} does not end"
    return ground.judge(FROZEN)


@pytest.mark.parametrize("row", FROZEN, ids=str)
def test_what_a_frozen_attempt_creates_too_late_is_undone(row: Row, frozen: dict[str, Outcome]) -> None:
    outcome = frozen[str(row)]
    outcome.check()
    assert outcome.state == "success"
    assert outcome.statuses.count("Done") == 1
    assert set(outcome.statuses) <= {"Done", "Stopped"}
    assert len(outcome.versions) == 1
