"""What all kinds of objects have in common: their states, and where a page of the console is shown."""

from __future__ import annotations

import pytest

from airflow_qianfan.api.actions import load
from airflow_qianfan.api.config import CONSOLE, QianfanConfig
from airflow_qianfan.api.objects import Phase, State, States, timestamp

STATES = States(
    active=("New", "Deploying"),
    succeeded=("Serving",),
    failed=("Failed",),
    stopped=("Off",),
    spellings={"offline": "Off"},
)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("New", State("New", Phase.ACTIVE)),
        ("deploying", State("Deploying", Phase.ACTIVE)),
        (" SERVING ", State("Serving", Phase.SUCCEEDED)),
        ("failed", State("Failed", Phase.FAILED)),
        ("OffLine", State("Off", Phase.STOPPED)),
        ("", State("New", Phase.ACTIVE)),
        (None, State("New", Phase.ACTIVE)),
        ("Paused", State("Paused", Phase.ACTIVE, is_known=False)),
        (7, State("7", Phase.ACTIVE, is_known=False)),
        (["Serving"], State("['Serving']", Phase.ACTIVE, is_known=False)),
    ],
    ids=str,
)
def test_word_of_the_service_becomes_a_state(word, state):
    assert STATES.read(word) == state


def test_word_that_is_not_documented_is_not_shown():
    assert STATES.read("new").shown == "New"
    assert STATES.read("sk-1").shown == "in a state that is not documented"


def test_what_has_not_begun_is_active_too():
    states = States(waiting=("Queued",), active=("Running",), succeeded=("Done",))
    assert states.read("queued") == states.read(None) == State("Queued", Phase.ACTIVE, is_waiting=True)
    assert not states.read("running").is_waiting
    assert not states.read("Paused").is_waiting


@pytest.mark.parametrize("phase", Phase)
def test_what_is_not_active_is_final(phase):
    assert State("x", phase).is_final is (phase is not Phase.ACTIVE)


def test_spelling_of_a_word_that_does_not_exist_is_a_mistake():
    with pytest.raises(KeyError):
        States(active=("New",), succeeded=("Done",), spellings={"finish": "Finished"})


def test_object_without_states_exists_and_that_is_all():
    job = load("finetuning.FineTuningJob")(job_id="job-1")
    assert (job.state, job.status, job.progress) == (State("", Phase.SUCCEEDED), "", None)
    assert job.stop("job-1") is None


@pytest.mark.parametrize("path", ["finetuning.NoSuchAction", "nothing.CreateX", "CreateX"])
def test_only_what_exists_is_loaded(path):
    with pytest.raises((AttributeError, ImportError)):
        load(path)


def config(endpoint: str) -> QianfanConfig:
    return QianfanConfig(access_key_id="key", secret_access_key="secret", endpoint=endpoint)


PAGE = f"{CONSOLE}/qianfan/train/sft/job-1/task-1/detail/traininglog"


@pytest.mark.parametrize(
    ("endpoint", "shown"),
    [
        ("https://qianfan.baidubce.com", PAGE),
        ("http://127.0.0.1:8421", PAGE.replace(CONSOLE, "http://127.0.0.1:8421")),
        ("http://localhost:8421/", PAGE.replace(CONSOLE, "http://localhost:8421")),
        ("http://[::1]:8421", PAGE.replace(CONSOLE, "http://[::1]:8421")),
        ("https://proxy.example.com", PAGE),
        ("https://127.example.com", PAGE),
    ],
)
def test_page_of_an_emulator_is_its_own(endpoint, shown):
    assert config(endpoint).console_url(PAGE) == shown


def test_page_elsewhere_is_shown_as_it_is():
    page = "https://example.com/x"
    assert config("http://127.0.0.1:8421").console_url(page) == page


@pytest.mark.parametrize("text", [None, "", "soon", "0000-00-00T00:00:00Z", "2024-13-01"])
def test_what_is_no_date_is_no_time(text):
    assert timestamp(text) is None
