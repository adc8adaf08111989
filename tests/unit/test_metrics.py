"""What metrics and traces are told of calls, and that they are told nothing where Airflow has them off."""

from __future__ import annotations

import asyncio
import inspect
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from examples import CREATE, READ, TASK
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from recorded_stats import RecordedStats
from versions import AIRFLOW
from wire import ok, refusal, reply

from airflow_qianfan import compat, exceptions, metrics
from airflow_qianfan.compat import AirflowTaskTimeout
from airflow_qianfan.exceptions import (
    QianfanAmbiguousCreateError,
    QianfanAPIError,
    QianfanConnectionError,
    QianfanError,
    QianfanNotFoundError,
    QianfanResponseError,
    QianfanServerError,
    QianfanThrottledError,
    QianfanValidationError,
)
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.metrics import Metrics, aload_metrics, load_metrics, outcome_of

ACTION = READ.action
BUSY = refusal("RequestLimitExceeded", 429)
LOST = httpx.ReadTimeout
UNSENT = httpx.ConnectError
ERRORS = [
    error
    for _, error in inspect.getmembers(exceptions, inspect.isclass)
    if issubclass(error, QianfanError) and error is not QianfanError
]
DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
LEGAL = re.compile(r"[a-zA-Z0-9_.-]{1,150}")
"""What Airflow, StatsD and OpenTelemetry take, with room for a prefix."""


@pytest.fixture
def stats():
    return RecordedStats()


@pytest.fixture
def unloaded(monkeypatch):
    """A process that has not read Airflow's configuration yet."""
    monkeypatch.setattr(metrics, "_LOADED", [])


@pytest.fixture
def call(connect, wire, stats, slept):
    """Call an Action that is answered so, with a client whose observer tells these metrics."""

    def call(request, *answers, **settings):
        wire.script(*answers)
        caller = connect(**settings)
        caller.client._observer = Metrics(stats, legacy_names=False)
        return caller.call(request)

    return call


# Outcomes


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (None, "ok"),
        (QianfanConnectionError("no answer"), "lost_answer"),
        (QianfanConnectionError("no connection", sent=False), "connection"),
        (QianfanAmbiguousCreateError("?"), "ambiguous_create"),
        (QianfanAPIError("?"), "api"),
        (QianfanThrottledError("busy"), "throttled"),
        (exceptions.QianfanInvalidAccessKeyError("who?"), "invalid_access_key"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_outcome_is_one_word(error, word):
    assert outcome_of(error) == word


def test_outcomes_are_few_and_differ():
    words = [outcome_of(error("?")) for error in ERRORS]
    assert len(set(words)) == len(words)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", word) for word in words)


# Calls


def test_call_counts_with_its_outcome_and_how_long_it_took(call, stats):
    call(READ, ok(TASK))
    assert [(how, name) for how, name, _, _ in stats.told] == [
        ("incr", "qianfan.calls"),
        ("timing", "qianfan.call_duration"),
    ]
    assert stats.told[0][3] == stats.told[1][3] == {"action": ACTION, "outcome": "ok"}


@pytest.mark.parametrize(
    ("answer", "error", "outcome"),
    [
        (refusal("NoSuchKey", 404), QianfanNotFoundError, "not_found"),
        (refusal("InternalError", 500), QianfanServerError, "server"),
        (BUSY, QianfanThrottledError, "throttled"),
        (LOST, QianfanConnectionError, "lost_answer"),
        (UNSENT, QianfanConnectionError, "connection"),
        (ok([1, 2]), QianfanResponseError, "response"),
        (reply(b"<html>"), QianfanResponseError, "unreadable_answer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_call_that_fails_counts_once(call, stats, answer, error, outcome):
    with pytest.raises(error):
        call(READ, answer, max_retries=0)
    assert stats.counts("calls") == [(ACTION, outcome)]
    assert stats.counts("retries") == []
    assert stats.counts("throttles") == [(ACTION,)] * (outcome == "throttled")


def test_each_retry_counts_with_its_reason_and_the_call_once(call, stats):
    call(READ, LOST, BUSY, refusal("InternalError", 500), ok(TASK))
    assert stats.counts("retries") == [(ACTION, "lost_answer"), (ACTION, "throttled"), (ACTION, "server")]
    assert stats.counts("throttles") == [(ACTION,)]
    assert stats.counts("calls") == [(ACTION, "ok")]


def test_create_whose_answer_is_lost_is_in_doubt_and_not_retried(call, stats):
    with pytest.raises(QianfanAmbiguousCreateError):
        call(CREATE, LOST)
    assert stats.counts("calls") == [(CREATE.action, "ambiguous_create")]
    assert stats.counts("retries") == []


def test_any_other_action_counts_under_its_name_unless_that_could_be_anything(connect, wire, stats):
    caller = connect()
    caller.client._observer = Metrics(stats, legacy_names=False)
    wire.script(ok())
    for action in ("DescribeDatasets", "Describe Datasets", "描述", "x" * 65, "id-5f2"):
        caller.call_action("/v2/dataset", action)
    assert [action for action, _ in stats.counts("calls")] == ["DescribeDatasets", *["other"] * 4]


def test_each_page_of_a_list_is_a_call(connect, wire, stats):
    from airflow_qianfan.api.actions.finetuning import DescribeFineTuningJobs

    caller = connect()
    caller.client._observer = Metrics(stats, legacy_names=False)
    more = {"pageInfo": {"isTruncated": True, "nextMarker": "job-2"}, "jobList": [{"jobId": "job-1"}]}
    wire.script(ok(more), ok({"jobList": [{"jobId": "job-2"}]}))
    assert len(caller.rows(DescribeFineTuningJobs())) == 2
    assert stats.counts("calls") == [("DescribeFineTuningJobs", "ok")] * 2


def test_request_that_is_not_sent_does_not_count(connect, stats):
    caller = connect()
    caller.client._observer = Metrics(stats)
    with pytest.raises(QianfanValidationError):
        caller.call_action("no slash", "DescribeDatasets")
    assert stats.told == []


def test_call_that_is_interrupted_does_not_count(connect, wire, stats):
    def interrupt(request):
        raise AirflowTaskTimeout("execution_timeout")

    caller = connect()
    caller.client._observer = Metrics(stats)
    wire.script(interrupt)
    with pytest.raises(AirflowTaskTimeout):
        caller.call(READ)
    assert stats.told == []


# Names


def tell_all(metrics):
    """Tell every metric that there is."""
    metrics.call_retried(ACTION, QianfanThrottledError("busy"))
    for error in (None, *[error("?") for error in ERRORS]):
        metrics.call_ended(ACTION, 1.5, error, "req-1")
    metrics.wait_changed(+1)
    metrics.poll_sent(0.25)
    for found in ("record", "search", "name"):
        metrics.attached("FineTuningTask", found)


def test_names_are_legal_and_hold_no_id(stats, monkeypatch):
    monkeypatch.setattr(metrics.socket, "gethostname", lambda: "pod-1.example.com,x=1")
    tell_all(Metrics(stats))
    for _, name, _, tags in stats.told:
        assert LEGAL.fullmatch(name)
        assert all(re.fullmatch(r"[A-Za-z0-9_-]+", value) for value in tags.values())
        assert "req-1" not in name
        assert "req-1" not in tags.values()
    hostnames = {tags["hostname"] for _, _, _, tags in stats.told if "hostname" in tags}
    assert hostnames == {"pod-1_example_com_x_1"}


def test_metric_with_tags_is_sent_under_a_name_that_holds_them_too_as_airflow_does(stats):
    Metrics(stats).call_retried(ACTION, QianfanConnectionError("no answer"))
    assert stats.told == [
        ("incr", f"qianfan.retries.{ACTION}.lost_answer", None, {}),
        ("incr", "qianfan.retries", None, {"action": ACTION, "outcome": "lost_answer"}),
    ]


def test_documented_are_all_metrics_with_their_kind_and_tags(stats):
    tell_all(Metrics(stats, legacy_names=False))
    kinds = {"incr": "counter", "gauge": "gauge", "timing": "timer"}
    sent = {(name, kinds[how], tuple(tags)) for how, name, _, tags in stats.told}
    rows = re.findall(r"^\| `(qianfan\.\w+)` \| (\w+) \| ([^|]+) \|", DOCS.read_text(), re.MULTILINE)
    assert {(name, kind, tuple(re.findall(r"`(\w+)`", tags))) for name, kind, tags in rows} == sent


def test_documented_are_all_outcomes():
    section = DOCS.read_text().partition("## Outcomes")[2].partition("\n## ")[0]
    possible = {outcome_of(error("?")) for error in ERRORS if issubclass(error, QianfanAPIError)}
    possible |= {"ok", "lost_answer", "connection", "ambiguous_create"}
    assert set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) == possible


# Metrics never do harm


def test_metrics_that_fail_do_not_fail_the_call_and_are_reported_once(connect, wire, logs):
    def broken(*args, **kwargs):
        raise OSError("s3cret of the network")

    wire.script(LOST, ok(TASK))
    caller = connect(max_retries=1)
    traces = SimpleNamespace(get_current_span=broken)
    caller.client._observer = Metrics(SimpleNamespace(incr=broken, timing=broken), traces)
    caller.call(READ)
    assert logs().count("does not take metrics") == 1
    assert "OSError" in logs()
    assert "s3cret" not in logs()


# Where Airflow has them on


def test_without_metrics_and_traces_nothing_is_observed(unloaded, connection):
    assert load_metrics() is None
    assert QianfanHook().client._observer is None


@pytest.mark.parametrize("backend", ["statsd_on", "statsd_datadog_enabled", "otel_on"])
def test_each_backend_of_airflow_is_told(unloaded, monkeypatch, backend):
    monkeypatch.setenv(f"AIRFLOW__METRICS__{backend.upper()}", "True")
    found = compat.stats()
    for function in (found.incr, found.gauge, found.timing, found.timer):
        assert callable(function)


@pytest.mark.parametrize(("setting", "legacy"), [(None, True), ("True", True), ("False", False)])
def test_legacy_names_follow_the_setting_of_airflow(unloaded, monkeypatch, stats, setting, legacy):
    monkeypatch.setattr(metrics, "stats", lambda: stats)
    if setting is not None:
        monkeypatch.setenv("AIRFLOW__METRICS__LEGACY_NAMES_ON", setting)
    loaded = load_metrics()
    assert stats.told == []
    loaded.attached("Model", "search")
    assert [name for _, name, _, _ in stats.told] == [
        *["qianfan.attached.Model.search"] * legacy,
        "qianfan.attached",
    ]


@pytest.mark.parametrize("how", ["sync", "async"])
def test_client_of_a_hook_is_observed(unloaded, monkeypatch, connection, stats, wire, how):
    monkeypatch.setattr(metrics, "stats", lambda: stats)
    wire.script(ok(TASK))
    hook = QianfanHook()
    asyncio.run(hook.acall(READ)) if how == "async" else hook.call(READ)
    assert stats.counts("calls") == [(ACTION, "ok")]


def test_test_of_a_connection_does_not_count(unloaded, monkeypatch, connection, stats, wire):
    monkeypatch.setattr(metrics, "stats", lambda: stats)
    wire.script(ok({"jobList": []}))
    assert QianfanHook().test_connection()[0]
    assert stats.told == []


def test_all_threads_of_a_process_share_one_count(unloaded, monkeypatch, stats):
    together = threading.Barrier(4)
    monkeypatch.setattr(metrics, "stats", lambda: stats)

    def load(_):
        together.wait()
        return load_metrics()

    with ThreadPoolExecutor(4) as pool:
        assert len({id(found) for found in pool.map(load, range(4))}) == 1


async def test_event_loop_does_not_wait_for_the_name_service(unloaded, monkeypatch, stats):
    asked_in = []

    def slow():
        asked_in.append(threading.current_thread())
        return stats

    monkeypatch.setattr(metrics, "stats", slow)
    assert await aload_metrics() is await aload_metrics() is load_metrics()
    (thread,) = asked_in
    assert thread is not threading.current_thread()


# Traces


@pytest.fixture
def spans():
    """What is exported, and the tracer of a task."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # The provider is set once for a process, so tests have one of their own.
    traces = SimpleNamespace(
        get_current_span=trace.get_current_span, get_tracer=provider.get_tracer, SpanKind=trace.SpanKind
    )
    return SimpleNamespace(exported=exporter.get_finished_spans, traces=traces)


def call_in_a_task(caller, spans, request):
    """Call an Action below the span that Airflow gives a task; return the error, if there is one."""
    caller.client._observer = Metrics(None, spans.traces)
    with spans.traces.get_tracer("airflow").start_as_current_span("worker.it"):
        try:
            found = caller.client.call(request)
            if caller._runner is not None:
                caller._runner.run(found, context=copy_context())
        except QianfanError as error:
            return error
    return None


@pytest.mark.parametrize(
    ("request_", "answer", "outcome"),
    [
        (READ, ok(TASK), "ok"),
        (READ, refusal("NoSuchKey", 404), "not_found"),
        (CREATE, refusal("InternalError", 500), "ambiguous_create"),
    ],
    ids=["ok", "refused", "in doubt"],
)
def test_call_of_a_task_is_a_span_of_its_trace(connect, wire, spans, request_, answer, outcome):
    wire.script(answer)
    error = call_in_a_task(connect(), spans, request_)
    assert outcome_of(error) == outcome
    span, task = spans.exported()
    assert span.name == f"qianfan.{request_.action}"
    assert span.parent.span_id == task.context.span_id
    assert dict(span.attributes) == {
        "qianfan.action": request_.action,
        "qianfan.outcome": outcome,
        "qianfan.request_id": "req-1",
    }
    assert task.start_time <= span.end_time <= task.end_time
    assert span.start_time <= span.end_time


def test_call_without_an_answer_is_a_span_without_a_request_id(connect, wire, spans):
    wire.script(LOST)
    call_in_a_task(connect(max_retries=0), spans, READ)
    span, _ = spans.exported()
    assert dict(span.attributes) == {"qianfan.action": ACTION, "qianfan.outcome": "lost_answer"}


def test_outside_of_a_task_there_is_no_span(connect, wire, spans):
    wire.script(ok(TASK))
    caller = connect()
    caller.client._observer = Metrics(None, spans.traces)
    caller.call(READ)
    assert spans.exported() == ()


@pytest.mark.skipif(AIRFLOW < (3, 2), reason="Airflow 3.1 gives tasks no span")
def test_traces_follow_the_setting_of_airflow(unloaded, monkeypatch):
    assert compat.task_traces() is None
    monkeypatch.setenv("AIRFLOW__TRACES__OTEL_ON", "True")
    assert compat.task_traces() is trace
    assert load_metrics() is not None


def test_without_a_trace_of_airflow_there_is_none(unloaded, monkeypatch):
    monkeypatch.setenv("AIRFLOW__TRACES__OTEL_ON", "True")
    monkeypatch.setitem(sys.modules, "airflow.sdk.observability", None)
    assert compat.task_traces() is None
