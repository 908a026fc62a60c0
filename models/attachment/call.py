"""One call of the model: what the caller passed in, what the stock model gets instead, and the way back."""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping
from typing import Any

import torch
from transformers.cache_utils import Cache
from transformers.utils import ModelOutput

from framegate.config import FrontEndConfig
from framegate.errors import AttachmentError, PlaceholderError
from framegate.models.attachment.gating import (
    ANCHOR_KEY,
    MOTION_KEY,
    Gated,
    check_placeholders,
    gate_call,
    num_cells,
    reused_patches,
)
from framegate.models.families import Family
from framegate.models.packed_tower import ATTENTION_NAME, encode_kept
from framegate.models.prompt import PromptMap, carried_map, carry_map, full_positions
from framegate.report import Report

OWN_KEYS = (ANCHOR_KEY, MOTION_KEY)
# What the stock model would use to encode and place media: replaced by features and explicit positions.
_CONSUMED = (
    "pixel_values",
    "pixel_values_videos",
    "image_grid_thw",
    "video_grid_thw",
    "second_per_grid_ts",
    "mm_token_type_ids",
    *OWN_KEYS,
)


class EncodedMedia(dict[str, Any]):
    """`mm_encoder_outputs` that also carries the prompt map to the hook after the call, None when nothing expands."""

    prompt: PromptMap | None = None


def no_video_report(config: FrontEndConfig) -> Report:
    """Make the report of a call that brings no video."""
    return Report(preset=config.preset, notes=["No video in the call: the stock path ran."])


def bound_call(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Spell a forward call with names alone, as its class declares them."""
    names = list(inspect.signature(type(module).forward).parameters)[1:]
    return dict(zip(names, args, strict=False)) | dict(kwargs)


def holds_video(call: Mapping[str, Any]) -> bool:
    """True when the call brings pixels of a video."""
    return call.get("pixel_values_videos") is not None


def without_own_keys(call: dict[str, Any]) -> dict[str, Any]:
    """Drop the keys that only framegate reads."""
    return {name: value for name, value in call.items() if name not in OWN_KEYS}


def compress_call(
    inner: Any, family: Family, config: FrontEndConfig, call: dict[str, Any], report: Report
) -> tuple[dict[str, Any], PromptMap | None]:
    """Gate, encode and shorten a call.

    Args:
        inner: the model without its language-model head.
        family: its row.
        config: the front end's configuration.
        call: the caller's keyword arguments, with input_ids and pixel_values_videos.
        report: filled in.

    Returns:
        Keyword arguments for the stock model, and the prompt map; None as the map when every token stays.

    Raises:
        AttachmentError: inputs_embeds in place of input_ids, or mm_encoder_outputs beside pixels.
        PlaceholderError: placeholders, grids and pixels do not fit one another.
        BudgetError: the budget is below one token per video.
    """
    if call.get("input_ids") is None:
        raise AttachmentError("pixel_values_videos came with inputs_embeds; a front end needs input_ids.")
    if call.get("mm_encoder_outputs"):
        raise AttachmentError("Pass pixel_values_videos or mm_encoder_outputs, not both.")
    if call.get("video_grid_thw") is None:
        raise PlaceholderError(
            "pixel_values_videos came without video_grid_thw; pass both, of one processor call."
        )
    if config.is_identity and call.get(ANCHOR_KEY) is None:
        report.note(_why_identity(config))
        report.num_videos = len(call["video_grid_thw"])
        report.dense_tokens = report.kept_tokens = num_cells(inner.visual, call["video_grid_thw"])
        tower = report.stage("tower")
        tower.patches_in, tower.tokens_out = len(call["pixel_values_videos"]), report.dense_tokens
        return without_own_keys(call), None
    gated = gate_call(call, inner.visual, family, config)
    placeholders = check_placeholders(call["input_ids"], inner.config.video_token_id, gated.cells)
    _account(report, gated, config)
    if bool(gated.cells.keep.all()):
        report.note("Every cell was kept: the stock path ran.")
        return without_own_keys(call), None
    if config.gate is not None and config.gate.mode == "reuse":
        call = call | {"pixel_values_videos": reused_patches(gated, inner.visual)}
        return without_own_keys(call), None
    return _shortened(inner, config, call, gated, placeholders, report)


def _shortened(
    inner: Any,
    config: FrontEndConfig,
    call: dict[str, Any],
    gated: Gated,
    placeholders: torch.Tensor,
    report: Report,
) -> tuple[dict[str, Any], PromptMap]:
    input_ids = call["input_ids"]
    mask = call.get("attention_mask")
    mask = torch.ones_like(input_ids) if mask is None else _two_dimensional(mask)
    keep = torch.ones_like(placeholders)
    keep[placeholders] = gated.cells.keep.to(keep.device)
    prompt = PromptMap.build(keep, input_ids, mask, full_positions(inner, call, mask).to(input_ids.device))
    media = EncodedMedia(_encode(inner, config, call, gated, report))
    media.prompt = prompt
    pad_id = getattr(inner.config.get_text_config(), "pad_token_id", None) or 0
    rest = {name: value for name, value in call.items() if name not in _CONSUMED}
    return rest | {
        "input_ids": prompt.shorten(input_ids, pad_id),
        "attention_mask": prompt.mask,
        "position_ids": prompt.positions,
        "mm_encoder_outputs": media,
    }, prompt


def _two_dimensional(mask: Any) -> torch.Tensor:
    if not isinstance(mask, torch.Tensor) or mask.ndim != 2:
        shape = tuple(mask.shape) if isinstance(mask, torch.Tensor) else type(mask).__name__
        raise AttachmentError(f"attention_mask is {shape}; a front end needs [batch, sequence] of 0 and 1.")
    return mask


def _encode(
    inner: Any, config: FrontEndConfig, call: dict[str, Any], gated: Gated, report: Report
) -> dict[str, Any]:
    anchored = config.context == "anchored"
    if anchored and inner.visual.config._attn_implementation != ATTENTION_NAME:
        raise AttachmentError(
            f"The tower's attention was set to {inner.visual.config._attn_implementation!r} after attach; "
            "context 'anchored' needs its own. Detach, set the attention, and attach again."
        )
    started = time.perf_counter()
    video = encode_kept(inner.visual, gated.patches, call["video_grid_thw"], gated.cells, anchored=anchored)
    stage = report.stage("tower")
    stage.milliseconds = (time.perf_counter() - started) * 1000
    media = {"video": video}
    if call.get("pixel_values") is not None:
        media["image"] = inner.get_image_features(
            call["pixel_values"], call["image_grid_thw"], return_dict=True
        )
    return media


def _why_identity(config: FrontEndConfig) -> str:
    if config.gate is None:
        return f"Preset {config.preset!r} has no gate: the stock path ran."
    return "keep_ratio is 1.0: every stage that reduces stands aside and the stock path ran."


def _account(report: Report, gated: Gated, config: FrontEndConfig) -> None:
    dense, kept = sum(gated.cells.cells_per_video), gated.cells.num_kept
    reuses = config.gate is not None and config.gate.mode == "reuse"
    report.num_videos = len(gated.cells.cells_per_video)
    report.dense_tokens, report.kept_tokens = dense, dense if reuses else kept
    for note in gated.notes:
        report.note(note)
    gate = report.stage("gate")
    gate.patches_in, gate.patches_out = gated.patches_in, len(gated.patches)
    gate.tokens_in, gate.tokens_out = dense, kept
    if gated.milliseconds:
        gate.milliseconds = gated.milliseconds
    tower = report.stage("tower")
    rows = gated.patches_in if reuses else len(gated.patches)
    tower.patches_in, tower.tokens_out = rows, report.kept_tokens
    tower.note = "reuse: every row is encoded" if reuses else ""


def continue_call(prompt: PromptMap, call: dict[str, Any], num_new: int) -> dict[str, Any]:
    """Translate a later call on a cache that holds a compressed prompt, made in the caller's columns.

    Args:
        prompt: the cache's prompt map.
        call: keyword arguments with past_key_values and the new tokens.
        num_new: number of new tokens.

    Returns:
        Keyword arguments for the stock model.

    Raises:
        AttachmentError: pixels on a compressed cache, no new token, or a mask of the wrong width.
    """
    if num_new < 1:
        raise AttachmentError("input_ids hold no token after those in past_key_values; add at least one.")
    if any(call.get(name) is not None for name in ("pixel_values", "pixel_values_videos")):
        raise AttachmentError(
            "Pixels came with past_key_values that hold a compressed prompt. To go on, leave out the pixels that the "
            "cache has seen; for new images or videos, run the whole conversation without past_key_values."
        )
    num_later = call["past_key_values"].get_seq_length() - prompt.length + num_new
    mask = prompt.continued_mask(call.get("attention_mask"), num_later)
    positions = call.get("position_ids")
    if positions is None:
        positions = prompt.continued_positions(mask)[..., -num_new:]
    dropped = ("video_grid_thw", "image_grid_thw", "mm_token_type_ids", "second_per_grid_ts", *OWN_KEYS)
    rest = {name: value for name, value in call.items() if name not in dropped}
    return rest | {"attention_mask": mask, "position_ids": positions}


def cached_prompt(call: Mapping[str, Any]) -> PromptMap | None:
    """Return the compressed prompt that the call's cache holds, if any."""
    cache = call.get("past_key_values")
    return None if cache is None else carried_map(cache)


def expand_output(output: Any, prompt: PromptMap) -> Any:
    """Bring what the stock model returned to the caller's shape, and mark its cache.

    Args:
        output: ModelOutput, tuple or tensor of the short prompt.
        prompt: the map.

    Returns:
        The same kind, hidden states [B, S, D] and attentions [B, h, S, S] in the caller's columns.
    """
    if isinstance(output, ModelOutput):
        for name in list(output.keys()):
            output[name] = expand_output(output[name], prompt)
    elif isinstance(output, tuple):
        return tuple(expand_output(part, prompt) for part in output)
    elif isinstance(output, Cache):
        carry_map(output, prompt)
    elif isinstance(output, torch.Tensor) and output.ndim == 3:
        return prompt.expand_states(output)
    elif isinstance(output, torch.Tensor) and output.ndim == 4:
        return prompt.expand_attentions(output)
    return output
