"""Any Action that has no operator of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_qianfan.arguments import option, templated
from airflow_qianfan.operators.base.operator import QianfanOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class QianfanActionOperator(QianfanOperator):
    """Calls any Action, and returns the whole answer: ``requestId`` and ``result``.

    .. seealso::
        https://ai.baidu.com/ai-doc/WENXINWORKSHOP/um4uzml11
    """

    custom_operator_name = "Action"

    route: str = templated("such as ``/v2/dataset``.")
    action: str = templated("name of the Action, such as ``DescribeDatasets``.")
    body: Mapping[str, Any] | str | None = templated(
        "JSON body as the Action's page describes it, as a dict or as JSON text.", default=None, json=True
    )
    repeatable: bool | None = option(
        "whether it may be sent again when nobody knows whether it took effect; None decides by the verb "
        "at the beginning of its name: what only reads, stops or deletes may.",
        default=None,
    )

    def run_action(self, context: Context) -> dict[str, Any]:
        """Call the Action."""
        return self.hook.call_action(self.route, self.action, self._read_body(), repeatable=self.repeatable)

    def _read_body(self) -> Mapping[str, Any]:
        import json

        from airflow_qianfan.exceptions import QianfanValidationError

        body = self.body or {}
        if isinstance(body, str):
            try:
                body = json.loads(body)
            except (ValueError, RecursionError) as error:
                raise QianfanValidationError(
                    f"body is not JSON: {error}", action=self.action, parameters=("body",)
                ) from None
        if not isinstance(body, Mapping):
            raise QianfanValidationError(
                f"body must be an object, not {type(body).__name__}", action=self.action, parameters=("body",)
            )
        return body
