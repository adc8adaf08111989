"""What the service remembers. The state of a task or model is computed from its times, never stored."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import secrets
import string
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar

from airflow_qianfan.api.signing import canonical_time

NEVER = "0000-00-00T00:00:00Z"
WAITING_SHARE = 0.1
FAILING_SHARE = 0.55
MAX_CHECKPOINTS = 10

# Share of the running time and percentage shown: recorded runs rise fast and then stand still for long.
_PROGRESS = ((0.0, 1), (0.1, 3), (0.2, 34), (0.3, 41), (0.55, 41), (0.7, 65), (0.85, 96), (1.0, 99))


def new_id(prefix: str) -> str:
    """Return a new id: prefix, hyphen and 12 characters."""
    alphabet = string.ascii_lowercase + string.digits
    return f"{prefix}-" + "".join(secrets.choice(alphabet) for _ in range(12))


def china_time(timestamp: float) -> str:
    """Return a time stamp in the form of the model actions: Beijing time with its offset."""
    return time.strftime("%Y-%m-%dT%H:%M:%S+08:00", time.gmtime(timestamp + 8 * 3600))


@dataclass
class Job:
    """A fine-tuning job. Times of all records are seconds since the epoch."""

    kind: ClassVar[str] = "job"
    id: str
    name: str
    description: str
    model: str
    train_mode: str
    created: float
    request: dict[str, Any]


@dataclass
class Task:
    """One training run of a job. ``seconds`` is its length from creation to the end."""

    kind: ClassVar[str] = "task"
    id: str
    job_id: str
    parameter_scale: str
    created: float
    seconds: float
    fails: bool
    text_generation: bool
    request: dict[str, Any]
    stopped: float | None = None

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

    def vdl_link(self) -> str:
        """Return the address of the VisualDL page."""
        run = "run-" + hashlib.sha256(self.id.encode()).hexdigest()[:16]
        token = base64.b64encode(json.dumps({"runId": run}, separators=(",", ":")).encode()).decode()
        return f"https://console.bce.baidu.com/qianfan/visualdl/index?displayToken={token}"


@dataclass
class ModelSet:
    """A model ("my model" in the console) with its versions."""

    kind: ClassVar[str] = "model_set"
    id: str
    name: str
    model_type: str
    labels: list[str]
    created: float
    modified: float
    versions_made: int = 0


@dataclass
class Model:
    """A version of a model. ``seconds`` is the time it takes to become ready."""

    kind: ClassVar[str] = "model"
    id: str
    model_set_id: str
    name: str
    description: str
    base_model: str
    application_type: str
    source: dict[str, Any]
    created: float
    seconds: float
    fails: bool
    request: dict[str, Any] = field(default_factory=dict)

    def status(self, now: float) -> str:
        """Return the ``status`` at a time."""
        if now < self.created + self.seconds:
            return "Creating"
        return "Fail" if self.fails else "Ready"


Record = Job | Task | ModelSet | Model


def finish_date(task: Task, now: float) -> str:
    """Return the ``finishDate`` of a task, the zero date while it has not ended."""
    end = task.end(now)
    return NEVER if end is None else canonical_time(end)
