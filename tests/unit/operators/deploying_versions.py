"""Runs of a task that deploys a version, as a new service or behind one that exists."""

from __future__ import annotations

from typing import Any

from creating import SERVICE, SV, Kind, Work, call, new_model, new_model_set, new_version
from in_process import HOUR

from airflow_qianfan.operators.service import QianfanServiceOperator

DEPLOY = Kind(
    QianfanServiceOperator,
    {**SERVICE, "poll_interval": 600.0},
    "CreateService",
    "service_id",
    "qianfan_service",
    (SV, "DeactivateService", "serviceId"),
    ("model_id", new_version),
)


class Existing:
    """A task that updates a service which serves already."""

    def __init__(self, work: Work, **more: Any) -> None:
        self.work = work
        self.emulator = work.emulator
        self.service_id = work.attempt(1)
        self.old = self.show()["modelId"]
        self.arguments = {"service_id": self.service_id, "resource_config": None, "billing": None, **more}
        self.new = self.version("second")
        self.arguments |= self.new
        work.store.values.clear()
        work.xcoms.clear()
        self.before = len(self.emulator.journal)

    def version(self, name: str) -> dict[str, str]:
        model_set_id = new_model_set(name)
        made = {"model_set_id": model_set_id, "model_id": new_model(model_set_id)}
        self.emulator.advance(2 * HOUR)
        return made

    def run(self, number: int = 1, **more: Any) -> Any:
        return self.work.run(number, **{**self.arguments, **more})

    def show(self) -> dict[str, Any]:
        return call(SV, "DescribeService", serviceId=self.service_id)

    def orders(self) -> list[str]:
        """The versions that took effect, one after the other."""
        return [
            entry["ids"]["modelId"]
            for entry in self.emulator.journal[self.before :]
            if entry["action"] == "ModifyService" and entry["effect"]
        ]

    def sent(self) -> int:
        return sum(entry["action"] == "ModifyService" for entry in self.emulator.journal[self.before :])
