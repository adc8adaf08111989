"""Which models can be trained how, as far as Qianfan's documents have tables: the answer of
DescribeFineTuningSupportModels.

ERNIE-Lite-8K-0308 is in the table that was published in September 2025; all others are in that of April 2024.
"""

from __future__ import annotations

import copy
from typing import Any

Parameters = list[dict[str, Any]]

SCHEDULERS = ["linear", "cosine", "polynomial", "constant", "constant_with_warmup"]


def _parameter(key: str, kind: str, check: str, values: list[Any], default: Any) -> dict[str, Any]:
    return {
        "key": key,
        "name": key,
        "description": "",
        "type": kind,
        "checkType": check,
        "checkValue": values,
        "default": default,
    }


def _integer(key: str, least: int, most: int, default: int | None = None) -> dict[str, Any]:
    # One value only is a fixed one.
    return _parameter(key, "int", "range", [least] if least == most else [least, most], default)


def _number(key: str, least: float, most: float, default: float | None = None) -> dict[str, Any]:
    return _parameter(key, "float", "range", [least, most], default)


def _choice(key: str, values: list[Any], default: Any = None, *, kind: str = "string") -> dict[str, Any]:
    return _parameter(key, kind, "choice", values, default)


def _length(*values: int, default: int) -> dict[str, Any]:
    return _choice("maxSeqLen", list(values), default, kind="int")


def _without(parameters: Parameters, *keys: str) -> Parameters:
    return [parameter for parameter in parameters if parameter["key"] not in keys]


def _with(parameters: Parameters, *others: dict[str, Any]) -> Parameters:
    return [*_without(parameters, *(other["key"] for other in others)), *others]


def _mode(name: str, scales: dict[str, Parameters]) -> dict[str, Any]:
    rows = [
        {"parameterScale": scale, "supportHyperParameterConfig": parameters}
        for scale, parameters in scales.items()
    ]
    return {"trainMode": name, "supportParameterScale": rows}


def _model(name: str, *modes: dict[str, Any]) -> dict[str, Any]:
    return {"model": name, "modelType": "text2text", "supportTrainMode": list(modes)}


FULL, LORA, LORA_GA, PROMPT = "FullFineTuning", "LoRA", "LoRA-GA", "PromptTuning"

# ERNIE, April 2024
_FULL_RATE = _number("learningRate", 1e-5, 4e-5, 3e-5)
_LORA_RATE = _number("learningRate", 3e-5, 1e-3, 3e-4)
_ERNIE_SHORT = [_integer("epoch", 1, 50, 1), _length(4096, 8192, default=4096)]
_ERNIE = [
    *_ERNIE_SHORT,
    _integer("batchSize", 1, 4),
    _integer("loggingSteps", 1, 100, 1),
    _number("warmupRatio", 0.01, 0.5, 0.1),
    _number("weightDecay", 0.0001, 0.1, 0.01),
]
_ERNIE_LORA = [*_ERNIE, _LORA_RATE, _choice("loraRank", [2, 4, 8], 8, kind="int")]
_ALL_LINEAR = _choice("loraAllLinear", ["True", "False"], "True")
_EPOCH = _integer("epoch", 1, 50)
_POST_PRETRAIN = _mode(
    "PostPretrain", {FULL: [_integer("epoch", 1, 10), _FULL_RATE, _length(4096, 8192, default=4096)]}
)

# Open-source models, April 2024
_OPEN = [
    _integer("epoch", 1, 50, 1),
    _integer("batchSize", 1, 4, 1),
    _number("learningRate", 2e-7, 2e-4, 1e-6),
    _length(1024, 2048, 4096, default=4096),
    _choice("schedulerName", SCHEDULERS, "cosine"),
    _number("weightDecay", 0.001, 1, 0.01),
    _number("warmupRatio", 0.01, 0.1, 0.03),
]
_SLOW = _number("learningRate", 1e-10, 2e-4, 1e-6)
_OPEN_LORA = [
    _choice("loraRank", [8, 16, 32, 64], 32, kind="int"),
    _choice("loraAlpha", [8, 16, 32, 64], 32, kind="int"),
    _number("loraDropout", 0.1, 0.5, 0.1),
]
_LLAMA_32K = _with(
    _OPEN,
    _integer("batchSize", 1, 1, 1),
    _integer("epoch", 1, 50, 3),
    _length(4096, 8192, 16384, 32768, default=32768),
    _SLOW,
)
_SQL = _with(
    _without(_OPEN, "schedulerName", "weightDecay", "warmupRatio"), _length(4096, 8192, default=4096)
)
_TARGETS = _parameter(
    "loraTargetModules",
    "string",
    "mult_choice",
    [f"self_attn.{name}_proj" for name in "qkvo"] + [f"mlp.{name}_proj" for name in ("gate", "up", "down")],
    ["self_attn.q_proj", "self_attn.v_proj"],
)


def _open(name: str, *scales: str, base: Parameters = _OPEN, lora: Parameters = _OPEN_LORA) -> dict[str, Any]:
    return _model(name, _mode("SFT", {scale: [*base, *(lora if scale == LORA else [])] for scale in scales}))


# ERNIE-Lite-8K-0308, September 2025
_0308 = [
    _integer("epoch", 1, 50, 3),
    _length(512, 1024, 2048, 4096, 8192, default=4096),
    _integer("loggingSteps", 1, 1, 1),
    _number("warmupRatio", 0.01, 0.5, 0.1),
    _number("weightDecay", 0.0001, 0.1, 0.01),
    _integer("globalBatchSize", 1, 10000, 16),
    _number("pseudoSamplingProb", 0, 1, 0),
    _choice("checkpointSaveStrategy", ["step", "epoch"], "step"),
    _integer("saveStep", 1, 50000, 64),
    _integer("checkpointCount", 1, 10, 1),
    _integer("validationStep", 0, 1000000, 16),
    _integer("seed", 1, 2147483647, 42),
    _choice("lrSchedulerType", SCHEDULERS, "linear"),
    _number("numCycles", 0.1, 0.5, 0.5),
    _number("lrEnd", 1e-8, 1e-6, 1e-7),
    _number("power", 1, 3, 1),
    _choice("earlyStopping", [True, False], False, kind="boolean"),
    _choice("earlyStopMetric", ["ValidationLoss"]),
    _number("earlyStoppingThreshold", 0, 5, 0.01),
    _integer("earlyStoppingPatience", 1, 50, 3),
]
_0308_LORA = [*_0308, _number("learningRate", 1e-6, 0.001, 3e-4)]

SUPPORTED_MODELS: list[dict[str, Any]] = [
    _model(
        "ERNIE-Speed-8K",
        _mode("SFT", {FULL: [*_ERNIE, _FULL_RATE], LORA: [*_ERNIE_LORA, _ALL_LINEAR]}),
        _POST_PRETRAIN,
    ),
    _model(
        "ERNIE-Lite-8K-0308",
        _mode(
            "SFT",
            {
                FULL: [*_0308, _number("learningRate", 1e-7, 0.01, 3e-5)],
                LORA: _0308_LORA,
                LORA_GA: _with(_0308_LORA, _length(4096, 8192, default=4096)),
            },
        ),
    ),
    _model(
        "ERNIE-Lite-8K-0922",
        _mode("SFT", {FULL: [*_ERNIE, _FULL_RATE], LORA: _ERNIE_LORA}),
        _POST_PRETRAIN,
    ),
    _model(
        "ERNIE-Lite-8K-0725",
        _mode("SFT", {FULL: [*_ERNIE_SHORT, _FULL_RATE], LORA: [*_ERNIE_SHORT, _LORA_RATE]}),
    ),
    _model(
        "ERNIE-Lite-8K-0704",
        _mode(
            "SFT",
            {
                FULL: [_EPOCH, _FULL_RATE],
                LORA: [_EPOCH, {**_LORA_RATE, "default": 3e-5}],
                PROMPT: [_EPOCH, _number("learningRate", 0.003, 0.1, 0.03)],
            },
        ),
    ),
    _open("Qianfan-Chinese-Llama-2-7B", FULL, LORA, PROMPT),
    {
        **(_llama := _open("Qianfan-Chinese-Llama-2-13B", FULL, LORA, PROMPT)),
        "supportTrainMode": [
            *_llama["supportTrainMode"],
            _mode(
                "PostPretrain",
                {
                    FULL: [
                        _integer("epoch", 1, 1, 1),
                        _integer("batchSize", 48, 960, 192),
                        _number("learningRate", 2e-7, 2e-4, 2e-5),
                        _number("weightDecay", 0.0001, 0.05, 0.01),
                    ]
                },
            ),
        ],
    },
    _open("Qianfan-Chinese-Llama-2-7B-32K", FULL, LORA, PROMPT, base=_LLAMA_32K),
    _open("SQLCoder-7B", FULL, LORA, base=_SQL),
    _open("ChatGLM2-6B", FULL, LORA),
    _open("ChatGLM2-6B-32K", FULL),
    _open("Baichuan2-7B-Chat", FULL, LORA, base=_with(_OPEN, _SLOW)),
    _open("Baichuan2-13B-Chat", FULL, LORA, base=_with(_OPEN, _SLOW)),
    _open("BLOOMZ-7B", FULL, LORA, PROMPT, base=_without(_OPEN, "maxSeqLen")),
    _open("CodeLlama-7B", FULL, LORA, base=_with(_OPEN, _SLOW), lora=[*_OPEN_LORA, _TARGETS]),
]

NAMED_MODELS = (
    "DeepSeek-R1-Distill-Qwen-14B",
    "DeepSeek-R1-Distill-Qwen-7B",
    "ERNIE-Bot-turbo-0704",
    "ERNIE-Bot-turbo-0725",
    "ERNIE-Bot-turbo-0922",
    "ERNIE-Character-8K",
    "ERNIE-Speed",
    "ERNIE-Tiny-8K",
    "Stable-Diffusion-XL",
    "WENXIN-YIGE",
)
"""Models that the documents name without saying how they are trained, and older names."""

TRAIN_MODES = ("SFT", "PostPretrain", "DPO", "KTO", "RFT")
SCALES = (FULL, LORA, LORA_GA, PROMPT)
OTHER_PARAMETERS = ("Packing",)
"""Hyper-parameters of which nothing but the name is documented."""


def with_defects(models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the answer with what a parser must bear: members missing, a scale twice, one nobody knows."""
    models = copy.deepcopy(models)
    for model in models:
        for mode in model["supportTrainMode"]:
            scales = mode["supportParameterScale"]
            for scale in scales:
                for parameter in scale["supportHyperParameterConfig"]:
                    # Some stand under several scales.
                    parameter.pop("name", None)
                    parameter.pop("description", None)
            scales.append(scales[0])
            scales.append({"parameterScale": "QLoRA", "supportHyperParameterConfig": []})
    return models


def is_text_to_image(model: str) -> bool:
    """Tell whether a base model makes pictures."""
    return model == "WENXIN-YIGE" or "diffusion" in model.lower()
