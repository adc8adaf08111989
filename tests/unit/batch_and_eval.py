"""What the requests of batch inference and of evaluation send, and what they refuse."""

from __future__ import annotations

import json
from typing import Any

from members import without

from airflow_qianfan.api.actions.batch_inference import (
    CreateBatchInferenceTask,
    DescribeBatchInferenceModel,
    DescribeBatchInferenceTask,
    DescribeBatchInferenceTasks,
    StopBatchInferenceTask,
)
from airflow_qianfan.api.actions.evaluation import (
    CreateEvalResultExportTask,
    CreateEvalTask,
    DeleteEvalTask,
    DescribeEvalResultExportTask,
    DescribeEvalTask,
    DescribeEvalTaskReport,
    DescribeEvalTasks,
    StopEvalTask,
)

BATCH = {
    "name": "nightly",
    "model_id": "amv-1",
    "input_bos_uri": "bos:/b/in",
    "output_bos_uri": "bos:/b/out",
}
AFS = {"userName": "u", "password": "p", "inputAfsUri": "afs:/i", "outputAfsUri": "afs:/o"}
MODELS = {"versionId": "ds-1", "evalModelConfigList": [{"modelId": "amv-1", "promptTemplate": "Q: {input}"}]}
RESULTS = {"evalInferDatasetConfigList": [{"inferDatasetId": "ds-2"}]}
EVALUATION = {
    "task_name": "nightly",
    "eval_object_type": "model",
    "eval_object_config": {"evalModelConfig": MODELS},
    "eval_config": {"evalMode": "rule,model", "autoModelEvalConfig": {"apiName": "judge"}},
}


def with_models(**members: Any) -> dict[str, Any]:
    return {**EVALUATION, "eval_object_config": {"evalModelConfig": {**MODELS, **members}}}


BODIES: dict[str, tuple[type, dict[str, Any], dict[str, Any]]] = {
    # The SDK always sends inferenceParams, and so do we.
    "batch-inference": (
        CreateBatchInferenceTask,
        {**BATCH, "inference_params": None},
        {
            "name": "nightly",
            "modelId": "amv-1",
            "inferenceParams": {},
            "inputBosUri": "bos:/b/in",
            "outputBosUri": "bos:/b/out",
        },
    ),
    "batch-inference-of-a-file-system": (
        CreateBatchInferenceTask,
        {
            "name": "nightly",
            "description": "d",
            "endpoint": "https://qianfan.example/x",
            "inference_params": '{"temperature": 0.1}',
            "afs_config": {
                "userName": "u",
                "password": "p",
                "inputAfsUri": "afs:/i",
                "outputAfsUri": "afs:/o",
            },
            "completion_window": "24h",
        },
        {
            "name": "nightly",
            "description": "d",
            "endpoint": "https://qianfan.example/x",
            "inferenceParams": {"temperature": 0.1},
            "afsConfig": {
                "userName": "u",
                "password": "p",
                "inputAfsUri": "afs:/i",
                "outputAfsUri": "afs:/o",
            },
            # Snake case, unlike all the rest.
            "completion_window": "24h",
        },
    ),
    "batch-inference-described": (DescribeBatchInferenceTask, {"task_id": "i-1"}, {"taskId": "i-1"}),
    "batch-inferences": (
        DescribeBatchInferenceTasks,
        {"run_status": '["Running", "Done"]', "max_keys": 5},
        {"runStatus": ["Running", "Done"], "maxKeys": 5},
    ),
    "batch-inferences-of-one-state": (
        DescribeBatchInferenceTasks,
        {"run_status": "Running"},
        {"runStatus": ["Running"]},
    ),
    "stop-batch-inference": (StopBatchInferenceTask, {"task_id": "i-1"}, {"taskId": "i-1"}),
    "batch-inference-models": (DescribeBatchInferenceModel, {}, {}),
    "evaluation-of-models": (
        CreateEvalTask,
        {**EVALUATION, "description": "d"},
        {
            "taskName": "nightly",
            "description": "d",
            "evalObjectType": "model",
            "evalObjectConfig": {"evalModelConfig": MODELS},
            "evalConfig": EVALUATION["eval_config"],
        },
    ),
    "evaluation-of-results-as-json-text": (
        CreateEvalTask,
        {
            **without(EVALUATION, "eval_object_type"),
            "evalObjectType": "inferDataset",
            "eval_object_config": json.dumps({"evalInferDatasetConfig": RESULTS}),
            "eval_config": '{"evalMode": "manual", "dimensions": ["x"]}',
        },
        {
            "taskName": "nightly",
            "evalObjectType": "inferDataset",
            "evalObjectConfig": {"evalInferDatasetConfig": RESULTS},
            "evalConfig": {"evalMode": "manual", "dimensions": ["x"]},
        },
    ),
    "evaluation-described": (DescribeEvalTask, {"task_id": "ame-1"}, {"taskId": "ame-1"}),
    "evaluations": (
        DescribeEvalTasks,
        {"eval_type": "manual", "key_filter": "amv-1"},
        {"evalType": "manual", "keyFilter": "amv-1"},
    ),
    "evaluation-report": (DescribeEvalTaskReport, {"task_id": "ame-1"}, {"taskId": "ame-1"}),
    "stop-evaluation": (StopEvalTask, {"task_id": "ame-1"}, {"taskId": "ame-1"}),
    "delete-evaluation": (DeleteEvalTask, {"task_id": "ame-1"}, {"taskId": "ame-1"}),
    "export-of-results": (
        CreateEvalResultExportTask,
        {
            "eval_id": "ame-1",
            "storage_type": "BOS",
            "bucket": "b",
            "export_content": '["prompt", "prediction", "completion", "metrics", "system"]',
        },
        {
            "evalId": "ame-1",
            "storageType": "BOS",
            "bucket": "b",
            "exportContent": ["prompt", "prediction", "completion", "metrics", "system"],
        },
    ),
    "export-described": (DescribeEvalResultExportTask, {"task_id": "amemt-1"}, {"taskId": "amemt-1"}),
}

VIOLATIONS: list[tuple[type, dict[str, Any], str]] = [
    (CreateBatchInferenceTask, without(BATCH, "name"), "name"),
    (CreateBatchInferenceTask, without(BATCH, "model_id"), "endpoint"),
    (CreateBatchInferenceTask, {**BATCH, "endpoint": "https://x"}, "modelId"),
    (CreateBatchInferenceTask, without(BATCH, "input_bos_uri"), "inputBosUri"),
    (CreateBatchInferenceTask, {**BATCH, "output_bos_uri": ""}, "outputBosUri"),
    (CreateBatchInferenceTask, {**BATCH, "inference_params": "hot"}, "inferenceParams"),
    (CreateBatchInferenceTask, {**BATCH, "afs_config": [1]}, "afsConfig"),
    (CreateBatchInferenceTask, {**BATCH, "completion_window": 24}, "completion_window"),
    (DescribeBatchInferenceTask, {}, "taskId"),
    (DescribeBatchInferenceTasks, {"max_keys": 101}, "maxKeys"),
    (DescribeBatchInferenceTasks, {"run_status": 5}, "runStatus"),
    (StopBatchInferenceTask, {"task_id": ""}, "taskId"),
    (CreateEvalTask, without(EVALUATION, "task_name"), "taskName"),
    (CreateEvalTask, {**EVALUATION, "eval_object_type": "dataset"}, "evalObjectType"),
    (
        CreateEvalTask,
        {**EVALUATION, "eval_object_type": "inferDataset"},
        "evalObjectConfig.evalInferDatasetConfig",
    ),
    (CreateEvalTask, {**EVALUATION, "eval_object_config": {}}, "evalObjectConfig.evalModelConfig"),
    (
        CreateEvalTask,
        {**EVALUATION, "eval_object_config": {"evalModelConfig": MODELS, "evalInferDatasetConfig": RESULTS}},
        "evalObjectConfig.evalInferDatasetConfig",
    ),
    (
        CreateEvalTask,
        with_models(evalModelConfigList=[{"modelId": "amv-1"}] * 6),
        "evalObjectConfig.evalModelConfig.evalModelConfigList",
    ),
    (
        CreateEvalTask,
        with_models(evalModelConfigList=[]),
        "evalObjectConfig.evalModelConfig.evalModelConfigList",
    ),
    (
        CreateEvalTask,
        with_models(evalModelConfigList=[{"promptTemplate": "{input}"}]),
        "evalObjectConfig.evalModelConfig.evalModelConfigList.0.modelId",
    ),
    (
        CreateEvalTask,
        with_models(evalModelConfigList=[{"modelId": "amv-1", "promptTemplate": "no place"}]),
        "evalObjectConfig.evalModelConfig.evalModelConfigList.0.promptTemplate",
    ),
    (CreateEvalTask, {**EVALUATION, "eval_config": {}}, "evalConfig.evalMode"),
    (CreateEvalTask, {**EVALUATION, "eval_config": "rule"}, "evalConfig"),
    (DescribeEvalTask, {"task_id": ""}, "taskId"),
    (DescribeEvalTasks, {}, "evalType"),
    (DescribeEvalTasks, {"eval_type": "both"}, "evalType"),
    (DescribeEvalTaskReport, {}, "taskId"),
    (StopEvalTask, {"task_id": None}, "taskId"),
    (DeleteEvalTask, {"task_id": ""}, "taskId"),
    (CreateEvalResultExportTask, {}, "evalId"),
    (CreateEvalResultExportTask, {"eval_id": "ame-1", "export_content": ["all"]}, "exportContent.0"),
    (DescribeEvalResultExportTask, {}, "taskId"),
]
