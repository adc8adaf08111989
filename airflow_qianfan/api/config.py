"""Where the service is, who calls it and how: checked once, so that no later step meets a bad value."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Self
from urllib.parse import quote, unquote, urlsplit

import httpx
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StrictBool,
    ValidationError,
    field_validator,
    model_validator,
)

from airflow_qianfan.api.messages import explain, shown
from airflow_qianfan.exceptions import QianfanConfigurationError

CONSOLE = "https://console.bce.baidu.com"
DEFAULT_ENDPOINT = "https://qianfan.baidubce.com"
IAM_ENDPOINT = "https://iam.bj.baidubce.com"


def _read_flag(value: Any) -> Any:
    """Read true and false as text. Nothing else is taken for one of them: what does "no" switch off?"""
    return (
        {"true": True, "false": False}.get(value.strip().lower(), value) if isinstance(value, str) else value
    )


def _read_verify(value: Any) -> Any:
    if not isinstance(value, (bool, str)):
        raise ValueError(f"must be true, false or the path of a CA bundle, not {shown(value)}")
    return _read_flag(value)


def _no_flag(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"must be a number, not {shown(value)}")
    return value


class QianfanConfig(BaseModel):
    """Settings of a client, as values or as the text that a connection's form and URI hold.

    An empty text means that the setting is not given.

    :raises QianfanConfigurationError: a value cannot be used; it is named, and shown unless it is a secret.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    access_key_id: str = Field(description="Id of the access key.")
    secret_access_key: SecretStr = Field(description="Secret of the access key.")
    endpoint: str = Field(DEFAULT_ENDPOINT, description="Scheme, host and port of the service.")
    session_token: SecretStr | None = Field(
        None, description="Token of temporary (STS) credentials; leave empty for a permanent key."
    )
    api_key: SecretStr | None = Field(
        None,
        description="Key for calls of deployed services, bce-v3/ALTAK-…; leave empty to use a "
        "short-lived token made with the access key.",
    )
    timeout: Annotated[float, BeforeValidator(_no_flag)] = Field(
        60.0, ge=0.1, le=3600, description="Seconds to wait for one answer of the service. Default 60."
    )
    max_retries: Annotated[int, BeforeValidator(_no_flag)] = Field(
        3,
        ge=0,
        le=20,
        description="How often a request that may be repeated is sent again after a transient error. "
        "Requests that create something are never repeated. Default 3.",
    )
    max_qps: Annotated[float | None, BeforeValidator(_no_flag)] = Field(
        None,
        ge=0.01,
        le=1000,
        description="Upper limit of requests per second of one client. Default: no limit.",
    )
    verify: Annotated[StrictBool | str, BeforeValidator(_read_verify)] = Field(
        True, description="true (default), false, or the path of a CA bundle on the worker."
    )
    proxy: SecretStr | None = Field(
        None, description="HTTP or SOCKS proxy. Default: the environment's HTTPS_PROXY and NO_PROXY."
    )
    allow_http: Annotated[StrictBool, BeforeValidator(_read_flag)] = Field(
        False,
        description="Send to an http:// endpoint that is not on this machine. Only for test systems.",
    )

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise QianfanConfigurationError(". ".join(_sentences(error))) from None

    @model_validator(mode="before")
    @classmethod
    def _leave_out_what_is_empty(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in settings.items() if value is not None and value != ""}

    @field_validator("access_key_id", "secret_access_key", "session_token", "api_key")
    @classmethod
    def _is_fit_for_a_header(cls, value: Any) -> Any:
        text = _plain(value) or ""
        if not (text.isascii() and text.isprintable() and " " not in text):
            raise ValueError("holds a blank, a line break or a character that is not ASCII; copy it again")
        return value

    @field_validator("access_key_id")
    @classmethod
    def _has_no_slash(cls, value: str) -> str:
        if "/" in value:
            raise ValueError("holds a slash; copy it again")
        return value

    @field_validator("endpoint")
    @classmethod
    def _leads_to_a_host(cls, endpoint: str) -> str:
        if not _is_address(endpoint, "http", "https"):
            raise ValueError(f"must look like {DEFAULT_ENDPOINT}, not {shown(_without_user(endpoint))}")
        parts = urlsplit(endpoint)
        if parts.username or parts.password or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError(f"must be scheme, host and port only, not {shown(_without_user(endpoint))}")
        return endpoint

    @field_validator("proxy")
    @classmethod
    def _is_a_proxy(cls, proxy: SecretStr | None) -> SecretStr | None:
        if proxy and not _is_address(proxy.get_secret_value(), "http", "https", "socks5", "socks5h"):
            # It is not shown: where it is malformed, nobody knows which part of it is the password.
            raise ValueError("must look like http://user:password@host:port")
        return proxy

    @model_validator(mode="after")
    def _is_encrypted_unless_allowed(self) -> Self:
        if urlsplit(self.endpoint).scheme == "http" and not (self.is_local or self.allow_http):
            raise ValueError(
                f"endpoint {self.endpoint!r} is plain http to another machine; use https, "
                'or set "allow_http": true in the connection\'s extra for a test system'
            )
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other settings, which are checked too."""
        return type(self)(
            **{name: getattr(self, name) for name in type(self).model_fields} | dict(update or {})
        )

    @cached_property
    def is_local(self) -> bool:
        """Whether the endpoint is on this machine."""
        host = urlsplit(self.endpoint).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    @property
    def iam_endpoint(self) -> str:
        """Where short-lived tokens are made: an emulator on this machine makes its own."""
        return self.endpoint.rstrip("/") if self.is_local else IAM_ENDPOINT

    def console_url(self, url: str) -> str:
        """Return the address to show for a page of Baidu's console.

        An emulator on this machine has pages of its own under the same paths, so that a link leads to what
        was created there.

        :param url: address of the page in Baidu's console.
        """
        if not self.is_local or not url.startswith(CONSOLE):
            return url
        return self.endpoint.rstrip("/") + url.removeprefix(CONSOLE)

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """The texts that must never be shown, as they are and percent-encoded; the longest first."""
        proxy = _plain(self.proxy)
        proxy_password = (urlsplit(proxy).password if proxy else None) or ""
        plain = (
            _plain(self.secret_access_key),
            _plain(self.session_token),
            _plain(self.api_key),
            proxy_password,
            unquote(proxy_password),
        )
        spellings = {spelling for text in plain if text for spelling in (text, quote(text, safe=""))}
        return tuple(sorted(spellings, key=len, reverse=True))


#: Where a person finds a setting that has another name in the connection.
_FIELD_NAMES = {
    "access_key_id": "access_key_id (login)",
    "secret_access_key": "secret_access_key (password)",
    "endpoint": "endpoint (host)",
}


_SECRETS = frozenset(
    name for name, field in QianfanConfig.model_fields.items() if "SecretStr" in str(field.annotation)
)


def _sentences(error: ValidationError) -> list[str]:
    sentences = []
    for problem in error.errors(include_url=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        text = explain(problem, QianfanConfig, is_secret=name in _SECRETS)
        sentences.append(f"{_FIELD_NAMES.get(name, name)} {text}".strip())
    return list(dict.fromkeys(sentences))


def _plain(value: SecretStr | str | None) -> str | None:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _is_address(text: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
        httpx.URL(text)
    except (ValueError, httpx.InvalidURL):
        return False
    return bool(host) and parts.scheme in schemes


def _without_user(endpoint: str) -> str:
    return endpoint.rpartition("@")[2]
