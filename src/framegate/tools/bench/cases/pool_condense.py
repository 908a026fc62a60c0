"""pool_condense: tubes of 16 x 16 tokens, pooled by areas of 2 x 2 and 4 x 4 in turns, forward and backward."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from framegate.kernels.pool_condense import pool_condense
from framegate.tools.bench.case import Case, Setting, Work

TUBES = {"cuda": (12, 48, 192), "cpu": (6, 24), "quick": (2,)}
SIDE = {"cuda": 16, "cpu": 16, "quick": 4}
WIDTH = {"cuda": 3584, "cpu": 3584, "quick": 48}
AREA_SIDES = (2, 4)


def cases(setting: Setting) -> Iterator[Case]:
    """Make the cases of pool_condense."""
    for tubes in setting.choose(TUBES):
        yield _case(setting, tubes)


def _case(setting: Setting, tubes: int) -> Case:
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
