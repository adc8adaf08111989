"""One run of a task creates one object, whatever goes wrong with the Create, its answer or its memory."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import AirflowFailException
from airflow_qianfan.operators.creations import TaskCreation
from airflow_qianfan.operators.durable import MAX_SUBMITS, Origin

from airflow_qianfan.emulator import QianfanEmulator
from airflow_qianfan.exceptions import (
    QianfanAlreadyExistsError,
    QianfanAmbiguousCreateError,
    QianfanError,
    QianfanNotFoundError,
    QianfanPermissionError,
    QianfanQuotaError,
    QianfanRequestError,
    QianfanThrottledError,
)
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.operators.finetuning import (
    QianfanCreateFineTuningJobOperator,
    QianfanCreateFineTuningTaskOperator,
    QianfanFineTuningOperator,
)
from airflow_qianfan.operators.model import (
    QianfanCreateCustomModelOperator,
    QianfanCreateCustomModelSetOperator,
)

HOUR = 3600.0
DATASET = {"sourceType": "Platform", "versions": [{"versionId": "ds-0123456789abcdef"}]}
FILES = {"bucket": "b", "objectPath": "p", "modelFormat": "Safetensors", "modelApplicationType": "chat"}
JOB = {"model": "ERNIE-Speed-8K", "train_mode": "SFT"}
TRAINING = {"hyper_parameter_config": {}, "dataset_config": DATASET}


class Store:
    """Airflow's task state store. ``broken`` lets that call of ``set`` fail, counted from 1."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.broken: int | None = None
        self.on_set: Callable[[], None] = lambda: None

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self.on_set()
        if self.broken is not None:
            self.broken -= 1
            if self.broken == 0:
                raise ConnectionError("the API server of Airflow is away")
        self.values[key] = json.dumps(value)


def call(route: str, action: str, **body: Any) -> Any:
    return QianfanHook().call_action(route, action, body, repeatable=True)["result"]


def new_job(name: str = "mine") -> str:
    body = {"name": name, "model": "ERNIE-Speed-8K", "trainMode": "SFT"}
    return str(call("/v2/finetuning", "CreateFineTuningJob", **body)["jobId"])


def new_task(job_id: str) -> str:
    body = {"jobId": job_id, "hyperParameterConfig": {}, "datasetConfig": DATASET}
    return str(call("/v2/finetuning", "CreateFineTuningTask", **body)["taskId"])


def new_model_set(name: str = "mine") -> str:
    return str(call("/v2/model", "CreateCustomModelSet", modelSetName=name, modelType="Text2Text"))


def new_model(model_set_id: str, **more: Any) -> str:
    body = {"modelSetId": model_set_id, "sourceType": "Import", "importMeta": FILES, **more}
    return str(call("/v2/model", "CreateCustomModel", **body)["modelId"])


@dataclass(frozen=True)
class Kind:
    """A kind of object: its operator, how it is created and deleted, and what it needs to be there."""

    operator: type[Any]
    arguments: dict[str, Any]
    create: str
    id: str
    key: str
    remove: tuple[str, str, str]
    needs: tuple[str, Callable[[], str]] | None = None


FT, MD = "/v2/finetuning", "/v2/model"
KINDS = {
    "job": Kind(
        QianfanCreateFineTuningJobOperator,
        JOB,
        "CreateFineTuningJob",
        "fine_tuning_job_id",
        "qianfan_job",
        (FT, "DeleteFineTuningJob", "jobId"),
    ),
    "task": Kind(
        QianfanCreateFineTuningTaskOperator,
        TRAINING,
        "CreateFineTuningTask",
        "fine_tuning_task_id",
        "qianfan_task",
        (FT, "DeleteFineTuningTask", "taskId"),
        ("fine_tuning_job_id", new_job),
    ),
    "set": Kind(
        QianfanCreateCustomModelSetOperator,
        {},
        "CreateCustomModelSet",
        "model_set_id",
        "qianfan_model_set",
        (MD, "DeleteModelSet", "modelSetId"),
    ),
    "model": Kind(
        QianfanCreateCustomModelOperator,
        {"import_meta": FILES},
        "CreateCustomModel",
        "model_id",
        "qianfan_model",
        (MD, "DeleteModel", "modelId"),
        ("model_set_id", new_model_set),
    ),
}


class Work:
    """One run of a task that creates something, in as many attempts as a test wants."""

    def __init__(self, emulator: QianfanEmulator, kind: Kind) -> None:
        self.emulator = emulator
        self.kind = kind
        self.store: Store | None = Store()
        self.arguments = dict(kind.arguments)
        if kind.needs is not None:
            name, make = kind.needs
            self.arguments[name] = make()
        self.before = len(self.created())
        self.xcoms: dict[str, Any] = {}

    def operator(self, **more: Any) -> Any:
        return self.kind.operator(task_id="it", **{**self.arguments, **more})

    def attempt(self, number: int = 1, *, generation: int = 3, operator: Any = None, **more: Any) -> str:
        operator = operator or self.operator(**more)
        ti = SimpleNamespace(
            dag_id="nightly",
            run_id="manual__1",
            task_id="it",
            map_index=-1,
            try_number=number,
            max_tries=generation,
            xcom_push=lambda key, value: self.xcoms.__setitem__(key, value),
        )
        context: dict[str, Any] = {"ti": ti}
        if self.store is not None:
            context["task_state_store"] = self.store
        token = ExecutorSafeguard.tracker.set(operator)
        try:
            return str(operator.execute(context)[self.kind.id])
        finally:
            ExecutorSafeguard.tracker.reset(token)

    def created(self) -> list[str]:
        """The ids of all objects of this kind that were ever created."""
        ids = {"job": "jobId", "task": "taskId", "model": "modelId", "model_set": "modelSetId"}
        member = ids[self.kind.key.removeprefix("qianfan_")]
        return [
            entry["ids"][member]
            for entry in self.emulator.journal
            if entry["action"] == self.kind.create and entry["effect"]
        ]

    def ours(self) -> list[str]:
        return self.created()[self.before :]

    def sent(self) -> int:
        return sum(entry["action"] == self.kind.create for entry in self.emulator.journal) - self.before

    def lose_answer(self) -> None:
        """Let an attempt create, and forget the id before it is stored."""
        assert self.store is not None
        self.store.broken = 2
        with pytest.raises(ConnectionError):
            self.attempt()
        assert len(self.ours()) == 1

    def remove(self, object_id: str) -> None:
        route, action, member = self.kind.remove
        call(route, action, **{member: object_id})


@pytest.fixture(scope="module")
def running_emulator() -> Iterator[QianfanEmulator]:
    with QianfanEmulator(task_seconds=HOUR, model_seconds=HOUR) as emulator:
        yield emulator


@pytest.fixture
def emulator(running_emulator: QianfanEmulator, monkeypatch: pytest.MonkeyPatch) -> QianfanEmulator:
    running_emulator.reset()
    connection = json.loads(running_emulator.connection_json)
    connection["extra"] = {"timeout": 0.5, "max_retries": 0, "verify": False}
    monkeypatch.setenv("AIRFLOW_CONN_QIANFAN_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__QIANFAN__SETTLE_SECONDS", "0.03")
    return running_emulator


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def work(request: pytest.FixtureRequest, emulator: QianfanEmulator) -> Work:
    return Work(emulator, request.param)


@pytest.fixture
def work_on(emulator: QianfanEmulator) -> Callable[[str], Work]:
    return lambda kind: Work(emulator, KINDS[kind])


# Creating


def test_intent_is_stored_before_the_create_and_the_id_after_it(work):
    counts = []
    work.store.on_set = lambda: counts.append(len(work.ours()))
    created = work.attempt()
    assert work.ours() == [created]
    assert counts == [0, 1]
    assert json.loads(work.store.values[work.kind.key])["id"] == created


def test_nothing_is_created_where_the_intent_cannot_be_stored(work):
    work.store.broken = 1
    with pytest.raises(ConnectionError):
        work.attempt()
    assert work.ours() == []
    assert work.attempt(2) == work.ours()[-1]


@pytest.mark.parametrize("durable", [True, False])
def test_nothing_is_created_after_the_task_was_killed(work, durable):
    operator = work.operator(durable=durable)
    operator.on_kill()
    with pytest.raises(QianfanError, match="was not created, since this task was ended"):
        work.attempt(operator=operator)
    assert work.sent() == 0


def test_killed_while_looking_for_a_lost_create_sends_no_other(work, monkeypatch):
    operator = work.operator()
    work.emulator.fail_next(work.kind.create, kind="server_error")
    monkeypatch.setattr(time, "sleep", lambda _: operator.on_kill() if work.sent() else None)
    with pytest.raises(QianfanError, match="was not created"):
        work.attempt(operator=operator)
    assert (work.sent(), work.ours()) == (1, [])


# Retries, where the id was stored


def test_retry_attaches_to_what_exists(work):
    created = work.attempt()
    assert [work.attempt(number) for number in (2, 3)] == [created, created]
    assert work.ours() == [created]


@pytest.mark.parametrize("kind", ["task", "model"])
def test_retry_attaches_to_what_is_done(work_on, kind):
    work = work_on(kind)
    created = work.attempt()
    work.emulator.advance(2 * HOUR)
    assert work.attempt(2) == created
    assert work.ours() == [created]


def test_retry_creates_anew_where_it_was_deleted(work, emulator):
    created = work.attempt()
    if work.kind is KINDS["task"]:
        emulator.advance(2 * HOUR)
    work.remove(created)
    again = work.attempt(2)
    assert work.ours() == [created, again]
    assert work.attempt(3) == again


@pytest.mark.parametrize("end", ["failed", "stopped"])
def test_retry_trains_anew_where_the_training_failed_or_was_stopped(emulator, work_on, end):
    work = work_on("task")
    work.arguments["fine_tuning_job_id"] = new_job("fail" if end == "failed" else "fine")
    created = work.attempt()
    if end == "stopped":
        call(FT, "StopFineTuningTask", taskId=created)
    else:
        emulator.advance(2 * HOUR)
    again = work.attempt(2)
    assert again != created
    assert work.ours() == [created, again]


def test_retry_publishes_anew_where_the_version_failed(emulator, work_on):
    work = work_on("model")
    work.arguments["model_set_id"] = new_model_set("fail")
    created = work.attempt()
    emulator.advance(2 * HOUR)
    again = work.attempt(2)
    assert work.ours() == [created, again]


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "throttle"},
        {"kind": "server_error"},
        {"kind": "reset"},
        {"kind": "malformed"},
        {"kind": "numeric"},
        {"kind": "timeout", "seconds": 1.0},
    ],
    ids=lambda fault: fault["kind"],
)
def test_retry_creates_nothing_while_the_service_cannot_be_read(work, fault):
    created = work.attempt()
    work.emulator.fail_next(count=None, **fault)
    with pytest.raises(QianfanError) as caught:
        work.attempt(2)
    assert not isinstance(caught.value, AirflowFailException), "Airflow would not try again"
    work.emulator.clear_faults()
    assert work.sent() == 1
    assert work.attempt(3) == created


def test_clear_creates_anew(work):
    first = work.attempt()
    second = work.attempt(2, generation=7)
    assert second != first
    assert work.ours() == [first, second]
    assert work.attempt(3, generation=7) == second


@pytest.mark.parametrize(
    "stored", ['"text"', "7", "[]", '{"generation": 3}', '{"generation": 3, "before": null, "id": null}']
)
def test_what_is_no_record_of_ours_counts_as_nothing(work, stored):
    work.store.values[work.kind.key] = stored
    assert work.ours() == [] != [work.attempt()] == work.ours()


# Retries, where only the intent was stored


def test_create_whose_id_could_not_be_stored_is_found(work):
    work.lose_answer()
    assert work.attempt(2) == work.ours()[0]
    assert len(work.ours()) == 1
    assert json.loads(work.store.values[work.kind.key])["id"] == work.ours()[0]


def test_create_that_was_never_sent_is_sent_by_the_retry(work, monkeypatch):
    work.emulator.fail_next(work.kind.create, kind="error", code="AccessDenied", status=403)
    with pytest.raises(QianfanPermissionError):
        work.attempt()
    assert work.attempt(2) == work.ours()[0]
    assert len(work.ours()) == 1


@pytest.mark.parametrize("kind", ["task", "model"])
def test_several_that_could_be_ours_are_named_and_none_is_chosen(emulator, work_on, kind):
    work = work_on(kind)
    work.lose_answer()
    marked = emulator.models[0]["description"] if kind == "model" else None
    other = (
        new_model(work.arguments["model_set_id"], description=marked)
        if marked
        else new_task(work.arguments["fine_tuning_job_id"])
    )
    with pytest.raises(QianfanAmbiguousCreateError) as caught:
        work.attempt(2)
    assert other in str(caught.value)
    assert work.ours()[0] in str(caught.value)
    assert len(work.ours()) == 2


@pytest.mark.parametrize(
    ("description", "fault"), [("by hand", "server_error"), ("by hand", "lost_answer"), ("", "lost_answer")]
)
def test_version_that_somebody_publishes_at_the_same_time_is_not_ours(work_on, description, fault):
    work = work_on("model")
    others: list[str] = []

    def publish() -> None:
        if not others:
            others.append(new_model(work.arguments["model_set_id"], description=description))
            work.emulator.fail_next(work.kind.create, kind=fault)

    work.store.on_set = publish
    created = work.attempt()
    assert work.ours() == [*others, created]


def test_version_whose_description_leaves_no_room_for_the_mark_is_found(work_on):
    work = work_on("model")
    work.arguments["description"] = "x" * 300
    work.emulator.fail_next(work.kind.create, kind="lost_answer")
    assert work.attempt() == work.ours()[0]
    assert work.sent() == 1


def test_version_left_in_creating_is_adopted_and_awaited(emulator, work_on):
    work = work_on("model")
    work.lose_answer()
    assert emulator.models[0]["status"] == "Creating"
    assert work.attempt(2) == work.ours()[0]
    emulator.advance(2 * HOUR)
    assert work.attempt(3, wait_for_completion=True, poll_interval=0.01) == work.ours()[0]
    assert len(emulator.models) == 1


def test_lost_training_that_has_failed_meanwhile_is_not_trained_again(emulator, work_on):
    work = work_on("task")
    work.arguments["fine_tuning_job_id"] = new_job("fail")
    work.lose_answer()
    emulator.advance(2 * HOUR)
    assert work.attempt(2) == work.ours()[0]
    assert len(work.ours()) == 1


def test_lost_training_that_was_stopped_is_trained_again(work_on):
    work = work_on("task")
    work.lose_answer()
    call(FT, "StopFineTuningTask", taskId=work.ours()[0])
    assert work.attempt(2) == work.ours()[1]


# The Create itself goes wrong

LOST = {
    "answer lost": {"kind": "lost_answer"},
    "5xx before the effect": {"kind": "server_error"},
    "5xx after the effect": {"kind": "server_error", "status": 502, "effect": True},
    "time-out": {"kind": "timeout", "seconds": 1.0},
    "reset": {"kind": "reset"},
    "malformed before the effect": {"kind": "malformed"},
    "malformed after the effect": {"kind": "malformed", "effect": True},
    "numeric error": {"kind": "numeric"},
    "numeric error after the effect": {"kind": "numeric", "effect": True},
    "redirect after the effect": {"kind": "redirect", "effect": True},
    "throttled": {"kind": "throttle"},
}


@pytest.mark.parametrize("has_store", [True, False], ids=["remembered", "no store"])
@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_one_is_created_whatever_becomes_of_the_create(work, fault, has_store):
    work.store = work.store if has_store else None
    work.emulator.fail_next(work.kind.create, **fault)
    created = work.attempt()
    assert work.ours() == [created]
    assert work.sent() == (1 if fault["kind"] in ("lost_answer", "timeout") or fault.get("effect") else 2)


def test_lost_create_is_found_where_reads_lag_behind(work, monkeypatch):
    monkeypatch.setenv("AIRFLOW__QIANFAN__SETTLE_SECONDS", "1.0")
    work.emulator.fail_next(work.kind.create, kind="lost_answer")
    work.emulator.fail_next(kind="stale", seconds=0.4, count=None)
    created = work.attempt()
    assert work.ours() == [created]
    assert work.attempt(2) == created
    assert work.sent() == 1


@pytest.mark.parametrize("kind", ["task", "model"])
def test_looks_that_fail_are_borne_while_a_lost_create_is_looked_for(work_on, kind):
    work = work_on(kind)
    operator = work.operator()
    work.store.on_set = lambda: work.emulator.fail_next(
        "DescribeFineTuningTasks" if kind == "task" else "DescribeModelSet", kind="server_error", count=4
    )
    work.emulator.fail_next(work.kind.create, kind="lost_answer")
    assert work.attempt(operator=operator) == work.ours()[0]
    assert work.sent() == 1


def test_no_other_is_sent_where_nobody_can_tell_and_the_retry_looks_again(work):
    describes = {"job": "DescribeFineTuningJobs", "task": "DescribeFineTuningTasks"}
    describe = describes.get(work.kind.key.removeprefix("qianfan_"), "DescribeModelSet")
    work.store.on_set = lambda: work.emulator.fail_next(describe, kind="server_error", count=None)
    work.emulator.fail_next(work.kind.create, kind="lost_answer")
    with pytest.raises(QianfanError, match="cannot tell whether") as caught:
        work.attempt()
    assert not isinstance(caught.value, AirflowFailException)
    work.store.on_set = lambda: None
    work.emulator.clear_faults()
    assert work.attempt(2) == work.ours()[0]
    assert work.sent() == 1


@pytest.mark.parametrize("has_store", [True, False], ids=["remembered", "no store"])
def test_create_that_never_takes_effect_is_given_up_and_only_retried_where_that_is_safe(work, has_store):
    work.store = work.store if has_store else None
    work.emulator.fail_next(work.kind.create, kind="server_error", count=None)
    with pytest.raises(QianfanError) as caught:
        work.attempt()
    assert isinstance(caught.value, AirflowFailException) is not has_store
    assert isinstance(caught.value, QianfanAmbiguousCreateError) is not has_store
    assert (work.sent(), work.ours()) == (MAX_SUBMITS, [])


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"code": "InappropriateJSON", "status": 400}, QianfanRequestError),
        ({"code": "AccessDenied", "status": 403}, QianfanPermissionError),
        ({"code": 510402, "status": 400}, QianfanQuotaError),
    ],
)
def test_refused_create_is_sent_once(work, fault, error):
    work.emulator.fail_next(work.kind.create, kind="error", count=None, **fault)
    with pytest.raises(error):
        work.attempt()
    assert (work.sent(), work.ours()) == (1, [])


def test_create_that_stays_throttled_leaves_the_rest_to_the_retry(work):
    work.emulator.fail_next(work.kind.create, kind="throttle", count=MAX_SUBMITS)
    with pytest.raises(QianfanThrottledError):
        work.attempt()
    assert work.sent() == MAX_SUBMITS
    assert work.attempt(2) == work.ours()[0]
    assert len(work.ours()) == 1


def test_service_that_asks_for_a_long_pause_gets_no_other_create(work):
    work.emulator.fail_next(work.kind.create, kind="throttle", retry_after=3600)
    with pytest.raises(QianfanThrottledError):
        work.attempt()
    assert work.sent() == 1


@pytest.mark.parametrize("kind", ["task", "model"])
def test_container_that_does_not_exist_is_an_error(work_on, kind):
    work = work_on(kind)
    work.arguments[KINDS[kind].needs[0]] = "no-such"
    with pytest.raises(QianfanNotFoundError):
        work.attempt()
    assert work.sent() == 0


# Without memory


def test_without_durability_every_attempt_creates(work):
    if work.kind in (KINDS["job"], KINDS["set"]):
        member = "name" if work.kind is KINDS["job"] else "model_set_name"
        attempts = [work.attempt(number, durable=False, **{member: f"n {number}"}) for number in (1, 2)]
    else:
        attempts = [work.attempt(number, durable=False) for number in (1, 2)]
    assert work.ours() == attempts
    assert len(set(attempts)) == 2
    assert work.store.values == {}


def test_without_durability_a_lost_create_is_an_error_at_once(work):
    work.emulator.fail_next(work.kind.create, kind="lost_answer")
    with pytest.raises(QianfanAmbiguousCreateError):
        work.attempt(durable=False)
    assert work.emulator.journal[-1]["action"] == work.kind.create


@pytest.mark.parametrize("kind", ["job", "set", "model"])
def test_without_a_store_the_retry_finds_it_by_name_or_mark(work_on, kind):
    work = work_on(kind)
    work.store = None
    created = work.attempt(1)
    assert work.attempt(2) == created
    assert work.ours() == [created]


def test_without_a_store_the_retry_does_not_guess_whose_training_it_is(work_on):
    work = work_on("task")
    work.store = None
    created = work.attempt(1)
    with pytest.raises(QianfanAmbiguousCreateError, match=created):
        work.attempt(2)
    assert work.ours() == [created]


def test_without_a_store_the_retry_creates_what_nobody_has_created(work):
    work.store = None
    assert work.attempt(2) == work.ours()[0]


# Names that users give

NAMED = [("job", "name", new_job), ("set", "model_set_name", new_model_set)]


@pytest.mark.parametrize(("kind", "member", "make"), NAMED)
def test_name_that_somebody_else_has_is_an_error(work_on, kind, member, make):
    work = work_on(kind)
    taken = make("taken")
    with pytest.raises(QianfanAlreadyExistsError, match="taken"):
        work.attempt(**{member: "taken"})
    assert work.created() == [taken]
    with pytest.raises(QianfanAlreadyExistsError, match="taken"):
        work.attempt(2, **{member: "taken"})


@pytest.mark.parametrize(("kind", "member", "make"), NAMED)
def test_name_that_we_have_taken_ourselves_is_ours(work_on, kind, member, make):
    work = work_on(kind)
    work.emulator.fail_next(work.kind.create, kind="lost_answer")
    created = work.attempt(**{member: "ours"})
    assert work.attempt(2, **{member: "ours"}) == created
    assert work.created() == [created]


def test_job_of_ours_is_known_by_its_description_where_airflow_forgot(work_on):
    work = work_on("job")
    created = work.attempt(name="ours", description="weekly")
    work.store.values.clear()
    assert work.attempt(name="ours", description="weekly") == created
    assert work.emulator.jobs[0]["description"].startswith("weekly [airflow:")


@pytest.mark.parametrize("name", ["shared", None])
def test_model_set_that_exists_may_be_used(work_on, name):
    work = work_on("set")
    existing = new_model_set("shared") if name else work.attempt()
    assert work.attempt(2, if_exists="use", model_set_name=name) == existing
    assert work.created() == [existing]


def test_model_set_that_a_lagging_read_hides_is_used_all_the_same(work_on, monkeypatch):
    monkeypatch.setenv("AIRFLOW__QIANFAN__SETTLE_SECONDS", "1.0")
    work = work_on("set")
    existing = new_model_set("shared")
    work.emulator.fail_next("DescribeModelSet", kind="stale", seconds=0.3, count=None)
    assert work.attempt(if_exists="use", model_set_name="shared") == existing
    assert work.created() == [existing]


def test_refused_model_set_is_refused_with_use_too(work_on):
    work = work_on("set")
    with pytest.raises(QianfanRequestError, match="modelType"):
        work.attempt(if_exists="use", model_type="Nonsense")


# Job and training in one operator


@pytest.fixture
def training(emulator: QianfanEmulator) -> Work:
    kind = Kind(
        QianfanFineTuningOperator,
        {**JOB, **TRAINING, "wait_for_completion": False},
        "CreateFineTuningTask",
        "fine_tuning_task_id",
        "qianfan_task",
        KINDS["task"].remove,
    )
    return Work(emulator, kind)


@pytest.mark.parametrize("write", [1, 2, 3, 4])
def test_training_is_one_wherever_the_memory_fails(training, write):
    training.store.broken = write
    with pytest.raises(ConnectionError):
        training.attempt()
    assert training.attempt(2) == training.ours()[0]
    assert len(training.emulator.jobs) == len(training.emulator.tasks) == 1


@pytest.mark.parametrize("number", [1, 2], ids=["store emptied", "no store"])
def test_training_is_found_by_the_name_of_its_job_alone(training, number):
    created = training.attempt()
    if number == 1:
        training.store.values.clear()
    else:
        training.store = None
    assert training.attempt(number) == created
    assert len(training.emulator.jobs) == len(training.emulator.tasks) == 1


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
@pytest.mark.parametrize("action", ["CreateFineTuningJob", "CreateFineTuningTask"])
def test_training_is_one_whatever_becomes_of_either_create(training, action, fault):
    training.emulator.fail_next(action, **fault)
    created = training.attempt()
    assert training.ours() == [created]
    assert len(training.emulator.jobs) == 1


def test_training_is_started_right_after_its_job_where_reads_lag_behind(training, monkeypatch):
    monkeypatch.setenv("AIRFLOW__QIANFAN__SETTLE_SECONDS", "1.0")
    training.emulator.fail_next(kind="stale", seconds=0.4, count=None)
    assert training.attempt() == training.ours()[0]


def test_training_that_a_lost_create_started_is_stopped_when_the_task_is_killed(training, monkeypatch):
    operator = training.operator()
    training.emulator.fail_next("CreateFineTuningTask", kind="lost_answer")
    killed: list[bool] = []

    def kill(_: float) -> None:
        if training.ours() and not killed:
            killed.append(True)
            operator.on_kill()

    monkeypatch.setattr(time, "sleep", kill)
    with pytest.raises(QianfanError, match="was not created, since this task was ended"):
        training.attempt(operator=operator)
    assert [task["runStatus"] for task in training.emulator.tasks] == ["Stopped"]


def unreadable(training: Work) -> str:
    """Let a run of the task start a training and fail only because its state cannot be read."""
    watching = {"wait_for_completion": True, "max_poll_failures": 0, "poll_interval": 0.01}
    training.emulator.fail_next("DescribeFineTuningTask", kind="server_error")
    with pytest.raises(QianfanError, match="DescribeFineTuningTask"):
        training.attempt(operator=training.operator(**watching))
    return training.ours()[0]


def test_cleared_task_attaches_to_the_training_that_nobody_watches_any_more(training):
    created = unreadable(training)
    assert training.attempt(2, generation=7) == created
    assert len(training.emulator.jobs) == len(training.ours()) == 1


def test_task_that_is_cleared_once_more_trains_anew(training):
    created = unreadable(training)
    training.attempt(2, generation=7)
    assert training.attempt(3, generation=11) != created
    assert len(training.ours()) == 2


def test_cleared_task_trains_anew_where_the_unwatched_training_was_stopped(training):
    created = unreadable(training)
    call(FT, "StopFineTuningTask", taskId=created)
    assert training.attempt(2, generation=7) != created


@pytest.mark.parametrize("error", [QianfanPermissionError, QianfanThrottledError])
def test_cleared_task_attaches_where_the_retry_could_not_read_what_the_first_attempt_created(training, error):
    training.store.broken = 4
    with pytest.raises(ConnectionError):
        training.attempt()
    fault = {"code": "AccessDenied", "status": 403} if error is QianfanPermissionError else {"code": "18"}
    training.emulator.fail_next("DescribeFineTuningTasks", kind="error", count=20, **fault)
    with pytest.raises(QianfanError):
        training.attempt(2)
    training.emulator.clear_faults()
    assert training.attempt(3, generation=7) == training.ours()[0]
    assert len(training.ours()) == 1


def test_permission_that_is_withdrawn_while_waiting_does_not_lose_the_training(training):
    operator = training.operator(wait_for_completion=True, poll_interval=0.01)
    training.emulator.fail_next("DescribeFineTuningTask", kind="error", code="AccessDenied", status=403)
    with pytest.raises(QianfanPermissionError):
        training.attempt(operator=operator)
    assert training.attempt(2, generation=7) == training.ours()[0]


def test_task_that_is_ended_while_it_attaches_stops_the_training(training, monkeypatch):
    training.attempt()
    operator = training.operator()
    is_usable = TaskCreation.is_usable

    def kill_and_look(creation: TaskCreation, created_id: str) -> bool:
        operator.on_kill()
        return is_usable(creation, created_id)

    monkeypatch.setattr(TaskCreation, "is_usable", kill_and_look)
    with pytest.raises(QianfanError, match="ended"):
        training.attempt(2, operator=operator)
    assert {task["runStatus"] for task in training.emulator.tasks} == {"Stopped"}


def test_task_that_is_ended_while_it_trains_anew_stops_the_new_training(training, monkeypatch):
    first = training.attempt()
    call(FT, "StopFineTuningTask", taskId=first)
    operator = training.operator()
    training.emulator.fail_next("CreateFineTuningTask", kind="lost_answer")
    sleep = time.sleep

    def kill(seconds: float) -> None:
        if len(training.ours()) == 2 and not operator._killed:
            operator.on_kill()
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", kill)
    # Attached or refused: what counts is that nothing goes on training.
    with suppress(QianfanError):
        training.attempt(2, operator=operator)
    assert operator._killed
    assert {task["runStatus"] for task in training.emulator.tasks} == {"Stopped"}


def test_each_attempt_of_a_training_that_is_not_durable_has_a_name_of_its_own(training):
    first = training.attempt(durable=False)
    assert training.attempt(2, durable=False) != first
    assert len({job["name"] for job in training.emulator.jobs}) == 2


# Origins


def origin(**more: Any) -> Origin:
    values = {"dag_id": "nightly", "run_id": "r", "task_id": "t", "map_index": -1, "generation": 0}
    return Origin(**{**values, **more})


def test_every_part_of_an_origin_makes_another_name_and_mark():
    others = [
        origin(),
        origin(dag_id="nightly2"),
        origin(run_id="r2"),
        origin(task_id="t2"),
        origin(map_index=0),
        origin(map_index=1),
        origin(generation=1),
    ]
    assert len({other.name for other in others}) == len({other.marker for other in others}) == len(others)
    assert origin().name == origin().name


@pytest.mark.parametrize(
    ("dag_id", "prefix"),
    [
        ("nightly", "nightly"),
        ("Nightly.SFT-run", "nightly"),
        ("a", "a"),
        ("__x__", "x"),
        ("微调", "airflow"),
        ("微调 sft", "sft"),
        ("a-very-long-dag-id" * 10, "a_very"),
        ("...", "airflow"),
    ],
)
def test_name_of_any_dag_is_readable_and_allowed(dag_id, prefix):
    name = origin(dag_id=dag_id).name
    assert name == f"{prefix}_{origin(dag_id=dag_id).digest}"
    assert 2 <= len(name) <= 20
    assert name.isascii()


@pytest.mark.parametrize("limit", [300, 500])
@pytest.mark.parametrize("ids", [{}, {"dag_id": "d" * 250, "run_id": "r" * 250, "task_id": "微" * 250}])
def test_description_leads_back_to_airflow_within_its_limit(ids, limit):
    text = origin(**ids, map_index=4).describe(None, limit)
    assert text.startswith(f"Airflow: {ids.get('dag_id', 'nightly')}"[:limit])
    assert text.endswith(origin(**ids, map_index=4).marker)
    assert len(text) <= limit


def test_own_description_gets_the_mark_and_gives_way_to_it_at_its_end():
    marker = origin().marker
    assert origin().describe("weekly", 300) == f"weekly {marker}"
    exact = "x" * (299 - len(marker))
    assert origin().describe(exact, 300) == f"{exact} {marker}"
    for length in (290, 300):
        marked = origin().describe("x" * length, 300)
        assert len(marked) == 300
        assert marked == f"{exact} {marker}"
    assert origin().describe("x" * 301, 300) == "x" * 301, "too long by itself, which is refused"


def test_retries_share_an_origin_and_mapped_tasks_do_not():
    def of(**more: Any) -> Origin:
        values = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": None, "max_tries": 2}
        context: Any = {"ti": SimpleNamespace(**{**values, **more})}
        return Origin.of(context)

    assert of(try_number=1) == of(try_number=2) == of(map_index=-1)
    assert len({of(map_index=0).name, of(map_index=1).name, of().name, of(max_tries=3).name}) == 4
