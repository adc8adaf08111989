"""Values that the service would refuse are not sent."""

from __future__ import annotations

import pytest
from airflow.sdk import DAG
from operator_values import CHAT, DATASET, FILES, JOB, RETRIES, TRAINING

from airflow_qianfan.exceptions import QianfanValidationError
from airflow_qianfan.operators.action import QianfanActionOperator
from airflow_qianfan.operators.finetuning import (
    QianfanCreateFineTuningJobOperator,
    QianfanCreateFineTuningTaskOperator,
    QianfanDescribeFineTuningTaskOperator,
    QianfanFineTuningOperator,
    QianfanStopFineTuningTaskOperator,
)
from airflow_qianfan.operators.model import (
    QianfanCreateCustomModelOperator,
    QianfanDeleteModelOperator,
    QianfanDescribeModelSetOperator,
)

EMPTY = "{{ '' }}"

INVALID = [
    (QianfanCreateFineTuningJobOperator, {**JOB, "name": "{{ 'x' * 21 }}"}, "name"),
    (QianfanCreateFineTuningJobOperator, {**JOB, "name": "{{ 'x' }}"}, "name"),
    (QianfanCreateFineTuningJobOperator, {**JOB, "model": EMPTY}, "model"),
    (QianfanCreateFineTuningJobOperator, {**JOB, "description": "{{ 'x' * 501 }}"}, "description"),
    (
        QianfanCreateFineTuningTaskOperator,
        {"fine_tuning_job_id": EMPTY, "hyper_parameter_config": {}, "dataset_config": DATASET},
        "jobId",
    ),
    (
        QianfanCreateFineTuningTaskOperator,
        {"fine_tuning_job_id": "job-1", "hyper_parameter_config": "{'a': 1}", "dataset_config": DATASET},
        "hyperParameterConfig",
    ),
    (
        QianfanCreateFineTuningTaskOperator,
        {"fine_tuning_job_id": "job-1", "hyper_parameter_config": {}, "dataset_config": {"versions": []}},
        "datasetConfig.sourceType",
    ),
    (
        QianfanCreateFineTuningTaskOperator,
        {
            "fine_tuning_job_id": "job-1",
            "hyper_parameter_config": {},
            "dataset_config": DATASET,
            "increment_checkpoint_step": "last",
        },
        "incrementCheckpointStep",
    ),
    (QianfanDescribeFineTuningTaskOperator, {"fine_tuning_task_id": EMPTY}, "taskId"),
    (QianfanStopFineTuningTaskOperator, {"fine_tuning_task_id": EMPTY}, "taskId"),
    (QianfanDescribeModelSetOperator, {}, "modelSetId"),
    (
        QianfanCreateCustomModelOperator,
        {
            "model_set_id": "am-1",
            "import_meta": {**FILES, "chatConf": CHAT, "customSpec": {"displayName": "d"}},
        },
        "importMeta.customSpec.fileName",
    ),
    (
        QianfanCreateCustomModelOperator,
        {"model_set_id": "am-1", "fine_tuning_task_id": "task-1", "checkpoint_step": "best"},
        "trainMeta.checkpointStep",
    ),
    (
        QianfanCreateCustomModelOperator,
        {"model_set_id": "am-1", "fine_tuning_task_id": "{{ 'task-1' }}", "train_meta": {"taskId": "task-1"}},
        "train_meta",
    ),
    (
        QianfanCreateCustomModelOperator,
        {"model_set_id": "am-1", "train_meta": {"taskId": "task-1"}, "checkpoint_step": "{{ 64 }}"},
        "checkpoint_step",
    ),
    (
        QianfanCreateCustomModelOperator,
        {"model_set_id": "am-1", "import_meta": FILES, "description": "{{ 'x' * 301 }}"},
        "description",
    ),
    (QianfanCreateCustomModelOperator, {"model_set_id": "am-1", "source_type": "Train"}, "trainMeta"),
    (
        QianfanCreateCustomModelOperator,
        {"model_set_id": "am-1", "source_type": "{{ 'Copy' }}", "import_meta": FILES},
        "sourceType",
    ),
    (
        QianfanActionOperator,
        {"route": "/v2/model", "action": "DescribeModel", "body": "{modelId: 1}"},
        "body",
    ),
    (QianfanActionOperator, {"route": "/v2/model", "action": "DescribeModel", "body": "[1]"}, "body"),
    (QianfanActionOperator, {"route": "v2/model", "action": "DescribeModel"}, "route"),
    (QianfanActionOperator, {"route": "/v2/model", "action": EMPTY}, "action"),
]


@pytest.mark.parametrize(("operator", "arguments", "member"), INVALID)
def test_bad_values_parse_but_fail_when_the_task_runs_without_being_sent(
    emulator, run_task, operator, arguments, member
):
    run = run_task(operator, **arguments, **RETRIES)
    assert isinstance(run.error, QianfanValidationError)
    assert member in run.error.parameters
    assert member.lower() in str(run.error).lower()
    assert emulator.journal == []
    assert run.tries == {"it": 1}


LITERALS = [
    (QianfanCreateFineTuningJobOperator, {**JOB, "name": "x"}, "name must have 2 to 20 characters"),
    (QianfanCreateFineTuningJobOperator, {**JOB, "name": "x" * 21}, "name must have 2 to 20 characters"),
    (QianfanCreateFineTuningJobOperator, {**JOB, "description": "x" * 501}, "description must have 0 to 500"),
    (QianfanFineTuningOperator, {**TRAINING, "name": "x" * 21}, "name must have 2 to 20 characters"),
    (
        QianfanCreateCustomModelOperator,
        {"model_set_id": "am-1", "import_meta": FILES, "description": "x" * 301},
        "description must have 0 to 300 characters",
    ),
    (QianfanCreateFineTuningJobOperator, {**JOB, "model": ""}, "^model must not be empty$"),
    (
        QianfanStopFineTuningTaskOperator,
        {"fine_tuning_task_id": ""},
        "^fine_tuning_task_id must not be empty$",
    ),
    (QianfanActionOperator, {"route": "/v2/model", "action": ""}, "^action must not be empty$"),
    (
        QianfanCreateCustomModelOperator,
        {"model_set_id": "am-1", "import_meta": FILES, "source_type": "Copy"},
        "^source_type must be 'Train', 'Import' or None, not 'Copy'$",
    ),
    (
        QianfanCreateCustomModelOperator,
        {"model_set_id": "am-1", "fine_tuning_task_id": "task-1", "train_meta": {"taskId": "task-1"}},
        "give fine_tuning_task_id or train_meta, not both",
    ),
    (
        QianfanCreateCustomModelOperator,
        {"model_set_id": "am-1", "train_meta": {"taskId": "task-1"}, "checkpoint_step": 64},
        "checkpoint_step needs fine_tuning_task_id",
    ),
]


@pytest.mark.parametrize(("operator", "arguments", "message"), LITERALS)
def test_literal_value_that_cannot_be_right_is_refused_when_the_dag_is_parsed(operator, arguments, message):
    with DAG("literals"), pytest.raises((ValueError, QianfanValidationError), match=message):
        operator(task_id="x", **arguments)


def test_if_missing_takes_two_words_only():
    with DAG("words"), pytest.raises(ValueError, match="'fail' or 'ignore', not 'maybe'"):
        QianfanDeleteModelOperator(task_id="x", model_id="m", if_missing="maybe")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("poll_interval", "30"),
        ("poll_interval", -1),
        ("poll_interval", True),
        ("poll_interval", float("nan")),
        ("max_poll_interval", 0),
        ("max_poll_interval", float("inf")),
        ("max_poll_failures", "3"),
        ("max_poll_failures", -1),
        ("max_poll_failures", 1.5),
    ],
)
def test_a_bad_way_of_waiting_is_refused_before_anything_is_created(name, value):
    with DAG("bad"), pytest.raises(ValueError, match=f"{name} must be a"):
        QianfanFineTuningOperator(task_id="x", **{**TRAINING, name: value})


def test_a_bad_interval_in_airflows_configuration_is_refused_too(monkeypatch):
    monkeypatch.setenv("AIRFLOW__QIANFAN__POLL_INTERVAL", "-3")
    with DAG("bad"), pytest.raises(ValueError, match="poll_interval must be a positive number"):
        QianfanFineTuningOperator(task_id="x", **{**TRAINING, "poll_interval": None})


def test_deferring_without_waiting_is_refused_when_the_dag_is_parsed():
    with DAG("both"), pytest.raises(ValueError, match="choose one"):
        QianfanFineTuningOperator(task_id="x", **TRAINING, deferrable=True, wait_for_completion=False)
