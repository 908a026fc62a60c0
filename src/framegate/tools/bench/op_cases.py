"""The ops' cases: of the gate, over a clip of which half stands still, and on tokens of a language model's width."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from framegate.kernels.anchor_scan import anchor_scan
from framegate.kernels.block_residual import Metric, block_residual
from framegate.kernels.compact import compact
from framegate.kernels.pool_condense import pool_condense
from framegate.kernels.scene_divergence import Kind, scene_divergence
from framegate.kernels.segment_merge import segment_merge
from framegate.tools.bench.case import COMPILED, Case, Outputs, Setting, Work

TUBE_FRAMES, CELL_PX = 2, 28
SIDE_PX = {"cuda": 448, "cpu": 448, "quick": 56}
# of luma, far above the noise and far below what moves
THRESHOLD = 4.0
FRAMES = {"cuda": (16, 64, 256), "cpu": (16, 64), "quick": (4,)}
SSIM_FRAMES = {"cuda": (64,), "cpu": (16,), "quick": ()}
THRESHOLDS = {"cuda": (16,), "cpu": (), "quick": (2,)}
THRESHOLD_FRAMES = {"cuda": 64, "cpu": 64, "quick": 4}
KEYFRAME_FRACTION = 0.8
# torch.compile unrolls the loop over tubes
MOST_UNROLLED_FRAMES = 16


def half_static_clip(setting: Setting, frames: int) -> Tensor:
    """Draw luma, uint8 [frames / 2, 2, h, w]: the left half stands still but for noise, the right half moves."""
    side = SIDE_PX[setting.size]
    generator = setting.generator()
    picture = torch.randint(40, 216, (side, side), generator=generator)
    clip = picture + torch.randint(-1, 2, (frames, side, side), generator=generator)
    for frame, shown in enumerate(clip):
        shown[:, side // 2 :] = shown[:, side // 2 :].roll(3 * frame, dims=1)
    return clip.to(torch.uint8).reshape(-1, TUBE_FRAMES, side, side).to(setting.device)


def num_cells(clip: Tensor) -> int:
    """Count the cells of all tubes."""
    tubes, _, height, width = clip.shape
    return tubes * (height // CELL_PX) * (width // CELL_PX)


def block_residual_cases(setting: Setting) -> Iterator[Case]:
    """Give every tube of a clip against the one before."""
    for frames in setting.choose(FRAMES):
        yield _block_residual(setting, frames, "mad", "frames")
    for frames in setting.choose(SSIM_FRAMES):
        yield _block_residual(setting, frames, "ssim", "frames_ssim")


def _block_residual(setting: Setting, frames: int, metric: Metric, x_name: str) -> Case:
    tubes = half_static_clip(setting, frames)
    before = tubes.roll(1, dims=0)
    on_cpu = setting.device.type == "cpu"
    return Case(
        op="block_residual",
        x_name=x_name,
        x=frames,
        shape={"tubes": list(tubes.shape), "cell_px": CELL_PX, "metric": metric},
        dtype=torch.uint8,
        run=lambda backend: block_residual(tubes, before, CELL_PX, metric, backend=backend),
        work={"forward": Work(num_bytes=2 * tubes.numel() + 4 * num_cells(tubes))},
        rivals={"opencv": _opencv_block_residual(tubes, before, metric)} if on_cpu else {},
    )


def _opencv_block_residual(tubes: Tensor, before: Tensor, metric: Metric) -> Callable[[], Tensor]:
    """The gate's own path on a CPU."""
    from framegate.tokenizers.gate.grid import CellGrid
    from framegate.tokenizers.gate.residual import residual_of

    height, width = tubes.shape[-2:]
    grid = CellGrid.of(height, width, cell_px=CELL_PX, tube_frames=TUBE_FRAMES)
    residual, pairs = residual_of(metric), list(zip(tubes.numpy(), before.numpy(), strict=True))
    return lambda: torch.from_numpy(np.stack([residual(a, b, grid) for a, b in pairs]))


def anchor_scan_cases(setting: Setting) -> Iterator[Case]:
    """Give the gate over a clip, and for several thresholds at once."""
    for frames in setting.choose(FRAMES):
        yield _anchor_scan(setting, frames)
    for count in setting.choose(THRESHOLDS):
        yield _anchor_scan(setting, THRESHOLD_FRAMES[setting.size], count)


def _anchor_scan(setting: Setting, frames: int, count: int | None = None) -> Case:
    clip = half_static_clip(setting, frames)
    several = None if count is None else torch.linspace(1, 2 * THRESHOLD, count).to(setting.device)
    threshold = THRESHOLD if several is None else several
    has_gate = setting.device.type == "cpu" and several is None
    unrolls = frames * (count or 1) > MOST_UNROLLED_FRAMES
    return Case(
        op="anchor_scan",
        x_name="frames" if count is None else "thresholds",
        x=frames if count is None else count,
        shape={"tubes": list(clip.shape), "cell_px": CELL_PX, "metric": "mad", "thresholds": count or 1},
        dtype=torch.uint8,
        run=lambda backend: anchor_scan(
            clip, CELL_PX, threshold, keyframe_fraction=KEYFRAME_FRACTION, backend=backend
        ),
        # every frame once, then a decision and its residual per cell
        work={"forward": Work(num_bytes=clip.numel() + (1 + 4) * num_cells(clip) * (count or 1))},
        rivals={"opencv": _opencv_anchor_scan(clip)} if has_gate else {},
        excused={COMPILED: "it unrolls the loop over tubes, and compiles for minutes"} if unrolls else {},
    )


def _opencv_anchor_scan(clip: Tensor) -> Callable[[], Outputs]:
    """The gate's own path on a CPU."""
    from framegate.tokenizers.gate.grid import CellGrid
    from framegate.tokenizers.gate.scan import GateRules, GateScan

    height, width = clip.shape[-2:]
    grid = CellGrid.of(height, width, cell_px=CELL_PX, tube_frames=TUBE_FRAMES)
    rules = GateRules(metric="mad", threshold=THRESHOLD, keyframe_fraction=KEYFRAME_FRACTION)
    tubes = list(clip.numpy())

    def scanned() -> Outputs:
        scan = GateScan(grid, rules)
        steps = [scan.step(tube) for tube in tubes]
        keep, residual = [step.keep for step in steps], [step.residual for step in steps]
        return torch.from_numpy(np.concatenate(keep)), torch.from_numpy(np.concatenate(residual))

    return scanned


KEEP_RATIOS = {"cuda": (0.1, 0.25, 0.5), "cpu": (0.1, 0.25, 0.5), "quick": (0.25,)}
# pixels of a cell: 2 frames, 3 channels, 28 x 28
ROWS_SHAPE = {"cuda": (16384, 4704), "cpu": (16384, 4704), "quick": (64, 48)}
# of a language model
WIDTH = {"cuda": 3584, "cpu": 3584, "quick": 48}
TOKENS = {"cuda": (1536, 6144, 24576), "cpu": (1536, 6144), "quick": (64,)}
TOKENS_PER_SEGMENT = 4
TUBES = {"cuda": (12, 48, 192), "cpu": (6, 24), "quick": (2,)}
SIDE = {"cuda": 16, "cpu": 16, "quick": 4}
AREA_SIDES = (2, 4)
SCENES = {"cuda": (8, 32, 64), "cpu": (4, 16), "quick": (3,)}
REVERSED_SCENES = {"cuda": (32,), "cpu": (), "quick": ()}
# torch.compile unrolls the loop over scenes
MOST_UNROLLED_SCENES = 32
VOCABULARY = {"cuda": 151936, "cpu": 151936, "quick": 101}


def compact_cases(setting: Setting) -> Iterator[Case]:
    """Give the kept cells of a clip, their pixels gathered into rows without gaps."""
    rows = setting.features(*ROWS_SHAPE[setting.size])
    cells = len(rows)
    order = torch.randperm(cells, generator=setting.generator(1)).to(setting.device)
    for ratio in setting.choose(KEEP_RATIOS):
        count = round(ratio * cells)
        keep = torch.zeros(cells, dtype=torch.bool, device=setting.device)
        keep[order[:count]] = True
        yield _compact(rows, keep, count, ratio)


def _compact(rows: Tensor, keep: Tensor, count: int, ratio: float) -> Case:
    return Case(
        op="compact",
        x_name="keep_ratio",
        x=ratio,
        shape={"rows": list(rows.shape), "kept": count},
        dtype=rows.dtype,
        run=lambda backend: compact(rows, keep, count, backend=backend),
        # kept rows are read and written, the others are not touched
        work={"forward": Work(num_bytes=2 * count * rows.shape[1] * rows.element_size() + len(keep))},
    )


def segment_merge_cases(setting: Setting) -> Iterator[Case]:
    """Give tokens of a language model's width, four to a segment, forward and backward."""
    for tokens in setting.choose(TOKENS):
        yield _segment_merge(setting, tokens)


def _segment_merge(setting: Setting, tokens: int) -> Case:
    width, segments = WIDTH[setting.size], tokens // TOKENS_PER_SEGMENT
    generator = setting.generator(1)
    # one row in every segment, the others anywhere, in no order
    drawn = torch.randint(segments, (tokens - segments,), generator=generator)
    segment = torch.cat([torch.arange(segments), drawn])[torch.randperm(tokens, generator=generator)]
    segment = segment.to(setting.device)
    size = torch.randint(1, 5, (tokens,), generator=generator).to(setting.device)
    features = setting.features(tokens, width).requires_grad_()
    rows = width * features.element_size()
    return Case(
        op="segment_merge",
        x_name="tokens",
        x=tokens,
        shape={"features": [tokens, width], "segments": segments},
        dtype=features.dtype,
        run=lambda backend: segment_merge(features, size, segment, segments, backend=backend),
        work={
            "forward": Work(num_bytes=(tokens + segments) * rows + (2 * tokens + segments) * 8),
            "backward": Work(num_bytes=(tokens + segments) * rows + 2 * tokens * 8),
        },
        leaves=(features,),
    )


def pool_condense_cases(setting: Setting) -> Iterator[Case]:
    """Give tubes of 16 x 16 tokens, pooled by areas of 2 x 2 and 4 x 4 in turns, forward and backward."""
    for tubes in setting.choose(TUBES):
        yield _pool_condense(setting, tubes)


def _pool_condense(setting: Setting, tubes: int) -> Case:
    side, width = SIDE[setting.size], WIDTH[setting.size]
    axes = torch.arange(tubes), torch.arange(side), torch.arange(side)
    place = torch.cartesian_prod(*axes).to(setting.device)  # [tubes * side * side, 3]
    sides = torch.tensor(AREA_SIDES, device=setting.device)[place[:, 0] % len(AREA_SIDES)]
    area = sides[:, None].repeat(1, 2)  # [N, 2]
    tokens = len(place)
    merged = sum((side // AREA_SIDES[tube % len(AREA_SIDES)]) ** 2 for tube in range(tubes))
    size = torch.randint(1, 5, (tokens,), generator=setting.generator(1)).to(setting.device)
    features = setting.features(tokens, width).requires_grad_()
    rows = width * features.element_size()
    return Case(
        op="pool_condense",
        x_name="tubes",
        x=tubes,
        shape={"features": [tokens, width], "grid": [side, side], "area_sides": list(AREA_SIDES)},
        dtype=features.dtype,
        run=lambda backend: pool_condense(features, size, place, area, backend=backend),
        work={
            # size, place and area are read; sizes and the area of each row are written
            "forward": Work(num_bytes=(tokens + merged) * rows + (tokens * (1 + 3 + 2 + 1) + merged) * 8),
            "backward": Work(num_bytes=(tokens + merged) * rows + 2 * tokens * 8),
        },
        leaves=(features,),
    )


def scene_divergence_cases(setting: Setting) -> Iterator[Case]:
    """Give distributions over a language model's vocabulary, all pairs of scenes."""
    for scenes in setting.choose(SCENES):
        yield _scene_divergence(setting, scenes, "jensen_shannon", "scenes")
    for scenes in setting.choose(REVERSED_SCENES):
        yield _scene_divergence(setting, scenes, "reversed", "scenes_reversed")


def _scene_divergence(setting: Setting, scenes: int, kind: Kind, x_name: str) -> Case:
    logits = torch.randn(scenes, VOCABULARY[setting.size], generator=setting.generator())
    unrolls = scenes > MOST_UNROLLED_SCENES
    p = (2 * logits).softmax(-1).to(setting.device)
    return Case(
        op="scene_divergence",
        x_name=x_name,
        x=scenes,
        shape={"p": list(p.shape), "kind": kind},
        dtype=p.dtype,
        run=lambda backend: scene_divergence(p, None, kind=kind, backend=backend),
        # its logarithms, one set for every pair and value, are not in the floor
        work={"forward": Work(num_bytes=(p.numel() + scenes * scenes) * p.element_size())},
        excused={COMPILED: "it unrolls the loop over scenes, and compiles for minutes"} if unrolls else {},
    )
