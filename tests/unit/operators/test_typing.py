"""What a user's type checker says about the arguments of operators and sensors."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

#: Lines with an error end with its code.
USE = """\
from datetime import timedelta

from airflow.sdk import DAG

from airflow_qianfan.arguments import option
from airflow_qianfan.operators.finetuning import (
    QianfanCreateFineTuningJobOperator,
    QianfanDescribeFineTuningJobsOperator,
    QianfanFineTuningOperator,
)
from airflow_qianfan.sensors.model import QianfanModelSensor

with DAG("typed"):
    QianfanFineTuningOperator(
        task_id="right",
        model="M",
        train_mode="SFT",
        hyper_parameter_config={"epoch": 1},
        dataset_config="{{ params.data }}",
        deferrable=True,
        poll_interval=5,
        retries=2,
        execution_timeout=timedelta(hours=1),
    )
    QianfanModelSensor(task_id="right", model_id="amv-1", poke_interval=5, timeout=60, pool="p")
    QianfanDescribeFineTuningJobsOperator(task_id="right", limit=None)
    QianfanFineTuningOperator(  # [call-arg]
        task_id="typo",
        model="M",
        train_mode="SFT",
        hyper_parameter_config={},
        dataset_config={},
        deferable=True,
    )
    QianfanCreateFineTuningJobOperator(task_id="missing", model="M")  # [call-arg]
    QianfanCreateFineTuningJobOperator(task_id="type", model=5, train_mode="SFT")  # [arg-type]
    QianfanModelSensor(task_id="missing")  # [call-arg]
    QianfanModelSensor(task_id="typo", model_id="amv-1", retriess=2)  # [call-arg]


class Mine(QianfanModelSensor):
    color: str = option("of my own.", default="red")


with DAG("mine"):
    Mine(task_id="right", model_id="amv-1", color="blue").color.upper()
    Mine(task_id="typo", model_id="amv-1", colour="blue")  # [call-arg]
"""


# mypy reads all of Airflow, which takes a minute where it has not done so before.
@pytest.mark.timeout(1500)
def test_type_checker_knows_all_arguments(tmp_path):
    (tmp_path / "use.py").write_text(USE)
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "use.py"]
    shown = subprocess.run(
        [*command, "--cache-dir", str(ROOT / ".mypy_cache"), "--no-pretty"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=1200,
    )
    found = re.findall(r"^use\.py:(\d+): error: .*\[([\w-]+)\]$", shown.stdout, re.MULTILINE)
    expected = [
        (str(number), code[1])
        for number, line in enumerate(USE.splitlines(), 1)
        if (code := re.search(r"# \[([\w-]+)\]$", line))
    ]
    assert found == expected, shown.stdout + shown.stderr
    assert 'did you mean "deferrable"' in shown.stdout
