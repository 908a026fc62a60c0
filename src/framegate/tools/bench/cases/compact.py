"""compact: the kept cells of a clip, their pixels gathered into rows without gaps."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from framegate.kernels.compact import compact
from framegate.tools.bench.case import Case, Setting, Work

KEEP_RATIOS = {"cuda": (0.1, 0.25, 0.5), "cpu": (0.1, 0.25, 0.5), "quick": (0.25,)}
# pixels of a cell: 2 frames, 3 channels, 28 x 28
SHAPE = {"cuda": (16384, 4704), "cpu": (16384, 4704), "quick": (64, 48)}


def cases(setting: Setting) -> Iterator[Case]:
    """Make the cases of compact."""
    rows = setting.features(*SHAPE[setting.size])
    cells = len(rows)
    order = torch.randperm(cells, generator=setting.generator(1)).to(setting.device)
    for ratio in setting.choose(KEEP_RATIOS):
        count = round(ratio * cells)
        keep = torch.zeros(cells, dtype=torch.bool, device=setting.device)
        keep[order[:count]] = True
        yield _case(rows, keep, count, ratio)


def _case(rows: Tensor, keep: Tensor, count: int, ratio: float) -> Case:
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
