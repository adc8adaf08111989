"""Calls of deployed services with a bearer key, and what is counted of them."""

import json
import time

import httpx
import pytest
from deploying import FILES, RESOURCE
from over_http import client, post

from airflow_qianfan.emulator import QianfanEmulator
from airflow_qianfan.emulator.assumptions import Assumptions

HELLO = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hello"}]


def serve(emulator, name="faq", **more):
    """Deploy a version, and return the service as Describe shows it."""

    def call(action, route, **body):
        answer = post(emulator, action, body, route=route)
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    set_id = call("CreateCustomModelSet", "model", modelSetName=f"set-{name}", modelType="Text2Text")
    model = call("CreateCustomModel", "model", modelSetId=set_id, sourceType="Import", importMeta=FILES)
    emulator.advance(100)
    body = {**model, "name": name, "urlSuffix": "faq", "resourceConfig": RESOURCE, "protocolVersion": 2}
    order = {**body, "billing": {"paymentTiming": "Postpaid"}, **more}
    service_id = call("CreateService", "service", **order)["serviceId"]
    return call("DescribeService", "service", serviceId=service_id)


def chat(emulator, called, key=None, **more):
    body = {"model": called, "messages": HELLO, **more}
    headers = {"Authorization": f"Bearer {emulator.api_key if key is None else key}"}
    return httpx.post(f"{emulator.endpoint}/v2/chat/completions", json=body, headers=headers)


def error(answer, status):
    assert answer.status_code == status
    body = answer.json()
    assert set(body) == {"error", "id"}
    assert body["id"].startswith("as-")
    assert set(body["error"]) == {"code", "message", "type"}
    return body["error"]["code"]


@pytest.fixture
def serving(emulator):
    service = serve(emulator)
    emulator.advance(100)
    return service


def test_service_that_serves_answers(emulator, serving):
    answer = chat(emulator, serving["endpoint"])
    assert answer.status_code == 200
    body = answer.json()
    assert body["object"] == "chat.completion"
    assert body["model"] == serving["endpoint"]
    (choice,) = body["choices"]
    assert choice["message"] == {"role": "assistant", "content": f"{serving['modelId']} heard: hello"}
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_answer_is_streamed_to_whoever_asks_for_that(emulator, serving):
    answer = chat(emulator, serving["endpoint"], stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert "hello" in chunks[0]["choices"][0]["delta"]["content"]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}


@pytest.mark.parametrize("status", [400, 401])
def test_only_while_it_serves(status):
    with QianfanEmulator(task_seconds=100, assumptions=Assumptions(invalid_model_status=status)) as emulator:
        service = serve(emulator)
        assert error(chat(emulator, service["endpoint"]), status) == "invalid_model"
        emulator.advance(100)
        assert chat(emulator, service["endpoint"]).status_code == 200
        post(emulator, "DeactivateService", {"serviceId": service["serviceId"]}, route="service")
        assert error(chat(emulator, service["endpoint"]), status) == "invalid_model"
        assert error(chat(emulator, "ernie-4.5"), status) == "invalid_model"


def test_new_service_may_need_a_moment_before_it_answers():
    with QianfanEmulator(task_seconds=100, assumptions=Assumptions(chat_delay_seconds=50)) as emulator:
        service = serve(emulator)
        emulator.advance(10)
        assert error(chat(emulator, service["endpoint"]), 401) == "invalid_model"
        emulator.advance(50)
        assert chat(emulator, service["endpoint"]).status_code == 200


def test_service_of_the_withdrawn_protocol_does_not_answer(emulator):
    service = serve(emulator, protocolVersion=1)
    emulator.advance(100)
    assert error(chat(emulator, service["endpoint"]), 401) == "invalid_model"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"model": ""}, "invalid_model"),
        ({"model": None}, "invalid_model"),
        ({"model": 5}, "invalid_model"),
        ({"messages": []}, "invalid_messages"),
        ({"messages": None}, "invalid_messages"),
        ({"messages": "hello"}, "invalid_messages"),
        ({"messages": [{"role": "user"}]}, "invalid_messages"),
        ({"messages": [{"role": "nobody", "content": "x"}]}, "invalid_messages"),
        ({"stream": "yes"}, "invalid_argument"),
    ],
    ids=str,
)
def test_bad_call_is_refused(emulator, serving, more, code):
    assert error(chat(emulator, serving["endpoint"], **more), 400) == code


def test_body_that_is_no_json_is_refused(emulator):
    headers = {"Authorization": f"Bearer {emulator.api_key}"}
    answer = httpx.post(f"{emulator.endpoint}/v2/chat/completions", content=b"{", headers=headers)
    assert error(answer, 400) == "malformed_json"


def test_key_must_be_the_right_one_and_no_signature(emulator, serving):
    endpoint = serving["endpoint"]
    for key in ("wrong", emulator.access_key, emulator.secret_key, "bce-v3/BEARER-emulator/9/0"):
        assert error(chat(emulator, endpoint, key=key), 401) == "invalid_iam_token"
    with client(emulator) as http:
        answer = http.post("/v2/chat/completions", json={"model": endpoint, "messages": HELLO})
    assert error(answer, 401) == "invalid_iam_token"
    assert all(emulator.api_key not in json.dumps(entry) for entry in emulator.journal)


def token(emulator, seconds=600, **options):
    with client(emulator, **options) as http:
        return http.get("/v1/BCE-BEARER/token", params={"expireInSeconds": seconds})


def test_short_lived_key_is_made_with_a_signature(emulator, serving):
    answer = token(emulator)
    body = answer.json()
    assert set(body) == {"userId", "token", "status", "createTime", "expireTime"}
    assert body["status"] == "enable"
    assert chat(emulator, serving["endpoint"], key=body["token"]).status_code == 200
    unsigned = httpx.get(f"{emulator.endpoint}/v1/BCE-BEARER/token", params={"expireInSeconds": 600})
    assert unsigned.json()["code"] == "InvalidHTTPAuthHeader"
    for seconds in ("", "0", "-1", "soon", "99999999"):
        assert token(emulator, seconds).json()["code"] == "InappropriateJSON"


def test_short_lived_key_ends():
    now = [time.time()]
    with QianfanEmulator(task_seconds=100, clock=lambda: now[0]) as emulator:
        service = serve(emulator)
        emulator.advance(100)
        key = token(emulator, 60).json()["token"]
        assert chat(emulator, service["endpoint"], key=key).status_code == 200
        now[0] += 61
        assert error(chat(emulator, service["endpoint"], key=key), 401) == "invalid_iam_token"


def test_models_are_the_services_that_serve(emulator, serving):
    serve(emulator, "later")
    headers = {"Authorization": f"Bearer {emulator.api_key}"}
    body = httpx.get(f"{emulator.endpoint}/v2/models", headers=headers).json()
    assert body["object"] == "list"
    (row,) = body["data"]
    assert (row["id"], row["object"], row["owned_by"]) == (serving["endpoint"], "model", "emulator")
    assert error(httpx.get(f"{emulator.endpoint}/v2/models"), 401) == "invalid_iam_token"


# Faults and the journal


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"kind": "error", "code": "internal_error", "status": 500}, 500, "internal_error"),
        ({"kind": "error", "code": "tokens_too_long"}, 400, "tokens_too_long"),
        ({"kind": "throttle", "code": "rpm_rate_limit_exceeded"}, 429, "rpm_rate_limit_exceeded"),
    ],
)
def test_ordered_error_has_the_shape_of_these_calls(emulator, serving, fault, status, code):
    emulator.fail_next("ChatCompletion", **fault)
    assert error(chat(emulator, serving["endpoint"]), status) == code
    assert chat(emulator, serving["endpoint"]).status_code == 200


def test_limit_may_show_under_http_200(emulator, serving):
    emulator.fail_next("ChatCompletion", kind="throttle", status=200, code="rpm_rate_limit_exceeded")
    answer = chat(emulator, serving["endpoint"])
    assert answer.status_code == 200
    assert set(answer.json()) == {"code", "msg"}


def test_calls_are_in_the_journal_with_their_service(emulator, serving):
    emulator.fail_next("ChatCompletion", kind="server_error")
    chat(emulator, serving["endpoint"])
    chat(emulator, serving["endpoint"])
    chat(emulator, "unknown")
    failed, answered, refused = emulator.journal[-3:]
    assert [entry["action"] for entry in (failed, answered, refused)] == ["ChatCompletion"] * 3
    assert (failed["fault"], failed["status"]) == ("server_error", 500)
    assert answered["ids"] == {"serviceId": serving["serviceId"]}
    assert (refused["outcome"], refused["code"]) == ("refused", "invalid_model")


def test_calls_are_counted_by_service_and_interval(emulator, serving):
    for _ in range(2):
        chat(emulator, serving["endpoint"])
    post(emulator, "DeactivateService", {"serviceId": serving["serviceId"]}, route="service")
    emulator.advance(3600)
    chat(emulator, serving["endpoint"])

    def ask(action, **more):
        period = {"startTime": "2000-01-01T00:00:00Z", "endTime": "2099-01-01T00:00:00Z"}
        answer = post(emulator, action, {**period, "protocolVersion": 2, **more}, route="service")
        return answer.json()

    (row,) = ask("DescribeServiceMetric")["result"]["serviceList"]
    assert (row["serviceId"], row["serviceName"]) == (serving["serviceId"], "faq")
    metric = row["appList"][0]["metric"]
    assert (metric["succeedCallTotal"], metric["failureCallTotal"], metric["callTotal"]) == (2, 1, 3)
    assert metric["tokensTotal"] == metric["inputTokensTotal"] + metric["outputTokensTotal"] > 0
    for filters in ({"serviceId": ["svco-1"]}, {"appId": ["app-1"]}, {"protocolVersion": 1}):
        assert ask("DescribeServiceMetric", **filters)["result"]["serviceList"] == []
    past = {"startTime": "2000-01-01T00:00:00Z", "endTime": "2000-01-01T00:01:00Z"}
    (row,) = ask("DescribeServiceStats", **past, interval=60)["result"]["serviceList"]
    assert [point["callTotal"] for point in row["appList"][0]["metricList"]] == [0, 0]
    assert (
        ask("DescribeServiceStats", **past, Interval=60)["result"]
        == (ask("DescribeServiceStats", **past, interval=60)["result"])
    )
    assert "param[interval]" in ask("DescribeServiceStats", **past)["message"]
    assert "param[interval]" in ask("DescribeServiceStats", **past, interval=60, Interval=3600)["message"]
    assert "param[startTime]" in ask("DescribeServiceMetric", startTime="yesterday")["message"]
    assert "param[endTime]" in ask("DescribeServiceMetric", endTime="1999-01-01T00:00:00Z")["message"]


def test_console_lists_services(emulator, serving):
    page = httpx.get(f"{emulator.endpoint}/qianfan/ais/console/onlineService")
    assert page.status_code == 200
    assert serving["endpoint"] in page.text
