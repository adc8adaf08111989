"""Answers that a test registers for Actions which the emulator does not know, or instead of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from airflow_qianfan.emulator.actions import Action, Call, is_reading
from airflow_qianfan.emulator.faults import is_progress, is_state, shows

Result = Any | Callable[[dict[str, Any]], Any]
"""What an Action returns: any JSON value, or a function that makes it from the body of the call."""


class Registration(BaseModel):
    """Body of ``POST /_emulator/answers``.

    :param route: path of the API, such as ``/v2/dataset``.
    :param action: name of the Action.
    :param result: the ``result`` of its answer.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    route: str = Field(pattern=r"^/[A-Za-z0-9._~/-]+$")
    action: str = Field(pattern=r"^[A-Za-z0-9]{1,64}$")
    result: Any


class Answers:
    """The registered answers. Not thread-safe: its owner holds a lock."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], tuple[Action, Result]] = {}

    def add(self, registration: Registration) -> None:
        """Register an answer; the last one for an Action holds.

        :raises ValueError: if the result is not JSON.
        """
        name, result = registration.action, registration.result
        reads = is_reading(name)
        if callable(result):
            # Nobody knows what a function will return: whatever reads may show a state.
            state = progress = reads
        else:
            result = _copy(result)
            state, progress = shows(result, is_state), shows(result, is_progress)
        action = Action(name, lambda call: _run(call, reads, result), reads, state, progress)
        self._entries[registration.route, name] = (action, result)

    def find(self, route: str, name: str) -> Action | None:
        """Return the registered Action with a name."""
        action, _ = self._entries.get((route, name), (None, None))
        return action

    def routes(self) -> set[str]:
        """Return the paths for which there is an answer."""
        return {route for route, _ in self._entries}

    def __iter__(self) -> Iterator[Action]:
        return (action for action, _ in self._entries.values())

    def rows(self) -> list[dict[str, Any]]:
        """Return the registered answers as JSON; of a function, only its name is shown."""
        return [
            {"route": route, "action": name, "result": _name(result) if callable(result) else result}
            for (route, name), (_, result) in self._entries.items()
        ]

    def clear(self) -> None:
        """Drop all registered answers."""
        self._entries.clear()


def _run(call: Call, reads: bool, result: Result) -> Any:
    call.ids.update({name: value for name, value in call.body.items() if name.endswith(("Id", "Ids"))})
    value = _copy(result(call.body) if callable(result) else result)
    call.effect = not reads
    return value


def _copy(value: Any) -> Any:
    """Return a JSON value that shares nothing with the one given, since faults change results.

    :raises ValueError: if it is not JSON.
    """
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the result must be JSON: {error}") from None


def _name(function: Callable[..., Any]) -> str:
    return f"function {getattr(function, '__name__', type(function).__name__)}"
