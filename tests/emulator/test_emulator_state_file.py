"""What is kept over a restart, and what is refused. Kinds of records are what the file is made of."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass

import httpx
import pytest
from over_http import JOB, create_task, post

from airflow_qianfan.emulator import QianfanEmulator, StateError
from airflow_qianfan.emulator.records import Record
from airflow_qianfan.emulator.store import Store


def test_state_file_keeps_all_over_a_restart(tmp_path):
    path = tmp_path / "state"
    with QianfanEmulator(task_seconds=100, state=path) as emulator:
        task_id = create_task(emulator)
        body = {"modelSetName": "set", "modelType": "Text2Text"}
        post(emulator, "CreateCustomModelSet", body, route="model")
        emulator.advance(50)
        post(emulator, "StopFineTuningTask", {"taskId": task_id})
        emulator.add_dataset("ds-1")
        before = (emulator.jobs, emulator.tasks, emulator.journal)
    with QianfanEmulator(task_seconds=1, state=path) as emulator:
        assert (emulator.jobs, emulator.tasks, emulator.journal) == before
        assert emulator.tasks[0]["runStatus"] == "Stopped"
        assert emulator.objects("dataset_version")[0]["publishStatus"] == "Published"
        assert httpx.get(emulator.endpoint + "/_emulator/clock").json()["offset"] == 50
        post(emulator, "DeleteFineTuningTask", {"taskId": task_id})
        emulator.reset()
    with QianfanEmulator(state=path) as emulator:
        assert (emulator.jobs, emulator.tasks, emulator.journal) == ([], [], [])


def test_state_file_belongs_to_one_emulator(tmp_path):
    path = tmp_path / "state"
    with QianfanEmulator(state=path), pytest.raises(StateError, match="another process"):
        QianfanEmulator(state=path).start()


@pytest.mark.parametrize("content", [b"not a database" * 100, b'{"jobs": {}}'])
def test_broken_state_file_is_an_error(tmp_path, content):
    path = tmp_path / "state"
    path.write_bytes(content)
    with pytest.raises(StateError, match="state"):
        QianfanEmulator(state=path).start()
    assert path.read_bytes() == content
    with pytest.raises(StateError, match="cannot open"):
        QianfanEmulator(state=tmp_path / "missing" / "state").start()


def test_damaged_and_foreign_state_files_are_errors(tmp_path):
    path = tmp_path / "state"
    with QianfanEmulator(state=path) as emulator:
        for number in range(200):
            post(emulator, "CreateFineTuningJob", {**JOB, "name": f"job{number}"})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StateError):
        QianfanEmulator(state=path).start()
    foreign = tmp_path / "foreign"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE mine (a)")
    connection.close()
    with pytest.raises(StateError, match="not written by this version"):
        QianfanEmulator(state=foreign).start()


def change(path, sql, *values):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(sql, values)


def test_state_file_with_a_kind_of_another_version_is_an_error(tmp_path):
    path = tmp_path / "state"
    with QianfanEmulator(state=path) as emulator:
        post(emulator, "CreateFineTuningJob", JOB)
    change(path, "INSERT INTO record VALUES ('castle', 'castle-1', '{}')")
    with pytest.raises(StateError, match=r"kind 'castle', which this version does not know"):
        QianfanEmulator(state=path).start()
    change(path, "DELETE FROM record WHERE kind = 'castle'")
    with QianfanEmulator(state=path) as emulator:
        assert len(emulator.jobs) == 1


@pytest.mark.parametrize("data", ['{"id": "job-1"}', '{"colour": "red"}'])
def test_state_file_with_other_members_is_an_error_that_names_no_function(tmp_path, data):
    path = tmp_path / "state"
    with QianfanEmulator(state=path):
        pass
    change(path, "INSERT INTO record VALUES ('job', 'job-1', ?)", data)
    with pytest.raises(StateError, match="objects of the kind 'job'") as caught:
        QianfanEmulator(state=path).start()
    assert "__init__" not in str(caught.value)


@dataclass(kw_only=True)
class Castle(Record):
    """A kind of records that only this test knows."""

    kind = "test_castle"
    heading = "Castles"
    columns = ("castleId", "state")

    towers: int

    def show(self, view):
        return {"castleId": self.id, "state": "Built" if view.now > self.created else "Planned"}


def test_a_new_kind_of_records_needs_nothing_but_its_class(tmp_path, monkeypatch):
    path = tmp_path / "state"
    store = Store(path)
    store.open()
    store.put(Castle(id="castle-1", created=1.0, towers=4, request={"towers": 4}))
    store.commit({})
    store.close()
    with QianfanEmulator(state=path) as emulator:
        assert emulator.objects("test_castle") == [
            {"castleId": "castle-1", "state": "Built", "request": {"towers": 4}}
        ]
        page = httpx.get(emulator.endpoint).text
        assert "Castles" in page
        assert "castle-1" in page
        with pytest.raises(ValueError, match=r"no kind 'moat'; there are .*model_set"):
            emulator.objects("moat")


def test_two_kinds_of_records_cannot_have_one_name():
    with pytest.raises(TypeError, match="named 'job'"):
        type("Other", (Record,), {"kind": "job"})
