"""anchored_attention on a GPU: one launch for all segments; keys and values are gathered as they are read."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from framegate.kernels.dispatch import interpreting

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit(do_not_specialize=["num_segments"])
def attend_kernel(
    query,
    key,
    value,
    out,
    rows,
    cos,
    sin,
    tile_segment,
    tile_start,
    cu_q,
    cu_k,
    scale,
    stride_qn,
    stride_qh,
    stride_kn,
    stride_kh,
    stride_vn,
    stride_vh,
    heads,
    num_segments,
    WIDTH: tl.constexpr,
    SIDE: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    GATHERED: tl.constexpr,
    TURNED: tl.constexpr,
    DOT: tl.constexpr,
):
    """Attend QUERIES queries of one segment and one head to all its keys, by a softmax that runs along."""
    tile, head = tl.program_id(0), tl.program_id(1).to(tl.int64)
    segment = tl.load(tile_segment + tile)
    if segment >= num_segments:
        return
    first = tl.load(tile_start + tile)
    behind = tl.load(cu_q + segment + 1)
    row = first + tl.arange(0, QUERIES).to(tl.int64)
    inner = tl.arange(0, SIDE)
    wanted = (row < behind)[:, None] & (inner < WIDTH)[None, :]
    q = tl.load(query + row[:, None] * stride_qn + head * stride_qh + inner[None, :], mask=wanted, other=0)
    q = q.to(DOT)
    highest = tl.full([QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    seen = tl.zeros([QUERIES, SIDE], tl.float32)
    begin, end = tl.load(cu_k + segment), tl.load(cu_k + segment + 1)
    for start in range(begin, end, KEYS):
        place = start + tl.arange(0, KEYS).to(tl.int64)
        present = place < end
        source = place
        if GATHERED:
            source = tl.load(rows + place, mask=present, other=0)
        inside = present[:, None] & (inner < WIDTH)[None, :]
        at = source[:, None] * stride_kn + head * stride_kh
        k = tl.load(key + at + inner[None, :], mask=inside, other=0)
        if TURNED:
            # the other half of the pair, which a turn mixes in
            half = WIDTH // 2
            other = tl.where(inner < half, inner + half, inner - half)
            pair = tl.load(key + at + other[None, :], mask=inside, other=0).to(tl.float32)
            pair = tl.where(inner < half, -pair, pair)
            angle = place[:, None] * WIDTH + inner[None, :]
            c = tl.load(cos + angle, mask=inside, other=0)
            s = tl.load(sin + angle, mask=inside, other=0)
            k = (k.to(tl.float32) * c + pair * s).to(key.dtype.element_ty)
        scores = tl.dot(q, tl.trans(k.to(DOT)), input_precision="ieee") * (scale * LOG2_E)
        scores = tl.where(present[None, :], scores, float("-inf"))
        now = tl.maximum(highest, tl.max(scores, axis=1))
        weight = tl.exp2(scores - now[:, None])
        fading = tl.exp2(highest - now)
        total = total * fading + tl.sum(weight, axis=1)
        at = source[:, None] * stride_vn + head * stride_vh
        v = tl.load(value + at + inner[None, :], mask=inside, other=0)
        seen = tl.dot(weight.to(DOT), v.to(DOT), seen * fading[:, None], input_precision="ieee")
        highest = now
    # a segment without keys sees nothing: zeros
    seen = seen / tl.where(total == 0, 1.0, total)[:, None]
    place = row[:, None] * heads * WIDTH + head * WIDTH + inner[None, :]
    tl.store(out + place, seen, mask=wanted)


def tile_of(width: int, dtype: torch.dtype) -> dict[str, int]:
    """Queries and keys of a tile, its warps and stages: the largest of those tried that spill no register anywhere."""
    if dtype == torch.float32:
        return {"QUERIES": 32 if width <= 64 else 16, "KEYS": 32, "num_warps": 8, "num_stages": 1}
    if width <= 64:
        return {"QUERIES": 64, "KEYS": 64, "num_warps": 4, "num_stages": 2}
    return {"QUERIES": 64, "KEYS": 32, "num_warps": 8, "num_stages": 2}


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    rows: Tensor | None,
    cos: Tensor | None,
    sin: Tensor | None,
    tile_segment: Tensor,
    tile_start: Tensor,
    scale: float,
) -> Tensor:
    """Launch attend_kernel; shapes as in `anchored_attention`, last dimensions contiguous, tiles as `tiles_of`."""
    _, heads, width = query.shape
    out = torch.empty(query.shape, dtype=query.dtype, device=query.device)
    if not out.numel() or len(cu_seqlens_q) < 2:
        return out
    tile = tile_of(width, query.dtype)
    # the interpreter multiplies bfloat16 as if it were whole numbers
    dot = tl.float32 if interpreting() else getattr(tl, str(query.dtype).removeprefix("torch."))
    with torch.cuda.device_of(query):
        attend_kernel[(len(tile_segment), heads)](
            query, key, value, out, rows, cos, sin, tile_segment, tile_start, cu_seqlens_q, cu_seqlens_k, scale,
            query.stride(0), query.stride(1), key.stride(0), key.stride(1), value.stride(0), value.stride(1),
            heads, len(cu_seqlens_q) - 1, WIDTH=width, SIDE=max(triton.next_power_of_2(width), 16),
            GATHERED=rows is not None, TURNED=cos is not None, DOT=dot, **tile,
        )  # fmt: skip
    return out
