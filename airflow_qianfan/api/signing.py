"""BCE signature version 1: who sends a request, proven by an HMAC over it.

Follows https://cloud.baidu.com/doc/Reference/s/njwvz1yfu. The request body is not part of the signature.
Nothing but the current second is remembered between two signatures: no secret stays in memory here.
"""

from __future__ import annotations

import hmac
import math
import re
import time
from collections.abc import Callable, Collection, Generator, Iterable
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

import httpx

DEFAULT_EXPIRATION = 1800
"""Seconds for which a signature is valid: the default of Baidu's own helpers."""

DEFAULT_SIGNED_HEADERS = frozenset({"host", "content-length", "content-type", "content-md5"})
"""Headers that are signed when no list is given, besides every ``x-bce-*`` header."""

Text = str | bytes

_RESERVED = re.compile(rb"[^A-Za-z0-9_.~-]")
_PERCENT = {bytes([byte]): b"%%%02X" % byte for byte in range(256)}


def canonical_time(timestamp: float) -> str:
    """Return a time stamp, in seconds since the epoch, as UTC in the form ``2024-01-16T09:48:35Z``."""
    return _second(math.floor(timestamp))


def canonical_request(
    method: str,
    path: Text,
    query: Iterable[tuple[Text, Text]],
    headers: Iterable[tuple[Text, Text]],
    signed_headers: Collection[str] | None = None,
) -> str:
    """Return the text over which the signature is computed.

    :param method: HTTP method.
    :param path: path of the URL, *not* percent-encoded.
    :param query: name and value of each query parameter, not percent-encoded. ``authorization`` is left out.
    :param headers: name and value of each header of the request.
    :param signed_headers: names of the headers to sign; None or empty for the default set. Headers that start
        with ``x-bce-`` are always signed.
    """
    return _canonical_request(method, path, query, headers, _names(signed_headers))


def signing_prefix(access_key_id: str, timestamp: float, expiration: int) -> str:
    """Return the beginning of the Authorization header: version, key id, time stamp, seconds of validity."""
    return f"bce-auth-v1/{access_key_id}/{canonical_time(timestamp)}/{expiration}"


def signature(secret_access_key: str, prefix: str, request: str) -> str:
    """Return the signature in hex of a canonical request, under the key derived from ``prefix``."""
    signing_key = hmac.digest(secret_access_key.encode(), prefix.encode(), "sha256").hex()
    return hmac.digest(signing_key.encode(), request.encode(), "sha256").hex()


def sign(
    access_key_id: str,
    secret_access_key: str,
    method: str,
    path: Text,
    query: Iterable[tuple[Text, Text]],
    headers: Iterable[tuple[Text, Text]],
    *,
    timestamp: float,
    expiration: int = DEFAULT_EXPIRATION,
    signed_headers: Collection[str] | None = None,
) -> str:
    """Return the value of the ``Authorization`` header of a request.

    :param access_key_id: id of the access key.
    :param secret_access_key: its secret; it does not appear in the result.
    :param method: HTTP method.
    :param path: path of the URL, not percent-encoded.
    :param query: name and value of each query parameter, not percent-encoded.
    :param headers: name and value of each header of the request, with ``Host`` as it will be sent.
    :param timestamp: time of signing in seconds since the epoch.
    :param expiration: seconds for which the signature is valid.
    :param signed_headers: names of the headers to sign; None for the default set.
    """
    prefix = signing_prefix(access_key_id, timestamp, expiration)
    names = _names(signed_headers)
    request = _canonical_request(method, path, query, headers, names)
    return f"{prefix}/{';'.join(sorted(names))}/{signature(secret_access_key, prefix, request)}"


class BceV1Auth(httpx.Auth):
    """Signs each request as it goes over the wire, with a fresh time stamp every time it is sent.

    One object serves sync and async clients and any number of requests at once.

    :param access_key_id: id of the access key.
    :param secret_access_key: its secret.
    :param session_token: token of temporary (STS) credentials; it is sent and signed.
    :param expiration: seconds for which a signature is valid.
    :param clock: returns the time in seconds since the epoch.
    """

    def __init__(
        self,
        access_key_id: str,
        secret_access_key: str,
        session_token: str | None = None,
        *,
        expiration: int = DEFAULT_EXPIRATION,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._access_key_id = access_key_id
        self._secret_access_key = secret_access_key
        self._session_token = session_token
        self._expiration = expiration
        self._clock = clock
        self._signed_headers = ["host", "x-bce-date"]
        if session_token:
            self._signed_headers.append("x-bce-security-token")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(access_key_id={self._access_key_id!r})"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        timestamp = self._clock()
        request.headers["x-bce-date"] = canonical_time(timestamp)
        if self._session_token:
            request.headers["x-bce-security-token"] = self._session_token
        path, _, query = request.url.raw_path.partition(b"?")
        request.headers["Authorization"] = sign(
            self._access_key_id,
            self._secret_access_key,
            request.method,
            unquote_to_bytes(path),
            parse_query(query),
            request.headers.raw,
            timestamp=timestamp,
            expiration=self._expiration,
            signed_headers=self._signed_headers,
        )
        yield request


def parse_query(query: bytes) -> list[tuple[bytes, bytes]]:
    """Split a query string as sent into decoded names and values; ``+`` stands for itself."""
    pairs = (item.partition(b"=") for item in query.split(b"&") if item)
    return [(unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in pairs]


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


def _names(signed_headers: Collection[str] | None) -> set[str]:
    return {name.strip().lower() for name in signed_headers or ()}


def _canonical_request(
    method: str,
    path: Text,
    query: Iterable[tuple[Text, Text]],
    headers: Iterable[tuple[Text, Text]],
    names: set[str],
) -> str:
    wanted = names or DEFAULT_SIGNED_HEADERS
    lines = []
    for raw_name, raw_value in headers:
        name = _to_text(raw_name).strip().lower()
        if name in wanted or name.startswith("x-bce-"):
            value = _to_bytes(raw_value).strip()
            if value:
                lines.append(f"{_encode(name)}:{_encode(value)}")
    pairs = [
        f"{_encode(name)}={_encode(value)}"
        for name, value in query
        if _to_text(name).lower() != "authorization"
    ]
    uri = quote(path, safe="/~")
    if not uri.startswith("/"):
        uri = f"/{uri}"
    lines.sort()
    pairs.sort()
    return "\n".join((method.upper(), uri, "&".join(pairs), "\n".join(lines)))


def _encode(text: Text) -> str:
    return _RESERVED.sub(_percent, _to_bytes(text)).decode()


def _percent(match: re.Match[bytes]) -> bytes:
    return _PERCENT[match[0]]


def _to_bytes(text: Text) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _to_text(name: Text) -> str:
    return name if isinstance(name, str) else name.decode("latin-1")
