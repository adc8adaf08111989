"""The example that retrains each night: what it makes, and what keeps it from deploying."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from example_dags import effects
from night import DATA, DEPLOYMENT, NIGHT, prepare

from airflow_qianfan.exceptions import QianfanNotFoundError, QianfanTerminalStateError, QianfanUpdateError
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.operators.base import smoke

# Each night is a chain of ten tasks.
pytestmark = pytest.mark.slow


class Nights:
    """An account with a service and a data set, and the nights that it goes through."""

    def __init__(self, emulator, dag, run_dag):
        self.emulator, self._dag, self._run_dag = emulator, dag, run_dag
        self.prepared = prepare(QianfanHook().call, emulator.advance)
        self.scores = [0.4]
        emulator.answer("/v2/eval", "DescribeEvalTaskReport", self._report)
        self._known = len(effects(emulator))

    def _report(self, body):
        """Score each version with what was set for it, oldest first."""
        scores = dict(zip((model["modelId"] for model in self.emulator.models), self.scores, strict=True))
        (task,) = (task for task in self.emulator.objects("eval_task") if task["taskId"] == body["taskId"])
        rows = task["request"]["evalObjectConfig"]["evalModelConfig"]["evalModelConfigList"]
        return [
            {"taskId": task["taskId"], "modelId": row["modelId"], "rouge_l": f"{scores[row['modelId']]:.2%}"}
            for row in rows
        ]

    def run(self, score=0.5, **conf):
        self.scores.append(score)
        return self._run_dag(self._dag, run_conf={**self.prepared.conf, **conf})

    @property
    def done(self):
        """What has changed something since all was prepared."""
        return effects(self.emulator)[self._known :]

    @property
    def serving(self):
        (service,) = self.emulator.services
        assert (service["runStatus"], service["updateStatus"]) == ("Serving", "None")
        return service["modelId"]


@pytest.fixture
def nights(start_emulator, examples, run_dag):
    emulator = start_emulator(task_seconds=0.6, model_seconds=0.3, strict=True)
    emulator.add_dataset("ds-0123456789abcdef")
    return Nights(emulator, examples.dags["nightly_retraining"], run_dag)


def request_of(emulator, kind):
    return emulator.objects(kind)[-1]["request"]


def test_a_better_model_is_deployed_and_each_thing_is_made_once(nights):
    before = datetime.now(UTC)
    run = nights.run()
    assert run.state == "success", run.errors
    assert set(run.states.values()) == {"success"}
    assert nights.done == [*NIGHT, *DEPLOYMENT]
    emulator = nights.emulator
    old, new = emulator.models
    assert nights.serving == new["modelId"]
    assert new["modelSetId"] == old["modelSetId"]

    (files,) = request_of(emulator, "import_task")["files"]
    assert files in {f"bos:/my-bucket/faq/{day:%Y-%m-%d}.jsonl" for day in (before, datetime.now(UTC))}
    version = emulator.objects("dataset_version")[-1]
    assert (version["datasetId"], version["publishStatus"]) == (nights.prepared.dataset_id, "Published")
    training = request_of(emulator, "task")
    assert training["datasetConfig"]["versions"] == [{"versionId": version["versionId"]}]
    assert training["hyperParameterConfig"] == {"epoch": 1, "learningRate": 0.0003, "maxSeqLen": 4096}
    assert request_of(emulator, "eval_task")["evalObjectConfig"]["evalModelConfig"] == {
        "versionId": "ds-0123456789abcdef",
        "evalModelConfigList": [{"modelId": new["modelId"]}, {"modelId": old["modelId"]}],
    }
    deployed = run.xcoms["deploy"]["return_value"]
    assert deployed["previous_model_id"] == old["modelId"]
    assert deployed["answer"] == f"{new['modelId']} heard: Which plans do you offer?"


def test_each_night_is_compared_with_what_the_night_before_has_deployed(nights):
    runs = [nights.run(score) for score in (0.5, 0.6)]
    assert [run.state for run in runs] == ["success"] * 2
    first, second, third = (model["modelId"] for model in nights.emulator.models)
    assert [run.xcoms["deploy"]["previous_model_id"] for run in runs] == [first, second]
    assert nights.serving == third
    assert nights.done == [*NIGHT, *DEPLOYMENT] * 2


@pytest.mark.parametrize(
    ("score", "conf"),
    [(0.405, {}), (0.5, {"min_improvement": {"rouge_l": 0.2}})],
    ids=["hardly better", "not better enough"],
)
def test_a_gate_that_says_no_does_not_deploy(nights, score, conf):
    run = nights.run(score, **conf)
    assert (run.state, run.states["gate"], run.states["deploy"]) == ("success", "success", "skipped")
    assert run.xcoms["gate"]["passed"] is False
    assert nights.done == NIGHT
    assert nights.serving == nights.prepared.model_id


def test_a_service_that_does_not_answer_is_taken_back_to_the_version_before(nights, monkeypatch):
    monkeypatch.setattr(smoke, "PAUSES", (0.01, 0.01))
    nights.emulator.fail_next("ChatCompletion", kind="server_error", count=None)
    run = nights.run()
    assert (run.state, run.states["deploy"]) == ("failed", "failed")
    assert isinstance(run.error, QianfanUpdateError)
    assert nights.done == [*NIGHT, "ModifyService", "ModifyService"]
    assert nights.serving == nights.prepared.model_id


def test_a_failing_import_stops_the_chain_before_anything_is_paid(nights):
    run = nights.run(bos_directory="bos:/b/fail")
    assert run.state == "failed"
    assert isinstance(run.error, QianfanTerminalStateError)
    assert "errors.txt" in str(run.error)
    assert nights.done == DATA[:2]
    assert {run.states[task] for task in ("train", "publish", "evaluate", "gate", "deploy")} == {
        "upstream_failed"
    }


def test_a_service_that_is_missing_stops_the_chain_before_anything_is_made(nights):
    run = nights.run(service_id="svco-none")
    assert run.state == "failed"
    assert isinstance(run.error, QianfanNotFoundError)
    assert nights.done == []


def test_lost_answers_double_nothing(nights):
    actions = [*NIGHT, *DEPLOYMENT]
    for action in actions[:-1]:
        nights.emulator.fail_next(action, kind="lost_answer")
    run = nights.run()
    assert run.state == "success", run.errors
    assert nights.done == actions
    assert nights.serving == nights.emulator.models[-1]["modelId"]
