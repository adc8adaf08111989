"""Whatever dies, one run of a task costs exactly one training and publishes exactly one version."""

from __future__ import annotations

import functools
import secrets
import signal
from collections import Counter
from typing import Any

import pytest
from ground import SLOW, Ground, Outcome, Row, selected

from local_stack import search
from local_stack.ledger import read_ledger

pytestmark = pytest.mark.slow

MODES = ("sync", "deferrable")

#: Where the process of a task kills itself, in both modes.
POINTS = {
    "job: before its Create": "train/sending CreateFineTuningJob",
    "job: created, answer unread": "train/sent CreateFineTuningJob",
    "job: answer read, id not stored": "train/storing qianfan_job",
    "training: before its Create": "train/sending CreateFineTuningTask",
    "training: created, answer unread": "train/sent CreateFineTuningTask",
    "training: answer read, id not stored": "train/storing qianfan_task",
    "training: id stored": "train/stored qianfan_task",
    "model set: before its Create": "make_set/sending CreateCustomModelSet",
    "model set: created, answer unread": "make_set/sent CreateCustomModelSet",
    "model set: answer read, id not stored": "make_set/storing qianfan_model_set",
    "version: before its Create": "publish/sending CreateCustomModel",
    "version: created, answer unread": "publish/sent CreateCustomModel",
    "version: answer read, id not stored": "publish/storing qianfan_model",
    "version: id stored": "publish/stored qianfan_model",
}
SYNC_POINTS = {
    "training: before the first look": "train/sending DescribeFineTuningTask",
    "training: while waiting": "train/sent DescribeFineTuningTask#2",
    "version: while waiting until it is Ready": "publish/sent DescribeModel",
}
DEFERRABLE_POINTS = {
    "training: about to defer": "train/deferring",
    "training: after the event, before execute_complete": "train/resuming",
    "training: after the event, at the end of execute_complete": "train/resumed",
    "version: about to defer": "publish/deferring",
    "version: at the end of execute_complete": "publish/resumed",
}
#: The chain of one operator for each Action.
ACTION_POINTS = {
    "job: created, answer unread": "create_job/sent CreateFineTuningJob",
    "job: answer read, id not stored": "create_job/storing qianfan_job",
    "training: before its Create": "create_task/sending CreateFineTuningTask",
    "training: created, answer unread": "create_task/sent CreateFineTuningTask",
    "training: answer read, id not stored": "create_task/storing qianfan_task",
    "version: created, answer unread": "publish/sent CreateCustomModel",
    "version: answer read, id not stored": "publish/storing qianfan_model",
}


def crashes(dag_id: str, mode: str, points: dict[str, str], how: str = "kill", prefix: str = "") -> list[Row]:
    return [
        Row(prefix + name, mode, dag_id, {"crash_at": at, "crash_how": how}, dies=at.split("/")[0])
        for name, at in points.items()
    ]


def in_both_modes(points: dict[str, str], how: str, prefix: str) -> list[Row]:
    return [row for mode in MODES for row in crashes(f"chain_{mode}", mode, points, how, prefix)]


CRASHES = [
    *crashes("chain_sync", "sync", POINTS | SYNC_POINTS),
    *crashes("chain_deferrable", "deferrable", POINTS | DEFERRABLE_POINTS),
    *crashes("actions", "actions", ACTION_POINTS),
    *crashes(
        "chain_sync",
        "sync",
        {"training: while waiting": "train/sent DescribeFineTuningTask#2"},
        "kill with supervisor",
        "with supervisor, ",
    ),
    *crashes(
        "chain_sync",
        "sync",
        {"training: while waiting": "train/sent DescribeFineTuningTask#2"},
        "kill supervisor",
        "only its supervisor, ",
    ),
    *crashes(
        "chain_sync",
        "sync",
        {"training: while waiting": "train/sent DescribeFineTuningTask#2"},
        "interrupt",
        "Ctrl-C, ",
    ),
    *in_both_modes({"training: id stored": "train/stored qianfan_task"}, "raise", "error, "),
]
LOST_ANSWERS = in_both_modes(
    {
        "job": "train/sent CreateFineTuningJob",
        "training": "train/sent CreateFineTuningTask",
        "model set": "make_set/sent CreateCustomModelSet",
        "version": "publish/sent CreateCustomModel",
    },
    "lose",
    "answer lost, ",
)
CLEARED = [Row("done, then cleared", mode, f"chain_{mode}", trainings=2, versions=2) for mode in MODES]
STORED = [
    Row("connection in the database", mode, f"chain_{mode}", {"conn_id": "qianfan_stored"}) for mode in MODES
]
REFUSED = [
    Row("session token is wrong", mode, f"chain_{mode}", {"conn_id": "qianfan_wrong"}, 0, 0, "failed")
    for mode in MODES
]
WRONG_TOKEN = f"wrongsentinel{secrets.token_hex(20)}"
MAPPED = [Row("8 mapped tasks at once", mode, f"mapped_{mode}", trainings=8, versions=0) for mode in MODES]
FAST = [*CRASHES, *LOST_ANSWERS, *CLEARED, *STORED, *REFUSED, *MAPPED]


#: The rows for each supported version of Airflow; their points are there in all of them.
SHORT = {
    "training: created, answer unread [sync]",
    "training: while waiting [sync]",
    "version: created, answer unread [sync]",
    "job: created, answer unread [deferrable]",
    "training: before its Create [deferrable]",
    "training: about to defer [deferrable]",
    "training: after the event, before execute_complete [deferrable]",
    "version: at the end of execute_complete [deferrable]",
    "answer lost, training [deferrable]",
    "answer lost, version [sync]",
    "done, then cleared [deferrable]",
    "session token is wrong [sync]",
}


def with_short(rows: list[Row]) -> list[Any]:
    assert {str(row) for row in rows} >= SHORT
    return [pytest.param(row, marks=[pytest.mark.short] if str(row) in SHORT else []) for row in rows]


def waiting(name: str, mode: str) -> Row:
    return Row(name, mode, f"chain_{mode}", {"conn_id": SLOW})


#: What waits while something that all tasks share is killed, and started again.
TRIGGERER = [waiting("triggerer killed, and told to stop", "deferrable")]
SCHEDULER = [waiting("scheduler killed", mode) for mode in MODES]
EMULATOR = [waiting("Qianfan killed", mode) for mode in MODES]
SURVIVORS = [*TRIGGERER, *SCHEDULER, *EMULATOR]


@pytest.fixture(scope="module")
def outcomes(ground: Ground, request: pytest.FixtureRequest) -> dict[str, Outcome]:
    """Run the rows whose tasks die by themselves: those whose tests are selected, or all."""
    rows = selected(FAST, request)
    cleared = [row for row in CLEARED if row in rows]
    given = ground.fast.connection
    for name, token in ("stored", given["extra"]["session_token"]), ("wrong", WRONG_TOKEN):
        ground.airflow.api.add_connection(f"qianfan_{name}", {**given, "extra": {"session_token": token}})
    ground.run(rows)
    for row in cleared:
        with ground.row(row):
            ground.airflow.api.clear_tasks(row.dag_id, row.run_id, ["train"], downstream=True)
    ground.wait_for_runs(cleared)
    return ground.judge(rows)


@pytest.fixture(scope="module")
def survivors(ground: Ground) -> dict[str, Outcome]:
    """Replace what all tasks share while trainings run, and the triggerer again while versions are made."""
    start_and_wait(ground, TRIGGERER)
    ground.dump = search.database(ground.airflow.database_url, ground.airflow.fernet_key)
    for number in (signal.SIGKILL, signal.SIGTERM):
        ground.replace_triggerer(number)
    start_and_wait(ground, SCHEDULER)
    (sync, _) = SCHEDULER
    with ground.row(sync):
        before = ground.task(sync)["try_number"]
        ground.replace_scheduler()
        ground.wait_until(
            lambda: ground.task(sync)["try_number"] > before,
            f"another scheduler has taken over {sync}",
        )
    start_and_wait(ground, EMULATOR)
    ground.slow.kill()
    ground.slow.start()
    ground.pass_time()
    for row in SURVIVORS:
        with ground.row(row):
            ground.wait_until(functools.partial(has_version, ground, row), f"{row} publishes")
    ground.replace_triggerer(signal.SIGKILL)
    ground.pass_time()
    ground.wait_for_runs(SURVIVORS)
    return ground.judge(SURVIVORS)


def has_version(ground: Ground, row: Row) -> bool:
    return ground.count("versions", row) == 1


def start_and_wait(ground: Ground, rows: list[Row]) -> None:
    for row in rows:
        with ground.row(row):
            ground.start(row)
    for row in rows:
        with ground.row(row):
            state = "running" if row.mode == "sync" else "deferred"
            ground.airflow.api.wait_for_task(row.dag_id, row.run_id, "train", state)
            ground.wait_until_it_trains(row)


def check(outcome: Outcome) -> None:
    row = outcome.row
    outcome.check()
    assert outcome.state == row.state
    assert len(outcome.trainings) == row.trainings
    assert len(outcome.versions) == row.versions
    assert len(outcome.jobs) == row.trainings
    assert set(outcome.statuses) == ({"Done"} if row.trainings else set())


@pytest.mark.parametrize("row", with_short(FAST), ids=str)
def test_exactly_one(row: Row, outcomes: dict[str, Outcome]) -> None:
    check(outcomes[str(row)])


@pytest.mark.parametrize("row", with_short(FAST), ids=str)
def test_the_crash_has_happened_and_no_other(row: Row, outcomes: dict[str, Outcome], ground: Ground) -> None:
    assert ground.mark(row).exists() == bool(row.dies)
    if row.dies and row.conf["crash_how"] == "lose":
        assert "Looking whether it took effect" in ground.log(row, row.dies)
    elif row.dies:
        assert ground.task(row, row.dies)["try_number"] > 1


@pytest.mark.parametrize("row", SURVIVORS, ids=str)
def test_exactly_one_while_what_all_share_dies(row: Row, survivors: dict[str, Outcome]) -> None:
    check(survivors[str(row)])


def test_nothing_was_created_by_anybody_else(
    outcomes: dict[str, Outcome], survivors: dict[str, Outcome], ground: Ground
) -> None:
    ledgers = [read_ledger(ground.fast), read_ledger(ground.slow)]
    for kind in ("jobs", "trainings", "versions"):
        created = [one for ledger in ledgers for ids in getattr(ledger, kind).values() for one in ids]
        asked_for = [one for outcome in ground.table for one in getattr(outcome, kind)]
        assert Counter(created) == Counter(asked_for)


@pytest.mark.parametrize("row", MAPPED, ids=str)
def test_each_mapped_task_has_its_own_training(
    row: Row, outcomes: dict[str, Outcome], ground: Ground
) -> None:
    ledger = read_ledger(ground.fast)
    each = {
        source.map_index: len(trainings)
        for source, trainings in ledger.trainings.items()
        if source.run_id == row.run_id and source.dag_id == row.dag_id
    }
    assert each == dict.fromkeys(range(8), 1)


@pytest.mark.parametrize("row", [row for row in FAST if row.versions and row.dag_id != "actions"], ids=str)
def test_the_result_is_that_of_the_one_training(
    row: Row, outcomes: dict[str, Outcome], ground: Ground
) -> None:
    outcome = outcomes[str(row)]
    trained = ground.airflow.api.xcom(row.dag_id, row.run_id, "train")
    published = ground.airflow.api.xcom(row.dag_id, row.run_id, "publish")
    assert trained["fine_tuning_task_id"] == outcome.trainings[-1]
    assert trained["fine_tuning_job_id"] == outcome.jobs[-1]
    assert trained["metrics"]
    assert published["model_id"] == outcome.versions[-1]
    assert published["status"] == "Ready"


def test_no_secret_is_found_anywhere(
    outcomes: dict[str, Outcome], survivors: dict[str, Outcome], ground: Ground
) -> None:
    files = search.files(*ground.stores)
    database = search.database(ground.airflow.database_url, ground.airflow.fernet_key) + ground.dump
    in_database = {"connection.password (decrypted)", "connection.extra (decrypted)"}
    for qianfan, found in (ground.fast, in_database), (ground.slow, set()):
        token = qianfan.connection["extra"]["session_token"]
        assert search.places(files, qianfan.secret_key) == set()
        assert search.places(files, token) == set()
        places = search.places(database, qianfan.secret_key) | search.places(database, token)
        assert places == found, "Airflow encrypts connections; nothing else holds a secret"
    assert search.places(files, WRONG_TOKEN) == set()
    assert search.places(database, WRONG_TOKEN) == {"connection.extra (decrypted)"}


def test_the_search_finds_what_is_there(
    outcomes: dict[str, Outcome], survivors: dict[str, Outcome], ground: Ground
) -> None:
    """Each place at which a secret could stand is searched: it holds the id of a training."""
    survivors[str(TRIGGERER[0])].check()
    training = survivors[str(TRIGGERER[0])].trainings[0]
    files = search.files(*ground.stores)
    places = search.places(files, training)
    assert any(place.startswith(("airflow.db", "data/")) for place in places), "the database's own files"
    assert any(place.startswith("logs/") for place in places)
    assert any("Trigger fired event" in text and training in text for _, text in files)
    assert any("SignatureDoesNotMatch" in text for _, text in files)
    assert "trigger.kwargs" in search.places(ground.dump, training)
    stored = search.places(search.database(ground.airflow.database_url, ground.airflow.fernet_key), training)
    assert {"xcom.value", "task_state_store.value"} <= stored
