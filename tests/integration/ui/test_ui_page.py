"""What the page lists and compares."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from versions import AIRFLOW

from airflow_qianfan import plugins

LISTS = "api/connections/qianfan_default"


def actions(emulator):
    return [entry["action"] for entry in emulator.journal]


def test_trainings_come_with_one_call_and_their_states_when_they_are_asked_for(ui, emulator, service):
    task_id = service.task("first")
    before = len(emulator.journal)
    (row,) = ui.read(f"{LISTS}/trainings")["rows"]
    assert (row["name"], row["is_pending"]) == ("first", True)
    assert actions(emulator)[before:] == ["DescribeFineTuningJobs"]

    emulator.advance(1800)
    (row,) = ui.read(f"{LISTS}/trainings/details", group=[row["group"]])["rows"]
    assert (row["id"], row["state"], row["phase"]) == (task_id, "Running", "active")
    assert row["model"] == "ERNIE-Speed-8K · SFT"
    assert 0 < row["progress"] < 1, "a list may not tell it; then the training is asked"
    assert row["url"].startswith(emulator.endpoint)


def test_a_long_list_comes_in_parts_newest_first(ui, emulator, service):
    for number in range(105):
        service.job(f"job_{number:03d}")
    first = ui.read(f"{LISTS}/trainings")
    second = ui.read(f"{LISTS}/trainings", marker=first["next"])
    assert len(first["rows"]) == 100
    names = [row["name"] for row in (*first["rows"], *second["rows"])]
    assert second["next"] is None
    assert sorted(set(names)) == sorted(f"job_{number:03d}" for number in range(105))
    assert names[0] == "job_104"


def test_viewers_share_what_was_read_a_moment_ago(ui, emulator, service):
    service.job()
    before = len(emulator.journal)
    for _ in range(4):
        ui.read(f"{LISTS}/trainings")
    assert actions(emulator)[before:] == ["DescribeFineTuningJobs"]


def test_what_the_service_says_is_sent_as_it_is_and_as_json(ui, emulator, service):
    service.task("<script>", service.job("<script>", description="<img src=x onerror=alert(1)>"))
    answer = ui.get(f"{LISTS}/trainings")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["rows"][0]["name"] == "<script>"


def test_pages_never_read_text_as_html():
    folder = Path(plugins.__file__).parent / "static" / "js"
    for path in folder.glob("*.js"):
        text = path.read_text()
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "eval("):
            assert way not in text, f"{path.name} uses {way}"


def test_texts_are_the_same_in_both_languages():
    folder = Path(plugins.__file__).parent / "static" / "js"

    def keys(name):
        lines = (folder / name).read_text().splitlines()
        return [line.strip().split('": ')[0] for line in lines if line.startswith('  "')]

    assert keys("texts-en.js") == keys("texts-zh.js")


@pytest.mark.parametrize("kind", ["services", "batch-inferences", "imports"])
def test_other_kinds_may_be_empty(ui, emulator, kind):
    before = time.time()
    answer = ui.read(f"{LISTS}/{kind}")
    assert before <= answer.pop("now") <= time.time()
    assert answer == {"rows": [], "next": None, "problems": []}


def test_a_group_that_is_gone_does_not_hide_the_others(ui, emulator, service):
    job_id = service.job()
    task_id = service.task(job_id=job_id)
    found = ui.read(f"{LISTS}/trainings/details", group=[job_id, "job-gone"])
    assert [row["id"] for row in found["rows"]] == [task_id]
    assert "job-gone" in found["problems"][0]


def test_a_service_that_is_down_is_told_in_one_sentence(ui, emulator):
    emulator.fail_next("DescribeFineTuningJobs", kind="error", status=403, code="AccessDenied")
    answer = ui.get(f"{LISTS}/trainings")
    assert answer.status_code == 502
    assert "AccessDenied" in answer.json()["detail"]


def test_a_connection_that_does_not_exist(ui, emulator):
    answer = ui.get("api/connections/nowhere/trainings")
    assert (answer.status_code, answer.json()) == (404, {"detail": "There is no such connection."})


def test_origin_and_comparison(ui, start_emulator, nightly, service):
    start_emulator(task_seconds=0.5, model_seconds=0.1)
    runs = [
        nightly("compared", day=1, hyper_parameter_config={"epoch": 1, "maxSeqLen": 4096}),
        nightly(
            "compared", day=2, hyper_parameter_config={"epoch": 3, "maxSeqLen": 4096}, description="mine"
        ),
    ]
    foreign = service.task(
        "foreign", service.job("foreign", description="Airflow: compared / x / train [airflow:0123456789ab]")
    )
    ids = [ui.task("compared", run_id, "train")["object"]["id"] for run_id in runs]

    found = ui.read(f"{LISTS}/compare", training=[*ids, foreign])
    first, second, third = found["trainings"]
    assert [one["object"]["id"] for one in found["trainings"]] == [*ids, foreign]
    assert first["origin"]["run_id"] == runs[0], "its description says so"
    assert (first["hyper_parameters"], first["object"]["checkpoints"] != []) == (
        {"epoch": "1", "maxSeqLen": "4096"},
        True,
    )
    assert third["origin"] is None, "this Airflow has no such run"
    told = second["origin"] and second["origin"]["run_id"], second["hyper_parameters"].get("epoch")
    # Before Airflow 3.3 a mark alone leads nowhere.
    assert told == ((runs[1], "3") if AIRFLOW >= (3, 3) else (None, None))


@pytest.mark.parametrize("ids", [["task-1"], [f"task-{number}" for number in range(11)]])
def test_two_to_ten_are_compared(ui, emulator, ids):
    assert ui.get(f"{LISTS}/compare", training=ids).status_code == 422
