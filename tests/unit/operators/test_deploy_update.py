"""A model version is put behind a service that exists, and taken back where that fails."""

from __future__ import annotations

import json
import time

import pytest
from creating import SV, Work, call, new_model
from deploying_versions import DEPLOY, Existing
from in_process import HOUR

from airflow_qianfan.api.client import QianfanClient
from airflow_qianfan.compat import AirflowFailException, AirflowTaskTimeout
from airflow_qianfan.emulator.assumptions import Assumptions
from airflow_qianfan.exceptions import (
    QianfanError,
    QianfanExecutionTimeoutError,
    QianfanInferenceRefusedError,
    QianfanRequestError,
    QianfanServerError,
    QianfanTerminalStateError,
    QianfanUpdateError,
)
from airflow_qianfan.operators.base.lookup import LOOKUPS
from airflow_qianfan.operators.base.update import KEY, ServiceUpdate, Update, version_before

LOST = {
    "answer lost": {"kind": "lost_answer"},
    "5xx before the effect": {"kind": "server_error"},
    "5xx after the effect": {"kind": "server_error", "effect": True},
    "malformed after the effect": {"kind": "malformed", "effect": True},
    "throttled": {"kind": "throttle"},
}
"""What may become of a ModifyService."""


@pytest.fixture
def work(emulator):
    return Work(emulator, DEPLOY)


@pytest.fixture
def existing(work):
    return Existing(work)


# An update


def test_version_is_put_behind_a_service_and_asked(existing):
    result = existing.run(smoke_test="ping")
    service = existing.show()
    assert result == {
        "service_id": existing.service_id,
        "model_set_id": existing.new["model_set_id"],
        "model_id": existing.new["model_id"],
        "previous_model_id": existing.old,
        "url": service["url"],
        "endpoint": service["endpoint"],
        "status": "Serving",
        "answer": f"{existing.new['model_id']} heard: ping",
        "console_url": f"{existing.emulator.endpoint}/qianfan/ais/console/onlineService",
    }
    assert service["updateStatus"] == "None"
    assert existing.work.xcoms["previous_model_id"] == existing.old
    assert existing.orders() == [existing.new["model_id"]]


def test_version_that_it_serves_already_is_not_ordered_again(existing):
    existing.run()
    existing.work.store.values.clear()
    result = existing.run(2)
    assert result["previous_model_id"] == result["model_id"] == existing.new["model_id"]
    assert existing.sent() == 1


@pytest.mark.parametrize("shows", ["at once", "when done"])
@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_update_happens_once_whatever_becomes_of_the_order(work, fault, shows):
    work.emulator._backend.assumptions = Assumptions(update_shows_new_version=shows)
    existing = Existing(work)
    existing.emulator.fail_next("ModifyService", **fault)
    assert existing.run()["previous_model_id"] == existing.old
    assert existing.orders() == [existing.new["model_id"]]


def test_order_that_never_takes_effect_is_given_up_and_the_retry_goes_on(existing):
    existing.emulator.fail_next("ModifyService", kind="server_error", count=3)
    with pytest.raises(QianfanError) as caught:
        existing.run()
    assert not isinstance(caught.value, AirflowFailException)
    assert (existing.orders(), existing.sent()) == ([], 3)
    assert existing.run(2)["previous_model_id"] == existing.old


def test_nothing_is_ordered_again_where_nobody_can_tell(existing):
    existing.emulator.fail_next("ModifyService", kind="lost_answer")
    existing.work.store.on_set = lambda: existing.emulator.fail_next(
        "DescribeService", kind="server_error", count=None
    )
    with pytest.raises(QianfanError, match="cannot tell whether"):
        existing.run()
    existing.work.store.on_set = lambda: None
    existing.emulator.clear_faults()
    assert existing.run(2)["previous_model_id"] == existing.old
    assert existing.orders() == [existing.new["model_id"]]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("read", range(1, len(LOOKUPS) + 1))
def test_unknown_words_after_a_lost_order_are_not_taken_for_the_update(existing, monkeypatch, read, count):
    """Whichever of the reads show them: the last ones too."""
    existing.emulator.fail_next("ModifyService", kind="server_error")
    reads, describe = [], ServiceUpdate.describe

    def show(update):
        reads.append(read)
        # The first read of all comes before the order.
        if 0 <= len(reads) - 1 - read < count:
            existing.emulator.fail_next("DescribeService", kind="unknown_status")
        return describe(update)

    monkeypatch.setattr(ServiceUpdate, "describe", show)
    assert existing.run()["model_id"] == existing.new["model_id"]
    assert len(reads) > read
    assert (existing.orders(), existing.sent()) == ([existing.new["model_id"]], 2)


def test_nothing_is_ordered_again_where_too_few_reads_show_an_update(existing, monkeypatch):
    existing.emulator.fail_next("ModifyService", kind="server_error")
    # The first read comes before the order.
    reads = ["known"] * len(LOOKUPS) + ["unknown", "none", "unknown"]
    describe = ServiceUpdate.describe

    def show(update):
        match reads.pop(0):
            case "unknown":
                existing.emulator.fail_next("DescribeService", kind="unknown_status")
            case "none":
                raise QianfanServerError("no answer")
        return describe(update)

    with monkeypatch.context() as patch:
        patch.setattr(ServiceUpdate, "describe", show)
        with pytest.raises(QianfanError, match="cannot tell whether"):
            existing.run()
    assert (reads, existing.sent()) == ([], 1)
    assert existing.run(2)["model_id"] == existing.new["model_id"]
    assert existing.orders() == [existing.new["model_id"]]


def test_one_unknown_word_is_not_taken_for_the_update_of_an_earlier_attempt(existing):
    existing.emulator.fail_next("ModifyService", kind="server_error", count=3)
    with pytest.raises(QianfanError):
        existing.run()
    existing.emulator.fail_next("DescribeService", kind="unknown_status")
    assert existing.run(2)["model_id"] == existing.new["model_id"]
    assert existing.orders() == [existing.new["model_id"]]


def test_reads_that_lag_behind_do_not_hide_an_update(existing):
    existing.work.store.on_set = lambda: existing.emulator.fail_next(
        "DescribeService", kind="stale", seconds=10.0, count=3
    )
    assert existing.run()["model_id"] == existing.new["model_id"]
    assert existing.orders() == [existing.new["model_id"]]


@pytest.mark.parametrize("calls", range(1, 7))
@pytest.mark.parametrize("shows", ["at once", "when done"])
def test_crash_at_any_call_and_the_retry_knows_the_version_before(work, monkeypatch, calls, shows):
    work.emulator._backend.assumptions = Assumptions(update_shows_new_version=shows)
    existing = Existing(work)
    left, real = [calls], QianfanClient.call

    class Crash(BaseException):
        pass

    def crash(client, request):
        left[0] -= 1
        result = real(client, request)
        if left[0] == 0:
            raise Crash
        return result

    with monkeypatch.context() as patch:
        patch.setattr(QianfanClient, "call", crash)
        try:
            existing.run(smoke_test="ping", roll_back=True)
        except Crash:
            pass
        else:
            assert calls > 3
    result = existing.run(2, smoke_test="ping", roll_back=True)
    assert (result["previous_model_id"], result["model_id"]) == (existing.old, existing.new["model_id"])
    assert existing.orders() == [existing.new["model_id"]]


def test_crash_when_the_order_is_announced_changes_nothing(existing):
    existing.work.store.broken = 1
    with pytest.raises(ConnectionError):
        existing.run()
    assert existing.sent() == 0
    assert existing.run(2)["previous_model_id"] == existing.old


def test_clear_knows_the_version_before_too(existing):
    existing.run()
    assert existing.work.run(2, generation=9, **existing.arguments)["previous_model_id"] == existing.old
    assert existing.sent() == 1


def test_next_version_has_this_one_before_it(existing):
    existing.run()
    third = existing.version("third")
    assert (
        existing.work.run(2, generation=9, **{**existing.arguments, **third})["previous_model_id"]
        == (existing.new["model_id"])
    )


@pytest.mark.parametrize("number", [1, 2])
def test_where_airflow_keeps_nothing_the_new_version_is_not_taken_for_the_one_before(existing, number):
    existing.work.store = None
    first = existing.run()
    assert first["previous_model_id"] == existing.old
    again = existing.run(number)
    # The first attempt has certainly not made an update that nobody knows of.
    assert again["previous_model_id"] == (existing.new["model_id"] if number == 1 else None)
    if number == 2:
        with pytest.raises(QianfanUpdateError, match="nobody can tell which version"):
            existing.run(number, roll_back=True)


def test_refused_update_is_told(existing):
    not_ready = {**existing.new, "model_id": new_model(existing.new["model_set_id"])}
    with pytest.raises(QianfanRequestError, match="not ready"):
        existing.run(**not_ready, roll_back=True)
    assert (existing.orders(), existing.sent()) == ([], 1)


def test_service_that_is_gone_or_stopped_is_not_updated(existing):
    call(SV, "DeactivateService", serviceId=existing.service_id)
    with pytest.raises(QianfanTerminalStateError, match="is Stopped"):
        existing.run()
    with pytest.raises(QianfanError, match="NoSuchKey"):
        existing.run(service_id="svco-none")
    assert existing.sent() == 0


def test_update_of_somebody_else_is_left_to_end_first(existing):
    third = existing.version("third")
    call(
        SV,
        "ModifyService",
        serviceId=existing.service_id,
        modelSetId=third["model_set_id"],
        modelId=third["model_id"],
    )
    with pytest.raises(QianfanError, match="another update") as caught:
        existing.run()
    assert not isinstance(caught.value, AirflowFailException)
    existing.emulator.advance(2 * HOUR)
    assert existing.run(2)["previous_model_id"] == third["model_id"]


def test_update_that_ends_with_the_version_before_is_an_error(existing):
    unfit = existing.version("unfit")
    with pytest.raises(QianfanUpdateError, match=f"it serves {existing.old}, not {unfit['model_id']}"):
        existing.run(**unfit, smoke_test="ping")
    assert existing.work.calls("ChatCompletion") == 0


def test_existing_service_is_never_stopped(existing, monkeypatch):
    monkeypatch.setattr("airflow_qianfan.operators.base.wait.user_has_ended_task", lambda *_, **__: True)
    operator = existing.work.operator(**existing.arguments)
    sleep = time.sleep

    def end(seconds):
        operator.on_kill()
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", end)
    existing.work.run(operator=operator)
    monkeypatch.setattr(time, "sleep", sleep)
    assert existing.work.calls("DeactivateService") == 0
    assert operator.make_trigger().cancel_on_kill is False
    assert existing.show()["runStatus"] == "Serving"


# Roll-back


def fail_chat(existing, **fault):
    existing.emulator.fail_next(
        "ChatCompletion", **{"kind": "error", "code": "access_denied", "status": 401, **fault}
    )


def test_service_stays_as_it_is_without_roll_back(existing):
    fail_chat(existing)
    with pytest.raises(QianfanInferenceRefusedError):
        existing.run(smoke_test="ping")
    assert existing.show()["modelId"] == existing.new["model_id"]


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_failed_smoke_test_takes_the_service_back(existing, fault):
    fail_chat(existing)
    operator = existing.work.operator(**existing.arguments, smoke_test="ping", roll_back=True)
    take_back = operator._take_back

    def with_fault():
        existing.emulator.fail_next("ModifyService", **fault)
        return take_back()

    operator._take_back = with_fault
    with pytest.raises(QianfanUpdateError, match=f"serves {existing.old} again") as caught:
        existing.work.run(operator=operator)
    assert "access_denied" in str(caught.value)
    assert isinstance(caught.value, AirflowFailException)
    assert existing.show()["modelId"] == existing.old
    assert existing.orders() == [existing.new["model_id"], existing.old]


def test_service_that_does_not_answer_for_a_minute_is_taken_back(existing):
    fail_chat(existing, kind="server_error", code=None, status=503, count=None)
    with pytest.raises(QianfanUpdateError, match=f"serves {existing.old} again"):
        existing.run(smoke_test="ping", roll_back=True)


def test_update_that_did_not_happen_needs_no_roll_back(existing):
    unfit = existing.version("unfit")
    with pytest.raises(QianfanUpdateError, match=f"serves {existing.old} again"):
        existing.run(**unfit, roll_back=True)
    assert existing.orders() == [unfit["model_id"]]


def test_service_without_a_version_before_says_so(existing):
    existing.run()
    existing.work.store.values.clear()
    fail_chat(existing)
    with pytest.raises(QianfanUpdateError, match="has no version before"):
        existing.run(2, smoke_test="ping", roll_back=True)


def test_roll_back_that_fails_says_so_and_the_next_attempt_goes_on_with_it(existing):
    fail_chat(existing)
    operator = existing.work.operator(**existing.arguments, smoke_test="ping", roll_back=True)
    take_back = operator._take_back

    def with_fault():
        existing.emulator.fail_next("ModifyService", kind="server_error", count=None)
        return take_back()

    operator._take_back = with_fault
    with pytest.raises(QianfanUpdateError, match="could not be taken back"):
        existing.work.run(operator=operator)
    existing.emulator.clear_faults()
    assert existing.show()["modelId"] == existing.new["model_id"]
    with pytest.raises(QianfanUpdateError, match=rf"serves {existing.old} again\. Clear the task"):
        existing.run(2, smoke_test="ping", roll_back=True)
    assert existing.show()["modelId"] == existing.old
    # A clear after that tries the new version once more.
    assert existing.run(3, smoke_test="ping", roll_back=True)["previous_model_id"] == existing.old


def test_crash_within_the_roll_back_is_gone_on_with(existing):
    fail_chat(existing)
    existing.work.store.broken = 3
    with pytest.raises(ConnectionError):
        existing.run(smoke_test="ping", roll_back=True)
    with pytest.raises(QianfanUpdateError, match=f"serves {existing.old} again"):
        existing.run(2, smoke_test="ping", roll_back=True)
    assert existing.orders() == [existing.new["model_id"], existing.old]


def test_time_that_is_over_takes_an_update_back(existing, monkeypatch):
    operator = existing.work.operator(**existing.arguments, roll_back=True)

    def out_of_time(context):
        raise AirflowTaskTimeout("over")

    monkeypatch.setattr(operator, "_wait", out_of_time)
    with pytest.raises(QianfanExecutionTimeoutError, match=f"serves {existing.old} again"):
        existing.work.run(operator=operator)
    assert existing.show()["modelId"] == existing.old


def test_time_that_is_over_leaves_an_update_alone_without_roll_back(existing, monkeypatch):
    operator = existing.work.operator(**existing.arguments)

    def out_of_time(context):
        raise AirflowTaskTimeout("over")

    monkeypatch.setattr(operator, "_wait", out_of_time)
    with pytest.raises(QianfanExecutionTimeoutError, match="may go on"):
        existing.work.run(operator=operator)
    assert existing.work.calls("DeactivateService") == 0
    assert existing.orders() == [existing.new["model_id"]]


# What an attempt finds


OLD, NEW, THIRD = ("am-1", "amv-old"), ("am-2", "amv-new"), ("am-3", "amv-third")


def stored(target, previous, stage="updating", service_id="svco-1"):
    return Update(service_id, *target, *previous, stage)


@pytest.mark.parametrize(
    ("served", "earlier", "may_be_ours", "before"),
    [
        (OLD, None, False, OLD),
        (NEW, None, False, NEW),
        (NEW, None, True, (None, None)),
        (OLD, None, True, OLD),
        (NEW, stored(NEW, OLD), False, OLD),
        (NEW, stored(NEW, OLD, "done"), False, OLD),
        (OLD, stored(NEW, OLD), False, OLD),
        (THIRD, stored(NEW, OLD), False, THIRD),
        (THIRD, stored(THIRD, OLD), False, OLD),
        (THIRD, stored(THIRD, OLD, "done"), False, THIRD),
        (NEW, stored(NEW, OLD, "rolled back"), False, NEW),
        (OLD, stored(NEW, OLD, "rolled back"), False, OLD),
        (NEW, stored(NEW, OLD, service_id="svco-2"), False, NEW),
    ],
)
def test_version_before_an_update(served, earlier, may_be_ours, before):
    update = version_before(Update("svco-1", *NEW), served, earlier, may_be_ours=may_be_ours)
    assert (update.previous_model_set_id, update.previous_model_id) == before


@pytest.mark.parametrize("value", [None, "x", {}, {"service_id": "svco-1"}, []])
def test_what_is_no_update_is_nothing_that_an_attempt_knows(value):
    assert Update.load(value) is None


def test_what_a_later_version_stores_is_understood(existing):
    existing.run()
    value = json.loads(existing.work.store.values[KEY])
    assert Update.load({**value, "more": 1}) == Update.load(value)
    assert value["stage"] == "done"
