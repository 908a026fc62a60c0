"""Peak memory for 5 minutes of 1080p at 2 fps: planning, the attached processor, and the stock processor.

    python benchmarks/memory/bench_memory.py

Each runs in a process of its own on the same 600 frames of a rendered clip; peak resident memory is read at the end.
The stock processor (it needs torchvision) gets its frames from transformers' own PyAV reader. Writes
benchmarks/memory/results/memory.csv.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import environment, write_csv

FPS, SECONDS, SAMPLE_FPS = 10, 300, 2
SIZE = {"shortest_edge": 128 * 28 * 28, "longest_edge": 128 * 28 * 28}


def render(path, *, frames, fps):
    """A still background, a moving block, and a clock-like bar: 1080p."""
    import av

    rng = np.random.default_rng(0)
    still = np.repeat(np.repeat(rng.integers(40, 200, (27, 48, 3), dtype=np.uint8), 40, 0), 40, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "30"}
        for t in tqdm(range(frames), desc="rendering", disable=None):
            frame = still.copy()
            x = int(800 + 700 * np.sin(t / fps / 3))
            frame[400:600, x : x + 200] = 230
            frame[1040:1060, : 1 + t * 1900 // frames] = 20
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def run_stock(path):
    """Frames and patches by transformers' own reader and processor."""
    import torch
    from transformers import Qwen2VLVideoProcessor
    from transformers.video_utils import load_video

    frames, _ = load_video(path, fps=SAMPLE_FPS, backend="pyav")
    video = torch.from_numpy(frames).permute(0, 3, 1, 2)
    out = Qwen2VLVideoProcessor(size=SIZE)(videos=[video], do_sample_frames=False, return_tensors="pt")
    return len(frames), len(out["pixel_values_videos"])


def run_plan(path):
    """Frames and patches of a plan, without a model."""
    import framegate

    plan = framegate.plan_video(path, "gate", keep_ratio=0.25, fps=SAMPLE_FPS)
    return len(plan.timestamps_seconds), plan.num_kept * 4


def run_attached(path):
    """Frames and patches by an attached processor."""
    import framegate
    from framegate.models.tiny import chat_template, tiny_tokenizer
    from framegate.models.video_processor import attach_processor, build_processor

    processor = build_processor(
        "qwen2_5_vl", tiny_tokenizer(), chat_template=chat_template("qwen2_5_vl"), size=SIZE
    )
    attach_processor(
        processor, "qwen2_5_vl", framegate.load_config("gate", keep_ratio=0.25, fps=SAMPLE_FPS).plan
    )
    out = processor(text=["<|video_pad|>"], videos=[path], return_tensors="pt")
    return int(out["video_grid_thw"][0, 0]) * 2, len(out["pixel_values_videos"])


def run_imports(path):
    """Nothing but the imports of the others."""
    import torch
    import transformers

    return 0, len(torch.__version__ + transformers.__version__)


MODES = {"stock": run_stock, "attached": run_attached, "plan": run_plan, "imports alone": run_imports}


def measure(mode, path):
    """A row of a mode, run in a process of its own."""
    started = time.perf_counter()
    run = subprocess.run(
        [sys.executable, __file__, "--mode", mode, "--clip", str(path)], capture_output=True, text=True
    )
    if run.returncode:
        raise SystemExit(run.stderr)
    frames, patches, peak_kib = map(int, run.stdout.split()[-3:])
    return {
        "mode": mode,
        "frames": frames,
        "patches": patches,
        "peak_mib": round(peak_kib / 1024, 1),
        "seconds": round(time.perf_counter() - started, 1),
    }


def main():
    """Run one mode, or all of them, and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=list(MODES))
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--out", default=Path(__file__).parent / "results/memory.csv")
    options = parser.parse_args()
    if options.mode:
        frames, patches = MODES[options.mode](str(options.clip))
        print(frames, patches, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return
    with tempfile.TemporaryDirectory() as folder:
        clip = options.clip or Path(folder) / "five_minutes_1080p.mp4"
        if not clip.exists():
            render(clip, frames=FPS * SECONDS, fps=FPS)
        rows = [measure(mode, clip) for mode in MODES]
    stock = next(row["peak_mib"] for row in rows if row["mode"] == "stock")
    for row in rows:
        row |= {
            "share_of_stock": round(row["peak_mib"] / stock, 4),
            "target": "0.125" if row["mode"] in ("attached", "plan") else "",
        }
        print(row)
    write_csv(options.out, [row | environment() for row in rows])


if __name__ == "__main__":
    main()
