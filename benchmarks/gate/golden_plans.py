"""Are plans still the very arrays they were? Hashes of what the gate decides on fixed decoded pixels.

    python benchmarks/gate/golden_plans.py --clips clips          (seconds; compares with results/golden_plans.csv)
    python benchmarks/gate/golden_plans.py --clips clips --write  (takes them anew; the commit says why)

Pixels are the clip's planes as decoded, turned to RGB by OpenCV and cropped to whole cells: no scaling that another
build may do otherwise. A row whose pixels differ tells nothing of the plan, and says so.
"""

import argparse
import csv
import hashlib
import sys
from pathlib import Path

import av
import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import framegate
from framegate.tokenizers.gate.video import plan_frames_array

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TABLE = HERE / "results" / "golden_plans.csv"
CELL_PX, TUBE_FRAMES, STEP, FRAMES = 28, 2, 5, 48
BUDGETS = (None, 0.25, 0.1)
PRESETS = ("gate", "grt", "grt_released", "rlt", "evs", "dtd")


def pixels_of(path):
    """Every STEP-th frame, uint8 [F, h, w, 3], cropped to whole cells."""
    with av.open(str(path)) as container:
        planes = [
            frame.to_ndarray(format="yuv420p")
            for number, frame in zip(range(STEP * FRAMES), container.decode(video=0), strict=False)
            if number % STEP == 0
        ]
    rgb = [cv2.cvtColor(plane, cv2.COLOR_YUV2RGB_I420) for plane in planes]
    height, width = (side // CELL_PX * CELL_PX for side in rgb[0].shape[:2])
    return np.stack(rgb)[:, :height, :width]


def digest(*arrays):
    """A short hash of arrays, their shapes and types."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def rows_of(path):
    """A row per preset and budget."""
    frames = pixels_of(path)
    for preset in PRESETS:
        for ratio in BUDGETS:
            if ratio is None and preset == "evs":
                continue  # it has no threshold
            config = framegate.load_config(preset, keep_ratio=ratio)
            plan = plan_frames_array(
                frames, None, config=config.plan, cell_px=CELL_PX, tube_frames=TUBE_FRAMES
            )
            yield {
                "clip": path.name,
                "preset": preset,
                "keep_ratio": ratio or "",
                "pixels": digest(frames),
                "plan": digest(plan.keep, plan.anchor, plan.motion_px, plan.residual),
                "num_kept": plan.num_kept,
            }


def compared(rows, known):
    """What differs, in words."""
    for row in rows:
        old = known.get((row["clip"], row["preset"], str(row["keep_ratio"])))
        if old is None or old["pixels"] != row["pixels"]:
            yield f"{row['clip']} {row['preset']} {row['keep_ratio']}: other pixels, nothing to compare"
        elif old["plan"] != row["plan"]:
            yield f"{row['clip']} {row['preset']} {row['keep_ratio']}: {old['num_kept']} cells, now {row['num_kept']}"


def main():
    """Compare, or take the hashes anew."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=Path, help="folder of benchmarks/fetch_clips.py")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    paths = [ROOT / "src/framegate/assets/slides.mp4"]
    paths += [options.clips / "vtest.avi"] if options.clips else []
    rows = [row for path in paths for row in rows_of(path)]
    if options.write:
        from common import write_csv

        write_csv(TABLE, rows)
        return
    with TABLE.open(newline="") as file:
        known = {(row["clip"], row["preset"], row["keep_ratio"]): row for row in csv.DictReader(file)}
    differences = list(compared(rows, known))
    print("\n".join(differences) or f"{len(rows)} plans, all as they were")
    sys.exit(bool(differences))


if __name__ == "__main__":
    main()
