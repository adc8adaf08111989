"""PostgreSQL for an Airflow, where it is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from local_stack.process import GuardedProcess, Service
from local_stack.unprivileged import can_be_unprivileged, give_to_unprivileged, unprivileged
from local_stack.waiting import wait_for

_OPTIONS = {
    "listen_addresses": "",  # the Unix socket is enough
    "max_connections": "200",
    "fsync": "off",
    # A component that is killed may leave its transaction, with locked rows, to a child that lives on.
    "idle_in_transaction_session_timeout": "60s",
    "full_page_writes": "off",
}


class LocalPostgres(Service):
    """Start PostgreSQL on entering the context; end it and delete its data on leaving.

    PostgreSQL refuses root, and so do the libraries that start it for tests. Here it then runs as ``nobody``.
    """

    def __init__(self) -> None:
        programs = _programs()
        if programs is None:
            raise FileNotFoundError("PostgreSQL is not installed")
        self._programs = programs
        # Not below pytest's folders, which no other user may enter; and the path of a socket has to be short.
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        url = f"://airflow@/postgres?host={self.folder}"
        #: What Airflow has to be told.
        self.settings = {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2{url}",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": f"postgresql+asyncpg{url}",
        }
        options = [part for name, value in _OPTIONS.items() for part in ("-c", f"{name}={value}")]
        self._process = GuardedProcess(
            "PostgreSQL",
            self._command("postgres", "-D", f"{self._data}", "-k", f"{self.folder}", *options),
            folder=self.folder,
        )

    @staticmethod
    def is_installed() -> bool:
        """Whether it can be started here."""
        return _programs() is not None

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _command(self, program: str, *arguments: str) -> list[str]:
        return unprivileged(str(self._programs / program), *arguments)

    def start(self) -> None:
        """Make the database and start PostgreSQL."""
        give_to_unprivileged(self.folder)
        arguments = ["-D", str(self._data), "--username=airflow", "--auth=trust"]
        arguments += ["--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            self._command("initdb", *arguments), cwd=self.folder, check=True, stdout=subprocess.DEVNULL
        )
        self._process.start()
        wait_for(self._answers, what="PostgreSQL answers", pause=0.1)

    def _answers(self) -> bool:
        self._process.check()
        engine = create_engine(self.settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"], poolclass=NullPool)
        try:
            engine.connect().close()
        except OperationalError:
            return False
        return True

    def restart(self) -> None:
        """Shut it down, which ends all connections, and start it again."""
        self._process.stop()
        self._process.start()
        wait_for(self._answers, what="PostgreSQL answers again", pause=0.1)

    def dump(self) -> str:
        """Return all that it holds, as SQL."""
        command = self._command("pg_dump", "--host", str(self.folder), "--username=airflow", "postgres")
        return subprocess.run(
            command, cwd=self.folder, check=True, capture_output=True, text=True, errors="replace"
        ).stdout

    def stop(self) -> None:
        """End it and delete its data."""
        self._process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _programs() -> Path | None:
    """The folder of ``initdb`` and ``postgres``; Debian keeps it out of the PATH."""
    if not can_be_unprivileged():
        return None
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((one for one in folders if (one / "initdb").exists() and (one / "postgres").exists()), None)
