"""What came of the DAG runs: each training exactly once, nothing stopped, no secret anywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from distributed.cluster import Cluster
from local_stack import search
from local_stack.ledger import Ledger, Source, read_ledger
from local_stack.search import Texts

SWEEP = 20
"""How many trainings the DAG ``sweep`` is made of."""

STORED = {
    "secret access key": "connection.password (decrypted)",
    "session token": "connection.extra (decrypted)",
}
"""Where Airflow keeps the secrets of the connection, encrypted; nowhere else they may be."""

Runs = Mapping[tuple[str, str], str]
"""State of each run by DAG and run id."""


@dataclass
class Verdict:
    """What came of the runs of a DAG.

    :param undone: how many versions were made and deleted again by the attempt that had made them.
    :param seconds: how long each run took.
    :param wrong: a sentence for each run that did not end as it should.
    """

    dag_id: str
    runs: int = 0
    states: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    trainings: int = 0
    versions: int = 0
    undone: int = 0
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def judge(cluster: Cluster, runs: Runs) -> tuple[list[Verdict], list[str]]:
    """Compare what Qianfan did with what was asked for, and search for secrets.

    :return: a verdict for each DAG, and a sentence for each thing that is wrong.
    """
    ledger = read_ledger(cluster.qianfan)
    verdicts = verdicts_on(runs, ledger, _seconds(cluster))
    wrong = [sentence for verdict in verdicts for sentence in verdict.wrong]
    return verdicts, wrong + not_asked_for(runs, ledger) + _wrong_with_secrets(cluster, ledger)


def verdicts_on(runs: Runs, ledger: Ledger, seconds: Mapping[tuple[str, str], float]) -> list[Verdict]:
    """Return what came of the runs of each DAG.

    :param seconds: how long each run took.
    """
    verdicts: dict[str, Verdict] = {}
    for (dag_id, run_id), state in sorted(runs.items()):
        verdict = verdicts.setdefault(dag_id, Verdict(dag_id))
        verdict.runs += 1
        verdict.states[state] += 1
        for kind in ("jobs", "trainings", "versions", "undone"):
            made = len(ledger.of(kind, dag_id, run_id))
            setattr(verdict, kind, getattr(verdict, kind) + made)
        if (dag_id, run_id) in seconds:
            verdict.seconds.append(seconds[dag_id, run_id])
        if wrong := wrong_in(dag_id, run_id, state, ledger):
            verdict.wrong.append(f"{dag_id} / {run_id}: {', '.join(wrong)}")
    return list(verdicts.values())


def wrong_in(dag_id: str, run_id: str, state: str, ledger: Ledger) -> list[str]:
    """Return what is wrong with a run: anything but each training exactly once, and success.

    :param state: the state of the run.
    :param ledger: what Qianfan has done.
    """
    is_sweep = dag_id == "sweep"
    tasks = [Source(dag_id, run_id, index) for index in (range(SWEEP) if is_sweep else [None])]
    wanted = {"jobs": 1, "trainings": 1, "versions": 0 if is_sweep else 1}
    wrong = []
    for kind, count in wanted.items():
        made = getattr(ledger, kind)
        for task in tasks:
            if len(ids := made.get(task, [])) != count:
                place = "" if task.map_index is None else f" at map index {task.map_index}"
                wrong.append(f"{len(ids)} {kind}{place} {ids}")
        known = {one for task in tasks for one in made.get(task, [])}
        if others := [one for one in ledger.of(kind, dag_id, run_id) if one not in known]:
            wrong.append(f"{len(others)} {kind} of no task {others}")
    trainings = ledger.of("trainings", dag_id, run_id)
    wrong += [f"{one} is {ledger.status[one]}" for one in trainings if ledger.status[one] != "Done"]
    if state != "success":
        wrong.append(f"the run is {state}")
    return wrong


def not_asked_for(runs: Runs, ledger: Ledger) -> list[str]:
    """Return a sentence for each thing that was made for none of the runs."""
    return [
        f"{source.dag_id} / {source.run_id}: nobody asked for {', '.join(ids)}"
        for made in (ledger.jobs, ledger.trainings, ledger.versions)
        for source, ids in made.items()
        if (source.dag_id, source.run_id) not in runs
    ]


def _seconds(cluster: Cluster) -> dict[tuple[str, str], float]:
    rows = cluster.query(
        "SELECT dag_id, run_id, EXTRACT(EPOCH FROM end_date - start_date) AS seconds FROM dag_run"
        " WHERE end_date IS NOT NULL"
    )
    return {(row.dag_id, row.run_id): float(row.seconds) for row in rows}


def _wrong_with_secrets(cluster: Cluster, ledger: Ledger) -> list[str]:
    texts = search.files(*cluster.folders)
    texts += [("pg_dump", cluster.postgres.dump())]
    texts += search.database(cluster.database_url, cluster.fernet_key)
    training = next((ids[0] for ids in ledger.trainings.values() if ids), "no training")
    return wrong_with_secrets(texts, cluster.secrets, training)


def wrong_with_secrets(texts: Texts, secrets: Mapping[str, str], training: str) -> list[str]:
    """Return where a secret stands that should not, and which places the search does not reach.

    :param texts: all that was written down.
    :param secrets: each secret by its name in `STORED`.
    :param training: id of a training, which has to be found wherever the id of one is written.
    """
    wrong = []
    for name, secret in secrets.items():
        found = search.places(texts, secret)
        wrong += [f"a secret can be read: {name} in {place}" for place in sorted(found - {STORED[name]})]
        if STORED[name] not in found:
            wrong.append(f"the search for secrets is blind: {name} is not found in {STORED[name]}")
    # Without this, a search that looks nowhere would find nothing wrong.
    sought = {"logs/": training, "pg_dump": training, "xcom.value": training}
    sought |= dict.fromkeys(("worker-", "triggerer-", "scheduler-", "api-server-"), "airflow")
    for beginning, text in sought.items():
        if not any(place.startswith(beginning) for place in search.places(texts, text)):
            wrong.append(f"the search for secrets is blind: {beginning}… does not hold {text}")
    return wrong
