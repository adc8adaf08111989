"""Create, and wait until what was created is in a final state, on a worker or in the triggerer."""

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
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.links import QianfanConsoleLink
from airflow_qianfan.operators.base.create import QianfanCreateOperator
from airflow_qianfan.report import report_errors
from airflow_qianfan.triggers.base.cancel import stop_object, user_has_ended_task
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

    from airflow_qianfan.operators.base.submission import Submission
    from airflow_qianfan.triggers.base.trigger import QianfanTrigger


WORKER_STOP_SECONDS = 3.0
"""Seconds for stopping on a worker whose task was ended; Airflow kills its process after 5."""


class QianfanWaitingOperator(QianfanCreateOperator):
    """Creates an object and waits for it. ``execution_timeout`` holds while the task is deferred, too."""

    trigger_class: ClassVar[type[QianfanTrigger]]
    """What waits for it in the triggerer."""

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
    cancel_on_kill: bool = option(
        "stop what was created, where the service can, when a user ends this task: marks it as failed or "
        "successful. Replacing a worker, scheduler or triggerer never does; for a clear see ``on_clear``.",
        default=True,
    )

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
        self._main: Submission | None = None

    def run_action(self, context: Context) -> dict[str, Any]:
        """Create it, and wait.

        :raises QianfanAmbiguousCreateError: nobody knows whether it was created.
        :raises QianfanTerminalStateError: it failed or was stopped.
        :raises QianfanExecutionTimeoutError: it took longer than ``execution_timeout``; it was stopped, where
            the service can.
        """
        try:
            output = self.submit(context)
            if self.wait_for_completion:
                return self._wait(context)
        except KeyboardInterrupt:
            if self.cancel_on_kill:
                self._stop_soon("this task was interrupted")
            raise
        except AirflowTaskTimeout:
            if self.object_id is None and not self._can_stop:
                # A retry looks for what the interrupted Create has made.
                raise
            raise self.timed_out(context) from None
        # What it belongs to stays in use as long as it goes on.
        self.deliver(context, (self.kind,))
        return output

    def submit(self, context: Context) -> dict[str, Any]:
        """Create it, and return its ids."""
        return self.submit_main(context, self.submission(context, self.kind, self.build))

    def submit_main(self, context: Context, submission: Submission) -> dict[str, Any]:
        """Create what is waited for; make its id and its link XComs at once; return its ids."""
        self._main = submission
        self.object_id = submission.submit()
        self.console_url = self.find_console_url(submission)
        ti: Any = context["ti"]
        ti.xcom_push(key=self.kind.id_name, value=self.object_id)
        for link in self.operator_extra_links:
            if self.console_url and isinstance(link, QianfanConsoleLink):
                ti.xcom_push(key=link.xcom_key, value=self.console_url)
        return self.created_output(submission.creation, self.object_id)

    def find_console_url(self, submission: Submission) -> str | None:
        """Return the page of the console that shows what was created, as far as that is known already."""
        kind, parent_id = self.kind, submission.creation.parent_id
        parent = {kind.parent_member: parent_id} if kind.parent_member else {}
        url = kind(**{kind.id_member: self.object_id, **parent}).console_url
        return self.hook.console_url(url) if url else None

    def make_trigger(self, **kwargs: Any) -> QianfanTrigger:
        """Return the trigger that waits for what was created."""
        trigger = self.trigger_class
        ids: dict[str, Any] = {trigger.id_name: self.object_id}
        if trigger.parent_name:
            ids[trigger.parent_name] = self._main.creation.parent_id if self._main else None
        return trigger(
            qianfan_conn_id=self.qianfan_conn_id,
            cancel_on_kill=self.cancel_on_kill,
            **self._poll_options(),
            **ids,
            **kwargs,
        )

    def _poll_options(self) -> dict[str, Any]:
        return {
            "poll_interval": self.poll_interval,
            "max_poll_interval": self.max_poll_interval,
            "max_poll_failures": self.max_poll_failures,
        }

    def _wait(self, context: Context) -> dict[str, Any]:
        limit = self.execution_timeout
        deadline = time.time() + limit.total_seconds() if limit else None
        if self.deferrable:
            # The trigger's own deadline comes first; this is the net below it.
            net = limit + timedelta(seconds=2 * ((self.poll_interval or 0) + LAST_POLL)) if limit else None
            trigger = self.make_trigger(deadline=deadline, console_url=self.console_url)
            self.defer(trigger=trigger, method_name="execute_complete", timeout=net)
        target = Target(self.kind, self.object_id or "")
        settings = PollSettings(deadline=deadline, **self._poll_options())
        try:
            return self._finish(context, wait_on_worker(self.hook, target, settings, self.log))
        except (QianfanTerminalStateError, QianfanWaitTimeoutError, QianfanPollError):
            raise
        except QianfanError:
            self._log_goes_on()
            raise

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Take over from the trigger.

        :raises QianfanTerminalStateError: it failed or was stopped.
        :raises QianfanPollError: its state could not be read.
        :raises QianfanExecutionTimeoutError: it took longer than ``execution_timeout``.
        """
        with report_errors(self.log, self.qianfan_conn_id):
            ids = event.get("ids") if isinstance(event, dict) else None
            self.restore_ids(context, ids if isinstance(ids, dict) else {})
            return self._finish(context, event)

    def restore_ids(self, context: Context, ids: dict[str, str]) -> None:
        """Take over the id of what was created before this task was deferred."""
        kind = self.kind
        self.object_id = ids.get(kind.id_name) or self.remembered_id(context, kind)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Take over from Airflow, also where it gave up waiting for the trigger."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            self.restore_ids(context, {})
            raise self.timed_out(context) from None
        except TaskDeferralError:
            # The trigger broke; what it waited for did not.
            self.restore_ids(context, {})
            self._log_goes_on()
            raise

    def timed_out(self, context: Context) -> QianfanExecutionTimeoutError:
        """Stop what was created, where the service can, and return the error that says so."""
        stopped = self._cancel(context, "execution_timeout is over")
        what = f"{self.kind.noun} {self.object_id}" if self.object_id else f"the {self.kind.noun}"
        how = "was stopped" if stopped else f"may go on; {AFTER_A_CLEAR}"
        return QianfanExecutionTimeoutError(
            f"execution_timeout is over: {self.execution_timeout}; {what} {how}"
        )

    def created(self, submission: Submission, object_id: str) -> None:
        """Stop it where this task was ended while its Create was on the way."""
        if submission is self._main:
            self.object_id = object_id
            if self._is_killed:
                self.on_kill()

    def on_kill(self) -> None:
        """Stop it, where a user has ended this task and ``cancel_on_kill`` asks for it."""
        super().on_kill()
        if not self.cancel_on_kill or self._main is None or not self._can_stop:
            return
        # Airflow tells a running task that is cleared in this moment only from one that is retried.
        if user_has_ended_task(or_cleared=self.on_clear == "restart"):
            self._stop_soon("a user ended this task")
        else:
            self.log.info(
                "This process was told to end, but no user ended its task: the %s goes on, and the next "
                "attempt re-attaches to it.",
                self.kind.noun,
            )

    @property
    def _can_stop(self) -> bool:
        return self.kind.stop("an id") is not None

    def _cancel(self, context: Context, why: str) -> bool:
        """Stop what was created, and remember whether it has ended; return that."""
        if not self._can_stop:
            return False
        hook = QianfanHook(self.qianfan_conn_id)
        self.object_id = self.object_id or self._find_submitted(hook)
        self._main = None
        if not self.object_id:
            return False
        from airflow_qianfan.operators.base.record import stop_requested

        self.update_records(context, stop_requested, (self.kind,))
        if not self._stop(hook, why, seconds=60):
            return False
        self.deliver(context)
        return True

    def _stop_soon(self, why: str) -> None:
        """Stop what was created at once, even where its id is not known yet."""
        if self._main is None or not self._can_stop:
            return
        # Airflow kills this process 5 s after a signal, and the interrupted client may hold a lock.
        hook = QianfanHook(self.qianfan_conn_id, timeout=1.5, max_retries=0)
        self.object_id = self.object_id or self._find_submitted(hook)
        if self.object_id:
            self._stop(hook, why, seconds=WORKER_STOP_SECONDS)

    def _stop(self, hook: QianfanHook, why: str, *, seconds: float) -> bool:
        return stop_object(hook, Target(self.kind, self.object_id or ""), why, self.log, seconds=seconds)

    def _find_submitted(self, hook: QianfanHook) -> str | None:
        """Return the id of what a Create that was interrupted has made, if it has taken effect already."""
        main = self._main
        if main is None or main.record is None or not main.record.in_doubt:
            return None
        creation = main.creation
        from airflow_qianfan.operators.base.creation import Creation

        lookup = Creation(
            hook, creation.origin, creation.kind, creation.request, owns_parent=creation.owns_parent
        )
        try:
            found = lookup.find(main.record.before, main.record.parent_id)
        except QianfanError as error:
            self.log.error("A %s may have been created; look in the console: %s", creation.what, error)
            return None
        return found[0] if len(found) == 1 else None

    def _log_goes_on(self) -> None:
        self.log.error(
            "%s %s goes on at Qianfan, unwatched: %s.",
            self.kind.noun.capitalize(),
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
            self.deliver(context)
            raise
        except QianfanPollError:
            self._log_goes_on()
            raise
        result = self.finished(result)
        self.deliver(context)
        return result

    def finished(self, output: dict[str, Any]) -> dict[str, Any]:
        """Return the result of this task, once what it waits for has succeeded.

        :param output: what a DAG works with of it.
        """
        return output
