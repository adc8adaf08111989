"""What the requests of fine-tuning and models send."""

from __future__ import annotations

import json
from typing import Any

from members import (
    CHAT,
    COMPRESSION,
    CONF,
    FILES,
    IMPORT,
    JOB,
    PLATFORM,
    SPEC,
    TRAIN,
    with_dataset,
    with_files,
)

from airflow_qianfan.api.actions.finetuning import (
    CreateFineTuningJob,
    CreateFineTuningTask,
    DeleteFineTuningJob,
    DeleteFineTuningTask,
    DescribeFineTuningJobs,
    DescribeFineTuningSupportModels,
    DescribeFineTuningTask,
    DescribeFineTuningTasks,
    StopFineTuningTask,
)
from airflow_qianfan.api.actions.model import (
    CancelModelCompTask,
    CreateCustomModel,
    CreateCustomModelSet,
    CreateModelCompTask,
    CreateModelExportTask,
    DeleteModel,
    DeleteModelCompTask,
    DeleteModelSet,
    DescribeCustomModelSets,
    DescribeModel,
    DescribeModelCompTask,
    DescribeModelCompTasks,
    DescribeModelCustomAdvancedConf,
    DescribeModelExportTask,
    DescribeModelSet,
    DescribeModelSystemAdvancedConf,
    DescribeSystemModel,
    DescribeSystemModelSet,
    DescribeSystemModelSets,
)

BODIES: dict[str, tuple[type, dict[str, Any], dict[str, Any]]] = {
    "job": (
        CreateFineTuningJob,
        {**JOB, "description": ""},
        {"name": "nightly", "description": "", "model": "ERNIE-Speed-8K", "trainMode": "SFT"},
    ),
    "job-without-description": (
        CreateFineTuningJob,
        JOB,
        {"name": "nightly", "model": "ERNIE-Speed-8K", "trainMode": "SFT"},
    ),
    "job-in-the-names-of-the-service": (
        CreateFineTuningJob,
        {"name": "nightly", "model": "m", "trainMode": "SFT"},
        {"name": "nightly", "model": "m", "trainMode": "SFT"},
    ),
    "job-with-members-of-its-own": (
        CreateFineTuningJob,
        {**JOB, "newMember": {"a_b": 1}, "snake_case": True},
        {
            "name": "nightly",
            "model": "ERNIE-Speed-8K",
            "trainMode": "SFT",
            "newMember": {"a_b": 1},
            "snake_case": True,
        },
    ),
    "jobs": (DescribeFineTuningJobs, {}, {}),
    "jobs-filtered-and-paged": (
        DescribeFineTuningJobs,
        {"train_mode": "SFT", "model": "m", "marker": "job-1", "max_keys": 100, "page_reverse": True},
        {"trainMode": "SFT", "model": "m", "marker": "job-1", "maxKeys": 100, "pageReverse": True},
    ),
    "delete-job": (DeleteFineTuningJob, {"job_id": "job-1"}, {"jobId": "job-1"}),
    "task-from-the-platform": (
        CreateFineTuningTask,
        with_dataset(versions=[{"version_id": "ds-1", "sampling_rate": 0.01}], splitRatio=20),
        {
            "jobId": "job-1",
            "hyperParameterConfig": {"epoch": 1},
            "datasetConfig": {
                "sourceType": "Platform",
                "versions": [{"versionId": "ds-1", "samplingRate": 0.01}],
                "splitRatio": 20,
            },
        },
    ),
    "task-with-everything": (
        CreateFineTuningTask,
        {
            "job_id": "job-1",
            "hyper_parameter_config": {"epoch": 1, "Packing": None, "loraTargetModules": ["q"]},
            "dataset_config": {
                "source_type": "Bos",
                "versions": [{"version_bos_uri": "bos:/b/f.jsonl"}],
                "validationSource": "Platform",
            },
            "parameter_scale": "LoRA",
            "increment_task_id": "task-0",
            "increment_checkpoint_step": 64,
            "corpus_config": {"copyData": True},
            "model_config_": {"a": 1},
            "resource_config": {"resourceId": "prl-1", "nodeNum": 2},
        },
        {
            "jobId": "job-1",
            "hyperParameterConfig": {"epoch": 1, "Packing": None, "loraTargetModules": ["q"]},
            "datasetConfig": {
                "sourceType": "Bos",
                "versions": [{"versionBosUri": "bos:/b/f.jsonl"}],
                "validationSource": "Platform",
            },
            "parameterScale": "LoRA",
            "incrementTaskId": "task-0",
            "incrementCheckpointStep": 64,
            "corpusConfig": {"copyData": True},
            "modelConfig": {"a": 1},
            "resourceConfig": {"resourceId": "prl-1", "nodeNum": 2},
        },
    ),
    "task-with-objects-as-json-text": (
        CreateFineTuningTask,
        {
            "job_id": "job-1",
            "hyper_parameter_config": ' {"epoch": 1}',
            "dataset_config": json.dumps(PLATFORM),
            "corpus_config": "{}",
            "modelConfig": '{"a": 1}',
            "resource_config": '{"nodeNum": 2}',
        },
        {
            "jobId": "job-1",
            "hyperParameterConfig": {"epoch": 1},
            "datasetConfig": PLATFORM,
            "corpusConfig": {},
            "modelConfig": {"a": 1},
            "resourceConfig": {"nodeNum": 2},
        },
    ),
    "task-from-a-file-system": (
        CreateFineTuningTask,
        with_dataset(sourceType="Afs", versions=[{"path": "afs:/x"}]),
        {
            "jobId": "job-1",
            "hyperParameterConfig": {"epoch": 1},
            "datasetConfig": {"sourceType": "Afs", "versions": [{"path": "afs:/x"}]},
        },
    ),
    "tasks": (DescribeFineTuningTasks, {"job_id": "job-1", "max_keys": 1}, {"jobId": "job-1", "maxKeys": 1}),
    "task": (DescribeFineTuningTask, {"task_id": "task-1"}, {"taskId": "task-1"}),
    "stop": (StopFineTuningTask, {"task_id": "task-1"}, {"taskId": "task-1"}),
    "delete-task": (DeleteFineTuningTask, {"task_id": "task-1"}, {"taskId": "task-1"}),
    "model-set": (
        CreateCustomModelSet,
        {"model_set_name": "bot", "model_type": "Text2Text", "labels": '["a", "b"]'},
        {"modelSetName": "bot", "modelType": "Text2Text", "labels": ["a", "b"]},
    ),
    "model-sets": (DescribeCustomModelSets, {"marker": "am-1"}, {"marker": "am-1"}),
    "model-set-by-id": (DescribeModelSet, {"model_set_id": "am-1"}, {"modelSetId": "am-1"}),
    "model-set-by-name": (DescribeModelSet, {"model_set_name": "bot"}, {"modelSetName": "bot"}),
    "model-of-a-training": (
        CreateCustomModel,
        TRAIN,
        {"modelSetId": "am-1", "sourceType": "Train", "trainMeta": {"taskId": "task-1"}},
    ),
    "model-of-an-import": (
        CreateCustomModel,
        {
            **with_files(
                chatConf=CHAT,
                advanceConf="conf-1",
                transformerVersion="4.40.2",
                vLLMVersion="0.6.3",
                enablePromptAutoConcat=True,
                basicModelName="HuggingFace",
                advancedSettings={
                    "samplingStrategy": "multinomialSampling",
                    "numSampling": 1,
                    "numBeams": 2,
                },
            ),
            "description": "run 42",
            "resource_config": {"resourceId": "prl-1"},
        },
        {
            "modelSetId": "am-1",
            "sourceType": "Import",
            "description": "run 42",
            "resourceConfig": {"resourceId": "prl-1"},
            "importMeta": {
                **FILES,
                "chatConf": CHAT,
                "advanceConf": "conf-1",
                "transformerVersion": "4.40.2",
                "vLLMVersion": "0.6.3",
                "enablePromptAutoConcat": True,
                "basicModelName": "HuggingFace",
                "advancedSettings": {
                    "samplingStrategy": "multinomialSampling",
                    "numSampling": 1,
                    "numBeams": 2,
                },
            },
        },
    ),
    "model-of-an-import-in-snake-case": (
        CreateCustomModel,
        {
            **IMPORT,
            "import_meta": {
                "bucket": "b",
                "object_path": "/m",
                "model_format": "Safetensors",
                "model_application_type": "Text-to-Image",
                "vllm_version": "0.4.0",
                "chat_conf": {
                    "history_qa_template": "h",
                    "latest_question_template": "q",
                    "prompt_template": "",
                },
            },
        },
        {
            "modelSetId": "am-1",
            "sourceType": "Import",
            "importMeta": {
                "bucket": "b",
                "objectPath": "/m",
                "modelFormat": "Safetensors",
                "modelApplicationType": "Text-to-Image",
                "vLLMVersion": "0.4.0",
                "chatConf": {
                    "historyQATemplate": "h",
                    "latestQuestionTemplate": "q",
                    "promptTemplate": "",
                },
            },
        },
    ),
    "model-of-an-import-with-a-template-of-its-own": (
        CreateCustomModel,
        {**IMPORT, "import_meta": json.dumps({**FILES, "customSpec": SPEC})},
        {"modelSetId": "am-1", "sourceType": "Import", "importMeta": {**FILES, "customSpec": SPEC}},
    ),
    "model": (DescribeModel, {"model_id": "amv-1"}, {"modelId": "amv-1"}),
    "delete-model": (DeleteModel, {"model_id": "amv-1"}, {"modelId": "amv-1"}),
    "delete-model-set": (DeleteModelSet, {"model_set_id": "am-1"}, {"modelSetId": "am-1"}),
    "supported-models": (DescribeFineTuningSupportModels, {}, {}),
    "compression": (
        CreateModelCompTask,
        {**COMPRESSION, "description": "run 42"},
        {
            "name": "small",
            "description": "run 42",
            "sourceModelId": "amv-1",
            "modelSetId": "am-1",
            "config": {"strategy": "Quantization", "weight": "W4A16C16"},
        },
    ),
    "compression-task": (
        DescribeModelCompTask,
        {"model_comp_task_id": "amva-1"},
        {"modelCompTaskId": "amva-1"},
    ),
    "compression-tasks": (
        DescribeModelCompTasks,
        {"source_model_id": "amv-1", "marker": "amva-1"},
        {"sourceModelId": "amv-1", "marker": "amva-1"},
    ),
    "cancel-compression": (
        CancelModelCompTask,
        {"model_comp_task_id": "amva-1"},
        {"modelCompTaskId": "amva-1"},
    ),
    "delete-compression": (
        DeleteModelCompTask,
        {"model_comp_task_id": "amva-1"},
        {"modelCompTaskId": "amva-1"},
    ),
    "export": (CreateModelExportTask, {"model_id": "amv-1"}, {"modelId": "amv-1"}),
    "export-by-the-id-of-the-model": (DescribeModelExportTask, {"model_id": "amv-1"}, {"modelId": "amv-1"}),
    "preset-model-sets": (DescribeSystemModelSets, {"max_keys": 100}, {"maxKeys": 100}),
    "preset-model-set": (DescribeSystemModelSet, {"model_set_name": "E"}, {"modelSetName": "E"}),
    "preset-model": (DescribeSystemModel, {"model_id": "amv-1"}, {"modelId": "amv-1"}),
    "preset-settings": (
        DescribeModelSystemAdvancedConf,
        CONF,
        {
            "basicModelName": "HuggingFace",
            "modelFormat": "HuggingFace.Transformers",
            "modelApplicationType": "chat",
        },
    ),
    "settings-of-a-model": (DescribeModelCustomAdvancedConf, {"model_id": "amv-1"}, {"modelId": "amv-1"}),
}
