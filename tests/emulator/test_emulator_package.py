"""What importing it costs, and the fixture that comes with it."""

import json
import os
import subprocess
import sys

import pytest
from over_http import post


def loaded(code):
    """Return the top-level modules that are loaded after some code ran in a new interpreter."""
    program = f"import sys; {code}; print(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    return set(subprocess.check_output([sys.executable, "-c", program], text=True).split())


def test_imports_are_light():
    heavy = {"airflow", "starlette", "uvicorn"}
    assert not loaded("import airflow_qianfan.emulator.pytest_plugin") & (heavy | {"pydantic", "httpx"})
    assert not loaded("import airflow_qianfan.emulator.server") & heavy
    running = "from airflow_qianfan.emulator import QianfanEmulator as E; e = E(); e.start(); e.stop()"
    assert "airflow" not in loaded(running)


def test_package_has_no_other_names():
    import airflow_qianfan.emulator

    with pytest.raises(AttributeError, match="nothing"):
        airflow_qianfan.emulator.nothing  # noqa: B018


def test_fixture_points_airflow_at_the_emulator(qianfan_emulator):
    connection = json.loads(os.environ["AIRFLOW_CONN_QIANFAN_DEFAULT"])
    assert connection["host"] == qianfan_emulator.endpoint
    assert post(qianfan_emulator, "DescribeFineTuningJobs").status_code == 200
