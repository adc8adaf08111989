"""Every kind of object of the package: its states in any spelling, and what it tells who waits for one."""

import logging
import re
from pathlib import Path

import pytest
from waiting import KINDS, ROOTS, SENSORS, STATEFUL, TRIGGERS

from airflow_qianfan.api.actions import load
from airflow_qianfan.api.objects import Phase, State, States
from airflow_qianfan.plugins import runs
from airflow_qianfan.triggers.base.polling import PollSettings, PollState, Target

WORDS = [
    pytest.param(kind, word, state, id=f"{kind.__name__}-{word or 'none'}")
    for kind in STATEFUL
    for word, state in kind.states.documented.items()
]

#: Words of Qianfan's pages, and of answers that were seen.
DOCUMENTED = {
    ("FineTuningTask", "Waiting"): Phase.ACTIVE,
    ("FineTuningTask", "Running"): Phase.ACTIVE,
    ("FineTuningTask", "Done"): Phase.SUCCEEDED,
    ("FineTuningTask", "Finish"): Phase.SUCCEEDED,
    ("FineTuningTask", "Failed"): Phase.FAILED,
    ("FineTuningTask", "Fail"): Phase.FAILED,
    ("FineTuningTask", "Stopped"): Phase.STOPPED,
    ("FineTuningTask", "Stop"): Phase.STOPPED,
    ("ImportTask", "Importing"): Phase.ACTIVE,
    ("ImportTask", "ImportFinished"): Phase.SUCCEEDED,
    ("ImportTask", "ImportFailed"): Phase.FAILED,
    ("VersionImport", "Created"): Phase.ACTIVE,
    ("VersionImport", "Importing"): Phase.ACTIVE,
    ("VersionImport", "ImportFinished"): Phase.SUCCEEDED,
    ("VersionImport", "ImportFailed"): Phase.FAILED,
    ("VersionPublication", "Unpublished"): Phase.ACTIVE,
    ("VersionPublication", "Publishing"): Phase.ACTIVE,
    ("VersionPublication", "Published"): Phase.SUCCEEDED,
    ("VersionPublication", "PublishFailed"): Phase.FAILED,
    ("ExportTask", "Exporting"): Phase.ACTIVE,
    ("ExportTask", "ExportFinished"): Phase.SUCCEEDED,
    ("ExportTask", "ExportFailed"): Phase.FAILED,
    ("Model", "Creating"): Phase.ACTIVE,
    ("Model", "Ready"): Phase.SUCCEEDED,
    ("Model", "Fail"): Phase.FAILED,
    ("Model", "Failed"): Phase.FAILED,
    ("Service", "New"): Phase.ACTIVE,
    ("Service", "Deploying"): Phase.ACTIVE,
    ("Service", "Serving"): Phase.SUCCEEDED,
    ("Service", "Done"): Phase.SUCCEEDED,
    ("Service", "Failed"): Phase.FAILED,
    ("Service", "Stopped"): Phase.STOPPED,
    ("ComputeUnit", "Creating"): Phase.ACTIVE,
    ("ComputeUnit", "CreateFailed"): Phase.FAILED,
    ("ComputeUnit", "Running"): Phase.SUCCEEDED,
    ("ComputeUnit", "Releasing"): Phase.ACTIVE,
    ("ComputeUnit", "Released"): Phase.STOPPED,
    ("ComputeUnit", "Reconfiguring"): Phase.ACTIVE,
    ("ComputeUnit", "ReconfigureFailed"): Phase.FAILED,
    ("ComputeUnit", "BillingChanging"): Phase.ACTIVE,
    ("BatchInferenceTask", "Queuing"): Phase.ACTIVE,
    ("BatchInferenceTask", "Running"): Phase.ACTIVE,
    ("BatchInferenceTask", "Stopping"): Phase.ACTIVE,
    ("BatchInferenceTask", "Done"): Phase.SUCCEEDED,
    ("BatchInferenceTask", "Failed"): Phase.FAILED,
    ("BatchInferenceTask", "Expired"): Phase.FAILED,
    ("BatchInferenceTask", "Stopped"): Phase.STOPPED,
    ("EvalTask", "Queued"): Phase.ACTIVE,
    ("EvalTask", "Running"): Phase.ACTIVE,
    ("EvalTask", "RunningWithManualBegin"): Phase.ACTIVE,
    ("EvalTask", "RunningWithMetricsCalculating"): Phase.ACTIVE,
    ("EvalTask", "Stopping"): Phase.ACTIVE,
    ("EvalTask", "Successed"): Phase.SUCCEEDED,
    ("EvalTask", "Succeeded"): Phase.SUCCEEDED,
    ("EvalTask", "Failed"): Phase.FAILED,
    ("EvalTask", "PartlyDone"): Phase.FAILED,
    ("EvalTask", "Stopped"): Phase.STOPPED,
    ("EvalResultExportTask", "Queued"): Phase.ACTIVE,
    ("EvalResultExportTask", "Running"): Phase.ACTIVE,
    ("EvalResultExportTask", "Succeeded"): Phase.SUCCEEDED,
    ("EvalResultExportTask", "Failed"): Phase.FAILED,
    ("ModelCompTask", "creating"): Phase.ACTIVE,
    ("ModelCompTask", "running"): Phase.ACTIVE,
    ("ModelCompTask", "stopping"): Phase.ACTIVE,
    ("ModelCompTask", "succeeded"): Phase.SUCCEEDED,
    ("ModelCompTask", "failed"): Phase.FAILED,
    ("ModelCompTask", "stopped"): Phase.STOPPED,
    ("ModelExport", "Doing"): Phase.ACTIVE,
    ("ModelExport", "Done"): Phase.SUCCEEDED,
    ("ModelExport", "Fail"): Phase.FAILED,
}


def of(kind, word):
    """Return an object of the kind whose state is this word of the service."""
    return kind.model_construct(**{kind.id_member: "id-1", kind.state_member: word})


def test_kinds_triggers_and_sensors_are_found():
    """What is found here is what the tests of all kinds are about."""
    assert {"FineTuningJob", "FineTuningTask", "Model", "ModelSet"} <= {kind.__name__ for kind in KINDS}
    assert {"QianfanFineTuningTaskTrigger", "QianfanModelTrigger"} <= {found.__name__ for found in TRIGGERS}
    assert {"QianfanFineTuningTaskSensor", "QianfanModelSensor"} <= {found.__name__ for found in SENSORS}


def test_whatever_is_waited_for_can_be_shown_in_airflow_and_has_a_name_there():
    assert {trigger.id_name for trigger in TRIGGERS} <= set(runs.KINDS)
    assert [name for name, path in runs.KINDS.items() if load(path).id_name != name] == []
    for texts in sorted(Path(runs.__file__).parent.glob("static/js/texts-*.js")):
        assert set(re.findall(r'"kind\.(\w+)"', texts.read_text())) == set(runs.KINDS), texts.name


@pytest.mark.parametrize(("name", "word"), DOCUMENTED)
def test_a_documented_word_means_what_the_page_says(name, word):
    (kind,) = (kind for kind in STATEFUL if kind.__name__ == name)
    assert of(kind, word).state.phase is DOCUMENTED[name, word]


@pytest.mark.parametrize("kind", STATEFUL)
def test_a_kind_with_states_can_be_waited_for(kind):
    phases = {state.phase for state in kind.states.documented.values()}
    assert {Phase.ACTIVE, Phase.SUCCEEDED} <= phases
    # What can be stopped has a word for it, or the wait after a Stop would have no end.
    assert kind.stop("id-1") is None or phases & {Phase.STOPPED, Phase.FAILED}


@pytest.mark.parametrize(("kind", "word", "state"), WORDS)
@pytest.mark.parametrize(
    "spell", [str.lower, str.upper, str.title, " {} ".format], ids=lambda how: how.__name__
)
def test_case_and_blanks_of_a_word_do_not_matter(kind, word, state, spell):
    found = of(kind, spell(word))
    assert found.state == state
    assert found.state.is_known
    assert found.state.is_final is (state.phase is not Phase.ACTIVE)
    # Whatever spelling came, the documented word is what a DAG sees.
    assert found.status == state.word
    assert kind.states.read(found.status) == state


@pytest.mark.parametrize("kind", STATEFUL)
@pytest.mark.parametrize("word", [None, "", "  "], ids=["none", "empty", "blank"])
def test_no_word_at_all_is_an_active_state(kind, word):
    assert of(kind, word).state.phase is Phase.ACTIVE
    assert of(kind, word).state.is_known


@pytest.mark.parametrize("kind", STATEFUL)
@pytest.mark.parametrize("word", ["Preempted", "完成", "Donee", "0", 7, True])
def test_an_unknown_word_is_active_and_warned_of_once(kind, word, caplog):
    caplog.set_level(logging.INFO)
    found = of(kind, word)
    assert found.state == State(str(word), Phase.ACTIVE, is_known=False)
    poll = PollState(Target(kind, "id-1"), PollSettings(), logging.getLogger("test"), str)
    assert [poll.record(found), poll.record(found)] == [None, None]
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert f"The state {str(word)!r} of {kind.noun} id-1 is not documented" in warning


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.states is None])
def test_what_has_no_states_is_there_once_it_is_described(kind):
    assert of_nothing(kind).state.phase is Phase.SUCCEEDED


def of_nothing(kind):
    return kind.model_construct(**{kind.id_member: "id-1"})


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_says_who_it_is(kind):
    found = of_nothing(kind)
    assert found.object_id == "id-1"
    assert found.label == f"{kind.noun} id-1"
    assert kind.id_name.endswith("_id")
    assert "id-1" in kind.describe("id-1").body().values()
    stop = kind.stop("id-1")
    assert stop is None or "id-1" in stop.body().values()
    assert not kind.is_listed_with_state or "parent-1" in kind.siblings("parent-1").body().values()


def test_ids_and_nouns_tell_kinds_apart():
    # What is read by the id of what it belongs to, as an export is, has no id of its own.
    own = [kind for kind in ROOTS if kind.id_name != kind.parent_name]
    assert len({kind.id_name for kind in own}) == len(own)
    assert len({kind.noun for kind in KINDS}) == len(KINDS)


def test_a_spelling_that_stands_for_no_word_is_refused_where_the_kind_is_declared():
    with pytest.raises(KeyError, match="gone"):
        States(active=("Waiting",), succeeded=("Done",), spellings={"lost": "Gone"})
