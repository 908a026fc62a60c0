"""timm's vision transformers on kept patches alone: which can be served, and packed rows through their blocks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from inspect import signature
from typing import Any

import torch
from packaging.version import Version
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from framegate.errors import UnsupportedModelError
from framegate.models.towers.grid_encode import add_mask, frame_pairs, groups_of, project_patches
from framegate.models.towers.offloaded import loaded
from framegate.models.towers.patches import CHANNELS
from framegate.tokenizers.clip.clip import Judged
from framegate.tokenizers.gate.video import TowerView

# the lowest release that the tests were run with
_LOWEST = "1.0.31"
_SERVED = "supported are timm's VisionTransformer and Eva (most of vit_*, deit*, deit3*, eva*)"


def check_timm(model: Any) -> None:
    """Look whether a model is one whose patches can be left out.

    Raises:
        UnsupportedModelError: it is not; the message says why.
    """
    why = _why_not(model)
    if why is not None:
        raise UnsupportedModelError(f"{type(model).__name__} cannot be gated: {why}.")


def _why_not(model: Any) -> str | None:
    try:
        import timm
        from timm.layers import PatchEmbed
        from timm.models.eva import Eva
        from timm.models.vision_transformer import VisionTransformer
    except ImportError as problem:
        return f'timm does not load ({problem}); pip install "framegate[timm]"'
    if Version(timm.__version__) < Version(_LOWEST):
        return f"timm {timm.__version__} is installed, and its blocks are called as those of {_LOWEST} are; update it"
    stock = next((cls for cls in (VisionTransformer, Eva) if isinstance(model, cls)), None)
    if stock is None:
        return f"{_SERVED}; windows, stages of several sizes and relative positions need whole frames"
    changed = [
        name
        for name in ("forward_features", "_pos_embed")
        if getattr(type(model), name) is not getattr(stock, name)
    ]
    if changed:
        return f"its own {' and '.join(changed)} may do other than {stock.__name__}'s; {_SERVED}"
    stem = model.patch_embed
    if type(stem) is not PatchEmbed:
        return f"its stem {type(stem).__name__} mixes patches before the first block; PatchEmbed is supported"
    sides, size_px, channels = stem.patch_size, stem.img_size, stem.proj.in_channels
    if sides[0] != sides[1] or channels != CHANNELS:
        return f"patches are {sides[0]} x {sides[1]} px of {channels} channels; square RGB ones are supported"
    whole = not any(side_px % sides[0] for side_px in size_px)
    if not whole and (size_px[0] != size_px[1] or stem.dynamic_img_pad):
        return f"its {size_px[0]} x {size_px[1]} px are no whole number of {sides[0]}-px patches; use set_input_size"
    if getattr(model.patch_drop, "prob", 0):
        return f"patch_drop_rate is {model.patch_drop.prob}, and the gate drops patches itself; set it to 0"
    if not all("attn_mask" in signature(block.forward).parameters for block in model.blocks):
        return "its blocks take no attn_mask, by which frames are kept apart"
    return None


def grid_side(model: Any) -> tuple[int, int]:
    """Patches from top to bottom and from left to right."""
    rows, columns = model.patch_embed.grid_size
    return int(rows), int(columns)


def view_of(model: Any, *, cell_px: int, resample: Any) -> TowerView:
    """How the model takes videos: every frame at its input size, of which the gate judges what patches cover."""
    size_px, patch_px = model.patch_embed.img_size, model.patch_embed.patch_size[0]
    seen_px = size_px[0] // patch_px * patch_px
    return TowerView(
        cell_px=cell_px,
        tube_frames=1,
        size_px=lambda *_: (int(size_px[0]), int(size_px[1])),
        resample=resample,
        judged=None if seen_px == size_px[0] else Judged(seen_px=seen_px, judged_px=seen_px),
    )


def encode_patches(
    model: Any, patches: Tensor, places: Tensor, lengths: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Run the patches of some frames through the model as `forward_features` does whole ones, each frame on its own.

    Args:
        model: passes `check_timm`.
        patches: [K, C * p * p], frame by frame.
        places: int64 [K], where each stands in its frame, row by row.
        lengths: patches of each frame.

    Returns:
        Features of the patches [K, D], and of the class and register tokens of each frame that has any [F, P, D].
    """
    lengths, count = [length for length in lengths if length], model.num_prefix_tokens
    counts = torch.tensor([[count, length] for length in lengths], dtype=torch.long).flatten()
    is_prefix = torch.tensor([True, False] * len(lengths), dtype=torch.bool).repeat_interleave(counts)
    rows = model.patch_embed.norm(project_patches(model, model.patch_embed.proj, patches))
    is_prefix, places = is_prefix.to(rows.device), places.to(rows.device)
    rows, prefix = _placed(model, rows, places)
    states = rows.new_empty(len(is_prefix), rows.shape[1])
    states[is_prefix], states[~is_prefix] = prefix.repeat(len(lengths), 1).to(rows), rows
    angles = _angles(model, is_prefix, places)
    parts, start = [states[:0]], 0
    # a mask over pairs makes every row score the whole group: no more of them than a dense frame has
    for group in groups_of([count + length for length in lengths], count + model.patch_embed.num_patches):
        end = start + sum(group)
        # a tower that turns keys leaves the first rows of a call alone: those are its prefix
        turned = None if angles is None else angles[..., start + count : end, :]
        parts.append(_run(model, states[start:end], group, turned))
        start = end
    out = torch.cat(parts)
    return out[~is_prefix], out[is_prefix].unflatten(0, (len(lengths), count))


def _placed(model: Any, rows: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Patches [K, D] and class and register tokens [P, D], positions added."""
    with loaded(model):
        tokens = [
            token[0].to(rows.device) for token in (model.cls_token, model.reg_token) if token is not None
        ]
        learned = None if model.pos_embed is None else model.pos_embed[0].to(rows.device)
    prefix = torch.cat([rows[:0], *tokens])
    if learned is None:
        return rows, prefix
    if model.no_embed_class:
        return rows + learned[places], prefix
    return rows + learned[len(prefix) :][places], prefix + learned[: len(prefix)]


def _angles(model: Any, is_prefix: Tensor, places: Tensor) -> Tensor | None:
    """Sine and cosine by which each row is turned, [..., rows, 2 d], none for the prefix; None without rotation."""
    if getattr(model, "rope", None) is None:
        return None
    with loaded(model.rope):
        turns = model.rope.get_embed(shape=grid_side(model)).to(places.device)  # [..., N, 2 d]
    still = torch.zeros_like(turns[..., :1, :])
    still[..., still.shape[-1] // 2 :] = 1
    slots = torch.full(is_prefix.shape, turns.shape[-2], device=places.device)
    slots[~is_prefix] = places
    angles: Tensor = torch.cat([turns, still], dim=-2)[..., slots, :]
    return angles


def _run(model: Any, states: Tensor, lengths: Sequence[int], angles: Tensor | None) -> Tensor:
    """Run rows [n, D] of some frames through the blocks and the last norm."""
    states = model.norm_pre(model.pos_drop(states[None]))
    pairs = frame_pairs(lengths, states.device) if len(lengths) > 1 else None
    mask = None if pairs is None else add_mask(pairs, states.dtype)
    of_depth = angles is not None and bool(getattr(model, "rope_mixed", False))
    saves = model.grad_checkpointing and torch.is_grad_enabled()
    for number, block in enumerate(model.blocks):
        more = {"attn_mask": mask}
        if angles is not None:
            more["rope"] = angles[number] if of_depth else angles
        run = partial(block, **more)
        states = checkpoint(run, states, use_reentrant=False) if saves else run(states)
    out: Tensor = model.norm(states)[0]
    return out
