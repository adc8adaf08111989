"""When the poller that all triggers of an event loop share sends which poll."""

import asyncio
import math

import pytest
import structlog
from fake_qianfan import RESET, connect, server_error
from waiting import event_of, model_trigger, models, running, task_trigger, tasks_of_a_job

from airflow_qianfan.api.actions.finetuning import FineTuningTask
from airflow_qianfan.api.actions.model import Model
from airflow_qianfan.api.objects import Phase
from airflow_qianfan.exceptions import QianfanConnectionError, QianfanServerError
from airflow_qianfan.triggers.base import poller as poller_module
from airflow_qianfan.triggers.base.poller import MAX_CONNECTIONS
from airflow_qianfan.triggers.base.polling import LAST_POLL, Target

HOUR = 3600.0


def one(number: int = 0) -> Target:
    """Return a task that no list shows."""
    return Target(FineTuningTask, f"task-{number}")


@pytest.fixture
def service(qianfan):
    """The service, with some tasks."""
    for n in range(100):
        qianfan.add(FineTuningTask, f"task-{n}", "Running", parent_id="job-1")
    return qianfan


@pytest.mark.parametrize("number", [20, 40, 100])
async def test_answers_go_to_those_who_asked(service, make_poller, number):
    poller = make_poller()
    found = await asyncio.gather(*(poller.poll(one(n), 1, 0.01) for n in range(number)))
    assert [task.task_id for task in found] == [f"task-{n}" for n in range(number)]


async def test_a_poll_is_sent_when_it_is_due_not_when_its_turn_came_first(service, clock, make_poller):
    poller = make_poller()
    pauses = [400, 100, 300, 0, 200]
    start = clock.monotonic()
    await asyncio.gather(*(poller.poll(one(n), 1, pause) for n, pause in enumerate(pauses)))
    assert [call.body["taskId"] for call in service.calls] == [
        "task-3",
        "task-1",
        "task-4",
        "task-2",
        "task-0",
    ]
    assert [moment - start for moment in service.times] == pytest.approx(sorted(pauses), abs=0.01)


async def test_what_is_due_takes_another_connection_only_where_the_others_do_not_keep_up(
    service, clock, make_poller, monkeypatch
):
    monkeypatch.setattr(poller_module, "PATIENCE", 0.2)
    service.seconds = 0.5
    start = clock.monotonic()
    poller = make_poller()
    await asyncio.gather(*(poller.poll(one(n), 1, 0) for n in range(5)))
    # The fourth would wait for three, 0.6 s, but the first has ended by then; so the fifth waits for three.
    assert [moment - start for moment in service.times] == pytest.approx([0, 0.2, 0.4, 0.5, 0.6], abs=0.01)


async def test_no_more_requests_are_under_way_than_there_are_connections(service, make_poller):
    service.seconds = 30.0
    poller = make_poller()
    await asyncio.gather(*(poller.poll(one(n), 1, 0) for n in range(100)))
    assert service.most_in_flight == MAX_CONNECTIONS


async def test_a_service_that_keeps_up_is_asked_over_one_connection(service, make_poller):
    poller = make_poller()
    await asyncio.gather(*(poller.poll(one(n), 1, n / 100) for n in range(100)))
    assert service.most_in_flight == 1


async def test_requests_that_hang_hold_up_no_other_for_long(qianfan, monkeypatch):
    connect(monkeypatch, extra={"timeout": 3600})
    hanging = [task_trigger(f"task-{n}", poll_interval=0.01) for n in range(MAX_CONNECTIONS - 1)]
    for trigger in hanging:
        qianfan.add(FineTuningTask, trigger.object_id, "Running")
    qianfan.fail(None, action="DescribeFineTuningTask", times=math.inf, seconds=2 * HOUR)
    async with running(hanging):
        await qianfan.until(lambda: qianfan.in_flight == MAX_CONNECTIONS - 1)
        async with running(models(qianfan, 5, poll_interval=0.2, max_poll_interval=0.2)):
            before = qianfan.count("DescribeModel")
            await asyncio.sleep(100)
    # Each poll of the five waits 0.9 s for the nine that hang, and not for their end.
    assert qianfan.count("DescribeModel") - before >= 100


async def test_polls_that_nobody_awaits_any_longer_are_not_sent(service, make_poller):
    poller = make_poller()
    polls = [poller.poll(one(n), 1, 10) for n in range(3)]
    poller.forget(polls[1])
    await asyncio.gather(polls[0], polls[2])
    assert [call.body["taskId"] for call in service.calls] == ["task-0", "task-2"]


@pytest.mark.parametrize("pause", [math.nan, math.inf, -1.0])
async def test_a_pause_that_is_no_number_of_seconds_does_not_upset_the_schedule(service, make_poller, pause):
    poller = make_poller()
    waiting = poller.poll(one(), 1, 0.1)
    with pytest.raises(ValueError, match="cannot wait"):
        poller.poll(one(1), 1, pause)
    assert (await waiting).task_id == "task-0"


async def test_a_schedule_holds_few_answers_of_those_that_fall_due_much_later(service, make_poller):
    poller = make_poller()
    service.fail(None)
    polls = [poller.poll(Target(FineTuningTask, f"task-{n}", "job-1"), 500, 500) for n in range(100)]
    polls.append(poller.poll(Target(FineTuningTask, "task-0", "job-1"), 500, 0))
    for poll in polls:
        await poll
        poller.forget(poll)
    assert len(poller._schedule) <= MAX_CONNECTIONS


async def test_a_poller_that_is_closed_while_a_list_is_read_starts_nothing_more(service, make_poller):
    service.seconds = 1.0
    poller = make_poller()
    polls = [poller.poll(Target(FineTuningTask, f"task-{n}", "job-1"), 1, 0.01 * n) for n in range(20)]
    await asyncio.sleep(0.5)
    await poller.aclose()
    sent = len(service.calls)
    await asyncio.sleep(HOUR)
    assert len(service.calls) == sent == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not poller._schedule
    for poll in polls:
        poll.cancel()


async def test_a_connection_that_fails_is_told_to_the_one_that_asked(service, make_poller):
    poller = make_poller()
    service.fail(RESET)
    service.fail(server_error())
    polls = [poller.poll(one(n), 1, n) for n in range(3)]
    outcomes = await asyncio.gather(*polls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes[:2]] == [QianfanConnectionError, QianfanServerError]
    assert outcomes[2].task_id == "task-2"


async def test_a_failing_request_touches_no_other(qianfan):
    good = models(qianfan, 3, poll_interval=0.2)
    bad = model_trigger("amv-nowhere", poll_interval=0.02)
    async with running([*good, bad]) as tasks:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert done == {tasks[-1]}
        assert tasks[-1].result()["status"] == "error"
        await qianfan.more(3, "DescribeModel")
        qianfan.end()
        assert {event["status"] for event in await asyncio.gather(*tasks[:-1])} == {"success"}


class BrokenLog:
    def broken(self, *_: object, **__: object) -> None:
        raise ZeroDivisionError

    info = warning = error = broken


@pytest.mark.parametrize("where", ["event", "describe", "log"])
@pytest.mark.parametrize("number", [0, 7], ids=["listed", "alone"])
async def test_an_error_in_handling_one_touches_no_other(qianfan, monkeypatch, where, number):
    triggers = [*tasks_of_a_job(qianfan, 4, poll_interval=0.2), *models(qianfan, 4, poll_interval=0.2)]
    broken = triggers[number]

    class Broken(broken.kind()):
        """A kind whose request cannot be made."""

        @classmethod
        def describe(cls, object_id):
            return 1 / 0

    def final_event(found, url):
        return 1 / 0 if found.object_id == broken.object_id else {"status": "success"}

    match where:
        case "log":
            monkeypatch.setattr(broken, "logger", BrokenLog)
        case "describe":
            monkeypatch.setattr(broken, "kind", lambda: Broken)
        case _:
            monkeypatch.setattr("airflow_qianfan.triggers.base.polling.final_event", final_event)
    async with running(triggers) as tasks:
        await qianfan.more(20)
        qianfan.end()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    failed = {n for n, outcome in enumerate(outcomes) if isinstance(outcome, ZeroDivisionError)}
    # The list of its job may tell all of a task, so that no request of its own is made.
    assert failed == {number} or (where == "describe" and number == 0 and not failed)
    assert {outcome["status"] for n, outcome in enumerate(outcomes) if n not in failed} == {"success"}


async def test_no_poll_is_planned_after_the_deadline(qianfan, clock):
    deadline = clock.time() + 80
    options = {"poll_interval": 20.0, "deadline": deadline}
    triggers = [*tasks_of_a_job(qianfan, 5, **options), *models(qianfan, 5, **options)]
    events = await asyncio.gather(*map(event_of, triggers))
    assert {event["status"] for event in events} == {"timeout"}
    assert deadline <= clock.time() < deadline + LAST_POLL
    assert clock.time() - (clock.monotonic() - max(qianfan.times)) <= deadline + 1


# Logs


async def test_each_line_lands_in_the_log_of_its_own_task(qianfan, capsys):
    structlog.contextvars.clear_contextvars()
    triggers = [*tasks_of_a_job(qianfan, 4, poll_interval=0.2), *models(qianfan, 2, poll_interval=0.2)]

    async def run(trigger, name):
        structlog.contextvars.bind_contextvars(trigger_id=name)
        await event_of(trigger)

    tasks = [asyncio.create_task(run(trigger, f"mark-{n}")) for n, trigger in enumerate(triggers)]
    await qianfan.more(8)
    qianfan.fail(server_error(), action="DescribeModel")
    await qianfan.more(16)
    qianfan.end(Phase.SUCCEEDED)
    await asyncio.gather(*tasks)
    lines = capsys.readouterr().out.splitlines()
    for number, trigger in enumerate(triggers):
        own = [line for line in lines if f"{trigger.kind().noun} {trigger.object_id}".lower() in line.lower()]
        assert len(own) >= 2
        assert all(f"mark-{number}" in line for line in own)
    assert any("Poll of model version" in line and "failed" in line for line in lines)


async def test_what_the_poller_logs_belongs_to_no_task(service, make_poller):
    structlog.contextvars.bind_contextvars(trigger_id="first-come")
    try:
        await make_poller().poll(one(), 1, 0)
    finally:
        structlog.contextvars.clear_contextvars()
    assert [call.context for call in service.calls] == [{}]


async def test_objects_of_different_kinds_are_polled_together(service, make_poller):
    service.add(Model, "amv-1", "Ready")
    poller = make_poller()
    task, model = await asyncio.gather(poller.poll(one(), 1, 0), poller.poll(Target(Model, "amv-1"), 1, 0))
    assert (task.object_id, model.object_id) == ("task-0", "amv-1")
