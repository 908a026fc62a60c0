"""Time of a grid tower on kept cells over its time on all cells, dense and compressed in turns.

    python benchmarks/tower/bench_grid_tower.py
    python benchmarks/tower/bench_grid_tower.py --device cuda --out out/grid_tower.csv

Towers of SigLIP-base's size (12 layers, 768 wide), randomly initialised: LLaVA-OneVision's at its real grid (384 px,
27 x 27 patches, pooled to 14 x 14 cells), with projector and pooling, where a kept cell needs every patch that its
pooling reads; and timm's at 224 px, a cell a patch. Masks: cells at random, and in blocks as objects are. Writes
benchmarks/tower/results/grid_tower.csv.
"""

import argparse
import statistics
import sys
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import timm
import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import environment, interleaved_ms, ratio_of_medians, waiting, write_csv

from framegate.models.families import family_of
from framegate.models.mechanism import mechanism_of
from framegate.models.tiny import tiny_model
from framegate.models.towers.grid_geometry import cut_patches, patches_of_cells
from framegate.models.towers.timm_vit import encode_patches

FRAMES, CELLS = 4, 14
LLAVA_PX, LLAVA_PATCH_PX, LLAVA_PATCHES = 384, 14, 27
TIMM, TIMM_PX, TIMM_PATCH_PX = "vit_base_patch16_siglip_224", 224, 16
HIDDEN, DEPTH, HEADS = 768, 12, 12
RATIOS = (0.5, 0.25, 0.1)


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


def llava_onevision(keeps, device):
    """LLaVA-OneVision's tower on all cells, and on those of each ratio; and the patches that these read."""
    vision = {
        "image_size": LLAVA_PX,
        "hidden_size": HIDDEN,
        "num_hidden_layers": DEPTH,
        "num_attention_heads": HEADS,
        "intermediate_size": 4 * HIDDEN,
    }
    outer = tiny_model("llava_onevision", vision=vision).to(device)
    model, tower = outer.model, mechanism_of(outer.model, family_of(outer))
    pixels = torch.randn(1, FRAMES, 3, LLAVA_PX, LLAVA_PX, device=device)
    rows = cut_patches(pixels[0], LLAVA_PATCH_PX)
    needed = {ratio: patches_of_cells(keep, LLAVA_PATCHES) for ratio, keep in keeps.items()}
    functions = {"dense": lambda: model.get_video_features(pixels, return_dict=True)}
    for ratio, keep in keeps.items():
        functions[ratio] = partial(tower.encode_kept, rows[needed[ratio]].contiguous(), keep)
    return functions, needed


def timm_vit(keeps, device):
    """A tower of timm, the same way; a cell is a patch."""
    model = timm.create_model(TIMM).eval().to(device)
    pixels = torch.randn(FRAMES, 3, TIMM_PX, TIMM_PX, device=device)
    rows = cut_patches(pixels, TIMM_PATCH_PX)
    functions = {"dense": lambda: model.forward_features(pixels)}
    for ratio, keep in keeps.items():
        of_frames = keep.flatten(1)
        places, lengths = of_frames.nonzero()[:, 1], of_frames.sum(1).tolist()
        functions[ratio] = partial(encode_patches, model, rows[keep].contiguous(), places, lengths)
    return functions, keeps


MASKS = {"random": random_mask, "block": block_mask}
TOWERS = {"llava_onevision": llava_onevision, "timm": timm_vit}


def bench(name, kind, rounds, device):
    """Rows of one tower and kind of mask, dense and kept in turns."""
    mask = MASKS[kind]
    place = environment(torch.cuda.get_device_name(device) if device.type == "cuda" else None)
    keeps = {ratio: torch.from_numpy(mask(ratio, np.random.default_rng(0))) for ratio in RATIOS}
    functions, needed = TOWERS[name](keeps, device)
    functions = {name: waiting(call, device) for name, call in functions.items()}
    times = interleaved_ms(functions, rounds=rounds)
    for ratio, keep in keeps.items():
        value, share = ratio_of_medians(times, ratio, "dense"), float(keep.float().mean())
        target = 1.1 * share + 0.02
        yield {
            "family": f"timm {TIMM}" if name == "timm" else name,
            "mask": kind,
            "hidden": HIDDEN,
            "depth": DEPTH,
            "rounds": rounds,
            "cells_kept": round(share, 4),
            "patches_kept": round(float(needed[ratio].float().mean()), 4),
            "dense_ms": round(statistics.median(times["dense"]), 1),
            "kept_ms": round(statistics.median(times[ratio]), 1),
            "time_ratio": round(value, 4),
            "target": round(target, 4),
            "met": value <= target,
            **place,
        }


@torch.inference_mode()
def main():
    """Time every tower on every kind of mask, and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--towers", nargs="+", choices=TOWERS, default=list(TOWERS))
    parser.add_argument("--out", default=Path(__file__).parent / "results/grid_tower.csv")
    options = parser.parse_args()
    rows = []
    for name, kind in tqdm(list(product(options.towers, MASKS)), desc="towers and masks"):
        rows += bench(name, kind, options.rounds, torch.device(options.device))
    for row in rows:
        print(
            {
                k: row[k]
                for k in ("family", "mask", "cells_kept", "patches_kept", "time_ratio", "target", "met")
            }
        )
    write_csv(options.out, rows)


if __name__ == "__main__":
    main()
