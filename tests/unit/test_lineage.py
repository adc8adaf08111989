"""What OpenLineage is told of an operator, by its arguments and its result."""

from __future__ import annotations

import json
import logging
import math
import sys
from types import SimpleNamespace

import pytest
from openlineage.client.serde import Serde

from airflow_qianfan.api.actions import batch_inference, dataset, evaluation, finetuning, model, service
from airflow_qianfan.api.objects import RemoteObject
from airflow_qianfan.asset_uris import endpoint_uri
from airflow_qianfan.lineage import COLLECTIONS
from airflow_qianfan.operators.batch_inference import QianfanBatchInferenceOperator
from airflow_qianfan.operators.dataset import (
    QianfanCreateExportTaskOperator,
    QianfanCreateImportTaskOperator,
    QianfanPublishDatasetVersionOperator,
)
from airflow_qianfan.operators.finetuning import QianfanCreateFineTuningJobOperator, QianfanFineTuningOperator
from airflow_qianfan.operators.model import (
    QianfanCreateCustomModelOperator,
    QianfanModelCompressionOperator,
    QianfanModelExportOperator,
)
from airflow_qianfan.operators.service import QianfanServiceOperator

SPACE = "qianfan://qianfan.baidubce.com"
SIGNED = "https://bucket.bcebos.com/data.jsonl?authorization=bce-auth-v1%2Fsentinel"
PLATFORM = {"sourceType": "Platform", "versions": [{"versionId": "ds-1"}, {"versionId": "ds-2"}]}
TRAINING = {"model": "ERNIE-Speed-8K", "train_mode": "SFT", "hyper_parameter_config": {"epoch": 1}}


def told(operator, result=None, *, endpoint="https://qianfan.baidubce.com", **arguments):
    """Return what an operator tells that has returned a result."""
    task = operator(task_id="it", **arguments)
    task.hook = SimpleNamespace(client=SimpleNamespace(endpoint=endpoint))
    task.result = result
    if result is None:
        return task.get_openlineage_facets_on_failure(None)
    return task.get_openlineage_facets_on_complete(None)


def names(datasets):
    return [(dataset.namespace, dataset.name) for dataset in datasets]


def ours(*of):
    return [(SPACE, name) for name in of]


@pytest.mark.parametrize(
    ("operator", "arguments", "result", "inputs", "outputs"),
    [
        pytest.param(
            QianfanFineTuningOperator,
            {**TRAINING, "dataset_config": PLATFORM, "increment_task_id": "task-0"},
            {"fine_tuning_task_id": "task-1", "fine_tuning_job_id": "job-1"},
            ours("dataset-versions/ds-1", "dataset-versions/ds-2", "fine-tuning-tasks/task-0"),
            ours("fine-tuning-tasks/task-1"),
            id="training",
        ),
        pytest.param(
            QianfanFineTuningOperator,
            {
                **TRAINING,
                "dataset_config": json.dumps(
                    {"sourceType": "Bos", "versions": [{"versionBosUri": "bos:/b/dir/a.jsonl"}]}
                ),
            },
            {"fine_tuning_task_id": "task-1"},
            [("bos://b", "dir/a.jsonl")],
            ours("fine-tuning-tasks/task-1"),
            id="training with files, as text",
        ),
        pytest.param(
            QianfanCreateImportTaskOperator,
            {"dataset_version_id": "ds-1", "files": ["bos:/b/1.jsonl", "bos:/b/2.jsonl", SIGNED]},
            {"import_task_id": "task-1", "dataset_version_id": "ds-1"},
            [("bos://b", "1.jsonl"), ("bos://b", "2.jsonl")],
            ours("dataset-versions/ds-1"),
            id="import",
        ),
        pytest.param(
            QianfanPublishDatasetVersionOperator,
            {"dataset_version_id": "ds-1"},
            {"dataset_version_id": "ds-1", "dataset_id": "dg-1"},
            [],
            ours("dataset-versions/ds-1", "datasets/dg-1"),
            id="publication of data",
        ),
        pytest.param(
            QianfanCreateExportTaskOperator,
            {"dataset_version_id": "ds-1", "storage_path": "bos:/b/out/"},
            {"export_task_id": "task-1", "storage_path": "bos:/b/out/ds-1.zip"},
            ours("dataset-versions/ds-1"),
            [("bos://b", "out/ds-1.zip")],
            id="export of data",
        ),
        pytest.param(
            QianfanCreateCustomModelOperator,
            {"model_set_id": "am-1", "train_meta": {"taskId": "task-1"}},
            {"model_id": "amv-1", "model_set_id": "am-1", "model": "ERNIE-Speed-8K"},
            ours("fine-tuning-tasks/task-1"),
            ours("model-versions/amv-1", "model-sets/am-1"),
            id="publication of a training",
        ),
        pytest.param(
            QianfanCreateCustomModelOperator,
            {"model_set_id": "am-1", "import_meta": {"bucket": "b", "objectPath": "models/mine"}},
            {"model_id": "amv-1", "model_set_id": "am-1"},
            [("bos://b", "models/mine")],
            ours("model-versions/amv-1", "model-sets/am-1"),
            id="import of a model",
        ),
        pytest.param(
            QianfanModelCompressionOperator,
            {"source_model_id": "amv-1", "strategy": "Sparsity"},
            {"model_comp_task_id": "amva-1", "source_model_id": "amv-1", "model_id": "amv-2"},
            ours("model-versions/amv-1"),
            ours("model-versions/amv-2"),
            id="compression",
        ),
        pytest.param(
            QianfanModelExportOperator,
            {"model_id": "amv-1"},
            {"model_id": "amv-1", "download_url": SIGNED},
            ours("model-versions/amv-1"),
            [],
            id="export of a model",
        ),
        pytest.param(
            QianfanServiceOperator,
            {"model_set_id": "am-1", "model_id": "amv-1", "service_id": "svco-1"},
            {"service_id": "svco-1", "model_id": "amv-1", "model_set_id": "am-1"},
            ours("model-versions/amv-1"),
            ours("services/svco-1"),
            id="deployment",
        ),
        pytest.param(
            QianfanBatchInferenceOperator,
            {"model_id": "amv-1", "input_bos_uri": "bos:/b/in", "output_bos_uri": "bos:/b/out"},
            {"batch_inference_task_id": "infer-1", "result_uri": "bos:/b/out/infer-1/"},
            [*ours("model-versions/amv-1"), ("bos://b", "in")],
            [("bos://b", "out/infer-1")],
            id="batch inference",
        ),
        pytest.param(
            QianfanCreateFineTuningJobOperator,
            {"model": "ERNIE-Speed-8K", "train_mode": "SFT"},
            {"fine_tuning_job_id": "job-1"},
            [],
            [],
            id="job",
        ),
    ],
)
def test_what_was_made_from_what(operator, arguments, result, inputs, outputs):
    lineage = told(operator, result, **arguments)
    assert names(lineage.inputs) == inputs
    assert names(lineage.outputs) == outputs
    assert "sentinel" not in str(lineage)


@pytest.mark.parametrize(
    ("endpoint", "namespace"),
    [
        ("https://qianfan.baidubce.com", SPACE),
        ("https://Qianfan.BaiduBCE.com:443", SPACE),
        ("http://127.0.0.1:8421", "qianfan://127.0.0.1:8421"),
    ],
)
def test_one_endpoint_has_one_namespace(endpoint, namespace):
    assert endpoint_uri(endpoint) == namespace


def facets_of(lineage):
    """The facets as they are sent."""
    sent = {name: json.loads(Serde.to_json(facet)) for name, facet in lineage.run_facets.items()}
    return {
        name: {member: value for member, value in facet.items() if not member.startswith("_")}
        for name, facet in sent.items()
    }


def test_the_facets_tell_base_model_arguments_and_metrics():
    result = {
        "fine_tuning_task_id": "task-1",
        "status": "Done",
        "metrics": {"ROUGE-L": 0.3},
        "checkpoints": [{"step": 10}],
    }
    config = '{"epoch": 1, "learningRate": 0.0003}'
    arguments = {**TRAINING, "hyper_parameter_config": config, "parameter_scale": "LoRA"}
    lineage = told(QianfanFineTuningOperator, result, dataset_config=PLATFORM, **arguments)
    assert facets_of(lineage) == {
        "qianfan_object": {"kind": "fine-tuning task", "id": "task-1", "status": "Done"},
        "qianfan_baseModel": {"model": "ERNIE-Speed-8K", "trainMode": "SFT", "parameterScale": "LoRA"},
        "qianfan_hyperParameters": {"values": {"epoch": 1, "learningRate": 0.0003}},
        "qianfan_metrics": {"values": {"ROUGE-L": 0.3}},
    }


def test_a_task_that_failed_tells_what_it_was_about_to_use():
    lineage = told(QianfanFineTuningOperator, dataset_config=PLATFORM, **TRAINING)
    assert names(lineage.inputs) == ours("dataset-versions/ds-1", "dataset-versions/ds-2")
    assert lineage.outputs == []
    assert set(facets_of(lineage)) == {"qianfan_baseModel", "qianfan_hyperParameters"}


def test_what_was_to_be_changed_is_no_input_of_a_task_that_failed():
    arguments = {"dataset_version_id": "ds-1", "files": ["bos:/b/1.jsonl"]}
    lineage = told(QianfanCreateImportTaskOperator, **arguments)
    assert (names(lineage.inputs), lineage.outputs) == ([("bos://b", "1.jsonl")], [])


STRANGE_RESULTS = {
    "nothing": None,
    "list": [],
    "text": "text",
    "empty": {},
    "no id": {"fine_tuning_task_id": None, "metrics": None},
    "object for an id": {"fine_tuning_task_id": {"not": "text"}, "metrics": "none"},
    "words for an id": {"fine_tuning_task_id": "two words"},
    "path for an id": {"fine_tuning_task_id": "../other", "status": object()},
}
STRANGE_CONFIGS = {
    "nothing": None,
    "blank": " ",
    "template": "{{ params.it }}",
    "half": '{"versions": [',
    "lists": [[]],
    "no versions": {"versions": None},
    "number": 7,
}


@pytest.mark.parametrize("result", STRANGE_RESULTS.values(), ids=STRANGE_RESULTS)
@pytest.mark.parametrize("config", STRANGE_CONFIGS.values(), ids=STRANGE_CONFIGS)
def test_what_is_missing_or_strange_is_left_out(result, config):
    lineage = told(QianfanFineTuningOperator, result, dataset_config=config, **TRAINING)
    assert names(lineage.inputs) == []
    assert names(lineage.outputs) == []


def test_what_json_cannot_express_is_left_out():
    metrics = {"loss": math.nan, "best": math.inf, "ROUGE-L": 0.3, "other": object()}
    result = {"fine_tuning_task_id": "task-1", "metrics": metrics}
    lineage = told(QianfanFineTuningOperator, result, dataset_config=PLATFORM, **TRAINING)
    assert facets_of(lineage)["qianfan_metrics"] == {"values": {"ROUGE-L": 0.3}}


@pytest.fixture
def warnings(caplog):
    """Return what the log of a task has warned of."""
    caplog.set_level(logging.WARNING, "lineage")

    def read(task):
        task._cached_logger = logging.getLogger("lineage")
        assert task.get_openlineage_facets_on_failure(None) is None
        return [record.getMessage() for record in caplog.records]

    return read


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def test_what_breaks_it_is_told_by_its_kind_and_raises_nothing(warnings):
    task = QianfanFineTuningOperator(task_id="it", dataset_config={}, **TRAINING)
    task.hook = SimpleNamespace(client=SimpleNamespace(endpoint="https://qianfan.baidubce.com"))
    # An operator looks through what is assigned to it.
    vars(task)["dataset_config"] = nested(5000)
    assert warnings(task) == ["OpenLineage is told nothing of what this task made: RecursionError."]


def test_a_connection_that_cannot_be_read_raises_nothing_and_shows_nothing(warnings, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_QIANFAN_DEFAULT", '{"conn_type": "qianfan", "host": "sentinel"}')
    task = QianfanPublishDatasetVersionOperator(task_id="it", dataset_version_id="ds-1")
    assert warnings(task) == [
        "OpenLineage is told nothing of what this task made: QianfanConfigurationError."
    ]


PROVIDER = "airflow.providers.openlineage.extractors.base"


@pytest.mark.parametrize("missing", [PROVIDER, "openlineage.client.facet_v2"])
def test_without_the_provider_nothing_happens(missing, monkeypatch, warnings):
    monkeypatch.setitem(sys.modules, missing, None)
    assert warnings(QianfanPublishDatasetVersionOperator(task_id="it", dataset_version_id="ds-1")) == []


def test_every_kind_of_result_has_a_name():
    assert all((batch_inference, dataset, evaluation, finetuning, model, service))
    results = {name for kind in kinds_below(RemoteObject) for name in kind.results}
    assert results - set(COLLECTIONS) == {"storage_path", "result_uri"}


def kinds_below(kind):
    return {kind}.union(*(kinds_below(each) for each in kind.__subclasses__()))
