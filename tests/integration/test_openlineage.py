"""What Airflow's OpenLineage provider writes of DAG runs, with its file transport."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from lineage_run import EVAL_DATA

from airflow_qianfan.asset_uris import endpoint_uri
from airflow_qianfan.emulator import QianfanEmulator

pytestmark = pytest.mark.slow

API_KEY = "bce-v3/ALTAK-sentinel/0123456789"


class Told:
    """What OpenLineage was told of the tasks of a DAG run at their ends.

    :param text: the file that it has written.
    """

    def __init__(self, text, dag_id):
        events = [json.loads(line) for line in text.splitlines()]
        ended = [event for event in events if event["eventType"] in ("COMPLETE", "FAIL")]
        names = [event["job"]["name"].partition(".") for event in ended]
        self._tasks = {
            task: event for (dag, _, task), event in zip(names, ended, strict=True) if dag == dag_id
        }

    def event(self, task_id):
        return self._tasks[task_id]

    def names(self, task_id, side):
        return {(dataset["namespace"], dataset["name"]) for dataset in self._tasks[task_id][side]}

    def facets(self, task_id):
        facets = self._tasks[task_id]["run"]["facets"]
        told = {name: value for name, value in facets.items() if name.startswith("qianfan_")}
        return {
            name: {member: value for member, value in facet.items() if not member.startswith("_")}
            for name, facet in told.items()
        }


@dataclass
class Lineage:
    """What two DAG runs have told: one to its end, and one whose training fails."""

    emulator: QianfanEmulator
    chain: Told
    failing: Told
    text: str


@pytest.fixture(scope="module")
def lineage(_database, tmp_path_factory):
    """Run the DAGs of ``lineage_run.py`` in a process of its own."""
    file = tmp_path_factory.mktemp("lineage") / "events.jsonl"
    script = Path(__file__).with_name("lineage_run.py")
    with QianfanEmulator(task_seconds=0.4, model_seconds=0.2, strict=True) as emulator:
        emulator.add_dataset(EVAL_DATA)
        connection = json.loads(emulator.connection_json)
        connection["extra"] = {**connection.get("extra", {}), "api_key": API_KEY}
        transport = {"type": "file", "log_file_path": str(file), "append": True}
        environment = {
            **os.environ,
            "AIRFLOW_CONN_QIANFAN_DEFAULT": json.dumps(connection),
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
            "AIRFLOW__QIANFAN__POLL_INTERVAL": "0.1",
        }
        command = [sys.executable, str(script)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stdout + done.stderr
        assert file.exists(), done.stdout + done.stderr
        told = file.read_text()
        yield Lineage(emulator, Told(told, "lineage_chain"), Told(told, "lineage_failing"), told)


def test_the_way_from_the_files_to_the_service_is_one_chain(lineage):
    emulator, found = lineage.emulator, lineage.chain
    namespace = endpoint_uri(emulator.endpoint)
    (training, _), (model,), (service,) = emulator.tasks, emulator.models, emulator.services
    (evaluation,) = emulator.objects("eval_task")
    version = emulator.objects("dataset_version")[-1]
    files = {("bos://my-bucket", "faq/today.jsonl")}
    data = {(namespace, f"dataset-versions/{version['versionId']}")}
    trained = {(namespace, f"fine-tuning-tasks/{training['taskId']}")}
    published = {(namespace, f"model-versions/{model['modelId']}")}

    assert found.names("data", "inputs") == files
    assert found.names("data", "outputs") == data | {(namespace, f"datasets/{version['datasetId']}")}
    assert found.names("train", "inputs") == data
    assert found.names("train", "outputs") == trained
    assert found.names("publish", "inputs") == trained
    assert found.names("publish", "outputs") == published | {(namespace, f"model-sets/{model['modelSetId']}")}
    assert found.names("evaluate", "inputs") == published | {(namespace, f"dataset-versions/{EVAL_DATA}")}
    assert found.names("evaluate", "outputs") == {(namespace, f"evaluations/{evaluation['taskId']}")}
    assert found.names("deploy", "inputs") == published
    assert found.names("deploy", "outputs") == {(namespace, f"services/{service['serviceId']}")}

    facets = found.facets("train")
    assert facets["qianfan_baseModel"] == {
        "model": "ERNIE-Speed-8K",
        "trainMode": "SFT",
        "parameterScale": "LoRA",
    }
    assert facets["qianfan_hyperParameters"] == {"values": {"epoch": 1, "learningRate": 0.0003}}
    rouge = float(training["metrics"]["ROUGE-L"].rstrip("%")) / 100
    assert facets["qianfan_metrics"]["values"]["ROUGE-L"] == pytest.approx(rouge)
    assert (facets["qianfan_object"]["id"], facets["qianfan_object"]["status"]) == (
        training["taskId"],
        "Done",
    )
    assert found.facets("publish")["qianfan_baseModel"] == {"model": model["model"]}
    assert set(found.facets("evaluate")["qianfan_metrics"]["values"]) == {model["modelId"]}


def test_no_secret_is_told(lineage):
    connection = json.loads(lineage.emulator.connection_json)
    assert connection["login"]
    for secret in (connection["password"], API_KEY, "sentinel"):
        assert secret not in lineage.text


def test_a_training_that_has_failed_is_told_with_what_it_was_made_from(lineage):
    emulator, found = lineage.emulator, lineage.failing
    training = emulator.tasks[1]
    assert found.event("train")["eventType"] == "FAIL"
    assert found.names("train", "inputs") == {
        (endpoint_uri(emulator.endpoint), f"dataset-versions/{EVAL_DATA}")
    }
    assert found.names("train", "outputs") == set()
    facets = found.facets("train")
    assert facets["qianfan_object"]["id"] == training["taskId"]
    assert facets["qianfan_baseModel"]["model"] == "ERNIE-Speed-8K"
    assert "qianfan_metrics" not in facets
