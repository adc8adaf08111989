"""The members of each Action as the official pages state them, and results as the service may send them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_qianfan.api.actions import finetuning, model
from airflow_qianfan.api.actions.finetuning import (
    CreateFineTuningJob,
    CreateFineTuningTask,
    DeleteFineTuningJob,
    DeleteFineTuningTask,
    DescribeFineTuningJobs,
    DescribeFineTuningTask,
    DescribeFineTuningTasks,
    StopFineTuningTask,
)
from airflow_qianfan.api.actions.model import (
    CreateCustomModel,
    CreateCustomModelSet,
    DeleteModel,
    DeleteModelSet,
    DescribeCustomModelSets,
    DescribeModel,
    DescribeModelSet,
)
from airflow_qianfan.exceptions import QianfanValidationError

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


# Where each Action is and whether it may be repeated

ACTIONS = {
    CreateFineTuningJob: ("/v2/finetuning", False),
    DescribeFineTuningJobs: ("/v2/finetuning", True),
    DeleteFineTuningJob: ("/v2/finetuning", True),
    CreateFineTuningTask: ("/v2/finetuning", False),
    DescribeFineTuningTasks: ("/v2/finetuning", True),
    DescribeFineTuningTask: ("/v2/finetuning", True),
    StopFineTuningTask: ("/v2/finetuning", True),
    DeleteFineTuningTask: ("/v2/finetuning", True),
    CreateCustomModelSet: ("/v2/model", False),
    DescribeCustomModelSets: ("/v2/model", True),
    DescribeModelSet: ("/v2/model", True),
    CreateCustomModel: ("/v2/model", False),
    DescribeModel: ("/v2/model", True),
    DeleteModel: ("/v2/model", True),
    DeleteModelSet: ("/v2/model", True),
}


@pytest.mark.parametrize(("request_type", "expected"), ACTIONS.items(), ids=short)
def test_action_has_its_name_its_route_and_is_repeatable_unless_it_creates(request_type, expected):
    assert request_type.action == request_type.__name__
    assert (request_type.route, request_type.repeatable) == expected


# What is sent

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
}


@pytest.mark.parametrize(("request_type", "members", "body"), BODIES.values(), ids=BODIES)
def test_body_is_what_the_page_describes(request_type, members, body):
    assert request_type(**members).body() == body


@pytest.mark.parametrize("name", ["checkpoint_step", "checkpointStep", "step"])
def test_checkpoint_goes_out_under_both_names(name):
    assert CreateCustomModel(**with_training(**{name: 50})).body()["trainMeta"] == {
        "taskId": "task-1",
        "checkpointStep": 50,
        "step": 50,
    }
    both = CreateCustomModel(**with_training(checkpointStep=50, step="50")).body()["trainMeta"]
    assert (both["checkpointStep"], both["step"]) == (50, 50)


LIMITS: dict[str, tuple[type, list[dict[str, Any]]]] = {
    "name": (CreateFineTuningJob, [{**JOB, "name": "x" * 2}, {**JOB, "name": "名" * 20}]),
    "job-description": (CreateFineTuningJob, [{**JOB, "description": "x" * 500}]),
    "max-keys": (DescribeFineTuningJobs, [{"max_keys": 1}, {"max_keys": 100}]),
    "sampling-rate": (
        CreateFineTuningTask,
        [with_dataset(versions=[{"versionId": "ds-1", "samplingRate": rate}]) for rate in (0.01, 10)],
    ),
    "split-ratio": (CreateFineTuningTask, [with_dataset(splitRatio=ratio) for ratio in (0, 20, 100)]),
    "model-description": (CreateCustomModel, [{**TRAIN, "description": "x" * 300}]),
    "checkpoint-0": (CreateCustomModel, [with_training(checkpointStep=0)]),
    "chat-templates": (
        CreateCustomModel,
        [
            with_files(
                chatConf={
                    "historyQATemplate": "x" * 200,
                    "latestQuestionTemplate": "x",
                    "promptTemplate": "x" * 300,
                }
            )
        ],
    ),
    "display-name": (CreateCustomModel, [with_files(customSpec={**SPEC, "displayName": "x" * 200})]),
    "sampling": (
        CreateCustomModel,
        [
            with_files(advancedSettings={"samplingStrategy": strategy, **more})
            for strategy, more in [
                ("multinomialSampling", {"numSampling": 15}),
                ("beamSearch", {"numBeams": 15}),
                ("greedySearch", {}),
            ]
        ],
    ),
}


@pytest.mark.parametrize(("request_type", "cases"), LIMITS.values(), ids=LIMITS)
def test_value_at_its_limit_is_accepted(request_type, cases):
    for members in cases:
        assert request_type(**members).body()


VIOLATIONS: list[tuple[type, dict[str, Any], str]] = [
    (CreateFineTuningJob, without(JOB, "name"), "name"),
    (CreateFineTuningJob, without(JOB, "model"), "model"),
    (CreateFineTuningJob, without(JOB, "train_mode"), "trainMode"),
    (CreateFineTuningJob, {**JOB, "name": "x"}, "name"),
    (CreateFineTuningJob, {**JOB, "name": "x" * 21}, "name"),
    (CreateFineTuningJob, {**JOB, "name": 5}, "name"),
    (CreateFineTuningJob, {**JOB, "model": ""}, "model"),
    (CreateFineTuningJob, {**JOB, "train_mode": ""}, "trainMode"),
    (CreateFineTuningJob, {**JOB, "description": "x" * 501}, "description"),
    (DescribeFineTuningJobs, {"max_keys": 0}, "maxKeys"),
    (DescribeFineTuningJobs, {"max_keys": 101}, "maxKeys"),
    (DescribeFineTuningJobs, {"max_keys": "many"}, "maxKeys"),
    (DescribeFineTuningJobs, {"page_reverse": "sideways"}, "pageReverse"),
    (DescribeFineTuningJobs, {"marker": 5}, "marker"),
    (DescribeFineTuningTasks, {"job_id": "job-1", "max_keys": 101}, "maxKeys"),
    (DescribeCustomModelSets, {"max_keys": 101}, "maxKeys"),
    (DeleteFineTuningJob, {}, "jobId"),
    (DeleteFineTuningJob, {"job_id": ""}, "jobId"),
    (CreateFineTuningTask, without(TASK, "job_id"), "jobId"),
    (CreateFineTuningTask, {**TASK, "job_id": ""}, "jobId"),
    (CreateFineTuningTask, without(TASK, "hyper_parameter_config"), "hyperParameterConfig"),
    (CreateFineTuningTask, {**TASK, "hyper_parameter_config": None}, "hyperParameterConfig"),
    (CreateFineTuningTask, {**TASK, "hyper_parameter_config": "epoch=1"}, "hyperParameterConfig"),
    (CreateFineTuningTask, {**TASK, "hyper_parameter_config": "{epoch: 1}"}, "hyperParameterConfig"),
    (CreateFineTuningTask, {**TASK, "hyper_parameter_config": "[1]"}, "hyperParameterConfig"),
    (CreateFineTuningTask, {**TASK, "hyper_parameter_config": '{"a":' * 5000}, "hyperParameterConfig"),
    (CreateFineTuningTask, {**TASK, "hyper_parameter_config": {"x": float("nan")}}, "hyperParameterConfig"),
    (CreateFineTuningTask, {**TASK, "hyper_parameter_config": '{"x": Infinity}'}, "hyperParameterConfig"),
    (CreateFineTuningTask, {**TASK, "corpus_config": {"x": {1, 2}}}, "corpusConfig"),
    (CreateFineTuningTask, {**TASK, "corpus_config": 5}, "corpusConfig"),
    (CreateFineTuningTask, {**TASK, "model_config_": "x"}, "modelConfig"),
    (CreateFineTuningTask, {**TASK, "resource_config": [1]}, "resourceConfig"),
    (CreateFineTuningTask, without(TASK, "dataset_config"), "datasetConfig"),
    (CreateFineTuningTask, {**TASK, "dataset_config": "Platform"}, "datasetConfig"),
    (CreateFineTuningTask, {**TASK, "dataset_config": {"versions": [{}]}}, "datasetConfig.sourceType"),
    (CreateFineTuningTask, with_dataset(sourceType="platform"), "datasetConfig.sourceType"),
    (CreateFineTuningTask, {**TASK, "dataset_config": {"sourceType": "Bos"}}, "datasetConfig.versions"),
    (CreateFineTuningTask, with_dataset(versions=[]), "datasetConfig.versions"),
    (CreateFineTuningTask, with_dataset(versions=[{}]), "datasetConfig.versions"),
    (CreateFineTuningTask, with_dataset(versions=[{"versionBosUri": "bos:/x"}]), "datasetConfig.versions"),
    (CreateFineTuningTask, with_dataset(sourceType="Bos"), "datasetConfig.versions"),
    (
        CreateFineTuningTask,
        with_dataset(versions=[{"versionId": "ds-1"}, {"versionId": "ds-2", "samplingRate": 0.009}]),
        "datasetConfig.versions.1.samplingRate",
    ),
    (
        CreateFineTuningTask,
        with_dataset(versions=[{"versionId": "ds-1", "samplingRate": 10.1}]),
        "datasetConfig.versions.0.samplingRate",
    ),
    (CreateFineTuningTask, with_dataset(splitRatio=-1), "datasetConfig.splitRatio"),
    (CreateFineTuningTask, with_dataset(splitRatio=101), "datasetConfig.splitRatio"),
    (CreateFineTuningTask, with_dataset(splitRatio="a fifth"), "datasetConfig.splitRatio"),
    (CreateFineTuningTask, {**TASK, "increment_checkpoint_step": -1}, "incrementCheckpointStep"),
    (CreateFineTuningTask, {**TASK, "increment_checkpoint_step": "last"}, "incrementCheckpointStep"),
    (DescribeFineTuningTasks, {}, "jobId"),
    (DescribeFineTuningTask, {}, "taskId"),
    (DescribeFineTuningTask, {"task_id": ""}, "taskId"),
    (DescribeFineTuningTask, {"taskId": None}, "taskId"),
    (StopFineTuningTask, {"task_id": ""}, "taskId"),
    (DeleteFineTuningTask, {"task_id": ""}, "taskId"),
    (CreateCustomModelSet, {"model_type": "Text2Text"}, "modelSetName"),
    (CreateCustomModelSet, {"model_set_name": "", "model_type": "Text2Text"}, "modelSetName"),
    (CreateCustomModelSet, {"model_set_name": "bot"}, "modelType"),
    (CreateCustomModelSet, {"model_set_name": "bot", "model_type": "T", "labels": "a, b"}, "labels"),
    (DescribeModelSet, {}, "modelSetId"),
    (DescribeModelSet, {"model_set_id": "", "model_set_name": ""}, "modelSetName"),
    (CreateCustomModel, without(TRAIN, "model_set_id"), "modelSetId"),
    (CreateCustomModel, without(TRAIN, "source_type"), "sourceType"),
    (CreateCustomModel, {**TRAIN, "source_type": "train"}, "sourceType"),
    (CreateCustomModel, without(TRAIN, "train_meta"), "trainMeta"),
    (CreateCustomModel, without(IMPORT, "import_meta"), "importMeta"),
    (CreateCustomModel, {**TRAIN, "description": "x" * 301}, "description"),
    (CreateCustomModel, {**TRAIN, "train_meta": {}}, "trainMeta.taskId"),
    (CreateCustomModel, {**TRAIN, "train_meta": "task-1"}, "trainMeta"),
    (CreateCustomModel, with_training(checkpointStep=-1), "trainMeta.checkpointStep"),
    (CreateCustomModel, with_training(step="best"), "trainMeta.step"),
    (CreateCustomModel, with_training(step=1, checkpointStep=2), "trainMeta.step"),
    *(
        (CreateCustomModel, {**IMPORT, "import_meta": without(FILES, name)}, f"importMeta.{name}")
        for name in FILES
    ),
    *(
        (CreateCustomModel, with_files(chatConf=without(CHAT, name)), f"importMeta.chatConf.{name}")
        for name in CHAT
    ),
    *(
        (CreateCustomModel, with_files(customSpec=without(SPEC, name)), f"importMeta.customSpec.{name}")
        for name in SPEC
    ),
    *(
        (CreateCustomModel, with_files(chatConf={**CHAT, name: text}), f"importMeta.chatConf.{name}")
        for name, text in [
            ("historyQATemplate", ""),
            ("historyQATemplate", "x" * 201),
            ("latestQuestionTemplate", ""),
            ("latestQuestionTemplate", "x" * 201),
            ("promptTemplate", "x" * 301),
        ]
    ),
    (
        CreateCustomModel,
        with_files(customSpec={**SPEC, "displayName": ""}),
        "importMeta.customSpec.displayName",
    ),
    (
        CreateCustomModel,
        with_files(customSpec={**SPEC, "displayName": "x" * 201}),
        "importMeta.customSpec.displayName",
    ),
    (CreateCustomModel, with_files(customSpec={**SPEC, "fileName": ""}), "importMeta.customSpec.fileName"),
    (CreateCustomModel, with_files(chatConf=CHAT, customSpec=SPEC), "importMeta.customSpec"),
    *(
        (
            CreateCustomModel,
            with_files(advancedSettings=settings),
            f"importMeta.advancedSettings.{name}",
        )
        for name, settings in [
            ("samplingStrategy", {}),
            ("samplingStrategy", {"samplingStrategy": "random"}),
            ("numSampling", {"samplingStrategy": "multinomialSampling", "numSampling": 0}),
            ("numSampling", {"samplingStrategy": "multinomialSampling", "numSampling": 16}),
            ("numBeams", {"samplingStrategy": "beamSearch", "numBeams": 1}),
            ("numBeams", {"samplingStrategy": "beamSearch", "numBeams": 16}),
        ]
    ),
    (DescribeModel, {}, "modelId"),
    (DeleteModel, {"model_id": ""}, "modelId"),
    (DeleteModelSet, {"model_set_id": ""}, "modelSetId"),
]


@pytest.mark.parametrize(("request_type", "members", "member"), VIOLATIONS, ids=short)
def test_broken_rule_names_the_action_and_the_member(request_type, members, member):
    with pytest.raises(QianfanValidationError) as caught:
        request_type(**members)
    error = caught.value
    assert error.action == request_type.__name__
    assert str(error).startswith(f"{request_type.__name__}: invalid request, not sent: ")
    assert member in error.parameters


def test_all_broken_rules_are_told_at_once():
    with pytest.raises(QianfanValidationError) as caught:
        CreateFineTuningJob(name="x", model="")
    assert caught.value.parameters == ("name", "model", "trainMode")


def test_broken_rule_does_not_show_the_value():
    with pytest.raises(QianfanValidationError) as caught:
        CreateCustomModel(**{**TRAIN, "description": "confidential" * 50})
    assert "confidential" not in str(caught.value)


@pytest.mark.parametrize(
    "value", [float("nan"), {1, 2}, object(), b"x"], ids=["nan", "set", "object", "bytes"]
)
def test_unknown_member_that_is_no_json_is_refused_before_it_is_sent(value, connect, wire):
    with pytest.raises(QianfanValidationError, match="CreateFineTuningJob: the body cannot be written"):
        connect().call(CreateFineTuningJob(**JOB, unknown=value))
    assert wire.requests == []


def test_member_that_leads_in_a_circle_is_refused():
    circle: dict[str, Any] = {}
    circle["self"] = circle
    with pytest.raises(QianfanValidationError, match="hyperParameterConfig: Circular reference"):
        CreateFineTuningTask(**{**TASK, "hyper_parameter_config": circle})


def test_request_cannot_change_after_its_check():
    request = CreateFineTuningJob(**JOB)
    with pytest.raises(ValueError, match="frozen"):
        request.name = "x"


def test_modules_offer_no_action_that_is_not_tested_here():
    offered = {
        value
        for module in (finetuning, model)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, finetuning.Action) and hasattr(value, "route")
    }
    assert offered == set(ACTIONS)
    assert {request_type for request_type, *_ in BODIES.values()} == offered
    # All that has members to get wrong.
    assert {request_type for request_type, *_ in VIOLATIONS} == offered
