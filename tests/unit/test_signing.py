"""The signature: the published worked examples, and Baidu's own signer on random requests."""

from __future__ import annotations

import functools
import gc
import hmac
import inspect

import httpx
import pytest
from baidubce import utils as bce_utils
from baidubce.auth import bce_v1_signer
from baidubce.auth.bce_credentials import BceCredentials
from cases import cases
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_qianfan.api import signing
from airflow_qianfan.api.signing import BceV1Auth, canonical_request, parse_query, sign

ACCESS_KEY = "AKEXAMPLE0123456789abcdef0123456"
SECRET_KEY = "SKEXAMPLEfedcba9876543210fedcba9"
TIMESTAMP = 1705398515
DATE = "2024-01-16T09:48:35Z"
PREFIX = f"bce-auth-v1/{ACCESS_KEY}/{DATE}"

VECTORS = {
    "python-sdk-style": (
        "/v2/finetuning",
        [("Action", "CreateFineTuningJob")],
        [
            ("Content-Type", "application/json"),
            ("Host", "qianfan.baidubce.com"),
            ("request-source", "qianfan_py_sdk_v0.4.12.3"),
            ("x-bce-date", DATE),
        ],
        300,
        ["content-type", "host", "request-source", "x-bce-date"],
        f"{PREFIX}/300/content-type;host;request-source;x-bce-date/"
        "4a8375ffb0ce2ada67d72844453a1dff0861d01022f0c2283abb64a65e2f1d22",
    ),
    "minimal-form-of-the-docs": (
        "/v2/finetuning",
        [("Action", "DescribeFineTuningTask")],
        [("Content-Type", "application/json"), ("Host", "qianfan.baidubce.com"), ("x-bce-date", DATE)],
        1800,
        ["host", "x-bce-date"],
        f"{PREFIX}/1800/host;x-bce-date/4ca7dbd12682c4794534081ea13da07a5b3cf61e940a699f2b052e216d50311f",
    ),
    "default-headers-and-session-token": (
        "/v2/finetuning",
        [("Action", "StopFineTuningTask")],
        [
            ("Content-Length", "30"),
            ("Content-Type", "application/json; charset=utf-8"),
            ("Host", "127.0.0.1:8080"),
            ("User-Agent", "demo/1.0"),
            ("x-bce-date", DATE),
            ("x-bce-security-token", "STSTOKEN+/=exa mple"),
        ],
        1800,
        None,
        f"{PREFIX}/1800//19af40e2798737f06db0cd0d2bf0645575411cb9cef5280f7ddee21cd758883f",
    ),
    "encoded-query-and-host-only": (
        "/v2/model",
        [("Action", "CreateCustomModel"), ("note", "a b/中"), ("flag", "")],
        [("Host", "qianfan.baidubce.com")],
        1800,
        ["host"],
        f"{PREFIX}/1800/host/5a04d91069f6d38dc1f3f53c4817dfdf1549a055dfaf8a42066b93e5e90c29e2",
    ),
}


@pytest.mark.parametrize(
    ("path", "query", "headers", "expiration", "signed", "expected"), VECTORS.values(), ids=VECTORS
)
def test_worked_vectors(path, query, headers, expiration, signed, expected):
    authorization = sign(
        ACCESS_KEY,
        SECRET_KEY,
        "POST",
        path,
        query,
        headers,
        timestamp=TIMESTAMP,
        expiration=expiration,
        signed_headers=signed,
    )
    assert authorization == expected


class Pairs(list):
    """Lets Baidu's signer, which takes a dict, see a name twice."""

    def items(self):
        return iter(self)


text = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
white = st.text(alphabet=" \t", max_size=3)
queries = st.lists(
    st.tuples(st.sampled_from(["Action", "a", "b", "中", "a b"]) | text, text | st.just("")), max_size=6
).filter(lambda pairs: all(name.encode().lower() != b"authorization" for name, _ in pairs))
header_names = st.sampled_from(
    ["Host", "Content-Type", "content-length", "Content-MD5", "X-Bce-Date", "x-bce-security-token", "X-Other"]
)
header_values = st.builds(lambda left, value, right: left + value + right, white, text, white)


@settings(max_examples=cases(3000), deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"]),
    path=text,
    query=queries,
    headers=st.dictionaries(header_names, header_values, max_size=7),
    signed=st.none()
    | st.lists(st.sampled_from(["host", "content-type", "x-bce-date", "x-other"]), unique=True),
    timestamp=st.integers(min_value=1, max_value=2**32),
    expiration=st.integers(min_value=1, max_value=180000),
    secret=text,
)
def test_no_difference_to_the_official_signer(
    method, path, query, headers, signed, timestamp, expiration, secret
):
    path = "/" + path
    official = bce_v1_signer.sign(
        BceCredentials(ACCESS_KEY, secret),
        method.encode(),
        bce_utils.normalize_string(path, encoding_slash=False),
        {name.encode(): value.encode() for name, value in headers.items()},
        Pairs((name.encode(), value.encode()) for name, value in query),
        timestamp,
        expiration,
        [name.encode() for name in signed] if signed else None,
    ).decode()
    ours = sign(
        ACCESS_KEY,
        secret,
        method,
        path,
        query,
        headers.items(),
        timestamp=timestamp,
        expiration=expiration,
        signed_headers=signed,
    )
    assert ours.rsplit("/", 1)[1] == official.rsplit("/", 1)[1]
    assert ours.rsplit("/", 2)[0] == official.rsplit("/", 2)[0]
    assert set(ours.rsplit("/", 2)[1].split(";")) == set(official.rsplit("/", 2)[1].split(";"))


def test_authorization_parameter_is_not_signed():
    with_it = canonical_request("POST", "/v2/model", [("Authorization", "x"), ("a", "1")], [("Host", "h")])
    assert with_it == canonical_request("POST", "/v2/model", [("a", "1")], [("Host", "h")])


def test_empty_path_is_the_root():
    assert canonical_request("get", "", [], [("Host", "h")]) == "GET\n/\n\nhost:h"


def test_auth_signs_what_goes_over_the_wire():
    auth = BceV1Auth(ACCESS_KEY, SECRET_KEY, clock=lambda: TIMESTAMP)
    request = httpx.Request("POST", "http://127.0.0.1:8080/v2/a b/中?Action=X&note=a+b%20%2F&Action=Y")
    next(auth.auth_flow(request))
    assert request.headers["host"] == "127.0.0.1:8080"
    assert request.headers["authorization"] == sign(
        ACCESS_KEY,
        SECRET_KEY,
        "POST",
        "/v2/a b/中",
        [("Action", "X"), ("note", "a+b /"), ("Action", "Y")],
        [("Host", "127.0.0.1:8080"), ("x-bce-date", DATE)],
        timestamp=TIMESTAMP,
        signed_headers=["host", "x-bce-date"],
    )


def test_auth_takes_a_fresh_time_stamp_for_every_attempt():
    times = iter([TIMESTAMP, TIMESTAMP + 60])
    auth = BceV1Auth(ACCESS_KEY, SECRET_KEY, clock=lambda: next(times))
    request = httpx.Request("POST", "https://qianfan.baidubce.com/v2/finetuning?Action=X")
    next(auth.auth_flow(request))
    first = request.headers["authorization"]
    next(auth.auth_flow(request))
    assert request.headers["x-bce-date"] == "2024-01-16T09:49:35Z"
    assert request.headers["authorization"] != first


def test_auth_sends_and_signs_the_session_token():
    auth = BceV1Auth(ACCESS_KEY, SECRET_KEY, "session/token", clock=lambda: TIMESTAMP)
    request = httpx.Request("POST", "https://qianfan.baidubce.com/v2/finetuning?Action=X")
    next(auth.auth_flow(request))
    assert request.headers["x-bce-security-token"] == "session/token"
    assert "/host;x-bce-date;x-bce-security-token/" in request.headers["authorization"]


def test_repr_shows_no_secret():
    shown = repr(BceV1Auth(ACCESS_KEY, SECRET_KEY, "session-token"))
    assert SECRET_KEY not in shown
    assert "session-token" not in shown


def test_query_is_split_as_sent():
    assert parse_query(b"a=1&&b&c=x%3Dy+z") == [(b"a", b"1"), (b"b", b""), (b"c", b"x=y+z")]


# What the module remembers


def remembered_texts() -> set[str]:
    """Every text that can be reached from the names of the module, its caches included."""
    texts, seen = set(), set()
    to_visit = [
        value
        for name, value in vars(signing).items()
        if not name.startswith("__") and not inspect.ismodule(value)
    ]
    while to_visit:
        value = to_visit.pop()
        is_elsewhere = getattr(value, "__module__", signing.__name__) != signing.__name__ and not hasattr(
            value, "cache_info"
        )
        is_globals = isinstance(value, dict) and "__builtins__" in value
        if id(value) in seen or inspect.ismodule(value) or is_elsewhere or is_globals:
            continue
        seen.add(id(value))
        if isinstance(value, str | bytes):
            texts.add(value if isinstance(value, str) else value.decode("latin-1"))
        else:
            to_visit += gc.get_referents(value)
    return texts


def test_no_secret_stays_in_the_memory_of_the_module():
    auth = BceV1Auth(ACCESS_KEY, "the-secret-key", "the-session-token", clock=lambda: TIMESTAMP)
    request = httpx.Request("POST", "https://qianfan.baidubce.com/v2/finetuning?Action=X")
    next(auth.auth_flow(request))
    prefix = signing.signing_prefix(ACCESS_KEY, TIMESTAMP, 1800)
    signing_key = hmac.digest(b"the-secret-key", prefix.encode(), "sha256").hex()
    sent_signature = request.headers["Authorization"].rpartition("/")[2]
    texts = remembered_texts()
    # What is remembered is found at all.
    assert {"2024-01-16T09:48:35Z", "content-md5"} <= texts
    for secret in ("the-secret-key", "the-session-token", signing_key, sent_signature):
        assert not [text for text in texts if secret in text]


def test_a_secret_in_a_cache_of_the_module_would_be_found(monkeypatch):
    cached = functools.lru_cache(lambda secret: None)
    monkeypatch.setattr(signing, "_cached_key", cached, raising=False)
    cached("the-secret-key")
    assert "the-secret-key" in remembered_texts()
