"""Compression and export, as the documents describe them."""

import json
import re

import pytest

from airflow_qianfan.emulator.assumptions import Assumptions
from airflow_qianfan.emulator.faults import Fault
from airflow_qianfan.emulator.model import Model

QUANTIZATION = {"strategy": "Quantization", "weight": "W4A16C16"}


def ready_model(local, model_set_id=None):
    body = {
        "modelSetId": model_set_id or local.model_set(),
        "sourceType": "Train",
        "trainMeta": {"taskId": local.done_task(name=f"job-{len(local.store.table(Model))}")},
    }
    model_id = local.ok("CreateCustomModel", **body)["modelId"]
    local.clock.time += 10
    return model_id


@pytest.fixture
def source(local):
    return ready_model(local)


def body_of(local, source, **more):
    target = local.ok("DescribeModel", modelId=source)["modelSetId"]
    return {"name": "small", "sourceModelId": source, "modelSetId": target, "config": QUANTIZATION, **more}


def compress(local, source, **more):
    return local.ok("CreateModelCompTask", **body_of(local, source, **more))


def describe(local, task_id):
    return local.ok("DescribeModelCompTask", modelCompTaskId=task_id)


# Compression


def test_compression_makes_a_version_when_it_has_succeeded(local, source):
    task_id = compress(local, source, description="d")
    assert re.fullmatch(r"amva-[a-z0-9]{12}", task_id)
    body = body_of(local, source)
    created = describe(local, task_id)
    assert created == {
        "id": task_id,
        "name": "small",
        "description": "d",
        "status": "creating",
        "failedReason": "",
        "sourceModelId": source,
        "config": QUANTIZATION,
        "createTime": created["createTime"],
    }
    local.clock.time += 10
    assert describe(local, task_id)["status"] == "running"
    assert local.ok("DescribeModelSet", modelSetId=body["modelSetId"])["modelIds"] == [source]
    local.clock.time += 90
    done = describe(local, task_id)
    assert (done["status"], "finishTime" in done) == ("succeeded", True)
    small = local.ok("DescribeModel", modelId=done["modelId"])
    assert (small["status"], small["model"]) == ("Ready", "ERNIE-Speed-8K")
    assert small["sourceInfo"] == {"sourceType": "Acceleration", "modelCompTaskId": task_id}
    assert (small["modelName"], small["isSupportModelComp"]) == ("support-bot-V2", False)
    shown = local.ok("DescribeModelSet", modelSetId=body["modelSetId"])
    assert shown["modelIds"] == [done["modelId"], source]


def test_a_compressed_version_is_not_there_before_its_time(local, source):
    task_id = compress(local, source)
    (hidden,) = (model for model in local.store.table(Model) if model != source)
    assert local.refused("DescribeModel", modelId=hidden) == (404, "NoSuchKey")
    local.clock.time += 100
    assert describe(local, task_id)["modelId"] == hidden
    local.backend.faults.add(Fault(kind="stale", action="DescribeModel", seconds=5))
    assert local.refused("DescribeModel", modelId=hidden) == (404, "NoSuchKey")


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"description": 5}, "description"),
        ({"sourceModelId": None}, "sourceModelId"),
        ({"modelSetId": None}, "modelSetId"),
        ({"config": None}, "config"),
        ({"config": {}}, "strategy"),
        ({"config": {"strategy": "quantization"}}, "strategy"),
        ({"config": {"strategy": "Quantization"}}, "weight"),
        ({"config": {"strategy": "Quantization", "weight": "INT4"}}, "weight"),
        ({"config": {"strategy": "Sparsity", "weight": "INT4"}}, "weight"),
    ],
)
def test_compression_with_a_bad_member_is_refused_by_name(local, source, change, member):
    assert local.bad_member("CreateModelCompTask", **body_of(local, source, **change)) == member


@pytest.mark.parametrize("weight", ["INT8-PTQ", "int8-ptq", "W8A16C16", "w4a16c16"])
def test_weight_is_accepted_in_any_case_as_the_examples_write_it(local, source, weight):
    config = {"strategy": "Quantization", "weight": weight}
    assert describe(local, compress(local, source, config=config))["config"] == config


def test_sparsity_needs_no_weight(local, source):
    compress(local, source, config={"strategy": "Sparsity"})


def test_only_what_can_be_compressed_is(local, source):
    assert local.ok("DescribeModel", modelId=source)["isSupportModelComp"] is True
    task_id = compress(local, source)
    local.clock.time += 100
    small = describe(local, task_id)["modelId"]
    assert local.bad_member("CreateModelCompTask", **body_of(local, small)) == "sourceModelId"
    unknown = body_of(local, source, sourceModelId="amv-1")
    assert local.refused("CreateModelCompTask", **unknown) == (404, "NoSuchKey")
    assert local.refused("CreateModelCompTask", **{**unknown, "sourceModelId": source, "modelSetId": "am-1"})


def test_compression_with_fail_in_its_name_fails_and_says_why(local, source):
    task_id = compress(local, source, name="will-fail")
    local.clock.time += 60
    failed = describe(local, task_id)
    assert (failed["status"], "modelId" in failed) == ("failed", False)
    assert failed["failedReason"]
    assert list(local.store.table(Model)) == [source]


def test_cancel_and_delete_answer_without_a_result(local, source):
    task_id = compress(local, source)
    assert local.refused("DeleteModelCompTask", modelCompTaskId=task_id) == (400, "InvalidStatus")
    for action in ("CancelModelCompTask", "DeleteModelCompTask"):
        status, answer = local.call(action, modelCompTaskId=task_id)
        assert (status, set(answer)) == (200, {"requestId"})
    assert local.refused("DescribeModelCompTask", modelCompTaskId=task_id) == (404, "NoSuchKey")


def test_a_cancelled_compression_is_stopping_and_then_stopped_and_makes_nothing(make_local):
    local = make_local(Assumptions(stop_delay_seconds=5))
    source = ready_model(local)
    task_id = compress(local, source)
    local.call("CancelModelCompTask", modelCompTaskId=task_id)
    assert describe(local, task_id)["status"] == "stopping"
    local.clock.time += 5
    assert describe(local, task_id)["status"] == "stopped"
    local.clock.time += 100
    assert describe(local, task_id)["status"] == "stopped"
    assert list(local.store.table(Model)) == [source]
    assert local.refused("CancelModelCompTask", modelCompTaskId=task_id) == (400, "InvalidStatus")


@pytest.mark.parametrize(
    "assumptions",
    [Assumptions(cancel_ended_comp_task="accept"), Assumptions(delete_running_comp_task="allow")],
    ids=["cancel-ended", "delete-running"],
)
def test_what_the_documents_leave_open_is_an_assumption(make_local, assumptions):
    local = make_local(assumptions)
    source = ready_model(local)
    task_id = compress(local, source)
    if assumptions.cancel_ended_comp_task == "accept":
        local.clock.time += 100
        assert local.call("CancelModelCompTask", modelCompTaskId=task_id)[0] == 200
        assert describe(local, task_id)["status"] == "succeeded"
    else:
        assert local.call("DeleteModelCompTask", modelCompTaskId=task_id)[0] == 200
        local.clock.time += 100
        assert list(local.store.table(Model)) == [source]


def test_compressions_are_listed_in_pages_and_by_source(local, source):
    ids = [compress(local, source, name=f"n{number}") for number in range(3)]
    other = ready_model(local, local.ok("DescribeModel", modelId=source)["modelSetId"])
    ids.append(compress(local, other))
    listed = local.ok("DescribeModelCompTasks", maxKeys=2)
    assert [row["id"] for row in listed["modelCompTaskList"]] == ids[:2]
    assert listed["pageInfo"]["nextMarker"] == ids[2]
    rest = local.ok("DescribeModelCompTasks", marker=ids[2], sourceModelId=source)["modelCompTaskList"]
    assert [row["id"] for row in rest] == [ids[2]]


def test_deleting_a_set_takes_what_a_compression_would_put_there(local, source):
    task_id = compress(local, source)
    local.ok("DeleteModelSet", modelSetId=local.ok("DescribeModel", modelId=source)["modelSetId"])
    local.clock.time += 100
    assert describe(local, task_id)["status"] == "succeeded"
    assert local.store.table(Model) == {}


# Export


def export(local, model_id):
    return local.ok("CreateModelExportTask", modelId=model_id)["exportId"]


def exported(local, model_id):
    return local.ok("DescribeModelExportTask", modelId=model_id)


def test_export_is_described_by_the_id_of_the_model(local, source):
    assert exported(local, source) == {"hasRecord": False}
    export_id = export(local, source)
    assert exported(local, source) == {"exportId": export_id, "hasRecord": True, "status": "Doing"}
    assert local.refused("DescribeModelExportTask", modelId=export_id) == (404, "NoSuchKey")
    local.clock.time += 10
    done = exported(local, source)
    assert (done["status"], done["exportId"]) == ("Done", export_id)
    assert set(done) > {"fileName", "fileType", "md5", "fileSize", "downloadUrl"}
    second = export(local, source)
    assert exported(local, source) == {"exportId": second, "hasRecord": True, "status": "Doing"}


def test_only_a_ready_model_is_exported(local):
    body = {
        "modelSetId": local.model_set(),
        "sourceType": "Train",
        "trainMeta": {"taskId": local.done_task()},
    }
    model_id = local.ok("CreateCustomModel", **body)["modelId"]
    assert local.refused("CreateModelExportTask", modelId=model_id) == (400, "InvalidStatus")
    assert local.bad_member("CreateModelExportTask") == "modelId"


@pytest.mark.parametrize(
    ("how", "shown"), [("Fail", {"hasRecord": True, "status": "Fail"}), ("no record", {"hasRecord": False})]
)
def test_a_failed_export_is_shown_or_has_no_record(make_local, how, shown):
    local = make_local(Assumptions(exports_fail=True, failed_export=how))
    model_id = ready_model(local)
    export_id = export(local, model_id)
    local.clock.time += 10
    assert exported(local, model_id) == ({**shown, "exportId": export_id} if shown["hasRecord"] else shown)


def test_describing_an_export_needs_a_policy_for_writing(local, source):
    for action, status in (("DescribeModelExportTask", 403), ("DescribeModel", 200)):
        answer = local.send(action, json.dumps({"modelId": source}).encode(), "AKREAD", "SKREAD")
        assert answer.status == status
    answer = local.send("DescribeModelSystemAdvancedConf", b"{}", "AKREAD", "SKREAD")
    assert json.loads(answer.body)["code"] == "AccessDenied"


# Preset models


def test_preset_models_are_listed_and_described(local):
    first = local.ok("DescribeSystemModelSets", maxKeys=1)
    assert first["pageInfo"]["isTruncated"] is True
    rows = local.ok("DescribeSystemModelSets")["systemModelSetList"]
    assert rows[0] == first["systemModelSetList"][0]
    for row in rows:
        by_id = local.ok("DescribeSystemModelSet", modelSetId=row["modelSetId"])
        assert by_id == local.ok("DescribeSystemModelSet", modelSetName=row["modelSetName"])
        assert by_id["modelIds"] == row["modelIds"]
        version = local.ok("DescribeSystemModel", modelId=row["modelIds"][0])
        assert (version["modelSetId"], version["status"]) == (row["modelSetId"], "Ready")
    assert local.refused("DescribeSystemModel", modelId="amv-1") == (404, "NoSuchKey")
    assert local.refused("DescribeSystemModelSet", modelSetName="x") == (404, "NoSuchKey")
    assert local.bad_member("DescribeSystemModelSet") == "modelSetId"
    assert local.bad_member("DescribeSystemModelSet", modelSetId="a", modelSetName="b") == "modelSetId"


def test_advanced_settings_are_json_text(local, source):
    conf = {
        "basicModelName": "HuggingFace",
        "modelFormat": "HuggingFace.Transformers",
        "modelApplicationType": "chat",
    }
    assert local.ok("DescribeModelSystemAdvancedConf", **conf) == "{}"
    assert (
        local.bad_member("DescribeModelSystemAdvancedConf", **{**conf, "modelFormat": "x"}) == "modelFormat"
    )
    assert local.ok("DescribeModelCustomAdvancedConf", modelId=source) == "{}"
