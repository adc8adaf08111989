"""The administration: journal, objects, clock, reset and faults, in Python and over HTTP."""

import time

import httpx
import pytest
from over_http import JOB, create_task, post


def test_journal_and_inspection(emulator):
    task_id = create_task(emulator)
    post(emulator, "DescribeFineTuningTask", {"taskId": "task-1"})
    journal = httpx.get(emulator.endpoint + "/_emulator/journal").json()
    assert journal == emulator.journal
    assert [entry["seq"] for entry in journal] == [1, 2, 3]
    assert [entry["effect"] for entry in journal] == [True, True, False]
    assert journal[1]["ids"] == {"jobId": emulator.jobs[0]["jobId"], "taskId": task_id}
    assert (journal[2]["status"], journal[2]["code"]) == (404, "NoSuchKey")
    assert emulator.tasks[0]["taskId"] == task_id
    assert emulator.tasks[0]["request"]["hyperParameterConfig"] == {"epoch": 1}
    assert emulator.jobs[0]["request"] == JOB
    assert emulator.models == []


def test_clock_is_advanced_from_python_and_http(emulator):
    task_id = create_task(emulator)
    emulator.advance(50)
    assert emulator.tasks[0]["runStatus"] == "Running"
    answer = httpx.post(emulator.endpoint + "/_emulator/clock", json={"advance": 5000})
    assert answer.json()["offset"] == 5050
    assert httpx.get(emulator.endpoint + "/_emulator/clock").json()["now"] > time.time() + 5000
    detail = post(emulator, "DescribeFineTuningTask", {"taskId": task_id}).json()["result"]
    assert detail["runStatus"] == "Done"
    for bad in ({"advance": -1}, {"advance": 1e300}, {}, []):
        assert httpx.post(emulator.endpoint + "/_emulator/clock", json=bad).status_code == 400
    with pytest.raises(ValueError, match="positive"):
        emulator.advance(-1)


def test_reset_forgets_everything(emulator):
    create_task(emulator)
    emulator.fail_next(kind="reset")
    emulator.advance(10)
    assert httpx.post(emulator.endpoint + "/_emulator/reset").json() == {"status": "ok"}
    assert (emulator.jobs, emulator.tasks, emulator.journal) == ([], [], [])
    assert httpx.get(emulator.endpoint + "/_emulator/faults").json() == []
    assert httpx.get(emulator.endpoint + "/_emulator/clock").json()["offset"] == 0
    assert post(emulator, "CreateFineTuningJob", JOB).status_code == 200
    emulator.reset()
    assert emulator.jobs == []


def test_a_data_set_is_added_from_python(emulator):
    shown = emulator.add_dataset("ds-mine", dataset_id="dg-mine", name="faq", data_format="Role", samples=7)
    states = {"importStatus": "ImportFinished", "publishStatus": "Published"}
    names = {"datasetId": "dg-mine", "datasetName": "faq", "versionId": "ds-mine", "dataFormat": "Role"}
    assert shown.items() >= (states | names).items()
    answer = post(emulator, "DescribeDatasetVersion", {"versionId": "ds-mine"}, route="dataset")
    assert answer.json()["result"] == shown
    (loaded,) = emulator.objects("import_task")
    assert (loaded["sampleCount"], loaded["progress"]) == (7, "100%")
    generated = emulator.add_dataset()
    assert generated["versionId"].startswith("ds-")
    assert generated["datasetName"] == generated["datasetId"]
    for taken in ({"dataset_version_id": "ds-mine"}, {"dataset_id": "dg-mine"}, {"name": "faq"}):
        with pytest.raises(ValueError, match="already"):
            emulator.add_dataset(**taken)
    with pytest.raises(ValueError, match="data_format"):
        emulator.add_dataset(data_format="Prose")
    assert len(emulator.objects("dataset")) == len(emulator.objects("dataset_version")) == 2
    emulator.reset()
    assert emulator.objects("dataset_version") == []


def test_data_sets_are_added_over_http(emulator):
    datasets = emulator.endpoint + "/_emulator/datasets"
    (shown,) = httpx.post(datasets, json={"dataset_version_id": "ds-1"}).json()
    assert shown["publishStatus"] == "Published"
    httpx.post(datasets, json=[{"dataset_version_id": "ds-2"}, {}])
    assert [row["versionId"] for row in httpx.get(datasets).json()][:2] == ["ds-1", "ds-2"]
    assert len(emulator.objects("dataset_version")) == 3
    for bad in ({"dataset_version_id": "ds-1"}, {"samples": -1}, {"version": "ds-4"}, [7]):
        answer = httpx.post(datasets, json=bad)
        assert answer.status_code == 400
        assert answer.json()["error"]
    assert len(emulator.objects("dataset_version")) == 3


def test_a_person_judges_over_http(emulator):
    judgements = emulator.endpoint + "/_emulator/judgements"
    models = {"versionId": "ds-1", "evalModelConfigList": [{"modelId": "amv-1"}]}
    evaluation = {
        "taskName": "nightly",
        "evalObjectType": "model",
        "evalObjectConfig": {"evalModelConfig": models},
        "evalConfig": {"evalMode": "manual"},
    }
    task_id = post(emulator, "CreateEvalTask", evaluation, route="eval").json()["result"]
    for bad in ({"eval_task_id": task_id}, {"eval_task_id": "ame-1"}, {}, []):
        assert httpx.post(judgements, json=bad).status_code == 400
    emulator.advance(5000)
    assert httpx.post(judgements, json={"eval_task_id": task_id}).status_code == 200
    emulator.advance(5000)
    assert emulator.objects("eval_task")[0]["state"] == "Successed"


def test_faults_are_ordered_over_http(emulator):
    faults = emulator.endpoint + "/_emulator/faults"
    order = {"kind": "server_error", "action": "DescribeFineTuningJobs", "count": 2}
    assert httpx.post(faults, json=order).json()[0]["kind"] == "server_error"
    httpx.post(faults, json=[{"kind": "numeric"}, {"kind": "false"}])
    assert [order["kind"] for order in httpx.get(faults).json()] == ["server_error", "numeric", "false"]
    assert post(emulator, "DescribeFineTuningJobs").status_code == 500
    assert httpx.delete(faults).json() == []
    assert post(emulator, "DescribeFineTuningJobs").status_code == 200
    for bad in ({"kind": "quake"}, {}, [7], {"kind": "reset", "action": "Nope"}):
        answer = httpx.post(faults, json=bad)
        assert answer.status_code == 400
        assert answer.json()["error"]
    assert httpx.post(faults, content=b"{").status_code == 400
    assert httpx.get(faults).json() == []
