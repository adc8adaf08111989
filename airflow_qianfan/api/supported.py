"""Which models can be trained how: as the service says it, and as far as its documents have tables.

The service's own answer is not documented, so it is read leniently. The tables are old: that of
ERNIE-Lite-8K-0308 is of September 2025, all others are of April 2024.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_qianfan.api.actions.finetuning import HyperParameter, SupportedModel


@dataclass(frozen=True)
class Range:
    """Numbers from the least to the most."""

    least: float
    most: float

    def allows(self, value: Any) -> bool:
        """Return whether a value is one of them; a text that stands for a number is."""
        number = _number(value)
        return number is not None and self.least <= number <= self.most

    def __str__(self) -> str:
        return f"{self.least:g}" if self.least == self.most else f"{self.least:g} to {self.most:g}"


@dataclass(frozen=True)
class Choice:
    """One of some values, or several of them as a list."""

    values: tuple[Any, ...]
    several: bool = False

    def allows(self, value: Any) -> bool:
        """Return whether a value is one of them, or a list of some."""
        given = value if self.several and isinstance(value, (list, tuple)) else (value,)
        return all(any(_is_same(each, allowed) for allowed in self.values) for each in given)

    def __str__(self) -> str:
        return ("some of " if self.several else "") + ", ".join(map(str, self.values))


Allowed = Range | Choice | None
"""What a hyper-parameter may be; None where nobody says."""

Scales = Mapping[str, Mapping[str, Allowed]]
Table = Mapping[str, Mapping[str, Scales]]
"""By model, train mode, parameter scale and hyper-parameter."""


def read(models: Iterable[SupportedModel]) -> Table:
    """Return the service's answer as a table. Rows without a name are left out, equal ones joined."""
    table: dict[str, dict[str, dict[str, dict[str, Allowed]]]] = {}
    for model in models:
        for mode in model.support_train_mode:
            for scale in mode.support_parameter_scale:
                if not (model.model and mode.train_mode and scale.parameter_scale):
                    continue
                scales = table.setdefault(model.model, {}).setdefault(mode.train_mode, {})
                rows = scales.setdefault(scale.parameter_scale, {})
                rows.update(
                    {row.key: _allowed(row) for row in scale.support_hyper_parameter_config if row.key}
                )
    return table


def _allowed(parameter: HyperParameter) -> Allowed:
    values = parameter.check_value
    if not isinstance(values, list) or not values:
        return None
    if parameter.check_type == "range":
        limits = [number for number in map(_number, values) if number is not None]
        return Range(limits[0], limits[-1]) if len(limits) == len(values) else None
    if parameter.check_type in ("choice", "mult_choice"):
        return Choice(tuple(values), parameter.check_type == "mult_choice")
    return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _is_same(value: Any, allowed: Any) -> bool:
    number = _number(value)
    return (
        value == allowed
        or str(value).lower() == str(allowed).lower()
        or (number is not None and number == _number(allowed))
    )


_SCHEDULERS = Choice(("linear", "cosine", "polynomial", "constant", "constant_with_warmup"))
_EPOCH = Range(1, 50)
_8K = Choice((4096, 8192))

_FULL: Mapping[str, Allowed] = {"learningRate": Range(1e-5, 4e-5)}
_LORA: Mapping[str, Allowed] = {"learningRate": Range(3e-5, 1e-3)}
_ERNIE_SHORT: Mapping[str, Allowed] = {"epoch": _EPOCH, "maxSeqLen": _8K}
_ERNIE: Mapping[str, Allowed] = {
    **_ERNIE_SHORT,
    "batchSize": Range(1, 4),
    "loggingSteps": Range(1, 100),
    "warmupRatio": Range(0.01, 0.5),
    "weightDecay": Range(0.0001, 0.1),
}
_ERNIE_RANK: Mapping[str, Allowed] = {**_LORA, "loraRank": Choice((2, 4, 8))}
_ERNIE_SFT: Scales = {
    "FullFineTuning": {**_ERNIE, **_FULL},
    "LoRA": {**_ERNIE, **_ERNIE_RANK, "loraAllLinear": None},
}
_SPEED_LORA: Scales = {
    "LoRA": {**_ERNIE, **_ERNIE_RANK, "loraAllLinear": Choice(("True", "False"))},
}
_POST_PRETRAIN: Scales = {"FullFineTuning": {"epoch": Range(1, 10), **_FULL, "maxSeqLen": _8K}}

_OPEN: Mapping[str, Allowed] = {
    "epoch": _EPOCH,
    "batchSize": Range(1, 4),
    "learningRate": Range(2e-7, 2e-4),
    "maxSeqLen": Choice((1024, 2048, 4096)),
    "schedulerName": _SCHEDULERS,
    "weightDecay": Range(0.001, 1),
    "warmupRatio": Range(0.01, 0.1),
}
_OPEN_LORA: Mapping[str, Allowed] = {
    "loraRank": Choice((8, 16, 32, 64)),
    "loraAlpha": Choice((8, 16, 32, 64)),
    "loraDropout": Range(0.1, 0.5),
}
_SLOW: Mapping[str, Allowed] = {**_OPEN, "learningRate": Range(1e-10, 2e-4)}
_TARGETS = tuple(f"self_attn.{name}_proj" for name in "qkvo") + tuple(
    f"mlp.{name}_proj" for name in ("gate", "up", "down")
)


def _sft(*scales: str, base: Mapping[str, Allowed] = _OPEN, **lora: Allowed) -> Mapping[str, Scales]:
    rows = {scale: {**base, **(_OPEN_LORA if scale == "LoRA" else {})} for scale in scales}
    if "LoRA" in rows:
        rows["LoRA"].update(lora)
    return {"SFT": rows}


_ALL = ("FullFineTuning", "LoRA", "PromptTuning")
_TWO = ("FullFineTuning", "LoRA")
_0308: Mapping[str, Allowed] = {
    "epoch": _EPOCH,
    "maxSeqLen": Choice((512, 1024, 2048, 4096, 8192)),
    "loggingSteps": Range(1, 1),
    "warmupRatio": Range(0.01, 0.5),
    "weightDecay": Range(0.0001, 0.1),
    "globalBatchSize": Range(1, 10000),
    "pseudoSamplingProb": Range(0, 1),
    "checkpointSaveStrategy": Choice(("step", "epoch")),
    "saveStep": Range(1, 50000),
    "checkpointCount": Range(1, 10),
    "validationStep": Range(0, 1000000),
    "seed": Range(1, 2147483647),
    "lrSchedulerType": _SCHEDULERS,
    "numCycles": Range(0.1, 0.5),
    "lrEnd": Range(1e-8, 1e-6),
    "power": Range(1, 3),
    "earlyStopping": Choice((True, False)),
    "earlyStopMetric": Choice(("ValidationLoss",)),
    "earlyStoppingThreshold": Range(0, 5),
    "earlyStoppingPatience": Range(1, 50),
}

TABLE: Table = {
    "ERNIE-Lite-8K-0308": {
        "SFT": {
            "FullFineTuning": {**_0308, "learningRate": Range(1e-7, 0.01)},
            "LoRA": {**_0308, "learningRate": Range(1e-6, 0.001)},
            "LoRA-GA": {**_0308, "learningRate": Range(1e-6, 0.001), "maxSeqLen": _8K},
        }
    },
    "ERNIE-Speed-8K": {"SFT": {**_ERNIE_SFT, **_SPEED_LORA}, "PostPretrain": _POST_PRETRAIN},
    "ERNIE-Lite-8K-0922": {"SFT": _ERNIE_SFT, "PostPretrain": _POST_PRETRAIN},
    "ERNIE-Lite-8K-0725": {
        "SFT": {"FullFineTuning": {**_ERNIE_SHORT, **_FULL}, "LoRA": {**_ERNIE_SHORT, **_LORA}}
    },
    "ERNIE-Lite-8K-0704": {
        "SFT": {
            "FullFineTuning": {"epoch": _EPOCH, **_FULL},
            "LoRA": {"epoch": _EPOCH, **_LORA},
            "PromptTuning": {"epoch": _EPOCH, "learningRate": Range(0.003, 0.1)},
        }
    },
    "Qianfan-Chinese-Llama-2-7B": _sft(*_ALL),
    "Qianfan-Chinese-Llama-2-13B": {
        **_sft(*_ALL),
        "PostPretrain": {
            "FullFineTuning": {
                "epoch": Range(1, 1),
                "batchSize": Range(48, 960),
                "learningRate": Range(2e-7, 2e-4),
                "weightDecay": Range(0.0001, 0.05),
            }
        },
    },
    "Qianfan-Chinese-Llama-2-7B-32K": _sft(
        *_ALL,
        base={**_SLOW, "batchSize": Range(1, 1), "maxSeqLen": Choice((4096, 8192, 16384, 32768))},
    ),
    "SQLCoder-7B": _sft(
        *_TWO, base={**{key: _OPEN[key] for key in ("epoch", "batchSize", "learningRate")}, "maxSeqLen": _8K}
    ),
    "ChatGLM2-6B": _sft(*_TWO),
    "ChatGLM2-6B-32K": _sft("FullFineTuning"),
    "Baichuan2-7B-Chat": _sft(*_TWO, base=_SLOW),
    "Baichuan2-13B-Chat": _sft(*_TWO, base=_SLOW),
    "BLOOMZ-7B": _sft(*_ALL, base={**_OPEN, "maxSeqLen": None}),
    "CodeLlama-7B": _sft(*_TWO, base=_SLOW, loraTargetModules=Choice(_TARGETS, several=True)),
}

PARAMETERS = frozenset(
    {
        "Packing",
        *(
            key
            for modes in TABLE.values()
            for scales in modes.values()
            for rows in scales.values()
            for key in rows
        ),
    }
)
"""All hyper-parameters that are documented for any model."""
