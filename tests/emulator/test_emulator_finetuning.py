import base64
import json
import math
import re

import pytest

from airflow_qianfan.emulator.assumptions import Assumptions
from airflow_qianfan.emulator.errors import Refusal
from airflow_qianfan.emulator.training import Job, Task


def detail(local, task_id):
    return local.ok("DescribeFineTuningTask", taskId=task_id)


def test_job_is_created_and_listed_as_documented(local):
    job_id = local.job("夜间_微调")
    assert re.fullmatch(r"job-[a-z0-9]{12}", job_id)
    result = local.ok("DescribeFineTuningJobs")
    assert result == {
        "jobList": [
            {
                "jobId": job_id,
                "name": "夜间_微调",
                "description": "",
                "model": "ERNIE-Speed-8K",
                "trainMode": "SFT",
                "createTime": "2024-01-16T09:48:35Z",
            }
        ],
        "pageInfo": {"marker": "", "maxKeys": 10, "isTruncated": False},
    }


def test_request_id_is_a_uuid_and_also_a_header(local):
    answer = local.send("DescribeFineTuningJobs", b"{}")
    request_id = json.loads(answer.body)["requestId"]
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", request_id)
    assert answer.headers["x-bce-request-id"] == request_id
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({"name": None}, "name"),
        ({"name": "a"}, "name"),
        ({"name": "a" * 21}, "name"),
        ({"name": 7}, "name"),
        ({"description": "d" * 501}, "description"),
        ({"description": []}, "description"),
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"trainMode": None}, "trainMode"),
        ({"trainMode": {}}, "trainMode"),
    ],
)
def test_job_with_a_bad_member_is_refused_by_name(local, change, member):
    body = {"name": "nightly", "model": "ERNIE-Speed-8K", "trainMode": "SFT", **change}
    assert local.bad_member("CreateFineTuningJob", **body) == member
    assert local.store.table(Job) == {}


def test_name_lengths_count_characters_and_unknown_members_are_ignored(local):
    for name in ("微调", "夜" * 20):
        local.ok(
            "CreateFineTuningJob",
            name=name,
            description="d" * 500,
            model="m",
            trainMode="SFT",
            surprise={"a": 1},
        )


def test_job_names_are_unique_until_the_job_is_deleted(local):
    job_id = local.job()
    body = {"name": "nightly", "model": "other", "trainMode": "DPO"}
    assert local.refused("CreateFineTuningJob", **body) == (400, "DuplicateName")
    assert local.ok("DeleteFineTuningJob", jobId=job_id) is True
    local.ok("CreateFineTuningJob", **body)


def test_jobs_are_filtered_by_model_and_mode(local):
    first = local.job("one")
    local.job("two", model="Other")
    rows = local.ok("DescribeFineTuningJobs", model="ERNIE-Speed-8K", trainMode="SFT")["jobList"]
    assert [row["jobId"] for row in rows] == [first]
    assert local.ok("DescribeFineTuningJobs", trainMode="DPO")["jobList"] == []


def test_pages_are_cut_with_inclusive_markers(local):
    ids = [local.job(f"job{number}") for number in range(25)]
    first = local.ok("DescribeFineTuningJobs")
    assert [row["jobId"] for row in first["jobList"]] == ids[:10]
    assert first["pageInfo"] == {"marker": "", "maxKeys": 10, "isTruncated": True, "nextMarker": ids[10]}
    last = local.ok("DescribeFineTuningJobs", marker=ids[20])
    assert [row["jobId"] for row in last["jobList"]] == ids[20:]
    assert last["pageInfo"] == {"marker": ids[20], "maxKeys": 10, "isTruncated": False}
    backwards = local.ok("DescribeFineTuningJobs", marker=ids[5], pageReverse=True, maxKeys=3)
    assert [row["jobId"] for row in backwards["jobList"]] == [ids[5], ids[4], ids[3]]
    assert backwards["pageInfo"]["nextMarker"] == ids[2]


def test_page_size_is_clamped_to_100(local):
    for number in range(101):
        local.job(f"job{number}")
    result = local.ok("DescribeFineTuningJobs", maxKeys=1000)
    assert len(result["jobList"]) == 100
    assert result["pageInfo"]["maxKeys"] == 100
    assert (
        len(
            local.ok("DescribeFineTuningJobs", maxKeys=100, marker=result["pageInfo"]["nextMarker"])[
                "jobList"
            ]
        )
        == 1
    )


def test_bad_paging_is_refused(local):
    local.job()
    assert local.refused("DescribeFineTuningJobs", marker="job-000000000000") == (400, "InvalidMarker")
    assert local.refused("DescribeFineTuningJobs", marker=5) == (400, "InvalidMarker")
    assert local.bad_member("DescribeFineTuningJobs", maxKeys=0) == "maxKeys"
    assert local.bad_member("DescribeFineTuningJobs", maxKeys="10") == "maxKeys"
    assert local.bad_member("DescribeFineTuningJobs", maxKeys=True) == "maxKeys"
    assert local.bad_member("DescribeFineTuningJobs", pageReverse="yes") == "pageReverse"


def test_newest_first_is_an_assumption(make_local):
    local = make_local(Assumptions(newest_first=True))
    ids = [local.job("one"), local.job("two")]
    assert [row["jobId"] for row in local.ok("DescribeFineTuningJobs")["jobList"]] == ids[::-1]
    reverse = local.ok("DescribeFineTuningJobs", pageReverse=True)["jobList"]
    assert [row["jobId"] for row in reverse] == ids


def test_task_runs_from_waiting_to_done(local):
    task_id = local.task(local.job(), parameterScale="LoRA")
    assert re.fullmatch(r"task-[a-z0-9]{12}", task_id)
    waiting = detail(local, task_id)
    assert waiting["runStatus"] == "Waiting"
    assert waiting["finishDate"] == "0000-00-00T00:00:00Z"
    assert "runProgress" not in waiting
    local.clock.time += 9.9
    assert detail(local, task_id)["runStatus"] == "Waiting"
    seen = []
    for _ in range(90):
        local.clock.time += 1
        running = detail(local, task_id)
        assert running["runStatus"] == "Running"
        assert not {"metrics", "checkpointList"} & set(running)
        assert re.fullmatch(r"\d{1,2}%", running["runProgress"])
        seen.append(int(running["runProgress"][:-1]))
    assert seen == sorted(seen)
    assert seen[0] < 5
    assert seen[-1] > 90
    assert max(seen.count(value) for value in seen) >= 15  # it stands still for a while
    local.clock.time += 0.1
    done = detail(local, task_id)
    assert done["runStatus"] == "Done"
    assert "runProgress" not in done
    assert (done["createDate"], done["finishDate"]) == ("2024-01-16T09:48:35Z", "2024-01-16T09:50:15Z")
    assert done["jobName"] == "nightly"
    assert done["parameterScale"] == "LoRA"


def test_results_of_a_done_task_look_like_recorded_ones(local):
    task_id = local.task(local.job(), hyperParameterConfig={"saveStep": 50})
    local.clock.time += 100
    done = detail(local, task_id)
    assert set(done["metrics"]) == {"BLEU-4", "ROUGE-1", "ROUGE-2", "ROUGE-L"}
    assert all(re.fullmatch(r"\d\d\.\d\d%", value) for value in done["metrics"].values())
    steps = [checkpoint["step"] for checkpoint in done["checkpointList"]]
    assert steps[:2] == [50, 100]
    assert steps == sorted(set(steps))
    for checkpoint in done["checkpointList"]:
        assert checkpoint["perplexity"] == pytest.approx(math.exp(checkpoint["trainingLoss"]), abs=1e-3)
    assert detail(local, task_id) == done


def test_text_to_image_task_has_no_metrics(local):
    task_id = local.done_task(model="Stable-Diffusion-XL")
    assert detail(local, task_id)["metrics"] == {}


def test_vdl_link_holds_a_run_id_from_the_start(local):
    link = detail(local, local.task(local.job()))["vdlLink"]
    start, _, token = link.partition("displayToken=")
    assert start == "https://console.bce.baidu.com/qianfan/visualdl/index?"
    assert re.fullmatch(r"run-.{16}", json.loads(base64.b64decode(token))["runId"])


def test_task_of_a_job_named_fail_fails_midway(local):
    task_id = local.task(local.job("will-Fail"))
    local.clock.time += 50
    assert detail(local, task_id)["runStatus"] == "Running"
    local.clock.time += 5
    failed = detail(local, task_id)
    assert failed["runStatus"] == "Failed"
    assert failed["finishDate"] == "2024-01-16T09:49:30Z"
    assert "metrics" not in failed


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({"jobId": None}, "jobId"),
        ({"hyperParameterConfig": None}, "hyperParameterConfig"),
        ({"hyperParameterConfig": []}, "hyperParameterConfig"),
        ({"datasetConfig": None}, "datasetConfig"),
        ({"datasetConfig": {"versions": [{"versionId": "ds-1"}]}}, "sourceType"),
        ({"datasetConfig": {"sourceType": "Moon", "versions": [{"versionId": "ds-1"}]}}, "sourceType"),
        ({"datasetConfig": {"sourceType": "Platform"}}, "versions"),
        ({"datasetConfig": {"sourceType": "Platform", "versions": []}}, "versions"),
        ({"datasetConfig": {"sourceType": "Platform", "versions": [{}]}}, "versionId"),
        ({"datasetConfig": {"sourceType": "Bos", "versions": [{"versionId": "ds-1"}]}}, "versionBosUri"),
        (
            {
                "datasetConfig": {
                    "sourceType": "Platform",
                    "versions": [{"versionId": "d", "samplingRate": 11}],
                }
            },
            "samplingRate",
        ),
        (
            {
                "datasetConfig": {
                    "sourceType": "Platform",
                    "versions": [{"versionId": "d"}],
                    "splitRatio": "20",
                }
            },
            "splitRatio",
        ),
        (
            {
                "datasetConfig": {
                    "sourceType": "Platform",
                    "versions": [{"versionId": "d"}],
                    "splitRatio": 101,
                }
            },
            "splitRatio",
        ),
        ({"corpusConfig": "x"}, "corpusConfig"),
        ({"modelConfig": 1}, "modelConfig"),
        ({"resourceConfig": True}, "resourceConfig"),
        ({"incrementCheckpointStep": "64"}, "incrementCheckpointStep"),
    ],
)
def test_task_with_a_bad_member_is_refused_by_name(local, change, member):
    body = {
        "jobId": local.job(),
        "hyperParameterConfig": {},
        "datasetConfig": {"sourceType": "Platform", "versions": [{"versionId": "ds-1"}]},
        **change,
    }
    assert local.bad_member("CreateFineTuningTask", **body) == member
    assert local.store.table(Task) == {}


def test_task_needs_a_job(local):
    dataset = {"sourceType": "Bos", "versions": [{"versionBosUri": "bos:/b/f.jsonl"}]}
    body = {"jobId": "job-000000000000", "hyperParameterConfig": {}, "datasetConfig": dataset}
    assert local.refused("CreateFineTuningTask", **body) == (404, "NoSuchKey")
    local.ok("CreateFineTuningTask", **{**body, "jobId": local.job()})


def test_incremental_task_needs_a_done_task_of_the_same_model_and_a_step(local):
    base = local.done_task()
    step = detail(local, base)["checkpointList"][0]["step"]
    job_id = local.job("second")
    local.task(job_id, incrementTaskId=base, incrementCheckpointStep=step)
    body = {
        "jobId": job_id,
        "hyperParameterConfig": {},
        "datasetConfig": {"sourceType": "Platform", "versions": [{"versionId": "ds-1"}]},
    }
    create = "CreateFineTuningTask"
    assert local.bad_member(create, **body, incrementTaskId=base) == "incrementCheckpointStep"
    member = local.bad_member(create, **body, incrementTaskId=base, incrementCheckpointStep=step + 1)
    assert member == "incrementCheckpointStep"
    assert local.refused(create, **body, incrementTaskId="task-000000000000") == (404, "NoSuchKey")
    running = local.task(job_id)
    assert local.refused(create, **body, incrementTaskId=running) == (400, "InvalidStatus")
    other = {**body, "jobId": local.job("third", model="Other")}
    assert local.bad_member(create, **other, incrementTaskId=base) == "incrementTaskId"


def test_list_of_tasks_has_the_documented_members(local):
    job_id = local.job()
    ids = [local.task(job_id), local.task(job_id)]
    local.task(local.job("other"))
    local.clock.time += 50
    result = local.ok("DescribeFineTuningTasks", jobId=job_id, marker=ids[1])
    assert [row["taskId"] for row in result["taskList"]] == ids[1:]
    row = result["taskList"][0]
    assert row["runStatus"] == "Running"
    assert not {"runProgress", "vdlLink"} & set(row)
    local.clock.time += 50
    rows = local.ok("DescribeFineTuningTasks", jobId=job_id)["taskList"]
    assert all(row["checkpointList"] and row["metrics"] for row in rows)
    assert local.bad_member("DescribeFineTuningTasks") == "jobId"
    assert local.refused("DescribeFineTuningTasks", jobId="job-1") == (404, "NoSuchKey")


def test_progress_in_lists_is_an_assumption(make_local):
    local = make_local(Assumptions(task_list_has_progress=True))
    job_id = local.job()
    local.task(job_id)
    local.clock.time += 50
    assert "runProgress" in local.ok("DescribeFineTuningTasks", jobId=job_id)["taskList"][0]


@pytest.mark.parametrize("age", [0, 50])
def test_stop_ends_a_waiting_or_running_task(local, age):
    task_id = local.task(local.job())
    local.clock.time += age
    assert local.ok("StopFineTuningTask", taskId=task_id) is True
    stopped = detail(local, task_id)
    assert stopped["runStatus"] == "Stopped"
    assert stopped["finishDate"] != "0000-00-00T00:00:00Z"
    local.clock.time += 1000
    assert detail(local, task_id) == stopped


@pytest.mark.parametrize(("assumption", "expected"), [("error", 404), ("false", 200)])
def test_stop_of_an_unknown_task_is_an_assumption(make_local, assumption, expected):
    local = make_local(Assumptions(stop_unknown_task=assumption))
    status, answer = local.call("StopFineTuningTask", taskId="task-000000000000")
    assert status == expected
    assert answer.get("result", "none") == (False if assumption == "false" else "none")


@pytest.mark.parametrize("assumption", ["error", "false", "true"])
def test_stop_of_a_done_task_is_an_assumption_and_changes_nothing(make_local, assumption):
    local = make_local(Assumptions(stop_finished_task=assumption, wrong_state=Refusal(409, "Ended")))
    task_id = local.done_task()
    status, answer = local.call("StopFineTuningTask", taskId=task_id)
    if assumption == "error":
        assert (status, answer["code"]) == (409, "Ended")
    else:
        assert (status, answer["result"]) == (200, assumption == "true")
    assert detail(local, task_id)["runStatus"] == "Done"


def test_stop_may_take_a_while(make_local):
    local = make_local(Assumptions(stop_delay_seconds=5))
    task_id = local.task(local.job())
    local.clock.time += 50
    assert local.ok("StopFineTuningTask", taskId=task_id) is True
    assert detail(local, task_id)["runStatus"] == "Running"
    local.clock.time += 4
    assert local.ok("StopFineTuningTask", taskId=task_id) is True  # does not put it off
    local.clock.time += 1
    assert detail(local, task_id)["runStatus"] == "Stopped"


@pytest.mark.parametrize("assumption", ["refuse", "allow"])
def test_delete_of_something_running_is_an_assumption(make_local, assumption):
    local = make_local(Assumptions(delete_running_task=assumption, delete_job_with_running_tasks=assumption))
    job_id = local.job()
    first, second = local.task(job_id), local.task(job_id)
    expected = 200 if assumption == "allow" else 400
    assert local.call("DeleteFineTuningTask", taskId=first)[0] == expected
    assert local.call("DeleteFineTuningJob", jobId=job_id)[0] == expected
    assert (second in local.store.table(Task)) == (assumption == "refuse")


def test_delete_of_a_job_takes_its_done_tasks_along(local):
    task_id = local.done_task()
    job_id = detail(local, task_id)["jobId"]
    assert local.ok("DeleteFineTuningJob", jobId=job_id) is True
    assert local.refused("DescribeFineTuningTask", taskId=task_id) == (404, "NoSuchKey")
    assert local.store.journal[-2]["ids"] == {"jobId": job_id, "taskIds": [task_id]}
    assert local.refused("DeleteFineTuningJob", jobId=job_id) == (404, "NoSuchKey")


def test_deleted_task_is_gone(local):
    task_id = local.done_task()
    assert local.ok("DeleteFineTuningTask", taskId=task_id) is True
    assert local.refused("DeleteFineTuningTask", taskId=task_id) == (404, "NoSuchKey")


def test_supported_models_are_an_array_in_the_shape_of_the_sdk(local):
    answer = json.loads(local.send("DescribeFineTuningSupportModels", b"").body)
    assert isinstance(answer["result"], list)
    for model in answer["result"]:
        assert model["modelType"] in {"text2text", "text2image", "imageUnderstanding"}
        for mode in model["supportTrainMode"]:
            for scale in mode["supportParameterScale"]:
                for parameter in scale["supportHyperParameterConfig"]:
                    names = {"key", "name", "description", "type", "checkType", "checkValue", "default"}
                    assert set(parameter) == names
                    assert parameter["checkType"] in {"range", "choice", "mult_choice"}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "MalformedJSON"),
        (b"no", "MalformedJSON"),
        (b"\xff\xfe", "MalformedJSON"),
        (b'{"name": NaN}', "MalformedJSON"),
        (b'{"name": 1e999}', "MalformedJSON"),
        (b'{"name": "\\ud800"}', "MalformedJSON"),
        (b"[" * 100_000, "MalformedJSON"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "MalformedJSON"),
        (b"1" * 5000, "MalformedJSON"),
        (b"[]", "InappropriateJSON"),
        (b"7", "InappropriateJSON"),
        (b"null", "InappropriateJSON"),
        (b'"name"', "InappropriateJSON"),
        (b"", "InappropriateJSON"),
    ],
)
def test_body_that_is_no_json_object_is_refused(local, body, code):
    answer = local.send("CreateFineTuningJob", body)
    assert (answer.status, json.loads(answer.body)["code"]) == (400, code)
