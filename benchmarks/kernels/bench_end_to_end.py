"""Time of gate and tower on a clip that partly stands still over the time of the dense tower, in turns.

    python benchmarks/kernels/bench_end_to_end.py

Qwen2.5-VL's stock class, randomly initialised, with stock pixels (`pixel_values_videos`): once as it is, once with
preset gate attached (motion none), so that the gate's time and all that follows it count. A call is one forward pass of
the model without its head, whose language model is one small layer in both. On a GPU the tower has its released size
(hidden 1280, depth 32, bfloat16) and sees 64 frames of 448 x 448 px; on a CPU it has hidden 640 and depth 8 (float32),
and 16 frames of 448 x 252 px. Of every frame the given share stands still but for noise below the threshold; the rest
is new in every frame.
Writes benchmarks/kernels/results/<device>/end_to_end.csv; 0.5 is the half-static clip of the target.
"""

import argparse
import copy
import json
import shlex
import statistics
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import interleaved_ms, waiting, write_csv

import framegate
from framegate.models.families import family_of_type
from framegate.models.tiny import tiny_model
from framegate.models.towers.patches import PatchLayout, patchify
from framegate.tools.bench import place_of, setting_of

FAMILY = "qwen2_5_vl"
TOWERS = {
    "cuda": {"depth": 32, "hidden_size": 1280, "num_heads": 16, "intermediate_size": 3420},
    "cpu": {"depth": 8, "hidden_size": 640, "num_heads": 8, "intermediate_size": 2560},
    "quick": {"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64},
}
FULL_ATTENTION = {"cuda": [7, 15, 23, 31], "cpu": [3, 7], "quick": [1]}
CLIPS = {"cuda": (64, 448, 448), "cpu": (16, 252, 448), "quick": (4, 112, 112)}  # frames, height, width
TEXT = {"num_hidden_layers": 1}
STATIC_SHARES = (0.5, 0.75)
CONTEXTS = ("kept", "anchored")
TARGET_SHARE, TARGET = 0.5, 2.0
THRESHOLD = 4.0  # of luma: above the noise of what stands still


def clip(frames, height, width, static_share, seed=0):
    """uint8 [F, h, w, 3]: columns from the left stand still, whole cells of them; the others are drawn anew."""
    rng = np.random.default_rng(seed)
    shown = np.repeat(rng.integers(40, 216, (1, height, width, 3)), frames, axis=0)
    shown = shown + rng.integers(-1, 2, shown.shape)
    still = round(static_share * width / 28) * 28
    shown[:, :, still:] = rng.integers(0, 256, shown[:, :, still:].shape)
    return shown.astype(np.uint8)


def inputs_of(model, frames, dtype, device):
    """What a stock processor would hand over: a prompt of one video, its patches and its grid."""
    family, vision = family_of_type(FAMILY), model.config.vision_config
    layout = PatchLayout(
        patch_size_px=vision.patch_size,
        temporal_patch_size=vision.temporal_patch_size,
        merge_size=vision.spatial_merge_size,
        mean=family.image_mean,
        std=family.image_std,
    )
    count, height, width, _ = frames.shape
    grid = (count // layout.temporal_patch_size, height // vision.patch_size, width // vision.patch_size)
    cells = grid[0] * grid[1] * grid[2] // layout.patches_per_cell
    start, pad = model.config.vision_start_token_id, model.config.video_token_id
    ids = torch.tensor([[start, *[pad] * cells, 5, 6, 7]], device=device)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": 2 * (ids == pad).long(),
        "pixel_values_videos": torch.from_numpy(patchify(frames, layout)).to(device, dtype),
        "video_grid_thw": torch.tensor([grid], device=device),
    }


def build(setting, attention):
    """The dense model, in the setting's dtype on its device."""
    vision = TOWERS[setting.size] | {
        "window_size": 112,
        "fullatt_block_indexes": FULL_ATTENTION[setting.size],
        "out_hidden_size": tiny_model(FAMILY).config.vision_config.out_hidden_size,
    }
    model = tiny_model(FAMILY, vision=vision, text=TEXT).to(setting.device, setting.dtype)
    if attention is not None:
        model.set_attn_implementation({"vision_config": attention})
    return model


def bench(dense, static_share, setting, rounds):
    """Rows of one clip: each context against the dense model, in turns."""
    frames = clip(*CLIPS[setting.size], static_share)
    inputs = inputs_of(dense, frames, setting.dtype, setting.device)
    gated = {context: copy.deepcopy(dense) for context in CONTEXTS}
    front_ends = {
        context: framegate.attach(model, None, "gate", motion="none", threshold=THRESHOLD, context=context)
        for context, model in gated.items()
    }
    models = {"dense": dense} | gated
    times = interleaved_ms(
        {
            name: waiting(lambda model=model: model.model(**inputs), setting.device)
            for name, model in models.items()
        },
        rounds=rounds,
    )
    dense_ms = statistics.median(times["dense"])
    for context, front_end in front_ends.items():
        report, gated_ms = front_end.report, statistics.median(times[context])
        # the target is a GPU's
        judged = static_share == TARGET_SHARE and setting.device.type == "cuda"
        target = TARGET if judged else ""
        yield {
            "family": FAMILY,
            "hidden": TOWERS[setting.size]["hidden_size"],
            "depth": TOWERS[setting.size]["depth"],
            "clip": "x".join(map(str, CLIPS[setting.size])),
            "static_share": static_share,
            "context": context,
            "tokens_dense": report.dense_tokens,
            "tokens_kept": report.kept_tokens,
            "dense_ms": round(dense_ms, 2),
            "gated_ms": round(gated_ms, 2),
            "gate_ms": round(report.stage("gate").milliseconds, 2),
            "speedup": round(dense_ms / gated_ms, 3),
            "target": target,
            "met": dense_ms / gated_ms >= TARGET if target else "",
            "kernels": json.dumps(report.kernels),
            "attention": dense.model.visual.config._attn_implementation,
            "dtype": str(setting.dtype).removeprefix("torch."),
        }


@torch.no_grad()
def main():
    """Time all clips and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quick", action="store_true", help="a tiny tower, to see that it works")
    parser.add_argument("--attention", help="of the tower: sdpa (the default) or flash_attention_2")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    setting = setting_of(options.device, quick=options.quick)
    place = place_of(setting.device)
    dense = build(setting, options.attention)
    rows = []
    for share in tqdm(STATIC_SHARES, desc="clips"):
        rows += bench(dense, share, setting, options.rounds)
    for row in rows:
        print({k: row[k] for k in ("static_share", "context", "dense_ms", "gated_ms", "speedup", "met")})
    shared = vars(place) | {
        "transformers": metadata.version("transformers"),
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", *sys.argv]),
    }
    write_csv(options.out / place.folder / "end_to_end.csv", [row | shared for row in rows])


if __name__ == "__main__":
    main()
