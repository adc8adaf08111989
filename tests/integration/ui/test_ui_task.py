"""What the tab of a task instance shows."""

from __future__ import annotations

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from airflow_qianfan.operators.action import QianfanActionOperator
from airflow_qianfan.operators.compute_unit import QianfanPurchaseComputeUnitOperator
from airflow_qianfan.operators.finetuning import QianfanFineTuningOperator
from airflow_qianfan.plugins.runs import KINDS
from airflow_qianfan.sensors.finetuning import QianfanFineTuningTaskSensor


@pytest.fixture
def trained(start_emulator, nightly):
    """A DAG whose second run has just ended, and the emulator."""
    emulator = start_emulator(task_seconds=0.5, model_seconds=0.1)
    nightly("trained", day=1)
    return nightly("trained", day=2, hyper_parameter_config={"epoch": 2}), emulator


def test_training_that_is_done(ui, trained):
    run_id, emulator = trained
    view = ui.task("trained", run_id, "train")
    training, model = emulator.tasks[-1], emulator.models[-1]
    shown = view["object"]
    assert (shown["id"], shown["state"], shown["phase"]) == (training["taskId"], "Done", "succeeded")
    assert (shown["progress"], shown["is_current"], view["goes_on"]) == (1.0, True, False)
    assert [(one["step"], one["loss"]) for one in shown["checkpoints"]] == [
        (one["step"], one["trainingLoss"]) for one in training["checkpointList"]
    ]
    assert shown["best_step"] == training["checkpointList"][-1]["step"]
    assert view["published"] == [
        {"model_id": model["modelId"], "step": shown["best_step"], "task_id": "publish"}
    ]
    assert view["hyper_parameters"] == {"epoch": "2"}
    assert view["dataset"] == {"versions": "ds-0123456789abcdef", "sourceType": "Platform"}
    assert view["ids"] == {
        "fine_tuning_task_id": training["taskId"],
        "fine_tuning_job_id": training["jobId"],
    }
    (console, visualdl) = view["links"]
    assert console["url"].startswith(emulator.endpoint)
    assert training["taskId"] in console["url"]
    assert visualdl["name"] == "visualdl"


def test_earlier_runs_of_the_same_task_are_next_to_it(ui, trained):
    run_id, emulator = trained
    (earlier,) = ui.task("trained", run_id, "train")["earlier"]
    told = {name: float(value.rstrip("%")) for name, value in emulator.tasks[0]["metrics"].items()}
    assert earlier["metrics"] == pytest.approx({name: value / 100 for name, value in told.items()})
    assert earlier["task"]["run_id"] != run_id
    assert ui.task("trained", earlier["task"]["run_id"], "train")["earlier"] == []


def test_other_tasks_of_the_run(ui, trained):
    run_id, emulator = trained
    chain = ui.task("trained", run_id, "train")["chain"]
    assert [one["task"]["task_id"] for one in chain] == ["model_set", "train", "publish"]
    assert {one["state"] for one in chain} == {"success"}

    published = ui.task("trained", run_id, "publish")["object"]
    assert (published["kind"], published["id"]) == ("model_id", emulator.models[-1]["modelId"])

    calls = len(emulator.journal)
    view = ui.task("trained", run_id, "other")
    assert (view["is_ours"], view["object"], view["chain"]) == (False, None, [])
    assert len(emulator.journal) == calls, "there is nothing to ask"

    query = {"dag_id": "trained", "run_id": run_id}
    assert ui.get("api/task", **query, task_id="nowhere").status_code == 404
    assert ui.get("api/task", **query, task_id="train", map_index="{MAP_INDEX}").status_code == 422


def test_viewers_share_one_call(ui, trained):
    run_id, emulator = trained
    before = len(emulator.journal)
    for _ in range(5):
        ui.task("trained", run_id, "train")
    assert [entry["action"] for entry in emulator.journal[before:]] == ["DescribeFineTuningTask"]


def test_service_that_does_not_answer_leaves_what_airflow_remembers(ui, trained):
    run_id, emulator = trained
    emulator.fail_next("DescribeFineTuningTask", kind="error", status=403, code="AccessDenied", count=9)
    view = ui.task("trained", run_id, "train")
    assert "AccessDenied" in view["problem"]
    assert (view["object"]["is_current"], view["object"]["state"]) == (False, "Done")
    assert view["object"]["checkpoints"] != []
    assert view["object"]["metrics"] != {}


def test_visualdl_is_led_on_to(ui, trained):
    run_id, emulator = trained
    query = {"dag_id": "trained", "run_id": run_id, "task_id": "train"}
    answer = ui.get("visualdl", **query)
    training_id = ui.task(**query)["ids"]["fine_tuning_task_id"]
    (page,) = (task["vdlLink"] for task in emulator.tasks if task["taskId"] == training_id)
    assert answer.status_code == 303
    assert answer.headers["location"] == page.replace("https://console.bce.baidu.com", emulator.endpoint)
    _forget_answers()
    emulator.fail_next("DescribeFineTuningTask", kind="error", status=403, code="AccessDenied", count=9)
    refused = ui.get("visualdl", **query)
    assert refused.status_code == 404
    assert "AccessDenied" in refused.text


def test_task_that_trains_nothing_has_no_page_in_visualdl(ui, trained):
    run_id, _ = trained
    answer = ui.get("visualdl", dag_id="trained", run_id=run_id, task_id="publish")
    assert answer.status_code == 404
    assert "no page in VisualDL" in answer.text


def test_training_on_its_way(ui, emulator, service, run_dag):
    task_id = service.task()
    emulator.advance(60)
    with DAG("on_its_way", schedule=None) as dag:
        QianfanFineTuningTaskSensor(task_id="wait", fine_tuning_task_id=task_id, timeout=0, poke_interval=1)
        EmptyOperator(task_id="other")
    run_dag(dag)
    run_id = _only_run("on_its_way")

    waiting = ui.task("on_its_way", run_id, "wait")
    assert (waiting["object"]["state"], waiting["object"]["progress"]) == ("Waiting", None)
    assert waiting["object"]["is_waiting"]
    # Whatever became of the task, the training goes on, and so it is worth asking again.
    assert (waiting["state"], waiting["goes_on"]) == ("failed", True)

    emulator.advance(1800)
    _forget_answers()
    running = ui.task("on_its_way", run_id, "wait")["object"]
    assert (running["state"], running["phase"], running["is_waiting"]) == ("Running", "active", False)
    assert 0 < running["progress"] < 1
    assert running["waited"] is not None


@pytest.mark.parametrize("id_name", sorted(KINDS))
def test_task_about_an_object_that_does_not_exist_says_so(ui, emulator, run_dag, id_name):
    class ReadOperator(QianfanActionOperator):
        """Fails, since there is no such object; the tab finds its id among its arguments."""

        template_fields = (*QianfanActionOperator.template_fields, id_name)

        def __init__(self, **kwargs):
            setattr(self, id_name, kwargs.pop(id_name))
            super().__init__(**kwargs)

    with DAG(f"about_{id_name}", schedule=None) as dag:
        ReadOperator(task_id="read", route="/v2/none", action="DescribeNothing", **{id_name: "no-such"})
    run_dag(dag)
    view = ui.task(f"about_{id_name}", _only_run(f"about_{id_name}"), "read")
    assert (view["object"]["kind"], view["object"]["id"]) == (id_name, "no-such")
    assert view["object"]["is_current"] is False


def test_compute_unit(ui, emulator, service, run_dag):
    with DAG("bought", schedule=None) as dag:
        QianfanPurchaseComputeUnitOperator(
            task_id="buy",
            compute_unit_count=1,
            compute_unit_config={"region": "bj", "type": "gpu-1"},
            billing={"paymentTiming": "Postpaid"},
        )
    run_dag(dag)
    shown = ui.task("bought", _only_run("bought"), "buy")["object"]
    assert (shown["kind"], shown["state"], shown["phase"]) == ("compute_unit_id", "Creating", "active")


def test_operator_that_has_not_created_anything(ui, emulator, run_dag):
    emulator.fail_next("CreateFineTuningJob", kind="error", status=403, code="AccessDenied")
    with DAG("refused", schedule=None) as dag:
        QianfanFineTuningOperator(
            task_id="train",
            model="ERNIE-Speed-8K",
            train_mode="SFT",
            hyper_parameter_config={},
            dataset_config={},
            validate="off",
        )
    run_dag(dag)
    view = ui.task("refused", _only_run("refused"), "train")
    assert (view["is_ours"], view["object"], view["state"]) == (True, None, "failed")


def _only_run(dag_id):
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return session.scalars(select(DagRun.run_id).where(DagRun.dag_id == dag_id)).one()


def _forget_answers():
    from airflow_qianfan.plugins.reader import forget

    forget()
