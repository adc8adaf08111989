"""The small console: pages at the paths of Baidu's own."""

import html
import re

import httpx
import pytest
from over_http import DATASET, JOB, create_task, post


def read(emulator, path):
    answer = httpx.get(emulator.endpoint + path)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return answer.status_code, html.unescape(answer.text)


def cells(text):
    return re.findall(r"<t[dh]>\s*(?:<a [^>]*>)?(.*?)(?:</a>)?\s*</t[dh]>", text, re.DOTALL)


def training_path(emulator, mode="sft"):
    task = emulator.tasks[0]
    return f"/qianfan/train/{mode}/{task['jobId']}/{task['taskId']}/detail/traininglog"


def test_empty_console_says_so(emulator):
    status, text = read(emulator, "/")
    assert status == 200
    assert text.count("None.") == len(re.findall("<h2>", text)) >= 4


def test_start_page_lists_all_objects_and_links_to_the_trainings(emulator):
    create_task(emulator)
    body = {"modelSetName": "bot", "modelType": "Text2Text"}
    set_id = post(emulator, "CreateCustomModelSet", body, route="model").json()["result"]
    emulator.advance(50)
    _, text = read(emulator, "/")
    task = emulator.tasks[0]
    assert {"nightly", task["taskId"], "Running", task["runProgress"], "bot", set_id} <= set(cells(text))
    assert f'href="{training_path(emulator)}"' in text


@pytest.mark.parametrize(
    ("mode", "folder"), [("DPO", "dpo"), ("PostPretrain", "postPretrain"), ("KTO", "sft")]
)
def test_links_have_the_modes_of_the_real_console(emulator, mode, folder):
    job_id = post(emulator, "CreateFineTuningJob", {**JOB, "trainMode": mode}).json()["result"]["jobId"]
    body = {"jobId": job_id, "hyperParameterConfig": {}, "datasetConfig": DATASET}
    post(emulator, "CreateFineTuningTask", body)
    assert f'href="{training_path(emulator, folder)}"' in read(emulator, "/")[1]


def test_visualdl_shows_the_numbers_of_one_training(emulator):
    create_task(emulator)
    job_id = post(emulator, "CreateFineTuningJob", {**JOB, "name": "weekly"}).json()["result"]["jobId"]
    body = {"jobId": job_id, "hyperParameterConfig": {}, "datasetConfig": DATASET}
    post(emulator, "CreateFineTuningTask", body)
    emulator.advance(7200)
    first, second = emulator.tasks
    assert first["vdlLink"] != second["vdlLink"]
    for task in (first, second):
        path = task["vdlLink"].removeprefix("https://console.bce.baidu.com")
        status, text = read(emulator, path)
        assert status == 200
        assert f"Curves of training {task['taskId']}" in text
        assert str(task["checkpointList"][0]["trainingLoss"]) in cells(text)
    assert read(emulator, "/qianfan/visualdl/index?displayToken=no")[0] == 404
    assert read(emulator, "/qianfan/visualdl/index")[0] == 404


def test_page_of_a_training_shows_its_request_and_what_came_out(emulator):
    create_task(emulator)
    status, text = read(emulator, training_path(emulator))
    assert status == 200
    assert "Waiting" in cells(text)
    assert '"epoch": 1' in text
    assert '"versionId": "ds-1"' in text
    assert '"name": "nightly"' in text
    assert "BLEU-4" not in cells(text)
    emulator.advance(100)
    _, text = read(emulator, training_path(emulator))
    task = emulator.tasks[0]
    shown = set(cells(text))
    assert {"Done", *task["metrics"], *task["metrics"].values()} <= shown
    for checkpoint in task["checkpointList"]:
        assert {str(value) for value in checkpoint.values()} <= shown


def test_model_versions_have_a_list(emulator):
    task_id = create_task(emulator)
    emulator.advance(100)
    body = {"modelSetName": "bot", "modelType": "Text2Text"}
    set_id = post(emulator, "CreateCustomModelSet", body, route="model").json()["result"]
    body = {"modelSetId": set_id, "sourceType": "Train", "trainMeta": {"taskId": task_id}}
    post(emulator, "CreateCustomModel", body, route="model")
    status, text = read(emulator, "/qianfan/modelcenter/model/user/list")
    assert status == 200
    assert {emulator.models[0]["modelId"], "bot-V1", "Creating"} <= set(cells(text))


def test_page_of_a_data_set_version_shows_its_imports(emulator):
    body = {"datasetName": "faq", "dataFormat": "Text", "storageType": "sysStorage"}
    version_id = post(emulator, "CreateDataset", body, route="dataset").json()["result"]["versionId"]
    body = {"versionId": version_id, "files": ["bos:/b/f.jsonl"]}
    task_id = post(emulator, "CreateImportTask", body, route="dataset").json()["result"]
    path = f"/qianfan/data/dataset/{version_id}/detail"
    assert f'href="{path}"' in read(emulator, "/")[1]
    status, text = read(emulator, path)
    assert status == 200
    assert {version_id, task_id, "Unpublished"} <= set(cells(text))
    assert read(emulator, "/qianfan/data/dataset/ds-1/detail")[0] == 404


def test_unknown_training_is_not_found(emulator):
    status, text = read(emulator, "/qianfan/train/sft/job-1/task-1/detail/traininglog")
    assert status == 404
    assert "There is no training task-1 of the job job-1" in text


def test_training_of_another_job_is_not_found(emulator):
    task_id = create_task(emulator)
    other = post(emulator, "CreateFineTuningJob", {**JOB, "name": "other"}).json()["result"]["jobId"]
    assert read(emulator, f"/qianfan/train/sft/{other}/{task_id}/detail/traininglog")[0] == 404


def test_whatever_was_sent_is_escaped(emulator):
    evil = "<b onclick='x'>\"&"
    body = {**JOB, "name": evil, "model": evil, "trainMode": evil, "description": "<script>1</script>"}
    job_id = post(emulator, "CreateFineTuningJob", body).json()["result"]["jobId"]
    dataset = {"sourceType": "Platform", "versions": [{"versionId": "</pre><script>"}]}
    body = {"jobId": job_id, "hyperParameterConfig": {evil: evil}, "datasetConfig": dataset}
    post(emulator, "CreateFineTuningTask", body)
    unknown = "/qianfan/train/sft/%3Cscript%3E/%3Cscript%3E/detail/traininglog"
    for path in ("/", training_path(emulator), unknown):
        answer = httpx.get(emulator.endpoint + path)
        assert "<b onclick" not in answer.text
        assert "<script" not in answer.text
        assert "&lt;" in answer.text
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_pages_are_read_only_and_not_in_the_journal(emulator):
    read(emulator, "/")
    assert emulator.journal == []
    assert httpx.post(emulator.endpoint + "/").json()["code"] == "InvalidURI"
