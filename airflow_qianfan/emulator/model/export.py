"""Exports of model versions. They are described by the id of the version, not by their own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_qianfan.emulator.actions import Call, parse
from airflow_qianfan.emulator.model.model_set import ROUTE
from airflow_qianfan.emulator.model.records import Model
from airflow_qianfan.emulator.model.version import ModelId
from airflow_qianfan.emulator.records import Record, china_time, new_id

if TYPE_CHECKING:
    from airflow_qianfan.emulator.store import View


@dataclass(kw_only=True)
class ModelExport(Record):
    """An export. ``seconds`` is the time it takes; ``keeps_record`` tells whether a failed one is shown."""

    kind = "model_export"
    heading = "Exports"
    columns = ("exportId", "modelId", "status", "fileName", "createTime")

    model_id: str
    seconds: float
    fails: bool
    keeps_record: bool

    def status(self, now: float) -> str:
        """Return the ``status`` at a time; an empty text where the service shows no record of it."""
        if now < self.created + self.seconds:
            return "Doing"
        if not self.fails:
            return "Done"
        return "Fail" if self.keeps_record else ""

    def detail(self, now: float) -> dict[str, Any]:
        """Return it as the Action describes it."""
        status = self.status(now)
        if not status:
            return {"hasRecord": False}
        detail: dict[str, Any] = {"exportId": self.id, "hasRecord": True, "status": status}
        if status == "Done":
            digest = hashlib.sha256(self.model_id.encode()).digest()
            detail |= {
                "fileName": f"{self.model_id}.tar.gz",
                "fileType": "tar.gz",
                "md5": digest[:16].hex(),
                "fileSize": 1_000_000 + digest[0],
                "downloadUrl": f"https://bj.bcebos.com/qianfan-export/{self.model_id}.tar.gz"
                f"?authorization=bce-auth-v1/emulator/{digest.hex()}",
            }
        return detail

    def show(self, view: View) -> dict[str, Any]:
        return {**self.detail(view.now), "modelId": self.model_id, "createTime": china_time(self.created)}


@ROUTE.action("CreateModelExportTask")
def create_export(call: Call) -> Any:
    model = call.find(Model, "modelId", parse(ModelId, call.body).model_id)
    if model.status(call.now) != "Ready":
        raise call.wrong_state("The model version is not ready.")
    export = ModelExport(
        id=new_id("ame"),
        model_id=model.id,
        created=call.now,
        seconds=call.model_seconds,
        fails=call.assumptions.exports_fail,
        keeps_record=call.assumptions.failed_export == "Fail",
        request=call.body,
    )
    call.put(export)
    call.ids["exportId"] = export.id
    return {"exportId": export.id}


@ROUTE.action("DescribeModelExportTask", shows_state=True, needs_write_policy=True)
def describe_export(call: Call) -> Any:
    model = call.find(Model, "modelId", parse(ModelId, call.body).model_id)
    exports = [export for export in call.all(ModelExport) if export.model_id == model.id]
    return exports[-1].detail(call.now) if exports else {"hasRecord": False}
