"""Calls of deployed services: the OpenAI-compatible chat, with a key of its own instead of a signature.

Follows https://cloud.baidu.com/doc/qianfan-docs/s/Mm8r1mejk.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import SecretStr

from airflow_qianfan.api.call import MAX_ANSWER_BYTES, TRANSPORT_ERRORS
from airflow_qianfan.api.client import open_http
from airflow_qianfan.api.config import QianfanConfig
from airflow_qianfan.api.errors import clean, find_error
from airflow_qianfan.exceptions import (
    QianfanConnectionError,
    QianfanError,
    QianfanInferenceError,
    QianfanInferenceRefusedError,
    QianfanResponseError,
)

CHAT_PATH = "/v2/chat/completions"
TOKEN_PATH = "/v1/BCE-BEARER/token"  # noqa: S105 - a path

TOKEN_SECONDS = 600
"""Seconds for which a short-lived token is valid: longer than the smoke test of a service tries."""

_MAY_PASS = frozenset(
    {
        "internal_error",
        # A service that has just begun to serve is not known everywhere.
        "invalid_model",
        "rpm_rate_limit_exceeded",
        "tpm_rate_limit_exceeded",
    }
)
"""Codes after which the same call may succeed a moment later."""


@dataclass(frozen=True)
class ChatAnswer:
    """What a service answered.

    :param text: the answer.
    :param usage: how many tokens it took, as the service says.
    """

    text: str
    usage: Mapping[str, Any]


class BearerAuth(httpx.Auth):
    """Sends a key as it is; its text is nowhere else in this object.

    :param key: the key.
    """

    def __init__(self, key: SecretStr) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Any:
        """Add the header."""
        request.headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        yield request


def create_token(config: QianfanConfig) -> SecretStr:
    """Return a short-lived key that is made with the access key.

    :raises QianfanError: none could be made.
    """
    with open_http(httpx.Client, config) as http:
        call = _Call(config, "BCE-BEARER token", config.secrets)
        url = f"{config.iam_endpoint}{TOKEN_PATH}"
        response, answer = call.send(http, "GET", url, params={"expireInSeconds": TOKEN_SECONDS})
    if (error := find_error(response, answer, action=call.what, secrets=config.secrets)) is not None:
        raise error
    token = answer.get("token") if isinstance(answer, dict) else None
    if not isinstance(token, str) or not (token and token.isascii() and token.isprintable()):
        # The answer is not shown: it may hold a token that has another name than expected.
        raise QianfanResponseError(
            "the answer has no token", action=call.what, status_code=response.status_code
        )
    return SecretStr(token)


def send_chat(
    config: QianfanConfig, key: SecretStr, model: str, messages: Sequence[Mapping[str, Any]]
) -> ChatAnswer:
    """Ask a deployed service once, and return its answer. Nothing is repeated.

    :param config: where the service is: endpoint, TLS, proxy and time-out.
    :param key: an API key, or a short-lived token.
    :param model: the API address of the service.
    :param messages: the messages of the chat.
    :raises QianfanInferenceError: the service did not answer as it should.
    :raises QianfanConnectionError: no answer came.
    """
    secrets = (*config.secrets, key.get_secret_value())
    call = _Call(config, f"chat with {clean(model, secrets)}", secrets)
    body = {"model": model, "messages": list(messages), "stream": False}
    with open_http(httpx.Client, config, auth=BearerAuth(key)) as http:
        url = f"{config.endpoint.rstrip('/')}{CHAT_PATH}"
        response, answer = call.send(http, "POST", url, json=body)
    if (error := _error(response, answer, call)) is not None:
        raise error
    return ChatAnswer(_text(response, answer, call), _usage(answer))


class _Call:
    """One call, in which no secret gets into an error.

    :param config: the settings.
    :param what: what it is, for errors.
    :param secrets: texts that must not be shown.
    """

    def __init__(self, config: QianfanConfig, what: str, secrets: tuple[str, ...]) -> None:
        self.what = what
        self.secrets = secrets
        self._timeout = config.timeout

    def send(self, http: httpx.Client, method: str, url: str, **content: Any) -> tuple[httpx.Response, Any]:
        """Return the answer and its body: as JSON, or as text where it is none."""
        deadline = time.monotonic() + self._timeout
        body = bytearray()
        try:
            with http.stream(method, url, **content) as response:
                if len(response.headers.get_list("Content-Encoding", split_commas=True)) > 1:
                    raise self.unusable(response, "the answer is compressed more than once")
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > MAX_ANSWER_BYTES:
                        raise self.unusable(response, "the answer is too large")
                    if time.monotonic() > deadline:
                        raise httpx.ReadTimeout("the answer was still incomplete")
        except TRANSPORT_ERRORS as error:
            text = clean(f"{type(error).__name__}: {error}", self.secrets)
            raise QianfanConnectionError(f"no answer: {text}", action=self.what) from None
        text = body.decode("utf-8", "replace")
        try:
            return response, json.loads(text)
        except (ValueError, RecursionError):
            return response, text

    def unusable(self, response: httpx.Response, why: str, **options: Any) -> QianfanError:
        """Return the error for an answer that is none of a chat."""
        return QianfanInferenceError(why, action=self.what, status_code=response.status_code, **options)


def _error(response: httpx.Response, answer: Any, call: _Call) -> QianfanInferenceError | None:
    """Return the error that an answer stands for, whatever its HTTP status; None where it is none."""
    body: Mapping[str, Any] = answer if isinstance(answer, dict) else {}
    inner = body.get("error")
    parts: Mapping[str, Any] = inner if isinstance(inner, dict) else {}
    code = parts.get("code") or body.get("code") or body.get("error_code")
    status = response.status_code
    if 200 <= status < 300 and not inner and (not code or "choices" in body):
        return None
    message = (
        parts.get("message")
        or (inner if isinstance(inner, str) else None)
        or body.get("msg")
        or body.get("message")
        or body.get("error_msg")
        or (f"the answer is {clean(answer, call.secrets)[:200]!r}" if answer else "the answer is empty")
    )
    code = clean(code, call.secrets) if code else None
    transient = status >= 500 or status == 429 or code in _MAY_PASS
    kind = QianfanInferenceError if transient else QianfanInferenceRefusedError
    request_id = body.get("id") or response.headers.get("x-bce-request-id")
    return kind(
        clean(message, call.secrets),
        transient=transient,
        action=call.what,
        status_code=status,
        code=code,
        request_id=clean(request_id, call.secrets) if request_id else None,
    )


def _text(response: httpx.Response, answer: Any, call: _Call) -> str:
    try:
        text = answer["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        shown = clean(answer, call.secrets)[:200]
        raise call.unusable(response, f"the answer has no choices but is {shown!r}") from None
    if not isinstance(text, str) or not text.strip():
        raise call.unusable(response, "the answer has no text")
    return text


def _usage(answer: Any) -> Mapping[str, Any]:
    usage = answer.get("usage")
    return usage if isinstance(usage, dict) else {}
