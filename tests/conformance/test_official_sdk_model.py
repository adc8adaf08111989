"""The official ``qianfan`` SDK compresses, exports and lists preset models at the emulator."""

import pytest
from qianfan.errors import RequestError
from qianfan.resources import FineTune, Model
from qianfan.resources.console import consts

from airflow_qianfan.emulator import QianfanEmulator

DURATION = 10_000
FILES = {"bucket": "b", "objectPath": "p", "modelFormat": "Safetensors", "modelApplicationType": "chat"}
CONFIG = {
    "strategy": consts.ModelCompStrategy.Quantization.value,
    "weight": consts.ModelQuantizationWeight.W8A16C16.value,
}


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


@pytest.fixture
def source(emulator):
    model_set_id = Model.V2.create_custom_model_set(model_set_name="bot", model_type="Text2Text")["result"]
    answer = Model.V2.create_custom_model(
        model_set_id=model_set_id, source_type="Import", import_meta=FILES, description="d"
    )
    emulator.advance(DURATION)
    return answer["result"]["modelId"], model_set_id


def create_task(source, **more):
    # The SDK loses its own settings to a keyword of this name, so it is positional.
    answer = Model.V2.create_model_comp_task("small", source[0], CONFIG, source[1], **more)
    return answer["result"]


def describe_task(task_id):
    return Model.V2.describe_model_comp_task(task_id)["result"]


def test_compression_goes_through_its_states_and_makes_a_version(emulator, source):
    task_id = create_task(source, description="d")
    seen = []
    while not seen or seen[-1] in ("creating", "running"):
        status = consts.ModelCompTaskStatus(describe_task(task_id)["status"]).value
        seen += [status] if status not in seen else []
        emulator.advance(DURATION / 20)
    assert seen == ["creating", "running", "succeeded"]
    done = describe_task(task_id)
    assert (done["config"], done["description"]) == (CONFIG, "d")
    version = Model.V2.describe_model(done["modelId"])["result"]
    assert version["sourceInfo"]["sourceType"] == "Acceleration"
    rows = Model.V2.describe_model_comp_tasks(max_keys=1, source_model_id=source[0])["result"]
    assert [row["id"] for row in rows["modelCompTaskList"]] == [task_id]


def test_compression_is_cancelled_and_deleted_without_a_result(source):
    task_id = create_task(source)
    assert set(Model.V2.cancel_model_comp_task(task_id).body) == {"requestId"}
    assert describe_task(task_id)["status"] == "stopped"
    assert set(Model.V2.delete_model_comp_task(task_id).body) == {"requestId"}
    with pytest.raises(RequestError, match="NoSuchKey"):
        describe_task(task_id)


def test_export_is_found_by_the_id_of_the_model(emulator, source):
    export_id = Model.V2.create_model_export_model(source[0])["result"]["exportId"]
    assert Model.V2.describe_model_export_model(source[0])["result"] == {
        "exportId": export_id,
        "hasRecord": True,
        "status": "Doing",
    }
    emulator.advance(DURATION)
    done = Model.V2.describe_model_export_model(source[0])["result"]
    assert (done["status"], done["exportId"]) == ("Done", export_id)
    assert done["downloadUrl"].startswith("https://")


def test_preset_models_are_listed(emulator):
    answer = Model.V2.describe_system_model_sets(max_keys=2)["result"]
    assert [len(row["modelIds"]) for row in answer["systemModelSetList"]] == [1, 1]
    assert answer["pageInfo"]["isTruncated"] is True


def test_advanced_settings_are_json_text(source):
    assert Model.V2.describe_model_custom_advanced_conf(source[0])["result"] == "{}"
    assert Model.V2.describe_model_system_advanced_conf("chat")["result"] == "{}"


def test_the_table_of_models_is_one_that_the_sdk_can_read(monkeypatch):
    from qianfan.trainer import configs

    answer = FineTune.V2.supported_models()["result"]
    assert {"ERNIE-Speed-8K", "ERNIE-Lite-8K-0308"} <= {row["model"] for row in answer}
    checks = {
        parameter["checkType"]
        for model in answer
        for mode in model["supportTrainMode"]
        for scale in mode["supportParameterScale"]
        for parameter in scale["supportHyperParameterConfig"]
    }
    assert checks <= {each.value for each in consts.FinetuneSupportHyperParameterCheckType}
    assert configs is not None
