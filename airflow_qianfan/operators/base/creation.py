"""One creation: sending its request, and finding again what it made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_qianfan.exceptions import QianfanAmbiguousCreateError, QianfanError, QianfanNotFoundError
from airflow_qianfan.operators.base.origin import Origin

if TYPE_CHECKING:
    from airflow_qianfan.api.objects import Phase, RemoteObject, States
    from airflow_qianfan.hooks.qianfan import QianfanHook

MAX_DESCRIBED = 20
"""How many objects to search for a mark where nothing tells which are new."""


class Creation:
    """An object that is created once: how, how it is found again, and whether it can be used.

    :param hook: the hook of the task.
    :param origin: who creates it.
    :param kind: what is created.
    :param request: the request that creates it.
    :param owns_parent: whether what it belongs to is used by this creation only.
    :param purpose: what is to be done with it: for another purpose another one is created.
    """

    def __init__(
        self,
        hook: QianfanHook,
        origin: Origin,
        kind: type[RemoteObject],
        request: Any,
        *,
        owns_parent: bool = False,
        purpose: Any = None,
    ) -> None:
        self.hook = hook
        self.origin = origin
        self.kind = kind
        self.request = request
        self.owns_parent = owns_parent
        self.purpose = purpose
        self.result: Any = None
        """The answer to the Create; None where there was none, or none was sent."""

    @property
    def what(self) -> str:
        """What it is, for a sentence."""
        if self.given_name is not None:
            return f"{self.kind.noun} {self.given_name}"
        if self.kind.parent_name == self.kind.id_name:
            return f"{self.kind.noun} {self.parent_id}"
        return f"{self.kind.noun} in {self.parent_id}" if self.parent_id else self.kind.noun

    @property
    def name(self) -> str | None:
        """Its unique name; None where its kind has none."""
        if self.kind.recognised_by != "name":
            return None
        return self.given_name

    @property
    def given_name(self) -> str | None:
        """Its name, unique or not; None where its kind has none."""
        return getattr(self.request, self.kind.name_member, None)

    @property
    def has_own_name(self) -> bool:
        """Whether the user has named it, so that there can be no other beside it."""
        return self.name is not None and self.name != self.origin.name

    @property
    def parent_id(self) -> str | None:
        """The id of what it belongs to."""
        return getattr(self.request, self.kind.parent_member) if self.kind.parent_member else None

    @property
    def _has_mark(self) -> bool:
        return "description" in type(self.request).model_fields

    @property
    def digest(self) -> str:
        """A digest of the request without what is made from the identity."""
        body = {
            member: value
            for member, value in self.request.body().items()
            if member != "description" and value != self.origin.name
        }
        whole = body if self.purpose is None else [body, self.purpose]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]

    def create(self) -> str:
        """Send the Create, and return the new id."""
        self.result = self.hook.call(self.request)
        return str(getattr(self.result, self.kind.id_member))

    def existing(self) -> list[str]:
        """Return the ids from which a new one has to be told apart; of a parent, the state that it is in."""
        if self.kind.recognised_by == "parent":
            begun = self._begun(self.parent_id)
            return [begun] if begun else []
        if self._is_told_without_others:
            return []
        return [row.creation_id for row in self._candidates(self.parent_id)]

    @property
    def _is_told_without_others(self) -> bool:
        """Whether it does not matter what else there is."""
        if self.kind.recognised_by == "nothing" or self.kind.is_told_by_mark_alone:
            return True
        return self.name is not None and self._has_mark

    def same_name(self) -> list[str]:
        """Return the ids of all that have the name, whoever created them."""
        return [row.object_id for row in self._candidates(self.parent_id)]

    def find(self, before: Collection[str] | None, parent_id: str | None) -> list[str]:
        """Return the ids of what this creation has made.

        :param before: what existed before the Create; None where that is not known, and only a name or a mark
            of our own is proof.
        :param parent_id: what it belonged to when the Create was sent.
        :raises QianfanAmbiguousCreateError: something was created, but nothing tells by whom; or nothing
            tells whether something was created.
        """
        if self.kind.recognised_by == "nothing":
            raise self._undecidable("nothing shows whether it was")
        if self.kind.recognised_by == "parent":
            return self._find_by_parent(before, parent_id)
        new = [row for row in self._candidates(parent_id) if row.creation_id not in (before or ())]
        if self.kind.recognised_by == "name":
            return [row.object_id for row in new if self._is_ours_by_name(row, before)]
        if self.kind.recognised_by == "mark":
            return self._find_marked(new, before)
        if self.kind.recognised_by == "latest":
            return self._find_latest(new, before)
        return self._find_new(new, before)

    def others(self, object_id: str, before: Collection[str]) -> list[str]:
        """Return the ids of what a later attempt has made in the meantime, beside an object of ours."""
        from airflow_qianfan.api.objects import UNTOLD

        if self.kind.recognised_by in UNTOLD:
            return []
        return [found for found in self.find(before, self.parent_id) if found != object_id]

    def check_name(self) -> None:
        """Check that nobody has the name, where an earlier attempt of which nothing is remembered may have
        given it, and the service may not refuse to give it again.

        :raises QianfanAmbiguousCreateError: somebody has it.
        """
        if self.has_own_name and not self.kind.has_unique_names and (found := self.same_name()):
            raise QianfanAmbiguousCreateError(
                f"an earlier attempt may have created {' or '.join(found)}, which has the name "
                f"{self.name!r}; Airflow remembers nothing of it"
            )

    def _begun(self, parent_id: str | None) -> str | None:
        """Return the state of the parent that shows that one was begun; empty where none was, None where the
        service does not show it."""
        view: Any = self.kind.parent_view
        found = view.view(self.hook.call(view.describe(parent_id)))
        if not getattr(found, view.state_member):
            return None
        return "" if found.state == view.states.read("") else str(found.status)

    @property
    def _parent_states(self) -> States:
        view: Any = self.kind.parent_view
        states: States = view.states
        return states

    def _find_by_parent(self, before: Collection[str] | None, parent_id: str | None) -> list[str]:
        begun = self._begun(parent_id)
        if begun == "":
            return []
        if begun is None:
            raise self._undecidable("the service does not show whether it was")
        if not self._parent_states.read(begun).is_known:
            # The next look-up may find a word that tells.
            unknown = QianfanError(f"the state of {parent_id} is {begun}, which is not documented")
            unknown.transient = True
            raise unknown
        if parent_id and self.owns_parent and begun not in (before or ()):
            return [parent_id]
        raise self._undecidable(f"the state is {begun}, and nothing tells whose doing that is")

    def _undecidable(self, why: str) -> QianfanAmbiguousCreateError:
        article = "an" if self.what.startswith(tuple("aeiou")) else "a"
        return QianfanAmbiguousCreateError(
            f"{article} {self.what} may have been created: {why}. Look in the console; to create one all "
            'the same, clear the task with on_clear="restart"'
        )

    def _candidates(self, parent_id: str | None) -> list[RemoteObject]:
        rows = self.kind.candidates_for(
            self.hook.client, self.request, name=self.given_name or "", parent_id=parent_id or ""
        )
        return [row for row in rows if self.name in (None, getattr(row, self.kind.name_member, None))]

    def _is_ours_by_name(self, row: RemoteObject, before: Collection[str] | None) -> bool:
        if not self.has_own_name:
            return True
        # Without a mark only the time at which it appeared is left.
        return self._is_marked(row) if self._has_mark else before is not None

    def _is_marked(self, row: RemoteObject) -> bool:
        if self.origin.marker in (getattr(row, "description", None) or ""):
            return True
        return getattr(row, self.kind.name_member, None) == self.origin.name

    def _find_marked(self, new: list[RemoteObject], before: Collection[str] | None) -> list[str]:
        marked: list[str] = []
        unmarked: list[str] = []
        likely = sorted(new, key=lambda row: not row.may_come_from(self.request))
        # Without a list that shows the marks each has to be described.
        limit = MAX_DESCRIBED if before is None and self.kind.is_listed_by_id_only else None
        for row in islice(likely, limit):
            found: Any = (
                self.hook.call(self.kind.describe(row.object_id)) if self.kind.is_listed_by_id_only else row
            )
            found = self.kind.view(found)
            if before is None and not _is_usable(found):
                continue
            if self._is_marked(found):
                marked.append(row.object_id)
            elif found.may_come_from(self.request) and self._may_lack_its_mark(found, before):
                unmarked.append(row.object_id)
        if unmarked and not marked and self.kind.is_told_by_mark_alone:
            raise QianfanAmbiguousCreateError(
                f"{' or '.join(unmarked)} has the name {self.given_name!r} and no mark of anybody, so it may "
                "be the one that this task created; if it is not, give another name"
            )
        return marked or unmarked

    def _may_lack_its_mark(self, row: Any, before: Collection[str] | None) -> bool:
        """Return whether the service may have left out our description, or cut its end with the mark."""
        if not self.request.description.startswith(row.description or ""):
            return False
        if not self.kind.is_told_by_mark_alone:
            # Then only the time at which the object appeared is left.
            return before is not None
        return self.given_name is not None and getattr(row, self.kind.name_member, None) == self.given_name

    def _find_new(self, new: list[RemoteObject], before: Collection[str] | None) -> list[str]:
        from airflow_qianfan.api.objects import Phase

        if before is not None:
            # In a job of our own what was stopped was undone. In another it may be ours, beside a stranger's.
            undone = Phase.STOPPED if self.owns_parent else None
            return [row.object_id for row in new if row.state.phase is not undone]
        found = [row.object_id for row in new if _is_usable(row)]
        if found and not self.owns_parent:
            raise QianfanAmbiguousCreateError(
                f"an earlier attempt may have created {' or '.join(found)}; Airflow remembers nothing of it"
            )
        return found

    def _find_latest(self, new: list[RemoteObject], before: Collection[str] | None) -> list[str]:
        # One that failed before anything was remembered leaves no doubt: it is of no use to anybody.
        found = [row.creation_id for row in new if before is not None or _is_usable(row)]
        if found:
            raise self._undecidable(f"only the latest is shown, and nothing tells whose {found[0]} is")
        return []

    def phase_of(self, object_id: str, parent_id: str | None = None) -> Phase:
        """Return what the state of an object means.

        :param object_id: its id; that of its parent where nobody knows its own, see
            :attr:`RemoteObject.parent_view`.
        :param parent_id: what it belonged to when it was created.
        :raises QianfanNotFoundError: it does not exist.
        """
        from airflow_qianfan.api.objects import Phase, RemoteObject

        kind = self.kind
        if kind.parent_view is not None and object_id == parent_id:
            kind = kind.parent_view
        found = self.hook.call(kind.describe(object_id))
        if not isinstance(found, RemoteObject):
            return Phase.SUCCEEDED
        if found.is_absent:
            raise QianfanNotFoundError(f"there is no {found.label}")
        return kind.view(found).state.phase


def _is_usable(row: RemoteObject) -> bool:
    from airflow_qianfan.api.objects import Phase

    return row.state.phase in (Phase.ACTIVE, Phase.SUCCEEDED)
