"""A service as the emulator plays it: a deployed model version, its updates and its use."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_qianfan.api.signing import canonical_time
from airflow_qianfan.emulator.actions import Route
from airflow_qianfan.emulator.records import Record

if TYPE_CHECKING:
    from airflow_qianfan.emulator.store import View

ROUTE = Route("/v2/service")

NEW_SHARE = 0.1
"""Share of the time until it serves during which a service waits for its resources."""

CHAT_PATH = "/v2/chat/completions"
V1_HOST = "https://aip.baidubce.com/rpc/2.0/ai_custom/v1/wenxinworkshop/chat"
V2_URL = f"https://qianfan.baidubce.com{CHAT_PATH}"

PAY_TYPES = {"Prepaid": "Prepay", "Postpaid": "Postpay"}
"""How Describe and lists call what Create calls otherwise."""


@dataclass(kw_only=True)
class Service(Record):
    """A service. ``seconds`` is the time until it serves.

    :param versions: the versions that were put behind it, oldest first: ``model_set_id``, ``model_id``,
        ``base_model``, ``since`` when it was told to, ``ready`` when it is done, and ``fails``, which tells
        whether that ends with the version before.
    :param stopped: when it was taken off line.
    :param units: replicas by the id of the compute unit that holds them.
    :param usage: by the minute: calls that succeeded, that failed, input tokens, output tokens.
    """

    kind = "service"
    heading = "Services"
    columns = ("serviceId", "name", "modelId", "endpoint", "runStatus", "updateStatus", "createTime")

    name: str
    description: str
    endpoint: str
    protocol_version: int
    charge_type: str
    pay_type: str
    resource: dict[str, Any]
    seconds: float
    fails: bool
    versions: list[dict[str, Any]]
    instance_id: str
    shows_update_at_once: bool = False
    stopped: float | None = None
    units: dict[str, int] = field(default_factory=dict)
    log_store: dict[str, Any] | None = None
    usage: dict[str, list[int]] = field(default_factory=dict)

    def status(self, now: float) -> str:
        """Return the ``runStatus`` at a time."""
        if self.stopped is not None and now >= self.stopped:
            return "Stopped"
        if now >= self.created + self.seconds:
            return "Failed" if self.fails else "Serving"
        return "New" if now < self.created + NEW_SHARE * self.seconds else "Deploying"

    def is_updating(self, now: float) -> bool:
        """Tell whether another version is just being put behind it."""
        known = [version for version in self.versions if version["since"] <= now]
        return bool(known) and now < known[-1]["ready"]

    def version(self, now: float) -> dict[str, Any]:
        """Return the version that answers at a time."""
        served = [
            version for version in self.versions[1:] if version["ready"] <= now and not version["fails"]
        ]
        return served[-1] if served else self.versions[0]

    def shown_version(self, now: float) -> dict[str, Any]:
        """Return the version that Describe shows; while an update goes on, that is the old or the new one."""
        if self.shows_update_at_once and self.is_updating(now):
            return [version for version in self.versions if version["since"] <= now][-1]
        return self.version(now)

    def serves_since(self) -> float:
        """Return when it began to serve."""
        return self.created + self.seconds

    def show(self, view: View) -> dict[str, Any]:
        version = self.shown_version(view.now)
        is_v2 = self.protocol_version == 2
        return {
            "serviceId": self.id,
            "name": self.name,
            "description": self.description,
            "modelSetId": version["model_set_id"],
            "modelId": version["model_id"],
            "baseModel": version["base_model"],
            "url": V2_URL if is_v2 else f"{V1_HOST}/{self.endpoint}",
            "endpoint": self.endpoint,
            "serviceType": "chat",
            "runStatus": self.status(view.now),
            "updateStatus": "Updating" if self.is_updating(view.now) else "None",
            "chargeType": self.charge_type,
            "payType": self.pay_type,
            "chargeStatus": "Opened",
            "resourceConfig": self.resource,
            "createTime": canonical_time(self.created),
        }

    def count(self, now: float, *, tokens: tuple[int, int] | None) -> None:
        """Note a call: its input and output tokens, None where it was refused."""
        minute = self.usage.setdefault(str(int(now // 60) * 60), [0, 0, 0, 0])
        if tokens is None:
            minute[1] += 1
            return
        minute[0] += 1
        minute[2] += tokens[0]
        minute[3] += tokens[1]

    def metric(self, start: float, end: float) -> dict[str, int]:
        """Return what was counted in the minutes from one time to another."""
        rows = [counts for minute, counts in self.usage.items() if start <= float(minute) <= end]
        good, bad, sent, received = (sum(row[place] for row in rows) for place in range(4))
        return {
            "inputTokensTotal": sent,
            "outputTokensTotal": received,
            "tokensTotal": sent + received,
            "succeedCallTotal": good,
            "failureCallTotal": bad,
            "callTotal": good + bad,
        }


def new_endpoint(suffix: str) -> str:
    """Return a new API address: 8 random characters and the suffix that was asked for."""
    alphabet = string.ascii_lowercase + string.digits
    return "".join(secrets.choice(alphabet) for _ in range(8)) + f"_{suffix}"
