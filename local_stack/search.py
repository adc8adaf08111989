"""Everything that an Airflow has written down, as text to search in."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import create_engine, inspect, text

DECRYPTED = " (decrypted)"

Texts = list[tuple[str, str]]
"""Where a text stands, and the text."""


def files(*folders: Path) -> Texts:
    """Every file below these folders, those of the database included, as it is on the disk."""
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file():
                    found.append((str(path.relative_to(folder)), path.read_bytes().decode("latin-1")))
    return found


def database(url: str, fernet_key: str) -> Texts:
    """Every value of every table: as it is stored, uncompressed, and decrypted with Airflow's own key."""
    fernet = Fernet(fernet_key)
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return [
                form
                for table in inspect(connection).get_table_names()
                for row in connection.execute(text(f'SELECT * FROM "{table}"')).mappings()
                for column, value in row.items()
                for form in _forms(f"{table}.{column}", value, fernet)
            ]
    finally:
        engine.dispose()


def _forms(place: str, value: Any, fernet: Fernet) -> Iterator[tuple[str, str]]:
    stored = bytes(value).decode("latin-1") if isinstance(value, bytes | memoryview) else str(value)
    yield place, stored
    with contextlib.suppress(zlib.error, UnicodeEncodeError):
        yield place, zlib.decompress(stored.encode("latin-1")).decode("latin-1")
    with contextlib.suppress(InvalidToken):
        yield place + DECRYPTED, fernet.decrypt(stored.strip('"').encode()).decode()


def places(texts: Texts, wanted: str) -> set[str]:
    """Return where a text is found."""
    return {place for place, text in texts if wanted in text}
