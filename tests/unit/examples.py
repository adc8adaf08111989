"""One request of each class."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from airflow_qianfan.api import actions
from airflow_qianfan.api.actions import finetuning, model
from airflow_qianfan.api.actions.base import Action

READ = finetuning.DescribeFineTuningTask(task_id="task-1")
CREATE = finetuning.CreateFineTuningJob(name="nightly", model="ERNIE-Speed-8K", train_mode="SFT")
TASK = {"taskId": "task-1", "runStatus": "Running"}

REQUESTS: list[Any] = [
    CREATE,
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
OTHERS = [request for request in REQUESTS if not request.action.startswith("Create")]


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
