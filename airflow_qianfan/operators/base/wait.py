"""Create, and wait until what was created is in a final state, on a worker or in the triggerer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_qianfan.arguments import option
from airflow_qianfan.compat import AirflowTaskTimeout
from airflow_qianfan.exceptions import QianfanError
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.operators.base.create import QianfanCreateOperator
from airflow_qianfan.operators.base.poll import QianfanPollingOperator
from airflow_qianfan.triggers.base.cancel import stop_object, user_has_ended_task
from airflow_qianfan.triggers.base.polling import Target

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_qianfan.operators.base.submission import Submission
    from airflow_qianfan.triggers.base.trigger import QianfanTrigger


WORKER_STOP_SECONDS = 3.0
"""Seconds for stopping on a worker whose task was ended; Airflow kills its process after 5."""


class QianfanWaitingOperator(QianfanPollingOperator, QianfanCreateOperator):
    """Creates an object and waits for it. ``execution_timeout`` holds while the task is deferred, too."""

    cancel_on_kill: bool = option(
        "stop what was created, where the service can, when a user ends this task: marks it as failed or "
        "successful. Replacing a worker, scheduler or triggerer never does; for a clear see ``on_clear``.",
        default=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._main: Submission | None = None
        #: The task instance once its execution on this worker is over.
        self._left: Any = None

    def run_action(self, context: Context) -> dict[str, Any]:
        """Create it, and wait.

        :raises QianfanAmbiguousCreateError: nobody knows whether it was created.
        :raises QianfanTerminalStateError: it failed or was stopped.
        :raises QianfanExecutionTimeoutError: it took longer than ``execution_timeout``; it was stopped, where
            the service can.
        """
        self._left = None
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
        finally:
            self._left = context["ti"]
        # What it belongs to stays in use as long as it goes on.
        self.deliver(context, (self.kind,))
        return output

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Take over from Airflow; see :meth:`QianfanPollingOperator.resume_execution`."""
        self._left = None
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        finally:
            self._left = context.get("ti")

    def submit(self, context: Context) -> dict[str, Any]:
        """Create it, and return its ids."""
        return self.submit_main(context, self.submission(context, self.kind, self.build))

    def submit_main(self, context: Context, submission: Submission) -> dict[str, Any]:
        """Create what is waited for; make its id and its link XComs at once; return its ids."""
        self._main = submission
        self.object_id = submission.submit()
        self.console_url = self.find_console_url(submission)
        self.push_ids(context, **{self.kind.id_name: self.object_id})
        return self.created_output(submission.creation, self.object_id)

    def find_console_url(self, submission: Submission) -> str | None:
        """Return the page of the console that shows what was created, as far as that is known already."""
        kind, parent_id = self.kind, submission.creation.parent_id
        parent = {kind.parent_member: parent_id} if kind.parent_member else {}
        return self.console_page(kind(**{kind.id_member: self.object_id, **parent}))

    @property
    def parent_id(self) -> str | None:
        """The id of what it belongs to, if it is known."""
        return self._main.creation.parent_id if self._main else None

    def make_trigger(self, **kwargs: Any) -> QianfanTrigger:
        """Return the trigger that waits for what was created."""
        return super().make_trigger(cancel_on_kill=self.cancel_on_kill and self._can_stop, **kwargs)

    def ended(self, context: Context) -> None:
        """Remember that its result was handed over, or its end was seen."""
        self.deliver(context)

    def restore_ids(self, context: Context, ids: dict[str, str]) -> None:
        """Take over the id of what was created before this task was deferred."""
        kind = self.kind
        self.object_id = ids.get(kind.id_name) or self.remembered_id(context, kind)

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
        if user_has_ended_task(self._left, or_cleared=self.on_clear == "restart"):
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
