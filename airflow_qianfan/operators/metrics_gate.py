"""Lets a DAG go on only where the metrics of a model are good enough."""

from __future__ import annotations

import ast
import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_qianfan.arguments import option, templated
from airflow_qianfan.compat import skip_tasks
from airflow_qianfan.exceptions import QianfanMetricsRejectedError
from airflow_qianfan.operators.base.operator import QianfanOperator
from airflow_qianfan.operators.base.verdicts import Verdict, invalid, judge, read_limit, read_number, table

if TYPE_CHECKING:
    from airflow.sdk import Context

Metrics = Mapping[str, Any] | str | None


_COMPARED_WITH = (
    "thresholds",
    "baseline",
    "baseline_eval_task_id",
    "baseline_fine_tuning_task_id",
    "baseline_model_id",
)


class QianfanMetricsGate(QianfanOperator):
    """Let a DAG go on only where a model is good enough: compare metrics with thresholds and with a baseline.

    Where a metric is not good enough, all that is downstream is skipped, as Airflow's
    ``ShortCircuitOperator`` does it; or the task fails, with ``if_rejected="fail"``. The log shows a table.
    Metrics come from a training (``train.output["metrics"]``), from an evaluation
    (``evaluate.output["metrics"]``), or are read at the service where an id is given instead; else nothing is
    called. ``"16.56%"`` is 0.1656. ``NaN`` never passes.
    In a mapped task, Airflow skips only what is downstream with the same map index: use ``fail`` there.

    >>> QianfanMetricsGate(
    ...     task_id="good_enough",
    ...     metrics="{{ ti.xcom_pull('train', key='metrics') }}",
    ...     thresholds={"ROUGE-L": {"min": 0.3}, "BLEU-4": {"min": 0.1, "max": 0.9}},
    ...     baseline={"ROUGE-L": 0.31},
    ...     min_improvement={"ROUGE-L": 0.01},
    ... )  # doctest: +SKIP

    Returns ``passed``, ``metrics`` (those of the model) and ``verdicts``: a list of dicts with ``metric``,
    ``value``, ``baseline``, ``required`` and ``verdict``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Ymm4un12j
    """

    custom_operator_name = "Metrics gate"
    inherits_from_skipmixin = True
    _can_skip_downstream = True

    metrics: Metrics = templated(
        "metrics of the model, by their names; or of several models, by their ids.", default=None, json=True
    )
    eval_task_id: str | None = templated("evaluation to read them from, ``ame-…``.", default=None)
    fine_tuning_task_id: str | None = templated("training to read them from, ``task-…``.", default=None)
    model_id: str | None = templated(
        "which model, ``amv-…``, where there are metrics of several.", default=None
    )
    thresholds: Mapping[str, Any] | str | None = templated(
        'what is good enough, by the names of metrics: ``{"ROUGE-L": {"min": 0.3}, "loss": {"max": 1.2}}``.',
        default=None,
        json=True,
    )
    baseline: Metrics = templated(
        "metrics of what the model has to be better than, in the same form.", default=None, json=True
    )
    baseline_eval_task_id: str | None = templated("evaluation to read them from.", default=None)
    baseline_fine_tuning_task_id: str | None = templated("training to read them from.", default=None)
    baseline_model_id: str | None = templated(
        "which model is the baseline. Where no metrics of a baseline are given, it is one of those that "
        "``metrics`` or ``eval_task_id`` is about.",
        default=None,
    )
    min_improvement: Mapping[str, Any] | float | str = templated(
        'by how much each metric has to be better than the baseline\'s, by name: ``{"ROUGE-L": 0.01}``. A '
        "number holds for all metrics of the baseline; 0 means not worse.",
        default=0.0,
        json=True,
    )
    lower_is_better: Sequence[str] | str | None = templated(
        "names of metrics of which less is better; None takes those with loss, perplexity or distance in "
        "their names.",
        default=None,
        json=True,
    )
    if_rejected: Literal["skip", "fail"] = option(
        "``skip`` what is downstream where a metric is not good enough, or ``fail``.", default="skip"
    )
    if_missing: Literal["fail", "reject"] = option(
        "``fail`` where the model lacks a metric that decides, or ``reject`` it.", default="fail"
    )
    ignore_downstream_trigger_rules: bool = option(
        "skip all that is downstream; False skips only what follows directly and leaves the rest to its "
        "trigger rules.",
        default=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        # A template may make nothing of what was given; then nothing must be taken for good enough.
        self._given = [name for name in _COMPARED_WITH if getattr(self, name) is not None]

    def run_action(self, context: Context) -> dict[str, Any]:
        """Judge the metrics.

        :raises QianfanMetricsRejectedError: they are not good enough and ``if_rejected`` is ``fail``, or one
            is missing.
        :raises QianfanValidationError: the arguments do not say what is to be compared.
        """
        if lacking := [name for name in self._given if getattr(self, name) in (None, "")]:
            raise invalid("there is no value to compare with", *lacking)
        thresholds = _thresholds(_object("thresholds", self.thresholds))
        metrics, baseline = self._read_metrics()
        improvements = self._improvements(baseline)
        if not (thresholds or improvements):
            raise invalid("say what is good enough", "thresholds", "baseline")
        verdicts = judge(metrics, thresholds, baseline, improvements, self._lower_is_better())
        for line in table(verdicts):
            self.log.info(line)
        numbers = {name: read_number(value) for name, value in metrics.items()}
        output = {
            "passed": all(verdict.verdict == "passed" for verdict in verdicts),
            "metrics": {name: value for name, value in numbers.items() if value is not None},
            "verdicts": [verdict._asdict() for verdict in verdicts],
        }
        if not output["passed"]:
            self._reject(context, verdicts, metrics, output)
        return output

    def _reject(
        self, context: Context, verdicts: list[Verdict], metrics: Mapping[str, Any], output: dict[str, Any]
    ) -> None:
        missing = [verdict.metric for verdict in verdicts if verdict.verdict == "missing"]
        if missing and self.if_missing == "fail":
            raise QianfanMetricsRejectedError(
                f"there is no metric {', '.join(missing)}; there are {', '.join(metrics) or 'none'}"
            )
        reasons = "; ".join(str(verdict) for verdict in verdicts if verdict.verdict != "passed")
        if self.if_rejected == "fail":
            raise QianfanMetricsRejectedError(f"the metrics are not good enough: {reasons}")
        self.log.info("The metrics are not good enough: %s. Skipping what is downstream.", reasons)
        ti: Any = context["ti"]
        # Airflow stores no return value of a task that ends by skipping others.
        for name, value in {**output, "return_value": output}.items():
            ti.xcom_push(key=name, value=value)
        task: Any = context["task"]
        relatives = (
            task.get_flat_relatives(upstream=False)
            if self.ignore_downstream_trigger_rules
            else task.get_direct_relatives(upstream=False)
        )
        skip_tasks(ti, [relative for relative in relatives if not relative.is_teardown])

    # ------------------------------------------------------------------ whose metrics

    def _read_metrics(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the metrics of the model and those of the baseline."""
        all_metrics = self._source("", needed=True)
        base_metrics = self._source("baseline_", needed=False)
        if base_metrics is None and self.baseline_model_id:
            base_metrics = all_metrics
        chosen = _of_one("model_id", all_metrics or {}, self.model_id, other=self.baseline_model_id)
        if base_metrics is None:
            return chosen, {}
        return chosen, _of_one("baseline_model_id", base_metrics, self.baseline_model_id)

    def _source(self, prefix: str, *, needed: bool) -> Mapping[str, Any] | None:
        names = (prefix.rstrip("_") or "metrics", f"{prefix}eval_task_id", f"{prefix}fine_tuning_task_id")
        given = [name for name in names if getattr(self, name) not in (None, "")]
        if len(given) > 1 or (needed and not given):
            raise invalid(f"give one of {', '.join(names)}", *(given or names))
        if not given:
            return None
        value = getattr(self, given[0])
        if given[0] == names[0]:
            return _object(names[0], value)
        return (
            self._metrics_of_evaluation(value) if given[0] == names[1] else self._metrics_of_training(value)
        )

    def _metrics_of_evaluation(self, task_id: str) -> dict[str, Any]:
        from airflow_qianfan.api.actions.evaluation import DescribeEvalTaskReport

        return dict(self.hook.call(DescribeEvalTaskReport(task_id=task_id)).metrics)

    def _metrics_of_training(self, task_id: str) -> dict[str, Any]:
        from airflow_qianfan.api.actions.finetuning import DescribeFineTuningTask

        return dict(self.hook.call(DescribeFineTuningTask(task_id=task_id)).metric_values)

    # ------------------------------------------------------------------ good enough?

    def _improvements(self, baseline: Mapping[str, Any]) -> dict[str, float]:
        """Return by how much which metric has to be better than the baseline's."""
        given: Any = self.min_improvement
        if isinstance(given, str):
            given = _read_text("min_improvement", given)
        if not isinstance(given, Mapping):
            return {name: read_limit("min_improvement", given) for name in baseline}
        if missing := [name for name in given if read_number(baseline.get(name)) is None]:
            raise invalid(
                f"the baseline has no number for {', '.join(missing)}; it has "
                f"{', '.join(baseline) or 'no metrics'}",
                "min_improvement",
                "baseline",
            )
        return {name: read_limit(f"min_improvement.{name}", value) for name, value in given.items()}

    def _lower_is_better(self) -> Collection[str] | None:
        given = self.lower_is_better
        if given in (None, ""):
            return None
        names = _read_text("lower_is_better", given) if isinstance(given, str) else given
        return [names] if isinstance(names, str) else list(names)


def _thresholds(given: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for name, limits in given.items():
        if not isinstance(limits, Mapping) or not limits or not set(limits) <= {"min", "max"}:
            raise invalid(
                f'must be such as {{"min": 0.3}} or {{"max": 1.2}}, not {limits!r}', f"thresholds.{name}"
            )
        found[name] = {word: read_limit(f"thresholds.{name}.{word}", limit) for word, limit in limits.items()}
    return found


def _of_one(
    argument: str, metrics: Mapping[str, Any], wanted: str | None, *, other: str | None = None
) -> dict[str, Any]:
    """Return the metrics of one model out of those of several, or of the only one."""
    models = {name: value for name, value in metrics.items() if isinstance(value, Mapping)}
    if not models or len(models) < len(metrics):
        return dict(metrics)
    if not wanted:
        left = [name for name in models if name != other]
        if len(left) != 1:
            raise invalid(f"there are metrics of several models: choose one of {', '.join(models)}", argument)
        wanted = left[0]
    if wanted not in models:
        raise invalid(f"there are no metrics of {wanted}, only of {', '.join(models)}", argument)
    return dict(models[wanted])


def _object(name: str, value: Any) -> Mapping[str, Any]:
    if isinstance(value, str) and value:
        value = _read_text(name, value)
    if value in (None, ""):
        return {}
    if not isinstance(value, Mapping):
        raise invalid(f"must be an object, not {type(value).__name__}", name)
    return value


def _read_text(name: str, text: str) -> Any:
    """Read JSON, or what a template makes of a Python object."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    # Such as 1%.
    if (found := read_number(text)) is None:
        raise invalid("must be JSON, which this text is not", name)
    return found
