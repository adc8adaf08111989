"""Actions of route ``/v2/dataset``: data sets (数据集), their versions (数据集版本), imports and exports."""

from __future__ import annotations

from airflow_qianfan.api.actions.dataset.dataset import (
    CreateDataset,
    CreateDatasetResult,
    Dataset,
    DatasetFilter,
    DatasetPage,
    DeleteDataset,
    DescribeDatasets,
)
from airflow_qianfan.api.actions.dataset.transfer import (
    CreateExportTask,
    CreateExportTaskResult,
    CreateImportTask,
    CreateImportTaskResult,
    DescribeExportTask,
    DescribeImportTask,
    ExportTask,
    ImportTask,
)
from airflow_qianfan.api.actions.dataset.version import (
    CreateDatasetVersion,
    CreateDatasetVersionResult,
    DatasetVersion,
    DatasetVersionFilter,
    DatasetVersionPage,
    DeleteDatasetVersion,
    DescribeDatasetVersion,
    DescribeDatasetVersions,
    PublishDatasetVersion,
    VersionImport,
    VersionPublication,
)

__all__ = [
    "CreateDataset",
    "CreateDatasetResult",
    "CreateDatasetVersion",
    "CreateDatasetVersionResult",
    "CreateExportTask",
    "CreateExportTaskResult",
    "CreateImportTask",
    "CreateImportTaskResult",
    "Dataset",
    "DatasetFilter",
    "DatasetPage",
    "DatasetVersion",
    "DatasetVersionFilter",
    "DatasetVersionPage",
    "DeleteDataset",
    "DeleteDatasetVersion",
    "DescribeDatasetVersion",
    "DescribeDatasetVersions",
    "DescribeDatasets",
    "DescribeExportTask",
    "DescribeImportTask",
    "ExportTask",
    "ImportTask",
    "PublishDatasetVersion",
    "VersionImport",
    "VersionPublication",
]
