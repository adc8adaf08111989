"""Any Action that has no operator of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_qianfan.operators.base import QianfanOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class QianfanActionOperator(QianfanOperator):
    """Calls any Action, and returns the whole answer: ``requestId`` and ``result``.

    .. seealso::
        https://ai.baidu.com/ai-doc/WENXINWORKSHOP/um4uzml11

    :param route: such as ``/v2/dataset``. (templated)
    :param action: name of the Action, such as ``DescribeDatasets``. (templated)
    :param body: JSON body as the Action's page describes it, as a dict or as JSON text. (templated)
    :param repeatable: whether it may be sent again when nobody knows whether it took effect; None decides by
        the name: Describe, Stop, Delete and Cancel may.
    :param kwargs: see :class:`airflow_qianfan.operators.base.QianfanOperator`.
    """

    template_fields: Sequence[str] = (*QianfanOperator.template_fields, "route", "action", "body")
    template_fields_renderers = {"body": "json"}

    def __init__(
        self,
        *,
        route: str,
        action: str,
        body: Mapping[str, Any] | str | None = None,
        repeatable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.route = route
        self.action = action
        self.body = body
        self.repeatable = repeatable

    def execute(self, context: Context) -> dict[str, Any]:
        """Call the Action.

        :raises QianfanError: it failed; see :mod:`airflow_qianfan.exceptions`.
        """
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
