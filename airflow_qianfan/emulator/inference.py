"""Calls of deployed services with a bearer key: chat, the list of models, and short-lived keys."""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from airflow_qianfan.api.signing import canonical_time, parse_query
from airflow_qianfan.emulator.actions import Action, Body, Call, parse_json
from airflow_qianfan.emulator.auth import Credentials, Headers
from airflow_qianfan.emulator.deployment import CHAT_PATH, Service
from airflow_qianfan.emulator.errors import ApiError, Refusal
from airflow_qianfan.emulator.faults import Answer

TOKEN_PATH = "/v1/BCE-BEARER/token"  # noqa: S105 - a path
MODELS_PATH = "/v2/models"
MAX_TOKEN_SECONDS = 2_592_000
_TOKEN = re.compile(r"bce-v3/BEARER-emulator/(?P<expires>\d{1,12})/(?P<proof>[0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True)
class Endpoint:
    """A path that is called with a bearer key, or makes one.

    :param method: its HTTP method.
    :param action: what the journal and faults call it.
    :param is_signed: whether the call is signed with the access key.
    """

    method: str
    action: Action
    is_signed: bool = False


class Message(Body):
    role: Literal["system", "user", "assistant", "tool", "function"]
    content: str | list[Any]


class Chat(Body):
    # Names as OpenAI writes them, which have no capitals.
    model: str | None = None
    messages: Annotated[list[Message], Field(min_length=1)] | None = None
    stream: bool | None = None


class InferenceError(ApiError):
    """A refusal in the form of these paths: ``{"error": {"code", "message", "type"}, "id"}``."""

    def __init__(self, status: int, code: str, message: str, kind: str = "invalid_request_error") -> None:
        super().__init__(Refusal(status, code), message)
        self.kind = kind

    def body(self) -> bytes:
        """Return the body of the answer."""
        return error_body(self.refusal.code, self.message, self.kind)


def error_body(code: str, message: str, kind: str) -> bytes:
    """Return a refusal as these paths write it."""
    error = {"code": code, "message": message, "type": kind}
    return json.dumps({"error": error, "id": _answer_id()}).encode()


def reshape(answer: Answer) -> Answer:
    """Return the answer of a fault as these paths write it; a limit shows under HTTP 200 as code and msg."""
    try:
        body = json.loads(answer.body)
    except ValueError:
        return answer
    if "code" in body:
        if answer.status == 200:
            content = json.dumps({"code": body["code"], "msg": body["message"]}).encode()
        else:
            content = error_body(str(body["code"]), body["message"], "invalid_request_error")
        return Answer(answer.status, content, answer.headers, answer.hold)
    return answer


def check_bearer(credentials: Credentials, headers: Headers, now: float) -> None:
    """Check the key of a call.

    :raises InferenceError: it is not one of ours, or its time is over.
    """
    values = [value.decode("latin-1") for name, value in headers if name == b"authorization"]
    scheme, _, key = (values[0] if len(values) == 1 else "").partition(" ")
    if scheme.lower() == "bearer" and hmac.compare_digest(key.encode(), credentials.api_key.encode()):
        return
    match = _TOKEN.fullmatch(key)
    if scheme.lower() != "bearer" or match is None or not _is_valid(credentials, match, now):
        raise InferenceError(401, "invalid_iam_token", "IAM certification failed")


def _is_valid(credentials: Credentials, match: re.Match[str], now: float) -> bool:
    proof = _proof(credentials, match["expires"])
    return hmac.compare_digest(proof, match["proof"]) and now < float(match["expires"])


def _proof(credentials: Credentials, expires: str) -> str:
    return hmac.digest(credentials.secret_key.encode(), expires.encode(), "sha256").hex()


def make_token(credentials: Credentials, query: bytes, now: float) -> dict[str, Any]:
    """Return a key that lives as long as the query asks for; now is the real time, as for signatures."""
    asked = dict(parse_query(query)).get(b"expireInSeconds", b"")
    seconds = int(asked) if asked.isdigit() and len(asked) < 10 else 0
    if not 0 < seconds <= MAX_TOKEN_SECONDS:
        raise ApiError(Refusal(400, "InappropriateJSON"), "param[expireInSeconds] invalid.")
    expires = str(int(now) + seconds)
    return {
        "userId": "emulator",
        "token": f"bce-v3/BEARER-emulator/{expires}/{_proof(credentials, expires)}",
        "status": "enable",
        "createTime": canonical_time(now),
        "expireTime": canonical_time(float(expires)),
    }


def chat(call: Call) -> Any:
    """Answer a chat, if the service serves."""
    try:
        request = Chat.model_validate(call.body)
    except ValidationError as error:
        member = str(error.errors(include_url=False, include_context=False, include_input=False)[0]["loc"][0])
        code = {"model": "invalid_model", "messages": "invalid_messages"}.get(member, "invalid_argument")
        raise InferenceError(400, code, f"{member} is not valid") from None
    if not request.model:
        raise InferenceError(400, "invalid_model", "model is empty")
    if not request.messages:
        raise InferenceError(400, "invalid_messages", "messages is empty")
    service = _called(call, request.model)
    asked = _text(request.messages[-1].content)
    text = f"{service.version(call.now)['model_id']} heard: {asked}"
    tokens = (sum(_tokens(_text(message.content)) for message in request.messages), _tokens(text))
    service.count(call.now, tokens=tokens)
    call.put(service)
    head = {"id": _answer_id(), "created": int(call.now), "model": request.model}
    usage = dict(zip(("prompt_tokens", "completion_tokens"), tokens, strict=True))
    usage["total_tokens"] = sum(tokens)
    if request.stream:
        return _stream(head, text, usage)
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "flag": 0}
    return {**head, "object": "chat.completion", "choices": [choice], "usage": usage}


def _called(call: Call, model: str) -> Service:
    found = [service for service in call.all(Service) if service.endpoint == model]
    if found:
        call.ids["serviceId"] = found[0].id
    ready = call.assumptions.chat_delay_seconds
    for service in found:
        serves = service.status(call.now) == "Serving" and call.now >= service.serves_since() + ready
        if serves and service.protocol_version == 2:
            return service
        service.count(call.now, tokens=None)
        call.put(service)
    status = call.assumptions.invalid_model_status
    raise InferenceError(status, "invalid_model", "The model does not exist or you do not have access to it")


def _stream(head: dict[str, Any], text: str, usage: dict[str, int]) -> bytes:
    """Return the events of a streamed answer."""
    head = {**head, "object": "chat.completion.chunk"}
    chunks = [
        {**head, "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]},
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage},
    ]
    events = [json.dumps(chunk, ensure_ascii=False) for chunk in chunks]
    return "".join(f"data: {event}\n\n" for event in (*events, "[DONE]")).encode()


def list_models(call: Call) -> Any:
    """Answer with the services that can be called."""
    rows = [
        {"id": service.endpoint, "object": "model", "created": int(service.created), "owned_by": "emulator"}
        for service in call.all(Service)
        if service.status(call.now) == "Serving" and service.protocol_version == 2
    ]
    return {"object": "list", "data": rows}


def _text(content: str | list[Any]) -> str:
    if isinstance(content, str):
        return content
    parts = [part.get("text") for part in content if isinstance(part, dict)]
    return " ".join(part for part in parts if isinstance(part, str))


def _tokens(text: str) -> int:
    return len(text) // 4 + 1


def _answer_id() -> str:
    return f"as-{secrets.token_hex(5)}"


def _action(name: str, run: Callable[[Call], Any], *, reads: bool) -> Action:
    return Action(name, run, reads)


ENDPOINTS = {
    CHAT_PATH: Endpoint("POST", _action("ChatCompletion", chat, reads=False)),
    MODELS_PATH: Endpoint("GET", _action("ListModels", list_models, reads=True)),
    # Backend answers it with make_token, which needs the keys.
    TOKEN_PATH: Endpoint("GET", _action("CreateBearerToken", lambda call: None, reads=True), is_signed=True),
}


def answer_of(result: Any) -> Answer:
    """Return the answer of a call that was not refused: these paths have no envelope."""
    if isinstance(result, bytes):
        return Answer(200, result, {"Content-Type": "text/event-stream"})
    return Answer(200, json.dumps(result).encode())


def read_body(data: bytes) -> dict[str, Any]:
    """Return the JSON object of a request body.

    :raises InferenceError: if it is none.
    """
    try:
        return parse_json(data)
    except ApiError:
        raise InferenceError(400, "malformed_json", "The body is not valid JSON.") from None
