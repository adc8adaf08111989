"""A run of a task creates one object: an attempt attaches to what the attempt before created."""

from __future__ import annotations

import json

import pytest
from creating import FT, KINDS, call, new_job, new_model, new_model_set, new_task
from in_process import HOUR

from airflow_qianfan.compat import AirflowFailException
from airflow_qianfan.exceptions import QianfanAmbiguousCreateError, QianfanError, QianfanPermissionError


def test_intent_is_stored_before_the_create_the_id_after_it_and_the_delivery_at_the_end(work, monkeypatch):
    written = []
    store = work.store.set

    def keep(key, value, **options):
        written.append((len(work.ours()), value["in_doubt"], value["id"], value["is_delivered"]))
        store(key, value, **options)

    monkeypatch.setattr(work.store, "set", keep)
    created = work.attempt()
    assert work.ours() == [created]
    assert written == [(0, True, None, False), (1, False, created, False), (1, False, created, True)]


def test_nothing_is_created_where_the_intent_cannot_be_stored(work):
    work.store.broken = 1
    with pytest.raises(ConnectionError):
        work.attempt()
    assert work.ours() == []
    assert work.attempt(2) == work.ours()[-1]


def test_retry_attaches_to_what_exists(work):
    created = work.attempt()
    assert [work.attempt(number) for number in (2, 3)] == [created, created]
    assert work.ours() == [created]


@pytest.mark.parametrize("kind", ["task", "model"])
def test_retry_attaches_to_what_is_done(work_on, kind):
    work = work_on(kind)
    created = work.attempt()
    work.emulator.advance(2 * HOUR)
    assert work.attempt(2) == created
    assert work.ours() == [created]


def test_retry_creates_anew_where_it_was_deleted(work, emulator):
    created = work.attempt()
    if work.kind in (KINDS["task"], KINDS["compression"]):
        # What still goes on cannot be deleted.
        emulator.advance(2 * HOUR)
    work.remove(created)
    again = work.attempt(2)
    assert work.ours() == [created, again]
    assert work.attempt(3) == again


@pytest.mark.parametrize("end", ["failed", "stopped"])
def test_retry_trains_anew_where_the_training_failed_or_was_stopped(emulator, work_on, end):
    work = work_on("task")
    work.arguments["fine_tuning_job_id"] = new_job("fail" if end == "failed" else "fine")
    created = work.attempt()
    if end == "stopped":
        call(FT, "StopFineTuningTask", taskId=created)
    else:
        emulator.advance(2 * HOUR)
    again = work.attempt(2)
    assert again != created
    assert work.ours() == [created, again]


def test_retry_publishes_anew_where_the_version_failed(emulator, work_on):
    work = work_on("model")
    work.arguments["model_set_id"] = new_model_set("fail")
    created = work.attempt()
    emulator.advance(2 * HOUR)
    again = work.attempt(2)
    assert work.ours() == [created, again]


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "throttle"},
        {"kind": "server_error"},
        {"kind": "reset"},
        {"kind": "malformed"},
        {"kind": "numeric"},
        {"kind": "timeout", "seconds": 60.0},
    ],
    ids=lambda fault: fault["kind"],
)
def test_retry_creates_nothing_while_the_service_cannot_be_read(work, fault):
    created = work.attempt()
    work.emulator.fail_next(count=None, **fault)
    with pytest.raises(QianfanError) as caught:
        work.attempt(2)
    assert not isinstance(caught.value, AirflowFailException), "Airflow would not try again"
    work.emulator.clear_faults()
    assert work.sent() == 1
    assert work.attempt(3) == created


@pytest.mark.parametrize("kind", ["task", "model"])
def test_clear_attaches_to_what_still_goes_on(work_on, kind):
    work = work_on(kind)
    created = work.attempt()
    assert [work.attempt(2, generation=7), work.attempt(3, generation=11)] == [created, created]
    assert work.ours() == [created]


def test_clear_creates_anew_what_is_done_and_its_retry_does_not(work):
    first = work.attempt()
    work.emulator.advance(2 * HOUR)
    if work.operator().kind.goes_on:
        # What serves is not done.
        assert work.attempt(2, generation=7) == first
        work.remove(first)
    second = work.attempt(2, generation=7)
    assert second != first
    assert work.ours() == [first, second]
    assert work.attempt(3, generation=7) == second


def test_clear_with_restart_leaves_one_that_goes_on(work_on):
    work = work_on("task")
    first = work.attempt()
    second = work.attempt(2, generation=7, on_clear="restart")
    assert [task["runStatus"] for task in work.emulator.tasks] == ["Stopped", "Waiting"]
    assert work.attempt(3, generation=7, on_clear="restart") == second
    assert work.ours() == [first, second]


@pytest.mark.parametrize(
    "stored", ['"text"', "7", "[]", '{"generation": 3}', '{"generation": 3, "before": null, "id": null}']
)
def test_what_is_no_record_of_ours_counts_as_nothing(work, stored):
    work.store.values[work.kind.key] = stored
    assert work.ours() == [] != [work.attempt()] == work.ours()


def test_create_whose_id_could_not_be_stored_is_found(work):
    work.lose_answer()
    assert work.attempt(2) == work.ours()[0]
    assert len(work.ours()) == 1
    assert json.loads(work.store.values[work.kind.key])["id"] == work.ours()[0]


def test_create_that_was_never_sent_is_sent_by_the_retry(work, monkeypatch):
    work.emulator.fail_next(work.kind.create, kind="error", code="AccessDenied", status=403)
    with pytest.raises(QianfanPermissionError):
        work.attempt()
    assert work.attempt(2) == work.ours()[0]
    assert len(work.ours()) == 1


@pytest.mark.parametrize("kind", ["task", "model"])
def test_several_that_could_be_ours_are_named_and_none_is_chosen(emulator, work_on, kind):
    work = work_on(kind)
    work.lose_answer()
    marked = emulator.models[0]["description"] if kind == "model" else None
    other = (
        new_model(work.arguments["model_set_id"], description=marked)
        if marked
        else new_task(work.arguments["fine_tuning_job_id"])
    )
    with pytest.raises(QianfanAmbiguousCreateError) as caught:
        work.attempt(2)
    assert other in str(caught.value)
    assert work.ours()[0] in str(caught.value)
    assert len(work.ours()) == 2


@pytest.mark.parametrize(
    ("description", "fault"), [("by hand", "server_error"), ("by hand", "lost_answer"), ("", "lost_answer")]
)
def test_version_that_somebody_publishes_at_the_same_time_is_not_ours(work_on, description, fault):
    work = work_on("model")
    others: list[str] = []

    def publish() -> None:
        if not others:
            others.append(new_model(work.arguments["model_set_id"], description=description))
            work.emulator.fail_next(work.kind.create, kind=fault)

    work.store.on_set = publish
    created = work.attempt()
    assert work.ours() == [*others, created]


def test_version_left_in_creating_is_adopted_and_awaited(emulator, work_on):
    work = work_on("model")
    work.lose_answer()
    assert emulator.models[0]["status"] == "Creating"
    assert work.attempt(2) == work.ours()[0]
    emulator.advance(2 * HOUR)
    assert work.attempt(3, wait_for_completion=True, poll_interval=0.01) == work.ours()[0]
    assert len(emulator.models) == 1


@pytest.mark.parametrize("end", ["failed", "stopped", "done"])
def test_lost_training_that_has_ended_meanwhile_is_trained_again_unless_it_is_done(emulator, work_on, end):
    work = work_on("task")
    work.arguments["fine_tuning_job_id"] = new_job("fail" if end == "failed" else "fine")
    work.lose_answer()
    if end == "stopped":
        call(FT, "StopFineTuningTask", taskId=work.ours()[0])
    else:
        emulator.advance(2 * HOUR)
    assert work.attempt(2) == work.ours()[-1]
    assert len(work.ours()) == (1 if end == "done" else 2)


def test_without_durability_every_attempt_creates(work):
    if work.kind in (KINDS["job"], KINDS["set"]):
        member = "name" if work.kind is KINDS["job"] else "model_set_name"
        attempts = [work.attempt(number, durable=False, **{member: f"n {number}"}) for number in (1, 2)]
    else:
        attempts = [work.attempt(number, durable=False) for number in (1, 2)]
    assert work.ours() == attempts
    assert len(set(attempts)) == 2
    assert work.store.values == {}


def test_without_durability_a_lost_create_is_an_error_at_once(work):
    work.emulator.fail_next(work.kind.create, kind="lost_answer")
    with pytest.raises(QianfanAmbiguousCreateError):
        work.attempt(durable=False)
    assert work.emulator.journal[-1]["action"] == work.kind.create


@pytest.mark.parametrize("kind", ["job", "set", "model"])
def test_without_a_store_the_retry_finds_it_by_name_or_mark(work_on, kind):
    work = work_on(kind)
    work.store = None
    created = work.attempt(1)
    assert work.attempt(2) == created
    assert work.ours() == [created]


def test_without_a_store_the_retry_does_not_guess_whose_training_it_is(work_on):
    work = work_on("task")
    work.store = None
    created = work.attempt(1)
    with pytest.raises(QianfanAmbiguousCreateError, match=created):
        work.attempt(2)
    assert work.ours() == [created]


def test_without_a_store_the_retry_creates_what_nobody_has_created(work):
    work.store = None
    assert work.attempt(2) == work.ours()[0]
