import inspect
import json
import re
from datetime import timedelta

import pytest
from airflow.sdk import DAG, BaseOperator

from airflow_qianfan.emulator import Choices
from airflow_qianfan.exceptions import (
    QianfanAmbiguousCreateError,
    QianfanAuthenticationError,
    QianfanNotFoundError,
    QianfanOperationFailedError,
    QianfanPermissionError,
    QianfanRequestError,
    QianfanTerminalStateError,
    QianfanValidationError,
    QianfanWaitTimeoutError,
)
from airflow_qianfan.operators import action, finetuning, model
from airflow_qianfan.operators.action import QianfanActionOperator
from airflow_qianfan.operators.finetuning import (
    QianfanCreateFineTuningJobOperator,
    QianfanCreateFineTuningTaskOperator,
    QianfanDeleteFineTuningJobOperator,
    QianfanDeleteFineTuningTaskOperator,
    QianfanDescribeFineTuningJobsOperator,
    QianfanDescribeFineTuningTaskOperator,
    QianfanDescribeFineTuningTasksOperator,
    QianfanFineTuningOperator,
    QianfanStopFineTuningTaskOperator,
)
from airflow_qianfan.operators.model import (
    QianfanCreateCustomModelOperator,
    QianfanCreateCustomModelSetOperator,
    QianfanDeleteModelOperator,
    QianfanDescribeModelOperator,
    QianfanDescribeModelSetOperator,
)
from airflow_qianfan.sensors import finetuning as finetuning_sensors
from airflow_qianfan.sensors import model as model_sensors

HOUR = 3600.0
MARK = r"\[airflow:[0-9a-f]{12}\]"
RETRIES = {"retries": 2, "retry_delay": timedelta(0)}
JOB = {"name": "nightly", "model": "ERNIE-Speed-8K", "train_mode": "SFT"}
HYPER = {"epoch": 3, "learningRate": 0.0003}
DATASET = {
    "sourceType": "Platform",
    "versions": [{"versionId": "ds-1", "samplingRate": 0.5}],
    "splitRatio": 20,
}
FILES = {"bucket": "b", "objectPath": "p/", "modelFormat": "Safetensors", "modelApplicationType": "chat"}

CLASSES = [
    member
    for module in (action, finetuning, model, finetuning_sensors, model_sensors)
    for member in vars(module).values()
    if inspect.isclass(member)
    and issubclass(member, BaseOperator)
    and member.__module__.startswith(module.__name__)
]


@pytest.mark.parametrize("operator", CLASSES)
def test_exactly_the_fields_documented_as_templated_are_templated(operator):
    documented = {
        match[1]
        for base in operator.__mro__
        if base.__module__.startswith("airflow_qianfan")
        for match in re.finditer(r":param (\w+):((?:(?!:param|\n\n).)*)", base.__doc__ or "", re.DOTALL)
        if "(templated)" in match[2]
    }
    assert documented == set(operator.template_fields)


def actions_of(emulator):
    return [call["action"] for call in emulator.journal]


# --- creating


def test_create_job_renders_its_fields_and_returns_the_id(emulator, run_task):
    run = run_task(
        QianfanCreateFineTuningJobOperator,
        qianfan_conn_id="qianfan_{{ params.c }}",
        name="{{ params.p }}-job",
        model="{{ params.p }}-model",
        train_mode="{{ params.p }}-mode",
        description="{{ params.p }} of {{ dag.dag_id }}",
        params={"c": "default", "p": "my"},
    )
    (job,) = emulator.jobs
    assert re.fullmatch(rf"my of dag_\d+ {MARK}", job["description"])
    assert job["request"] == {
        "name": "my-job",
        "model": "my-model",
        "trainMode": "my-mode",
        "description": job["description"],
    }
    assert run.value == {"fine_tuning_job_id": job["jobId"], "name": "my-job"}
    assert run.xcom["fine_tuning_job_id"] == job["jobId"]


@pytest.mark.parametrize("as_text", [False, True], ids=["objects", "json text"])
def test_create_task_sends_every_field_rendered(emulator, service, run_task, as_text):
    base = service.task("base")
    emulator.advance(2 * HOUR)
    step = emulator.tasks[0]["checkpointList"][0]["step"]
    objects = {
        "hyper_parameter_config": {"epoch": "{{ params.epoch }}", "Packing": True},
        "dataset_config": {**DATASET, "versions": [{"versionId": "{{ params.data }}", "samplingRate": 0.5}]},
        "corpus_config": {"copyData": False, "config": [{"proportion": "1:{{ params.epoch }}"}]},
        "model_config": {"any": "{{ params.data }}"},
        "resource_config": {"resourceId": "prl-{{ params.epoch }}", "nodeNum": 2},
    }
    run = run_task(
        QianfanCreateFineTuningTaskOperator,
        fine_tuning_job_id="{{ params.job }}",
        parameter_scale="{{ params.scale }}",
        increment_task_id="{{ params.base }}",
        increment_checkpoint_step="{{ params.step }}",
        **{name: json.dumps(value) if as_text else value for name, value in objects.items()},
        params={
            "job": service.job(),
            "epoch": "5",
            "data": "ds-9",
            "scale": "LoRA",
            "base": base,
            "step": step,
        },
    )
    task = emulator.tasks[1]
    assert task["request"] == {
        "jobId": task["jobId"],
        "parameterScale": "LoRA",
        "incrementTaskId": base,
        "incrementCheckpointStep": step,
        "hyperParameterConfig": {"epoch": "5", "Packing": True},
        "datasetConfig": {
            "sourceType": "Platform",
            "versions": [{"versionId": "ds-9", "samplingRate": 0.5}],
            "splitRatio": 20,
        },
        "corpusConfig": {"copyData": False, "config": [{"proportion": "1:5"}]},
        "modelConfig": {"any": "ds-9"},
        "resourceConfig": {"resourceId": "prl-5", "nodeNum": 2},
    }
    assert run.value == {"fine_tuning_task_id": task["taskId"], "fine_tuning_job_id": task["jobId"]}
    assert {name: run.xcom[name] for name in run.value} == run.value


@pytest.mark.parametrize("labels", [["{{ params.p }}", "b"], '["{{ params.p }}", "b"]'])
def test_create_model_set_renders_its_fields_and_returns_the_id(emulator, run_task, labels):
    run = run_task(
        QianfanCreateCustomModelSetOperator,
        model_set_name="{{ params.p }}-set",
        model_type="{{ params.type }}",
        labels=labels,
        params={"p": "my", "type": "Text2Image"},
    )
    assert run.value == {"model_set_id": run.xcom["model_set_id"], "model_set_name": "my-set"}
    shown = run_task(QianfanDescribeModelSetOperator, model_set_name="{{ params.n }}", params={"n": "my-set"})
    assert shown.value == {
        "model_set_id": run.value["model_set_id"],
        "model_set_name": "my-set",
        "model_type": "Text2Image",
        "labels": ["my", "b"],
        "model_ids": [],
    }


def test_publishing_a_training_sends_every_field_rendered(emulator, service, run_task):
    task_id, model_set_id = service.task(), service.model_set()
    emulator.advance(2 * HOUR)
    step = emulator.tasks[0]["checkpointList"][0]["step"]
    run = run_task(
        QianfanCreateCustomModelOperator,
        model_set_id="{{ params.set }}",
        fine_tuning_task_id="{{ params.task }}",
        checkpoint_step="{{ params.step }}",
        description="by {{ params.who }}",
        resource_config={"resourceId": "{{ params.who }}"},
        params={"set": model_set_id, "task": task_id, "step": step, "who": "me"},
    )
    (version,) = emulator.models
    assert re.fullmatch(f"by me {MARK}", version["description"])
    assert version["request"] == {
        "modelSetId": model_set_id,
        "sourceType": "Train",
        "description": version["description"],
        "trainMeta": {"taskId": task_id, "checkpointStep": step, "step": step},
        "resourceConfig": {"resourceId": "me"},
    }
    assert run.value == {"model_id": version["modelId"], "model_set_id": model_set_id}
    assert {name: run.xcom[name] for name in run.value} == run.value


@pytest.mark.parametrize(
    "train_meta",
    [
        {"taskId": "{{ params.task }}", "step": "{{ params.step }}"},
        '{"taskId": "{{ params.task }}", "checkpointStep": {{ params.step }}}',
    ],
    ids=["object", "json text"],
)
def test_train_meta_may_be_given_as_the_page_describes_it(emulator, service, run_task, train_meta):
    task_id = service.task()
    emulator.advance(2 * HOUR)
    step = emulator.tasks[0]["checkpointList"][0]["step"]
    run_task(
        QianfanCreateCustomModelOperator,
        model_set_id=service.model_set(),
        train_meta=train_meta,
        params={"task": task_id, "step": step},
    )
    (version,) = emulator.models
    assert version["request"]["sourceType"] == "Train"
    assert version["request"]["trainMeta"] == {"taskId": task_id, "checkpointStep": step, "step": step}


CHAT = {
    "historyQATemplate": "Q: {question}\\nA: {answer}",
    "latestQuestionTemplate": "Q: {question}",
    "promptTemplate": "Be kind. {input}",
}
EVERY_IMPORT_FIELD = {
    "bucket": "bucket-1",
    "objectPath": "path/to/model/",
    "modelFormat": "HuggingFace.vLLM",
    "modelApplicationType": "chat",
    "advanceConf": "conf-1",
    "transformerVersion": "4.40.2",
    "vLLMVersion": "0.6.3",
    "enablePromptAutoConcat": False,
    "basicModelName": "DeepSeek-R1-Distill-Qwen-32B",
    "advancedSettings": {"samplingStrategy": "multinomialSampling", "numSampling": 1, "numBeams": 2},
}


@pytest.mark.parametrize("as_text", [False, True], ids=["object", "json text"])
@pytest.mark.parametrize(
    "template",
    [{"chatConf": CHAT}, {"customSpec": {"displayName": "mine", "fileName": "spec-1.py"}}],
    ids=["chatConf", "customSpec"],
)
def test_importing_files_sends_every_field_of_the_page(emulator, service, run_task, template, as_text):
    expected = EVERY_IMPORT_FIELD | template
    given = {**expected, "bucket": "bucket-{{ params.n }}"}
    run = run_task(
        QianfanCreateCustomModelOperator,
        model_set_id=service.model_set(),
        source_type="Import",
        import_meta=json.dumps(given) if as_text else given,
        resource_config='{"resourceId": "prl-{{ params.n }}"}',
        params={"n": 1},
    )
    (version,) = emulator.models
    assert version["request"] == {
        "modelSetId": run.value["model_set_id"],
        "sourceType": "Import",
        "importMeta": expected,
        "description": version["description"],
        "resourceConfig": {"resourceId": "prl-1"},
    }


INVALID = [
    (QianfanCreateFineTuningJobOperator, {**JOB, "name": "{{ 'x' * 21 }}"}, "name"),
    (QianfanCreateFineTuningJobOperator, {**JOB, "name": "x"}, "name"),
    (QianfanCreateFineTuningJobOperator, {**JOB, "model": ""}, "model"),
    (QianfanCreateFineTuningJobOperator, {**JOB, "description": "x" * 501}, "description"),
    (
        QianfanCreateFineTuningTaskOperator,
        {"fine_tuning_job_id": "", "hyper_parameter_config": {}, "dataset_config": DATASET},
        "jobId",
    ),
    (
        QianfanCreateFineTuningTaskOperator,
        {"fine_tuning_job_id": "job-1", "hyper_parameter_config": "{'a': 1}", "dataset_config": DATASET},
        "hyperParameterConfig",
    ),
    (
        QianfanCreateFineTuningTaskOperator,
        {"fine_tuning_job_id": "job-1", "hyper_parameter_config": {}, "dataset_config": {"versions": []}},
        "datasetConfig.sourceType",
    ),
    (
        QianfanCreateFineTuningTaskOperator,
        {
            "fine_tuning_job_id": "job-1",
            "hyper_parameter_config": {},
            "dataset_config": DATASET,
            "increment_checkpoint_step": "last",
        },
        "incrementCheckpointStep",
    ),
    (QianfanDescribeFineTuningTaskOperator, {"fine_tuning_task_id": ""}, "taskId"),
    (QianfanStopFineTuningTaskOperator, {"fine_tuning_task_id": ""}, "taskId"),
    (QianfanDescribeModelSetOperator, {}, "modelSetId"),
    (
        QianfanCreateCustomModelOperator,
        {
            "model_set_id": "am-1",
            "import_meta": {**FILES, "chatConf": CHAT, "customSpec": {"displayName": "d"}},
        },
        "importMeta.customSpec.fileName",
    ),
    (
        QianfanCreateCustomModelOperator,
        {"model_set_id": "am-1", "fine_tuning_task_id": "task-1", "checkpoint_step": "best"},
        "trainMeta.checkpointStep",
    ),
    (
        QianfanCreateCustomModelOperator,
        {"model_set_id": "am-1", "fine_tuning_task_id": "task-1", "train_meta": {"taskId": "task-1"}},
        "train_meta",
    ),
    (
        QianfanCreateCustomModelOperator,
        {"model_set_id": "am-1", "train_meta": {"taskId": "task-1"}, "checkpoint_step": 64},
        "checkpoint_step",
    ),
    (
        QianfanCreateCustomModelOperator,
        {"model_set_id": "am-1", "import_meta": FILES, "description": "x" * 301},
        "description",
    ),
    (QianfanCreateCustomModelOperator, {"model_set_id": "am-1", "source_type": "Train"}, "trainMeta"),
    (
        QianfanCreateCustomModelOperator,
        {"model_set_id": "am-1", "source_type": "Copy", "import_meta": FILES},
        "sourceType",
    ),
    (
        QianfanActionOperator,
        {"route": "/v2/model", "action": "DescribeModel", "body": "{modelId: 1}"},
        "body",
    ),
    (QianfanActionOperator, {"route": "/v2/model", "action": "DescribeModel", "body": "[1]"}, "body"),
    (QianfanActionOperator, {"route": "v2/model", "action": "DescribeModel"}, "route"),
    (QianfanActionOperator, {"route": "/v2/model", "action": ""}, "action"),
]


@pytest.mark.parametrize(("operator", "arguments", "member"), INVALID)
def test_bad_values_parse_but_fail_when_the_task_runs_without_being_sent(
    emulator, run_task, operator, arguments, member
):
    run = run_task(operator, **arguments, **RETRIES)
    assert isinstance(run.error, QianfanValidationError)
    assert member in run.error.parameters
    assert member.lower() in str(run.error).lower()
    assert emulator.journal == []
    assert run.tries == {"it": 1}


def test_if_missing_takes_two_words_only():
    with DAG("words"), pytest.raises(ValueError, match="'fail' or 'ignore', not 'maybe'"):
        QianfanDeleteModelOperator(task_id="x", model_id="m", if_missing="maybe")


CREATIONS = pytest.mark.parametrize(
    ("action", "operator", "arguments"),
    [
        ("CreateFineTuningJob", QianfanCreateFineTuningJobOperator, JOB),
        (
            "CreateFineTuningTask",
            QianfanCreateFineTuningTaskOperator,
            {"fine_tuning_job_id": "job", "hyper_parameter_config": HYPER, "dataset_config": DATASET},
        ),
        ("CreateCustomModelSet", QianfanCreateCustomModelSetOperator, {"model_set_name": "new"}),
        (
            "CreateCustomModel",
            QianfanCreateCustomModelOperator,
            {"model_set_id": "set", "import_meta": FILES},
        ),
    ],
    ids=["job", "task", "model set", "model"],
)


@pytest.fixture
def parents(emulator, service):
    """Make a job and a model set; return arguments with their ids in place of ``job`` and ``set``."""
    known = {"job": service.job("base"), "set": service.model_set("base")}

    def fill(arguments):
        return {
            name: known.get(value, value) if isinstance(value, str) else value
            for name, value in arguments.items()
        }

    return fill


def effective(emulator, action):
    return [call for call in emulator.journal if call["action"] == action and call["effect"]]


@CREATIONS
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "lost_answer"},
        {"kind": "server_error"},
        {"kind": "server_error", "effect": True},
        {"kind": "malformed", "effect": True},
        {"kind": "reset"},
    ],
    ids=lambda fault: "-".join(map(str, fault.values())),
)
def test_a_create_takes_effect_once_although_its_answer_fails(
    emulator, parents, run_task, action, operator, arguments, fault
):
    arguments, known = parents(arguments), len(emulator.journal)
    emulator.fail_next(action, **fault)
    run = run_task(operator, **arguments, **RETRIES)
    assert run.state == "success"
    created = [call for call in emulator.journal[known:] if call["action"] == action and call["effect"]]
    assert len(created) == 1
    assert set(run.value.values()) & set(created[0]["ids"].values())
    assert run.tries == {"it": 1}


@CREATIONS
@pytest.mark.parametrize("kind", ["lost_answer", "server_error", "reset", "malformed"])
def test_without_durable_a_create_with_an_unclear_end_fails_and_is_not_repeated(
    emulator, parents, run_task, action, operator, arguments, kind
):
    arguments, known = parents(arguments), len(emulator.journal)
    emulator.fail_next(action, kind=kind)
    run = run_task(operator, **arguments, durable=False, **RETRIES)
    assert isinstance(run.error, QianfanAmbiguousCreateError)
    assert action in str(run.error)
    assert actions_of(emulator)[known:] == [action]
    assert run.tries == {"it": 1}


@pytest.mark.parametrize(
    ("operator", "arguments", "field"),
    [
        (QianfanCreateFineTuningJobOperator, {"model": "M", "train_mode": "SFT"}, "name"),
        (QianfanCreateCustomModelSetOperator, {}, "model_set_name"),
    ],
)
def test_a_name_that_is_not_given_is_made_from_dag_and_run(emulator, run_task, operator, arguments, field):
    names = [run_task(operator, **arguments).value[field] for _ in range(3)]
    assert len(set(names)) == 3
    assert all(re.fullmatch(r"dag_\d+_[0-9a-f]{12}", name) and len(name) <= 20 for name in names)


# --- creating and waiting

MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
TRAINING = {
    "model": "ERNIE-Speed-8K",
    "train_mode": "DPO",
    "hyper_parameter_config": HYPER,
    "dataset_config": DATASET,
    "poll_interval": 0.05,
}


@MODES
def test_the_whole_training_is_one_task(start_emulator, run_task, deferrable):
    emulator = start_emulator(task_seconds=0.5)
    run = run_task(
        QianfanFineTuningOperator,
        qianfan_conn_id="qianfan_{{ params.c }}",
        model="{{ params.p }}-model",
        train_mode="{{ params.mode }}",
        parameter_scale="{{ params.p }}-scale",
        hyper_parameter_config='{"epoch": {{ params.n }}}',
        dataset_config={**DATASET, "versions": [{"versionId": "ds-{{ params.n }}"}]},
        name="{{ params.p }}-job",
        description="{{ params.p }} job",
        corpus_config={"copyData": "{{ params.p }}"},
        model_config='{"any": "{{ params.p }}"}',
        resource_config={"resourceId": "{{ params.p }}"},
        poll_interval=0.1,
        deferrable=deferrable,
        params={"c": "default", "p": "my", "mode": "DPO", "n": 3},
    )
    (job,), (task,) = emulator.jobs, emulator.tasks
    assert re.fullmatch(f"my job {MARK}", job["description"])
    assert job["request"] == {
        "name": "my-job",
        "model": "my-model",
        "trainMode": "DPO",
        "description": job["description"],
    }
    assert task["request"] == {
        "jobId": job["jobId"],
        "parameterScale": "my-scale",
        "hyperParameterConfig": {"epoch": 3},
        "datasetConfig": {"sourceType": "Platform", "versions": [{"versionId": "ds-3"}], "splitRatio": 20},
        "corpusConfig": {"copyData": "my"},
        "modelConfig": {"any": "my"},
        "resourceConfig": {"resourceId": "my"},
    }
    assert (run.value["status"], run.value["run_status"], run.value["progress"]) == ("Done", "Done", 1.0)
    assert run.value["fine_tuning_job_id"] == run.xcom["fine_tuning_job_id"] == job["jobId"]
    assert run.value["fine_tuning_task_id"] == run.xcom["fine_tuning_task_id"] == task["taskId"]
    assert run.value["best_checkpoint_step"] in [point["step"] for point in run.value["checkpoints"]]
    assert len(run.value["metrics"]) == 4
    link = run.xcom["_link_QianfanFineTuningTaskLink"]
    assert link == run.value["console_url"]
    assert f"/train/dpo/{job['jobId']}/{task['taskId']}/" in link


@MODES
def test_a_failed_training_ends_the_task_without_retries(start_emulator, run_task, deferrable):
    emulator = start_emulator(task_seconds=0.4)
    run = run_task(QianfanFineTuningOperator, **TRAINING, name="will-fail", deferrable=deferrable, **RETRIES)
    assert isinstance(run.error, QianfanTerminalStateError)
    assert run.error.state == "Failed"
    link = run.xcom["_link_QianfanFineTuningTaskLink"]
    assert emulator.tasks[0]["taskId"] in link
    assert link in str(run.error)
    assert run.tries == {"it": 1}
    assert len(emulator.tasks) == 1


@MODES
def test_execution_timeout_stops_the_training(emulator, run_task, deferrable):
    run = run_task(
        QianfanFineTuningOperator, **TRAINING, deferrable=deferrable, execution_timeout=timedelta(seconds=1)
    )
    assert run.state == "failed"
    (task,) = emulator.tasks
    assert task["runStatus"] == "Stopped"
    assert task["taskId"] in run.xcom["_link_QianfanFineTuningTaskLink"]


def test_without_waiting_the_training_goes_on(emulator, run_task):
    run = run_task(QianfanFineTuningOperator, **TRAINING, wait_for_completion=False)
    (task,) = emulator.tasks
    assert run.value == {"fine_tuning_job_id": task["jobId"], "fine_tuning_task_id": task["taskId"]}
    assert task["runStatus"] == "Waiting"
    assert task["taskId"] in run.xcom["_link_QianfanFineTuningTaskLink"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("poll_interval", "30"),
        ("poll_interval", -1),
        ("poll_interval", True),
        ("poll_interval", float("nan")),
        ("max_poll_interval", 0),
        ("max_poll_interval", float("inf")),
        ("max_poll_failures", "3"),
        ("max_poll_failures", -1),
        ("max_poll_failures", 1.5),
    ],
)
def test_a_bad_way_of_waiting_is_refused_before_anything_is_created(name, value):
    with DAG("bad"), pytest.raises(ValueError, match=f"{name} must be a"):
        QianfanFineTuningOperator(task_id="x", **{**TRAINING, name: value})


def test_a_bad_interval_in_airflows_configuration_is_refused_too(monkeypatch):
    monkeypatch.setenv("AIRFLOW__QIANFAN__POLL_INTERVAL", "-3")
    with DAG("bad"), pytest.raises(ValueError, match="poll_interval must be a positive number"):
        QianfanFineTuningOperator(task_id="x", **{**TRAINING, "poll_interval": None})


def test_deferring_without_waiting_is_refused_when_the_dag_is_parsed():
    with DAG("both"), pytest.raises(ValueError, match="choose one"):
        QianfanFineTuningOperator(task_id="x", **TRAINING, deferrable=True, wait_for_completion=False)


@MODES
def test_publishing_can_wait_until_the_version_is_ready(start_emulator, service, run_task, deferrable):
    start_emulator(model_seconds=0.4)
    run = run_task(
        QianfanCreateCustomModelOperator,
        model_set_id=service.model_set(),
        import_meta=FILES,
        wait_for_completion=True,
        deferrable=deferrable,
        poll_interval=0.05,
    )
    assert (run.value["status"], run.value["is_support_deploy"]) == ("Ready", True)
    assert run.xcom["model_id"] == run.value["model_id"]
    assert run.xcom["_link_QianfanModelLink"] == run.value["console_url"]


@MODES
def test_a_version_that_fails_ends_the_task_without_retries(start_emulator, service, run_task, deferrable):
    emulator = start_emulator(model_seconds=0.4)
    run = run_task(
        QianfanCreateCustomModelOperator,
        model_set_id=service.model_set("will-fail"),
        import_meta=FILES,
        wait_for_completion=True,
        deferrable=deferrable,
        poll_interval=0.05,
        **RETRIES,
    )
    assert isinstance(run.error, QianfanTerminalStateError)
    assert run.error.state == "Fail"
    assert run.tries == {"it": 1}
    assert len(emulator.models) == 1


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ({"login": "nobody"}, QianfanAuthenticationError),
        ({"login": "reader", "password": "r" * 32}, QianfanPermissionError),
    ],
)
def test_refused_credentials_cost_no_retries(start_emulator, monkeypatch, run_task, key, error):
    emulator = start_emulator(read_only_keys={"reader": "r" * 32})
    connection = json.loads(emulator.connection_json) | key
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(connection))
    run = run_task(QianfanCreateFineTuningJobOperator, **JOB, qianfan_conn_id="other", **RETRIES)
    assert isinstance(run.error, error)
    assert run.tries == {"it": 1}
    assert emulator.jobs == []


# --- reading


def test_lists_follow_all_pages_up_to_the_limit(emulator, service, run_task):
    ids = [service.job(f"job-{number}") for number in range(230)]
    known = len(emulator.journal)
    for limit, pages in ((None, 3), (1000, 3), (150, 2), (100, 1), (7, 1), (0, 0)):
        run = run_task(QianfanDescribeFineTuningJobsOperator, limit=limit)
        assert [row["fine_tuning_job_id"] for row in run.value] == ids[:limit]
        assert len(emulator.journal) - known == pages
        known = len(emulator.journal)
    backwards = run_task(QianfanDescribeFineTuningJobsOperator, page_reverse=True, limit=101).value
    assert [row["fine_tuning_job_id"] for row in backwards] == ids[:-102:-1]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, ["aa", "bb", "cc"]),
        ({"train_mode": "{{ params.mode }}"}, ["bb", "cc"]),
        ({"model": "{{ params.model }}"}, ["aa", "bb"]),
        ({"train_mode": "{{ params.mode }}", "model": "{{ params.model }}"}, ["bb"]),
        ({"train_mode": "{{ params.none }}"}, ["aa", "bb", "cc"]),
    ],
)
def test_jobs_are_filtered_by_the_service(emulator, service, run_task, filters, names):
    service.job("aa", model="M1", train_mode="SFT")
    service.job("bb", model="M1", train_mode="DPO")
    service.job("cc", model="M2", train_mode="DPO")
    params = {"mode": "DPO", "model": "M1", "none": ""}
    run = run_task(QianfanDescribeFineTuningJobsOperator, **filters, params=params)
    assert [row["name"] for row in run.value] == names
    assert set(run.value[0]) == {
        "fine_tuning_job_id",
        "name",
        "description",
        "model",
        "train_mode",
        "create_time",
    }


def test_the_tasks_of_a_job_are_listed(emulator, service, run_task):
    job_id = service.job()
    ids = [service.task(job_id=job_id) for _ in range(3)]
    service.task("other")
    run = run_task(
        QianfanDescribeFineTuningTasksOperator, fine_tuning_job_id="{{ params.j }}", params={"j": job_id}
    )
    assert [row["fine_tuning_task_id"] for row in run.value] == ids
    assert {(row["status"], row["run_status"]) for row in run.value} == {("Waiting", "Waiting")}


@pytest.mark.parametrize(
    ("name", "advance", "state", "progress"),
    [
        ("nightly", 0, "Waiting", None),
        ("nightly", HOUR / 2, "Running", 0.41),
        ("nightly", 2 * HOUR, "Done", 1.0),
        ("will-fail", 2 * HOUR, "Failed", None),
    ],
)
def test_a_task_is_described_in_whatever_state_it_is(
    emulator, service, run_task, name, advance, state, progress
):
    task_id = service.task(name)
    emulator.advance(advance)
    run = run_task(
        QianfanDescribeFineTuningTaskOperator, fine_tuning_task_id="{{ params.t }}", params={"t": task_id}
    )
    (task,) = emulator.tasks
    assert (run.value["status"], run.value["run_status"]) == (state, state)
    assert run.value["progress"] == progress
    assert run.value["fine_tuning_task_id"] == run.xcom["fine_tuning_task_id"] == task_id
    assert run.value["fine_tuning_job_id"] == task["jobId"]
    assert len(run.value["checkpoints"]) == len(task.get("checkpointList", []))
    assert all(0 < value < 1 for value in run.value["metrics"].values())
    assert len(run.value["metrics"]) == (4 if state == "Done" else 0)
    assert run.xcom["_link_QianfanFineTuningTaskLink"] == run.value["console_url"]
    assert f"/sft/{task['jobId']}/{task_id}/" in run.value["console_url"]


def test_a_model_and_its_set_are_described(emulator, service, run_task):
    model_id = service.model("bot")
    run = run_task(QianfanDescribeModelOperator, model_id="{{ params.m }}", params={"m": model_id})
    (version,) = emulator.models
    assert run.value == {
        "model_id": model_id,
        "model_set_id": version["modelSetId"],
        "model_name": "bot-V1",
        "status": "Creating",
        "status_text": "Creating",
        "model": "HuggingFace",
        "description": None,
        "is_support_deploy": False,
    }
    by_id = run_task(
        QianfanDescribeModelSetOperator, model_set_id="{{ params.s }}", params={"s": version["modelSetId"]}
    )
    assert (by_id.value["model_set_name"], by_id.value["model_ids"]) == ("bot", [model_id])
    assert by_id.xcom["model_ids"] == [model_id]


def test_publishing_links_to_the_models_of_the_account(emulator, service, run_task):
    run = run_task(QianfanCreateCustomModelOperator, model_set_id=service.model_set(), import_meta=FILES)
    assert run.xcom["_link_QianfanModelLink"].endswith("/qianfan/modelcenter/model/user/list")


# --- stopping


def stop(run_task, task_id, **arguments):
    return run_task(
        QianfanStopFineTuningTaskOperator,
        fine_tuning_task_id="{{ params.t }}",
        params={"t": task_id},
        **{"poll_interval": 0.05, **arguments},
    )


def test_stop_returns_when_the_training_has_really_ended(start_emulator, service, run_task):
    emulator = start_emulator(choices=Choices(stop_delay_seconds=0.4))
    task_id = service.task()
    emulator.advance(HOUR / 2)
    run = stop(run_task, task_id)
    assert run.value == {"fine_tuning_task_id": task_id, "status": "Stopped", "run_status": "Stopped"}
    assert (run.xcom["status"], run.xcom["run_status"]) == ("Stopped", "Stopped")
    assert actions_of(emulator).count("StopFineTuningTask") == 1
    assert actions_of(emulator).count("DescribeFineTuningTask") > 2


def test_stop_does_not_wait_if_told_so(start_emulator, service, run_task):
    emulator = start_emulator(choices=Choices(stop_delay_seconds=HOUR))
    task_id = service.task()
    emulator.advance(HOUR / 2)
    assert stop(run_task, task_id, wait_for_completion=False).value["run_status"] == "Running"


def test_stop_that_takes_too_long_says_what_still_runs(start_emulator, service, run_task):
    emulator = start_emulator(choices=Choices(stop_delay_seconds=HOUR / 4))
    task_id = service.task()
    emulator.advance(HOUR / 2)
    run = stop(run_task, task_id, timeout=0.3)
    assert isinstance(run.error, QianfanWaitTimeoutError)
    assert f"{task_id} is still Running 0.3 s after it was told to stop" in str(run.error)


@pytest.mark.parametrize("answer", ["error", "false", "true"])
@pytest.mark.parametrize(("name", "state"), [("nightly", "Done"), ("will-fail", "Failed")])
def test_stop_of_a_training_that_has_ended_tells_how(start_emulator, service, run_task, answer, name, state):
    emulator = start_emulator(choices=Choices(stop_finished_task=answer))
    task_id = service.task(name)
    emulator.advance(2 * HOUR)
    assert stop(run_task, task_id).value == {
        "fine_tuning_task_id": task_id,
        "status": state,
        "run_status": state,
    }


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "false"}, QianfanOperationFailedError),
        ({"kind": "error", "code": "InappropriateJSON"}, QianfanRequestError),
    ],
    ids=["false", "refused"],
)
def test_a_refused_stop_of_a_running_training_fails(emulator, service, run_task, fault, error):
    task_id = service.task()
    emulator.fail_next("StopFineTuningTask", **fault)
    assert isinstance(stop(run_task, task_id).error, error)
    assert emulator.tasks[0]["runStatus"] == "Waiting"


def test_a_stop_whose_answer_was_lost_succeeds(emulator, service, run_task):
    task_id = service.task()
    emulator.fail_next("StopFineTuningTask", kind="lost_answer")
    assert stop(run_task, task_id).value["run_status"] == "Stopped"
    assert actions_of(emulator).count("StopFineTuningTask") == 2


def test_a_stop_whose_answer_was_lost_succeeds_although_the_next_attempt_finds_nothing(
    emulator, service, run_task
):
    task_id = service.task()
    emulator.fail_next("StopFineTuningTask", kind="lost_answer")
    emulator.fail_next("StopFineTuningTask", kind="error", status=404, code="NoSuchKey")
    run = stop(run_task, task_id)
    assert run.value == {"fine_tuning_task_id": task_id, "status": None, "run_status": None}


def test_a_stop_whose_answer_was_lost_waits_although_the_next_attempt_is_refused(
    start_emulator, service, run_task
):
    emulator = start_emulator(choices=Choices(stop_delay_seconds=2.5))
    task_id = service.task()
    emulator.fail_next("StopFineTuningTask", kind="lost_answer")
    emulator.fail_next("StopFineTuningTask", kind="false")
    assert stop(run_task, task_id).value["run_status"] == "Stopped"


@pytest.mark.parametrize("answer", ["error", "false"])
def test_a_stop_of_a_missing_training_fails_or_is_ignored(start_emulator, run_task, answer):
    start_emulator(choices=Choices(stop_unknown_task=answer))
    run = stop(run_task, "task-gone", **RETRIES)
    assert isinstance(run.error, QianfanNotFoundError)
    assert run.tries == {"it": 1}
    ignored = stop(run_task, "task-gone", if_missing="ignore")
    assert ignored.state == "success"
    assert ignored.value == {"fine_tuning_task_id": "task-gone", "status": None, "run_status": None}


# --- deleting

DELETIONS = [
    (QianfanDeleteFineTuningJobOperator, "fine_tuning_job_id", "DeleteFineTuningJob", "job"),
    (QianfanDeleteFineTuningTaskOperator, "fine_tuning_task_id", "DeleteFineTuningTask", "task"),
    (QianfanDeleteModelOperator, "model_id", "DeleteModel", "model"),
]
deletions = pytest.mark.parametrize(("operator", "argument", "action", "kind"), DELETIONS)


def delete(run_task, operator, argument, object_id, **arguments):
    return run_task(operator, **{argument: "{{ params.id }}"}, params={"id": object_id}, **arguments)


def existing(emulator, kind):
    return {"job": emulator.jobs, "task": emulator.tasks, "model": emulator.models}[kind]


@pytest.fixture
def made(emulator, service):
    """Make an object of each kind that can be deleted, and return its id."""

    def make(kind):
        object_id = getattr(service, kind)()
        emulator.advance(2 * HOUR)
        return object_id

    return make


@deletions
def test_delete_deletes(emulator, made, run_task, operator, argument, action, kind):
    object_id = made(kind)
    run = delete(run_task, operator, argument, object_id)
    assert run.value == {argument: object_id, "deleted": True}
    assert run.xcom[argument] == object_id
    assert existing(emulator, kind) == []


@deletions
def test_delete_of_what_is_gone_fails_or_is_ignored(emulator, run_task, operator, argument, action, kind):
    run = delete(run_task, operator, argument, "gone-1", **RETRIES)
    assert isinstance(run.error, QianfanNotFoundError)
    assert run.tries == {"it": 1}
    ignored = delete(run_task, operator, argument, "gone-1", if_missing="ignore")
    assert ignored.value == {argument: "gone-1", "deleted": False}


@deletions
@pytest.mark.parametrize("if_missing", ["fail", "ignore"])
def test_a_delete_whose_answer_was_lost_succeeds(
    emulator, made, run_task, operator, argument, action, kind, if_missing
):
    object_id = made(kind)
    emulator.fail_next(action, kind="lost_answer")
    run = delete(run_task, operator, argument, object_id, if_missing=if_missing)
    assert run.value == {argument: object_id, "deleted": True}
    assert actions_of(emulator).count(action) == 2


@deletions
def test_a_delete_whose_answer_was_lost_and_then_is_said_to_do_nothing_succeeds(
    emulator, made, run_task, operator, argument, action, kind
):
    object_id = made(kind)
    emulator.fail_next(action, kind="lost_answer")
    emulator.fail_next(action, kind="false")
    assert delete(run_task, operator, argument, object_id).value == {argument: object_id, "deleted": True}


@deletions
def test_a_delete_that_did_nothing_fails_while_the_object_exists(
    emulator, made, run_task, operator, argument, action, kind
):
    object_id = made(kind)
    emulator.fail_next(action, kind="false")
    run = delete(run_task, operator, argument, object_id, if_missing="ignore")
    assert isinstance(run.error, QianfanOperationFailedError)
    assert len(existing(emulator, kind)) == 1


@deletions
def test_a_delete_that_did_nothing_is_about_a_missing_object_if_there_is_none(
    emulator, run_task, operator, argument, action, kind
):
    emulator.fail_next(action, kind="false", count=2)
    assert isinstance(delete(run_task, operator, argument, "gone-1").error, QianfanNotFoundError)
    ignored = delete(run_task, operator, argument, "gone-1", if_missing="ignore")
    assert ignored.value == {argument: "gone-1", "deleted": False}


# --- any Action


@pytest.mark.parametrize(
    "body",
    [
        {"maxKeys": 1, "model": "{{ params.model }}"},
        '{"maxKeys": 1, "model": "{{ params.model }}"}',
    ],
    ids=["object", "json text"],
)
def test_any_action_returns_the_whole_answer(emulator, service, run_task, body):
    service.job("aa", model="M1")
    job_id = service.job("bb", model="M2")
    run = run_task(
        QianfanActionOperator,
        route="/v2/{{ params.route }}",
        action="Describe{{ params.what }}",
        body=body,
        params={"route": "finetuning", "what": "FineTuningJobs", "model": "M2"},
    )
    assert set(run.value) == {"requestId", "result"}
    assert run.value["requestId"] == emulator.journal[-1]["request_id"]
    assert [job["jobId"] for job in run.value["result"]["jobList"]] == [job_id]
    assert run.xcom["result"] == run.value["result"]


@pytest.mark.parametrize("body", [None, {}, ""])
def test_any_action_needs_no_body(emulator, run_task, body):
    run = run_task(
        QianfanActionOperator, route="/v2/finetuning", action="DescribeFineTuningSupportModels", body=body
    )
    assert isinstance(run.value["result"], list)


def test_any_action_that_does_not_exist_is_refused(emulator, run_task):
    run = run_task(QianfanActionOperator, route="/v2/model", action="InventModel", **RETRIES)
    assert isinstance(run.error, QianfanRequestError)
    assert run.tries == {"it": 1}


@pytest.mark.parametrize(
    ("repeatable", "calls", "state"), [(None, 1, "failed"), (False, 1, "failed"), (True, 2, "success")]
)
def test_any_action_is_repeated_only_if_that_is_safe(emulator, run_task, repeatable, calls, state):
    body = {"modelSetName": "bot", "modelType": "Text2Text"}
    emulator.fail_next("CreateCustomModelSet", kind="reset")
    run = run_task(
        QianfanActionOperator,
        route="/v2/model",
        action="CreateCustomModelSet",
        body=body,
        repeatable=repeatable,
    )
    assert run.state == state
    assert len(emulator.journal) == calls
    if state == "failed":
        assert isinstance(run.error, QianfanAmbiguousCreateError)
