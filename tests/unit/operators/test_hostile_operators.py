"""Whatever the other side answers, operators return what can be stored, or raise an error of ours."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from airflow.sdk.bases.operator import ExecutorSafeguard
from cases import cases
from creating import BATCH, EVALUATION, FILES, JOB, SERVICE, TRAINING, UNIT
from hostile import ANY_JSON, BODIES, HEADERS, IDS, STATUSES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from provided import OPERATORS as ALL_OPERATORS
from wire import ACCESS_KEY, API_KEY, ENDPOINT, PROXY_PASSWORD, SECRET_KEY, SECRETS, SESSION_TOKEN, response

from airflow_qianfan.arguments import REQUIRED
from airflow_qianfan.exceptions import QianfanAuthenticationError, QianfanError
from airflow_qianfan.operators import (
    batch_inference,
    compute_unit,
    dataset,
    evaluation,
    finetuning,
    model,
    prepare_dataset,
    service,
)
from airflow_qianfan.operators.action import QianfanActionOperator
from airflow_qianfan.operators.base import update

VERSION = {"model_set_id": "a-1", "model_id": "a-2"}
SOON = {"execution_timeout": timedelta(milliseconds=1), "roll_back": True}
PERIOD = {"start_time": "2026-01-31T08:00:00Z", "end_time": "2026-01-31T09:00:00Z"}
NEEDED: list[tuple[type[Any], dict[str, Any]]] = [
    (QianfanActionOperator, {"route": "/v2/x", "action": "DescribeX"}),
    (dataset.QianfanCreateDatasetOperator, {"data_format": "Text"}),
    (dataset.QianfanCreateImportTaskOperator, {"files": "bos:/b/"}),
    (prepare_dataset.QianfanDatasetOperator, {"data_format": "Text", "files": "bos:/b/"}),
    (prepare_dataset.QianfanDatasetOperator, {"dataset_id": "a-1", "files": "bos:/b/"}),
    (finetuning.QianfanCreateFineTuningJobOperator, JOB),
    (finetuning.QianfanCreateFineTuningTaskOperator, TRAINING),
    (finetuning.QianfanDescribeFineTuningTasksOperator, {"limit": None}),
    (finetuning.QianfanFineTuningOperator, {**JOB, **TRAINING}),
    (model.QianfanCreateModelCompTaskOperator, {"config": {"strategy": "Sparsity"}}),
    (model.QianfanDescribeModelCompTasksOperator, {"limit": None}),
    (model.QianfanModelCompressionOperator, {"strategy": "Sparsity"}),
    (model.QianfanCreateCustomModelOperator, {"import_meta": FILES}),
    (model.QianfanCreateCustomModelSetOperator, {"if_exists": "use"}),
    (model.QianfanDescribeModelSetOperator, {"model_set_id": "a-1"}),
    (model.QianfanDescribeSystemModelSetOperator, {"model_set_id": "a-1"}),
    (service.QianfanCreateServiceOperator, {**SERVICE, **VERSION}),
    (service.QianfanServiceOperator, {**SERVICE, **VERSION}),
    (
        service.QianfanServiceOperator,
        {"service_id": "a-1", **VERSION, "smoke_test": "ping", **SOON, "wait_for_completion": True},
    ),
    (service.QianfanModifyServiceOperator, VERSION),
    (service.QianfanScaleServiceOperator, {"deployment_replicas_count": 1}),
    (service.QianfanDescribeServiceMetricOperator, PERIOD),
    (service.QianfanDescribeServiceStatsOperator, {**PERIOD, "interval": 60}),
    (compute_unit.QianfanPurchaseComputeUnitOperator, UNIT),
    (batch_inference.QianfanCreateBatchInferenceTaskOperator, BATCH),
    # A quota that is full for ever is waited for until the deadline.
    (
        batch_inference.QianfanBatchInferenceOperator,
        {**BATCH, "execution_timeout": timedelta(microseconds=1)},
    ),
    (evaluation.QianfanCreateEvalTaskOperator, EVALUATION),
    (evaluation.QianfanEvaluationOperator, EVALUATION),
]
"""What operators need besides ids; some are tried twice."""

USUAL = {"limit": 3, "timeout": 0, "wait_for_completion": False}
"""What every operator gets that has such an argument."""


def complete(operator: type[Any], needed: dict[str, Any]) -> dict[str, Any]:
    """Return arguments of an operator: an id for all that is required and not given."""
    required = {name: "a-1" for name, one in operator.arguments.items() if one.default is REQUIRED}
    usual = {name: value for name, value in USUAL.items() if name in operator.arguments}
    if operator is prepare_dataset.QianfanDatasetOperator:
        del usual["wait_for_completion"]
    return {**required, **usual, **needed}


OPERATORS = [
    (operator, complete(operator, needed))
    for operator in ALL_OPERATORS
    for needed in [needed for one, needed in NEEDED if one is operator] or [{}]
]
ROWS = st.lists(IDS, max_size=3)
PAGES = st.fixed_dictionaries({"jobList": ROWS, "taskList": ROWS, "serviceList": ROWS})
LIKELY = (IDS | PAGES | st.booleans() | st.just("am-1") | ANY_JSON).map(
    lambda result: (200, {}, json.dumps({"requestId": "r", "result": result}).encode())
)
ANSWERS = LIKELY | LIKELY | st.tuples(STATUSES, HEADERS, BODIES)

Execute = Callable[[int, list[tuple[int, dict[bytes, bytes], bytes]], bool], Any]


def storable(value: Any) -> Any:
    """What Airflow gets back of a value that it has stored as JSON."""
    text = json.dumps(value, allow_nan=False)
    text.encode()
    return json.loads(text)


@pytest.fixture(scope="class")
def execute() -> Iterator[Execute]:
    """Run an operator whose calls get the answers of a list, one after the other and over again."""
    connection = {
        "conn_type": "qianfan",
        "login": ACCESS_KEY,
        "password": SECRET_KEY,
        "host": ENDPOINT,
        "extra": {
            "session_token": SESSION_TOKEN,
            "api_key": API_KEY,
            "proxy": f"http://user:{PROXY_PASSWORD}@127.0.0.1:9",
            "max_retries": 0,
            "verify": False,
        },
    }
    script: list[tuple[int, dict[bytes, bytes], bytes]] = []
    calls: Counter[str] = Counter()

    def answer(request: httpx.Request) -> httpx.Response:
        status, headers, body = script[calls["all"] % len(script)]
        calls["all"] += 1
        assert calls["all"] < 500, "this never ends"
        return response(body, status, list(headers.items()))

    with pytest.MonkeyPatch.context() as patch:
        transport = httpx.MockTransport(answer)
        patch.setattr(
            httpx.HTTPTransport, "handle_request", lambda _, request: transport.handle_request(request)
        )
        patch.setattr(time, "sleep", lambda seconds: None)
        # The time does not pass by sleeping, and a way back that never ends is waited for so long.
        patch.setattr(update, "ROLL_BACK_SECONDS", 0.0)
        patch.setenv("AIRFLOW_CONN_QIANFAN_DEFAULT", json.dumps(connection))
        operators = [operator(task_id="it", **arguments) for operator, arguments in OPERATORS]

        def run(number: int, answers: list[tuple[int, dict[bytes, bytes], bytes]], has_store: bool) -> Any:
            script[:] = answers
            calls.clear()
            pushed: dict[str, Any] = {}
            stored: dict[str, Any] = {}
            ti = SimpleNamespace(
                dag_id="d",
                run_id="r",
                task_id="t",
                map_index=-1,
                try_number=2,
                max_tries=1,
                xcom_push=lambda key, value: pushed.__setitem__(key, storable(value)),
                xcom_pull=lambda *, task_ids, key, map_indexes: pushed.get(key),
            )
            store = SimpleNamespace(
                get=stored.get, set=lambda key, value, retention: stored.__setitem__(key, storable(value))
            )
            context = {"ti": ti, "task_state_store": store if has_store else None}
            ExecutorSafeguard.tracker.set(operators[number])
            return operators[number].execute(context)

        yield run


class TestAnyAnswer:
    @pytest.mark.parametrize("number", range(len(OPERATORS)), ids=lambda one: OPERATORS[one][0].__name__)
    def test_is_reached_with_these_arguments(self, execute, number):
        refusal = json.dumps({"code": "InvalidAccessKeyId", "message": "no such key"}).encode()
        with pytest.raises(QianfanAuthenticationError):
            execute(number, [(401, {}, refusal)], True)

    # Only guards against hanging: thousands of cases take minutes on a busy machine.
    @pytest.mark.timeout(1500)
    @settings(max_examples=cases(2500), deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        number=st.integers(0, len(OPERATORS) - 1),
        answers=st.lists(ANSWERS, min_size=1, max_size=4),
        has_store=st.booleans(),
    )
    def test_lets_an_operator_return_what_can_be_stored_or_raise_ours(
        self, execute, number, answers, has_store
    ):
        try:
            storable(execute(number, answers, has_store))
        except QianfanError as error:
            shown = f"{error} {error!r} {error.__cause__}"
            assert not [secret for secret in SECRETS if secret in shown]
