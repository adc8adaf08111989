"""Members of requests that the official pages allow, to be changed by the tests."""

from __future__ import annotations

from typing import Any

JOB = {"name": "nightly", "model": "ERNIE-Speed-8K", "train_mode": "SFT"}
PLATFORM = {"sourceType": "Platform", "versions": [{"versionId": "ds-1"}]}
TASK = {"job_id": "job-1", "hyper_parameter_config": {"epoch": 1}, "dataset_config": PLATFORM}
FILES = {
    "bucket": "b",
    "objectPath": "/m",
    "modelFormat": "HuggingFace.vLLM",
    "modelApplicationType": "chat",
}
CHAT = {
    "historyQATemplate": "{question}",
    "latestQuestionTemplate": "{question}",
    "promptTemplate": "{input}",
}
SPEC = {"displayName": "mine", "fileName": "file-1"}
TRAIN = {"model_set_id": "am-1", "source_type": "Train", "train_meta": {"taskId": "task-1"}}
IMPORT = {"model_set_id": "am-1", "source_type": "Import", "import_meta": FILES}
COMPRESSION = {
    "name": "small",
    "source_model_id": "amv-1",
    "model_set_id": "am-1",
    "config": {"strategy": "Quantization", "weight": "W4A16C16"},
}
CONF = {
    "basic_model_name": "HuggingFace",
    "model_format": "HuggingFace.Transformers",
    "model_application_type": "chat",
}


def with_dataset(**members: Any) -> dict[str, Any]:
    return {**TASK, "dataset_config": {**PLATFORM, **members}}


def with_files(**members: Any) -> dict[str, Any]:
    return {**IMPORT, "import_meta": {**FILES, **members}}


def with_training(**members: Any) -> dict[str, Any]:
    return {**TRAIN, "train_meta": {"taskId": "task-1", **members}}


def without(members: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in members.items() if name not in names}


def short(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else str(value)[-40:]
