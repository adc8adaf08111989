"""Objects that one list shows are read together."""

import asyncio
import itertools
import math
import re
from collections import Counter

import pytest
from fake_qianfan import FALSE, MALFORMED, RESET, refusal, server_error
from waiting import JOB, event_of, running, tasks_of_a_job

from airflow_qianfan.api.actions.finetuning import FineTuningTask
from airflow_qianfan.triggers.base import poller as poller_module
from airflow_qianfan.triggers.base.poller import DETAIL_SHARE, LIST_PAUSE
from airflow_qianfan.triggers.base.polling import Target
from airflow_qianfan.triggers.base.registry import PollerLease

LIST, DETAIL = "DescribeFineTuningTasks", "DescribeFineTuningTask"
BAR = re.compile(r"(task-\d+): Running [█░]{20} \d+%")


def member(number: int, job_id: str = JOB) -> Target:
    return Target(FineTuningTask, f"task-{number}", job_id)


async def test_a_hundred_tasks_of_a_job_take_one_call_and_sometimes_two_in_an_interval(qianfan, capsys):
    triggers = tasks_of_a_job(qianfan, 100, poll_interval=30.0, max_poll_interval=30.0)
    async with running(triggers):
        await asyncio.sleep(100 * 30.0)
    calls = Counter(qianfan.actions)
    lists, details = calls.pop(LIST), calls.pop(DETAIL)
    assert not calls
    # Whoever falls due first reads the list for all: once in an interval, or a little more often for jitter.
    assert 90 <= lists <= 115
    assert details / lists == pytest.approx(DETAIL_SHARE, abs=0.15)
    lines = capsys.readouterr().out.splitlines()
    assert sum("Running" in line and "elapsed" in line for line in lines) >= 100
    described = {call.body["taskId"] for call in qianfan.of(DETAIL)}
    assert {found[1] for line in lines if (found := BAR.search(line))} == described


async def test_progress_of_every_task_of_a_job_appears_in_time(qianfan, capsys):
    triggers = tasks_of_a_job(qianfan, 4, poll_interval=30.0)
    async with running(triggers):
        await qianfan.until(lambda: len({call.body["taskId"] for call in qianfan.of(DETAIL)}) == 4)
        await asyncio.sleep(1)
    out = capsys.readouterr().out.splitlines()
    for trigger in triggers:
        assert trigger.object_id in {found[1] for line in out if (found := BAR.search(line))}


async def test_members_of_a_job_are_asked_for_their_progress_in_turn(qianfan, make_poller, monkeypatch):
    """However many fall due at the same moment."""
    monkeypatch.setattr(poller_module, "DETAIL_SHARE", 1.0)
    tasks_of_a_job(qianfan, 20)
    poller = make_poller()

    async def wait(number: int) -> None:
        while qianfan.count(DETAIL) < 60:
            poll = poller.poll(member(number), 10, 10)
            try:
                await poll
            finally:
                poller.forget(poll)

    await asyncio.gather(*map(wait, range(20)))
    assert not poller._groups
    asked = Counter(call.body["taskId"] for call in qianfan.of(DETAIL)[:60])
    assert len(asked) == 20
    assert min(asked.values()) >= 2


async def test_polls_that_fall_due_while_the_list_is_read_do_not_read_it_again(qianfan):
    triggers = tasks_of_a_job(qianfan, 30, poll_interval=30.0, max_poll_interval=30.0)
    qianfan.fail(None, action=LIST, times=math.inf, seconds=50.0)
    async with running(triggers):
        await asyncio.sleep(500)
    times = [call.time for call in qianfan.of(LIST)]
    assert 5 <= len(times) <= 500 / 50
    assert all(later - sooner >= 50 for sooner, later in itertools.pairwise(times))


async def test_the_list_is_read_once_in_an_interval_however_rarely_each_wants_to_poll(qianfan, clock):
    tasks_of_a_job(qianfan, 3)
    start = clock.monotonic()
    async with PollerLease("qianfan_default") as lease:
        await asyncio.gather(*(lease.poll(member(n), 30.0, 600.0) for n in range(3)))
    assert 30 <= clock.monotonic() - start < 31
    assert qianfan.count(LIST) == 1


async def test_a_single_task_is_asked_for_by_itself(qianfan):
    async with running(tasks_of_a_job(qianfan, 1)):
        await qianfan.more(3, DETAIL)
    assert not qianfan.count(LIST)


async def test_a_task_that_ends_is_seen_in_the_list_with_all_its_results(qianfan, monkeypatch):
    monkeypatch.setattr(poller_module, "DETAIL_SHARE", 0.0)
    triggers = tasks_of_a_job(qianfan, 3)
    for n, remote in enumerate(qianfan.objects):
        remote.members |= {"metrics": {"BLEU-4": f"{n}%"}, "checkpointList": [{"step": n}]}
    async with running(triggers) as tasks:
        await qianfan.more(2, LIST)
        qianfan.end()
        events = await asyncio.gather(*tasks)
    assert not qianfan.count(DETAIL)
    for n, event in enumerate(events):
        output = event["output"]
        assert output["fine_tuning_task_id"] == f"task-{n}"
        assert output["metrics"] == {"BLEU-4": n / 100}
        assert output["best_checkpoint_step"] == n
        assert f"/task-{n}/" in output["console_url"]


async def test_a_task_that_the_list_does_not_show_is_asked_for_by_itself(qianfan):
    triggers = tasks_of_a_job(qianfan, 4, poll_interval=10.0, max_poll_interval=10.0)
    qianfan.objects[0].is_listed = False
    async with running(triggers):
        await asyncio.sleep(200)
    asked = Counter(call.body["taskId"] for call in qianfan.of(DETAIL))
    assert 15 <= asked["task-0"] <= 45
    assert 15 <= qianfan.count(LIST) <= 45


@pytest.mark.parametrize("number", [99, 100, 101, 250])
async def test_a_list_of_several_pages_is_read_to_its_end(qianfan, number):
    triggers = tasks_of_a_job(qianfan, number)
    qianfan.end()
    events = await asyncio.gather(*map(event_of, triggers))
    assert {event["status"] for event in events} == {"success"}
    ids = [event["ids"]["fine_tuning_task_id"] for event in events]
    assert ids == [trigger.object_id for trigger in triggers]
    assert qianfan.actions == [LIST] * -(-number // 100)


@pytest.mark.parametrize(
    "fault",
    [refusal("AccessDenied"), MALFORMED, server_error(), RESET, FALSE],
    ids=["forbidden", "malformed", "server-error", "reset", "false"],
)
async def test_where_the_list_cannot_be_read_each_is_asked_for_by_itself(qianfan, fault, caplog):
    triggers = tasks_of_a_job(qianfan, 5, max_poll_failures=0)
    qianfan.fail(fault, action=LIST, times=math.inf)
    async with running(triggers) as tasks:
        await qianfan.more(10, DETAIL)
        qianfan.end()
        events = await asyncio.gather(*tasks)
    assert {event["status"] for event in events} == {"success"}
    assert qianfan.count(LIST) == 1
    assert f"Cannot list each fine-tuning task of {JOB}" in caplog.text


async def test_a_list_that_could_not_be_read_is_tried_again_later(qianfan):
    qianfan.fail(server_error(), action=LIST)
    async with running(tasks_of_a_job(qianfan, 5)):
        await qianfan.more(3, LIST)
    failed, again, _ = [call.time for call in qianfan.of(LIST)]
    assert LIST_PAUSE <= again - failed <= LIST_PAUSE + 60


async def test_a_list_is_one_request_for_all_its_rows_while_it_can_be_read(qianfan, clock, make_poller):
    """What polls all that wait decides how often each can be polled."""
    tasks_of_a_job(qianfan, 5)
    poller = make_poller()
    assert poller.load == 0
    polls = [poller.poll(member(n), 30, 1000) for n in range(5)]
    polls += [poller.poll(member(n, f"job-{n}"), 30, 1000) for n in (7, 8)]
    assert poller.load == 3
    qianfan.fail(server_error(), action=LIST)
    await qianfan.until(lambda: qianfan.count(LIST) == 1)
    await asyncio.sleep(1)
    assert poller.load == 7
    await asyncio.sleep(LIST_PAUSE)
    assert poller.load == 3
    for left, poll in enumerate(polls[:5]):
        poller.forget(poll)
        assert poller.load == 2 + (left < 4)
    for poll in polls[5:]:
        poller.forget(poll)
    assert poller.load == 0


async def test_an_object_that_moves_to_another_list_while_it_waits_is_answered_all_the_same(
    qianfan, make_poller
):
    tasks_of_a_job(qianfan, 3)
    moving = member(0)
    poller = make_poller()
    polls = [poller.poll(moving, 0.02, 0.02), *(poller.poll(member(n), 5, 5) for n in (1, 2))]
    moving.parent_id = "job-2"
    found = await asyncio.gather(*polls)
    assert [task.task_id for task in found] == ["task-0", "task-1", "task-2"]


async def test_tasks_of_two_jobs_are_read_from_two_lists(qianfan, make_poller):
    for n in range(4):
        qianfan.add(FineTuningTask, f"task-{n}", "Done", parent_id=f"job-{n % 2}")
    poller = make_poller()
    found = await asyncio.gather(*(poller.poll(member(n, f"job-{n % 2}"), 1, 1) for n in range(4)))
    assert [task.task_id for task in found] == [f"task-{n}" for n in range(4)]
    assert sorted(call.body["jobId"] for call in qianfan.of(LIST)) == ["job-0", "job-1"]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
async def test_one_that_is_forgotten_leaves_all_others_to_the_list(qianfan, make_poller, order):
    tasks_of_a_job(qianfan, 4)
    poller = make_poller()
    for number in order:
        polls = [poller.poll(member(n), 1, 1) for n in range(4)]
        poller.forget(polls.pop(number))
        found = await asyncio.gather(*polls)
        assert [row.object_id for row in found] == [poll.target.object_id for poll in polls]
        for poll in polls:
            poller.forget(poll)
        assert not poller._groups
    polls = [poller.poll(member(n), 1000, 1000) for n in range(4)]
    for left, number in enumerate(order):
        (group,) = poller._groups.values()
        assert [poll.place for poll in group] == list(range(4 - left))
        assert set(group) == {polls[n] for n in order[left:]}
        poller.forget(polls[number])
    assert not poller._groups
