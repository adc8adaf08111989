"""How operators and sensors state their arguments: each once, with its type, default and meaning.

An annotated class attribute with one of the functions below as its value is an argument. ``__init__``, its
signature, the template fields, the documentation of the parameters and, in operators, the request follow from
it. Editors and type checkers see the whole signature, with Airflow's own arguments, as they do for
dataclasses.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, TypeGuard, dataclass_transform

from airflow_qianfan.exceptions import QianfanValidationError
from airflow_qianfan.settings import setting

REQUIRED: Any = inspect.Parameter.empty


class Argument(NamedTuple):
    """What is known of an argument. (A dataclass takes 1 ms longer to import.)

    :param doc: what it means, for the documentation.
    :param default: its default; :data:`REQUIRED` where there is none.
    :param member: the member of the request that it becomes; None where it becomes none.
    :param is_templated: whether Airflow renders templates in it.
    :param is_json: whether it is an object, which Airflow's UI shows as JSON.
    :param for_airflow: whether it is one of Airflow's own, passed on.
    :param length: fewest and most characters of a text.
    :param setting: the setting of Airflow's configuration that None stands for.
    :param choices: the words that its type allows, where that is a ``Literal``; see :func:`_choices`.
    """

    doc: str
    default: Any
    member: str | None = None
    is_templated: bool = False
    is_json: bool = False
    for_airflow: bool = False
    length: tuple[int, int] | None = None
    setting: str | None = None
    choices: tuple[str | None, ...] = ()


def member(
    doc: str,
    *,
    default: Any = REQUIRED,
    name: str = "",
    json: bool = False,
    length: tuple[int, int] | None = None,
) -> Any:
    """State a templated argument that becomes a member of the request.

    :param doc: what it means.
    :param default: its default; without one it is required.
    :param name: the member's name, where it is another one than the argument's.
    :param json: whether it is an object or a list, or JSON text that stands for one.
    :param length: fewest and most characters. A text without a template is refused when the DAG is parsed.
    """
    return Argument(doc, default, member=name, is_templated=True, is_json=json, length=length)


def templated(doc: str, *, default: Any = REQUIRED, json: bool = False) -> Any:
    """State a templated argument that the operator itself uses; see :func:`member`."""
    return Argument(doc, default, is_templated=True, is_json=json)


def option(doc: str, *, default: Any, setting: str | None = None) -> Any:
    """State an argument that is not templated and not a member of the request.

    :param doc: what it means.
    :param default: its default. It is always written: type checkers take one without it for required.
    :param setting: the setting in section ``[qianfan]`` of Airflow's configuration that None stands for.
    """
    return Argument(doc, default, setting=setting)


def airflow_option(doc: str, *, default: Any, setting: str | None = None) -> Any:
    """State one of Airflow's own arguments, to give it another default; see :func:`option`."""
    return Argument(doc, default, setting=setting, for_airflow=True)


_SELF = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
_KWARGS = inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD, annotation="Any")


@dataclass_transform(kw_only_default=True, field_specifiers=(member, templated, option, airflow_option))
class DeclaresArguments:
    """Base of all operators and sensors. Subclasses state arguments; see the text of this module.

    A subclass with checks or a state of its own puts them into ``__post_init__``, which runs once after all
    arguments are set, and calls that of its base.
    """

    arguments: ClassVar[dict[str, Argument]] = {}
    """All arguments of this class but Airflow's own, by name; its own before those of its bases."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        annotations = cls.__annotations__
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Argument)}
        for name, value in own.items():
            choices = _choices(annotations.get(name))
            if not choices and name in cls.arguments:
                choices = cls.arguments[name].choices
            if choices:
                own[name] = value._replace(choices=choices)
        for name in own:
            # The value belongs to an instance; on the class it would hide that one is missing.
            delattr(cls, name)
        cls._own_arguments = own
        cls._own_parameters = {name: _parameter(cls, name, argument) for name, argument in own.items()}
        # What is there already stays, and keeps its place.
        cls.arguments, parameters = dict(own), dict(cls._own_parameters)
        for base in cls.__mro__[1:]:
            if stated := base.__dict__.get("_own_arguments"):
                of_base = base.__dict__["_own_parameters"]
                for name, argument in stated.items():
                    if name not in parameters:
                        cls.arguments[name], parameters[name] = argument, of_base[name]
        if "template_fields" not in vars(cls):
            given = getattr(cls, "template_fields", ())
            mine = (name for name, argument in cls.arguments.items() if argument.is_templated)
            cls.template_fields = tuple(dict.fromkeys((*given, *mine)))
        renderers = {name: "json" for name, argument in cls.arguments.items() if argument.is_json}
        cls.template_fields_renderers = {**getattr(cls, "template_fields_renderers", {}), **renderers}
        # With nothing to add, that of its only base does.
        cls._has_made_init = "__init__" not in vars(cls) and bool(own or len(cls.__bases__) > 1)
        if cls._has_made_init:
            cls.__init__ = _make_init(cls, own, parameters)  # type: ignore[method-assign]
        cls.__doc__ = _Documentation(vars(cls).get("__doc__"))  # type: ignore[assignment]

    _own_arguments: ClassVar[Mapping[str, Argument]] = {}
    _own_parameters: ClassVar[Mapping[str, inspect.Parameter]] = {}
    _has_made_init: ClassVar[bool] = False
    template_fields: ClassVar[Any]
    template_fields_renderers: ClassVar[Any]

    def __post_init__(self) -> None:
        """Check the arguments, as far as they are known when a DAG is parsed."""
        for name, argument in type(self).arguments.items():
            _check(name, argument, getattr(self, name))


def _make_init(
    cls: type[DeclaresArguments], own: Mapping[str, Argument], parameters: Mapping[str, inspect.Parameter]
) -> Callable[..., None]:
    def __init__(self: Any, **kwargs: Any) -> None:
        values = {}
        for name, argument in own.items():
            value = kwargs.pop(name, argument.default)
            if value is None and argument.setting is not None:
                value = setting(argument.setting)
            if not argument.for_airflow:
                values[name] = value
            elif value is not None:
                kwargs[name] = value
        super(cls, self).__init__(**kwargs)
        for name, value in values.items():
            setattr(self, name, value)
        # Once, after the last of the constructors that were made here.
        if next(base for base in type(self).__mro__ if vars(base).get("_has_made_init")) is cls:
            self.__post_init__()

    required_first = sorted(parameters, key=lambda name: cls.arguments[name].default is not REQUIRED)
    __init__.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [_SELF, *(parameters[name] for name in required_first), _KWARGS],
        return_annotation="None",
        # They are in order, and a check of each costs 1 ms in all operators.
        __validate_parameters__=False,
    )
    __init__.__qualname__ = f"{cls.__qualname__}.__init__"
    __init__.__module__ = cls.__module__
    return __init__


def _parameter(cls: type[Any], name: str, argument: Argument) -> inspect.Parameter:
    annotation = cls.__annotations__.get(name, inspect.Parameter.empty)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=argument.default, annotation=annotation
    )


class _Documentation:
    """The documentation of a class with that of all its arguments, put together when somebody reads it."""

    def __init__(self, text: str | None) -> None:
        self._text = text

    def __get__(self, _: object, cls: type[DeclaresArguments]) -> str:
        lines = [
            f":param {name}: {argument.doc}{' (templated)' if argument.is_templated else ''}"
            for name, argument in cls.arguments.items()
        ]
        lines.append(":param kwargs: Airflow's own arguments, such as ``retries``; see ``BaseOperator``.")
        return "\n".join((inspect.cleandoc(self._text or ""), "", *lines))


def _choices(annotation: object) -> tuple[str | None, ...]:
    """Return the words that a type allows, None where it allows that, too; nothing for any other type.

    It is read as it was written, such as ``Literal["wait", "fail"]`` or ``Literal["Train", "Import"] | str |
    None``, where ``str`` stands for a template.
    """
    # No regular expression: making one takes longer than reading all arguments.
    if not isinstance(annotation, str) or not annotation.startswith("Literal["):
        return ()
    inner, _, rest = annotation.removeprefix("Literal[").partition("]")
    quoted = inner.split(", ")
    words = tuple(one[1:-1] for one in quoted if one == f"'{one[1:-1]}'" and one[1:-1].isidentifier())
    if len(words) < max(2, len(quoted)) or rest not in ("", " | str", " | None", " | str | None"):
        return ()
    return (*words, None) if rest.endswith("None") else words


def is_text(value: object) -> TypeGuard[str]:
    """Return whether a value is text that holds no template: what one makes is known when the task runs."""
    return isinstance(value, str) and "{{" not in value and "{%" not in value


def _check(name: str, argument: Argument, value: Any) -> None:
    """Check what is known of a value when a DAG is parsed; the request checks the rest when the task runs.

    :raises QianfanValidationError: it is not allowed.
    """
    if problem := _problem(argument, value):
        raise QianfanValidationError(f"{name} {problem}", parameters=(name,))


def _problem(argument: Argument, value: Any) -> str | None:
    if argument.choices:
        # What is no word may hold a template, or be empty and stand for None; the request decides then.
        is_open = argument.is_templated and not (isinstance(value, str) and value.isidentifier())
        if value not in argument.choices and not is_open:
            *others, last = map(repr, argument.choices)
            return f"must be {', '.join(others)} or {last}, not {value!r}"
    elif is_text(value):
        fewest, most = argument.length or (0, len(value))
        if not fewest <= len(value) <= most:
            shown = value if len(value) <= 40 else f"{value[:40]}…"
            return f"must have {fewest} to {most} characters, but {shown!r} has {len(value)}"
        if not value and argument.default is REQUIRED:
            return "must not be empty"
    return None
