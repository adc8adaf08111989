"""One request of each class."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from airflow_qianfan.api import actions
from airflow_qianfan.api.actions import batch_inference, dataset, evaluation, finetuning, model, service
from airflow_qianfan.api.actions.base import Action
from airflow_qianfan.api.retry import is_repeatable

READ = finetuning.DescribeFineTuningTask(task_id="task-1")
CREATE = finetuning.CreateFineTuningJob(name="nightly", model="ERNIE-Speed-8K", train_mode="SFT")
TASK = {"taskId": "task-1", "runStatus": "Running"}

REQUESTS: list[Any] = [
    CREATE,
    dataset.CreateDataset(dataset_name="faq", data_format="Text", storage_type="sysStorage"),
    dataset.DescribeDatasets(),
    dataset.DeleteDataset(dataset_id="dg-1"),
    dataset.CreateDatasetVersion(dataset_id="dg-1"),
    dataset.DescribeDatasetVersion(version_id="ds-1"),
    dataset.DescribeDatasetVersions(dataset_id="dg-1"),
    dataset.DeleteDatasetVersion(version_id="ds-1"),
    dataset.CreateImportTask(version_id="ds-1", files=["bos:/b/f.jsonl"]),
    dataset.DescribeImportTask(task_id="task-1"),
    dataset.PublishDatasetVersion(version_id="ds-1"),
    dataset.CreateExportTask(version_id="ds-1", storage_type="sysStorage"),
    dataset.DescribeExportTask(task_id="task-1"),
    finetuning.DescribeFineTuningJobs(),
    finetuning.DeleteFineTuningJob(job_id="job-1"),
    finetuning.CreateFineTuningTask(
        job_id="job-1",
        hyper_parameter_config={},
        dataset_config={"source_type": "Bos", "versions": [{"version_bos_uri": "bos:/b/f"}]},
    ),
    READ,
    finetuning.DescribeFineTuningTasks(job_id="job-1"),
    finetuning.StopFineTuningTask(task_id="task-1"),
    finetuning.DeleteFineTuningTask(task_id="task-1"),
    finetuning.DescribeFineTuningSupportModels(),
    model.CreateCustomModelSet(model_set_name="bot", model_type="Text2Text"),
    model.DescribeModelSet(model_set_name="bot"),
    model.DescribeCustomModelSets(),
    model.CreateCustomModel(model_set_id="am-1", source_type="Train", train_meta={"task_id": "task-1"}),
    model.DescribeModel(model_id="amv-1"),
    model.DeleteModel(model_id="amv-1"),
    model.DeleteModelSet(model_set_id="am-1"),
    service.CreateService(
        model_set_id="am-1",
        model_id="amv-1",
        name="faq",
        url_suffix="faq",
        resource_config={"type": "GPU-1-1"},
        billing={"paymentTiming": "Postpaid"},
    ),
    service.DescribeService(service_id="svco-1"),
    service.DescribeServices(),
    service.ModifyService(service_id="svco-1", model_set_id="am-1", model_id="amv-1"),
    service.ScaleService(service_id="svco-1", instance_id="unit-1", deployment_replicas_count=1),
    service.DeactivateService(service_id="svco-1"),
    service.AttachLogStore(service_type="Custom", service_id="svco-1", log_project="p", log_store_name="s"),
    service.DescribeServiceMetric(start_time="2026-01-31T08:00:00Z", end_time="2026-01-31T09:00:00Z"),
    service.DescribeServiceStats(
        start_time="2026-01-31T08:00:00Z", end_time="2026-01-31T09:00:00Z", interval=60
    ),
    service.DescribePresetServices(),
    service.PurchaseComputeUnit(
        compute_unit_count=1,
        compute_unit_config={"region": "bj", "type": "gpu-1"},
        billing={"paymentTiming": "Postpaid"},
    ),
    service.DescribeComputeUnit(instance_id="unit-1"),
    service.ReleaseComputeUnit(instance_id="unit-1"),
    service.AutoReleaseComputeUnit(instance_id="unit-1"),
    batch_inference.CreateBatchInferenceTask(
        name="nightly", model_id="amv-1", input_bos_uri="bos:/b/in", output_bos_uri="bos:/b/out"
    ),
    batch_inference.DescribeBatchInferenceTask(task_id="infer-1"),
    batch_inference.DescribeBatchInferenceTasks(),
    batch_inference.StopBatchInferenceTask(task_id="infer-1"),
    batch_inference.DescribeBatchInferenceModel(),
    evaluation.CreateEvalTask(
        task_name="nightly",
        eval_object_type="inferDataset",
        eval_object_config={
            "evalInferDatasetConfig": {"evalInferDatasetConfigList": [{"inferDatasetId": "ds-1"}]}
        },
        eval_config={"evalMode": "rule"},
    ),
    evaluation.DescribeEvalTask(task_id="ame-1"),
    evaluation.DescribeEvalTasks(eval_type="auto"),
    evaluation.DescribeEvalTaskReport(task_id="ame-1"),
    evaluation.StopEvalTask(task_id="ame-1"),
    evaluation.DeleteEvalTask(task_id="ame-1"),
    evaluation.CreateEvalResultExportTask(eval_id="ame-1"),
    evaluation.DescribeEvalResultExportTask(task_id="amemt-1"),
    model.CreateModelCompTask(name="small", source_model_id="amv-1", model_set_id="am-1", config={}),
    model.DescribeModelCompTask(model_comp_task_id="amva-1"),
    model.DescribeModelCompTasks(),
    model.CancelModelCompTask(model_comp_task_id="amva-1"),
    model.DeleteModelCompTask(model_comp_task_id="amva-1"),
    model.CreateModelExportTask(model_id="amv-1"),
    model.DescribeModelExportTask(model_id="amv-1"),
    model.DescribeSystemModelSets(),
    model.DescribeSystemModelSet(model_set_name="ERNIE Lite"),
    model.DescribeSystemModel(model_id="amv-1"),
    model.DescribeModelSystemAdvancedConf(
        basic_model_name="HuggingFace",
        model_format="HuggingFace.Transformers",
        model_application_type="chat",
    ),
    model.DescribeModelCustomAdvancedConf(model_id="amv-1"),
]
CREATES = [request for request in REQUESTS if request.action.startswith("Create")]
OTHERS = [request for request in REQUESTS if is_repeatable(request.action)]


def request_classes() -> set[type]:
    """Every request class of the package."""
    modules = [import_module(f"{actions.__name__}.{found.name}") for found in iter_modules(actions.__path__)]
    return {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Action) and hasattr(value, "route")
    }


def action_of(request: Any) -> str:
    return request.action
