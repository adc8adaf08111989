"""Records, clock and journal, kept in memory and, if a state file is given, on disk before each answer."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from airflow_qianfan.emulator.records import Record

_VERSION = 1
_SCHEMA = """
CREATE TABLE record (kind TEXT, id TEXT, data TEXT, PRIMARY KEY (kind, id));
CREATE TABLE journal (seq INTEGER PRIMARY KEY, data TEXT);
CREATE TABLE clock (offset REAL);
INSERT INTO clock VALUES (0);
"""
_MAX_OFFSET = 100 * 365 * 86400

RecordT = TypeVar("RecordT", bound=Record)


class StateError(Exception):
    """The state file cannot be used."""


class Store:
    """The memory of the emulator. Not thread-safe: its owner holds a lock.

    One SQLite transaction holds all that an action changed and its journal entry, so a process that is killed
    leaves either both or neither. The file belongs to one emulator at a time.

    :param path: state file; None keeps everything in memory only.
    :param clock: returns the time in seconds since the epoch.
    """

    def __init__(self, path: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.clock = clock
        self._connection: sqlite3.Connection | None = None
        self._pending: list[tuple[str, tuple[Any, ...]]] = []
        self._clear_memory()

    def _clear_memory(self) -> None:
        self._tables: dict[str, dict[str, Record]] = {}
        self.journal: list[dict[str, Any]] = []
        self.offset = 0.0

    def table(self, cls: type[RecordT]) -> dict[str, RecordT]:
        """Return all records of one kind by their ids, oldest first. ``put`` and ``remove`` change them."""
        return cast("dict[str, RecordT]", self._tables.setdefault(cls.kind, {}))

    def now(self) -> float:
        """Return the time of the service, in seconds since the epoch: the clock plus what it was advanced."""
        return self.clock() + self.offset

    def open(self) -> None:
        """Read the state file, or create it.

        :raises StateError: if the file is broken, is something else or is in use.
        """
        if self.path is None or self._connection is not None:
            return
        try:
            connection = sqlite3.connect(
                self.path, timeout=0.5, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise StateError(f"cannot open the state file {self.path}: {error}") from None
        try:
            self._load(connection)
        except (sqlite3.Error, ValueError, TypeError) as error:
            connection.close()
            reason = "another process uses it" if "locked" in str(error) else str(error)
            raise StateError(f"cannot use the state file {self.path}: {reason}") from None
        self._connection = connection

    def _load(self, connection: sqlite3.Connection) -> None:
        # The operating system keeps what a killed process wrote; waiting for the disk would only guard
        # against a power cut and cost milliseconds in every answer.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        connection.execute("COMMIT")
        if version == 0 and tables == 0:
            connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        elif version != _VERSION:
            raise ValueError("it was not written by this version of the emulator")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise ValueError("it is damaged")
        self._clear_memory()
        for kind, data in connection.execute("SELECT kind, data FROM record ORDER BY rowid"):
            record = _read(kind, data)
            self.table(type(record))[record.id] = record
        rows = connection.execute("SELECT data FROM journal ORDER BY seq")
        self.journal = [json.loads(data) for (data,) in rows]
        (self.offset,) = connection.execute("SELECT offset FROM clock").fetchone()

    def close(self) -> None:
        """Close the state file; what is in memory stays."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def put(self, record: Record) -> None:
        """Add or change a record; ``commit`` makes it last."""
        self.table(type(record))[record.id] = record
        sql = "INSERT INTO record VALUES (?, ?, ?) ON CONFLICT (kind, id) DO UPDATE SET data = excluded.data"
        self._pending.append((sql, (record.kind, record.id, json.dumps(asdict(record)))))

    def remove(self, record: Record) -> None:
        """Delete a record; ``commit`` makes it last."""
        del self.table(type(record))[record.id]
        self._pending.append(("DELETE FROM record WHERE kind = ? AND id = ?", (record.kind, record.id)))

    def commit(self, entry: dict[str, Any]) -> None:
        """Write the changes since the last commit together with their journal entry."""
        entry = {"seq": len(self.journal) + 1, **entry}
        self.journal.append(entry)
        self._pending.append(("INSERT INTO journal VALUES (?, ?)", (entry["seq"], json.dumps(entry))))
        self._flush()

    def advance(self, seconds: float) -> None:
        """Move the clock of the service forward."""
        if not 0 <= self.offset + seconds <= _MAX_OFFSET or seconds < 0:
            raise ValueError("seconds must be positive, and the clock cannot be moved more than 100 years")
        self.offset += seconds
        self._pending.append(("UPDATE clock SET offset = ?", (self.offset,)))
        self._flush()

    def reset(self) -> None:
        """Forget everything, the journal and the moved clock included."""
        self._clear_memory()
        self._pending = [(f"DELETE FROM {table}", ()) for table in ("record", "journal")]  # noqa: S608
        self._pending.append(("UPDATE clock SET offset = 0", ()))
        self._flush()

    def _flush(self) -> None:
        statements, self._pending = self._pending, []
        if self._connection is None:
            return
        self._connection.execute("BEGIN")
        for sql, values in statements:
            self._connection.execute(sql, values)
        self._connection.execute("COMMIT")


@dataclass(kw_only=True)
class View:
    """The service at a time.

    :param store: what it remembers.
    :param now: the time, in seconds since the epoch.
    :param past: whether that lies back, so that objects which came later are not there.
    """

    store: Store
    now: float
    past: bool = False

    def all(self, cls: type[RecordT]) -> list[RecordT]:
        """Return the records of one kind, oldest first."""
        return [record for record in self.store.table(cls).values() if self._exists(record)]

    def get(self, cls: type[RecordT], record_id: str) -> RecordT | None:
        """Return the record with an id, None if there is none."""
        record = self.store.table(cls).get(record_id)
        return record if record is not None and self._exists(record) else None

    def _exists(self, record: Record) -> bool:
        if record.appears is not None and record.appears > self.now:
            return False
        # Only then: a system clock that is set back must not hide anything.
        return not self.past or record.created <= self.now


def _read(kind: str, data: str) -> Record:
    if kind not in Record.kinds:
        raise ValueError(f"it holds objects of the kind {kind!r}, which this version does not know")
    try:
        return Record.kinds[kind](**json.loads(data))
    except TypeError:
        raise ValueError(f"its objects of the kind {kind!r} have members that this version lacks") from None
