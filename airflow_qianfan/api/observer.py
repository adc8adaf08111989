"""Who is told how calls go, such as metrics; this package knows nothing of Airflow's."""

from __future__ import annotations

from typing import Protocol

from airflow_qianfan.exceptions import QianfanError


class Observer(Protocol):
    """Is told how the calls of a client go. It must neither raise nor block."""

    def call_retried(self, action: str, error: QianfanError) -> None:
        """Take that a call is sent again.

        :param action: name of the Action.
        :param error: why.
        """

    def call_ended(
        self, action: str, seconds: float, error: QianfanError | None, request_id: str | None
    ) -> None:
        """Take how a call has ended.

        :param action: name of the Action.
        :param seconds: how long it took, with all its attempts and the pauses between them.
        :param error: what it raises; None where it succeeded.
        :param request_id: the service's id of the last request, where it told one.
        """
