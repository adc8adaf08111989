"""What Airflow reads about this provider without importing it: plain data; it imports nothing of Airflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_INTEGRATION = "Baidu Qianfan"


def _modules(room: str) -> list[dict[str, Any]]:
    """Return the modules of a room, such as ``operators``; what they share, ``base``, is none of them."""
    folder = Path(__file__).parent / room
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    names = sorted(packages | {path.stem for path in folder.glob("*.py")})
    modules = [f"airflow_qianfan.{room}.{name}" for name in names if name not in ("__init__", "base")]
    return [{"integration-name": _INTEGRATION, "python-modules": modules}]


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata in the form of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-qianfan",
        "name": "Baidu Qianfan",
        # Airflow shows this without the signs of RST, underscores included: an address would not survive.
        "description": "From data set to served model on Baidu Qianfan (千帆 ModelBuilder): prepare data, "
        "train, publish, evaluate, compress, deploy.",
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://cloud.baidu.com/doc/qianfan-api/s/nmo1a7p4y",
                "tags": ["service"],
            }
        ],
        "hooks": _modules("hooks"),
        "operators": _modules("operators"),
        "sensors": _modules("sensors"),
        "triggers": _modules("triggers"),
        "extra-links": [
            "airflow_qianfan.links.QianfanConsoleLink",
            "airflow_qianfan.links.QianfanDatasetLink",
            "airflow_qianfan.links.QianfanFineTuningTaskLink",
            "airflow_qianfan.links.QianfanModelLink",
            "airflow_qianfan.links.QianfanServiceLink",
            "airflow_qianfan.links.QianfanEvalTaskLink",
            "airflow_qianfan.links.QianfanTabLink",
            "airflow_qianfan.links.QianfanVisualDLLink",
        ],
        "config": {
            "qianfan": {
                "description": "Settings of the Baidu Qianfan provider.",
                "options": {
                    "poll_interval": {
                        "description": "Seconds between two polls of a training or a model at least, "
                        "where a task does not set its own poll_interval or poke_interval.",
                        "version_added": "0.1.0",
                        "type": "float",
                        "example": "60",
                        "default": "30",
                    },
                    "max_poll_interval": {
                        "description": "Seconds between two polls at most, while a training has long to go "
                        "and the task is deferred or an operator waits.",
                        "version_added": "0.1.0",
                        "type": "float",
                        "example": "300",
                        "default": "600",
                    },
                    "polls_per_second": {
                        "description": "Polls per second that a triggerer may spend for each endpoint and "
                        "credential: as long as they suffice, everything is polled every poll_interval; with "
                        "more that wait, those with long to go are polled more rarely.",
                        "version_added": "0.1.0",
                        "type": "float",
                        "example": "5",
                        "default": "2",
                    },
                    "deployment": {
                        "description": "Any text that tells this deployment of Airflow from others that use "
                        "the same Qianfan account. Before Airflow 3.3 names and marks are made from it, DAG, "
                        "run and task; from 3.3 on they are random, and it is not needed.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "staging",
                        "default": "",
                    },
                    "settle_seconds": {
                        "description": "Seconds during which the result of a Create whose answer was lost is "
                        "looked for, before it is believed not to have taken effect and is sent again.",
                        "version_added": "0.1.0",
                        "type": "float",
                        "example": "60",
                        "default": "30",
                    },
                },
            }
        },
        "asset-uris": [{"schemes": ["qianfan"], "handler": "airflow_qianfan.asset_uris.normalize_uri"}],
        "connection-types": [
            {
                "connection-type": "qianfan",
                "hook-class-name": "airflow_qianfan.hooks.qianfan.QianfanHook",
                "hook-name": "Baidu Qianfan",
                "ui-field-behaviour": {
                    "hidden-fields": ["port", "schema"],
                    "relabeling": {
                        "login": "Access Key ID",
                        "password": "Secret Access Key",
                        "host": "Endpoint",
                    },
                    "placeholders": {
                        "login": "ALTAK…",
                        "host": "https://qianfan.baidubce.com",
                    },
                },
                "conn-fields": _CONNECTION_FIELDS,
            }
        ],
    }


#: The members of the connection's extra. The hook reads exactly these.
_CONNECTION_FIELDS: dict[str, Any] = {
    "session_token": {
        "label": "Session token",
        "description": "Token of temporary (STS) credentials; leave empty for a permanent key.",
        "schema": {"type": ["string", "null"], "format": "password"},
    },
    "api_key": {
        "label": "API key",
        "description": "Key for calls of deployed services, bce-v3/ALTAK-…; leave empty to use a "
        "short-lived token made with the access key.",
        "schema": {"type": ["string", "null"], "format": "password"},
    },
    "timeout": {
        "label": "Timeout",
        "description": "Seconds to wait for one answer of the service. Default 60.",
        "schema": {"type": ["number", "null"], "minimum": 0.1, "maximum": 3600},
    },
    "max_retries": {
        "label": "Retries",
        "description": "How often a request that may be repeated is sent again after a transient error. "
        "Requests that create something are never repeated. Default 3.",
        "schema": {"type": ["integer", "null"], "minimum": 0, "maximum": 20},
    },
    "max_qps": {
        "label": "Requests per second",
        "description": "Upper limit of requests per second of one client. Default: no limit.",
        "schema": {"type": ["number", "null"], "minimum": 0.01, "maximum": 1000},
    },
    "verify": {
        "label": "Verify TLS",
        "description": "true (default), false, or the path of a CA bundle on the worker.",
        "schema": {"type": ["string", "null"]},
    },
    "proxy": {
        "label": "Proxy URL",
        "description": "HTTP or SOCKS proxy. Default: the environment's HTTPS_PROXY and NO_PROXY.",
        "schema": {"type": ["string", "null"], "format": "password"},
    },
    "allow_http": {
        "label": "Allow plain HTTP",
        "description": "Send to an http:// endpoint that is not on this machine. Only for test systems.",
        "schema": {"type": ["boolean", "null"], "default": False},
    },
}
