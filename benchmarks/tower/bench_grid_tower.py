"""Time of a grid tower on kept cells over its time on all cells, dense and compressed in turns.

    python benchmarks/tower/bench_grid_tower.py

LLaVA-OneVision's SigLIP at its real grid (384 px, 27 x 27 patches, pooled to 14 x 14 cells), randomly initialised, with
projector and pooling. A kept cell needs every patch that its pooling reads, so patches are a little more than cells.
Masks: cells at random, and in blocks as objects are. Writes benchmarks/tower/results/grid_tower.csv.
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

from framegate.models.families import family_of
from framegate.models.mechanism import mechanism_of
from framegate.models.tiny import tiny_model
from framegate.models.towers.grid_geometry import cut_patches, patches_of_cells

FRAMES, SIDE_PX, PATCH_PX, CELLS, PATCHES = 4, 384, 14, 14, 27
VISION = {
    "image_size": SIDE_PX,
    "hidden_size": 640,
    "num_hidden_layers": 8,
    "num_attention_heads": 10,
    "intermediate_size": 2560,
}


def random_mask(ratio, rng):
    """Any cells, as many in every frame."""
    keep = np.zeros((FRAMES, CELLS * CELLS), bool)
    for frame in keep:
        frame[rng.permutation(len(frame))[: round(ratio * len(frame))]] = True
    return keep.reshape(FRAMES, CELLS, CELLS)


def block_mask(ratio, rng):
    """One block of cells per frame, filled row by row."""
    keep = np.zeros((FRAMES, CELLS, CELLS), bool)
    count = round(ratio * CELLS * CELLS)
    side = int(np.ceil(np.sqrt(count)))
    for frame in keep:
        top, left = rng.integers(0, CELLS - side + 1, 2)
        places = np.arange(count)
        frame[top + places // side, left + places % side] = True
    return keep


def bench(kind, mask, rounds):
    """Rows of one kind of mask, dense and kept in turns."""
    outer = tiny_model("llava_onevision", vision=VISION)
    model, tower = outer.model, mechanism_of(outer.model, family_of(outer))
    pixels = torch.randn(1, FRAMES, 3, SIDE_PX, SIDE_PX)
    rows = cut_patches(pixels[0], PATCH_PX)
    functions = {"dense": lambda: model.get_video_features(pixels, return_dict=True)}
    keeps = {r: torch.from_numpy(mask(r, np.random.default_rng(0))) for r in (0.5, 0.25, 0.1)}
    needed = {ratio: patches_of_cells(keep, PATCHES) for ratio, keep in keeps.items()}
    for ratio, keep in keeps.items():
        kept = rows[needed[ratio]].contiguous()
        functions[ratio] = lambda kept=kept, keep=keep: tower.encode_kept(kept, keep)
    times = interleaved_ms(functions, rounds=rounds)
    for ratio, keep in keeps.items():
        value, share = ratio_of_medians(times, ratio, "dense"), float(keep.float().mean())
        target = 1.1 * share + 0.02
        yield {
            "family": "llava_onevision",
            "mask": kind,
            "hidden": VISION["hidden_size"],
            "depth": VISION["num_hidden_layers"],
            "cells_kept": round(share, 4),
            "patches_kept": round(float(needed[ratio].float().mean()), 4),
            "dense_ms": round(statistics.median(times["dense"]), 1),
            "kept_ms": round(statistics.median(times[ratio]), 1),
            "time_ratio": round(value, 4),
            "target": round(target, 4),
            "met": value <= target,
            **environment(),
        }


@torch.inference_mode()
def main():
    """Time every kind of mask, and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", default=Path(__file__).parent / "results/grid_tower.csv")
    options = parser.parse_args()
    rows = []
    for kind, mask in tqdm({"random": random_mask, "block": block_mask}.items(), desc="masks"):
        rows += bench(kind, mask, options.rounds)
    for row in rows:
        print({k: row[k] for k in ("mask", "cells_kept", "patches_kept", "time_ratio", "target", "met")})
    write_csv(options.out, rows)


if __name__ == "__main__":
    main()
