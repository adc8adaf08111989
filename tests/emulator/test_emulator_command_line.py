"""The emulator as a process: its output, signals, kills and bad arguments."""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from contextlib import suppress

import httpx
import pytest
from over_http import DATASET, JOB

from airflow_qianfan.api.signing import BceV1Auth
from airflow_qianfan.emulator import QianfanEmulator

slow = pytest.mark.slow


def run(*arguments, **options):
    command = [sys.executable, "-m", "airflow_qianfan.emulator", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def started(process):
    """Return the endpoint and the connection that a started process prints."""
    endpoint = process.stdout.readline().strip().rpartition(" ")[2]
    command, assignment = shlex.split(process.stdout.readline())
    name, _, value = assignment.partition("=")
    assert command == "export"
    assert name == "AIRFLOW_CONN_QIANFAN_DEFAULT"
    connection = json.loads(value)
    assert connection["host"] == endpoint
    return endpoint, connection


def call(endpoint, connection, action, body):
    auth = BceV1Auth(connection["login"], connection["password"])
    answer = httpx.post(f"{endpoint}/v2/finetuning", params={"Action": action}, json=body, auth=auth)
    answer.raise_for_status()
    return answer.json()["result"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_command_line_runs_until_a_signal(number):
    keys = ["--access-key", "AK'S", "--secret-key", "S K", "--task-seconds", "0", "--log-level", "info"]
    process = run("--port", "0", *keys)
    endpoint, connection = started(process)
    assert (connection["login"], connection["password"]) == ("AK'S", "S K")
    assert "jobId" in call(endpoint, connection, "CreateFineTuningJob", JOB)
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 0
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "CreateFineTuningJob" in err
    assert "S K" not in err


def test_killed_process_loses_nothing(tmp_path):
    arguments = ["--port", "0", "--task-seconds", "100", "--state", str(tmp_path / "state")]
    process = run(*arguments)
    endpoint, connection = started(process)
    job_id = call(endpoint, connection, "CreateFineTuningJob", JOB)["jobId"]
    body = {"jobId": job_id, "hyperParameterConfig": {}, "datasetConfig": DATASET}
    task_id = call(endpoint, connection, "CreateFineTuningTask", body)["taskId"]
    detail = call(endpoint, connection, "DescribeFineTuningTask", {"taskId": task_id})
    journal = httpx.get(endpoint + "/_emulator/journal").json()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    process = run(*arguments)
    endpoint, connection = started(process)
    assert httpx.get(endpoint + "/_emulator/journal").json() == journal
    again = call(endpoint, connection, "DescribeFineTuningTask", {"taskId": task_id})
    assert again["createDate"] == detail["createDate"]
    assert call(endpoint, connection, "StopFineTuningTask", {"taskId": task_id}) is True
    process.terminate()
    process.communicate(timeout=10)


def test_killed_in_the_middle_of_writing_every_answered_job_is_there(tmp_path):
    arguments = ["--port", "0", "--state", str(tmp_path / "state")]
    answered = []
    for turn in range(3):
        process = run(*arguments)
        endpoint, connection = started(process)
        enough = threading.Event()

        def create(turn=turn, endpoint=endpoint, connection=connection, enough=enough):
            with suppress(httpx.HTTPError):
                for number in range(1_000_000):
                    name = f"job-{turn}-{number}"
                    job = call(endpoint, connection, "CreateFineTuningJob", {**JOB, "name": name})
                    answered.append(job["jobId"])
                    if number > 10:
                        enough.set()

        creating = threading.Thread(target=create)
        creating.start()
        assert enough.wait(60), "no jobs were created"
        process.kill()
        process.communicate()
        creating.join(60)
        assert not creating.is_alive()
    with QianfanEmulator(state=tmp_path / "state") as emulator:
        ids = [job["jobId"] for job in emulator.jobs]
        assert set(answered) <= set(ids)
        assert len(ids) <= len(answered) + 3  # at most the one that was being answered
        created = [entry["ids"]["jobId"] for entry in emulator.journal if entry["effect"]]
        assert created == ids


def fails(*arguments, **options):
    process = run(*arguments, **options)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert out == ""
    assert len(err.splitlines()) == 1, err
    return err


def test_command_line_says_in_one_line_what_is_wrong(tmp_path, emulator):
    assert "cannot listen on" in fails("--port", str(emulator.port))
    broken = tmp_path / "state"
    broken.write_text("not a database")
    assert "state file" in fails("--port", "0", "--state", str(broken))
    assert "key id" in fails("--port", "0", "--access-key", "a/b")


def test_command_line_without_the_extra_says_what_to_install(tmp_path):
    (tmp_path / "uvicorn.py").write_text("raise ModuleNotFoundError('no', name='uvicorn')")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    assert "pip install 'airflow-qianfan[emulator]'" in fails("--port", "0", env=env)


PORT = "a port is a number from 0 to 65535"
SECONDS = "a duration is a number of seconds, zero or more"


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("--port", "65536", PORT),
        pytest.param("--port", "-1", PORT, marks=slow),
        pytest.param("--port", "x", PORT, marks=slow),
        pytest.param("--task-seconds", "-1", SECONDS, marks=slow),
        ("--task-seconds", "nan", SECONDS),
        pytest.param("--model-seconds", "soon", SECONDS, marks=slow),
    ],
)
def test_command_line_says_the_rule_that_a_value_breaks(option, value, rule):
    process = run(f"{option}={value}")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.splitlines()[-1].endswith(f"error: argument {option}: {rule}")
