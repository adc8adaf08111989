"""What the requests of data sets send, and what they refuse."""

from __future__ import annotations

from typing import Any

from airflow_qianfan.api.actions.dataset import (
    CreateDataset,
    CreateDatasetVersion,
    CreateExportTask,
    CreateImportTask,
    DeleteDataset,
    DeleteDatasetVersion,
    DescribeDatasets,
    DescribeDatasetVersion,
    DescribeDatasetVersions,
    DescribeExportTask,
    DescribeImportTask,
    PublishDatasetVersion,
)

PLATFORM = {"dataset_name": "faq", "data_format": "PromptResponse", "storage_type": "sysStorage"}
BOS = {**PLATFORM, "storage_type": "BOS", "storage_path": "bos:/b/faq/"}
FILE = "bos:/b/faq.jsonl"
IMPORT = {"version_id": "ds-1", "files": [FILE]}
EXPORT = {"version_id": "ds-1", "storage_type": "BOS", "storage_path": "bos:/b/out/"}

BODIES: dict[str, tuple[type, dict[str, Any], dict[str, Any]]] = {
    "dataset": (
        CreateDataset,
        PLATFORM,
        {"datasetName": "faq", "dataFormat": "PromptResponse", "storageType": "sysStorage"},
    ),
    "dataset-in-bos": (
        CreateDataset,
        BOS,
        {
            "datasetName": "faq",
            "dataFormat": "PromptResponse",
            "storageType": "BOS",
            "storagePath": "bos:/b/faq/",
        },
    ),
    "datasets": (DescribeDatasets, {}, {}),
    "datasets-filtered-and-paged": (
        DescribeDatasets,
        {
            "filter": {"dataset_name": "faq", "dataFormatList": ["Role"]},
            "marker": "dg-1",
            "max_keys": 100,
            "page_reverse": True,
        },
        {
            "filter": {"datasetName": "faq", "dataFormatList": ["Role"]},
            "marker": "dg-1",
            "maxKeys": 100,
            "pageReverse": True,
        },
    ),
    "datasets-filtered-by-json-text": (
        DescribeDatasets,
        {"filter": '{"datasetName": "faq"}'},
        {"filter": {"datasetName": "faq"}},
    ),
    "delete-dataset": (DeleteDataset, {"dataset_id": "dg-1"}, {"datasetId": "dg-1"}),
    "version": (
        CreateDatasetVersion,
        {"dataset_id": "dg-1", "description": "x" * 1000},
        {"datasetId": "dg-1", "description": "x" * 1000},
    ),
    "describe-version": (DescribeDatasetVersion, {"version_id": "ds-1"}, {"versionId": "ds-1"}),
    "versions": (
        DescribeDatasetVersions,
        {"dataset_id": "dg-1", "filter": {"publish_status_list": ["Published"], "importStatusList": []}},
        {"datasetId": "dg-1", "filter": {"importStatusList": [], "publishStatusList": ["Published"]}},
    ),
    "delete-version": (DeleteDatasetVersion, {"version_id": "ds-1"}, {"versionId": "ds-1"}),
    "import": (CreateImportTask, IMPORT, {"versionId": "ds-1", "files": [FILE]}),
    "import-of-one-path": (
        CreateImportTask,
        {**IMPORT, "files": FILE},
        {"versionId": "ds-1", "files": [FILE]},
    ),
    "import-of-json-text": (
        CreateImportTask,
        {**IMPORT, "files": '["bos:/b/x.zip", "bos:/c/y.xlsx"]'},
        {"versionId": "ds-1", "files": ["bos:/b/x.zip", "bos:/c/y.xlsx"]},
    ),
    "import-of-a-directory": (
        CreateImportTask,
        {**IMPORT, "files": ["bos:/b/v1.5/"]},
        {"versionId": "ds-1", "files": ["bos:/b/v1.5/"]},
    ),
    "import-of-a-directory-without-a-slash": (
        CreateImportTask,
        {**IMPORT, "files": ["bos:/b/faq"]},
        {"versionId": "ds-1", "files": ["bos:/b/faq"]},
    ),
    "import-of-many": (
        CreateImportTask,
        {**IMPORT, "files": [FILE] * 1000},
        {"versionId": "ds-1", "files": [FILE] * 1000},
    ),
    "describe-import": (DescribeImportTask, {"task_id": "task-1"}, {"taskId": "task-1"}),
    "publish": (PublishDatasetVersion, {"version_id": "ds-1"}, {"versionId": "ds-1"}),
    "export": (
        CreateExportTask,
        EXPORT,
        {"versionId": "ds-1", "storageType": "BOS", "storagePath": "bos:/b/out/"},
    ),
    "export-to-the-platform": (
        CreateExportTask,
        {"version_id": "ds-1", "storage_type": "sysStorage"},
        {"versionId": "ds-1", "storageType": "sysStorage"},
    ),
    "describe-export": (DescribeExportTask, {"task_id": "task-1"}, {"taskId": "task-1"}),
}


def _without(members: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in members.items() if key != name}


VIOLATIONS: list[tuple[type, dict[str, Any], str]] = [
    (CreateDataset, _without(PLATFORM, "dataset_name"), "datasetName"),
    (CreateDataset, {**PLATFORM, "dataset_name": ""}, "datasetName"),
    (CreateDataset, _without(PLATFORM, "data_format"), "dataFormat"),
    (CreateDataset, {**PLATFORM, "data_format": ""}, "dataFormat"),
    (CreateDataset, _without(PLATFORM, "storage_type"), "storageType"),
    (CreateDataset, {**PLATFORM, "storage_type": "bos"}, "storageType"),
    (CreateDataset, {**PLATFORM, "storage_type": "usrBos"}, "storageType"),
    (CreateDataset, _without(BOS, "storage_path"), "storagePath"),
    (CreateDataset, {**BOS, "storage_path": ""}, "storagePath"),
    (CreateDataset, {**BOS, "storage_path": "/b/faq/"}, "storagePath"),
    (CreateDataset, {**BOS, "storage_path": 5}, "storagePath"),
    (DescribeDatasets, {"max_keys": 101}, "maxKeys"),
    (DescribeDatasets, {"filter": "faq"}, "filter"),
    (DescribeDatasets, {"filter": {"dataFormatList": "Role"}}, "filter.dataFormatList"),
    (DeleteDataset, {"dataset_id": ""}, "datasetId"),
    (CreateDatasetVersion, {}, "datasetId"),
    (CreateDatasetVersion, {"dataset_id": "dg-1", "description": 5}, "description"),
    (DescribeDatasetVersion, {"version_id": ""}, "versionId"),
    (DescribeDatasetVersions, {}, "datasetId"),
    (DescribeDatasetVersions, {"dataset_id": "dg-1", "max_keys": 0}, "maxKeys"),
    (DeleteDatasetVersion, {"version_id": ""}, "versionId"),
    (CreateImportTask, _without(IMPORT, "version_id"), "versionId"),
    (CreateImportTask, _without(IMPORT, "files"), "files"),
    (CreateImportTask, {**IMPORT, "files": []}, "files"),
    (CreateImportTask, {**IMPORT, "files": [FILE] * 1001}, "files"),
    (CreateImportTask, {**IMPORT, "files": ["bos:/b/faq.csv"]}, "files"),
    (CreateImportTask, {**IMPORT, "files": [FILE, "bos:/b/"]}, "files"),
    (CreateImportTask, {**IMPORT, "files": ["bos:/b/", "bos:/c/"]}, "files"),
    (CreateImportTask, {**IMPORT, "files": ["s3://b/faq.jsonl"]}, "files"),
    (CreateImportTask, {**IMPORT, "files": '["bos:/b/x.zip"'}, "files"),
    (DescribeImportTask, {"task_id": ""}, "taskId"),
    (PublishDatasetVersion, {"version_id": ""}, "versionId"),
    (CreateExportTask, _without(EXPORT, "version_id"), "versionId"),
    (CreateExportTask, _without(EXPORT, "storage_type"), "storageType"),
    (CreateExportTask, _without(EXPORT, "storage_path"), "storagePath"),
    (CreateExportTask, {**EXPORT, "storage_path": "out/"}, "storagePath"),
    (DescribeExportTask, {}, "taskId"),
]
