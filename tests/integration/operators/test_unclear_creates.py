"""A Create takes effect once, whatever becomes of its answer."""

from __future__ import annotations

import pytest
from operator_values import DATASET, FILES, HYPER, JOB, RETRIES, actions_of

from airflow_qianfan.exceptions import QianfanAmbiguousCreateError
from airflow_qianfan.operators.finetuning import (
    QianfanCreateFineTuningJobOperator,
    QianfanCreateFineTuningTaskOperator,
)
from airflow_qianfan.operators.model import (
    QianfanCreateCustomModelOperator,
    QianfanCreateCustomModelSetOperator,
)

CREATIONS = pytest.mark.parametrize(
    ("action", "operator", "arguments"),
    [
        ("CreateFineTuningJob", QianfanCreateFineTuningJobOperator, {**JOB, "validate": "off"}),
        (
            "CreateFineTuningTask",
            QianfanCreateFineTuningTaskOperator,
            {
                "fine_tuning_job_id": "job",
                "hyper_parameter_config": HYPER,
                "dataset_config": DATASET,
                "validate": "off",
            },
        ),
        ("CreateCustomModelSet", QianfanCreateCustomModelSetOperator, {"model_set_name": "new"}),
        (
            "CreateCustomModel",
            QianfanCreateCustomModelOperator,
            {"model_set_id": "set", "import_meta": FILES},
        ),
    ],
    ids=["job", "task", "model set", "model"],
)


@pytest.fixture
def parents(emulator, service):
    """Make a job and a model set; return arguments with their ids in place of ``job`` and ``set``."""
    known = {"job": service.job("base"), "set": service.model_set("base")}

    def fill(arguments):
        return {
            name: known.get(value, value) if isinstance(value, str) else value
            for name, value in arguments.items()
        }

    return fill


def effective(emulator, action):
    return [call for call in emulator.journal if call["action"] == action and call["effect"]]


@CREATIONS
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "lost_answer"},
        {"kind": "server_error"},
        {"kind": "server_error", "effect": True},
        {"kind": "malformed", "effect": True},
        {"kind": "reset"},
    ],
    ids=lambda fault: "-".join(map(str, fault.values())),
)
def test_a_create_takes_effect_once_although_its_answer_fails(
    emulator, parents, run_task, action, operator, arguments, fault
):
    arguments, known = parents(arguments), len(emulator.journal)
    emulator.fail_next(action, **fault)
    run = run_task(operator, **arguments, **RETRIES)
    assert run.state == "success"
    created = [call for call in emulator.journal[known:] if call["action"] == action and call["effect"]]
    assert len(created) == 1
    assert set(run.value.values()) & set(created[0]["ids"].values())
    assert run.tries == {"it": 1}


@CREATIONS
@pytest.mark.parametrize("kind", ["lost_answer", "server_error", "reset", "malformed"])
def test_without_durable_a_create_with_an_unclear_end_fails_and_is_not_repeated(
    emulator, parents, run_task, action, operator, arguments, kind
):
    arguments, known = parents(arguments), len(emulator.journal)
    emulator.fail_next(action, kind=kind)
    run = run_task(operator, **arguments, durable=False, **RETRIES)
    assert isinstance(run.error, QianfanAmbiguousCreateError)
    assert action in str(run.error)
    assert actions_of(emulator)[known:] == [action]
    assert run.tries == {"it": 1}
