"""The service behind the HTTP layer: one signed call in, one answer out, everything written down."""

from __future__ import annotations

import json
import logging
import threading
import uuid
from dataclasses import dataclass
from typing import Any

from airflow_qianfan.api.signing import parse_query
from airflow_qianfan.emulator import (
    batch_inference,
    compute_unit,
    dataset,
    evaluation,
    finetuning,
    inference,
    model,
    service,
)
from airflow_qianfan.emulator.actions import NO_RESULT, Action, Call, parse_json
from airflow_qianfan.emulator.answers import Answers
from airflow_qianfan.emulator.assumptions import Assumptions
from airflow_qianfan.emulator.auth import Credentials, Headers, authenticate
from airflow_qianfan.emulator.errors import ApiError, Refusal
from airflow_qianfan.emulator.faults import KEEPS_ANSWER, Answer, Fault, Faults, change_result, fault_answer
from airflow_qianfan.emulator.store import Store, View

logger = logging.getLogger("airflow_qianfan.emulator")

ROUTES: dict[str, dict[str, Action]] = {
    route.path: route.actions
    for route in (
        dataset.ROUTE,
        finetuning.ROUTE,
        model.ROUTE,
        service.ROUTE,
        compute_unit.ROUTE,
        batch_inference.ROUTE,
        evaluation.ROUTE,
    )
}
_MAX_LOGGED = 64


@dataclass
class Request:
    """A request as it came over the wire. ``body`` is None if it was too large to be read.

    :param path: percent-encoded path.
    :param query: query string.
    :param headers: names in lower case and values.
    """

    method: str
    path: bytes
    query: bytes
    headers: Headers
    body: bytes | None


class Backend:
    """All of the emulator but HTTP. Its methods may be called from any thread.

    :param store: where the state is kept.
    :param credentials: the known keys.
    :param assumptions: what the documents leave open.
    :param task_seconds: how long a new fine-tuning task takes.
    :param model_seconds: how long a new model takes to become ready.
    :param strict: whether to refuse what the documents' tables of models exclude, and unknown data sets.
    """

    def __init__(
        self,
        store: Store,
        credentials: Credentials,
        assumptions: Assumptions,
        task_seconds: float,
        model_seconds: float,
        *,
        strict: bool = False,
    ) -> None:
        self.store = store
        self.credentials = credentials
        self.assumptions = assumptions
        self.task_seconds = task_seconds
        self.model_seconds = model_seconds
        self.strict = strict
        self.answers = Answers()
        self.faults = Faults(self._actions)
        self.lock = threading.RLock()

    def answer(self, request: Request) -> Answer:
        """Answer one call of the API and write it into the journal."""
        request_id = str(uuid.uuid4())
        with self.lock:
            entry: dict[str, Any] = {
                "time": self.store.now(),
                "action": _action_name(request.query),
                "request_id": request_id,
                "status": None,
                "code": None,
                "outcome": "ok",
                "ids": {},
                "effect": False,
                "fault": None,
            }
            try:
                answer = self._act(request, entry)
            except ApiError as error:
                answer = _refusal(error, entry)
            except Exception:
                logger.exception("the emulator failed in %s", entry["action"])
                answer = _refusal(ApiError(Refusal(500, "InternalError"), "The emulator failed."), entry)
            entry["status"] = answer.status
            self.store.commit(entry)
        answer.headers = {
            "Content-Type": "application/json; charset=utf-8",
            "x-bce-request-id": request_id,
            **answer.headers,
        }
        _log(entry)
        return answer

    def view(self) -> View:
        """Return the service as it is now."""
        return View(store=self.store, now=self.store.now())

    def reset(self) -> None:
        """Forget all objects, the journal, the moved clock, and what a test ordered or registered."""
        with self.lock:
            self.store.reset()
            self.faults.clear()
            self.answers.clear()

    def _actions(self) -> list[Action]:
        called = [endpoint.action for endpoint in inference.ENDPOINTS.values()]
        return [
            *self.answers,
            *(action for actions in ROUTES.values() for action in actions.values()),
            *called,
        ]

    def _act(self, request: Request, entry: dict[str, Any]) -> Answer:
        endpoint = inference.ENDPOINTS.get(request.path.decode("latin-1"))
        action = (
            self._admit_call(endpoint, request, entry) if endpoint else self._admit(request, entry["action"])
        )
        fault = self.faults.take(action)
        entry["fault"] = fault.kind if fault else None
        if fault is None or fault.takes_effect:
            answer = self._run(action, request, fault, entry, endpoint)
        if fault is None or fault.kind in KEEPS_ANSWER:
            return answer
        entry["outcome"] = "fault"
        answer = fault_answer(fault, entry["request_id"])
        return inference.reshape(answer) if endpoint and not endpoint.is_signed else answer

    def _admit_call(self, endpoint: inference.Endpoint, request: Request, entry: dict[str, Any]) -> Action:
        """Check the key of a call that is none of an Action, and return what stands for its Action."""
        entry["action"] = endpoint.action.name
        self._check_form(request, endpoint.method)
        if endpoint.is_signed:
            self._authenticate(request)
        else:
            # As with signatures, the real clock tells whether a key is still valid.
            inference.check_bearer(self.credentials, request.headers, self.store.clock())
        return endpoint.action

    def _admit(self, request: Request, name: str) -> Action:
        """Check everything about a request but its JSON, and return its action."""
        assumptions = self.assumptions
        route = request.path.decode("latin-1")
        if route not in ROUTES and route not in self.answers.routes():
            raise ApiError(assumptions.unknown_route, _unknown(route, name))
        self._check_form(request, "POST")
        access_key = self._authenticate(request)
        action = self.answers.find(route, name) or ROUTES.get(route, {}).get(name)
        if action is None:
            raise ApiError(assumptions.unknown_action, _unknown(route, name))
        if not action.reads and not self.credentials.may_write(access_key):
            raise ApiError(Refusal(403, "AccessDenied"), "The key may only read.")
        return action

    def _check_form(self, request: Request, method: str) -> None:
        if request.method != method:
            raise ApiError(self.assumptions.wrong_method, f"The method must be {method}.")
        if request.body is None:
            limit = self.assumptions.max_body_bytes
            raise ApiError(self.assumptions.too_large, f"The body is larger than {limit} bytes.")

    def _authenticate(self, request: Request) -> str:
        return authenticate(
            self.credentials,
            self.assumptions,
            request.method,
            request.path,
            request.query,
            request.headers,
            # Signatures follow the real clock, because clients do not know of an advanced one.
            self.store.clock(),
        )

    def _run(
        self,
        action: Action,
        request: Request,
        fault: Fault | None,
        entry: dict[str, Any],
        endpoint: inference.Endpoint | None,
    ) -> Answer:
        past = fault is not None and fault.kind == "stale"
        call = Call(
            body={},
            store=self.store,
            now=self.store.now() - (fault.seconds if fault is not None and past else 0.0),
            assumptions=self.assumptions,
            task_seconds=self.task_seconds,
            model_seconds=self.model_seconds,
            past=past,
            strict=self.strict,
        )
        try:
            call.body = (inference.read_body if endpoint else parse_json)(request.body or b"")
            if endpoint and endpoint.is_signed:
                result = inference.make_token(self.credentials, request.query, self.store.clock())
            else:
                result = action.run(call)
        except ApiError as error:
            answer = _refusal(error, entry)
        else:
            if fault is not None:
                result = change_result(fault, result)
            if endpoint:
                answer = inference.answer_of(result)
            else:
                shown = {} if result is NO_RESULT else {"result": result}
                answer = Answer(200, json.dumps({"requestId": entry["request_id"], **shown}).encode())
        finally:
            entry["ids"], entry["effect"] = call.ids, call.effect
        if fault is not None and fault.kind == "timeout":
            answer.hold = fault.seconds
        return answer


def _action_name(query: bytes) -> str:
    """Return the value of Action if there is exactly one.

    The signature does not cover the order of two of them.
    """
    names = [value for name, value in parse_query(query) if name == b"Action"]
    return names[0].decode(errors="replace")[:_MAX_LOGGED] if len(names) == 1 else ""


def _unknown(route: str, name: str) -> str:
    """Return what to say about an Action that the emulator does not know."""
    if not name:
        return "The query must name one Action."
    route = route[:_MAX_LOGGED]
    return (
        f"The emulator has no answer for the Action {name} of {route}. To register one: "
        f"emulator.answer({route!r}, {name!r}, result), or POST /_emulator/answers with the members "
        "route, action and result."
    )


def _refusal(error: ApiError, entry: dict[str, Any]) -> Answer:
    entry["outcome"], entry["code"] = "refused", error.refusal.code
    if isinstance(error, inference.InferenceError):
        return Answer(error.refusal.status, error.body())
    body = {"requestId": entry["request_id"], "code": error.refusal.code, "message": error.message}
    return Answer(error.refusal.status, json.dumps(body).encode(), dict(error.headers))


def _log(entry: dict[str, Any]) -> None:
    if logger.isEnabledFor(logging.INFO):
        ids = " ".join(f"{name}={value!r}" for name, value in entry["ids"].items())
        logger.info("%r %s %s %s", entry["action"], entry["status"], entry["code"] or entry["outcome"], ids)
