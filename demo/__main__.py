"""Train and publish a model with a real Airflow against the emulator: ``python -m demo``."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import httpx
from rich.console import Console

from demo.follow import Run, error_lines, follow
from demo.screen import Screen, result_table, time_table
from local_stack.airflow import ROOT, USER, LocalAirflow
from local_stack.process import ProcessFailed
from local_stack.qianfan import CONNECTION_ID, LocalQianfan

DAG_ID = "train_and_publish"
#: What the examples train on unless their parameters say otherwise.
DATASET_VERSION_ID = "ds-0123456789abcdef"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Label, task whose return value holds it, and its name there.
_RESULTS = (
    ("Fine-tuning job", "create_job", "fine_tuning_job_id"),
    ("Fine-tuning task", "create_task", "fine_tuning_task_id"),
    ("Metrics", "wait_for_training", "metrics"),
    ("Model set", "create_model_set", "model_set_id"),
    ("Model version", "publish_model", "model_id"),
)


def main(argv: list[str] | None = None) -> int:
    """Run the demo; return the exit code."""
    options = _parser().parse_args(argv)
    console = Console()
    for signum in _SIGNALS:
        signal.signal(signum, _stop_once)
    try:
        with ExitStack() as running:
            return _Demo(options, console).run(running)
    except (ProcessFailed, TimeoutError, httpx.HTTPError) as error:
        console.print(f"The demo failed: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped; no process is left.")
        return 0 if options.keep else 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--task-seconds", type=float, default=20, help="how long the training takes (20)")
    parser.add_argument("--timeout", type=float, default=300, help="seconds the DAG run may take (300)")
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    parser.add_argument(
        "--wrong-secret", action="store_true", help="give Airflow a wrong secret key, to see how that fails"
    )
    parser.add_argument("--home", type=Path, default=ROOT / ".airflow-demo", help="folder for all files")
    parser.add_argument(
        "--dags-folder", type=Path, default=ROOT / "dags_examples", help=f"folder with the DAG {DAG_ID}"
    )
    return parser


def _ignore_signals() -> None:
    for signum in _SIGNALS:
        signal.signal(signum, signal.SIG_IGN)


def _stop_once(signum: int, frame: object) -> NoReturn:
    """End the demo; a second Ctrl-C must not interrupt the clearing up."""
    _ignore_signals()
    raise KeyboardInterrupt


class _Demo:
    def __init__(self, options: argparse.Namespace, console: Console) -> None:
        self._options = options
        self._console = console
        self._began = time.monotonic()
        self._starts: dict[str, float] = {}

    def run(self, running: ExitStack) -> int:
        """Start everything on ``running``, run the DAG, and return the exit code."""
        options = self._options
        qianfan = LocalQianfan(options.home / "emulator", task_seconds=options.task_seconds, strict=True)
        with self._console.status("Starting the Qianfan emulator ..."):
            running.enter_context(qianfan)
            qianfan.add_dataset(DATASET_VERSION_ID)
        self._note_start("start emulator", f"Qianfan emulator: {qianfan.endpoint}")

        airflow = LocalAirflow(
            options.home / "airflow", dags_folder=options.dags_folder, env=qianfan.settings
        )
        with self._console.status("Starting Airflow ..."):
            running.enter_context(airflow)
            # Leaving the stack begins here: nothing may interrupt what follows.
            running.callback(_ignore_signals)
            airflow.wait_ready(DAG_ID)
        wrong = {"password": "a-wrong-secret-key"} if options.wrong_secret else {}
        # In the database and not in the environment, so that the UI shows it.
        airflow.api.add_connection(CONNECTION_ID, qianfan.connection | wrong)
        self._note_start(
            "start Airflow", f"Airflow: {airflow.url} (user {USER}, password {airflow.password})"
        )

        run = self._run_dag(airflow, qianfan)
        succeeded = self._report(airflow, run)
        if options.keep:
            self._print(
                f"\nAirflow goes on running at {airflow.url} (user {USER}, password {airflow.password})."
            )
            self._print(f"The connection to the emulator is {CONNECTION_ID} (Admin, Connections).")
            self._print("Press Ctrl-C to stop both.")
            while True:
                airflow.check()
                qianfan.check()
                time.sleep(1)
        self._print("Stopping Airflow and the emulator ...")
        return 0 if succeeded else 1

    def _run_dag(self, airflow: LocalAirflow, qianfan: LocalQianfan) -> Run:
        airflow.api.unpause(DAG_ID)
        run_id = airflow.api.trigger(DAG_ID)

        def show(run: Run) -> None:
            screen.update(run)
            qianfan.check()
            airflow.check()

        try:
            with Screen(self._console) as screen:
                return follow(
                    airflow.api, DAG_ID, run_id, each=show, interval=0.5, timeout=self._options.timeout
                )
        except httpx.TransportError:
            airflow.check()  # says it more clearly if the API server is gone
            raise

    def _report(self, airflow: LocalAirflow, run: Run) -> bool:
        """Show the outcome; return whether the run succeeded."""
        results: dict[str, Any] = {}
        for label, task_id, key in _RESULTS:
            value = airflow.api.xcom(run.dag_id, run.run_id, task_id)
            if isinstance(value, dict) and key in value:
                results[label] = value[key]
        if results:
            self._console.print(result_table(results))
        self._console.print(time_table(self._starts, run, time.monotonic() - self._began))
        failed = [step.task_id for step in run.steps if step.state == "failed"]
        for task_id in failed:
            self._print(f"\nThe task {task_id} failed. Its log says:", style="bold red")
            for line in error_lines(airflow.api, run, task_id):
                self._print(f"  {line}")
        if run.state != "success" and not failed:
            self._print(f"The run ended as {run.state}; see {airflow.log_path}", style="bold red")
        return run.state == "success"

    def _note_start(self, step: str, text: str) -> None:
        self._starts[step] = time.monotonic() - self._began - sum(self._starts.values())
        self._print(text)

    def _print(self, text: str, *, style: str | None = None) -> None:
        self._console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
