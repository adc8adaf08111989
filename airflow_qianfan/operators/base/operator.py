"""The base of all operators: connection, request made from the arguments, errors that say what to do."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from airflow_qianfan import links
from airflow_qianfan.arguments import DeclaresArguments, airflow_option, templated
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.report import report_errors

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_qianfan.api.objects import RemoteObject


class QianfanOperator(DeclaresArguments, BaseOperator):
    """Calls Qianfan.

    Where the return value is a dict, each of its members is an XCom of its own too, so that
    ``create_job.output["fine_tuning_job_id"]`` works.
    """

    ui_color = "#e8eefc"
    operator_extra_links = links.TAB

    qianfan_conn_id: str = templated("id of the connection.", default=QianfanHook.default_conn_name)
    multiple_outputs: bool = airflow_option(
        "make an XCom of each member of the return value, where that is a dict.", default=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.console_url: str | None = None
        self.result: Any = None
        """What this task has returned, in the process that has ended it; None where it has failed."""

    @cached_property
    def hook(self) -> QianfanHook:
        """The hook of this task."""
        return QianfanHook(self.qianfan_conn_id)

    def console_page(self, found: RemoteObject) -> str | None:
        """Return the page of the console that shows an object."""
        url = found.console_url
        return self.hook.console_url(url) if url else None

    def execute(self, context: Context) -> Any:
        """Do what the class says, and return what it says.

        :raises QianfanError: it failed; see :mod:`airflow_qianfan.exceptions`.
        """
        self.result = None
        with report_errors(self.log, self.qianfan_conn_id):
            self.result = self.run_action(context)
            return self.result

    def run_action(self, context: Context) -> Any:
        """Do the work of :meth:`execute`."""
        raise NotImplementedError


class QianfanRequestOperator(QianfanOperator):
    """Calls one Action with this operator's arguments, and returns its result fit for XCom."""

    action: ClassVar[str]
    """Module and name of the request, such as ``finetuning.DescribeFineTuningTask``."""

    custom_operator_name: ClassVar[str]
    """The label in Airflow's graph."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "action" in vars(cls) and "custom_operator_name" not in vars(cls):
            cls.custom_operator_name = cls.action.rpartition(".")[2]

    def make_request(self, action: str | None = None, **members: Any) -> Any:
        """Return the request of an Action, made from those arguments that are members of it.

        An empty text in an optional argument, as a template may yield it, leaves the member out.

        :param action: module and name of the request; None for :attr:`action`.
        :param members: members that are not arguments, or have another value.
        :raises QianfanValidationError: an argument breaks a rule of the official page.
        """
        from airflow_qianfan.api.actions import load

        request_class = load(action or self.action)
        values: dict[str, Any] = {}
        for name, argument in type(self).arguments.items():
            if argument.member is None or (argument.member or name) not in request_class.model_fields:
                continue
            value = getattr(self, name)
            is_left_out = argument.default is None and value == ""
            values[argument.member or name] = None if is_left_out else value
        return request_class(**{**values, **members})

    def run_action(self, context: Context) -> Any:
        """Call the Action."""
        return self.output_of(self.hook.call(self.make_request()))

    def output_of(self, result: Any) -> dict[str, Any]:
        """Return what a DAG works with of a result; its page in the console becomes this task's link."""
        output: dict[str, Any] = result.output()
        if output.get("console_url"):
            self.console_url = output["console_url"] = self.hook.console_url(output["console_url"])
        return output
