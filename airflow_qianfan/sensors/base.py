"""What all sensors share: poll, in poke, reschedule and deferrable mode."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_qianfan import links
from airflow_qianfan.arguments import DeclaresArguments, airflow_option, option, templated
from airflow_qianfan.compat import (
    AirflowException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    conf,
    task_state_store,
)
from airflow_qianfan.exceptions import (
    QianfanAuthenticationError,
    QianfanError,
    QianfanNotFoundError,
    QianfanWaitTimeoutError,
)
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.report import report_errors
from airflow_qianfan.triggers import load
from airflow_qianfan.triggers.base.cancel import stop_object, user_has_ended_task
from airflow_qianfan.triggers.base.polling import (
    LAST_POLL,
    MAX_REFUSED,
    PollSettings,
    PollState,
    Target,
    check_seconds,
    output_of,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_qianfan.triggers.base.trigger import QianfanTrigger


PROGRESS_KEY = "progress_log"
"""Under which key Airflow remembers what the log of a sensor in reschedule mode has said."""


class QianfanSensor(DeclaresArguments, BaseSensorOperator):
    """Waits until an object is in a final state.

    The return value is a dict; each of its members is an XCom of its own too. A subclass names its trigger
    and states the id of the object.
    """

    ui_color = "#e8eefc"
    operator_extra_links = links.TAB

    trigger_path: ClassVar[str]
    """What waits for it in the triggerer, such as ``finetuning.QianfanFineTuningTaskTrigger``; see
    :func:`airflow_qianfan.triggers.load`."""

    qianfan_conn_id: str = templated("id of the connection.", default=QianfanHook.default_conn_name)
    deferrable: bool | None = option(
        "wait in the triggerer instead of on a worker; None takes Airflow's ``[operators] "
        "default_deferrable``.",
        default=None,
    )
    max_poll_failures: int = option(
        "how many failures in a row to tolerate. In reschedule mode every poll is a process of its own, so "
        "failures are tolerated until ``timeout``.",
        default=10,
    )
    max_poll_interval: float | None = option(
        "seconds between two polls at most, where the sensor is deferrable and there is long to go; None "
        "takes "
        "``[qianfan] max_poll_interval``, which is 600.",
        default=None,
        setting="max_poll_interval",
    )
    cancel_on_kill: bool = option(
        "stop the object, where the service can, when a user ends this task. In reschedule mode this holds "
        "only while a poll is going on.",
        default=False,
    )
    poke_interval: timedelta | float | None = airflow_option(  # type: ignore[assignment]
        "seconds between two polls, at least where the sensor is deferrable; None takes ``[qianfan] "
        "poll_interval`` of Airflow's configuration, which is 30.",
        default=None,
        setting="poll_interval",
    )
    timeout: timedelta | float | None = airflow_option(  # type: ignore[assignment]
        "seconds to wait at most, in all modes; None takes Airflow's ``[sensors] default_timeout``.",
        default=None,
    )
    mode: str = airflow_option("``poke`` or ``reschedule``, where it is not deferrable.", default="poke")
    soft_fail: bool = airflow_option("skip the task instead of failing.", default=False)
    exponential_backoff: bool = airflow_option("see ``BaseSensorOperator``.", default=False)
    max_wait: timedelta | None = airflow_option("see ``BaseSensorOperator``.", default=None)
    silent_fail: bool = airflow_option("see ``BaseSensorOperator``.", default=False)
    never_fail: bool = airflow_option("see ``BaseSensorOperator``.", default=False)
    multiple_outputs: bool = airflow_option("make an XCom of each member of the return value.", default=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.deferrable is None:
            self.deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
        check_seconds("max_poll_interval", self.max_poll_interval)
        self.console_url: str | None = None
        #: The task instance once its execution on this worker is over.
        self._left: Any = None
        self._shows_links = False
        self._state: PollState | None = None

    @cached_property
    def hook(self) -> QianfanHook:
        """The hook of this task."""
        return QianfanHook(self.qianfan_conn_id)

    @classmethod
    def trigger_class(cls) -> type[QianfanTrigger]:
        """Return what waits for it in the triggerer."""
        return load(cls.trigger_path)

    @property
    def target(self) -> Target:
        """What is waited for."""
        trigger = self.trigger_class()
        return Target(trigger.kind(), getattr(self, trigger.id_name))

    def make_trigger(self, **kwargs: Any) -> QianfanTrigger:
        """Return the trigger that waits in the triggerer."""
        trigger = self.trigger_class()
        parent_id = self._state.target.parent_id if self._state else None
        parent = {trigger.parent_name: parent_id} if trigger.parent_name else {}
        return trigger(
            qianfan_conn_id=self.qianfan_conn_id,
            cancel_on_kill=self.cancel_on_kill,
            console_url=self.console_url,
            **self._poll_options(),
            **{trigger.id_name: getattr(self, trigger.id_name), **parent},
            **kwargs,
        )

    def _poll_options(self) -> dict[str, Any]:
        return {
            "poll_interval": self.poke_interval,
            "max_poll_interval": self.max_poll_interval,
            "max_poll_failures": self.max_poll_failures,
        }

    def execute(self, context: Context) -> Any:
        """Wait, in the mode of this sensor."""
        self._left = None
        try:
            with report_errors(self.log, self.qianfan_conn_id):
                return self._poll_and_defer(context) if self.deferrable else super().execute(context)
        except (AirflowSkipException, AirflowRescheduleException):
            raise
        except AirflowException as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipping: {error}") from error
            raise
        finally:
            self._left = context["ti"]

    def _poll_and_defer(self, context: Context) -> Any:
        found = self.poke(context)
        if not isinstance(found, PokeReturnValue):
            # Airflow has made numbers of both.
            timeout, interval = float(self.timeout), float(self.poke_interval)  # type: ignore[arg-type]
            self.defer(
                trigger=self.make_trigger(deadline=time.time() + timeout),
                method_name="execute_complete",
                # The trigger's own deadline comes first; this is the net below it.
                timeout=timedelta(seconds=timeout + 2 * (interval + LAST_POLL)),
            )
        return found.xcom_value

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Poll once.

        :raises QianfanTerminalStateError: what was waited for failed or was stopped.
        :raises QianfanError: it could not be read.
        """
        if self._state is None:
            settings = PollSettings(started=self._started(context), **self._poll_options())
            self._state = PollState(self.target, settings, self.log, self.hook.console_url)
        state = self._state
        try:
            with self._progress_kept(context, state):
                event = state.record(self.hook.call(state.target.request()))
        except QianfanError as error:
            # In reschedule mode each poll is a process of its own, so that nobody counts: the time tells.
            is_new = time.time() - state.settings.started < MAX_REFUSED * state.settings.poll_interval
            may_pass = error.transient or (isinstance(error, QianfanNotFoundError) and is_new)
            if self.reschedule and not may_pass:
                raise
            state.record_failure(error)
            if isinstance(error, QianfanAuthenticationError):
                self.hook.reload()
            return False
        self.console_url = state.console_url
        if not (self._shows_links or self.deferrable or self.reschedule):
            links.push_links(self, context)
            self._shows_links = True
        return False if event is None else PokeReturnValue(True, output_of(event))

    @contextmanager
    def _progress_kept(self, context: Context, state: PollState) -> Iterator[None]:
        """Let the log of one process go on in the next, where each poll is a process of its own."""
        store = task_state_store(context) if self.reschedule else None
        if store is None:
            yield
            return
        ti: Any = context["ti"]
        whose = [ti.try_number, state.target.object_id]
        # Whatever the store answers, only the log gets longer.
        with suppress(Exception):
            kept = store.get(PROGRESS_KEY)
            if isinstance(kept, dict) and kept.get("whose") == whose:
                state.progress.restore(kept)
        before = state.progress.memory
        yield
        if state.progress.memory != before:
            with suppress(Exception):
                store.set(PROGRESS_KEY, {"whose": whose, **state.progress.memory})

    def _started(self, context: Context) -> float:
        if not self.reschedule:
            return time.time()
        ti: Any = context["ti"]
        first = ti.get_first_reschedule_date(context)
        return first.timestamp() if first else time.time()

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Take over from the trigger.

        :raises QianfanTerminalStateError: what was waited for failed or was stopped.
        :raises QianfanPollError: its state could not be read.
        :raises AirflowSensorTimeout: it took longer than ``timeout``.
        """
        output = event.get("output") if isinstance(event, dict) else None
        self.console_url = output.get("console_url") if isinstance(output, dict) else None
        with report_errors(self.log, self.qianfan_conn_id):
            try:
                return output_of(event)
            except QianfanWaitTimeoutError as error:
                raise AirflowSensorTimeout(str(error)) from None

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Take over from Airflow, also where it gave up waiting for the trigger."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except Exception:
            links.recall_page(self, context)
            raise
        finally:
            self._left = context.get("ti")

    def on_kill(self) -> None:
        """Stop the object, where a user has ended this task and ``cancel_on_kill`` asks for it."""
        target = self.target
        can_stop = self.cancel_on_kill and target.kind.stop(target.object_id) is not None
        if can_stop and user_has_ended_task(self._left):
            # Airflow kills this process after 5 s, and the interrupted client may hold a lock.
            hook = QianfanHook(self.qianfan_conn_id, timeout=2, max_retries=0)
            why = "the Airflow task that waited for it was ended"
            stop_object(hook, target, why, self.log, seconds=2)
