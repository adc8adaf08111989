"""DAGs that start when a model set gets a version, on a real scheduler, API server and triggerer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from night import FILES

from airflow_qianfan.api.actions.model import CreateCustomModel, CreateCustomModelSet
from airflow_qianfan.asset_uris import told_by
from local_stack.airflow import LocalAirflow
from local_stack.qianfan import CONNECTION_ID, LocalQianfan
from local_stack.waiting import wait_for

DAGS = """
from airflow.sdk import DAG, task

from airflow_qianfan.assets import model_set_asset, new_versions, watched_model_set_asset
from airflow_qianfan.operators.model import QianfanCreateCustomModelOperator

ENDPOINT, PUBLISHED, WATCHED = {endpoint!r}, {published!r}, {watched!r}


@task
def versions(triggering_asset_events=None):
    return [version["model_id"] for version in new_versions(triggering_asset_events)]


with DAG("publisher", schedule=None, params={{"model_set_id": PUBLISHED}}):
    QianfanCreateCustomModelOperator(
        task_id="publish",
        model_set_id="{{{{ params.model_set_id }}}}",
        import_meta={files!r},
        wait_for_completion=True,
        deferrable=True,
    )

with DAG("by_event", schedule=model_set_asset(PUBLISHED, endpoint=ENDPOINT)):
    versions()

with DAG("by_watcher", schedule=watched_model_set_asset(WATCHED, endpoint=ENDPOINT)):
    versions()
"""


class Deployment:
    """An Airflow with a model set that operators publish into, and one that is watched."""

    def __init__(self, airflow: LocalAirflow, qianfan: LocalQianfan, published: str, watched: str) -> None:
        self.airflow = airflow
        self.published = published
        self.watched = watched
        self._qianfan = qianfan

    def publish_by_hand(self) -> str:
        """Publish a version into the watched set, as a person does in the console."""
        with self._qianfan.client() as client:
            return publish(client, self.watched)

    def publish_by_operator(self, model_set_id: str) -> str:
        """Publish a version with the DAG that does, and return its id."""
        run_id = self.airflow.api.trigger("publisher", {"model_set_id": model_set_id})
        assert self.airflow.api.wait_for_run("publisher", run_id) == "success"
        model_id: str = self.airflow.api.xcom("publisher", run_id, "publish", "model_id")
        return model_id

    def received(self, dag_id: str) -> list[str]:
        """The versions that the runs of a DAG have read from their events, oldest first."""
        found: list[str] = []
        runs = self.airflow.api.call("GET", f"/dags/{dag_id}/dagRuns", params={"order_by": "id"})["dag_runs"]
        for run in runs:
            if run["state"] == "success":
                found += self.airflow.api.xcom(dag_id, run["dag_run_id"], "versions")
        assert {run["run_type"] for run in runs} <= {"asset_triggered"}
        return found

    def wait_until_received(self, dag_id: str, model_id: str) -> None:
        def is_there() -> bool:
            return model_id in self.received(dag_id)

        wait_for(is_there, what=f"a run of {dag_id} has got {model_id}")

    def events(self) -> list[dict[str, Any]]:
        """What all asset events tell of the watched set, oldest first."""
        params = {"limit": 100, "order_by": "timestamp"}
        answer = self.airflow.api.call("GET", "/assets/events", params=params)
        told = [told_by(event["extra"]) for event in answer["asset_events"]]
        return [one for one in told if one["model_set_id"] == self.watched]

    def wait_for_polls(self, number: int = 3) -> None:
        """Wait until the watched set was polled some more times."""

        def polls() -> int:
            return sum(
                entry["action"] == "DescribeModelSet" and self.watched in str(entry)
                for entry in self._qianfan.journal()
            )

        before = polls()
        wait_for(polls, lambda now: now >= before + number, what="the set is polled")


def publish(client: Any, model_set_id: str) -> str:
    request = CreateCustomModel(model_set_id=model_set_id, source_type="Import", import_meta=FILES)
    model_id: str = client.call(request).model_id
    return model_id


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory, qianfan: LocalQianfan) -> Iterator[Deployment]:
    with qianfan.client() as client:
        published, watched = (
            client.call(CreateCustomModelSet(model_set_name=name, model_type="Text2Text")).model_set_id
            for name in ("published", "watched")
        )
        publish(client, watched)
    dags = tmp_path_factory.mktemp("dags")
    text = DAGS.format(endpoint=qianfan.endpoint, published=published, watched=watched, files=FILES)
    (dags / "assets.py").write_text(text)
    env = {
        "AIRFLOW__QIANFAN__POLL_INTERVAL": "1",
        "AIRFLOW__QIANFAN__MAX_POLL_INTERVAL": "1",
        # A new triggerer takes over what a killed one has left.
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    }
    home: Path = tmp_path_factory.mktemp("airflow")
    with LocalAirflow(home, dags_folder=dags, env=env) as airflow:
        airflow.wait_ready("publisher")
        airflow.api.add_connection(CONNECTION_ID, qianfan.connection)
        for dag_id in ("publisher", "by_event", "by_watcher"):
            airflow.api.unpause(dag_id)
        yield Deployment(airflow, qianfan, published, watched)


@pytest.mark.slow
def test_each_version_starts_its_dag_once_whoever_published_it_and_whatever_crashes(
    deployment: Deployment,
) -> None:
    deployment.wait_for_polls()

    first = deployment.publish_by_operator(deployment.published)
    deployment.wait_until_received("by_event", first)
    assert deployment.received("by_event") == [first]

    by_hand = [deployment.publish_by_hand()]
    deployment.wait_until_received("by_watcher", by_hand[0])
    # It remembers what it has told before it polls again.
    deployment.wait_for_polls()

    deployment.airflow.kill("triggerer")
    by_hand.append(deployment.publish_by_hand())
    deployment.airflow.start_component("triggerer")
    deployment.wait_until_received("by_watcher", by_hand[1])

    by_both = deployment.publish_by_operator(deployment.watched)
    deployment.wait_until_received("by_watcher", by_both)
    by_hand.append(deployment.publish_by_hand())
    deployment.wait_until_received("by_watcher", by_hand[2])

    deployment.wait_for_polls(5)
    expected = [*by_hand[:2], by_both, by_hand[2]]
    assert [told["model_id"] for told in deployment.events()] == expected
    assert deployment.received("by_watcher") == expected
    assert deployment.received("by_event") == [first]
