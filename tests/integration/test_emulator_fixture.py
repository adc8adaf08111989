"""The pytest fixtures of this package, used as its users do: in a folder of their own."""

import os
import re
import socket
import subprocess
import sys

import pytest

TESTS = """
import os
import time

from airflow.sdk import DAG
from airflow_qianfan.compat import conf

from airflow_qianfan.api.actions.finetuning import CreateFineTuningJob, DescribeFineTuningJobs
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.operators.finetuning import QianfanFineTuningOperator
from airflow_qianfan.sensors.finetuning import QianfanFineTuningTaskSensor

JOB = CreateFineTuningJob(name="nightly", model="ERNIE-Speed-8K", train_mode="SFT")
SEEN = []


def test_the_default_connection_leads_to_the_emulator(qianfan_emulator):
    print("ENDPOINT", qianfan_emulator.endpoint)
    assert os.environ["AIRFLOW_CONN_QIANFAN_DEFAULT"] == qianfan_emulator.connection_json
    assert QianfanHook().test_connection() == (True, "Qianfan accepts the credentials.")
    job = QianfanHook().call(JOB)
    assert [job["jobId"] for job in qianfan_emulator.jobs] == [job.job_id]
    SEEN.append(qianfan_emulator.endpoint)


def test_each_test_has_an_emulator_of_its_own(qianfan_emulator):
    assert qianfan_emulator.jobs == qianfan_emulator.journal == []
    QianfanHook().call(JOB)
    SEEN.append(qianfan_emulator.endpoint)


def test_the_environment_is_restored():
    assert len(SEEN) == 2
    assert "AIRFLOW_CONN_QIANFAN_DEFAULT" not in os.environ


def test_trainings_and_models_end_by_themselves(qianfan_emulator):
    hook = QianfanHook()
    job_id = hook.call(JOB).job_id
    qianfan_emulator.add_dataset("ds-1")
    body = {"jobId": job_id, "hyperParameterConfig": {}, "datasetConfig": {
        "sourceType": "Platform", "versions": [{"versionId": "ds-1"}]}}
    start = time.monotonic()
    hook.call_action("/v2/finetuning", "CreateFineTuningTask", body)
    while qianfan_emulator.tasks[0]["runStatus"] != "Done":
        assert time.monotonic() - start < 60, "the training of two seconds is not Done after a minute"
        time.sleep(0.05)


def test_polling_is_fast_while_the_emulator_runs(qianfan_emulator):
    with DAG("mine"):
        train = QianfanFineTuningOperator(
            task_id="train", model="m", train_mode="SFT", parameter_scale="LoRA", hyper_parameter_config={},
            dataset_config={"sourceType": "Platform", "versions": [{"versionId": "ds-1"}]})
        sensor = QianfanFineTuningTaskSensor(task_id="sensor", fine_tuning_task_id="task-1")
    assert train.poll_interval == train.max_poll_interval == sensor.poke_interval == 0.2
    assert conf.getfloat("qianfan", "settle_seconds") == 0.2


def test_the_settings_are_restored():
    assert not [name for name in os.environ if name.startswith("AIRFLOW__QIANFAN__")]
"""

DAGS = """
import os

from airflow import settings
from airflow.sdk import DAG, task
from sqlalchemy import make_url

from airflow_qianfan.exceptions import QianfanNotFoundError
from airflow_qianfan.operators.action import QianfanActionOperator
from airflow_qianfan.operators.finetuning import QianfanFineTuningOperator

ERRORS = []


def test_airflow_has_a_database_of_its_own(qianfan_airflow):
    database = settings.engine.url.database
    assert os.environ["AIRFLOW_HOME"] not in database
    assert make_url(settings.SQL_ALCHEMY_CONN).database == database
    assert make_url(settings.SQL_ALCHEMY_CONN_ASYNC).database == database


def test_a_run_ends_as_its_tasks_do(qianfan_airflow):
    with DAG("mine") as dag:
        @task
        def divide(by):
            return 4 / int(by)
        divide("{{ dag_run.conf['by'] }}")
    assert qianfan_airflow.test(dag, run_conf={"by": 2}).state == "success"
    assert qianfan_airflow.test(dag, run_conf={"by": 0}).state == "failed"


def test_a_data_set_that_is_misspelt_is_red(qianfan_emulator, qianfan_airflow):
    qianfan_emulator.add_dataset("ds-0123456789abcdef")
    with DAG("mine") as dag:
        QianfanFineTuningOperator(
            task_id="train", model="ERNIE-Speed-8K", train_mode="SFT", hyper_parameter_config={"epoch": 1},
            dataset_config={"sourceType": "Platform", "versions": [{"versionId": "ds-0123456789abcdeg"}]})
        (train,) = dag.tasks
        train.on_failure_callback = [lambda context: ERRORS.append(context["exception"])]
    assert qianfan_airflow.test(dag).state == "failed"
    (error,) = ERRORS
    assert isinstance(error, QianfanNotFoundError)
    assert "Did you mean 'ds-0123456789abcdef'?" in str(error)
    assert qianfan_emulator.tasks == []


def test_any_action_can_be_answered(qianfan_emulator, qianfan_airflow):
    received = []

    def create(body):
        received.append(body)
        return {"datasetId": "ds-1"}

    qianfan_emulator.answer("/v2/dataset", "CreateDataset", create)
    qianfan_emulator.fail_next("CreateDataset", kind="throttle")
    with DAG("mine") as dag:
        QianfanActionOperator(
            task_id="create", route="/v2/dataset", action="CreateDataset", body={"datasetName": "mine"},
            retries=1, retry_delay=0)
    assert qianfan_airflow.test(dag).state == "success"
    assert received == [{"datasetName": "mine"}]
    assert [call["fault"] for call in qianfan_emulator.journal] == ["throttle", None]
"""


def run_pytest(folder, tests):
    """Run a test file in an empty folder, as a user does, and return its output."""
    (folder / "test_mine.py").write_text(tests)
    home = folder / "home"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "--rootdir", folder, folder],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**environment, "AIRFLOW_HOME": str(home)},
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (home / "airflow.db").exists()
    return done.stdout


@pytest.mark.thorough
def test_the_emulator_needs_no_conftest(tmp_path):
    output = run_pytest(tmp_path, TESTS)
    assert "6 passed" in output
    host, port = re.search(r"ENDPOINT http://([\d.]+):(\d+)", output).groups()
    with socket.socket() as probe:
        assert probe.connect_ex((host, int(port))) != 0


@pytest.mark.slow
def test_dags_run_in_an_airflow_of_their_own(tmp_path):
    assert "4 passed" in run_pytest(tmp_path, DAGS)


def test_loading_the_plugin_starts_and_imports_nothing_heavy():
    code = (
        "import sys, airflow_qianfan.emulator.pytest_plugin;"
        "print({'airflow', 'uvicorn', 'starlette', 'httpx', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "set()"
