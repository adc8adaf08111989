"""Deletes, and whatever else ends something that may be gone already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_qianfan.arguments import option
from airflow_qianfan.exceptions import QianfanNotFoundError, QianfanOperationFailedError, QianfanRequestError
from airflow_qianfan.operators.base.operator import QianfanRequestOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_qianfan.api.objects import RemoteObject


class QianfanRemovalOperator(QianfanRequestOperator):
    """Ends or deletes an object that may be gone already."""

    kind_path: ClassVar[str]
    """The kind of object, such as ``finetuning.FineTuningTask``."""

    if_missing: Literal["fail", "ignore"] = option(
        "``fail`` where it does not exist, or ``ignore`` that and succeed.", default="fail"
    )

    @property
    def kind(self) -> type[RemoteObject]:
        """The kind of object."""
        from airflow_qianfan.api.actions import load

        kind: type[RemoteObject] = load(self.kind_path)
        return kind

    @property
    def object_id(self) -> str:
        """The id of the object."""
        return str(getattr(self, self.kind.id_name))

    def accept_missing(self, error: QianfanNotFoundError) -> bool:
        """Return whether it was this task that removed what is missing now.

        :raises QianfanNotFoundError: it was not, and ``if_missing`` does not ignore that.
        """
        what = f"{self.kind.noun} {self.object_id}"
        if error.after_lost_answer:
            self.log.info("The %s is gone: an earlier attempt, whose answer was lost, took effect.", what)
            return True
        if self.if_missing == "fail":
            raise error
        self.log.info("The %s does not exist; if_missing='ignore' allows that.", what)
        return False


class QianfanDeleteOperator(QianfanRemovalOperator):
    """Deletes an object. Returns its id and ``deleted``, which is False where it did not exist."""

    def run_action(self, context: Context) -> dict[str, Any]:
        """Delete it.

        :raises QianfanNotFoundError: there is none, and ``if_missing`` is ``fail``.
        """
        lost = False
        try:
            try:
                self.hook.call(self.make_request())
            except (QianfanOperationFailedError, QianfanRequestError) as refusal:
                # What the service answers for what is gone is not documented: looking for it tells.
                lost = refusal.after_lost_answer
                self.hook.call(self.kind.describe(self.object_id))
                raise
        except QianfanNotFoundError as error:
            error.after_lost_answer = error.after_lost_answer or lost
            deleted = self.accept_missing(error)
        else:
            deleted = True
        return {self.kind.id_name: self.object_id, "deleted": deleted}
