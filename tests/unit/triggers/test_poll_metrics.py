"""What metrics are told of polls, and of what waits in the triggerer."""

from __future__ import annotations

import pytest
from fake_qianfan import throttled
from recorded_stats import RecordedStats
from waiting import event_of, model_trigger, models, running, tasks_of_a_job

from airflow_qianfan import metrics
from airflow_qianfan.api.actions.finetuning import FineTuningTask
from airflow_qianfan.metrics import Metrics
from airflow_qianfan.triggers.base.polling import Target


@pytest.fixture
def stats(monkeypatch):
    """What is told, by all of this process."""
    stats = RecordedStats()
    monkeypatch.setattr(metrics, "_LOADED", [Metrics(stats, legacy_names=False)])
    return stats


async def test_waiting_goes_up_and_down_again(qianfan, stats):
    async with running(models(qianfan, 3)):
        await qianfan.more(1)
        assert max(stats.values("waiting")) == 3
    assert stats.values("waiting")[:3] == [1, 2, 3]
    assert stats.values("waiting")[-1] == 0
    assert len(set(stats.counts("waiting"))) == 1


async def test_waiting_is_counted_for_all_connections_together(qianfan, stats, monkeypatch):
    from fake_qianfan import connect

    connect(monkeypatch, "OTHER", login="AKOTHER")
    models(qianfan, 1)
    both = [model_trigger("amv-0"), model_trigger("amv-0", qianfan_conn_id="other")]
    async with running(both):
        await qianfan.more(2)
        assert max(stats.values("waiting")) == 2
    assert stats.values("waiting")[-1] == 0


async def test_waiting_ends_with_an_event_and_with_a_broken_connection(qianfan, stats, monkeypatch):
    (trigger,) = models(qianfan, 1)
    qianfan.end()
    assert (await event_of(trigger))["status"] == "success"
    assert stats.values("waiting")[-1] == 0
    monkeypatch.setenv("AIRFLOW_CONN_BROKEN", '{"conn_type": "qianfan", "host": "no address"}')
    assert (await event_of(model_trigger("amv-0", qianfan_conn_id="broken")))["status"] == "error"
    assert stats.values("waiting")[-1] == 0


async def test_polls_of_triggers_are_calls(qianfan, stats):
    (trigger,) = models(qianfan, 1)
    qianfan.end()
    await event_of(trigger)
    assert stats.counts("calls") == [("DescribeModel", "ok")]


async def test_poll_that_is_sent_when_due_is_not_late(qianfan, stats, clock):
    async with running(models(qianfan, 1)):
        await qianfan.more(20)
    assert len(stats.values("poll_delay")) == 20
    assert max(stats.values("poll_delay")) == pytest.approx(0, abs=1)


async def test_poll_that_waits_for_the_service_to_be_less_busy_is_late(qianfan, make_poller, stats):
    for n in range(2):
        qianfan.add(FineTuningTask, f"task-{n}", "Running")
    qianfan.fail(throttled(200))
    poller = make_poller(metrics=metrics.load_metrics())
    throttled_one = poller.poll(Target(FineTuningTask, "task-0"), 30, 0)
    later_one = poller.poll(Target(FineTuningTask, "task-1"), 30, 50)
    await throttled_one
    await later_one
    first, *late = stats.values("poll_delay")
    assert first == pytest.approx(0, abs=1)
    # The one was to be sent again at once, the other after 50 s; the service asked for 200 s.
    assert sorted(late) == pytest.approx([150_000, 200_000], rel=0.01)


async def test_list_that_answers_many_is_one_poll(qianfan, make_poller, stats):
    tasks_of_a_job(qianfan, 5)
    poller = make_poller(metrics=metrics.load_metrics())
    targets = [Target(FineTuningTask, f"task-{n}", "job-1") for n in range(5)]
    polls = [poller.poll(target, 30, 10) for target in targets]
    for poll in polls:
        await poll
        poller.forget(poll)
    told, lists = len(stats.values("poll_delay")), qianfan.actions.count("DescribeFineTuningTasks")
    assert lists >= 1
    # The detail call that may follow a list belongs to the same poll.
    assert lists <= told <= len(qianfan.calls)
