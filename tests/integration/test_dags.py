import os
import subprocess
import sys
import time

import pytest
from example_dags import EXAMPLES, effects

from airflow_qianfan.emulator import Assumptions
from airflow_qianfan.exceptions import QianfanTerminalStateError

DAY = 86400.0
CREATES = ["CreateFineTuningJob", "CreateFineTuningTask", "CreateCustomModelSet", "CreateCustomModel"]


def hide_the_end(emulator, word):
    """Show every training in this state, from the second poll on."""
    emulator.fail_next("DescribeFineTuningTask", kind="unknown_status", word="Running")
    emulator.fail_next("DescribeFineTuningTask", kind="unknown_status", word=word, count=None)


def test_all_examples_parse(examples):
    assert examples.import_errors == {}
    assert set(examples.dags) == {path.stem for path in EXAMPLES.glob("*.py")}


def test_mapped_tasks_of_the_examples_are_told_apart_in_the_ui(examples):
    mapped = [one for dag in examples.dags.values() for one in dag.tasks if one.is_mapped]
    ours = [one for one in mapped if one.operator_class.__module__.startswith("airflow_qianfan")]
    assert {one.dag_id for one in ours} >= {"cleanup", "sweep"}
    assert [f"{one.dag_id}.{one.task_id}" for one in ours if not one.map_index_template] == []


def test_forms_of_the_examples_explain_each_field(examples):
    forms = {dag_id: dag.params for dag_id, dag in examples.dags.items() if dag.params}
    assert forms
    fields = {f"{dag_id}: {name}": form.get_param(name) for dag_id, form in forms.items() for name in form}
    assert [where for where, field in fields.items() if not field.description] == []


def test_the_readme_lists_all_examples():
    readme = (EXAMPLES.parent / "README.md").read_text()
    assert [
        path.name for path in EXAMPLES.glob("*.py") if f"](dags_examples/{path.name})" not in readme
    ] == []


@pytest.mark.parametrize(
    ("dag", "publishes"), [("train_and_publish", "publish_model"), ("fine_tune", "publish")]
)
def test_an_example_trains_and_publishes_exactly_once(start_emulator, examples, run_dag, dag, publishes):
    emulator = start_emulator(task_seconds=0.8, model_seconds=0.4)
    run = run_dag(examples.dags[dag], run_conf={"dataset_version_id": "ds-mine"})
    assert run.state == "success", run.errors
    assert set(run.states.values()) == {"success"}
    assert sorted(effects(emulator)) == sorted(CREATES)
    (job,), (task,), (version,) = emulator.jobs, emulator.tasks, emulator.models
    assert job["model"] == "ERNIE-Speed-8K"
    assert task["request"]["datasetConfig"]["versions"] == [{"versionId": "ds-mine"}]
    best = min(task["checkpointList"], key=lambda point: point["perplexity"])
    assert version["status"] == "Ready"
    assert version["sourceInfo"] == {
        "sourceType": "Train",
        "taskId": task["taskId"],
        "checkpointStep": best["step"],
    }
    assert run.xcoms[publishes]["model_id"] == version["modelId"]


@pytest.mark.parametrize("dag", ["train_and_publish", "fine_tune"])
@pytest.mark.parametrize("state", ["Failed", "Stopped"])
def test_an_example_fails_at_once_when_the_training_does(emulator, examples, run_dag, dag, state):
    hide_the_end(emulator, state)
    run = run_dag(examples.dags[dag])
    assert run.state == "failed"
    assert isinstance(run.error, QianfanTerminalStateError)
    assert run.error.state == state
    assert set(run.tries.values()) <= {0, 1}
    assert [effect for effect in effects(emulator) if "FineTuning" in effect] == CREATES[:2]
    assert emulator.models == []


def test_each_run_of_an_example_adds_a_version_to_the_same_model_set(start_emulator, examples, run_dag):
    emulator = start_emulator(task_seconds=0.3, model_seconds=0.2)
    runs = [run_dag(examples.dags["fine_tune"], run_conf={"model_set_name": "mine"}) for _ in range(2)]
    assert [run.state for run in runs] == ["success"] * 2
    assert len(emulator.tasks) == len(emulator.models) == 2
    assert [version["modelName"] for version in emulator.models] == ["mine-V1", "mine-V2"]


# --- cleaning up


@pytest.fixture
def old_and_new(start_emulator, service):
    """Start an emulator with jobs of 40 days ago and of today."""
    emulator = start_emulator(
        task_seconds=100 * DAY,
        clock=lambda: time.time() - 40 * DAY,
        assumptions=Assumptions(future_skew_seconds=int(50 * DAY), delete_job_with_running_tasks="refuse"),
    )
    service.job("train_a_empty")
    service.task("train_a_running")
    service.task("keep-running")
    emulator.advance(40 * DAY)
    service.task("train_a_new")
    return emulator


def names(emulator):
    return [job["name"] for job in emulator.jobs]


def test_cleanup_only_lists_unless_told_otherwise(old_and_new, examples, run_dag):
    known = len(old_and_new.journal)
    run = run_dag(examples.dags["cleanup"])
    assert run.state == "success"
    assert {call["action"] for call in old_and_new.journal[known:]} == {"DescribeFineTuningJobs"}
    assert names(old_and_new) == ["train_a_empty", "train_a_running", "keep-running", "train_a_new"]


def test_cleanup_stops_what_runs_and_deletes_old_jobs_of_the_prefix_only(old_and_new, examples, run_dag):
    known = len(old_and_new.journal)
    run = run_dag(examples.dags["cleanup"], run_conf={"dry_run": False})
    assert run.state == "success", run.errors
    assert names(old_and_new) == ["keep-running", "train_a_new"]
    assert {task["runStatus"] for task in old_and_new.tasks} == {"Running", "Waiting"}
    changes = [call["action"] for call in old_and_new.journal[known:] if call["effect"]]
    assert changes == ["StopFineTuningTask", "DeleteFineTuningJob", "DeleteFineTuningJob"]


@pytest.mark.parametrize(
    ("conf", "left"),
    [
        ({"name_prefix": "keep-"}, ["train_a_empty", "train_a_running", "train_a_new"]),
        ({"older_than_days": 0}, ["keep-running"]),
        ({"older_than_days": 41}, ["train_a_empty", "train_a_running", "keep-running", "train_a_new"]),
        ({"name_prefix": "nothing-"}, ["train_a_empty", "train_a_running", "keep-running", "train_a_new"]),
    ],
)
def test_cleanup_takes_prefix_and_age_from_its_parameters(old_and_new, examples, run_dag, conf, left):
    run = run_dag(examples.dags["cleanup"], run_conf={"dry_run": False, **conf})
    assert run.state == "success", run.errors
    assert names(old_and_new) == left


def test_cleanup_tolerates_what_others_delete_meanwhile(old_and_new, examples, run_dag):
    old_and_new.fail_next("StopFineTuningTask", kind="error", status=404, code="NoSuchKey")
    old_and_new.fail_next("DeleteFineTuningJob", kind="error", status=404, code="NoSuchKey")
    run = run_dag(examples.dags["cleanup"], run_conf={"dry_run": False, "name_prefix": "train_a_running"})
    assert run.state == "success", run.errors


# --- parsing

SPY = """
from airflow.secrets import BaseSecretsBackend

class Spy(BaseSecretsBackend):
    def get_connection(self, conn_id):
        print("READ", conn_id, flush=True)

    get_variable = get_config = lambda self, *_: None
"""
PARSE = """
import sys
from versions import read_dags
from airflow_qianfan.hooks.qianfan import QianfanHook

bag = read_dags(sys.argv[1])
print("PARSED", len(bag.dags), flush=True)
try:
    QianfanHook().client
except Exception as error:
    print("CONTROL", type(error).__name__)
"""


def test_parsing_the_examples_reads_no_connection(tmp_path):
    (tmp_path / "spy.py").write_text(SPY)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(tmp_path), str(EXAMPLES.parent / "tests"))),
        "AIRFLOW__SECRETS__BACKEND": "spy.Spy",
        "AIRFLOW__WORKERS__SECRETS_BACKEND": "spy.Spy",
    }
    done = subprocess.run(
        [sys.executable, "-c", PARSE, str(EXAMPLES)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    marks = [line for line in done.stdout.splitlines() if line.startswith(("READ", "PARSED", "CONTROL"))]
    assert marks[0] == f"PARSED {len(list(EXAMPLES.glob('*.py')))}", done.stderr
    assert marks[1] == "READ qianfan_default"
