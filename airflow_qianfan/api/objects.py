"""What all objects at Qianfan have in common: trainings, model versions, and whatever else is created."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from airflow_qianfan.api.actions.base import Action, Page, Result

if TYPE_CHECKING:
    from airflow_qianfan.api.client import QianfanClient

Recognition = Literal["name", "mark", "being new", "parent", "latest", "nothing"]
"""How an object that a task has created is told from all others: by its unique name, by the mark in its
description, because it was not there before, or by the state of what it belongs to. Where only the ``latest``
is shown, a new one may be anybody's. Of some kinds nothing is shown at all."""

UNTOLD: frozenset[Recognition] = frozenset({"parent", "latest", "nothing"})
"""Where the service may not tell whose an object is, or whether it exists."""


class Phase(StrEnum):
    """What a state means for whoever waits."""

    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class State:
    """A state as the service reported it.

    :param word: the documented word, whatever spelling came; where none is documented, the service's own.
    :param phase: what it means. A word that is not documented is active.
    :param is_known: whether the word is documented.
    :param is_waiting: whether it is active, but has not begun: it waits for resources, or for an order.
    """

    word: str
    phase: Phase
    is_known: bool = True
    is_waiting: bool = False

    @property
    def shown(self) -> str:
        """It in an error: a word that is not documented may hold anything, an echo of a secret too."""
        return self.word if self.is_known else "in a state that is not documented"

    @property
    def is_final(self) -> bool:
        """Whether the object stays like this."""
        return self.phase is not Phase.ACTIVE


class States:
    """The states of a kind of object.

    :param waiting: words for what has not begun.
    :param active: words for states that will pass, too; the first of both is meant where the service sends no
        word.
    :param succeeded: words for what is waited for.
    :param failed: words for a failure.
    :param stopped: words for what somebody has stopped.
    :param spellings: other spellings in lower case, and the word that each stands for. Case never matters.
    """

    def __init__(
        self,
        *,
        waiting: Sequence[str] = (),
        active: Sequence[str],
        succeeded: Sequence[str],
        failed: Sequence[str] = (),
        stopped: Sequence[str] = (),
        spellings: Mapping[str, str] | None = None,
    ) -> None:
        phases = (
            (Phase.ACTIVE, active),
            (Phase.SUCCEEDED, succeeded),
            (Phase.FAILED, failed),
            (Phase.STOPPED, stopped),
        )
        known = {word.lower(): State(word, Phase.ACTIVE, is_waiting=True) for word in waiting}
        known |= {word.lower(): State(word, phase) for phase, words in phases for word in words}
        known |= {spelling: known[word.lower()] for spelling, word in (spellings or {}).items()}
        self._known: dict[str, State] = {"": next(iter(known.values())), **known}

    @property
    def documented(self) -> Mapping[str, State]:
        """All words and other spellings in lower case, and the state that each stands for."""
        return MappingProxyType(self._known)

    def read(self, word: object) -> State:
        """Return what a word of the service stands for."""
        text = str(word or "").strip()
        return self._known.get(text.lower()) or State(text, Phase.ACTIVE, is_known=False)


class RemoteObject(Result):
    """A kind of object, and one of them as the service describes it.

    A subclass is the one home of its kind: the members that the service sends, the states, and the requests
    that describe, stop and list such an object. Triggers, sensors, operators and the poller read them here.
    """

    noun: ClassVar[str]
    """What it is called in a sentence, such as ``fine-tuning task``."""

    id_name: ClassVar[str]
    """The name of its id in operators, sensors and triggers, such as ``fine_tuning_task_id``."""

    id_member: ClassVar[str]
    """The member that holds its id here."""

    parent_name: ClassVar[str | None] = None
    """The name in operators of the id of what it belongs to, such as ``fine_tuning_job_id``."""

    parent_member: ClassVar[str] = ""
    """The member that holds that id, here and in the request that creates one."""

    name_member: ClassVar[str] = "name"
    """The member that holds its name, here and in the request that creates one."""

    states: ClassVar[States | None] = None
    """Its states; None where it exists or does not, and that is all."""

    state_member: ClassVar[str] = ""
    """The member that holds the service's word for its state."""

    record_key: ClassVar[str] = ""
    """Under which key Airflow remembers that a task has created one."""

    recognised_by: ClassVar[Recognition] = "being new"
    """How one that a task has created is told from all others."""

    has_unique_names: ClassVar[bool] = True
    """Whether the service is known to refuse a name that is taken."""

    parent_view: ClassVar[type[RemoteObject] | None] = None
    """The kind that shows, at what it belongs to, whether one was begun: where nothing lists this kind. One
    whose id nobody knows has the id of that."""

    is_listed_with_state: ClassVar[bool] = False
    """Whether one list shows the states of all that belong to the same parent; see :meth:`siblings`."""

    is_told_by_mark_alone: ClassVar[bool] = False
    """Whether what existed before a Create tells nothing of what it has made: an account holds too many."""

    is_listed_by_id_only: ClassVar[bool] = False
    """Whether :meth:`candidates` tells the ids only, and each has to be described."""

    results: ClassVar[tuple[str, ...]] = ()
    """What a task that creates one has made in the end, for its lineage: names of ids and addresses in what
    the task returns."""

    goes_on: ClassVar[bool] = False
    """Whether it goes on, and costs money, once what is waited for has come, until somebody stops it."""

    @property
    def object_id(self) -> str:
        """Its id."""
        return str(getattr(self, self.id_member))

    @property
    def parent_id(self) -> str | None:
        """The id of what it belongs to."""
        found: str | None = getattr(self, self.parent_member) if self.parent_member else None
        return found

    @cached_property
    def state(self) -> State:
        """The state that it is in."""
        if self.states is None:
            return State("", Phase.SUCCEEDED)
        return self.states.read(getattr(self, self.state_member))

    @property
    def has_ended(self) -> bool:
        """Whether it does nothing any more, so that there is nothing to stop."""
        return self.state.is_final and not (self.goes_on and self.state.phase is Phase.SUCCEEDED)

    @property
    def status(self) -> str:
        """The documented word for its state, whatever spelling came."""
        return self.state.word

    @property
    def label(self) -> str:
        """It in a sentence: ``fine-tuning task task-…``."""
        return f"{self.noun} {self.object_id}"

    @property
    def is_absent(self) -> bool:
        """Whether the service describes it by saying that there is none, or none yet."""
        return False

    @property
    def creation_id(self) -> str:
        """What no other creation of its kind has; its id, unless it is read by the id of something else."""
        return self.object_id

    @property
    def progress(self) -> float | None:
        """Share that is done, from 0 to 1; None where the service does not say."""
        return None

    @property
    def progress_words(self) -> str | None:
        """What is done in units of its kind, such as rows, for the log."""
        return None

    @property
    def waits_for_person(self) -> bool:
        """Whether it goes on only when a person has done something in the console."""
        return False

    @property
    def started(self) -> float | None:
        """When it was created, in seconds since the epoch, if the service says so."""
        return None

    @property
    def console_url(self) -> str | None:
        """The page of Baidu's console that shows it."""
        return None

    @property
    def failure(self) -> str:
        """What the service tells about why it failed."""
        return ""

    def summary(self) -> list[str]:
        """Return lines for the log about how it ended, such as its metrics."""
        return []

    def details(self) -> dict[str, list[str]]:
        """Return longer pieces for the log about how it ended, by their titles; Airflow folds them."""
        return {}

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        raise NotImplementedError

    @classmethod
    def describe(cls, object_id: str) -> Action[Any]:
        """Return the request that reads one, or at least fails where it does not exist."""
        raise NotImplementedError

    @classmethod
    def view(cls, found: RemoteObject) -> RemoteObject:
        """Return what a description shows as one of this kind, where one description shows several kinds."""
        return found

    @classmethod
    def stop(cls, object_id: str) -> Action[Any] | None:
        """Return the request that stops one; None where the service cannot stop it."""
        return None

    @classmethod
    def siblings(cls, parent_id: str) -> Action[Page]:
        """Return the request that lists all that belong to the same parent, with their states."""
        raise NotImplementedError

    @classmethod
    def discard(cls, object_id: str) -> Action[Any] | None:
        """Return the request that undoes a creation; None where there is none."""
        return cls.stop(object_id)

    @classmethod
    def candidates(cls, client: QianfanClient, *, name: str, parent_id: str) -> Iterable[Self]:
        """Return what a Create may have made, from a list of the service.

        :param client: what sends the requests.
        :param name: its unique name, where its kind has one.
        :param parent_id: what it belongs to, where its kind belongs to something.
        """
        raise NotImplementedError

    @classmethod
    def candidates_for(
        cls, client: QianfanClient, request: Any, *, name: str, parent_id: str
    ) -> Iterable[Self]:
        """Return :meth:`candidates`, from the list that shows what this very request makes.

        :param client: what sends the requests.
        :param request: the Create.
        :param name: see :meth:`candidates`.
        :param parent_id: see :meth:`candidates`.
        """
        return cls.candidates(client, name=name, parent_id=parent_id)

    def may_come_from(self, request: Any) -> bool:
        """Return whether this very request may have made it, by what the service shows of it."""
        return True


def timestamp(text: str | None) -> float | None:
    """Return a date of the service in seconds since the epoch; None where it is none."""
    try:
        return datetime.fromisoformat(text or "").timestamp()
    except (ValueError, OverflowError):
        return None
