"""Tiny randomly initialised models of the supported families, with a byte-level tokenizer of their own.

For `framegate run` without --model, and for tests. Their words mean nothing; their shapes, token counts and code paths
are those of the real classes.
"""

from __future__ import annotations

from typing import Any

import torch

from framegate.errors import ConfigError, nearest
from framegate.models.families import families
from framegate.models.family import Family

SPECIAL_TOKENS = ("<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")

_TURN = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for c in m.content %}{% if c.type == 'video' %}VIDEO{% elif c.type == 'image' %}"
    "IMAGE{% else %}{{ c.text }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def chat_template(family: str) -> str:
    """Return a chat template with the family's marks of videos and pictures."""
    recipe = _known(family).tiny
    return _TURN.replace("VIDEO", recipe.video_mark).replace("IMAGE", recipe.image_mark)


def tiny_tokenizer(family: str | None = None) -> Any:
    """Build a byte-level tokenizer with the special tokens of Qwen-VL and no merges.

    Args:
        family: adds the family's own special tokens; None for those of Qwen-VL alone.

    Returns:
        A PreTrainedTokenizerFast that pads on the left.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    recipe = None if family is None else _known(family).tiny
    own = (*SPECIAL_TOKENS, *(recipe.tokens if recipe else ()))
    specials = ["<|endoftext|>", "<|im_end|>", *own]
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(own),
        model_specific_special_tokens=dict(recipe.token_names) if recipe else None,
        padding_side="left",
    )


def tiny_model(
    family: str,
    *,
    seed: int = 0,
    weight_std: float | None = None,
    vision: dict[str, Any] | None = None,
    text: dict[str, Any] | None = None,
) -> Any:
    """Build a randomly initialised model of a stock transformers class.

    Args:
        family: model type of a supported family.
        seed: seed of the weights.
        weight_std: spread of linear weights; None keeps transformers' own initialisation, under which a small
            model answers nearly the same to everything (tests take 0.15).
        vision: settings of the vision configuration to replace.
        text: settings of the text configuration to replace.

    Returns:
        The model in evaluation mode.

    Raises:
        ConfigError: an unknown family; the message names the nearest one.
    """
    return tiny_model_of(
        family, tiny_tokenizer(family), seed=seed, weight_std=weight_std, vision=vision or {}, text=text or {}
    )


def tiny_model_of(
    family: str,
    tokenizer: Any,
    *,
    seed: int,
    weight_std: float | None = None,
    vision: dict[str, Any],
    text: dict[str, Any],
    tied: bool = False,
) -> Any:
    """Build a randomly initialised model for a tokenizer of one's own, maybe with tied embeddings; see `tiny_model`."""
    import transformers

    known = _known(family)
    config = known.tiny.config(tokenizer, vision, text)
    config.tie_word_embeddings = tied
    cls = getattr(transformers, known.model_class)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = cls(config)
        if weight_std is not None:
            _spread(model, weight_std)
    return model.eval()


def tiny_pair(family: str = "qwen2_5_vl", *, seed: int = 0) -> tuple[Any, Any]:
    """Build a tiny model and a processor that fits it and needs no torchvision.

    Args:
        family: model type of a supported family.
        seed: seed of the weights.

    Returns:
        Model and processor.

    Raises:
        ConfigError: an unknown family; the message names the nearest one.
    """
    from framegate.models.video_processor import build_processor

    recipe, model = _known(family), tiny_model(family, seed=seed, weight_std=0.15)
    size = dict(recipe.tiny.size or recipe.video_size) or None
    return model, build_processor(family, tiny_tokenizer(family), chat_template(family), size)


def _known(family: str) -> Family:
    if family not in families():
        raise ConfigError(f"Unknown tiny family {family!r}. {nearest(family, families())}")
    return families()[family]


def _spread(model: torch.nn.Module, std: float) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            torch.nn.init.normal_(module.weight, std=1.0)
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=std)
        # weights of experts are no layers of their own
        for weight in (getattr(module, name, None) for name in ("gate_up_proj", "down_proj")):
            if isinstance(weight, torch.nn.Parameter):
                torch.nn.init.normal_(weight, std=std)
