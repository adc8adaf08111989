"""From an Airflow connection to a client, and what a person sees who tests the connection."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import re
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import redact
from structlog.testing import capture_logs
from wire import ACCESS_KEY, PROXY_PASSWORD, SECRET_KEY, SECRETS, SESSION_TOKEN, ok, refusal, reply

from airflow_qianfan.api.actions.finetuning import (
    DescribeFineTuningJobs,
    DescribeFineTuningTask,
    StopFineTuningTask,
)
from airflow_qianfan.api.config import QianfanConfig
from airflow_qianfan.exceptions import QianfanConfigurationError, QianfanError, QianfanPermissionError
from airflow_qianfan.get_provider_info import get_provider_info
from airflow_qianfan.hooks import qianfan
from airflow_qianfan.hooks.qianfan import QianfanHook

READ = DescribeFineTuningTask(task_id="task-1")
TASK = {"taskId": "task-1", "runStatus": "Running"}


@pytest.fixture
def connection(monkeypatch):
    """Set the connection ``qianfan_default``, as JSON or as a URI."""

    def set_connection(uri: str | None = None, **fields: Any) -> None:
        # Without certificates a client is made ten times faster.
        fields = {"conn_type": "qianfan", "login": ACCESS_KEY, "password": SECRET_KEY, **fields}
        monkeypatch.setenv("AIRFLOW_CONN_QIANFAN_DEFAULT", uri or json.dumps(fields))

    set_connection()
    return set_connection


def config_of(hook: QianfanHook, how: str) -> QianfanConfig:
    """The settings that a hook makes of its connection, on either side."""
    if how == "sync":
        return hook.client._config

    async def read() -> QianfanConfig:
        async with hook.async_client() as client:
            return client._config

    return asyncio.run(read())


@pytest.fixture
def logs(caplog):
    """All that is logged, by hooks through structlog and by the rest through the standard library."""
    caplog.set_level(logging.DEBUG)
    with capture_logs() as events:
        yield lambda: "\n".join([*(str(event) for event in events), caplog.text])


both = pytest.mark.parametrize("how", ["sync", "async"])


@both
def test_connection_as_uri_has_everything(how, connection):
    connection(
        f"qianfan://{ACCESS_KEY}:{quote(SECRET_KEY, safe='')}@10.1.2.3:8443/https"
        f"?session_token={quote(SESSION_TOKEN, safe='')}&timeout=30&max_retries=1&max_qps=2.5"
        f"&verify=false&proxy={quote(f'http://user:{PROXY_PASSWORD}@proxy:8080', safe='')}&allow_http=true"
    )
    assert config_of(QianfanHook(), how) == QianfanConfig(
        ACCESS_KEY,
        SECRET_KEY,
        endpoint="https://10.1.2.3:8443",
        session_token=SESSION_TOKEN,
        timeout=30,
        max_retries=1,
        max_qps=2.5,
        verify=False,
        proxy=f"http://user:{PROXY_PASSWORD}@proxy:8080",
        allow_http=True,
    )


@both
def test_connection_as_json_has_everything(how, connection):
    connection(
        host="https://10.1.2.3:8443",
        extra={
            "session_token": SESSION_TOKEN,
            "timeout": 30,
            "max_retries": 1,
            "max_qps": 2.5,
            "verify": False,
            "proxy": "http://proxy:8080",
            "allow_http": True,
        },
    )
    assert config_of(QianfanHook(), how) == QianfanConfig(
        ACCESS_KEY,
        SECRET_KEY,
        endpoint="https://10.1.2.3:8443",
        session_token=SESSION_TOKEN,
        timeout=30,
        max_retries=1,
        max_qps=2.5,
        verify=False,
        proxy="http://proxy:8080",
        allow_http=True,
    )


@both
def test_connection_with_nothing_but_keys_has_the_defaults(how, connection):
    assert config_of(QianfanHook(), how) == QianfanConfig(ACCESS_KEY, SECRET_KEY)


def test_secret_key_with_any_sign_survives_the_uri(connection):
    secret = "a/b+c=d:e@f%g?h#i"
    connection(f"qianfan://{ACCESS_KEY}:{quote(secret, safe='')}@")
    assert QianfanHook().client._config.secret_access_key == secret


@pytest.mark.parametrize(
    ("fields", "endpoint"),
    [
        ({"host": ""}, "https://qianfan.baidubce.com"),
        ({"host": "  "}, "https://qianfan.baidubce.com"),
        ({"host": "qianfan.example.com"}, "https://qianfan.example.com"),
        ({"host": " https://qianfan.example.com "}, "https://qianfan.example.com"),
        ({"host": "https://qianfan.example.com/"}, "https://qianfan.example.com/"),
        ({"host": "qianfan.example.com", "port": 8443}, "https://qianfan.example.com:8443"),
        ({"host": "https://qianfan.example.com/", "port": 8443}, "https://qianfan.example.com:8443"),
        ({"host": "https://qianfan.example.com:8443", "port": 8443}, "https://qianfan.example.com:8443"),
        ({"host": "127.0.0.1", "port": 8080, "schema": "http"}, "http://127.0.0.1:8080"),
        ({"host": "http://127.0.0.1", "port": 8080}, "http://127.0.0.1:8080"),
        ({"host": "http://127.0.0.1:8080", "schema": "https"}, "http://127.0.0.1:8080"),
        ({"host": "127.0.0.1:8080", "schema": "http"}, "http://127.0.0.1:8080"),
        ({"host": "localhost", "schema": "https"}, "https://localhost"),
        ({"host": "localhost", "schema": "qianfan"}, "https://localhost"),
    ],
)
def test_host_comes_with_or_without_scheme_and_port(fields, endpoint, connection):
    connection(**fields)
    assert QianfanHook().client._config.endpoint == endpoint


@pytest.mark.parametrize(
    ("uri", "endpoint"),
    [
        ("qianfan://AK:SK@", "https://qianfan.baidubce.com"),
        ("qianfan://AK:SK@qianfan.example.com", "https://qianfan.example.com"),
        ("qianfan://AK:SK@localhost:8080/http", "http://localhost:8080"),
        ("qianfan://AK:SK@http%3A%2F%2Flocalhost%3A8080", "http://localhost:8080"),
        ("qianfan://http://AK:SK@localhost:8080", "http://localhost:8080"),
    ],
)
def test_uri_spells_the_endpoint_in_any_way(uri, endpoint, connection):
    connection(uri)
    assert QianfanHook().client._config.endpoint == endpoint


@both
@pytest.mark.parametrize(
    ("extra", "name", "value"),
    [
        ({"timeout": 30}, "timeout", 30.0),
        ({"timeout": "30"}, "timeout", 30.0),
        ({"timeout": " 0.5 "}, "timeout", 0.5),
        ({"timeout": ""}, "timeout", 60.0),
        ({"timeout": None}, "timeout", 60.0),
        ({"max_retries": 0}, "max_retries", 0),
        ({"max_retries": "5"}, "max_retries", 5),
        ({"max_retries": 5.0}, "max_retries", 5),
        ({"max_retries": ""}, "max_retries", 3),
        ({"max_qps": "0.5"}, "max_qps", 0.5),
        ({"max_qps": ""}, "max_qps", None),
        ({"verify": False}, "verify", False),
        ({"verify": "false"}, "verify", False),
        ({"verify": " False "}, "verify", False),
        ({"verify": "true"}, "verify", True),
        ({"verify": ""}, "verify", True),
        ({"verify": None}, "verify", True),
        ({"allow_http": True}, "allow_http", True),
        ({"allow_http": "true"}, "allow_http", True),
        ({"allow_http": "False"}, "allow_http", False),
        ({"allow_http": ""}, "allow_http", False),
        ({"session_token": ""}, "session_token", None),
        ({"session_token": "token"}, "session_token", "token"),
        ({"proxy": ""}, "proxy", None),
        ({"proxy": "http://proxy:1"}, "proxy", "http://proxy:1"),
        ({"unknown": "ignored"}, "timeout", 60.0),
    ],
)
def test_extra_is_read_typed_or_as_text(extra, name, value, how, connection):
    connection(extra=extra)
    read = getattr(config_of(QianfanHook(), how), name)
    assert (read, type(read)) == (value, type(value))


@both
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("timeout", ["soon", "0", -1, 3601, "nan", [30], {}, True, 10**400, float("inf")]),
        ("max_retries", ["many", -1, 21, 2.5, "2.5", False, [1], float("inf"), float("nan")]),
        ("max_qps", ["fast", 0, "-1", "inf", [1], True]),
        ("verify", [5, ["x"], "/nowhere/bundle.pem"]),
        ("allow_http", ["yes", 1, [True]]),
        ("session_token", [5, ["x"], "with blank", "line\nbreak"]),
        ("proxy", [5, ["x"], "proxy", "ftp://proxy", "http://[bad", "http://proxy:port"]),
    ],
)
def test_extra_that_cannot_be_used_is_named(name, values, how, connection):
    for value in values:
        connection(extra={name: value})
        with pytest.raises(QianfanConfigurationError, match=name):
            config_of(QianfanHook(), how)


@both
@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"password": None}, "secret_access_key"),
        ({"password": "with blank"}, "secret_access_key"),
        ({"login": "with blank"}, "access_key_id"),
        ({"host": "ftp://qianfan.example.com"}, "endpoint"),
        ({"host": "http://qianfan.example.com"}, "allow_http"),
        ({"host": "https://qianfan.example.com/v2"}, "endpoint"),
        ({"host": "https://qianfan.example.com:1", "port": 2}, "endpoint"),
        ({"host": "::1"}, "endpoint"),
        ({"extra": "[1]"}, "extra"),
    ],
)
def test_field_that_cannot_be_used_is_named_and_so_is_the_connection(fields, name, how, connection):
    connection(**fields)
    with pytest.raises(QianfanConfigurationError, match=rf"(?s)Connection 'qianfan_default'.*{name}"):
        config_of(QianfanHook(), how)


@both
def test_keys_come_from_the_environment_where_there_is_no_login(how, connection, monkeypatch, logs):
    connection(login=None, password=None)
    monkeypatch.setenv("QIANFAN_ACCESS_KEY", "AK-of-the-environment")
    monkeypatch.setenv("QIANFAN_SECRET_KEY", SECRET_KEY)
    config = config_of(QianfanHook(), how)
    assert (config.access_key_id, config.secret_access_key) == ("AK-of-the-environment", SECRET_KEY)
    assert "has no login: using QIANFAN_ACCESS_KEY and QIANFAN_SECRET_KEY of the environment" in logs()
    assert SECRET_KEY not in logs()


def test_keys_of_the_connection_come_before_those_of_the_environment(connection, monkeypatch):
    monkeypatch.setenv("QIANFAN_ACCESS_KEY", "AK-of-the-environment")
    monkeypatch.setenv("QIANFAN_SECRET_KEY", "SK-of-the-environment")
    assert QianfanHook().client._config.access_key_id == ACCESS_KEY


@pytest.mark.parametrize("variables", [{}, {"QIANFAN_ACCESS_KEY": "AK"}, {"QIANFAN_SECRET_KEY": "SK"}])
def test_no_keys_anywhere_says_where_to_put_them(variables, connection, monkeypatch):
    connection(login=None, password=None)
    for name in ("QIANFAN_ACCESS_KEY", "QIANFAN_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(QianfanConfigurationError) as caught:
        QianfanHook().call(READ)
    assert str(caught.value) == (
        "Connection 'qianfan_default' has no login. Put the Access Key ID there and the Secret Access Key "
        "into password, or set QIANFAN_ACCESS_KEY and QIANFAN_SECRET_KEY."
    )


@both
def test_arguments_of_the_hook_come_before_the_connection(how, connection):
    connection(extra={"timeout": 30, "max_retries": 5})
    config = config_of(QianfanHook(timeout=4, max_retries=0), how)
    assert (config.timeout, config.max_retries) == (4, 0)


def test_connection_is_read_at_the_first_call_and_once(connection, wire, monkeypatch):
    reads = []
    original = BaseHook.get_connection.__func__

    def count(cls, conn_id):
        reads.append(conn_id)
        return original(cls, conn_id)

    monkeypatch.setattr(BaseHook, "get_connection", classmethod(count))
    wire.script(ok(TASK))
    hook = QianfanHook("qianfan_default")
    assert reads == []
    hook.call(READ)
    hook.call(READ)
    hook.call_action("/v2/finetuning", "DescribeX")
    assert reads == ["qianfan_default"]
    assert hook.get_conn() is hook.client


def test_hook_of_a_connection_that_is_missing_can_be_made_but_not_used():
    hook = QianfanHook("no_such_connection")
    with pytest.raises(AirflowNotFoundException):
        hook.call(READ)


# Calls


def test_hook_calls_actions(connection, wire):
    hook = QianfanHook()
    wire.script(ok(TASK))
    assert hook.call(READ).task_id == "task-1"
    wire.script(reply({"requestId": "r", "result": [1]}))
    assert hook.call_action("/v2/x", "DescribeX", {"a": 1}) == {"requestId": "r", "result": [1]}
    assert json.loads(wire.last.content) == {"a": 1}
    wire.script(ok({"jobList": [{"jobId": "job-1"}]}))
    assert [row.job_id for row in hook.iterate(DescribeFineTuningJobs())] == ["job-1"]


async def test_hook_calls_actions_on_an_event_loop(connection, wire):
    hook = QianfanHook()
    wire.script(ok(TASK))
    assert (await hook.acall(READ)).task_id == "task-1"
    wire.script(reply({"requestId": "r", "result": [1]}))
    assert await hook.acall_action("/v2/x", "DescribeX", {"a": 1}) == {"requestId": "r", "result": [1]}
    assert json.loads(wire.last.content) == {"a": 1}
    async with hook.async_client() as client:
        wire.script(ok(True))
        assert await client.call(StopFineTuningTask(task_id="task-1")) is True


def test_hook_passes_on_whether_an_action_may_be_repeated(connection, wire, slept):
    wire.script(reply(None, 503))
    hook = QianfanHook()
    with pytest.raises(QianfanError):
        hook.call_action("/v2/x", "ModifyX", repeatable=True)
    assert len(wire.requests) == 4
    with pytest.raises(QianfanError):
        asyncio.run(hook.acall_action("/v2/x", "ModifyX", repeatable=True))
    assert len(wire.requests) == 8


@both
def test_error_of_the_service_comes_through_the_hook(how, connection, wire):
    wire.script(refusal("AccessDenied", 403))
    with pytest.raises(QianfanPermissionError):
        QianfanHook().call(READ) if how == "sync" else asyncio.run(QianfanHook().acall(READ))


# Secrets


@both
def test_secret_is_masked_in_logs_also_when_it_comes_from_the_environment(how, connection, monkeypatch):
    secret = f"SK-only-here-{how}"
    connection(login=None, password=None)
    monkeypatch.setenv("QIANFAN_ACCESS_KEY", ACCESS_KEY)
    monkeypatch.setenv("QIANFAN_SECRET_KEY", secret)
    assert redact(f"key {secret}") == f"key {secret}"
    config_of(QianfanHook(), how)
    assert redact(f"key {secret}") == "key ***"


def test_hook_shows_no_secret(connection, wire, logs):
    connection(
        extra={"session_token": SESSION_TOKEN, "proxy": f"http://user:{PROXY_PASSWORD}@proxy.example:8080"}
    )
    wire.script(ok(TASK))
    hook = QianfanHook()
    hook.call(READ)
    asyncio.run(hook.acall(READ))
    shown = f"{hook} {hook!r} {vars(hook)} {hook.client!r} {logs()}"
    assert not [secret for secret in SECRETS if secret in shown]
    assert "DescribeFineTuningTask answered, request id req-1" in shown


# The test of a connection

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
        ({"login": None}, "has no login"),
        ({"password": None}, "secret_access_key is missing"),
        ({"host": "nowhere/v2"}, "endpoint must"),
        ({"extra": {"timeout": "soon"}}, "timeout in extra must be a number, not 'soon'"),
        ({"extra": {"verify": "/nowhere/bundle.pem"}}, "verify"),
        ({"extra": {"proxy": "http://[bad"}}, "proxy must look like"),
        ({"extra": "[1]"}, "extra must be an object"),
    ],
)
def test_test_of_a_connection_that_cannot_be_used_names_the_field(fields, message, connection):
    connection(**fields)
    succeeded, text = QianfanHook().test_connection()
    assert succeeded is False
    assert message in text


def test_test_never_raises_and_shows_nothing_of_what_it_does_not_know(connection, wire):
    assert QianfanHook("no_such_connection").test_connection() == (
        False,
        "Unexpected AirflowNotFoundException; see the log of the component that ran the test.",
    )

    def fail(request):
        raise RuntimeError(f"headers were {dict(request.headers)} {SECRET_KEY}")

    wire.script(fail)
    assert QianfanHook().test_connection() == (
        False,
        "Unexpected RuntimeError; see the log of the component that ran the test.",
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
    found = Connection.get("qianfan_default")
    assert type(found.get_hook()) is QianfanHook
    assert found.test_connection() == (True, "Qianfan accepts the credentials.")


# Drift between what the form offers and what the hook reads


def connection_type() -> dict[str, Any]:
    (entry,) = get_provider_info()["connection-types"]
    return entry


def test_metadata_and_hook_name_the_same_connection():
    entry = connection_type()
    assert entry["connection-type"] == QianfanHook.conn_type == "qianfan"
    assert entry["hook-name"] == QianfanHook.hook_name
    assert entry["hook-class-name"] == f"{QianfanHook.__module__}.{QianfanHook.__qualname__}"
    assert QianfanHook.conn_name_attr == "qianfan_conn_id"
    assert QianfanHook.default_conn_name == "qianfan_default"
    assert next(iter(inspect.signature(QianfanHook).parameters)) == QianfanHook.conn_name_attr


def test_form_offers_exactly_the_extra_that_the_hook_reads():
    class Extra(dict):
        def get(self, name, default=None):
            read.add(name)
            return super().get(name, default)

    read: set[str] = set()
    connection = Connection(conn_id="c", conn_type="qianfan", login=ACCESS_KEY, password=SECRET_KEY)
    QianfanHook()._config(connection, Extra())
    assert read == set(connection_type()["conn-fields"])


def test_docstring_of_the_hook_names_every_extra():
    named = set(re.findall(r"``(\w+)``", QianfanHook.__doc__ or ""))
    assert set(connection_type()["conn-fields"]) <= named


def test_form_and_client_have_the_same_limits(connection):
    fields = connection_type()["conn-fields"]
    for name in ("timeout", "max_retries", "max_qps"):
        schema = fields[name]["schema"]
        for limit in ("minimum", "maximum"):
            connection(extra={name: schema[limit]})
            assert getattr(QianfanHook().client._config, name) == schema[limit]


def test_every_field_of_the_form_may_stay_empty():
    for field in connection_type()["conn-fields"].values():
        assert "null" in field["schema"]["type"]


def test_secret_fields_are_hidden_in_the_form_and_in_logs():
    hidden = {
        name
        for name, field in connection_type()["conn-fields"].items()
        if field["schema"].get("format") == "password"
    }
    assert hidden == {"session_token", "proxy"}
    assert redact({"session_token": "anything"})["session_token"] == "***"


def test_module_names_the_variables_of_the_official_sdk():
    assert (qianfan.ACCESS_KEY_VARIABLE, qianfan.SECRET_KEY_VARIABLE) == (
        "QIANFAN_ACCESS_KEY",
        "QIANFAN_SECRET_KEY",
    )
