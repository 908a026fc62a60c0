"""Settings of a fine-tuning run: a frozen dataclass, read from a YAML file and `--key value` pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from framegate.configs.loader import DEFAULT_PRESET, read_mapping
from framegate.errors import ConfigError
from framegate.settings import Count, Positive, Range, Share, check, make
from framegate.tools.faults import OnFault

Learn = Literal["last", "all"]
AtLeastZero = Annotated[int, Range(least=0)]
PARTS = ("tower", "merger", "llm", "front_end")
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
        keep_ratios: budgets, of which one is drawn for each batch; empty keeps the front end's own.
        model_options: handed to the model's `from_pretrained`, for example {dtype: bfloat16}.
        lora: train adapters (PEFT) on the parts that are not frozen; False trains those parts whole.
        lora_rank: rank of the adapters.
        lora_alpha: scale of the adapters.
        lora_dropout: dropout in front of the adapters.
        lora_targets: last names of the linear layers that get an adapter.
        freeze_tower: leave the vision tower as it is.
        freeze_merger: leave what brings the tower's features to the language model's width as it is.
        freeze_llm: leave the language model as it is.
        freeze_front_end: leave the front end's module that learns as it is.
        learning_rate: of all that has none of its own.
        tower_learning_rate: of the tower; None for learning_rate.
        merger_learning_rate: of the merger; None for learning_rate.
        front_end_learning_rate: of the front end's module, which starts as a residual of 0; None for learning_rate.
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
        on_too_long: "raise", or "skip" to leave such a sample out with a counted warning; nothing is ever cut.
        on_error: "raise", or "skip" to leave out a sample whose video cannot be read, with a counted warning.
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
    turns: Count = 1
    learn: Learn = "last"
    front_end: str = DEFAULT_PRESET
    front_end_settings: dict[str, Any] = field(default_factory=dict)
    keep_ratios: tuple[Share, ...] = ()
    model_options: dict[str, Any] = field(default_factory=dict)
    lora: bool = True
    lora_rank: Count = 8
    lora_alpha: Count = 16
    lora_dropout: Annotated[float, Range(least=0, below=1)] = 0.0
    lora_targets: tuple[str, ...] = ATTENTION_AND_MLP
    freeze_tower: bool = True
    freeze_merger: bool = True
    freeze_llm: bool = False
    freeze_front_end: bool = False
    learning_rate: Positive = 1e-4
    tower_learning_rate: Positive | None = None
    merger_learning_rate: Positive | None = None
    front_end_learning_rate: Positive | None = 1e-3
    weight_decay: Annotated[float, Range(least=0)] = 0.0
    scheduler: str = "linear"
    warmup_steps: AtLeastZero = 0
    epochs: Positive = 1.0
    max_steps: Count | None = None
    batch_size: Count = 1
    gradient_accumulation_steps: Count = 1
    workers: AtLeastZero = 0
    max_length: Count | None = None
    on_too_long: OnFault = "raise"
    on_error: OnFault = "raise"
    seed: int = 0
    bf16: bool = False
    gradient_checkpointing: bool = False
    logging_steps: Count = 10
    save_steps: Count = 500
    save_total_limit: Count | None = 2
    resume: bool = False
    trainer: Literal["transformers", "trl"] = "transformers"
    report_to: str = "none"
    smoke: bool = False

    def __post_init__(self) -> None:
        check(self, "")
        for name in ("model", "data"):
            if getattr(self, name) is None and not self.smoke:
                raise ConfigError(f"{name} is not set; name one, or set smoke=true for a tiny one.")
        if self.turns > 1 and self.learn == "last":
            raise ConfigError(
                f"turns is {self.turns} and learn is 'last': all but one answer would be left unlearnt; set learn: all."
            )

    @property
    def frozen_parts(self) -> tuple[str, ...]:
        """Parts of the model that are left as they are: of "tower", "merger", "llm" and "front_end"."""
        return tuple(part for part in PARTS if getattr(self, f"freeze_{part}"))

    @property
    def learning_rates(self) -> dict[str, float]:
        """Learning rate of each part."""
        own = {part: getattr(self, f"{part}_learning_rate", None) for part in PARTS}
        return {part: self.learning_rate if rate is None else rate for part, rate in own.items()}


def finetune_config(values: Mapping[str, Any]) -> FinetuneConfig:
    """Make the settings of a run from plain values.

    Args:
        values: keys are fields of FinetuneConfig.

    Returns:
        The validated settings.

    Raises:
        ConfigError: an unknown key (the message names the nearest one), a value of a wrong type or out of range.
    """
    return make(FinetuneConfig, values, what="fine-tuning setting")


def finetune_config_from_argv(argv: Sequence[str]) -> FinetuneConfig:
    """Read the settings of a run as a command line gives them: `CONFIG.yaml --key value --switch`.

    Args:
        argv: a YAML file, then pairs that are laid over it; values are read as YAML.

    Returns:
        The validated settings.

    Raises:
        ConfigError: no such file, a file that is no mapping, a word that belongs to no key, or as `finetune_config`.
    """
    return finetune_config(settings_from_argv(argv))


def settings_from_argv(argv: Sequence[str]) -> dict[str, Any]:
    """Read plain values as a command line gives them: `CONFIG.yaml --key value --switch`.

    Args:
        argv: a YAML file, then pairs that are laid over it; values are read as YAML.

    Returns:
        The values by name, not validated.

    Raises:
        ConfigError: no such file, a file that is no mapping, or a word that belongs to no key.
    """
    if not argv or argv[0].startswith("--"):
        raise ConfigError(
            "The first argument is the run's YAML file, for example examples/finetune/smoke.yaml."
        )
    path = Path(argv[0])
    if not path.is_file():
        raise ConfigError(f"{str(path)!r} is no file; give the YAML file of a run.")
    return read_mapping(path, "a run") | _pairs(list(argv[1:]))


def _pairs(words: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            raise ConfigError(f"{word!r} belongs to no setting; write --key value.")
        name, given, value = word[2:].partition("=")
        if not given:
            value = words.pop(0) if words and not words[0].startswith("--") else "true"
        try:
            found[name.replace("-", "_")] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"{word} is not valid YAML: {error}") from error
    return found
