"""How one poll after another is judged: whether to go on, and after which pause."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from airflow_qianfan.api.actions.finetuning import FineTuningTask
from airflow_qianfan.api.actions.model import Model
from airflow_qianfan.exceptions import (
    QianfanInvalidAccessKeyError,
    QianfanNotFoundError,
    QianfanPermissionError,
    QianfanResponseError,
    QianfanServerError,
    QianfanThrottledError,
)
from airflow_qianfan.triggers.base.polling import (
    MAX_BACKOFF,
    MAX_REFUSED,
    PollSettings,
    PollState,
    Target,
    check_seconds,
)

log = logging.getLogger("test")
CREATING = Model(model_id="amv-1", status="Creating")
BUSY = QianfanServerError("busy", action="DescribeModel", status_code=503)


def state_of(kind: type[Any] = Model, console: Callable[[str], str] = str, **settings: Any) -> PollState:
    return PollState(Target(kind, "id-1"), PollSettings(**settings), log, console)


def test_long_pauses_end_at_whole_seconds(clock):
    state = state_of(poll_interval=30.0)
    for n in range(50):
        clock.sleep(n / 7)
        pause = state.pause()
        end = clock.time() + pause
        assert 26.5 <= pause <= 33.5
        assert end == pytest.approx(round(end), abs=1e-3)


@pytest.mark.parametrize("asked", [20.4, 47.4])
def test_a_pause_that_the_service_asks_for_is_not_cut_short(clock, asked):
    state = state_of(poll_interval=10.0)
    state.record_failure(QianfanServerError("busy", action="DescribeModel", retry_after=asked))
    assert all(state.pause() >= asked for _ in range(50))


def test_a_pause_that_the_service_asks_for_holds_until_the_next_answer(clock):
    state = state_of(poll_interval=10.0)
    state.record_failure(QianfanServerError("busy", action="DescribeModel", retry_after=50))
    state.record(CREATING)
    assert state.pause() <= 11


def test_short_pauses_and_the_last_one_before_a_deadline_end_at_no_whole_second(clock):
    short = state_of(poll_interval=1.0)
    assert all(0.9 <= short.pause() <= 1.1 for _ in range(50))
    last = state_of(poll_interval=30.0, deadline=clock.time() + 20.4)
    assert [last.pause() for _ in range(50)] == [pytest.approx(20.4, abs=1e-3)] * 50


def test_there_is_no_pause_after_the_deadline_but_a_first_poll(clock):
    state = state_of(poll_interval=30.0, deadline=clock.time() - 1)
    assert state.pause() is None
    assert state.first_pause() == 0.0


def test_first_pauses_are_spread_over_an_interval(clock):
    pauses = [state_of(poll_interval=100.0).first_pause() for _ in range(100)]
    assert all(0 <= pause <= 100 for pause in pauses)
    assert all(any(low <= pause < low + 25 for pause in pauses) for low in (0, 25, 50, 75))


@pytest.mark.parametrize(
    ("age", "progress", "low", "high"),
    [(360, "10%", 180, 180), (3240, "90%", 180, 216), (3528, "98%", 10, 10), (300, None, 60, 60)],
)
def test_polls_are_planned_from_progress_and_age(clock, age, progress, low, high):
    """An hour's training; without progress, the age of the waiting decides."""
    state = state_of(FineTuningTask, poll_interval=10.0, started=clock.time() - age)
    state.record(FineTuningTask(task_id="task-1", run_status="Running", run_progress=progress))
    assert low * 0.89 <= state.pause(affordable=3600.0) <= high * 1.11


@pytest.mark.parametrize(
    ("affordable", "low", "high"),
    [(0.0, 30, 30), (29.0, 30, 30), (100.0, 100, 100), (500.0, 180, 180)],
    ids=["alone", "few", "many", "more than the plan asks for"],
)
def test_the_plan_saves_polls_only_where_there_are_too_many(clock, affordable, low, high):
    """The plan is to wait for 180 s after an hour's training has gone on for six minutes."""
    state = state_of(FineTuningTask, poll_interval=30.0, started=clock.time() - 360)
    state.record(FineTuningTask(task_id="task-1", run_status="Running", run_progress="10%"))
    assert all(low * 0.88 <= state.pause(affordable) <= high * 1.12 for _ in range(50))


def test_a_load_that_falls_shortens_the_pause_without_another_answer(clock):
    state = state_of(FineTuningTask, poll_interval=30.0, started=clock.time() - 1e5)
    state.record(FineTuningTask(task_id="task-1", run_status="Running"))
    assert state.pause(affordable=1000.0) >= 500
    assert state.pause(affordable=100.0) <= 112
    assert state.pause() <= 34


def test_polls_come_at_most_the_longest_pause_apart(clock):
    state = state_of(poll_interval=10.0, max_poll_interval=120.0, started=clock.time() - 1e6)
    state.record(CREATING)
    assert all(107 <= state.pause(affordable=3600.0) <= 133 for _ in range(50))


@pytest.mark.parametrize(
    ("poll_interval", "expected"),
    [(30.0, [30.0, 60.0, 120.0, 240.0, 480.0, MAX_BACKOFF, MAX_BACKOFF]), (900.0, [900.0, 900.0])],
)
def test_failures_double_the_interval_up_to_a_cap(clock, poll_interval, expected):
    state = state_of(poll_interval=poll_interval)
    pauses = []
    for _ in expected:
        state.record_failure(BUSY)
        # However few wait: a service in trouble is spared.
        pauses.append(state.pause(affordable=0.0))
    assert pauses == [pytest.approx(seconds, rel=0.12) for seconds in expected]


@pytest.mark.parametrize(
    "error",
    [BUSY, QianfanThrottledError("slow down"), QianfanResponseError("a page of HTML", status_code=200)],
    ids=lambda error: type(error).__name__,
)
def test_as_many_failures_that_may_pass_as_allowed_are_tolerated(clock, error, caplog):
    state = state_of(max_poll_failures=3)
    for _ in range(3):
        state.record_failure(error)
    with pytest.raises(type(error)) as caught:
        state.record_failure(error)
    assert caught.value is error
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in lines] == [
        f"Poll of model version id-1 failed ({n} of 3 tolerated in a row)" for n in (1, 2, 3)
    ]
    assert all(error.message in line for line in lines)


def test_failures_are_counted_anew_after_a_good_poll(clock):
    state = state_of(max_poll_failures=1)
    for _ in range(3):
        state.record_failure(BUSY)
        assert state.record(CREATING) is None
    state.record_failure(BUSY)
    with pytest.raises(QianfanServerError):
        state.record_failure(BUSY)


def test_what_repeating_cannot_mend_is_not_tolerated(clock):
    with pytest.raises(QianfanPermissionError):
        state_of().record_failure(QianfanPermissionError("no", status_code=403))


def test_what_is_missing_is_tolerated_a_few_times_however_many_failures_are(clock):
    state = state_of(max_poll_failures=0)
    missing = QianfanNotFoundError("gone", status_code=404)
    for _ in range(MAX_REFUSED):
        state.record_failure(missing)
    with pytest.raises(QianfanNotFoundError):
        state.record_failure(missing)


def test_a_key_is_refused_at_once_unless_it_has_worked_before(clock):
    refused = QianfanInvalidAccessKeyError("no", status_code=403)
    with pytest.raises(QianfanInvalidAccessKeyError):
        state_of().record_failure(refused)
    state = state_of()
    for _ in range(2):
        state.record(CREATING)
        for _ in range(MAX_REFUSED):
            state.record_failure(refused)
    with pytest.raises(QianfanInvalidAccessKeyError):
        state.record_failure(refused)


def test_a_refusal_counts_among_the_failures_too(clock):
    state = state_of(max_poll_failures=4)
    state.record(CREATING)
    for _ in range(MAX_REFUSED):
        state.record_failure(QianfanNotFoundError("gone", status_code=404))
    state.record_failure(BUSY)
    with pytest.raises(QianfanServerError):
        state.record_failure(BUSY)


def test_a_poll_tells_parent_and_console_page_of_what_is_waited_for(clock):
    state = state_of(
        FineTuningTask, console=lambda url: url.replace("https://console.bce.baidu.com", "here:")
    )
    assert state.console_url is None
    state.record(FineTuningTask(task_id="task-1", job_id="job-1", run_status="Waiting"))
    assert state.target.parent_id == "job-1"
    assert state.target.list_key == ("fine-tuning task", "job-1")
    assert state.console_url is not None
    assert state.console_url.startswith("here:/qianfan/train/sft/job-1/task-1")
    # A list does not tell it again.
    state.record(FineTuningTask(task_id="task-1", run_status="Running"))
    assert state.target.parent_id == "job-1"
    assert state.console_url.startswith("here:/qianfan/train/sft/job-1/task-1")


def test_only_what_a_list_shows_with_its_state_is_polled_through_the_list():
    assert Target(FineTuningTask, "task-1").list_key is None
    assert Target(Model, "amv-1", "am-1").list_key is None


@pytest.mark.parametrize(
    ("word", "status"), [("Done", "success"), ("Failed", "failed"), ("Stopped", "failed"), ("Running", None)]
)
def test_a_final_state_ends_the_wait(clock, word, status):
    event = state_of(FineTuningTask).record(FineTuningTask(task_id="task-1", run_status=word))
    assert (event and event["status"]) == status


@pytest.mark.parametrize("value", [0, -1, True, None, "30", float("inf"), float("nan")], ids=repr)
def test_what_is_no_positive_number_of_seconds_is_refused(value):
    with pytest.raises(ValueError, match="poll_interval must be a positive number of seconds"):
        check_seconds("poll_interval", value)
    check_seconds("poll_interval", 0.1)
