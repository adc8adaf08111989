"""A complete Airflow (``airflow standalone``) with its own home, ports and password."""

from __future__ import annotations

import configparser
import contextlib
import json
import re
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx
import port_for
import psutil

from local_stack.airflow_api import AirflowApi
from local_stack.process import GuardedProcess, ProcessFailed, Service, child_environment
from local_stack.waiting import PATIENCE, wait_for

ROOT = Path(__file__).parent.parent
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
USER = "admin"

PASSWORD_FILE = "simple_auth_manager_passwords.json"
_LEFTOVERS = (
    "airflow.cfg",
    "airflow.db",
    "airflow.db-shm",
    "airflow.db-wal",
    "logs",
    "extra",
    PASSWORD_FILE,
)
#: Command lines (Airflow renames some of its processes) of what `LocalAirflow.processes` can find.
_COMMAND_LINES = {
    "api-server": re.compile(r"airflow api[-_]server\b"),
    "scheduler": re.compile(r"airflow scheduler\b"),
    "dag-processor": re.compile(r"airflow dag-processor\b"),
    "triggerer": re.compile(r"airflow triggerer\b"),
    "supervisor": re.compile(r"airflow worker -- LocalExecutor: (?!<idle>)"),
    "task": re.compile(r"airflow worker -- [0-9a-f]{8}-"),
}


class LocalAirflow(Service):
    """Start Airflow on entering the context, and end all of its processes on leaving it.

    :param home: AIRFLOW_HOME. What an earlier run left there is deleted.
    :param dags_folder: Folder with the DAG files.
    :param env: More environment variables. Without ``AIRFLOW__DATABASE__SQL_ALCHEMY_CONN``, it uses SQLite.
    """

    def __init__(
        self,
        home: Path,
        *,
        dags_folder: Path = ROOT / "dags_examples",
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.home = home.absolute()
        self.password = secrets.token_urlsafe(12)
        ports = [port_for.select_random() for _ in range(3)]
        self.url = f"http://127.0.0.1:{ports[0]}"
        self.api = AirflowApi(self.url, USER, self.password)
        self._env = airflow_settings(self.home, dags_folder.absolute(), ports) | dict(env or {})
        self._airflow = str(Path(sys.executable).parent / "airflow")
        self._main = GuardedProcess(
            "Airflow",
            [self._airflow, "standalone"],
            folder=self.home,
            env=self._env,
            leftovers=_LEFTOVERS,
            # Airflow generates passwords only for users that are missing in this file.
            files={PASSWORD_FILE: json.dumps({USER: self.password})},
        )
        self._extra: list[GuardedProcess] = []
        self._seen: set[str] = set()

    @property
    def log_path(self) -> Path:
        """The output of all components."""
        return self._main.log_path

    def output(self) -> str:
        """What all components have written, those of `start_component` too."""
        paths = [process.log_path for process in [self._main, *self._extra]]
        return "".join(path.read_text(errors="replace") for path in paths)

    @property
    def database_url(self) -> str:
        """Where Airflow keeps its data, as SQLAlchemy takes it."""
        return self._env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]

    @property
    def fernet_key(self) -> str:
        """With what Airflow encrypts in its database."""
        config = configparser.ConfigParser(interpolation=None)
        config.read(self.home / "airflow.cfg")
        return config["core"]["fernet_key"]

    def start(self) -> None:
        """Start all components; they are not ready yet."""
        self._main.start()

    def stop(self) -> None:
        """End every process that was started; may be called repeatedly."""
        for process in [*self._extra, self._main]:
            process.stop()
        self.api.close()

    def wait_ready(self, dag_id: str | None = None, *, timeout: float = PATIENCE) -> None:
        """Wait until every component is healthy and the DAG ``dag_id``, if given, can be triggered.

        :raises ProcessFailed: if a component ends or a DAG file is broken.
        """

        def can_run() -> bool:
            self.check()
            return is_ready(self.api, dag_id)

        try:
            wait_for(can_run, what="all components are healthy and the DAG is parsed", timeout=timeout)
        except TimeoutError:
            raise self._main.failure(f"was not ready within {timeout:g} s") from None

    def check(self) -> None:
        """Raise `ProcessFailed` if Airflow or one of its components has ended by itself."""
        self._main.check()
        running = {name for name in COMPONENTS if self.pids(name)}
        if gone := self._seen - running:
            raise self._main.failure(f"lost its {', '.join(sorted(gone))}")
        self._seen |= running

    def processes(self) -> list[psutil.Process]:
        """Every process of this Airflow."""
        return [process for part in (self._main, *self._extra) for process in part.descendants()]

    def processes_named(self, beginning: str) -> list[psutil.Process]:
        """The running processes of this Airflow whose command line begins so."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):  # it may end while it is looked at
                if " ".join(process.cmdline()).startswith(beginning):
                    found.append(process)
        return found

    def pids(self, component: str) -> list[int]:
        """Process ids of a component: one of `COMPONENTS`, or ``supervisor`` or ``task`` of running tasks."""
        pattern = _COMMAND_LINES[component]
        found: dict[int, int] = {}
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if pattern.search(" ".join(process.cmdline())):
                    found[process.pid] = process.ppid()
        if component in COMPONENTS:  # and not a fork of one, whose command line is the same
            started = {process.pid for process in self._extra}
            return sorted(pid for pid in found if pid in started or found[pid] == self._main.pid)
        return sorted(pid for pid in found if found[pid] not in found)

    def kill(self, component: str) -> list[int]:
        """End a component with SIGKILL, as a crash does; its own child processes stay."""
        pids = self.pids(component)
        for pid in pids:
            psutil.Process(pid).kill()
        return pids

    def start_component(self, component: str, env: Mapping[str, str] | None = None) -> None:
        """Start one more process of a component, for example after `kill`.

        :param env: What its environment has besides that of the others.
        """
        ports = {
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(port_for.select_random()),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(port_for.select_random()),
        }
        process = GuardedProcess(
            f"Airflow's {component}",
            [self._airflow, component],
            folder=self.home / "extra" / f"{component}-{len(self._extra)}",
            env=self._env | ports | dict(env or {}),
        )
        self._extra.append(process)
        process.start()

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command, such as ``connections test qianfan_default``, and return how it ended."""
        return subprocess.run(
            [self._airflow, *arguments],
            env=child_environment(self._env),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


def is_ready(api: AirflowApi, dag_id: str | None) -> bool:
    """Return whether every component is healthy and the DAG, if given, can be triggered.

    :raises ProcessFailed: a DAG file is broken.
    """
    try:
        health = api.health()
        if not all(health.get(name) == "healthy" for name in ("scheduler", "dag_processor", "triggerer")):
            return False
        if dag_id is None or api.has_dag(dag_id):
            return True
        errors = api.import_errors()
    except httpx.TransportError:
        return False
    if errors:
        raise ProcessFailed(f"The DAG {dag_id} cannot be loaded:\n" + "\n".join(errors))
    return False


def airflow_settings(home: Path, dags_folder: Path, ports: list[int]) -> dict[str, str]:
    """Return Airflow's configuration: everything below ``home``, free ports, and short intervals.

    :param ports: of the API server, and of the log servers of worker and triggerer.
    """
    api_port, worker_log_port, trigger_log_port = ports
    options: dict[str, dict[str, object]] = {
        "core": {
            "dags_folder": dags_folder,
            "plugins_folder": home / "plugins",
            "load_examples": False,
            "executor": "LocalExecutor",
            "parallelism": 4,
            # The default asks the name servers.
            "hostname_callable": "socket.gethostname",
            "execution_api_server_url": f"http://127.0.0.1:{api_port}/execution/",
            "simple_auth_manager_users": f"{USER}:admin",
            "simple_auth_manager_passwords_file": home / PASSWORD_FILE,
        },
        # SQLite waits 5 s for a lock by default; a scheduler that gives up ends.
        "database": {"sql_alchemy_conn": f"sqlite:///{home / 'airflow.db'}?timeout=60"},
        "logging": {
            "base_log_folder": home / "logs",
            "worker_log_server_port": worker_log_port,
            "trigger_log_server_port": trigger_log_port,
        },
        "api": {"host": "127.0.0.1", "port": api_port, "base_url": f"http://127.0.0.1:{api_port}"},
        "api_auth": {"jwt_secret": secrets.token_urlsafe(64)},
        "workers": {"min_heartbeat_interval": 1},
        "scheduler": {
            "scheduler_idle_sleep_time": 0.3,
            "job_heartbeat_sec": 2,
            "trigger_timeout_check_interval": 2,
        },
        "triggerer": {"job_heartbeat_sec": 2},
        "dag_processor": {"refresh_interval": 5, "bundle_refresh_check_interval": 1},
    }
    settings = {
        f"AIRFLOW__{section}__{option}".upper(): str(value)
        for section, values in options.items()
        for option, value in values.items()
    }
    return settings | {"AIRFLOW_HOME": str(home), "NO_COLOR": "1"}
