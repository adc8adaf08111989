"""Actions of evaluation (评估), route ``/v2/eval``: tasks, their reports, and exports of their results."""

from airflow_qianfan.api.actions.evaluation.export import (
    CreateEvalResultExportTask,
    CreateEvalResultExportTaskResult,
    DescribeEvalResultExportTask,
    EvalResultExportTask,
)
from airflow_qianfan.api.actions.evaluation.report import (
    DescribeEvalTaskReport,
    EvalReport,
    EvalReportEntry,
)
from airflow_qianfan.api.actions.evaluation.task import (
    CreateEvalTask,
    CreateEvalTaskResult,
    DeleteEvalTask,
    DescribeEvalTask,
    DescribeEvalTasks,
    EvalTask,
    EvalTaskPage,
    StopEvalTask,
)

__all__ = [
    "CreateEvalResultExportTask",
    "CreateEvalResultExportTaskResult",
    "CreateEvalTask",
    "CreateEvalTaskResult",
    "DeleteEvalTask",
    "DescribeEvalResultExportTask",
    "DescribeEvalTask",
    "DescribeEvalTaskReport",
    "DescribeEvalTasks",
    "EvalReport",
    "EvalReportEntry",
    "EvalResultExportTask",
    "EvalTask",
    "EvalTaskPage",
    "StopEvalTask",
]
