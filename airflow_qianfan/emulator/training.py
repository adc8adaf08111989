"""A training as the emulator plays it: a job and its tasks."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from airflow_qianfan.api.signing import canonical_time
from airflow_qianfan.emulator.records import Record

if TYPE_CHECKING:
    from airflow_qianfan.emulator.store import View

NEVER = "0000-00-00T00:00:00Z"
WAITING_SHARE = 0.1
FAILING_SHARE = 0.55
MAX_CHECKPOINTS = 10

# Share of the running time and percentage shown: recorded runs rise fast and then stand still for long.
_PROGRESS = ((0.0, 1), (0.1, 3), (0.2, 34), (0.3, 41), (0.55, 41), (0.7, 65), (0.85, 96), (1.0, 99))


@dataclass(kw_only=True)
class Job(Record):
    """A fine-tuning job: trainings with the same base model and mode."""

    kind = "job"
    heading = "Jobs"
    columns = ("jobId", "name", "description", "model", "trainMode", "createTime")

    name: str
    description: str
    model: str
    train_mode: str

    def show(self, view: View) -> dict[str, Any]:
        return {
            "jobId": self.id,
            "name": self.name,
            "description": self.description,
            "model": self.model,
            "trainMode": self.train_mode,
            "createTime": canonical_time(self.created),
        }


@dataclass(kw_only=True)
class Task(Record):
    """One training run of a job. ``seconds`` is its length from creation to the end."""

    kind = "task"
    heading = "Trainings"
    columns = (
        "taskId",
        "jobName",
        "model",
        "trainMode",
        "runStatus",
        "runProgress",
        "createDate",
        "finishDate",
    )

    job_id: str
    parameter_scale: str
    seconds: float
    fails: bool
    text_generation: bool
    stopped: float | None = None

    def job(self, view: View) -> Job:
        """Return its job, which is only deleted together with it."""
        return view.store.table(Job)[self.job_id]

    @property
    def natural_end(self) -> float:
        """When the task is done or failed, if nobody stops it."""
        return self.created + self.seconds * (FAILING_SHARE if self.fails else 1.0)

    def end(self, now: float) -> float | None:
        """When the task ended, None while it has not."""
        end = self.natural_end if self.stopped is None else min(self.stopped, self.natural_end)
        return end if now >= end else None

    def status(self, now: float) -> str:
        """Return the ``runStatus`` at a time."""
        end = self.end(now)
        if end is None:
            return "Waiting" if now - self.created < WAITING_SHARE * self.seconds else "Running"
        if end < self.natural_end:
            return "Stopped"
        return "Failed" if self.fails else "Done"

    def progress(self, now: float) -> str:
        """Return the ``runProgress`` of a running task, such as ``51%``."""
        share = ((now - self.created) / self.seconds - WAITING_SHARE) / (1 - WAITING_SHARE)
        for (left, low), (right, high) in pairwise(_PROGRESS):
            if share <= right:
                return f"{int(low + (high - low) * max(0.0, share - left) / (right - left))}%"
        return "99%"

    def metrics(self) -> dict[str, str]:
        """Return the ``metrics`` of a finished task: the same ones each time."""
        if not self.text_generation:
            return {}
        digest = hashlib.sha256(self.id.encode()).digest()
        names = ("BLEU-4", "ROUGE-1", "ROUGE-2", "ROUGE-L")
        return {name: f"{10 + byte / 6.4:.2f}%" for name, byte in zip(names, digest, strict=False)}

    def checkpoints(self) -> list[dict[str, Any]]:
        """Return the ``checkpointList`` of a finished task: the same one each time."""
        digest = hashlib.sha256(self.id.encode()).digest()
        last = 150 + digest[4]
        wish = self.request.get("hyperParameterConfig", {}).get("saveStep")
        pace = wish if isinstance(wish, int) and wish > 0 else 64
        steps = [*range(pace, last, pace), last][-MAX_CHECKPOINTS:]
        start = 0.8 + digest[5] / 256
        losses = [round(start * math.exp(-step / 100), 4) for step in steps]
        return [
            {"step": step, "perplexity": round(math.exp(loss), 4), "trainingLoss": loss}
            for step, loss in zip(steps, losses, strict=True)
        ]

    def vdl_token(self) -> str:
        """Return what tells its VisualDL page from others."""
        run = "run-" + hashlib.sha256(self.id.encode()).hexdigest()[:16]
        return base64.b64encode(json.dumps({"runId": run}, separators=(",", ":")).encode()).decode()

    def vdl_link(self) -> str:
        """Return the address of the VisualDL page."""
        token = self.vdl_token()
        return f"https://console.bce.baidu.com/qianfan/visualdl/index?displayToken={token}"

    def show(self, view: View) -> dict[str, Any]:
        job = self.job(view)
        status, end = self.status(view.now), self.end(view.now)
        detail: dict[str, Any] = {
            "taskId": self.id,
            "jobId": job.id,
            "jobName": job.name,
            "jobDescription": job.description,
            "model": job.model,
            "trainMode": job.train_mode,
            "parameterScale": self.parameter_scale,
            "runStatus": status,
            "vdlLink": self.vdl_link(),
            "createDate": canonical_time(self.created),
            "finishDate": NEVER if end is None else canonical_time(end),
        }
        if status == "Running":
            detail["runProgress"] = self.progress(view.now)
        if status == "Done":
            detail["metrics"] = self.metrics()
            detail["checkpointList"] = self.checkpoints()
        return detail

    def console_path(self, view: View) -> str | None:
        mode = self.job(view).train_mode
        folder = {"PostPretrain": "postPretrain", "DPO": "dpo"}.get(mode, "sft")
        return f"/qianfan/train/{folder}/{self.job_id}/{self.id}/detail/traininglog"
