"""Runs all benchmarks and writes RESULTS.md."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import calls, import_time, planning, signing, waiting
from benchmarks.report import goals_markdown, machine, markdown, show, versions

RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> int:
    """Run all; return 0, whatever the figures."""
    begun = time.monotonic()
    sections = []
    for script in (signing, planning, import_time, calls, waiting):
        section = script.run()
        show(section)
        sections.append(section)
    minutes = (time.monotonic() - begun) / 60
    parts = [
        "# Results",
        f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}, in {minutes:.0f} minutes.",
        f"Machine: {machine()}.",
        f"Versions: {versions()}.",
        "Each table comes from one run in which the contenders take turns, unless it says otherwise. "
        "Figures are medians. Servers are raw asyncio servers in other processes on the same machine, "
        "without TLS.",
        "## Goals",
        goals_markdown(sections),
        *map(markdown, sections),
    ]
    RESULTS.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
