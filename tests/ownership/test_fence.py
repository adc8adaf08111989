"""An attempt that Airflow has given up, and that goes on, leaves nothing beside what a later one makes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from account import Account
from airflow.sdk.exceptions import AirflowRuntimeError
from tasks import AirflowTask, Store, refusal, shared_training, training, version

from airflow_qianfan.exceptions import QianfanError


class FencedStore(Store):
    """The store as one attempt sees it: from a point on, Airflow refuses its writes.

    :param shared: the store that all attempts share.
    :param status: HTTP status of the refusal; 404 where the attempt was replaced.
    """

    def __init__(self, shared: Store, status: int | None = 404) -> None:
        super().__init__()
        self._texts = shared._texts
        self.status = status
        self.is_replaced = False

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self.before(key)
        if self.is_replaced:
            raise refusal(self.status)
        self._texts[key] = json.dumps(value)


def publishing(account: Account) -> AirflowTask:
    return version(account.make_set())


def in_shared_job(account: Account) -> AirflowTask:
    return shared_training(account.make_job())


Make = Callable[[Account], AirflowTask]
MAKES: dict[str, tuple[Make, str, str]] = {
    "training": (lambda account: training(), "CreateFineTuningTask", "task"),
    "shared training": (in_shared_job, "CreateFineTuningTask", "task"),
    "version": (publishing, "CreateCustomModel", "model"),
}


class Frozen:
    """Two attempts of one task: the first is frozen at a point, and a later one works in the meantime."""

    def __init__(self, account: Account, task: AirflowTask, status: int | None = 404) -> None:
        assert task.store is not None
        self.account = account
        self.later = AirflowTask(task.make, retries=1, store=task.store, try_number=1)
        self.store = FencedStore(task.store, status)
        self.first = task
        self.first.store = self.store

    def freeze(self, *, later_creates: bool = True) -> None:
        """Airflow gives up the first attempt, and the later one does its work."""
        self.account.before = self.account.after = lambda action: None
        self.store.before = lambda key: None
        if later_creates:
            self.later.attempt()
        self.account.advance(60)
        self.store.is_replaced = True

    def run_first(self) -> BaseException:
        with pytest.raises((QianfanError, AirflowRuntimeError)) as raised:
            self.first.attempt()
        return raised.value


def at(action: str, freeze: Callable[[], None]) -> Callable[[str], None]:
    return lambda found: freeze() if found == action else None


@pytest.mark.parametrize("kind", MAKES)
def test_before_it_stores_that_a_create_is_sent_nothing_is_sent(account: Account, kind: str) -> None:
    make, action, objects = MAKES[kind]
    frozen = Frozen(account, make(account))
    key = "qianfan_model" if kind == "version" else "qianfan_task"
    frozen.store.before = lambda found: frozen.freeze() if found == key else None
    error = frozen.run_first()
    assert "left to a later attempt" in str(error)
    assert len(account.ids(objects)) == len(account.sent(action)) == 1
    assert len(account.active) == 1


@pytest.mark.parametrize("kind", ["training", "version"])
def test_frozen_before_its_create_it_undoes_what_it_has_made_beside_a_later_one(
    account: Account, kind: str
) -> None:
    make, action, _ = MAKES[kind]
    frozen = Frozen(account, make(account))
    account.before = at(action, frozen.freeze)
    error = frozen.run_first()
    assert "left to a later attempt" in str(error)
    assert len(account.sent(action)) == 2
    assert frozen.later.store is not None
    key = "qianfan_model" if kind == "version" else "qianfan_task"
    assert account.active == [frozen.later.store.records[key]["id"]]


def test_in_a_shared_job_it_says_so_instead_of_stopping_what_may_be_a_strangers(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    frozen = Frozen(account, in_shared_job(account))
    account.before = at("CreateFineTuningTask", frozen.freeze)
    frozen.run_first()
    assert account.sent("StopFineTuningTask") == []
    said = capsys.readouterr().out
    assert "may be one too many" in said
    assert all(found in said for found in account.ids("task"))


@pytest.mark.parametrize("kind", ["training", "shared training", "version"])
def test_what_it_has_made_is_left_to_a_later_one_that_has_made_nothing(account: Account, kind: str) -> None:
    make, action, objects = MAKES[kind]
    frozen = Frozen(account, make(account))
    account.after = at(action, lambda: frozen.freeze(later_creates=False))
    error = frozen.run_first()
    assert "left to a later attempt" in str(error)
    assert account.active == account.ids(objects)
    assert len(account.active) == 1
    # The later one finds it, since the record says that a Create is in doubt.
    frozen.later.attempt()
    assert len(account.ids(objects)) == 1


@pytest.mark.parametrize("status", [None, 400, 403, 409, 500, 503])
@pytest.mark.parametrize("kind", ["training", "version"])
def test_on_any_other_error_of_the_store_nothing_is_undone(
    account: Account, kind: str, status: int | None
) -> None:
    make, action, objects = MAKES[kind]
    frozen = Frozen(account, make(account), status)
    account.after = at(action, lambda: frozen.freeze(later_creates=False))
    error = frozen.run_first()
    assert isinstance(error, AirflowRuntimeError)
    assert account.active == account.ids(objects)
    assert account.sent("StopFineTuningTask") == account.sent("DeleteModel") == []
    frozen.later.attempt()
    assert len(account.ids(objects)) == 1


def test_before_a_throttled_create_is_sent_again_the_store_is_asked(account: Account) -> None:
    frozen = Frozen(account, training())
    account.fail("CreateFineTuningTask", "throttle", retry_after=50)
    account.after = at("CreateFineTuningTask", frozen.freeze)
    frozen.run_first()
    assert len(account.ids("task")) == len(account.active) == 1
    assert len(account.sent("CreateFineTuningTask")) == 2, "the throttled one and the later attempt's"


def test_a_store_that_refuses_an_attempt_that_only_attaches_ends_it(account: Account) -> None:
    task = training(retries=1)
    task.attempt()
    frozen = Frozen(account, task)
    frozen.store.is_replaced = True
    error = frozen.run_first()
    assert "left to a later attempt" in str(error)
    assert len(account.active) == 1
    assert account.sent("StopFineTuningTask") == []
