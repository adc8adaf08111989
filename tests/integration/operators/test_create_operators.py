"""What the operators that create something send, and return."""

from __future__ import annotations

import json
import re

import pytest
from operator_values import DATASET, HOUR, JOB, MARK, RETRIES

from airflow_qianfan.exceptions import QianfanAuthenticationError, QianfanPermissionError
from airflow_qianfan.operators.finetuning import (
    QianfanCreateFineTuningJobOperator,
    QianfanCreateFineTuningTaskOperator,
)
from airflow_qianfan.operators.model import (
    QianfanCreateCustomModelSetOperator,
    QianfanDescribeModelSetOperator,
)


def test_create_job_renders_its_fields_and_returns_the_id(emulator, run_task):
    run = run_task(
        QianfanCreateFineTuningJobOperator,
        qianfan_conn_id="qianfan_{{ params.c }}",
        name="{{ params.p }}-job",
        model="{{ params.p }}-model",
        train_mode="{{ params.p }}-mode",
        description="{{ params.p }} of {{ dag.dag_id }}",
        params={"c": "default", "p": "my"},
    )
    (job,) = emulator.jobs
    assert re.fullmatch(rf"my of dag_\d+ {MARK}", job["description"])
    assert job["request"] == {
        "name": "my-job",
        "model": "my-model",
        "trainMode": "my-mode",
        "description": job["description"],
    }
    assert run.value == {"fine_tuning_job_id": job["jobId"], "name": "my-job"}
    assert run.xcom["fine_tuning_job_id"] == job["jobId"]


@pytest.mark.parametrize("as_text", [False, True], ids=["objects", "json text"])
def test_create_task_sends_every_field_rendered(emulator, service, run_task, as_text):
    base = service.task("base")
    emulator.advance(2 * HOUR)
    step = emulator.tasks[0]["checkpointList"][0]["step"]
    objects = {
        "hyper_parameter_config": {"epoch": "{{ params.epoch }}", "Packing": True},
        "dataset_config": {**DATASET, "versions": [{"versionId": "{{ params.data }}", "samplingRate": 0.5}]},
        "corpus_config": {"copyData": False, "config": [{"proportion": "1:{{ params.epoch }}"}]},
        "model_config": {"any": "{{ params.data }}"},
        "resource_config": {"resourceId": "prl-{{ params.epoch }}", "nodeNum": 2},
    }
    run = run_task(
        QianfanCreateFineTuningTaskOperator,
        fine_tuning_job_id="{{ params.job }}",
        parameter_scale="{{ params.scale }}",
        increment_task_id="{{ params.base }}",
        increment_checkpoint_step="{{ params.step }}",
        **{name: json.dumps(value) if as_text else value for name, value in objects.items()},
        params={
            "job": service.job(),
            "epoch": "5",
            "data": "ds-9",
            "scale": "LoRA",
            "base": base,
            "step": step,
        },
    )
    task = emulator.tasks[1]
    assert task["request"] == {
        "jobId": task["jobId"],
        "parameterScale": "LoRA",
        "incrementTaskId": base,
        "incrementCheckpointStep": step,
        "hyperParameterConfig": {"epoch": "5", "Packing": True},
        "datasetConfig": {
            "sourceType": "Platform",
            "versions": [{"versionId": "ds-9", "samplingRate": 0.5}],
            "splitRatio": 20,
        },
        "corpusConfig": {"copyData": False, "config": [{"proportion": "1:5"}]},
        "modelConfig": {"any": "ds-9"},
        "resourceConfig": {"resourceId": "prl-5", "nodeNum": 2},
    }
    assert run.value == {"fine_tuning_task_id": task["taskId"], "fine_tuning_job_id": task["jobId"]}
    assert {name: run.xcom[name] for name in run.value} == run.value


@pytest.mark.parametrize("labels", [["{{ params.p }}", "b"], '["{{ params.p }}", "b"]'])
def test_create_model_set_renders_its_fields_and_returns_the_id(emulator, run_task, labels):
    run = run_task(
        QianfanCreateCustomModelSetOperator,
        model_set_name="{{ params.p }}-set",
        model_type="{{ params.type }}",
        labels=labels,
        params={"p": "my", "type": "Text2Image"},
    )
    assert run.value == {"model_set_id": run.xcom["model_set_id"], "model_set_name": "my-set"}
    shown = run_task(QianfanDescribeModelSetOperator, model_set_name="{{ params.n }}", params={"n": "my-set"})
    assert shown.value == {
        "model_set_id": run.value["model_set_id"],
        "model_set_name": "my-set",
        "model_type": "Text2Image",
        "labels": ["my", "b"],
        "model_ids": [],
    }


@pytest.mark.parametrize(
    ("operator", "arguments", "field"),
    [
        (QianfanCreateFineTuningJobOperator, {"model": "M", "train_mode": "SFT"}, "name"),
        (QianfanCreateCustomModelSetOperator, {}, "model_set_name"),
    ],
)
def test_a_name_that_is_not_given_is_made_from_dag_and_run(emulator, run_task, operator, arguments, field):
    names = [run_task(operator, **arguments).value[field] for _ in range(3)]
    assert len(set(names)) == 3
    assert all(re.fullmatch(r"dag_\d+_[0-9a-f]{12}", name) and len(name) <= 20 for name in names)


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ({"login": "nobody"}, QianfanAuthenticationError),
        ({"login": "reader", "password": "r" * 32}, QianfanPermissionError),
    ],
)
def test_refused_credentials_cost_no_retries(start_emulator, monkeypatch, run_task, key, error):
    emulator = start_emulator(read_only_keys={"reader": "r" * 32})
    connection = json.loads(emulator.connection_json) | key
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(connection))
    run = run_task(QianfanCreateFineTuningJobOperator, **JOB, qianfan_conn_id="other", **RETRIES)
    assert isinstance(run.error, error)
    assert run.tries == {"it": 1}
    assert emulator.jobs == []
