"""The gate for metrics: what passes, what does not, and what is said about it. It calls nothing."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.bases.operator import ExecutorSafeguard

from airflow_qianfan.exceptions import QianfanMetricsRejectedError, QianfanValidationError
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.operators.metrics_gate import QianfanMetricsGate

GOOD = {"ROUGE-L": 0.35, "BLEU-4": "16.56%", "perplexity": 3.1}


@pytest.fixture(autouse=True)
def _no_call(monkeypatch):
    def client(_):
        raise AssertionError("the gate called the service")

    monkeypatch.setattr(QianfanHook, "client", property(client))


def run(**arguments: Any) -> dict[str, Any]:
    """Run a gate that has nothing downstream; it fails where it does not pass."""
    gate = QianfanMetricsGate(task_id="gate", **{"if_rejected": "fail", **arguments})
    gate._cached_logger = logging.getLogger("gate")
    token = ExecutorSafeguard.tracker.set(gate)
    try:
        return gate.execute({"ti": SimpleNamespace(), "task": gate})
    finally:
        ExecutorSafeguard.tracker.reset(token)


def passes(**arguments: Any) -> bool:
    try:
        return bool(run(**arguments)["passed"])
    except QianfanMetricsRejectedError:
        return False


@pytest.mark.parametrize(
    ("thresholds", "passed"),
    [
        ({"ROUGE-L": {"min": 0.3}}, True),
        ({"ROUGE-L": {"min": 0.35}}, True),
        ({"ROUGE-L": {"min": 0.36}}, False),
        ({"ROUGE-L": {"min": "30%"}}, True),
        ({"ROUGE-L": {"max": 0.3}}, False),
        ({"BLEU-4": {"min": 0.1656}}, True),
        ({"BLEU-4": {"min": 0.16, "max": 0.17}}, True),
        ({"BLEU-4": {"min": 0.17, "max": 0.18}}, False),
        ({"perplexity": {"max": 3.1}}, True),
        ({"perplexity": {"max": 3}}, False),
        ({"ROUGE-L": {"min": 0.3}, "perplexity": {"max": 3}}, False),
        ('{"ROUGE-L": {"min": 0.3}}', True),
        ("{'ROUGE-L': {'min': 0.36}}", False),
    ],
    ids=str,
)
def test_thresholds(thresholds, passed):
    assert passes(metrics=GOOD, thresholds=thresholds) is passed


@pytest.mark.parametrize(
    ("baseline", "more", "passed"),
    [
        ({"ROUGE-L": 0.35}, {}, True),
        ({"ROUGE-L": 0.36}, {}, False),
        ({"ROUGE-L": "34%"}, {"min_improvement": 0.01}, True),
        ({"ROUGE-L": 0.34}, {"min_improvement": 0.011}, False),
        ({"ROUGE-L": 0.36}, {"min_improvement": -0.02}, True),
        ({"ROUGE-L": 0.34, "BLEU-4": 0.9}, {"min_improvement": {"ROUGE-L": 0.01}}, True),
        ({"ROUGE-L": 0.34, "BLEU-4": 0.9}, {}, False),
        ({"ROUGE-L": 0.34}, {"min_improvement": '{"ROUGE-L": "1%"}'}, True),
        ({"ROUGE-L": 0.34}, {"min_improvement": "0.02"}, False),
        # Of these, less is better.
        ({"perplexity": 3.2}, {}, True),
        ({"perplexity": 3.0}, {}, False),
        ({"perplexity": 3.2}, {"min_improvement": 0.2}, False),
        ({"ROUGE-L": 0.36}, {"lower_is_better": ["ROUGE-L"]}, True),
        ({"perplexity": 3.0}, {"lower_is_better": []}, True),
        ({"ROUGE-L": 0.36}, {"lower_is_better": '["ROUGE-L"]'}, True),
    ],
    ids=str,
)
def test_baseline(baseline, more, passed):
    assert passes(metrics=GOOD, baseline=baseline, **more) is passed


def test_improvement_is_not_lost_to_binary_numbers():
    assert 0.3 - 0.2 < 0.1
    assert passes(metrics={"x": 0.3}, baseline={"x": 0.2}, min_improvement=0.1)


@pytest.mark.parametrize("value", [float("nan"), "NaN", "n/a", float("inf"), True, [0.5], {"a": 1}])
def test_what_is_no_number_never_passes(value):
    arguments = {"metrics": {"x": value, "y": 1}, "if_missing": "reject"}
    assert not passes(**arguments, thresholds={"x": {"max": 1e300}})
    assert not passes(**arguments, thresholds={"x": {"min": -1e300}})
    assert not passes(**arguments, baseline={"x": 0.5}, min_improvement=-1e300)
    with pytest.raises(QianfanMetricsRejectedError, match=r"x is - \(not a number\), required: >= 0"):
        run(metrics={"x": value, "y": 1}, thresholds={"x": {"min": 0}})


@pytest.mark.parametrize("value", [float("nan"), "NaN", None])
def test_baseline_that_is_no_number_is_never_surpassed(value):
    assert not passes(metrics={"x": 1e300}, baseline={"x": value})
    with pytest.raises(QianfanValidationError, match="the baseline has no number for x"):
        run(metrics={"x": 1}, baseline={"x": value}, min_improvement={"x": 0})


def test_missing_metric_is_an_error_that_names_those_there_are():
    with pytest.raises(QianfanMetricsRejectedError, match=r"no metric ROUGE_L; there are ROUGE-L, BLEU-4"):
        run(metrics=GOOD, thresholds={"ROUGE_L": {"min": 0.1}}, if_rejected="skip")


def test_missing_metric_may_count_as_not_good_enough():
    with pytest.raises(QianfanMetricsRejectedError, match=r"ROUGE_L is - \(missing\), required: >= 0.1"):
        run(metrics=GOOD, thresholds={"ROUGE_L": {"min": 0.1}}, if_missing="reject")


def test_all_reasons_are_told():
    with pytest.raises(QianfanMetricsRejectedError) as caught:
        run(metrics=GOOD, thresholds={"ROUGE-L": {"min": 0.4}, "BLEU-4": {"min": 0.2}})
    assert caught.value.message == (
        "the metrics are not good enough: ROUGE-L is 0.35 (rejected), required: >= 0.4; "
        "BLEU-4 is 0.1656 (rejected), required: >= 0.2"
    )


def test_result_says_what_was_compared():
    metrics, thresholds = {**GOOD, "note": "x"}, {"ROUGE-L": {"min": 0.3}}
    assert run(metrics=metrics, thresholds=thresholds, baseline={"ROUGE-L": 0.3}) == {
        "passed": True,
        "metrics": {"ROUGE-L": 0.35, "BLEU-4": 0.1656, "perplexity": 3.1},
        "verdicts": [
            {
                "metric": "ROUGE-L",
                "value": 0.35,
                "baseline": 0.3,
                "required": ">= 0.3 and >= 0.3 (baseline + 0)",
                "verdict": "passed",
            }
        ],
    }


def test_log_shows_a_table(caplog):
    caplog.set_level(logging.INFO, "gate")
    run(metrics=GOOD, thresholds={"ROUGE-L": {"min": 0.3}}, baseline={"perplexity": 3.5}, min_improvement=0.1)
    assert [record.getMessage() for record in caplog.records] == [
        "metric      value  baseline  required                 verdict",
        "ROUGE-L     0.35   -         >= 0.3                   passed",
        "perplexity  3.1    3.5       <= 3.4 (baseline - 0.1)  passed",
    ]


SEVERAL = {"amv-1": {"x": 0.5}, "amv-2": {"x": 0.4}}
AT_LEAST = {"x": {"min": 0.45}}


def test_model_is_chosen_among_several():
    assert passes(metrics=SEVERAL, model_id="amv-1", thresholds=AT_LEAST)
    assert not passes(metrics=SEVERAL, model_id="amv-2", thresholds=AT_LEAST)
    assert passes(metrics={"amv-1": {"x": 0.5}}, thresholds=AT_LEAST)
    with pytest.raises(QianfanValidationError, match=r"model_id: .*choose one of amv-1, amv-2"):
        run(metrics=SEVERAL, thresholds=AT_LEAST)
    with pytest.raises(QianfanValidationError, match="no metrics of amv-3, only of amv-1, amv-2"):
        run(metrics=SEVERAL, model_id="amv-3", thresholds=AT_LEAST)


def test_baseline_may_be_another_model_of_the_same_evaluation():
    assert passes(metrics=SEVERAL, model_id="amv-1", baseline_model_id="amv-2", min_improvement=0.1)
    assert not passes(metrics=SEVERAL, model_id="amv-2", baseline_model_id="amv-1")
    # The other one is meant.
    assert passes(metrics=SEVERAL, baseline_model_id="amv-2")


def test_metrics_that_hold_an_object_are_those_of_one_model():
    assert passes(metrics={"x": 0.5, "distribution": {"1": 2}}, thresholds=AT_LEAST)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": GOOD}, "say what is good enough"),
        ({"metrics": GOOD, "thresholds": {}}, "say what is good enough"),
        ({"thresholds": AT_LEAST}, "give one of metrics, eval_task_id, fine_tuning_task_id"),
        ({"metrics": GOOD, "eval_task_id": "ame-1", "thresholds": AT_LEAST}, "give one of"),
        (
            {"metrics": GOOD, "baseline": GOOD, "baseline_eval_task_id": "ame-1"},
            "give one of baseline, baseline_eval_task_id",
        ),
        ({"metrics": GOOD, "thresholds": {"x": 0.3}}, r'thresholds.x: must be such as {"min": 0.3}'),
        ({"metrics": GOOD, "thresholds": {"x": {"least": 0.3}}}, "thresholds.x: must be such as"),
        ({"metrics": GOOD, "thresholds": {"x": {}}}, "thresholds.x: must be such as"),
        ({"metrics": GOOD, "thresholds": {"x": {"min": "high"}}}, "thresholds.x.min: must be a number"),
        ({"metrics": GOOD, "thresholds": {"x": {"min": float("nan")}}}, "must be a number"),
        ({"metrics": GOOD, "thresholds": [1]}, "thresholds: must be an object, not list"),
        ({"metrics": "soon", "thresholds": AT_LEAST}, "metrics: must be JSON"),
        ({"metrics": "[1]", "thresholds": AT_LEAST}, "metrics: must be an object, not list"),
        ({"metrics": GOOD, "baseline": GOOD, "min_improvement": "much"}, "min_improvement: must be JSON"),
        ({"metrics": GOOD, "baseline": GOOD, "min_improvement": {"BLEU-4": "x"}}, "must be a number"),
        # What a template makes nothing of must not be taken for "nothing to compare with".
        (
            {"metrics": GOOD, "baseline": "", "thresholds": {"ROUGE-L": {"min": 0}}},
            "no value to compare with",
        ),
        ({"metrics": GOOD, "baseline": GOOD, "thresholds": ""}, "thresholds: there is no value"),
    ],
    ids=str,
)
def test_arguments_that_do_not_say_what_to_compare_are_refused(arguments, message):
    with pytest.raises(QianfanValidationError, match=message):
        run(**arguments)


@pytest.mark.parametrize("name", ["if_rejected", "if_missing"])
def test_words_are_checked_when_the_dag_is_parsed(name):
    with DAG("words"), pytest.raises(ValueError, match=f"{name} must be"):
        QianfanMetricsGate(task_id="x", **{name: "maybe"})
