"""An Airflow of its own for the tests. Airflow reads this when it is imported, so it comes first."""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

_home = Path(tempfile.mkdtemp(prefix="airflow-qianfan-tests-"))
atexit.register(shutil.rmtree, _home, ignore_errors=True)
(_home / "dags").mkdir()

_OPTIONS = {"QIANFAN_DATABASE", "QIANFAN_FUZZ", "QIANFAN_SCREENSHOTS", "QIANFAN_SOAK"}
for _name in [name for name in os.environ if name.startswith(("AIRFLOW_", "QIANFAN_"))]:
    if _name not in _OPTIONS:
        del os.environ[_name]
os.environ.update(
    AIRFLOW_HOME=str(_home),
    AIRFLOW__CORE__DAGS_FOLDER=str(_home / "dags"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__QIANFAN__SETTLE_SECONDS="0.1",
)

from hypothesis import settings  # noqa: E402

# The same cases in every run, so that a failure tells about the code alone. QIANFAN_FUZZ multiplies them;
# pytest's option --hypothesis-profile=default tries others.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def _no_list_of_models_is_kept():
    """Which models a service supports is kept for an hour; each test has another service."""
    if (preflight := sys.modules.get("airflow_qianfan.operators.base.preflight")) is not None:
        preflight._TABLES.clear()
