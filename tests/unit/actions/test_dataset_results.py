"""Data sets, versions, imports and exports as the service may send them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from wire import ok

from airflow_qianfan.api.actions.dataset import (
    CreateDataset,
    CreateDatasetVersion,
    CreateExportTask,
    CreateImportTask,
    DatasetVersion,
    DeleteDataset,
    DescribeDatasets,
    DescribeDatasetVersion,
    DescribeDatasetVersions,
    DescribeExportTask,
    DescribeImportTask,
    PublishDatasetVersion,
    VersionImport,
    VersionPublication,
)
from airflow_qianfan.api.actions.values import whole
from airflow_qianfan.api.config import CONSOLE
from airflow_qianfan.api.objects import Phase
from airflow_qianfan.api.retry import is_repeatable
from airflow_qianfan.exceptions import QianfanAmbiguousCreateError

VERSION = {
    "datasetId": "dg-1",
    "versionId": "ds-1",
    "versionNumber": 2,
    "datasetName": "faq",
    "dataFormat": "Role",
    "importStatus": "importFinished",
    "publishStatus": "PUBLISHING",
    "newMember": 1,
}


def read(request: Any, result: Any) -> Any:
    return request.read_result(result)


@pytest.mark.parametrize("result", ["task-1", {"taskId": "task-1"}, {"taskId": "task-1", "more": 1}])
@pytest.mark.parametrize(
    "request_",
    [
        CreateImportTask(version_id="ds-1", files=["bos:/b/f.zip"]),
        CreateExportTask(version_id="ds-1", storage_type="sysStorage"),
    ],
    ids=["import", "export"],
)
def test_id_of_a_task_comes_plain_or_in_an_object(request_, result):
    assert read(request_, result).task_id == "task-1"


def test_data_set_tells_its_version_v1_or_not():
    request = CreateDataset(dataset_name="faq", data_format="Text", storage_type="sysStorage")
    assert read(request, {"datasetId": "dg-1", "versionId": "ds-1"}).version_id == "ds-1"
    assert read(request, {"datasetId": "dg-1"}).version_id is None
    made = read(CreateDatasetVersion(dataset_id="dg-1"), {"versionId": "ds-2", "versionNumber": "2"})
    assert (made.version_id, made.version_number) == ("ds-2", 2)


def test_sorted_responses_are_sent_with_a_small_r():
    def sent(data_format: str) -> Any:
        members = {"dataset_name": "faq", "data_format": data_format, "storage_type": "sysStorage"}
        return CreateDataset(**members).body()["dataFormat"]

    assert sent("PromptSortedResponses") == sent("promptsortedresponses") == "PromptSortedresponses"
    assert sent("role") == "Role"
    assert sent("SomethingNew") == "SomethingNew"


def test_final_slash_of_a_storage_path_is_added():
    members = {"dataset_name": "faq", "data_format": "Text", "storage_type": "BOS"}
    for path in ("bos:/b/faq", "bos:/b/faq/"):
        for name in ("storage_path", "storagePath"):
            assert CreateDataset(**members, **{name: path}).body()["storagePath"] == "bos:/b/faq/"


@pytest.mark.parametrize("member", ["datasetList", "dataSets", "list"])
@pytest.mark.parametrize("info", [{}, {"pageInfo": None}, {"pageInfo": {"isTruncated": False}}])
def test_rows_of_a_list_are_found_under_any_name(member, info):
    page = read(DescribeDatasets(), {member: [{"datasetId": "dg-1", "datasetName": "faq"}], **info})
    assert [row.output()["dataset_id"] for row in page.rows] == ["dg-1"]
    page = read(DescribeDatasetVersions(dataset_id="dg-1"), {member: [VERSION], **info})
    assert [row.version_id for row in page.rows] == ["ds-1"]


@pytest.mark.parametrize("result", [{}, [], {"datasetList": None}, {"datasetList": []}, {"pageInfo": {}}])
def test_list_may_be_missing_or_empty(result):
    assert read(DescribeDatasets(), result).rows == []


def test_one_description_shows_what_was_imported_and_what_was_published():
    found = read(DescribeDatasetVersion(version_id="ds-1"), VERSION)
    assert found.state.phase is Phase.SUCCEEDED, "it exists"
    imported, publication = VersionImport.view(found), VersionPublication.view(found)
    assert (imported.status, imported.state.phase) == ("ImportFinished", Phase.SUCCEEDED)
    assert (publication.status, publication.state.phase) == ("Publishing", Phase.ACTIVE)
    assert VersionImport.view(imported) is imported
    assert DatasetVersion.view(found) is found
    assert publication.model_extra == {"newMember": 1}
    assert found.output() == {
        "dataset_version_id": "ds-1",
        "dataset_id": "dg-1",
        "version_number": 2,
        "dataset_name": "faq",
        "data_format": "Role",
        "description": None,
        "sample_count": None,
        "status": "Publishing",
        "import_status": "importFinished",
        "publish_status": "PUBLISHING",
        "console_url": f"{CONSOLE}/qianfan/data/dataset/ds-1/detail",
    }
    assert imported.output()["status"] == "ImportFinished"


@pytest.mark.parametrize(
    ("text", "status", "share"),
    [
        ("40 %", "Importing", 0.4),
        ("40%", "Importing", 0.4),
        ("0%", "ImportFailed", 0.0),
        ("100%", "ImportFinished", 1.0),
        ("", "ImportFinished", 1.0),
        (None, "Importing", None),
        ("soon", "Importing", None),
        ("140 %", "Importing", 1.0),
    ],
)
def test_progress_is_a_share_whatever_form_it_has(text, status, share):
    request = DescribeImportTask(task_id="task-1")
    assert read(request, {"importStatus": status, "progress": text}).progress == share


def test_import_has_the_id_that_was_asked_for_since_the_answer_leaves_it_out():
    found = read(
        DescribeImportTask(task_id="task-1"),
        {
            "versionId": "ds-1",
            "importStatus": "ImportFailed",
            "progress": "0%",
            "sizeMB": 0.5,
            "sampleCount": 7,
            "errDownloadUrl": "https://bos.example/errors",
        },
    )
    assert found.output() == {
        "import_task_id": "task-1",
        "dataset_version_id": "ds-1",
        "status": "ImportFailed",
        "import_status": "ImportFailed",
        "progress": 0.0,
        "size_mb": 0.5,
        "sample_count": 7,
        "err_download_url": "https://bos.example/errors",
        "console_url": f"{CONSOLE}/qianfan/data/dataset/ds-1/detail",
    }
    assert found.failure == "errDownloadUrl https://bos.example/errors"
    assert found.summary() == ["Samples: 7, 0.5 MB"]


def test_size_in_megabytes_is_written_with_a_large_mb():
    request = DescribeExportTask(task_id="task-1")
    assert read(request, {"exportStatus": "Exporting", "sizeMB": 1.5}).size_mb == 1.5
    assert read(request, {"exportStatus": "Exporting", "sizeMb": 1.5}).size_mb is None


def test_export_does_not_tell_its_version():
    found = read(DescribeExportTask(task_id="task-1"), {"exportStatus": "ExportFinished"})
    assert (found.progress, found.summary(), found.console_url) == (1.0, [], None)
    assert found.output()["export_task_id"] == "task-1"


@pytest.mark.parametrize(
    ("value", "number"),
    [(7, 7), ("7", 7), (7.0, 7), (" 7 ", 7), (7.5, None), ("many", None), ("7%", None), (None, None)],
)
def test_number_of_samples_is_whole(value, number):
    assert whole(value) == number


@pytest.mark.parametrize("answer", [True, {}, "ok", None])
def test_answers_to_publish_and_delete_may_be_anything_but_false(answer, connect, wire):
    wire.script(ok(answer))
    assert connect().call(PublishDatasetVersion(version_id="ds-1")) == answer
    assert connect().call(DeleteDataset(dataset_id="dg-1")) == answer


def test_publishing_is_not_repeated_blindly(connect, wire, slept):
    assert not is_repeatable("PublishDatasetVersion")
    wire.script(httpx.ReadError)
    with pytest.raises(QianfanAmbiguousCreateError):
        connect(max_retries=3).call(PublishDatasetVersion(version_id="ds-1"))
    assert len(wire.requests) == 1
