"""What the thinkers of Qwen's omni models share: a tower beside sound, seconds on the position axis, a processor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from framegate.errors import PlaceholderError
from framegate.models.families._shared import built_for_patches, qwen2_recipe, tiny_qwen
from framegate.models.family import ProcessorRecipe, TinyRecipe, Values
from framegate.models.prompt import token_types
from framegate.models.towers.packed import PackedTower

# the first in which its model lies as others do, and its processor reads videos in a step of its own
OMNI_TRANSFORMERS = "5.23"
_SECONDS_KEY = "video_second_per_grid"
_AUDIO_TOKENS = ("<|audio_pad|>", "<|audio_start|>", "<|audio_end|>")
_MEL_BINS = 128


class OmniTower(PackedTower):
    """The vision tower of an omni model's thinker, of one model; sound stays, and is text to what places tokens."""

    consumed = (
        "pixel_values",
        "image_grid_thw",
        "video_grid_thw",
        _SECONDS_KEY,
        "use_audio_in_video",
        "mm_token_type_ids",
    )

    def types(self, call: dict[str, Any]) -> Tensor:
        """Kinds of the caller's tokens by their ids: processors count sound as a kind of its own."""
        return token_types(self.inner.config, call["input_ids"])

    def is_stamped(self, call: dict[str, Any]) -> bool:
        """True when stamps stand between the tubes of a video; its sound does, where both are read together."""
        return not call.get("use_audio_in_video") and super().is_stamped(call)

    def positions(self, call: dict[str, Any], attention_mask: Tensor) -> Tensor:
        """Positions of the caller's prompt on the three vision axes, [3, B, S].

        Raises:
            PlaceholderError: videos without their seconds per tube.
        """
        seconds, heard = call.get(_SECONDS_KEY), call.get("feature_attention_mask")
        if seconds is None and call.get("video_grid_thw") is not None and call.get("position_ids") is None:
            raise PlaceholderError(
                f"video_grid_thw came without {_SECONDS_KEY}, by which {self.family.model_class} places tubes; pass "
                "both, of one processor call."
            )
        lengths = call.get("audio_feature_lengths") if heard is None else heard.sum(-1)
        named = {"second_per_grids": seconds, "audio_seqlens": lengths}
        return super().positions(call | named, attention_mask)


def omni_recipe(processor: str, *, assumed_fps: float) -> ProcessorRecipe:
    """The processor of an omni model, by the name of its class, and the rate that it takes frames to have."""
    return replace(
        qwen2_recipe(processor),
        built=_built,
        feature_extractor="WhisperFeatureExtractor",
        tube_seconds_key=_SECONDS_KEY,
        assumed_fps=assumed_fps,
    )


def _built(values: Mapping[str, Any]) -> tuple[Values, Values]:
    from transformers import WhisperFeatureExtractor

    images, own = built_for_patches(values)
    return images, own | {"feature_extractor": WhisperFeatureExtractor(feature_size=_MEL_BINS)}


def omni_tiny(config: Any) -> TinyRecipe:
    """How the tiny model of an omni model's thinker is made, by what makes its configuration."""
    pad, start, end = _AUDIO_TOKENS
    names = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>", "audio_token": pad}
    names |= {"vision_bos_token": "<|vision_start|>", "vision_eos_token": "<|vision_end|>"}
    names |= {"audio_bos_token": start, "audio_eos_token": end}
    return TinyRecipe(config=config, tokens=_AUDIO_TOKENS, token_names=names)


def tiny_thinker(
    config: str, tokenizer: Any, *, vision: Values, audio: Values, text: Values, rope: Values
) -> Any:
    """The configuration of a tiny thinker, by the name of its class; `audio` beside what encoders of sound share."""
    hears = {"num_mel_bins": _MEL_BINS, "d_model": 32, "output_dim": 64, "encoder_layers": 1}
    hears |= {"encoder_attention_heads": 2, "encoder_ffn_dim": 64, "max_source_positions": 1500}
    ids = dict(
        zip(("audio_token_id", "audio_start_token_id", "audio_end_token_id"), _AUDIO_TOKENS, strict=True)
    )
    own = {name: tokenizer.convert_tokens_to_ids(token) for name, token in ids.items()}
    more = own | {"audio_config": hears | audio}
    return tiny_qwen(config, tokenizer, vision=vision, text=text, rope=rope, more=more)
