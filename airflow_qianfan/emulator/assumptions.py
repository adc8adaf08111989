"""What the emulator assumes where the documents leave the behaviour of the service open."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from airflow_qianfan.emulator.errors import Refusal


@dataclass(frozen=True)
class Assumptions:
    """One value for each question the documents of the service do not answer.

    The defaults are one plausible service. A test changes one of them to see that a client depends on none.
    Times are in seconds, sizes in bytes.
    """

    # Refusals
    missing: Refusal = field(default=Refusal(404, "NoSuchKey"))
    duplicate_name: Refusal = field(default=Refusal(400, "DuplicateName"))
    wrong_state: Refusal = field(default=Refusal(400, "InvalidStatus"))
    unknown_route: Refusal = field(default=Refusal(404, "InvalidURI"))
    unknown_action: Refusal = field(default=Refusal(400, "InvalidURI"))
    wrong_method: Refusal = field(default=Refusal(400, "InvalidHTTPRequest"))
    too_large: Refusal = field(default=Refusal(413, "InvalidHTTPRequest"))
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

    support_models_defects: bool = False

    # Models
    publish_twice: Literal["refuse", "allow"] = "allow"
    delete_model_set_with_models: Literal["refuse", "allow"] = "allow"
    cancel_ended_comp_task: Literal["error", "accept"] = "error"
    delete_running_comp_task: Literal["refuse", "allow"] = "refuse"
    exports_fail: bool = False
    failed_export: Literal["Fail", "no record"] = "Fail"

    # Lists: without pageReverse, and the other way round with it
    newest_first: bool = False
