"""Links from a task in Airflow's UI to Baidu's console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey


class QianfanConsoleLink(BaseOperatorLink):
    """Leads to the page of the console that shows what a task is about."""

    name = "Qianfan console"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the page that the operator has found out, or nothing before it knows one."""
        return getattr(operator, "console_url", None) or ""


class QianfanDatasetLink(QianfanConsoleLink):
    """Leads to a version of a data set."""

    name = "Data set in Qianfan"


class QianfanFineTuningTaskLink(QianfanConsoleLink):
    """Leads to the log of a training."""

    name = "Training log in Qianfan"


class QianfanEvalTaskLink(QianfanConsoleLink):
    """Leads to an evaluation."""

    name = "Evaluation in Qianfan"


class QianfanModelLink(QianfanConsoleLink):
    """Leads to the models of the account."""

    name = "Models in Qianfan"


class QianfanServiceLink(QianfanConsoleLink):
    """Leads to the services of the account."""

    name = "Services in Qianfan"
