"""Wait for imports into versions of data sets, for their publication, and for exports."""

from __future__ import annotations

from airflow_qianfan.triggers.base.trigger import QianfanTrigger


class QianfanDatasetImportTrigger(QianfanTrigger):
    """Polls an import until it is finished or has failed.

    Takes ``import_task_id``; else see :class:`airflow_qianfan.triggers.base.trigger.QianfanTrigger`.
    """

    kind_path = "dataset.ImportTask"
    id_name = "import_task_id"


class QianfanDatasetVersionImportTrigger(QianfanTrigger):
    """Polls a version until an import into it is finished or has failed.

    Takes ``dataset_version_id``; else see :class:`airflow_qianfan.triggers.base.trigger.QianfanTrigger`.
    """

    kind_path = "dataset.VersionImport"
    id_name = "dataset_version_id"


class QianfanDatasetPublishTrigger(QianfanTrigger):
    """Polls a version until it is Published, or its publication has failed.

    Takes ``dataset_version_id``; else see :class:`airflow_qianfan.triggers.base.trigger.QianfanTrigger`.
    """

    kind_path = "dataset.VersionPublication"
    id_name = "dataset_version_id"


class QianfanDatasetExportTrigger(QianfanTrigger):
    """Polls an export until it is finished or has failed.

    Takes ``export_task_id``; else see :class:`airflow_qianfan.triggers.base.trigger.QianfanTrigger`.
    """

    kind_path = "dataset.ExportTask"
    id_name = "export_task_id"
