"""What happens to the parts of a distributed Airflow.

Each event waits until it can matter, strikes, and waits for what can be seen of it.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

from distributed import observed
from distributed.cluster import TRIGGERERS, WORKERS, Cluster
from distributed.observed import Attempt, Held
from local_stack.component import Component

T = TypeVar("T")

AWAY_SECONDS = 30.0
"""For how long something is away."""

_OUTPUTS = "worker-*/output.log"
_LOGS = "logs/dag_id=*/**/*.log*"


class NoEffect(RuntimeError):
    """An event has happened, and nothing came of it."""


class Until(Protocol):
    """Wait for something while new runs are started, and return it."""

    def __call__(self, read: Callable[[], T], what: str) -> T: ...


Event = Callable[[Cluster, Until], str]
"""Waits until it can matter, lets it happen, waits until it has had its effect, and returns which.

It raises `NoEffect` or `TimeoutError` where there was none.
"""

EVENTS: dict[str, Event] = {}


def event(name: str) -> Callable[[Event], Event]:
    """Register a function as an event."""

    def register(function: Event) -> Event:
        EVENTS[name] = function
        return function

    return register


@event("worker SIGKILL")
def kill_worker(cluster: Cluster, until: Until) -> str:
    """All processes of a worker end at once, as with its machine."""
    return _lose_worker(cluster, until, signal.SIGKILL)


@event("worker SIGTERM")
def terminate_worker(cluster: Cluster, until: Until) -> str:
    """A worker is told to end: it finishes what it has begun."""
    name, attempts, _ = _strike_worker(cluster, until, signal.SIGTERM, to_all=False)
    found = _fates(cluster, attempts, "held")
    if not found["ended"]:
        raise NoEffect(f"{name} has finished none of its {len(attempts)} tasks")
    return (
        f"{name}: {found['ended']} of {_tasks(attempts)} finished, or left to the triggerer, before it ended"
    )


@event("all processes of a worker SIGTERM")
def terminate_processes(cluster: Cluster, until: Until) -> str:
    """All processes of a worker are told to end, those of tasks too, as some init systems do."""
    return _lose_worker(cluster, until, signal.SIGTERM)


@event("triggerer SIGKILL")
def kill_triggerer(cluster: Cluster, until: Until) -> str:
    """A triggerer ends; its triggers move to the other one, or to its successor."""
    return _lose_triggerer(cluster, until, signal.SIGKILL, to_all=True)


@event("triggerer SIGTERM")
def terminate_triggerer(cluster: Cluster, until: Until) -> str:
    """A triggerer is told to end."""
    return _lose_triggerer(cluster, until, signal.SIGTERM, to_all=False)


@event("triggerer paused, its triggers handed over, woken")
def pause_triggerer(cluster: Cluster, until: Until) -> str:
    """A triggerer stands still until its triggers run elsewhere, and goes on as if nothing had happened."""
    with _caught(cluster, until, TRIGGERERS, _triggers) as (component, held):
        told = _handed_over(cluster, component.name, held)
        woken = observed.now(cluster)
    cluster.wait(
        lambda: observed.is_awake(cluster, component.name, woken), what=f"{component.name} has woken up"
    )
    return f"{told}; it woke up"


@event("scheduler SIGKILL")
def kill_scheduler(cluster: Cluster, until: Until) -> str:
    """The scheduler ends, and another takes over."""
    until(lambda: observed.running(cluster), what="a task runs")
    old = observed.job(cluster, "SchedulerJob", "scheduler")
    cluster.components["scheduler"].send(signal.SIGKILL, to_all=True)

    def queued() -> int:
        new = observed.job(cluster, "SchedulerJob", "scheduler")
        return observed.queued_by(cluster, new) if new > old else 0

    return f"{until(queued, what='another scheduler queues tasks')} tasks queued or adopted by another"


@event("API server away")
def lose_api_server(cluster: Cluster, until: Until) -> str:
    """Tasks cannot reach Airflow."""
    attempts = until(lambda: observed.running(cluster), what="a task runs")
    component = cluster.components["api-server"]
    component.stop()
    try:
        away = observed.now(cluster)
        cluster.rest(AWAY_SECONDS)
        if heard := observed.heartbeats(cluster, attempts, away):
            raise NoEffect(f"{heard} tasks have reached Airflow all the same")
    finally:
        component.start()
    back = observed.now(cluster)
    heard = cluster.wait(
        lambda: observed.heartbeats(cluster, attempts, back), what="a task that ran reaches Airflow again"
    )
    return f"{_tasks(attempts)} not heard for {AWAY_SECONDS:g} s, {heard} of them heard again first"


@event("Redis SIGKILL")
def kill_redis(cluster: Cluster, until: Until) -> str:
    """The broker ends, and starts again with what it has written down."""
    lost = "Connection to broker lost"
    until(lambda: observed.messages_of_running(cluster), what="workers run tasks of the broker")
    before = observed.times_written(cluster, lost, _OUTPUTS)
    cluster.redis.kill()
    try:
        cluster.wait(
            lambda: observed.times_written(cluster, lost, _OUTPUTS) >= before + len(WORKERS),
            what="each worker has lost the broker",
        )
    finally:
        cluster.redis.start()
    kept = len(cluster.redis.taken())
    return f"both workers lost it; {kept} taken messages kept; {_goes_on(cluster, until)}"


@event("PostgreSQL restart")
def restart_postgres(cluster: Cluster, until: Until) -> str:
    """All connections to the database are cut; a component that ends by that starts again."""
    until(lambda: observed.running(cluster), what="a task runs")
    before, cut = observed.started(cluster), observed.connections(cluster)
    cluster.postgres.restart()
    if observed.started(cluster) == before:
        raise NoEffect("it is the same PostgreSQL as before")
    return f"{cut} connections cut; {_goes_on(cluster, until)}"


@event("worker paused, its tasks given to others, woken")
def pause_worker(cluster: Cluster, until: Until) -> str:
    """A worker stands still until Airflow has given its tasks up, and then goes on with them."""
    with _caught(cluster, until, WORKERS, observed.running) as (component, attempts):
        told = _given_to_others(cluster, component.name, attempts)
    pids = {attempt.pid for attempt in attempts}
    cluster.wait(
        lambda: not pids & {process.pid for process in component.processes()},
        what=f"{component.name} has woken up and left the tasks that it has lost",
    )
    return f"{told}; it woke up and left them"


@event("Qianfan away")
def lose_qianfan(cluster: Cluster, until: Until) -> str:
    """The service does not answer."""
    failed = "tolerated in a row"
    until(lambda: observed.waiting(cluster), what="a task waits for Qianfan")
    before = observed.times_written(cluster, failed, _LOGS)
    cluster.qianfan.kill()
    try:
        cluster.rest(AWAY_SECONDS)
        cluster.wait(
            lambda: observed.times_written(cluster, failed, _LOGS) > before, what="a poll of Qianfan fails"
        )
    finally:
        cluster.qianfan.start()
    polls = observed.times_written(cluster, failed, _LOGS) - before
    asked = len(cluster.qianfan.journal())
    cluster.wait(lambda: len(cluster.qianfan.journal()) > asked, what="Qianfan is asked again")
    return f"{AWAY_SECONDS:g} s; {polls} polls failed"


@event("tasks delivered twice by the broker")
def deliver_twice(cluster: Cluster, until: Until) -> str:
    """Celery gets tasks again that are being run, as when its visibility timeout is over."""

    until(lambda: len(observed.messages_of_running(cluster)) >= 2, what="workers run two tasks")
    run, delivered = observed.messages_of_running(cluster), cluster.redis.deliver_again()
    if not run & delivered:
        raise NoEffect(f"none of the {len(delivered)} tasks delivered again was running")

    def are_taken() -> bool:
        return all(
            observed.times_written(cluster, f"[{one}] Executing workload", _OUTPUTS) > 1 for one in delivered
        )

    cluster.wait(are_taken, what="a worker takes each task that is delivered again a second time")
    return f"{len(delivered)} tasks taken a second time, {len(run & delivered)} of them while they ran"


def _lose_worker(cluster: Cluster, until: Until, number: signal.Signals) -> str:
    name, attempts, began = _strike_worker(cluster, until, number, to_all=True)
    return _given_to_others(cluster, name, attempts, began)


def _strike_worker(
    cluster: Cluster, until: Until, number: signal.Signals, *, to_all: bool
) -> tuple[str, list[Attempt], float]:
    with _caught(cluster, until, WORKERS, observed.running) as (component, attempts):
        starts, began = component.starts, time.monotonic()
        component.send(number, to_all=to_all)
    _wait_for_start(cluster, component, starts)
    return component.name, attempts, began


def _given_to_others(
    cluster: Cluster, name: str, attempts: Collection[Attempt], began: float | None = None
) -> str:
    began = time.monotonic() if began is None else began
    found = _fates(cluster, attempts, "held", "given up")
    if not found["anew"]:
        raise NoEffect(f"none of the {len(attempts)} tasks of {name} was begun anew")
    return f"{name}: {found['anew']} of {_tasks(attempts)} begun anew after {_seconds_since(began)}"


def _fates(cluster: Cluster, attempts: Collection[Attempt], *until_none: str) -> dict[str, int]:
    """Wait until none of the attempts is in these states any more."""
    last: dict[str, int] = {}

    def is_over() -> bool:
        nonlocal last
        last = observed.fates(cluster, attempts)
        return not any(last[state] for state in until_none)

    cluster.wait(is_over, what=f"no task that was hit is {' or '.join(until_none)}")
    return last


def _lose_triggerer(cluster: Cluster, until: Until, number: signal.Signals, *, to_all: bool) -> str:
    with _caught(cluster, until, TRIGGERERS, _triggers) as (component, held):
        starts = component.starts
        component.send(number, to_all=to_all)
    # It may have told its last events before it ended.
    told = _handed_over(cluster, component.name, held, is_silent=number == signal.SIGKILL)
    _wait_for_start(cluster, component, starts)
    return told


def _handed_over(cluster: Cluster, name: str, held: Collection[Held], *, is_silent: bool = True) -> str:
    """Wait until another triggerer has all these triggers.

    :param is_silent: whether theirs can tell nothing, so that what has ended has ended elsewhere.
    """
    began = time.monotonic()
    before = {one.trigger: one.triggerer for one in held}
    moved: set[int] = set()

    def have_moved() -> bool:
        now = {one.trigger: one.triggerer for one in observed.waiting(cluster) if one.trigger in before}
        stay = {one for one, triggerer in now.items() if triggerer in (None, before[one])}
        moved.update(now.keys() - stay)
        if is_silent:
            moved.update(before.keys() - now.keys())
        return not stay

    cluster.wait(have_moved, what=f"another triggerer has the triggers of {name}")
    if not moved:
        raise NoEffect(f"none of the {len(held)} triggers of {name} was handed over")
    return f"{name}: {len(moved)} of {len(held)} triggers handed over after {_seconds_since(began)}"


def _triggers(cluster: Cluster, component: Component) -> list[Held]:
    triggerer = observed.job(cluster, "TriggererJob", component.name)
    return [held for held in observed.waiting(cluster) if held.triggerer == triggerer]


@contextmanager
def _caught(
    cluster: Cluster, until: Until, names: Sequence[str], look: Callable[[Cluster, Component], list[T]]
) -> Iterator[tuple[Component, list[T]]]:
    """Pause the component that holds most, so that it is known what it loses; wake it after."""

    def catch() -> tuple[Component, list[T]] | None:
        components = [one for name in names if (one := cluster.components[name]).is_running]
        component = max(components, key=lambda one: len(look(cluster, one)), default=None)
        if component is None or not look(cluster, component):
            return None
        component.pause()
        held: list[T] = []
        try:
            held = look(cluster, component)
        finally:
            if not held:
                component.resume()
        return (component, held) if held else None

    caught = until(catch, what=f"{' or '.join(names)} has something to lose")
    assert caught is not None
    try:
        yield caught
    finally:
        caught[0].resume()


def _wait_for_start(cluster: Cluster, component: Component, starts: int) -> None:
    cluster.wait(lambda: component.starts > starts, what=f"{component.name} has started again")


def _goes_on(cluster: Cluster, until: Until) -> str:
    """Wait until tasks are queued and begun."""
    since = observed.now(cluster)
    begun = until(lambda: observed.begun_since(cluster, since), what="a task is queued and begun")
    return f"{begun} tasks queued and begun first"


def _tasks(attempts: Collection[Attempt]) -> str:
    return f"{len(attempts)} task{'s' if len(attempts) > 1 else ''}"


def _seconds_since(began: float) -> str:
    return f"{time.monotonic() - began:.0f} s"
