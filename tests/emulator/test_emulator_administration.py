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
