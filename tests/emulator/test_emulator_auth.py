import hashlib
import hmac
import json
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from cases import cases
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_qianfan.api.signing import canonical_time, sign
from airflow_qianfan.emulator.assumptions import Assumptions
from airflow_qianfan.emulator.auth import Credentials, authenticate
from airflow_qianfan.emulator.backend import Request
from airflow_qianfan.emulator.errors import ApiError

NOW = 1_705_398_515.0
KEYS = Credentials("AKTEST", "SKTEST", None, {"AKREAD": "SKREAD"})
DATE = (b"x-bce-date", b"2024-01-16T09:48:35Z")
HOST = (b"host", b"localhost:8080")
QUERY = b"Action=DescribeModel"


def signed(
    names: str | None = "host;x-bce-date",
    headers: tuple[tuple[bytes, bytes], ...] = (HOST, DATE),
    *,
    key: str = "AKTEST",
    secret: str = "SKTEST",
    time: float = NOW,
    expiration: Any = 1800,
    host: bytes | None = None,
    only_listed: bool = False,
) -> list[tuple[bytes, bytes]]:
    """Sign POST /v2/model?Action=DescribeModel; written out here, so that no code is its own judge."""

    def encode(text: bytes) -> str:
        keep = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
        return "".join(chr(byte) if byte in keep else f"%{byte:02X}" for byte in text)

    wanted = names.split(";") if names else ["host", "content-type", "content-length", "content-md5"]
    lines = []
    for name, value in headers:
        sent = host if host is not None and name == b"host" else value
        if name.decode() in wanted or (name.startswith(b"x-bce-") and not only_listed):
            lines.append(f"{encode(name)}:{encode(sent.strip())}")
    prefix = f"bce-auth-v1/{key}/{canonical_time(time)}/{expiration}"
    text = "\n".join(["POST", "/v2/model", QUERY.decode(), *sorted(lines)])
    signing_key = hmac.new(secret.encode(), prefix.encode(), hashlib.sha256).hexdigest()
    digest = hmac.new(signing_key.encode(), text.encode(), hashlib.sha256).hexdigest()
    return [*headers, (b"authorization", f"{prefix}/{names or ''}/{digest}".encode())]


def check(
    headers, *, keys=KEYS, assumptions=None, now=NOW, method="POST", path=b"/v2/model", query=QUERY
) -> str:
    return authenticate(keys, assumptions or Assumptions(), method, path, query, headers, now)


def refusal(headers, **more) -> ApiError:
    with pytest.raises(ApiError) as caught:
        check(headers, **more)
    assert caught.value.headers.keys() == {"X-Bce-Error-Code", "X-Bce-Error-Message"}
    assert "SKTEST" not in caught.value.message
    return caught.value


def code(headers, **more) -> str:
    return refusal(headers, **more).refusal.code


JSON = (b"content-type", b"application/json; charset=utf-8")
SOURCE = (b"request-source", b"sdk")


@pytest.mark.parametrize(
    "headers",
    [
        signed(),
        signed("x-bce-date;host"),
        signed("host", (HOST,)),
        signed("host"),
        signed("host", only_listed=True),
        signed(None, (HOST, DATE, JSON)),
        signed(None, (HOST,)),
        signed("request-source;host;content-type;x-bce-date", (HOST, DATE, JSON, SOURCE)),
        signed(host=b"localhost"),
        signed("host", host=b"localhost", only_listed=True),
        signed("host;x-bce-date", (HOST, (b"x-bce-date", b"2024-01-16T09:40:00Z"))),
        signed(expiration=1),
        signed(expiration=180000),
        signed(time=NOW - 1800),
        signed(time=NOW + 900),
    ],
)
def test_signatures_of_all_known_clients_are_accepted(headers):
    assert check(headers) == "AKTEST"


def test_listed_header_with_an_empty_value_is_not_in_the_signed_text():
    headers = signed("host", (HOST,), only_listed=True)
    name, value = headers[-1]
    listed = [HOST, (b"x-empty", b""), (name, value.replace(b"/host/", b"/host;x-empty/"))]
    assert check(listed) == "AKTEST"


def test_wrong_key_and_wrong_secret_answer_with_the_strings_of_the_service():
    error = refusal(signed(key="AKOTHER"))
    assert (error.refusal.status, error.refusal.code) == (400, "InvalidAccessKeyId")
    assert error.headers["X-Bce-Error-Message"] == "NotFound, cause: Could not find credential."
    error = refusal(signed(secret="SKOTHER"), assumptions=Assumptions(auth_status=403))
    assert (error.refusal.status, error.refusal.code) == (403, "SignatureDoesNotMatch")
    text = "SignatureDoesNotMatch, cause: Fail to authn user: Signature does not match"
    assert error.headers == {"X-Bce-Error-Code": "IamSignatureInvalid", "X-Bce-Error-Message": text}


@pytest.mark.parametrize(
    "more",
    [
        {"method": "PUT"},
        {"path": b"/v2/model/"},
        {"path": b"/v2/finetuning"},
        {"query": b"Action=DeleteModel"},
        {"query": b"Action=DescribeModel&x"},
        {"query": b""},
    ],
)
def test_altered_request_line_does_not_match(more):
    assert code(signed(), **more) == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"localhost:8080", b"localhost:8081"),
        (b"09:48:35Z", b"09:48:36Z"),
        (b"/1800/", b"/1801/"),
        (b"application/json", b"text/plain"),
    ],
)
def test_altered_signed_header_does_not_match(old, new):
    headers = signed("host;x-bce-date;content-type", (HOST, DATE, (b"content-type", b"application/json")))
    for index, (name, value) in enumerate(headers):
        if old in value:
            altered = [*headers]
            altered[index] = (name, value.replace(old, new))
            assert code(altered) == "SignatureDoesNotMatch"


def test_additional_header_of_the_service_does_not_match():
    headers = signed(None, (HOST, DATE))
    assert code([*headers, (b"x-bce-more", b"1")]) == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (signed(expiration=0), "InvalidHTTPAuthHeader"),
        (signed(expiration=180001), "InvalidHTTPAuthHeader"),
        (signed(expiration="9" * 400), "InvalidHTTPAuthHeader"),
        (signed(expiration="-5"), "InvalidHTTPAuthHeader"),
        (signed(expiration="soon"), "InvalidHTTPAuthHeader"),
        (signed(expiration="٣٠٠"), "InvalidHTTPAuthHeader"),
        (signed(time=NOW - 1801), "RequestExpired"),
        (signed(time=NOW + 901), "RequestTimeTooSkewed"),
        (signed("x-bce-date"), "InvalidHTTPAuthHeader"),
        (signed("host;x-bce-date", (HOST,)), "InvalidHTTPAuthHeader"),
        (signed("host;host;x-bce-date"), "InvalidHTTPAuthHeader"),
        (signed("Host;x-bce-date"), "InvalidHTTPAuthHeader"),
        (signed(headers=(HOST, HOST, DATE)), "InvalidHTTPAuthHeader"),
        (signed(headers=((b"host", b""), DATE)), "InvalidHTTPAuthHeader"),
        (signed(headers=(HOST, (b"x-bce-date", b"0000-00-00T00:00:00Z"))), "InvalidHTTPAuthHeader"),
        (signed(headers=(HOST, (b"x-bce-date", b"\xff"))), "InvalidHTTPAuthHeader"),
        ([HOST, DATE], "InvalidHTTPAuthHeader"),
        ([*signed(), signed()[-1]], "InvalidHTTPAuthHeader"),
        ([HOST, (b"authorization", b"")], "InvalidHTTPAuthHeader"),
        ([HOST, DATE, (b"authorization", b"\x1c" + signed()[-1][1])], "InvalidHTTPAuthHeader"),
        ([HOST, (b"authorization", b"Bearer abc")], "InvalidHTTPAuthHeader"),
        ([HOST, (b"authorization", b"\xe4\xb8\xad")], "InvalidHTTPAuthHeader"),
        (
            [HOST, (b"authorization", b"bce-auth-v1/AKTEST/0000-00-00T00:00:00Z/1800/host/" + b"a" * 64)],
            "InvalidHTTPAuthHeader",
        ),
    ],
)
def test_what_is_wrong_is_told_by_a_code(headers, expected):
    assert code(headers) == expected


def test_signature_in_the_query_string_is_not_supported():
    assert code(signed(), query=QUERY + b"&authorization=x") == "InvalidHTTPAuthHeader"
    assert code(signed(), query=QUERY + b"&Authorizatio%6e=x") == "InvalidHTTPAuthHeader"


def test_skew_and_longest_validity_are_assumptions():
    assert (
        code(signed(time=NOW + 11), assumptions=Assumptions(future_skew_seconds=10)) == "RequestTimeTooSkewed"
    )
    assert (
        check(signed(expiration=200000), assumptions=Assumptions(max_expiration_seconds=200000)) == "AKTEST"
    )


def test_session_token_must_match():
    temporary = Credentials("AKTEST", "SKTEST", "token+/= x")
    right = (b"x-bce-security-token", b"token+/= x")
    wrong = (b"x-bce-security-token", b"other\xff")
    for names in ("host;x-bce-date;x-bce-security-token", None):
        assert check(signed(names, (HOST, DATE, right)), keys=temporary) == "AKTEST"
        assert code(signed(names, (HOST, DATE, wrong)), keys=temporary) == "SignatureDoesNotMatch"
        assert code(signed(names, (HOST, DATE, right))) == "SignatureDoesNotMatch"
    assert code(signed(), keys=temporary) == "SignatureDoesNotMatch"


def test_vector_c_of_the_facts_is_accepted():
    digest = "19af40e2798737f06db0cd0d2bf0645575411cb9cef5280f7ddee21cd758883f"
    authorization = f"bce-auth-v1/AKEXAMPLE0123456789abcdef0123456/2024-01-16T09:48:35Z/1800//{digest}"
    headers = [
        (b"content-length", b"30"),
        (b"content-type", b"application/json; charset=utf-8"),
        (b"host", b"127.0.0.1:8080"),
        (b"user-agent", b"demo/1.0"),
        (b"x-bce-date", b"2024-01-16T09:48:35Z"),
        (b"x-bce-security-token", b"STSTOKEN+/=exa mple"),
        (b"authorization", authorization.encode()),
    ]
    keys = Credentials(
        "AKEXAMPLE0123456789abcdef0123456", "SKEXAMPLEfedcba9876543210fedcba9", "STSTOKEN+/=exa mple"
    )
    query = b"Action=StopFineTuningTask"
    assert check(headers, keys=keys, path=b"/v2/finetuning", query=query) == keys.access_key


def test_credentials_do_not_show_their_secrets():
    assert "SKTEST" not in repr(Credentials("AKTEST", "SKTEST", "TOKEN"))
    for key, secret in (("a/b", "s"), ("", "s"), ("密", "s"), ("a", "")):
        with pytest.raises(ValueError, match="key id"):
            Credentials(key, secret)


def test_read_only_key_may_read_but_not_write(local):
    def send(action: str) -> tuple[int | None, dict[str, Any]]:
        answer = local.send(action, b"{}", "AKREAD", "SKREAD")
        return answer.status, json.loads(answer.body)

    assert send("DescribeFineTuningJobs")[0] == 200
    for action in ("CreateFineTuningJob", "StopFineTuningTask", "DeleteModel"):
        status, answer = send(action)
        assert (status, answer["code"]) == (403, "AccessDenied")


def test_secrets_and_signatures_are_neither_logged_nor_written_down(local, caplog):
    caplog.set_level("DEBUG")
    local.job()
    local.send("CreateFineTuningJob", b"{}", "AKTEST", "SKWRONG")
    written = caplog.text + json.dumps(local.store.journal)
    assert "CreateFineTuningJob" in caplog.text
    assert "SignatureDoesNotMatch" in written
    for secret in ("SKTEST", "SKWRONG", "bce-auth-v1"):
        assert secret not in written


# A signed request, and for each of its parts how the mutant differs from it.
SENT = signed("content-type;host;x-bce-date", (HOST, DATE, (b"content-type", b"application/json")))
PARTS = ["method", "path", "query", *range(len(SENT))]
#: What the service answers a request that it does not let in.
OUTSIDE = {
    "InvalidAccessKeyId",
    "InvalidHTTPAuthHeader",
    "InvalidHTTPRequest",
    "InvalidURI",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
}


def answer_of(local, method: str, path: bytes, query: bytes, headers) -> tuple[int | None, str]:
    """Send a request to a whole service; return status and code of the answer."""
    answer = local.backend.answer(Request(method, path, query, list(headers), b'{"modelId": "amv-1"}'))
    return answer.status, json.loads(answer.body)["code"]


def test_what_is_mutated_is_accepted_as_it_is(local):
    assert answer_of(local, "POST", b"/v2/model", QUERY, SENT) == (404, "NoSuchKey")


@settings(
    max_examples=cases(6000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_mutated_request_is_never_accepted_and_never_breaks_anything(local, data):
    part = data.draw(st.sampled_from(PARTS))
    whole: dict[Any, bytes] = {"method": b"POST", "path": b"/v2/model", "query": QUERY}
    whole |= {index: value for index, (_, value) in enumerate(SENT)}
    original = whole[part]
    position = data.draw(st.integers(0, len(original)))
    length = data.draw(st.integers(0, 4))
    insert = data.draw(
        st.one_of(st.binary(max_size=6), st.sampled_from([b"/", b"%", b";", b"=", b"&", b"\xff", b"0" * 50]))
    )
    mutant = original[:position] + insert + original[position + length :]
    whole[part] = mutant
    headers = [(name, whole[index]) for index, (name, _) in enumerate(SENT)]
    request = {"method": whole["method"].decode("latin-1"), "path": whole["path"], "query": whole["query"]}
    if means_the_same(part, original, mutant):
        return
    assert refusal(headers, **request).refusal.status == 400
    status, code = answer_of(local, headers=headers, **request)
    assert status in (400, 404, 413)
    assert code in OUTSIDE


def means_the_same(part: Any, original: bytes, mutant: bytes) -> bool:
    """Tell whether a mutant differs only in how it is spelled: space around a value, order, encoding."""
    if part == "method":
        return mutant.upper() == original
    if part == "path":
        return unquote_to_bytes(mutant).lstrip(b"/") == original.lstrip(b"/")
    if part == "query":
        return [unquote_to_bytes(item) for item in mutant.split(b"&") if item] == [original]
    if SENT[part][0] == b"host":
        return mutant.strip() == original
    if SENT[part][0] == b"authorization":
        before, _, digest = original.rpartition(b"/")
        start, _, names = before.rpartition(b"/")
        mutant_before, _, mutant_digest = mutant.strip().rpartition(b"/")
        mutant_start, _, mutant_names = mutant_before.rpartition(b"/")
        # An x-bce header is signed whether listed or not.
        lists = set(names.split(b";")) - {b"x-bce-date"} == set(mutant_names.split(b";")) - {b"x-bce-date"}
        return (start, digest) == (mutant_start, mutant_digest) and lists
    return mutant.strip() == original


@settings(max_examples=300, deadline=None)
@given(
    headers=st.lists(
        st.tuples(
            st.sampled_from(
                [b"authorization", b"host", b"x-bce-date", b"x-bce-security-token", b"content-type"]
            ),
            st.one_of(st.binary(max_size=40), st.just(SENT[-1][1]), st.just(HOST[1]), st.just(b"0000-00-00")),
        ),
        max_size=8,
    ),
    path=st.binary(max_size=20),
    query=st.binary(max_size=30),
)
def test_garbage_is_refused_with_an_error_of_the_service(headers, path, query):
    assert refusal(headers, path=path, query=query).refusal.status == 400


def test_the_signer_of_the_package_is_accepted_too():
    headers = [HOST, DATE]
    value = sign(
        "AKTEST", "SKTEST", "POST", "/v2/model", [("Action", "DescribeModel")], headers, timestamp=NOW
    )
    assert check([*headers, (b"authorization", value.encode())]) == "AKTEST"
