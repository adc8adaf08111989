"""The trial of a distributed Airflow notices what is wrong."""

from __future__ import annotations

from itertools import islice

import pytest

from distributed.__main__ import at_random
from distributed.events import EVENTS
from distributed.judge import SWEEP, wrong_in
from local_stack.ledger import Ledger, Source

SOURCE = Source("fine_tune_sync", "run-1", None)


def ledger(trainings: int = 1, versions: int = 1, status: str = "Done") -> Ledger:
    made = Ledger()
    made.jobs[SOURCE] = ["job-1"]
    made.trainings[SOURCE] = [f"task-{number}" for number in range(trainings)]
    made.versions[SOURCE] = [f"amv-{number}" for number in range(versions)]
    made.status = dict.fromkeys(made.trainings[SOURCE], status)
    return made


def test_what_happened_once_is_right():
    assert wrong_in(SOURCE.dag_id, "run-1", "success", ledger()) == []


@pytest.mark.parametrize(
    ("state", "made", "told"),
    [
        ("success", ledger(trainings=2), "2 trainings"),
        ("success", ledger(trainings=0), "0 trainings"),
        ("success", ledger(versions=2), "2 versions"),
        ("success", ledger(status="Stopped"), "task-0 is Stopped"),
        ("failed", ledger(), "the run is failed"),
    ],
    ids=["doubled", "lost", "published twice", "stopped", "failed"],
)
def test_what_went_wrong_is_told(state, made, told):
    assert told in ", ".join(wrong_in(SOURCE.dag_id, "run-1", state, made))


def test_a_sweep_has_all_of_its_trainings():
    made = Ledger()
    for number in range(SWEEP - 1):
        source = Source("sweep", "run-1", number)
        made.jobs[source], made.trainings[source] = [f"job-{number}"], [f"task-{number}"]
        made.status[f"task-{number}"] = "Done"
    (jobs, trainings) = wrong_in("sweep", "run-1", "success", made)
    assert jobs.startswith(f"{SWEEP - 1} jobs")
    assert trainings.startswith(f"{SWEEP - 1} trainings")


def test_the_same_seed_means_the_same_events():
    first, again, other = (list(islice(at_random(seed, 3600), 20)) for seed in (1, 1, 2))
    assert first == again != other
    assert set(first) <= set(EVENTS)
