"""One creation: sending its request, and finding again what it made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_qianfan.exceptions import QianfanAmbiguousCreateError
from airflow_qianfan.operators.base.origin import Origin

if TYPE_CHECKING:
    from airflow_qianfan.api.objects import Phase, RemoteObject
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
    """

    def __init__(
        self,
        hook: QianfanHook,
        origin: Origin,
        kind: type[RemoteObject],
        request: Any,
        *,
        owns_parent: bool = False,
    ) -> None:
        self.hook = hook
        self.origin = origin
        self.kind = kind
        self.request = request
        self.owns_parent = owns_parent

    @property
    def what(self) -> str:
        """What it is, for a sentence."""
        if self.name is not None:
            return f"{self.kind.noun} {self.name}"
        return f"{self.kind.noun} in {self.parent_id}" if self.parent_id else self.kind.noun

    @property
    def name(self) -> str | None:
        """Its unique name; None where its kind has none."""
        if self.kind.recognised_by != "name":
            return None
        return str(getattr(self.request, self.kind.name_member))

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
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]

    def create(self) -> str:
        """Send the Create, and return the new id."""
        return str(getattr(self.hook.call(self.request), self.kind.id_member))

    def existing(self) -> list[str]:
        """Return the ids from which a new one has to be told apart."""
        if not self.kind.is_listed or (self.name is not None and self._has_mark):
            return []
        return [row.object_id for row in self._candidates(self.parent_id)]

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
        if not self.kind.is_listed:
            raise QianfanAmbiguousCreateError(
                f"an earlier Create may have made a {self.kind.noun}, and no list shows them. Once you have "
                "looked in the console, run it in a new DAG run, or with durable=False"
            )
        new = [row for row in self._candidates(parent_id) if row.object_id not in (before or ())]
        if self.kind.recognised_by == "name":
            return [row.object_id for row in new if self._is_ours_by_name(row, before)]
        if self.kind.recognised_by == "mark":
            return self._find_marked(new, before)
        return self._find_new(new, before)

    def others(self, object_id: str, before: Collection[str]) -> list[str]:
        """Return the ids of what a later attempt has made in the meantime, beside an object of ours."""
        if not self.kind.is_listed:
            # The later attempt finds a Create in doubt, and creates nothing.
            return []
        return [found for found in self.find(before, self.parent_id) if found != object_id]

    def _candidates(self, parent_id: str | None) -> list[RemoteObject]:
        rows = self.kind.candidates_for(
            self.hook.client, self.request, name=self.name or "", parent_id=parent_id or ""
        )
        return [row for row in rows if self.name in (None, getattr(row, self.kind.name_member, None))]

    def _is_ours_by_name(self, row: RemoteObject, before: Collection[str] | None) -> bool:
        if not self.has_own_name:
            return True
        # Without a mark only the time at which it appeared is left.
        return self._is_marked(row) if self._has_mark else before is not None

    def _is_marked(self, row: RemoteObject) -> bool:
        return self.origin.marker in (getattr(row, "description", None) or "")

    def _find_marked(self, new: list[RemoteObject], before: Collection[str] | None) -> list[str]:
        marked, unmarked = [], []
        likely = sorted(new, key=lambda row: not row.may_come_from(self.request))
        for row in islice(likely, MAX_DESCRIBED if before is None else None):
            found: Any = (
                self.hook.call(self.kind.describe(row.object_id)) if self.kind.is_listed_by_id_only else row
            )
            if before is None and not _is_usable(found):
                continue
            if self._is_marked(found):
                marked.append(row.object_id)
            elif (
                before is not None
                and found.may_come_from(self.request)
                and self.request.description.startswith(found.description or "")
            ):
                # The service has left out the description, or cut its end, where the mark was: then only the
                # time at which the object appeared is left.
                unmarked.append(row.object_id)
        return marked or unmarked

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

    def phase_of(self, object_id: str) -> Phase:
        """Return what the state of an object means.

        :raises QianfanNotFoundError: it does not exist.
        """
        from airflow_qianfan.api.objects import Phase, RemoteObject

        found = self.hook.call(self.kind.describe(object_id))
        return found.state.phase if isinstance(found, RemoteObject) else Phase.SUCCEEDED


def _is_usable(row: RemoteObject) -> bool:
    from airflow_qianfan.api.objects import Phase

    return row.state.phase in (Phase.ACTIVE, Phase.SUCCEEDED)
