"""Runs all benchmarks and writes RESULTS.md."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import calls, import_time, planning, signing, views, waiting
from benchmarks.report import Section, goals_table, machine, versions

RESULTS = Path(__file__).with_name("RESULTS.md")

ALL: dict[str, Callable[[], Section]] = {
    "signing": signing.run,
    "planning": planning.run,
    "import_time": import_time.run,
    "calls": calls.run,
    "waiting": waiting.run,
    "views": views.run,
}
SHORT: dict[str, Callable[[], Section]] = {
    "signing": lambda: signing.run(1),
    "planning": lambda: planning.run(100),
    "import_time": lambda: import_time.run(1),
    "calls": lambda: calls.run(1),
    "waiting": lambda: waiting.run(20, 100, 500, 5.0),
    "views": lambda: views.run(50, 1),
}


def main() -> None:
    """Run all or some; RESULTS.md is written when all ran in full."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Compare with peers.")
    parser.add_argument(
        "--short", action="store_true", help="only show that they run; the figures mean little"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ALL)}; all without one")
    arguments = parser.parse_args()
    begun, sections = time.monotonic(), []
    for name in arguments.names or ALL:
        sections.append((SHORT if arguments.short else ALL)[name]())
        print(f"\n{sections[-1]}\n", flush=True)
    goals = goals_table(sections)
    print(goals)
    if arguments.short or arguments.names:
        return
    minutes = (time.monotonic() - begun) / 60
    parts = [
        "# Results",
        f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}, in {minutes:.0f} minutes.",
        f"Machine: {machine()}.",
        f"Versions: {versions()}.",
        "All contenders of a table were measured in the same run. Servers are raw asyncio servers in other "
        "processes on the same machine, without TLS. pyperf measures signing and import (CPU time) and "
        "calls, in turns and in new processes; the times are medians with the median absolute deviation.",
        "## Goals",
        goals,
        *map(str, sections),
    ]
    RESULTS.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
