"""What Airflow stores of a trigger: complete, readable by later versions, and without secrets."""

import json

import pytest
from waiting import SENSORS, TRIGGERS, again

from airflow_qianfan.triggers.evaluation import QianfanEvalTaskTrigger

ALL = {
    "qianfan_conn_id": "other",
    "poll_interval": 7.5,
    "max_poll_interval": 90.0,
    "started": 12.5,
    "deadline": 99.0,
    "max_poll_failures": 3,
    "console_url": "https://console.example/",
    "cancel_on_kill": True,
}
FINE_TUNING = "airflow_qianfan.triggers.finetuning.QianfanFineTuningTaskTrigger"
MODEL = "airflow_qianfan.triggers.model.QianfanModelTrigger"
SECRETS = ("secret", "password", "token", "login", "access_key", "authorization", "proxy", "extra")


def ids_of(trigger):
    """Return the ids that a trigger class takes."""
    parent = {trigger.parent_name: "parent-1"} if trigger.parent_name else {}
    return {trigger.id_name: "id-1", **parent}


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_trigger_agrees_with_its_kind(trigger):
    kind = trigger.kind()
    assert trigger.id_name == kind.id_name
    assert kind.states is not None
    # The parent is of use only where its list shows the states of all that belong to it.
    assert trigger.parent_name == (kind.parent_name if kind.is_listed_with_state else None)


@pytest.mark.parametrize("sensor", SENSORS)
def test_a_sensor_agrees_with_its_trigger(sensor):
    assert sensor.trigger_class() in TRIGGERS
    made = sensor(task_id="it", **{sensor.trigger_class().id_name: "id-1"})
    assert sensor.trigger_class().id_name in sensor.template_fields
    assert made.target.kind is sensor.trigger_class().kind()
    assert made.make_trigger().object_id == made.target.object_id == "id-1"


def test_every_trigger_serves_a_sensor():
    assert {sensor.trigger_class() for sensor in SENSORS} == set(TRIGGERS)


@pytest.mark.parametrize("arguments", [{}, ALL], ids=["defaults", "all"])
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_trigger_survives_serialization_with_every_argument(trigger, arguments):
    made = trigger(**ids_of(trigger), **arguments)
    path, stored = made.serialize()
    assert path == f"{trigger.__module__}.{trigger.__qualname__}"
    assert stored.items() >= (ids_of(trigger) | arguments).items()
    own = {"manual"} if trigger is QianfanEvalTaskTrigger else set()
    assert set(stored) == set(ids_of(trigger)) | set(ALL) | own
    copy = again(made)
    assert type(copy) is trigger
    assert copy.serialize() == made.serialize()
    assert all(value is None or type(value) in (str, int, float, bool) for value in stored.values())


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_what_a_trigger_carries_survives_serialization(trigger):
    made = again(trigger(**ids_of(trigger), carry={"other_id": "id-2", "deadline": None}))
    assert made.carry == {"other_id": "id-2", "deadline": None}


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_nothing_that_is_stored_is_a_secret(trigger):
    made = trigger(**ids_of(trigger), **ALL)
    assert not [name for name in made.serialize()[1] for part in SECRETS if part in name]
    text = f"{made!r} {made} {json.dumps(made.serialize())}"
    assert "id-1" in text


@pytest.mark.parametrize(
    ("path", "stored"),
    [
        (FINE_TUNING, {"fine_tuning_task_id": "task-1"}),
        (
            FINE_TUNING,
            {
                "fine_tuning_task_id": "task-1",
                "cancel_on_kill": True,
                "fine_tuning_job_id": None,
                "qianfan_conn_id": "qianfan_default",
                "poll_interval": 30.0,
                "max_poll_interval": 600.0,
                "started": 1_700_000_000.5,
                "deadline": None,
                "max_poll_failures": 10,
                "console_url": None,
            },
        ),
        (FINE_TUNING, {"fine_tuning_task_id": "task-1", "fine_tuning_job_id": "job-1", "poll_interval": 30}),
        (
            MODEL,
            {
                "model_id": "amv-1",
                "qianfan_conn_id": "qianfan_default",
                "poll_interval": 30.0,
                "max_poll_interval": 600.0,
                "started": 1_700_000_000.5,
                "deadline": 1_700_000_900.0,
                "max_poll_failures": 10,
                "console_url": "https://console.bce.baidu.com/qianfan/",
            },
        ),
    ],
    ids=["only-the-id", "job-not-known", "job-known", "model-without-cancel"],
)
def test_arguments_that_an_older_version_stored_are_understood(path, stored):
    """A triggerer starts what was deferred before the package was upgraded."""
    (trigger,) = (found for found in TRIGGERS if f"{found.__module__}.{found.__qualname__}" == path)
    made = trigger(**stored)
    assert made.serialize()[1].items() >= stored.items()
    assert made.object_id == stored[trigger.id_name]
    assert made.parent_id == stored.get("fine_tuning_job_id")
    assert made.cancel_on_kill is stored.get("cancel_on_kill", False)


@pytest.mark.parametrize("trigger", TRIGGERS)
@pytest.mark.parametrize(
    "wrong", [{}, {"id": ""}, {"id": "id-1", "no_such_id": "x"}], ids=["none", "empty", "another"]
)
def test_a_missing_or_unknown_id_is_a_type_error_that_names_it(trigger, wrong):
    arguments = {trigger.id_name if name == "id" else name: value for name, value in wrong.items()}
    with pytest.raises(TypeError, match=f"needs {trigger.id_name}"):
        trigger(**arguments)


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_the_longest_pause_is_not_below_the_shortest(trigger):
    assert trigger(**ids_of(trigger), poll_interval=900.0).max_poll_interval == 900.0
