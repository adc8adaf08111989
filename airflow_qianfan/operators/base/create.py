"""Operators that create an object, once for each run of the task, whatever crashes.

What only a running task needs is imported when it runs; DAG files are parsed every few seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_qianfan.arguments import option
from airflow_qianfan.compat import smaller_guarantees
from airflow_qianfan.operators.base.lineage import QianfanLineageOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_qianfan.api.objects import RemoteObject
    from airflow_qianfan.operators.base.creation import Creation
    from airflow_qianfan.operators.base.origin import Origin
    from airflow_qianfan.operators.base.record import Record
    from airflow_qianfan.operators.base.submission import Submission


DESCRIPTION_LENGTH = 300
"""Characters that a description with a mark has at most where the official page states no limit."""


class QianfanCreateOperator(QianfanLineageOperator):
    """Creates an object, once for each run of the task, whatever crashes."""

    kind_path: ClassVar[str]
    """The kind of object, such as ``finetuning.FineTuningJob``."""

    durable: bool = option(
        "attach to what an earlier attempt of this task created instead of creating another.", default=True
    )
    on_clear: Literal["attach", "restart"] = option(
        "what a clear does with what this task created and what still goes on: ``attach`` to it where it "
        "was made "
        "from the same arguments, or ``restart``: stop it and create another.",
        default="attach",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._submission: Submission | None = None
        self._is_killed = False

    @property
    def kind(self) -> type[RemoteObject]:
        """The kind of object."""
        from airflow_qianfan.api.actions import load

        kind: type[RemoteObject] = load(self.kind_path)
        return kind

    @property
    def kinds(self) -> Sequence[type[RemoteObject]]:
        """The kinds of all objects that this operator creates."""
        return (self.kind,)

    def execute(self, context: Context) -> Any:
        """Create it; say first where Airflow guarantees less than its newest version does."""
        for line in smaller_guarantees(context) if self.durable else ():
            self.log.info(line)
        return super().execute(context)

    def run_action(self, context: Context) -> dict[str, Any]:
        """Create it, and return its id.

        :raises QianfanAmbiguousCreateError: nobody knows whether it was created.
        """
        submission = self.submission(context, self.kind, self.build)
        object_id = submission.submit()
        self.deliver(context)
        return self.created_output(submission.creation, object_id)

    def build(self, origin: Origin) -> Any:
        """Return the request that creates the object."""
        return self.make_create(origin, self.action, self.kind)

    def submission(
        self, context: Context, kind: type[RemoteObject], build: Callable[[Origin], Any], **options: Any
    ) -> Submission:
        """Return what creates an object; see :class:`Submission` for the options."""
        from airflow_qianfan.operators.base.submission import Submission

        submission = Submission(
            self.hook,
            context,
            self.log,
            kind,
            build,
            durable=self.durable,
            on_clear=self.on_clear,
            on_created=lambda object_id: self.created(submission, object_id),
            **options,
        )
        submission.is_forbidden = self._is_killed
        self._submission = submission
        return submission

    def make_create(self, origin: Origin, action: str, kind: type[RemoteObject], **members: Any) -> Any:
        """Return the request that creates an object, with a name and a mark by which it is found again.

        :param origin: who creates it.
        :param action: module and name of the request.
        :param kind: what is created.
        :param members: as for :meth:`make_request`.
        """
        from airflow_qianfan.api.actions import load

        arguments, members_of_it = type(self).arguments, load(action).model_fields
        if kind.name_member in arguments and kind.name_member in members_of_it:
            members[kind.name_member] = getattr(self, kind.name_member) or origin.name
        if (description := arguments.get("description")) is not None and "description" in members_of_it:
            given = getattr(self, "description", None)
            members["description"] = origin.describe(given, description.length and description.length[1])
        return self.make_request(action, **members)

    def created_output(self, creation: Creation, created_id: str) -> dict[str, Any]:
        """Return the id of what was created, and the id of what it belongs to or its name."""
        kind, output = creation.kind, {creation.kind.id_name: created_id}
        if kind.parent_name is not None and creation.parent_id is not None:
            output[kind.parent_name] = creation.parent_id
        elif creation.given_name is not None:
            output[kind.name_member] = creation.given_name
        return output

    def deliver(self, context: Context, kinds: Sequence[type[RemoteObject]] | None = None) -> None:
        """Remember that the result was handed over, or the end was seen: a clear then creates anew.

        :param context: context of the running task.
        :param kinds: of what; None for all that this operator creates.
        """
        from airflow_qianfan.operators.base.record import delivered

        self.update_records(context, delivered, kinds)

    def update_records(
        self,
        context: Context,
        transition: Callable[..., Record],
        kinds: Sequence[type[RemoteObject]] | None = None,
    ) -> None:
        """Change what Airflow remembers of what this operator has created.

        :param context: context of the running task.
        :param transition: see :mod:`airflow_qianfan.operators.base.record`.
        :param kinds: of what; None for all that this operator creates.
        """
        from airflow_qianfan.operators.base.record import Memory, Run

        run = Run.of(context)
        for kind in (kinds or self.kinds) if self.durable else ():
            memory = Memory(context, kind.record_key)
            record = memory.read()
            if record is not None and record.id is not None:
                memory.write(transition(record, run))

    def remembered_id(self, context: Context, kind: type[RemoteObject]) -> str | None:
        """Return the id that this attempt has stored before it was deferred."""
        from airflow_qianfan.operators.base.record import Memory

        record = Memory(context, kind.record_key).read()
        if record is not None and record.id is not None:
            return record.id
        # Where Airflow keeps no records, or the operator none. A new attempt begins without XComs.
        ti: Any = context["ti"]
        found = ti.xcom_pull(task_ids=ti.task_id, key=kind.id_name, map_indexes=ti.map_index)
        return found if isinstance(found, str) else None

    def has_created(self, context: Context) -> bool:
        """Return whether Airflow remembers that an earlier attempt has created something."""
        from airflow_qianfan.operators.base.record import Memory

        records = (Memory(context, kind.record_key).read() for kind in self.kinds)
        return any(record is not None and record.id is not None for record in records)

    def created(self, submission: Submission, object_id: str) -> None:
        """Take the id of what was created, before it is stored."""

    def on_kill(self) -> None:
        """Create nothing any more: Airflow lets a killed task go on for some seconds."""
        self._is_killed = True
        if self._submission is not None:
            self._submission.is_forbidden = True
