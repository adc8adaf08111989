"""One chat call, and the short-lived key for it: what is sent, and what every answer means."""

from __future__ import annotations

import json
import logging
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from wire import ACCESS_KEY, API_KEY, ENDPOINT, SECRET_KEY, SECRETS, reply, zipped

from airflow_qianfan.api import call
from airflow_qianfan.api.chat import create_token, send_chat
from airflow_qianfan.api.config import QianfanConfig
from airflow_qianfan.exceptions import (
    QianfanConfigurationError,
    QianfanConnectionError,
    QianfanError,
    QianfanInferenceError,
    QianfanInferenceRefusedError,
    QianfanResponseError,
)
from airflow_qianfan.hooks import qianfan
from airflow_qianfan.hooks.qianfan import QianfanHook

MESSAGES = [{"role": "user", "content": "ping"}]
CHOICES = [{"index": 0, "message": {"role": "assistant", "content": "pong"}}]
PONG = {"id": "as-1", "object": "chat.completion", "choices": CHOICES, "usage": {"total_tokens": 3}}
TOKEN = "bce-v3/BEARER/s3nt1nel-token"


def config(**settings: Any) -> QianfanConfig:
    keys = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, "api_key": API_KEY}
    return QianfanConfig(**{**keys, "endpoint": ENDPOINT, "verify": False, **settings})


def ask(**settings: Any) -> Any:
    made = config(**settings)
    assert made.api_key is not None
    return send_chat(made, made.api_key, "kzpitmni_faq", MESSAGES)


def test_chat_is_sent_with_the_key_and_no_signature(wire):
    wire.script(reply(PONG))
    answer = ask()
    assert (answer.text, answer.usage) == ("pong", {"total_tokens": 3})
    request = wire.last
    assert (request.method, str(request.url)) == ("POST", f"{ENDPOINT}/v2/chat/completions")
    assert request.headers["Authorization"] == f"Bearer {API_KEY}"
    body = json.loads(request.content)
    assert body == {"model": "kzpitmni_faq", "messages": MESSAGES, "stream": False}


TRANSIENT = {
    "5xx": reply(None, 502),
    "internal-error": reply({"error": {"code": "internal_error", "message": "x", "type": "t"}}, 400),
    "new-service-401": reply({"error": {"code": "invalid_model", "message": "x"}, "id": "as-1"}, 401),
    "new-service-400": reply({"error": {"code": "invalid_model", "message": "x"}, "id": "as-1"}, 400),
    "limit-under-200": reply({"code": "rpm_rate_limit_exceeded", "msg": "slow down"}),
    "limit-as-429": reply({"error": {"code": "tpm_rate_limit_exceeded", "message": "x"}}, 429),
    "error-under-200": reply({"error": {"code": "internal_error", "message": "x"}}),
    "not-json": reply(b"<html>"),
    "no-choices": reply({"id": "as-1"}),
    "empty-answer": reply({"choices": [{"message": {"content": " "}}]}),
    "answer-of-another-type": reply({"choices": [{"message": {"content": 5}}]}),
    "choices-of-another-type": reply({"choices": "x"}),
    "a-list": reply([1]),
    "zipped-twice": zipped(b"{}", times=2),
}
REFUSED = {
    "too-long": reply({"error": {"code": "tokens_too_long", "message": "too long"}, "id": "as-1"}, 400),
    "wrong-key": reply({"error": {"code": "invalid_iam_token", "message": "x", "type": "t"}}, 401),
    "not-allowed": reply({"error": {"code": "no_parameter_permission", "message": "x"}}, 401),
    "under-200": reply({"error": {"code": "tokens_too_long", "message": "too long"}}),
    "code-under-200": reply({"code": "invalid_appid", "msg": "x"}),
    "old-shape": reply({"error_code": 336003, "error_msg": "x"}),
    "text-as-error": reply({"error": "no"}, 400),
    "page-of-a-gateway": reply(b"<html>", 403),
    "redirect": reply(None, 302, {"Location": "https://elsewhere.example/"}),
    "nothing": reply(None, 404),
}


@pytest.mark.parametrize("answer", TRANSIENT.values(), ids=TRANSIENT)
def test_what_may_pass_is_transient_and_sent_once(answer, wire):
    wire.script(answer)
    with pytest.raises(QianfanInferenceError) as caught:
        ask()
    assert caught.value.transient
    assert not isinstance(caught.value, QianfanInferenceRefusedError)
    assert len(wire.requests) == 1


@pytest.mark.parametrize("answer", REFUSED.values(), ids=REFUSED)
def test_other_refusals_are_final_whatever_the_status(answer, wire):
    wire.script(answer)
    with pytest.raises(QianfanInferenceRefusedError) as caught:
        ask()
    assert not caught.value.transient
    assert "api_key" in str(caught.value)


def test_refusal_names_service_code_and_id(wire):
    wire.script(REFUSED["too-long"])
    with pytest.raises(QianfanInferenceRefusedError) as caught:
        ask()
    for part in ("chat with kzpitmni_faq", "too long", "HTTP 400", "tokens_too_long", "as-1"):
        assert part in str(caught.value)


@pytest.mark.parametrize("failure", [httpx.ConnectError, httpx.ReadTimeout, httpx.ReadError])
def test_failure_of_the_network_is_transient(failure, wire):
    wire.script(failure)
    with pytest.raises(QianfanConnectionError) as caught:
        ask()
    assert caught.value.transient


def test_answer_that_is_too_large_is_not_read(wire, monkeypatch):
    monkeypatch.setattr("airflow_qianfan.api.chat.MAX_ANSWER_BYTES", 100)
    assert call.MAX_ANSWER_BYTES > 100
    wire.script(reply(b" " * 101))
    with pytest.raises(QianfanInferenceError, match="too large"):
        ask()


def test_success_may_hold_a_code(wire):
    wire.script(reply({**PONG, "code": 0}))
    assert ask().text == "pong"


# The short-lived key


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [("https://qianfan.baidubce.com", "https://iam.bj.baidubce.com"), (ENDPOINT, ENDPOINT)],
)
def test_token_is_asked_for_with_a_signature(endpoint, host, wire):
    wire.script(reply({"userId": "u", "token": TOKEN, "status": "enable"}))
    assert create_token(config(endpoint=endpoint)).get_secret_value() == TOKEN
    request = wire.last
    assert (request.method, request.url.path) == ("GET", "/v1/BCE-BEARER/token")
    assert str(request.url).startswith(f"{host}/")
    assert int(request.url.params["expireInSeconds"]) > 60
    assert request.headers["Authorization"].startswith(f"bce-auth-v1/{ACCESS_KEY}/")


@pytest.mark.parametrize(
    "answer",
    [{}, {"token": None}, {"token": ""}, {"token": 5}, {"token": "a\nb"}, {"token": "й"}, []],
    ids=str,
)
def test_answer_without_a_usable_token_is_an_error_that_shows_nothing_of_it(answer, wire):
    wire.script(reply(answer))
    with pytest.raises(QianfanResponseError, match="the answer has no token"):
        create_token(config())


def test_refused_token_names_the_code(wire):
    wire.script(reply({"code": "AccessDenied", "message": "no", "requestId": "r"}, 403))
    with pytest.raises(QianfanError, match="AccessDenied"):
        create_token(config())


# The hook


def test_hook_uses_the_key_of_the_connection(connection, wire):
    connection(host=ENDPOINT, extra={"api_key": API_KEY, "verify": False})
    wire.script(reply(PONG))
    assert QianfanHook().chat("kzpitmni_faq", MESSAGES).text == "pong"
    assert len(wire.requests) == 1


def test_hook_without_a_key_makes_one_and_masks_it(connection, wire, monkeypatch):
    connection(host=ENDPOINT, extra={"verify": False})
    masked: list[Any] = []
    monkeypatch.setattr(qianfan, "mask_secret", masked.extend)
    wire.script(reply({"token": TOKEN}), reply(PONG))
    assert QianfanHook().chat("kzpitmni_faq", MESSAGES).text == "pong"
    assert wire.last.headers["Authorization"] == f"Bearer {TOKEN}"
    assert TOKEN in masked


def test_hook_masks_the_key(connection, wire, monkeypatch):
    connection(host=ENDPOINT, extra={"api_key": API_KEY, "verify": False})
    masked: list[Any] = []
    monkeypatch.setattr(qianfan, "mask_secret", masked.extend)
    wire.script(reply(PONG))
    QianfanHook().chat("kzpitmni_faq", MESSAGES)
    assert API_KEY in masked


def test_connection_that_cannot_be_used_is_named(connection, wire):
    connection(host=ENDPOINT, extra={"api_key": API_KEY, "verify": "/no/such/bundle"})
    with pytest.raises(QianfanConfigurationError, match="qianfan_default"):
        QianfanHook().chat("kzpitmni_faq", MESSAGES)


# Secrets


ECHO = "the key {key} and {token} of {secret}"


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize(
    "shape",
    [
        lambda text: {"error": {"code": text, "message": text}, "id": text},
        lambda text: {"error": text},
        lambda text: {"code": text, "msg": text},
        lambda text: [text],
        lambda text: {"choices": [text]},
        lambda text: {"choices": []},
    ],
    ids=["nested", "text", "top", "list", "choice", "none"],
)
def test_echoed_key_is_in_no_error_and_no_log(shape, status, wire, caplog):
    caplog.set_level(logging.DEBUG)
    text = ECHO.format(key=API_KEY, token=TOKEN, secret=SECRET_KEY)
    wire.script(reply(shape(text), status))
    with pytest.raises(QianfanError) as caught:
        send_chat(config(), SecretStr(TOKEN), "kzpitmni_faq", MESSAGES)
    shown = f"{caught.value} {caught.value!r} {vars(caught.value)} {caplog.text}"
    assert not [secret for secret in (*SECRETS, TOKEN) if secret in shown]


def test_key_in_a_failure_of_the_transport_is_not_shown(wire):
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ProxyError(f"407 {API_KEY}", request=request)

    wire.script(fail)
    with pytest.raises(QianfanConnectionError) as caught:
        ask()
    assert API_KEY not in f"{caught.value} {caught.value!r} {vars(caught.value)}"
