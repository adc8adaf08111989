"""Operators of evaluation: one for each Action, and one that evaluates and returns the metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_qianfan import links
from airflow_qianfan.arguments import member, option
from airflow_qianfan.operators.base.list import QianfanListOperator
from airflow_qianfan.operators.base.operator import QianfanRequestOperator
from airflow_qianfan.operators.base.remove import QianfanDeleteOperator
from airflow_qianfan.operators.base.stop import QianfanStopOperator
from airflow_qianfan.operators.base.wait import QianfanWaitingOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

TASK = "evaluation.EvalTask"
EXPORT = "evaluation.EvalResultExportTask"


class _TaskArguments(QianfanWaitingOperator):
    """The arguments that describe an evaluation. Objects may be JSON text too, as a template makes it."""

    eval_object_config: Mapping[str, Any] | str = member(
        'what is evaluated, at most 5 of a type: ``{"evalModelConfig": {"versionId": "ds-…", '
        '"evalModelConfigList": [{"modelId": "amv-…"}]}}`` or ``{"evalInferDatasetConfig": {…}}``.',
        json=True,
    )
    eval_config: Mapping[str, Any] | str = member(
        "how: ``evalMode`` is ``rule``, ``model``, ``manual`` or ``rule,model``; the rest depends on it and "
        "is passed through.",
        json=True,
    )
    eval_object_type: Literal["model", "inferDataset"] | str = member(
        "``model`` or ``inferDataset``.", default="model"
    )
    task_name: str | None = member("name of the task; None makes one from the DAG and its run.", default=None)
    description: str | None = member(
        "what it is for; a mark is added by which the task is found again.", default=None
    )
    manual: Literal["wait", "fail"] = option(
        "what to do while a person has to judge answers in the console (``RunningWithManualBegin``): "
        "``wait`` until ``execution_timeout``, with a warning in the log, or ``fail``; then the evaluation "
        "goes on.",
        default="wait",
    )

    def _poll_options(self) -> dict[str, Any]:
        return {**super()._poll_options(), "manual": self.manual}


class QianfanCreateEvalTaskOperator(_TaskArguments):
    """Start an evaluation (CreateEvalTask). Returns ``eval_task_id`` and ``task_name``.

    With ``wait_for_completion`` it waits for its end, and returns what
    :class:`QianfanDescribeEvalTaskOperator` does.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Jmm4kavy6
    """

    action = "evaluation.CreateEvalTask"
    kind_path = TASK
    trigger_path = "evaluation.QianfanEvalTaskTrigger"
    operator_extra_links = links.EVALUATION

    wait_for_completion: bool = option("wait until the evaluation has ended.", default=False)


class QianfanDescribeEvalTaskOperator(QianfanRequestOperator):
    """Describe an evaluation (DescribeEvalTask), in whatever state it is.

    Returns ``eval_task_id``, ``task_name``, ``eval_type``, ``status``, ``state_text`` (the service's own
    word) and ``console_url``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/qmm4v8csa
    """

    action = "evaluation.DescribeEvalTask"
    operator_extra_links = links.EVALUATION

    eval_task_id: str = member("the task, ``ame-…``.", name="task_id")


class QianfanDescribeEvalTasksOperator(QianfanListOperator):
    """List evaluations (DescribeEvalTasks). Returns a list of dicts like those of
    :class:`QianfanDescribeEvalTaskOperator`.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/wmm4ts6t5
    """

    action = "evaluation.DescribeEvalTasks"

    eval_type: Literal["auto", "manual"] | str = member("``auto`` or ``manual``.", default="auto")
    key_filter: str | None = member(
        "only those with this in their name or id, or of this very model version.", default=None
    )


class QianfanDescribeEvalTaskReportOperator(QianfanRequestOperator):
    """Read what an evaluation has measured (DescribeEvalTaskReport).

    Returns ``metrics``: for each model version, or data set of results, by its id, a dict of its metrics as
    numbers (``"16.56%"`` is 0.1656). What is not a number is left out.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Ymm4un12j
    """

    action = "evaluation.DescribeEvalTaskReport"
    operator_extra_links = links.EVALUATION

    eval_task_id: str = member("the task, ``ame-…``.", name="task_id")

    def run_action(self, context: Context) -> Any:
        """Call the Action."""
        from airflow_qianfan.api.actions import load

        self.console_url = self.console_page(load(TASK)(task_id=self.eval_task_id))
        return super().run_action(context)


class QianfanStopEvalTaskOperator(QianfanStopOperator):
    """Stop an evaluation (StopEvalTask). Returns ``eval_task_id``, ``status`` and ``state_text``.

    The service stops those that no person takes part in. One that has ended already is left as it is:
    ``status`` tells how it ended. It is None where the task does not exist and ``if_missing`` ignores that.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Gmwbl49s0
    """

    action = "evaluation.StopEvalTask"
    kind_path = TASK
    operator_extra_links = links.EVALUATION

    eval_task_id: str = member("the task, ``ame-…``.", name="task_id")


class QianfanDeleteEvalTaskOperator(QianfanDeleteOperator):
    """Delete an evaluation (DeleteEvalTask). Returns ``eval_task_id`` and ``deleted``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/qmm4v8csa
    """

    action = "evaluation.DeleteEvalTask"
    kind_path = TASK

    eval_task_id: str = member("the task, ``ame-…``.", name="task_id")


class QianfanCreateEvalResultExportTaskOperator(QianfanWaitingOperator):
    """Export the results of an evaluation (CreateEvalResultExportTask). Returns
    ``eval_result_export_task_id``.

    With ``wait_for_completion`` it waits for its end, and returns what
    :class:`QianfanDescribeEvalResultExportTaskOperator` does. The service lists no exports: where the answer
    of the Create is lost, the task fails, and only a clear with ``on_clear="restart"`` creates another.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/gmm4mlezs
    """

    action = "evaluation.CreateEvalResultExportTask"
    kind_path = EXPORT
    trigger_path = "evaluation.QianfanEvalResultExportTaskTrigger"

    eval_task_id: str = member("the evaluation, ``ame-…``.", name="eval_id")
    storage_type: str | None = member("where to, such as ``BOS`` or ``sysStorage``.", default=None)
    bucket: str | None = member("bucket of Baidu Object Storage.", default=None)
    export_content: Sequence[str] | str | None = member(
        "what of it: ``prompt``, ``prediction``, ``completion``, ``metrics``, ``system``.",
        default=None,
        json=True,
    )
    wait_for_completion: bool = option("wait until the export has ended.", default=False)


class QianfanDescribeEvalResultExportTaskOperator(QianfanRequestOperator):
    """Describe an export (DescribeEvalResultExportTask), in whatever state it is.

    Returns ``eval_result_export_task_id``, ``status``, ``status_text`` (the service's own word) and
    ``download_url``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/omm4vm3ot
    """

    action = "evaluation.DescribeEvalResultExportTask"

    eval_result_export_task_id: str = member("the export, ``amemt-…``.", name="task_id")


class QianfanEvaluationOperator(_TaskArguments):
    """Evaluate models in one step: create an evaluation, wait, read its report.

    One run of this task costs exactly one evaluation, whatever crashes: a retry attaches to that of the
    attempt before, unless that has failed or was stopped. A cleared task evaluates anew, unless the
    evaluation still goes on and has the same arguments; see ``on_clear``.

    Returns ``eval_task_id``, ``task_name``, ``eval_type``, ``status``, ``state_text`` (the service's own
    word), ``console_url`` and ``metrics``: for each model version, or data set of results, by its id, a dict
    of its metrics as numbers (``"16.56%"`` is 0.1656). Without ``wait_for_completion`` it is ``eval_task_id``
    and ``task_name``. The id is an XCom as soon as it is known.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Jmm4kavy6 and https://cloud.baidu.com/doc/qianfan-api/s/Ymm4un12j
    """

    action = "evaluation.CreateEvalTask"
    custom_operator_name = "Evaluate"
    kind_path = TASK
    trigger_path = "evaluation.QianfanEvalTaskTrigger"
    operator_extra_links = links.EVALUATION

    @property
    def eval_task_id(self) -> str | None:
        """The evaluation, once it is known."""
        return self.object_id

    def finished(self, context: Context, output: dict[str, Any]) -> dict[str, Any]:
        """Add the metrics of the report."""
        from airflow_qianfan.api.actions.evaluation import DescribeEvalTaskReport
        from airflow_qianfan.operators.base.lookup import read_settled

        request = DescribeEvalTaskReport(task_id=self.object_id or "")
        # It may be a moment behind the state.
        report = read_settled(
            lambda: self.hook.call(request),
            f"the report of evaluation task {self.object_id}",
            self.log,
            is_complete=lambda report: report.metrics,
        )
        for line in report.summary():
            self.log.info(line)
        if not report.metrics:
            self.log.warning("The report of evaluation task %s holds no metrics.", self.object_id)
        return {**output, **report.output()}
