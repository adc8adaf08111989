"""What the page shows: parts of lists, and trainings side by side."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from airflow_qianfan.api.actions.finetuning import DescribeFineTuningTask
from airflow_qianfan.exceptions import QianfanError
from airflow_qianfan.plugins.listings import LISTINGS, Described
from airflow_qianfan.plugins.objects import show, texts
from airflow_qianfan.plugins.reader import Reader
from airflow_qianfan.plugins.runs import TRAINING, Task, TaskKey, read_object
from airflow_qianfan.plugins.task_view import arguments_of_training, ref
from airflow_qianfan.plugins.views import Comparison, Row, Rows, Training

FindOrigins = Callable[[Mapping[str, str | None]], Awaitable[dict[str, TaskKey]]]
"""Returns the tasks that have made objects, from their descriptions."""

FindTasks = Callable[[Mapping[str, TaskKey]], Awaitable[Sequence[Task]]]
"""Returns the tasks that have begun or awaited trainings, from the origins of these."""


async def list_part(
    reader: Reader, kind: str, marker: str | None, now: float, find_origins: FindOrigins
) -> Rows:
    """Return a part of a list.

    :param reader: reads Qianfan.
    :param kind: one of :data:`LISTINGS`.
    :param marker: where the part begins.
    :param now: time in seconds since the epoch.
    :param find_origins: looks up marks.
    :raises QianfanError: it could not be read.
    """
    page = await reader.call(LISTINGS[kind].request(marker))
    rows = LISTINGS[kind].rows(page, now)
    for (row, _), found in zip(rows, page.rows, strict=False):
        if not row.is_pending:
            row.url = await reader.link(found.console_url)
    info = page.page_info
    following = info.next_marker if info.is_truncated and info.next_marker != marker else None
    return Rows(rows=await _with_origins(rows, find_origins), next=following, now=now)


async def list_details(
    reader: Reader, kind: str, groups: Sequence[str], now: float, find_origins: FindOrigins
) -> Rows:
    """Return the rows that take the place of pending ones; see :func:`list_part` for the rest.

    :param groups: the groups of the pending rows.
    """
    rows, problems = await LISTINGS[kind].details(reader, groups, now)
    shown = await _with_origins(rows, find_origins)
    return Rows(rows=shown, now=now, problems=sorted({str(error) for error in problems}))


async def _with_origins(rows: Described, find_origins: FindOrigins) -> list[Row]:
    origins = await find_origins({row.id: description for row, description in rows})
    for row, _ in rows:
        if (key := origins.get(row.id)) is not None:
            row.origin = ref(key)
    return [row for row, _ in rows]


async def compare(
    reader: Reader,
    training_ids: Sequence[str],
    now: float,
    find_origins: FindOrigins,
    find_tasks: FindTasks,
) -> Comparison:
    """Return trainings side by side, in the order of their ids.

    :param find_tasks: looks up the tasks that have begun them, which know the hyper-parameters.
    """
    answers = await reader.call_all([DescribeFineTuningTask(task_id=one) for one in training_ids])
    found = [answer for answer in answers if not isinstance(answer, QianfanError)]
    origins = await find_origins({one.task_id: one.job_description for one in found})
    tasks = await find_tasks(origins)
    trainings = []
    for one in found:
        origin = origins.get(one.task_id)
        mine = [task for task in tasks if task.ids.get(TRAINING) == one.task_id]
        config = read_object(arguments_of_training(mine).get("hyper_parameter_config"))
        trainings.append(
            Training(
                object=show(one, now),
                url=await reader.link(one.console_url),
                origin=ref(origin) if origin else None,
                hyper_parameters=texts(config),
            )
        )
    problems = [str(answer) for answer in answers if isinstance(answer, QianfanError)]
    return Comparison(trainings=trainings, problems=problems)
