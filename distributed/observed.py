"""What an event has met and what came of it, as Airflow's database and logs show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from distributed.cluster import Cluster
from local_stack.component import Component


@dataclass(frozen=True)
class Attempt:
    """An attempt of a task that runs in a process of a worker."""

    key: tuple[str, str, str, int]
    try_number: int
    pid: int


@dataclass(frozen=True)
class Held:
    """A trigger of ours, and which triggerer has it."""

    trigger: int
    triggerer: int | None


def running(cluster: Cluster, component: Component | None = None) -> list[Attempt]:
    """Return the attempts that run: all, or those in the processes of one worker."""
    attempts = [attempt for attempt, is_running in _attempts(cluster) if is_running and attempt.pid]
    if component is None:
        return attempts
    pids = {process.pid for process in component.processes()}
    return [attempt for attempt in attempts if attempt.pid in pids]


def messages_of_running(cluster: Cluster) -> set[str]:
    """Return Celery's ids of the taken messages whose tasks run."""
    rows = cluster.query("SELECT external_executor_id FROM task_instance WHERE state = 'running'")
    return cluster.redis.taken() & {row.external_executor_id for row in rows}


def fates(cluster: Cluster, attempts: Iterable[Attempt]) -> Counter[str]:
    """Count what became of attempts.

    ``held``: Airflow takes it for running; ``given up``: the next one has not begun; ``anew``: it has,
    in another process; ``ended``: it came to its end, or went on in the triggerer, as the same attempt.
    """
    now = {attempt.key: (attempt, is_running) for attempt, is_running in _attempts(cluster)}
    found: Counter[str] = Counter()
    for before in attempts:
        attempt, is_running = now[before.key]
        if attempt == before:
            found["held" if is_running else "ended"] += 1
        elif attempt.try_number == before.try_number:
            found["ended"] += 1
        else:
            found["anew" if attempt.pid not in (0, before.pid) else "given up"] += 1
    return found


def _attempts(cluster: Cluster) -> list[tuple[Attempt, bool]]:
    rows = cluster.query(
        # Between two attempts a task waits for its retry: its number rises only with the next.
        "SELECT dag_id, run_id, task_id, map_index, pid, coalesce(state, '') = 'running' AS runs,"
        " try_number + CASE WHEN state = 'up_for_retry' THEN 1 ELSE 0 END AS number"
        " FROM task_instance"
    )
    return [
        (Attempt((row.dag_id, row.run_id, row.task_id, row.map_index), row.number, row.pid or 0), row.runs)
        for row in rows
    ]


def heartbeats(cluster: Cluster, attempts: Collection[Attempt], since: Any) -> int:
    """Return how many of these tasks Airflow has heard since a time."""
    rows = cluster.query(
        "SELECT dag_id, run_id, task_id, map_index FROM task_instance WHERE last_heartbeat_at > :since",
        since=since,
    )
    return len({tuple(row) for row in rows} & {attempt.key for attempt in attempts})


def begun_since(cluster: Cluster, since: Any) -> int:
    """Return how many tasks were both queued and begun on a worker after a time."""
    return _count(
        cluster,
        "SELECT count(*) FROM task_instance WHERE queued_dttm > :since AND last_heartbeat_at > queued_dttm",
        since=since,
    )


def queued_by(cluster: Cluster, scheduler: int) -> int:
    """Return how many tasks a scheduler has queued."""
    return _count(
        cluster, "SELECT count(*) FROM task_instance WHERE queued_by_job_id = :scheduler", scheduler=scheduler
    )


def job(cluster: Cluster, kind: str, name: str) -> int:
    """Return Airflow's number of the latest process of a component; 0 where it has none yet."""
    return _count(
        cluster,
        "SELECT coalesce(max(id), 0) FROM job WHERE job_type = :kind AND unixname = :name",
        kind=kind,
        name=name,
    )


def is_awake(cluster: Cluster, name: str, since: Any) -> bool:
    """Return whether a triggerer has given a sign of life after a time."""
    return bool(
        _count(
            cluster,
            "SELECT count(*) FROM job"
            " WHERE job_type = 'TriggererJob' AND unixname = :name AND latest_heartbeat > :since",
            name=name,
            since=since,
        )
    )


def waiting(cluster: Cluster) -> list[Held]:
    """Return the triggers of ours for which a task waits."""
    rows = cluster.query(
        "SELECT id, triggerer_id FROM \"trigger\" WHERE classpath LIKE 'airflow_qianfan.%' AND id IN"
        " (SELECT trigger_id FROM task_instance WHERE state = 'deferred')"
    )
    return [Held(row.id, row.triggerer_id) for row in rows]


def now(cluster: Cluster) -> Any:
    """Return the time of the database."""
    return cluster.query("SELECT clock_timestamp()")[0][0]


def started(cluster: Cluster) -> Any:
    """Return since when PostgreSQL has been running."""
    return cluster.query("SELECT pg_postmaster_start_time()")[0][0]


def connections(cluster: Cluster) -> int:
    """Return how many connections Airflow has to its database."""
    return _count(
        cluster,
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
    )


def times_written(cluster: Cluster, text: str, pattern: str) -> int:
    """Count a text in the files of the components, and in the logs of tasks and triggers.

    :param pattern: which of the files, below one of the cluster's folders.
    """
    paths = {path for folder in cluster.folders for path in folder.glob(pattern)}
    return sum(path.read_text(errors="replace").count(text) for path in paths)


def _count(cluster: Cluster, statement: str, **values: Any) -> int:
    return int(cluster.query(statement, **values)[0][0])
