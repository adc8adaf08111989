"""Random histories of two tasks and their account: whatever happens, ownership holds.

What is played: creates, lost answers, refusals, stale reads, deaths of the process at any point, retries,
clears, changed requests, objects that end, are stopped or deleted by somebody else, strangers in the same
job, two deployments with the same ids. All in one process and in virtual time.
"""

from __future__ import annotations

from typing import Any

import pytest
from account import FILES, HOUR, Account
from cases import cases
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tasks import model_set, shared_training, training, version

from airflow_qianfan.exceptions import (
    QianfanAlreadyExistsError,
    QianfanAmbiguousCreateError,
    QianfanError,
)

LAG = 20.0
"""How old stale reads are, in seconds; less than ``settle_seconds``."""

CREATES = {
    "training": ("CreateFineTuningJob", "CreateFineTuningTask"),
    "named training": ("CreateFineTuningJob", "CreateFineTuningTask"),
    "shared training": ("CreateFineTuningTask",),
    "model set": ("CreateCustomModelSet",),
    "named model set": ("CreateCustomModelSet",),
    "version": ("CreateCustomModel",),
}
#: Member of the answer's ids, and of the emulator's objects, that tells what a Create has made.
MADE = {
    "CreateFineTuningJob": ("job", "jobId"),
    "CreateFineTuningTask": ("task", "taskId"),
    "CreateCustomModelSet": ("model_set", "modelSetId"),
    "CreateCustomModel": ("model", "modelId"),
}
FAULTS: dict[str, dict[str, Any]] = {
    "lost": {"kind": "lost_answer"},
    "reset": {"kind": "reset"},
    "failed": {"kind": "server_error"},
    "failed with effect": {"kind": "server_error", "status": 502, "effect": True},
    "throttled": {"kind": "throttle"},
    "refused": {"kind": "error", "code": "InvalidParam"},
    "no quota": {"kind": "error", "code": "TaskRunningNumberExceedLimit"},
    "unreadable": {"kind": "malformed", "effect": True},
}
SHARED = ("shared training", "named model set")
"""Where nothing but its appearance tells whose an object is: see Limits in docs/ownership.md."""


class Death(BaseException):
    """The process dies."""


class Ownership(RuleBasedStateMachine):
    """Two tasks, and all that can happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setenv("AIRFLOW__QIANFAN__SETTLE_SECONDS", "30")
        self.account = Account()
        self.account.patch(self.patch)
        self.account.before = lambda action: self.pass_point()
        self.account.after = self.note
        self.owners: dict[str, int] = {}
        self.replaced: set[str] = set()
        self.taken: set[str] = set()
        self.used: set[str] = set()
        self.actor: int | None = None
        self.may_stop = False
        self.points_left: int | None = None

    def teardown(self) -> None:
        self.patch.undo()

    @initialize(kind=st.sampled_from(sorted(CREATES)))
    def start(self, kind: str) -> None:
        """Two deployments with the same DAG, run and task ids; in a shared job these may be siblings."""
        self.kind = kind
        self.parent = ""
        if kind == "shared training":
            self.parent = self.account.make_job()
            self.tasks = [shared_training(self.parent) for _ in range(2)]
        elif kind == "version":
            self.parent = self.account.make_set()
            self.tasks = [version(self.parent) for _ in range(2)]
        elif kind == "named training":
            self.tasks = [training(name="nightly")]
        elif kind == "training":
            self.tasks = [training() for _ in range(2)]
        elif kind == "named model set":
            self.tasks = [model_set(model_set_name="nightly") for _ in range(2)]
        else:
            self.tasks = [model_set() for _ in range(2)]
        for task in self.tasks:
            assert task.store is not None
            task.store.before = task.store.after = lambda key: self.pass_point()
        self.requests = [0 for _ in self.tasks]
        self.restarts = [False for _ in self.tasks]
        self.last_actor: int | None = None

    # ------------------------------------------------------------------ what happens at every point

    def pass_point(self) -> None:
        if self.points_left is not None:
            self.points_left -= 1
            if self.points_left < 0:
                self.points_left = None
                raise Death

    def note(self, action: str) -> None:
        entry = self.account.emulator.journal[-1]
        if entry["effect"] and action in MADE:
            assert self.actor is not None
            self.owners[entry["ids"][MADE[action][1]]] = self.actor
        if action.startswith(("Stop", "Delete")) and entry["ids"]:
            (target, *_) = entry["ids"].values()
            assert self.owners.get(target) == self.actor, "somebody else's was stopped"
            assert self.may_stop or not entry["effect"], "it was stopped, and no user wanted that"
        self.pass_point()

    # ------------------------------------------------------------------ what Airflow and its users do

    @precondition(lambda self: any(task.state in (None, "up_for_retry") for task in self.tasks))
    @rule(data=st.data(), pause=st.sampled_from([0.0, 60.0]))
    def attempt(self, data: st.DataObject, pause: float) -> None:
        """A worker takes a task, while the service and the process have good or bad luck."""
        ready = [n for n, task in enumerate(self.tasks) if task.state in (None, "up_for_retry")]
        number = data.draw(st.sampled_from(ready), "task")
        if self.others_are_in_doubt(number):
            return
        self.account.advance(pause if number == self.last_actor else 60.0)
        faulty = not data.draw(st.booleans(), "good luck")
        if faulty:
            self.spoil(data)
        if stale := data.draw(st.sampled_from([0, 0, 1, 3, 8]), "stale reads"):
            self.account.fail("*", "stale", seconds=LAG, count=stale)
        task = self.tasks[number]
        wanted = self.wanted(number)
        self.may_stop = self.restarts[number] or any(
            self.request_of(found) != wanted or self.is_to_be_stopped(number) for found in self.owned(number)
        )
        error = self.act(number, task.attempt)
        self.check(number, error, faulty=faulty)

    def spoil(self, data: st.DataObject) -> None:
        """Let requests of the next attempt fail, or its process die."""
        for action in CREATES[self.kind]:
            for name in data.draw(st.lists(st.sampled_from(sorted(FAULTS)), max_size=4), action):
                self.account.fail(action, **FAULTS[name])
        if failures := data.draw(st.sampled_from([0, 0, 0, 1, 2, 3]), "failures of stop"):
            self.account.fail("StopFineTuningTask", "server_error", count=failures)
        if data.draw(st.booleans(), "dies"):
            self.points_left = data.draw(st.integers(0, 12), "points")

    def act(self, number: int, what: Any) -> BaseException | None:
        """Let a process of a task work, and tell how it ended."""
        self.actor = self.last_actor = number
        try:
            self.value = what()
        except (Death, QianfanError) as error:
            return error
        finally:
            self.actor, self.points_left = None, None
            self.may_stop = False
            self.account.emulator.clear_faults()
        return None

    @precondition(lambda self: any(task.deferred for task in self.tasks))
    @rule(
        data=st.data(),
        end=st.sampled_from(["ended", "ended", "poll", "no answer", "timeout", "failed", "success"]),
        failures=st.sampled_from([0, 0, 2, 500]),
    )
    def go_on(self, data: st.DataObject, end: str, failures: int) -> None:
        """A deferred task goes on, or a user marks it; perhaps a stop fails, for longer than it is tried."""
        number = data.draw(st.sampled_from([n for n, task in enumerate(self.tasks) if task.deferred]), "task")
        task = self.tasks[number]
        if failures:
            self.account.fail("StopFineTuningTask", "server_error", count=failures)
        self.may_stop = end in ("timeout", "failed", "success")
        if end in ("failed", "success"):
            self.act(number, lambda: task.mark(end))
            return
        if end == "ended":
            self.account.advance(HOUR)
        if end in ("ended", "poll"):
            error = self.act(number, task.poll)
        else:
            status = {"no answer": "error"}.get(end, end)
            error = self.act(number, lambda: task.resume({"status": status, "message": end}))
            assert error is not None
        self.check(number, error)

    @precondition(lambda self: any(task.state for task in self.tasks))
    @rule(
        data=st.data(),
        change=st.sampled_from([None, None, "request", "parent"]),
        on_clear=st.sampled_from(["attach", "attach", "restart"]),
        retries=st.sampled_from([0, 1, 2]),
    )
    def clear(self, data: st.DataObject, change: str | None, on_clear: str, retries: int) -> None:
        """A user clears a task, perhaps after a change of the DAG."""
        number = data.draw(st.sampled_from([n for n, t in enumerate(self.tasks) if t.state]), "task")
        task = self.tasks[number]
        self.used |= self.taken
        task.clear(retries=retries, on_clear=on_clear)
        self.restarts[number] = on_clear == "restart"
        if change == "request":
            self.requests[number] += 1
        elif change == "parent" and self.kind == "training":
            self.requests[number] += 1000
        task.arguments |= self.changed(number)

    @precondition(lambda self: self.owners)
    @rule(data=st.data(), what=st.sampled_from(["hour", "stop", "delete", "train"]))
    def somebody_else(self, data: st.DataObject, what: str) -> None:
        """Trainings end, or are stopped, deleted or started by somebody else."""
        if what == "hour":
            self.account.advance(HOUR)
        elif what == "train":
            if self.kind == "shared training" and not self.others_are_in_doubt(None):
                self.account.make_task(self.parent)
                self.account.advance(60.0)
        else:
            there = [found for found in self.owners if found in self.everything()]
            if what == "stop":
                there = [
                    found for found in there if found.startswith("task-") and found in self.account.active
                ]
            if there:
                found = there[data.draw(st.integers(0, len(there) - 1), "which")]
                self.account.stop(found) if what == "stop" else self.account.delete(found)

    # ------------------------------------------------------------------ what has to hold

    def check(self, number: int, error: BaseException | None, *, faulty: bool = True) -> None:
        task, owned = self.tasks[number], self.owned(number)
        assert task.store is not None
        records = task.store.records
        for record in records.values():
            assert record["id"] is None or self.owners.get(record["id"]) == number, "attached to a stranger's"
        main = records.get(self.main_key, {})
        wanted = self.wanted(number)
        if self.kind == "version":
            # The service cannot stop one.
            restarted = self.restarts[number]
            self.replaced.update(
                found
                for found in owned
                if found != main.get("id") and (restarted or self.request_of(found) != wanted)
            )
        going_on = [found for found in self.account.active if found in owned and found not in self.replaced]
        assert len(going_on) <= 1, "two go on for one task"
        named = str(error) if isinstance(error, QianfanError) else ""
        for found in going_on:
            assert found == main.get("id") or main.get("in_doubt") or found in named, f"{found} is lost"
        if error is None:
            assert not main["in_doubt"]
            assert self.request_of(main["id"]) in (wanted, None), "the result of another request"
            assert main["id"] not in self.used, "the old result after a clear"
            assert going_on in ([], [main["id"]])
            self.restarts[number] = False
            if task.state == "success" and self.kind != "named model set":
                self.taken.add(main["id"])
        elif not faulty:
            allowed: tuple[type[BaseException], ...] = (QianfanAmbiguousCreateError,)
            if self.kind == "named model set":
                allowed += (QianfanAlreadyExistsError,)
            assert isinstance(error, allowed), f"an attempt without a fault failed: {error!r}"

    @property
    def main_key(self) -> str:
        keys = {"version": "qianfan_model"}
        return "qianfan_model_set" if "set" in self.kind else keys.get(self.kind, "qianfan_task")

    def owned(self, number: int) -> list[str]:
        """What a task has made of what it is about, as far as it still exists."""
        prefix = {"qianfan_model_set": "am-", "qianfan_model": "amv-", "qianfan_task": "task-"}[self.main_key]
        there = self.everything()
        return [
            found
            for found, owner in self.owners.items()
            if owner == number and found.startswith(prefix) and found in there
        ]

    def everything(self) -> dict[str, Any]:
        return {
            found[member]: found
            for kind, member in MADE.values()
            for found in self.account.emulator.objects(kind)
        }

    def is_to_be_stopped(self, number: int) -> bool:
        store = self.tasks[number].store
        assert store is not None
        return bool(store.records.get(self.main_key, {}).get("is_stopping"))

    def others_are_in_doubt(self, number: int | None) -> bool:
        """Whether another task cannot tell what is about to be made from its own."""
        if self.kind not in SHARED:
            return False
        for other, task in enumerate(self.tasks):
            assert task.store is not None
            record = task.store.records.get(self.main_key, {})
            if other != number and record.get("in_doubt"):
                made = [found for found in self.owned(other) if found not in record["before"]]
                if not made:
                    return True
        return False

    # The request: one number that stands for what a user writes into the DAG file.

    def wanted(self, number: int) -> Any:
        return self.requests[number]

    def changed(self, number: int) -> dict[str, Any]:
        request = self.requests[number]
        if "training" in self.kind:
            epoch = {"hyper_parameter_config": {"epoch": request % 1000}}
            model = {"model": f"ERNIE-{request // 1000}"} if request >= 1000 else {}
            return epoch | model
        if self.kind == "version":
            return {"import_meta": {**FILES, "objectPath": f"p{request}"}}
        return {"model_type": ("Text2Text", "Text2Image")[request % 2]}

    def request_of(self, found: str) -> Any:
        """Return the number of the request that has made something; None where that cannot be told."""
        made = self.everything().get(found)
        if made is None or "set" in self.kind:
            return None
        if self.kind == "version":
            return int(made["request"]["importMeta"]["objectPath"][1:])
        epoch = made["request"]["hyperParameterConfig"]["epoch"]
        models = {job["jobId"]: job["model"] for job in self.account.emulator.jobs}
        name = models[made["jobId"]].removeprefix("ERNIE-")
        return epoch % 1000 + 1000 * (int(name) if name.isdigit() else 0)


Ownership.TestCase.settings = settings(
    max_examples=cases(100), stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestOwnership = Ownership.TestCase
