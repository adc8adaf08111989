"""Which run of which task creates something: its name and its mark."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_qianfan.operators.base.origin import Origin


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
