"""What each request refuses, and how it says so."""

from __future__ import annotations

from typing import Any

import batch_and_eval
import dataset_members
import pytest
import service_requests
from examples import all_requests, plain_members, plain_requests
from members import (
    CHAT,
    COMPRESSION,
    CONF,
    FILES,
    IMPORT,
    JOB,
    SPEC,
    TASK,
    TRAIN,
    short,
    with_dataset,
    with_files,
    with_training,
    without,
)

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
from airflow_qianfan.api.messages import explain, shown
from airflow_qianfan.exceptions import QianfanValidationError

VIOLATIONS: list[tuple[type, dict[str, Any], str]] = [
    *dataset_members.VIOLATIONS,
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
    *service_requests.VIOLATIONS,
    *batch_and_eval.VIOLATIONS,
    *(
        (CreateModelCompTask, without(COMPRESSION, name), member)
        for name, member in [
            ("name", "name"),
            ("source_model_id", "sourceModelId"),
            ("model_set_id", "modelSetId"),
            ("config", "config"),
        ]
    ),
    (CreateModelCompTask, {**COMPRESSION, "name": ""}, "name"),
    (CreateModelCompTask, {**COMPRESSION, "config": "Sparsity"}, "config"),
    (DescribeModelCompTask, {"model_comp_task_id": ""}, "modelCompTaskId"),
    (DescribeModelCompTasks, {"max_keys": 101}, "maxKeys"),
    (CancelModelCompTask, {}, "modelCompTaskId"),
    (DeleteModelCompTask, {"model_comp_task_id": ""}, "modelCompTaskId"),
    (CreateModelExportTask, {"model_id": ""}, "modelId"),
    (DescribeModelExportTask, {}, "modelId"),
    (DescribeSystemModelSets, {"max_keys": 0}, "maxKeys"),
    (DescribeSystemModelSet, {}, "modelSetId"),
    (DescribeSystemModelSet, {"model_set_id": "am-1", "model_set_name": "ERNIE Lite"}, "modelSetName"),
    (DescribeSystemModel, {"model_id": ""}, "modelId"),
    *(
        (DescribeModelSystemAdvancedConf, without(CONF, name), member)
        for name, member in [
            ("basic_model_name", "basicModelName"),
            ("model_format", "modelFormat"),
            ("model_application_type", "modelApplicationType"),
        ]
    ),
    (DescribeModelCustomAdvancedConf, {}, "modelId"),
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
    with pytest.raises(QianfanValidationError, match=r"hyperParameterConfig: .*Circular"):
        CreateFineTuningTask(**{**TASK, "hyper_parameter_config": circle})


# How a broken rule is told

MESSAGES = {
    "text-too-long": (
        CreateFineTuningJob,
        {**JOB, "name": "abcdefghijklmnopqrstu"},
        "name: must have 2 to 20 characters, has 21 ('abcdefghijklmnopqrstu'); shorten it",
    ),
    "text-too-short": (
        CreateFineTuningJob,
        {**JOB, "name": "x"},
        "name: must have 2 to 20 characters, has 1 ('x'); make it longer",
    ),
    "long-text-is-shortened": (
        CreateCustomModel,
        {**TRAIN, "description": "abcdefghij" * 31},
        "description: must have at most 300 characters, has 310 "
        "('abcdefghijabcdefghijabcdefghijabcdefghi…'); shorten it",
    ),
    "empty-text": (DescribeFineTuningTask, {"task_id": ""}, "taskId: must not be empty; give it a value"),
    "missing": (DescribeFineTuningTask, {}, "taskId: is missing; give it a value"),
    "null": (DescribeFineTuningTask, {"task_id": None}, "taskId: must be text, not null"),
    "number-for-text": (CreateFineTuningJob, {**JOB, "name": 5}, "name: must be text, not 5"),
    "object-for-text": (
        CreateFineTuningJob,
        {**JOB, "name": {"confidential": "x"}},
        "name: must be text, not an object",
    ),
    "number-out-of-range": (DescribeFineTuningJobs, {"max_keys": 101}, "maxKeys: must be 1 to 100, not 101"),
    "number-below": (
        CreateFineTuningTask,
        {**TASK, "increment_checkpoint_step": -1},
        "incrementCheckpointStep: must be at least 0, not -1",
    ),
    "range-of-an-inner-member": (
        CreateFineTuningTask,
        with_dataset(versions=[{"versionId": "ds-1", "samplingRate": 10.5}]),
        "datasetConfig.versions.0.samplingRate: must be 0.01 to 10, not 10.5",
    ),
    "text-for-a-number": (
        DescribeFineTuningJobs,
        {"max_keys": "many"},
        "maxKeys: must be a whole number, not 'many'",
    ),
    "fraction": (DescribeFineTuningJobs, {"max_keys": 1.5}, "maxKeys: must be a whole number, not 1.5"),
    "text-for-a-share": (
        CreateFineTuningTask,
        with_dataset(splitRatio="a fifth"),
        "datasetConfig.splitRatio: must be a number, not 'a fifth'",
    ),
    "no-flag": (
        DescribeFineTuningJobs,
        {"page_reverse": "sideways"},
        "pageReverse: must be true or false, not 'sideways'",
    ),
    "word-that-is-nearly-right": (
        CreateCustomModel,
        {**TRAIN, "source_type": "train"},
        "sourceType: must be 'Train' or 'Import', not 'train'; did you mean 'Train'?",
    ),
    "word-that-is-not": (
        CreateCustomModel,
        {**TRAIN, "source_type": "zzz"},
        "sourceType: must be 'Train' or 'Import', not 'zzz'",
    ),
    "empty-list": (
        CreateFineTuningTask,
        with_dataset(versions=[]),
        "datasetConfig.versions: must have at least 1 entry, has 0; add one",
    ),
    "text-for-a-list": (
        CreateCustomModelSet,
        {"model_set_name": "bot", "model_type": "T", "labels": "a, b"},
        "labels: must be a list, or one as JSON text, not 'a, b'",
    ),
    "text-for-an-object": (
        CreateFineTuningTask,
        {**TASK, "hyper_parameter_config": "epoch=1"},
        "hyperParameterConfig: must be an object, or one as JSON text, not 'epoch=1'",
    ),
    "text-for-an-object-with-members": (
        CreateFineTuningTask,
        {**TASK, "dataset_config": "Platform"},
        "datasetConfig: must be an object, or one as JSON text, not 'Platform'",
    ),
    "list-for-an-object": (
        CreateFineTuningTask,
        {**TASK, "resource_config": [1]},
        "resourceConfig: must be an object, or one as JSON text, not a list",
    ),
    "broken-json": (
        CreateFineTuningTask,
        {**TASK, "hyper_parameter_config": "{epoch: 1}"},
        "hyperParameterConfig: must be JSON, which this text is not: Expecting property name enclosed in "
        "double quotes: line 1 column 2 (char 1)",
    ),
    "several-members": (DescribeModelSet, {}, "modelSetId, modelSetName: give one of the two"),
    "several-rules": (
        CreateFineTuningJob,
        {"name": "x", "model": ""},
        "name: must have 2 to 20 characters, has 1 ('x'); make it longer. "
        "model: must not be empty; give it a value. trainMode: is missing; give it a value",
    ),
}


@pytest.mark.parametrize(("request_type", "members", "message"), MESSAGES.values(), ids=MESSAGES)
def test_broken_rule_says_parameter_value_rule_and_remedy(request_type, members, message):
    with pytest.raises(QianfanValidationError) as caught:
        request_type(**members)
    assert str(caught.value) == f"{request_type.__name__}: invalid request, not sent: {message}."


@pytest.mark.parametrize(("request_type", "members", "member"), VIOLATIONS, ids=short)
def test_no_message_is_in_the_words_of_pydantic(request_type, members, member):
    with pytest.raises(QianfanValidationError) as caught:
        request_type(**members)
    for word in ("Input should", "should have", "should be", "Value error", "Field required", "pydantic"):
        assert word not in str(caught.value)


def test_kind_of_rule_that_nobody_worded_is_told_in_the_words_of_pydantic():
    problem: Any = {
        "type": "uuid_parsing",
        "loc": ("x",),
        "msg": "Input should be a valid UUID",
        "input": "y",
    }
    assert explain(problem, CreateFineTuningJob) == "Input should be a valid UUID"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x" * 40, repr("x" * 40)),
        ("x" * 41, repr("x" * 39 + "…")),
        ("a\nb", r"'a\nb'"),
        (10**60, "1" + "0" * 38 + "…"),
        (1.5, "1.5"),
        (float("nan"), "nan"),
        (True, "true"),
        (None, "null"),
        ({"confidential": 1}, "an object"),
        (["confidential"], "a list"),
        (("confidential",), "a list"),
        (b"confidential", "bytes"),
        ({"confidential"}, "set"),
    ],
    ids=str,
)
def test_value_is_shown_shortened_and_what_holds_others_as_its_type(value, text):
    assert shown(value) == text


def test_rules_of_every_request_class_are_tried_here():
    with_rules = {request_type for request_type, *_ in VIOLATIONS}
    assert with_rules | set(plain_requests()) == set(all_requests())


@pytest.mark.parametrize("request_type", plain_requests(), ids=lambda one: one.__name__)
def test_plain_request_needs_each_member_as_a_text(request_type):
    members = plain_members(request_type)
    for name in members:
        for changed in (without(members, name), {**members, name: ""}, {**members, name: 5}):
            with pytest.raises(QianfanValidationError) as caught:
                request_type(**changed)
            assert caught.value.parameters == (request_type.model_fields[name].alias,)
