"""Tables for logs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table as lines of text: the first column to the left, all others, numbers, to the right.

    :param header: the names of the columns.
    :param rows: the cells, as many in each row as there are columns.
    """
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def number(value: float | None) -> str:
    """Return a number for a table; a dash where there is none."""
    return "–" if value is None else f"{value:g}"
