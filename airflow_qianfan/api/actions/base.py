"""What all Actions have in common: ``POST {route}?Action={name}`` with a JSON body, answered by a result."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Generic, TypeVar, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from airflow_qianfan.exceptions import QianfanValidationError

ResultT = TypeVar("ResultT", covariant=True)


def read_json(value: Any) -> Any:
    """Let a template pass an object or list as JSON text."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        try:
            return json.loads(value)
        except RecursionError:
            raise ValueError("nested too deeply") from None
    return value


def _none_to_empty(value: Any) -> Any:
    return () if value is None else value


def _check_json(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse what JSON cannot express, such as ``NaN``, here where the member has a name."""
    try:
        json.dumps(value, allow_nan=False)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except TypeError as error:
        raise ValueError(str(error)) from None
    return value


JsonObject = Annotated[dict[str, Any], BeforeValidator(read_json), AfterValidator(_check_json)]
"""An object that is passed through as it is; also accepted as JSON text."""

RequiredText = Annotated[str, Field(min_length=1)]

Item = TypeVar("Item")
RowList = Annotated[list[Item], BeforeValidator(_none_to_empty)]
"""A list that the service may leave out or send as null."""


_CONFIG = ConfigDict(
    alias_generator=to_camel,
    populate_by_name=True,
    extra="allow",
    frozen=True,
    defer_build=True,
    protected_namespaces=(),
    hide_input_in_errors=True,
)


_DOCUMENTED_NAMES: dict[str, str] = {}


class Member(BaseModel):
    """An object inside a request. Members that it does not know are passed through as written."""

    model_config = _CONFIG

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        for name, field in cls.model_fields.items():
            _DOCUMENTED_NAMES[name] = field.alias or to_camel(name)


class MemberError(ValueError):
    """A rule about several members of an object.

    :param message: what is wrong.
    :param members: which of them, as in the service's documentation.
    """

    def __init__(self, message: str, *members: str) -> None:
        super().__init__(message)
        self.members = members


class Result(BaseModel):
    """A result, or an object inside one. Members that it does not know are kept in ``model_extra``."""

    model_config = _CONFIG


class Action(Generic[ResultT]):
    """Where an Action is found and what its ``result`` is: ``class Name(Request, Action[ResultType])``."""

    action: ClassVar[str]
    """The Action's name, which is the name of its class."""

    route: ClassVar[str]

    result_type: ClassVar[Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.action = cls.__name__
        for base in getattr(cls, "__orig_bases__", ()):
            if get_origin(base) is Action:
                cls.result_type = get_args(base)[0]

    def body(self) -> dict[str, Any]:
        """Return the JSON body."""
        raise NotImplementedError

    def read_result(self, result: Any) -> ResultT:
        """Return the typed result of an answer's ``result``.

        :raises pydantic.ValidationError: it is of another type than the documents say.
        """
        typed: ResultT = _result_adapter(type(self)).validate_python(result)
        return typed


_ADAPTERS: dict[type[Action[Any]], TypeAdapter[Any]] = {}


def _result_adapter(action: type[Action[Any]]) -> TypeAdapter[Any]:
    if action not in _ADAPTERS:
        _ADAPTERS[action] = TypeAdapter(action.result_type)
    return _ADAPTERS[action]


class Request(Member):
    """The members of an Action's body; checked, when it is made, against what the official page states.

    :raises QianfanValidationError: a member breaks a rule; the error names it.
    """

    def __init__(self, **members: Any) -> None:
        try:
            super().__init__(**members)
        except ValidationError as error:
            raise _validation_error(type(self).__name__, error) from None

    def body(self) -> dict[str, Any]:
        """Return the JSON body, without the members that were left out."""
        # Not in pydantic's JSON mode, which makes null of NaN.
        return self.model_dump(by_alias=True, exclude_none=True)


def _validation_error(action: str, error: ValidationError) -> QianfanValidationError:
    texts, parameters = [], []
    for problem in error.errors(include_url=False, include_input=False):
        # A member may be given by its Python name, and is told by the one that the service's page has for it.
        path = [_DOCUMENTED_NAMES.get(str(part), str(part)) for part in problem["loc"]]
        members = getattr(problem.get("ctx", {}).get("error"), "members", ())
        names = [".".join((*path, member)) for member in members] or [".".join(path)]
        texts.append(f"{', '.join(names)}: {problem['msg'].removeprefix('Value error, ')}")
        parameters += names
    return QianfanValidationError(
        f"invalid request, not sent: {'; '.join(texts)}", action=action, parameters=tuple(parameters)
    )


class PagedRequest(Request):
    """The paging members that all lists share.

    :param marker: id of the first row wanted; None starts at the beginning.
    :param max_keys: rows of one page, at most 100.
    :param page_reverse: list in reverse order.
    """

    marker: str | None = None
    max_keys: int | None = Field(default=None, ge=1, le=100)
    page_reverse: bool | None = None


class PageInfo(Result):
    """Where a page stands in its list. ``next_marker`` is the id at which the next page starts."""

    marker: str | None = None
    max_keys: int | None = None
    is_truncated: bool = False
    next_marker: str | None = None


class Page(Result):
    """One page of a list."""

    id_member: ClassVar[str]
    """The member of a row that identifies it."""

    page_info: Annotated[PageInfo, BeforeValidator(lambda value: {} if value is None else value)] = Field(
        default_factory=PageInfo
    )

    @property
    def rows(self) -> list[Any]:
        """The rows of this page."""
        raise NotImplementedError
