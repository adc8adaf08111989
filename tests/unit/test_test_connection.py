"""What a person sees who tests the connection."""

from __future__ import annotations

import json
import re

import httpx
import pytest
from airflow.models import Connection
from versions import needs
from wire import SECRET_KEY, SECRETS, SESSION_TOKEN, ok, refusal, reply

from airflow_qianfan.hooks.qianfan import QianfanHook

DIAGNOSES = {
    "wrong-key-id": (
        reply(
            None,
            400,
            {
                "X-Bce-Error-Code": "InvalidAccessKeyId",
                "X-Bce-Error-Message": "NotFound, cause: Could not find credential.",
            },
        ),
        "Check the Access Key ID (login)",
    ),
    "wrong-secret": (
        reply(None, 403, {"X-Bce-Error-Message": "SignatureDoesNotMatch, cause: Signature does not match"}),
        "Check the Secret Access Key (password)",
    ),
    "no-permission": (refusal("AccessDenied", 403), "Give the user of the access key a policy"),
    "wrong-clock": (refusal("RequestExpired"), "Set the clock of this machine"),
    "unreachable": (httpx.ConnectError, "Check the connection's host and proxy"),
    "silent": (httpx.ReadTimeout, "no answer within 20 s"),
    "another-service": (reply(b"<html>welcome</html>"), "Check that the connection's host is Qianfan's"),
    "a-page-that-is-missing": (reply(b"<html>", 404), "Check that the connection's host is Qianfan's"),
    "a-login-page": (reply(None, 302, {"Location": "/login"}), "redirects to '/login'"),
    "a-firewall": (reply(b"<html>blocked</html>", 403), "and the firewall"),
    "busy": (reply(None, 429, {"Retry-After": "30"}), "Lower max_qps"),
    "down": (reply(None, 503), "Try again later"),
}


@pytest.mark.parametrize(("answer", "advice"), DIAGNOSES.values(), ids=DIAGNOSES)
def test_test_tells_what_to_correct_at_once(answer, advice, connection, wire, slept):
    wire.script(answer)
    succeeded, message = QianfanHook().test_connection()
    assert succeeded is False
    assert advice in message
    # A person is waiting: one request, no pause.
    assert len(wire.requests) == 1
    assert sum(slept) == 0


def test_advice_differs_for_each_diagnosis():
    advices = [advice for _, advice in list(DIAGNOSES.values())[:5]]
    assert len(set(advices)) == 5


def test_test_makes_one_cheap_read(connection, wire):
    wire.script(ok({"jobList": []}))
    assert QianfanHook().test_connection() == (True, "Qianfan accepts the credentials.")
    assert wire.last.url.params["Action"] == "DescribeFineTuningJobs"
    assert json.loads(wire.last.content) == {"maxKeys": 1}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"login": None}, "login is empty"),
        ({"password": None}, "secret_access_key (password) is missing"),
        ({"host": "nowhere/v2"}, "endpoint (host) must"),
        ({"extra": {"timeout": "soon"}}, "timeout must be a number, not 'soon'"),
        (
            {"extra": {"verify": "/nowhere/bundle.pem"}},
            "Connection 'qianfan_default': verify '/nowhere/bundle.pem' cannot be",
        ),
        ({"extra": {"proxy": "http://[bad"}}, "proxy must look like"),
        pytest.param(
            {"extra": "[1]"},
            "extra must be an object",
            marks=needs(3, 2, "a connection whose extra is a list does not exist"),
        ),
    ],
)
def test_test_of_a_connection_that_cannot_be_used_names_the_field(fields, message, connection):
    connection(**fields)
    succeeded, text = QianfanHook().test_connection()
    assert succeeded is False
    assert message in text


def test_test_never_raises_and_shows_nothing_of_what_it_does_not_know(connection, wire):
    def fail(request):
        raise RuntimeError(f"headers were {dict(request.headers)} {SECRET_KEY}")

    wire.script(fail)
    succeeded, message = QianfanHook().test_connection()
    assert succeeded is False
    where = r"in fail, line \d+ of test_test_connection\.py"
    assert re.fullmatch(rf"Connection 'qianfan_default': unexpected RuntimeError {where}\.", message)


def test_test_of_a_connection_that_does_not_exist_names_it():
    assert QianfanHook("no_such_connection").test_connection() == (
        False,
        "Connection 'no_such_connection' does not exist, or Airflow cannot read it (in a URI, the :// of an "
        "endpoint is %3A%2F%2F). Add it in the UI (Admin, Connections), in a secrets backend or as "
        "AIRFLOW_CONN_NO_SUCH_CONNECTION.",
    )


def test_test_shows_no_secret(connection, wire):
    def echo(request):
        return reply(
            {"code": "SignatureDoesNotMatch", "message": f"{dict(request.headers)} {SECRET_KEY}"}, 400
        )(request)

    connection(extra={"session_token": SESSION_TOKEN})
    wire.script(echo)
    succeeded, message = QianfanHook().test_connection()
    assert succeeded is False
    assert not [secret for secret in SECRETS if secret in message]


@pytest.mark.parametrize(("timeout", "used"), [(3600, 20), (5, 5)])
def test_test_waits_no_longer_than_a_person_does(timeout, used, connection, wire):
    connection(extra={"timeout": timeout, "max_retries": 20})
    wire.script(ok({"jobList": []}))
    QianfanHook().test_connection()
    assert wire.last.extensions["timeout"] == dict.fromkeys(("connect", "read", "write", "pool"), used)


def test_airflow_itself_finds_the_hook_and_tests_the_connection(connection, wire):
    wire.script(ok({"jobList": []}))
    found = Connection.get_connection_from_secrets("qianfan_default")
    assert type(found.get_hook()) is QianfanHook
    assert found.test_connection() == (True, "Qianfan accepts the credentials.")
