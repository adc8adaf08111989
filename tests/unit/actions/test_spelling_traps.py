"""What the service spells, counts or wraps in more than one way: a test for each trap, named after it."""

from __future__ import annotations

from typing import Any

import pytest
from wire import ok, reply

from airflow_qianfan.api.actions.batch_inference import (
    CreateBatchInferenceTask,
    DescribeBatchInferenceTask,
    StopBatchInferenceTask,
)
from airflow_qianfan.api.actions.dataset import (
    CreateExportTask,
    CreateImportTask,
    DescribeExportTask,
    DescribeImportTask,
    PublishDatasetVersion,
)
from airflow_qianfan.api.actions.evaluation import (
    CreateEvalResultExportTask,
    CreateEvalTask,
    DeleteEvalTask,
    DescribeEvalResultExportTask,
    DescribeEvalTask,
    DescribeEvalTaskReport,
    StopEvalTask,
)
from airflow_qianfan.api.actions.finetuning import DescribeFineTuningSupportModels, DescribeFineTuningTask
from airflow_qianfan.api.actions.model import (
    CancelModelCompTask,
    CreateModelCompTask,
    CreateModelExportTask,
    DeleteModelCompTask,
    DeleteModelSet,
)
from airflow_qianfan.api.actions.service import (
    CreateService,
    DeactivateService,
    DescribeService,
    DescribeServices,
    ModifyService,
)
from airflow_qianfan.api.objects import Phase
from airflow_qianfan.exceptions import QianfanValidationError

SERVICE = {"model_set_id": "am-1", "model_id": "amv-1", "name": "faq", "url_suffix": "faq"}
EVALUATION = CreateEvalTask(
    task_name="nightly",
    eval_object_type="model",
    eval_object_config={
        "evalModelConfig": {"versionId": "ds-1", "evalModelConfigList": [{"modelId": "amv-1"}]}
    },
    eval_config={"evalMode": "rule"},
)
COMPRESSION = CreateModelCompTask(
    name="small", source_model_id="amv-1", model_set_id="am-1", config={"strategy": "Sparsity"}
)
BATCH = CreateBatchInferenceTask(
    name="nightly", model_id="amv-1", input_bos_uri="bos:/b/in", output_bos_uri="bos:/b/out"
)


def create_service(kind: str = "GPU-1-2", timing: str = "Prepaid") -> CreateService:
    billing = {
        "paymentTiming": timing,
        "reservation": {"reservationTimeUnit": "Month", "reservationLength": 1},
    }
    return CreateService(**SERVICE, resource_config={"type": kind}, billing=billing)


@pytest.mark.parametrize(("created", "shown"), [("Prepaid", "Prepay"), ("Postpaid", "Postpay")])
def test_prepaid_and_prepay(created, shown):
    assert create_service(timing=created).body()["billing"]["paymentTiming"] == created
    found = DescribeService(service_id="svco-1").read_result({"serviceId": "svco-1", "payType": shown})
    assert found.output()["pay_type"] == shown
    assert DescribeServices(pay_type=shown).body()["payType"] == shown
    with pytest.raises(QianfanValidationError, match=f"payType.*{shown}"):
        DescribeServices(pay_type=created)


@pytest.mark.parametrize("kind", ["GPU-1-2", "GPU-I-2"])
def test_gpu_1_2_and_gpu_i_2(kind):
    assert create_service(kind).body()["resourceConfig"]["type"] == kind
    shown = {"serviceId": "svco-1", "resourceConfig": {"type": kind}}
    assert DescribeService(service_id="svco-1").read_result(shown).resource_config == {"type": kind}


@pytest.mark.parametrize("word", ["Successed", "Succeeded", "successed", "SUCCEEDED"])
def test_successed_and_succeeded(word):
    task = DescribeEvalTask(task_id="ame-1").read_result({"taskId": "ame-1", "state": word})
    assert (task.state.phase, task.state.is_known, task.status) == (Phase.SUCCEEDED, True, "Successed")
    export = DescribeEvalResultExportTask(task_id="amemt-1").read_result(
        {"taskId": "amemt-1", "status": word}
    )
    assert (export.state.phase, export.state.is_known) == (Phase.SUCCEEDED, True)


@pytest.mark.parametrize("text", ["40 %", "40%", " 40 % "])
def test_progress_as_40_percent(text):
    imported = DescribeImportTask(task_id="task-1").read_result(
        {"importStatus": "Importing", "progress": text}
    )
    exported = DescribeExportTask(task_id="task-1").read_result(
        {"exportStatus": "Exporting", "progress": text}
    )
    training = DescribeFineTuningTask(task_id="task-1").read_result(
        {"taskId": "task-1", "jobId": "job-1", "runStatus": "Running", "runProgress": text}
    )
    assert imported.progress == exported.progress == training.progress == 0.4


@pytest.mark.parametrize(("total", "share"), [({"total": 80}, 0.5), ({}, None)], ids=["total", "no-total"])
def test_progress_as_a_count(total, share):
    task = DescribeBatchInferenceTask(task_id="infer-1").read_result(
        {"taskId": "infer-1", "runStatus": "Running", "progress": 40, **total}
    )
    assert (task.progress, task.output()["rows"]) == (share, 40)


@pytest.mark.parametrize("members", [{}, {"progress": None}, {"progress": ""}], ids=str)
def test_progress_absent(members):
    imported = DescribeImportTask(task_id="task-1").read_result({"importStatus": "Importing", **members})
    answered = DescribeBatchInferenceTask(task_id="infer-1").read_result(
        {"taskId": "infer-1", "runStatus": "Running", **members}
    )
    assert imported.progress is answered.progress is None


#: Creates whose answer is the new id alone, or in an object, and the member that holds it here.
IDS = {
    "import": (CreateImportTask(version_id="ds-1", files=["bos:/b/f.zip"]), "task_id", "taskId"),
    "export": (CreateExportTask(version_id="ds-1", storage_type="sysStorage"), "task_id", "taskId"),
    "evaluation": (EVALUATION, "task_id", "taskId"),
    "export of results": (CreateEvalResultExportTask(eval_id="ame-1"), "task_id", "taskId"),
    "compression": (COMPRESSION, "model_comp_task_id", "taskId"),
}


@pytest.mark.parametrize("trap", IDS.values(), ids=IDS)
def test_result_as_string(trap, connect, wire):
    request, member, _ = trap
    wire.script(ok("id-1"))
    assert getattr(connect().call(request), member) == "id-1"


@pytest.mark.parametrize("trap", IDS.values(), ids=IDS)
def test_result_as_object_where_a_string_is_expected(trap, connect, wire):
    request, member, name = trap
    wire.script(ok({name: "id-1"}))
    assert getattr(connect().call(request), member) == "id-1"


def test_result_as_object(connect, wire):
    wire.script(
        ok({"taskId": "infer-1"}),
        ok({"exportId": "ame-1"}),
        ok({"operation": True, "message": "resources stay bought"}),
        ok({"serviceId": "svco-1", "instanceId": "ab"}),
    )
    client = connect()
    assert client.call(BATCH).task_id == "infer-1"
    assert client.call(CreateModelExportTask(model_id="amv-1")).export_id == "ame-1"
    assert client.call(DeactivateService(service_id="svco-1")).operation is True
    assert client.call(create_service()).service_id == "svco-1"


def test_result_as_bool(connect, wire):
    requests = [
        ModifyService(service_id="svco-1", model_set_id="am-1", model_id="amv-1"),
        StopBatchInferenceTask(task_id="infer-1"),
        DeleteEvalTask(task_id="ame-1"),
        PublishDatasetVersion(version_id="ds-1"),
    ]
    wire.script(*[ok(True)] * len(requests))
    client = connect()
    assert [client.call(request) for request in requests] == [True] * len(requests)


def test_result_as_list(connect, wire):
    wire.script(ok([{"modelId": "amv-1", "bleu4": 0.5}]), ok([{"model": "ERNIE-Speed-8K"}]))
    client = connect()
    assert client.call(DescribeEvalTaskReport(task_id="ame-1")).metrics == {"amv-1": {"bleu4": 0.5}}
    assert [row.model for row in client.call(DescribeFineTuningSupportModels())] == ["ERNIE-Speed-8K"]


@pytest.mark.parametrize(
    "request_", [StopEvalTask(task_id="ame-1"), DeleteModelSet(model_set_id="am-1")], ids=["stop", "delete"]
)
def test_result_as_empty_object(request_, connect, wire):
    wire.script(ok({}))
    connect().call(request_)
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    "request_",
    [CancelModelCompTask(model_comp_task_id="amva-1"), DeleteModelCompTask(model_comp_task_id="amva-1")],
    ids=["cancel", "delete"],
)
@pytest.mark.parametrize("answer", [{"requestId": "req-1"}, {"requestId": "req-1", "result": None}], ids=str)
def test_result_absent(request_, answer: Any, connect, wire):
    wire.script(reply(answer))
    connect().call(request_)
    assert len(wire.requests) == 1
