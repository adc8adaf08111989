"""The state machine of one creation: each transition, and what an attempt does with a record."""

from __future__ import annotations

import dataclasses
from itertools import product
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError
from tasks import AirflowTask, Store, refusal

from airflow_qianfan.api.objects import Phase
from airflow_qianfan.compat import AttemptReplaced
from airflow_qianfan.operators.base import record as transitions
from airflow_qianfan.operators.base.record import (
    Memory,
    Record,
    Run,
    Step,
    Verdict,
    first_step,
    is_clear,
    judge,
)

RUN = Run(generation=1, clears=0)
CLEARED = Run(generation=2, clears=1)
CLEARED_WITH_FEWER_RETRIES = Run(generation=1, clears=1)

NEW = Record("0123456789ab", "same", 1, 0)
ANNOUNCED = dataclasses.replace(NEW, parent_id="job-1", before=["task-0"], in_doubt=True)
OWNED = dataclasses.replace(ANNOUNCED, in_doubt=False, id="task-1")
STOPPING = dataclasses.replace(OWNED, is_stopping=True)
DELIVERED = dataclasses.replace(OWNED, is_delivered=True)


@pytest.mark.parametrize(
    ("found", "changed"),
    [
        pytest.param(
            transitions.unstored(NEW, "ba9876543210", "job-1", in_doubt=True),
            {"identity": "ba9876543210", "parent_id": "job-1", "in_doubt": True},
            id="unstored",
        ),
        pytest.param(
            transitions.announced(NEW, ["task-0"], "job-1"),
            {"before": ["task-0"], "parent_id": "job-1", "in_doubt": True},
            id="announced",
        ),
        pytest.param(
            transitions.announced(OWNED, ["task-0"], "job-2"),
            {"before": ["task-0"], "parent_id": "job-2", "in_doubt": True},
            id="announced again",
        ),
        pytest.param(transitions.refused(ANNOUNCED), {"parent_id": "job-1"}, id="refused"),
        pytest.param(
            transitions.created(ANNOUNCED, "task-1"),
            {"before": ["task-0"], "parent_id": "job-1", "id": "task-1"},
            id="created",
        ),
        pytest.param(
            transitions.adopted(DELIVERED, CLEARED),
            {"before": ["task-0"], "parent_id": "job-1", "id": "task-1", "generation": 2, "clears": 1},
            id="adopted",
        ),
        pytest.param(
            transitions.stop_requested(OWNED, CLEARED),
            {"before": ["task-0"], "parent_id": "job-1", "id": "task-1", "is_stopping": True},
            id="stop requested",
        ),
        pytest.param(
            transitions.delivered(STOPPING, CLEARED),
            {
                "before": ["task-0"],
                "parent_id": "job-1",
                "id": "task-1",
                "generation": 2,
                "clears": 1,
                "is_delivered": True,
            },
            id="delivered",
        ),
    ],
)
def test_a_transition_changes_what_it_says_and_nothing_else(found: Record, changed: dict[str, Any]) -> None:
    assert found == dataclasses.replace(NEW, **changed)


def test_a_new_record_has_an_identity_of_its_own() -> None:
    first, second = transitions.new(RUN, "same"), transitions.new(RUN, "same")
    assert len(first.identity) == 12
    assert first.identity != second.identity
    assert dataclasses.replace(first, identity=NEW.identity) == NEW


def test_what_was_not_made_is_tried_again_under_its_identity() -> None:
    fresh = transitions.new(CLEARED, "same")
    found = transitions.again(fresh, ANNOUNCED)
    assert found.identity == ANNOUNCED.identity
    assert (found.before, found.parent_id) == (["task-0"], "job-1")
    assert (found.in_doubt, found.id, found.generation, found.clears) == (False, None, 2, 1)


@pytest.mark.parametrize(
    ("record", "step"),
    [
        pytest.param(NEW, Step.CREATE, id="new"),
        pytest.param(transitions.refused(ANNOUNCED), Step.CREATE, id="refused"),
        pytest.param(ANNOUNCED, Step.LOOK_UP, id="announced"),
        pytest.param(OWNED, Step.INSPECT, id="owned"),
        pytest.param(STOPPING, Step.INSPECT, id="stopping"),
        pytest.param(DELIVERED, Step.INSPECT, id="delivered"),
    ],
)
def test_the_first_step(record: Record, step: Step) -> None:
    assert first_step(record) is step


@pytest.mark.parametrize(
    ("record", "run", "expected"),
    [
        pytest.param(OWNED, RUN, False, id="owned, retry"),
        pytest.param(OWNED, CLEARED, True, id="owned, clear"),
        # Perhaps another task of the DAG run was cleared, and this is a retry.
        pytest.param(OWNED, CLEARED_WITH_FEWER_RETRIES, False, id="owned, fewer retries"),
        pytest.param(DELIVERED, RUN, False, id="delivered, retry"),
        pytest.param(DELIVERED, CLEARED, True, id="delivered, clear"),
        pytest.param(DELIVERED, CLEARED_WITH_FEWER_RETRIES, True, id="delivered, fewer retries"),
    ],
)
def test_a_clear_is_told_from_a_retry(record: Record, run: Run, expected: bool) -> None:
    assert is_clear(record, run) is expected


PHASES = [*Phase, None]
CASES = list(
    product(
        PHASES, ["same", "other"], ["retry", "cleared"], [False, True], [False, True], ["attach", "restart"]
    )
)
#: Phase, request, attempt, on_clear, is_delivered of all that is attached to.
ATTACHED = {
    (Phase.ACTIVE, "same", "retry", "attach", False),
    (Phase.ACTIVE, "same", "retry", "attach", True),
    (Phase.ACTIVE, "same", "retry", "restart", False),
    (Phase.ACTIVE, "same", "retry", "restart", True),
    (Phase.ACTIVE, "same", "cleared", "attach", False),
    (Phase.ACTIVE, "same", "cleared", "attach", True),
    (Phase.SUCCEEDED, "same", "retry", "attach", False),
    (Phase.SUCCEEDED, "same", "retry", "attach", True),
    (Phase.SUCCEEDED, "same", "retry", "restart", False),
    (Phase.SUCCEEDED, "same", "retry", "restart", True),
    (Phase.SUCCEEDED, "same", "cleared", "attach", False),
}


@pytest.mark.parametrize(
    ("phase", "request_", "attempt", "is_delivered", "is_stopping", "on_clear"),
    CASES,
    ids=[
        f"{phase or 'gone'}, {request} request, {attempt}, {on_clear}"
        f"{', delivered' * delivered}{', stopping' * stopping}"
        for phase, request, attempt, delivered, stopping, on_clear in CASES
    ],
)
def test_what_becomes_of_an_object_that_the_task_owns(
    phase: Phase | None, request_: str, attempt: str, is_delivered: bool, is_stopping: bool, on_clear: Any
) -> None:
    record = dataclasses.replace(OWNED, is_delivered=is_delivered, is_stopping=is_stopping)
    run = CLEARED if attempt == "cleared" else RUN
    verdict = judge(record, run, request_, phase, on_clear)
    if phase is Phase.ACTIVE and is_stopping:
        assert verdict is Verdict.STOP, "a stop that was not verified is remembered"
    elif (phase, request_, attempt, on_clear, is_delivered) in ATTACHED:
        assert verdict is Verdict.ATTACH
    elif phase is Phase.ACTIVE:
        assert verdict is Verdict.STOP, "no attempt leaves two that go on"
    else:
        assert verdict is Verdict.REPLACE


def test_what_the_user_has_named_is_used_again_unless_its_request_has_changed() -> None:
    for phase, request, verdict in (
        (Phase.SUCCEEDED, "same", Verdict.ATTACH),
        (Phase.SUCCEEDED, "other", Verdict.REPLACE),
        (None, "same", Verdict.REPLACE),
    ):
        on_clear: Any
        for on_clear in ("attach", "restart"):
            assert judge(DELIVERED, CLEARED, request, phase, on_clear, has_own_name=True) is verdict


def test_a_delivered_success_is_made_anew_by_a_clear_with_fewer_retries() -> None:
    verdict = judge(DELIVERED, CLEARED_WITH_FEWER_RETRIES, "same", Phase.SUCCEEDED, "attach")
    assert verdict is Verdict.REPLACE


# ---------------------------------------------------------------------- in the store


@pytest.mark.parametrize(
    "record",
    [NEW, ANNOUNCED, OWNED, STOPPING, DELIVERED],
    ids=["new", "announced", "owned", "stopping", "delivered"],
)
def test_what_is_written_is_read(record: Record) -> None:
    context = AirflowTask(dict).context()
    Memory(context, "key").write(record)
    assert Memory(context, "key").read() == record
    assert Memory(context, "other").read() is None


@pytest.mark.parametrize(
    "stored",
    [None, "task-1", [], {}, {"id": "task-1", "generation": 1}, {"identity": "0123456789ab"}],
    ids=["nothing", "text", "list", "empty", "an earlier version's", "half"],
)
def test_what_is_no_record_is_none(stored: Any) -> None:
    assert Record.load(stored) is None


def test_members_of_a_later_version_are_left_out() -> None:
    assert Record.load({**dataclasses.asdict(OWNED), "colour": "red"}) == OWNED


def test_without_a_store_nothing_is_remembered() -> None:
    context = AirflowTask(dict, store=None).context()
    memory = Memory(context, "key")
    memory.write(OWNED)
    assert not memory.exists
    assert memory.read() is None


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (404, AttemptReplaced),
        (403, AirflowRuntimeError),
        (500, AirflowRuntimeError),
        (None, AirflowRuntimeError),
    ],
)
def test_only_airflow_can_say_that_an_attempt_was_replaced(
    status: int | None, expected: type[Exception]
) -> None:
    def refuse(key: str) -> None:
        raise refusal(status)

    store = Store()
    store.before = refuse
    with pytest.raises(expected):
        Memory(AirflowTask(dict, store=store).context(), "key").write(OWNED)


def test_the_run_of_a_task_tells_its_tries_and_the_clears_of_its_dag_run() -> None:
    task = AirflowTask(dict, retries=2)
    assert Run.of(task.context()) == Run(generation=2, clears=0)
    task.try_number = 1
    task.clear()
    assert Run.of(task.context()) == Run(generation=3, clears=1)
    context = task.context()
    del context["dag_run"]
    assert Run.of(context) == Run(generation=3, clears=0)
