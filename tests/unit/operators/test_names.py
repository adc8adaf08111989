"""What a name that a user gives, or that this package makes, says about who created an object."""

from __future__ import annotations

import pytest
from creating import new_job, new_model_set

from airflow_qianfan.exceptions import QianfanAlreadyExistsError, QianfanRequestError

NAMED = [("job", "name", new_job), ("set", "model_set_name", new_model_set)]


@pytest.mark.parametrize(("kind", "member", "make"), NAMED)
def test_name_that_somebody_else_has_is_an_error(work_on, kind, member, make):
    work = work_on(kind)
    taken = make("occupied")
    for number in (1, 2):
        with pytest.raises(QianfanAlreadyExistsError, match="occupied") as caught:
            work.attempt(number, **{member: "occupied"})
        assert (caught.value.action, caught.value.code) == (work.kind.create, "DuplicateName")
        assert caught.value.request_id
        assert caught.value.name == "occupied"
        assert taken in caught.value.message
    assert work.created() == [taken]


@pytest.mark.parametrize(("kind", "member", "make"), NAMED)
def test_name_is_found_to_be_taken_whatever_code_the_service_uses_for_that(work_on, kind, member, make):
    work = work_on(kind)
    taken = make("occupied")
    work.emulator.fail_next(work.kind.create, kind="error", code="SomethingElse")
    with pytest.raises(
        QianfanAlreadyExistsError, match=f"the name 'occupied' is taken by .* {taken}"
    ) as caught:
        work.attempt(**{member: "occupied"})
    assert caught.value.code == "SomethingElse"


@pytest.mark.parametrize(("kind", "member", "make"), NAMED)
def test_refusal_for_another_reason_is_not_about_the_name(work_on, kind, member, make):
    work = work_on(kind)
    make("theirs")
    work.emulator.fail_next(work.kind.create, kind="error", code="InappropriateJSON")
    with pytest.raises(QianfanRequestError, match="InappropriateJSON"):
        work.attempt(**{member: "ours"})


@pytest.mark.parametrize(("kind", "member", "make"), NAMED)
def test_name_that_we_have_taken_ourselves_is_ours(work_on, kind, member, make):
    work = work_on(kind)
    work.emulator.fail_next(work.kind.create, kind="lost_answer")
    created = work.attempt(**{member: "ours"})
    assert work.attempt(2, **{member: "ours"}) == created
    assert work.created() == [created]


def test_job_of_ours_is_known_by_its_description_where_there_is_no_store(work_on):
    work = work_on("job")
    work.store = None
    created = work.attempt(name="ours", description="weekly")
    assert work.attempt(2, name="ours", description="weekly") == created
    assert work.emulator.jobs[0]["description"].startswith("weekly [airflow:")


@pytest.mark.parametrize("name", ["shared", None])
def test_model_set_that_exists_may_be_used(work_on, name):
    work = work_on("set")
    existing = new_model_set("shared") if name else work.attempt()
    assert work.attempt(2, if_exists="use", model_set_name=name) == existing
    assert work.created() == [existing]


def test_model_set_that_a_stale_read_hides_is_used_all_the_same(work_on):
    work = work_on("set")
    existing = new_model_set("shared")
    work.emulator.fail_next("DescribeModelSet", kind="stale", seconds=9.0, count=None)
    assert work.attempt(if_exists="use", model_set_name="shared") == existing
    assert work.created() == [existing]


def test_refused_model_set_is_refused_with_use_too(work_on):
    work = work_on("set")
    with pytest.raises(QianfanRequestError, match="modelType"):
        work.attempt(if_exists="use", model_type="Nonsense")


@pytest.mark.parametrize(("kind", "member", "make"), NAMED)
def test_clear_uses_what_the_user_has_named_again_and_says_why(work_on, task_log, kind, member, make):
    work = work_on(kind)
    created = work.attempt(**{member: "ours"})
    assert work.attempt(2, generation=7, **{member: "ours"}) == created
    assert f"{created}: its name leaves no room for another" in task_log()
