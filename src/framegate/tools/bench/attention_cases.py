"""anchored_attention: kept rows attend to the rows that stand for their whole tube, or for a window of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from framegate.kernels.anchored_attention import anchored_attention
from framegate.kernels.backend import Backend
from framegate.tools.bench.case import COMPILED, Case, Mode, Setting, Work

HEADS = {"cuda": 16, "cpu": 16, "quick": 2}
WIDTH = {"cuda": 80, "cpu": 80, "quick": 16}
TUBES = {"cuda": 32, "cpu": 4, "quick": 2}
ROWS = {"cuda": 1024, "cpu": 1024, "quick": 32}
KEEP_RATIOS = {"cuda": (0.1, 0.25, 0.5), "cpu": (0.1, 0.25), "quick": (0.25,)}
WINDOWS = {"cuda": (64,), "cpu": (64,), "quick": (8,)}
# kept rows that see kept rows alone: neither gathered nor turned
ALONE_RATIOS = {"cuda": (0.25,), "cpu": (0.25,), "quick": (0.5,)}
RATIO = 0.25
MOST_UNROLLED_SEGMENTS = 4
ANGLE = 3.0


@dataclass(frozen=True)
class Packing:
    """A clip after the gate.

    Args:
        rows: packed row that stands for each row of each tube, int64 [M].
        skipped: where that row is an earlier tube's, bool [M].
        lengths_q: kept rows of each segment, int64 [S].
        lengths_k: rows of each segment, int64 [S].
    """

    rows: Tensor
    skipped: Tensor
    lengths_q: Tensor
    lengths_k: Tensor

    @property
    def num_kept(self) -> int:
        """Packed rows, N."""
        return int(self.lengths_q.sum())


def packing(tubes: int, rows: int, ratio: float, *, window: int, generator: torch.Generator) -> Packing:
    """Keep the first tube whole and at random a share of each later one; `window` divides the rows of a tube."""
    keep = torch.zeros(tubes, rows, dtype=torch.bool)
    order = torch.rand(tubes, rows, generator=generator).argsort(1)
    keep.scatter_(1, order[:, : round(ratio * rows)], True)
    keep[0] = True
    packed = keep.flatten().cumsum(0).reshape(tubes, rows) - 1
    # packed numbers grow from tube to tube, so of a place the newest is the largest
    newest = torch.where(keep, packed, -1).cummax(0).values
    lengths_q = keep.reshape(-1, window).sum(1)  # [T * R / window]
    return Packing(newest.flatten(), ~keep.flatten(), lengths_q, torch.full_like(lengths_q, window))


def turn_of(packed: Packing, width: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Turn the keys of skipped rows, as a camera that moved does: cosine and sine, float32 [M, width] each."""
    half = ANGLE * torch.randn(len(packed.rows), width // 2, generator=generator)
    angle = torch.where(packed.skipped[:, None], half, 0).repeat(1, 2)
    return angle.cos(), angle.sin()


def boundaries(lengths: Tensor) -> Tensor:
    """Where segments begin and end, int32 [S + 1]."""
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]).int()


@dataclass(frozen=True)
class Inputs:
    """What a call is made with; shapes as in the op, cu_q and cu_k its boundaries."""

    query: Tensor
    key: Tensor
    value: Tensor
    cu_q: Tensor
    cu_k: Tensor
    rows: Tensor | None
    turn: tuple[Tensor, Tensor] | None

    def attend(self, backend: Backend) -> Tensor:
        """Call the op."""
        return anchored_attention(
            self.query,
            self.key,
            self.value,
            self.cu_q,
            self.cu_k,
            rows=self.rows,
            turn=self.turn,
            backend=backend,
        )


def anchored_attention_cases(setting: Setting) -> Iterator[Case]:
    """Give whole tubes by share of kept rows, windows of them, and kept rows alone."""
    tubes, rows = TUBES[setting.size], ROWS[setting.size]

    def packed(ratio: float, window: int) -> Packing:
        return packing(tubes, rows, ratio, window=window, generator=setting.generator(1))

    for ratio in setting.choose(KEEP_RATIOS):
        yield _anchored_attention(setting, packed(ratio, rows), "keep_ratio", ratio)
    for window in setting.choose(WINDOWS):
        yield _anchored_attention(setting, packed(RATIO, window), "window_rows", window)
    for ratio in setting.choose(ALONE_RATIOS):
        yield _anchored_attention(setting, packed(ratio, rows), "keep_ratio_alone", ratio, anchored=False)


def _anchored_attention(
    setting: Setting, packed: Packing, x_name: str, x: float, *, anchored: bool = True
) -> Case:
    heads, width = HEADS[setting.size], WIDTH[setting.size]
    lengths_k = packed.lengths_k if anchored else packed.lengths_q
    inputs = _inputs(setting, packed, lengths_k, heads, width, anchored=anchored)
    case = Case(
        op="anchored_attention",
        x_name=x_name,
        x=x,
        shape={
            "query": [packed.num_kept, heads, width],
            "keys": int(lengths_k.sum()),
            "segments": len(lengths_k),
            "anchored": anchored,
        },
        dtype=inputs.query.dtype,
        run=inputs.attend,
        work=work_of(inputs, pairs=int((packed.lengths_q * lengths_k).sum())),
        leaves=(inputs.query, inputs.key, inputs.value),
    )
    if len(lengths_k) > MOST_UNROLLED_SEGMENTS:
        case = replace(
            case, excused={COMPILED: "it unrolls the loop over segments, and compiles for minutes"}
        )
    if setting.device.type != "cuda":
        return case
    if find_spec("flash_attn") is None:
        return replace(case, excused={**case.excused, "flash_attn": "flash_attn is not installed"})
    longest = int(packed.lengths_q.max()), int(lengths_k.max())
    return replace(case, rivals={"flash_attn": _flash_attn(inputs, *longest)})


def _inputs(
    setting: Setting, packed: Packing, lengths_k: Tensor, heads: int, width: int, *, anchored: bool
) -> Inputs:
    query, key, value = (
        setting.features(packed.num_kept, heads, width, seed=seed).requires_grad_() for seed in range(3)
    )
    cu_q, cu_k = (boundaries(lengths).to(setting.device) for lengths in (packed.lengths_q, lengths_k))
    if not anchored:
        return Inputs(query, key, value, cu_q, cu_k, None, None)
    cos, sin = (part.to(setting.device) for part in turn_of(packed, width, setting.generator(2)))
    return Inputs(query, key, value, cu_q, cu_k, packed.rows.to(setting.device), (cos, sin))


def work_of(inputs: Inputs, pairs: int) -> dict[Mode, Work]:
    """Count what attention cannot do without, for so many pairs of a query and a key that it sees.

    Forward: two products over all pairs, every tensor read and the result written once. Backward: four products, that
    of the scores, which may be kept, left out; the gradients of all three written.
    """
    query, key = inputs.query, inputs.key
    width = query.shape[1] * query.shape[2]
    rows_bytes = width * query.element_size()
    index = [inputs.rows, *(inputs.turn or ()), inputs.cu_q, inputs.cu_k]
    index_bytes = sum(part.numel() * part.element_size() for part in index if part is not None)
    forward, backward = 2 * len(query) + 2 * len(key), 3 * len(query) + 4 * len(key)
    return {
        "forward": Work(num_bytes=forward * rows_bytes + index_bytes, flops=2 * 2 * pairs * width),
        "backward": Work(num_bytes=backward * rows_bytes + index_bytes, flops=4 * 2 * pairs * width),
    }


def _flash_attn(inputs: Inputs, longest_q: int, longest_k: int) -> Callable[[], Tensor]:
    """The flash_attn package, which wants keys and values as they are seen: gathering and turning count."""
    attend: Any = import_module("flash_attn").flash_attn_varlen_func

    def attended() -> Tensor:
        key, value = inputs.key, inputs.value
        if inputs.rows is not None:
            key, value = key.index_select(0, inputs.rows), value.index_select(0, inputs.rows)
        if inputs.turn is not None:
            key = _turned(key, *inputs.turn)
        out: Tensor = attend(inputs.query, key, value, inputs.cu_q, inputs.cu_k, longest_q, longest_k)
        return out

    return attended


def _turned(key: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    from framegate.kernels.anchored_attention.reference import rotate_half

    wide = key.float()
    return (wide * cos[:, None] + rotate_half(wide) * sin[:, None]).to(key.dtype)
