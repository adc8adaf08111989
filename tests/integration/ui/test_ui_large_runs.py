"""DAG runs with more task instances than a view shows."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from sqlalchemy import insert, select

MANY = 250


def map_task(dag_id, run_id, task_id):
    """Let a task have many mapped instances, which began before all others."""
    table = TaskInstance.__table__
    with create_session() as session:
        of_run = (table.c.dag_id == dag_id, table.c.run_id == run_id)
        (row,) = session.execute(select(table).where(*of_run, table.c.task_id == task_id)).mappings()
        begun = min(
            session.scalars(select(table.c.start_date).where(*of_run, table.c.start_date.is_not(None)))
        )
        before = {"start_date": begun - timedelta(hours=1)}
        session.execute(
            insert(table),
            [{**row, **before, "id": uuid.uuid4(), "map_index": index} for index in range(MANY)],
        )


@pytest.fixture
def run_id(start_emulator, nightly):
    start_emulator(task_seconds=0.5, model_seconds=0.1)
    return nightly("large", day=1)


@pytest.mark.parametrize("crowd", ["other", "model_set"], ids=["of_others", "of_ours"])
def test_the_chain_and_what_was_published_are_shown_in_a_large_run(ui, run_id, crowd):
    map_task("large", run_id, crowd)
    view = ui.task("large", run_id, "train")
    chain = [(one["task"]["task_id"], one["task"]["map_index"]) for one in view["chain"]]
    assert [one for one in chain if one[1] == -1] == [("model_set", -1), ("train", -1), ("publish", -1)]
    assert [one["task_id"] for one in view["published"]] == ["publish"]
    assert view["hyper_parameters"] == {"epoch": "1", "learningRate": "0.0003"}
    assert len(chain) == (3 if crowd == "other" else 100), "a view shows a hundred at most"


def test_trainings_of_large_runs_are_compared_by_their_hyper_parameters(ui, run_id, nightly):
    map_task("large", run_id, "other")
    runs = [run_id, nightly("large", day=2, hyper_parameter_config={"epoch": 2})]
    ids = [ui.task("large", one, "train")["object"]["id"] for one in runs]
    found = ui.read("api/connections/qianfan_default/compare", training=ids)["trainings"]
    assert [one["hyper_parameters"]["epoch"] for one in found] == ["1", "2"]
