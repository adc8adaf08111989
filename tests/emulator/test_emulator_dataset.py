"""Data sets: versions, imports, publication, exports, and who may train on what."""

import re

import pytest

from airflow_qianfan.emulator.assumptions import Assumptions
from airflow_qianfan.emulator.data import Dataset, DatasetVersion, ExportTask, ImportTask
from airflow_qianfan.emulator.faults import Fault

BOS = {
    "datasetName": "faq",
    "dataFormat": "PromptResponse",
    "storageType": "BOS",
    "storagePath": "bos:/bucket/faq/",
}
PLATFORM = {"datasetName": "faq", "dataFormat": "Text", "storageType": "sysStorage"}
FILE = "bos:/bucket/faq.jsonl"


def create(local, **more):
    made = local.ok("CreateDataset", **{**PLATFORM, **more})
    return made["datasetId"], made["versionId"]


def imported(local, **more):
    _, version_id = create(local, **more)
    task_id = local.ok("CreateImportTask", versionId=version_id, files=[FILE])
    local.clock.time += 10
    return version_id, task_id


def published(local):
    version_id, _ = imported(local)
    assert local.ok("PublishDatasetVersion", versionId=version_id) is True
    local.clock.time += 10
    return version_id


def version(local, version_id):
    return local.ok("DescribeDatasetVersion", versionId=version_id)


def test_data_set_comes_with_its_version_v1(local):
    made = local.ok("CreateDataset", **BOS)
    assert re.fullmatch(r"dg-[a-z0-9]{12}", made["datasetId"])
    assert re.fullmatch(r"ds-[a-z0-9]{16}", made["versionId"])
    expected = {
        "datasetId": made["datasetId"],
        "versionId": made["versionId"],
        "versionNumber": 1,
        "datasetName": "faq",
        "dataFormat": "PromptResponse",
        "description": "",
        "storageType": "BOS",
        "storagePath": "bos:/bucket/faq/",
        "creator": "emulator",
        "createTime": "2024-01-16 17:48:35",
    }
    assert made == expected
    states = {"importStatus": "Created", "publishStatus": "Unpublished"}
    assert version(local, made["versionId"]) == expected | states


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({"datasetName": None}, "datasetName"),
        ({"datasetName": ""}, "datasetName"),
        ({"dataFormat": None}, "dataFormat"),
        ({"dataFormat": "promptresponse"}, "dataFormat"),
        ({"storageType": None}, "storageType"),
        ({"storageType": "usrBos"}, "storageType"),
        ({"storagePath": None}, "storagePath"),
        ({"storagePath": "/bucket/faq/"}, "storagePath"),
    ],
)
def test_data_set_with_a_bad_member_is_refused_by_name(local, change, member):
    assert local.bad_member("CreateDataset", **{**BOS, **change}) == member
    assert local.store.table(Dataset) == {}


def test_storage_path_without_its_final_slash_is_refused(local):
    assert local.bad_member("CreateDataset", **{**BOS, "storagePath": "bos:/bucket/faq"}) == "storagePath"


def test_sorted_responses_are_written_with_a_small_r(local):
    wrong = {**BOS, "dataFormat": "PromptSortedResponses"}
    assert local.bad_member("CreateDataset", **wrong) == "dataFormat"
    local.ok("CreateDataset", **{**BOS, "dataFormat": "PromptSortedresponses"})


def test_names_are_unique_unless_that_is_assumed_otherwise(make_local):
    local = make_local()
    create(local)
    assert local.refused("CreateDataset", **PLATFORM) == (400, "DuplicateName")
    local = make_local(Assumptions(duplicate_dataset_name="allow"))
    assert create(local) != create(local)


def test_data_sets_are_listed_oldest_first_and_filtered(local):
    ids = [create(local, datasetName=name)[0] for name in ("faq one", "other", "FAQ two")]
    create(local, datasetName="faq three", dataFormat="Role")
    listed = local.ok("DescribeDatasets", filter={"datasetName": "faq", "dataFormatList": ["Text"]})
    assert [row["datasetId"] for row in listed["datasetList"]] == [ids[0], ids[2]]
    page = local.ok("DescribeDatasets", maxKeys=1, pageReverse=True)
    assert page["datasetList"][0]["datasetName"] == "faq three"
    assert page["pageInfo"]["isTruncated"]
    assert len(local.ok("DescribeDatasets", filter={})["datasetList"]) == 4
    assert local.bad_member("DescribeDatasets", filter="faq") == "filter"


def test_versions_are_numbered_described_and_filtered(local):
    dataset_id, first = create(local)
    second = local.ok("CreateDatasetVersion", datasetId=dataset_id, description="more")
    assert (second["versionNumber"], second["description"]) == (2, "more")
    local.ok("CreateImportTask", versionId=first, files=[FILE])
    listed = local.ok("DescribeDatasetVersions", datasetId=dataset_id)["versionList"]
    assert [row["versionId"] for row in listed] == [first, second["versionId"]]
    assert [row["importStatus"] for row in listed] == ["Importing", "Created"]

    def filtered(**members):
        rows = local.ok("DescribeDatasetVersions", datasetId=dataset_id, filter=members)["versionList"]
        return [row["versionNumber"] for row in rows]

    assert filtered(importStatusList=["Importing", "ImportFailed"]) == [1]
    assert filtered(publishStatusList=["Published"]) == []
    assert filtered(importStatusList=[], publishStatusList=[]) == [1, 2]
    assert local.refused("DescribeDatasetVersions", datasetId=first) == (404, "NoSuchKey")
    assert local.refused("CreateDatasetVersion", datasetId="dg-1") == (404, "NoSuchKey")


def test_a_data_set_is_deleted_with_all_that_belongs_to_it(local):
    dataset_id, first = create(local)
    second = local.ok("CreateDatasetVersion", datasetId=dataset_id)["versionId"]
    task_id = local.ok("CreateImportTask", versionId=first, files=[FILE])
    assert local.ok("DeleteDatasetVersion", versionId=second) is True
    assert local.refused("DescribeDatasetVersion", versionId=second) == (404, "NoSuchKey")
    assert local.ok("DeleteDataset", datasetId=dataset_id) is True
    assert local.refused("DescribeImportTask", taskId=task_id) == (404, "NoSuchKey")
    assert local.refused("DeleteDataset", datasetId=dataset_id) == (404, "NoSuchKey")
    for kind in (Dataset, DatasetVersion, ImportTask, ExportTask):
        assert local.store.table(kind) == {}


def test_import_answers_with_its_plain_id_and_shows_its_progress_in_both_forms(local):
    _, version_id = create(local)
    task_id = local.ok("CreateImportTask", versionId=version_id, files=[FILE, "bos:/b/more.zip"])
    assert re.fullmatch(r"task-[a-z0-9]{12}", task_id)
    local.clock.time += 4
    shown = local.ok("DescribeImportTask", taskId=task_id)
    # The answer does not repeat the id.
    assert shown == {
        "versionId": version_id,
        "importStatus": "Importing",
        "progress": "40 %",
        "sizeMB": 0.0,
        "sampleCount": 0,
        "creator": "emulator",
        "startTime": "2024-01-16 17:48:35",
        "finishTime": "",
        "errDownloadUrl": "",
    }
    assert version(local, version_id)["importStatus"] == "Importing"
    local.clock.time += 6
    done = local.ok("DescribeImportTask", taskId=task_id)
    assert (done["importStatus"], done["progress"], done["sampleCount"]) == ("ImportFinished", "100%", 200)
    assert (done["sizeMB"], done["finishTime"]) == (2.0, "2024-01-16 17:48:45")


def test_import_of_a_file_that_says_so_fails_or_is_empty(local):
    _, version_id = create(local)
    task_id = local.ok("CreateImportTask", versionId=version_id, files=["bos:/b/fail.jsonl"])
    local.clock.time += 10
    shown = local.ok("DescribeImportTask", taskId=task_id)
    assert (shown["importStatus"], shown["progress"], shown["sampleCount"]) == ("ImportFailed", "0%", 0)
    assert shown["errDownloadUrl"].startswith("https://")
    task_id = local.ok("CreateImportTask", versionId=version_id, files=["bos:/b/empty.jsonl"])
    local.clock.time += 10
    shown = local.ok("DescribeImportTask", taskId=task_id)
    assert (shown["importStatus"], shown["sampleCount"]) == ("ImportFinished", 0)


@pytest.mark.parametrize(
    "files",
    [
        None,
        [],
        FILE,
        [""],
        [FILE, "bos:/b/directory/"],
        ["bos:/b/one/", "bos:/b/two/"],
        ["bos:/b/faq.csv"],
        ["/b/faq.jsonl"],
        [FILE] * 101,
    ],
    ids=["none", "empty", "text", "no-path", "mixed", "directories", "csv", "no-bos", "too-many"],
)
def test_import_takes_one_directory_or_files_of_three_endings(local, files):
    _, version_id = create(local)
    assert local.bad_member("CreateImportTask", versionId=version_id, files=files) == "files"
    assert local.store.table(ImportTask) == {}


@pytest.mark.parametrize("files", [["bos:/b/v1.5/"], ["bos:/b/faq"], ["bos:/b/a.xlsx", "bos:/c/b.zip"]])
def test_import_of_what_is_allowed(local, files):
    _, version_id = create(local)
    assert local.ok("CreateImportTask", versionId=version_id, files=files)


def test_data_of_ones_own_bucket_may_have_more_files(local):
    version_id = local.ok("CreateDataset", **BOS)["versionId"]
    assert local.ok("CreateImportTask", versionId=version_id, files=[FILE] * 101)


def test_two_imports_do_not_go_on_at_once_and_a_second_one_is_an_assumption(make_local):
    local = make_local()
    version_id, _ = imported(local)
    local.ok("CreateImportTask", versionId=version_id, files=[FILE])
    body = {"versionId": version_id, "files": [FILE]}
    assert local.refused("CreateImportTask", **body) == (400, "InvalidStatus")
    local.clock.time += 10
    export = local.ok("CreateExportTask", versionId=version_id, storageType="sysStorage")
    local.clock.time += 10
    assert local.ok("DescribeExportTask", taskId=export)["sampleCount"] == 200
    local = make_local(Assumptions(second_import="refuse"))
    body["versionId"], _ = imported(local)
    assert local.refused("CreateImportTask", **body) == (400, "InvalidStatus")


def test_publication_needs_data_and_takes_its_time(local):
    _, version_id = create(local)
    assert local.refused("PublishDatasetVersion", versionId=version_id) == (400, "InvalidStatus")
    local.ok("CreateImportTask", versionId=version_id, files=[FILE])
    assert local.refused("PublishDatasetVersion", versionId=version_id) == (400, "InvalidStatus")
    local.clock.time += 10
    assert local.ok("PublishDatasetVersion", versionId=version_id) is True
    assert version(local, version_id)["publishStatus"] == "Publishing"
    local.clock.time += 10
    assert version(local, version_id)["publishStatus"] == "Published"
    body = {"versionId": version_id, "files": [FILE]}
    assert local.refused("CreateImportTask", **body) == (400, "InvalidStatus")


def test_publication_of_what_is_called_fail_fails_and_can_be_repeated(local):
    version_id, _ = imported(local, datasetName="will-fail")
    for _ in range(2):
        local.ok("PublishDatasetVersion", versionId=version_id)
        assert version(local, version_id)["publishStatus"] == "Publishing"
        local.clock.time += 10
        assert version(local, version_id)["publishStatus"] == "PublishFailed"


def test_what_happens_around_a_publication_is_an_assumption(make_local):
    local = make_local(
        Assumptions(publish_delay_seconds=5, publish_dataset_twice="refuse", import_into_published="allow")
    )
    version_id, _ = imported(local)
    local.ok("PublishDatasetVersion", versionId=version_id)
    assert version(local, version_id)["publishStatus"] == "Unpublished"
    local.clock.time += 5
    assert version(local, version_id)["publishStatus"] == "Publishing"
    assert local.refused("PublishDatasetVersion", versionId=version_id) == (400, "InvalidStatus")
    local.clock.time += 10
    assert local.ok("CreateImportTask", versionId=version_id, files=[FILE])
    local = make_local()
    version_id = published(local)
    assert local.ok("PublishDatasetVersion", versionId=version_id) is True


def test_names_of_lists_and_states_of_versions_are_assumptions(make_local):
    local = make_local(
        Assumptions(dataset_list="rows", dataset_version_list="items", dataset_version_has_states=False)
    )
    dataset_id, version_id = create(local)
    assert [row["datasetId"] for row in local.ok("DescribeDatasets")["rows"]] == [dataset_id]
    (row,) = local.ok("DescribeDatasetVersions", datasetId=dataset_id)["items"]
    assert not [name for name in (*row, *version(local, version_id)) if name.endswith("Status")]


def test_export_writes_a_zip_file(local):
    version_id, _ = imported(local)
    body = {"versionId": version_id, "storageType": "BOS", "storagePath": "bos:/bucket/out"}
    task_id = local.ok("CreateExportTask", **body)
    local.clock.time += 5
    shown = local.ok("DescribeExportTask", taskId=task_id)
    assert len(shown) == 10
    assert "taskId" not in shown
    assert (shown["exportStatus"], shown["progress"], shown["storagePath"]) == ("Exporting", "50 %", "")
    local.clock.time += 5
    shown = local.ok("DescribeExportTask", taskId=task_id)
    assert (shown["exportStatus"], shown["progress"]) == ("ExportFinished", "100%")
    assert shown["storagePath"] == f"bos:/bucket/out/{version_id}.zip"
    assert (shown["sampleCount"], shown["sizeMB"]) == (100, 1.0)
    failing = local.ok("CreateExportTask", **{**body, "storagePath": "bos:/bucket/fail/"})
    local.clock.time += 10
    assert local.ok("DescribeExportTask", taskId=failing)["exportStatus"] == "ExportFailed"


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({"storageType": "bos"}, "storageType"),
        ({"storagePath": None}, "storagePath"),
        ({"storagePath": "out/"}, "storagePath"),
        ({"versionId": ""}, "versionId"),
    ],
)
def test_export_with_a_bad_member_is_refused_by_name(local, change, member):
    body = {"versionId": "ds-1", "storageType": "BOS", "storagePath": "bos:/bucket/out/", **change}
    assert local.bad_member("CreateExportTask", **body) == member


def test_export_needs_data(local):
    _, version_id = create(local)
    body = {"versionId": version_id, "storageType": "sysStorage"}
    assert local.refused("CreateExportTask", **body) == (400, "InvalidStatus")


def test_ids_of_imports_begin_as_those_of_trainings_do_and_tell_nothing(local):
    _, import_id = imported(local)
    training_id = local.task(local.job())
    assert import_id.startswith("task-")
    assert training_id.startswith("task-")
    assert local.refused("DescribeImportTask", taskId=training_id) == (404, "NoSuchKey")
    assert local.refused("DescribeExportTask", taskId=import_id) == (404, "NoSuchKey")
    assert local.refused("StopFineTuningTask", taskId=import_id) == (404, "NoSuchKey")


def test_training_needs_a_published_version_where_it_is_known(local):
    job_id = local.job()
    version_id, _ = imported(local)

    def body(known):
        dataset = {"sourceType": "Platform", "versions": [{"versionId": "ds-never-heard-of"}]}
        dataset["versions"] += [{"versionId": known}] if known else []
        return {"jobId": job_id, "hyperParameterConfig": {}, "datasetConfig": dataset}

    assert local.ok("CreateFineTuningTask", **body(None))
    assert local.refused("CreateFineTuningTask", **body(version_id)) == (400, "InvalidStatus")
    local.ok("PublishDatasetVersion", versionId=version_id)
    assert local.refused("CreateFineTuningTask", **body(version_id)) == (400, "InvalidStatus")
    local.clock.time += 10
    assert local.ok("CreateFineTuningTask", **body(version_id))


def test_faults_reach_what_data_sets_show(local):
    version_id, task_id = imported(local)
    fault = {"kind": "unknown_status", "word": "Checking"}
    local.backend.faults.add(Fault(action="DescribeDatasetVersion", **fault))
    shown = version(local, version_id)
    assert (shown["importStatus"], shown["publishStatus"]) == ("Checking", "Checking")
    local.backend.faults.add(Fault(action="DescribeImportTask", **fault))
    assert local.ok("DescribeImportTask", taskId=task_id)["importStatus"] == "Checking"
    local.backend.faults.add(Fault(kind="missing_progress", action="DescribeImportTask"))
    assert "progress" not in local.ok("DescribeImportTask", taskId=task_id)
    local.backend.faults.add(Fault(kind="stale", action="DescribeDatasetVersion", seconds=5))
    assert version(local, version_id)["importStatus"] == "Importing"


def test_journal_names_what_a_call_was_about(local):
    version_id, task_id = imported(local)
    entries = [(entry["action"], entry["ids"], entry["effect"]) for entry in local.store.journal]
    assert entries[-1] == ("CreateImportTask", {"versionId": version_id, "taskId": task_id}, True)
    assert set(entries[0][1]) == {"datasetId", "versionId"}
