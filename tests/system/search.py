"""Everything that an Airflow has written down, as text to search in."""

from __future__ import annotations

import configparser
import contextlib
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

DECRYPTED = " (decrypted)"

Texts = list[tuple[str, str]]
"""Where a text stands, and the text."""


def files(home: Path) -> Texts:
    """Every file below Airflow's home, the database included, as it is on the disk."""
    paths = [path for path in home.rglob("*") if path.is_file()]
    return [(str(path.relative_to(home)), path.read_bytes().decode("latin-1")) for path in paths]


def database(home: Path) -> Texts:
    """Every value of every table: as it is stored, uncompressed, and decrypted with Airflow's own key."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(home / "airflow.cfg")
    fernet = Fernet(config["core"]["fernet_key"])
    with contextlib.closing(sqlite3.connect(f"file:{home / 'airflow.db'}?mode=ro", uri=True)) as connection:
        names = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return [text for name in names for text in _table(connection, name, fernet)]


def _table(connection: sqlite3.Connection, name: str, fernet: Fernet) -> Iterator[tuple[str, str]]:
    rows = connection.execute(f'SELECT * FROM "{name}"')
    columns = [column[0] for column in rows.description]
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            yield from _forms(f"{name}.{column}", value, fernet)


def _forms(place: str, value: Any, fernet: Fernet) -> Iterator[tuple[str, str]]:
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    yield place, text
    with contextlib.suppress(zlib.error, UnicodeEncodeError):
        yield place, zlib.decompress(text.encode("latin-1")).decode("latin-1")
    with contextlib.suppress(InvalidToken):
        yield place + DECRYPTED, fernet.decrypt(text.strip('"').encode()).decode()


def places(texts: Texts, wanted: str) -> set[str]:
    """Return where a text is found."""
    return {place for place, text in texts if wanted in text}
