"""Says in the log of a task what went wrong and what to do, in short lines before the traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_qianfan.exceptions import QianfanError

if TYPE_CHECKING:
    from airflow.sdk.types import Logger


@contextmanager
def report_errors(log: Logger, conn_id: str) -> Iterator[None]:
    """Write what an error of ours says, line by line, and let it pass.

    :param log: the log of the task.
    :param conn_id: id of the connection that was used.
    """
    try:
        yield
    except QianfanError as error:
        what = f"{error.action}: {error.message}" if error.action else error.message
        log.error("%s", what.rstrip("."))
        if error.advice:
            log.error("What to do: %s", error.advice)
        about = ", ".join(f"{name} {value}" for name, value in error.subject.items())
        parts = (about, error.details(), f"connection {conn_id!r}")
        log.error("Details: %s", ", ".join(part for part in parts if part))
        raise
