"""Train and publish on a distributed Airflow while its parts fail: ``python -m distributed``."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import NoReturn, TypeVar

import httpx
from rich.console import Console
from rich.table import Table

from distributed.cluster import Cluster, missing
from distributed.events import EVENTS, NoEffect
from distributed.judge import Verdict, judge
from local_stack.airflow_api import FINISHED
from local_stack.process import ProcessFailed

T = TypeVar("T")

SHORT = ("worker SIGKILL", "triggerer paused, its triggers handed over, woken", "Redis SIGKILL")
SHORT_RUNS = 10
KINDS = ("train_and_publish_sync", "train_and_publish_deferrable", "fine_tune_sync", "fine_tune_deferrable")
AT_ONCE = 8
"""How many runs go on at the same time."""


class Trial:
    """Runs DAGs, lets events happen meanwhile, and says what came of both.

    :param cluster: where it happens.
    :param console: what is told goes there.
    """

    def __init__(self, cluster: Cluster, console: Console) -> None:
        self._cluster, self._console = cluster, console
        self._began = time.monotonic()
        self._kinds = cycle(KINDS)
        self._runs: dict[tuple[str, str], str] = {}
        self._events = Table("at", "event", "took", "effect", title="Events")
        self._wrong: list[str] = []

    def run(self, events: Iterator[str], count: int, *, sweep: bool) -> list[str]:
        """Do it, and return a sentence for each thing that is wrong.

        :param events: names of events, one after the other.
        :param count: how many runs at least.
        :param sweep: whether a sweep of twenty trainings is one more.
        """
        self._cluster.wait_ready()
        self._tell(f"Airflow runs after {self._now()}")
        self._start("sweep" if sweep else next(self._kinds))
        for name in events:
            self._let_happen(name)
        while len(self._runs) < count + sweep:
            self._fill()
            self._wait(lambda: len(self._active()) < AT_ONCE, "a run has ended")
        self._wait(lambda: not self._active(), "all runs have ended")
        return self._report()

    def _let_happen(self, name: str) -> None:
        at, began = self._now(), time.monotonic()
        self._tell(f"{at}  {name}")
        try:
            effect = EVENTS[name](self._cluster, self._until)
        except (NoEffect, ProcessFailed, TimeoutError) as error:
            effect = f"NONE: {error}"
            self._wrong.append(f"{name} had no effect: {error}")
        self._cluster.wait_healthy()
        took = f"{time.monotonic() - began:.0f} s"
        self._tell(f"      {effect}")
        self._events.add_row(at, name, took, effect)

    def _fill(self) -> None:
        while len(self._active()) < AT_ONCE:
            self._start(next(self._kinds))

    def _start(self, dag_id: str) -> None:
        run_id = f"run-{len(self._runs)}"
        self._wait(lambda: self._cluster.api.trigger(dag_id, run_id=run_id), "a run is triggered")
        self._runs[dag_id, run_id] = "queued"

    def _active(self) -> list[tuple[str, str]]:
        """Read the states of what has not ended, and return what still has not."""
        for key in [key for key, state in self._runs.items() if state not in FINISHED]:
            read = partial(self._cluster.api.run_state, *key)
            self._runs[key] = str(self._cluster.wait(read, what="Airflow tells the state of a run"))
        return [key for key, state in self._runs.items() if state not in FINISHED]

    def _until(self, read: Callable[[], T], what: str) -> T:
        """Start runs until something is there."""

        def look() -> T:
            self._fill()
            return read()

        return self._wait(look, what)

    def _wait(self, read: Callable[[], T], what: str) -> T:
        return self._cluster.wait(read, what=what, limit=1200)

    def _report(self) -> list[str]:
        verdicts, wrong = judge(self._cluster, self._runs)
        wrong = self._wrong + wrong
        self._console.print(self._events)
        self._console.print(_table(verdicts))
        for sentence in wrong:
            self._tell(sentence, style="red")
        total = f"{len(self._runs)} runs, {sum(one.trainings for one in verdicts)} trainings, {self._now()}"
        self._tell(f"{total}: {len(wrong)} wrong")
        return wrong

    def _now(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        return f"{minutes}:{seconds:02}"

    def _tell(self, text: str, style: str | None = None) -> None:
        self._console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _table(verdicts: Sequence[Verdict]) -> Table:
    table = Table("DAG", title="Outcomes")
    counts = ("jobs", "trainings", "versions", "made and undone")
    for column in ("runs", "states", *counts, "median", "longest", "wrong"):
        table.add_column(column, justify="left" if column == "states" else "right")
    for one in verdicts:
        states = ", ".join(f"{count} {state}" for state, count in one.states.items())
        seconds = [f"{read(one.seconds):.0f} s" if one.seconds else "-" for read in (median, max)]
        made = (one.jobs, one.trainings, one.versions, one.undone)
        table.add_row(one.dag_id, *map(str, (one.runs, states, *made, *seconds, len(one.wrong))))
    return table


def at_random(seed: int, seconds: float) -> Iterator[str]:
    """Yield names of events at random until the time is over.

    :param seed: the same seed yields the same events.
    """
    chance, end = random.Random(seed), time.monotonic() + seconds
    while time.monotonic() < end:
        yield chance.choice(list(EVENTS))


def install(packages: Sequence[str], console: Console) -> None:
    """Install Debian packages, where this user may.

    :raises ProcessFailed: they cannot be installed.
    """
    names = " ".join(packages)
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise ProcessFailed(f"These programs are missing; install them as root: apt-get install {names}")
    console.print(f"Installing {names} ...")
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    )
    if done.returncode:
        raise ProcessFailed(f"apt-get cannot install {names}:\n{done.stderr[-2000:]}")


def main(argv: list[str] | None = None) -> int:
    """Run the trial; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m distributed", description=__doc__)
    parser.add_argument("--runs", type=int, default=50, help="DAG runs at least, beside the sweep (50)")
    parser.add_argument("--task-seconds", type=float, default=45, help="how long a training takes (45)")
    parser.add_argument("--short", action="store_true", help=f"{SHORT_RUNS} runs and three events")
    parser.add_argument("--random-kills", type=float, metavar="SECONDS", help="events at random, for so long")
    parser.add_argument("--seed", type=int, default=0, help="which random events (0)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave all files there")
    options = parser.parse_args(argv)
    # A file has no width: the table is not cut there.
    console = Console(width=None if sys.stdout.isatty() else 150)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    events: Iterator[str] = iter(SHORT if options.short else EVENTS)
    if options.random_kills:
        events = at_random(options.seed, options.random_kills)
    folder = options.keep or Path(tempfile.mkdtemp(prefix="distributed-"))
    try:
        if packages := missing():
            install(packages, console)
        with Cluster(folder, task_seconds=options.task_seconds) as cluster:
            runs = SHORT_RUNS if options.short else options.runs
            return 1 if Trial(cluster, console).run(events, runs, sweep=not options.short) else 0
    except (ProcessFailed, TimeoutError, httpx.HTTPError) as error:
        console.print(f"Failed: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped; no process is left.")
        return 130
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
