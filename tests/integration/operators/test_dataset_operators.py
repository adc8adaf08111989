"""Operators and sensors of data sets in DAGs, against the emulator."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from operator_values import HOUR, MARK, MODES, RETRIES, actions_of

from airflow_qianfan.exceptions import (
    QianfanExecutionTimeoutError,
    QianfanNotFoundError,
    QianfanOperationFailedError,
    QianfanTerminalStateError,
    QianfanValidationError,
)
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.operators.dataset import (
    QianfanCreateDatasetOperator,
    QianfanCreateDatasetVersionOperator,
    QianfanCreateExportTaskOperator,
    QianfanCreateImportTaskOperator,
    QianfanDeleteDatasetOperator,
    QianfanDeleteDatasetVersionOperator,
    QianfanDescribeDatasetsOperator,
    QianfanDescribeDatasetVersionOperator,
    QianfanDescribeDatasetVersionsOperator,
    QianfanDescribeExportTaskOperator,
    QianfanDescribeImportTaskOperator,
    QianfanPublishDatasetVersionOperator,
)
from airflow_qianfan.operators.finetuning import QianfanFineTuningOperator
from airflow_qianfan.operators.prepare_dataset import QianfanDatasetOperator
from airflow_qianfan.sensors.dataset import (
    QianfanDatasetExportSensor,
    QianfanDatasetImportSensor,
    QianfanDatasetPublishSensor,
    QianfanDatasetVersionImportSensor,
)

ROUTE = "/v2/dataset"
FILES = ["bos:/b/faq.jsonl"]
LINK = "_link_QianfanDatasetLink"
PREPARE = {"data_format": "Text", "files": FILES, "poll_interval": 0.05}


def call(action, **body):
    return QianfanHook().call_action(ROUTE, action, body, repeatable=True)["result"]


def make(name="faq"):
    made = call("CreateDataset", datasetName=name, dataFormat="Text", storageType="sysStorage")
    return made["datasetId"], made["versionId"]


def make_import(emulator, name="faq", files=FILES):
    _, version_id = make(name)
    task_id = call("CreateImportTask", versionId=version_id, files=files)
    emulator.advance(2 * HOUR)
    return version_id, task_id


def test_a_data_set_is_created_with_every_field_rendered(emulator, run_task):
    run = run_task(
        QianfanCreateDatasetOperator,
        dataset_name="{{ params.p }}-faq",
        data_format="{{ params.format }}",
        storage_path="bos:/{{ params.p }}/faq",
        params={"p": "my", "format": "PromptResponse"},
    )
    (made,), (version,) = emulator.objects("dataset"), emulator.objects("dataset_version")
    assert made["request"] == {
        "datasetName": "my-faq",
        "dataFormat": "PromptResponse",
        "storageType": "BOS",
        "storagePath": "bos:/my/faq/",
    }
    assert run.value == {
        "dataset_id": made["datasetId"],
        "dataset_name": "my-faq",
        "dataset_version_id": version["versionId"],
    }
    assert run.value.items() <= run.xcom.items()
    assert run.xcom[LINK].endswith(f"/data/dataset/{version['versionId']}/detail")
    named = run_task(QianfanCreateDatasetOperator, data_format="Text")
    assert re.fullmatch(r"dag_\d+_[0-9a-f]{12}", named.value["dataset_name"])


def test_a_version_is_created_with_a_mark_in_its_description(emulator, run_task):
    dataset_id, _ = make()
    run = run_task(
        QianfanCreateDatasetVersionOperator,
        dataset_id="{{ params.d }}",
        description="by {{ params.d }}",
        params={"d": dataset_id},
    )
    version = emulator.objects("dataset_version")[1]
    assert re.fullmatch(f"by {dataset_id} {MARK}", version["description"])
    assert run.value == {"dataset_version_id": version["versionId"], "dataset_id": dataset_id}
    assert run.xcom[LINK].endswith(f"/data/dataset/{version['versionId']}/detail")
    run_task(QianfanCreateDatasetVersionOperator, dataset_id=dataset_id)
    description = emulator.objects("dataset_version")[2]["description"]
    assert re.fullmatch(rf"Airflow: dag_\d+ / .* {MARK}", description)
    assert len(description) <= 100


def test_data_sets_and_versions_are_listed_and_described(emulator, run_task):
    dataset_id, version_id = make()
    make("other")
    run = run_task(
        QianfanDescribeDatasetsOperator, filter={"datasetName": "{{ params.n }}"}, params={"n": "FA"}
    )
    assert [row["dataset_id"] for row in run.value] == [dataset_id]
    assert run.value[0]["data_format"] == "Text"
    run = run_task(QianfanDescribeDatasetVersionsOperator, dataset_id=dataset_id)
    assert [row["dataset_version_id"] for row in run.value] == [version_id]
    run = run_task(QianfanDescribeDatasetVersionOperator, dataset_version_id=version_id)
    assert (run.value["status"], run.value["import_status"]) == ("Unpublished", "Created")
    assert run.xcom[LINK] == f"{emulator.endpoint}/qianfan/data/dataset/{version_id}/detail"


@MODES
def test_an_import_is_waited_for_and_shown(start_emulator, run_task, deferrable):
    emulator = start_emulator(model_seconds=0.4)
    _, version_id = make()
    run = run_task(
        QianfanCreateImportTaskOperator,
        dataset_version_id=version_id,
        files="{{ params.f }}",
        wait_for_completion=True,
        deferrable=deferrable,
        poll_interval=0.05,
        params={"f": FILES[0]},
    )
    (task,) = emulator.objects("import_task")
    assert task["request"] == {"versionId": version_id, "files": FILES}
    assert (run.value["status"], run.value["sample_count"]) == ("ImportFinished", 100)
    assert run.xcom["import_task_id"] == run.value["import_task_id"] == task["taskId"]
    assert run.xcom[LINK].endswith(f"/{version_id}/detail")
    shown = run_task(QianfanDescribeImportTaskOperator, import_task_id=task["taskId"])
    assert shown.value == run.value


@MODES
def test_a_failed_import_names_where_its_errors_are(emulator, run_task, deferrable):
    _, task_id = make_import(emulator, files=["bos:/b/fail.jsonl"])
    run = run_task(QianfanDatasetImportSensor, import_task_id=task_id, deferrable=deferrable)
    assert isinstance(run.error, QianfanTerminalStateError)
    assert "errDownloadUrl https://bj.bcebos.com/emulator/" in str(run.error)


@MODES
def test_publishing_is_waited_for(start_emulator, run_task, deferrable):
    emulator = start_emulator(model_seconds=0.3)
    version_id, _ = make_import(emulator)
    run = run_task(
        QianfanPublishDatasetVersionOperator,
        dataset_version_id="{{ params.v }}",
        wait_for_completion=True,
        deferrable=deferrable,
        poll_interval=0.05,
        params={"v": version_id},
    )
    assert (run.value["status"], run.value["dataset_version_id"]) == ("Published", version_id)
    again = run_task(QianfanPublishDatasetVersionOperator, dataset_version_id=version_id)
    assert again.value == {"dataset_version_id": version_id}
    assert actions_of(emulator).count("PublishDatasetVersion") == 1


@MODES
def test_sensors_wait_for_versions_and_exports(start_emulator, run_task, deferrable):
    start_emulator(model_seconds=0.3)
    _, version_id = make()
    call("CreateImportTask", versionId=version_id, files=FILES)
    waiting = {"deferrable": deferrable, "poke_interval": 0.05, "timeout": 60}
    run = run_task(QianfanDatasetVersionImportSensor, dataset_version_id=version_id, **waiting)
    assert run.value["status"] == "ImportFinished"
    call("PublishDatasetVersion", versionId=version_id)
    run = run_task(QianfanDatasetPublishSensor, dataset_version_id=version_id, **waiting)
    assert run.value["status"] == run.xcom["publish_status"] == "Published"
    run = run_task(QianfanCreateExportTaskOperator, dataset_version_id=version_id, storage_path="bos:/b/out/")
    export_id = run.value["export_task_id"]
    run = run_task(QianfanDatasetExportSensor, export_task_id=export_id, **waiting)
    assert run.value["storage_path"] == f"bos:/b/out/{version_id}.zip"
    shown = run_task(QianfanDescribeExportTaskOperator, export_task_id=export_id).value
    assert (shown["status"], shown["sample_count"]) == ("ExportFinished", 100)


DELETIONS = pytest.mark.parametrize(
    ("operator", "argument", "action", "index"),
    [
        (QianfanDeleteDatasetOperator, "dataset_id", "DeleteDataset", 0),
        (QianfanDeleteDatasetVersionOperator, "dataset_version_id", "DeleteDatasetVersion", 1),
    ],
)


@DELETIONS
def test_delete_deletes_also_where_its_answer_is_lost(emulator, run_task, operator, argument, action, index):
    for fault in (None, "lost_answer"):
        object_id = make()[index]
        if fault:
            emulator.fail_next(action, kind=fault)
        assert run_task(operator, **{argument: object_id}).value == {argument: object_id, "deleted": True}
        emulator.reset()


@DELETIONS
def test_delete_of_what_is_gone_or_stays(emulator, run_task, operator, argument, action, index):
    run = run_task(operator, **{argument: "gone-1"}, **RETRIES)
    assert isinstance(run.error, QianfanNotFoundError)
    ignored = run_task(operator, **{argument: "gone-1"}, if_missing="ignore")
    assert ignored.value == {argument: "gone-1", "deleted": False}
    object_id = make()[index]
    emulator.fail_next(action, kind="false")
    assert isinstance(run_task(operator, **{argument: object_id}).error, QianfanOperationFailedError)


@MODES
def test_data_become_ready_in_one_task_and_can_be_trained_on(start_emulator, run_task, capsys, deferrable):
    emulator = start_emulator(model_seconds=0.4, task_seconds=0.4)
    run = run_task(
        QianfanDatasetOperator,
        dataset_name="{{ params.n }}",
        data_format="PromptResponse",
        files=["bos:/b/{{ params.n }}.jsonl"],
        deferrable=deferrable,
        poll_interval=0.05,
        params={"n": "faq"},
    )
    (made,), (version,) = emulator.objects("dataset"), emulator.objects("dataset_version")
    (task,) = emulator.objects("import_task")
    assert run.value == {
        "dataset_id": made["datasetId"],
        "dataset_version_id": version["versionId"],
        "import_task_id": task["taskId"],
        "sample_count": 100,
        "status": "Published",
        "version_number": 1,
        "console_url": f"{emulator.endpoint}/qianfan/data/dataset/{version['versionId']}/detail",
    }
    assert run.value.items() <= run.xcom.items()
    assert run.xcom[LINK] == run.value["console_url"]
    log = capsys.readouterr().out
    for line in (f"Data import {task['taskId']}: Import", "Samples: 100", "Published, after"):
        assert line in log
    versions = {"sourceType": "Platform", "versions": [{"versionId": version["versionId"]}]}
    trained = run_task(
        QianfanFineTuningOperator,
        model="ERNIE-Speed-8K",
        train_mode="SFT",
        hyper_parameter_config={},
        dataset_config=versions,
        poll_interval=0.05,
    )
    assert trained.value["status"] == "Done"


@MODES
def test_an_existing_data_set_gets_a_new_version(start_emulator, run_task, deferrable):
    emulator = start_emulator(model_seconds=0.3)
    dataset_id, first = make()
    arguments = {"dataset_id": dataset_id, "description": "weekly", "files": FILES, "poll_interval": 0.05}
    run = run_task(QianfanDatasetOperator, **arguments, deferrable=deferrable)
    assert (run.value["dataset_id"], run.value["version_number"]) == (dataset_id, 2)
    assert run.value["dataset_version_id"] != first
    assert re.fullmatch(f"weekly {MARK}", emulator.objects("dataset_version")[1]["description"])


@MODES
def test_execution_timeout_holds_over_the_deferral(emulator, run_task, deferrable):
    run = run_task(
        QianfanDatasetOperator, **PREPARE, deferrable=deferrable, execution_timeout=timedelta(seconds=4)
    )
    assert isinstance(run.error, QianfanExecutionTimeoutError)
    (task,) = emulator.objects("import_task")
    assert f"data import {task['taskId']} may go on" in str(run.error)


@pytest.mark.parametrize(
    ("arguments", "parameter"),
    [
        ({"data_format": "", "files": FILES}, "dataFormat"),
        ({"data_format": "Text", "files": "bos:/b/faq.csv"}, "files"),
        ({"data_format": "Text", "files": FILES, "storage_type": "{{ 'usrBos' }}"}, "storageType"),
        ({"data_format": "Text", "files": FILES, "dataset_id": "dg-1"}, "dataset_id"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_created(emulator, run_task, arguments, parameter):
    run = run_task(QianfanDatasetOperator, **arguments, **RETRIES)
    assert isinstance(run.error, QianfanValidationError)
    assert parameter in run.error.parameters
    assert emulator.journal == []


def test_data_cannot_be_published_without_waiting():
    with pytest.raises(ValueError, match="only once they are imported"):
        QianfanDatasetOperator(task_id="x", **PREPARE, wait_for_completion=False)
