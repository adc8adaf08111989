"""The pytest fixture that this package gives to its users, used as they use it: in a folder of their own."""

import os
import re
import socket
import subprocess
import sys

TESTS = """
import os
import time

from airflow_qianfan.api.actions.finetuning import CreateFineTuningJob, DescribeFineTuningJobs
from airflow_qianfan.hooks.qianfan import QianfanHook

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
    body = {"jobId": job_id, "hyperParameterConfig": {}, "datasetConfig": {
        "sourceType": "Platform", "versions": [{"versionId": "ds-1"}]}}
    start = time.monotonic()
    hook.call_action("/v2/finetuning", "CreateFineTuningTask", body)
    while qianfan_emulator.tasks[0]["runStatus"] != "Done":
        assert time.monotonic() - start < 10
        time.sleep(0.05)
"""


def test_the_fixture_works_without_any_conftest(tmp_path):
    (tmp_path / "test_mine.py").write_text(TESTS)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-s",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(tmp_path),
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path / "home")},
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
    host, port = re.search(r"ENDPOINT http://([\d.]+):(\d+)", done.stdout).groups()
    with socket.socket() as probe:
        assert probe.connect_ex((host, int(port))) != 0


def test_loading_the_plugin_starts_and_imports_nothing_heavy():
    code = (
        "import sys, airflow_qianfan.emulator.pytest_plugin;"
        "print({'airflow', 'uvicorn', 'starlette', 'httpx', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "set()"
