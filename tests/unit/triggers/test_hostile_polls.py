"""Whatever a poll finds, a wait goes on or ends with an event that can be stored."""

from __future__ import annotations

import json
import logging
import math

from cases import cases
from hostile import ANY_JSON, IDS
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from waiting import STATEFUL

from airflow_qianfan.api.objects import Phase
from airflow_qianfan.exceptions import QianfanError
from airflow_qianfan.triggers.base.polling import PollSettings, PollState, Target, output_of

WORDS = st.sampled_from(
    sorted({state.word for kind in STATEFUL for state in kind.states.documented.values()})
)
ENDED = st.builds(lambda row, word: {**row, "runStatus": word, "status": word}, IDS, WORDS)


@settings(max_examples=cases(750), deadline=None)
@given(kind=st.sampled_from(STATEFUL), result=ENDED | IDS | ANY_JSON, again=ENDED | IDS)
@example(
    kind=STATEFUL[0],
    result={"taskId": "t", "jobId": "j", "createDate": "9999-12-31T23:59:59-14:00"},
    again={"taskId": "t", "jobId": "j", "createDate": "0001-01-01T00:00:00+14:00", "runStatus": "Done"},
)
def test_any_poll_becomes_a_line_in_the_log_and_perhaps_an_event_that_can_be_stored(kind, result, again):
    state = PollState(Target(kind, "a-1"), PollSettings(started=0.0), logging.getLogger("test"), str)
    for raw in (result, again):
        try:
            found = kind.describe("a-1").read_result(raw)
        except ValidationError:
            continue
        assert found.progress is None or 0 <= found.progress <= 1
        assert found.started is None or math.isfinite(found.started)
        event = state.record(found)
        assert 0 < state.pause() <= 1.1 * 600 + 1
        if event is None:
            assert found.state.phase is Phase.ACTIVE
            continue
        text = json.dumps(event, allow_nan=False)
        text.encode()
        is_success = found.state.phase is Phase.SUCCEEDED
        try:
            assert output_of(json.loads(text)) == event["output"]
            assert is_success
        except QianfanError:
            assert not is_success
        return
