"""Evaluations are created, waited for, reported, stopped and deleted; a gate lets a DAG go on or not."""

from __future__ import annotations

import itertools
import re
from datetime import timedelta

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from operator_values import HOUR, MARK, MODES, RETRIES, actions_of

from airflow_qianfan.api.actions.evaluation import CreateEvalTask, StopEvalTask
from airflow_qianfan.emulator import Assumptions
from airflow_qianfan.exceptions import (
    QianfanAmbiguousCreateError,
    QianfanExecutionTimeoutError,
    QianfanMetricsRejectedError,
    QianfanNotFoundError,
    QianfanPersonNeededError,
    QianfanRequestError,
    QianfanTerminalStateError,
)
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.operators.evaluation import (
    QianfanCreateEvalResultExportTaskOperator,
    QianfanCreateEvalTaskOperator,
    QianfanDeleteEvalTaskOperator,
    QianfanDescribeEvalResultExportTaskOperator,
    QianfanDescribeEvalTaskOperator,
    QianfanDescribeEvalTaskReportOperator,
    QianfanDescribeEvalTasksOperator,
    QianfanEvaluationOperator,
    QianfanStopEvalTaskOperator,
)
from airflow_qianfan.operators.metrics_gate import QianfanMetricsGate
from airflow_qianfan.sensors.evaluation import QianfanEvalResultExportTaskSensor, QianfanEvalTaskSensor

OBJECTS = {
    "evalModelConfig": {
        "versionId": "ds-1",
        "evalModelConfigList": [{"modelId": "amv-1"}, {"modelId": "amv-2", "promptTemplate": "{input}"}],
    }
}
EVALUATION = {"eval_object_config": OBJECTS, "eval_config": {"evalMode": "rule"}}
MANUAL = {"eval_object_config": OBJECTS, "eval_config": {"evalMode": "manual"}}


def create(mode="rule", name="theirs"):
    request = CreateEvalTask(
        task_name=name,
        eval_object_type="model",
        eval_object_config=OBJECTS,
        eval_config={"evalMode": mode},
    )
    return QianfanHook().call(request).task_id


def tasks_of(emulator):
    return emulator.objects("eval_task")


@MODES
def test_the_whole_evaluation_is_one_task(start_emulator, run_task, deferrable):
    emulator = start_emulator(task_seconds=0.5)
    run = run_task(
        QianfanEvaluationOperator,
        qianfan_conn_id="qianfan_{{ params.c }}",
        task_name="{{ params.p }}-evaluation",
        description="{{ params.p }} models",
        eval_object_config={
            "evalModelConfig": {
                "versionId": "ds-{{ params.p }}",
                "evalModelConfigList": [{"modelId": "amv-{{ params.p }}", "temperature": 0.5}],
            }
        },
        eval_config='{"evalMode": "rule,model", "autoModelEvalConfig": {"apiName": "{{ params.p }}"}}',
        deferrable=deferrable,
        poll_interval=0.05,
        params={"c": "default", "p": "my"},
    )
    (task,) = tasks_of(emulator)
    assert re.fullmatch(f"my models {MARK}", task["description"])
    assert task["request"] == {
        "taskName": "my-evaluation",
        "description": task["description"],
        "evalObjectType": "model",
        "evalObjectConfig": {
            "evalModelConfig": {
                "versionId": "ds-my",
                "evalModelConfigList": [{"modelId": "amv-my", "temperature": 0.5}],
            }
        },
        "evalConfig": {"evalMode": "rule,model", "autoModelEvalConfig": {"apiName": "my"}},
    }
    assert (run.value["eval_task_id"], run.value["status"]) == (task["taskId"], "Successed")
    assert list(run.value["metrics"]) == ["amv-my"]
    metrics = run.value["metrics"]["amv-my"]
    assert {"accuracy", "rouge_l", "avgJudgeScore", "scoreDistribution.5"} <= set(metrics)
    assert all(isinstance(value, float) for value in metrics.values())
    assert run.xcom["metrics"] == run.value["metrics"]
    assert run.xcom["eval_task_id"] == task["taskId"]
    assert run.xcom["_link_QianfanEvalTaskLink"] == run.value["console_url"]
    assert run.value["console_url"].endswith(f"/model/eval/detail/task/{task['taskId']}")


@pytest.mark.parametrize("shape", ["texts", "nested"])
def test_metrics_are_the_same_numbers_in_whatever_shape_they_come(start_emulator, run_task, shape):
    emulator = start_emulator(task_seconds=0.2, assumptions=Assumptions(evaluation_metrics=shape))
    run = run_task(QianfanEvaluationOperator, **EVALUATION, poll_interval=0.05)
    for metrics in run.value["metrics"].values():
        assert {"accuracy", "f1Score", "rouge_1", "rouge_2", "rouge_l", "bleu4"} == set(metrics)
        assert all(0.1 <= value <= 1 for value in metrics.values())
    assert len(run.value["metrics"]) == 2
    assert actions_of(emulator).count("DescribeEvalTaskReport") == 1


@MODES
def test_a_failed_evaluation_ends_the_task_without_retries(start_emulator, run_task, deferrable):
    emulator = start_emulator(task_seconds=0.3)
    run = run_task(
        QianfanEvaluationOperator,
        **EVALUATION,
        task_name="will-fail",
        deferrable=deferrable,
        poll_interval=0.05,
        **RETRIES,
    )
    assert isinstance(run.error, QianfanTerminalStateError)
    assert run.error.state == "Failed"
    assert run.tries == {"it": 1}
    assert len(tasks_of(emulator)) == 1
    assert "DescribeEvalTaskReport" not in actions_of(emulator)


@MODES
def test_a_report_that_cannot_be_read_is_read_by_the_retry_without_another_evaluation(
    start_emulator, run_task, reconnect, deferrable
):
    emulator = start_emulator(task_seconds=0.2)
    reconnect(emulator, max_retries=0)
    emulator.fail_next("DescribeEvalTaskReport", kind="server_error")
    run = run_task(
        QianfanEvaluationOperator, **EVALUATION, poll_interval=0.05, deferrable=deferrable, **RETRIES
    )
    assert run.state == "success"
    assert run.tries == {"it": 2}
    assert len(tasks_of(emulator)) == 1
    assert set(run.value["metrics"]) == {"amv-1", "amv-2"}


@pytest.mark.parametrize("shown", ["error", "empty"])
def test_a_report_that_is_behind_the_state_is_waited_for(start_emulator, run_task, shown):
    assumptions = Assumptions(evaluation_report_before_end=shown)
    emulator = start_emulator(task_seconds=0.2, assumptions=assumptions)
    emulator.fail_next("DescribeEvalTaskReport", kind="stale", count=2)
    run = run_task(QianfanEvaluationOperator, **EVALUATION, poll_interval=0.05)
    assert run.state == "success", run.errors
    assert list(run.value["metrics"]) == ["amv-1", "amv-2"]


@MODES
def test_a_lost_answer_of_the_create_costs_no_second_evaluation(start_emulator, run_task, deferrable):
    emulator = start_emulator(task_seconds=0.3)
    emulator.fail_next("CreateEvalTask", kind="lost_answer")
    run = run_task(
        QianfanEvaluationOperator, **EVALUATION, poll_interval=0.05, deferrable=deferrable, **RETRIES
    )
    assert run.value["eval_task_id"] == tasks_of(emulator)[0]["taskId"]
    assert len(tasks_of(emulator)) == 1


@MODES
def test_execution_timeout_stops_the_evaluation(emulator, run_task, deferrable):
    run = run_task(
        QianfanEvaluationOperator,
        **EVALUATION,
        deferrable=deferrable,
        poll_interval=0.1,
        execution_timeout=timedelta(seconds=4),
    )
    assert isinstance(run.error, QianfanExecutionTimeoutError)
    assert tasks_of(emulator)[0]["state"] == "Stopped"


# A person has to judge answers


@MODES
def test_manual_fail_tells_where_a_person_is_waited_for(start_emulator, run_task, deferrable):
    emulator = start_emulator(task_seconds=0.3)
    run = run_task(
        QianfanEvaluationOperator,
        **MANUAL,
        manual="fail",
        deferrable=deferrable,
        poll_interval=0.05,
        **RETRIES,
    )
    assert isinstance(run.error, QianfanPersonNeededError)
    (task,) = tasks_of(emulator)
    assert task["state"] == "RunningWithManualBegin"
    assert f"evaluation task {task['taskId']} waits for a person" in str(run.error)
    assert f"eval/detail/task/{task['taskId']}" in str(run.error)
    assert "StopEvalTask" not in actions_of(emulator)
    assert run.tries == {"it": 1}


@MODES
def test_by_default_a_person_is_waited_for_with_one_warning(
    start_emulator, run_task, deferrable, capfd, monkeypatch
):
    emulator = start_emulator(task_seconds=0.3)
    polls = []
    from airflow_qianfan.triggers.base.polling import PollState

    record = PollState.record

    def judge_after_some_polls(state, found):
        if found.waits_for_person:
            polls.append(found)
            if len(polls) == 5:
                emulator.judge(found.task_id)
        return record(state, found)

    monkeypatch.setattr(PollState, "record", judge_after_some_polls)
    run = run_task(QianfanEvaluationOperator, **MANUAL, deferrable=deferrable, poll_interval=0.05)
    assert run.value["status"] == "Successed"
    assert "manualAvgScore" in run.value["metrics"]["amv-1"]
    assert capfd.readouterr().out.count("waits for a person; it goes on when the answers") == 1


def test_execution_timeout_is_told_also_where_it_is_over_again_while_a_stop_is_refused(
    start_emulator, run_task
):
    emulator = start_emulator(task_seconds=0.3)
    timeout = timedelta(seconds=3)
    run = run_task(
        QianfanEvaluationOperator, **MANUAL, deferrable=True, poll_interval=0.1, execution_timeout=timeout
    )
    assert isinstance(run.error, QianfanExecutionTimeoutError)
    assert actions_of(emulator).count("StopEvalTask") > 1


@MODES
def test_a_person_is_waited_for_until_execution_timeout(start_emulator, run_task, deferrable, monkeypatch):
    stop = QianfanEvaluationOperator._stop
    monkeypatch.setattr(
        QianfanEvaluationOperator, "_stop", lambda self, hook, why, seconds: stop(self, hook, why, seconds=1)
    )
    emulator = start_emulator(task_seconds=0.3)
    run = run_task(
        QianfanEvaluationOperator,
        **MANUAL,
        deferrable=deferrable,
        poll_interval=0.1,
        execution_timeout=timedelta(seconds=4),
    )
    assert isinstance(run.error, QianfanExecutionTimeoutError)
    # The service does not stop what people take part in.
    assert tasks_of(emulator)[0]["state"] == "RunningWithManualBegin"
    assert "may go on" in str(run.error)


@pytest.mark.parametrize("mode", ["poke", "reschedule", "deferrable"])
def test_sensor_fails_where_a_person_is_needed_if_told_so(start_emulator, run_task, mode):
    start_emulator(task_seconds=0.3)
    how = {"deferrable": True} if mode == "deferrable" else {"mode": mode}
    run = run_task(
        QianfanEvalTaskSensor, eval_task_id=create("manual"), manual="fail", poke_interval=0.1, **how
    )
    assert isinstance(run.error, QianfanPersonNeededError)


@pytest.mark.parametrize("mode", ["poke", "reschedule", "deferrable"])
def test_sensor_waits_for_the_end(start_emulator, run_task, mode):
    start_emulator(task_seconds=0.4)
    how = {"deferrable": True} if mode == "deferrable" else {"mode": mode}
    run = run_task(QianfanEvalTaskSensor, eval_task_id=create(), poke_interval=0.1, timeout=30, **how)
    assert run.value["status"] == "Successed"
    assert run.xcom["_link_QianfanEvalTaskLink"] == run.value["console_url"]


@pytest.mark.parametrize("operator", [QianfanEvaluationOperator, QianfanEvalTaskSensor])
def test_manual_takes_two_words_only(operator):
    needed = EVALUATION if operator is QianfanEvaluationOperator else {"eval_task_id": "ame-1"}
    with DAG("words"), pytest.raises(ValueError, match="manual must be 'wait' or 'fail', not 'skip'"):
        operator(task_id="x", **needed, manual="skip")


# One operator for each Action


def test_creating_returns_id_and_name_at_once(emulator, run_task):
    run = run_task(QianfanCreateEvalTaskOperator, **EVALUATION)
    (task,) = tasks_of(emulator)
    assert run.value == {"eval_task_id": task["taskId"], "task_name": task["taskName"]}
    described = run_task(QianfanDescribeEvalTaskOperator, eval_task_id=task["taskId"])
    assert (described.value["status"], described.value["eval_type"]) == ("Queued", "auto")


def test_list_is_by_type(emulator, run_task):
    auto, manual = create(), create("manual")

    def listed(**arguments):
        found = run_task(QianfanDescribeEvalTasksOperator, **arguments).value
        return [row["eval_task_id"] for row in found]

    assert listed() == [auto]
    assert listed(eval_type="manual") == [manual]
    assert listed(key_filter="{{ 'amv-1' }}") == [auto]
    assert listed(key_filter="amv-9") == []


def test_report_of_what_has_not_ended_is_an_error_and_of_what_has_is_numbers(emulator, run_task):
    task_id = create()
    run = run_task(QianfanDescribeEvalTaskReportOperator, eval_task_id=task_id)
    assert isinstance(run.error, QianfanRequestError)
    emulator.advance(2 * HOUR)
    run = run_task(QianfanDescribeEvalTaskReportOperator, eval_task_id=task_id)
    assert set(run.value["metrics"]) == {"amv-1", "amv-2"}


def test_stop_takes_an_empty_object_for_an_answer(emulator, run_task):
    task_id = create()
    run = run_task(QianfanStopEvalTaskOperator, eval_task_id=task_id, poll_interval=0.05)
    assert run.value == {"eval_task_id": task_id, "status": "Stopped", "state_text": "Stopped"}


def test_refused_stop_of_a_manual_evaluation_fails(emulator, run_task):
    run = run_task(QianfanStopEvalTaskOperator, eval_task_id=create("manual"))
    assert isinstance(run.error, QianfanRequestError)


@pytest.mark.parametrize("fault", [None, "lost_answer"])
def test_delete(emulator, run_task, fault):
    task_id = create()
    QianfanHook().call(StopEvalTask(task_id=task_id))
    if fault:
        emulator.fail_next("DeleteEvalTask", kind=fault)
    run = run_task(QianfanDeleteEvalTaskOperator, eval_task_id=task_id)
    assert run.value == {"eval_task_id": task_id, "deleted": True}
    assert tasks_of(emulator) == []
    run = run_task(QianfanDeleteEvalTaskOperator, eval_task_id=task_id)
    assert isinstance(run.error, QianfanNotFoundError)
    run = run_task(QianfanDeleteEvalTaskOperator, eval_task_id=task_id, if_missing="ignore")
    assert run.value["deleted"] is False


@MODES
@pytest.mark.parametrize("answer", ["string", "object"])
def test_export_is_created_and_waited_for(start_emulator, run_task, deferrable, answer):
    emulator = start_emulator(model_seconds=0.3, assumptions=Assumptions(evaluation_export_answer=answer))
    task_id = create()
    emulator.advance(2 * HOUR)
    run = run_task(
        QianfanCreateEvalResultExportTaskOperator,
        eval_task_id=task_id,
        storage_type="BOS",
        bucket="b",
        export_content=["prompt", "{{ 'metrics' }}"],
        wait_for_completion=True,
        deferrable=deferrable,
        poll_interval=0.05,
    )
    (export,) = emulator.objects("eval_export")
    assert export["request"] == {
        "evalId": task_id,
        "storageType": "BOS",
        "bucket": "b",
        "exportContent": ["prompt", "metrics"],
    }
    assert (run.value["status"], run.value["download_url"]) == ("Succeeded", export["downloadUrl"])
    described = run_task(
        QianfanDescribeEvalResultExportTaskOperator,
        eval_result_export_task_id=run.value["eval_result_export_task_id"],
    )
    assert {**described.value, "console_url": None} == run.value


def test_export_that_fails_fails_its_sensor(emulator, run_task):
    task_id = create()
    emulator.advance(2 * HOUR)
    run = run_task(QianfanCreateEvalResultExportTaskOperator, eval_task_id=task_id, bucket="fail")
    emulator.advance(2 * HOUR)
    run = run_task(QianfanEvalResultExportTaskSensor, **run.value)
    assert isinstance(run.error, QianfanTerminalStateError)


def test_lost_answer_of_an_export_is_told_and_not_sent_again(emulator, run_task):
    task_id = create()
    emulator.advance(2 * HOUR)
    emulator.fail_next("CreateEvalResultExportTask", kind="lost_answer")
    run = run_task(QianfanCreateEvalResultExportTaskOperator, eval_task_id=task_id, **RETRIES)
    assert isinstance(run.error, QianfanAmbiguousCreateError)
    assert actions_of(emulator).count("CreateEvalResultExportTask") == 1
    assert run.tries == {"it": 1}


# The gate

NUMBERS = itertools.count()


def gated(evaluation, **arguments):
    """Return a DAG: evaluate, gate, publish, tell; and a task that is not behind the gate."""
    with DAG(f"gated_{next(NUMBERS)}", schedule=None) as dag:
        if evaluation:
            evaluate = QianfanEvaluationOperator(task_id="evaluate", **EVALUATION, poll_interval=0.05)
            arguments["metrics"] = evaluate.output["metrics"]
        gate = QianfanMetricsGate(task_id="gate", **arguments)
        tell = EmptyOperator(task_id="tell", trigger_rule="all_done")
        gate >> EmptyOperator(task_id="publish") >> tell
        EmptyOperator(task_id="other")
    return dag


GOOD = {"x": 0.5}


def test_gate_that_passes_lets_the_dag_go_on(run_dag):
    run = run_dag(gated(False, metrics=GOOD, thresholds={"x": {"min": 0.5}}))
    assert run.states == {"gate": "success", "publish": "success", "tell": "success", "other": "success"}
    assert run.xcoms["gate"]["passed"] is True


def test_gate_that_does_not_pass_skips_all_that_is_downstream(run_dag, capfd):
    run = run_dag(gated(False, metrics=GOOD, thresholds={"x": {"min": 0.6}}))
    assert run.states == {"gate": "success", "publish": "skipped", "tell": "skipped", "other": "success"}
    assert run.state == "success"
    assert run.xcoms["gate"]["passed"] is False
    assert run.xcoms["gate"]["return_value"]["verdicts"][0]["verdict"] == "rejected"
    assert re.search(r"x +0\.5 +- +>= 0\.6 +rejected", capfd.readouterr().out)


def test_gate_may_leave_what_follows_to_its_trigger_rule(run_dag):
    arguments = {"metrics": GOOD, "thresholds": {"x": {"min": 0.6}}}
    run = run_dag(gated(False, **arguments, ignore_downstream_trigger_rules=False))
    assert run.states == {"gate": "success", "publish": "skipped", "tell": "success", "other": "success"}


def test_gate_may_fail(run_dag):
    run = run_dag(gated(False, metrics=GOOD, thresholds={"x": {"min": 0.6}}, if_rejected="fail"))
    assert run.states["gate"] == "failed"
    assert run.states["publish"] == "upstream_failed"
    assert isinstance(run.errors[0], QianfanMetricsRejectedError)


def test_gate_is_known_as_one_that_skips():
    """So that a downstream task that is cleared stays skipped."""
    dag = gated(False, metrics=GOOD, thresholds={"x": {"min": 0.6}})
    assert dag.get_task("gate").inherits_from_skipmixin


@pytest.mark.parametrize(("least", "state"), [(0.0, "success"), (2.0, "skipped")])
def test_gate_takes_the_metrics_of_an_evaluation(start_emulator, run_dag, least, state):
    start_emulator(task_seconds=0.2)
    run = run_dag(gated(True, model_id="amv-1", thresholds={"accuracy": {"min": least}}))
    assert run.states["publish"] == state
    assert run.xcoms["gate"]["metrics"] == run.xcoms["evaluate"]["metrics"]["amv-1"]


def test_gate_reads_metrics_where_ids_are_given(emulator, service, run_task):
    eval_task_id, training = create(), service.task()
    emulator.advance(2 * HOUR)
    known = len(emulator.journal)
    run = run_task(
        QianfanMetricsGate,
        eval_task_id="{{ params.e }}",
        model_id="amv-1",
        baseline_eval_task_id="{{ params.e }}",
        baseline_model_id="amv-1",
        params={"e": eval_task_id},
    )
    assert run.value["passed"] is True
    assert len(run.value["verdicts"]) == 6
    run = run_task(
        QianfanMetricsGate,
        fine_tuning_task_id=training,
        baseline_fine_tuning_task_id=training,
        thresholds={"ROUGE-L": {"min": "1%"}},
    )
    assert run.value["passed"] is True
    assert actions_of(emulator)[known:] == [
        "DescribeEvalTaskReport",
        "DescribeEvalTaskReport",
        "DescribeFineTuningTask",
        "DescribeFineTuningTask",
    ]


def test_gate_fails_where_the_training_has_no_metrics_yet(emulator, service, run_task):
    run = run_task(
        QianfanMetricsGate, fine_tuning_task_id=service.task(), thresholds={"ROUGE-L": {"min": 0.1}}
    )
    assert isinstance(run.error, QianfanMetricsRejectedError)
    assert "no metric ROUGE-L; there are none" in str(run.error)
