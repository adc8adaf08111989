"""The views behind Airflow's own API server, in this process: real users and tokens, a real emulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from airflow.models.dagrun import DagRun
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.utils.session import create_session
from sqlalchemy import select
from starlette.testclient import TestClient

from airflow_qianfan.operators.finetuning import QianfanFineTuningOperator
from airflow_qianfan.operators.model import (
    QianfanCreateCustomModelOperator,
    QianfanCreateCustomModelSetOperator,
)

TRAINING = {
    "model": "ERNIE-Speed-8K",
    "train_mode": "SFT",
    "parameter_scale": "LoRA",
    "hyper_parameter_config": {"epoch": 1, "learningRate": 0.0003},
    "dataset_config": {"sourceType": "Platform", "versions": [{"versionId": "ds-0123456789abcdef"}]},
    "poll_interval": 0.1,
    "max_poll_interval": 0.1,
    "validate": "off",
}


class Ui:
    """Asks the routes as the browser of a user does.

    :param client: of the API server.
    """

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def token(self, role: str | None, name: str = "someone") -> str:
        """Return the token of a user who has a role; without one, the user may do nothing."""
        from airflow.api_fastapi.app import get_auth_manager
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

        return get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=name, role=role))

    def get(
        self, path: str, *, role: str | None = "admin", user: str = "someone", **query: Any
    ) -> httpx.Response:
        """Ask with the token in the header."""
        headers = {"Authorization": f"Bearer {self.token(role, user)}"}
        return self.client.get(
            f"/qianfan/{path}", params=query or None, headers=headers, follow_redirects=False
        )

    def read(self, path: str, **query: Any) -> Any:
        """Return an answer of an administrator's."""
        answer = self.get(path, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def task(self, dag_id: str, run_id: str, task_id: str, **query: Any) -> Any:
        """Return what the tab of a task instance shows."""
        return self.read("api/task", dag_id=dag_id, run_id=run_id, task_id=task_id, **query)


@pytest.fixture(scope="session")
def _server(_database: None) -> Iterator[TestClient]:
    from airflow.api_fastapi.app import create_app

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__AUTH_MANAGER", "rights.AuthManager")
        app = create_app("core")
    with TestClient(app) as client:
        yield client


@pytest.fixture
def ui(_server: TestClient) -> Ui:
    from airflow_qianfan.plugins.reader import forget

    forget()
    _server.cookies.clear()
    return Ui(_server)


@pytest.fixture
def nightly(run_dag: Callable[..., Any]) -> Callable[..., str]:
    """Run a DAG that trains and publishes, and has a task that has nothing to do with Qianfan."""

    def run(dag_id: str, *, day: int = 1, **arguments: Any) -> str:
        """Return the run id."""
        with DAG(dag_id, schedule=None) as dag:
            model_set = QianfanCreateCustomModelSetOperator(
                task_id="model_set", model_set_name=dag_id, model_type="Text2Text", if_exists="use"
            )
            train = QianfanFineTuningOperator(task_id="train", **{**TRAINING, **arguments})
            publish = QianfanCreateCustomModelOperator(
                task_id="publish",
                model_set_id=model_set.output["model_set_id"],
                fine_tuning_task_id=train.output["fine_tuning_task_id"],
                checkpoint_step=train.output["best_checkpoint_step"],
            )
            model_set >> train
            publish >> EmptyOperator(task_id="other")
        moment = datetime(2026, 1, day, tzinfo=UTC)
        ended = run_dag(dag, logical_date=moment)
        assert ended.state == "success", ended.errors
        with create_session() as session:
            found = select(DagRun.run_id).where(DagRun.dag_id == dag_id, DagRun.logical_date == moment)
            return session.scalars(found).one()

    return run
