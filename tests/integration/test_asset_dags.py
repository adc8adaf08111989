"""The examples that start with a new version: what they do with it."""

from __future__ import annotations

import pytest
from example_dags import effects
from night import prepare

from airflow_qianfan.assets import model_set_asset
from airflow_qianfan.hooks.qianfan import QianfanHook

MODEL_SET_ID = "am-0123456789ab"


@pytest.fixture
def emulator(start_emulator):
    return start_emulator(task_seconds=0.4, model_seconds=0.2)


@pytest.mark.parametrize("name", ["evaluate_new_version", "deploy_new_version"])
def test_it_is_scheduled_by_the_asset_of_its_model_set(examples, name):
    asset = examples.dags[name].schedule
    assert asset.uri == model_set_asset(MODEL_SET_ID).uri
    watched = [watcher.trigger.model_set_id for watcher in asset.watchers]
    assert watched == ([MODEL_SET_ID] if name == "deploy_new_version" else [])


def test_a_version_is_evaluated(emulator, service, examples, run_dag):
    model_id = service.model()
    emulator.advance(1)
    run = run_dag(examples.dags["evaluate_new_version"], run_conf={"model_id": model_id})
    assert run.state == "success", run.errors
    assert effects(emulator)[-1] == "CreateEvalTask"
    (task,) = emulator.objects("eval_task")
    rows = task["request"]["evalObjectConfig"]["evalModelConfig"]["evalModelConfigList"]
    assert rows == [{"modelId": model_id}]


def test_a_version_is_deployed_and_without_one_nothing_is(emulator, service, examples, run_dag):
    prepared = prepare(QianfanHook().call, emulator.advance)
    known = len(effects(emulator))
    dag = examples.dags["deploy_new_version"]
    run = run_dag(dag, run_conf={"service_id": prepared.service_id})
    assert run.states == {"newest": "success", "deploy": "skipped"}
    assert effects(emulator)[known:] == []

    model_id = service.model("faq 2")
    emulator.advance(1)
    conf = {"service_id": prepared.service_id, "model_id": model_id}
    run = run_dag(dag, run_conf=conf | {"model_set_id": emulator.models[-1]["modelSetId"]})
    assert run.state == "success", run.errors
    (deployed,) = emulator.services
    assert deployed["modelId"] == model_id
