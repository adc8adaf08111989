"""Settings of a client: what is accepted, what is refused and never shown."""

from __future__ import annotations

import copy
import os
import ssl
import warnings
from pathlib import Path

import certifi
import pytest
from wire import ACCESS_KEY, API_KEY, PROXY_PASSWORD, SECRET_KEY, SECRETS, SESSION_TOKEN

from airflow_qianfan.api.client import AsyncQianfanClient, QianfanClient
from airflow_qianfan.api.config import QianfanConfig
from airflow_qianfan.exceptions import QianfanConfigurationError


def config(**settings) -> QianfanConfig:
    return QianfanConfig(**{"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, **settings})


def test_defaults_are_the_public_endpoint_and_careful_limits():
    made = config()
    assert made.endpoint == "https://qianfan.baidubce.com"
    assert (made.timeout, made.max_retries, made.max_qps, made.verify) == (60.0, 3, None, True)
    assert (made.session_token, made.api_key, made.proxy, made.allow_http) == (None, None, None, False)


def test_empty_text_means_not_given():
    given = dict.fromkeys(
        (
            "endpoint",
            "session_token",
            "api_key",
            "timeout",
            "max_retries",
            "max_qps",
            "verify",
            "proxy",
            "allow_http",
        ),
        "",
    )
    assert config(**given) == config()


def test_text_is_read_as_the_form_and_the_uri_give_it():
    made = config(timeout=" 0.5 ", max_retries="5", max_qps="2.5", verify=" False ", allow_http="true")
    read = (made.timeout, made.max_retries, made.max_qps, made.verify, made.allow_http)
    assert read == (0.5, 5, 2.5, False, True)
    assert [type(value) for value in read] == [float, int, float, bool, bool]


def test_settings_cannot_change_and_serve_as_a_key():
    made = config(session_token=SESSION_TOKEN)
    with pytest.raises(ValueError, match="frozen"):
        made.timeout = 5
    assert {made: 1}[config(session_token=SESSION_TOKEN)] == 1
    assert made != config(session_token=SESSION_TOKEN + "x")


def test_copy_with_other_settings_is_checked_and_forgets_the_old_secrets():
    made = config(proxy="http://user:word@proxy:1")
    assert SECRET_KEY in made.secrets
    changed = made.model_copy(update={"secret_access_key": "another", "max_qps": None, "max_retries": 0})
    assert "another" in changed.secrets
    assert SECRET_KEY not in changed.secrets
    assert (changed.max_retries, changed.proxy, changed.access_key_id) == (0, made.proxy, ACCESS_KEY)
    with pytest.raises(QianfanConfigurationError, match="max_retries must be 0 to 20, not 21"):
        made.model_copy(update={"max_retries": 21})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timeout": "soon"}, "timeout must be a number, not 'soon'"),
        ({"timeout": True}, "timeout must be a number, not true"),
        ({"max_qps": [1]}, "max_qps must be a number, not a list"),
        ({"max_retries": 2.5}, "max_retries must be a whole number, not 2.5"),
        ({"verify": 5}, "verify must be true, false or the path of a CA bundle, not 5"),
        ({"allow_http": "yes"}, "allow_http must be true or false, not 'yes'"),
        ({"secret_access_key": ""}, "secret_access_key (password) is missing; give it a value"),
        ({"secret_access_key": ["x"]}, "secret_access_key (password) must be text"),
        (
            {"endpoint": "ftp://qianfan.example"},
            "endpoint (host) must look like https://qianfan.baidubce.com, not 'ftp://qianfan.example'",
        ),
        ({"max_qsp": 5}, "max_qsp is not known; check its spelling"),
        (
            {"timeout": 0, "max_retries": -1},
            "timeout must be 0.1 to 3600, not 0. max_retries must be 0 to 20, not -1",
        ),
    ],
)
def test_refusal_says_name_rule_and_value(settings, message):
    with pytest.raises(QianfanConfigurationError) as caught:
        config(**settings)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://qianfan.baidubce.com",
        "https://qianfan.baidubce.com/",
        "https://10.1.2.3:8443",
        "http://127.0.0.1:8080",
        "http://127.8.9.10",
        "http://localhost:1",
        "http://[::1]:8080",
    ],
)
def test_https_anywhere_and_http_on_this_machine_are_accepted(endpoint):
    assert config(endpoint=endpoint).endpoint == endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://qianfan.baidubce.com",
        "http://10.1.2.3:8080",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://0.0.0.0:80",
        "http://[2001:db8::1]",
    ],
)
def test_plain_http_to_another_machine_needs_allow_http(endpoint):
    with pytest.raises(QianfanConfigurationError, match=r"plain http.*allow_http"):
        config(endpoint=endpoint)
    assert config(endpoint=endpoint, allow_http=True).endpoint == endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        "qianfan.baidubce.com",
        "ftp://qianfan.baidubce.com",
        "https://",
        "https://:443",
        "https://host:port",
        "https://host:99999",
        "https://[::1",
        "https://qianfan.baidubce.com\n.example",
        "https://\u2603",
        "https://host/v2",
        "https://host?x=1",
        "https://host#x",
        "https://user@host",
    ],
)
def test_endpoint_that_leads_nowhere_is_refused(endpoint):
    with pytest.raises(QianfanConfigurationError, match=r"endpoint \(host\) must"):
        config(endpoint=endpoint, allow_http=True)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("access_key_id", ["", "with blank", "line\nbreak", "ключ", "a/b"]),
        ("secret_access_key", ["", "with blank", "line\r\nbreak", "ключ", "nul\x00"]),
        ("session_token", ["with blank", "line\nbreak", "ключ", 5, ["x"]]),
        ("timeout", [0, -1, 3601, float("nan"), float("inf")]),
        ("max_retries", [-1, 21]),
        ("max_qps", [0, -1, 1001, float("nan"), float("inf")]),
        ("verify", [5, ["x"]]),
        ("allow_http", ["yes", 1]),
        (
            "proxy",
            [
                5,
                "proxy",
                "proxy:8080",
                "ftp://proxy",
                "http://",
                "http://[bad",
                "http://proxy:port",
                "http://proxy:99999",
                "http://pro\nxy",
            ],
        ),
    ],
)
def test_value_that_cannot_be_used_is_refused_by_name(name, values):
    for value in values:
        with pytest.raises(QianfanConfigurationError, match=name):
            config(**{name: value})


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("session_token", [None, SESSION_TOKEN]),
        ("timeout", [0.1, 3600]),
        ("max_retries", [0, 20]),
        ("max_qps", [None, 0.01, 1000]),
        ("verify", [True, False]),
        ("proxy", [None, "", "http://proxy:8080", "https://user:word@proxy"]),
    ],
)
@pytest.mark.parametrize("kind", [QianfanClient, AsyncQianfanClient])
def test_value_at_its_limit_makes_a_client(kind, name, values):
    for value in values:
        kind(config(**{"verify": False, name: value}))


@pytest.mark.parametrize("kind", [QianfanClient, AsyncQianfanClient])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"verify": "/nowhere/bundle.pem"}, "^verify '/nowhere/bundle.pem' cannot be used: .*No such file"),
        ({"verify": __file__}, "^verify '.*test_config.py' cannot be used"),
        ({"proxy": "socks5://proxy:1080"}, "^proxy cannot be used: .*socksio"),
    ],
    ids=["no-such-bundle", "bundle-without-certificates", "socks-without-its-library"],
)
def test_bundle_or_proxy_that_fails_is_named(settings, message, kind):
    with pytest.raises(QianfanConfigurationError, match=message):
        kind(config(**settings))


def test_proxy_of_the_environment_that_fails_is_named_as_such(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "socks5://proxy:1080")
    with pytest.raises(
        QianfanConfigurationError, match=r"^HTTPS_PROXY or .* of the environment cannot be used"
    ):
        QianfanClient(config(verify=False))


def test_bundle_of_the_environment_that_fails_is_named_as_such(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/bundle.pem")
    with pytest.raises(QianfanConfigurationError, match=r"^SSL_CERT_FILE or .*cannot be used: .*No such"):
        QianfanClient(config())


def test_certificates_are_read_once_until_they_change(monkeypatch, tmp_path):
    reads = []
    make = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda **path: (reads.append(path), make(**path))[1])
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(Path(certifi.where()).read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    for changed in (1, 1, 2):
        os.utime(bundle, (changed, changed))
        QianfanClient(config()).close()
    assert len(reads) == 2


def test_bundle_and_folder_of_certificates_are_used_without_a_warning(tmp_path):
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(Path(certifi.where()).read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for verify in (str(bundle), str(tmp_path)):
            QianfanClient(config(verify=verify)).close()


def test_proxy_of_the_environment_is_used_except_on_this_machine(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:8080")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:8080")

    def proxied(endpoint: str) -> bool:
        return any(QianfanClient(config(endpoint=endpoint, verify=False))._http._mounts.values())

    assert proxied("https://qianfan.baidubce.com")
    assert not proxied("http://127.0.0.1:8080")


# Secrets

SECRET_SETTINGS = {
    "secret_access_key": SECRET_KEY,
    "session_token": SESSION_TOKEN,
    "api_key": API_KEY,
    "proxy": f"http://user:{PROXY_PASSWORD}@proxy.example:8080",
}


def assert_no_secret(text: str) -> None:
    for secret in (*SECRETS, "WRONG-SECRET"):
        assert secret not in text


@pytest.mark.parametrize("kind", [QianfanClient, AsyncQianfanClient])
def test_config_and_client_show_no_secret(kind):
    made = config(**SECRET_SETTINGS)
    client = kind(made)
    for shown in (made, copy.copy(made), client, client._http, client._http.auth, vars(client)):
        assert_no_secret(f"{shown} {shown!r}")


@pytest.mark.parametrize(
    "settings",
    [
        {"secret_access_key": "WRONG-SECRET\n"},
        {"session_token": "WRONG-SECRET\x7f"},
        {"session_token": "WRONG-SECRETé"},
        {"api_key": "Bearer WRONG-SECRET"},
        {"api_key": ["WRONG-SECRET"]},
        {"session_token": ["WRONG-SECRET"]},
        {"secret_access_key": {"x": "WRONG-SECRET"}},
        {"proxy": ["WRONG-SECRET"]},
        {"proxy": "WRONG-SECRET"},
        {"proxy": "http://user:WRONG-SECRET@proxy:port"},
        {"proxy": "http://user:WRONG-SECRET@"},
        {"proxy": "ftp://user:WRONG-SECRET@proxy"},
        {"proxy": "socks5://user:WRONG-SECRET@proxy"},
        {"endpoint": "https://user:WRONG-SECRET@qianfan.baidubce.com"},
        {"endpoint": "ftp://user:WRONG-SECRET@qianfan.baidubce.com"},
        {"endpoint": "http://user:WRONG-SECRET@qianfan.baidubce.com"},
        {"endpoint": "https://user:WRONG-SECRET@host:port"},
    ],
)
def test_refused_value_is_not_shown_where_it_is_a_secret(settings):
    with pytest.raises(QianfanConfigurationError) as caught:
        QianfanClient(config(**{"verify": False, **SECRET_SETTINGS, **settings}))
    assert_no_secret(f"{caught.value} {caught.value!r}")


def test_everything_secret_is_known_as_such_in_every_spelling():
    assert set(SECRETS) <= set(config(**SECRET_SETTINGS).secrets)


def test_secret_within_another_does_not_leave_its_rest_behind():
    from airflow_qianfan.api.errors import clean

    made = config(secret_access_key="abc", session_token="xxabcyy")
    assert clean("token xxabcyy, key abc", made.secrets) == "token ***, key ***"
