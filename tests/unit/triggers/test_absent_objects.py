"""What the service describes by saying that there is none: too new to be seen, or gone."""

from __future__ import annotations

import logging
import time

import pytest

from airflow_qianfan.api.actions.model import ModelExport
from airflow_qianfan.triggers.base.polling import MAX_REFUSED, PollSettings, PollState, Target

ABSENT = ModelExport(model_id="amv-1", has_record=False)
THERE = ModelExport(model_id="amv-1", has_record=True, status="Doing")


@pytest.fixture
def now(monkeypatch):
    monkeypatch.setenv("AIRFLOW__QIANFAN__SETTLE_SECONDS", "30")
    times = [1_000_000.0]
    monkeypatch.setattr(time, "time", lambda: times[0])
    return times


def state(started: float) -> PollState:
    settings = PollSettings(poll_interval=30.0, started=started)
    return PollState(Target(ModelExport, "amv-1"), settings, logging.getLogger("test"), str)


def test_it_is_missing_after_some_polls_in_a_row_and_some_time(now):
    polls = state(now[0])
    for _ in range(MAX_REFUSED):
        assert polls.record(ABSENT) is None
        now[0] += 31
    event = polls.record(ABSENT)
    assert (event["status"], event["state"]) == ("failed", None)
    assert (
        event["message"] == "there is no export of model version amv-1: it was never created, or has failed"
    )
    assert "download_url" not in event["output"]


def test_one_slow_poll_does_not_make_it_missing(now):
    polls = state(now[0])
    now[0] += 500
    assert polls.record(ABSENT) is None


def test_many_fast_polls_do_not_make_it_missing(now):
    polls = state(now[0])
    assert [polls.record(ABSENT) for _ in range(100)] == [None] * 100


def test_what_was_seen_in_between_is_counted_anew(now):
    polls = state(now[0])
    for _ in range(MAX_REFUSED):
        now[0] += 100
        assert polls.record(ABSENT) is None
    assert polls.record(THERE) is None
    assert polls.record(ABSENT) is None


def test_where_each_poll_is_a_process_of_its_own_the_time_tells(now):
    started = now[0]
    assert state(started).record(ABSENT) is None
    now[0] += 89
    assert state(started).record(ABSENT) is None
    now[0] += 1
    assert state(started).record(ABSENT)["status"] == "failed"
