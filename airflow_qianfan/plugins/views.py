"""What the routes answer with. Times are seconds since the epoch, shares go from 0 to 1."""

from __future__ import annotations

from pydantic import BaseModel


class TaskRef(BaseModel):
    """A task instance, which the browser makes a link of."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1


class CheckpointView(BaseModel):
    """A saved step of a training."""

    step: int
    loss: float | None = None
    perplexity: float | None = None


class PublishedView(BaseModel):
    """A model version that a task of the same run has published from this training.

    :param step: the checkpoint; None where the service has chosen it.
    """

    model_id: str | None
    step: int | None
    task_id: str


class EarlierRun(BaseModel):
    """An earlier successful run of the same task."""

    task: TaskRef
    ended: float | None
    metrics: dict[str, float]


class ChainTask(BaseModel):
    """A task of the same DAG run that works with Qianfan."""

    task: TaskRef
    operator: str
    state: str | None
    ids: dict[str, str]


class LinkView(BaseModel):
    """A page elsewhere.

    :param name: ``console`` or ``visualdl``.
    """

    name: str
    url: str


class ObjectView(BaseModel):
    """An object at Qianfan.

    :param kind: the name of its id, such as ``fine_tuning_task_id``.
    :param state: the service's documented word.
    :param phase: ``active``, ``succeeded``, ``failed`` or ``stopped``; None where it has no states.
    :param is_waiting: whether it is active, but has not begun.
    :param waited: seconds for which it waited for resources at Qianfan, as far as that was seen.
    :param estimated_end: from the progress so far.
    :param is_current: whether the service has just said so; otherwise it is what Airflow remembers.
    """

    kind: str
    id: str
    name: str | None = None
    state: str | None = None
    phase: str | None = None
    is_waiting: bool = False
    progress: float | None = None
    started: float | None = None
    ended: float | None = None
    waited: float | None = None
    estimated_end: float | None = None
    failure: str | None = None
    facts: dict[str, str] = {}
    metrics: dict[str, float] = {}
    checkpoints: list[CheckpointView] = []
    best_step: int | None = None
    is_current: bool = True


class TaskView(BaseModel):
    """What the tab shows.

    :param is_ours: whether there is anything to see.
    :param now: the time of the server.
    :param goes_on: whether it is worth asking again.
    :param queued: seconds for which the task instance waited in Airflow before it began.
    :param problem: why the service could not be asked.
    """

    is_ours: bool
    now: float
    goes_on: bool = False
    state: str | None = None
    queued: float | None = None
    started: float | None = None
    ended: float | None = None
    object: ObjectView | None = None
    problem: str | None = None
    published: list[PublishedView] = []
    earlier: list[EarlierRun] = []
    hyper_parameters: dict[str, str] = {}
    dataset: dict[str, str] = {}
    ids: dict[str, str] = {}
    links: list[LinkView] = []
    chain: list[ChainTask] = []


class Row(BaseModel):
    """A line of the page.

    :param group: what is to be asked for, where only that tells the state; it has :attr:`Rows.pending` rows.
    :param state: see :class:`ObjectView`, as all others.
    :param model: base model, or what it is made from.
    :param origin: the task that has made it.
    """

    id: str
    group: str | None = None
    name: str | None = None
    state: str | None = None
    phase: str | None = None
    is_waiting: bool = False
    progress: float | None = None
    created: float | None = None
    ended: float | None = None
    model: str | None = None
    detail: str | None = None
    url: str | None = None
    origin: TaskRef | None = None
    is_pending: bool = False


class Rows(BaseModel):
    """Lines of the page.

    :param next: where the next part begins; None where there is none.
    :param now: the time of the server.
    :param problems: what could not be read.
    """

    rows: list[Row]
    next: str | None = None
    now: float
    problems: list[str] = []


class ConnectionsView(BaseModel):
    """The connections to Qianfan that the viewer may read."""

    connections: list[str]


class Training(BaseModel):
    """One of several trainings that are compared."""

    object: ObjectView
    url: str | None = None
    origin: TaskRef | None = None
    hyper_parameters: dict[str, str] = {}


class Comparison(BaseModel):
    """Trainings side by side."""

    trainings: list[Training]
    problems: list[str] = []
