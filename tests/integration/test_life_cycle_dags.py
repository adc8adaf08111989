"""The examples of a sweep, of compression and export, and of batch inference."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from example_dags import effects

from airflow_qianfan.api.actions.dataset import CreateDataset
from airflow_qianfan.exceptions import QianfanTerminalStateError
from airflow_qianfan.hooks.qianfan import QianfanHook

pytestmark = pytest.mark.slow

HOUR = 3600.0


@pytest.fixture
def emulator(start_emulator):
    emulator = start_emulator(task_seconds=0.4, model_seconds=0.2, strict=True)
    emulator.add_dataset("ds-0123456789abcdef")
    return emulator


# --- sweep

SPACE = {"learningRate": [0.0001, 0.0003], "epoch": [1, 3], "maxSeqLen": [4096]}


def best_of(trainings, metric):
    return max(trainings, key=lambda training: float(training["metrics"][metric].rstrip("%")))


def test_sweep_tries_each_combination_once_and_publishes_the_best(emulator, examples, run_dag):
    run = run_dag(examples.dags["sweep"], run_conf={"search_space": SPACE, "metric": "BLEU-4"})
    assert run.state == "success", run.errors
    assert Counter(effects(emulator)) == {
        "CreateCustomModelSet": 1,
        "CreateFineTuningJob": 1,
        "CreateFineTuningTask": 4,
        "CreateCustomModel": 1,
    }
    assert effects(emulator)[0] == "CreateCustomModelSet"
    tried = [training["request"]["hyperParameterConfig"] for training in emulator.tasks]
    assert sorted(tried, key=lambda each: (each["learningRate"], each["epoch"])) == [
        {"learningRate": rate, "epoch": epoch, "maxSeqLen": 4096}
        for rate in (0.0001, 0.0003)
        for epoch in (1, 3)
    ]
    best = best_of(emulator.tasks, "BLEU-4")
    (version,) = emulator.models
    assert version["status"] == "Ready"
    assert version["sourceInfo"]["taskId"] == best["taskId"]
    step = min(best["checkpointList"], key=lambda point: point["perplexity"])["step"]
    assert version["sourceInfo"]["checkpointStep"] == step


def test_a_training_of_a_sweep_that_fails_does_not_hold_up_the_others(emulator, examples, run_dag):
    emulator.fail_next("DescribeFineTuningTask", kind="unknown_status", word="Failed")
    run = run_dag(examples.dags["sweep"], run_conf={"search_space": {"epoch": [1, 2, 3]}})
    assert run.state == "success", run.errors
    assert isinstance(run.error, QianfanTerminalStateError)
    failed, *others = emulator.tasks
    assert failed["taskId"] in str(run.error)
    assert len(others) == 2
    (version,) = emulator.models
    assert version["sourceInfo"]["taskId"] == best_of(others, "ROUGE-L")["taskId"]


def test_a_sweep_without_any_result_publishes_nothing(emulator, examples, run_dag):
    emulator.fail_next("DescribeFineTuningTask", kind="unknown_status", word="Failed", count=None)
    run = run_dag(examples.dags["sweep"], run_conf={"search_space": {"epoch": [1, 2]}})
    assert (run.state, run.states["publish"]) == ("failed", "upstream_failed")
    assert len(emulator.tasks) == 2
    assert emulator.models == []


# --- compression and export


def test_the_compressed_version_is_exported(emulator, service, examples, run_dag):
    source = service.model()
    emulator.advance(HOUR)
    known = len(effects(emulator))
    run = run_dag(examples.dags["compress_and_export"], run_conf={"model_id": source, "weight": "W8A16C16"})
    assert run.state == "success", run.errors
    assert effects(emulator)[known:] == ["CreateModelCompTask", "CreateModelExportTask"]
    (task,), (export,) = emulator.objects("comp_task"), emulator.objects("model_export")
    assert task["sourceModelId"] == source
    assert task["config"] == {"strategy": "Quantization", "weight": "W8A16C16"}
    assert export["modelId"] == task["modelId"] != source
    result = run.xcoms["export"]["return_value"]
    assert {name: result[name] for name in ("model_id", "md5", "download_url")} == {
        "model_id": task["modelId"],
        "md5": export["md5"],
        "download_url": export["downloadUrl"],
    }


def test_nothing_is_exported_where_the_compression_fails(emulator, service, examples, run_dag):
    source = service.model()
    emulator.advance(HOUR)
    emulator.fail_next("DescribeModelCompTask", kind="unknown_status", word="failed", count=None)
    run = run_dag(examples.dags["compress_and_export"], run_conf={"model_id": source})
    assert run.state == "failed"
    assert isinstance(run.error, QianfanTerminalStateError)
    assert emulator.objects("model_export") == []


# --- batch inference


@pytest.fixture
def batch(emulator, service, examples, run_dag, tmp_path):
    """Run the example; the service writes these lines where the answers belong."""
    model_id = service.model()
    dataset = CreateDataset(dataset_name="faq", data_format="PromptResponse", storage_type="sysStorage")
    dataset_id = QianfanHook().call(dataset).dataset_id
    emulator.advance(HOUR)
    dag = examples.dags["batch_inference"]

    def run(lines=()):
        def describe(body):
            (task,) = emulator.objects("batch_inference_task")
            if task["runStatus"] == "Done":
                folder = tmp_path / task["outputBosUri"].removeprefix("bos:/") / task["outputDir"]
                folder.mkdir(parents=True, exist_ok=True)
                half = len(lines) // 2
                for name, part in (("0.jsonl", lines[:half]), ("1.jsonl", lines[half:])):
                    (folder / name).write_text("".join(json.dumps(line) + "\n" for line in part))
            return task

        emulator.answer("/v2/batchinference", "DescribeBatchInferenceTask", describe)
        known = len(effects(emulator))
        conf = {"model_id": model_id, "dataset_id": dataset_id, "storage": f"{tmp_path.as_uri()}/"}
        return run_dag(dag, run_conf=conf), effects(emulator)[known:]

    return run


def answered(number):
    query = f"Frage {number}: wie weit ist es?"
    return {"id": str(number), "query": query, "output": {"result": f"{number} 公里"}}


def test_the_answers_of_a_batch_inference_become_a_data_set(emulator, batch, tmp_path):
    run, done = batch([*(answered(number) for number in range(20)), {"id": "20", "query": "?"}])
    assert run.state == "success", run.errors
    assert done == [
        "CreateBatchInferenceTask",
        "CreateDatasetVersion",
        "CreateImportTask",
        "PublishDatasetVersion",
    ]
    (task,) = emulator.objects("batch_inference_task")
    assert (task["request"]["inputBosUri"], task["request"]["outputBosUri"]) == (
        "bos:/my-bucket/prompts",
        "bos:/my-bucket/answers",
    )
    file = f"my-bucket/answers/{task['outputDir']}/samples/train.jsonl"
    *_, imported = emulator.objects("import_task")
    assert imported["request"]["files"] == [f"bos:/{file}"]
    samples = [json.loads(line) for line in (tmp_path / file).read_text().splitlines()]
    assert len(samples) == 20
    assert [{"prompt": "Frage 7: wie weit ist es?", "response": "7 公里"}] in samples
    assert emulator.objects("dataset_version")[-1]["publishStatus"] == "Published"


@pytest.mark.parametrize("lines", [[], [{"id": "1", "query": "?"}, answered(2)]], ids=["none", "half"])
def test_too_few_answers_make_no_data_set(batch, examples, lines):
    for task in examples.dags["batch_inference"].tasks:
        task.retries = 0
    run, done = batch(lines)
    assert run.state == "failed"
    assert "prompts are answered" in str(run.error)
    assert done == ["CreateBatchInferenceTask"]


def test_a_batch_inference_that_fails_makes_no_data_set(emulator, batch):
    emulator.fail_next("DescribeBatchInferenceTask", kind="unknown_status", word="Failed", count=None)
    run, done = batch([answered(1)])
    assert (run.state, run.states["make_dataset"]) == ("failed", "upstream_failed")
    assert done == ["CreateBatchInferenceTask"]
