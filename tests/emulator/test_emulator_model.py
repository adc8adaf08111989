import re

import pytest

from airflow_qianfan.emulator.assumptions import Assumptions
from airflow_qianfan.emulator.model import Model

IMPORT = {
    "bucket": "b",
    "objectPath": "o",
    "modelFormat": "HuggingFace.Transformers",
    "modelApplicationType": "chat",
}
CHAT = {"historyQATemplate": "{question}", "latestQuestionTemplate": "{question}", "promptTemplate": ""}
SPEC = {"displayName": "d", "fileName": "f.py"}


def publish(local, model_set_id, task_id, **meta):
    body = {"modelSetId": model_set_id, "sourceType": "Train", "trainMeta": {"taskId": task_id, **meta}}
    return local.ok("CreateCustomModel", **body)["modelId"]


def steps(local, task_id):
    detail = local.ok("DescribeFineTuningTask", taskId=task_id)
    return [checkpoint["step"] for checkpoint in detail["checkpointList"]]


def test_model_set_is_described_by_id_and_by_name(local):
    model_set_id = local.model_set("客服")
    assert re.fullmatch(r"am-[a-z0-9]{12}", model_set_id)
    expected = {
        "modelSetId": model_set_id,
        "modelSetName": "客服",
        "modelType": "Text2Text",
        "source": "UserCreate",
        "labels": [],
        "createTime": "2024-01-16T17:48:35+08:00",
        "modifyTime": "2024-01-16T17:48:35+08:00",
        "modelIds": [],
        "modelNames": [],
    }
    assert local.ok("DescribeModelSet", modelSetId=model_set_id) == expected
    assert local.ok("DescribeModelSet", modelSetName="客服") == expected
    assert local.bad_member("DescribeModelSet") == "modelSetId"
    assert local.refused("DescribeModelSet", modelSetId="am-1") == (404, "NoSuchKey")
    assert local.refused("DescribeModelSet", modelSetName="am-1") == (404, "NoSuchKey")


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({"modelType": "Text2Text"}, "modelSetName"),
        ({"modelSetName": "", "modelType": "Text2Text"}, "modelSetName"),
        ({"modelSetName": "a"}, "modelType"),
        ({"modelSetName": "a", "modelType": "Smell"}, "modelType"),
        ({"modelSetName": "a", "modelType": "Text2Text", "labels": "x"}, "labels"),
        ({"modelSetName": "a", "modelType": "Text2Text", "labels": [1]}, "labels"),
    ],
)
def test_model_set_with_a_bad_member_is_refused_by_name(local, body, member):
    assert local.bad_member("CreateCustomModelSet", **body) == member


def test_model_set_names_are_unique(local):
    local.model_set()
    body = {"modelSetName": "support-bot", "modelType": "Embedding"}
    assert local.refused("CreateCustomModelSet", **body) == (400, "DuplicateName")


def test_model_sets_are_listed_in_pages(local):
    ids = [local.model_set(f"set{number}") for number in range(3)]
    result = local.ok("DescribeCustomModelSets", maxKeys=2)
    assert [row["modelSetId"] for row in result["customModelSetList"]] == ids[:2]
    assert result["customModelSetList"][0]["modelCount"] == 0
    assert result["pageInfo"] == {"marker": "", "maxKeys": 2, "isTruncated": True, "nextMarker": ids[2]}


def test_published_model_becomes_ready(local):
    task_id, model_set_id = local.done_task(), local.model_set()
    model_id = publish(local, model_set_id, task_id)
    assert re.fullmatch(r"amv-[a-z0-9]{12}", model_id)
    creating = local.ok("DescribeModel", modelId=model_id)
    assert creating["status"] == "Creating"
    assert "description" not in creating
    local.clock.time += 9.9
    assert local.ok("DescribeModel", modelId=model_id)["status"] == "Creating"
    local.clock.time += 0.1
    ready = local.ok("DescribeModel", modelId=model_id)
    assert (ready["status"], ready["isSupportDeploy"]) == ("Ready", True)
    assert ready["model"] == "ERNIE-Speed-8K"
    assert ready["sourceInfo"] == {
        "sourceType": "Train",
        "taskId": task_id,
        "checkpointStep": steps(local, task_id)[-1],
    }


def test_newest_version_comes_first(local):
    task_id, model_set_id = local.done_task(), local.model_set()
    ids = [publish(local, model_set_id, task_id), publish(local, model_set_id, task_id)]
    described = local.ok("DescribeModelSet", modelSetId=model_set_id)
    assert described["modelIds"] == ids[::-1]
    assert described["modelNames"] == ["support-bot-V2", "support-bot-V1"]
    assert local.ok("DescribeCustomModelSets")["customModelSetList"][0]["modelCount"] == 2


@pytest.mark.parametrize(("name", "description"), [("will-fail", ""), ("fine", "Fail please")])
def test_model_with_fail_in_set_or_description_fails(local, name, description):
    body = {"modelSetId": local.model_set(name), "sourceType": "Import", "importMeta": IMPORT}
    model_id = local.ok("CreateCustomModel", **body, description=description)["modelId"]
    local.clock.time += 10
    assert local.ok("DescribeModel", modelId=model_id)["status"] == "Fail"


def test_checkpoint_is_chosen_by_either_name(local):
    task_id, model_set_id = local.done_task(), local.model_set()
    step = steps(local, task_id)[0]
    for meta in ({"step": step}, {"checkpointStep": step}, {"step": step, "checkpointStep": step}):
        model_id = publish(local, model_set_id, task_id, **meta)
        assert local.ok("DescribeModel", modelId=model_id)["sourceInfo"]["checkpointStep"] == step


@pytest.mark.parametrize(
    ("meta", "member"),
    [
        ({"step": 64, "checkpointStep": 128}, "checkpointStep"),
        ({"step": 63}, "step"),
        ({"checkpointStep": 63}, "checkpointStep"),
        ({"checkpointStep": "64"}, "checkpointStep"),
        ({"step": 64.5}, "step"),
        ({"taskId": None}, "taskId"),
    ],
)
def test_bad_checkpoint_is_refused(local, meta, member):
    body = {
        "modelSetId": local.model_set(),
        "sourceType": "Train",
        "trainMeta": {"taskId": local.done_task(), **meta},
    }
    assert local.bad_member("CreateCustomModel", **body) == member
    assert local.store.table(Model) == {}


def test_only_a_done_task_can_be_published(local):
    task_id, model_set_id = local.task(local.job()), local.model_set()
    body = {"modelSetId": model_set_id, "sourceType": "Train", "trainMeta": {"taskId": task_id}}
    assert local.refused("CreateCustomModel", **body) == (400, "InvalidStatus")
    local.ok("StopFineTuningTask", taskId=task_id)
    assert local.refused("CreateCustomModel", **body) == (400, "InvalidStatus")
    unknown = {**body, "trainMeta": {"taskId": "task-000000000000"}}
    assert local.refused("CreateCustomModel", **unknown) == (404, "NoSuchKey")
    assert local.refused("CreateCustomModel", **{**body, "modelSetId": "am-1"}) == (404, "NoSuchKey")


def test_publishing_twice_is_an_assumption(make_local):
    local = make_local(Assumptions(publish_twice="refuse"))
    task_id, model_set_id = local.done_task(), local.model_set()
    publish(local, model_set_id, task_id)
    body = {"modelSetId": model_set_id, "sourceType": "Train", "trainMeta": {"taskId": task_id}}
    assert local.refused("CreateCustomModel", **body) == (400, "InvalidStatus")
    publish(local, model_set_id, task_id, step=steps(local, task_id)[0])
    publish(local, local.model_set("second"), task_id)


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({"sourceType": None}, "sourceType"),
        ({"sourceType": "Steal"}, "sourceType"),
        ({"sourceType": "Train"}, "trainMeta"),
        ({"importMeta": None}, "importMeta"),
        ({"importMeta": "x"}, "importMeta"),
        ({"modelSetId": None}, "modelSetId"),
        ({"description": "d" * 301}, "description"),
        ({"resourceConfig": []}, "resourceConfig"),
        ({"importMeta": {**IMPORT, "bucket": None}}, "bucket"),
        ({"importMeta": {**IMPORT, "objectPath": ""}}, "objectPath"),
        ({"importMeta": {**IMPORT, "modelFormat": "Pickle"}}, "modelFormat"),
        ({"importMeta": {**IMPORT, "modelApplicationType": "poem"}}, "modelApplicationType"),
        ({"importMeta": {**IMPORT, "chatConf": CHAT, "customSpec": SPEC}}, "customSpec"),
        ({"importMeta": {**IMPORT, "chatConf": {**CHAT, "promptTemplate": None}}}, "promptTemplate"),
        ({"importMeta": {**IMPORT, "chatConf": {**CHAT, "promptTemplate": "p" * 301}}}, "promptTemplate"),
        ({"importMeta": {**IMPORT, "chatConf": {**CHAT, "historyQATemplate": ""}}}, "historyQATemplate"),
        (
            {"importMeta": {**IMPORT, "chatConf": {**CHAT, "latestQuestionTemplate": "q" * 201}}},
            "latestQuestionTemplate",
        ),
        ({"importMeta": {**IMPORT, "customSpec": {**SPEC, "displayName": ""}}}, "displayName"),
        ({"importMeta": {**IMPORT, "customSpec": {"displayName": "d"}}}, "fileName"),
        ({"importMeta": {**IMPORT, "transformerVersion": "1.0"}}, "transformerVersion"),
        ({"importMeta": {**IMPORT, "vLLMVersion": 0.6}}, "vLLMVersion"),
        ({"importMeta": {**IMPORT, "enablePromptAutoConcat": "true"}}, "enablePromptAutoConcat"),
        ({"importMeta": {**IMPORT, "advancedSettings": {}}}, "samplingStrategy"),
        ({"importMeta": {**IMPORT, "advancedSettings": {"samplingStrategy": "dice"}}}, "samplingStrategy"),
        (
            {
                "importMeta": {
                    **IMPORT,
                    "advancedSettings": {"samplingStrategy": "beamSearch", "numBeams": 16},
                }
            },
            "numBeams",
        ),
        (
            {
                "importMeta": {
                    **IMPORT,
                    "advancedSettings": {"samplingStrategy": "multinomialSampling", "numSampling": 0},
                }
            },
            "numSampling",
        ),
    ],
)
def test_model_with_a_bad_member_is_refused_by_name(local, change, member):
    body = {"modelSetId": local.model_set(), "sourceType": "Import", "importMeta": IMPORT, **change}
    assert local.bad_member("CreateCustomModel", **body) == member


@pytest.mark.parametrize(
    "extra",
    [
        {"modelFormat": "HuggingFace.Transformers", "transformerVersion": "4.36.2", "chatConf": CHAT},
        {"modelFormat": "HuggingFace.Transformers", "customSpec": SPEC},
        {
            "modelFormat": "HuggingFace.vLLM",
            "enablePromptAutoConcat": True,
            "vLLMVersion": "0.6.3",
            "advancedSettings": {"samplingStrategy": "multinomialSampling", "numSampling": 1},
        },
        {
            "modelFormat": "HuggingFace.vLLM",
            "basicModelName": "DeepSeek-R1-Distill-Qwen-32B",
            "vLLMVersion": "0.6.3",
        },
        {"modelFormat": "Safetensors", "modelApplicationType": "Text-to-Image"},
    ],
)
def test_the_documents_examples_of_imports_are_accepted(local, extra):
    meta = {**IMPORT, **extra}
    model_id = local.ok(
        "CreateCustomModel",
        modelSetId=local.model_set(),
        sourceType="Import",
        importMeta=meta,
        resourceConfig={"resourceId": "prl-yqec88en7r08"},
    )["modelId"]
    described = local.ok("DescribeModel", modelId=model_id)
    assert described["model"] == extra.get("basicModelName", "HuggingFace")
    assert described["modelApplicationType"] == meta["modelApplicationType"]


def test_models_and_sets_are_deleted(local):
    task_id, model_set_id = local.done_task(), local.model_set()
    first, second = publish(local, model_set_id, task_id), publish(local, model_set_id, task_id)
    assert local.ok("DeleteModel", modelId=first) == {}
    assert local.refused("DescribeModel", modelId=first) == (404, "NoSuchKey")
    assert local.ok("DescribeModelSet", modelSetId=model_set_id)["modelIds"] == [second]
    assert local.ok("DeleteModelSet", modelSetId=model_set_id) == {}
    assert local.refused("DescribeModel", modelId=second) == (404, "NoSuchKey")
    assert local.refused("DeleteModelSet", modelSetId=model_set_id) == (404, "NoSuchKey")
    assert local.refused("DeleteModel", modelId=second) == (404, "NoSuchKey")


def test_deleting_a_set_with_versions_is_an_assumption(make_local):
    local = make_local(Assumptions(delete_model_set_with_models="refuse"))
    model_set_id = local.model_set()
    publish(local, model_set_id, local.done_task())
    assert local.refused("DeleteModelSet", modelSetId=model_set_id) == (400, "InvalidStatus")


def test_model_outlives_its_task(local):
    task_id, model_set_id = local.done_task(), local.model_set()
    model_id = publish(local, model_set_id, task_id)
    local.ok("DeleteFineTuningTask", taskId=task_id)
    assert local.ok("DescribeModel", modelId=model_id)["sourceInfo"]["taskId"] == task_id
