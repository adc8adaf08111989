"""Checks the arguments of a training before anything is created or paid.

They are compared with what the service says that it supports (DescribeFineTuningSupportModels). Where it does
not say, the tables of its documents are compared with, which are old: then nothing is refused. A check that
fails by itself must never cost a training.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from airflow_qianfan.api.actions.finetuning import DescribeFineTuningSupportModels
from airflow_qianfan.api.messages import shown
from airflow_qianfan.api.supported import PARAMETERS, TABLE, Table, read
from airflow_qianfan.exceptions import QianfanError, QianfanValidationError
from airflow_qianfan.hooks.qianfan import QianfanHook

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

Validate = Literal["warn", "error", "off"]

TIMEOUT = 10.0
"""Seconds to wait for the service's list of models."""

KEPT = 3600.0
"""Seconds for which the list is kept in this process."""

NEARLY_THE_SAME = 0.85
"""How like a known model a name has to be that an old table does not hold, to be taken for misspelt: there
are many models that it does not know."""

MAX_LISTED = 12
"""How many names a message lists at most."""

_TABLES: dict[tuple[str, str], tuple[float, Table]] = {}


@dataclass(frozen=True)
class Training:
    """What is checked.

    :param model: base model.
    :param train_mode: such as ``SFT``.
    :param parameter_scale: such as ``LoRA``; None where it is left to the service, or not known yet.
    :param hyper_parameters: by their names.
    """

    model: str
    train_mode: str
    parameter_scale: str | None
    hyper_parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """An argument that is not supported.

    :param parameter: which, as in the service's documentation.
    :param text: what is wrong, what is allowed, and what may be meant.
    :param is_certain: whether the service's list excludes it, rather than not mention it.
    """

    parameter: str
    text: str
    is_certain: bool = True

    def __str__(self) -> str:
        return f"{self.parameter}: {self.text}"


def check(training: Training, how: Validate, conn_id: str, log: Logger) -> None:
    """Warn of arguments that are not supported, or refuse them.

    :param training: what is checked.
    :param how: ``warn``, or ``error`` to refuse what the service's own list excludes.
    :param conn_id: id of the connection.
    :param log: the log of the task.
    :raises QianfanValidationError: an argument is not supported, and ``how`` is ``error``.
    """
    try:
        table = _supported(conn_id, log)
        findings = list(compare(training, table or TABLE, is_old=table is None))
    except Exception as error:
        # Whatever is wrong with the check, the training may be right.
        log.warning("The arguments of the training were not checked: %s.", type(error).__name__)
        return
    refused = [finding for finding in findings if finding.is_certain and table and how == "error"]
    for finding in findings:
        if finding not in refused:
            log.warning("This training may be refused, or not do what you mean: %s", finding)
    if refused:
        raise QianfanValidationError(
            f"not sent, since Qianfan does not support it: {' '.join(map(str, refused))} "
            "The argument validate turns this check off.",
            action="CreateFineTuningTask",
            parameters=tuple(finding.parameter for finding in refused),
        )


def _supported(conn_id: str, log: Logger) -> Table | None:
    """Return what the service supports; None where it does not say."""
    try:
        hook = QianfanHook(conn_id, timeout=TIMEOUT, max_retries=0)
        key = (conn_id, hook.client.endpoint)
        until, table = _TABLES.get(key, (0.0, {}))
        if time.monotonic() < until:
            return table
        table = read(hook.call(DescribeFineTuningSupportModels()))
        if not table:
            raise QianfanError("the answer names no model")
    except QianfanError as error:
        log.warning(
            "Qianfan does not tell which models it can train (%s); comparing with the tables of its "
            "documents, which are old: nothing is refused.",
            error.what_happened(),
        )
        return None
    _TABLES[key] = (time.monotonic() + KEPT, table)
    return table


def compare(training: Training, table: Table, *, is_old: bool) -> Iterable[Finding]:
    """Yield what a table does not allow.

    :param training: what is checked.
    :param table: what is supported.
    :param is_old: whether the table is one of the documents, which does not hold all models.
    """
    model, mode, scale = training.model, training.train_mode, training.parameter_scale
    if model not in table:
        if not is_old or get_close_matches(model, table, n=1, cutoff=NEARLY_THE_SAME):
            yield _unknown("model", model, table, "is not one of the models that can be trained")
        return
    modes = table[model]
    if mode not in modes:
        # Train modes came after the tables.
        if not is_old or get_close_matches(mode, modes, n=1):
            yield _unknown("trainMode", mode, modes, f"is not a train mode of {model}")
        return
    scales = modes[mode]
    if scale and scale not in scales:
        yield _unknown("parameterScale", scale, scales, f"is not a scale of {model}, {mode}")
        return
    where = f"for {model}, {mode}" + (f", {scale}" if scale else "")
    chosen = [rows for name, rows in scales.items() if scale in (None, "", name)]
    for key, value in training.hyper_parameters.items():
        parameter = f"hyperParameterConfig.{key}"
        limits = [rows[key] for rows in chosen if key in rows]
        if not limits:
            known = {key for rows in chosen for key in rows}
            unknown = _unknown(parameter, key, known, f"is not a hyper-parameter {where}")
            # The list may leave out what the documents have.
            yield Finding(parameter, unknown.text, is_certain=key not in PARAMETERS)
        elif not any(allowed is None or allowed.allows(value) for allowed in limits):
            allowed = " or ".join(dict.fromkeys(map(str, limits)))
            yield Finding(parameter, f"must be {allowed} {where}, not {shown(value)}.")


def _unknown(parameter: str, name: str, known: Iterable[str], what: str) -> Finding:
    known = sorted(known)
    by_lower = {each.lower(): each for each in known}
    near = get_close_matches(str(name).lower(), by_lower, n=1)
    hint = f"; did you mean {by_lower[near[0]]!r}?" if near else "."
    listed = ", ".join(known[:MAX_LISTED]) + (" …" if len(known) > MAX_LISTED else "")
    return Finding(parameter, f"{shown(name)} {what}{hint} There are {listed}.")
