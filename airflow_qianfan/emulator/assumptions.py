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

    # Data sets
    duplicate_dataset_name: Literal["refuse", "allow"] = "refuse"
    second_import: Literal["append", "refuse"] = "append"
    import_into_published: Literal["refuse", "allow"] = "refuse"
    publish_dataset_twice: Literal["refuse", "ignore"] = "ignore"
    publish_delay_seconds: float = 0.0
    dataset_version_has_states: bool = True
    dataset_list: str = "datasetList"
    dataset_version_list: str = "versionList"

    # Services
    default_protocol: Literal[1, 2] | None = 1
    """The services that are listed and counted where no protocolVersion is sent; None for all."""
    service_list_has_description: bool = True
    update_shows_new_version: Literal["at once", "when done"] = "when done"
    resource_type_spelling: Literal["as sent", "Describe"] = "as sent"
    invalid_model_status: Literal[400, 401] = 401
    chat_delay_seconds: float = 0.0
    """Seconds for which a service that has only just begun to serve does not answer."""

    # Batch inference
    batch_inference_limit: int = 20
    batch_inference_quota: Refusal = field(default=Refusal(400, "TaskRunningNumberExceedLimit"))
    batch_inference_total: str = "total"

    # Evaluation
    evaluation_list: str = "taskList"
    evaluation_list_has_descriptions: bool = True
    evaluation_metrics: Literal["numbers", "texts", "nested"] = "numbers"
    evaluation_report_before_end: Literal["error", "empty"] = "error"
    evaluation_export_answer: Literal["string", "object"] = "string"
    stop_manual_evaluation: Literal["refuse", "allow"] = "refuse"
    delete_running_evaluation: Literal["refuse", "allow"] = "refuse"

    # Lists: without pageReverse, and the other way round with it
    newest_first: bool = False
