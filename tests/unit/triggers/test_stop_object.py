"""Stopping what nobody waits for any more, from trigger and worker: every kind that can be stopped."""

import math
import threading

import pytest
from fake_qianfan import (
    FALSE,
    MISSING,
    REFUSED_KEY,
    RESET,
    SECRET,
    answer,
    connect,
    refusal,
    server_error,
    word_of,
)
from waiting import SENSORS, STOPPABLE, TRIGGERS, UNSTOPPABLE, again, running

from airflow_qianfan.api.objects import Phase
from airflow_qianfan.compat import AirflowException, TaskDeferred
from airflow_qianfan.exceptions import (
    QianfanOperationFailedError,
    QianfanPermissionError,
    QianfanPollError,
    QianfanRequestError,
    QianfanServerError,
    QianfanWaitTimeoutError,
)
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.triggers.base import cancel
from airflow_qianfan.triggers.base.cancel import LOG_SECONDS, PAUSE, arun_steps, run_steps, stop_steps
from airflow_qianfan.triggers.base.polling import Target
from airflow_qianfan.triggers.base.trigger import ON_KILL_TIMEOUT

KINDS = [trigger.kind() for trigger in STOPPABLE]
SENSOR_OF = {sensor.trigger_class(): sensor for sensor in SENSORS}
each_kind = pytest.mark.parametrize("kind", KINDS)
each_trigger = pytest.mark.parametrize("trigger", STOPPABLE)
#: Airflow kills a worker's process so many seconds after the signal.
WORKER_SECONDS = 5.0


def actions_of(kind):
    """Return the names of the requests that stop and read an object of a kind."""
    return kind.stop("id-1").action, kind.describe("id-1").action


def make_trigger(trigger, **arguments):
    return trigger(**{trigger.id_name: "id-1", "cancel_on_kill": True, **arguments})


def make_sensor(trigger, **arguments):
    return SENSOR_OF[trigger](
        **{"task_id": "it", trigger.id_name: "id-1", "cancel_on_kill": True, **arguments}
    )


def error_lines(capsys) -> list[str]:
    return [line for line in capsys.readouterr().out.splitlines() if "[error" in line]


@pytest.fixture
def ended_by_user(monkeypatch):
    """A user has ended the task: that is why the process is told to end, or the trigger cancelled."""
    monkeypatch.setattr("airflow_qianfan.sensors.base.user_has_ended_task", lambda left: True)

    async def failed(ti):
        return "failed"

    monkeypatch.setattr(cancel, "aget_task_state", failed)


def test_there_are_kinds_that_can_be_stopped_and_others():
    assert {kind.__name__ for kind in KINDS} >= {"FineTuningTask"}
    assert {trigger.kind().__name__ for trigger in UNSTOPPABLE} >= {"Model"}


# The steps


@each_kind
def test_an_object_is_told_to_stop_and_polled_until_it_has_ended(qianfan, clock, kind):
    stop, describe = actions_of(kind)
    remote = qianfan.add(kind, "id-1")
    qianfan.fail(answer({"requestId": "r", "result": True}), action=stop)
    still = remote.word
    steps = stop_steps(Target(kind, "id-1"))
    assert next(steps).action == stop
    assert steps.send(True).action == describe
    assert steps.send(kind.model_construct(**{kind.id_member: "id-1", kind.state_member: still})) == PAUSE
    assert steps.send(None).action == describe
    ended = kind.model_construct(**{kind.id_member: "id-1", kind.state_member: word_of(kind, Phase.STOPPED)})
    with pytest.raises(StopIteration) as caught:
        steps.send(ended)
    assert caught.value.value is ended


@each_kind
def test_without_waiting_the_state_is_read_once(qianfan, kind):
    stop, describe = actions_of(kind)
    qianfan.add(kind, "id-1")
    qianfan.fail(answer({"requestId": "r", "result": True}), action=stop)
    found = run_steps(stop_steps(Target(kind, "id-1"), wait=False), QianfanHook(), seconds=60)
    assert not found.state.is_final
    assert qianfan.actions == [stop, describe]


@each_kind
def test_a_worker_waits_until_the_object_has_ended(qianfan, clock, kind):
    stop, describe = actions_of(kind)
    remote = qianfan.add(kind, "id-1")
    active = answer({"requestId": "r", "result": remote.detail()})
    qianfan.fail(active, action=describe, times=3)
    found = run_steps(stop_steps(Target(kind, "id-1")), QianfanHook(), seconds=60)
    assert found.state.phase is Phase.STOPPED
    assert qianfan.actions == [stop, *[describe] * 4]
    assert clock.seconds == pytest.approx(3 * PAUSE, abs=0.1)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.goes_on])
def test_what_goes_on_after_its_success_is_waited_for_until_it_has_ended(qianfan, clock, kind):
    stop, describe = actions_of(kind)
    remote = qianfan.add(kind, "id-1")
    qianfan.end(Phase.SUCCEEDED)
    serving = answer({"requestId": "r", "result": remote.detail()})
    qianfan.fail(answer({"requestId": "r", "result": True}), action=stop)
    qianfan.fail(serving, action=describe, times=2)
    qianfan.end(Phase.STOPPED)
    found = run_steps(stop_steps(Target(kind, "id-1")), QianfanHook(), seconds=60)
    assert found.state.phase is Phase.STOPPED
    assert qianfan.actions == [stop, *[describe] * 3]


@each_kind
def test_a_worker_waits_no_longer_than_it_was_told(qianfan, clock, kind):
    stop, _ = actions_of(kind)
    qianfan.add(kind, "id-1")
    qianfan.fail(answer({"requestId": "r", "result": True}), action=stop)
    with pytest.raises(QianfanWaitTimeoutError, match="has not ended within 60 s"):
        run_steps(stop_steps(Target(kind, "id-1")), QianfanHook(), seconds=60)
    assert 60 <= clock.seconds <= 61


@each_kind
async def test_an_event_loop_waits_in_the_same_way(qianfan, clock, kind):
    stop, describe = actions_of(kind)
    remote = qianfan.add(kind, "id-1")
    qianfan.fail(answer({"requestId": "r", "result": remote.detail()}), action=describe, times=3)
    found = await arun_steps(stop_steps(Target(kind, "id-1")), QianfanHook(), seconds=60)
    assert found.state.phase is Phase.STOPPED
    assert qianfan.actions == [stop, *[describe] * 4]
    qianfan.objects.clear()
    qianfan.add(kind, "id-1")
    qianfan.fail(answer({"requestId": "r", "result": True}), action=stop)
    start = clock.monotonic()
    with pytest.raises(TimeoutError):
        await arun_steps(stop_steps(Target(kind, "id-1")), QianfanHook(), seconds=60)
    assert clock.monotonic() - start == pytest.approx(60, abs=0.1)


@each_kind
@pytest.mark.parametrize("phase", [Phase.SUCCEEDED, Phase.FAILED, Phase.STOPPED])
@pytest.mark.parametrize("refused", [FALSE, refusal("InvalidParameter", 400)], ids=["false", "bad-request"])
def test_what_has_ended_needs_no_stop_whatever_the_service_answers(qianfan, kind, phase, refused):
    """What it answers for an object that has ended is not documented: its state decides."""
    stop, describe = actions_of(kind)
    qianfan.add(kind, "id-1")
    qianfan.end(phase)
    qianfan.fail(refused, action=stop)
    if kind.goes_on and phase is Phase.SUCCEEDED:
        # A service that serves has not ended.
        with pytest.raises((QianfanOperationFailedError, QianfanRequestError)):
            run_steps(stop_steps(Target(kind, "id-1")), QianfanHook(), seconds=60)
        return
    found = run_steps(stop_steps(Target(kind, "id-1")), QianfanHook(), seconds=60)
    assert found.state.phase is phase
    assert qianfan.actions == [stop, describe]


@each_kind
@pytest.mark.parametrize(
    ("refused", "error"),
    [(FALSE, QianfanOperationFailedError), (refusal("InvalidParameter", 400), QianfanRequestError)],
    ids=["false", "bad-request"],
)
@pytest.mark.parametrize("wait", [True, False])
def test_a_stop_that_is_refused_while_the_object_goes_on_is_an_error(qianfan, kind, refused, error, wait):
    stop, describe = actions_of(kind)
    qianfan.add(kind, "id-1")
    qianfan.fail(refused, action=stop)
    with pytest.raises(error):
        run_steps(stop_steps(Target(kind, "id-1"), wait=wait), QianfanHook(), seconds=60)
    assert qianfan.actions == [stop, describe]


@each_kind
def test_a_refusal_after_a_lost_answer_is_waited_out(qianfan, monkeypatch, clock, kind):
    """The first Stop may have taken effect, and the object ends in a moment."""
    stop, describe = actions_of(kind)
    connect(monkeypatch, extra={"max_retries": 1})
    remote = qianfan.add(kind, "id-1")
    qianfan.fail(RESET, action=stop)
    qianfan.fail(FALSE, action=stop)
    qianfan.fail(answer({"requestId": "r", "result": remote.detail()}), action=describe)
    qianfan.end(Phase.STOPPED)
    found = run_steps(stop_steps(Target(kind, "id-1")), QianfanHook(), seconds=60)
    assert found.state.phase is Phase.STOPPED
    assert qianfan.actions == [stop, stop, describe, describe]


@each_kind
@pytest.mark.parametrize(
    ("fault", "error"),
    [(server_error(), QianfanServerError), (refusal("AccessDenied"), QianfanPermissionError)],
    ids=["server-error", "forbidden"],
)
async def test_other_errors_are_raised_by_both(qianfan, kind, fault, error):
    qianfan.fail(fault, times=math.inf)
    with pytest.raises(error):
        run_steps(stop_steps(Target(kind, "id-1")), QianfanHook(), seconds=60)
    with pytest.raises(error):
        await arun_steps(stop_steps(Target(kind, "id-1")), QianfanHook(), seconds=60)


@pytest.mark.parametrize("trigger", UNSTOPPABLE)
def test_what_the_service_cannot_stop_is_no_question_to_it(qianfan, trigger):
    kind = trigger.kind()
    with pytest.raises(ValueError, match=f"cannot stop a {kind.noun}"):
        run_steps(stop_steps(Target(kind, "id-1")), QianfanHook(), seconds=60)
    assert not qianfan.calls


# A user ends the task


@each_trigger
@pytest.mark.parametrize("asked", [True, False])
async def test_a_deferred_task_stops_the_object_only_if_asked_to(
    qianfan, trigger, asked, ended_by_user, capsys
):
    remote = qianfan.add(trigger.kind(), "id-1")
    waiting = again(make_trigger(trigger, cancel_on_kill=asked))
    async with running([waiting]):
        await qianfan.more(1)
    await waiting.on_kill()
    stop, _ = actions_of(trigger.kind())
    assert qianfan.count(stop) == asked
    assert trigger.kind().states.read(remote.word).is_final is asked
    lines = [line for line in capsys.readouterr().out.splitlines() if "Stopped" in line]
    assert len(lines) == asked
    why = "since a user ended the Airflow task that waited for it: it is failed"
    assert all(f"Stopped {trigger.kind().noun} id-1, {why}" in line for line in lines)


@each_trigger
@pytest.mark.parametrize("asked", [True, False])
def test_a_worker_stops_the_object_only_if_asked_to(qianfan, trigger, asked, ended_by_user, capsys):
    remote = qianfan.add(trigger.kind(), "id-1")
    make_sensor(trigger, cancel_on_kill=asked).on_kill()
    stop, describe = actions_of(trigger.kind())
    assert qianfan.actions == [stop, describe] * asked
    assert trigger.kind().states.read(remote.word).is_final is asked
    assert (f"Stopped {trigger.kind().noun} id-1, since" in capsys.readouterr().out) is asked


@each_trigger
def test_a_worker_that_is_replaced_stops_nothing(qianfan, trigger, monkeypatch):
    monkeypatch.setattr("airflow_qianfan.sensors.base.user_has_ended_task", lambda left: False)
    qianfan.add(trigger.kind(), "id-1")
    make_sensor(trigger).on_kill()
    assert not qianfan.calls


@each_trigger
def test_a_worker_that_is_replaced_while_its_sensor_is_deferred_stops_nothing(qianfan, trigger, monkeypatch):
    def defer(context):
        raise TaskDeferred(trigger=make_trigger(trigger), method_name="execute_complete")

    qianfan.add(trigger.kind(), "id-1")
    sensor = make_sensor(trigger, deferrable=True)
    monkeypatch.setattr(sensor, "_poll_and_defer", defer)
    with pytest.raises(TaskDeferred):
        sensor.execute({"ti": TaskInstance("running")})
    sensor.on_kill()
    assert not qianfan.calls


@each_trigger
def test_a_worker_that_is_replaced_while_a_failed_poll_is_told_stops_nothing(qianfan, trigger):
    qianfan.add(trigger.kind(), "id-1")
    sensor = make_sensor(trigger, deferrable=True)
    event = {"status": "error", "message": "no answer"}
    with pytest.raises(QianfanPollError):
        sensor.resume_execution("execute_complete", {"event": event}, {"ti": TaskInstance("running")})
    sensor.on_kill()
    assert not qianfan.calls


@pytest.mark.parametrize("trigger", UNSTOPPABLE)
async def test_nothing_is_sent_where_the_service_cannot_stop_the_object(
    qianfan, trigger, ended_by_user, capsys
):
    qianfan.add(trigger.kind(), "id-1")
    await make_trigger(trigger).on_kill()
    make_sensor(trigger).on_kill()
    assert not qianfan.calls
    assert not error_lines(capsys)


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_sensor_hands_its_wish_to_cancel_to_its_trigger(trigger):
    for asked in (True, False):
        assert make_sensor(trigger, cancel_on_kill=asked).make_trigger().cancel_on_kill is asked


def fail_stops(qianfan, fault):
    for kind in KINDS:
        qianfan.fail(fault, action=kind.stop("id-1").action, times=math.inf)


TROUBLES = {
    "hanging": lambda qianfan, monkeypatch: qianfan.fail(None, times=math.inf, seconds=1e6),
    "down": lambda qianfan, monkeypatch: qianfan.fail(RESET, times=math.inf),
    "failing": lambda qianfan, monkeypatch: qianfan.fail(server_error(), times=math.inf),
    "refusing": lambda qianfan, monkeypatch: qianfan.fail(refusal("AccessDenied"), times=math.inf),
    "refusing the key": lambda qianfan, monkeypatch: qianfan.fail(REFUSED_KEY, times=math.inf),
    "gone": lambda qianfan, monkeypatch: qianfan.fail(MISSING, times=math.inf),
    "false": lambda qianfan, monkeypatch: fail_stops(qianfan, FALSE),
    "ignoring": lambda qianfan, monkeypatch: fail_stops(qianfan, answer({"requestId": "r", "result": True})),
    "without connection": lambda qianfan, monkeypatch: monkeypatch.delenv("AIRFLOW_CONN_QIANFAN_DEFAULT"),
}


@each_trigger
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_trigger_that_cannot_stop_the_object_says_so_in_time(
    qianfan, clock, monkeypatch, capsys, trigger, trouble, ended_by_user
):
    qianfan.add(trigger.kind(), "id-1")
    connect(monkeypatch, extra={"max_retries": 3})
    TROUBLES[trouble](qianfan, monkeypatch)
    start = clock.monotonic()
    await make_trigger(trigger).on_kill()
    assert clock.monotonic() - start <= ON_KILL_TIMEOUT + LOG_SECONDS + 0.1
    (line,) = error_lines(capsys)
    assert f"Stopping {trigger.kind().noun} id-1, since a user ended" in line
    assert "It may go on and cost money: look in the console" in line
    assert SECRET not in line
    if trouble in ("ignoring", "false"):
        assert f"has not ended within {ON_KILL_TIMEOUT:g} s" in line


@each_trigger
@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_worker_that_cannot_stop_the_object_says_so_before_it_is_killed(
    qianfan, clock, monkeypatch, capsys, trigger, trouble, ended_by_user
):
    qianfan.add(trigger.kind(), "id-1")
    connect(monkeypatch, extra={"max_retries": 3})
    TROUBLES[trouble](qianfan, monkeypatch)
    make_sensor(trigger).on_kill()
    assert clock.seconds < WORKER_SECONDS
    (line,) = error_lines(capsys)
    assert f"Stopping {trigger.kind().noun} id-1, since" in line
    assert "It may go on and cost money: look in the console" in line


# Has a user ended the task?


class TaskInstance:
    """A running task as Airflow's SDK shows it; Airflow's answer is its state."""

    dag_id, task_id, run_id, map_index = "d", "t", "r", -1

    def __init__(self, state=None, error=None):
        self._state, self._error = state, error

    def get_task_states(self, **filters):
        assert filters == {"dag_id": "d", "task_ids": ["t"], "run_ids": ["r"], "map_index": -1}
        if self._error:
            raise self._error
        return {} if self._state is None else {"r": {"t": self._state}}


def ask(monkeypatch, ti) -> bool:
    monkeypatch.setattr(cancel, "get_current_context", lambda: {"ti": ti})
    return cancel.user_has_ended_task()


@pytest.mark.parametrize(
    ("state", "ended"),
    [
        ("failed", True),
        ("success", True),
        ("skipped", True),
        ("removed", True),
        ("upstream_failed", True),
        # A clear of a running task: the next attempt decides what becomes of the object.
        ("restarting", False),
        ("running", False),
        ("up_for_retry", False),
        ("queued", False),
        ("scheduled", False),
        ("deferred", False),
        (None, False),
    ],
)
def test_the_state_of_the_task_tells_whether_a_user_has_ended_it(monkeypatch, state, ended):
    assert ask(monkeypatch, TaskInstance(state)) is ended


@pytest.mark.parametrize(("state", "ended"), [("failed", True), ("running", False), (None, False)])
def test_so_it_does_where_its_execution_is_over_and_airflow_has_no_context_any_more(state, ended):
    assert cancel.user_has_ended_task(TaskInstance(state)) is ended


def test_where_airflow_cannot_be_asked_the_object_goes_on(monkeypatch):
    assert ask(monkeypatch, TaskInstance(error=AirflowException("no answer"))) is False


def test_where_airflow_does_not_answer_in_time_the_object_goes_on(monkeypatch):
    never = threading.Event()

    class Silent(TaskInstance):
        def get_task_states(self, **filters):
            never.wait()

    monkeypatch.setattr(cancel, "ASK_SECONDS", 0.01)
    try:
        assert ask(monkeypatch, Silent()) is False
    finally:
        never.set()


def test_outside_of_a_task_nobody_else_waits():
    assert cancel.user_has_ended_task() is True
