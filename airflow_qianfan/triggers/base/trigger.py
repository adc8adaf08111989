"""The trigger that all kinds of objects share: poll, log progress, until a final state or a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_qianfan.compat import AirflowException, AirflowFailException, is_cancelled_by_airflow
from airflow_qianfan.exceptions import QianfanError
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.triggers.base.loading import load_for_polling
from airflow_qianfan.triggers.base.polling import LAST_POLL, TIMEOUT_EVENT, PollSettings, PollState, Target

if TYPE_CHECKING:
    from airflow_qianfan.api.objects import RemoteObject
    from airflow_qianfan.triggers.base.registry import PollerLease

ON_KILL_TIMEOUT = 30.0
"""Seconds for asking Airflow why the trigger was cancelled, and for stopping the object."""

_NO_LIMIT = nullcontext()


class QianfanTrigger(BaseTrigger):
    """Polls an object until it is in a final state.

    It only reads, so that a restarted triggerer can start it again at any time. A subclass says which kind of
    object it polls.

    :param qianfan_conn_id: id of the connection.
    :param poll_interval: seconds between two polls at least; a tenth is added or taken away at random.
    :param max_poll_interval: seconds between two polls at most, while there is long to go.
    :param started: when the waiting began, in seconds since the epoch; None for now.
    :param deadline: when to give up, in seconds since the epoch; None for never.
    :param max_poll_failures: how many failures in a row are tolerated.
    :param console_url: page of the console, if it is known already; every event leads to it.
    :param cancel_on_kill: whether a user who ends the waiting task (marks it as failed or successful) stops
        the object too, where the service can stop it. Restarts of the triggerer never do.
    :param carry: what the waiting task needs when it goes on; every event brings it back.
    :param ids: the id of the object, under its name in operators, such as ``fine_tuning_task_id``; and of
        what it belongs to, such as ``fine_tuning_job_id``, if it is known.
    """

    kind_path: ClassVar[str]
    """The kind of object, such as ``finetuning.FineTuningTask``; see
    :func:`airflow_qianfan.api.actions.load`. It is loaded when a task runs, not when a DAG file is parsed."""

    id_name: ClassVar[str]
    """:attr:`airflow_qianfan.api.objects.RemoteObject.id_name` of that kind."""

    parent_name: ClassVar[str | None] = None
    """:attr:`airflow_qianfan.api.objects.RemoteObject.parent_name` of that kind."""

    def __init__(
        self,
        *,
        qianfan_conn_id: str = QianfanHook.default_conn_name,
        poll_interval: float = 30.0,
        max_poll_interval: float = 600.0,
        started: float | None = None,
        deadline: float | None = None,
        max_poll_failures: int = 10,
        console_url: str | None = None,
        cancel_on_kill: bool = False,
        carry: dict[str, Any] | None = None,
        **ids: str | None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.object_id = ids.pop(self.id_name, None) or ""
        self.parent_id = ids.pop(self.parent_name, None) if self.parent_name else None
        if ids or not self.object_id:
            raise TypeError(f"{type(self).__name__} needs {self.id_name}, and knows no {sorted(ids)}")
        self.qianfan_conn_id = qianfan_conn_id
        self.poll_interval = poll_interval
        self.max_poll_interval = max(max_poll_interval, poll_interval)
        self.started = time.time() if started is None else started
        self.deadline = deadline
        self.max_poll_failures = max_poll_failures
        self.console_url = console_url
        self.cancel_on_kill = cancel_on_kill
        self.carry = carry
        self._has_asked = False

    @classmethod
    def kind(cls) -> type[RemoteObject]:
        """Return the kind of object."""
        from airflow_qianfan.api.actions import load

        kind: type[RemoteObject] = load(cls.kind_path)
        return kind

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments; they are stored unencrypted, so they hold no secret."""
        parent = {self.parent_name: self.parent_id} if self.parent_name else {}
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            self.id_name: self.object_id,
            **parent,
            "qianfan_conn_id": self.qianfan_conn_id,
            "poll_interval": self.poll_interval,
            "max_poll_interval": self.max_poll_interval,
            "started": self.started,
            "deadline": self.deadline,
            "max_poll_failures": self.max_poll_failures,
            "console_url": self.console_url,
            "cancel_on_kill": self.cancel_on_kill,
            **({} if self.carry is None else {"carry": self.carry}),
        }

    def poll_settings(self) -> PollSettings:
        """Return how the object is polled."""
        return PollSettings(
            poll_interval=self.poll_interval,
            max_poll_interval=self.max_poll_interval,
            max_poll_failures=self.max_poll_failures,
            started=self.started,
            deadline=self.deadline,
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: ``status`` is ``success``, ``failed``, ``timeout`` or ``error``."""
        try:
            await load_for_polling(self.kind_path)
            from airflow_qianfan.triggers.base.registry import PollerLease

            lease = PollerLease(self.qianfan_conn_id)
            state = PollState(
                Target(self.kind(), self.object_id, self.parent_id),
                self.poll_settings(),
                # A logger of the class: Airflow tells the lines of triggers apart by their context.
                self.logger(),
                lease.console_url,
            )
            async with lease:
                event = await self._wait(state, lease)
        except asyncio.CancelledError as error:
            if is_cancelled_by_airflow(error):
                # Airflow ends on_kill after a second, and with it the log. Here it waits.
                await self._stop_if_user_ended_task()
            raise
        except AirflowException as error:
            can_retry = not isinstance(error, AirflowFailException)
            message = f"cannot read the state of {state.target.label}: {error}"
            event = {"status": "error", "message": message, "can_retry": can_retry}
        output = {"console_url": state.console_url or self.console_url}
        event = {"output": output, **event, "ids": {self.id_name: self.object_id}}
        if self.carry is not None:
            event["carry"] = self.carry
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _wait(self, state: PollState, lease: PollerLease) -> dict[str, Any]:
        # The task has polled before it was deferred; a restarted triggerer must not ask for all at once.
        pause: float | None = state.first_pause()
        while pause is not None:
            limit = self._limit()
            try:
                async with limit:
                    event = state.record(await lease.poll(state.target, self.poll_interval, pause))
            except QianfanError as error:
                state.record_failure(error)
            except TimeoutError:
                if not isinstance(limit, asyncio.Timeout) or not limit.expired():
                    raise
                break
            else:
                if event is not None:
                    return event
            pause = state.pause(lease.affordable_pause)
        return TIMEOUT_EVENT

    def _limit(self) -> asyncio.Timeout | nullcontext[None]:
        # Thousands may wait without a deadline: they share one object, and need no timeout each.
        if self.deadline is None:
            return _NO_LIMIT
        return asyncio.timeout(max(0.0, self.deadline - time.time()) + LAST_POLL)

    async def on_kill(self) -> None:
        """Stop the object, where a user ended the task and ``cancel_on_kill`` asks for it."""
        await self._stop_if_user_ended_task()

    async def _stop_if_user_ended_task(self) -> None:
        if self._has_asked or not self.cancel_on_kill or self.kind().stop(self.object_id) is None:
            return
        self._has_asked = True
        from airflow_qianfan.triggers.base.cancel import stop_if_user_ended_task

        # The poller's client may be gone.
        await stop_if_user_ended_task(
            QianfanHook(self.qianfan_conn_id, timeout=ON_KILL_TIMEOUT / 2),
            Target(self.kind(), self.object_id),
            self.task_instance,
            self.log,
            seconds=ON_KILL_TIMEOUT,
        )
