"""Configurations of a few hundred thousand parameters, built in code, with a byte-level tokenizer of their own."""

from __future__ import annotations

from typing import Any

import torch

from framegate.errors import ConfigError, nearest
from framegate.models.tiny.llava_onevision import IMAGE_PX, IMAGE_TOKEN, VIDEO_TOKEN, llava_onevision_config

SPECIAL_TOKENS = ("<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")

_TURN = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for c in m.content %}{% if c.type == 'video' %}VIDEO{% elif c.type == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c.text }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_IMAGE_MARK = "<|vision_start|><|image_pad|><|vision_end|>"
_OWN_TOKENS = {"llava_onevision": (IMAGE_TOKEN, VIDEO_TOKEN)}
_SIZES = {"llava_onevision": {"height": IMAGE_PX, "width": IMAGE_PX}}
# Qwen3-VL's processor puts the vision marks around every time step itself.
_VIDEO_MARK = {
    "qwen2_vl": "<|vision_start|><|video_pad|><|vision_end|>",
    "qwen2_5_vl": "<|vision_start|><|video_pad|><|vision_end|>",
    "qwen3_vl": "<|video_pad|>",
    "llava_onevision": VIDEO_TOKEN,
}


def chat_template(family: str) -> str:
    """Return a chat template with the family's marks of videos and pictures."""
    template = _TURN.replace("VIDEO", _VIDEO_MARK[_known(family)])
    return template.replace(_IMAGE_MARK, IMAGE_TOKEN) if family == "llava_onevision" else template


def tiny_tokenizer(family: str | None = None) -> Any:
    """Build a byte-level tokenizer with the special tokens of Qwen-VL and no merges.

    Args:
        family: adds the family's own special tokens; None for those of Qwen-VL alone.

    Returns:
        A PreTrainedTokenizerFast that pads on the left.

    Source: ours.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    own = (*SPECIAL_TOKENS, *_OWN_TOKENS.get(family or "", ()))
    specials = ["<|endoftext|>", "<|im_end|>", *own]
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(own),
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
        family: "qwen2_vl", "qwen2_5_vl", "qwen3_vl" or "llava_onevision".
        seed: seed of the weights.
        weight_std: spread of linear weights; None keeps transformers' own initialisation, under which a small
            model answers nearly the same to everything (tests take 0.15).
        vision: settings of the vision configuration to replace.
        text: settings of the text configuration to replace.

    Returns:
        The model in evaluation mode.

    Raises:
        ConfigError: an unknown family; the message names the nearest one.

    Source: ours.
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
    """Build a randomly initialised model for a tokenizer of one's own; see `tiny_model`.

    Args:
        family: as for `tiny_model`.
        tokenizer: with the family's special tokens.
        seed: seed of the weights.
        weight_std: spread of linear weights; None keeps transformers' own initialisation.
        vision: settings of the vision configuration to replace.
        text: settings of the text configuration to replace.
        tied: the output layer is the table of embeddings.

    Returns:
        The model in evaluation mode.

    Raises:
        ConfigError: an unknown family; the message names the nearest one.

    Source: ours.
    """
    import transformers

    config = _CONFIGS[_known(family)](tokenizer, vision, text)
    config.tie_word_embeddings = tied
    cls = getattr(transformers, config.__class__.__name__.removesuffix("Config") + "ForConditionalGeneration")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = cls(config)
        if weight_std is not None:
            _spread(model, weight_std)
    return model.eval()


def tiny_pair(family: str = "qwen2_5_vl", *, seed: int = 0) -> tuple[Any, Any]:
    """Build a tiny model and a processor that fits it and needs no torchvision.

    Args:
        family: "qwen2_vl", "qwen2_5_vl", "qwen3_vl" or "llava_onevision".
        seed: seed of the weights.

    Returns:
        Model and processor.

    Raises:
        ConfigError: an unknown family; the message names the nearest one.

    Source: ours.
    """
    from framegate.models.families import family_of_type
    from framegate.models.video_processor import build_processor

    model = tiny_model(family, seed=seed, weight_std=0.15)
    size = _SIZES.get(family) or dict(family_of_type(family).video_size) or None
    return model, build_processor(family, tiny_tokenizer(family), chat_template(family), size)


def _known(family: str) -> str:
    if family not in _CONFIGS:
        raise ConfigError(f"Unknown tiny family {family!r}. {nearest(family, _CONFIGS)}")
    return family


def _spread(model: torch.nn.Module, std: float) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            torch.nn.init.normal_(module.weight, std=1.0)
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=std)


def _token_ids(tokenizer: Any) -> dict[str, int]:
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return {key: tokenizer.convert_tokens_to_ids(token) for key, token in names.items()}


def _text(tokenizer: Any, rope: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]} | rope,
    } | changes


def _qwen2_vl(tokenizer: Any, vision: dict[str, Any], text: dict[str, Any]) -> Any:
    from transformers import Qwen2VLConfig

    tower = {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2, "patch_size": 14}
    shared = {"spatial_merge_size": 2, "temporal_patch_size": 2, "in_channels": 3}
    return Qwen2VLConfig(
        text_config=_text(tokenizer, {}, text), vision_config=tower | shared | vision, **_token_ids(tokenizer)
    )


def _qwen2_5_vl(tokenizer: Any, vision: dict[str, Any], text: dict[str, Any]) -> Any:
    from transformers import Qwen2_5_VLConfig

    tower = {"depth": 4, "hidden_size": 32, "out_hidden_size": 64, "num_heads": 2, "intermediate_size": 64}
    windows = {"patch_size": 14, "window_size": 56, "fullatt_block_indexes": [1, 3], "tokens_per_second": 2}
    shared = {"spatial_merge_size": 2, "temporal_patch_size": 2}
    return Qwen2_5_VLConfig(
        text_config=_text(tokenizer, {}, text),
        vision_config=tower | windows | shared | vision,
        **_token_ids(tokenizer),
    )


def _qwen3_vl(tokenizer: Any, vision: dict[str, Any], text: dict[str, Any]) -> Any:
    from transformers import Qwen3VLConfig

    tower = {"depth": 4, "hidden_size": 32, "out_hidden_size": 64, "num_heads": 2, "intermediate_size": 64}
    deepstack = {"patch_size": 16, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1, 2]}
    shared = {"spatial_merge_size": 2, "temporal_patch_size": 2}
    return Qwen3VLConfig(
        text_config=_text(tokenizer, {"mrope_interleaved": True}, {"head_dim": 16} | text),
        vision_config=tower | deepstack | shared | vision,
        **_token_ids(tokenizer),
    )


_CONFIGS = {
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
    "llava_onevision": llava_onevision_config,
}
