"""The tables of models, and an emulator that refuses what they exclude."""

import pytest

from airflow_qianfan.emulator import Assumptions, QianfanEmulator
from airflow_qianfan.emulator.dataset import NewDataset, add
from airflow_qianfan.emulator.supported import SUPPORTED_MODELS

SPEED = "ERNIE-Speed-8K"
DATASET = {"sourceType": "Platform", "versions": [{"versionId": "ds-0123456789abcdef"}], "splitRatio": 20}


@pytest.fixture
def strict(local):
    local.backend.strict = True
    add(local.backend.view(), NewDataset(dataset_version_id="ds-0123456789abcdef"))
    return local


def refused_member(strict, action, **body):
    status, answer = strict.call(action, **body)
    assert (status, answer["code"]) == (400, "InappropriateJSON")
    assert "emulator.strict = False" in answer["message"]
    return answer["message"].partition("param[")[2].partition("]")[0], answer["message"]


def job(strict, model=SPEED, mode="SFT"):
    return strict.ok("CreateFineTuningJob", name=f"{model[-8:]}-{mode}", model=model, trainMode=mode)["jobId"]


def task_body(job_id, scale="LoRA", **parameters):
    body = {"jobId": job_id, "hyperParameterConfig": parameters, "datasetConfig": DATASET}
    return {**body, **({"parameterScale": scale} if scale else {})}


@pytest.mark.parametrize(
    ("model", "mode", "member", "hint"),
    [
        ("ERNIE-Sped-8K", "SFT", "model", "Did you mean 'ERNIE-Speed-8K'?"),
        ("GPT-9", "SFT", "model", "The tables have "),
        (SPEED, "sft", "trainMode", "Did you mean 'SFT'?"),
        (SPEED, "XYZ", "trainMode", "The tables have DPO, KTO, PostPretrain, RFT, SFT."),
        (SPEED, "PostPretrian", "trainMode", "Did you mean 'PostPretrain'?"),
        ("ChatGLM2-6B", "PostPretrain", "trainMode", "for ChatGLM2-6B. The tables have SFT."),
    ],
)
def test_a_job_that_the_tables_exclude_is_refused_with_a_hint(strict, model, mode, member, hint):
    body = {"name": "nightly", "model": model, "trainMode": mode}
    found, message = refused_member(strict, "CreateFineTuningJob", **body)
    assert found == member
    assert hint in message


@pytest.mark.parametrize("mode", ["DPO", "KTO", "RFT"])
def test_where_there_is_no_table_nothing_is_excluded(strict, mode):
    strict.ok("CreateFineTuningTask", **task_body(job(strict, mode=mode), epoch=1000))


@pytest.mark.parametrize(
    "model", ["ERNIE-Tiny-8K", "DeepSeek-R1-Distill-Qwen-14B", "WENXIN-YIGE", "ERNIE-Speed"]
)
def test_models_that_the_documents_only_name_are_known(strict, model):
    strict.ok("CreateFineTuningTask", **task_body(job(strict, model), "FullFineTuning", epoch=1000))


@pytest.mark.parametrize(
    ("scale", "parameters", "member", "hint"),
    [
        ("Lora", {}, "parameterScale", "Did you mean 'LoRA'?"),
        ("PromptTuning", {}, "parameterScale", "for ERNIE-Speed-8K, SFT"),
        ("LoRA", {"epoch": 51}, "epoch", "51 is not in [1, 50]"),
        ("LoRA", {"epoch": "many"}, "epoch", "'many' is not in"),
        ("LoRA", {"epoch": True}, "epoch", "True is not in"),
        ("LoRA", {"learningrate": 0.1}, "learningrate", "Did you mean 'learningRate'?"),
        ("LoRA", {"maxSeqLen": 4000}, "maxSeqLen", "4000 is not in [4096, 8192]"),
        ("FullFineTuning", {"learningRate": 0.0003}, "learningRate", "0.0003 is not in [1e-05, 4e-05]"),
    ],
)
def test_a_training_that_the_tables_exclude_is_refused_with_a_hint(strict, scale, parameters, member, hint):
    body = task_body(job(strict), scale, **parameters)
    found, message = refused_member(strict, "CreateFineTuningTask", **body)
    assert found == member
    assert hint in message


@pytest.mark.parametrize(
    ("scale", "parameters"),
    [
        ("LoRA", {"epoch": 1, "learningRate": 0.0003, "maxSeqLen": 4096}),
        ("LoRA", {"epoch": "5", "learningRate": "3e-4", "loraAllLinear": "True"}),
        (None, {"learningRate": 0.0003}),
        ("LoRA", {"Packing": True, "saveStep": 64}),
    ],
    ids=["readme", "text-of-a-template", "no-scale", "documented-for-others"],
)
def test_what_the_documents_have_is_accepted(strict, scale, parameters):
    strict.ok("CreateFineTuningTask", **task_body(job(strict), scale, **parameters))


@pytest.mark.parametrize("length", [512, 8192])
def test_both_statements_about_the_length_of_lora_are_accepted(strict, length):
    strict.ok("CreateFineTuningTask", **task_body(job(strict, "ERNIE-Lite-8K-0308"), maxSeqLen=length))


def test_lists_are_checked_entry_by_entry(strict):
    job_id = job(strict, "CodeLlama-7B")
    strict.ok("CreateFineTuningTask", **task_body(job_id, loraTargetModules=["self_attn.q_proj"]))
    body = task_body(job_id, loraTargetModules=["self_attn.q_proj", "x"])
    assert refused_member(strict, "CreateFineTuningTask", **body)[0] == "loraTargetModules"


def evaluation(version_id):
    config = {"versionId": version_id, "evalModelConfigList": [{"modelId": "amv-1"}]}
    return {
        "taskName": "nightly",
        "evalObjectType": "model",
        "evalObjectConfig": {"evalModelConfig": config},
        "evalConfig": {"evalMode": "rule"},
    }


def refused_version(strict, action, **body):
    status, answer = strict.call(action, **body)
    assert (status, answer["code"]) == (404, "NoSuchKey")
    assert "The versionId does not exist." in answer["message"]
    assert "emulator.strict = False" in answer["message"]
    return answer["message"]


@pytest.mark.parametrize(
    ("version_id", "hint"),
    [
        ("ds-0123456789abcdfe", "Did you mean 'ds-0123456789abcdef'?"),
        ("other", "emulator.add_dataset('other')"),
    ],
)
def test_a_data_set_that_does_not_exist_is_refused_with_a_hint(strict, version_id, hint):
    body = task_body(job(strict), epoch=1)
    body["datasetConfig"] = {**DATASET, "versions": [*DATASET["versions"], {"versionId": version_id}]}
    assert hint in refused_version(strict, "CreateFineTuningTask", **body)
    assert hint in refused_version(strict, "CreateEvalTask", **evaluation(version_id))
    assert not [entry for entry in strict.store.journal[1:] if entry["effect"]]


def test_a_data_set_that_exists_is_accepted(strict):
    strict.ok("CreateEvalTask", **evaluation("ds-0123456789abcdef"))
    made = strict.ok(
        "CreateDataset", datasetName="faq", dataFormat="PromptResponse", storageType="sysStorage"
    )["versionId"]
    strict.ok("CreateEvalTask", **evaluation(made))
    body = task_body(job(strict), epoch=1)
    body["datasetConfig"] = {**DATASET, "versions": [{"versionId": made}]}
    assert strict.refused("CreateFineTuningTask", **body) == (400, "InvalidStatus")
    strict.ok("CreateImportTask", versionId=made, files=["bos:/bucket/faq.jsonl"])
    strict.clock.time += 10
    strict.ok("PublishDatasetVersion", versionId=made)
    strict.clock.time += 10
    strict.ok("CreateFineTuningTask", **body)


def test_files_in_a_bucket_are_nobodys_data_set(strict):
    body = task_body(job(strict), epoch=1)
    body["datasetConfig"] = {"sourceType": "Bos", "versions": [{"versionBosUri": "bos:/bucket/faq.jsonl"}]}
    strict.ok("CreateFineTuningTask", **body)


def test_unless_it_is_strict_the_emulator_lets_everything_pass(local):
    local.ok("CreateFineTuningTask", **task_body(job(local, "GPT-9", "XYZ"), "any", whatever=1))
    local.ok("CreateEvalTask", **evaluation("ds-never-heard-of"))


def test_strictness_can_be_turned_off_while_it_runs():
    emulator = QianfanEmulator(strict=True)
    assert emulator.strict
    emulator.strict = False
    assert not emulator.strict
    assert not QianfanEmulator().strict


def test_the_answer_may_have_the_defects_that_parsers_must_bear(make_local):
    defective = make_local(Assumptions(support_models_defects=True)).ok("DescribeFineTuningSupportModels")
    scales = defective[0]["supportTrainMode"][0]["supportParameterScale"]
    names = [scale["parameterScale"] for scale in scales]
    assert names == ["FullFineTuning", "LoRA", "FullFineTuning", "QLoRA"]
    assert "name" not in scales[0]["supportHyperParameterConfig"][0]
    whole = make_local().ok("DescribeFineTuningSupportModels")
    assert whole == SUPPORTED_MODELS
    assert (
        "name"
        in whole[0]["supportTrainMode"][0]["supportParameterScale"][0]["supportHyperParameterConfig"][0]
    )


def test_one_value_is_a_range_of_one_element():
    values = [
        parameter["checkValue"]
        for model in SUPPORTED_MODELS
        for mode in model["supportTrainMode"]
        for scale in mode["supportParameterScale"]
        for parameter in scale["supportHyperParameterConfig"]
        if parameter["checkType"] == "range"
    ]
    assert [1] in values
    assert all(len(value) == 1 or value[0] < value[1] for value in values)
