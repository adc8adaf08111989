"""In pods, where each attempt starts with nothing, one run of a task costs exactly one training as well.

An attempt's files and processes are gone when it ends. Kubernetes tells a pod to end with SIGTERM, and kills
it 30 s later; when a machine lost, nobody tells it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pods
import psutil
import pytest
from ground import SLOW, Ground, Outcome, Row

pytestmark = pytest.mark.slow

#: Where the machine of a task is lost.
POINTS = {
    "sync": {
        "job: created, answer unread": "train/sent CreateFineTuningJob",
        "training: created, answer unread": "train/sent CreateFineTuningTask",
        "training: while waiting": "train/sent DescribeFineTuningTask#2",
        "version: created, answer unread": "publish/sent CreateCustomModel",
    },
    "deferrable": {
        "training: answer read, id not stored": "train/storing qianfan_task",
        "training: about to defer": "train/deferring",
        "training: at the end of execute_complete": "train/resumed",
        "version: about to defer": "publish/deferring",
    },
}
LOST = [
    Row(
        f"machine lost, {name}",
        mode,
        f"pods_{mode}",
        {"crash_at": at, "crash_how": "kill with supervisor"},
        dies=at.split("/")[0],
    )
    for mode, points in POINTS.items()
    for name, at in points.items()
]
#: What does not react to SIGTERM.
FROZEN = [
    Row(
        f"pod deleted, hangs {name}",
        "sync",
        "pods_sync",
        {"conn_id": SLOW, "crash_at": f"train/{at} CreateFineTuningTask", "crash_how": "freeze"},
        dies="train",
    )
    for name, at in {"before its Create": "sending", "before it reads the answer": "sent"}.items()
]
WAITING = Row("pod deleted, while waiting", "sync", "pods_sync", {"conn_id": SLOW}, dies="train")
DELETED = [*FROZEN, WAITING]
ALL = [*LOST, *DELETED]


@pytest.fixture(scope="module")
def waiting_pod(ground: Ground) -> dict[str, Any]:
    """What a pod has, in which a task waits, while others hang; all of them are deleted after that."""
    ground.run(LOST)
    for row in DELETED:
        with ground.row(row):
            ground.start(row)
    for row in FROZEN:
        with ground.row(row):
            ground.wait_until(ground.mark(row).exists, f"{row} hangs")
    seen: dict[str, Any] = {}
    with ground.row(WAITING):
        ground.wait_until_it_trains(WAITING)
        ground.wait_until(lambda: "Waiting" in ground.log(WAITING), f"{WAITING} was polled")
        # The working directory is the pod's home.
        folder = Path(ground.pod(WAITING).cwd()).parent
        seen["folder"] = folder
        seen["wrote"] = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    deleted: dict[str, psutil.Process] = {}
    for row in DELETED:
        with ground.row(row):
            deleted[str(row)] = ground.pod(row)
    killed = pods.delete(list(deleted.values()))
    seen["killed"] = {name for name, pod in deleted.items() if pod in killed}
    for row in DELETED:
        with ground.row(row):
            ground.wait_until(
                lambda row=row: ground.task(row)["try_number"] > 1, f"another attempt of {row} starts"
            )
            ground.wait_until_it_trains(row)
            ground.wait_until(lambda row=row: ground.task(row)["state"] == "running", f"{row} runs again")
    ground.pass_time()
    for row in DELETED:
        with ground.row(row):
            ground.wait_until(lambda row=row: ground.count("versions", row) == 1, f"{row} publishes")
    ground.pass_time()
    ground.wait_for_runs(DELETED)
    return seen


@pytest.fixture(scope="module")
def outcomes(ground: Ground, waiting_pod: dict[str, Any]) -> dict[str, Outcome]:
    return ground.judge(ALL)


@pytest.mark.parametrize("row", ALL, ids=str)
def test_exactly_one_training_and_one_version(row: Row, outcomes: dict[str, Outcome], ground: Ground) -> None:
    outcome = outcomes[str(row)]
    outcome.check()
    assert outcome.state == "success"
    assert (len(outcome.jobs), len(outcome.trainings), len(outcome.versions)) == (1, 1, 1)
    assert outcome.statuses == ["Done"]
    assert ground.task(row, row.dies or "")["try_number"] > 1


def test_an_attempt_starts_with_nothing_but_settings(waiting_pod: dict[str, Any], ground: Ground) -> None:
    folder = waiting_pod["folder"]
    assert folder.parent == ground.pods
    assert waiting_pod["wrote"] >= {"home", "tmpdir", "airflow_home"}


def test_the_environment_of_an_attempt_is_airflows_settings(tmp_path: Path) -> None:
    given = {"AIRFLOW__QIANFAN__POLL_INTERVAL": "1", "AIRFLOW_HOME": "/theirs", "PATH": "/bin"}
    secret = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite://", "QIANFAN_ACCESS_KEY": "x", "MINE": "y"}
    own = {name: str(tmp_path / name.lower()) for name in ("HOME", "AIRFLOW_HOME", "TMPDIR")}
    assert pods.environment(tmp_path, given | secret) == given | own


def test_nothing_that_an_attempt_wrote_is_left(waiting_pod: dict[str, Any], ground: Ground) -> None:
    ground.wait_until(lambda: not list(ground.pods.iterdir()), "the folders of all pods are deleted")


def test_a_pod_that_waits_or_hangs_has_to_be_killed(waiting_pod: dict[str, Any]) -> None:
    """So a grace period of more than 30 s only delays: a sync task goes on waiting after SIGTERM."""
    assert waiting_pod["killed"] == {str(row) for row in DELETED}


def test_a_deleted_pod_does_not_stop_its_training(outcomes: dict[str, Outcome], ground: Ground) -> None:
    (training,) = outcomes[str(WAITING)].trainings
    log = ground.log(WAITING)
    assert "no user ended its task" in log
    assert f"Attached to fine-tuning task {training}" in log
    stops = [entry for entry in ground.slow.journal() if entry["action"] == "StopFineTuningTask"]
    assert not any(entry["ids"].get("taskId") == training for entry in stops)
