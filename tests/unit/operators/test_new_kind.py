"""All that a new Action and a new kind of object need: what stands here, and nothing in any list.

The module stands for ``api/actions/orchard.py`` and what else a new route has: requests and results, the
kind, its trigger, its sensor and its operators. The service behind it is a dict.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterable
from typing import Any, ClassVar

import httpx
import pytest
from airflow.sdk.bases.operator import ExecutorSafeguard
from creating import Store, Work
from pydantic import Field
from wire import ACCESS_KEY, ENDPOINT, SECRET_KEY

from airflow_qianfan.api.actions.base import (
    Action,
    Page,
    PagedRequest,
    Request,
    RequiredText,
    Result,
    RowList,
)
from airflow_qianfan.api.objects import Recognition, RemoteObject, States
from airflow_qianfan.arguments import member, option, templated
from airflow_qianfan.compat import TaskDeferred
from airflow_qianfan.exceptions import QianfanExecutionTimeoutError, QianfanTerminalStateError
from airflow_qianfan.operators.base.operator import QianfanRequestOperator
from airflow_qianfan.operators.base.wait import QianfanWaitingOperator
from airflow_qianfan.sensors.base import QianfanSensor
from airflow_qianfan.triggers.base import cancel
from airflow_qianfan.triggers.base.trigger import QianfanTrigger

# The requests and results of the route


class Tree(RemoteObject):
    """A tree, which is planted and grows."""

    noun: ClassVar[str] = "tree"
    id_name: ClassVar[str] = "tree_id"
    id_member: ClassVar[str] = "tree_id"
    record_key: ClassVar[str] = "qianfan_tree"
    recognised_by: ClassVar[Recognition] = "mark"
    state_member: ClassVar[str] = "run_status"
    states: ClassVar[States | None] = States(
        active=("Planted", "Growing"), succeeded=("Ripe",), failed=("Dead",), stopped=("Felled",)
    )

    tree_id: str
    run_status: str | None = None
    description: str | None = None

    def output(self) -> dict[str, Any]:
        return {"tree_id": self.tree_id, "status": self.status, "run_status": self.run_status}

    @classmethod
    def describe(cls, object_id: str) -> DescribeTree:
        return DescribeTree(tree_id=object_id)

    @classmethod
    def stop(cls, object_id: str) -> StopTree:
        return StopTree(tree_id=object_id)

    @classmethod
    def candidates(cls, client: Any, *, name: str, parent_id: str) -> Iterable[Tree]:
        return client.iterate(DescribeTrees(max_keys=100))


class CreateTreeResult(Result):
    tree_id: RequiredText


class CreateTree(Request, Action[CreateTreeResult]):
    route: ClassVar[str] = "/v2/orchard"

    fruit: RequiredText
    description: str | None = Field(default=None, max_length=100)


class DescribeTree(Request, Action[Tree]):
    route: ClassVar[str] = "/v2/orchard"

    tree_id: RequiredText


class StopTree(Request, Action[bool]):
    route: ClassVar[str] = "/v2/orchard"

    tree_id: RequiredText


class TreePage(Page):
    id_member: ClassVar[str] = "tree_id"
    trees: RowList[Tree] = Field(default_factory=list)

    @property
    def rows(self) -> list[Tree]:
        return self.trees


class DescribeTrees(PagedRequest, Action[TreePage]):
    route: ClassVar[str] = "/v2/orchard"


# Trigger, sensor and operators


class TreeTrigger(QianfanTrigger):
    """Polls a tree until it is ripe."""

    kind_path = "orchard.Tree"
    id_name = "tree_id"


class TreeSensor(QianfanSensor):
    """Waits until a tree is ripe."""

    trigger_path = "orchard.TreeTrigger"

    tree_id: str = templated("the tree.")


class DescribeTreeOperator(QianfanRequestOperator):
    """Describe a tree."""

    action = "orchard.DescribeTree"

    tree_id: str = member("the tree.")


class CreateTreeOperator(QianfanWaitingOperator):
    """Plant a tree, and wait until it is ripe."""

    action = "orchard.CreateTree"
    kind_path = "orchard.Tree"
    trigger_path = "orchard.TreeTrigger"

    fruit: str = member("what it bears.")
    description: str | None = member("what it is for.", default=None, length=(0, 100))
    poll_interval: float | None = option("seconds between two polls at least.", default=0.001)


# The service


class Orchard:
    """Answers each Action; a tree goes one state on with each description, and stays in the last."""

    def __init__(self) -> None:
        self.trees: dict[str, dict[str, Any]] = {}
        self.life = ["Planted", "growing", "RIPE"]
        self.calls: list[str] = []
        self.lost = 0

    def handle(self, request: httpx.Request) -> httpx.Response:
        action, body = request.url.params["Action"], json.loads(request.read())
        assert request.url.path == "/v2/orchard"
        self.calls.append(action)
        result = getattr(self, action)(**body)
        if action.startswith("Create") and self.lost:
            self.lost -= 1
            raise httpx.ReadError("lost", request=request)
        return httpx.Response(200, json={"requestId": "r", "result": result})

    def CreateTree(self, fruit: str, description: str) -> Any:
        tree_id = f"tree-{len(self.trees)}"
        self.trees[tree_id] = {"treeId": tree_id, "description": description, "life": list(self.life)}
        return {"treeId": tree_id}

    def DescribeTree(self, treeId: str) -> Any:
        tree = self.trees[treeId]
        life = tree["life"]
        return self.row(tree, life.pop(0) if len(life) > 1 else life[0])

    def DescribeTrees(self, maxKeys: int) -> Any:
        return {"trees": [self.row(tree, tree["life"][0]) for tree in self.trees.values()]}

    def StopTree(self, treeId: str) -> bool:
        self.trees[treeId]["life"] = ["Felled"]
        return True

    @staticmethod
    def row(tree: dict[str, Any], word: str) -> dict[str, Any]:
        return {"treeId": tree["treeId"], "runStatus": word, "description": tree["description"]}


@pytest.fixture
def orchard(monkeypatch: pytest.MonkeyPatch) -> Orchard:
    """The service, and this module as one of the package's."""
    orchard = Orchard()
    transport = httpx.MockTransport(orchard.handle)

    async def handle_async(_: Any, request: httpx.Request) -> httpx.Response:
        return await transport.handle_async_request(request)

    connection = {
        "conn_type": "qianfan",
        "login": ACCESS_KEY,
        "password": SECRET_KEY,
        "host": ENDPOINT,
        "extra": {"max_retries": 0, "verify": False},
    }
    monkeypatch.setenv("AIRFLOW_CONN_QIANFAN_DEFAULT", json.dumps(connection))
    for room in ("api.actions", "triggers"):
        monkeypatch.setitem(sys.modules, f"airflow_qianfan.{room}.orchard", sys.modules[__name__])
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda _, sent: transport.handle_request(sent))
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle_async)
    return orchard


def context() -> dict[str, Any]:
    work = Work.__new__(Work)
    work.store, work.xcoms = Store(), {}
    return work.context()


def execute(operator: Any, given: dict[str, Any] | None = None) -> Any:
    token = ExecutorSafeguard.tracker.set(operator)
    try:
        return operator.execute(given or context())
    finally:
        ExecutorSafeguard.tracker.reset(token)


def test_operator_of_an_action_calls_it(orchard):
    tree_id = orchard.CreateTree("pear", "")["treeId"]
    result = execute(DescribeTreeOperator(task_id="x", tree_id=tree_id))
    assert result == {"tree_id": tree_id, "status": "Planted", "run_status": "Planted"}


def test_create_waits_on_a_worker(orchard):
    result = execute(CreateTreeOperator(task_id="x", fruit="pear"))
    assert result == {"tree_id": "tree-0", "status": "Ripe", "run_status": "RIPE", "console_url": None}
    assert orchard.calls.count("CreateTree") == 1


def test_retry_attaches_and_lost_create_is_found_by_its_mark(orchard):
    orchard.lost = 1
    given = context()
    for _ in range(2):
        assert execute(CreateTreeOperator(task_id="x", fruit="pear"), given)["tree_id"] == "tree-0"
    assert len(orchard.trees) == 1


def test_failure_is_an_error_with_the_state(orchard):
    orchard.life = ["Planted", "dead"]
    with pytest.raises(QianfanTerminalStateError, match="tree tree-0 ended as Dead"):
        execute(CreateTreeOperator(task_id="x", fruit="pear"))


def test_task_that_is_ended_stops_what_it_created(orchard, monkeypatch):
    orchard.life = ["growing"]
    operator = CreateTreeOperator(task_id="x", fruit="pear")
    monkeypatch.setattr(time, "sleep", lambda _: operator.on_kill() if orchard.trees else None)
    with pytest.raises(QianfanTerminalStateError, match="Felled"):
        execute(operator)
    assert orchard.calls.count("StopTree") == 1


async def wait_in_triggerer(deferred: TaskDeferred) -> Any:
    """Let a trigger run as it comes out of the database."""
    path, arguments = deferred.trigger.serialize()
    assert path == f"{__name__}.TreeTrigger"
    async with asyncio.timeout(60):
        async for event in TreeTrigger(**json.loads(json.dumps(arguments))).run():
            return json.loads(json.dumps(event.payload))
    raise AssertionError("the trigger ended without an event")


async def test_create_waits_in_the_triggerer(orchard):
    operator = CreateTreeOperator(task_id="x", fruit="pear", deferrable=True)
    given = context()
    with pytest.raises(TaskDeferred) as deferred:
        execute(operator, given)
    event = await wait_in_triggerer(deferred.value)
    result = CreateTreeOperator(task_id="x", fruit="pear", deferrable=True).execute_complete(given, event)
    assert (result["tree_id"], result["status"]) == ("tree-0", "Ripe")
    assert len(orchard.trees) == 1


async def test_deadline_stops_what_was_created(orchard):
    given = context()
    with pytest.raises(TaskDeferred):
        execute(CreateTreeOperator(task_id="x", fruit="pear", deferrable=True), given)
    later = CreateTreeOperator(task_id="x", fruit="pear", deferrable=True)
    with pytest.raises(QianfanExecutionTimeoutError, match="tree tree-0 was stopped"):
        later.execute_complete(given, {"status": "timeout", "ids": {"tree_id": "tree-0"}})
    assert orchard.trees["tree-0"]["life"] == ["Felled"]


@pytest.mark.parametrize(
    ("state", "life"), [("failed", ["Felled"]), ("deferred", ["Planted", "growing", "RIPE"])]
)
async def test_only_a_user_who_ends_the_deferred_task_stops_it(orchard, monkeypatch, state, life):
    async def aget_task_state(ti: Any) -> str:
        return state

    monkeypatch.setattr(cancel, "aget_task_state", aget_task_state)
    tree_id = orchard.CreateTree("pear", "")["treeId"]
    await TreeTrigger(tree_id=tree_id, cancel_on_kill=True).on_kill()
    assert orchard.trees[tree_id]["life"] == life


def test_sensor_pokes(orchard):
    tree_id = orchard.CreateTree("pear", "")["treeId"]
    sensor = TreeSensor(task_id="x", tree_id=tree_id)
    pokes = [sensor.poke(context()) for _ in range(3)]
    assert pokes[:2] == [False, False]
    assert pokes[2].xcom_value["status"] == "Ripe"


async def test_sensor_waits_in_the_triggerer(orchard):
    tree_id = orchard.CreateTree("pear", "")["treeId"]
    sensor = TreeSensor(task_id="x", tree_id=tree_id, deferrable=True, poke_interval=0.001)
    with pytest.raises(TaskDeferred) as deferred:
        execute(sensor)
    assert sensor.execute_complete(context(), await wait_in_triggerer(deferred.value))["status"] == "Ripe"
