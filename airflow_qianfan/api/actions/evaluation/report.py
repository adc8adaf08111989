"""What an evaluation has measured, as numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import model_validator

from airflow_qianfan.api.actions.base import Action, Request, RequiredText, Result, RowList
from airflow_qianfan.api.actions.evaluation.task import ROUTE
from airflow_qianfan.api.actions.values import ratio
from airflow_qianfan.api.tables import number, table

MAX_DEPTH = 4
"""How many objects inside each other are searched for metrics."""

_NO_METRIC = ("id", "version", "time")
"""How the names of numbers end that measure nothing."""


class EvalReportEntry(Result):
    """What was measured of one model, or of one data set of results."""

    task_id: str | None = None
    task_name: str | None = None
    model_id: str | None = None
    infer_dataset_id: str | None = None
    eval_object_type: str | None = None
    eval_mode: str | None = None

    @property
    def subject(self) -> str:
        """The id of what was evaluated."""
        return self.model_id or self.infer_dataset_id or ""

    @property
    def metric_values(self) -> dict[str, float]:
        """All numbers in it: ``"16.56%"`` is 0.1656. What is not a number is left out.

        How the service spells and nests them is not documented. A metric inside of another object is called
        ``outer.inner``, unless the outer one only groups metrics (``…Metric``, ``…Metrics``).
        """
        return dict(_numbers(self.model_extra or {}, MAX_DEPTH))


def _numbers(members: dict[str, Any], depth: int, prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in members.items():
        words = name.lower()
        if isinstance(value, dict):
            is_group = words.endswith(("metric", "metrics"))
            if depth:
                yield from _numbers(value, depth - 1, prefix if is_group else f"{prefix}{name}.")
        elif not words.endswith(_NO_METRIC) and (number := ratio(value)) is not None:
            yield f"{prefix}{name}", number


class EvalReport(Result):
    """What an evaluation has measured."""

    entries: RowList[EvalReportEntry]

    @model_validator(mode="before")
    @classmethod
    def _plain_list(cls, data: Any) -> Any:
        # The service answers with nothing but the list.
        if isinstance(data, list) or data is None:
            return {"entries": data}
        if isinstance(data, dict) and "entries" not in data:
            lists = [value for value in data.values() if isinstance(value, list)]
            return {"entries": lists[0] if len(lists) == 1 else [data] if data else []}
        return data

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """The metrics of each model version, or data set of results, by its id."""
        found: dict[str, dict[str, float]] = {}
        for entry in self.entries:
            found.setdefault(entry.subject, {}).update(entry.metric_values)
        return found

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        return {"metrics": self.metrics}

    def summary(self) -> list[str]:
        """Return the metrics, with a column for each model version."""
        found = self.metrics
        names = dict.fromkeys(name for metrics in found.values() for name in metrics)
        if not names:
            return ["The report holds no metrics."]
        rows = ((name, *(number(metrics.get(name)) for metrics in found.values())) for name in names)
        return table(("Metric", *(subject or "Value" for subject in found)), rows)


class DescribeEvalTaskReport(Request, Action[EvalReport]):
    """Show what an evaluation has measured. https://cloud.baidu.com/doc/qianfan-api/s/Ymm4un12j

    :param task_id: the task, ``ame-…``.
    """

    route: ClassVar[str] = ROUTE

    task_id: RequiredText
