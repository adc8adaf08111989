"""The smoke test of a service: one chat call, tried for a minute."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_qianfan.exceptions import QianfanError, QianfanInferenceError, QianfanValidationError

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_qianfan.hooks.qianfan import QianfanHook

PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0)
"""Seconds before each further try: a service that has only just begun to serve may not answer yet."""

MAX_ANSWER = 500
"""Characters of the answer that are kept."""


def read_messages(smoke_test: Any) -> list[dict[str, Any]] | None:
    """Return the messages of a smoke test; None where there is to be none.

    :param smoke_test: a prompt, or messages as a list or as JSON text.
    :raises QianfanValidationError: it is neither.
    """
    messages = smoke_test
    if isinstance(messages, str):
        messages = _from_text(messages)
    if not messages:
        return None
    is_list = isinstance(messages, (list, tuple))
    if not is_list or not all(isinstance(each, Mapping) and "role" in each for each in messages):
        raise QianfanValidationError(
            "smoke_test: must be a prompt, or a list of messages with role and content",
            action="chat",
            parameters=("smoke_test",),
        )
    try:
        plain: list[dict[str, Any]] = json.loads(json.dumps(list(messages), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise QianfanValidationError(
            f"smoke_test: must hold only what JSON can express: {error}",
            action="chat",
            parameters=("smoke_test",),
        ) from None
    return plain


def _from_text(text: str) -> Any:
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            # A prompt may begin like this, too.
            pass
    return [{"role": "user", "content": text}] if text.strip() else None


def smoke_test(
    hook: QianfanHook, address: str | None, messages: list[dict[str, Any]], log: Logger, label: str
) -> str:
    """Ask a service, and return its answer, shortened.

    :param hook: the hook of the task.
    :param address: the API address of the service.
    :param messages: what it is asked.
    :param log: the log of the task.
    :param label: the service in a sentence.
    :raises QianfanError: it did not answer.
    """
    if address is None:
        raise QianfanInferenceError(f"{label} shows no address that could be called", action="chat")
    for pause in (*PAUSES, None):
        try:
            text = hook.chat(address, messages).text
        except QianfanError as error:
            if pause is None or not error.transient:
                raise
            log.warning("%s does not answer yet; trying again in %g s: %s", label, pause, error)
            time.sleep(pause)
        else:
            log.info("%s answers: %s", label, text[:100])
            return text if len(text) <= MAX_ANSWER else f"{text[:MAX_ANSWER]}…"
    raise AssertionError("unreachable")
