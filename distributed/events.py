"""What happens to the parts of a distributed Airflow."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from distributed.cluster import HEARTBEAT_SECONDS, TRIGGERER_SECONDS, Cluster

AWAY_SECONDS = 30.0
"""For how long something is away."""

Event = Callable[[Cluster], str]
"""Lets it happen, waits until it is over, and returns what is worth to be told."""

EVENTS: dict[str, Event] = {}


def event(name: str) -> Callable[[Event], Event]:
    """Register a function as an event."""

    def register(function: Event) -> Event:
        EVENTS[name] = function
        return function

    return register


@event("worker SIGKILL")
def kill_worker(cluster: Cluster) -> str:
    """All processes of a worker end at once, as with its machine."""
    return _kill(cluster, "worker-1")


@event("worker SIGTERM")
def terminate_worker(cluster: Cluster) -> str:
    """A worker is told to end: it finishes what it has begun."""
    return _send(cluster, "worker-2", signal.SIGTERM, to_all=False)


@event("all processes of a worker SIGTERM")
def terminate_processes(cluster: Cluster) -> str:
    """All processes of a worker are told to end, those of tasks too, as some init systems do."""
    return _send(cluster, "worker-1", signal.SIGTERM, to_all=True)


@event("triggerer SIGKILL")
def kill_triggerer(cluster: Cluster) -> str:
    """A triggerer ends; its triggers move to the other one, or to its successor."""
    return _kill(cluster, "triggerer-1")


@event("triggerer SIGTERM")
def terminate_triggerer(cluster: Cluster) -> str:
    """A triggerer is told to end."""
    return _send(cluster, "triggerer-2", signal.SIGTERM, to_all=False)


@event("triggerer paused, its triggers handed over, woken")
def pause_triggerer(cluster: Cluster) -> str:
    """A triggerer stands still until its triggers run elsewhere, and goes on as if nothing had happened."""
    with _paused(cluster, "triggerer-1"):
        cluster.rest(2 * TRIGGERER_SECONDS)
    return ""


@event("scheduler SIGKILL")
def kill_scheduler(cluster: Cluster) -> str:
    """The scheduler ends, and another takes over."""
    return _kill(cluster, "scheduler")


@event("API server away")
def lose_api_server(cluster: Cluster) -> str:
    """Tasks cannot reach Airflow."""
    cluster.components["api-server"].stop()
    cluster.rest(AWAY_SECONDS)
    cluster.components["api-server"].start()
    return f"{AWAY_SECONDS:g} s"


@event("Redis SIGKILL")
def kill_redis(cluster: Cluster) -> str:
    """The broker ends, and starts again with what it has written down."""
    cluster.redis.kill()
    cluster.rest(2)
    cluster.redis.start()
    return ""


@event("PostgreSQL restart")
def restart_postgres(cluster: Cluster) -> str:
    """All connections to the database are cut; most components end, and start again."""
    cluster.postgres.restart()
    return ""


@event("worker paused, its tasks given to others, woken")
def pause_worker(cluster: Cluster) -> str:
    """A worker stands still until Airflow has given its tasks up, and then goes on with them."""
    with _paused(cluster, "worker-2"):
        cluster.rest(2 * HEARTBEAT_SECONDS)
    return ""


@event("Qianfan away")
def lose_qianfan(cluster: Cluster) -> str:
    """The service does not answer."""
    cluster.qianfan.kill()
    cluster.rest(AWAY_SECONDS)
    cluster.qianfan.start()
    return f"{AWAY_SECONDS:g} s"


@event("tasks delivered twice by the broker")
def deliver_twice(cluster: Cluster) -> str:
    """Celery gets tasks again that are being run, as when its visibility timeout is over."""
    cluster.wait(lambda: cluster.redis.taken() >= 2, what="workers run two tasks")
    return f"{cluster.redis.deliver_again()} tasks"


def _kill(cluster: Cluster, name: str) -> str:
    return _send(cluster, name, signal.SIGKILL, to_all=True)


def _send(cluster: Cluster, name: str, number: signal.Signals, *, to_all: bool) -> str:
    component = cluster.components[name]
    starts = component.starts
    component.send(number, to_all=to_all)
    cluster.wait(lambda: component.starts > starts, what=f"{name} has started again")
    return name


@contextmanager
def _paused(cluster: Cluster, name: str) -> Iterator[None]:
    component = cluster.components[name]
    component.pause()
    try:
        yield
    finally:
        component.resume()
