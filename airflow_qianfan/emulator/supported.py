"""The answer of DescribeFineTuningSupportModels: a few models, enough to test a pre-flight check."""

from __future__ import annotations

from typing import Any


def _parameter(key: str, kind: str, check: str, values: list[Any], default: Any) -> dict[str, Any]:
    return {"key": key, "type": kind, "checkType": check, "checkValue": values, "default": default}


def _text_parameters(learning_rate: list[float], default: float) -> list[dict[str, Any]]:
    return [
        _parameter("epoch", "int", "range", [1, 50], 3),
        _parameter("learningRate", "float", "range", learning_rate, default),
        _parameter("maxSeqLen", "int", "choice", [512, 1024, 2048, 4096, 8192], 4096),
        _parameter("checkpointSaveStrategy", "string", "choice", ["step", "epoch"], "step"),
        _parameter("saveStep", "int", "range", [1, 50000], 64),
        _parameter("checkpointCount", "int", "range", [1, 10], 1),
        _parameter("seed", "int", "range", [1, 2147483647], 42),
        _parameter("earlyStopping", "boolean", "choice", [True, False], False),
    ]


def _scale(name: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    return {"parameterScale": name, "supportHyperParameterConfig": parameters}


def _model(name: str, kind: str, modes: list[str], scales: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "model": name,
        "modelType": kind,
        "supportTrainMode": [{"trainMode": mode, "supportParameterScale": scales} for mode in modes],
    }


_FULL = _scale("FullFineTuning", _text_parameters([1e-7, 0.01], 3e-5))
_LORA = _scale("LoRA", _text_parameters([1e-6, 0.001], 3e-4))
_IMAGE = _scale(
    "LoRA",
    [
        _parameter("epoch", "int", "range", [1, 50], 10),
        _parameter("learningRate", "float", "range", [1e-6, 0.001], 1e-4),
    ],
)

SUPPORTED_MODELS: list[dict[str, Any]] = [
    _model("ERNIE-Speed-8K", "text2text", ["SFT", "PostPretrain", "DPO", "KTO"], [_FULL, _LORA]),
    _model("ERNIE-Lite-8K-0308", "text2text", ["SFT", "DPO"], [_FULL, _LORA]),
    _model("Stable-Diffusion-XL-Base-1.0", "text2image", ["SFT"], [_IMAGE]),
]


def is_text_to_image(model: str) -> bool:
    """Tell whether a base model makes pictures; an unknown one does if its name says diffusion."""
    for known in SUPPORTED_MODELS:
        if known["model"] == model:
            return bool(known["modelType"] == "text2image")
    return "diffusion" in model.lower()
