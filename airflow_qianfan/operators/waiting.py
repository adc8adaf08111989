"""Create, and wait until what was created has reached a final state, on a worker or in the triggerer."""

from __future__ import annotations

import time
from abc import abstractmethod
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf
from airflow.sdk.exceptions import AirflowTaskTimeout, TaskDeferralError, TaskDeferralTimeout

from airflow_qianfan.exceptions import (
    QianfanError,
    QianfanExecutionTimeoutError,
    QianfanPollError,
    QianfanTerminalStateError,
    QianfanWaitTimeoutError,
)
from airflow_qianfan.operators.durable import QianfanCreateOperator
from airflow_qianfan.triggers.base import LAST_LOOK, check_seconds, output_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_qianfan.triggers.base import QianfanTrigger


class QianfanWaitingOperator(QianfanCreateOperator):
    """Creates something and waits for it. ``execution_timeout`` holds while it is deferred, too.

    :param wait_for_completion: wait, or return the ids at once.
    :param deferrable: wait in the triggerer instead of on a worker; None takes Airflow's ``[operators]
        default_deferrable``.
    :param poll_interval: seconds between two looks at least; None takes ``[qianfan] poll_interval`` of
        Airflow's configuration, which is 30.
    :param max_poll_interval: seconds between two looks at most, while there is long to go; None takes
        ``[qianfan] max_poll_interval``, which is 600.
    :param max_poll_failures: how many failed looks in a row to bear.
    :param kwargs: see :class:`airflow_qianfan.operators.durable.QianfanCreateOperator`.
    """

    def __init__(
        self,
        *,
        wait_for_completion: bool = True,
        deferrable: bool | None = None,
        poll_interval: float | None = None,
        max_poll_interval: float | None = None,
        max_poll_failures: int = 10,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if deferrable and not wait_for_completion:
            raise ValueError("deferrable=True waits, wait_for_completion=False does not: choose one")
        if deferrable is None:
            deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
        if poll_interval is None:
            poll_interval = conf.getfloat("qianfan", "poll_interval", fallback=30.0)
        if max_poll_interval is None:
            max_poll_interval = conf.getfloat("qianfan", "max_poll_interval", fallback=600.0)
        check_seconds("poll_interval", poll_interval)
        check_seconds("max_poll_interval", max_poll_interval)
        if (
            isinstance(max_poll_failures, bool)
            or not isinstance(max_poll_failures, int)
            or max_poll_failures < 0
        ):
            raise ValueError(f"max_poll_failures must be a whole number from 0 on, not {max_poll_failures!r}")
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.max_poll_interval = max_poll_interval
        self.max_poll_failures = max_poll_failures
        self.console_url: str | None = None

    @abstractmethod
    def make_trigger(self, **kwargs: Any) -> QianfanTrigger:
        """Return the trigger that looks at what was created."""

    def cancel(self, why: str) -> None:
        """Cancel what was created, where that is possible, since time ran out."""

    def restore_ids(self, context: Context, ids: dict[str, str]) -> None:
        """Take over the ids of what was created before this task was deferred."""
        for name, value in ids.items():
            setattr(self, name, value)

    def wait(self, context: Context) -> dict[str, Any]:
        """Wait, and return the output; see :func:`airflow_qianfan.triggers.base.output_of`.

        :raises QianfanExecutionTimeoutError: it took longer than ``execution_timeout``.
        """
        limit = self.execution_timeout
        deadline = time.time() + limit.total_seconds() if limit else None
        trigger = self.make_trigger(deadline=deadline, console_url=self.console_url)
        if self.deferrable:
            # The trigger's own deadline comes first; this is the net below it.
            net = limit + timedelta(seconds=2 * (self.poll_interval + LAST_LOOK)) if limit else None
            self.defer(trigger=trigger, method_name="execute_complete", timeout=net)
        try:
            return self._finish(context, trigger.wait(self.hook, self.log))
        except AirflowTaskTimeout:
            raise self.timed_out() from None
        except (QianfanTerminalStateError, QianfanWaitTimeoutError):
            raise
        except QianfanError:
            self.leave_unwatched(context, self.creation_keys)
            raise

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Take over from the trigger.

        :raises QianfanTerminalStateError: it failed or was stopped.
        :raises QianfanPollError: its state could not be read.
        :raises QianfanExecutionTimeoutError: it took longer than ``execution_timeout``.
        """
        ids = event.get("ids") if isinstance(event, dict) else None
        self.restore_ids(context, ids if isinstance(ids, dict) else {})
        return self._finish(context, event)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Take over from Airflow, also where it gave up waiting for the trigger."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            self.restore_ids(context, {})
            raise self.timed_out() from None
        except TaskDeferralError:
            # The trigger broke; what it waited for did not.
            self.leave_unwatched(context, self.creation_keys)
            raise

    def timed_out(self) -> QianfanExecutionTimeoutError:
        """Cancel what was created, and return the error that says so."""
        why = "execution_timeout is over"
        self.cancel(why)
        return QianfanExecutionTimeoutError(f"{why}: {self.execution_timeout}")

    def _finish(self, context: Context, event: dict[str, Any] | None) -> dict[str, Any]:
        output = event.get("output") if isinstance(event, dict) else None
        self.console_url = output.get("console_url") if isinstance(output, dict) else self.console_url
        try:
            return output_of(event)
        except QianfanWaitTimeoutError:
            raise self.timed_out() from None
        except QianfanPollError:
            self.leave_unwatched(context, self.creation_keys)
            raise
