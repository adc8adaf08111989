"""Begin something, and wait until it is in a final state, on a worker or in the triggerer."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_qianfan.arguments import option
from airflow_qianfan.compat import (
    AFTER_A_CLEAR,
    AirflowTaskTimeout,
    TaskDeferralError,
    TaskDeferralTimeout,
    conf,
)
from airflow_qianfan.exceptions import (
    QianfanError,
    QianfanExecutionTimeoutError,
    QianfanPollError,
    QianfanTerminalStateError,
    QianfanWaitTimeoutError,
)
from airflow_qianfan.links import push_links, recall_page
from airflow_qianfan.operators.base.operator import QianfanRequestOperator
from airflow_qianfan.report import report_errors
from airflow_qianfan.triggers import load
from airflow_qianfan.triggers.base.polling import (
    LAST_POLL,
    PollSettings,
    Target,
    check_seconds,
    output_of,
    wait_on_worker,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_qianfan.triggers.base.trigger import QianfanTrigger


class QianfanPollingOperator(QianfanRequestOperator):
    """Begins something and waits for it. ``execution_timeout`` holds while the task is deferred, too."""

    trigger_path: ClassVar[str]
    """What waits for it in the triggerer, such as ``finetuning.QianfanFineTuningTaskTrigger``; see
    :func:`airflow_qianfan.triggers.load`."""

    wait_for_completion: bool = option("wait, or return the ids at once.", default=True)
    deferrable: bool | None = option(
        "wait in the triggerer instead of on a worker; None takes Airflow's ``[operators] "
        "default_deferrable``.",
        default=None,
    )
    poll_interval: float | None = option(
        "seconds between two polls at least; None takes ``[qianfan] poll_interval`` of Airflow's "
        "configuration, which is 30.",
        default=None,
        setting="poll_interval",
    )
    max_poll_interval: float | None = option(
        "seconds between two polls at most, while there is long to go; None takes ``[qianfan] "
        "max_poll_interval``, which is 600.",
        default=None,
        setting="max_poll_interval",
    )
    max_poll_failures: int = option("how many failed polls in a row to tolerate.", default=10)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.deferrable and not self.wait_for_completion:
            raise ValueError("deferrable=True waits, wait_for_completion=False does not: choose one")
        if self.deferrable is None:
            self.deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
        check_seconds("poll_interval", self.poll_interval)
        check_seconds("max_poll_interval", self.max_poll_interval)
        failures: Any = self.max_poll_failures
        if isinstance(failures, bool) or not isinstance(failures, int) or failures < 0:
            raise ValueError(f"max_poll_failures must be a whole number from 0 on, not {failures!r}")
        self.object_id: str | None = None
        self._deadline: float | None = None

    @property
    def target(self) -> Target:
        """What is waited for."""
        return Target(load(self.trigger_path).kind(), self.object_id or "")

    def run_action(self, context: Context) -> dict[str, Any]:
        """Begin it, and wait.

        :raises QianfanTerminalStateError: it failed or was stopped.
        :raises QianfanExecutionTimeoutError: it took longer than ``execution_timeout``.
        """
        try:
            output = self.submit(context)
            return self._wait(context) if self.wait_for_completion else output
        except AirflowTaskTimeout:
            raise self.timed_out(context) from None

    def submit(self, context: Context) -> dict[str, Any]:
        """Begin it, and return its ids."""
        raise NotImplementedError

    def push_ids(self, context: Context, **ids: str | None) -> None:
        """Make ids and links XComs at once."""
        ti: Any = context["ti"]
        for name, value in ids.items():
            ti.xcom_push(key=name, value=value)
        if not self.deferrable:
            push_links(self, context)

    def make_trigger(self, **kwargs: Any) -> QianfanTrigger:
        """Return the trigger that waits for it."""
        trigger = load(self.trigger_path)
        ids: dict[str, Any] = {trigger.id_name: self.object_id}
        if trigger.parent_name:
            ids[trigger.parent_name] = self.parent_id
        return trigger(
            qianfan_conn_id=self.qianfan_conn_id,
            **self._poll_options(),
            **ids,
            **kwargs,
        )

    @property
    def parent_id(self) -> str | None:
        """The id of what it belongs to, if it is known."""
        return None

    def _poll_options(self) -> dict[str, Any]:
        return {
            "poll_interval": self.poll_interval,
            "max_poll_interval": self.max_poll_interval,
            "max_poll_failures": self.max_poll_failures,
        }

    def _wait(self, context: Context) -> dict[str, Any]:
        deadline = self.deadline()
        if self.deferrable:
            # The trigger's own deadline comes first; this is the net below it.
            slack = 2 * ((self.poll_interval or 0) + LAST_POLL)
            net = timedelta(seconds=max(0.0, deadline - time.time()) + slack) if deadline else None
            trigger = self.make_trigger(deadline=deadline, console_url=self.console_url)
            self.defer(trigger=trigger, method_name="execute_complete", timeout=net)
        settings = PollSettings(deadline=deadline, **self._poll_options())
        try:
            event = wait_on_worker(self.hook, self.target, settings, self.log)
        except QianfanError:
            self._log_goes_on()
            raise
        return self._finish(context, event)

    def deadline(self) -> float | None:
        """Return when ``execution_timeout`` is over, in seconds since the epoch; the first call begins it."""
        if self._deadline is None and self.execution_timeout:
            self._deadline = time.time() + self.execution_timeout.total_seconds()
        return self._deadline

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Take over from the trigger.

        :raises QianfanTerminalStateError: it failed or was stopped.
        :raises QianfanPollError: its state could not be read.
        :raises QianfanExecutionTimeoutError: it took longer than ``execution_timeout``.
        """
        with report_errors(self.log, self.qianfan_conn_id):
            ids = event.get("ids") if isinstance(event, dict) else None
            self.restore_ids(context, ids if isinstance(ids, dict) else {})
            result = self.result = self._finish(context, event)
            return result

    def restore_ids(self, context: Context, ids: dict[str, str]) -> None:
        """Take over the id of what was begun before this task was deferred."""
        self.object_id = ids.get(load(self.trigger_path).id_name)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Take over from Airflow, also where it gave up waiting for the trigger."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            self.restore_ids(context, {})
            error = self.timed_out(context)
            recall_page(self, context)
            raise error from None
        except TaskDeferralError:
            # The trigger broke; what it waited for did not.
            self.restore_ids(context, {})
            recall_page(self, context)
            if self.object_id:
                self._log_goes_on()
            raise

    def timed_out(self, context: Context) -> QianfanExecutionTimeoutError:
        """Stop it, where the service can, and return the error that says so."""
        try:
            stopped = self._cancel(context, "execution_timeout is over")
        except AirflowTaskTimeout:
            # Airflow measures each process of a deferred task anew, and this one has tried for that long.
            stopped = False
        target = self.target
        what = target.label if self.object_id else f"the {target.kind.noun}"
        how = "was stopped" if stopped else f"may go on; {AFTER_A_CLEAR}"
        return QianfanExecutionTimeoutError(
            f"execution_timeout is over: {self.execution_timeout}; {what} {how}"
        )

    def _cancel(self, context: Context, why: str) -> bool:
        """Stop it, and return whether it has ended."""
        return False

    def ended(self, context: Context) -> None:
        """Take note that its result was handed over, or its end was seen."""

    def finished(self, context: Context, output: dict[str, Any]) -> dict[str, Any]:
        """Do what remains to be done once it has succeeded, and return the result.

        Where this fails, the next attempt re-attaches and does it again.

        :param context: context of the running task.
        :param output: what the service shows of it, fit for XCom.
        """
        return output

    def _log_goes_on(self) -> None:
        self.log.error(
            "%s %s goes on at Qianfan, unwatched: %s.",
            self.target.kind.noun.capitalize(),
            self.object_id or "",
            AFTER_A_CLEAR,
        )

    def _finish(self, context: Context, event: dict[str, Any] | None) -> dict[str, Any]:
        output = event.get("output") if isinstance(event, dict) else None
        if isinstance(output, dict):
            self.console_url = output.get("console_url") or self.console_url
        try:
            result = output_of(event)
        except QianfanWaitTimeoutError:
            raise self.timed_out(context) from None
        except QianfanTerminalStateError:
            self.ended(context)
            raise
        except QianfanPollError:
            self._log_goes_on()
            raise
        result = self.finished(context, result)
        self.ended(context)
        return result
