"""What a broken rule of a pydantic model says to a person: the rule, the value, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

_MAX_SHOWN = 40

Limits = Mapping[str, Any]


def explain(problem: ErrorDetails, model: type[BaseModel], *, is_secret: bool = False) -> str:
    """Return what is wrong with a parameter, without its name.

    :param problem: one of ``ValidationError.errors()``.
    :param model: the model that was validated.
    :param is_secret: whether the value must not be shown.
    """
    rule = _RULES.get(problem["type"])
    if rule is None:
        return problem["msg"]
    limits = {**problem.get("ctx", {}), **_limits_of(_field(model, problem["loc"]))}
    value = problem["input"]
    text = rule(limits, value)
    if is_secret or problem["type"] in _SHOW_NO_VALUE:
        return text
    return f"{text}, not {shown(value)}{_suggestion(limits, value)}"


def shown(value: Any) -> str:
    """Return a value as a message shows it: shortened, and objects and lists as nothing but their type."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, (str, int, float)):
        text = value if isinstance(value, str) else str(value)
        text = text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"
        return repr(text) if isinstance(value, str) else text
    return type(value).__name__


def _range(limits: Limits, low: str, high: str) -> str:
    least, most = limits.get(low), limits.get(high)
    if least is not None and most is not None:
        return f"{least:g} to {most:g}"
    return f"at least {least:g}" if most is None else f"at most {most:g}"


def _length(limits: Limits, text: str) -> str:
    if not text:
        return "must not be empty; give it a value"
    remedy = "shorten it" if len(text) > limits.get("max_length", len(text)) else "make it longer"
    allowed = _range(limits, "min_length", "max_length")
    return f"must have {allowed} characters, has {len(text)} ({shown(text)}); {remedy}"


def _count(limits: Limits, value: Any) -> str:
    count = limits.get("actual_length", len(value))
    allowed = _range(limits, "min_length", "max_length")
    entries = "entry" if allowed.endswith(" 1") else "entries"
    remedy = "leave some out" if count > limits.get("max_length", count) else "add one"
    return f"must have {allowed} {entries}, has {count}; {remedy}"


def _number(limits: Limits, value: Any) -> str:
    for name, word in (("gt", "above"), ("lt", "below")):
        if name in limits:
            return f"must be {word} {limits[name]:g}"
    return f"must be {_range(limits, 'ge', 'le')}"


def _says(text: str) -> Callable[[Limits, Any], str]:
    return lambda limits, value: text


def _own(limits: Limits, value: Any) -> str:
    return str(limits["error"])


_SHOW_NO_VALUE = frozenset(
    {
        "missing",
        "extra_forbidden",
        "value_error",
        "string_too_short",
        "string_too_long",
        "too_short",
        "too_long",
    }
)

_RULES: Mapping[str, Callable[[Limits, Any], str]] = {
    "missing": _says("is missing; give it a value"),
    "extra_forbidden": _says("is not known; check its spelling"),
    "value_error": _own,
    "literal_error": lambda limits, value: f"must be {limits['expected']}",
    "string_too_short": _length,
    "string_too_long": _length,
    "too_short": _count,
    "too_long": _count,
    **dict.fromkeys(("greater_than", "greater_than_equal", "less_than", "less_than_equal"), _number),
    **dict.fromkeys(("string_type", "string_sub_type", "string_unicode"), _says("must be text")),
    **dict.fromkeys(
        ("int_type", "int_parsing", "int_from_float", "int_parsing_size"), _says("must be a whole number")
    ),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), _says("must be a number")),
    **dict.fromkeys(("bool_type", "bool_parsing"), _says("must be true or false")),
    **dict.fromkeys(
        ("dict_type", "model_type", "model_attributes_type"), _says("must be an object, or one as JSON text")
    ),
    "list_type": _says("must be a list, or one as JSON text"),
}
"""By the type of pydantic's error; of any other type, pydantic's own text is shown."""


def _suggestion(limits: Limits, value: Any) -> str:
    if "expected" not in limits or not isinstance(value, str):
        return ""
    allowed = {word.lower(): word for word in limits["expected"].split("'")[1::2]}
    near = get_close_matches(value.lower(), allowed, n=1)
    return f"; did you mean {allowed[near[0]]!r}?" if near else ""


def _field(model: type[BaseModel] | None, path: tuple[int | str, ...]) -> FieldInfo | None:
    """Return the field of a model, or of the models inside it, that a problem is about."""
    field = None
    for part in path:
        if isinstance(part, str):
            fields = model.model_fields if model else {}
            field = next((each for name, each in fields.items() if part in (name, each.alias)), None)
            model = _model_in(field.annotation) if field else None
    return field


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)


def _limits_of(field: FieldInfo | None) -> dict[str, Any]:
    names = ("min_length", "max_length", "ge", "gt", "le", "lt")
    return {
        name: limit
        for rule in (field.metadata if field else ())
        for name in names
        if (limit := getattr(rule, name, None)) is not None
    }
