"""Attempts of a task that exports. An export is read by the id of its model version; only the latest is."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

import httpx
import pytest
from airflow.sdk.bases.operator import ExecutorSafeguard
from creating import EXPORT, LOST, MD, TASK_LOG, Store, Work, call
from in_process import HOUR

from airflow_qianfan.compat import TaskDeferred
from airflow_qianfan.exceptions import QianfanAmbiguousCreateError, QianfanError
from airflow_qianfan.operators.model import QianfanModelExportOperator
from airflow_qianfan.triggers.model import QianfanModelExportTrigger


@pytest.fixture
def work(emulator: Any) -> Work:
    return Work(emulator, EXPORT)


def export_of(work: Work) -> str:
    return str(call(MD, "CreateModelExportTask", modelId=work.arguments["model_id"])["exportId"])


def takes_effect(fault: dict[str, Any]) -> bool:
    return bool(fault.get("effect")) or fault["kind"] in ("lost_answer", "timeout")


@pytest.mark.parametrize("earlier", [False, True], ids=["first", "again"])
@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_one_is_created_whatever_becomes_of_the_create(work, fault, earlier):
    if earlier:
        export_of(work)
        work.before += 1
    work.emulator.fail_next(EXPORT.create, **fault)
    if takes_effect(fault):
        with pytest.raises(QianfanAmbiguousCreateError, match="nothing tells whose"):
            work.attempt()
    else:
        assert [work.attempt()] == work.ours()
    assert len(work.ours()) == 1


@pytest.mark.parametrize("earlier", [False, True], ids=["first", "again"])
def test_a_retry_does_not_take_what_may_be_another_tasks(work, earlier):
    if earlier:
        export_of(work)
        work.before += 1
    work.lose_answer()
    for number in (2, 3):
        with pytest.raises(QianfanAmbiguousCreateError, match="nothing tells whose") as caught:
            work.attempt(number)
        assert work.ours()[0] in str(caught.value)
    with pytest.raises(QianfanAmbiguousCreateError):
        work.attempt(4, generation=7)
    assert len(work.ours()) == 1
    created = work.attempt(4, generation=7, on_clear="restart")
    assert work.ours()[1:] == [created]


@pytest.mark.parametrize(
    "fault", [{"kind": "server_error"}, {"kind": "lost_answer"}], ids=["before", "after"]
)
def test_of_two_tasks_that_export_at_once_none_takes_the_others(work, emulator, monkeypatch, fault):
    """The answer of the one is lost in the moment in which the other exports the same version."""
    other = copy.copy(work)
    other.store, other.xcoms = Store(), {}
    emulator.fail_next(EXPORT.create, **fault)
    theirs: list[str] = []
    send = httpx.HTTPTransport.handle_request

    def overtaken(transport: Any, request: httpx.Request) -> httpx.Response:
        try:
            return send(transport, request)
        finally:
            if EXPORT.create in str(request.url) and not theirs:
                theirs.append("not known yet")
                theirs[0] = other.attempt()

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", overtaken)
    with pytest.raises(QianfanAmbiguousCreateError, match="nothing tells whose"):
        work.attempt()
    assert work.ours()[-1:] == theirs
    assert len(work.ours()) == (2 if fault["kind"] == "lost_answer" else 1)


def test_the_log_tells_where_another_task_exports_the_same_version_later(work, emulator, task_log):
    arguments = {**work.arguments, "poll_interval": 0.001, "max_poll_interval": 0.001}
    operator = QianfanModelExportOperator(task_id="it", **arguments)
    operator._cached_logger = TASK_LOG
    later: list[str] = []
    created = operator.created

    def overtaken(*given: Any) -> None:
        created(*given)
        if not later:
            later.append(export_of(work))
            work.emulator.advance(2 * HOUR)

    operator.created = overtaken
    result = work.run(operator=operator)
    assert result["export_id"] == later[0]
    assert work.xcoms["export_id"] != later[0]
    assert f"the link is that of export {later[0]}, and not of {work.xcoms['export_id']}" in task_log()


@pytest.mark.parametrize("number_of_write", [1, 3])
def test_a_crash_elsewhere_creates_no_second_one(work, number_of_write):
    work.store.broken = number_of_write
    with pytest.raises(ConnectionError):
        work.attempt()
    assert [work.attempt(2)] == work.ours()


def test_a_clear_exports_again_once_the_first_was_delivered(work):
    first = work.attempt()
    work.emulator.advance(2 * HOUR)
    second = work.attempt(2, generation=7)
    assert work.ours() == [first, second]
    assert work.attempt(3, generation=7) == second


def test_a_retry_after_an_export_that_failed_exports_again(work, emulator):
    first = work.attempt()
    emulator.answer(MD, "DescribeModelExportTask", {"exportId": first, "hasRecord": True, "status": "Fail"})
    assert work.attempt(2) != first
    assert len(work.ours()) == 2


@pytest.mark.parametrize("answer", [{"hasRecord": False}, {"hasRecord": False, "status": ""}])
def test_a_retry_after_an_export_that_vanished_exports_again(work, emulator, answer):
    first = work.attempt()
    emulator.answer(MD, "DescribeModelExportTask", answer)
    second = work.attempt(2)
    assert work.ours() == [first, second]


def test_without_a_store_nobody_knows_whose_an_export_is(work):
    work.store = None
    work.attempt()
    with pytest.raises(QianfanAmbiguousCreateError, match="nothing tells whose"):
        work.attempt(2)
    assert len(work.ours()) == 1


def test_a_list_that_cannot_be_read_creates_nothing(work):
    work.emulator.fail_next("DescribeModelExportTask", kind="error", status=403, code="AccessDenied")
    with pytest.raises(QianfanError):
        work.attempt()
    assert work.ours() == []


async def test_a_deferred_export_is_attached_to_after_a_crash(work, monkeypatch):
    """The process dies while the task is deferred; another triggerer and another attempt go on."""
    transport = httpx.MockTransport(work.emulator.handle)

    async def handle_async(_: Any, request: httpx.Request) -> httpx.Response:
        return await transport.handle_async_request(request)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle_async)

    def operator() -> Any:
        made = QianfanModelExportOperator(
            task_id="it", **work.arguments, deferrable=True, poll_interval=0.001, max_poll_interval=0.001
        )
        ExecutorSafeguard.tracker.set(made)
        return made

    deferrals = []
    for number in (1, 2):
        with pytest.raises(TaskDeferred) as deferred:
            operator().execute(work.context(number))
        deferrals.append(deferred.value)
    assert len(work.ours()) == 1
    work.emulator.advance(2 * HOUR)
    path, arguments = deferrals[-1].trigger.serialize()
    assert path.endswith(".QianfanModelExportTrigger")
    async with asyncio.timeout(60):
        trigger = QianfanModelExportTrigger(**json.loads(json.dumps(arguments)))
        (event,) = [event.payload async for event in trigger.run()]
    assert "download_url" not in event["output"]
    result = operator().execute_complete(work.context(2), json.loads(json.dumps(event)))
    assert (result["status"], result["export_id"]) == ("Done", work.ours()[0])
    assert result["download_url"].startswith("https://")
