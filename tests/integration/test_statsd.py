"""What arrives at a StatsD when tasks and triggers call the service."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from statsd_listener import StatsdListener
from versions import set_up_stats

from airflow_qianfan import metrics
from airflow_qianfan.api.actions.finetuning import CreateFineTuningJob, DescribeFineTuningJobs
from airflow_qianfan.compat import REMEMBERS
from airflow_qianfan.exceptions import QianfanAmbiguousCreateError, QianfanThrottledError
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.operators.finetuning import (
    QianfanCreateFineTuningJobOperator,
    QianfanFineTuningOperator,
)
from airflow_qianfan.operators.model import QianfanCreateCustomModelSetOperator
from airflow_qianfan.triggers.base.polling import PollState
from airflow_qianfan.triggers.model import QianfanModelTrigger

READ = DescribeFineTuningJobs()
JOB = CreateFineTuningJob(name="nightly", model="ERNIE-Speed-8K", train_mode="SFT")
TRAINING = {
    "model": "ERNIE-Speed-8K",
    "train_mode": "SFT",
    "hyper_parameter_config": {},
    "dataset_config": {"sourceType": "Platform", "versions": [{"versionId": "ds-0123456789abcdef"}]},
    "poll_interval": 0.1,
    "deferrable": True,
}
HERE = metrics.Metrics(None)._hostname

DAG = f"""
from airflow.sdk import DAG
from airflow_qianfan.compat import store_dag
from airflow_qianfan.operators.finetuning import QianfanFineTuningOperator

with DAG("metrics_in_a_process", schedule=None) as dag:
    QianfanFineTuningOperator(task_id="it", **{TRAINING!r})
store_dag(dag, "dags-folder")
print("ended as", str(dag.test().state))
"""

TRIGGERER = """
import asyncio, os, sys
import airflow.jobs.triggerer_job_runner
from airflow_qianfan.triggers.model import QianfanModelTrigger

# As a triggerer begins the process in which triggers run: nobody has set up what takes their metrics.
if os.fork() == 0:
    event = asyncio.run(anext(QianfanModelTrigger(model_id=sys.argv[1], poll_interval=0.05).run()))
    os._exit(event.payload["status"] != "success")
print("ended as", os.wait()[1])
"""


def run_process(code, listener, tmp_path, *arguments):
    """Run code in a process of its own that sends its metrics to a listener; return what it prints."""
    file = tmp_path / "run.py"
    file.write_text(code)
    root = Path(metrics.__file__).parents[1]
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    ended = subprocess.run(
        [sys.executable, str(file), *arguments],
        env={**os.environ, **listener.settings, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return ended.stdout + ended.stderr


@pytest.fixture
def listener():
    """A StatsD to which nobody sends yet."""
    with StatsdListener() as listener:
        yield listener


@pytest.fixture
def statsd(listener, monkeypatch):
    """The StatsD to which the Airflow of this process sends, as one that begins with these settings."""
    import statsd  # noqa: F401 - of the extra dev; Airflow would only log that it is missing

    with monkeypatch.context() as settings:
        for name, value in listener.settings.items():
            settings.setenv(name, value)
        set_up_stats()
        settings.setattr(metrics, "_LOADED", [])
        yield listener
    set_up_stats()


def test_call_arrives_with_and_without_its_action(emulator, statsd):
    QianfanHook().call(READ)
    assert statsd.count("calls") == 1
    assert statsd.count("calls.DescribeFineTuningJobs.ok") == 1
    (seconds,) = statsd.values("call_duration")
    assert statsd.values("call_duration.DescribeFineTuningJobs.ok") == [seconds]
    assert len(statsd.lines()) == 4


def test_tags_arrive_where_statsd_takes_them(emulator, statsd, monkeypatch):
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED", "True")
    monkeypatch.setenv("AIRFLOW__METRICS__LEGACY_NAMES_ON", "False")
    set_up_stats()
    QianfanHook().call(READ)
    counted, timed = statsd.lines()
    assert counted == "qianfan.calls,action=DescribeFineTuningJobs,outcome=ok:1|c"
    assert timed.startswith("qianfan.call_duration,action=DescribeFineTuningJobs,outcome=ok:")


def test_retry_after_a_fault_arrives(emulator, statsd):
    emulator.fail_next("DescribeFineTuningJobs", kind="server_error", retry_after=0)
    QianfanHook().call(READ)
    assert statsd.count("retries.DescribeFineTuningJobs.server") == 1
    assert statsd.count("calls.DescribeFineTuningJobs.ok") == statsd.count("calls") == 1


def test_throttles_arrive(emulator, statsd):
    emulator.fail_next("DescribeFineTuningJobs", kind="throttle", retry_after=0, count=2)
    with pytest.raises(QianfanThrottledError):
        QianfanHook(max_retries=1).call(READ)
    assert statsd.count("throttles.DescribeFineTuningJobs") == statsd.count("throttles") == 2
    assert statsd.count("retries.DescribeFineTuningJobs.throttled") == 1
    assert statsd.count("calls.DescribeFineTuningJobs.throttled") == 1


def test_lost_answer_of_a_create_arrives(emulator, statsd):
    emulator.fail_next("CreateFineTuningJob", kind="lost_answer")
    with pytest.raises(QianfanAmbiguousCreateError):
        QianfanHook().call(JOB)
    assert statsd.count("calls.CreateFineTuningJob.ambiguous_create") == 1
    assert statsd.count("retries") == 0


async def test_waiting_in_the_triggerer_goes_up_and_down_again(emulator, service, statsd, monkeypatch):
    model_id = await asyncio.to_thread(service.model)
    trigger = QianfanModelTrigger(model_id=model_id, poll_interval=0.05, max_poll_interval=0.05)
    polled = asyncio.Event()
    record = PollState.record

    def note(self, found):
        polled.set()
        return record(self, found)

    monkeypatch.setattr(PollState, "record", note)
    waiting = asyncio.create_task(anext(trigger.run()))
    await polled.wait()
    assert statsd.values(f"waiting.{HERE}")[-1] == 1
    emulator.advance(7200)
    assert (await waiting).payload["status"] == "success"
    for name in ("waiting", f"waiting.{HERE}"):
        told = statsd.values(name)
        assert (told[0], max(told), told[-1]) == (1, 1, 0)
    assert len(statsd.values("poll_delay")) == statsd.count("calls.DescribeModel.ok") >= 2


def test_attachment_after_a_lost_answer_arrives(emulator, run_task, statsd):
    emulator.fail_next("CreateFineTuningJob", kind="lost_answer")
    run = run_task(QianfanCreateFineTuningJobOperator, model="ERNIE-Speed-8K", train_mode="SFT")
    assert run.state == "success"
    assert len(emulator.jobs) == 1
    assert statsd.count("attached.FineTuningJob.search") == statsd.count("attached") == 1


def test_re_attachment_of_a_retry_arrives(start_emulator, run_task, statsd):
    emulator = start_emulator(task_seconds=0.5)
    emulator.fail_next("DescribeFineTuningTask", kind="server_error")
    retries = {"retries": 1, "retry_delay": timedelta(0)}
    run = run_task(QianfanFineTuningOperator, **TRAINING, max_poll_failures=0, **retries)
    assert (run.state, run.tries) == ("success", {"it": 2})
    assert len(emulator.tasks) == 1
    # Before 3.3 Airflow remembers nothing.
    found = "record" if REMEMBERS else "search"
    for kind in ("FineTuningJob", "FineTuningTask"):
        assert statsd.count(f"attached.{kind}.{found}") == 1
    assert statsd.count("attached") == 2


def test_use_of_a_model_set_that_exists_arrives(emulator, service, run_task, statsd):
    service.model_set("mine")
    run = run_task(QianfanCreateCustomModelSetOperator, model_set_name="mine", if_exists="use")
    assert run.state == "success"
    assert statsd.count("attached.ModelSet.name") == statsd.count("attached") == 1


@pytest.mark.slow
@pytest.mark.usefixtures("_database")
def test_run_in_a_process_of_its_own_sends_all_that_it_does(start_emulator, listener, tmp_path):
    emulator = start_emulator(task_seconds=0.6)
    assert "ended as success" in run_process(DAG, listener, tmp_path)
    for call in ("CreateFineTuningJob", "CreateFineTuningTask"):
        assert listener.count(f"calls.{call}.ok") == 1
    told = [call["action"] for call in emulator.journal]
    assert listener.count("calls") == len(told)
    assert listener.count("calls.DescribeFineTuningTask.ok") == told.count("DescribeFineTuningTask")
    assert listener.values("waiting")[0] == 1
    assert listener.values("waiting")[-1] == 0
    assert listener.values("poll_delay")
    secrets_and_ids = [task["taskId"] for task in emulator.tasks] + [job["jobId"] for job in emulator.jobs]
    assert not [line for line in listener.lines() if any(text in line for text in secrets_and_ids)]


def test_process_in_which_a_triggerer_runs_triggers_sends_too(emulator, service, listener, tmp_path):
    model_id = service.model()
    emulator.advance(7200)
    assert "ended as 0" in run_process(TRIGGERER, listener, tmp_path, model_id)
    assert listener.count("calls.DescribeModel.ok") == 1
    assert listener.values("waiting") == [1, 1, 0]
    assert len(listener.values("poll_delay")) == 1


def test_statsd_that_is_not_there_does_no_harm(emulator, statsd, monkeypatch):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(port))
    set_up_stats()
    hook = QianfanHook()
    assert [hook.call(READ).rows for _ in range(2)] == [[], []]
