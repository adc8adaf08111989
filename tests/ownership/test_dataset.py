"""Data are made ready once: one version, one import, whatever crashes or gets lost on the way."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from account import HOUR, Account
from tasks import NAME, AirflowTask

from airflow_qianfan.exceptions import (
    QianfanAmbiguousCreateError,
    QianfanError,
    QianfanExecutionTimeoutError,
    QianfanTerminalStateError,
)
from airflow_qianfan.operators.dataset import (
    QianfanCreateDatasetOperator,
    QianfanCreateExportTaskOperator,
    QianfanCreateImportTaskOperator,
    QianfanPublishDatasetVersionOperator,
)
from airflow_qianfan.operators.prepare_dataset import QianfanDatasetOperator

FILES = ["bos:/b/faq.jsonl"]
ROUTE = "/v2/dataset"
CREATES = ("CreateDataset", "CreateDatasetVersion", "CreateImportTask", "PublishDatasetVersion")
LOST: dict[str, dict[str, Any]] = {
    "answer lost": {"kind": "lost_answer"},
    "5xx before the effect": {"kind": "server_error"},
    "5xx after the effect": {"kind": "server_error", "effect": True},
    "reset": {"kind": "reset"},
    "unreadable": {"kind": "malformed", "effect": True},
    "throttled": {"kind": "throttle"},
    "time-out": {"kind": "timeout"},
}


class Death(BaseException):
    """The process dies."""


def task_of(operator: Any, given: dict[str, Any], *, retries: int = 0, **changes: Any) -> AirflowTask:
    def make(**changed: Any) -> Any:
        return operator(task_id=NAME, **{**given, **changed})

    return AirflowTask(make, retries=retries, **changes)


def prepare(account: Account, kind: str, **more: Any) -> AirflowTask:
    """A task that makes a data set, or a version of one that exists, ready."""
    given: dict[str, Any] = {"files": FILES, "deferrable": True, "poll_interval": HOUR / 2}
    if kind == "version":
        given["dataset_id"] = dataset(account)
    elif kind == "named":
        given |= {"data_format": "Text", "dataset_name": "faq"}
    else:
        given |= {"data_format": "Text"}
    retries, store = more.pop("retries", 0), more.pop("store", True)
    task = task_of(QianfanDatasetOperator, given | more, retries=retries)
    if not store:
        task.store = None
    return task


def dataset(account: Account) -> str:
    """A data set of somebody else, with data in its version V1."""
    made = account.make(
        ROUTE, "CreateDataset", datasetName="theirs", dataFormat="Text", storageType="sysStorage"
    )
    account.make(ROUTE, "CreateImportTask", versionId=made["versionId"], files=FILES)
    account.advance(HOUR)
    return str(made["datasetId"])


def run_to_end(account: Account, task: AirflowTask, *, may_fail: bool = False) -> Any:
    """Run attempts until one succeeds; return its value."""
    for _ in range(20):
        try:
            value = task.attempt()
            while task.deferred is not None:
                account.advance(30)
                value = task.poll()
                if value is None:
                    account.advance(HOUR)
        except Death:
            continue
        except QianfanError:
            if not may_fail:
                raise
            continue
        return value
    raise AssertionError("it never succeeds")


def effects(account: Account, action: str) -> int:
    return sum(entry["action"] == action and entry["effect"] for entry in account.emulator.journal)


def assert_one(account: Account, kind: str, value: Any) -> None:
    """One version was made, and filled once."""
    assert value["status"] == "Published"
    versions = {
        version["versionId"]: version
        for version in account.emulator.objects("dataset_version")
        if version["datasetName"] != "theirs" or version["versionNumber"] > 1
    }
    assert set(versions) == {value["dataset_version_id"]}
    assert versions[value["dataset_version_id"]]["publishStatus"] == "Published"
    assert versions[value["dataset_version_id"]]["datasetId"] == value["dataset_id"]
    (imported,) = (
        task
        for task in account.emulator.objects("import_task")
        if task["versionId"] == value["dataset_version_id"]
    )
    assert value["import_task_id"] in (imported["taskId"], None)
    assert value["sample_count"] in (100, None)
    assert effects(account, "CreateDataset") == (0 if kind == "version" else 1)
    assert effects(account, "CreateDatasetVersion") == (1 if kind == "version" else 0)


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "worker"])
@pytest.mark.parametrize("kind", ["new", "named", "version"])
def test_data_are_ready_once(account: Account, kind: str, deferrable: bool) -> None:
    task = prepare(account, kind, deferrable=deferrable)
    value = run_to_end(account, task)
    assert_one(account, kind, value)
    assert value["import_task_id"]
    assert (value["sample_count"], value["version_number"]) == (100, 2 if kind == "version" else 1)
    names = ("dataset_id", "dataset_version_id", "import_task_id")
    assert {name: value[name] for name in names}.items() <= task.xcoms.items()
    assert effects(account, "PublishDatasetVersion") == 1


DEATHS = [("new", False), ("version", True)]
MORE_DEATHS = [("new", True), ("named", False), ("named", True), ("version", False)]
DEATHS += [pytest.param(*each, marks=pytest.mark.slow) for each in MORE_DEATHS]


@pytest.mark.parametrize(("kind", "deferrable"), DEATHS)
def test_the_process_may_die_at_any_point(
    monkeypatch: pytest.MonkeyPatch, kind: str, deferrable: bool
) -> None:
    """Before and after each request and each write into the store."""
    monkeypatch.setenv("AIRFLOW__QIANFAN__SETTLE_SECONDS", "30")
    for point in range(200):
        account = Account()
        account.patch(monkeypatch)
        task = prepare(account, kind, deferrable=deferrable, retries=3)
        left = point

        def pass_point(_: str) -> None:
            nonlocal left
            left -= 1
            if left == -1:
                raise Death

        assert task.store is not None
        account.before = account.after = task.store.before = task.store.after = pass_point
        assert_one(account, kind, run_to_end(account, task))
        if left >= 0:
            break
    else:
        raise AssertionError("there is no end of the points")
    assert point > 15


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "worker"])
@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
@pytest.mark.parametrize("action", CREATES)
def test_each_step_takes_effect_once_although_its_answer_fails(
    account: Account, action: str, fault: dict[str, Any], deferrable: bool
) -> None:
    kind = "version" if action == "CreateDatasetVersion" else "new"
    task = prepare(account, kind, deferrable=deferrable)
    account.fail(action, **fault)
    value = run_to_end(account, task)
    assert_one(account, kind, value)
    has_effect = fault["kind"] in ("lost_answer", "timeout") or fault.get("effect")
    was_lost = action == "CreateImportTask" and has_effect
    assert (value["import_task_id"] is None) is bool(was_lost)
    assert len(account.sent(action)) == (1 if has_effect else 2)


@pytest.mark.parametrize("action", CREATES)
def test_a_lost_answer_is_found_where_reads_lag_behind(account: Account, action: str) -> None:
    kind = "version" if action == "CreateDatasetVersion" else "new"
    task = prepare(account, kind)
    account.advance(60)
    account.fail(action, "lost_answer")
    account.fail("*", "stale", seconds=12.0, count=None)
    assert_one(account, kind, run_to_end(account, task))


@pytest.mark.parametrize("kind", ["new", "version"])
@pytest.mark.parametrize("fault", [None, *CREATES])
def test_without_a_store_a_retry_finds_what_there_is(account: Account, kind: str, fault: str | None) -> None:
    """As Airflow before 3.3."""
    task = prepare(account, kind, store=False, retries=3)
    requests = [0]

    def die(action: str) -> None:
        if action == fault and not requests[0]:
            requests[0] = 1
            raise Death

    account.after = die
    if fault is None:
        account.fail("PublishDatasetVersion", "error", code="AccessDenied", status=403)
    value = run_to_end(account, task, may_fail=True)
    if fault not in CREATES or requests[0] or fault == "PublishDatasetVersion":
        assert_one(account, kind, value)


def test_without_a_store_a_retry_does_not_make_a_second_data_set_of_the_users_name(
    make_account: Callable[..., Account],
) -> None:
    account = make_account(duplicate_dataset_name="allow")
    task = prepare(account, "named", store=False, retries=1)
    account.fail("CreateImportTask", "error", code="AccessDenied", status=403)
    with pytest.raises(QianfanError):
        task.attempt()
    with pytest.raises(QianfanAmbiguousCreateError, match="which has the name 'faq'"):
        task.attempt()
    assert effects(account, "CreateDataset") == 1


@pytest.fixture
def make_account(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Account]:
    monkeypatch.setenv("AIRFLOW__QIANFAN__SETTLE_SECONDS", "30")

    def make(**assumptions: Any) -> Account:
        account = Account(**assumptions)
        account.patch(monkeypatch)
        return account

    return make


ODD = {
    "other lists": {"dataset_list": "rows", "dataset_version_list": "items"},
    "names are not unique": {"duplicate_dataset_name": "allow"},
    "newest first": {"newest_first": True},
    "publishing begins late": {"publish_delay_seconds": 40.0},
    "publishing twice is refused": {"publish_dataset_twice": "refuse"},
}


@pytest.mark.parametrize("assumptions", ODD.values(), ids=ODD)
@pytest.mark.parametrize("action", [None, *CREATES])
@pytest.mark.parametrize("kind", ["new", "named", "version"])
def test_nothing_rests_on_what_the_documents_leave_open(
    make_account: Callable[..., Account], assumptions: dict[str, Any], kind: str, action: str | None
) -> None:
    account = make_account(**assumptions)
    task = prepare(account, kind)
    if action:
        account.fail(action, "lost_answer")
    value = run_to_end(account, task)
    assert value["status"] == "Published"
    assert effects(account, "CreateImportTask") == 1


def test_where_the_version_shows_no_state_a_lost_import_is_told_and_not_repeated(
    make_account: Callable[..., Account],
) -> None:
    account = make_account(dataset_version_has_states=False)
    task = prepare(account, "new", retries=1)
    account.fail("CreateImportTask", "lost_answer")
    for _ in range(2):
        with pytest.raises(QianfanAmbiguousCreateError, match="does not show whether it was"):
            task.attempt()
    assert len(account.sent("CreateImportTask")) == 1


# ---------------------------------------------------------------------- how it ends


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "worker"])
def test_a_failed_import_shows_where_its_errors_are(
    account: Account, deferrable: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    task = prepare(account, "new", files=["bos:/b/fail.jsonl"], deferrable=deferrable)
    with pytest.raises(QianfanTerminalStateError, match=r"ended as ImportFailed: errDownloadUrl https://"):
        run_to_end(account, task)
    assert effects(account, "PublishDatasetVersion") == 0


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "worker"])
def test_an_import_without_samples_is_a_failure_and_is_not_published(
    account: Account, deferrable: bool
) -> None:
    task = prepare(account, "new", files=["bos:/b/empty.jsonl"], deferrable=deferrable)
    with pytest.raises(QianfanTerminalStateError, match="has brought no sample"):
        run_to_end(account, task)
    assert effects(account, "PublishDatasetVersion") == 0


def test_a_publication_that_fails_is_a_failure(account: Account) -> None:
    task = prepare(account, "named", dataset_name="will-fail")
    with pytest.raises(QianfanTerminalStateError, match="ended as PublishFailed"):
        run_to_end(account, task)


def test_the_deadline_holds_over_both_waits(account: Account) -> None:
    task = prepare(account, "new", execution_timeout=timedelta(hours=1.5))
    task.attempt()
    assert task.deferred is not None
    first: Any = task.deferred.trigger
    account.advance(HOUR)
    task.poll()
    assert task.deferred is not None
    second: Any = task.deferred.trigger
    assert second.kind_path == "dataset.VersionPublication"
    assert second.deadline == first.deadline
    with pytest.raises(QianfanExecutionTimeoutError, match="publication of data-set version ds-"):
        task.resume({"status": "timeout", "ids": {}, "carry": second.carry})


# ---------------------------------------------------------------------- clears


@pytest.mark.parametrize("kind", ["new", "named", "version"])
def test_a_clear_imports_anew_into_a_version_of_its_own(account: Account, kind: str) -> None:
    task = prepare(account, kind)
    first = run_to_end(account, task)
    seen = [first["dataset_version_id"]]
    for _ in range(2):
        task.clear()
        again = run_to_end(account, task)
        assert again["dataset_version_id"] not in seen
        assert (again["dataset_id"] == first["dataset_id"]) is (kind != "new")
        seen.append(again["dataset_version_id"])
    assert effects(account, "CreateImportTask") == 3


@pytest.mark.parametrize("kind", ["new", "named", "version"])
def test_a_clear_attaches_to_an_import_that_goes_on(account: Account, kind: str) -> None:
    task = prepare(account, kind)
    task.attempt()
    task.clear()
    assert_one(account, kind, run_to_end(account, task))


@pytest.mark.parametrize("moment", ["importing", "imported", "published"])
@pytest.mark.parametrize("kind", ["new", "named", "version"])
def test_other_files_are_not_mixed_with_those_of_the_attempt_before(
    account: Account, kind: str, moment: str
) -> None:
    task = prepare(account, kind)
    if moment == "published":
        first = run_to_end(account, task)["dataset_version_id"]
    else:
        task.attempt()
        first = task.xcoms["dataset_version_id"]
        if moment == "imported":
            account.advance(HOUR)
    task.clear(files=["bos:/b/other.jsonl"])
    value = run_to_end(account, task)
    assert value["dataset_version_id"] != first
    for version in (first, value["dataset_version_id"]):
        assert sum(each["versionId"] == version for each in account.emulator.objects("import_task")) == 1


# ---------------------------------------------------------------------- single Actions


def version_of(account: Account) -> str:
    made = account.make(
        ROUTE, "CreateDataset", datasetName="mine", dataFormat="Text", storageType="sysStorage"
    )
    return str(made["versionId"])


@pytest.mark.parametrize("fault", [LOST["answer lost"], LOST["unreadable"]], ids=["lost", "unreadable"])
def test_an_import_into_a_version_of_others_is_never_sent_twice_nor_adopted(
    account: Account, fault: dict[str, Any]
) -> None:
    version = version_of(account)
    task = task_of(QianfanCreateImportTaskOperator, {"dataset_version_id": version, "files": FILES})
    account.fail("CreateImportTask", **fault)
    with pytest.raises(QianfanAmbiguousCreateError, match="the state is Importing"):
        task.attempt()
    task.clear()
    with pytest.raises(QianfanAmbiguousCreateError, match=version):
        task.attempt()
    assert effects(account, "CreateImportTask") == 1
    account.advance(HOUR)
    task.clear(on_clear="restart")
    assert task.attempt()["import_task_id"]
    assert effects(account, "CreateImportTask") == 2


@pytest.mark.parametrize("fault", [LOST["reset"], LOST["5xx before the effect"]], ids=["reset", "5xx"])
def test_an_import_that_took_no_effect_is_sent_again(account: Account, fault: dict[str, Any]) -> None:
    version = version_of(account)
    task = task_of(QianfanCreateImportTaskOperator, {"dataset_version_id": version, "files": FILES})
    account.fail("CreateImportTask", **fault)
    task_id = task.attempt()["import_task_id"]
    task.state = "failed"
    assert task.attempt() == {"import_task_id": task_id, "dataset_version_id": version}
    assert effects(account, "CreateImportTask") == 1


def exportable(account: Account) -> str:
    version = version_of(account)
    account.make(ROUTE, "CreateImportTask", versionId=version, files=FILES)
    account.advance(HOUR)
    return version


@pytest.mark.parametrize("fault", ["lost_answer", "reset", "server_error"])
def test_an_export_in_doubt_is_never_sent_twice(account: Account, fault: str) -> None:
    task = task_of(QianfanCreateExportTaskOperator, {"dataset_version_id": exportable(account)}, retries=1)
    account.fail("CreateExportTask", fault)
    with pytest.raises(QianfanAmbiguousCreateError, match="nothing shows whether it was"):
        task.attempt()
    with pytest.raises(QianfanAmbiguousCreateError, match='on_clear="restart"'):
        task.attempt()
    assert len(account.sent("CreateExportTask")) == 1
    task.clear(on_clear="restart")
    assert task.attempt()["export_task_id"]


def test_an_export_is_made_once(account: Account) -> None:
    task = task_of(QianfanCreateExportTaskOperator, {"dataset_version_id": exportable(account)}, retries=1)
    first = task.attempt()
    assert task.attempt() == first
    assert effects(account, "CreateExportTask") == 1


@pytest.mark.parametrize("twice", ["refuse", "ignore"])
@pytest.mark.parametrize("fault", [None, *LOST.values()], ids=["none", *LOST])
def test_publishing_happens_once(
    make_account: Callable[..., Account], fault: dict[str, Any] | None, twice: str
) -> None:
    account = make_account(publish_dataset_twice=twice)
    version = exportable(account)
    task = task_of(QianfanPublishDatasetVersionOperator, {"dataset_version_id": version}, retries=2)
    if fault:
        account.fail("PublishDatasetVersion", **fault)
    assert task.attempt() == {"dataset_version_id": version}
    assert task.attempt() == {"dataset_version_id": version}
    account.advance(HOUR)
    assert task.attempt() == {"dataset_version_id": version}
    assert effects(account, "PublishDatasetVersion") == 1


def test_a_publication_that_failed_is_tried_again(account: Account) -> None:
    made = account.make(
        ROUTE, "CreateDataset", datasetName="will-fail", dataFormat="Text", storageType="sysStorage"
    )
    account.make(ROUTE, "CreateImportTask", versionId=made["versionId"], files=FILES)
    account.advance(HOUR)
    task = task_of(QianfanPublishDatasetVersionOperator, {"dataset_version_id": made["versionId"]}, retries=1)
    task.attempt()
    account.advance(HOUR)
    task.attempt()
    assert effects(account, "PublishDatasetVersion") == 2


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
@pytest.mark.parametrize("name", [None, "faq"])
def test_a_data_set_is_made_once_with_the_version_that_comes_with_it(
    account: Account, name: str | None, fault: dict[str, Any]
) -> None:
    task = task_of(QianfanCreateDatasetOperator, {"data_format": "Text", "dataset_name": name}, retries=1)
    account.fail("CreateDataset", **fault)
    first = task.attempt()
    assert task.attempt() == first
    (made,), (version,) = account.emulator.objects("dataset"), account.emulator.objects("dataset_version")
    ids = {"dataset_id": made["datasetId"], "dataset_version_id": version["versionId"]}
    assert first == {**ids, "dataset_name": made["datasetName"]}


@pytest.mark.parametrize("read", [1, 2, 6])
@pytest.mark.parametrize("action", ["CreateImportTask", "PublishDatasetVersion"])
@pytest.mark.parametrize("kind", ["new", "version"])
def test_a_word_that_nobody_knows_does_not_say_that_it_has_begun(
    account: Account, kind: str, action: str, read: int
) -> None:
    """The request is lost, and one of the reads after it shows a word that may stand for anything."""
    task = prepare(account, kind, execution_timeout=timedelta(days=1))
    reads = itertools.count(1)

    def before_the_request(called: str) -> None:
        if called == action:
            account.before = before_a_read

    def before_a_read(called: str) -> None:
        if called == "DescribeDatasetVersion" and next(reads) == read:
            account.fail(called, "unknown_status", word="Checking")

    account.before = before_the_request
    account.fail(action, "server_error")
    assert_one(account, kind, run_to_end(account, task, may_fail=True))
    assert effects(account, action) == 1
