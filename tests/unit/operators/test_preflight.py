"""The arguments of a training are compared with what Qianfan supports, before anything is created."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from creating import DATASET, JOB, TASK_LOG, TRAINING, Kind, Work, new_job

from airflow_qianfan.api.actions.finetuning import DescribeFineTuningSupportModels
from airflow_qianfan.api.supported import TABLE, Choice, Range, read
from airflow_qianfan.emulator.supported import SUPPORTED_MODELS, with_defects
from airflow_qianfan.exceptions import QianfanValidationError
from airflow_qianfan.operators.base import preflight
from airflow_qianfan.operators.base.preflight import Training, compare
from airflow_qianfan.operators.finetuning import (
    QianfanCreateFineTuningJobOperator,
    QianfanCreateFineTuningTaskOperator,
    QianfanFineTuningOperator,
)

DESCRIBE = "DescribeFineTuningSupportModels"
SPEED = "ERNIE-Speed-8K"
TYPO = {"hyper_parameter_config": {"epoch": 100}}
WHOLE = {**JOB, **TRAINING, "parameter_scale": "LoRA", "wait_for_completion": False}


def work(emulator: Any, operator: Any = QianfanFineTuningOperator, **arguments: Any) -> Work:
    given = {**WHOLE, **arguments} if operator is QianfanFineTuningOperator else arguments
    create = (
        "CreateFineTuningJob" if operator is QianfanCreateFineTuningJobOperator else "CreateFineTuningTask"
    )
    key = "qianfan_job" if create == "CreateFineTuningJob" else "qianfan_task"
    return Work(emulator, Kind(operator, given, create, "id", key, ("", "", "")))


def created(emulator: Any) -> list[str]:
    return [entry["action"] for entry in emulator.journal if entry["effect"]]


def asked(emulator: Any) -> int:
    return [entry["action"] for entry in emulator.journal].count(DESCRIBE)


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.WARNING, logger=TASK_LOG.name)
    return lambda: [record.getMessage() for record in caplog.records if record.name == TASK_LOG.name]


# What it finds


def findings(table: Any = None, *, is_old: bool = False, **arguments: Any) -> list[str]:
    given = {"model": SPEED, "train_mode": "SFT", "parameter_scale": "LoRA", "hyper_parameters": {}}
    found = compare(Training(**{**given, **arguments}), TABLE if table is None else table, is_old=is_old)
    return [str(finding) for finding in found]


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        ({}, []),
        ({"hyper_parameters": {"epoch": 50, "maxSeqLen": "8192", "loraAllLinear": "true"}}, []),
        ({"parameter_scale": None, "hyper_parameters": {"learningRate": 3e-5, "loraRank": 8}}, []),
        (
            {"model": "ernie-speed-8k"},
            [
                "model: 'ernie-speed-8k' is not one of the models that can be trained; "
                "did you mean 'ERNIE-Speed-8K'? There are "
            ],
        ),
        (
            {"train_mode": "sft"},
            [
                "trainMode: 'sft' is not a train mode of ERNIE-Speed-8K; did you mean 'SFT'? "
                "There are PostPretrain, SFT."
            ],
        ),
        (
            {"parameter_scale": "Lora"},
            [
                "parameterScale: 'Lora' is not a scale of ERNIE-Speed-8K, SFT; did you mean 'LoRA'? "
                "There are FullFineTuning, LoRA."
            ],
        ),
        (
            {"hyper_parameters": {"epoch": 100, "maxSeqLen": 512, "batchsize": 1}},
            [
                "hyperParameterConfig.epoch: must be 1 to 50 for ERNIE-Speed-8K, SFT, LoRA, not 100.",
                "hyperParameterConfig.maxSeqLen: must be 4096, 8192 for ERNIE-Speed-8K, SFT, LoRA, not 512.",
                "hyperParameterConfig.batchsize: 'batchsize' is not a hyper-parameter for ERNIE-Speed-8K, "
                "SFT, LoRA; did you mean 'batchSize'? There are ",
            ],
        ),
        (
            {"parameter_scale": None, "hyper_parameters": {"learningRate": 1}},
            [
                "hyperParameterConfig.learningRate: must be 1e-05 to 4e-05 or 3e-05 to 0.001 for "
                "ERNIE-Speed-8K, SFT, not 1."
            ],
        ),
    ],
)
def test_a_finding_names_parameter_value_what_is_allowed_and_the_nearest(arguments, texts):
    found = findings(**arguments)
    assert len(found) == len(texts)
    assert all(text.startswith(start) for text, start in zip(found, texts, strict=True))


def test_old_tables_say_nothing_of_models_and_modes_that_came_after_them():
    assert findings(is_old=True, model="Qwen3-8B") == []
    assert findings(is_old=True, train_mode="DPO") == []
    (typo,) = findings(is_old=True, model="ERNIE-Sped-8K")
    assert "did you mean 'ERNIE-Speed-8K'?" in typo


def test_the_answer_is_read_with_all_its_defects():
    request = DescribeFineTuningSupportModels()
    assert read(request.read_result(with_defects(SUPPORTED_MODELS)))[SPEED]["SFT"]["LoRA"]["epoch"] == Range(
        1, 50
    )
    parameter = {"key": "x", "checkType": "range", "checkValue": [1]}
    rows = [
        None,
        {"model": "M", "supportTrainMode": [7, {"trainMode": "SFT", "supportParameterScale": None}]},
        {
            "model": "M",
            "supportTrainMode": [
                {
                    "trainMode": "SFT",
                    "supportParameterScale": [
                        {"parameterScale": "S", "supportHyperParameterConfig": [parameter, {"type": "int"}]},
                        {
                            "parameterScale": "S",
                            "supportHyperParameterConfig": [
                                {"key": "y", "checkType": "mult_choice", "checkValue": ["a", "b"]},
                                {"key": "z", "checkType": "astrology", "checkValue": ["a"]},
                                {"key": "r", "checkType": "range", "checkValue": ["a", 2]},
                            ],
                        },
                        {},
                    ],
                }
            ],
        },
    ]
    with pytest.raises(ValueError, match="valid"):
        request.read_result(rows)
    assert read(request.read_result(rows[1:])) == {
        "M": {"SFT": {"S": {"x": Range(1, 1), "y": Choice(("a", "b"), True), "z": None, "r": None}}}
    }


def test_both_sides_tell_the_same_of_the_documents_tables():
    served = read(DescribeFineTuningSupportModels().read_result(SUPPORTED_MODELS))
    for model, modes in TABLE.items():
        for mode, scales in modes.items():
            for scale, rows in scales.items():
                limits = {key: allowed for key, allowed in rows.items() if allowed is not None}
                assert served[model][mode][scale] == limits, (model, mode, scale)
    assert served.keys() == TABLE.keys()


# What operators do with it


def test_by_default_a_training_that_is_not_supported_is_warned_of_and_created(emulator, warnings):
    work(emulator, **TYPO).run()
    (warning,) = warnings()
    assert warning.startswith(
        "This training may be refused, or not do what you mean: hyperParameterConfig.epoch"
    )
    assert created(emulator) == ["CreateFineTuningJob", "CreateFineTuningTask"]
    # The list is asked for once an hour.
    work(emulator, name="other", **TYPO).run()
    assert asked(emulator) == 1


@pytest.mark.parametrize(
    ("arguments", "parameter"),
    [
        ({"model": "ERNIE-Sped-8K"}, "model"),
        ({"train_mode": "sft"}, "trainMode"),
        ({"parameter_scale": "Lora"}, "parameterScale"),
        (TYPO, "hyperParameterConfig.epoch"),
        ({"hyper_parameter_config": '{"learningrate": 0.0003}'}, "hyperParameterConfig.learningrate"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_error_refuses_before_anything_is_created(emulator, arguments, parameter):
    with pytest.raises(QianfanValidationError, match="not sent, since Qianfan does not support it") as caught:
        work(emulator, validate="error", **arguments).run()
    assert caught.value.parameters == (parameter,)
    assert created(emulator) == []


def test_what_the_list_only_leaves_out_is_not_refused(emulator, warnings):
    work(emulator, validate="error", hyper_parameter_config={"Packing": True}).run()
    assert "hyperParameterConfig.Packing" in warnings()[0]


def test_off_asks_nothing(emulator, warnings):
    work(emulator, validate="off", **TYPO).run()
    assert (asked(emulator), warnings()) == (0, [])


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "reset"},
        {"kind": "server_error"},
        {"kind": "timeout"},
        {"kind": "error", "code": "InvalidURI"},
        {"kind": "error", "status": 403, "code": "AccessDenied"},
        {"kind": "malformed"},
        {"kind": "false"},
    ],
    ids=lambda fault: f"{fault['kind']}-{fault.get('code', '')}",
)
def test_a_list_that_does_not_come_costs_one_warning_and_never_the_training(emulator, warnings, fault):
    emulator.fail_next(DESCRIBE, **fault)
    work(emulator, validate="error").run()
    (warning,) = warnings()
    assert "Qianfan does not tell which models it can train" in warning
    assert created(emulator) == ["CreateFineTuningJob", "CreateFineTuningTask"]


@pytest.mark.parametrize("answer", [[], {}, "no", None, [{"model": 5}], [{"model": "M"}], [{}]], ids=repr)
def test_an_answer_that_makes_no_sense_leads_to_the_old_tables_which_refuse_nothing(
    emulator, warnings, answer
):
    emulator.answer("/v2/finetuning", DESCRIBE, answer)
    work(emulator, validate="error", **TYPO).run()
    first, second = warnings()
    assert "comparing with the tables of its documents" in first
    assert "hyperParameterConfig.epoch: must be 1 to 50" in second
    assert len(created(emulator)) == 2


def test_a_check_that_breaks_does_not_break_the_training(emulator, warnings, monkeypatch):
    monkeypatch.setattr(preflight, "compare", lambda *_, **__: 1 / 0)
    work(emulator, validate="error").run()
    assert warnings() == ["The arguments of the training were not checked: ZeroDivisionError."]
    assert len(created(emulator)) == 2


def test_a_retry_that_attaches_is_not_checked_again(emulator):
    whole = work(emulator)
    whole.run()
    preflight._TABLES.clear()
    whole.run(2)
    assert asked(emulator) == 1


def test_a_list_is_asked_for_again_after_an_hour(emulator, monkeypatch):
    work(emulator).run()
    ((key, (until, table)),) = preflight._TABLES.items()
    preflight._TABLES[key] = (until - preflight.KEPT, table)
    work(emulator, name="other").run()
    assert asked(emulator) == 2


def test_a_job_is_checked_for_model_and_mode(emulator):
    with pytest.raises(QianfanValidationError, match="did you mean 'SFT'"):
        work(
            emulator, QianfanCreateFineTuningJobOperator, model=SPEED, train_mode="sft", validate="error"
        ).run()
    assert created(emulator) == []


def test_a_task_is_checked_with_the_model_of_its_job(emulator):
    job_id = new_job()
    training = {"fine_tuning_job_id": job_id, "dataset_config": DATASET, **TYPO}
    with pytest.raises(QianfanValidationError, match="epoch: must be 1 to 50 for ERNIE-Speed-8K, SFT"):
        work(emulator, QianfanCreateFineTuningTaskOperator, validate="error", **training).run()
    assert created(emulator) == ["CreateFineTuningJob"]


@pytest.mark.parametrize("kind", ["server_error", "error"])
def test_a_task_whose_job_is_not_told_is_not_checked(emulator, warnings, kind):
    job_id = new_job()
    emulator.fail_next("DescribeFineTuningJobs", kind=kind)
    training = {"fine_tuning_job_id": job_id, "dataset_config": DATASET, **TYPO}
    work(emulator, QianfanCreateFineTuningTaskOperator, validate="error", **training).run()
    assert "were not checked" in warnings()[0]
    assert len(created(emulator)) == 2


def test_a_model_of_ones_own_is_not_checked(emulator):
    work(emulator, validate="error", model="mine", model_config={"a": 1}, **TYPO).run()
    assert asked(emulator) == 0


def test_only_the_three_words_are_accepted():
    with pytest.raises(ValueError, match="validate must be 'warn', 'error' or 'off', not 'maybe'"):
        QianfanCreateFineTuningJobOperator(task_id="it", **JOB, validate="maybe")
