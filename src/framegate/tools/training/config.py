"""Settings of a fine-tuning run: a frozen dataclass, read from a YAML file and `--key value` pairs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from framegate.configs.loader import DEFAULT_PRESET
from framegate.errors import ConfigError, nearest

TRAINERS = ("transformers", "trl")
ON_TOO_LONG = ("error", "skip")
LEARN = ("last", "all")
ATTENTION_AND_MLP = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Everything that decides a fine-tuning run.

    Args:
        model: folder or hub id of a supported checkpoint; left out only in smoke mode, which makes a tiny one.
        data: folder with `videos/` and `questions.jsonl`; left out only in smoke mode.
        output_dir: where checkpoints and the result go.
        split: train on the questions of this split (`meta.split`); None takes all.
        eval_split: questions whose loss is measured at every save; None for none.
        turns: ask up to so many questions of neighbouring lines about a video in one conversation; with learn "all".
        learn: "last" learns the last answer of a conversation, "all" every one.
        front_end: preset, YAML file or saved folder of the front end.
        front_end_settings: settings laid over it, for example {fps: 4}.
        keep_ratios: budgets in (0, 1], of which one is drawn for each batch; empty keeps the front end's own.
        model_options: handed to the model's `from_pretrained`, for example {dtype: bfloat16}.
        lora: train adapters (PEFT) on the parts that are not frozen; False trains those parts whole.
        lora_rank: rank of the adapters.
        lora_alpha: scale of the adapters.
        lora_dropout: dropout in front of the adapters, in [0, 1).
        lora_targets: last names of the linear layers that get an adapter.
        freeze_tower: leave the vision tower as it is.
        freeze_merger: leave what brings the tower's features to the language model's width as it is.
        freeze_llm: leave the language model as it is.
        freeze_front_end: leave the spatiotemporal module as it is.
        learning_rate: of all that has none of its own.
        tower_learning_rate: of the tower; None for learning_rate.
        merger_learning_rate: of the merger; None for learning_rate.
        front_end_learning_rate: of the spatiotemporal module, which starts as the identity; None for learning_rate.
        weight_decay: of matrices, not of vectors and scalars.
        scheduler: transformers' name of the learning rate's course.
        warmup_steps: steps over which the learning rate rises.
        epochs: times the data is seen.
        max_steps: end after so many steps, whatever epochs says; None for no limit.
        batch_size: conversations per device and forward pass.
        gradient_accumulation_steps: forward passes per step.
        workers: processes that decode videos; 0 decodes in the training process.
        max_length: most tokens of a sample that may reach the language model, those the gate dropped not counted;
            None for no limit.
        on_too_long: "error", or "skip" to leave such a sample out with a counted warning; nothing is ever cut.
        seed: of data order, dropout, adapters and budgets.
        bf16: mixed precision.
        gradient_checkpointing: compute activations again in the backward pass, to save memory.
        logging_steps: steps between logged losses.
        save_steps: steps between checkpoints.
        save_total_limit: checkpoints that are kept; None keeps all.
        resume: go on from the last checkpoint in output_dir.
        trainer: "transformers" or "trl".
        report_to: transformers' name of an experiment tracker, or "none".
        smoke: a few steps on the CPU.

    Raises:
        ConfigError: a value out of range, or a model or data that is missing.
    """

    model: str | None = None
    data: str | None = None
    output_dir: str = "out/finetune"
    split: str | None = None
    eval_split: str | None = None
    turns: int = 1
    learn: str = "last"
    front_end: str = DEFAULT_PRESET
    front_end_settings: dict[str, Any] = field(default_factory=dict)
    keep_ratios: tuple[float, ...] = ()
    model_options: dict[str, Any] = field(default_factory=dict)
    lora: bool = True
    lora_rank: int = 8
    lora_alpha: int = 16
    lora_dropout: float = 0.0
    lora_targets: tuple[str, ...] = ATTENTION_AND_MLP
    freeze_tower: bool = True
    freeze_merger: bool = True
    freeze_llm: bool = False
    freeze_front_end: bool = False
    learning_rate: float = 1e-4
    tower_learning_rate: float | None = None
    merger_learning_rate: float | None = None
    front_end_learning_rate: float | None = 1e-3
    weight_decay: float = 0.0
    scheduler: str = "linear"
    warmup_steps: int = 0
    epochs: float = 1.0
    max_steps: int | None = None
    batch_size: int = 1
    gradient_accumulation_steps: int = 1
    workers: int = 0
    max_length: int | None = None
    on_too_long: str = "error"
    seed: int = 0
    bf16: bool = False
    gradient_checkpointing: bool = False
    logging_steps: int = 10
    save_steps: int = 500
    save_total_limit: int | None = 2
    resume: bool = False
    trainer: str = "transformers"
    report_to: str = "none"
    smoke: bool = False

    def __post_init__(self) -> None:
        for name in ("model", "data"):
            if getattr(self, name) is None and not self.smoke:
                raise ConfigError(f"{name} is not set; name one, or set smoke=true for a tiny one.")
        for name, choices in (("trainer", TRAINERS), ("on_too_long", ON_TOO_LONG), ("learn", LEARN)):
            if getattr(self, name) not in choices:
                raise ConfigError(
                    f"{name} is {getattr(self, name)!r}. {nearest(getattr(self, name), choices)}"
                )
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} is {value}; it must be at least {least}.")
        for name in _ABOVE_ZERO:
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"{name} is {value}; it must be above 0.")
        if self.turns > 1 and self.learn == "last":
            raise ConfigError(
                f"turns is {self.turns} and learn is 'last': all but one answer would be left unlearnt; set learn: all."
            )
        if not all(0 < ratio <= 1 for ratio in self.keep_ratios):
            raise ConfigError(f"keep_ratios are {list(self.keep_ratios)}; each must be in (0, 1].")
        if not 0 <= self.lora_dropout < 1:
            raise ConfigError(f"lora_dropout is {self.lora_dropout}; it must be in [0, 1).")

    @property
    def frozen_parts(self) -> tuple[str, ...]:
        """Parts of the model that are left as they are: of "tower", "merger", "llm" and "front_end"."""
        return tuple(part for part in PARTS if getattr(self, f"freeze_{part}"))

    @property
    def learning_rates(self) -> dict[str, float]:
        """Learning rate of each part."""
        own = {part: getattr(self, f"{part}_learning_rate", None) for part in PARTS}
        return {part: self.learning_rate if rate is None else rate for part, rate in own.items()}


PARTS = ("tower", "merger", "llm", "front_end")
_LEAST: dict[str, float] = {
    "turns": 1,
    "lora_rank": 1,
    "lora_alpha": 1,
    "weight_decay": 0,
    "warmup_steps": 0,
    "max_steps": 1,
    "batch_size": 1,
    "gradient_accumulation_steps": 1,
    "workers": 0,
    "max_length": 1,
    "logging_steps": 1,
    "save_steps": 1,
    "save_total_limit": 1,
}
_ABOVE_ZERO = (
    "epochs",
    "learning_rate",
    "tower_learning_rate",
    "merger_learning_rate",
    "front_end_learning_rate",
)


def finetune_config(values: Mapping[str, Any]) -> FinetuneConfig:
    """Make the settings of a run from plain values.

    Args:
        values: keys are fields of FinetuneConfig.

    Returns:
        The validated settings.

    Raises:
        ConfigError: an unknown key (the message names the nearest one), a value of a wrong type or out of range.

    Source: ours.
    """
    hints = get_type_hints(FinetuneConfig)
    names = {entry.name for entry in dataclasses.fields(FinetuneConfig)}
    for name in values:
        if name not in names:
            raise ConfigError(f"Unknown fine-tuning setting {name!r}. {nearest(str(name), names)}")
    return FinetuneConfig(**{name: _read(name, value, hints[name]) for name, value in values.items()})


def finetune_config_from_argv(argv: Sequence[str]) -> FinetuneConfig:
    """Read the settings of a run as a command line gives them: `CONFIG.yaml --key value --switch`.

    Args:
        argv: a YAML file, then pairs that are laid over it; values are read as YAML.

    Returns:
        The validated settings.

    Raises:
        ConfigError: no such file, a file that is no mapping, a word that belongs to no key, or as `finetune_config`.

    Source: ours.
    """
    if not argv or argv[0].startswith("--"):
        raise ConfigError(
            "The first argument is the run's YAML file, for example examples/finetune/smoke.yaml."
        )
    return finetune_config(_yaml_file(Path(argv[0])) | _pairs(list(argv[1:])))


def _yaml_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"{str(path)!r} is no file; give the YAML file of a run.")
    values = _yaml(path.read_text(encoding="utf-8"), str(path))
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds {type(values).__name__}; a run is a mapping of settings.")
    return {str(name): value for name, value in values.items()}


def _pairs(words: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            raise ConfigError(f"{word!r} belongs to no setting; write --key value.")
        name, given, value = word[2:].partition("=")
        if not given:
            value = words.pop(0) if words and not words[0].startswith("--") else "true"
        found[name.replace("-", "_")] = _yaml(value, word)
    return found


def _yaml(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is not valid YAML: {error}") from error


def _read(name: str, value: Any, hint: Any) -> Any:
    """A value in the type of its field; YAML takes 1e-4 for text, and lists for tuples."""
    options = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    for option in options:
        if get_origin(option) is tuple and isinstance(value, list | tuple):
            return tuple(_read(name, part, get_args(option)[0]) for part in value)
        if get_origin(option) is dict and isinstance(value, Mapping):
            return dict(value)
        if option is float and _is_number(value):
            return float(value)
        if option is int and isinstance(value, Integral) and not isinstance(value, bool):
            return int(value)
        if option in (str, bool, NoneType) and isinstance(value, option):
            return value
    words = str(getattr(hint, "__name__", hint)).replace("|", "or").replace("NoneType", "None")
    raise ConfigError(f"{name} is {value!r}; it must be {words}.")


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
        return True
    return isinstance(value, Real) and not isinstance(value, bool)
