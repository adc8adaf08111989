"""The ledger, which judges the crash tests, tells what was made and by whom, also where it was undone."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

from airflow_qianfan.api.actions.model import CreateCustomModel, DeleteModel
from airflow_qianfan.api.client import QianfanClient
from airflow_qianfan.api.config import QianfanConfig
from airflow_qianfan.hooks.qianfan import QianfanHook
from local_stack.ledger import Source, read_ledger
from local_stack.qianfan import LocalQianfan


def test_a_version_that_was_made_and_deleted_again_is_told_by_its_training(emulator, service):
    def origin(task: str) -> str:
        return f"Airflow: nightly / run-1 / {task}[3] [airflow:abcdefghijkl]"

    def publish() -> Any:
        request = CreateCustomModel(
            model_set_id=model_set,
            source_type="Train",
            train_meta={"taskId": training},
            description=origin("publish"),
        )
        return QianfanHook().call(request).model_id

    job = service.job(description=origin("train"))
    training, model_set = service.task(job_id=job), service.model_set()
    emulator.advance(10**6)
    gone, kept = publish(), publish()
    QianfanHook().call(DeleteModel(model_id=gone))

    given = json.loads(emulator.connection_json)
    config = QianfanConfig(
        access_key_id=given["login"], secret_access_key=given["password"], endpoint=emulator.endpoint
    )
    qianfan = SimpleNamespace(journal=lambda: emulator.journal, client=lambda: QianfanClient(config))
    ledger = read_ledger(cast(LocalQianfan, qianfan))
    source = Source("nightly", "run-1", 3)
    assert ledger.trainings == {source: [training]}
    assert ledger.status == {training: "Done"}
    assert ledger.versions == {source: [kept]}
    assert ledger.undone == {source: [gone]}
    assert ledger.of("undone", "nightly", "run-1") == [gone]
