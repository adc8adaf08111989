"""What the emulator answers where the documents leave the behaviour of the service open, and its errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Refusal:
    """HTTP status and error code of a refused request."""

    status: int
    code: str


@dataclass(frozen=True)
class Choices:
    """One value for each question the documents of the service do not answer.

    The defaults are one plausible service. A test changes one of them to see that a client depends on none.
    Times are in seconds, sizes in bytes.
    """

    # Refusals
    missing: Refusal = Refusal(404, "NoSuchKey")
    duplicate_name: Refusal = Refusal(400, "DuplicateName")
    wrong_state: Refusal = Refusal(400, "InvalidStatus")
    unknown_route: Refusal = Refusal(404, "InvalidURI")
    unknown_action: Refusal = Refusal(400, "InvalidURI")
    wrong_method: Refusal = Refusal(400, "InvalidHTTPRequest")
    too_large: Refusal = Refusal(413, "InvalidHTTPRequest")
    max_body_bytes: int = 1 << 20

    # Signature
    auth_status: int = 400
    future_skew_seconds: int = 900
    max_expiration_seconds: int = 180_000

    # Fine-tuning
    stop_unknown_task: Literal["error", "false"] = "error"
    stop_finished_task: Literal["error", "false", "true"] = "false"
    stop_delay_seconds: float = 0.0
    delete_running_task: Literal["refuse", "allow"] = "refuse"
    delete_job_with_running_tasks: Literal["refuse", "allow"] = "refuse"
    task_list_has_progress: bool = False

    # Models
    publish_twice: Literal["refuse", "allow"] = "allow"
    delete_model_set_with_models: Literal["refuse", "allow"] = "allow"

    # Lists: without pageReverse, and the other way round with it
    newest_first: bool = False


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
