"""A model version is compressed, on a worker and in the triggerer."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from operator_values import FILES, HOUR, MARK, MODES, RETRIES, actions_of

from airflow_qianfan.api.actions.model import CreateCustomModel, CreateModelCompTask
from airflow_qianfan.emulator import Assumptions
from airflow_qianfan.exceptions import (
    QianfanAmbiguousCreateError,
    QianfanExecutionTimeoutError,
    QianfanNotFoundError,
    QianfanTerminalStateError,
    QianfanValidationError,
)
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.operators.model import (
    QianfanCancelModelCompTaskOperator,
    QianfanCreateModelCompTaskOperator,
    QianfanDeleteModelCompTaskOperator,
    QianfanDescribeModelCompTaskOperator,
    QianfanDescribeModelCompTasksOperator,
    QianfanModelCompressionOperator,
)
from airflow_qianfan.sensors.model import QianfanModelCompTaskSensor

FAST = {"poll_interval": 0.05}
QUANTIZATION = {"strategy": "Quantization", "weight": "INT8-PTQ"}
LOST = [
    {"kind": "lost_answer"},
    {"kind": "server_error"},
    {"kind": "server_error", "effect": True},
    {"kind": "malformed", "effect": True},
    {"kind": "reset"},
]


@pytest.fixture
def source(emulator, service):
    """A version that can be compressed, and its model set."""
    return make_source(emulator, service)


def make_source(emulator, service):
    model_set_id = service.model_set()
    request = CreateCustomModel(model_set_id=model_set_id, source_type="Import", import_meta=FILES)
    model_id = QianfanHook().call(request).model_id
    emulator.advance(2 * HOUR)
    return model_id, model_set_id


def make_task(source, name="small"):
    model_id, model_set_id = source
    request = CreateModelCompTask(
        name=name, source_model_id=model_id, model_set_id=model_set_id, config=QUANTIZATION
    )
    return QianfanHook().call(request).model_comp_task_id


def created(emulator):
    return [call for call in emulator.journal if call["action"] == "CreateModelCompTask" and call["effect"]]


@pytest.mark.parametrize("as_text", [False, True], ids=["object", "json text"])
def test_create_sends_every_field_rendered(emulator, source, run_task, as_text):
    config = '{"strategy": "Quantization", "weight": "{{ params.w }}"}'
    run = run_task(
        QianfanCreateModelCompTaskOperator,
        source_model_id="{{ params.source }}",
        model_set_id="{{ params.set }}",
        name="{{ params.w }}-task",
        description="by {{ params.w }}",
        config=config if as_text else {"strategy": "Quantization", "weight": "{{ params.w }}"},
        params={"source": source[0], "set": source[1], "w": "INT8-PTQ"},
    )
    (task,) = emulator.objects("comp_task")
    assert re.fullmatch(f"by INT8-PTQ {MARK}", task["description"])
    assert task["request"] == {
        "name": "INT8-PTQ-task",
        "sourceModelId": source[0],
        "modelSetId": source[1],
        "description": task["description"],
        "config": QUANTIZATION,
    }
    assert run.value == {"model_comp_task_id": task["id"], "source_model_id": source[0]}
    assert {name: run.xcom[name] for name in run.value} == run.value


@MODES
def test_the_whole_step_makes_a_version_in_the_set_of_its_source(
    start_emulator, service, run_task, deferrable
):
    emulator = start_emulator(task_seconds=0.4)
    model_id, model_set_id = make_source(emulator, service)
    run = run_task(
        QianfanModelCompressionOperator,
        source_model_id="{{ params.m }}",
        strategy="Quantization",
        weight="{{ params.w }}",
        deferrable=deferrable,
        params={"m": model_id, "w": "int8-ptq"},
        **FAST,
    )
    (task,) = emulator.objects("comp_task")
    small = next(model for model in emulator.models if model["modelId"] != model_id)
    assert run.value["model_id"] == run.xcom["model_id"] == small["modelId"] == task["modelId"]
    assert (small["modelSetId"], task["request"]["modelSetId"]) == (model_set_id, model_set_id)
    assert (run.value["status"], run.value["source_model_id"]) == ("succeeded", model_id)
    assert run.xcom["model_comp_task_id"] == run.value["model_comp_task_id"] == task["id"]
    assert re.fullmatch(r"dag_\d+_[0-9a-f]{12}", task["name"])
    assert run.xcom["_link_QianfanModelLink"] == run.value["console_url"]


@MODES
def test_a_failed_compression_ends_the_task_without_retries(start_emulator, service, run_task, deferrable):
    emulator = start_emulator(task_seconds=0.4)
    model_id, _ = make_source(emulator, service)
    arguments = {"source_model_id": model_id, "strategy": "Sparsity", "name": "will-fail"}
    run = run_task(QianfanModelCompressionOperator, **arguments, deferrable=deferrable, **FAST, **RETRIES)
    assert isinstance(run.error, QianfanTerminalStateError)
    assert run.error.state == "failed"
    assert run.tries == {"it": 1}
    assert len(emulator.objects("comp_task")) == 1


@MODES
def test_execution_timeout_cancels_the_compression(emulator, source, run_task, deferrable):
    run = run_task(
        QianfanModelCompressionOperator,
        source_model_id=source[0],
        strategy="Sparsity",
        deferrable=deferrable,
        execution_timeout=timedelta(seconds=5),
        **FAST,
    )
    assert isinstance(run.error, QianfanExecutionTimeoutError)
    (task,) = emulator.objects("comp_task")
    assert task["status"] == "stopped"
    assert f"compression task {task['id']} was stopped" in str(run.error)


@pytest.mark.parametrize("fault", LOST, ids=lambda fault: "-".join(map(str, fault.values())))
@pytest.mark.parametrize("whole", [False, True], ids=["action", "whole step"])
def test_a_compression_is_created_once_although_its_answer_fails(emulator, source, run_task, fault, whole):
    emulator.fail_next("CreateModelCompTask", **fault)
    common = {"source_model_id": source[0], "wait_for_completion": False, **RETRIES}
    if whole:
        run = run_task(QianfanModelCompressionOperator, strategy="Sparsity", **common)
    else:
        run = run_task(
            QianfanCreateModelCompTaskOperator, model_set_id=source[1], config=QUANTIZATION, **common
        )
    assert run.state == "success"
    (call,) = created(emulator)
    assert run.value["model_comp_task_id"] == call["ids"]["modelCompTaskId"]
    assert run.tries == {"it": 1}


def test_a_strangers_compression_of_the_same_version_is_not_taken(emulator, source, run_task):
    theirs = make_task(source)
    emulator.fail_next("CreateModelCompTask", kind="lost_answer")
    run = run_task(
        QianfanModelCompressionOperator,
        source_model_id=source[0],
        strategy="Sparsity",
        wait_for_completion=False,
    )
    assert run.value["model_comp_task_id"] not in (None, theirs)
    assert len(emulator.objects("comp_task")) == 2


def test_without_durable_a_lost_answer_fails_and_is_not_repeated(emulator, source, run_task):
    emulator.fail_next("CreateModelCompTask", kind="lost_answer")
    run = run_task(
        QianfanCreateModelCompTaskOperator,
        source_model_id=source[0],
        model_set_id=source[1],
        config=QUANTIZATION,
        durable=False,
        **RETRIES,
    )
    assert isinstance(run.error, QianfanAmbiguousCreateError)
    assert actions_of(emulator).count("CreateModelCompTask") == 1


@MODES
def test_polls_that_fail_are_tolerated_and_the_task_goes_on(start_emulator, service, run_task, deferrable):
    emulator = start_emulator(task_seconds=0.4)
    model_id, _ = make_source(emulator, service)
    emulator.fail_next("DescribeModelCompTask", kind="server_error", count=2)
    emulator.fail_next("DescribeModelCompTask", kind="unknown_status", word="queueing")
    run = run_task(
        QianfanModelCompressionOperator,
        source_model_id=model_id,
        strategy="Sparsity",
        deferrable=deferrable,
        **FAST,
    )
    assert run.value["status"] == "succeeded"
    assert len(created(emulator)) == 1


@pytest.mark.parametrize("kind", ["a picture model", "a compressed one"])
def test_what_cannot_be_compressed_is_refused_before_anything_is_created(emulator, source, run_task, kind):
    if kind == "a compressed one":
        make_task(source)
        emulator.advance(2 * HOUR)
        model_id = emulator.objects("comp_task")[0]["modelId"]
    else:
        files = {**FILES, "modelApplicationType": "Text-to-Image"}
        request = CreateCustomModel(model_set_id=source[1], source_type="Import", import_meta=files)
        model_id = QianfanHook().call(request).model_id
        emulator.advance(2 * HOUR)
    known = len(created(emulator))
    run = run_task(QianfanModelCompressionOperator, source_model_id=model_id, strategy="Sparsity", **RETRIES)
    assert isinstance(run.error, QianfanValidationError)
    assert "isSupportModelComp is false" in str(run.error)
    assert (len(created(emulator)), run.tries) == (known, {"it": 1})


def test_quantization_without_a_weight_is_refused_before_anything_is_asked(emulator, run_task):
    run = run_task(QianfanModelCompressionOperator, source_model_id="amv-1", strategy="Quantization")
    assert isinstance(run.error, QianfanValidationError)
    assert run.error.parameters == ("config.weight",)
    assert actions_of(emulator) == []


def test_a_task_is_described_and_listed_in_whatever_state_it_is(emulator, source, run_task):
    ids = [make_task(source), make_task(source, "will-fail")]
    emulator.advance(2 * HOUR)
    done = run_task(
        QianfanDescribeModelCompTaskOperator, model_comp_task_id="{{ params.t }}", params={"t": ids[0]}
    ).value
    failed = run_task(QianfanDescribeModelCompTaskOperator, model_comp_task_id=ids[1]).value
    assert (done["status"], done["failed_reason"]) == ("succeeded", None)
    assert done["model_id"].startswith("amv-")
    assert (failed["status"], failed["model_id"]) == ("failed", None)
    assert failed["failed_reason"]
    rows = run_task(QianfanDescribeModelCompTasksOperator, source_model_id=source[0]).value
    assert [row["model_comp_task_id"] for row in rows] == ids
    assert run_task(QianfanDescribeModelCompTasksOperator, source_model_id="amv-x").value == []


def test_cancel_waits_until_the_task_has_stopped(start_emulator, service, run_task):
    emulator = start_emulator(assumptions=Assumptions(stop_delay_seconds=0.3))
    task_id = make_task(make_source(emulator, service))
    run = run_task(
        QianfanCancelModelCompTaskOperator, model_comp_task_id="{{ params.t }}", params={"t": task_id}, **FAST
    )
    assert run.value == {"model_comp_task_id": task_id, "status": "stopped", "status_text": "stopped"}


@pytest.mark.parametrize("answer", ["error", "accept"])
def test_cancel_of_a_task_that_has_ended_tells_how(start_emulator, service, run_task, answer):
    emulator = start_emulator(assumptions=Assumptions(cancel_ended_comp_task=answer))
    task_id = make_task(make_source(emulator, service))
    emulator.advance(2 * HOUR)
    run = run_task(QianfanCancelModelCompTaskOperator, model_comp_task_id=task_id, **FAST)
    assert run.value["status"] == "succeeded"


def test_cancel_and_delete_of_a_missing_task_fail_or_are_ignored(emulator, run_task):
    for operator in (QianfanCancelModelCompTaskOperator, QianfanDeleteModelCompTaskOperator):
        run = run_task(operator, model_comp_task_id="amva-gone", **RETRIES)
        assert isinstance(run.error, QianfanNotFoundError)
        ignored = run_task(operator, model_comp_task_id="amva-gone", if_missing="ignore")
        assert ignored.state == "success"


@pytest.mark.parametrize("fault", [None, "lost_answer"])
def test_delete_deletes_the_task_and_leaves_the_version(emulator, source, run_task, fault):
    task_id = make_task(source)
    emulator.advance(2 * HOUR)
    if fault:
        emulator.fail_next("DeleteModelCompTask", kind=fault)
    run = run_task(QianfanDeleteModelCompTaskOperator, model_comp_task_id=task_id)
    assert run.value == {"model_comp_task_id": task_id, "deleted": True}
    assert (emulator.objects("comp_task"), len(emulator.models)) == ([], 2)


@pytest.mark.parametrize(
    "how",
    [{"mode": "poke"}, {"mode": "reschedule"}, {"deferrable": True}],
    ids=["poke", "reschedule", "defer"],
)
def test_sensor_waits_for_the_version(start_emulator, service, run_task, how):
    emulator = start_emulator(task_seconds=0.4)
    task_id = make_task(make_source(emulator, service))
    run = run_task(QianfanModelCompTaskSensor, model_comp_task_id=task_id, poke_interval=0.1, **how)
    assert run.value["model_id"] == emulator.objects("comp_task")[0]["modelId"]
