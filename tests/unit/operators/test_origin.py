"""Which run of which task creates something: its name and its mark."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_qianfan.operators.base.origin import Origin, derived_identity

IDENTITY = "0123456789ab"


def origin(**more: Any) -> Origin:
    values = {"dag_id": "nightly", "run_id": "r", "task_id": "t", "map_index": -1, "identity": IDENTITY}
    return Origin(**{**values, **more})


def test_each_identity_makes_a_name_and_a_mark_of_its_own():
    others = [origin(), origin(identity="ba9876543210")]
    assert len({other.name for other in others}) == len({other.marker for other in others}) == 2
    assert all(other.identity in other.name and other.identity in other.marker for other in others)


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
    assert name == f"{prefix}_{IDENTITY}"
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


def test_where_no_limit_is_documented_a_text_of_our_own_is_short_and_the_users_is_whole():
    marker = origin().marker
    assert origin().describe("x" * 5000, None) == f"{'x' * 5000} {marker}"
    ours = Origin("d" * 90, "r" * 90, "t", -1, IDENTITY).describe(None, None)
    assert len(ours) == 100
    assert ours.endswith(f" {marker}")


def context(**more: Any) -> Any:
    values = {
        "dag_id": "d",
        "run_id": "r",
        "task_id": "t",
        "map_index": None,
        "max_tries": 2,
        "try_number": 1,
    }
    return {"ti": SimpleNamespace(**{**values, **more})}


def test_origin_of_a_task_names_it():
    assert Origin.of(context(), IDENTITY) == Origin("d", "r", "t", -1, IDENTITY)
    assert Origin.of(context(map_index=4), IDENTITY).describe(None, 300).startswith("Airflow: d / r / t[4] ")


def test_without_a_store_retries_derive_the_same_identity_and_every_other_run_another():
    shared = derived_identity(context())
    assert len(shared) == 12
    assert shared == derived_identity(context(try_number=2)) == derived_identity(context(map_index=-1))
    others = [
        context(dag_id="d2"),
        context(run_id="r2"),
        context(task_id="t2"),
        context(map_index=0),
        context(map_index=1),
        context(max_tries=3),
    ]
    assert len({shared, *(derived_identity(other) for other in others)}) == len(others) + 1


def test_an_attempt_that_shares_nothing_derives_an_identity_of_its_own():
    identities = {derived_identity(context(), attempt=attempt) for attempt in (0, 1, 2)}
    assert len(identities) == 3
