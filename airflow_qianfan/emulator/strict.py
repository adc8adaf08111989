"""What a strict emulator refuses: what the documents' tables of models exclude, and unknown data sets.

Where there is no table, nothing is excluded: of a train mode without one only the name is checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from airflow_qianfan.emulator.actions import Call
from airflow_qianfan.emulator.data import DatasetVersion
from airflow_qianfan.emulator.errors import ApiError, bad_parameter
from airflow_qianfan.emulator.supported import (
    NAMED_MODELS,
    OTHER_PARAMETERS,
    SCALES,
    SUPPORTED_MODELS,
    TRAIN_MODES,
)

_Scales = dict[str, dict[str, dict[str, Any]]]

_TABLE: dict[str, dict[str, _Scales]] = {
    model["model"]: {
        mode["trainMode"]: {
            scale["parameterScale"]: {row["key"]: row for row in scale["supportHyperParameterConfig"]}
            for scale in mode["supportParameterScale"]
        }
        for mode in model["supportTrainMode"]
    }
    for model in SUPPORTED_MODELS
}
_MODES_WITH_TABLE = {mode for modes in _TABLE.values() for mode in modes}
_KEYS = {
    *OTHER_PARAMETERS,
    *(
        key
        for modes in _TABLE.values()
        for scales in modes.values()
        for rows in scales.values()
        for key in rows
    ),
}


def check_job(model: str, train_mode: str) -> None:
    """Check what a job asks for.

    :raises ApiError: the documents name no such model or mode, or exclude the mode for the model.
    """
    _check_name("model", model, (*_TABLE, *NAMED_MODELS))
    _check_name("trainMode", train_mode, TRAIN_MODES)
    if model in _TABLE and train_mode in _MODES_WITH_TABLE:
        _check_name("trainMode", train_mode, _TABLE[model], f" for {model}")


def check_task(model: str, train_mode: str, scale: str | None, parameters: Mapping[str, Any]) -> None:
    """Check what a training asks for.

    :raises ApiError: the documents exclude the scale or a hyper-parameter for the model and mode of its job.
    """
    scales = _TABLE.get(model, {}).get(train_mode, {})
    if scale is not None:
        _check_name("parameterScale", scale, SCALES)
        if scales:
            _check_name("parameterScale", scale, scales, f" for {model}, {train_mode}")
    for key, value in parameters.items():
        _check_name(key, key, _KEYS, what="hyper-parameter")
        rows = [found[key] for name, found in scales.items() if scale in (None, name) and key in found]
        if rows and not any(_is_allowed(row, value) for row in rows):
            raise _refusal(key, f"{value!r} is not in {rows[0]['checkValue']} for {model}, {train_mode}.")


def check_dataset_version(call: Call, version_id: str) -> None:
    """Check that a data-set version exists.

    :raises ApiError: nobody has created or added it.
    """
    if call.get(DatasetVersion, version_id) is not None:
        return
    near = get_close_matches(version_id, [version.id for version in call.all(DatasetVersion)], n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise _strictly(
        call.missing("versionId"),
        f"There is no data-set version {version_id!r}.{hint} emulator.add_dataset({version_id!r}) makes one.",
    )


def _check_name(member: str, name: str, known: Iterable[str], where: str = "", *, what: str = "") -> None:
    known = sorted(known)
    if name in known:
        return
    by_lower = {each.lower(): each for each in known}
    near = get_close_matches(name.lower(), by_lower, n=1)
    hint = f"Did you mean {by_lower[near[0]]!r}?" if near else f"The tables have {', '.join(known)}."
    raise _refusal(member, f"The {what or member} {name!r} is not in the documents' tables{where}. {hint}")


def _refusal(member: str, why: str) -> ApiError:
    return _strictly(bad_parameter(member), why)


def _strictly(error: ApiError, why: str) -> ApiError:
    hint = "This emulator is strict; emulator.strict = False lets it pass."
    return ApiError(error.refusal, f"{error.message} {why} {hint}")


def _is_allowed(row: dict[str, Any], value: Any) -> bool:
    limits = row["checkValue"]
    if row["checkType"] == "range":
        number = _number(value)
        return number is not None and limits[0] <= number <= limits[-1]
    values = value if row["checkType"] == "mult_choice" and isinstance(value, list) else [value]
    return all(any(_is_same(each, limit) for limit in limits) for each in values)


def _is_same(value: Any, limit: Any) -> bool:
    number = _number(value)
    return value == limit or str(value) == str(limit) or (number is not None and number == _number(limit))


def _number(value: Any) -> float | None:
    """Return a number, also one that a template has made a text of."""
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
