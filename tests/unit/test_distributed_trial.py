"""The trial fails where an event had no effect or anything is wrong, and only there."""

from __future__ import annotations

import signal
from collections import Counter, namedtuple
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from test_distributed import SECRETS, TEXTS

import distributed.__main__ as program
from distributed import events, judge, observed
from distributed.cluster import TRIGGERERS, WORKERS
from distributed.events import EVENTS, NoEffect
from distributed.observed import Attempt, Held
from local_stack import search
from local_stack.component import Component
from local_stack.ledger import Ledger, Source
from local_stack.process import ProcessFailed

LOOKS = 200


def wait(read: Callable[[], Any], done: Callable[[Any], bool] = bool, *, what: str, limit: float = 0) -> Any:
    for _ in range(LOOKS):
        if done(value := read()):
            return value
    raise TimeoutError(what)


class Part:
    """A component that ends when it is hit, and starts again at once."""

    def __init__(self, name: str) -> None:
        self.name, self.starts, self.is_running = name, 1, True
        self.got: list[str] = []

    def send(self, number: signal.Signals, *, to_all: bool) -> None:
        self.got.append(number.name)
        self.starts += 1

    def pause(self) -> None:
        self.got.append("pause")

    def resume(self) -> None:
        self.got.append("resume")

    def processes(self) -> list[Any]:
        return []


class Cluster:
    """A cluster in which every run succeeds after a while."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.components = {name: Part(name) for name in (*WORKERS, *TRIGGERERS)}
        self.runs: list[tuple[str, str]] = []
        self.api = SimpleNamespace(trigger=self.trigger, run_state=self.run_state)
        self.end, self.looks = "success", Counter[tuple[str, str]]()
        self.redis = SimpleNamespace(taken=lambda: {"one", "two"}, deliver_again=lambda: {"one", "two"})
        self.postgres = SimpleNamespace(dump=lambda: "task-0")
        self.qianfan, self.secrets, self.folders = None, SECRETS, ()
        self.database_url = self.fernet_key = ""
        self.wait = wait

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def trigger(self, dag_id: str, run_id: str) -> str:
        self.runs.append((dag_id, run_id))
        return run_id

    def run_state(self, *key: str) -> str:
        self.looks[key] += 1
        return self.end if self.looks[key] > 20 else "running"

    def wait_ready(self) -> None:
        pass

    wait_healthy = wait_ready

    def query(self, statement: str, **values: Any) -> list[Any]:
        row = namedtuple("row", ("dag_id", "run_id", "seconds"))
        return [row(*key, 60.0) for key in self.runs]

    def ledger(self, twice: bool = False) -> Ledger:
        made = Ledger()
        for number, key in enumerate(self.runs):
            source, ids = Source(*key, None), [f"task-{number}"]
            made.jobs[source] = made.versions[source] = ids
            made.trainings[source] = ids * (2 if twice and not number else 1)
            made.status[ids[0]] = "Done"
        return made


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """What the program runs on: every event has an effect, and nothing is wrong."""
    cluster = Cluster()
    monkeypatch.setattr(program, "Cluster", lambda *arguments, **options: cluster)
    monkeypatch.setattr(program, "missing", list)
    monkeypatch.setattr(program.signal, "signal", lambda *arguments: None)
    monkeypatch.setattr(judge, "read_ledger", lambda qianfan: cluster.ledger())
    monkeypatch.setattr(search, "files", lambda *folders: [one for one in TEXTS if "/" in one[0]])
    monkeypatch.setattr(search, "database", lambda *place: [one for one in TEXTS if "/" not in one[0]])
    for name in EVENTS:
        monkeypatch.setitem(EVENTS, name, lambda cluster, until: "an effect")
    return cluster


@pytest.mark.parametrize("options", [["--short"], ["--short", "--random-kills", "0.001"]])
def test_the_exit_code_is_zero_where_all_holds(cluster, options, capsys):
    assert program.main(options) == 0
    output = capsys.readouterr().out
    assert "0 wrong" in output
    assert "60 s" in output, "how long a run took"


def test_a_short_trial_has_as_many_runs_as_it_says(cluster, monkeypatch):
    monkeypatch.setattr(program, "SHORT_RUNS", 23)
    assert program.main(["--short"]) == 0
    assert len(cluster.runs) >= 23


@pytest.mark.parametrize("error", [NoEffect("none"), TimeoutError("never"), ProcessFailed("gone")])
def test_an_event_without_effect_fails_the_trial_and_the_others_happen(cluster, monkeypatch, capsys, error):
    def fail(cluster: Any, until: Any) -> str:
        raise error

    monkeypatch.setitem(EVENTS, program.SHORT[0], fail)
    assert program.main(["--short"]) == 1
    output = capsys.readouterr().out
    assert f"{program.SHORT[0]} had no effect: {error}" in output
    assert "1 wrong" in output
    assert output.count("an effect") >= len(program.SHORT) - 1


@pytest.mark.parametrize(
    "wrong", ["doubled training", "blind search", "secret in a log", "run failed", "hangs"]
)
def test_whatever_is_wrong_fails_the_trial(cluster, monkeypatch, wrong):
    match wrong:
        case "doubled training":
            monkeypatch.setattr(judge, "read_ledger", lambda qianfan: cluster.ledger(twice=True))
        case "blind search":
            monkeypatch.setattr(search, "files", lambda *folders: [])
        case "secret in a log":
            found = [*TEXTS, ("logs/x.log", "key-of-secrets")]
            monkeypatch.setattr(search, "files", lambda *folders: found)
        case "run failed":
            cluster.end = "failed"
        case "hangs":
            cluster.wait = lambda read, done=bool, *, what, limit=0: wait(lambda: False, what=what)
    assert program.main(["--short"]) == 1


def until(read: Callable[[], Any], what: str) -> Any:
    return wait(read, what=what)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster for a single event, with two attempts and two triggers."""
    attempts = [Attempt(("dag", "run", "task", index), 1, 100 + index) for index in range(2)]
    held = [Held(number, 7) for number in range(2)]
    answers = {
        "running": lambda cluster, component=None: attempts,
        "job": lambda cluster, kind, name: 7 if name == TRIGGERERS[0] else 8,
        "waiting": lambda cluster: held,
        "now": lambda cluster: 0,
        "is_awake": lambda cluster, name, since: True,
        "messages_of_running": lambda cluster: {"one", "two"},
        "times_written": lambda cluster, text, pattern: 1,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(observed, name, answer)
    return Cluster()


def becomes(**states: int) -> Callable[..., Any]:
    return lambda cluster, attempts: observed.Counter(states)


def test_tasks_of_a_killed_worker_that_are_begun_anew_are_an_effect(stage, monkeypatch):
    monkeypatch.setattr(observed, "fates", becomes(anew=2))
    assert events.kill_worker(stage, until).startswith("worker-1: 2 of 2 tasks begun anew after")
    assert stage.components["worker-1"].got == ["pause", "SIGKILL", "resume"]


@pytest.mark.parametrize("event", [events.kill_worker, events.terminate_processes, events.pause_worker])
def test_tasks_of_a_worker_that_end_by_themselves_are_none(stage, monkeypatch, event):
    monkeypatch.setattr(observed, "fates", becomes(ended=2))
    with pytest.raises(NoEffect, match="begun anew"):
        event(stage, until)
    assert stage.components["worker-1"].got[-1] == "resume"


def test_tasks_that_stay_with_the_worker_are_told(stage, monkeypatch):
    monkeypatch.setattr(observed, "fates", becomes(held=1, anew=1))
    with pytest.raises(TimeoutError, match="held or given up"):
        events.pause_worker(stage, until)


def test_a_worker_without_tasks_is_not_hit(stage, monkeypatch):
    monkeypatch.setattr(observed, "running", lambda cluster, component=None: [])
    with pytest.raises(TimeoutError, match="something to lose"):
        events.kill_worker(stage, until)
    assert not stage.components["worker-1"].got


@pytest.mark.parametrize("event", [events.kill_triggerer, events.terminate_triggerer, events.pause_triggerer])
def test_triggers_have_to_be_handed_over(stage, monkeypatch, event):
    looks: Iterator[list[Held]] = iter([[Held(0, 7), Held(1, 7)]] * 4 + [[Held(0, 8), Held(1, 7)]])
    last = [Held(0, 8), Held(1, 9)]
    monkeypatch.setattr(observed, "waiting", lambda cluster: next(looks, last))
    assert event(stage, until).startswith("triggerer-1: 2 of 2 triggers handed over after")


@pytest.mark.parametrize("triggerer", [7, None])
def test_triggers_that_stay_are_told(stage, monkeypatch, triggerer):
    looks: Iterator[list[Held]] = iter([[Held(0, 7)]] * 4)
    monkeypatch.setattr(observed, "waiting", lambda cluster: next(looks, [Held(0, triggerer)]))
    with pytest.raises(TimeoutError, match="another triggerer has the triggers of triggerer-1"):
        events.kill_triggerer(stage, until)


def test_triggers_that_a_terminated_triggerer_ends_itself_are_not_handed_over(stage, monkeypatch):
    looks: Iterator[list[Held]] = iter([[Held(0, 7)]] * 4)
    monkeypatch.setattr(observed, "waiting", lambda cluster: next(looks, []))
    with pytest.raises(NoEffect, match="handed over"):
        events.terminate_triggerer(stage, until)


def test_a_triggerer_that_does_not_wake_up_is_told(stage, monkeypatch):
    looks: Iterator[list[Held]] = iter([[Held(0, 7)]] * 4)
    monkeypatch.setattr(observed, "waiting", lambda cluster: next(looks, [Held(0, 8)]))
    monkeypatch.setattr(observed, "is_awake", lambda cluster, name, since: False)
    with pytest.raises(TimeoutError, match="woken up"):
        events.pause_triggerer(stage, until)


def test_a_second_delivery_has_to_be_taken(stage, monkeypatch):
    with pytest.raises(TimeoutError, match="a second time"):
        events.deliver_twice(stage, until)
    monkeypatch.setattr(observed, "times_written", lambda cluster, text, pattern: 2)
    assert events.deliver_twice(stage, until) == "2 tasks taken a second time, 2 of them while they ran"
    stage.redis.deliver_again = lambda: {"of a killed worker"}
    with pytest.raises(NoEffect, match="none of the 1 tasks delivered again was running"):
        events.deliver_twice(stage, until)


def test_what_has_ended_cannot_be_hit(tmp_path):
    component = Component("worker-1", ["/bin/true"], folder=tmp_path, env={})
    with pytest.raises(ProcessFailed, match="has ended"):
        component.send(signal.SIGTERM, to_all=True)
    component.resume()


Row = namedtuple("Row", ("dag_id", "run_id", "task_id", "map_index", "pid", "runs", "number"))


@pytest.mark.parametrize(
    ("pid", "runs", "number", "fate"),
    [
        (100, True, 1, "held"),
        (100, False, 1, "ended"),
        (100, False, 2, "given up"),
        (None, False, 2, "given up"),
        (200, True, 1, "ended"),
        (200, True, 2, "anew"),
        (200, False, 3, "anew"),
    ],
)
def test_what_became_of_an_attempt(stage, pid, runs, number, fate):
    stage.query = lambda statement: [Row("dag", "run", "task", -1, pid, runs, number)]
    assert observed.fates(stage, [Attempt(("dag", "run", "task", -1), 1, 100)]) == {fate: 1}
