"""Who sent a request: checks its BCE v1 signature, without giving away anything in a refusal."""

from __future__ import annotations

import hmac
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NoReturn
from urllib.parse import unquote_to_bytes

from airflow_qianfan.api.signing import canonical_request, parse_query, signature
from airflow_qianfan.emulator.assumptions import Assumptions
from airflow_qianfan.emulator.errors import ApiError, Refusal

_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
_KEY_ID = "[!-.0-~]+"
_AUTHORIZATION = re.compile(
    rf"(?P<prefix>bce-auth-v1/(?P<key>{_KEY_ID})/(?P<time>{_TIME})/(?P<expiration>\d{{1,9}}))"
    r"/(?P<names>[!#$%&'*+.^_`|~0-9a-z;-]*)/(?P<signature>[0-9a-f]{64})",
    re.ASCII,
)
_DEFAULT_NAMES = ("host", "content-length", "content-type", "content-md5")
_TOKEN = b"x-bce-security-token"

API_KEY = "bce-v3/ALTAK-emulator/0000000000000000000000000000000000000000"

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Credentials:
    """The keys the emulator knows.

    :param access_key: id of the key that may do everything.
    :param secret_key: its secret.
    :param session_token: token that must come with that key; None if it is not a temporary key.
    :param read_only_keys: id and secret of further keys, which may only use actions that begin with Describe.
    :param api_key: the key with which deployed services are called.
    """

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    read_only_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    api_key: str = field(default=API_KEY, repr=False)

    def __post_init__(self) -> None:
        for access_key, secret_key in [(self.access_key, self.secret_key), *self.read_only_keys.items()]:
            if not re.fullmatch(_KEY_ID, access_key) or not secret_key:
                raise ValueError("a key id is visible ASCII without a slash, and a secret is not empty")
        if not re.fullmatch("[!-~]+", self.api_key):
            raise ValueError("an API key is visible ASCII")

    def secret(self, access_key: str) -> str | None:
        """Return the secret of a key id, None if there is no such key."""
        if access_key == self.access_key:
            return self.secret_key
        return self.read_only_keys.get(access_key)

    def may_write(self, access_key: str) -> bool:
        """Tell whether a known key may use actions that change something."""
        return access_key == self.access_key


def authenticate(
    credentials: Credentials,
    assumptions: Assumptions,
    method: str,
    path: bytes,
    query: bytes,
    headers: Headers,
    now: float,
) -> str:
    """Return the id of the key that signed a request.

    :param credentials: the known keys.
    :param assumptions: status of a refusal, limits of the times.
    :param method: HTTP method.
    :param path: path as it was sent, percent-encoded.
    :param query: query string as it was sent.
    :param headers: names in lower case and values.
    :param now: time in seconds since the epoch.
    :raises ApiError: if the request is not signed as it should be.
    """
    counts = Counter(name for name, _ in headers)
    parameters = parse_query(query)
    if any(name.lower() == b"authorization" for name, _ in parameters):
        _refuse(assumptions, "InvalidHTTPAuthHeader", "A signature in the query string is not supported.")
    if counts[b"authorization"] != 1:
        _refuse(assumptions, "InvalidHTTPAuthHeader", "There must be one Authorization header.")
    values = dict(headers)
    match = _AUTHORIZATION.fullmatch(values[b"authorization"].strip().decode("latin-1"))
    signed_at = _timestamp(match["time"]) if match else None
    if match is None or signed_at is None:
        _refuse(assumptions, "InvalidHTTPAuthHeader", "The Authorization header cannot be understood.")
    expiration = int(match["expiration"])
    if not 1 <= expiration <= assumptions.max_expiration_seconds:
        _refuse(assumptions, "InvalidHTTPAuthHeader", "The period of validity is out of range.")
    if b"x-bce-date" in values and _timestamp(values[b"x-bce-date"].strip().decode("latin-1")) is None:
        _refuse(assumptions, "InvalidHTTPAuthHeader", "The x-bce-date header is not a date.")
    names = _signed_names(assumptions, match["names"], counts)
    if not values.get(b"host", b"").strip():
        _refuse(assumptions, "InvalidHTTPAuthHeader", "The host header must be signed.")

    secret = credentials.secret(match["key"])
    if secret is None:
        _refuse(assumptions, "InvalidAccessKeyId", "NotFound, cause: Could not find credential.")
    candidates = [
        signature(
            secret,
            match["prefix"],
            canonical_request(method, unquote_to_bytes(path), parameters, variant, names or None),
        )
        for variant in _variants(headers, names)
    ]
    if not any(hmac.compare_digest(candidate, match["signature"]) for candidate in candidates):
        _refuse_signature(assumptions)
    _check_token(credentials, assumptions, match["key"], values.get(_TOKEN, b"").strip())
    if now > signed_at + expiration:
        _refuse(assumptions, "RequestExpired", "The request has expired.")
    if signed_at > now + assumptions.future_skew_seconds:
        _refuse(assumptions, "RequestTimeTooSkewed", "The request was signed in the future.")
    return match["key"]


def _signed_names(assumptions: Assumptions, listed: str, counts: Counter[bytes]) -> list[str]:
    """Return the names of the listed headers; none listed stands for the default set."""
    names = listed.split(";") if listed else []
    if len(set(names)) < len(names) or any(name.encode() not in counts for name in names):
        _refuse(assumptions, "InvalidHTTPAuthHeader", "A signed header is missing or listed twice.")
    if names and "host" not in names:
        _refuse(assumptions, "InvalidHTTPAuthHeader", "The host header must be signed.")
    # The signature does not cover the order of two headers of the same name, so they would be ambiguous.
    relevant = {name.encode() for name in names or _DEFAULT_NAMES}
    if any(count > 1 and (name in relevant or name.startswith(b"x-bce-")) for name, count in counts.items()):
        _refuse(assumptions, "InvalidHTTPAuthHeader", "A signed header is there twice.")
    return names


def _variants(headers: Headers, names: list[str]) -> Iterable[Headers]:
    """Yield the headers as different official clients understand them.

    Some sign every x-bce header, some only the listed ones; some sign the host with its port, some without.
    """
    listed = {name.encode() for name in names}
    only_listed = [header for header in headers if header[0] in listed]
    for chosen in (headers, only_listed) if names else (headers,):
        yield chosen
        yield [
            (name, re.sub(rb":\d+$", b"", value.strip()) if name == b"host" else value)
            for name, value in chosen
        ]


def _check_token(credentials: Credentials, assumptions: Assumptions, access_key: str, token: bytes) -> None:
    expected = credentials.session_token if access_key == credentials.access_key else None
    if not hmac.compare_digest((expected or "").encode(), token):
        # The documents name a missing session token among the reasons of a mismatch.
        _refuse_signature(assumptions)


def _timestamp(text: str) -> float | None:
    try:
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
    return moment.timestamp()


def _refuse_signature(assumptions: Assumptions) -> NoReturn:
    cause = "SignatureDoesNotMatch, cause: Fail to authn user: Signature does not match"
    _refuse(assumptions, "SignatureDoesNotMatch", cause)


def _refuse(assumptions: Assumptions, code: str, message: str) -> NoReturn:
    # The gateway's own name for a failure of the credentials differs from the code in the body.
    iam = {"InvalidAccessKeyId", "SignatureDoesNotMatch"}
    headers = {
        "X-Bce-Error-Code": "IamSignatureInvalid" if code in iam else code,
        "X-Bce-Error-Message": message,
    }
    raise ApiError(Refusal(assumptions.auth_status, code), message, headers)
