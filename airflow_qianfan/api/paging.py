"""The pages of a list, one after the other."""

from __future__ import annotations

from typing import Any

from airflow_qianfan.api.actions.base import Action, Page
from airflow_qianfan.exceptions import QianfanResponseError


class Pages:
    """Says which page is requested next, and which of its rows no earlier page had.

    Markers are inclusive, so a page may start with the row that ended the one before. No marker is requested
    twice and each page has to bring a new row, so the list ends even if the service's pages lead in a circle.

    :param request: the request of the first page.
    """

    def __init__(self, request: Action[Page]) -> None:
        self.request: Action[Page] | None = request
        self._seen: set[str] = set()
        self._markers: set[str] = set()

    def rows_of(self, page: Page) -> list[Any]:
        """Return the new rows of a page, and turn ``request`` to the next page.

        :raises QianfanResponseError: the page says that there are more, but leads to no page that is new.
        """
        request: Any = self.request
        new = []
        for row in page.rows:
            row_id = getattr(row, page.id_member)
            if row_id not in self._seen:
                self._seen.add(row_id)
                new.append(row)
        info = page.page_info
        if request.marker:
            self._markers.add(request.marker)
        if not info.is_truncated:
            self.request = None
        elif new and info.next_marker and info.next_marker not in self._markers:
            self.request = request.model_copy(update={"marker": info.next_marker})
        else:
            raise QianfanResponseError(
                f"the list is incomplete: the page at marker {request.marker!r} says that more rows follow, "
                f"but its next marker is {info.next_marker!r}",
                action=request.action,
            )
        return new
