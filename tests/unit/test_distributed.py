"""The trial of a distributed Airflow notices what is wrong."""

from __future__ import annotations

from itertools import islice

import pytest

from distributed.__main__ import at_random
from distributed.events import EVENTS
from distributed.judge import STORED, SWEEP, not_asked_for, verdicts_on, wrong_in, wrong_with_secrets
from local_stack.ledger import Ledger, Source

SOURCE = Source("fine_tune_sync", "run-1", None)
RUN = (SOURCE.dag_id, SOURCE.run_id)


def ledger(trainings: int = 1, versions: int = 1, status: str = "Done") -> Ledger:
    made = Ledger()
    made.jobs[SOURCE] = ["job-1"]
    made.trainings[SOURCE] = [f"task-{number}" for number in range(trainings)]
    made.versions[SOURCE] = [f"amv-{number}" for number in range(versions)]
    made.status = dict.fromkeys(made.trainings[SOURCE], status)
    return made


def sweep(trainings: dict[int, int]) -> Ledger:
    made = Ledger()
    for index, count in trainings.items():
        source = Source("sweep", "run-1", index)
        made.jobs[source] = [f"job-{index}"] if count else []
        made.trainings[source] = [f"task-{index}-{number}" for number in range(count)]
        made.status |= dict.fromkeys(made.trainings[source], "Done")
    return made


def test_what_happened_once_is_right():
    assert wrong_in(*RUN, "success", ledger()) == []
    assert wrong_in("sweep", "run-1", "success", sweep(dict.fromkeys(range(SWEEP), 1))) == []


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
    assert told in ", ".join(wrong_in(*RUN, state, made))


def test_a_doubled_training_of_a_sweep_does_not_stand_in_for_a_lost_one():
    made = sweep(dict.fromkeys(range(SWEEP), 1) | {3: 2, 7: 0})
    assert wrong_in("sweep", "run-1", "success", made) == [
        "0 jobs at map index 7 []",
        "2 trainings at map index 3 ['task-3-0', 'task-3-1']",
        "0 trainings at map index 7 []",
    ]


def test_a_training_that_no_task_asked_for_is_wrong():
    made = sweep(dict.fromkeys(range(SWEEP + 1), 1))
    (jobs, trainings) = wrong_in("sweep", "run-1", "success", made)
    assert jobs == f"1 jobs of no task ['job-{SWEEP}']"
    assert trainings.startswith("1 trainings of no task")
    assert not_asked_for({}, ledger())
    assert not not_asked_for({RUN: "success"}, ledger())


def test_a_version_that_was_made_and_undone_is_counted_and_one_has_to_remain():
    made = ledger()
    made.undone[SOURCE] = ["amv-gone"]
    (verdict,) = verdicts_on({RUN: "success"}, made, {})
    assert (verdict.versions, verdict.undone, verdict.wrong) == (1, 1, [])
    made.versions[SOURCE] = []
    (verdict,) = verdicts_on({RUN: "success"}, made, {})
    assert (verdict.versions, verdict.undone) == (0, 1)
    assert "0 versions" in verdict.wrong[0]


def test_the_same_seed_means_the_same_events():
    first, again, other = (list(islice(at_random(seed, 3600), 20)) for seed in (1, 1, 2))
    assert first == again != other
    assert set(first) <= set(EVENTS)


SECRETS = {"secret access key": "key-of-secrets", "session token": "token-of-secrets"}
TEXTS = [
    ("logs/dag_id=fine_tune_sync/attempt=1.log", "Created fine-tuning task task-0"),
    ("pg_dump", "COPY xcom … task-0"),
    ("xcom.value", "task-0"),
    *((f"{name}-1/output.log", "airflow") for name in ("worker", "triggerer", "scheduler", "api-server")),
    *((STORED[name], f'{{"x": "{secret}"}}') for name, secret in SECRETS.items()),
]


def test_secrets_that_are_only_where_airflow_encrypts_them_are_right():
    assert wrong_with_secrets(TEXTS, SECRETS, "task-0") == []


@pytest.mark.parametrize("place", ["pg_dump", "logs/x.log", "worker-1-1/output.log", "connection.extra"])
def test_a_secret_anywhere_else_is_told(place):
    told = wrong_with_secrets([*TEXTS, (place, "a key-of-secrets")], SECRETS, "task-0")
    assert told == [f"a secret can be read: secret access key in {place}"]


@pytest.mark.parametrize("missing", TEXTS, ids=[place for place, _ in TEXTS])
def test_a_search_that_does_not_reach_a_place_is_told(missing):
    (told,) = wrong_with_secrets([one for one in TEXTS if one != missing], SECRETS, "task-0")
    assert told.startswith("the search for secrets is blind")


def test_a_search_in_nothing_is_wrong():
    assert len(wrong_with_secrets([], SECRETS, "task-0")) == len(TEXTS)
