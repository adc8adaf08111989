import re

import pytest

from airflow_qianfan.emulator.assumptions import Assumptions
from airflow_qianfan.emulator.batch_inference import BatchInferenceTask
from airflow_qianfan.emulator.errors import Refusal

BATCH = {
    "name": "nightly",
    "modelId": "amv-0a1b2c3d4e5f",
    "inferenceParams": {"temperature": 0.1},
    "inputBosUri": "bos:/my-bucket/bi/in",
    "outputBosUri": "bos:/my-bucket/bi/out",
}
AFS = {"userName": "u", "password": "p", "inputAfsUri": "afs:/i", "outputAfsUri": "afs:/o"}


def create(local, **members):
    body = {name: value for name, value in {**BATCH, **members}.items() if value is not None}
    return local.ok("CreateBatchInferenceTask", **body)["taskId"]


def describe(local, task_id):
    return local.ok("DescribeBatchInferenceTask", taskId=task_id)


def test_life_of_a_task_with_its_rows(local):
    task_id = create(local, description="d")
    assert re.fullmatch(r"infer-[a-z0-9]{12}", task_id)
    first = describe(local, task_id)
    assert {name: first[name] for name in BATCH} == BATCH
    assert (first["runStatus"], first["progress"], first["description"]) == ("Queuing", 0, "d")
    assert re.fullmatch(r"[0-9a-f]{24}", first["outputDir"])
    assert first["createTime"] == "2024-01-16T09:48:35Z"
    seen = []
    for _ in range(4):
        local.clock.time += 22
        running = describe(local, task_id)
        assert running["runStatus"] == "Running"
        assert not {"inputTokenUsage", "outputTokenUsage", "finishTime"} & set(running)
        seen.append(running["progress"])
    # A count of rows, not a percentage.
    assert seen == sorted(seen)
    assert 0 < seen[0] < seen[-1] < running["total"]
    local.clock.time += 20
    done = describe(local, task_id)
    assert (done["runStatus"], done["progress"]) == ("Done", done["total"])
    assert done["inputTokenUsage"] > 0
    assert done["outputTokenUsage"] > 0
    assert done["finishTime"] == "2024-01-16T09:50:15Z"


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"modelId": None}, "modelId"),
        ({"endpoint": "https://qianfan.example/x"}, "modelId"),
        ({"inferenceParams": "hot"}, "inferenceParams"),
        ({"inputBosUri": None}, "inputBosUri"),
        ({"outputBosUri": None}, "outputBosUri"),
        ({"outputBosUri": "/my-bucket/out"}, "outputBosUri"),
        ({"afsConfig": {**AFS, "userName": None}}, "userName"),
        ({"completion_window": "25h"}, "completion_window"),
        ({"description": 5}, "description"),
    ],
)
def test_bad_member_is_refused_by_name(local, change, member):
    assert local.bad_member("CreateBatchInferenceTask", **{**BATCH, **change}) == member
    assert local.store.table(BatchInferenceTask) == {}


def test_afs_stands_for_both_directories_and_endpoint_for_a_model(local):
    change = {"inputBosUri": None, "outputBosUri": None, "modelId": None, "inferenceParams": None}
    task_id = create(local, **change, afsConfig=AFS, endpoint="https://qianfan.example/x")
    found = describe(local, task_id)
    assert (found["endpoint"], found["inferenceParams"]) == ("https://qianfan.example/x", {})
    assert not {"modelId", "inputBosUri", "afsConfig"} & set(found)


def test_twenty_tasks_may_be_active(local):
    ids = [create(local) for _ in range(20)]
    assert local.refused("CreateBatchInferenceTask", **BATCH) == (400, "TaskRunningNumberExceedLimit")
    local.ok("StopBatchInferenceTask", taskId=ids[0])
    create(local)
    assert local.refused("CreateBatchInferenceTask", **BATCH) == (400, "TaskRunningNumberExceedLimit")
    local.clock.time += 100
    create(local)


def test_a_task_that_is_stopping_takes_a_place(make_local):
    local = make_local(Assumptions(batch_inference_limit=1, stop_delay_seconds=30))
    task_id = create(local)
    assert local.ok("StopBatchInferenceTask", taskId=task_id) is True
    assert describe(local, task_id)["runStatus"] == "Stopping"
    assert local.refused("CreateBatchInferenceTask", **BATCH)[1] == "TaskRunningNumberExceedLimit"
    local.clock.time += 30
    assert describe(local, task_id)["runStatus"] == "Stopped"
    create(local)


def test_limit_and_code_are_assumptions(make_local):
    local = make_local(
        Assumptions(batch_inference_limit=0, batch_inference_quota=Refusal(429, "QuotaExceeded"))
    )
    assert local.refused("CreateBatchInferenceTask", **BATCH) == (429, "QuotaExceeded")


@pytest.mark.parametrize(("name", "end"), [("will-fail", "Failed"), ("expires", "Expired")])
def test_name_decides_how_it_ends(local, name, end):
    task_id = create(local, name=name)
    local.clock.time += 100
    found = describe(local, task_id)
    assert found["runStatus"] == end
    assert ("errorCode" in found and "errorReason" in found) is (end == "Failed")
    assert "outputTokenUsage" not in found


def test_window_of_a_day_ends_what_takes_longer(local):
    local.backend.task_seconds = 100_000
    task_id = create(local, completion_window="24h")
    local.clock.time += 86_399
    assert describe(local, task_id)["runStatus"] == "Running"
    local.clock.time += 1
    assert describe(local, task_id)["runStatus"] == "Expired"


def test_list_is_filtered_by_states_and_paged(local):
    done = create(local)
    local.clock.time += 100
    ids = [create(local, name=f"n{number}") for number in range(3)]
    page = local.ok("DescribeBatchInferenceTasks", runStatus=["Queuing"], maxKeys=2)
    assert [row["taskId"] for row in page["taskList"]] == ids[:2]
    assert page["pageInfo"] == {"marker": "", "maxKeys": 2, "isTruncated": True, "nextMarker": ids[2]}
    assert page["taskList"][0] == describe(local, ids[0])
    for everything in ({}, {"runStatus": []}):
        rows = local.ok("DescribeBatchInferenceTasks", **everything)["taskList"]
        assert [row["taskId"] for row in rows] == [done, *ids]
    assert local.bad_member("DescribeBatchInferenceTasks", runStatus="Queuing") == "runStatus"
    assert local.bad_member("DescribeBatchInferenceTasks", runStatus=["Nonsense"]) == "runStatus"


def test_stop_answers_a_bool(local):
    task_id = create(local)
    assert local.ok("StopBatchInferenceTask", taskId=task_id) is True
    assert describe(local, task_id)["runStatus"] == "Stopped"
    assert local.ok("StopBatchInferenceTask", taskId=task_id) is False
    assert local.refused("StopBatchInferenceTask", taskId="infer-1") == (404, "NoSuchKey")


@pytest.mark.parametrize(
    ("assumption", "expected"),
    [
        ({"stop_finished_task": "true"}, True),
        ({"stop_finished_task": "error"}, (400, "InvalidStatus")),
        ({"stop_unknown_task": "false"}, False),
    ],
)
def test_stop_of_what_has_ended_or_is_missing_is_an_assumption(make_local, assumption, expected):
    local = make_local(Assumptions(**assumption))
    task_id = "infer-1" if "stop_unknown_task" in assumption else create(local)
    local.clock.time += 100
    if isinstance(expected, tuple):
        assert local.refused("StopBatchInferenceTask", taskId=task_id) == expected
    else:
        assert local.ok("StopBatchInferenceTask", taskId=task_id) is expected


def test_models_are_those_of_the_platform_and_ready_ones_of_the_account(local):
    task_id, model_set_id = local.done_task(), local.model_set()
    body = {"modelSetId": model_set_id, "sourceType": "Train", "trainMeta": {"taskId": task_id}}
    model_id = local.ok("CreateCustomModel", **body)["modelId"]
    assert local.ok("DescribeBatchInferenceModel")["customModelList"] == []
    local.clock.time += 10
    found = local.ok("DescribeBatchInferenceModel")
    assert found["customModelList"] == [
        {
            "modelId": model_set_id,
            "modelName": "support-bot",
            "modelVersionList": [{"modelVersionId": model_id, "modelVersionName": "support-bot-V1"}],
        }
    ]
    assert "ERNIE-Speed-8K" in [model["modelName"] for model in found["commonModelList"]]


def test_journal_names_the_task_and_says_what_changed(local):
    task_id = create(local)
    describe(local, task_id)
    local.ok("StopBatchInferenceTask", taskId=task_id)
    entries = [(entry["ids"], entry["effect"]) for entry in local.store.journal]
    assert entries == [({"taskId": task_id}, True), ({"taskId": task_id}, False), ({"taskId": task_id}, True)]
    assert local.refused("CreateBatchInferenceTask", name="x")[0] == 400
    assert local.store.journal[-1]["effect"] is False


def test_name_of_the_number_of_all_rows_is_an_assumption(make_local):
    local = make_local(Assumptions(batch_inference_total="totalLines"))
    found = describe(local, create(local))
    assert found["totalLines"] > 0
    assert "total" not in found
