"""Tables, goals and where time goes: on the terminal and as Markdown."""

from __future__ import annotations

import cProfile
import io
import platform
import pstats
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table as RichTable

ROUNDS = 5

PACKAGES = (
    "apache-airflow",
    "httpx",
    "pydantic",
    "tenacity",
    "bce-python-sdk",
    "qianfan",
    "apache-airflow-providers-databricks",
    "apache-airflow-providers-dbt-cloud",
    "apache-airflow-providers-amazon",
    "aiobotocore",
    "apache-airflow-providers-openai",
)


@dataclass
class Table:
    """Figures of one run; the first column names the contender."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: str = ""


@dataclass
class Goal:
    """What should be reached, and what was."""

    wanted: str
    measured: str
    reached: bool
    limit: str = ""


@dataclass
class Section:
    """All that one script found out."""

    name: str
    tables: list[Table]
    goals: list[Goal] = field(default_factory=list)
    profile: str = ""
    """Where the time goes; shown where a goal was not reached."""

    @property
    def missed(self) -> bool:
        """Whether a goal was not reached."""
        return not all(goal.reached for goal in self.goals)


def show(section: Section) -> None:
    """Print a section."""
    console = Console(width=max(Console().width, 130))
    for table in section.tables:
        drawn = RichTable(title=table.title, caption=table.notes or None, title_justify="left")
        for number, column in enumerate(table.columns):
            drawn.add_column(column, justify="left" if number == 0 else "right")
        for row in table.rows:
            drawn.add_row(*row)
        console.print(drawn)
    for goal in section.goals:
        mark = "[green]reached[/]" if goal.reached else "[red]missed [/]"
        console.print(f"{mark} {goal.wanted}: {goal.measured}", highlight=False)
        if goal.limit and not goal.reached:
            console.print(f"        {goal.limit}", highlight=False)
    if section.missed and section.profile:
        console.print(section.profile, highlight=False, markup=False)


def markdown(section: Section) -> str:
    """Return a section for RESULTS.md."""
    parts = [f"## {section.name}"]
    for table in section.tables:
        lines = [f"| {' | '.join(table.columns)} |", "|---|" + "---:|" * (len(table.columns) - 1)]
        lines += [f"| {' | '.join(row)} |" for row in table.rows]
        parts += [f"**{table.title}**", "\n".join(lines)]
        if table.notes:
            parts.append(table.notes)
    if section.missed and section.profile:
        parts += ["Where the time goes:", f"```text\n{section.profile}\n```"]
    return "\n\n".join(parts)


def goals_markdown(sections: Iterable[Section]) -> str:
    """Return the table of all goals."""
    lines = ["| Goal | Measured | |", "|---|---|---|"]
    for section in sections:
        for goal in section.goals:
            verdict = "reached" if goal.reached else f"**missed**: {goal.limit}"
            lines.append(f"| {goal.wanted} | {goal.measured} | {verdict} |")
    return "\n".join(lines)


def machine() -> str:
    """Return what the figures were measured on, without anything that identifies the machine."""
    memory = psutil.virtual_memory().total / 2**30
    cores = f"{psutil.cpu_count(logical=False)} cores, {psutil.cpu_count()} threads"
    return f"{_cpu()}, {cores}, {memory:.0f} GiB; {platform.system()}, Python {platform.python_version()}"


def versions() -> str:
    """Return the versions of the packages that are compared."""
    return ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)


def interleaved(
    contenders: Mapping[str, Callable[[], float]], rounds: int = ROUNDS
) -> dict[str, list[float]]:
    """Measure all contenders in turn, round after round, each round beginning with another one."""
    names = list(contenders)
    figures: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            figures[name].append(contenders[name]())
    return figures


def ratio(figures: Mapping[str, list[float]], name: str, base: str) -> float:
    """Return the median over the rounds of one contender's figure divided by another's."""
    pairs = zip(figures[name], figures[base], strict=True)
    return statistics.median(one / other for one, other in pairs)


def spread(values: list[float], form: str = ",.0f") -> str:
    """Return the median with the lowest and highest value."""
    middle = statistics.median(values)
    return f"{middle:{form}} ({min(values):{form}} to {max(values):{form}})"


def profile_of(work: Callable[[], object], lines: int = 12) -> str:
    """Return the functions in which work spends most of its time, without their folders."""
    profiler = cProfile.Profile()
    profiler.runcall(work)
    return top_lines(profiler, lines)


def top_lines(profiler: cProfile.Profile, lines: int = 12) -> str:
    """Return the head of a profile, by each function's own time."""
    text = io.StringIO()
    pstats.Stats(profiler, stream=text).strip_dirs().sort_stats("tottime").print_stats(lines)
    rows = [line.rstrip() for line in text.getvalue().splitlines()]
    start = next(number for number, line in enumerate(rows) if "ncalls" in line)
    return "\n".join(line for line in rows[start : start + 1 + lines] if line)


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    found = re.search(r"model name\s*:\s*(.+)", text)
    return found.group(1).strip() if found else platform.machine()
