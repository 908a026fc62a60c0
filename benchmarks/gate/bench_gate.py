"""The gate's information (PSNR of what kept cells alone can show) and its time, on real clips.

    python benchmarks/fetch_clips.py clips
    python benchmarks/gate/bench_gate.py clips                 # results/quality.csv and results/timing.csv
    python benchmarks/gate/bench_gate.py clips --only timing
    python benchmarks/gate/bench_gate.py clips --only search   # results/search.csv: budgets by threshold

PSNR is that of the pooled squared error: a mean of per-frame PSNRs would reward a few exact frames. `channels` is what
the error is taken over; decisions are always made on luma. `keep_asked` is empty where the default threshold decided.
Times leave decoding out: `step` one causal step (GateScan, camera motion tried), `threshold` the pass that plan_video
makes without a budget (with and without motion side by side), `budget` the exact plan.
"""

import argparse
import statistics
import sys
import time
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np

import framegate
from framegate.tokenizers.gate.camera_motion import CameraTracker
from framegate.tokenizers.gate.config import Budget
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.planners import plan_gate
from framegate.tokenizers.gate.scan import GateRules, GateScan
from framegate.tokenizers.gate.video import plan_frames_array

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import environment, write_csv

RESULTS = Path(__file__).parent / "results"
CLIPS = {
    "vtest.avi": (10, (0.05, 0.1, 0.25)),
    "vtest_pan.mp4": (10, (0.1, 0.25, 0.35)),
    "bikes.mp4": (12, (0.25, 0.5)),
    "carphone_pristine.mp4": (30, (0.2, 0.35)),
}
METHODS = {
    "previous": {"reference": "previous", "motion": "none"},
    "anchor none": {"motion": "none"},
    "anchor camera": {"motion": "camera"},
}
FIRST_TUBES = 80


def psnr_db(squared_error, values):
    """Peak signal to noise of so many values."""
    return 10 * np.log10(255**2 * values / max(squared_error, 1e-9))


def luma(tube):
    """Luma of the frames of a tube, uint8 [k, h, w]."""
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in tube])


def pooled_psnr(plan, frames):
    """PSNR over RGB and over luma; a last tube that is not full counts its repeated frame."""
    errors, values = np.zeros(2), 0
    for tube, shown in enumerate(plan.iter_reconstruction()):
        places = np.minimum(np.arange(len(shown)) + tube * plan.tube_frames, len(frames) - 1)
        source = frames[places]
        errors += (
            cv2.norm(source.ravel(), shown.ravel(), cv2.NORM_L2SQR),
            cv2.norm(luma(source).ravel(), luma(shown).ravel(), cv2.NORM_L2SQR),
        )
        values += source.size
    return {"rgb": psnr_db(errors[0], values), "luma": psnr_db(errors[1], values / 3)}


def quality_rows(folder):
    """PSNR of every clip, method, budget, tube and span."""
    for clip, (fps, ratios) in CLIPS.items():
        dense = framegate.plan_video(folder / clip, "dense", fps=fps, max_frames=None)
        frames = dense.source_frames()
        for tube_frames in (1, 2):
            for span, end in (("all", len(frames)), ("first80", FIRST_TUBES * tube_frames)):
                for method, settings in METHODS.items():
                    for ratio in (None, *ratios):
                        config = framegate.load_config("gate", keep_ratio=ratio, **settings)
                        plan = plan_frames_array(
                            frames[:end], config=config.plan, cell_px=28, tube_frames=tube_frames
                        )
                        values = pooled_psnr(plan, frames[:end])
                        yield from rows_of(plan, values, clip, fps, span, method, ratio)


def search_rows(folder):
    """What a budget by threshold, which any device can meet, shows of a clip beside the optimum."""
    for clip, (fps, ratios) in CLIPS.items():
        dense = framegate.plan_video(folder / clip, "dense", fps=fps, max_frames=None)
        frames = dense.source_frames()
        for ratio in ratios:
            for search in ("optimum", "threshold"):
                config = framegate.load_config("gate", keep_ratio=ratio, motion="none", search=search)
                plan = plan_frames_array(frames, config=config.plan, cell_px=28, tube_frames=2)
                values = pooled_psnr(plan, frames)
                yield from rows_of(plan, values, clip, fps, "all", f"anchor none, {search}", ratio)


def rows_of(plan, values, clip, fps, span, method, ratio):
    """The rows of one plan, one per way to count its error."""
    for channels, value in values.items():
        yield {
            "clip": clip,
            "fps": fps,
            "tube_frames": plan.tube_frames,
            "span": span,
            "tubes": len(plan.keep),
            "channels": channels,
            "method": method,
            "keep_asked": "" if ratio is None else ratio,
            "keep_got": round(plan.keep_ratio, 4),
            "psnr_db": round(float(value), 2),
            **versions(),
        }
    print(
        f"{clip} {plan.tube_frames} {span} {method} {ratio}: {plan.keep_ratio:.4f}, {values['rgb']:.2f} dB",
        flush=True,
    )


def versions():
    """Columns that say what measured a row."""
    return {
        "framegate": framegate.__version__,
        "opencv": cv2.__version__,
        "numpy": np.__version__,
        "av": metadata.version("av"),
        "commit": environment()["commit"],
    }


def step_times_ms(frames, grid, threshold):
    """Times of single causal steps under camera motion."""
    tracker, times = CameraTracker(grid), []
    rules = GateRules(metric="mad", threshold=threshold)
    scan = GateScan(grid, rules, motion_source=lambda _, before, after: tracker.motion(before, after))
    for frame in frames:
        started = time.perf_counter()
        scan.step(frame[None])
        times.append((time.perf_counter() - started) * 1000)
    return times


def plan_times_ms(frames, grid, preset, ratio, rounds):
    """Times of whole plans, per frame."""
    config = framegate.load_config(preset).gate
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        plan_gate(frames, grid, config, Budget(keep_ratio=ratio))
        times.append((time.perf_counter() - started) * 1000 / len(frames))
    return times


def timing_rows(folder, rounds):
    """Times of the gate on a still and on a moving camera."""
    for clip, kind, ratio in (("vtest.avi", "static", 0.1), ("vtest_pan.mp4", "pan", 0.35)):
        dense = framegate.plan_video(folder / clip, "dense", fps=10, max_frames=300)
        frames = np.concatenate([luma(tube) for tube in dense.iter_source()])
        grid = CellGrid.of(*frames.shape[1:], cell_px=28, tube_frames=1)
        steps = [value for _ in range(rounds) for value in step_times_ms(frames, grid, 4.0)]
        measured = {("gate", "step"): steps}
        for preset in ("gate", "framegate"):
            measured[preset, "threshold"] = plan_times_ms(frames, grid, preset, None, rounds)
            measured[preset, "budget"] = plan_times_ms(frames, grid, preset, ratio, rounds)
        for (preset, what), times in measured.items():
            row = {
                "clip": clip,
                "camera": kind,
                "preset": preset,
                "what": what,
                "keep_asked": ratio if what == "budget" else "",
                "frames": len(frames),
                "width_px": grid.width_px,
                "ms_per_frame_median": round(statistics.median(times), 3),
                "ms_per_frame_best": round(min(times), 3),
                "runs": len(times),
                "threads": cv2.getNumThreads(),
                **versions(),
            }
            print(
                f"{clip} {preset} {what}: {row['ms_per_frame_median']} ms a frame (best {row['ms_per_frame_best']})"
            )
            yield row


def main():
    """Measure what was asked for, and write the CSVs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where fetch_clips.py put the clips")
    parser.add_argument("--only", choices=["quality", "timing", "search"], help="leave the others out")
    parser.add_argument("--rounds", type=int, default=5, help="how often each time is taken")
    arguments = parser.parse_args()
    if arguments.only in (None, "search"):
        write_csv(RESULTS / "search.csv", list(search_rows(arguments.folder)))
    if arguments.only in (None, "timing"):
        write_csv(RESULTS / "timing.csv", list(timing_rows(arguments.folder, arguments.rounds)))
    if arguments.only in (None, "quality"):
        write_csv(RESULTS / "quality.csv", list(quality_rows(arguments.folder)))


if __name__ == "__main__":
    main()
