"""How the emulator refuses a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """HTTP status and error code of a refused request."""

    status: int
    code: str


class ApiError(Exception):
    """A refusal on its way to the client.

    :param refusal: status and code.
    :param message: text for a person; it never holds a secret.
    :param headers: further response headers.
    """

    def __init__(self, refusal: Refusal, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.refusal = refusal
        self.message = message
        self.headers = dict(headers or {})


def bad_parameter(field: str) -> ApiError:
    """Return the error for a member of the body that is missing or unsuitable."""
    if field == "marker":
        return ApiError(Refusal(400, "InvalidMarker"), "The marker is not valid.")
    message = f"The JSON is well-formed but not suitable for this action. param[{field}] invalid."
    return ApiError(Refusal(400, "InappropriateJSON"), message)
