"""``python -m airflow_qianfan.emulator``: run the emulator until it is interrupted."""

from __future__ import annotations

import argparse
import logging
import math
import shlex
import signal
import sys
import threading

from airflow_qianfan.emulator.auth import API_KEY
from airflow_qianfan.emulator.server import ACCESS_KEY, SECRET_KEY, QianfanEmulator
from airflow_qianfan.emulator.store import StateError

DEFAULT_PORT = 8421


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    result = argparse.ArgumentParser(
        prog="python -m airflow_qianfan.emulator", description="Run a local emulator of Baidu Qianfan."
    )
    add = result.add_argument
    add(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default %(default)s); its console and /_emulator/ are open to all",
    )
    add("--port", type=_port, default=DEFAULT_PORT, help="port, 0 for a free one (default %(default)s)")
    add("--access-key", default=ACCESS_KEY, help="id of the access key (default %(default)s)")
    add("--secret-key", default=SECRET_KEY, help="its secret (default %(default)s)")
    add("--session-token", help="token that must come with the key")
    add("--api-key", default=API_KEY, help="key with which deployed services are called")
    add("--task-seconds", type=_seconds, default=60.0, help="duration of a task (default %(default)s)")
    add("--model-seconds", type=_seconds, help="time until a model is ready (default: as a task, at most 2)")
    add(
        "--strict",
        action="store_true",
        help="refuse models and values that the documents' tables exclude, and unknown data sets",
    )
    add("--state", metavar="FILE", help="keep everything in this file over a restart")
    add(
        "--log-level",
        choices=["debug", "info", "warning", "error"],
        default="warning",
        help="info writes one line for each call (default %(default)s)",
    )
    return result


def main(arguments: list[str] | None = None) -> int:
    """Run the emulator until SIGINT or SIGTERM, and return the exit code."""
    options = parser().parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("airflow_qianfan.emulator").setLevel(options.log_level.upper())
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        emulator = QianfanEmulator(
            task_seconds=options.task_seconds,
            model_seconds=options.model_seconds,
            access_key=options.access_key,
            secret_key=options.secret_key,
            session_token=options.session_token,
            api_key=options.api_key,
            strict=options.strict,
            state=options.state,
            host=options.host,
            port=options.port,
        )
        emulator.start()
    except (ImportError, StateError, ValueError) as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"cannot listen on {options.host}:{options.port}: {error.strerror or error}")
    print(f"Qianfan emulator: {emulator.endpoint}", flush=True)  # noqa: T201
    connection = shlex.quote(emulator.connection_json)
    print(f"export AIRFLOW_CONN_QIANFAN_DEFAULT={connection}", flush=True)  # noqa: T201
    ended.wait()
    emulator.stop()
    return 0


def _fail(message: str) -> int:
    print(f"airflow_qianfan.emulator: {message}", file=sys.stderr)  # noqa: T201
    return 1


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) <= 65535):
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError("a duration is a number of seconds, zero or more")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
