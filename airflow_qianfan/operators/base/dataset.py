"""The arguments that several operators of data sets have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_qianfan.arguments import member
from airflow_qianfan.exceptions import QianfanNotFoundError
from airflow_qianfan.operators.base.create import QianfanCreateOperator
from airflow_qianfan.operators.base.operator import QianfanRequestOperator

if TYPE_CHECKING:
    from airflow_qianfan.hooks.qianfan import QianfanHook
    from airflow_qianfan.operators.base.submission import Submission


def version_page(hook: QianfanHook, version_id: str) -> str | None:
    """Return the page of the console that shows a version of a data set."""
    from airflow_qianfan.api.actions.dataset.version import version_console_url

    url = version_console_url(version_id)
    return hook.console_url(url) if url else None


class StorageArguments(QianfanRequestOperator):
    """The arguments that say where data are kept."""

    storage_type: Literal["BOS", "sysStorage"] | str | None = member(
        "``BOS`` or ``sysStorage``, which is the platform's own; None means ``BOS`` where "
        "``storage_path`` is given.",
        default=None,
    )
    storage_path: str | None = member("directory for ``BOS``, ``bos:/bucket/directory/``.", default=None)

    def make_request(self, action: str | None = None, **members: Any) -> Any:
        """Return the request; see :meth:`QianfanRequestOperator.make_request`."""
        from airflow_qianfan.api.actions import load

        if "storage_type" in load(action or self.action).model_fields:
            members["storage_type"] = self.storage_type or ("BOS" if self.storage_path else "sysStorage")
        return super().make_request(action, **members)


class DatasetArguments(StorageArguments, QianfanCreateOperator):
    """The arguments that describe a new data set."""

    dataset_name: str | None = member(
        "name of the data set; None makes one from DAG and run. Before Airflow 3.3 a retry finds a data set "
        "by a made name only.",
        default=None,
    )

    def first_version(self, submission: Submission, dataset_id: str) -> str:
        """Return the id of version V1, which the service creates together with the data set.

        :param submission: what created the data set, or attached to it.
        :param dataset_id: the data set.
        """
        from airflow_qianfan.operators.base.lookup import read_settled

        result = submission.creation.result
        if result is not None and result.version_id:
            return str(result.version_id)
        return read_settled(lambda: self._find_first(dataset_id), f"V1 of data set {dataset_id}", self.log)

    def _find_first(self, dataset_id: str) -> str:
        from airflow_qianfan.api.actions.dataset import DescribeDatasetVersions

        rows = list(self.hook.iterate(DescribeDatasetVersions(dataset_id=dataset_id, max_keys=100)))
        found = [row for row in rows if row.version_number == 1]
        if not found and len(rows) == 1 and rows[0].version_number is None:
            found = rows
        if not found:
            raise QianfanNotFoundError(f"the data set {dataset_id} shows no version V1")
        return str(found[0].version_id)


class ImportArguments(QianfanCreateOperator):
    """The arguments that say what is imported."""

    files: Sequence[str] | str = member(
        "exactly one directory, ``bos:/bucket/directory/``, or one or more files that end with ``.jsonl``, "
        "``.zip`` or ``.xlsx``; one path, or a list, also as JSON text.",
        json=True,
    )
