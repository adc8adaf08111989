"""Faults on order: what goes wrong between a client and the service."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from airflow_qianfan.emulator.actions import Action

_OVERSIZE_BYTES = 17 << 20
_HIT = 1 << 30

Kind = Literal[
    "error",
    "false",
    "lost_answer",
    "malformed",
    "missing_progress",
    "numeric",
    "oversize",
    "redirect",
    "reset",
    "server_error",
    "stale",
    "throttle",
    "timeout",
    "unknown_status",
]
KEEPS_ANSWER = frozenset({"missing_progress", "stale", "timeout", "unknown_status"})
"""Kinds that let the action answer and only change or delay its answer."""


class Fault(BaseModel):
    """One ordered fault.

    :param kind: what happens.
    :param action: name of the action it hits, ``*`` for any.
    :param count: how many calls it hits; None for no end.
    :param probability: share of the matching calls that it hits, from 0 to 1.
    :param effect: whether the action takes effect although its answer is lost; only ``lost_answer``, and the
        kinds that keep the answer, do so by themselves.
    :param status: HTTP status of ``server_error`` (500), ``error`` (400), ``throttle`` (429) and
        ``redirect`` (307).
    :param code: code of ``error``, ``throttle`` and ``numeric`` (336100).
    :param message: message of ``error``, ``throttle`` and ``numeric``.
    :param seconds: how long ``timeout`` holds the answer (60), how old the answer of ``stale`` is (60).
    :param retry_after: value in seconds of the Retry-After header of ``throttle`` and ``server_error``.
    :param word: the status that ``unknown_status`` shows.
    :param location: where ``redirect`` points to.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    kind: Kind
    action: str = "*"
    count: int | None = Field(default=1, ge=1)
    probability: float = Field(default=1.0, ge=0, le=1)
    effect: bool = False
    status: int | None = Field(default=None, ge=200, le=599)
    code: str | int | None = None
    message: str | None = None
    seconds: float = Field(default=60.0, ge=0)
    retry_after: int | None = Field(default=None, ge=0)
    word: str = "Preparing"
    location: str = Field(default="http://127.0.0.1:9/", pattern=r"^[!-~]+$")

    def hits(self, action: Action) -> bool:
        """Tell whether the fault makes sense for an Action."""
        if self.action not in ("*", action.name):
            return False
        match self.kind:
            case "stale":
                return action.shows_past
            case "unknown_status":
                return action.shows_state
            case "missing_progress":
                return action.shows_progress
            case _:
                return True

    @property
    def takes_effect(self) -> bool:
        """Whether the action is carried out."""
        return self.effect or self.kind == "lost_answer" or self.kind in KEEPS_ANSWER


@dataclass
class Answer:
    """What goes over the wire.

    :param status: HTTP status; None to close the connection instead of answering.
    :param hold: seconds to wait before answering.
    """

    status: int | None
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hold: float = 0.0


class Faults:
    """The ordered faults, oldest first. Not thread-safe: its owner holds a lock.

    :param known: returns the Actions that exist.
    """

    def __init__(self, known: Callable[[], Iterable[Action]]) -> None:
        self._known = known
        self.orders: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Order a fault.

        :raises ValueError: if it could never hit.
        """
        if fault.action != "*" and not any(fault.hits(action) for action in self._known()):
            raise ValueError(f"the fault {fault.kind!r} cannot hit the action {fault.action!r}")
        self.orders.append(fault)

    def clear(self) -> None:
        """Drop all ordered faults."""
        self.orders.clear()

    def take(self, action: Action) -> Fault | None:
        """Return the first fault that hits this call, and count it."""
        for fault in self.orders:
            if fault.hits(action) and secrets.randbelow(_HIT) < fault.probability * _HIT:
                if fault.count is not None:
                    fault.count -= 1
                self.orders = [order for order in self.orders if order.count != 0]
                return fault
        return None


def fault_answer(fault: Fault, request_id: str) -> Answer:
    """Return the answer of a fault that does not keep the answer of the action."""
    match fault.kind:
        case "reset" | "lost_answer":
            return Answer(None)
        case "server_error":
            return Answer(fault.status or 500, headers=_retry_after(fault))
        case "throttle":
            body = _error(
                request_id, fault.code or "RequestLimitExceeded", fault.message or "Too many requests."
            )
            return Answer(fault.status or 429, body, _retry_after(fault))
        case "error":
            body = _error(request_id, fault.code or "InternalError", fault.message or "An ordered fault.")
            return Answer(fault.status or 400, body)
        case "numeric":
            code = 336100 if fault.code is None else fault.code
            message = fault.message or "the server is under high load, try again later"
            return Answer(200, _dump({"error_code": code, "error_msg": message, "log_id": request_id}))
        case "false":
            return Answer(200, _dump({"requestId": request_id, "result": False}))
        case "redirect":
            return Answer(fault.status or 307, headers={"Location": fault.location})
        case "oversize":
            return Answer(200, _dump({"requestId": request_id, "result": "x" * _OVERSIZE_BYTES}))
        case _:
            return Answer(200, f'{{"requestId": "{request_id}", "result": {{'.encode())


def change_result(fault: Fault, result: Any) -> Any:
    """Return the result of an action as a fault that keeps the answer shows it."""
    for row in _rows(result):
        for name in list(row):
            if fault.kind == "unknown_status" and is_state(name):
                row[name] = fault.word
            if fault.kind in ("unknown_status", "missing_progress") and is_progress(name):
                del row[name]
    return result


def is_state(member: str) -> bool:
    """Tell whether a member of a result shows a state: ``state``, ``status``, ``runStatus`` and the like."""
    return member == "state" or member.lower().endswith("status")


def is_progress(member: str) -> bool:
    """Tell whether a member of a result shows a progress: ``progress``, ``runProgress`` and the like."""
    return member.lower().endswith("progress")


def shows(result: Any, kind: Callable[[str], bool]) -> bool:
    """Tell whether a result, or a row of it, has a member of a kind."""
    return any(kind(name) for row in _rows(result) for name in row)


def _rows(result: Any) -> list[dict[str, Any]]:
    """Return the objects in a result: itself, those in its members, and the rows of its lists."""
    if isinstance(result, dict):
        lists = [value for value in result.values() if isinstance(value, list)]
        lists.append([value for value in result.values() if isinstance(value, dict)])
    else:
        lists = [result] if isinstance(result, list) else []
    rows = [row for rows in lists for row in rows if isinstance(row, dict)]
    return [result, *rows] if isinstance(result, dict) else rows


def _retry_after(fault: Fault) -> dict[str, str]:
    return {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}


def _error(request_id: str, code: str | int, message: str) -> bytes:
    return _dump({"requestId": request_id, "code": code, "message": message})


def _dump(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()
