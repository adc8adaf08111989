"""A pause until a full quota is tried again, and evaluations that wait for a person."""

from __future__ import annotations

import asyncio
import json
import logging
import time

import pytest
from fake_qianfan import FakeQianfan
from waiting import again, event_of

from airflow_qianfan.api.actions.batch_inference import BatchInferenceTask
from airflow_qianfan.api.actions.evaluation import EvalTask
from airflow_qianfan.exceptions import QianfanPersonNeededError
from airflow_qianfan.triggers.base.polling import PollSettings, PollState, Target, output_of
from airflow_qianfan.triggers.batch_inference import QianfanQuotaPause
from airflow_qianfan.triggers.evaluation import QianfanEvalTaskTrigger

MANUAL = "RunningWithManualBegin"


@pytest.mark.parametrize("deadline", [None, 99.0])
async def test_pause_ends_with_all_that_the_task_needs_to_go_on(deadline):
    pause = QianfanQuotaPause(moment=time.time() + 0.01, started=12.5, tries=3, deadline=deadline)
    copy = again(pause)
    assert copy.serialize() == pause.serialize()
    event = await event_of(copy)
    assert event == json.loads(json.dumps(event)) == {"started": 12.5, "tries": 3, "deadline": deadline}


async def test_pause_that_is_over_ends_at_once_and_one_that_is_not_does_not():
    over = QianfanQuotaPause(moment=time.time() - 100, started=1.0, tries=1)
    assert (await event_of(over))["tries"] == 1
    waiting = asyncio.create_task(event_of(QianfanQuotaPause(moment=time.time() + 1e6, started=1.0, tries=1)))
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


async def test_evaluation_that_needs_a_person_ends_the_waiting_where_that_is_asked_for(qianfan: FakeQianfan):
    qianfan.add(EvalTask, "ame-1", MANUAL)
    event = await event_of(again(QianfanEvalTaskTrigger(eval_task_id="ame-1", manual="fail")))
    assert (event["status"], event["state"]) == ("manual", MANUAL)
    assert event["ids"] == {"eval_task_id": "ame-1"}
    with pytest.raises(QianfanPersonNeededError, match="evaluation task ame-1 waits for a person") as caught:
        output_of(event)
    assert "/eval/detail/task/ame-1" in str(caught.value.url)


async def test_evaluation_that_needs_a_person_is_waited_for_until_the_deadline(qianfan: FakeQianfan):
    qianfan.add(EvalTask, "ame-1", MANUAL)
    trigger = QianfanEvalTaskTrigger(eval_task_id="ame-1", poll_interval=0.01, deadline=time.time() + 0.1)
    assert (await event_of(trigger))["status"] == "timeout"


def poll_of(caplog, kind, **settings):
    caplog.set_level(logging.INFO)
    return PollState(Target(kind, "id-1"), PollSettings(**settings), logging.getLogger("test"), str)


def record(caplog, kind, *rows, **settings):
    """What the log says about an object that is polled again and again."""
    poll = poll_of(caplog, kind, **settings)
    for row in rows:
        poll.record(kind.model_validate({"taskId": "id-1", **row}))
    return [(line.levelname, line.getMessage()) for line in caplog.records]


def test_person_is_asked_for_once_and_again_where_another_is_needed(caplog):
    waits, goes_on = {"state": MANUAL}, {"state": "Running"}
    lines = record(caplog, EvalTask, goes_on, waits, waits, waits, goes_on, waits)
    warnings = [text for level, text in lines if level == "WARNING"]
    assert len(warnings) == 2
    assert warnings[0].startswith("Evaluation task id-1 waits for a person; it goes on when the answers")
    assert warnings[0].endswith("/qianfan/modelcenter/model/eval/detail/task/id-1")


async def test_rows_are_told_every_ten_minutes_where_nobody_knows_how_many_there_are(caplog, clock):
    poll = poll_of(caplog, BatchInferenceTask)
    for number in range(14):
        poll.record(BatchInferenceTask(task_id="id-1", run_status="Running", progress=number))
        await asyncio.sleep(100)
    told = [line.getMessage().split(", ")[1] for line in caplog.records]
    assert told == ["0 rows done", "6 rows done", "12 rows done"]


def test_reason_of_a_failure_is_told(caplog):
    row = {"runStatus": "Failed", "errorCode": 5, "errorReason": "bad line", "progress": 3, "total": 9}
    lines = record(caplog, BatchInferenceTask, row)
    assert "errorReason bad line" in lines[0][1]
    assert lines[1] == ("INFO", "3 of 9 rows done.")
