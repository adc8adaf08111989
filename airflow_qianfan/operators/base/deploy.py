"""Deploys a model version, as a new service or behind one that exists, waits, and tries it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_qianfan.arguments import member, option, templated
from airflow_qianfan.compat import AFTER_A_CLEAR, AirflowTaskTimeout
from airflow_qianfan.exceptions import (
    QianfanError,
    QianfanExecutionTimeoutError,
    QianfanPollError,
    QianfanTerminalStateError,
    QianfanUpdateError,
)
from airflow_qianfan.operators.base.smoke import read_messages, smoke_test
from airflow_qianfan.operators.base.wait import QianfanWaitingOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_qianfan.api.objects import RemoteObject
    from airflow_qianfan.operators.base.origin import Origin
    from airflow_qianfan.operators.base.update import ServiceUpdate

PROTOCOL = 2
"""The inference protocol unless the user says otherwise."""


class QianfanNewServiceOperator(QianfanWaitingOperator):
    """The arguments that describe a service. Objects may be given as JSON text too, as a template does."""

    model_set_id: str = member("the model set, ``am-…``.")
    model_id: str = member("its version, ``amv-…``, which must be Ready.")
    name: str | None = member(
        "name of the service, 2 to 20 characters; None makes one from DAG and run.",
        default=None,
        length=(2, 20),
    )
    url_suffix: str | None = member(
        "end of its address, 2 to 20 of ``a-z0-9_-``, the first and last a letter or digit; None makes one.",
        default=None,
        length=(2, 20),
    )
    description: str | None = member(
        "at most 500 characters; a mark is added by which the service is found again.",
        default=None,
        length=(0, 500),
    )
    deployment_config: Mapping[str, Any] | str | None = member(
        "deploy on compute units that were bought before: ``deploymentComputeUnitList``, ``qps`` …",
        default=None,
        json=True,
    )
    resource_config: Mapping[str, Any] | str | None = member(
        "resources to buy, with ``billing``: ``type``, ``region``, ``qps``, ``replicasCount``.",
        default=None,
        json=True,
    )
    billing: Mapping[str, Any] | str | None = member(
        "how they are paid: ``paymentTiming``, ``chargeType``, ``reservation``.", default=None, json=True
    )
    protocol_version: int | str | None = member(
        "inference protocol that the service speaks, 1 or 2; None leaves it to Qianfan, which takes the "
        "withdrawn 1.",
        default=PROTOCOL,
    )

    def make_create(self, origin: Origin, action: str, kind: type[RemoteObject], **members: Any) -> Any:
        """Return the request that creates the service; see :meth:`QianfanCreateOperator.make_create`."""
        names = {name: getattr(self, name) or origin.name for name in ("name", "url_suffix")}
        return super().make_create(origin, action, kind, **names, **members)


class QianfanDeployOperator(QianfanNewServiceOperator):
    """Creates a service, or updates one that exists; waits for it; then tries it."""

    modify_action: ClassVar[str]
    """The request that puts another version behind a service."""

    service_id: str | None = member(
        "the service that is to serve the version, ``svco-…``; None creates one.", default=None
    )
    smoke_test: Sequence[Mapping[str, Any]] | str | None = templated(
        "what the service is asked once it serves: a prompt, or messages as the chat API takes them, as a "
        "list or as JSON text. It is tried for a minute.",
        default=None,
        json=True,
    )
    roll_back: bool = option(
        "bring a service that existed before back to the version before, where the update or the smoke test "
        "fails.",
        default=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.wait_for_completion and (self.smoke_test is not None or self.roll_back):
            raise ValueError("smoke_test and roll_back wait, wait_for_completion=False does not: choose one")
        if self.roll_back and self.service_id is None:
            raise ValueError("roll_back needs service_id: a new service has no version before")
        self._update: ServiceUpdate | None = None

    @property
    def _can_stop(self) -> bool:
        # What existed before may serve others.
        return not self.service_id and super()._can_stop

    def _make_update(self, context: Context) -> ServiceUpdate:
        from airflow_qianfan.operators.base.update import ServiceUpdate, Update

        request = self.make_request(self.modify_action)
        wanted = Update(request.service_id, request.model_set_id, request.model_id)
        self._update = ServiceUpdate(self.hook, context, self.log, wanted, durable=self.durable)
        self._update.is_forbidden = self._is_killed
        return self._update

    def submit(self, context: Context) -> dict[str, Any]:
        """Create the service, or order its update, and return its ids."""
        # Refuses bad messages before anything is paid.
        read_messages(self.smoke_test)
        if not self.service_id:
            output = super().submit(context)
            return {**output, "model_id": self.model_id, "previous_model_id": None}
        update = self._make_update(context)
        self.object_id = update.update.service_id
        try:
            update.begin(must_know_version=self.roll_back)
        finally:
            update.tell()
        ids = update.update
        return {
            "service_id": ids.service_id,
            "model_id": ids.model_id,
            "previous_model_id": ids.previous_model_id,
        }

    def restore_ids(self, context: Context, ids: dict[str, str]) -> None:
        """Take over what was known before this task was deferred."""
        if self.service_id:
            self.object_id = self.service_id
            self._make_update(context).resume()
            return
        super().restore_ids(context, ids)
        # A user may end this task during the smoke test, too.
        self._main = self._main or self.submission(context, self.kind, self.build)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Take over from the trigger; see :meth:`QianfanWaitingOperator.execute_complete`."""
        try:
            return super().execute_complete(context, event)
        except AirflowTaskTimeout:
            raise self.timed_out(context) from None

    def finished(self, context: Context, output: dict[str, Any]) -> dict[str, Any]:
        """Check which version it serves, ask it, and return the result."""
        update = self._update
        if update is None:
            found = self.hook.call(self.kind.describe(self.object_id or ""))
        else:
            found = update.served(update.update.model_id)
            if found.is_updating:
                # The last poll has read too old a state.
                return self._wait(context)
        messages = read_messages(self.smoke_test)
        answer = smoke_test(self.hook, found.address, messages, self.log, found.label) if messages else None
        if update is not None:
            update.done()
        return {
            "service_id": found.service_id,
            "model_set_id": found.model_set_id or self.model_set_id,
            "model_id": found.model_id or self.model_id,
            "previous_model_id": update.update.previous_model_id if update else None,
            "url": found.url,
            "endpoint": found.endpoint,
            # This read may lag behind what the task has waited for.
            "status": output.get("status") or found.status,
            "answer": answer,
            "console_url": output.get("console_url"),
        }

    def _finish(self, context: Context, event: dict[str, Any] | None) -> dict[str, Any]:
        try:
            return super()._finish(context, event)
        except (QianfanPollError, QianfanExecutionTimeoutError):
            # Nobody knows how it is; or it was taken back already.
            raise
        except QianfanError as error:
            if self._update is not None and self._update.update.stage.startswith("roll"):
                raise
            if self._update is None:
                if not isinstance(error, QianfanTerminalStateError):
                    self.log.error("Service %s goes on, and costs money: %s.", self.object_id, AFTER_A_CLEAR)
                raise
            if (outcome := self._take_back()) is None:
                raise
            raise QianfanUpdateError(f"{error.what_happened()}; {outcome}") from error

    def _take_back(self) -> str | None:
        """Bring the service back to the version before, if so asked; return how that went."""
        update = self._update
        if update is None or not self.roll_back:
            return None
        ids = update.update
        if ids.previous_model_id in (None, ids.model_id):
            return f"service {ids.service_id} has no version before to be taken back to"
        self.log.warning("Taking service %s back to %s.", ids.service_id, ids.previous_model_id)
        try:
            previous = update.roll_back(float(self.poll_interval or 0) or 10.0)
        except QianfanError as error:
            return (
                f"service {ids.service_id} could not be taken back to {ids.previous_model_id}: "
                f"{error.what_happened()}"
            )
        return f"service {ids.service_id} was taken back, and serves {previous} again"

    def timed_out(self, context: Context) -> QianfanExecutionTimeoutError:
        """Take a new service off line, or an update back, and return the error that says so."""
        if not self.service_id:
            return super().timed_out(context)
        outcome = self._take_back() or f"the update of service {self.service_id} may go on; {AFTER_A_CLEAR}"
        return QianfanExecutionTimeoutError(f"execution_timeout is over: {self.execution_timeout}; {outcome}")

    def on_kill(self) -> None:
        """Order nothing any more, and take a new service off line where a user has ended this task."""
        if self._update is not None:
            self._update.is_forbidden = True
        super().on_kill()
