"""The parts of a model: which are trained, how, and how fast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from framegate.errors import ConfigError, nearest
from framegate.models.attachment.on_model import FRONT_END_NAME
from framegate.models.families import families
from framegate.tools.training.config import PARTS, FinetuneConfig


def part_of(name: str) -> str:
    """Say to which part of a model a parameter belongs.

    Args:
        name: dotted name of a parameter or module, with or without the prefixes of PEFT and of data parallelism.

    Returns:
        "front_end", "merger", "tower" or "llm" (everything else).
    """
    names = set(name.split("."))
    if FRONT_END_NAME in names:
        return "front_end"
    rows = families().values()
    if names & {name for family in rows for name in family.merger_modules}:
        return "merger"
    return "tower" if names & {name for family in rows for name in family.tower_modules} else "llm"


def freeze_parts(model: Any, frozen: Sequence[str]) -> None:
    """Switch gradients on for the parameters of all parts, and off for those that are frozen.

    Args:
        model: the model; adapters of PEFT and what they stand on are left as PEFT set them.
        frozen: parts, of "tower", "merger", "llm" and "front_end".

    Raises:
        ConfigError: no such part.
    """
    for part in frozen:
        if part not in PARTS:
            raise ConfigError(f"There is no part {part!r} to freeze. {nearest(part, PARTS)}")
    adapted = hasattr(model, "peft_config")
    for name, parameter in model.named_parameters():
        part = part_of(name)
        # under PEFT only the front end's module, which is no part of the adapter, is ours to switch
        if (not adapted or part == "front_end") and parameter.is_floating_point():
            parameter.requires_grad_(part not in frozen)


def lora_targets(model: Any, last_names: Sequence[str], frozen: Sequence[str]) -> list[str]:
    """List the linear layers that get an adapter: of the parts that are not frozen, by their last name.

    Args:
        model: the model, before PEFT wraps it.
        last_names: for example "q_proj".
        frozen: parts without adapters.

    Returns:
        Full names of the layers.

    Raises:
        ConfigError: a name that no linear layer of those parts has, or every part frozen.
    """
    open_parts = [part for part in PARTS if part not in frozen and part != "front_end"]
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    free = [name for name in linear if part_of(name) in open_parts]
    if not free:
        raise ConfigError(
            "lora has nothing to adapt: tower, merger and llm are frozen. Set lora=false, or free one."
        )
    known = {name.rpartition(".")[2] for name in free}
    for last in last_names:
        if last not in known:
            raise ConfigError(
                f"lora_targets has {last!r}, and no layer of {', '.join(open_parts)} is called so. "
                f"{nearest(last, known)}"
            )
    return [name for name in free if name.rpartition(".")[2] in last_names]


def add_lora(model: Any, config: FinetuneConfig) -> Any:
    """Wrap a model with PEFT: adapters on the parts that are not frozen. Attach the front end afterwards.

    Args:
        model: the model, not wrapped yet.
        config: rank, targets and frozen parts.

    Returns:
        The wrapped model, whose adapter remembers config.model as its base.

    Raises:
        ConfigError: as `lora_targets`.
    """
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=lora_targets(model, config.lora_targets, config.frozen_parts),
    )
    wrapped = get_peft_model(model, settings)
    # what the user wrote, not where this machine keeps it
    wrapped.peft_config["default"].base_model_name_or_path = config.model
    return wrapped


def parameter_groups(
    model: Any, learning_rates: Mapping[str, float], *, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Sort the trained parameters into an optimizer's groups, one learning rate for each part.

    Args:
        model: with gradients switched as they shall be.
        learning_rates: of each part.
        weight_decay: of matrices; vectors and scalars (norms, biases, gates) have none.

    Returns:
        Groups with params, lr, weight_decay and name.

    Raises:
        ConfigError: nothing is trained.
    """
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part, decays = part_of(name), parameter.ndim > 1
            key = part if decays else f"{part} without decay"
            decay = weight_decay if decays else 0.0
            group = {"params": [], "lr": learning_rates[part], "weight_decay": decay, "name": key}
            groups.setdefault(key, group)["params"].append(parameter)
    if not groups:
        raise ConfigError(
            "Every part is frozen: nothing would be trained. Free one of them, or set lora=true."
        )
    return list(groups.values())


def trainable_table(model: Any) -> dict[str, tuple[int, int]]:
    """Count parameters per part.

    Args:
        model: the model.

    Returns:
        Part to (trained, all).
    """
    counts = dict.fromkeys(PARTS, (0, 0))
    for name, parameter in model.named_parameters():
        trained, whole = counts[part_of(name)]
        own = parameter.numel()
        counts[part_of(name)] = (trained + own * parameter.requires_grad, whole + own)
    return counts
