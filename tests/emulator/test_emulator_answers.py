"""Answers that a test registers for Actions which the emulator does not know, or instead of its own."""

import httpx
import pytest
from over_http import JOB, create_task, post

from airflow_qianfan.emulator import ApiError, QianfanEmulator, Refusal

PROMPTS = {"promptList": [{"promptId": "pt-1", "importStatus": "Importing", "progress": "40 %"}]}


def describe(emulator, **body):
    return post(emulator, "DescribePrompts", body, route="prompt")


def test_registered_answer_is_given_until_the_reset(emulator):
    assert describe(emulator).status_code == 404
    emulator.answer("/v2/prompt", "DescribePrompts", PROMPTS)
    assert describe(emulator).json()["result"] == PROMPTS
    emulator.reset()
    assert describe(emulator).status_code == 404


def test_unknown_action_says_how_to_register_an_answer(emulator):
    answer = describe(emulator)
    assert (answer.status_code, answer.json()["code"]) == (404, "InvalidURI")
    assert "emulator.answer('/v2/prompt', 'DescribePrompts', result)" in answer.json()["message"]
    answer = post(emulator, "DescribeNothing", route="model")
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidURI")
    assert "emulator.answer('/v2/model', 'DescribeNothing', result)" in answer.json()["message"]
    answer = post(emulator, "")
    assert (answer.status_code, answer.json()["message"]) == (400, "The query must name one Action.")


def test_function_makes_the_result_from_the_body_and_may_refuse(emulator):
    def create(body):
        if "promptName" not in body:
            raise ApiError(Refusal(400, "InappropriateJSON"), "param[promptName] invalid.")
        return {"promptId": f"pt-{body['promptName']}"}

    emulator.answer("/v2/prompt", "CreatePrompt", create)
    made = post(emulator, "CreatePrompt", {"promptName": "mine"}, route="prompt")
    assert made.json()["result"] == {"promptId": "pt-mine"}
    refused = post(emulator, "CreatePrompt", {}, route="prompt")
    assert (refused.status_code, refused.json()["code"]) == (400, "InappropriateJSON")
    assert [call["effect"] for call in emulator.journal] == [True, False]


def test_function_that_fails_or_returns_no_json_is_an_error_of_the_emulator(emulator):
    emulator.answer("/v2/prompt", "DescribePrompts", lambda body: body["missing"])
    assert describe(emulator).status_code == 500
    emulator.answer("/v2/prompt", "DescribePrompts", lambda body: {1, 2})
    assert describe(emulator).status_code == 500
    assert emulator.journal[-1]["code"] == "InternalError"


def test_registered_answer_comes_before_the_emulators_own(emulator):
    emulator.answer("/v2/finetuning", "CreateFineTuningJob", {"jobId": "job-mine"})
    assert post(emulator, "CreateFineTuningJob", JOB).json()["result"] == {"jobId": "job-mine"}
    assert emulator.jobs == []


def test_journal_notes_the_ids_of_the_body(emulator):
    emulator.answer("/v2/prompt", "DeletePrompt", True)
    post(emulator, "DeletePrompt", {"promptId": "pt-1", "versionIds": ["v-1"], "name": "x"}, route="prompt")
    (entry,) = emulator.journal
    assert entry["ids"] == {"promptId": "pt-1", "versionIds": ["v-1"]}
    assert (entry["action"], entry["outcome"], entry["effect"]) == ("DeletePrompt", "ok", True)


def test_calls_are_signed_and_posted():
    with QianfanEmulator(read_only_keys={"AKREAD": "SKREAD"}) as emulator:
        emulator.answer("/v2/prompt", "DescribePrompts", PROMPTS)
        emulator.answer("/v2/prompt", "DeletePrompt", True)
        url = emulator.endpoint + "/v2/prompt?Action=DescribePrompts"
        assert httpx.post(url, json={}).json()["code"] == "InvalidHTTPAuthHeader"
        assert httpx.get(url).json()["code"] == "InvalidHTTPRequest"
        emulator.access_key, emulator.secret_key = "AKREAD", "SKREAD"
        assert describe(emulator).status_code == 200
        assert post(emulator, "DeletePrompt", route="prompt").json()["code"] == "AccessDenied"


def test_faults_hit_registered_answers_and_do_not_change_what_is_registered(emulator):
    emulator.answer("/v2/prompt", "DescribePrompts", PROMPTS)
    emulator.fail_next("DescribePrompts", kind="throttle")
    assert describe(emulator).status_code == 429
    emulator.fail_next("DescribePrompts", kind="unknown_status", word="Preparing")
    assert describe(emulator).json()["result"]["promptList"] == [
        {"promptId": "pt-1", "importStatus": "Preparing"}
    ]
    emulator.fail_next("DescribePrompts", kind="missing_progress")
    assert describe(emulator).json()["result"]["promptList"] == [
        {"promptId": "pt-1", "importStatus": "Importing"}
    ]
    assert describe(emulator).json()["result"] == PROMPTS


@pytest.mark.parametrize("kind", ["unknown_status", "missing_progress", "stale"])
def test_fault_that_could_not_change_a_registered_answer_is_refused(emulator, kind):
    emulator.answer("/v2/prompt", "DescribePrompts", {"promptList": []})
    with pytest.raises(ValueError, match="cannot hit"):
        emulator.fail_next("DescribePrompts", kind=kind)


def test_function_may_show_a_state(emulator):
    emulator.answer("/v2/eval", "DescribeEvalTask", lambda body: [{"state": "Running", "progress": 1}])
    emulator.fail_next("DescribeEvalTask", kind="unknown_status", word="Odd")
    assert post(emulator, "DescribeEvalTask", route="eval").json()["result"] == [{"state": "Odd"}]


def test_answers_are_registered_over_http(emulator):
    answers = emulator.endpoint + "/_emulator/answers"
    one = {"route": "/v2/prompt", "action": "DescribePrompts", "result": PROMPTS}
    two = {"route": "/v2/prompt", "action": "DeletePrompt", "result": True}
    assert httpx.get(answers).json() == []
    assert httpx.post(answers, json=one).json() == [one]
    assert httpx.post(answers, json=[two, {**one, "result": None}]).json() == [{**one, "result": None}, two]
    assert describe(emulator).json()["result"] is None
    emulator.answer("/v2/eval", "DescribeEvalTask", describe)
    assert httpx.get(answers).json()[-1]["result"] == "function describe"
    assert httpx.delete(answers).json() == []
    assert describe(emulator).status_code == 404
    create_task(emulator)


@pytest.mark.parametrize(
    "change",
    [
        {"route": "v2/prompt"},
        {"route": "/v2/prompt?Action=x"},
        {"route": ""},
        {"action": ""},
        {"action": "Describe Prompts"},
        {"colour": "red"},
    ],
)
def test_bad_registration_is_refused(emulator, change):
    body = {"route": "/v2/prompt", "action": "DescribePrompts", "result": {}, **change}
    answer = httpx.post(emulator.endpoint + "/_emulator/answers", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert httpx.get(emulator.endpoint + "/_emulator/answers").json() == []


def test_result_must_be_json(emulator):
    for result in ({1, 2}, float("nan"), object()):
        with pytest.raises(ValueError, match="must be JSON"):
            emulator.answer("/v2/prompt", "DescribePrompts", result)
