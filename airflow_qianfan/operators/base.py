"""What all operators share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import BaseOperator

from airflow_qianfan.exceptions import QianfanNotFoundError, QianfanOperationFailedError, QianfanRequestError
from airflow_qianfan.hooks.qianfan import QianfanHook

if TYPE_CHECKING:
    from airflow_qianfan.api.actions.base import Action, Page

IfMissing = Literal["fail", "ignore"]


class QianfanOperator(BaseOperator):
    """Calls one Action.

    Where the return value is a dict, each of its members is an XCom of its own too, so that
    ``create_job.output["fine_tuning_job_id"]`` works.

    :param qianfan_conn_id: id of the connection. (templated)
    :param kwargs: see ``BaseOperator``.
    """

    template_fields: Sequence[str] = ("qianfan_conn_id",)
    ui_color = "#e8eefc"

    def __init__(self, *, qianfan_conn_id: str = QianfanHook.default_conn_name, **kwargs: Any) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self.qianfan_conn_id = qianfan_conn_id

    @cached_property
    def hook(self) -> QianfanHook:
        """The hook of this task."""
        return QianfanHook(self.qianfan_conn_id)


class QianfanListOperator(QianfanOperator):
    """Lists the rows of all pages. The return value is a list of dicts.

    :param limit: how many rows at most, from as many pages as that takes; None for all.
    :param page_reverse: list in reverse order.
    :param kwargs: see :class:`QianfanOperator`.
    """

    def __init__(self, *, limit: int | None = 1000, page_reverse: bool | None = None, **kwargs: Any) -> None:
        super().__init__(**{"multiple_outputs": False, **kwargs})
        self.limit = limit
        self.page_reverse = page_reverse

    def paging(self) -> dict[str, Any]:
        """Return the paging members of the first request."""
        page_size = 100 if self.limit is None else max(1, min(self.limit, 100))
        return {"max_keys": page_size, "page_reverse": self.page_reverse}

    def rows(self, request: Action[Page]) -> list[dict[str, Any]]:
        """Return what a DAG works with of each row, ``limit`` rows at most."""
        return [row.output() for row in islice(self.hook.iterate(request), self.limit)]


class QianfanRemovalOperator(QianfanOperator):
    """Ends or deletes something that may be gone already.

    :param if_missing: ``fail`` where it does not exist, or ``ignore`` that and succeed.
    :param kwargs: see :class:`QianfanOperator`.
    """

    def __init__(self, *, if_missing: IfMissing = "fail", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if if_missing not in ("fail", "ignore"):
            raise ValueError(f"if_missing must be 'fail' or 'ignore', not {if_missing!r}")
        self.if_missing = if_missing

    def delete(self, request: Action[Any], describe: Action[Any] | None = None) -> bool:
        """Delete; return False where it did not exist and ``if_missing`` ignores that.

        :param request: the request that deletes.
        :param describe: a request that fails where the object does not exist. It decides when the service
            answers that it did nothing, or refuses.
        :raises QianfanNotFoundError: it does not exist, and ``if_missing`` does not ignore that.
        """
        lost = False
        try:
            try:
                self.hook.call(request)
            except (QianfanOperationFailedError, QianfanRequestError) as refusal:
                # What the service answers for what is gone is not documented: looking for it tells.
                lost = refusal.after_lost_answer
                if describe is None:
                    raise
                self.hook.call(describe)
                raise
        except QianfanNotFoundError as error:
            error.after_lost_answer = error.after_lost_answer or lost
            return self.accept_missing(error)
        return True

    def accept_missing(self, error: QianfanNotFoundError) -> bool:
        """Return whether it was this task that removed what is missing now.

        :raises QianfanNotFoundError: it was not, and ``if_missing`` does not ignore that.
        """
        if error.after_lost_answer:
            self.log.info("Gone: an earlier attempt, whose answer was lost, took effect.")
            return True
        if self.if_missing == "fail":
            raise error
        self.log.info("Gone already, as if_missing allows: %s", error.message)
        return False
