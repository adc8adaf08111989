"""A trigger from its first poll to its event."""

import asyncio
import itertools
import json
import logging
import math
from typing import Any

import pytest
from fake_qianfan import (
    MALFORMED,
    MISSING,
    NUMERIC,
    REFUSED_KEY,
    RESET,
    SECRET,
    TOKEN,
    answer,
    connect,
    refusal,
    server_error,
    throttled,
    word_of,
)
from waiting import (
    STATEFUL,
    STOPPABLE,
    TRIGGERS,
    again,
    event_of,
    models,
    running,
    task_trigger,
)

from airflow_qianfan.api.actions.finetuning import FineTuningTask
from airflow_qianfan.api.objects import Phase
from airflow_qianfan.exceptions import QianfanPollError, QianfanPollRefusedError
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.triggers.base.poller import Poller
from airflow_qianfan.triggers.base.polling import (
    LAST_POLL,
    MAX_REFUSED,
    PollSettings,
    Target,
    output_of,
    wait_on_worker,
)

FINAL = [
    pytest.param(trigger, phase, id=f"{trigger.__name__}-{phase}")
    for trigger in TRIGGERS
    for phase in (Phase.SUCCEEDED, Phase.FAILED, Phase.STOPPED)
    if any(state.phase is phase for state in trigger.kind().states.documented.values())
]
each = pytest.mark.parametrize("trigger", TRIGGERS)


def waiting_for(qianfan: Any, trigger: Any, phase: Phase | None = None, **arguments: Any) -> Any:
    """Have an object, and return a trigger that waits for it."""
    word = word_of(trigger.kind(), phase) if phase else None
    qianfan.add(trigger.kind(), "id-1", word, parent_id="parent-1")
    return trigger(**{trigger.id_name: "id-1", "poll_interval": 0.05, **arguments})


# How it ends


@pytest.mark.parametrize(("trigger", "phase"), FINAL)
async def test_a_final_state_is_an_event_with_the_output(qianfan, trigger, phase):
    event = await event_of(waiting_for(qianfan, trigger, phase))
    word = word_of(trigger.kind(), phase)
    assert (event["status"], event["state"]) == ("success" if phase is Phase.SUCCEEDED else "failed", word)
    assert event["message"] == f"{trigger.kind().noun} id-1 ended as {word}"
    assert event["ids"] == {trigger.id_name: "id-1"}
    assert event["output"][trigger.id_name] == "id-1"
    assert event["output"]["status"] == word
    # The connection leads to an emulator, which has pages of its own.
    has_page = qianfan.objects[0].kind(**qianfan.objects[0].detail()).console_url is not None
    page = event["output"]["console_url"]
    assert page.startswith("http://127.0.0.1:9/qianfan/") if has_page else page is None
    assert json.loads(json.dumps(event)) == event


@each
async def test_every_event_brings_back_what_the_trigger_carries(qianfan, trigger):
    carry = {"other_id": "id-2"}
    waiting = waiting_for(qianfan, trigger, Phase.SUCCEEDED, carry=carry)
    assert (await event_of(again(waiting)))["carry"] == carry
    missing = trigger(**{trigger.id_name: "id-9"}, poll_interval=0.01, max_poll_failures=0, carry=carry)
    event = await event_of(missing)
    assert (event["status"], event["carry"]) == ("error", carry)
    late = waiting_for(qianfan, trigger, deadline=1.0, carry=carry)
    assert (await event_of(late))["carry"] == carry


async def test_console_pages_are_baidus_own_where_the_service_is(qianfan, monkeypatch):
    connect(monkeypatch, host="https://qianfan.baidubce.com")
    qianfan.add(FineTuningTask, "task-1", "Done", parent_id="job-1")
    event = await event_of(task_trigger())
    assert event["output"]["console_url"].startswith(
        "https://console.bce.baidu.com/qianfan/train/sft/job-1/task-1"
    )


async def test_metrics_and_checkpoints_are_numbers_in_the_event(qianfan):
    points = [{"step": 100, "perplexity": "1.9"}, {"step": 50, "perplexity": "2.5"}]
    members = {"metrics": {"BLEU-4": "16.56%"}, "checkpointList": points}
    qianfan.add(FineTuningTask, "task-1", "Done", parent_id="job-1", **members)
    output = (await event_of(task_trigger()))["output"]
    assert output["metrics"] == {"BLEU-4": 0.1656}
    assert [(point["step"], point["perplexity"]) for point in output["checkpoints"]] == [
        (100, 1.9),
        (50, 2.5),
    ]
    assert output["best_checkpoint"]["step"] == output["best_checkpoint_step"] == 100
    assert output["best_checkpoint"]["perplexity"] == 1.9


@each
async def test_an_unknown_state_is_logged_and_waited_on(qianfan, trigger, capsys):
    waiting = waiting_for(qianfan, trigger)
    (remote,) = qianfan.objects
    remote.word = "Preempted"
    async with running([waiting]) as (task,):
        await qianfan.until(lambda: len(qianfan.calls) == 3)
        assert not task.done()
        remote.word = word_of(trigger.kind(), Phase.SUCCEEDED)
        assert (await task)["status"] == "success"
    log = capsys.readouterr().out
    assert log.count("not documented") == 1
    assert "Preempted" in log


# When it polls


async def test_the_first_poll_comes_within_an_interval_the_others_one_apart_with_a_tenth_of_jitter(
    qianfan, clock
):
    qianfan.add(FineTuningTask, "task-1", "Preempted")
    start = clock.monotonic()
    async with running([task_trigger(poll_interval=10.0, max_poll_interval=10.0)]):
        await qianfan.until(lambda: len(qianfan.calls) == 40)
    assert 0 <= qianfan.times[0] - start <= 10
    pauses = [later - sooner for sooner, later in itertools.pairwise(qianfan.times)]
    assert all(9.0 <= seconds <= 11.02 for seconds in pauses)
    assert len({round(seconds, 1) for seconds in pauses}) > 5


async def test_the_first_polls_of_many_triggers_are_spread(qianfan, clock):
    first = waiting_for(qianfan, TRIGGERS[-1], poll_interval=100.0)
    start = clock.monotonic()
    async with running([first, *(again(first) for _ in range(39))]):
        await asyncio.sleep(100.5)
    times = [moment - start for moment in qianfan.times]
    assert all(any(low <= seconds < low + 25 for seconds in times) for low in (0, 25, 50, 75))


@pytest.mark.parametrize(
    ("others", "fewest", "most", "late"), [(0, 330, 400, 35), (1500, 10, 60, 35)], ids=["alone", "in a crowd"]
)
async def test_the_load_decides_how_often_a_training_of_three_hours_is_polled(
    qianfan, clock, monkeypatch, others, fewest, most, late
):
    """Alone it is polled at ``poll_interval``; in a crowd few polls suffice to see its end soon."""
    monkeypatch.setattr(Poller, "load", property(lambda poller: others))
    length, start = 3 * 3600.0, clock.monotonic()
    remote = qianfan.add(FineTuningTask, "task-1", "Running", parent_id="job-1")

    async def train() -> None:
        for percent in range(1, 100):
            await asyncio.sleep(length / 100)
            remote.members["runProgress"] = f"{percent}%"
        await asyncio.sleep(length / 100)
        remote.word = "Done"

    training = asyncio.create_task(train())
    await event_of(task_trigger())
    await training
    assert fewest <= len(qianfan.calls) <= most
    assert clock.monotonic() - start <= length + late


@pytest.mark.parametrize(("number", "pause"), [(1, 30), (3, 30), (20, 200), (90, 600)])
async def test_all_that_wait_share_the_budget_of_polls_per_second(qianfan, clock, monkeypatch, number, pause):
    """They show no progress, and have waited for days: the plan alone would poll every ten minutes."""
    monkeypatch.setenv("AIRFLOW__QIANFAN__POLLS_PER_SECOND", "0.1")
    old = clock.time() - 3 * 86_400
    waiting = [again(trigger) for trigger in models(qianfan, number, started=old)]
    async with running(waiting):
        await asyncio.sleep(1200)
        before = len(qianfan.calls)
        await asyncio.sleep(1800)
    assert len(qianfan.calls) - before == pytest.approx(number * 1800 / pause, rel=0.15)


def test_a_wait_on_a_worker_polls_at_the_shortest_pause(qianfan, clock):
    """However old the waiting is: a worker waits for one object alone."""
    qianfan.add(FineTuningTask, "task-1", "Running", parent_id="job-1")
    settings = PollSettings(poll_interval=30.0, started=clock.time() - 86_400, deadline=clock.time() + 3600)
    wait_on_worker(QianfanHook(), Target(FineTuningTask, "task-1"), settings, logging.getLogger("test"))
    assert 110 <= len(qianfan.calls) <= 130


# What goes wrong on the way


@each
@pytest.mark.parametrize(
    "fault",
    [server_error(503), throttled(), RESET, NUMERIC, MALFORMED],
    ids=["server-error", "throttled", "reset", "numeric", "malformed"],
)
async def test_as_many_transient_failures_as_allowed_are_tolerated(qianfan, trigger, fault, monkeypatch):
    monkeypatch.setattr("airflow_qianfan.triggers.base.poller.MAX_THROTTLED", 0)
    waiting = waiting_for(qianfan, trigger, Phase.SUCCEEDED, max_poll_failures=3)
    qianfan.fail(fault, times=3)
    assert (await event_of(waiting))["status"] == "success"
    assert len(qianfan.calls) == 4


@each
async def test_one_failure_too_many_is_an_error_event_and_stops_nothing(qianfan, trigger):
    waiting = waiting_for(qianfan, trigger, max_poll_failures=2, cancel_on_kill=True)
    qianfan.fail(server_error(), times=math.inf)
    event = await event_of(waiting)
    assert (event["status"], event["can_retry"]) == ("error", True)
    assert event["message"].startswith(f"cannot read the state of {trigger.kind().noun} id-1: ")
    assert "HTTP 500" in event["message"]
    assert qianfan.actions == [trigger.kind().describe("id-1").action] * 3
    with pytest.raises(QianfanPollError) as caught:
        output_of(event)
    assert type(caught.value) is QianfanPollError


@each
@pytest.mark.parametrize(("misses", "status"), [(MAX_REFUSED, "success"), (MAX_REFUSED + 1, "error")])
async def test_what_is_missing_is_looked_for_a_few_times(qianfan, trigger, misses, status):
    waiting = waiting_for(qianfan, trigger, Phase.SUCCEEDED)
    qianfan.fail(MISSING, times=misses)
    assert (await event_of(waiting))["status"] == status


@each
@pytest.mark.parametrize("fault", [None, refusal("AccessDenied")], ids=["timeout", "refused"])
async def test_every_event_carries_the_id(qianfan, clock, trigger, fault):
    waiting = waiting_for(qianfan, trigger, deadline=clock.time())
    if fault:
        qianfan.fail(fault)
    event = await event_of(waiting)
    assert event["status"] == ("error" if fault else "timeout")
    assert event["ids"] == {trigger.id_name: "id-1"}


@each
async def test_a_failure_that_repeating_cannot_mend_ends_at_once_and_spends_no_retries(qianfan, trigger):
    waiting = waiting_for(qianfan, trigger)
    qianfan.fail(refusal("AccessDenied"), times=math.inf)
    event = await event_of(waiting)
    assert (event["status"], event["can_retry"]) == ("error", False)
    assert len(qianfan.calls) == 1
    with pytest.raises(QianfanPollRefusedError, match="AccessDenied"):
        output_of(event)


@pytest.mark.parametrize(
    ("has_answered", "refusals", "status", "polls"),
    # After each refusal the connection is read again; it has not changed.
    [
        (True, MAX_REFUSED, "success", MAX_REFUSED + 2),
        (True, 9, "error", MAX_REFUSED + 2),
        (False, 1, "error", 1),
    ],
)
async def test_a_key_that_worked_may_be_refused_a_few_times_a_wrong_one_never(
    qianfan, has_answered, refusals, status, polls
):
    remote = qianfan.add(FineTuningTask, "task-1", "Running", parent_id="job-1")
    async with running([task_trigger(poll_interval=1.0)]) as (task,):
        if has_answered:
            await qianfan.until(lambda: len(qianfan.calls) == 1)
            await asyncio.sleep(0.1)
            remote.word = "Done"
        qianfan.fail(REFUSED_KEY, times=refusals)
        event = await task
    assert (event["status"], len(qianfan.calls)) == (status, polls)
    assert event.get("can_retry", False) is False


def test_a_wait_on_a_worker_tolerates_what_a_trigger_does(qianfan, caplog):
    qianfan.add(FineTuningTask, "task-1", "Done", parent_id="job-1")
    running_task = {"requestId": "r", "result": {"taskId": "task-1", "runStatus": "Running"}}
    qianfan.fail(answer(running_task))
    qianfan.fail(REFUSED_KEY, times=MAX_REFUSED)
    qianfan.fail(server_error(), times=7)
    target = Target(FineTuningTask, "task-1")
    event = wait_on_worker(QianfanHook(), target, PollSettings(), logging.getLogger("test"))
    assert event["status"] == "success"
    assert len(qianfan.calls) == 1 + MAX_REFUSED + 7 + 1


def test_a_wait_on_a_worker_ends_at_the_deadline(qianfan, clock):
    qianfan.add(FineTuningTask, "task-1", "Running", parent_id="job-1")
    deadline = clock.time() + 3600
    settings = PollSettings(deadline=deadline)
    event = wait_on_worker(
        QianfanHook(), Target(FineTuningTask, "task-1"), settings, logging.getLogger("test")
    )
    assert event["status"] == "timeout"
    assert clock.time() == pytest.approx(deadline, abs=0.1)


async def test_a_missing_connection_is_an_error_event(qianfan):
    event = await event_of(task_trigger(qianfan_conn_id="nowhere", max_poll_failures=1))
    assert event["status"] == "error"
    assert "nowhere" in event["message"]


# Deadlines


@each
async def test_the_deadline_is_absolute_and_ends_the_waiting(qianfan, clock, trigger):
    deadline = clock.time() + 45
    waiting = waiting_for(qianfan, trigger, deadline=deadline, poll_interval=60.0, cancel_on_kill=True)
    event = await event_of(again(waiting))
    assert event["status"] == "timeout"
    assert clock.time() == pytest.approx(deadline, abs=0.1)
    assert set(qianfan.actions) == {trigger.kind().describe("id-1").action}
    assert 1 <= len(qianfan.calls) <= 2


@each
async def test_the_deadline_holds_across_restarts(qianfan, clock, trigger):
    deadline = clock.time() + 70
    waiting = waiting_for(qianfan, trigger, deadline=deadline, poll_interval=10.0)
    async with running([waiting]):
        await asyncio.sleep(40)
    waiting = again(waiting)
    assert waiting.deadline == deadline
    assert (await event_of(waiting))["status"] == "timeout"
    assert clock.time() == pytest.approx(deadline, abs=0.1)


@each
async def test_what_is_done_at_the_deadline_is_a_success(qianfan, clock, trigger):
    waiting = waiting_for(qianfan, trigger, Phase.SUCCEEDED, deadline=clock.time() - 100)
    assert (await event_of(waiting))["status"] == "success"


@pytest.mark.parametrize("trouble", ["hang", "silence", "slots"])
async def test_the_event_comes_soon_after_the_deadline_whatever_holds_up_the_last_poll(
    qianfan, clock, monkeypatch, trouble
):
    if trouble == "hang":
        qianfan.fail(None, times=math.inf, seconds=1e6)
    elif trouble == "silence":
        qianfan.fail(throttled(600), times=math.inf)
    else:
        connect(monkeypatch, extra={"max_qps": 0.01})
    deadline = clock.time() + 30
    waiting = models(qianfan, 30, deadline=deadline, poll_interval=1.0)
    events = await asyncio.gather(*map(event_of, waiting))
    assert {event["status"] for event in events} == {"timeout"}
    assert deadline <= clock.time() <= deadline + LAST_POLL + 0.1


async def test_an_unexpected_time_out_is_not_taken_for_the_deadline(qianfan, clock, monkeypatch):
    async def timed_out(hook: QianfanHook) -> Any:
        raise TimeoutError

    monkeypatch.setattr(QianfanHook, "aget_config", timed_out)
    with pytest.raises(TimeoutError):
        await event_of(task_trigger(deadline=clock.time() + 3600))


# What it leads to and leaves


async def test_events_without_a_final_state_lead_to_the_console_page_too(qianfan, clock):
    qianfan.add(FineTuningTask, "task-1", "Running", parent_id="job-1")
    event = await event_of(task_trigger(deadline=clock.time() - 1))
    assert event["status"] == "timeout"
    assert "job-1/task-1" in event["output"]["console_url"]
    waiting = again(task_trigger(max_poll_failures=1, console_url="https://console.example/"))
    qianfan.fail(server_error(), times=math.inf)
    event = await event_of(waiting)
    assert (event["status"], event["output"]["console_url"]) == ("error", "https://console.example/")


@pytest.mark.parametrize("trigger", STOPPABLE)
async def test_a_restart_of_the_triggerer_stops_nothing(qianfan, trigger):
    waiting = waiting_for(qianfan, trigger, cancel_on_kill=True)
    async with running([waiting]):
        await qianfan.until(lambda: bool(qianfan.calls))
    await waiting.cleanup()
    assert set(qianfan.actions) == {trigger.kind().describe("id-1").action}


async def test_secrets_appear_nowhere(qianfan, monkeypatch, capsys, caplog):
    for name in ("", "airflow_qianfan", "httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, name or None)
    qianfan.add(FineTuningTask, "task-1", "Done", parent_id="job-1")
    trigger = task_trigger(cancel_on_kill=True, max_poll_failures=1)

    async def failed(ti: Any) -> str:
        return "failed"

    monkeypatch.setattr("airflow_qianfan.triggers.base.cancel.aget_task_state", failed)
    seen: list[Any] = [repr(trigger), str(trigger), trigger.serialize(), vars(trigger)]
    echo = f"no: {SECRET} {TOKEN}"
    numeric = {"error_code": 336100, "error_msg": echo}
    for fault in (refusal("AccessDenied", message=echo), answer(numeric), server_error(), None):
        if fault:
            qianfan.fail(fault, times=math.inf)
        await trigger.on_kill()
        seen.append(event := await event_of(trigger))
        qianfan.heal()
        try:
            output_of(event)
        except Exception as error:
            seen += [repr(error), str(error), vars(error), repr(error.__cause__)]
    extra = {"proxy": f"http://user:{SECRET}@127.0.0.1:1"}
    connect(monkeypatch, host="http://example.test", extra=extra)
    seen.append(event := await event_of(trigger))
    assert event["status"] == "error"
    out, err = capsys.readouterr()
    text = f"{seen} {out} {err} {caplog.text}"
    assert "AccessDenied" in text
    assert "Done" in text
    assert "Stopping fine-tuning task task-1, since" in text
    for secret in (SECRET, TOKEN, "bce-auth-v1"):
        assert secret not in text


def test_every_kind_that_can_be_waited_for_has_its_trigger():
    assert {trigger.kind() for trigger in TRIGGERS} == set(STATEFUL)
