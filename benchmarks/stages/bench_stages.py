"""Time of the stages after the tower over the time of a dense tower on the same video, in turns.

    python benchmarks/stages/bench_stages.py
    python benchmarks/stages/bench_stages.py --device cuda --tubes 384     (768 frames)

`refill` and `select` are the default's: features at the width of the language model and at three DeepStack levels, a
fifth of the cells encoded, a quarter of the filled grid chosen. A Qwen2.5-VL tower of the stock class (hidden 1280,
depth 32: its released size) would take minutes here, so a tower of hidden 640 and depth 8 stands for it, which makes
the stages look dearer than they are. The video is scenes A, B, A ... of 16 tubes each, in which a fifth of the cells
are new. Writes benchmarks/stages/results/stages.csv.
"""

import argparse
import shlex
import statistics
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import environment, interleaved_ms, ratio_of_medians, waiting, write_csv

from framegate.models.stages.condensation import CondensationConfig
from framegate.models.stages.condensation.condense import condense
from framegate.models.stages.reduction import reduce_to
from framegate.models.stages.registry import StageCall
from framegate.models.stages.scene_merge import SceneMergeConfig
from framegate.models.stages.scene_merge.merge import merge_scenes
from framegate.models.stages.select import SelectConfig
from framegate.models.stages.select.stage import TokenSelect
from framegate.models.stages.spatiotemporal import SpatiotemporalConfig
from framegate.models.stages.spatiotemporal.module import SpatiotemporalModule
from framegate.models.tiny import tiny_model
from framegate.models.video_tokens import VideoTokens

ROWS, COLUMNS, WIDTH = 8, 14, 1024
SCENE_TUBES = 16
# what enters the language model, and the levels that Qwen3-VL adds to its first layers
LEVELS = 4
KEPT_SHARE = 0.25
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


def tokens(tubes, device, *, levels=1, seed=0):
    """Scenes of 16 tubes, every other one like the first: key tubes whole, a fifth of the cells in the others."""
    rng = np.random.default_rng(seed)
    keep = rng.random((tubes, ROWS, COLUMNS)) < 0.2
    keep[::SCENE_TUBES] = True
    anchor = np.maximum.accumulate(np.where(keep, np.arange(tubes)[:, None, None], 0), 0)
    cell = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    of_tube = torch.arange(tubes) // SCENE_TUBES % 2
    scenes = torch.randn(2, ROWS * COLUMNS, WIDTH)[of_tube]
    features = (scenes + 0.2 * torch.randn(tubes, ROWS * COLUMNS, WIDTH)).flatten(0, 1)
    flat = torch.from_numpy(keep.reshape(-1))
    own = torch.from_numpy((anchor * ROWS * COLUMNS + cell).reshape(-1))
    layers = [features[flat].to(device) for _ in range(levels)]
    return VideoTokens.of_cells(layers, flat, own, [(tubes, ROWS, COLUMNS)])


def stages(given, shown):
    """What is timed, by name of the stage: on `given`, the default's two on `shown`, which has DeepStack levels."""
    merge = SceneMergeConfig(distribution="features", recurring=True, merge_repeats=True)
    pool = CondensationConfig(key_tubes_only=False)
    module = SpatiotemporalModule(SpatiotemporalConfig(), WIDTH).eval().to(given.features.device)
    merged = merge_scenes(given, merge, head=None).tokens
    half = [given.num_tokens // 2]
    filled, select = shown.refilled(), TokenSelect(SelectConfig())
    quarter = [int(filled.num_tokens * KEPT_SHARE)]
    return {
        "refill": shown.refilled,
        "select": lambda: select(filled, StageCall(targets=quarter)),
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
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tubes", type=int, default=48)
    options = parser.parse_args()
    device = torch.device(options.device)
    tower = tiny_model("qwen2_5_vl", vision=TOWER).model.visual.to(device)
    grid = torch.tensor([[options.tubes, 2 * ROWS, 2 * COLUMNS]], device=device)
    pixels = torch.randn(int(grid.prod()), 3 * 2 * 14**2, device=device)
    given = tokens(options.tubes, device)
    functions = {"dense": lambda: tower(pixels, grid_thw=grid, return_dict=True)}
    functions |= stages(given, tokens(options.tubes, device, levels=LEVELS))
    functions = {name: waiting(call, device) for name, call in functions.items()}
    place = environment(torch.cuda.get_device_name(device) if device.type == "cuda" else None)
    times = interleaved_ms(functions, rounds=options.rounds)
    for first, second in (("refill", "select"), ("scene_merge", "condensation")):
        both = [a + b for a, b in zip(times[first], times[second], strict=True)]
        times[f"{first} + {second}"] = both
    rows = [
        {
            "stage": name,
            "tokens_in": given.num_tokens,
            "width": WIDTH,
            "dense_cells": options.tubes * ROWS * COLUMNS,
            "tower": "qwen2_5_vl, hidden 640, depth 8, fp32",
            "dense_ms": round(statistics.median(times["dense"]), 1),
            "stage_ms": round(statistics.median(times[name]), 2),
            "time_ratio": round(ratio_of_medians(times, name, "dense"), 5),
            "target": TARGET if "+" in name else "",
            "met": ratio_of_medians(times, name, "dense") <= TARGET if "+" in name else "",
            **place,
            "command": shlex.join(["python", "benchmarks/stages/bench_stages.py", *sys.argv[1:]]),
        }
        for name in times
        if name != "dense"
    ]
    for row in rows:
        print({key: row[key] for key in ("stage", "stage_ms", "time_ratio", "met")})
    write_csv(options.out, rows)


if __name__ == "__main__":
    main()
