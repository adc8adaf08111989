"""Watches a model set: an event for each version that becomes Ready, whoever has published it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_qianfan.asset_uris import asset_uri
from airflow_qianfan.compat import AirflowException, AirflowRuntimeError, aget_task_state
from airflow_qianfan.compat.assets import watcher_memory
from airflow_qianfan.exceptions import QianfanError, QianfanNotFoundError
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.settings import setting
from airflow_qianfan.triggers.base.loading import load_for_polling
from airflow_qianfan.triggers.base.polling import MAX_BACKOFF, Target, check_seconds
from airflow_qianfan.triggers.base.watch import Seen, claim_key

if TYPE_CHECKING:
    from airflow_qianfan.api.actions.model import Model
    from airflow_qianfan.compat.assets import Memory
    from airflow_qianfan.triggers.base.registry import PollerLease

STORE_SECONDS = 2.0
"""Seconds until what a trigger writes is sure to reach Airflow after its event: a triggerer passes events on
one second after its last exchange with its supervisor, which stores them before it handles anything else."""

_ENDED_WITHOUT_EVENT = ("failed", "upstream_failed", "skipped", "removed")


class QianfanModelVersionTrigger(BaseEventTrigger):
    """Yields an event for each version of a model set that becomes Ready. It never ends by itself.

    Versions that exist when it runs for the first time are no news. From then on it remembers what it has
    told, so that a restart of the triggerer neither loses nor repeats one. A version that failed is no news.

    An event holds ``model_set_id``, ``model_id``, ``model_name``, ``state``, ``fine_tuning_task_id`` (where
    the service shows it) and ``is_repeated``: whether an earlier event may be stored, too, since the
    triggerer was killed in the seconds in which it sent one.

    :param model_set_id: the model set, ``am-…``.
    :param qianfan_conn_id: id of the connection.
    :param poll_interval: seconds between two polls; a tenth is added or taken away at random. None takes
        ``[qianfan] poll_interval``.
    """

    def __init__(
        self,
        *,
        model_set_id: str,
        qianfan_conn_id: str = QianfanHook.default_conn_name,
        poll_interval: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if not model_set_id:
            raise ValueError("model_set_id must be the id of a model set, am-…")
        if poll_interval is not None:
            check_seconds("poll_interval", poll_interval)
        self.model_set_id = model_set_id
        self.qianfan_conn_id = qianfan_conn_id
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments; they are stored unencrypted, so they hold no secret."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "model_set_id": self.model_set_id,
            "qianfan_conn_id": self.qianfan_conn_id,
            "poll_interval": self.poll_interval,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each new version."""
        await load_for_polling("model.ModelSet")
        from airflow_qianfan.triggers.base.registry import PollerLease

        interval = self.poll_interval or setting("poll_interval")
        # At once, since what appears before the first poll is no news.
        pause, failures = 0.0, 0
        sent: list[str] = []
        async with PollerLease(self.qianfan_conn_id) as lease:
            while True:
                try:
                    await self._settle(lease, sent)
                    async for version, is_repeated in self._news(lease, interval, pause):
                        sent.append(version.model_id)
                        yield TriggerEvent(_payload(self.model_set_id, version, is_repeated))  # type: ignore[no-untyped-call]
                        # One by one: Airflow may start no run for an event that comes while it starts one.
                        await self._settle(lease, sent)
                    failures = 0
                except Exception as error:
                    # Nobody waits who could be told, and the next version must not be missed.
                    failures += 1
                    is_known = isinstance(error, (AirflowException, AirflowRuntimeError))
                    self.logger().error(
                        "Model set %s cannot be watched (%d in a row); new versions are told later: %s",
                        self.model_set_id,
                        failures,
                        error if is_known else type(error).__name__,
                    )
                longest = max(MAX_BACKOFF, interval)
                wanted = max(interval, lease.affordable_pause) * 2.0 ** min(max(failures - 1, 0), 30)
                pause = min(wanted, longest) * random.uniform(0.9, 1.1)  # noqa: S311 - only spreads the load

    async def _news(
        self, lease: PollerLease, interval: float, pause: float
    ) -> AsyncIterator[tuple[Model, bool]]:
        """Yield the versions to tell, oldest first, and whether each may have been told before."""
        from airflow_qianfan.api.actions.model import Model, ModelSet
        from airflow_qianfan.api.objects import Phase

        found = await lease.poll(Target(ModelSet, self.model_set_id), interval, pause)
        memory = self._memory(lease)
        seen = await Seen.read(memory)
        if seen is None:
            await Seen(told=list(found.model_ids)).write(memory)
            self.logger().info(
                "Watching model set %s, which has %d versions.", self.model_set_id, len(found.model_ids)
            )
            return
        failure: QianfanError | None = None
        for model_id in reversed(found.model_ids):
            if not seen.is_news(model_id):
                continue
            try:
                version = await lease.poll(Target(Model, model_id), interval, 0.0)
            except QianfanNotFoundError:
                # Deleted, or too new to be read.
                continue
            except QianfanError as error:
                # One that cannot be read holds up no other.
                failure = error
                continue
            if not version.state.is_final:
                continue
            # What another triggerer or an operator has done meanwhile counts.
            seen = await Seen.read(memory) or seen
            if not seen.is_news(model_id):
                continue
            if version.state.phase is not Phase.SUCCEEDED:
                seen.settle([model_id])
                await seen.write(memory)
                continue
            is_repeated = model_id in seen.telling
            if await self._may_tell(memory, seen, model_id):
                yield version, is_repeated
        # What was told meanwhile is there.
        seen = await Seen.read(memory) or seen
        if seen.forget_gone(found.model_ids):
            await seen.write(memory)
        if failure is not None:
            self.logger().error("A version of model set %s cannot be read: %s", self.model_set_id, failure)

    async def _may_tell(self, memory: Memory, seen: Seen, model_id: str) -> bool:
        """Return whether no operator tells of a version; see :mod:`airflow_qianfan.triggers.base.watch`."""
        seen.telling[model_id] = time.time()
        await seen.write(memory)
        claim = await memory.aget(claim_key(model_id))
        if claim is None:
            return True
        state = await _state_of(claim)
        if state in _ENDED_WITHOUT_EVENT:
            await memory.adelete(claim_key(model_id))
            return True
        if state == "success":
            seen.settle([model_id])
        else:
            # It tells when it succeeds, and may yet fail.
            del seen.telling[model_id]
        await seen.write(memory)
        if state == "success":
            await memory.adelete(claim_key(model_id))
        return False

    async def _settle(self, lease: PollerLease, sent: list[str]) -> None:
        """Remember what was sent, once it is stored."""
        if not sent:
            return
        memory = self._memory(lease)
        await Seen.read(memory)
        await asyncio.sleep(STORE_SECONDS)
        # Where somebody has deleted it, all that is there is no news again.
        if (seen := await Seen.read(memory)) is not None:
            seen.settle(sent)
            await seen.write(memory)
        sent.clear()

    def _memory(self, lease: PollerLease) -> Memory:
        return watcher_memory(self, asset_uri("model-sets", self.model_set_id, lease.endpoint))


async def _state_of(claim: dict[str, Any]) -> str | None:
    """Return the state of the task that has claimed a version; one that is gone tells nothing any more."""
    try:
        return await aget_task_state(SimpleNamespace(**claim))
    except LookupError:
        return "removed"


def _payload(model_set_id: str, version: Model, is_repeated: bool) -> dict[str, Any]:
    source = version.source_info if isinstance(version.source_info, dict) else {}
    return {
        "model_set_id": model_set_id,
        "model_id": version.model_id,
        "model_name": version.model_name,
        "state": version.status,
        "fine_tuning_task_id": source.get("taskId"),
        "is_repeated": is_repeated,
    }
