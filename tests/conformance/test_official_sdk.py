"""The official ``qianfan`` SDK, with its own signing and parsing, drives the emulator over HTTP."""

import pytest
from qianfan.errors import APIError, RequestError
from qianfan.resources import FineTune, Model
from qianfan.resources.console import consts
from qianfan.resources.console.utils import call_action

from airflow_qianfan.emulator import QianfanEmulator

DATASET = {
    "sourceType": consts.TrainDatasetSourceType.Platform.value,
    "versions": [{"versionId": "ds-0123456789abcdef"}],
    "splitRatio": 20,
}


DURATION = 10_000
"""Seconds that trainings and models take by the emulator's clock, which only the tests move on."""


@pytest.fixture
def emulator():
    with QianfanEmulator(task_seconds=DURATION, model_seconds=DURATION) as running:
        yield running


@pytest.fixture(autouse=True)
def sdk_settings(emulator, monkeypatch):
    """Set the SDK up by its environment; it reads that once in a process, into this variable."""
    monkeypatch.setenv("QIANFAN_ACCESS_KEY", emulator.access_key)
    monkeypatch.setenv("QIANFAN_SECRET_KEY", emulator.secret_key)
    monkeypatch.setenv("QIANFAN_CONSOLE_API_BASE_URL", emulator.endpoint)
    monkeypatch.setattr("qianfan.config._GLOBAL_CONFIG", None)


def wait(emulator, read, member, active):
    """Poll until a status is not active any more; return all statuses seen and the last answer."""
    seen = []
    for _ in range(40):
        result = read()
        if result[member] not in seen:
            seen.append(result[member])
        if result[member] not in active:
            return seen, result
        emulator.advance(DURATION / 20)
    raise AssertionError(f"twice as long as it takes, and still {seen[-1]}")


def create_job(name="nightly_sft"):
    answer = FineTune.V2.create_job(
        name=name, model="ERNIE-Speed-8K", train_mode=consts.TrainMode.SFT, description="conformance"
    )
    return answer["result"]["jobId"]


def create_task(job_id):
    answer = FineTune.V2.create_task(
        job_id=job_id,
        params_scale=consts.TrainParameterScale.LoRA,
        hyper_params={"epoch": 1, "learningRate": 0.0003, "saveStep": 64},
        dataset_config=DATASET,
    )
    assert answer["result"]["jobId"] == job_id
    return answer["result"]["taskId"]


def describe_task(task_id):
    return FineTune.V2.task_detail(task_id=task_id)["result"]


def test_life_cycle_from_job_to_ready_model(emulator):
    job_id = create_job()
    jobs = FineTune.V2.job_list(max_keys=100, model="ERNIE-Speed-8K")["result"]
    assert [(row["jobId"], row["name"], row["description"]) for row in jobs["jobList"]] == [
        (job_id, "nightly_sft", "conformance")
    ]
    task_id = create_task(job_id)
    seen, done = wait(emulator, lambda: describe_task(task_id), "runStatus", {"Waiting", "Running"})
    assert seen == ["Waiting", "Running", "Done"]
    assert done["parameterScale"] == "LoRA"
    tasks = FineTune.V2.task_list(job_id=job_id)["result"]["taskList"]
    assert tasks[0]["checkpointList"] == done["checkpointList"]
    assert tasks[0]["metrics"] == done["metrics"]

    model_set_id = Model.V2.create_custom_model_set(
        model_set_name="bot", model_type=consts.CustomModelSetModelType.Text2Text, labels=["a"]
    )["result"]
    model_id = Model.V2.create_custom_model(
        model_set_id=model_set_id,
        source_type=consts.CreateCustomModelSourceType.Train,
        description="run 42",
        train_meta={"taskId": task_id, "step": done["checkpointList"][0]["step"]},
    )["result"]["modelId"]
    seen, ready = wait(emulator, lambda: Model.V2.describe_model(model_id)["result"], "status", {"Creating"})
    assert seen == ["Creating", "Ready"]
    assert ready["description"] == "run 42"
    by_name = Model.V2.describe_model_set(model_set_name="bot")["result"]
    assert by_name == Model.V2.describe_model_set(model_set_id=model_set_id)["result"]
    assert by_name["modelIds"] == [model_id]
    assert by_name["labels"] == ["a"]
    rows = Model.V2.describe_custom_model_sets(max_keys=1)["result"]["customModelSetList"]
    assert [row["modelSetId"] for row in rows] == [model_set_id]

    Model.V2.delete_model(model_id)
    assert Model.V2.delete_model_set(model_set_id)["result"] == {}
    assert FineTune.V2.delete_task(task_id=task_id)["result"] is True
    assert FineTune.V2.delete_job(job_id=job_id)["result"] is True
    assert (emulator.jobs, emulator.tasks, emulator.models) == ([], [], [])
    assert {entry["outcome"] for entry in emulator.journal} == {"ok"}


def test_running_task_is_stopped():
    task_id = create_task(create_job())
    assert FineTune.V2.stop_task(task_id=task_id)["result"] is True
    assert describe_task(task_id)["runStatus"] == "Stopped"
    assert FineTune.V2.stop_task(task_id=task_id)["result"] is False


def test_import_by_the_generic_call():
    model_set_id = Model.V2.create_custom_model_set(model_set_name="bot", model_type="Text2Text")["result"]
    meta = {
        "bucket": "test",
        "objectPath": "demoModel",
        "modelFormat": "HuggingFace.Transformers",
        "modelApplicationType": "chat",
        "transformerVersion": "4.36.2",
    }
    body = {"modelSetId": model_set_id, "sourceType": "Import", "importMeta": meta}
    answer = call_action("/v2/model", "CreateCustomModel", body)
    assert answer["result"]["modelSetId"] == model_set_id
    assert answer.headers["x-bce-request-id"] == answer["requestId"]


def test_supported_models_are_what_the_sdk_expects():
    answer = FineTune.V2.supported_models()["result"]
    modes = {mode["trainMode"] for model in answer for mode in model["supportTrainMode"]}
    assert "SFT" in modes


def test_errors_reach_the_sdk():
    with pytest.raises(RequestError, match="NoSuchKey"):
        describe_task("task-000000000000")
    create_job()
    with pytest.raises(RequestError, match="DuplicateName"):
        create_job()
    with pytest.raises(RequestError, match=r"param\[name\] invalid"):
        create_job("x")


def test_wrong_keys_are_recognised_by_the_sdk(monkeypatch):
    """The SDK explains these two only if it finds the very header texts of the service."""
    monkeypatch.setenv("QIANFAN_SECRET_KEY", "wrong")
    with pytest.raises(RequestError, match=r"Secret Key.*错误"):
        call_action("/v2/finetuning", "DescribeFineTuningJobs", {})
    monkeypatch.setattr("qianfan.config._GLOBAL_CONFIG", None)
    monkeypatch.setenv("QIANFAN_ACCESS_KEY", "ALTAKWRONG")
    with pytest.raises(RequestError, match=r"Access Key.*错误"):
        call_action("/v2/finetuning", "DescribeFineTuningJobs", {})


def test_numeric_errors_are_retried_by_the_sdk(emulator):
    emulator.fail_next("DescribeFineTuningJobs", kind="numeric", count=1)
    answer = FineTune.V2.job_list(retry_count=2, retry_jitter=0)
    assert answer["result"]["jobList"] == []
    assert [entry["fault"] for entry in emulator.journal] == ["numeric", None]
    emulator.fail_next("DescribeFineTuningJobs", kind="numeric", code=336003)
    with pytest.raises(APIError, match="336003"):
        call_action("/v2/finetuning", "DescribeFineTuningJobs", {})
