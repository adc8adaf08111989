"""What all Actions share: registration, the call they answer, reading its body, cutting a list into pages."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from airflow_qianfan.emulator.assumptions import Assumptions
from airflow_qianfan.emulator.errors import ApiError, Refusal, bad_parameter
from airflow_qianfan.emulator.records import Record
from airflow_qianfan.emulator.store import RecordT, View

DEFAULT_PAGE = 10
LARGEST_PAGE = 100
_MAX_DEPTH = 64

NO_RESULT: Any = object()
"""What an Action returns whose answer has no ``result``."""

Text = Annotated[str, Field(min_length=1)]


@dataclass(kw_only=True)
class Call(View):
    """One call of an Action.

    :param body: the JSON object that was sent.
    :param assumptions: what the documents leave open.
    :param task_seconds: how long a new task takes.
    :param model_seconds: how long a new model takes.
    :param ids: filled by the Action: the objects it was about, for the journal.
    :param effect: set by the Action if it changed something.
    :param strict: whether to refuse what the documents' tables of models exclude, and unknown data sets.
    """

    body: dict[str, Any]
    assumptions: Assumptions
    task_seconds: float
    model_seconds: float
    ids: dict[str, Any] = field(default_factory=dict)
    effect: bool = False
    strict: bool = False

    def find(self, cls: type[RecordT], member: str, record_id: str) -> RecordT:
        """Return the record with the id that a member of the body holds.

        :raises ApiError: if there is none.
        """
        self.ids[member] = record_id
        record = self.get(cls, record_id)
        if record is None:
            raise self.missing(member)
        return record

    def put(self, record: Record) -> None:
        """Add or change a record."""
        self.effect = True
        self.store.put(record)

    def remove(self, record: Record) -> None:
        """Delete a record."""
        self.effect = True
        self.store.remove(record)

    def missing(self, member: str) -> ApiError:
        """Return the error for a member of the body that names nothing."""
        return ApiError(self.assumptions.missing, f"The {member} does not exist.")

    def duplicate(self, message: str) -> ApiError:
        """Return the error for a name that is taken."""
        return ApiError(self.assumptions.duplicate_name, message)

    def wrong_state(self, message: str) -> ApiError:
        """Return the error for an object that is in the wrong state."""
        return ApiError(self.assumptions.wrong_state, message)


Run = Callable[[Call], Any]
"""Answers a call with the ``result`` of the envelope, or raises ApiError."""


@dataclass(frozen=True)
class Action:
    """What the emulator knows about an Action.

    :param name: its name.
    :param run: answers a call.
    :param reads: whether a key that may only read may use it.
    :param shows_state: whether its result, or rows of it, show the state of objects.
    :param shows_progress: whether they show a progress, too.
    :param shows_past: whether it can answer as it would have some time ago.
    """

    name: str
    run: Run
    reads: bool
    shows_state: bool = False
    shows_progress: bool = False
    shows_past: bool = False


def is_reading(name: str) -> bool:
    """Tell by the name of an Action whether it changes nothing."""
    return name.startswith("Describe")


class Route:
    """A path of the API with its Actions.

    :param path: such as ``/v2/model``.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.actions: dict[str, Action] = {}

    def action(
        self,
        name: str,
        *,
        shows_state: bool = False,
        shows_progress: bool = False,
        needs_write_policy: bool = False,
    ) -> Callable[[Run], Run]:
        """Register the decorated function as the answer of an Action.

        :param name: its name.
        :param shows_state: see Action.
        :param shows_progress: see Action.
        :param needs_write_policy: whether a key that may only read is refused although the Action only reads.
        """

        def register(run: Run) -> Run:
            past = is_reading(name)
            reads = past and not needs_write_policy
            self.actions[name] = Action(name, run, reads, shows_state, shows_progress, shows_past=past)
            return run

        return register


class Body(BaseModel):
    """A request body: exact JSON types, unrecognised members ignored, null the same as absent."""

    model_config = ConfigDict(
        strict=True, extra="ignore", alias_generator=to_camel, allow_inf_nan=False, hide_input_in_errors=True
    )


class Page(Body):
    """The members with which a list is paged."""

    marker: str | None = None
    max_keys: int | None = Field(default=None, ge=1)
    page_reverse: bool | None = None


BodyT = TypeVar("BodyT", bound=Body)


def parse_json(data: bytes) -> dict[str, Any]:
    """Return the JSON object of a request body; no body at all stands for an empty object.

    :raises ApiError: if it is not JSON, not an object, or nested too deeply to be meant seriously.
    """
    try:
        value = json.loads(data.decode() or "{}", parse_constant=_no_constant, parse_float=_finite)
        _check(value)
    except (ValueError, RecursionError):
        raise ApiError(Refusal(400, "MalformedJSON"), "The body is not valid JSON.") from None
    if not isinstance(value, dict):
        raise bad_parameter("body")
    return value


def parse(cls: type[BodyT], body: dict[str, Any]) -> BodyT:
    """Check a request body.

    :raises ApiError: naming the member that is missing or unsuitable.
    """
    try:
        return cls.model_validate(body)
    except ValidationError as error:
        location = error.errors(include_url=False, include_context=False, include_input=False)[0]["loc"]
        names = [name for name in location if isinstance(name, str)]
        raise bad_parameter(names[-1]) from None


class HasId(Protocol):
    """What a list can show."""

    @property
    def id(self) -> str:
        """Its id, which may be a marker."""


RowT = TypeVar("RowT", bound=HasId)


def page(records: Sequence[RowT], request: Page, newest_first: bool) -> tuple[list[RowT], dict[str, Any]]:
    """Return the records of one page and its ``pageInfo``.

    :param records: all of them, oldest first.
    :param request: which page.
    :param newest_first: the order without ``pageReverse``.
    """
    ordered = list(records)
    if newest_first != bool(request.page_reverse):
        ordered.reverse()
    start = 0
    if request.marker:
        ids = [record.id for record in ordered]
        if request.marker not in ids:
            raise bad_parameter("marker")
        start = ids.index(request.marker)
    size = min(request.max_keys or DEFAULT_PAGE, LARGEST_PAGE)
    info: dict[str, Any] = {
        "marker": request.marker or "",
        "maxKeys": size,
        "isTruncated": start + size < len(ordered),
    }
    if info["isTruncated"]:
        info["nextMarker"] = ordered[start + size].id
    return ordered[start : start + size], info


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("number out of range")
    return value


def _check(value: Any, depth: int = 0) -> None:
    """Refuse what could not be written back: half a surrogate pair, or too much depth."""
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, dict):
        for name, item in value.items():
            name.encode()
            _check(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)
