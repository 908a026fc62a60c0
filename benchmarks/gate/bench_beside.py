"""The gate's time under an exact budget beside that of an older checkout, in turns in one run.

    python benchmarks/gate/bench_beside.py clips --old /path/to/old/src      # results/beside.csv

`plan` is ms a 448-px frame of luma in memory, tubes of one frame, a quarter of the cells. `file` is a plan of 90 s of
720p at 8 fps from the file, decoding included, over decoding alone. Each measurement runs in a process of its own; old
and new take turns. CPU time stands beside wall time, for machines that others work on too.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import av
import cv2
import numpy as np

HERE = Path(__file__).resolve()
RATIO, WIDTH_PX, CELL_PX, MAX_FRAMES = 0.25, 448, 28, 300
CLIPS = (("vtest.avi", "still"), ("vtest_pan.mp4", "moving"))
LONG_SECONDS, LONG_FPS, LONG_PX = 90, 8, (1280, 720)


def luma_of(path, fps):
    """Luma at about fps, uint8 [F, h, w], 448 px wide, whole cells."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        step = max(1, round(float(stream.average_rate) / fps))
        frames = [
            frame.to_ndarray(format="gray")
            for number, frame in enumerate(container.decode(stream))
            if number % step == 0
        ][:MAX_FRAMES]
    rows = round(WIDTH_PX / CELL_PX * frames[0].shape[0] / frames[0].shape[1])
    size = (WIDTH_PX, rows * CELL_PX)
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])


def timed(work, rounds):
    """Best wall and CPU seconds."""
    found = []
    for _ in range(rounds):
        started = time.perf_counter(), time.process_time()
        work()
        found.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    return [min(column) for column in zip(*found, strict=True)]


def worker(path, fps, preset, rounds):
    """Measure whatever framegate is on the path, and print it."""
    import framegate

    config = framegate.load_config(preset, keep_ratio=RATIO)
    if fps is None:
        decoded = timed(lambda: decode(framegate, path), rounds)
        plan = {"fps": LONG_FPS, "keep_ratio": RATIO, "max_frames": None, "tube_frames": 2}
        planned = timed(lambda: framegate.plan_video(path, preset, **plan), rounds)
        print(json.dumps([one / other for one, other in zip(planned, decoded, strict=True)]))
        return
    try:
        planners, shelf = import_module("framegate.tokenizers.gate.planners"), "framegate.tokenizers.gate"
        budget_of = import_module(f"{shelf}.config").Budget
    except ModuleNotFoundError:
        shelf = "framegate.tokenizers.motion_gate"
        planners = import_module(f"{shelf}.gate")
        budget_of = import_module(f"{shelf}.budget").Budget
    frames = luma_of(path, fps)
    grid = import_module(f"{shelf}.grid").CellGrid.of(*frames.shape[1:], cell_px=CELL_PX, tube_frames=1)
    budget = budget_of(keep_ratio=RATIO)
    spent = timed(lambda: planners.plan_gate(frames, grid, config.gate, budget), rounds)
    print(json.dumps([1000 * value / len(frames) for value in spent]))


def decode(framegate, path):
    """Read the frames of the plan, as luma at the plan's size, and do nothing with them."""
    plan = framegate.plan_frames(path, "fps", fps=LONG_FPS, max_frames=None)
    with framegate.open_video(path) as stream:
        for _ in stream.frames(plan, size_px=(252, 448), pixel_format="gray"):
            pass


def long_clip(folder, target):
    """90 s of 720p at 8 fps, made of vtest.avi scaled up and looped."""
    if target.exists():
        return
    with av.open(str(folder / "vtest.avi")) as source, av.open(str(target), "w") as sink:
        stream = sink.add_stream("libx264", rate=LONG_FPS, options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = *LONG_PX, "yuv420p"
        pictures = [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]
        for number in range(LONG_SECONDS * LONG_FPS):
            picture = cv2.resize(pictures[number % len(pictures)], LONG_PX, interpolation=cv2.INTER_CUBIC)
            sink.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        sink.mux(stream.encode())


def measured(source, path, fps, preset, rounds):
    """Run a worker with the framegate of a source folder."""
    task = json.dumps([str(path), fps, preset, rounds])
    environment = {**os.environ, "PYTHONPATH": str(source)}
    command = [sys.executable, str(HERE), "--worker", task]
    return json.loads(subprocess.check_output(command, env=environment, text=True))


def rows(options):
    """Old and new in turns."""
    from common import environment

    new = HERE.parents[2] / "src"
    ways = {
        "0.1.0 gate": (options.old, "gate"),
        "gate": (new, "gate"),
        "framegate": (new, "framegate"),
    }
    long_clip(options.clips, options.long)
    tasks = [("plan", clip, kind, options.clips / clip, fps) for clip, kind in CLIPS for fps in (4, 10)]
    tasks.append(("file", "90 s 720p", "still", options.long, None))
    for what, clip, kind, path, fps in tasks:
        found = {name: [] for name in ways}
        for _ in range(options.turns):
            for name, (source, preset) in ways.items():
                found[name].append(measured(source, path, fps, preset, options.rounds))
        for name, values in found.items():
            wall, cpu = (round(statistics.median(column), 3) for column in zip(*values, strict=True))
            row = {
                "what": what,
                "clip": clip,
                "camera": kind,
                "fps": fps or LONG_FPS,
                "preset": name,
                "wall": wall,
                "cpu": cpu,
            }
            row |= {
                "unit": "ms a frame" if fps else "times decoding",
                "turns": options.turns,
                "rounds": options.rounds,
            }
            print(row, flush=True)
            yield {**row, "load": round(os.getloadavg()[0], 1), "commit": environment()["commit"]}


def main():
    """Be a worker, or set workers to work."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", type=Path, nargs="?", help="where fetch_clips.py put the clips")
    parser.add_argument("--old", type=Path, help="src of a checkout of 0.1.0")
    parser.add_argument(
        "--long", type=Path, default=Path("out/vtest_720p_90s.mp4"), help="made where it is missing"
    )
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(*json.loads(options.worker))
        return
    sys.path.insert(0, str(HERE.parents[1]))
    from common import write_csv

    write_csv(HERE.parent / "results" / "beside.csv", list(rows(options)))


if __name__ == "__main__":
    main()
