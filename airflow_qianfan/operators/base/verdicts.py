"""Whether metrics are good enough: compared with thresholds, and with those of a baseline."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from airflow_qianfan.exceptions import QianfanValidationError

LOWER_IS_BETTER = ("loss", "perplexity", "distance")
"""What the name of a metric holds of which less is better."""

SLACK = 1e-9
"""What is better by 0.01 does not fail for what binary numbers make of it."""


class Verdict(NamedTuple):
    """What is said about a metric.

    :param metric: its name.
    :param value: of the model; None where it has none, or none that is a number.
    :param baseline: of the baseline; None where there is none.
    :param required: what it has to be, as text.
    :param verdict: ``passed``, ``rejected``, ``missing`` or ``not a number``.
    """

    metric: str
    value: float | None
    baseline: float | None
    required: str
    verdict: str

    def __str__(self) -> str:
        return f"{self.metric} is {_shown(self.value)} ({self.verdict}), required: {self.required}"


def judge(
    metrics: Mapping[str, Any],
    thresholds: Mapping[str, Mapping[str, float]],
    baseline: Mapping[str, Any],
    improvements: Mapping[str, float],
    lower_is_better: Collection[str] | None = None,
) -> list[Verdict]:
    """Return a verdict on each metric that decides.

    :param metrics: of the model, as the service sends them.
    :param thresholds: ``min`` and ``max`` by the names of metrics.
    :param baseline: metrics of the baseline.
    :param improvements: by how much a metric has to be better than the baseline's, by its name.
    :param lower_is_better: metrics of which less is better; None decides by their names.
    """

    def sign(name: str) -> float:
        if lower_is_better is not None:
            return -1.0 if name in lower_is_better else 1.0
        return -1.0 if any(word in name.lower() for word in LOWER_IS_BETTER) else 1.0

    return [
        _verdict(
            name,
            metrics.get(name),
            read_number(baseline.get(name)),
            thresholds.get(name, {}),
            improvements.get(name),
            sign(name),
        )
        for name in dict.fromkeys((*thresholds, *improvements))
    ]


def _verdict(
    name: str,
    given: Any,
    baseline: float | None,
    threshold: Mapping[str, float],
    improvement: float | None,
    sign: float,
) -> Verdict:
    # Everything is compared as "at least"; what has to be less is turned round.
    limits: list[tuple[float, float, str]] = []
    if "min" in threshold:
        limits.append((1.0, threshold["min"], ""))
    if "max" in threshold:
        limits.append((-1.0, threshold["max"], ""))
    if improvement is not None:
        goal = math.nan if baseline is None else baseline + sign * improvement
        limits.append((sign, goal, f" (baseline {'-' if sign < 0 else '+'} {improvement:g})"))
    required = " and ".join(f"{'<=' if turn < 0 else '>='} {limit:g}{why}" for turn, limit, why in limits)
    value = read_number(given)
    if value is None:
        word = "missing" if given in (None, "") else "not a number"
    else:
        # No comparison with NaN is true.
        is_good = all(turn * (value - limit) >= -SLACK for turn, limit, _ in limits)
        word = "passed" if is_good else "rejected"
    return Verdict(name, value, baseline, required, word)


def table(verdicts: Sequence[Verdict]) -> list[str]:
    """Return the lines of a table for the log."""
    rows = [("metric", "value", "baseline", "required", "verdict")]
    rows += [
        (row.metric, _shown(row.value), _shown(row.baseline), row.required, row.verdict) for row in verdicts
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def read_number(value: Any) -> float | None:
    """Read a metric as the service sends it: ``"16.56%"`` is 0.1656; None where it is no number."""
    # The request classes are imported when a task runs, not when a DAG file is parsed.
    from airflow_qianfan.api.actions.values import ratio

    return ratio(value)


def read_limit(name: str, value: Any) -> float:
    """Read a number that the user gives.

    :raises QianfanValidationError: it is none.
    """
    found = read_number(value)
    if found is None:
        raise invalid(f"must be a number, not {value!r}", name)
    return found


def invalid(message: str, *parameters: str) -> QianfanValidationError:
    """Return the error for arguments that cannot be used."""
    return QianfanValidationError(f"{', '.join(parameters)}: {message}", parameters=parameters)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"
