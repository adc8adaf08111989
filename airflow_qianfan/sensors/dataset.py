"""Wait for imports into versions of data sets, for their publication, and for exports."""

from __future__ import annotations

from airflow_qianfan import links
from airflow_qianfan.arguments import templated
from airflow_qianfan.sensors.base import QianfanSensor


class QianfanDatasetImportSensor(QianfanSensor):
    """Waits until an import is finished; fails when it has failed, and names ``errDownloadUrl``.

    Returns ``import_task_id``, ``dataset_version_id``, ``status``, ``import_status`` (the service's own
    word), ``progress``, ``size_mb``, ``sample_count``, ``err_download_url`` and ``console_url``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Lmnzr4pth
    """

    trigger_path = "dataset.QianfanDatasetImportTrigger"
    operator_extra_links = links.DATASET

    import_task_id: str = templated("the import, ``task-…``.")


class QianfanDatasetVersionImportSensor(QianfanSensor):
    """Waits until an import into a version is finished, where the id of the import is not known; fails when
    it has failed.

    Returns what :class:`QianfanDatasetPublishSensor` does; ``status`` is that of the import.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/1mnzr9j3b
    """

    trigger_path = "dataset.QianfanDatasetVersionImportTrigger"
    operator_extra_links = links.DATASET

    dataset_version_id: str = templated("the version, ``ds-…``.")


class QianfanDatasetPublishSensor(QianfanSensor):
    """Waits until a version of a data set is Published; fails when its publication has failed.

    Returns ``dataset_version_id``, ``dataset_id``, ``version_number``, ``dataset_name``, ``data_format``,
    ``description``, ``sample_count`` (if the service tells), ``status``, ``import_status`` and
    ``publish_status`` (the service's own words) and ``console_url``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/1mnzr9j3b
    """

    trigger_path = "dataset.QianfanDatasetPublishTrigger"
    operator_extra_links = links.DATASET

    dataset_version_id: str = templated("the version, ``ds-…``.")


class QianfanDatasetExportSensor(QianfanSensor):
    """Waits until an export is finished; fails when it has failed.

    Returns ``export_task_id``, ``dataset_version_id``, ``status``, ``export_status`` (the service's own
    word), ``progress``, ``size_mb``, ``sample_count``, ``storage_type``, ``storage_path`` (of the zip file)
    and ``console_url``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/3mnzr6ilo
    """

    trigger_path = "dataset.QianfanDatasetExportTrigger"
    operator_extra_links = links.DATASET

    export_task_id: str = templated("the export, ``task-…``.")
