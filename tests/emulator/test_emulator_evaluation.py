import re

import pytest

from airflow_qianfan.emulator import QianfanEmulator
from airflow_qianfan.emulator.assumptions import Assumptions
from airflow_qianfan.emulator.evaluation import EvalTask, judge

MODELS = {
    "versionId": "ds-0123456789abcdef",
    "evalModelConfigList": [
        {"modelId": "amv-1", "promptTemplate": "Q: {input}"},
        {"modelId": "amv-2", "temperature": 0.5},
    ],
}
RESULTS = {"evalInferDatasetConfigList": [{"inferDatasetId": "ds-2"}]}
EVALUATION = {
    "taskName": "nightly",
    "description": "d",
    "evalObjectType": "model",
    "evalObjectConfig": {"evalModelConfig": MODELS},
    "evalConfig": {"evalMode": "rule"},
}


def create(local, mode="rule", **members):
    return local.ok("CreateEvalTask", **{**EVALUATION, "evalConfig": {"evalMode": mode}, **members})


def state(local, task_id):
    return local.ok("DescribeEvalTask", taskId=task_id)["state"]


def states(local, task_id, steps=20):
    seen = [state(local, task_id)]
    for _ in range(steps):
        local.clock.time += 100 / steps
        if (word := state(local, task_id)) != seen[-1]:
            seen.append(word)
    return seen


def test_life_of_an_automatic_evaluation_ends_in_a_word_spelled_successed(local):
    task_id = create(local, "rule,model")
    assert re.fullmatch(r"ame-[a-z0-9]{12}", task_id)
    assert local.ok("DescribeEvalTask", taskId=task_id) == {
        "taskId": task_id,
        "taskName": "nightly",
        "description": "d",
        "evalType": "auto",
        "state": "Queued",
    }
    assert states(local, task_id) == ["Queued", "Running", "RunningWithMetricsCalculating", "Successed"]


def test_manual_evaluation_waits_for_a_person(local):
    task_id = create(local, "manual")
    assert states(local, task_id) == ["Queued", "Running", "RunningWithManualBegin"]
    local.clock.time += 1_000_000
    assert state(local, task_id) == "RunningWithManualBegin"
    judge(local.backend.view(), task_id)
    assert state(local, task_id) == "RunningWithMetricsCalculating"
    local.clock.time += 40
    assert state(local, task_id) == "Successed"
    assert local.ok("DescribeEvalTask", taskId=task_id)["evalType"] == "manual"
    with pytest.raises(ValueError, match="does not wait for a person"):
        judge(local.backend.view(), task_id)


def test_a_test_can_be_the_person():
    with QianfanEmulator() as emulator, pytest.raises(ValueError, match="does not wait"):
        emulator.judge("ame-1")


def test_name_with_fail_fails(local):
    task_id = create(local, taskName="will-fail")
    assert states(local, task_id)[-1] == "Failed"


def change_models(**members):
    return {"evalObjectConfig": {"evalModelConfig": {**MODELS, **members}}}


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({"taskName": ""}, "taskName"),
        ({"evalObjectType": "dataset"}, "evalObjectType"),
        ({"evalObjectConfig": None}, "evalObjectConfig"),
        ({"evalObjectConfig": {}}, "evalModelConfig"),
        ({"evalObjectType": "inferDataset"}, "evalModelConfig"),
        (
            {"evalObjectConfig": {"evalModelConfig": MODELS, "evalInferDatasetConfig": RESULTS}},
            "evalInferDatasetConfig",
        ),
        (change_models(versionId=None), "versionId"),
        (change_models(storageType="Disk"), "storageType"),
        (change_models(evalModelConfigList=[]), "evalModelConfigList"),
        (change_models(evalModelConfigList=[{"modelId": "amv-1"}] * 6), "evalModelConfigList"),
        (change_models(evalModelConfigList=[{}]), "modelId"),
        (
            change_models(evalModelConfigList=[{"modelId": "amv-1", "promptTemplate": "no"}]),
            "promptTemplate",
        ),
        ({"evalConfig": {}}, "evalMode"),
        ({"evalConfig": {"evalMode": "guess"}}, "evalMode"),
    ],
)
def test_bad_member_is_refused_by_name(local, change, member):
    assert local.bad_member("CreateEvalTask", **{**EVALUATION, **change}) == member
    assert local.store.table(EvalTask) == {}


def test_list_needs_the_type_and_filters(local):
    first, second = create(local, taskName="alpha"), create(local, taskName="beta")
    manual = create(local, "manual")

    def listed(**body):
        return [row["taskId"] for row in local.ok("DescribeEvalTasks", **body)["taskList"]]

    assert local.bad_member("DescribeEvalTasks") == "evalType"
    assert listed(evalType="auto") == [first, second]
    assert listed(evalType="manual") == [manual]
    assert listed(evalType="auto", keyFilter="lph") == [first]
    assert listed(evalType="auto", keyFilter=second[5:]) == [second]
    assert listed(evalType="auto", keyFilter="amv-1") == [first, second]
    assert listed(evalType="auto", keyFilter="amv") == []
    page = local.ok("DescribeEvalTasks", evalType="auto", maxKeys=1)
    assert page["pageInfo"]["nextMarker"] == second


def test_what_the_list_shows_is_an_assumption(make_local):
    local = make_local(Assumptions(evaluation_list="evalTasks", evaluation_list_has_descriptions=False))
    create(local)
    (row,) = local.ok("DescribeEvalTasks", evalType="auto")["evalTasks"]
    assert "description" not in row


def test_report_is_a_list_with_an_entry_for_each_object(local):
    task_id = create(local, "rule,model")
    assert local.refused("DescribeEvalTaskReport", taskId=task_id) == (400, "InvalidStatus")
    local.clock.time += 100
    report = local.ok("DescribeEvalTaskReport", taskId=task_id)
    assert [entry["modelId"] for entry in report] == ["amv-1", "amv-2"]
    for entry in report:
        assert (entry["taskId"], entry["taskName"], entry["evalMode"]) == (task_id, "nightly", "rule,model")
        assert 0 < entry["accuracy"] < 1
        assert {"f1Score", "rouge_1", "rouge_2", "rouge_l", "bleu4", "avgJudgeScore"} <= set(entry)
    assert report[0]["accuracy"] != report[1]["accuracy"] or report[0]["bleu4"] != report[1]["bleu4"]


def test_report_of_results_names_their_data_set(local):
    config = {"evalInferDatasetConfig": RESULTS}
    task_id = create(local, evalObjectType="inferDataset", evalObjectConfig=config)
    local.clock.time += 100
    (entry,) = local.ok("DescribeEvalTaskReport", taskId=task_id)
    assert entry["inferDatasetId"] == "ds-2"
    assert "modelId" not in entry
    assert "avgJudgeScore" not in entry


@pytest.mark.parametrize("shape", ["texts", "nested"])
def test_shape_of_the_metrics_is_an_assumption(make_local, shape):
    local = make_local(Assumptions(evaluation_metrics=shape, evaluation_report_before_end="empty"))
    task_id = create(local)
    assert local.ok("DescribeEvalTaskReport", taskId=task_id) == []
    local.clock.time += 100
    entry = local.ok("DescribeEvalTaskReport", taskId=task_id)[0]
    if shape == "texts":
        assert re.fullmatch(r"\d\d\.\d\d%", entry["accuracy"])
    else:
        assert 0 < entry["effectMetric"]["accuracy"] < 1


def test_stop_answers_an_empty_object(local):
    task_id = create(local)
    assert local.ok("StopEvalTask", taskId=task_id) == {}
    assert state(local, task_id) == "Stopped"
    assert local.ok("StopEvalTask", taskId=task_id) == {}
    assert local.refused("StopEvalTask", taskId="ame-1") == (404, "NoSuchKey")


def test_stopping_takes_a_while_where_that_is_assumed(make_local):
    local = make_local(Assumptions(stop_delay_seconds=5, stop_finished_task="error"))
    task_id = create(local)
    local.ok("StopEvalTask", taskId=task_id)
    assert state(local, task_id) == "Stopping"
    local.clock.time += 5
    assert state(local, task_id) == "Stopped"
    assert local.refused("StopEvalTask", taskId=task_id) == (400, "InvalidStatus")


def test_manual_evaluation_cannot_be_stopped(local, make_local):
    assert local.refused("StopEvalTask", taskId=create(local, "manual")) == (400, "InvalidStatus")
    other = make_local(Assumptions(stop_manual_evaluation="allow"))
    task_id = create(other, "manual")
    assert other.ok("StopEvalTask", taskId=task_id) == {}
    assert state(other, task_id) == "Stopped"


def test_delete_answers_true(local, make_local):
    task_id = create(local)
    assert local.refused("DeleteEvalTask", taskId=task_id) == (400, "InvalidStatus")
    local.clock.time += 100
    assert local.ok("DeleteEvalTask", taskId=task_id) is True
    assert local.refused("DescribeEvalTask", taskId=task_id) == (404, "NoSuchKey")
    other = make_local(Assumptions(delete_running_evaluation="allow"))
    assert other.ok("DeleteEvalTask", taskId=create(other)) is True


def test_export_ends_in_a_word_spelled_succeeded(local):
    task_id = create(local)
    assert local.refused("CreateEvalResultExportTask", evalId=task_id) == (400, "InvalidStatus")
    local.clock.time += 100
    body = {"evalId": task_id, "storageType": "BOS", "bucket": "b", "exportContent": ["prompt", "metrics"]}
    export_id = local.ok("CreateEvalResultExportTask", **body)
    assert re.fullmatch(r"amemt-[a-z0-9]{12}", export_id)
    seen = []
    for _ in range(4):
        found = local.ok("DescribeEvalResultExportTask", taskId=export_id)
        seen.append(found["status"])
        local.clock.time += 4
    assert seen == ["Queued", "Running", "Running", "Succeeded"]
    assert found["downloadUrl"].endswith(f"{export_id}.zip")
    assert local.bad_member("CreateEvalResultExportTask") == "evalId"
    assert local.bad_member("CreateEvalResultExportTask", **{**body, "exportContent": ["all"]}) == (
        "exportContent"
    )
    assert local.refused("CreateEvalResultExportTask", evalId="ame-1") == (404, "NoSuchKey")


def test_export_into_a_bucket_with_fail_fails_and_its_answer_is_an_assumption(make_local):
    local = make_local(Assumptions(evaluation_export_answer="object"))
    task_id = create(local)
    local.clock.time += 100
    answer = local.ok("CreateEvalResultExportTask", evalId=task_id, bucket="fail")
    local.clock.time += 10
    found = local.ok("DescribeEvalResultExportTask", taskId=answer["taskId"])
    assert found["status"] == "Failed"
    assert "downloadUrl" not in found
