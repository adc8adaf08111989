"""From an Airflow connection to the settings of a client, on both sides."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from examples import READ
from pydantic import SecretStr
from versions import needs
from wire import ACCESS_KEY, PROXY_PASSWORD, SECRET_KEY, SESSION_TOKEN, config_of

from airflow_qianfan.api.config import QianfanConfig
from airflow_qianfan.compat import AirflowNotFoundException
from airflow_qianfan.exceptions import QianfanConfigurationError
from airflow_qianfan.hooks.qianfan import QianfanHook

both = pytest.mark.parametrize("how", ["sync", "async"])


@both
def test_connection_as_uri_has_everything(how, connection):
    connection(
        f"qianfan://{ACCESS_KEY}:{quote(SECRET_KEY, safe='')}@10.1.2.3:8443/https"
        f"?session_token={quote(SESSION_TOKEN, safe='')}&timeout=30&max_retries=1&max_qps=2.5"
        f"&verify=false&proxy={quote(f'http://user:{PROXY_PASSWORD}@proxy:8080', safe='')}&allow_http=true"
    )
    assert config_of(QianfanHook(), how) == QianfanConfig(
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
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
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
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
    assert config_of(QianfanHook(), how) == QianfanConfig(
        access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY
    )


def test_secret_key_with_any_sign_survives_the_uri(connection):
    secret = "a/b+c=d:e@f%g?h#i"
    connection(f"qianfan://{ACCESS_KEY}:{quote(secret, safe='')}@")
    assert QianfanHook().client._config.secret_access_key.get_secret_value() == secret


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
        ("qianfan://http://AK:SK@127.0.0.1:8421/?max_qps=5", "http://127.0.0.1:8421"),
        ("qianfan://AK:SK@127.0.0.1:8421/http?max_qps=5", "http://127.0.0.1:8421"),
        ("qianfan://AK:SK@127.0.0.1:8421/https", "https://127.0.0.1:8421"),
        ("qianfan://AK:SK@/?endpoint=http%3A%2F%2F127.0.0.1%3A8421", "http://127.0.0.1:8421"),
        (
            "qianfan://AK:SK@other.example:1/https?endpoint=http%3A%2F%2F127.0.0.1%3A8421",
            "http://127.0.0.1:8421",
        ),
        ("qianfan://AK:SK@127.0.0.1:8421/http?endpoint=", "http://127.0.0.1:8421"),
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
        ({"session_token": "token"}, "session_token", SecretStr("token")),
        ({"proxy": ""}, "proxy", None),
        ({"proxy": "http://proxy:1"}, "proxy", SecretStr("http://proxy:1")),
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
        pytest.param(
            {"extra": "[1]"}, "extra", marks=needs(3, 2, "a connection whose extra is a list does not exist")
        ),
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
    assert config.access_key_id == "AK-of-the-environment"
    assert config.secret_access_key.get_secret_value() == SECRET_KEY
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
        "Connection 'qianfan_default': login is empty. Put the Access Key ID there and the Secret Access Key "
        "into password, or set QIANFAN_ACCESS_KEY and QIANFAN_SECRET_KEY."
    )


@pytest.mark.parametrize(
    "uri", ["qianfan://AK:SK@http://127.0.0.1:8421", "qianfan://AK:SK@/?endpoint=http://127.0.0.1:8421"]
)
def test_uri_that_airflow_itself_cannot_read_is_told_so(uri, connection):
    connection(uri)
    with pytest.raises(AirflowNotFoundException):
        QianfanHook().get_conn()
    assert "Airflow cannot read it (in a URI, the :// of an endpoint is" in QianfanHook().test_connection()[1]


@both
@pytest.mark.parametrize(
    "fields", [{"extra": {"verify": "/nowhere/bundle.pem"}}, {"extra": {"proxy": "socks5://p:1"}}]
)
def test_connection_is_named_where_no_client_can_be_made_of_it(fields, how, connection):
    connection(**fields)
    with pytest.raises(
        QianfanConfigurationError, match=r"^Connection 'qianfan_default': (verify|proxy) .*cannot be"
    ):
        config_of(QianfanHook(), how)


# Extras that nobody reads


@both
def test_misspelt_extra_is_named_once_with_the_nearest_name_and_without_its_value(how, connection, logs):
    connection(extra={"max_qsp": "a-value", "Time-Out": 5, "timeout": 30})
    for _ in range(2):
        assert config_of(QianfanHook(), how).timeout == 30
    warning = "extra 'max_qsp' is not known and has no effect; did you mean 'max_qps'?"
    text = logs()
    assert text.count("is not known") == 2
    assert f"Connection 'qianfan_default': {warning}" in text
    assert "'Time-Out' is not known and has no effect; did you mean 'timeout'?" in text
    assert "a-value" not in text


def test_extra_that_is_like_no_other_is_named_with_those_that_are_known(connection, logs):
    connection(extra={"zzz": 1})
    QianfanHook().get_conn()
    assert (
        "extra 'zzz' is not known and has no effect; known are allow_http, api_key, endpoint, max_qps, "
        "max_retries, "
        "proxy, session_token, timeout, verify." in logs()
    )


def test_known_extras_warn_of_nothing(connection, logs):
    connection(extra={"timeout": "", "verify": "false", "endpoint": "http://127.0.0.1:1", "allow_http": None})
    QianfanHook().get_conn()
    assert "not known" not in logs()
