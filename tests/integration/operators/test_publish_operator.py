"""A training or files become a model version."""

from __future__ import annotations

import json
import re

import pytest
from operator_values import CHAT, FILES, HOUR, MARK, MODES, RETRIES

from airflow_qianfan.exceptions import QianfanTerminalStateError
from airflow_qianfan.operators.model import QianfanCreateCustomModelOperator


def test_publishing_a_training_sends_every_field_rendered(emulator, service, run_task):
    task_id, model_set_id = service.task(), service.model_set()
    emulator.advance(2 * HOUR)
    step = emulator.tasks[0]["checkpointList"][0]["step"]
    run = run_task(
        QianfanCreateCustomModelOperator,
        model_set_id="{{ params.set }}",
        fine_tuning_task_id="{{ params.task }}",
        checkpoint_step="{{ params.step }}",
        description="by {{ params.who }}",
        resource_config={"resourceId": "{{ params.who }}"},
        params={"set": model_set_id, "task": task_id, "step": step, "who": "me"},
    )
    (version,) = emulator.models
    assert re.fullmatch(f"by me {MARK}", version["description"])
    assert version["request"] == {
        "modelSetId": model_set_id,
        "sourceType": "Train",
        "description": version["description"],
        "trainMeta": {"taskId": task_id, "checkpointStep": step, "step": step},
        "resourceConfig": {"resourceId": "me"},
    }
    assert run.value == {"model_id": version["modelId"], "model_set_id": model_set_id}
    assert {name: run.xcom[name] for name in run.value} == run.value


@pytest.mark.parametrize(
    "train_meta",
    [
        {"taskId": "{{ params.task }}", "step": "{{ params.step }}"},
        '{"taskId": "{{ params.task }}", "checkpointStep": {{ params.step }}}',
    ],
    ids=["object", "json text"],
)
def test_train_meta_may_be_given_as_the_page_describes_it(emulator, service, run_task, train_meta):
    task_id = service.task()
    emulator.advance(2 * HOUR)
    step = emulator.tasks[0]["checkpointList"][0]["step"]
    run_task(
        QianfanCreateCustomModelOperator,
        model_set_id=service.model_set(),
        train_meta=train_meta,
        params={"task": task_id, "step": step},
    )
    (version,) = emulator.models
    assert version["request"]["sourceType"] == "Train"
    assert version["request"]["trainMeta"] == {"taskId": task_id, "checkpointStep": step, "step": step}


EVERY_IMPORT_FIELD = {
    "bucket": "bucket-1",
    "objectPath": "path/to/model/",
    "modelFormat": "HuggingFace.vLLM",
    "modelApplicationType": "chat",
    "advanceConf": "conf-1",
    "transformerVersion": "4.40.2",
    "vLLMVersion": "0.6.3",
    "enablePromptAutoConcat": False,
    "basicModelName": "DeepSeek-R1-Distill-Qwen-32B",
    "advancedSettings": {"samplingStrategy": "multinomialSampling", "numSampling": 1, "numBeams": 2},
}


@pytest.mark.parametrize("as_text", [False, True], ids=["object", "json text"])
@pytest.mark.parametrize(
    "template",
    [{"chatConf": CHAT}, {"customSpec": {"displayName": "mine", "fileName": "spec-1.py"}}],
    ids=["chatConf", "customSpec"],
)
def test_importing_files_sends_every_field_of_the_page(emulator, service, run_task, template, as_text):
    expected = EVERY_IMPORT_FIELD | template
    given = {**expected, "bucket": "bucket-{{ params.n }}"}
    run = run_task(
        QianfanCreateCustomModelOperator,
        model_set_id=service.model_set(),
        source_type="Import",
        import_meta=json.dumps(given) if as_text else given,
        resource_config='{"resourceId": "prl-{{ params.n }}"}',
        params={"n": 1},
    )
    (version,) = emulator.models
    assert version["request"] == {
        "modelSetId": run.value["model_set_id"],
        "sourceType": "Import",
        "importMeta": expected,
        "description": version["description"],
        "resourceConfig": {"resourceId": "prl-1"},
    }


@MODES
def test_publishing_can_wait_until_the_version_is_ready(start_emulator, service, run_task, deferrable):
    start_emulator(model_seconds=0.4)
    run = run_task(
        QianfanCreateCustomModelOperator,
        model_set_id=service.model_set(),
        import_meta=FILES,
        wait_for_completion=True,
        deferrable=deferrable,
        poll_interval=0.05,
    )
    assert (run.value["status"], run.value["is_support_deploy"]) == ("Ready", True)
    assert run.xcom["model_id"] == run.value["model_id"]
    assert run.xcom["_link_QianfanModelLink"] == run.value["console_url"]


@MODES
def test_a_version_that_fails_ends_the_task_without_retries(start_emulator, service, run_task, deferrable):
    emulator = start_emulator(model_seconds=0.4)
    run = run_task(
        QianfanCreateCustomModelOperator,
        model_set_id=service.model_set("will-fail"),
        import_meta=FILES,
        wait_for_completion=True,
        deferrable=deferrable,
        poll_interval=0.05,
        **RETRIES,
    )
    assert isinstance(run.error, QianfanTerminalStateError)
    assert run.error.state == "Fail"
    assert run.tries == {"it": 1}
    assert len(emulator.models) == 1


def test_publishing_links_to_the_models_of_the_account(emulator, service, run_task):
    run = run_task(QianfanCreateCustomModelOperator, model_set_id=service.model_set(), import_meta=FILES)
    assert run.xcom["_link_QianfanModelLink"].endswith("/qianfan/modelcenter/model/user/list")
