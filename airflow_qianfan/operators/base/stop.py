"""Stops an object, and waits until it has really ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_qianfan.arguments import option
from airflow_qianfan.exceptions import QianfanNotFoundError, QianfanWaitTimeoutError
from airflow_qianfan.operators.base.remove import QianfanRemovalOperator
from airflow_qianfan.triggers.base.cancel import run_steps, stop_steps
from airflow_qianfan.triggers.base.polling import Target, check_seconds

if TYPE_CHECKING:
    from airflow.sdk import Context


class QianfanStopOperator(QianfanRemovalOperator):
    """Stops an object. One that has ended already is left as it is.

    Returns its id, ``status`` and the service's own word for it, which tell how it ended; None where it does
    not exist and ``if_missing`` ignores that.
    """

    wait_for_completion: bool = option("wait until it has really ended.", default=True)
    poll_interval: float = option("seconds between two polls.", default=10.0)
    timeout: float = option("seconds to wait at most.", default=600.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_seconds("poll_interval", self.poll_interval)

    def run_action(self, context: Context) -> dict[str, Any]:
        """Stop it.

        :raises QianfanNotFoundError: there is none, and ``if_missing`` is ``fail``.
        :raises QianfanWaitTimeoutError: it has not ended within ``timeout``.
        """
        target = Target(self.kind, self.object_id)
        steps = stop_steps(target, pause=float(self.poll_interval), wait=self.wait_for_completion)
        try:
            found = run_steps(steps, self.hook, seconds=self.timeout)
        except QianfanNotFoundError as error:
            self.accept_missing(error)
            return {self.kind.id_name: self.object_id, "status": None, self.kind.state_member: None}
        except QianfanWaitTimeoutError as error:
            raise QianfanWaitTimeoutError(f"{target.label} was told to stop: {error.message}") from None
        self.log.info("%s is %s.", found.label, found.status)
        self.console_url = self.console_page(found)
        word = getattr(found, self.kind.state_member)
        return {self.kind.id_name: self.object_id, "status": found.status, self.kind.state_member: word}
