"""Where the service is, who calls it and how: checked once, so that no later step meets a bad value."""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote, unquote, urlsplit

import httpx

from airflow_qianfan.exceptions import QianfanConfigurationError

DEFAULT_ENDPOINT = "https://qianfan.baidubce.com"


@dataclass(frozen=True)
class QianfanConfig:
    """Settings of a client.

    :param access_key_id: id of the access key.
    :param secret_access_key: its secret.
    :param endpoint: scheme, host and port of the service.
    :param session_token: token of temporary (STS) credentials.
    :param timeout: seconds to wait for one answer.
    :param max_retries: how often a request that may be repeated is sent again after a transient error.
    :param max_qps: requests per second at most; None for no limit.
    :param verify: whether to check TLS certificates, or the path of a CA bundle.
    :param proxy: URL of a proxy; None uses the environment's.
    :param allow_http: send to an ``http://`` endpoint that is not on this machine.
    :raises QianfanConfigurationError: a value cannot be used; it is named, and shown unless it is a secret.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)
    endpoint: str = DEFAULT_ENDPOINT
    session_token: str | None = field(default=None, repr=False)
    timeout: float = 60.0
    max_retries: int = 3
    max_qps: float | None = None
    verify: bool | str = True
    proxy: str | None = field(default=None, repr=False)
    allow_http: bool = False

    def __post_init__(self) -> None:
        for name in ("access_key_id", "secret_access_key", "session_token", "proxy"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise QianfanConfigurationError(f"{name} must be text")
        for name in ("access_key_id", "secret_access_key", "session_token"):
            value = getattr(self, name)
            if name != "session_token" and not value:
                raise QianfanConfigurationError(f"{name} is missing")
            if value and not (value.isascii() and value.isprintable() and " " not in value):
                raise QianfanConfigurationError(
                    f"{name} holds a blank, a line break or a character that is not ASCII; copy it again"
                )
        if "/" in self.access_key_id:
            raise QianfanConfigurationError("access_key_id holds a slash; copy it again")
        self._check_endpoint()
        self._check_proxy()
        if not (0 < self.timeout <= 3600):
            raise QianfanConfigurationError(f"timeout must be above 0 and at most 3600 s, not {self.timeout}")
        if not 0 <= self.max_retries <= 20:
            raise QianfanConfigurationError(f"max_retries must be between 0 and 20, not {self.max_retries}")
        if not isinstance(self.verify, (bool, str)):
            raise QianfanConfigurationError("verify must be true, false or the path of a CA bundle")
        if not isinstance(self.allow_http, bool):
            raise QianfanConfigurationError("allow_http must be true or false")
        if self.max_qps is not None and not (math.isfinite(self.max_qps) and self.max_qps > 0):
            raise QianfanConfigurationError(f"max_qps must be above 0, not {self.max_qps}")

    def _check_endpoint(self) -> None:
        try:
            parts = urlsplit(self.endpoint)
            host, _ = parts.hostname, parts.port
            httpx.URL(self.endpoint)
        except (ValueError, httpx.InvalidURL):
            host = None
        if not host or parts.scheme not in ("http", "https"):
            raise QianfanConfigurationError(
                f"endpoint must look like {DEFAULT_ENDPOINT}, not {_without_user(self.endpoint)!r}"
            )
        if parts.username or parts.password or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise QianfanConfigurationError(
                f"endpoint must be scheme, host and port only, not {_without_user(self.endpoint)!r}"
            )
        if parts.scheme == "http" and not (self.is_local or self.allow_http):
            raise QianfanConfigurationError(
                f"endpoint {self.endpoint!r} is plain http to another machine; use https, "
                'or set "allow_http": true in the connection\'s extra for a test system'
            )

    def _check_proxy(self) -> None:
        if not self.proxy:
            return
        try:
            parts = urlsplit(self.proxy)
            host, _ = parts.hostname, parts.port
            httpx.URL(self.proxy)
        except (ValueError, httpx.InvalidURL):
            host = None
        if not host or parts.scheme not in ("http", "https", "socks5", "socks5h"):
            # It is not shown: where it is malformed, nobody knows which part of it is the password.
            raise QianfanConfigurationError("proxy must look like http://user:password@host:port")

    @property
    def is_local(self) -> bool:
        """Whether the endpoint is on this machine."""
        host = urlsplit(self.endpoint).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """The texts that must never be shown, as they are and percent-encoded; the longest first."""
        proxy_password = (urlsplit(self.proxy).password if self.proxy else None) or ""
        plain = (self.secret_access_key, self.session_token, proxy_password, unquote(proxy_password))
        spellings = {spelling for text in plain if text for spelling in (text, quote(text, safe=""))}
        return tuple(sorted(spellings, key=len, reverse=True))


def _without_user(endpoint: str) -> str:
    return endpoint.rpartition("@")[2]
