"""Services and compute units go on, and cost money, once their task has succeeded."""

from __future__ import annotations

import pytest
from creating import LOST, PURCHASE, Work, call
from in_process import HOUR

from airflow_qianfan.compat import AirflowFailException
from airflow_qianfan.exceptions import QianfanAmbiguousCreateError, QianfanPermissionError


@pytest.fixture(params=["service", "unit"])
def serving(request, work_on, emulator):
    """A task whose object is there and goes on, and arguments that are others."""
    work = work_on("service") if request.param == "service" else Work(emulator, PURCHASE)
    created = work.attempt()
    emulator.advance(2 * HOUR)
    other = {"compute_unit_count": 5} if work.kind is PURCHASE else {"resource_config": {"type": "GPU-1-2"}}
    return work, created, other


def status_of(work, object_id):
    kind = work.operator().kind
    return work.operator().hook.call(kind.describe(object_id)).status


def test_clear_attaches_to_what_goes_on_with_the_same_arguments(serving, task_log):
    work, created, _ = serving
    assert work.attempt(2, generation=7) == created
    assert f"{created}, which still goes on with the same arguments" in task_log()
    assert work.ours() == [created]


def test_other_arguments_create_another_and_leave_alone_what_somebody_may_rely_on(serving, task_log):
    work, created, other = serving
    another = work.attempt(2, generation=7, **other)
    assert work.ours() == [created, another]
    assert status_of(work, created) in ("Serving", "Running")
    assert f"{created} goes on, and costs money until you stop it" in task_log()


def test_restart_stops_what_goes_on_and_creates_another(serving):
    work, created, _ = serving
    another = work.attempt(2, generation=7, on_clear="restart")
    assert work.ours() == [created, another]
    assert status_of(work, created) in ("Stopped", "Released")


def test_what_was_stopped_is_created_anew(serving):
    work, created, _ = serving
    work.remove(created)
    assert work.attempt(2, generation=7) != created
    assert len(work.ours()) == 2


# What no list shows


@pytest.fixture
def purchase(emulator):
    return Work(emulator, PURCHASE)


UNCLEAR = {name: fault for name, fault in LOST.items() if name != "throttled"}


@pytest.mark.parametrize("has_store", [True, False], ids=["remembered", "no store"])
@pytest.mark.parametrize("fault", UNCLEAR.values(), ids=UNCLEAR)
def test_purchase_of_unknown_outcome_is_never_sent_again(purchase, fault, has_store):
    purchase.store = purchase.store if has_store else None
    purchase.emulator.fail_next("PurchaseComputeUnit", **fault)
    for number in (1, 2, 3):
        with pytest.raises(QianfanAmbiguousCreateError, match="Look in the console") as caught:
            purchase.attempt(number)
        assert isinstance(caught.value, AirflowFailException)
    assert purchase.sent() == 1


def test_clear_does_not_send_a_purchase_of_unknown_outcome_again_but_a_user_can(purchase):
    purchase.emulator.fail_next("PurchaseComputeUnit", kind="lost_answer")
    with pytest.raises(QianfanAmbiguousCreateError):
        purchase.attempt()
    with pytest.raises(QianfanAmbiguousCreateError, match='on_clear="restart"'):
        purchase.attempt(2, generation=7)
    assert purchase.sent() == 1
    assert purchase.attempt(3, generation=11, on_clear="restart")
    assert purchase.sent() == 2


def test_crash_after_the_purchase_buys_nothing_more(purchase):
    purchase.lose_answer()
    with pytest.raises(QianfanAmbiguousCreateError):
        purchase.attempt(2)
    assert len(purchase.ours()) == 1


def test_refused_or_throttled_purchase_may_be_sent_again(purchase):
    purchase.emulator.fail_next("PurchaseComputeUnit", kind="error", code="AccessDenied", status=403)
    with pytest.raises(QianfanPermissionError):
        purchase.attempt()
    purchase.emulator.fail_next("PurchaseComputeUnit", kind="throttle")
    assert purchase.attempt(2) == purchase.ours()[0]
    assert purchase.attempt(3) == purchase.ours()[0]
    assert len(purchase.ours()) == 1


# Whose service is it?


def create_theirs(work, **more):
    """Deploy something as another deployment of Airflow, or a person, does."""
    version = {"modelSetId": work.arguments["model_set_id"], "modelId": work.arguments["model_id"]}
    billing = {"paymentTiming": "Postpaid", "chargeType": "Tokens"}
    body = {"name": "theirs", "urlSuffix": "theirs", "protocolVersion": 2, "billing": billing, **version}
    return call("/v2/service", "CreateService", **{**body, **more})["serviceId"]


@pytest.mark.parametrize(
    "theirs",
    [
        {},
        {"name": "faq-bot"},
        {"urlSuffix": "faq-bot"},
        {"name": "faq-bot", "urlSuffix": "faq-bot", "description": "[airflow:0123456789ab]"},
    ],
    ids=["another", "same name", "same address", "same of another deployment"],
)
@pytest.mark.parametrize("has_effect", [True, False])
def test_service_of_somebody_else_that_appears_meanwhile_is_not_taken_for_ours(work_on, theirs, has_effect):
    work = work_on("service")
    appeared = []

    def appear():
        if not appeared:
            appeared.append(create_theirs(work, **theirs))
            work.emulator.fail_next("CreateService", kind="server_error", effect=has_effect)

    # What was there before is stored: the Create comes next.
    work.store.on_set = appear
    created = work.attempt(name="faq-bot", url_suffix="faq-bot")
    assert set(work.ours()) == {*appeared, created}
    assert len(work.ours()) == 2


def test_service_of_the_other_protocol_is_found_too(work_on):
    work = work_on("service")
    for protocol in (1, None):
        work.emulator.fail_next("CreateService", kind="lost_answer")
        assert work.attempt(protocol_version=protocol, durable=True) in work.ours()
        work.store.values.clear()
    assert len(work.ours()) == 2


def test_mark_is_proof_whatever_the_address_looks_like(work_on):
    work = work_on("service")
    shown = work.emulator.objects

    def renamed(body):
        (row,) = (row for row in shown("service") if row["serviceId"] == body["serviceId"])
        return {**row, "endpoint": "01234567_other", "name": "another"}

    work.emulator.answer("/v2/service", "DescribeService", renamed)
    work.emulator.fail_next("CreateService", kind="lost_answer")
    assert [work.attempt()] == work.ours()


def test_list_that_shows_only_ids_is_enough_to_find_a_lost_service(work_on):
    work = work_on("service")

    def rows(body):
        shown = work.emulator.objects("service")
        return {"serviceList": [{"serviceId": row["serviceId"]} for row in shown], "pageInfo": {}}

    create_theirs(work)
    work.emulator.answer("/v2/service", "DescribeServices", rows)
    work.emulator.fail_next("CreateService", kind="lost_answer")
    assert work.attempt() == work.ours()[-1]
    assert len(work.ours()) == 2
