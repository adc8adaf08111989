"""A trigger that Airflow cancels: it asks whether a user has ended the task, and stops insistently if so."""

import asyncio
import gc
import itertools
import threading
from types import SimpleNamespace

import pytest
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from fake_qianfan import FALSE, NUMERIC, RESET, answer, connect, refusal, server_error, throttled
from waiting import STOPPABLE, again, running

from airflow_qianfan.api.objects import Phase
from airflow_qianfan.compat import AirflowException, aget_task_state
from airflow_qianfan.exceptions import QianfanPermissionError, QianfanWaitTimeoutError
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.triggers.base import cancel
from airflow_qianfan.triggers.base import trigger as trigger_module
from airflow_qianfan.triggers.base.cancel import (
    LOG_SECONDS,
    PAUSE,
    TRIGGERER_ASK_SECONDS,
    insistent_stop_steps,
    run_steps,
)
from airflow_qianfan.triggers.base.polling import Target
from airflow_qianfan.triggers.base.trigger import ON_KILL_TIMEOUT

FOREVER = 1e6
each_trigger = pytest.mark.parametrize("trigger", STOPPABLE)
each_kind = pytest.mark.parametrize("kind", [trigger.kind() for trigger in STOPPABLE])


def actions_of(kind):
    """Return the names of the requests that stop and read an object of a kind."""
    return kind.stop("id-1").action, kind.describe("id-1").action


def make_trigger(trigger, object_id="id-1"):
    return again(trigger(**{trigger.id_name: object_id, "cancel_on_kill": True}))


def times_of(qianfan, action):
    return [call.time for call in qianfan.of(action)]


def lines_of(capsys, level):
    return [line for line in capsys.readouterr().out.splitlines() if f"[{level}" in line]


@pytest.fixture
def airflow(monkeypatch):
    """Airflow, which tells the state of the task."""

    class Airflow:
        state: object = "failed"
        error: Exception | None = None
        seconds = 0.0

        def __init__(self):
            self.asked = []

        async def tell(self, ti):
            self.asked.append(ti)
            await asyncio.sleep(self.seconds)
            if self.error:
                raise self.error
            return self.state

    airflow = Airflow()
    monkeypatch.setattr(cancel, "aget_task_state", airflow.tell)
    return airflow


# Whether


@each_trigger
@pytest.mark.parametrize("state", ["failed", "success", "skipped", "removed", "upstream_failed"])
async def test_what_a_user_has_ended_is_stopped(qianfan, airflow, trigger, state, capsys):
    remote = qianfan.add(trigger.kind(), "id-1")
    waiting, airflow.state = make_trigger(trigger), state
    waiting.task_instance = task_instance = SimpleNamespace(task_id="t", dag_id="d", run_id="r", map_index=-1)
    await waiting.on_kill()
    assert trigger.kind().states.read(remote.word).phase is Phase.STOPPED
    assert airflow.asked == [task_instance]
    (line,) = lines_of(capsys, "info")
    assert f"Stopped {trigger.kind().noun} id-1, since a user ended the Airflow task" in line
    assert f"it is {state}" in line


@each_trigger
@pytest.mark.parametrize(
    "state", ["deferred", "scheduled", "queued", "running", "restarting", "up_for_retry", "awaiting", None]
)
async def test_what_moved_to_another_triggerer_or_was_cleared_goes_on(
    qianfan, airflow, trigger, state, capsys
):
    qianfan.add(trigger.kind(), "id-1")
    airflow.state = state
    await make_trigger(trigger).on_kill()
    assert not qianfan.calls
    (line,) = lines_of(capsys, "info")
    assert f"{trigger.kind().noun} id-1 goes on: its task is {state}" in line


@each_trigger
@pytest.mark.parametrize(
    "error",
    [AirflowException("no answer"), LookupError("unknown"), RuntimeError("no socket"), TimeoutError()],
    ids=lambda error: type(error).__name__,
)
async def test_without_an_answer_of_airflow_nothing_is_stopped(qianfan, airflow, trigger, error, capsys):
    qianfan.add(trigger.kind(), "id-1")
    airflow.error = error
    await make_trigger(trigger).on_kill()
    assert not qianfan.calls
    (line,) = lines_of(capsys, "error")
    assert f"{trigger.kind().noun} id-1 goes on" in line
    assert f"does not tell whether a user ended the task ({type(error).__name__})" in line
    assert "stop it in the console" in line


@each_trigger
async def test_an_airflow_that_never_answers_is_not_waited_for_for_ever(
    qianfan, clock, airflow, trigger, capsys
):
    qianfan.add(trigger.kind(), "id-1")
    airflow.seconds = FOREVER
    await make_trigger(trigger).on_kill()
    assert clock.seconds == pytest.approx(TRIGGERER_ASK_SECONDS + LOG_SECONDS, abs=0.1)
    assert not qianfan.calls
    assert len(lines_of(capsys, "error")) == 1


@each_trigger
async def test_an_airflow_that_answers_late_leaves_the_stop_time(qianfan, clock, airflow, trigger, capsys):
    qianfan.add(trigger.kind(), "id-1")
    qianfan.fail(None, times=FOREVER, seconds=FOREVER)
    airflow.seconds = 20.0
    await make_trigger(trigger).on_kill()
    assert clock.seconds == pytest.approx(20.0 + ON_KILL_TIMEOUT + LOG_SECONDS, abs=0.1)
    (line,) = lines_of(capsys, "error")
    assert "It may go on and cost money" in line
    assert f"has not ended within {ON_KILL_TIMEOUT:g} s" in line


async def test_airflow_is_asked_for_one_task_in_another_thread(monkeypatch):
    asked = []

    def answered(**filters):
        asked.append((filters, threading.current_thread()))
        return {"r": {"t": "deferred"}} if filters["task_ids"] == ["t"] else {}

    class TaskInstance:
        dag_id, task_id, run_id, map_index = "d", "t", "r", 3

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(answered))
    assert await aget_task_state(TaskInstance()) == "deferred"
    ((filters, thread),) = asked
    assert filters == {"dag_id": "d", "task_ids": ["t"], "run_ids": ["r"], "map_index": 3}
    assert thread is not threading.current_thread()
    TaskInstance.task_id = "deleted"
    with pytest.raises(LookupError):
        await aget_task_state(TaskInstance())


# However often Airflow cancels


@each_trigger
@pytest.mark.parametrize("times", [1, 20])
async def test_a_stop_goes_on_however_often_airflow_cancels_it(
    qianfan, clock, airflow, trigger, times, capsys
):
    """Airflow does so about once a second, at each of its syncs; here a TLS handshake takes longer."""
    remote = qianfan.add(trigger.kind(), "id-1")
    qianfan.fail(None, times=2, seconds=10.0)
    airflow.seconds = 3.0
    killing = asyncio.create_task(make_trigger(trigger).on_kill())
    for _ in range(times):
        await asyncio.sleep(1)
        killing.cancel()
    await killing
    assert trigger.kind().states.read(remote.word).phase is Phase.STOPPED
    assert clock.seconds == pytest.approx(23 + LOG_SECONDS, abs=0.1)
    assert any(f"Stopped {trigger.kind().noun} id-1" in line for line in lines_of(capsys, "info"))
    assert not cancel._STOPPING


@each_trigger
async def test_a_stop_goes_on_where_its_coroutine_was_thrown_away(qianfan, airflow, trigger):
    remote = qianfan.add(trigger.kind(), "id-1")
    qianfan.fail(None, seconds=5.0)
    killing = make_trigger(trigger).on_kill()
    killing.send(None)
    killing.close()
    gc.collect()
    await asyncio.sleep(10)
    assert trigger.kind().states.read(remote.word).phase is Phase.STOPPED


@each_trigger
async def test_forty_tasks_that_a_user_ends_at_once_are_all_stopped(qianfan, airflow, trigger):
    remotes = [qianfan.add(trigger.kind(), f"id-{n}") for n in range(40)]
    qianfan.fail(throttled(), times=20)
    qianfan.fail(server_error(), times=20)
    waiting = [make_trigger(trigger, f"id-{n}") for n in range(40)]
    async with running(waiting):
        await qianfan.more(40)
    killing = [asyncio.create_task(one.on_kill()) for one in waiting]
    for _ in range(3):
        await asyncio.sleep(1)
        for task in killing:
            task.cancel()
    await asyncio.gather(*killing)
    assert {trigger.kind().states.read(remote.word).phase for remote in remotes} == {Phase.STOPPED}


@each_trigger
async def test_a_task_that_ends_while_its_trigger_reads_the_connection_is_stopped(
    qianfan, airflow, trigger, monkeypatch
):
    """Airflow reads a secrets backend with asgiref, which loses the message of a cancellation."""
    remote = qianfan.add(trigger.kind(), "id-1")
    read = QianfanHook.aget_config

    async def read_slowly(hook):
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            raise asyncio.CancelledError from None
        return await read(hook)

    monkeypatch.setattr(QianfanHook, "aget_config", read_slowly)
    waiting = asyncio.create_task(anext(make_trigger(trigger).run()))
    await asyncio.sleep(1)
    waiting.cancel("__airflow_user_action__")
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert trigger.kind().states.read(remote.word).phase is Phase.STOPPED


@each_trigger
async def test_a_task_that_ends_while_its_trigger_is_loaded_is_stopped(
    qianfan, airflow, trigger, monkeypatch
):
    remote = qianfan.add(trigger.kind(), "id-1")
    monkeypatch.setattr(trigger_module, "load_for_polling", lambda path: asyncio.sleep(5))
    waiting = asyncio.create_task(anext(make_trigger(trigger).run()))
    await asyncio.sleep(1)
    waiting.cancel("__airflow_user_action__")
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert trigger.kind().states.read(remote.word).phase is Phase.STOPPED


@each_trigger
async def test_a_stop_that_fails_in_an_unexpected_way_says_so(qianfan, airflow, trigger, monkeypatch, capsys):
    async def fail(hook):
        raise RuntimeError("sk-secret")

    monkeypatch.setattr(QianfanHook, "aget_config", fail)
    await make_trigger(trigger).on_kill()
    (line,) = lines_of(capsys, "error")
    assert f"Stopping {trigger.kind().noun} id-1" in line
    assert "did not succeed: unexpected RuntimeError" in line
    assert "sk-secret" not in line


# Until it is verified


@each_trigger
@pytest.mark.parametrize(
    "fault",
    [throttled(), server_error(), server_error(503), RESET, NUMERIC, FALSE, refusal("InvalidParameter", 400)],
    ids=["throttled", "server error", "unavailable", "reset", "numeric", "false", "bad request"],
)
@pytest.mark.parametrize("on_worker", [True, False])
async def test_a_stop_that_does_not_take_effect_is_sent_again(qianfan, airflow, trigger, fault, on_worker):
    kind = trigger.kind()
    remote = qianfan.add(kind, "id-1")
    stop, describe = actions_of(kind)
    qianfan.fail(fault, action=stop, times=2)
    if on_worker:
        found = run_steps(insistent_stop_steps(Target(kind, "id-1")), QianfanHook(), seconds=60)
        assert found.state.phase is Phase.STOPPED
    else:
        await make_trigger(trigger).on_kill()
    assert kind.states.read(remote.word).phase is Phase.STOPPED
    assert qianfan.actions == [stop, describe] * 3
    first, second, third = times_of(qianfan, stop)
    assert second - first >= PAUSE
    assert third - second >= PAUSE


@each_kind
async def test_a_pause_that_the_service_asks_for_is_kept_once(qianfan, clock, kind):
    remote = qianfan.add(kind, "id-1")
    stop, describe = actions_of(kind)
    qianfan.fail(throttled(8), action=stop)
    qianfan.fail(answer({"requestId": "r", "result": remote.detail()}), action=describe, times=2)
    run_steps(insistent_stop_steps(Target(kind, "id-1")), QianfanHook(), seconds=60)
    # The service said that it wants no request now: so none reads the state either.
    assert qianfan.actions == [stop, *[stop, describe] * 3]
    gaps = [later - sooner for sooner, later in itertools.pairwise(qianfan.times)]
    assert 8 <= gaps[0] < 8.1
    assert max(gaps[1:]) < 1


@each_trigger
@pytest.mark.parametrize("max_retries", [0, 3])
async def test_a_pause_that_the_service_asks_for_ends_with_the_time(
    qianfan, clock, monkeypatch, airflow, trigger, max_retries, capsys
):
    connect(monkeypatch, extra={"max_retries": max_retries})
    qianfan.add(trigger.kind(), "id-1")
    qianfan.fail(throttled(600), times=FOREVER)
    await make_trigger(trigger).on_kill()
    assert clock.seconds == pytest.approx(ON_KILL_TIMEOUT + LOG_SECONDS, abs=0.1)
    (line,) = lines_of(capsys, "error")
    assert f"has not ended within {ON_KILL_TIMEOUT:g} s" in line
    start = clock.monotonic()
    with pytest.raises(QianfanWaitTimeoutError):
        run_steps(insistent_stop_steps(Target(trigger.kind(), "id-1")), QianfanHook(), seconds=3)
    assert clock.monotonic() - start == pytest.approx(3, abs=0.1)


@each_kind
def test_an_error_that_will_not_pass_ends_the_trying(qianfan, kind):
    qianfan.add(kind, "id-1")
    stop, _ = actions_of(kind)
    qianfan.fail(refusal("AccessDenied"), times=FOREVER)
    with pytest.raises(QianfanPermissionError):
        run_steps(insistent_stop_steps(Target(kind, "id-1")), QianfanHook(), seconds=60)
    assert qianfan.actions == [stop]


@each_kind
@pytest.mark.parametrize("steps", [insistent_stop_steps, cancel.stop_steps])
def test_an_error_names_the_state_only_if_it_is_documented(qianfan, kind, steps):
    """An undocumented word may hold anything."""
    remote = qianfan.add(kind, "id-1")
    stop, _ = actions_of(kind)
    qianfan.fail(answer({"requestId": "r", "result": True}), action=stop, times=FOREVER)
    known = remote.word
    with pytest.raises(QianfanWaitTimeoutError, match=f"and is still {known}"):
        run_steps(steps(Target(kind, "id-1")), QianfanHook(), seconds=5)
    remote.word = "Strange"
    with pytest.raises(QianfanWaitTimeoutError, match=r"in a state that is not documented$") as caught:
        run_steps(steps(Target(kind, "id-1")), QianfanHook(), seconds=5)
    assert "Strange" not in f"{caught.value} {caught.value!r}"


@each_trigger
async def test_no_log_line_names_an_undocumented_state(qianfan, airflow, trigger, capsys):
    remote = qianfan.add(trigger.kind(), "id-1")
    stop, _ = actions_of(trigger.kind())
    qianfan.fail(FALSE, action=stop, times=FOREVER)
    remote.word = "Strange"
    await make_trigger(trigger).on_kill()
    out = capsys.readouterr().out
    assert "It may go on and cost money" in out
    assert "Strange" not in out
