"""What came of the DAG runs: each training exactly once, nothing stopped, no secret anywhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from distributed.cluster import Cluster
from local_stack import search
from local_stack.ledger import Ledger, read_ledger

SWEEP = 20
"""How many trainings the DAG ``sweep`` is made of."""

_OF_THE_CONNECTION = {"connection.password (decrypted)", "connection.extra (decrypted)"}
"""Where Airflow keeps the secrets of the connection, encrypted."""


@dataclass
class Verdict:
    """What came of the runs of a DAG.

    :param wrong: a sentence for each run that did not end as it should.
    """

    dag_id: str
    runs: int
    states: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    trainings: int = 0
    versions: int = 0
    wrong: list[str] = field(default_factory=list)


def judge(cluster: Cluster, runs: dict[tuple[str, str], str]) -> list[Verdict]:
    """Compare what Qianfan did with what was asked for.

    :param runs: state of each run by DAG and run id.
    """
    ledger = read_ledger(cluster.qianfan)
    verdicts: dict[str, Verdict] = {}
    for (dag_id, run_id), state in sorted(runs.items()):
        verdict = verdicts.setdefault(dag_id, Verdict(dag_id, 0))
        verdict.runs += 1
        verdict.states[state] += 1
        verdict.jobs += len(ledger.of("jobs", dag_id, run_id))
        verdict.trainings += len(ledger.of("trainings", dag_id, run_id))
        verdict.versions += len(ledger.of("versions", dag_id, run_id))
        if wrong := wrong_in(dag_id, run_id, state, ledger):
            verdict.wrong.append(f"{dag_id} / {run_id}: {', '.join(wrong)}")
    return list(verdicts.values())


def wrong_in(dag_id: str, run_id: str, state: str, ledger: Ledger) -> list[str]:
    """Return what is wrong with a run: anything but each training exactly once, and success.

    :param state: the state of the run.
    :param ledger: what Qianfan has done.
    """
    is_sweep = dag_id == "sweep"
    trainings = SWEEP if is_sweep else 1
    wanted = {"jobs": trainings, "trainings": trainings, "versions": 0 if is_sweep else 1}
    made = {kind: ledger.of(kind, dag_id, run_id) for kind in wanted}
    wrong = [f"{len(made[kind])} {kind} {made[kind]}" for kind in wanted if len(made[kind]) != wanted[kind]]
    wrong += [f"{one} is {ledger.status[one]}" for one in made["trainings"] if ledger.status[one] != "Done"]
    if state != "success":
        wrong.append(f"the run is {state}")
    return wrong


def found_secrets(cluster: Cluster) -> list[str]:
    """Return where a secret of the connection stands that should not: in files, tables or a dump of them."""
    files = search.files(*cluster.folders)
    dump = [("pg_dump", cluster.postgres.dump())]
    tables = search.database(cluster.database_url, cluster.fernet_key)
    found = []
    for name, secret in cluster.secrets.items():
        places = search.places(files + dump + tables, secret) - _OF_THE_CONNECTION
        found += [f"{name} in {place}" for place in sorted(places)]
    return found
