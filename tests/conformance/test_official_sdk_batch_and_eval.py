"""The official ``qianfan`` SDK drives batch inference and evaluation of the emulator over HTTP."""

import pytest
from qianfan.errors import RequestError
from qianfan.resources.console.data import Data
from qianfan.resources.console.eval import Eval
from qianfan.resources.console.utils import call_action

from airflow_qianfan.emulator import Assumptions, QianfanEmulator

DURATION = 10_000
"""Seconds that tasks take by the emulator's clock, which only the tests move on."""

FILES = {"input_bos_uri": "bos:/b/in", "output_bos_uri": "bos:/b/out"}
MODELS = {
    "evalModelConfig": {"versionId": "ds-1", "evalModelConfigList": [{"modelId": "amv-1"}]},
}


@pytest.fixture
def emulator():
    assumptions = Assumptions(batch_inference_limit=2)
    with QianfanEmulator(task_seconds=DURATION, assumptions=assumptions) as running:
        yield running


@pytest.fixture(autouse=True)
def sdk_settings(emulator, monkeypatch):
    """Set the SDK up by its environment; it reads that once in a process, into this variable."""
    monkeypatch.setenv("QIANFAN_ACCESS_KEY", emulator.access_key)
    monkeypatch.setenv("QIANFAN_SECRET_KEY", emulator.secret_key)
    monkeypatch.setenv("QIANFAN_CONSOLE_API_BASE_URL", emulator.endpoint)
    monkeypatch.setattr("qianfan.config._GLOBAL_CONFIG", None)


def create_batch(**members):
    arguments = {"name": "nightly", "model_id": "amv-1", **FILES, **members}
    return Data.create_offline_batch_inference_task(**arguments)["result"]["taskId"]


def describe_batch(task_id):
    return Data.get_offline_batch_inference_task(task_id=task_id)["result"]


def create_evaluation(mode="rule", **members):
    arguments = {
        "task_name": "nightly",
        "eval_object_type": "model",
        "eval_object_config": MODELS,
        "eval_config": {"evalMode": mode},
        **members,
    }
    # A text and nothing else.
    return Eval.V2.create_eval_task(**arguments)["result"]


def test_life_cycle_of_a_batch_inference(emulator):
    task_id = create_batch(description="d", inference_params={"temperature": 0.1}, completion_window="24h")
    request = emulator.objects("batch_inference_task")[0]["request"]
    assert request["completion_window"] == "24h"
    assert request["inferenceParams"] == {"temperature": 0.1}
    seen = []
    for _ in range(21):
        found = describe_batch(task_id)
        if found["runStatus"] not in seen:
            seen.append(found["runStatus"])
        emulator.advance(DURATION / 20)
    assert seen == ["Queuing", "Running", "Done"]
    assert found["progress"] == found["total"]
    # Without a filter the SDK sends an empty list of states.
    rows = Data.list_offline_batch_inference_task(max_keys=100)["result"]["taskList"]
    assert rows == [found]
    assert Data.list_offline_batch_inference_task(run_status="Running")["result"]["taskList"] == []
    assert {entry["outcome"] for entry in emulator.journal} == {"ok"}


def test_batch_inference_on_the_file_system_by_an_endpoint():
    afs = {"userName": "u", "password": "p", "inputAfsUri": "afs:/i", "outputAfsUri": "afs:/o"}
    task_id = create_batch(model_id=None, endpoint="https://qianfan.example/x", afs_config=afs)
    assert describe_batch(task_id)["endpoint"] == "https://qianfan.example/x"


def test_batch_inference_is_stopped():
    task_id = create_batch()
    assert Data.stop_offline_batch_inference_task(task_id=task_id)["result"] is True
    assert describe_batch(task_id)["runStatus"] == "Stopped"
    assert Data.stop_offline_batch_inference_task(task_id=task_id)["result"] is False


def test_refusals_of_batch_inference_reach_the_sdk():
    with pytest.raises(RequestError, match=r"param\[userName\] invalid"):
        create_batch(afs_config={"password": "p"})
    create_batch()
    create_batch()
    with pytest.raises(RequestError, match="TaskRunningNumberExceedLimit"):
        create_batch()


def test_models_by_the_generic_call():
    answer = call_action("/v2/batchinference", "DescribeBatchInferenceModel", {})
    assert answer["result"]["commonModelList"]


def test_life_cycle_of_an_evaluation(emulator):
    task_id = create_evaluation(description="d")
    rows = Eval.V2.describe_eval_tasks(eval_type="auto", key_filter="night", max_keys=10)["result"]
    assert [row["taskId"] for row in rows["taskList"]] == [task_id]
    assert Eval.V2.describe_eval_tasks(eval_type="manual")["result"]["taskList"] == []
    emulator.advance(DURATION)
    assert Eval.V2.describe_eval_task(task_id=task_id)["result"]["state"] == "Successed"
    (entry,) = Eval.V2.describe_eval_task_report(task_id=task_id)["result"]
    assert entry["modelId"] == "amv-1"
    assert Eval.V2.delete_eval_task(task_id=task_id)["result"] is True
    assert emulator.objects("eval_task") == []


def test_actions_of_evaluation_that_the_sdk_has_no_calls_for(emulator):
    stopped = create_evaluation()
    assert call_action("/v2/eval", "StopEvalTask", {"taskId": stopped})["result"] == {}
    task_id = create_evaluation()
    emulator.advance(DURATION)
    export = call_action("/v2/eval", "CreateEvalResultExportTask", {"evalId": task_id})["result"]
    emulator.advance(DURATION)
    found = call_action("/v2/eval", "DescribeEvalResultExportTask", {"taskId": export})["result"]
    assert found["status"] == "Succeeded"


def test_refusals_of_evaluation_reach_the_sdk():
    with pytest.raises(RequestError, match=r"param\[evalMode\] invalid"):
        create_evaluation("guess")
    with pytest.raises(RequestError, match="NoSuchKey"):
        Eval.V2.describe_eval_task(task_id="ame-000000000000")
    with pytest.raises(RequestError, match="InvalidStatus"):
        Eval.V2.describe_eval_task_report(task_id=create_evaluation())
