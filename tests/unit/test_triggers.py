import asyncio
import dataclasses
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.serde import deserialize, serialize
from airflow.triggers.base import BaseTrigger
from airflow_qianfan.triggers.poller import Poller, Watched

from airflow_qianfan.emulator import QianfanEmulator
from airflow_qianfan.exceptions import (
    QianfanPollError,
    QianfanPollRefusedError,
    QianfanServerError,
    QianfanTerminalStateError,
    QianfanWaitTimeoutError,
)
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.triggers import finetuning
from airflow_qianfan.triggers.base import (
    MAX_BACKOFF,
    MAX_REFUSED,
    Observation,
    ProgressLog,
    Watch,
    output_of,
)
from airflow_qianfan.triggers.finetuning import QianfanFineTuningTaskTrigger
from airflow_qianfan.triggers.model import QianfanModelTrigger

DATASET = {"sourceType": "Platform", "versions": [{"versionId": "ds-0123456789abcdef"}]}
HOUR = 3600.0
SECRET = "s3nt1nel-secret-access-key"
TOKEN = "s3nt1nel-session-token"


class Remote:
    """An emulator without client retries, and what a test needs in it."""

    def __init__(self, emulator: QianfanEmulator) -> None:
        self.emulator = emulator

    def create(self, route: str, action: str, **body: Any) -> Any:
        return QianfanHook().call_action(route, action, body)["result"]

    def task(self, name: str = "nightly", *, advance: float = 0.0, **arguments: Any) -> BaseTrigger:
        job = {"name": name, "model": "ERNIE-Speed-8K", "trainMode": "SFT"}
        job_id = self.create("/v2/finetuning", "CreateFineTuningJob", **job)["jobId"]
        task = {"jobId": job_id, "hyperParameterConfig": {}, "datasetConfig": DATASET}
        task_id = self.create("/v2/finetuning", "CreateFineTuningTask", **task)["taskId"]
        self.emulator.advance(advance)
        arguments = {"poll_interval": 0.05, **arguments}
        return QianfanFineTuningTaskTrigger(fine_tuning_task_id=task_id, **arguments)

    def model(self, name: str = "bot", *, advance: float = 0.0, **arguments: Any) -> BaseTrigger:
        model_set = self.create("/v2/model", "CreateCustomModelSet", modelSetName=name, modelType="Text2Text")
        files = {
            "bucket": "b",
            "objectPath": "p",
            "modelFormat": "Safetensors",
            "modelApplicationType": "chat",
        }
        model = {"modelSetId": model_set, "sourceType": "Import", "importMeta": files}
        model_id = self.create("/v2/model", "CreateCustomModel", **model)["modelId"]
        self.emulator.advance(advance)
        return QianfanModelTrigger(model_id=model_id, **{"poll_interval": 0.05, **arguments})

    def looks(self) -> list[dict[str, Any]]:
        return [
            call
            for call in self.emulator.journal
            if call["action"].startswith(("Describe", "Stop", "Delete"))
        ]

    async def wait_for_looks(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.looks()) < count:  # noqa: ASYNC110 - the emulator lives in another thread
                await asyncio.sleep(0.01)

    def stops(self) -> int:
        return sum(call["action"] == "StopFineTuningTask" for call in self.emulator.journal)


@pytest.fixture
def remote(monkeypatch):
    with QianfanEmulator(
        task_seconds=HOUR, model_seconds=HOUR, secret_key=SECRET, session_token=TOKEN
    ) as emulator:
        connect(monkeypatch, emulator)
        yield Remote(emulator)


def connect(monkeypatch: pytest.MonkeyPatch, emulator: QianfanEmulator, **extra: Any) -> None:
    connection = json.loads(emulator.connection_json)
    connection["extra"] = {**connection.get("extra", {}), "max_retries": 0, "timeout": 5, **extra}
    monkeypatch.setenv("AIRFLOW_CONN_QIANFAN_DEFAULT", json.dumps(connection))


@pytest.fixture
def pauses(monkeypatch):
    """Let the poller send every look at once; return the pauses that the triggers asked for."""
    asked: list[float] = []
    look = Poller.look

    def look_at_once(self: Poller, watched: Watched, pause: float) -> asyncio.Future[Any]:
        asked.append(pause)
        return look(self, watched, 0.0)

    monkeypatch.setattr(Poller, "look", look_at_once)
    monkeypatch.setattr("airflow_qianfan.triggers.poller.FIRST_SLOWDOWN", 0.01)
    return asked


async def event_of(trigger: BaseTrigger) -> dict[str, Any]:
    events = [event.payload async for event in trigger.run()]
    assert len(events) == 1
    return events[0]


def again(trigger: BaseTrigger) -> BaseTrigger:
    """Return the trigger as a triggerer makes it from the database."""
    path, arguments = trigger.serialize()
    stored = json.loads(json.dumps(serialize(arguments)))
    module, _, name = path.rpartition(".")
    return getattr(sys.modules[module], name)(**deserialize(stored))


TRIGGERS = [
    lambda: QianfanFineTuningTaskTrigger(fine_tuning_task_id="task-1"),
    lambda: QianfanFineTuningTaskTrigger(
        fine_tuning_task_id="task-1",
        cancel_on_kill=True,
        qianfan_conn_id="other",
        poll_interval=7.5,
        started=12.5,
        deadline=99.0,
        max_poll_failures=3,
        console_url="https://console.example/",
    ),
    lambda: QianfanModelTrigger(model_id="amv-1"),
    lambda: QianfanModelTrigger(
        model_id="amv-1",
        qianfan_conn_id="other",
        poll_interval=7.5,
        started=12.5,
        deadline=99.0,
        max_poll_failures=3,
        console_url="https://console.example/",
    ),
]


@pytest.mark.parametrize("make", TRIGGERS)
def test_a_trigger_survives_serialization_with_every_argument(make):
    trigger = make()
    copy = again(trigger)
    assert type(copy) is type(trigger)
    assert copy.serialize() == trigger.serialize()
    assert all(
        value is None or type(value) in (str, int, float, bool) for value in copy.serialize()[1].values()
    )


@pytest.mark.parametrize(("kind", "state"), [("task", "Done"), ("model", "Ready")])
async def test_a_final_state_is_a_success_event_with_the_output(remote, kind, state):
    event = await event_of(getattr(remote, kind)(advance=2 * HOUR))
    assert (event["status"], event["state"]) == ("success", state)
    assert event["output"]["console_url"].startswith("https://console.bce.baidu.com/qianfan/")
    assert json.loads(json.dumps(event)) == event
    assert output_of(event) == event["output"]


async def test_metrics_and_checkpoints_are_numbers_in_the_event(remote):
    output = (await event_of(remote.task(advance=2 * HOUR)))["output"]
    (task,) = remote.emulator.tasks
    assert output["metrics"] == {
        name: pytest.approx(float(text.removesuffix("%")) / 100) for name, text in task["metrics"].items()
    }
    assert [point["step"] for point in output["checkpoints"]] == [
        point["step"] for point in task["checkpointList"]
    ]
    best = min(task["checkpointList"], key=lambda point: point["perplexity"])
    assert output["best_checkpoint"]["step"] == output["best_checkpoint_step"] == best["step"]
    assert output["best_checkpoint"]["perplexity"] == best["perplexity"]


@pytest.mark.parametrize(("kind", "state"), [("task", "Failed"), ("model", "Fail")])
async def test_a_failure_is_a_failed_event_that_names_state_and_console_page(remote, kind, state):
    event = await event_of(getattr(remote, kind)("will-fail", advance=2 * HOUR))
    assert (event["status"], event["state"]) == ("failed", state)
    assert state in event["message"]
    assert event["output"]["console_url"]


async def test_an_unknown_state_is_logged_and_waited_on(remote, capsys):
    trigger = remote.task(advance=2 * HOUR)
    remote.emulator.fail_next("DescribeFineTuningTask", kind="unknown_status", word="Preempted", count=3)
    assert (await event_of(trigger))["state"] == "Done"
    log = capsys.readouterr().out
    assert log.count("not documented") == 1
    assert "Preempted" in log
    assert len(remote.looks()) == 4


async def test_one_connection_serves_all_looks(remote, caplog):
    caplog.set_level(logging.DEBUG, "httpcore.connection")
    trigger = remote.task(advance=2 * HOUR)
    remote.emulator.fail_next("DescribeFineTuningTask", kind="unknown_status", count=9)
    caplog.clear()
    await event_of(trigger)
    assert len(remote.looks()) == 10
    assert sum("connect_tcp.started" in record.getMessage() for record in caplog.records) == 1


async def test_the_first_look_comes_within_a_poll_interval_the_others_one_apart_with_a_tenth_of_jitter(
    remote, pauses
):
    trigger = remote.task(advance=2 * HOUR, poll_interval=100.0)
    remote.emulator.fail_next("DescribeFineTuningTask", kind="unknown_status", count=30)
    await event_of(trigger)
    assert len(pauses) == 31
    assert 0 <= pauses[0] <= 100
    assert all(89.5 <= seconds <= 110.5 for seconds in pauses[1:])
    assert len({round(seconds) for seconds in pauses}) > 5


def test_long_pauses_end_at_whole_seconds():
    watch = Watch(QianfanModelTrigger(model_id="amv-1", poll_interval=30.0), logging.getLogger("test"))
    for _ in range(50):
        end = time.time() + (pause := watch.pause())
        assert 26.5 <= pause <= 33.5
        assert abs(end - round(end)) < 0.01


@pytest.mark.parametrize("asked", [20.4, 47.4])
def test_a_pause_that_the_service_asks_for_is_not_cut_short(asked):
    watch = Watch(QianfanModelTrigger(model_id="amv-1", poll_interval=10.0), logging.getLogger("test"))
    watch.failed(QianfanServerError("busy", action="DescribeModel", retry_after=asked))
    assert all(watch.pause() >= asked for _ in range(50))


def test_short_pauses_and_the_last_one_before_a_deadline_end_at_no_whole_second():
    log = logging.getLogger("test")
    short = Watch(QianfanModelTrigger(model_id="amv-1", poll_interval=1.0), log)
    assert all(0.9 <= short.pause() <= 1.1 for _ in range(50))
    last = Watch(QianfanModelTrigger(model_id="amv-1", poll_interval=30.0, deadline=time.time() + 20.4), log)
    assert all(20.3 <= last.pause() <= 20.4 for _ in range(50))


async def test_the_first_looks_of_many_triggers_are_spread(remote, pauses):
    triggers = [remote.model(advance=2 * HOUR, poll_interval=100.0)]
    triggers += [again(triggers[0]) for _ in range(39)]
    await asyncio.gather(*map(event_of, triggers))
    assert len({round(seconds, 6) for seconds in pauses}) == 40
    assert all(any(low <= seconds < low + 25 for seconds in pauses) for low in (0, 25, 50, 75))


@pytest.mark.parametrize(
    ("advance", "low", "high"), [(0.10, 180, 180), (0.90, 40, 200), (0.98, 10, 10), (None, 60, 60)]
)
async def test_later_looks_are_planned_from_progress_and_age_within_the_bounds(
    remote, pauses, advance, low, high
):
    """An hour's training; without progress, the age of the waiting decides."""
    started = time.time() - (300 if advance is None else advance * HOUR)
    trigger = remote.task(advance=(advance or 0.5) * HOUR, started=started, poll_interval=10.0)
    if advance is None:
        remote.emulator.fail_next("DescribeFineTuningTask", kind="missing_progress", count=None)
    running = asyncio.create_task(event_of(trigger))
    await remote.wait_for_looks(2)
    remote.emulator.advance(2 * HOUR)
    await running
    assert low * 0.89 <= pauses[1] <= high * 1.11


@pytest.mark.parametrize("kind", ["task", "model"])
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "server_error", "status": 503},
        {"kind": "throttle"},
        {"kind": "reset"},
        {"kind": "numeric", "code": 336100},
        {"kind": "malformed"},
    ],
    ids=lambda fault: fault["kind"],
)
async def test_as_many_transient_failures_as_allowed_are_borne(remote, pauses, kind, fault):
    trigger = getattr(remote, kind)(advance=2 * HOUR, max_poll_failures=3)
    remote.emulator.fail_next(count=3, **fault)
    assert (await event_of(trigger))["status"] == "success"
    assert len(remote.looks()) == 4


async def test_the_count_of_failures_starts_anew_after_a_good_look(remote, pauses):
    trigger = remote.task(advance=2 * HOUR, max_poll_failures=1)
    for _ in range(3):
        remote.emulator.fail_next(kind="reset")
        remote.emulator.fail_next(kind="unknown_status", action="DescribeFineTuningTask")
    assert (await event_of(trigger))["status"] == "success"


async def test_one_failure_too_many_is_an_error_event_and_cancels_nothing(remote, pauses):
    trigger = remote.task(advance=HOUR / 2, max_poll_failures=2, cancel_on_kill=True)
    remote.emulator.fail_next(kind="server_error", count=None)
    event = await event_of(trigger)
    assert event["status"] == "error"
    assert "cannot read the state" in event["message"]
    assert "HTTP 500" in event["message"]
    assert len(remote.looks()) == 3
    assert remote.stops() == 0
    assert remote.emulator.tasks[0]["runStatus"] == "Running"


@pytest.mark.parametrize("kind", ["task", "model"])
@pytest.mark.parametrize(("misses", "status"), [(MAX_REFUSED, "success"), (MAX_REFUSED + 1, "error")])
async def test_what_is_missing_is_looked_for_a_few_times(remote, pauses, kind, misses, status):
    trigger = getattr(remote, kind)(advance=2 * HOUR)
    remote.emulator.fail_next(kind="error", status=404, code="NoSuchKey", count=misses)
    assert (await event_of(trigger))["status"] == status


@pytest.mark.parametrize("fault", [None, {"kind": "error", "status": 403, "count": None}])
async def test_every_event_carries_the_id(remote, fault):
    for trigger, name in (
        (remote.task(advance=2 * HOUR), "fine_tuning_task_id"),
        (remote.model(), "model_id"),
    ):
        trigger.deadline = time.time()
        if fault:
            remote.emulator.fail_next(**fault)
        assert (await event_of(trigger))["ids"] == {name: getattr(trigger, name)}
        remote.emulator.clear_faults()


async def test_a_failure_that_repeating_cannot_mend_ends_at_once_and_spends_no_retries(remote, pauses):
    trigger = remote.task(advance=HOUR / 2)
    remote.emulator.fail_next(kind="error", status=403, code="AccessDenied", count=None)
    event = await event_of(trigger)
    assert (event["status"], event["can_retry"]) == ("error", False)
    assert len(remote.looks()) == 1
    with pytest.raises(QianfanPollRefusedError, match="AccessDenied") as caught:
        output_of(event)
    assert isinstance(caught.value, AirflowFailException)


async def test_failures_that_pass_leave_the_task_its_retries(remote, pauses):
    trigger = remote.task(advance=HOUR / 2, max_poll_failures=0)
    remote.emulator.fail_next(kind="server_error", count=None)
    event = await event_of(trigger)
    assert (event["status"], event["can_retry"]) == ("error", True)
    with pytest.raises(QianfanPollError) as caught:
        output_of(event)
    assert not isinstance(caught.value, AirflowFailException)


REFUSED_KEY = {"kind": "error", "status": 403, "code": "InvalidAccessKeyId"}


@pytest.mark.parametrize(
    ("has_seen", "refusals", "status", "looks"),
    [
        (True, MAX_REFUSED, "success", MAX_REFUSED + 2),
        (True, MAX_REFUSED + 1, "error", MAX_REFUSED + 2),
        (False, 1, "error", 1),
    ],
)
async def test_a_key_that_worked_may_be_refused_a_few_times_a_wrong_one_never(
    remote, pauses, has_seen, refusals, status, looks
):
    trigger = remote.task(advance=2 * HOUR)
    if has_seen:
        remote.emulator.fail_next("DescribeFineTuningTask", kind="unknown_status")
    remote.emulator.fail_next("DescribeFineTuningTask", **REFUSED_KEY, count=refusals)
    event = await event_of(trigger)
    assert (event["status"], len(remote.looks())) == (status, looks)
    assert event.get("can_retry", False) is False


async def test_refusals_of_a_key_are_counted_anew_after_a_good_look(remote, pauses):
    trigger = remote.task(advance=2 * HOUR)
    for _ in range(3):
        remote.emulator.fail_next("DescribeFineTuningTask", kind="unknown_status")
        remote.emulator.fail_next("DescribeFineTuningTask", **REFUSED_KEY, count=MAX_REFUSED)
    assert (await event_of(trigger))["status"] == "success"


async def test_a_wait_on_a_worker_bears_a_refused_key_as_a_trigger_does(remote):
    trigger = remote.task(advance=2 * HOUR, poll_interval=0.001)
    remote.emulator.fail_next("DescribeFineTuningTask", kind="unknown_status")
    remote.emulator.fail_next("DescribeFineTuningTask", **REFUSED_KEY, count=MAX_REFUSED)
    event = await asyncio.to_thread(trigger.wait, QianfanHook(), trigger.log)
    assert event["status"] == "success"


async def test_a_missing_connection_is_an_error_event(remote):
    trigger = remote.task(qianfan_conn_id="nowhere")
    event = await event_of(trigger)
    assert event["status"] == "error"
    assert "nowhere" in event["message"]


@pytest.mark.parametrize(
    ("poll_interval", "expected"),
    [(30.0, [30.0, 60.0, 120.0, 240.0, 480.0, MAX_BACKOFF, MAX_BACKOFF]), (900.0, [900.0, 900.0])],
)
async def test_failures_double_the_interval_up_to_a_cap(remote, pauses, poll_interval, expected):
    trigger = remote.task(poll_interval=poll_interval, max_poll_failures=len(expected))
    remote.emulator.fail_next(kind="server_error", count=None)
    await event_of(trigger)
    assert pauses[1:] == [pytest.approx(seconds, rel=0.11) for seconds in expected]


async def test_retry_after_is_a_lower_bound(remote, pauses):
    trigger = remote.task(poll_interval=1.0, max_poll_failures=2)
    remote.emulator.fail_next(kind="server_error", status=503, retry_after=50, count=None)
    await event_of(trigger)
    assert len(pauses) == 3
    assert all(50 <= seconds <= 60 for seconds in pauses[1:])


async def test_the_deadline_is_absolute_and_ends_the_waiting(remote):
    deadline = time.time() + 0.6
    trigger = remote.task(deadline=deadline, poll_interval=60.0)
    event = await event_of(again(trigger))
    assert event["status"] == "timeout"
    assert 0 <= time.time() - deadline < 0.5
    assert 1 <= len(remote.looks()) <= 2
    assert remote.stops() == 0


async def test_the_deadline_holds_across_restarts(remote):
    deadline = time.time() + 0.7
    trigger = remote.task(deadline=deadline)
    running = asyncio.create_task(event_of(trigger))
    await asyncio.sleep(0.4)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    trigger = again(trigger)
    assert trigger.deadline == deadline
    assert (await event_of(trigger))["status"] == "timeout"
    assert 0 <= time.time() - deadline < 0.4


async def test_a_training_that_is_done_at_the_deadline_is_a_success(remote):
    trigger = remote.task(advance=2 * HOUR, deadline=time.time() - 100)
    assert (await event_of(trigger))["status"] == "success"


async def test_events_without_a_final_state_lead_to_the_console_page_too(remote, pauses):
    event = await event_of(remote.task(deadline=time.time() - 1))
    assert event["status"] == "timeout"
    (task,) = remote.emulator.tasks
    assert task["taskId"] in event["output"]["console_url"]
    trigger = again(remote.task("second", max_poll_failures=1, console_url="https://console.example/"))
    remote.emulator.fail_next(kind="server_error", count=None)
    event = await event_of(trigger)
    assert (event["status"], event["output"]["console_url"]) == ("error", "https://console.example/")


async def test_a_restart_of_the_triggerer_never_cancels_the_training(remote):
    trigger = remote.task(advance=HOUR / 2, cancel_on_kill=True)
    running = asyncio.create_task(event_of(trigger))
    await remote.wait_for_looks(1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await trigger.cleanup()
    assert remote.stops() == 0
    assert remote.emulator.tasks[0]["runStatus"] == "Running"


@pytest.mark.parametrize(("cancel", "state"), [(True, "Stopped"), (False, "Running")])
async def test_a_user_who_ends_the_task_stops_the_training_only_if_asked_to(remote, cancel, state):
    trigger = again(remote.task(advance=HOUR / 2, cancel_on_kill=cancel))
    running = asyncio.create_task(event_of(trigger))
    await asyncio.sleep(0.1)
    running.cancel()
    await asyncio.wait([running])
    await trigger.on_kill()
    assert remote.emulator.tasks[0]["runStatus"] == state
    assert remote.stops() == cancel


def _down(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.emulator.stop()


def _hanging(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.emulator.fail_next(kind="timeout", count=None, seconds=60)
    monkeypatch.setattr(finetuning, "ON_KILL_TIMEOUT", 1.0)


def _refusing(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.emulator.fail_next(kind="error", status=403, code="AccessDenied", count=None)


def _saying_false(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.emulator.fail_next("StopFineTuningTask", kind="false", count=None)
    monkeypatch.setattr(finetuning, "ON_KILL_TIMEOUT", 1.0)


def _without_connection(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_QIANFAN_DEFAULT")


@pytest.mark.parametrize("trouble", [_down, _hanging, _refusing, _saying_false, _without_connection])
async def test_a_training_that_cannot_be_stopped_is_an_error_in_the_log_only(
    remote, monkeypatch, capsys, trouble: Callable[[Remote, pytest.MonkeyPatch], None]
):
    trigger = remote.task(cancel_on_kill=True)
    connect(monkeypatch, remote.emulator, max_retries=3)
    trouble(remote, monkeypatch)
    start = time.monotonic()
    await trigger.on_kill()
    assert time.monotonic() - start < 15
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "[error" in line]
    assert trigger.fine_tuning_task_id in line
    assert "may still run" in line


def test_stopping_takes_less_time_than_airflow_gives_a_trigger():
    assert finetuning.ON_KILL_TIMEOUT < 30


async def test_secrets_appear_nowhere(remote, monkeypatch, capsys, caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("airflow_qianfan", "httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, name)
    trigger = remote.task(advance=2 * HOUR, cancel_on_kill=True, max_poll_failures=1)
    seen: list[Any] = [repr(trigger), str(trigger), trigger.serialize(), vars(trigger)]
    echo = f"no: {SECRET} {TOKEN}"
    for fault in (
        {"kind": "error", "status": 403, "code": "AccessDenied", "message": echo},
        {"kind": "numeric", "code": 336100, "message": echo},
        {"kind": "server_error"},
        None,
    ):
        if fault:
            remote.emulator.fail_next(count=None, **fault)
        await trigger.on_kill()
        event = await event_of(trigger)
        remote.emulator.clear_faults()
        seen.append(event)
        try:
            output_of(event)
        except Exception as error:
            seen += [repr(error), str(error), vars(error), repr(error.__cause__)]
    connection = json.loads(remote.emulator.connection_json)
    connection["extra"]["proxy"] = f"http://user:{SECRET}@127.0.0.1:1"
    monkeypatch.setenv("AIRFLOW_CONN_QIANFAN_DEFAULT", json.dumps({**connection, "host": "https://[::1]:9"}))
    trigger.max_poll_failures = 0
    seen.append(await event_of(trigger))
    out, err = capsys.readouterr()
    text = f"{seen} {out} {err} {caplog.text}"
    assert "AccessDenied" in text
    assert "Done" in text
    for secret in (SECRET, TOKEN, "bce-auth-v1"):
        assert secret not in text


BLOCKING = Path(__file__).with_name("loop_lag.py")


def test_no_trigger_blocks_the_event_loop(remote):
    triggers = [
        remote.task(advance=2 * HOUR, cancel_on_kill=True),
        remote.model(advance=2 * HOUR),
        remote.task("slow", deadline=time.time()),
    ]
    remote.emulator.fail_next("DescribeModel", kind="unknown_status", count=5)
    remote.emulator.fail_next("DescribeFineTuningTask", kind="reset", count=2)
    work = json.dumps([trigger.serialize() for trigger in triggers])
    # A machine that is busy elsewhere delays a loop too, but hardly three times in a row.
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, str(BLOCKING), work], capture_output=True, text=True, timeout=120, check=True
        )
        figures = json.loads(done.stdout.splitlines()[-1])
        if max(figures["lags"]) < 0.2:
            break
    assert max(figures["lags"]) < 0.2
    assert figures["control"] > 0.25
    assert figures["events"] == ["success", "success", "timeout"]


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (None, QianfanPollError),
        ({}, QianfanPollError),
        ("success", QianfanPollError),
        ([], QianfanPollError),
        ({"status": "done", "output": {}}, QianfanPollError),
        ({"status": "success"}, QianfanPollError),
        ({"status": "success", "output": "x"}, QianfanPollError),
        ({"status": None, "output": {}}, QianfanPollError),
        ({"status": "error", "message": "cannot"}, QianfanPollError),
        ({"status": "error", "message": "cannot", "can_retry": True}, QianfanPollError),
        ({"status": "error", "message": "cannot", "can_retry": False}, QianfanPollRefusedError),
        ({"status": "timeout"}, QianfanWaitTimeoutError),
        ({"status": "failed"}, QianfanTerminalStateError),
        ({"status": "failed", "message": "m", "state": "Fail", "output": 3}, QianfanTerminalStateError),
    ],
)
def test_only_a_complete_success_event_is_a_success(event, error):
    with pytest.raises(error) as caught:
        output_of(event)
    assert type(caught.value) is error


def observation(state: str = "Running", progress: float | None = None) -> Observation:
    return Observation("Task t", state, True, state == "Done", state == "Done", progress)


class Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str, *arguments: Any) -> None:
        self.lines.append(text % arguments if arguments else text)

    warning = info


def test_progress_is_logged_when_it_changes_with_percent_elapsed_and_time_left():
    lines = Lines()
    log = ProgressLog(lines, started=1000.0)
    for now, seen in [
        (1000, observation("Waiting")),
        (1030, observation("Waiting")),
        (1060, observation(progress=0.2)),
        (1090, observation(progress=0.2)),
        (1120, observation(progress=0.3)),
        (1150, observation(progress=0.3)),
        (8320, observation(progress=0.99)),
        (8400, observation("Done")),
        (8430, observation("Done")),
    ]:
        log.update(seen, now)
    assert lines.lines == [
        "Task t: Waiting, 0 s elapsed",
        "Task t: Running, 20% done, 1 min 00 s elapsed, about 4 min 00 s left",
        "Task t: Running, 30% done, 2 min 00 s elapsed, about 4 min 40 s left",
        "Task t: Running, 99% done, 2 h 02 min elapsed, about 1 min 14 s left",
        "Task t: Done, 2 h 03 min elapsed",
    ]


def test_a_late_start_of_the_waiting_does_not_make_the_time_left_short():
    lines = Lines()
    log = ProgressLog(lines, started=1000.0)
    log.update(observation(progress=0.5), 1001)
    log.update(observation(progress=0.6), 1601)
    log.update(observation(progress=0.4), 1701)
    assert lines.lines == [
        "Task t: Running, 50% done, 1 s elapsed",
        "Task t: Running, 60% done, 10 min 01 s elapsed, about 40 min 00 s left",
        "Task t: Running, 40% done, 11 min 41 s elapsed",
    ]


def test_looks_that_do_not_tell_the_progress_write_no_line_and_do_not_make_the_time_left_short():
    lines = Lines()
    log = ProgressLog(lines, started=1000.0)
    for now, seen in [
        (1000, observation()),
        (1030, observation()),
        (1060, observation(progress=0.5)),
        (1090, observation()),
        (1120, observation(progress=0.5)),
        (1660, observation(progress=0.6)),
        (1690, observation()),
        (2000, observation("Done")),
    ]:
        log.update(seen, now)
    assert lines.lines == [
        "Task t: Running, 0 s elapsed",
        "Task t: Running, 50% done, 1 min 00 s elapsed",
        "Task t: Running, 60% done, 11 min 00 s elapsed, about 40 min 00 s left",
        "Task t: Done, 16 min 40 s elapsed",
    ]


def test_an_undocumented_state_is_warned_of_once():
    lines = Lines()
    log = ProgressLog(lines, started=0.0)
    for _ in range(3):
        log.update(dataclasses.replace(observation("Preempted"), is_known=False), 1.0)
    assert lines.lines == [
        "Task t: Preempted, 1 s elapsed",
        "Task t is in a state that is not documented; waiting on.",
    ]


async def test_the_trigger_logs_a_line_only_when_something_changes(remote, capsys):
    trigger = remote.task(advance=HOUR / 2)
    running = asyncio.create_task(event_of(trigger))
    await remote.wait_for_looks(4)
    remote.emulator.advance(2 * HOUR)
    await running
    lines = [line for line in capsys.readouterr().out.splitlines() if "elapsed" in line]
    assert len(lines) == 2
    assert "Running, 4" in lines[0]
    assert "% done" in lines[0]
    assert "Done" in lines[1]
