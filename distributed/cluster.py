"""Airflow with Celery: PostgreSQL, Redis, two workers, two triggerers, and the rest, on this machine."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx
import port_for
from cryptography.fernet import Fernet
from sqlalchemy import Row, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from local_stack.airflow import PASSWORD_FILE, USER, airflow_settings, is_ready
from local_stack.airflow_api import AirflowApi
from local_stack.component import Component
from local_stack.postgres import LocalPostgres
from local_stack.process import Service, child_environment
from local_stack.qianfan import CONNECTION_ID, LocalQianfan
from local_stack.redis import LocalRedis
from local_stack.waiting import PATIENCE, wait_for

T = TypeVar("T")

DAGS = Path(__file__).parent / "dags"
WORKERS = ("worker-1", "worker-2")
TRIGGERERS = ("triggerer-1", "triggerer-2")
HEARTBEAT_SECONDS = 30.0
"""After so long without a sign of life Airflow gives up a task that runs."""
TRIGGERER_SECONDS = 15.0
"""After so long without a sign of life Airflow gives a triggerer's triggers to another."""

_OPTIONS: dict[str, dict[str, object]] = {
    "core": {"executor": "CeleryExecutor", "parallelism": 24, "max_active_tasks_per_dag": 100},
    "celery": {"worker_prefetch_multiplier": 1, "task_acks_late": True, "worker_concurrency": 8},
    "celery_broker_transport_options": {"visibility_timeout": 86400},
    "scheduler": {
        "task_instance_heartbeat_timeout": HEARTBEAT_SECONDS,
        "task_instance_heartbeat_timeout_detection_interval": 5,
        "scheduler_health_check_threshold": 15,
        "orphaned_tasks_check_interval": 10,
        "task_queued_timeout": 60,
    },
    "triggerer": {"triggerer_health_check_threshold": TRIGGERER_SECONDS},
    "qianfan": {"poll_interval": 2, "max_poll_interval": 4, "settle_seconds": 3},
}


def missing() -> list[str]:
    """Return the Debian packages of what is not installed here."""
    found = {"postgresql": LocalPostgres.is_installed(), "redis-server": LocalRedis.is_installed()}
    return [package for package, is_here in found.items() if not is_here]


class Cluster(Service):
    """Start everything on entering the context, and end it on leaving.

    :param folder: where all files go.
    :param task_seconds: how long a training takes.
    """

    def __init__(self, folder: Path, *, task_seconds: float) -> None:
        folder = folder.absolute()
        self.home = folder / "airflow"
        #: Where Airflow writes: its logs, and the output of its components.
        self.folders = (self.home, folder / "components")
        self.fernet_key = Fernet.generate_key().decode()
        token = f"sentinel{secrets.token_hex(20)}"
        self.qianfan = LocalQianfan(
            folder / "emulator",
            task_seconds=task_seconds,
            model_seconds=2,
            session_token=token,
            keep_state=True,
        )
        #: What must be readable nowhere.
        self.secrets = {"secret access key": self.qianfan.secret_key, "session token": token}
        self.postgres = LocalPostgres()
        self.redis = LocalRedis()
        ports = [port_for.select_random() for _ in range(3)]
        password = secrets.token_urlsafe(12)
        self.api = AirflowApi(f"http://127.0.0.1:{ports[0]}", USER, password)
        self._password_file = json.dumps({USER: password})
        self._env = airflow_settings(self.home, DAGS, ports) | self._own_settings()
        self._airflow = str(Path(sys.executable).parent / "airflow")
        self.components = {
            # Airflow notes the user of each process: it tells whose a job in its database is.
            name: Component(
                name, [self._airflow, *arguments], folder=folder / "components", env=env | {"LOGNAME": name}
            )
            for name, arguments, env in self._commands()
        }
        self._running = ExitStack()

    @property
    def database_url(self) -> str:
        """Where Airflow keeps its data, as SQLAlchemy takes it."""
        return self.postgres.settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]

    def _own_settings(self) -> dict[str, str]:
        shared = {
            "core": {"fernet_key": self.fernet_key},
            "api": {"secret_key": secrets.token_urlsafe(32)},
            "celery": {
                "broker_url": self.redis.url,
                "result_backend": f"db+{self.database_url}",
            },
        }
        return self.postgres.settings | {
            f"AIRFLOW__{section}__{name}".upper(): str(value)
            for options in (_OPTIONS, shared)
            for section, values in options.items()
            for name, value in values.items()
        }

    def _commands(self) -> list[tuple[str, list[str], dict[str, str]]]:
        commands = [(name, [name], self._env) for name in ("api-server", "scheduler", "dag-processor")]
        for name in (*WORKERS, *TRIGGERERS):
            is_worker = name in WORKERS
            # Each serves the logs of its tasks on a port of its own.
            option = "WORKER_LOG_SERVER_PORT" if is_worker else "TRIGGER_LOG_SERVER_PORT"
            env = self._env | {f"AIRFLOW__LOGGING__{option}": str(port_for.select_random())}
            arguments = ["celery", "worker", "--celery-hostname", name] if is_worker else ["triggerer"]
            commands.append((name, arguments, env))
        return commands

    def start(self) -> None:
        """Start everything; Airflow's components are not ready yet."""
        for service in (self.postgres, self.redis, self.qianfan):
            self._running.enter_context(service)
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / PASSWORD_FILE).write_text(self._password_file)
        migrate = [self._airflow, "db", "migrate"]
        subprocess.run(migrate, env=child_environment(self._env), check=True, capture_output=True)
        for component in self.components.values():
            self._running.enter_context(component)

    def stop(self) -> None:
        """End everything."""
        self.api.close()
        self._running.close()

    def wait_ready(self) -> None:
        """Wait until Airflow can run DAGs, and give it the connection and all DAGs."""
        wait_for(lambda: is_ready(self.api, None), what="Airflow's components are healthy")
        self.api.add_connection(CONNECTION_ID, self.qianfan.connection)

        def are_parsed() -> bool:
            return is_ready(self.api, "sweep")

        wait_for(are_parsed, what="the DAGs are parsed")
        for dag in self.api.call("GET", "/dags")["dags"]:
            self.api.unpause(dag["dag_id"])

    def wait(
        self,
        read: Callable[[], T],
        done: Callable[[T], bool] = bool,
        *,
        what: str,
        limit: float = 3 * PATIENCE,
    ) -> T:
        """Wait for something while what has ended starts again; what does not answer is asked again."""

        def look() -> T | None:
            for component in self.components.values():
                component.keep()
            try:
                return read()
            except (httpx.HTTPError, OperationalError):
                return None

        def is_done(found: T | None) -> bool:
            return found is not None and done(found)

        return cast(T, wait_for(look, is_done, what=what, timeout=limit, pause=1))

    def query(self, statement: str, **values: Any) -> Sequence[Row[Any]]:
        """Ask Airflow's database.

        :raises OperationalError: it does not answer.
        """
        # A pool would hold connections that PostgreSQL's restart has cut.
        engine = create_engine(self.database_url, poolclass=NullPool)
        with engine.connect() as connection:
            return connection.execute(text(statement), values).all()

    def rest(self, seconds: float) -> None:
        """Let time pass while what has ended starts again."""
        deadline = time.monotonic() + seconds
        self.wait(
            lambda: time.monotonic() >= deadline, what=f"{seconds:g} s have passed", limit=seconds + PATIENCE
        )

    def wait_healthy(self) -> None:
        """Wait until every component runs and says that it is healthy."""

        def is_healthy() -> bool:
            return all(one.is_running for one in self.components.values()) and is_ready(self.api, None)

        self.wait(is_healthy, what="all components are healthy again")
