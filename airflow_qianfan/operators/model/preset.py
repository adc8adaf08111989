"""Operators of the models that the platform offers, and of the settings that imported models may have."""

from __future__ import annotations

from airflow_qianfan.arguments import member
from airflow_qianfan.operators.base.list import QianfanListOperator
from airflow_qianfan.operators.base.operator import QianfanRequestOperator


class QianfanDescribeSystemModelSetsOperator(QianfanListOperator):
    """List the preset model sets (DescribeSystemModelSets). Returns a list of dicts like those of
    :class:`QianfanDescribeSystemModelSetOperator`.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/imnimpnf7
    """

    action = "model.DescribeSystemModelSets"


class QianfanDescribeSystemModelSetOperator(QianfanRequestOperator):
    """Describe a preset model set (DescribeSystemModelSet), found by id or by name.

    Returns ``model_set_id``, ``model_set_name``, ``model_type``, ``description``, ``model_ids`` and
    ``model_names``.

    .. seealso::
        https://ai.baidu.com/ai-doc/WENXINWORKSHOP/Lm3s3u253
    """

    action = "model.DescribeSystemModelSet"

    model_set_id: str | None = member("the model set, ``am-…``.", default=None)
    model_set_name: str | None = member(
        "its name, such as ``ERNIE Lite``; give exactly one of the two.", default=None
    )


class QianfanDescribeSystemModelOperator(QianfanRequestOperator):
    """Describe a preset model version (DescribeSystemModel).

    Returns ``model_id``, ``model_set_id``, ``model_name``, ``status``, ``description``,
    ``model_application_type``, ``token_limitations``, ``is_support_deploy``, ``is_support_model_comp``,
    ``is_support_evaluation`` and ``capabilities``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/7mnimyrcg
    """

    action = "model.DescribeSystemModel"

    model_id: str = member("the version, ``amv-…``.")


class QianfanDescribeModelSystemAdvancedConfOperator(QianfanRequestOperator):
    """Show the settings that a model is imported with (DescribeModelSystemAdvancedConf).

    Returns ``advance_conf``, the JSON text that ``advanceConf`` of ``import_meta`` takes, and ``settings``,
    what it holds. The connection's key needs a policy for writing.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Dmnikcy0e
    """

    action = "model.DescribeModelSystemAdvancedConf"

    basic_model_name: str = member("base model, or ``HuggingFace``.")
    model_format: str = member("``HuggingFace.Transformers``.")
    model_application_type: str = member("``chat`` or ``completion``.")


class QianfanDescribeModelCustomAdvancedConfOperator(QianfanRequestOperator):
    """Show the advanced settings of a model version (DescribeModelCustomAdvancedConf).

    Returns ``advance_conf``, the service's JSON text, and ``settings``, what it holds.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/lmnilunwq
    """

    action = "model.DescribeModelCustomAdvancedConf"

    model_id: str = member("the version, ``amv-…``.")
