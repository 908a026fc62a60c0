"""One call of the model: what the caller passed in, what the stock model gets instead, and the way back."""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from transformers.cache_utils import Cache
from transformers.utils import ModelOutput

from framegate.config import FrontEndConfig
from framegate.errors import AttachmentError
from framegate.models.attachment.account import (
    account_for_clock,
    account_for_gate,
    account_for_identity,
    account_for_processor,
    account_for_size,
    account_for_stamps,
)
from framegate.models.attachment.attention import wants_own_attention, why_not_anchored
from framegate.models.attachment.gating import (
    OWN_KEYS,
    Gated,
    Prepared,
    check_placeholders,
    full_size_tokens,
    gate_call,
)
from framegate.models.attachment.on_model import running
from framegate.models.attachment.serving import Attached
from framegate.models.attachment.stage_call import stage_call
from framegate.models.cell_plan import CellPlan, whole_plan
from framegate.models.mechanism import Encoded, Mechanism
from framegate.models.prompt import PromptMap, carried_map, carry_map, kept_columns
from framegate.models.prompt.prompt_map import cache_of
from framegate.models.stages.registry import StageCall, run_stages
from framegate.models.video_tokens import VideoTokens
from framegate.report import Report


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


def with_plain_mask(call: dict[str, Any]) -> dict[str, Any]:
    """Say that a call without a mask and without a cache is one document a row.

    generate drops a mask of ones; with neither mask nor cache, transformers takes gaps in positions, where tokens
    were left out, for the seams of documents packed into a row.

    Args:
        call: keyword arguments of the inner model.

    Returns:
        The same, with a mask of ones where there was none.
    """
    positions = call.get("position_ids")
    if call.get("attention_mask") is not None or positions is None:
        return call
    return call | {"attention_mask": torch.ones_like(positions[0] if positions.ndim == 3 else positions)}


def compress_call(
    attached: Attached, call: dict[str, Any], report: Report, prepared: Prepared | None
) -> tuple[dict[str, Any], PromptMap | None]:
    """Gate, encode, merge and shorten a call.

    Args:
        attached: the model and what is attached to it.
        call: the caller's keyword arguments, with input_ids and pixel_values_videos.
        report: filled in.
        prepared: what an attached processor noted on the videos, None for none.

    Returns:
        Keyword arguments for the stock model, and the prompt map; None as the map when the stock path runs.

    Raises:
        AttachmentError: inputs_embeds in place of input_ids, mm_encoder_outputs beside pixels, or pixels of a stock
            processor where frames should be smaller.
        PlaceholderError: placeholders, grids and pixels do not fit one another.
        BudgetError: the budget is below one token per video.
        ConfigError: a stage needs what the call does not bring.
    """
    config, mechanism = attached.config, attached.mechanism
    if call.get("input_ids") is None:
        raise AttachmentError("pixel_values_videos came with inputs_embeds; a front end needs input_ids.")
    if call.get("mm_encoder_outputs"):
        raise AttachmentError("Pass pixel_values_videos or mm_encoder_outputs, not both.")
    shapes = mechanism.shapes(call)
    report.num_videos = len(shapes)
    if prepared is not None:
        account_for_processor(report, prepared, config.plan)
    report.dense_tokens = report.kept_tokens = sum(t * h * w for t, h, w in shapes)
    report.encoded_cells = report.dense_tokens
    full_size = full_size_tokens(prepared, config)
    if full_size is not None:
        account_for_size(report, full_size)
    stamped = mechanism.is_stamped(call)
    stays = not _changes_tokens(attached) and not stamped
    account_for_stamps(report, attached, max(shape[0] for shape in shapes), stamped=stamped)
    account_for_identity(report, config, stock=stays)
    if stays and config.is_identity and not (prepared is not None and prepared.is_gated):
        tower = report.stage("tower")
        tower.patches_in, tower.tokens_out = mechanism.num_patches(call), report.dense_tokens
        return without_own_keys(mechanism.closed(call)), None
    gated = gate_call(call, mechanism, config, prepared)
    placeholders = mechanism.placeholders(call)
    check_placeholders(placeholders, gated.cells, extra=mechanism.extra_placeholders)
    account_for_gate(report, gated, config)
    account_for_clock(report, mechanism.tower.device)
    stage = stage_call(attached, call, gated, placeholders, report, prepared)
    dense = gated.cells.cells_per_video
    fits = stage.targets is None or all(
        target >= cells for target, cells in zip(stage.targets, dense, strict=True)
    )
    pixels = _stock_pixels(gated, attached, call) if stays and fits else None
    if pixels is not None:
        if not config.reuses:
            report.note("Every cell was kept: the stock path ran.")
        return without_own_keys(mechanism.closed(call | {"pixel_values_videos": pixels})), None
    age = None
    if config.reuses:
        age, gated = _ages(gated.cells), _reused(gated, mechanism, call)
    return _shortened(attached, call, gated, placeholders, stage, age)


def _changes_tokens(attached: Attached) -> bool:
    """True when a stage has something to do even where every cell was kept."""
    return bool(set(running(attached.modules, attached.config)) - {"refill", "reduction"})


def _ages(cells: CellPlan) -> torch.Tensor:
    """Tubes since what stands for each cell was encoded, int64 [C]."""
    area = torch.cat([torch.full((t * h * w,), h * w) for t, h, w in cells.shapes])
    return (torch.arange(len(cells.anchor)) - cells.anchor) // area


def _stock_pixels(gated: Gated, attached: Attached, call: dict[str, Any]) -> torch.Tensor | None:
    """Pixels for the stock path, which serves when every cell has a token; None when it cannot."""
    if not (attached.config.reuses or bool(gated.cells.keep.all())):
        return None
    return attached.mechanism.stock_pixels(gated.patches, gated.cells, call)


def _reused(gated: Gated, mechanism: Mechanism, call: dict[str, Any]) -> Gated:
    """Every cell a token, with its anchor's patches."""
    patches = mechanism.reused_pixels(gated.patches, gated.cells, call)
    return replace(gated, cells=whole_plan(gated.cells.shapes), patches=patches)


def _shortened(
    attached: Attached,
    call: dict[str, Any],
    gated: Gated,
    placeholders: torch.Tensor,
    stage: StageCall,
    age: torch.Tensor | None,
) -> tuple[dict[str, Any], PromptMap]:
    mechanism, input_ids, report = attached.mechanism, call["input_ids"], stage.report
    mask = call.get("attention_mask")
    mask = torch.ones_like(input_ids) if mask is None else _two_dimensional(mask)
    encoded = _encode(attached, call, gated, report)
    cells = gated.cells
    tokens = VideoTokens.of_cells(
        encoded.layers, cells.keep, cells.anchor, cells.shapes, backend=attached.config.backend
    )
    tokens = tokens if age is None else replace(tokens, age=age)
    tokens = run_stages(tokens, running(attached.modules, attached.config), stage)
    report.kept_tokens = tokens.num_tokens
    columns = kept_columns(
        attached.inner.config,
        call,
        placeholders,
        tokens,
        extra=mechanism.extra_placeholders,
        stamped=mechanism.is_stamped(call),
    )
    positions = mechanism.positions(call, mask).to(input_ids.device)
    prompt = PromptMap.build(columns.keep, input_ids, mask, positions)
    report.kept_time_tokens = columns.num_stamped
    if columns.num_stamped:
        report.stage("timestamps").note = f"{columns.num_stamped:,} text tokens of stamps stay"
    media = EncodedMedia(mechanism.media(encoded, tokens, call))
    media.prompt = prompt
    pad_id = getattr(attached.inner.config.get_text_config(), "pad_token_id", None) or 0
    consumed = (*mechanism.consumed, "pixel_values_videos", *OWN_KEYS)
    rest = {name: value for name, value in call.items() if name not in consumed}
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


def _encode(attached: Attached, call: dict[str, Any], gated: Gated, report: Report) -> Encoded:
    tower = attached.mechanism.tower
    anchored = attached.config.context == "anchored" and attached.config.gates
    why = why_not_anchored(tower, attached.mechanism.family) if anchored else None
    if why is not None:
        report.note(f"context 'anchored' stands aside, kept cells see one another alone: {why}")
        anchored = False
    elif not anchored and wants_own_attention(tower, attached.mechanism.family, attached.config):
        report.note(
            "the tower attends segment by segment: it was moved to a GPU, or set to SDPA, after attach; attach again "
            "for the kernel"
        )
    started = time.perf_counter()
    encoded = attached.mechanism.encode(
        gated.patches, call, gated.cells, anchored=anchored, backend=attached.config.backend
    )
    report.stage("tower").milliseconds = (time.perf_counter() - started) * 1000
    for note in encoded.notes:
        report.note(note)
    return encoded


def continue_call(prompt: PromptMap, call: dict[str, Any], num_new: int) -> dict[str, Any]:
    """Translate a later call on a cache that holds a compressed prompt, made in the caller's columns.

    Args:
        prompt: the cache's prompt map.
        call: keyword arguments with a cache and the new tokens.
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
    num_later = cache_of(call).get_seq_length() - prompt.length + num_new
    mask = prompt.continued_mask(call.get("attention_mask"), num_later)
    positions = call.get("position_ids")
    if positions is None:
        positions = prompt.continued_positions(mask)[..., -num_new:]
    dropped = ("video_grid_thw", "image_grid_thw", "mm_token_type_ids", "second_per_grid_ts", *OWN_KEYS)
    rest = {name: value for name, value in call.items() if name not in dropped}
    return rest | {"attention_mask": mask, "position_ids": positions}


def cached_prompt(call: Mapping[str, Any]) -> PromptMap | None:
    """Return the compressed prompt that the call's cache holds, if any."""
    cache = cache_of(call)
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
