"""Lists."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_qianfan.arguments import airflow_option, option
from airflow_qianfan.operators.base.operator import QianfanRequestOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class QianfanRowsOperator(QianfanRequestOperator):
    """Calls an Action whose result is a list without pages. Returns a list of dicts."""

    multiple_outputs: bool = airflow_option("cannot be used: the return value is a list.", default=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.multiple_outputs:
            raise ValueError(f"{type(self).__name__} returns a list: leave multiple_outputs out")

    def run_action(self, context: Context) -> list[dict[str, Any]]:
        """List the rows."""
        return [row.output() for row in self.hook.call(self.make_request())]


class QianfanListOperator(QianfanRowsOperator):
    """Lists the rows of all pages. Returns a list of dicts."""

    limit: int | None = option(
        "how many rows at most, from as many pages as that takes; None for all.", default=1000
    )
    page_reverse: bool | None = option("list in reverse order.", default=None)

    def run_action(self, context: Context) -> list[dict[str, Any]]:
        """List the rows."""
        page_size = 100 if self.limit is None else max(1, min(self.limit, 100))
        request = self.make_request(max_keys=page_size, page_reverse=self.page_reverse)
        return [row.output() for row in islice(self.hook.iterate(request), self.limit)]
