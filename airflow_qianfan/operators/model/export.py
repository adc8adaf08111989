"""Operators of export: one for each Action, and one that does the whole step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_qianfan import links
from airflow_qianfan.arguments import member, option
from airflow_qianfan.operators.base.operator import QianfanRequestOperator
from airflow_qianfan.operators.base.wait import QianfanWaitingOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_qianfan.operators.base.creation import Creation
    from airflow_qianfan.operators.base.submission import Submission


class _ExportArguments(QianfanWaitingOperator):
    """What both operators that export have in common.

    The service shows only the latest export of a version, and by the version's id.
    """

    kind_path = "model.ModelExport"
    trigger_path = "model.QianfanModelExportTrigger"
    operator_extra_links = links.MODEL

    model_id: str = member("the version, ``amv-…``.")

    def submit_main(self, context: Context, submission: Submission) -> dict[str, Any]:
        """Create the export, and make its id an XCom at once."""
        output = super().submit_main(context, submission)
        if output["export_id"]:
            ti: Any = context["ti"]
            ti.xcom_push(key="export_id", value=output["export_id"])
        return output

    def created_output(self, creation: Creation, created_id: str) -> dict[str, Any]:
        """Return the id of the export and that of its version."""
        return {**super().created_output(creation, created_id), "export_id": self._export_id(creation)}

    def _export_id(self, creation: Creation) -> str | None:
        if creation.result is not None:
            found: str = creation.result.export_id
            return found
        if self.wait_for_completion:
            # The first poll tells it.
            return None
        return self.hook.call(creation.kind.describe(self.model_id)).export_id or None


class QianfanCreateModelExportTaskOperator(_ExportArguments):
    """Export a model version (CreateModelExportTask). Returns ``model_id`` and ``export_id``.

    With ``wait_for_completion`` it waits, and returns what
    :class:`airflow_qianfan.sensors.model.QianfanModelExportSensor` does. Only the latest export of a version
    is shown: where the answer of the Create is lost, and there is a new one, it fails and says so, since that
    may be another task's.

    .. seealso::
        https://ai.baidu.com/ai-doc/WENXINWORKSHOP/Qlw02q2x4
    """

    action = "model.CreateModelExportTask"

    wait_for_completion: bool = option("wait until the export has ended.", default=False)


class QianfanModelExportOperator(_ExportArguments):
    """Export a model version: create the export, wait, and return a link to its file.

    Only the latest export of a version is shown. Where the answer of the Create is lost, and there is a new
    one, the task fails and says so, since that may be another task's. Where another task exports the same
    version later, this one waits for that, and says so in its log; both have the same files.

    Returns ``download_url`` with ``model_id``, ``export_id``, ``has_record``, ``status``, ``status_text``
    (the service's own word), ``file_name``, ``file_type``, ``file_size``, ``md5`` and ``console_url``;
    without ``wait_for_completion`` only ``model_id`` and ``export_id``. Who has the link needs no
    credentials, and how long it lives is not documented; :class:`QianfanDescribeModelExportTaskOperator`
    returns a fresh one.

    .. seealso::
        https://ai.baidu.com/ai-doc/WENXINWORKSHOP/Qlw02q2x4
    """

    action = "model.CreateModelExportTask"
    custom_operator_name = "Export model version"

    def finished(self, context: Context, output: dict[str, Any]) -> dict[str, Any]:
        """Return the result with the link; events of triggers do not hold it, since they are logged."""
        from airflow_qianfan.operators.base.lookup import read_settled

        request = self.kind.describe(self.model_id)
        # It may be a moment behind the state.
        found = read_settled(
            lambda: self.hook.call(request),
            f"the link of the export of {self.model_id}",
            self.log,
            is_complete=lambda found: found.download_url,
        )
        self._tell_if_other(context, found.export_id)
        return {**output, "download_url": found.download_url}

    def _tell_if_other(self, context: Context, export_id: str | None) -> None:
        ti: Any = context["ti"]
        ours = ti.xcom_pull(task_ids=ti.task_id, key="export_id", map_indexes=ti.map_index)
        if ours and export_id and ours != export_id:
            self.log.warning(
                "Somebody has exported %s again: the link is that of export %s, and not of %s, which this "
                "task has created.",
                self.model_id,
                export_id,
                ours,
            )


class QianfanDescribeModelExportTaskOperator(QianfanRequestOperator):
    """Describe the latest export of a model version (DescribeModelExportTask), in whatever state it is.

    Returns ``model_id``, ``export_id``, ``has_record`` (False where there is none, or it has failed),
    ``status``, ``status_text`` (the service's own word), ``file_name``, ``file_type``, ``file_size``,
    ``md5``, ``console_url`` and ``download_url``, which needs no credentials. The connection's key needs a
    policy for writing.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/wmniloeoc
    """

    action = "model.DescribeModelExportTask"
    operator_extra_links = links.MODEL

    model_id: str = member("the version, ``amv-…``.")

    def output_of(self, result: Any) -> dict[str, Any]:
        """Return what a DAG works with of a result."""
        return {**super().output_of(result), "download_url": result.download_url}
