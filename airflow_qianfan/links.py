"""Links from a task in Airflow's UI: to Baidu's console, to VisualDL, and to the task's own tab."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import TaskInstanceKey


class _Link(BaseOperatorLink):
    """The base of all links of this provider."""


class QianfanConsoleLink(_Link):
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


class QianfanTabLink(_Link):
    """Leads to the tab of this task that shows progress, curves and metrics; see docs/ui.md.

    The address is relative to where Airflow's UI is, which a worker need not know.
    """

    name = "Qianfan"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the tab of the task instance."""
        dag_id, run_id, task_id = (
            quote(name, safe="") for name in (ti_key.dag_id, ti_key.run_id, ti_key.task_id)
        )
        mapped = f"/mapped/{ti_key.map_index}" if _is_mapped(ti_key) else ""
        return f"dags/{dag_id}/runs/{run_id}/tasks/{task_id}{mapped}/plugin/qianfan"


class QianfanVisualDLLink(_Link):
    """Leads to the curves of a training in VisualDL, by way of this provider's views.

    Qianfan tells the page while the training goes on; the views ask for it when somebody follows the link.
    """

    name = "VisualDL"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the address that leads on to VisualDL."""
        key = {"dag_id": ti_key.dag_id, "run_id": ti_key.run_id, "task_id": ti_key.task_id}
        if _is_mapped(ti_key):
            key["map_index"] = str(ti_key.map_index)
        return f"qianfan/visualdl?{urlencode(key)}"


def _is_mapped(ti_key: TaskInstanceKey) -> bool:
    return ti_key.map_index is not None and ti_key.map_index >= 0


def push_links(operator: Any, context: Context) -> None:
    """Show the links of a task that waits on a worker; Airflow itself does when a process of it ends."""
    ti: Any = context.get("ti")
    if ti is None:
        return
    with _only_told(operator):
        for link in operator.operator_extra_links:
            if isinstance(link, _Link) and (url := link.get_link(operator, ti_key=ti)):
                ti.xcom_push(key=link.xcom_key, value=url)


def recall_page(operator: Any, context: Context) -> None:
    """Let an operator know the page of the console again that it knew before it was deferred."""
    ti: Any = context.get("ti")
    if ti is None:
        return
    with _only_told(operator):
        for link in operator.operator_extra_links:
            if isinstance(link, QianfanConsoleLink) and not operator.console_url:
                operator.console_url = ti.xcom_pull(
                    task_ids=ti.task_id, key=link.xcom_key, map_indexes=ti.map_index
                )


@contextmanager
def _only_told(operator: Any) -> Iterator[None]:
    """Let no task fail because of its links."""
    try:
        yield
    except Exception as error:
        operator.log.warning("The links of this task are not shown: %s", type(error).__name__)


Links = tuple[BaseOperatorLink, ...]

TAB: Links = (QianfanTabLink(),)
DATASET: Links = (QianfanDatasetLink(), *TAB)
TRAINING: Links = (QianfanFineTuningTaskLink(), QianfanVisualDLLink(), *TAB)
EVALUATION: Links = (QianfanEvalTaskLink(), *TAB)
MODEL: Links = (QianfanModelLink(), *TAB)
SERVICE: Links = (QianfanServiceLink(), *TAB)
