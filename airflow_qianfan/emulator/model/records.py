"""What ``/v2/model`` keeps: models with their versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_qianfan.emulator.records import Record, china_time

if TYPE_CHECKING:
    from airflow_qianfan.emulator.store import View


@dataclass(kw_only=True)
class ModelSet(Record):
    """A model ("my model" in the console) with its versions."""

    kind = "model_set"
    heading = "Models"
    columns = ("modelSetId", "modelSetName", "modelType", "modelNames", "createTime")

    name: str
    model_type: str
    labels: list[str]
    modified: float
    versions_made: int = 0

    def show(self, view: View) -> dict[str, Any]:
        models = [model for model in view.all(Model) if model.model_set_id == self.id]
        models.reverse()
        return {
            "modelSetId": self.id,
            "modelSetName": self.name,
            "modelType": self.model_type,
            "labels": self.labels,
            "createTime": china_time(self.created),
            "modifyTime": china_time(self.modified),
            "modelIds": [model.id for model in models],
            "modelNames": [model.name for model in models],
        }


@dataclass(kw_only=True)
class Model(Record):
    """A version of a model. ``seconds`` is the time it takes to become ready."""

    kind = "model"
    heading = "Model versions"
    columns = ("modelId", "modelName", "model", "status", "createTime")

    model_set_id: str
    name: str
    description: str
    base_model: str
    application_type: str
    source: dict[str, Any]
    seconds: float
    fails: bool

    def status(self, now: float) -> str:
        """Return the ``status`` at a time."""
        if now < self.created + self.seconds:
            return "Creating"
        return "Fail" if self.fails else "Ready"

    def can_be_compressed(self, now: float) -> bool:
        """Tell whether a compression may start from it at a time: which models can is not documented."""
        is_small = self.source["sourceType"] == "Acceleration"
        return (
            self.status(now) == "Ready" and self.application_type in ("chat", "completion") and not is_small
        )

    def show(self, view: View) -> dict[str, Any]:
        status = self.status(view.now)
        detail: dict[str, Any] = {
            "modelSetId": self.model_set_id,
            "modelId": self.id,
            "modelName": self.name,
            "status": status,
            "model": self.base_model,
            "sourceInfo": self.source,
            "createTime": china_time(self.created),
            "modifyTime": china_time(self.created if status == "Creating" else self.created + self.seconds),
            "modelApplicationType": self.application_type,
            "tokenLimitations": {"trivial": {"inputTokens": 8192}},
            "isSupportDeploy": status == "Ready",
            "isSupportModelComp": self.can_be_compressed(view.now),
            "isSupportEvaluation": status == "Ready",
            "capabilities": [],
        }
        if self.description:
            detail["description"] = self.description
        return detail
