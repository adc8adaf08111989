"""Operators of model sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_qianfan.arguments import member, option
from airflow_qianfan.exceptions import QianfanAlreadyExistsError, QianfanRequestError
from airflow_qianfan.operators.base.create import QianfanCreateOperator
from airflow_qianfan.operators.base.list import QianfanListOperator
from airflow_qianfan.operators.base.operator import QianfanRequestOperator
from airflow_qianfan.operators.base.remove import QianfanDeleteOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

MODEL_SET = "model.ModelSet"


class QianfanCreateCustomModelSetOperator(QianfanCreateOperator):
    """Create a model set (CreateCustomModelSet). Returns ``model_set_id`` and ``model_set_name``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Pmnij91ff
    """

    action = "model.CreateCustomModelSet"
    custom_operator_name = "Create model set"
    kind_path = MODEL_SET

    model_set_name: str | None = member("unique name; None makes one from the DAG and its run.", default=None)
    model_type: str = member(
        "``Text2Text``, ``Text2Image``, ``Embedding``, ``ImageUnderstanding`` …", default="Text2Text"
    )
    labels: Sequence[str] | str | None = member(
        "labels of your own, as a list or as JSON text.", default=None, json=True
    )
    if_exists: Literal["fail", "use"] = option(
        "``fail`` where another model set has the name, or ``use`` that one.", default="fail"
    )

    def run_action(self, context: Context) -> dict[str, Any]:
        """Create the model set.

        :raises QianfanAmbiguousCreateError: nobody knows whether it was created.
        """
        if self.if_exists == "fail":
            return super().run_action(context)
        submission = self.submission(context, self.kind, self.build)
        found = submission.creation.same_name() if self.model_set_name else []
        is_used = bool(found)
        try:
            model_set_id: str | None = found[0] if found else submission.submit()
        except (QianfanRequestError, QianfanAlreadyExistsError):
            from airflow_qianfan.operators.base.lookup import find_by_name

            # Somebody else may have been faster, or the look-up above was stale.
            model_set_id = find_by_name(submission.creation)
            if model_set_id is None:
                raise
            is_used = True
        if is_used:
            from airflow_qianfan.metrics import count_attached

            count_attached(self.kind, "name")
        self.deliver(context)
        return self.created_output(submission.creation, str(model_set_id))


class QianfanDescribeModelSetOperator(QianfanRequestOperator):
    """Describe a model set (DescribeModelSet), found by id or by name.

    Returns ``model_set_id``, ``model_set_name``, ``model_type``, ``labels`` and ``model_ids``, newest first.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Rmnimjl8h
    """

    action = "model.DescribeModelSet"

    model_set_id: str | None = member("the model set, ``am-…``.", default=None)
    model_set_name: str | None = member("its name; give one of the two.", default=None)


class QianfanDescribeCustomModelSetsOperator(QianfanListOperator):
    """List the model sets of the account (DescribeCustomModelSets). Returns a list of dicts like those of
    :class:`QianfanDescribeModelSetOperator`.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Pmnilec50
    """

    action = "model.DescribeCustomModelSets"


class QianfanDeleteModelSetOperator(QianfanDeleteOperator):
    """Delete a model set (DeleteModelSet). Returns ``model_set_id`` and ``deleted``.

    What becomes of the versions in it is not documented: delete them first.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/7mniip3oc
    """

    action = "model.DeleteModelSet"
    kind_path = MODEL_SET

    model_set_id: str = member("the model set, ``am-…``.")
