"""Time of the stages after the tower over the time of a dense tower on the same video, in turns.

    python benchmarks/stages/bench_stages.py

A Qwen2.5-VL tower of the stock class (hidden 1280, depth 32: its released size) would take minutes here, so a tower of
hidden 640 and depth 8 stands for it, which makes the stages look dearer than they are. The video is scenes A, B, A of
16 tubes each with a block that moves. Writes benchmarks/stages/results/stages.csv.
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

from framegate.models.stages.condensation import CondensationConfig
from framegate.models.stages.condensation.condense import condense
from framegate.models.stages.reduction import reduce_to
from framegate.models.stages.scene_merge import SceneMergeConfig
from framegate.models.stages.scene_merge.merge import merge_scenes
from framegate.models.stages.spatiotemporal import SpatiotemporalConfig
from framegate.models.stages.spatiotemporal.module import SpatiotemporalModule
from framegate.models.tiny import tiny_model
from framegate.models.video_tokens import VideoTokens

TUBES, ROWS, COLUMNS, WIDTH = 48, 8, 14, 1024
TOWER = {
    "depth": 8,
    "hidden_size": 640,
    "num_heads": 8,
    "intermediate_size": 2560,
    "window_size": 112,
    "fullatt_block_indexes": [3, 7],
    "out_hidden_size": 64,
}
TARGET = 0.03


def tokens(seed=0):
    """Three scenes of 16 tubes, the third like the first: key tubes whole, a fifth of the cells in the others."""
    rng = np.random.default_rng(seed)
    keep = rng.random((TUBES, ROWS, COLUMNS)) < 0.2
    keep[::16] = True
    anchor = np.maximum.accumulate(np.where(keep, np.arange(TUBES)[:, None, None], 0), 0)
    cell = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    scenes = torch.randn(2, ROWS * COLUMNS, WIDTH)[[0, 1, 0]].repeat_interleave(16, 0)
    features = (scenes + 0.2 * torch.randn(TUBES, ROWS * COLUMNS, WIDTH)).flatten(0, 1)
    flat = torch.from_numpy(keep.reshape(-1))
    own = torch.from_numpy((anchor * ROWS * COLUMNS + cell).reshape(-1))
    return VideoTokens.of_cells([features[flat]], flat, own, [(TUBES, ROWS, COLUMNS)])


def stages(given):
    """What is timed, by name of the stage."""
    merge = SceneMergeConfig(distribution="features", recurring=True, merge_repeats=True)
    pool = CondensationConfig(key_tubes_only=False)
    module = SpatiotemporalModule(SpatiotemporalConfig(), WIDTH).eval()
    merged = merge_scenes(given, merge, head=None).tokens
    half = [given.num_tokens // 2]
    return {
        "scene_merge": lambda: merge_scenes(given, merge, head=None),
        "condensation": lambda: condense(merged, pool),
        "reduction": lambda: reduce_to(given, half),
        "spatiotemporal": lambda: module(given),
    }


@torch.no_grad()
def main():
    """Time the stages beside a dense tower, and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", default=Path(__file__).parent / "results/stages.csv")
    options = parser.parse_args()
    tower = tiny_model("qwen2_5_vl", vision=TOWER).model.visual
    grid = torch.tensor([[TUBES, 2 * ROWS, 2 * COLUMNS]])
    pixels = torch.randn(int(grid.prod()), 3 * 2 * 14**2)
    given = tokens()
    functions = {"dense": lambda: tower(pixels, grid_thw=grid, return_dict=True)} | stages(given)
    times = interleaved_ms(functions, rounds=options.rounds)
    both = statistics.median(
        [a + b for a, b in zip(times["scene_merge"], times["condensation"], strict=True)]
    )
    times["scene_merge + condensation"] = [both]
    rows = [
        {
            "stage": name,
            "tokens_in": given.num_tokens,
            "width": WIDTH,
            "dense_cells": TUBES * ROWS * COLUMNS,
            "tower": "qwen2_5_vl, hidden 640, depth 8, fp32",
            "dense_ms": round(statistics.median(times["dense"]), 1),
            "stage_ms": round(statistics.median(times[name]), 2),
            "time_ratio": round(ratio_of_medians(times, name, "dense"), 5),
            "target": TARGET if "+" in name else "",
            "met": ratio_of_medians(times, name, "dense") <= TARGET if "+" in name else "",
            **environment(),
        }
        for name in tqdm([*stages(given), "scene_merge + condensation"], desc="stages")
    ]
    for row in rows:
        print({key: row[key] for key in ("stage", "stage_ms", "time_ratio", "met")})
    write_csv(options.out, rows)


if __name__ == "__main__":
    main()
