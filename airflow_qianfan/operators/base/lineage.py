"""Tells OpenLineage what an operator has made, where Airflow's provider for it is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_qianfan.operators.base.operator import QianfanRequestOperator

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors.base import OperatorLineage

    from airflow_qianfan.api.objects import RemoteObject


class QianfanLineageOperator(QianfanRequestOperator):
    """Makes something, or changes it, and tells OpenLineage so."""

    @property
    def kind(self) -> type[RemoteObject]:
        """The kind of object that it makes."""
        raise NotImplementedError

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """Return what was made and from what; None without Airflow's provider for OpenLineage.

        Airflow calls this in the process in which the task has ended. It never raises.

        :param task_instance: not used.
        """
        from airflow_qianfan.lineage import lineage_of

        return lineage_of(self)

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """Return what was started and from what; see :meth:`get_openlineage_facets_on_complete`."""
        return self.get_openlineage_facets_on_complete(task_instance)
