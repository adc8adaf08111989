"""What a person reads in the log of a task that waits."""

import json
from typing import Any

import pytest
from virtual_time import EPOCH
from waiting import event_of, running, task_trigger

from airflow_qianfan.api.actions.batch_inference import BatchInferenceTask
from airflow_qianfan.api.actions.finetuning import FineTuningTask
from airflow_qianfan.api.actions.model import Model
from airflow_qianfan.triggers.base.progress import ProgressLog, duration, reason


class Lines:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str, *arguments: Any) -> None:
        self.lines.append(text % arguments if arguments else text)

    warning = info

    def error(self, text: str, *arguments: Any) -> None:
        self.info("ERROR " + text, *arguments)


def task(state: str = "Running", progress: float | None = None, **members: Any) -> FineTuningTask:
    return FineTuningTask(task_id="t", run_status=state, run_progress=progress, **members)


def lines_of(*polls: tuple[float, FineTuningTask], started: float = 1000.0) -> list[str]:
    lines = Lines()
    log = ProgressLog(lines, started)
    for now, found in polls:
        log.update(found, now)
    return lines.lines


def test_progress_is_logged_when_it_changes_noticeably_with_a_bar_elapsed_and_time_left():
    assert lines_of(
        (1000, task("Waiting")),
        (1030, task("Waiting")),
        (1060, task(progress=0.2)),
        (1090, task(progress=0.2)),
        (1105, task(progress=0.24)),
        (1120, task(progress=0.3)),
        (1150, task(progress=0.3)),
        (8320, task(progress=0.99)),
        (8400, task("Done")),
        (8430, task("Done")),
    ) == [
        "Fine-tuning task t: Waiting, 0 s elapsed",
        "Fine-tuning task t: Running ████░░░░░░░░░░░░░░░░ 20%, 1 min 00 s elapsed, about 4 min 00 s left",
        "Fine-tuning task t: Running ██████░░░░░░░░░░░░░░ 30%, 2 min 00 s elapsed, about 4 min 40 s left",
        "Fine-tuning task t: Running ███████████████████░ 99%, 2 h 02 min elapsed, about 1 min 14 s left",
        "Fine-tuning task t: Done, after 2 h 03 min.",
    ]


def test_a_late_start_of_the_waiting_does_not_make_the_time_left_short():
    assert lines_of((1001, task(progress=0.5)), (1601, task(progress=0.6)), (1701, task(progress=0.4))) == [
        "Fine-tuning task t: Running ██████████░░░░░░░░░░ 50%, 1 s elapsed",
        "Fine-tuning task t: Running ████████████░░░░░░░░ 60%, 10 min 01 s elapsed, about 40 min 00 s left",
        "Fine-tuning task t: Running ████████░░░░░░░░░░░░ 40%, 11 min 41 s elapsed",
    ]


def test_polls_that_do_not_tell_the_progress_write_no_line_and_do_not_make_the_time_left_short():
    assert lines_of(
        (1000, task()),
        (1030, task()),
        (1060, task(progress=0.5)),
        (1090, task()),
        (1120, task(progress=0.5)),
        (1660, task(progress=0.6)),
        (1690, task()),
        (2000, task("Done")),
    ) == [
        "Fine-tuning task t: Running, 0 s elapsed",
        "Fine-tuning task t: Running ██████████░░░░░░░░░░ 50%, 1 min 00 s elapsed",
        "Fine-tuning task t: Running ████████████░░░░░░░░ 60%, 11 min 00 s elapsed, about 40 min 00 s left",
        "Fine-tuning task t: Done, after 16 min 40 s.",
    ]


def test_a_line_is_written_after_ten_minutes_although_nothing_has_changed():
    lines = lines_of(*((1000 + 100 * poll, task(progress=0.5)) for poll in range(14)))
    assert [line.partition(", ")[2] for line in lines] == [
        "0 s elapsed",
        "10 min 00 s elapsed",
        "20 min 00 s elapsed",
    ]


def test_after_ten_minutes_the_progress_that_was_told_last_is_shown():
    lines = lines_of((1000, task(progress=0.5)), (1630, task()))
    assert lines[1].startswith("Fine-tuning task t: Running ██████████░░░░░░░░░░ 50%, 10 min 30 s")


def test_rows_that_are_done_are_told_beside_the_bar():
    lines = Lines()
    found = BatchInferenceTask.model_validate(
        {"taskId": "b", "runStatus": "Running", "progress": 30, "totalRows": 40}
    )
    ProgressLog(lines, 1000.0).update(found, 1000.0)
    assert lines.lines == [
        "Batch inference task b: Running ███████████████░░░░░ 75%, 30 of 40 rows done, 0 s elapsed"
    ]


def test_the_log_goes_on_in_another_process():
    """As in reschedule mode, where each poll is a process of its own."""
    lines = Lines()
    polls = [(1000.0, 0.1), (1100.0, 0.12), (1200.0, 0.3), (1300.0, 0.31)]
    memory: Any = None
    for now, share in polls:
        log = ProgressLog(lines, 1000.0)
        log.restore(json.loads(json.dumps(memory)))
        log.update(task(progress=share), now)
        memory = log.memory
    assert lines.lines == [
        "Fine-tuning task t: Running ██░░░░░░░░░░░░░░░░░░ 10%, 0 s elapsed",
        "Fine-tuning task t: Running ██████░░░░░░░░░░░░░░ 30%, 3 min 20 s elapsed, about 11 min 40 s left",
    ]


@pytest.mark.parametrize(
    "memory", [None, 1, {}, {"first": 1, "last": None}, {"first": ["x", "y", None], "last": [1, 2, 3]}]
)
def test_what_is_no_memory_of_a_log_is_ignored(memory):
    lines = Lines()
    log = ProgressLog(lines, 1000.0)
    log.restore(memory)
    log.update(task(), 1000.0)
    assert len(lines.lines) == 1


def test_another_spelling_of_the_same_state_writes_no_line():
    assert lines_of((1000, task("Running")), (1030, task("RUNNING"))) == [
        "Fine-tuning task t: Running, 0 s elapsed"
    ]


def test_an_undocumented_state_is_warned_of_once():
    assert lines_of(*[(1001, task("Preempted"))] * 3) == [
        "Fine-tuning task t: Preempted, 1 s elapsed",
        "The state 'Preempted' of fine-tuning task t is not documented; waiting on.",
    ]


def test_time_elapsed_counts_from_the_start_of_the_training_not_of_the_waiting():
    created = task("Running", progress=0.5, create_date="1970-01-01T00:10:00+00:00")
    assert created.started == 600.0
    ended = task("Done", create_date="1970-01-01T00:10:00+00:00")
    assert lines_of((1200, created), (4200, ended)) == [
        "Fine-tuning task t: Running ██████████░░░░░░░░░░ 50%, 10 min 00 s elapsed",
        "Fine-tuning task t: Done, after 1 h 00 min.",
    ]


@pytest.mark.parametrize(
    "date",
    ["1970-01-01T08:10:00+00:00", "1970-01-01T00:20:00Z", "0000-00-00T00:00:00Z", "yesterday", "", None],
)
def test_a_date_that_lies_in_the_future_or_is_none_is_not_taken_for_the_start(date):
    """The service does not say in which time zone it writes its dates."""
    assert lines_of((1060, task(create_date=date))) == ["Fine-tuning task t: Running, 1 min 00 s elapsed"]


def test_a_training_that_is_done_ends_the_log_with_metrics_best_checkpoint_and_console_page():
    lines = Lines()
    done = task(
        "Done",
        metrics={"BLEU-4": "16.56%", "ROUGE-1": "0.41", "note": "n/a"},
        checkpoint_list=[
            {"step": 100, "perplexity": "1.9", "trainingLoss": "0.7"},
            {"step": 50, "perplexity": "2.5", "trainingLoss": "0.9"},
        ],
    )
    log = ProgressLog(lines, 1000.0)
    for _ in range(2):
        log.update(done, 1204.0, "https://console.example/t")
    assert lines.lines == [
        "Fine-tuning task t: Done, after 3 min 24 s.",
        "Metric    Value",
        "BLEU-4   0.1656",
        "ROUGE-1    0.41",
        "Best checkpoint: step 100, perplexity 1.9, training loss 0.7",
        "::group::2 checkpoints",
        "Step  Perplexity  Training loss",
        "50           2.5            0.9",
        "100          1.9            0.7",
        "::endgroup::",
        "In the console: https://console.example/t",
    ]


def test_a_failed_training_is_an_error_with_its_reason_and_the_console_page():
    lines = Lines()
    failed = task("Failed", failReason="CUDA out of memory")
    ProgressLog(lines, 1000.0).update(failed, 1060.0, "https://console.example/t")
    assert lines.lines == [
        "ERROR Fine-tuning task t ended as Failed after 1 min 00 s: failReason CUDA out of memory.",
        "In the console: https://console.example/t",
    ]


@pytest.mark.parametrize("state", ["Stopped", "Failed"])
def test_where_the_service_tells_no_reason_the_log_says_so(state):
    assert lines_of((1000, task(state))) == [
        f"ERROR Fine-tuning task t ended as {state} after 0 s: Qianfan's API tells no reason."
    ]


def test_a_reason_is_text_only_and_not_endless():
    assert reason(task(errorCode="7", errors={"a": 1}, message=None, other="x")) == "errorCode 7"
    assert len(reason(task(reason="x" * 10_000))) == 500


def test_a_model_version_is_logged_in_the_same_way():
    lines = Lines()
    log = ProgressLog(lines, 1000.0)
    log.update(Model(model_id="amv-1", status="Creating"), 1000.0)
    log.update(Model(model_id="amv-1", status="Ready"), 1060.0)
    assert lines.lines == [
        "Model version amv-1: Creating, 0 s elapsed",
        "Model version amv-1: Ready, after 1 min 00 s.",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0.4, "0 s"),
        (59.6, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (1e5, "27 h 46 min"),
    ],
)
def test_durations_are_told_as_a_person_says_them(seconds, text):
    assert duration(seconds) == text


def test_progress_of_a_training_that_is_done_is_one():
    assert task("Done").progress == 1.0
    assert task("finish", progress=0.97).output()["progress"] == 1.0
    assert task("Failed", progress=0.3).progress == 0.3
    assert task("Running").progress is None


async def test_a_trigger_logs_a_line_only_when_something_changes(qianfan, capsys):
    remote = qianfan.add(FineTuningTask, "task-1", "Running", parent_id="job-1", runProgress="41%")
    async with running([task_trigger(poll_interval=1.0)]) as (waiting,):
        await qianfan.until(lambda: len(qianfan.calls) >= 4)
        remote.word = "Done"
        await waiting
    lines = [line for line in capsys.readouterr().out.splitlines() if "Fine-tuning task" in line]
    assert len(lines) == 2
    assert "Running ████████░░░░░░░░░░░░ 41%" in lines[0]
    assert "Done, after" in lines[1]


async def test_a_trigger_counts_the_time_from_the_creation_of_the_training(qianfan, clock, capsys):
    created = "2023-11-14T22:00:00Z"
    assert EPOCH + 1000.0 - 3000 < FineTuningTask(task_id="t", create_date=created).started < clock.time()
    qianfan.add(FineTuningTask, "task-1", "Done", parent_id="job-1", createDate=created, runProgress=None)
    event = await event_of(task_trigger(poll_interval=0.001))
    assert event["output"]["progress"] == 1.0
    assert "Done, after 30 min 00 s." in capsys.readouterr().out
