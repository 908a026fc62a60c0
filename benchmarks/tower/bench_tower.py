"""Time of the vision tower on kept cells over its time on all cells, dense and compressed in turns.

    python benchmarks/tower/bench_tower.py

Towers of the stock classes, randomly initialised, wide enough that arithmetic dominates. Masks keep the first tube
whole and the rest at random, exactly keep_ratio of all cells. Writes benchmarks/tower/results/tower.csv.
"""

import argparse
import statistics
import sys
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import environment, interleaved_ms, ratio_of_medians, write_csv

from framegate.models.cell_plan import cell_plan
from framegate.models.tiny import tiny_model
from framegate.models.towers.packed import encode_kept
from framegate.models.towers.packed_anchored import framegate_attention
from framegate.models.towers.packed_layout import kept_patches
from framegate.models.transformers_private import OWN_ATTENTION

GRID = (16, 16, 28)  # tubes, patch rows, patch columns: 448 x 256 px at 16 px a patch
DEPTH = 8
SIZES = {
    "qwen2_vl": {"depth": DEPTH, "embed_dim": 640, "num_heads": 8, "mlp_ratio": 4},
    "qwen2_5_vl": {
        "depth": DEPTH,
        "hidden_size": 640,
        "num_heads": 8,
        "intermediate_size": 2560,
        "window_size": 112,
        "fullatt_block_indexes": [3, 7],
    },
    "qwen3_vl": {
        "depth": DEPTH,
        "hidden_size": 640,
        "num_heads": 8,
        "intermediate_size": 2560,
        "num_position_embeddings": 2304,
        "deepstack_visual_indexes": [2, 4, 6],
    },
}


def random_plan(tower, ratio, seed=0):
    """A plan whose first tube is whole, and the rest any cells."""
    tubes, height, width = GRID[0], GRID[1] // 2, GRID[2] // 2
    count = round(ratio * tubes * height * width)
    keep = np.zeros((tubes, height, width), dtype=bool)
    keep[0] = True
    rest = np.flatnonzero(~keep)
    keep.flat[np.random.default_rng(seed).choice(rest, count - height * width, replace=False)] = True
    own = np.arange(tubes)[:, None, None]
    anchor = np.maximum.accumulate(np.where(keep, own, -1), 0).astype(np.int32)
    return cell_plan([anchor], [None], cell_px=tower.config.patch_size * 2, merge_size=2)


def rows_of_first_block(tower, run):
    """Rows that enter the first block of a tower."""
    seen = []
    handle = tower.blocks[0].register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(len(args[0] if args else kwargs["hidden_states"])),
        with_kwargs=True,
    )
    run()
    handle.remove()
    return seen[0]


def bench(family, context, rounds):
    """Rows of one family and context, dense and kept in turns."""
    tower = tiny_model(family, vision=SIZES[family]).model.visual
    grid = torch.tensor([GRID])
    pixels = torch.randn(int(grid.prod()), 3 * 2 * tower.config.patch_size**2)
    functions = {"dense": lambda: tower(pixels, grid_thw=grid, return_dict=True)}
    plans = {ratio: random_plan(tower, ratio) for ratio in (0.5, 0.25, 0.1)}
    for ratio, plan in plans.items():
        functions[ratio] = lambda plan=plan: encode_kept(
            tower, pixels[kept_patches(tower, plan.keep)], grid, plan, anchored=context == "anchored"
        )
    if context == "anchored":
        from transformers import AttentionInterface

        AttentionInterface.register(OWN_ATTENTION, framegate_attention)
        tower.config._attn_implementation = OWN_ATTENTION
    times = interleaved_ms(functions, rounds=rounds)
    for ratio, plan in plans.items():
        value = ratio_of_medians(times, ratio, "dense")
        yield {
            "family": family,
            "context": context,
            "hidden": 640,
            "depth": DEPTH,
            "keep_ratio": ratio,
            "rows_dense": int(grid.prod()),
            "rows_first_block": rows_of_first_block(tower, functions[ratio]),
            "kept_cells_x4": plan.num_kept * 4,
            "dense_ms": round(statistics.median(times["dense"]), 1),
            "kept_ms": round(statistics.median(times[ratio]), 1),
            "time_ratio": round(value, 4),
            "target": round(1.1 * ratio + 0.02, 4) if context == "kept" else "",
            "met": value <= 1.1 * ratio + 0.02 if context == "kept" else "",
            **environment(),
        }


@torch.no_grad()
def main():
    """Time every family and context, and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", default=Path(__file__).parent / "results/tower.csv")
    options = parser.parse_args()
    rows = []
    for family in tqdm(SIZES, desc="families"):
        for context in ("kept", "anchored"):
            rows += bench(family, context, options.rounds)
    for row in rows:
        print(
            {k: row[k] for k in ("family", "context", "keep_ratio", "rows_first_block", "time_ratio", "met")}
        )
    write_csv(options.out, rows)


if __name__ == "__main__":
    main()
