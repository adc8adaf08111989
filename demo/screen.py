"""What the demo shows: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from demo.follow import Run, Step

_STYLES = {
    "success": "green",
    "failed": "bold red",
    "upstream_failed": "red",
    "running": "yellow",
    "deferred": "magenta",
    "up_for_retry": "yellow",
}


class Screen:
    """Shows a DAG run while it goes on: use as a context, and call `update`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._shown: dict[str, tuple[str, int | None]] = {}

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def update(self, run: Run) -> None:
        """Show the run as it is now."""
        if self._live:
            self._live.update(_live_table(run), refresh=True)
        else:
            for step in run.steps:
                self._print_change(step)

    def _print_change(self, step: Step) -> None:
        tenth = None if step.percent is None else int(step.percent // 10)
        if step.state == "waiting" or self._shown.get(step.task_id) == (step.state, tenth):
            return
        self._shown[step.task_id] = (step.state, tenth)
        percent = "" if step.percent is None else f"{step.percent:g} %"
        line = f"  {step.task_id:<20} {step.state:<15} {_seconds(step):>8} {percent:>7}"
        self._console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True)


def _live_table(run: Run) -> Table:
    table = Table(title=f"DAG run {run.dag_id}: {run.state}", title_justify="left")
    table.add_column("Task", min_width=20)
    table.add_column("State", min_width=15)
    table.add_column("Time", justify="right", min_width=8)
    table.add_column("Progress", min_width=26)
    for step in run.steps:
        state = Text(step.state, style=_STYLES.get(step.state, "dim"))
        table.add_row(step.task_id, state, _seconds(step), _progress(step))
    return table


def _progress(step: Step) -> Table | str:
    if step.percent is None:
        return ""
    cell = Table.grid(padding=(0, 1))
    cell.add_row(ProgressBar(total=100, completed=step.percent, width=18), f"{step.percent:g} %")
    return cell


def _seconds(step: Step) -> str:
    return "" if step.seconds is None else f"{step.seconds:.1f} s"


def result_table(values: Mapping[str, Any]) -> Table:
    """What the run produced."""
    table = Table(title="Result", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in values.items():
        table.add_row(name, Text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
    return table


def time_table(starts: Mapping[str, float], run: Run, total: float) -> Table:
    """How long each step took."""
    table = Table(title="Time", title_justify="left", show_footer=True)
    table.add_column("Step", footer="total")
    table.add_column("Seconds", justify="right", footer=f"{total:.1f}")
    for name, seconds in starts.items():
        table.add_row(name, f"{seconds:.1f}")
    for step in run.steps:
        table.add_row(step.task_id, "" if step.seconds is None else f"{step.seconds:.1f}")
    return table
