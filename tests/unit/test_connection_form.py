"""The connection's form is plain data; it tells what the hook and the settings of a client are."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
from airflow.sdk.log import redact

from airflow_qianfan.api.config import QianfanConfig
from airflow_qianfan.get_provider_info import get_provider_info
from airflow_qianfan.hooks import qianfan
from airflow_qianfan.hooks.qianfan import QianfanHook


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


#: The settings that the form shows; the keys are login and password, the endpoint is host.
SETTINGS = QianfanConfig.model_fields.keys() - {"access_key_id", "secret_access_key", "endpoint"}


def schema_of(name: str) -> dict[str, Any]:
    """The JSON schema of a setting: the alternatives of a union, null left out, in one."""
    schema = QianfanConfig.model_json_schema()["properties"][name]
    alternatives = [one for one in schema.get("anyOf", [schema]) if one["type"] != "null"]
    merged = {key: value for one in alternatives for key, value in one.items()}
    return {**merged, "types": {one["type"] for one in alternatives}, "default": schema.get("default")}


def test_form_offers_exactly_the_settings_of_a_client():
    assert set(connection_type()["conn-fields"]) == SETTINGS


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_field_of_the_form_says_what_the_setting_is(name):
    field, setting = connection_type()["conn-fields"][name], schema_of(name)
    assert field["description"] == QianfanConfig.model_fields[name].description
    assert set(field["schema"]["type"]) - {"null"} <= setting["types"]
    limits = ("minimum", "maximum", "format")
    assert {limit: field["schema"].get(limit) for limit in limits} == {
        limit: setting.get(limit) for limit in limits
    }


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_default_of_a_setting_is_in_its_description(name):
    description, default = QianfanConfig.model_fields[name].description.lower(), schema_of(name)["default"]
    match default:
        case None:
            assert "default:" in description or "leave empty" in description
        case True:
            assert "true (default)" in description
        case False:
            assert connection_type()["conn-fields"][name]["schema"]["default"] is False
        case number:
            assert f"default {number:g}." in description


def test_docstring_of_the_hook_names_every_extra():
    named = set(re.findall(r"``(\w+)``", QianfanHook.__doc__ or ""))
    assert SETTINGS | {"endpoint"} <= named


def test_limits_of_the_form_are_accepted(connection):
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
    assert hidden == {"session_token", "api_key", "proxy"}
    for name in ("session_token", "api_key"):
        assert redact({name: "anything"})[name] == "***"


def test_module_names_the_variables_of_the_official_sdk():
    assert (qianfan.ACCESS_KEY_VARIABLE, qianfan.SECRET_KEY_VARIABLE) == (
        "QIANFAN_ACCESS_KEY",
        "QIANFAN_SECRET_KEY",
    )
