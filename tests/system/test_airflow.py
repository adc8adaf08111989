"""The example DAGs on a real scheduler, API server, DAG processor and triggerer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest
from ground import HOUR
from night import DEPLOYMENT, NIGHT, prepare

from airflow_qianfan.api.actions.service import DescribeService
from airflow_qianfan.compat import REMEMBERS
from demo.__main__ import DAG_ID
from local_stack.airflow import COMPONENTS, USER, LocalAirflow
from local_stack.guard import is_alive
from local_stack.process import ProcessFailed
from local_stack.qianfan import CONNECTION_ID, LocalQianfan
from local_stack.waiting import wait_for


def test_train_and_publish(
    airflow: LocalAirflow, qianfan: LocalQianfan, files_with: Callable[[str, Path], list[Path]]
) -> None:
    before = len(qianfan.journal())
    airflow.api.unpause(DAG_ID)
    run_id = airflow.api.trigger(DAG_ID)
    airflow.api.wait_for_task(DAG_ID, run_id, "wait_for_training", "deferred")
    qianfan.pass_time(HOUR / 3)
    shown = wait_for(lambda: percentages(airflow, run_id), what="the log shows progress")
    qianfan.pass_time(HOUR / 3)
    wait_for(lambda: percentages(airflow, run_id), lambda now: max(now) > max(shown), what="more progress")
    qianfan.pass_time(HOUR)
    assert airflow.api.wait_for_run(DAG_ID, run_id) == "success"

    done = Counter(entry["action"] for entry in qianfan.journal()[before:] if entry["effect"])
    assert done["CreateFineTuningJob"] == 1
    assert done["CreateFineTuningTask"] == 1
    assert done["CreateCustomModel"] == 1

    published = airflow.api.xcom(DAG_ID, run_id, "publish_model")
    assert published["model_id"]
    log = airflow.api.log(DAG_ID, run_id, "create_job")
    told = ["keeps nothing between the attempts" in str(entry["event"]) for entry in log]
    assert sum(told) == (0 if REMEMBERS else 1)

    assert files_with(qianfan.secret_key, airflow.home) == []
    assert files_with(run_id, airflow.home), "the search finds what is there"


def percentages(airflow: LocalAirflow, run_id: str) -> list[int]:
    """How much of the training was done, as the log of the task that waits for it says."""
    entries = airflow.api.log(DAG_ID, run_id, "wait_for_training")
    found = [re.search(r"[█░] (\d+)%", str(entry["event"])) for entry in entries]
    return [int(one[1]) for one in found if one is not None]


@pytest.mark.thorough
def test_nightly_retraining(airflow: LocalAirflow, qianfan: LocalQianfan) -> None:
    dag_id = "nightly_retraining"
    with qianfan.client() as client:
        prepared = prepare(client.call, qianfan.pass_time)
        before = len(qianfan.journal())
        airflow.api.unpause(dag_id)
        run_id = airflow.api.trigger(dag_id, prepared.conf)
        airflow.api.wait_for_task(dag_id, run_id, "train", "deferred")
        qianfan.pass_time(HOUR)
        airflow.api.wait_for_task(dag_id, run_id, "evaluate", "deferred")
        model_id = airflow.api.xcom(dag_id, run_id, "publish")["model_id"]
        scores = {model_id: "50.00%", prepared.model_id: "40.00%"}
        report = [{"modelId": version, "rouge_l": score} for version, score in scores.items()]
        answer = {"route": "/v2/eval", "action": "DescribeEvalTaskReport", "result": report}
        qianfan.administer("POST", "answers", answer)
        qianfan.pass_time(HOUR)
        assert airflow.api.wait_for_run(dag_id, run_id) == "success"
        assert {task["state"] for task in airflow.api.tasks(dag_id, run_id).values()} == {"success"}

        done = [entry["action"] for entry in qianfan.journal()[before:] if entry["effect"]]
        assert done == [*NIGHT, *DEPLOYMENT]
        service = client.call(DescribeService(service_id=prepared.service_id))
        assert (service.status, service.model_id) == ("Serving", model_id)
    deployed = airflow.api.xcom(dag_id, run_id, "deploy")
    assert deployed["previous_model_id"] == prepared.model_id
    assert deployed["answer"].startswith(f"{model_id} heard: ")


@pytest.mark.slow
def test_components_can_be_killed_and_started_and_none_is_left(tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "broken.py").write_text("from airflow.sdk import dag\nraise ValueError('broken on purpose')\n")
    with LocalAirflow(tmp_path / "home", dags_folder=dags) as airflow:
        with pytest.raises(ProcessFailed, match="broken on purpose"):
            airflow.wait_ready("broken")
        assert all(len(airflow.pids(component)) == 1 for component in COMPONENTS)

        airflow.kill("triggerer")
        with pytest.raises(ProcessFailed, match="lost its triggerer"):
            airflow.check()

        airflow.start_component("triggerer")
        wait_for(lambda: airflow.pids("triggerer"), what="a triggerer runs")
        processes = airflow.processes()
    assert [process for process in processes if is_alive(process)] == []
    assert _processes_below(tmp_path) == []


def _processes_below(folder: Path) -> list[psutil.Process]:
    """Processes that have a file open below ``folder`` or work there."""
    found = []
    for process in psutil.process_iter():
        try:
            paths = [process.cwd(), *(file.path for file in process.open_files())]
        except psutil.Error:
            continue
        if any(Path(path).is_relative_to(folder) for path in paths):
            found.append(process)
    return found


def test_the_ui_builds_the_connection_form_from_metadata_alone(airflow: LocalAirflow) -> None:
    login = {"username": USER, "password": airflow.password}
    with httpx.Client(base_url=airflow.url, trust_env=False) as http:
        token = http.post("/auth/token", json=login).raise_for_status().json()["access_token"]
        answer = http.get("/ui/connections/hook_meta", headers={"Authorization": f"Bearer {token}"})
    (form,) = (form for form in answer.json() if form["connection_type"] == "qianfan")
    assert form["hook_name"] == "Baidu Qianfan"
    titles = {name: rules["title"] for name, rules in form["standard_fields"].items() if rules}
    assert (titles["login"], titles["password"], titles["host"]) == (
        "Access Key ID",
        "Secret Access Key",
        "Endpoint",
    )
    assert form["extra_fields"]["session_token"]["schema"]["format"] == "password"
    assert "null" in form["extra_fields"]["timeout"]["schema"]["type"], "an empty field is allowed"


def test_the_ui_shows_the_connection_without_its_secret(airflow: LocalAirflow, qianfan: LocalQianfan) -> None:
    shown = airflow.api.call("GET", f"/connections/{CONNECTION_ID}")
    assert (shown["conn_type"], shown["login"]) == ("qianfan", qianfan.access_key)
    assert (shown["host"], shown["password"]) == (qianfan.endpoint, "***")
