"""What all sensors share: one look, in poke, reschedule and deferrable mode."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue, conf
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

from airflow_qianfan.exceptions import QianfanError, QianfanNotFoundError, QianfanWaitTimeoutError
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.triggers.base import (
    LAST_LOOK,
    MAX_REFUSED,
    QianfanTrigger,
    Watch,
    check_seconds,
    output_of,
)

if TYPE_CHECKING:
    from airflow.sdk import Context


class QianfanSensor(BaseSensorOperator):
    """Waits until a remote object has reached a final state.

    The return value is a dict; each of its members is an XCom of its own too.

    :param qianfan_conn_id: id of the connection. (templated)
    :param deferrable: wait in the triggerer instead of on a worker.
    :param max_poll_failures: how many failures in a row to bear. In reschedule mode every look is a process
        of its own, so failures are borne until ``timeout``.
    :param poke_interval: seconds between two looks, at least where the sensor is deferrable; None takes
        ``[qianfan] poll_interval`` of Airflow's configuration, which is 30.
    :param max_poll_interval: seconds between two looks at most, where the sensor is deferrable and there is
        long to go; None takes ``[qianfan] max_poll_interval``, which is 600.
    :param kwargs: see ``BaseSensorOperator``; ``timeout`` holds in all modes.
    """

    template_fields: Sequence[str] = ("qianfan_conn_id",)
    ui_color = "#e8eefc"

    def __init__(
        self,
        *,
        qianfan_conn_id: str = QianfanHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        max_poll_failures: int = 10,
        poke_interval: timedelta | float | None = None,
        max_poll_interval: float | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        if poke_interval is None:
            poke_interval = conf.getfloat("qianfan", "poll_interval", fallback=30.0)
        if max_poll_interval is None:
            max_poll_interval = conf.getfloat("qianfan", "max_poll_interval", fallback=600.0)
        check_seconds("max_poll_interval", max_poll_interval)
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.max_poll_interval = max_poll_interval
        self.qianfan_conn_id = qianfan_conn_id
        self.deferrable = deferrable
        self.max_poll_failures = max_poll_failures
        self.console_url: str | None = None
        self._watch: Watch | None = None

    @cached_property
    def hook(self) -> QianfanHook:
        """The hook of this task."""
        return QianfanHook(self.qianfan_conn_id)

    @abstractmethod
    def make_trigger(self, **kwargs: Any) -> QianfanTrigger:
        """Return the trigger that knows what to look at."""

    def execute(self, context: Context) -> Any:
        """Wait, in the mode of this sensor."""
        try:
            return self._look_and_defer(context) if self.deferrable else super().execute(context)
        except (AirflowSkipException, AirflowRescheduleException):
            raise
        except AirflowException as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipping: {error}") from error
            raise

    def _look_and_defer(self, context: Context) -> Any:
        seen = self.poke(context)
        if not isinstance(seen, PokeReturnValue):
            self.defer(
                trigger=self.make_trigger(deadline=time.time() + self.timeout, console_url=self.console_url),
                method_name="execute_complete",
                # The trigger's own deadline comes first; this is the net below it.
                timeout=timedelta(seconds=self.timeout + 2 * (self.poke_interval + LAST_LOOK)),
            )
        return seen.xcom_value

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Look once.

        :raises QianfanTerminalStateError: what was waited for failed or was stopped.
        :raises QianfanError: it could not be read.
        """
        if self._watch is None:
            self._watch = Watch(self.make_trigger(started=self._started(context)), self.log)
        trigger = self._watch.trigger
        try:
            event = self._watch.saw(trigger.observe(self.hook.call(trigger.request())))
        except QianfanError as error:
            # In reschedule mode each look is a process of its own, so that nobody counts: the time tells.
            is_new = time.time() - trigger.started < MAX_REFUSED * self.poke_interval
            may_pass = error.transient or (isinstance(error, QianfanNotFoundError) and is_new)
            if self.reschedule and not may_pass:
                raise
            self._watch.failed(error)
            return False
        self.console_url = trigger.console_url
        return False if event is None else PokeReturnValue(True, output_of(event))

    def _started(self, context: Context) -> float:
        first = context["ti"].get_first_reschedule_date(context) if self.reschedule else None
        return first.timestamp() if first else time.time()

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Take over from the trigger.

        :raises QianfanTerminalStateError: what was waited for failed or was stopped.
        :raises QianfanPollError: its state could not be read.
        :raises AirflowSensorTimeout: it took longer than ``timeout``.
        """
        output = event.get("output") if isinstance(event, dict) else None
        self.console_url = output.get("console_url") if isinstance(output, dict) else None
        try:
            return output_of(event)
        except QianfanWaitTimeoutError as error:
            raise AirflowSensorTimeout(str(error)) from None
