"""Metrics count what is attached to, once, and by how it was found."""

from __future__ import annotations

import pytest
from creating import KINDS
from recorded_stats import RecordedStats

from airflow_qianfan import metrics
from airflow_qianfan.metrics import Metrics

NAMES = {"job": "FineTuningJob", "task": "FineTuningTask", "set": "ModelSet", "model": "Model"}


@pytest.fixture
def attached(monkeypatch):
    """What was attached to."""
    stats = RecordedStats()
    monkeypatch.setattr(metrics, "_LOADED", [Metrics(stats, legacy_names=False)])
    return lambda: stats.counts("attached")


@pytest.fixture(params=NAMES)
def kind(request):
    return request.param


def test_first_attempt_attaches_to_nothing(work_on, attached, kind):
    work_on(kind).attempt()
    assert attached() == []


def test_retry_attaches_to_what_airflow_remembers(work_on, attached, kind):
    work = work_on(kind)
    work.attempt()
    work.attempt(2)
    assert attached() == [(NAMES[kind], "record")]


def test_lost_answer_is_searched_for(work_on, attached, kind):
    work = work_on(kind)
    work.emulator.fail_next(KINDS[kind].create, kind="lost_answer")
    work.attempt()
    assert attached() == [(NAMES[kind], "search")]


def test_attempt_after_a_crash_searches_and_counts_once(work_on, attached, kind):
    work = work_on(kind)
    # The intent is stored, the id is not.
    work.store.broken = 2
    with pytest.raises(ConnectionError):
        work.attempt()
    assert work.attempt(2) == work.ours()[-1]
    assert len(work.ours()) == 1
    assert attached() == [(NAMES[kind], "search")]


def test_what_is_created_anew_is_not_attached_to(work_on, attached):
    work = work_on("job")
    work.remove(work.attempt())
    work.attempt(2)
    assert attached() == []
