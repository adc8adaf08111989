"""Operators of data sets: one for each Action."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_qianfan import links
from airflow_qianfan.arguments import member, option
from airflow_qianfan.operators.base.create import QianfanCreateOperator
from airflow_qianfan.operators.base.dataset import (
    DatasetArguments,
    ImportArguments,
    StorageArguments,
    version_page,
)
from airflow_qianfan.operators.base.lineage import QianfanLineageOperator
from airflow_qianfan.operators.base.list import QianfanListOperator
from airflow_qianfan.operators.base.operator import QianfanRequestOperator
from airflow_qianfan.operators.base.publish import QianfanPublishingOperator
from airflow_qianfan.operators.base.remove import QianfanDeleteOperator
from airflow_qianfan.operators.base.wait import QianfanWaitingOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_qianfan.api.objects import RemoteObject
    from airflow_qianfan.operators.base.submission import Submission

DATASET = "dataset.Dataset"
VERSION = "dataset.DatasetVersion"
IMPORT = "dataset.ImportTask"
EXPORT = "dataset.ExportTask"


class QianfanCreateDatasetOperator(DatasetArguments):
    """Create a data set and its version V1 (CreateDataset). Returns ``dataset_id``, ``dataset_name`` and
    ``dataset_version_id``, which is V1.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/9mnzot7x8
    """

    action = "dataset.CreateDataset"
    kind_path = DATASET
    operator_extra_links = links.DATASET

    data_format: str = member("``PromptResponse``, ``Role``, ``Text``, ``DPO_PromptChosenRejected`` …")

    def run_action(self, context: Context) -> dict[str, Any]:
        """Create it.

        :raises QianfanAmbiguousCreateError: nobody knows whether it was created.
        """
        submission = self.submission(context, self.kind, self.build)
        dataset_id = submission.submit()
        version_id = self.first_version(submission, dataset_id)
        self.console_url = version_page(self.hook, version_id)
        self.deliver(context)
        return {**self.created_output(submission.creation, dataset_id), "dataset_version_id": version_id}


class QianfanDescribeDatasetsOperator(QianfanListOperator):
    """List data sets (DescribeDatasets), oldest first. Returns a list with ``dataset_id``, ``dataset_name``,
    ``data_format``, ``storage_type``, ``storage_path`` and ``create_time`` of each.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Nmnzrmd46
    """

    action = "dataset.DescribeDatasets"

    filter: Mapping[str, Any] | str | None = member(
        "``datasetName``, a part of the name, and ``dataFormatList``.", default=None, json=True
    )


class QianfanDeleteDatasetOperator(QianfanDeleteOperator):
    """Delete a data set with all its versions (DeleteDataset). Returns ``dataset_id`` and ``deleted``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/gmnzp6s4r
    """

    action = "dataset.DeleteDataset"
    kind_path = DATASET

    dataset_id: str = member("the data set, ``dg-…``.")


class QianfanCreateDatasetVersionOperator(QianfanCreateOperator):
    """Create a version of a data set, which inherits no data (CreateDatasetVersion). Returns
    ``dataset_version_id`` and ``dataset_id``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/dmnzqtolr
    """

    action = "dataset.CreateDatasetVersion"
    kind_path = VERSION
    operator_extra_links = links.DATASET

    dataset_id: str = member("the data set that gets the version, ``dg-…``.")
    description: str | None = member(
        "description of the version; a mark is added by which it is found again.", default=None
    )

    def created(self, submission: Submission, object_id: str) -> None:
        """Know the page of the version as soon as there is one."""
        self.console_url = version_page(self.hook, object_id)


class QianfanDescribeDatasetVersionOperator(QianfanRequestOperator):
    """Describe a version of a data set (DescribeDatasetVersion), in whatever state it is.

    Returns ``dataset_version_id``, ``dataset_id``, ``version_number``, ``dataset_name``, ``data_format``,
    ``description``, ``sample_count`` (if the service tells), ``status`` (how far its publication is),
    ``import_status`` and ``publish_status`` (the service's own words) and ``console_url``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/1mnzr9j3b
    """

    action = "dataset.DescribeDatasetVersion"
    operator_extra_links = links.DATASET

    dataset_version_id: str = member("the version, ``ds-…``.", name="version_id")


class QianfanDescribeDatasetVersionsOperator(QianfanListOperator):
    """List the versions of a data set (DescribeDatasetVersions). Returns a list of dicts like those of
    :class:`QianfanDescribeDatasetVersionOperator`.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/9mnzr02r9
    """

    action = "dataset.DescribeDatasetVersions"

    dataset_id: str = member("the data set, ``dg-…``.")
    filter: Mapping[str, Any] | str | None = member(
        "``importStatusList`` and ``publishStatusList``.", default=None, json=True
    )


class QianfanDeleteDatasetVersionOperator(QianfanDeleteOperator):
    """Delete a version of a data set (DeleteDatasetVersion). Returns ``dataset_version_id`` and ``deleted``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/imnzqm4d8
    """

    action = "dataset.DeleteDatasetVersion"
    kind_path = VERSION

    dataset_version_id: str = member("the version, ``ds-…``.", name="version_id")


class QianfanCreateImportTaskOperator(ImportArguments, QianfanWaitingOperator):
    """Import files into a version of a data set (CreateImportTask). Returns ``import_task_id`` and
    ``dataset_version_id``.

    With ``wait_for_completion`` it waits for the import, and returns what
    :class:`QianfanDescribeImportTaskOperator` does. Nothing lists imports: where the answer of the Create is
    lost, and the version shows that an import was begun, it fails and says so, since that may be another's.
    :class:`QianfanDatasetOperator`, whose version is its own, goes on. What a second import into the same
    version does is not documented.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/lmnzqpt7v
    """

    action = "dataset.CreateImportTask"
    kind_path = IMPORT
    trigger_path = "dataset.QianfanDatasetImportTrigger"
    operator_extra_links = links.DATASET

    dataset_version_id: str = member("the version that gets the data, ``ds-…``.", name="version_id")
    wait_for_completion: bool = option("wait until the import has ended.", default=False)


class QianfanDescribeImportTaskOperator(QianfanRequestOperator):
    """Describe an import (DescribeImportTask), in whatever state it is.

    Returns ``import_task_id``, ``dataset_version_id``, ``status``, ``import_status`` (the service's own
    word), ``progress``, ``size_mb``, ``sample_count``, ``err_download_url`` and ``console_url``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Lmnzr4pth
    """

    action = "dataset.DescribeImportTask"
    operator_extra_links = links.DATASET

    import_task_id: str = member("the import, ``task-…``.", name="task_id")


class QianfanPublishDatasetVersionOperator(QianfanPublishingOperator, QianfanLineageOperator):
    """Publish a version of a data set, so that it can be trained on (PublishDatasetVersion). Returns
    ``dataset_version_id``.

    A version that is published already, or about to be, is left as it is. With ``wait_for_completion`` it
    waits until the version is Published, and returns what :class:`QianfanDescribeDatasetVersionOperator`
    does.

    .. seealso::
        https://cloud.baidu.com/doc/WENXINWORKSHOP/s/1lyyakavj
    """

    action = "dataset.PublishDatasetVersion"
    trigger_path = "dataset.QianfanDatasetPublishTrigger"
    operator_extra_links = links.DATASET

    dataset_version_id: str = member("the version, ``ds-…``; its import must be finished.", name="version_id")
    wait_for_completion: bool = option("wait until the version is Published.", default=False)

    asset_collection = "datasets"

    def published(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return what the asset event tells of the version."""
        version = self.hook.call(self.target.kind.describe(self.dataset_version_id)).output()
        names = ("dataset_id", "dataset_version_id", "version_number", "sample_count")
        return {**{name: version[name] for name in names}, "state": version["publish_status"]}

    @property
    def kind(self) -> type[RemoteObject]:
        """The kind of object that it publishes."""
        return self.target.kind

    def submit(self, context: Context) -> dict[str, Any]:
        """Publish it, and return its id."""
        from airflow_qianfan.operators.base.begin import begin_once

        request = self.make_request()
        self.object_id = self.dataset_version_id
        begin_once(self.hook, self.target, request, self.log)
        self.console_url = self.console_page(self.target.kind(version_id=self.object_id))
        self.push_ids(context, dataset_version_id=self.object_id)
        return {"dataset_version_id": self.object_id}

    def restore_ids(self, context: Context, ids: dict[str, str]) -> None:
        """Take over the id of the version."""
        self.object_id = self.dataset_version_id


class QianfanCreateExportTaskOperator(StorageArguments, QianfanWaitingOperator):
    """Export a version of a data set as a zip file (CreateExportTask). Returns ``export_task_id`` and
    ``dataset_version_id``.

    With ``wait_for_completion`` it waits for the export, and returns what
    :class:`QianfanDescribeExportTaskOperator` does. Nothing shows whether an export was begun: where the
    answer of the Create is lost, it fails and says so.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/xmnzqra7z
    """

    action = "dataset.CreateExportTask"
    kind_path = EXPORT
    trigger_path = "dataset.QianfanDatasetExportTrigger"
    operator_extra_links = links.DATASET

    dataset_version_id: str = member("the version, ``ds-…``.", name="version_id")
    wait_for_completion: bool = option("wait until the export has ended.", default=False)


class QianfanDescribeExportTaskOperator(QianfanRequestOperator):
    """Describe an export (DescribeExportTask), in whatever state it is.

    Returns ``export_task_id``, ``dataset_version_id`` (if the service tells), ``status``, ``export_status``
    (the service's own word), ``progress``, ``size_mb``, ``sample_count``, ``storage_type``, ``storage_path``
    (of the zip file) and ``console_url``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/3mnzr6ilo
    """

    action = "dataset.DescribeExportTask"
    operator_extra_links = links.DATASET

    export_task_id: str = member("the export, ``task-…``.", name="task_id")
