"""The event that ends a wait, and what becomes of it."""

import json

import pytest
from waiting import STATEFUL

from airflow_qianfan.api.objects import Phase
from airflow_qianfan.compat import AirflowFailException
from airflow_qianfan.exceptions import (
    QianfanPollError,
    QianfanPollRefusedError,
    QianfanTerminalStateError,
    QianfanWaitTimeoutError,
)
from airflow_qianfan.triggers.base.polling import TIMEOUT_EVENT, final_event, output_of

URL = "https://console.example/"
FINAL = [
    pytest.param(kind, state, id=f"{kind.__name__}-{word}")
    for kind in STATEFUL
    for word, state in kind.states.documented.items()
    if state.phase is not Phase.ACTIVE
]


@pytest.mark.parametrize(("kind", "state"), FINAL)
def test_a_final_state_of_any_kind_makes_an_event_that_airflow_can_store(kind, state):
    found = kind.model_construct(**{kind.id_member: "id-1", kind.state_member: state.word.upper()})
    event = final_event(found, URL)
    assert json.loads(json.dumps(event)) == event
    assert event["state"] == event["output"]["status"] == state.word
    assert event["output"]["console_url"] == URL
    if state.phase is Phase.SUCCEEDED:
        assert event["status"] == "success"
        assert output_of(event) == event["output"]
        return
    assert event["status"] == "failed"
    with pytest.raises(
        QianfanTerminalStateError, match=f"id-1 ended as {state.word} \\(see {URL}\\)"
    ) as caught:
        output_of(event)
    assert (caught.value.state, caught.value.url) == (state.word, URL)


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (None, QianfanPollError),
        ({}, QianfanPollError),
        ("success", QianfanPollError),
        ([], QianfanPollError),
        ({"status": "done", "output": {}}, QianfanPollError),
        ({"status": "success"}, QianfanPollError),
        ({"status": "success", "output": "x"}, QianfanPollError),
        ({"status": None, "output": {}}, QianfanPollError),
        ({"status": "error", "message": "cannot"}, QianfanPollError),
        ({"status": "error", "message": "cannot", "can_retry": True}, QianfanPollError),
        ({"status": "error", "message": "cannot", "can_retry": False}, QianfanPollRefusedError),
        ({"status": "timeout"}, QianfanWaitTimeoutError),
        (TIMEOUT_EVENT, QianfanWaitTimeoutError),
        ({"status": "failed"}, QianfanTerminalStateError),
        ({"status": "failed", "message": "m", "state": "Fail", "output": 3}, QianfanTerminalStateError),
    ],
)
def test_only_a_complete_success_event_is_a_success(event, error):
    with pytest.raises(error) as caught:
        output_of(event)
    assert type(caught.value) is error


def test_what_another_attempt_cannot_mend_spends_no_retries():
    assert issubclass(QianfanPollRefusedError, AirflowFailException)
    assert issubclass(QianfanTerminalStateError, AirflowFailException)
    assert not issubclass(QianfanPollError, AirflowFailException)
    assert not issubclass(QianfanWaitTimeoutError, AirflowFailException)
