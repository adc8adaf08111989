"""What is shown of an object, and what is estimated."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from airflow_qianfan.api.actions.dataset import Dataset, DatasetVersion, VersionImport
from airflow_qianfan.api.actions.finetuning import FineTuningTask
from airflow_qianfan.plugins.objects import Sightings, estimate, remembered, show
from airflow_qianfan.plugins.origins import _MARK, _TOLD
from airflow_qianfan.plugins.runs import Task, TaskKey, read_object
from airflow_qianfan.plugins.task_view import Queueing

NOW = 1_800_000_000.0
CREATED = "2027-01-15T07:00:00Z"


def training(**members):
    return FineTuningTask(task_id="task-1", create_date=CREATED, **members)


@pytest.mark.parametrize(
    ("began", "progress", "end"),
    [
        (NOW - 100, 0.5, NOW + 100),
        (NOW - 100, 0.8, NOW + 25),
        (NOW - 100, None, None),
        (NOW - 100, 0.0, None),
        (NOW - 100, 1.0, None),
        (None, 0.5, None),
        (NOW + 1, 0.5, None),
    ],
)
def test_estimated_end(began, progress, end):
    assert estimate(began, progress, NOW) == end


def test_waiting_for_resources_is_told_as_far_as_it_was_seen():
    sightings = Sightings()
    waiting, running = training(run_status="Waiting"), training(run_status="Running", run_progress="10%")
    assert sightings.note(waiting, NOW).running is None
    assert sightings.note(running, NOW + 60).running == NOW + 60
    assert sightings.note(running, NOW + 90).running == NOW + 60
    assert Sightings().note(running, NOW).waiting is None, "it was not seen to wait"


def test_what_has_no_states_is_not_taken_for_begun():
    sightings = Sightings()
    waiting = VersionImport(version_id="ds-1", import_status="Created")
    assert sightings.note(waiting, NOW).waiting == NOW
    assert sightings.note(DatasetVersion(version_id="ds-1"), NOW + 60).waiting is None
    assert (show(waiting, NOW).is_waiting, show(DatasetVersion(version_id="ds-1"), NOW).is_waiting) == (
        True,
        False,
    )


def test_sightings_are_bounded():
    sightings = Sightings(size=1)
    for number in range(3):
        one = FineTuningTask(task_id=f"task-{number}", run_status="Waiting")
        assert sightings.note(one, NOW).waiting == NOW
    assert len(sightings._seen) == 1


def queued_task(queued, started):
    return Task(TaskKey("d", "r", "t"), "running", "QianfanFineTuningOperator", queued, started, None)


def test_queueing_in_airflow_is_remembered_after_a_deferral_and_told_anew_of_another_try():
    queueing = Queueing()
    assert queueing.note(queued_task(NOW, None)) is None, "it still waits"
    assert queueing.note(queued_task(NOW, NOW + 5)) == 5
    assert queueing.note(queued_task(NOW + 60, NOW + 5)) == 5, "it was deferred, and queued anew"
    assert queueing.note(queued_task(NOW + 100, NOW + 103)) == 3
    assert Queueing().note(queued_task(NOW + 60, NOW + 5)) is None, "nobody has looked before"


def test_memory_of_queueing_is_bounded():
    queueing = Queueing(size=1)
    for number in range(3):
        assert queueing.note(queued_task(NOW, NOW + number)) == number
    assert len(queueing._seen) == 1


@pytest.mark.parametrize(
    ("date", "moment"),
    [
        ("2027-01-15T15:00:00+08:00", datetime(2027, 1, 15, 7, tzinfo=UTC).timestamp()),
        ("2027-01-15T07:00:00Z", datetime(2027, 1, 15, 7, tzinfo=UTC).timestamp()),
        ("2027-01-15 15:00:00", datetime(2027, 1, 15, 7, tzinfo=UTC).timestamp()),
        ("soon", None),
    ],
)
def test_a_date_without_a_zone_is_beijings(date, moment):
    assert show(Dataset(dataset_id="dg-1", create_time=date), NOW).started == moment


def test_date_in_the_future_is_in_another_time_zone():
    assert show(FineTuningTask(task_id="t", create_date="2099-01-01T00:00:00Z"), NOW).started is None


def test_state_that_nobody_knows_goes_on():
    view = show(training(run_status="Dreaming"), NOW)
    assert (view.state, view.phase, view.progress) == ("Dreaming", "active", None)


def test_return_value_stands_for_what_the_service_cannot_tell():
    result = training(
        run_status="Done",
        job_id="job-1",
        metrics={"BLEU-4": "16.56%"},
        checkpoint_list=[{"step": 64, "trainingLoss": 0.5}],
    ).output()
    view = show(remembered(FineTuningTask, "task-1", result), NOW, is_current=False)
    assert (view.state, view.metrics, view.best_step, view.is_current) == (
        "Done",
        {"BLEU-4": 0.1656},
        64,
        False,
    )


@pytest.mark.parametrize(
    ("arguments", "xcoms", "subject"),
    [
        (
            {},
            {"fine_tuning_job_id": "job-1", "fine_tuning_task_id": "task-1"},
            ("fine_tuning_task_id", "task-1"),
        ),
        ({"fine_tuning_task_id": "task-1"}, {}, ("fine_tuning_task_id", "task-1")),
        (
            {"fine_tuning_task_id": "task-1", "model_set_id": "am-1"},
            {"model_id": "amv-1", "model_set_id": "am-1"},
            ("model_id", "amv-1"),
        ),
        ({"model_id": "amv-1"}, {"service_id": "svco-1"}, ("service_id", "svco-1")),
        ({"model_id": None}, {"model_id": ["amv-1"]}, None),
    ],
)
def test_what_a_task_is_about(arguments, xcoms, subject):
    task = Task(TaskKey("d", "r", "t"), "running", "QianfanX", None, None, None, arguments, xcoms)
    assert task.subject == subject


@pytest.mark.parametrize(
    ("operator", "arguments", "ours"),
    [
        ("QianfanFineTuningOperator", {}, True),
        ("NightlyTraining", {"qianfan_conn_id": "qianfan_default"}, True),
        ("EmptyOperator", {}, False),
        ("BashOperator", {"bash_command": "qianfan_conn_id"}, False),
    ],
)
def test_which_tasks_are_ours(operator, arguments, ours):
    assert Task(TaskKey("d", "r", "t"), None, operator, None, None, None, arguments).is_ours is ours


@pytest.mark.parametrize(
    ("description", "parts"),
    [
        (
            "Airflow: d / manual__2026-01-01T00:00:00+00:00 / t [airflow:0123456789ab]",
            ("d", "manual__2026-01-01T00:00:00+00:00", "t", None),
        ),
        ("Airflow: d / r / group.t[12] [airflow:0123456789ab]", ("d", "r", "group.t", "12")),
        ("mine [airflow:0123456789ab]", None),
    ],
)
def test_description_that_names_its_task(description, parts):
    found = _TOLD.match(description)
    assert (found and found.groups()) == parts
    assert _MARK.search(description)[1] == "0123456789ab"


@pytest.mark.parametrize(
    ("value", "found"),
    [({"a": 1}, {"a": 1}), ('{"a": 1}', {"a": 1}), ("[1]", {}), ("{{ params.x }}", {}), (None, {})],
)
def test_argument_that_is_an_object(value, found):
    assert read_object(value) == found
