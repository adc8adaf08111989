import json

import pytest

from airflow_qianfan.emulator.faults import Fault
from airflow_qianfan.emulator.training import Job


def order(local, kind, action="*", **options):
    local.backend.faults.add(Fault(kind=kind, action=action, **options))


def last(local):
    return local.store.journal[-1]


def raw(local, action="DescribeFineTuningJobs", body=b"{}"):
    return local.send(action, body)


def test_server_error_has_no_body_and_no_effect(local):
    order(local, "server_error", status=503, retry_after=2)
    answer = raw(local, "CreateFineTuningJob", b'{"name": "ab", "model": "m", "trainMode": "SFT"}')
    assert (answer.status, answer.body, answer.headers["Retry-After"]) == (503, b"", "2")
    assert local.store.table(Job) == {}
    entry = last(local)
    assert (entry["outcome"], entry["fault"], entry["effect"]) == ("fault", "server_error", False)
    assert raw(local).status == 200


def test_count_action_and_order_of_faults(local):
    order(local, "server_error", "DescribeFineTuningJobs", count=2)
    order(local, "throttle", "DescribeFineTuningJobs")
    assert raw(local, "DescribeCustomModelSets").status == 200
    assert [raw(local).status for _ in range(4)] == [500, 500, 429, 200]


def test_probability_hits_about_that_share_and_never_ends(local):
    order(local, "server_error", count=None, probability=0.3)
    hits = sum(raw(local).status == 500 for _ in range(1000))
    assert 200 < hits < 400
    local.backend.faults.clear()
    order(local, "server_error", count=None, probability=0)
    assert raw(local).status == 200


def test_throttle_numeric_false_error_and_redirect(local):
    order(local, "throttle", retry_after=3)
    answer = raw(local)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "3")
    assert json.loads(answer.body)["code"] == "RequestLimitExceeded"
    order(local, "numeric")
    answer = raw(local)
    assert answer.status == 200
    assert set(json.loads(answer.body)) == {"error_code", "error_msg", "log_id"}
    assert json.loads(answer.body)["error_code"] == 336100
    order(local, "numeric", code=18, message="slow down")
    assert json.loads(raw(local).body)["error_code"] == 18
    order(local, "false")
    assert json.loads(raw(local).body)["result"] is False
    order(local, "error", status=403, code="AccessDenied")
    answer = raw(local)
    assert (answer.status, json.loads(answer.body)["code"]) == (403, "AccessDenied")
    order(local, "redirect", location="http://127.0.0.1:1/x")
    answer = raw(local)
    assert (answer.status, answer.headers["Location"]) == (307, "http://127.0.0.1:1/x")


def test_malformed_and_oversize_bodies(local):
    order(local, "malformed")
    with pytest.raises(json.JSONDecodeError):
        json.loads(raw(local).body)
    order(local, "oversize")
    assert len(raw(local).body) > 16 << 20


def test_lost_answer_and_effect_carry_the_action_out(local):
    body = b'{"name": "%s", "model": "m", "trainMode": "SFT"}'
    order(local, "lost_answer")
    assert raw(local, "CreateFineTuningJob", body % b"one").status is None
    entry = last(local)
    assert (entry["effect"], entry["outcome"], entry["status"]) == (True, "fault", None)
    order(local, "server_error", effect=True)
    assert raw(local, "CreateFineTuningJob", body % b"two").status == 500
    order(local, "reset")
    assert raw(local, "CreateFineTuningJob", body % b"three").status is None
    assert {job.name for job in local.store.table(Job).values()} == {"one", "two"}


def test_timeout_holds_the_real_answer(local):
    order(local, "timeout", seconds=7)
    answer = raw(local)
    assert (answer.status, answer.hold) == (200, 7)
    assert raw(local).hold == 0


def test_unknown_status_and_missing_progress(local):
    job_id = local.job()
    task_id = local.task(job_id)
    local.clock.time += 50
    order(local, "unknown_status", word="Preparing")
    assert local.ok("DescribeFineTuningTask", taskId=task_id)["runStatus"] == "Preparing"
    order(local, "unknown_status", "DescribeFineTuningTasks", word="Stop")
    assert local.ok("DescribeFineTuningTasks", jobId=job_id)["taskList"][0]["runStatus"] == "Stop"
    order(local, "missing_progress")
    running = local.ok("DescribeFineTuningTask", taskId=task_id)
    assert running["runStatus"] == "Running"
    assert "runProgress" not in running
    assert "runProgress" in local.ok("DescribeFineTuningTask", taskId=task_id)
    body = {"bucket": "b", "objectPath": "o", "modelFormat": "Safetensors", "modelApplicationType": "chat"}
    model_id = local.ok(
        "CreateCustomModel", modelSetId=local.model_set(), sourceType="Import", importMeta=body
    )["modelId"]
    order(local, "unknown_status", word="Uploading")
    assert local.ok("DescribeModel", modelId=model_id)["status"] == "Uploading"


def test_faults_of_an_answer_wait_for_an_action_that_shows_it(local):
    order(local, "unknown_status")
    order(local, "stale")
    local.job()
    assert len(local.backend.faults.orders) == 2


def test_stale_shows_the_past(local):
    old = local.job("old")
    task_id = local.task(old)
    local.clock.time += 60
    new = local.job("new")
    local.ok("StopFineTuningTask", taskId=task_id)
    order(local, "stale", seconds=20, count=3)
    assert local.ok("DescribeFineTuningTask", taskId=task_id)["runStatus"] == "Running"
    rows = local.ok("DescribeFineTuningJobs")["jobList"]
    assert [row["jobId"] for row in rows] == [old]
    assert local.refused("DescribeFineTuningTasks", jobId=new) == (404, "NoSuchKey")
    assert local.ok("DescribeFineTuningTask", taskId=task_id)["runStatus"] == "Stopped"
    assert len(local.ok("DescribeFineTuningJobs")["jobList"]) == 2


def test_unsigned_call_uses_up_no_fault(local):
    order(local, "server_error")
    local.send("DescribeFineTuningJobs", b"{}", "AKTEST", "SKWRONG")
    assert raw(local).status == 500


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "earthquake"},
        {"kind": "reset", "count": 0},
        {"kind": "reset", "probability": 1.5},
        {"kind": "reset", "colour": "red"},
        {"kind": "server_error", "status": 99},
        {"kind": "redirect", "location": "http://x/\r\nSet-Cookie: a"},
        {"kind": "reset", "action": "DescribeFineTuningTaks"},
        {"kind": "stale", "action": "StopFineTuningTask"},
        {"kind": "unknown_status", "action": "DescribeModelSet"},
        {"kind": "missing_progress", "action": "DescribeModel"},
    ],
)
def test_fault_that_could_never_hit_is_refused(local, options):
    with pytest.raises(ValueError, match=r"cannot hit|validation error"):
        local.backend.faults.add(Fault.model_validate(options))
