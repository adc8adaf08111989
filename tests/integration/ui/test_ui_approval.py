"""The example with a person's approval: the person answers through Airflow's REST API, as its UI does."""

from __future__ import annotations

import logging

import pytest
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from example_dags import effects
from sqlalchemy import select
from versions import needs

DAG_ID = "approve_and_publish"
in_3_3 = needs(3, 3, "dag.test() waits for no person")


class Person(logging.Handler):
    """Answers a request once Airflow waits for it."""

    def __init__(self, ui, answer):
        super().__init__()
        self._ui, self._answer = ui, answer
        self.requests = []

    def emit(self, record):
        # dag.test() says so each second.
        if record.getMessage().startswith("Waiting for Human-in-the-loop input"):
            self._decide()

    def _decide(self):
        with create_session() as session:
            newest = select(DagRun.run_id).where(DagRun.dag_id == DAG_ID).order_by(DagRun.id.desc())
            run_id = session.scalars(newest.limit(1)).one()
        path = f"/api/v2/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
        headers = {"Authorization": f"Bearer {self._ui.token('admin')}"}
        found = self._ui.client.get(path, headers=headers)
        assert found.status_code == 200, found.text
        self.requests.append(found.json())
        body = {"chosen_options": [self._answer], "params_input": {}}
        answered = self._ui.client.patch(path, headers=headers, json=body)
        assert answered.status_code == 200, answered.text


@pytest.fixture
def decide(start_emulator, examples, run_dag, ui):
    """Run the example with a person who gives an answer; return the run and what the person was asked."""
    emulator = start_emulator(task_seconds=0.4, model_seconds=0.2, strict=True)
    emulator.add_dataset("ds-0123456789abcdef")
    log = logging.getLogger("airflow.sdk.definitions.dag")

    def run(answer, **conf):
        person = Person(ui, answer)
        log.addHandler(person)
        try:
            return run_dag(examples.dags[DAG_ID], run_conf=conf), person.requests
        finally:
            log.removeHandler(person)

    run.emulator = emulator
    return run


def published(emulator):
    return [version["sourceInfo"]["taskId"] for version in emulator.models]


@in_3_3
def test_what_is_approved_is_published_and_compared_with_what_was_published_before(decide):
    emulator = decide.emulator
    run, (request,) = decide("Approve")
    assert run.state == "success", run.errors
    (first,) = emulator.tasks
    assert published(emulator) == [first["taskId"]]
    assert request["subject"] == f"Publish {first['taskId']}?"
    assert "| metric | this training | published last (none) | difference |" in request["body"]

    run, (request,) = decide("Approve")
    assert run.state == "success", run.errors
    first, second = emulator.tasks
    assert published(emulator) == [first["taskId"], second["taskId"]]
    title, line, *rows = request["body"].splitlines()
    assert f"published last ({emulator.models[0]['modelId']})" in title
    assert line == "|---|---|---|---|"
    shown = {row.split("|")[1].strip(): [cell.strip() for cell in row.split("|")[2:5]] for row in rows}
    assert set(shown) == set(first["metrics"])
    for name, cells in shown.items():
        new, old = (float(task["metrics"][name].rstrip("%")) / 100 for task in (second, first))
        assert cells == [f"{new:.4f}", f"{old:.4f}", f"{new - old:+.4f}"]


@in_3_3
def test_what_is_rejected_is_not_published(decide):
    run, (request,) = decide("Reject")
    assert (run.state, run.states["approve"], run.states["publish"]) == ("success", "success", "skipped")
    assert request["options"] == ["Approve", "Reject"]
    assert effects(decide.emulator) == ["CreateCustomModelSet", "CreateFineTuningJob", "CreateFineTuningTask"]


def test_nobody_is_asked_about_what_is_not_good_enough(decide):
    run, requests = decide("Approve", thresholds={"ROUGE-L": {"min": 0.99}})
    assert (run.state, run.states["approve"], run.states["publish"]) == ("success", "skipped", "skipped")
    assert requests == []
    assert decide.emulator.models == []
