"""Waits for a model version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_qianfan.triggers.base import Observation, QianfanTrigger

if TYPE_CHECKING:
    from airflow_qianfan.api.actions.model import DescribeModel, Model


class QianfanModelTrigger(QianfanTrigger):
    """Looks at a model version until it is Ready or has failed.

    :param model_id: the version, ``amv-…``.
    :param kwargs: see :class:`airflow_qianfan.triggers.base.QianfanTrigger`.
    """

    def __init__(self, *, model_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model_id = model_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments."""
        path, arguments = super().serialize()
        return path, {"model_id": self.model_id, **arguments}

    def ids(self) -> dict[str, str]:
        """Return the id of the version."""
        return {"model_id": self.model_id}

    def request(self) -> DescribeModel:
        """Return the request that reads the state."""
        from airflow_qianfan.api.actions.model import DescribeModel

        return DescribeModel(model_id=self.model_id)

    def observe(self, result: Model) -> Observation:
        """Return what the state of the version means."""
        from airflow_qianfan.api.actions.model import MODEL_LIST_URL, ModelStatus

        return Observation(
            what=f"Model {self.model_id}",
            state=result.status_text or "",
            is_known=result.status is not ModelStatus.UNKNOWN,
            is_terminal=result.status.is_terminal,
            is_success=result.status is ModelStatus.READY,
            progress=None,
            output={**result.output(), "console_url": MODEL_LIST_URL},
        )
