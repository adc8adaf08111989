"""Writes the table of Actions into README.md; with ``--check`` it only compares."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from airflow_qianfan.get_provider_info import get_provider_info

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- actions: written by docs/actions.py -->\n", "<!-- end of actions -->"


def classes(room: str) -> Iterator[type[Any]]:
    """Yield the public classes of a room, such as ``operators``, in the order in which they are written."""
    for entry in get_provider_info()[room]:
        for name in entry["python-modules"]:
            module = import_module(name)
            yield from (
                value
                for value in vars(module).values()
                if isinstance(value, type)
                and f"{value.__module__}.".startswith(f"{name}.")
                and not value.__name__.startswith("_")
            )


def page_of(operator: type[Any]) -> str:
    """Return the address of the official page that the documentation of a class names."""
    found = re.search(r"https://\S+", operator.__doc__ or "")
    if found is None:
        raise ValueError(f"{operator.__name__} names no official page")
    return found[0]


def table() -> str:
    """Return the table as Markdown."""
    sensors: dict[str, list[str]] = {}
    for sensor in classes("sensors"):
        action = sensor.trigger_class().kind().describe("an id").action
        sensors.setdefault(action, []).append(f"`{sensor.__name__}`")
    lines = ["| Action | Operators and sensors | Official page |", "|---|---|---|"]
    whole_steps = []
    for operator in classes("operators"):
        action = getattr(operator, "action", "").rpartition(".")[2]
        name, page = f"`{operator.__name__}`", f"[page]({page_of(operator)})"
        if operator.__name__ == f"Qianfan{action}Operator":
            lines.append(f"| {action} | {', '.join((name, *sensors.pop(action, [])))} | {page} |")
        else:
            first_line = operator.__doc__.partition("\n")[0].partition(":")[0].rstrip(".")
            whole_steps.append(f"| {first_line} | {name} | {page} |")
    if sensors:
        raise ValueError(f"no operator describes what these sensors wait for: {sensors}")
    return "\n".join((*lines, *whole_steps)) + "\n"


def main(arguments: list[str]) -> int:
    """Write or compare the table, and return the exit code."""
    text = README.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    wanted = f"{before}{BEGIN}\n{table()}\n{END}{after}"
    if "--check" in arguments:
        return 0 if text == wanted else 1
    README.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
