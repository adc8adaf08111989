"""Operators of model sets and models: one for each Action, and whole steps."""

from __future__ import annotations

from airflow_qianfan.operators.model.compression import (
    QianfanCancelModelCompTaskOperator,
    QianfanCreateModelCompTaskOperator,
    QianfanDeleteModelCompTaskOperator,
    QianfanDescribeModelCompTaskOperator,
    QianfanDescribeModelCompTasksOperator,
    QianfanModelCompressionOperator,
)
from airflow_qianfan.operators.model.export import (
    QianfanCreateModelExportTaskOperator,
    QianfanDescribeModelExportTaskOperator,
    QianfanModelExportOperator,
)
from airflow_qianfan.operators.model.model_set import (
    QianfanCreateCustomModelSetOperator,
    QianfanDeleteModelSetOperator,
    QianfanDescribeCustomModelSetsOperator,
    QianfanDescribeModelSetOperator,
)
from airflow_qianfan.operators.model.preset import (
    QianfanDescribeModelCustomAdvancedConfOperator,
    QianfanDescribeModelSystemAdvancedConfOperator,
    QianfanDescribeSystemModelOperator,
    QianfanDescribeSystemModelSetOperator,
    QianfanDescribeSystemModelSetsOperator,
)
from airflow_qianfan.operators.model.version import (
    QianfanCreateCustomModelOperator,
    QianfanDeleteModelOperator,
    QianfanDescribeModelOperator,
)

__all__ = [
    "QianfanCancelModelCompTaskOperator",
    "QianfanCreateCustomModelOperator",
    "QianfanCreateCustomModelSetOperator",
    "QianfanCreateModelCompTaskOperator",
    "QianfanCreateModelExportTaskOperator",
    "QianfanDeleteModelCompTaskOperator",
    "QianfanDeleteModelOperator",
    "QianfanDeleteModelSetOperator",
    "QianfanDescribeCustomModelSetsOperator",
    "QianfanDescribeModelCompTaskOperator",
    "QianfanDescribeModelCompTasksOperator",
    "QianfanDescribeModelCustomAdvancedConfOperator",
    "QianfanDescribeModelExportTaskOperator",
    "QianfanDescribeModelOperator",
    "QianfanDescribeModelSetOperator",
    "QianfanDescribeModelSystemAdvancedConfOperator",
    "QianfanDescribeSystemModelOperator",
    "QianfanDescribeSystemModelSetOperator",
    "QianfanDescribeSystemModelSetsOperator",
    "QianfanModelCompressionOperator",
    "QianfanModelExportOperator",
]
