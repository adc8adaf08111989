"""Lists are followed to their end, and only there; each test runs with the sync and the async client."""

from __future__ import annotations

import json

import httpx
import pytest
from wire import ok, reply

from airflow_qianfan.api.actions.finetuning import DescribeFineTuningJobs, DescribeFineTuningTasks
from airflow_qianfan.api.actions.model import DescribeCustomModelSets
from airflow_qianfan.exceptions import QianfanResponseError


def jobs(*ids: str, next_marker: str | None = None, truncated: bool | None = None):
    page_info = {"isTruncated": next_marker is not None if truncated is None else truncated}
    if next_marker is not None:
        page_info["nextMarker"] = next_marker
    return ok({"jobList": [{"jobId": job_id} for job_id in ids], "pageInfo": page_info})


def ids_of(rows) -> list[str]:
    return [row.job_id for row in rows]


def markers(wire) -> list[str | None]:
    return [json.loads(request.content).get("marker") for request in wire.requests]


def test_list_is_followed_to_its_end_and_no_row_comes_twice(connect, wire):
    wire.script(
        jobs("job-1", "job-2", next_marker="job-2"),
        jobs("job-2", "job-3", next_marker="job-4"),
        jobs("job-4", "job-5"),
    )
    rows = connect().rows(DescribeFineTuningJobs(train_mode="SFT", max_keys=2))
    assert ids_of(rows) == ["job-1", "job-2", "job-3", "job-4", "job-5"]
    assert markers(wire) == [None, "job-2", "job-4"]
    assert all(
        json.loads(request.content).items() >= {"trainMode": "SFT", "maxKeys": 2}.items()
        for request in wire.requests
    )


@pytest.mark.parametrize("answer", [ok({}), ok({"jobList": None}), ok({"jobList": []}), jobs()])
def test_empty_list_has_no_rows(answer, connect, wire):
    wire.script(answer)
    assert connect().rows(DescribeFineTuningJobs()) == []
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    ("request_", "list_name", "id_name"),
    [
        (DescribeFineTuningJobs(), "jobList", "jobId"),
        (DescribeFineTuningTasks(job_id="job-1"), "taskList", "taskId"),
        (DescribeCustomModelSets(), "customModelSetList", "modelSetId"),
    ],
    ids=["jobs", "tasks", "model-sets"],
)
def test_each_list_knows_its_rows_and_their_ids(request_, list_name, id_name, connect, wire):
    more = {"isTruncated": True, "nextMarker": "b"}
    wire.script(
        ok({list_name: [{id_name: "a"}, {id_name: "b"}], "pageInfo": more}),
        ok({list_name: [{id_name: "b"}, {id_name: "c"}]}),
    )
    rows = connect().rows(request_)
    assert [row.model_dump(by_alias=True)[id_name] for row in rows] == ["a", "b", "c"]


def new_jobs_for_ever(next_marker):
    """A page of jobs that were never seen before, at whichever marker."""
    numbers = iter(range(1_000_000))

    def answer(request: httpx.Request) -> httpx.Response:
        number = next(numbers)
        return jobs(f"job-{number}", next_marker=next_marker(number))(request)

    return answer


ENDLESS = {
    "same-page-again-and-again": jobs("job-1", "job-2", next_marker="job-1"),
    "says-truncated-without-a-marker": jobs("job-1", truncated=True),
    "says-truncated-with-an-empty-marker": jobs("job-1", next_marker=""),
    "empty-pages": jobs(next_marker="job-9"),
    "same-marker-but-new-rows": new_jobs_for_ever(lambda number: "job-1"),
    "two-markers-in-turn-but-new-rows": new_jobs_for_ever(lambda number: f"job-{number % 2}"),
}


@pytest.mark.parametrize("answer", ENDLESS.values(), ids=ENDLESS)
def test_list_without_an_end_is_an_error_and_not_a_loop(answer, connect, wire):
    wire.script(answer)
    with pytest.raises(QianfanResponseError, match="DescribeFineTuningJobs: the list is incomplete"):
        connect().rows(DescribeFineTuningJobs(), limit=100)
    assert len(wire.requests) <= 4


def test_failing_page_is_read_again(connect, wire, slept):
    wire.script(
        jobs("job-1", next_marker="job-2"), reply(None, 503), httpx.ReadTimeout, jobs("job-2", "job-3")
    )
    assert ids_of(connect().rows(DescribeFineTuningJobs())) == ["job-1", "job-2", "job-3"]


def test_list_is_read_only_as_far_as_it_is_iterated(connect, wire):
    wire.script(jobs("job-1", next_marker="job-2"), jobs("job-2"))
    connect().client.iterate(DescribeFineTuningJobs())
    assert wire.requests == []
