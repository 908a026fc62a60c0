"""Peak memory and time of a plan with an exact budget by the length of the video, beside decoding alone.

    python benchmarks/memory/bench_length.py                     (all of it)
    python benchmarks/memory/bench_length.py --video 576p_3      (one video's rows anew)

One minute at 25 frames a second, over and over: a still background, a block that walks, noise like a sensor's. Two
frames a second are taken, at the video's own width, and a quarter of the cells planned. Each run is a process of its
own that times itself once all is imported; decoding and planning go in turns, and rows are medians. Time is of interest
at 576p, best on a machine that does nothing else, which three minutes ask for but shortly; of 720p memory alone. Writes
benchmarks/memory/results/length.csv.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import environment, write_csv

FPS, SECONDS, SAMPLE_FPS = 25, 60, 2.0
SIZES = {"576p": (720, 576), "720p": (1280, 720)}
# minutes, what runs, and how often
VIDEOS = {
    "576p_3": (3, ("decoding", "plan"), 2),
    "576p_60": (60, ("decoding", "plan"), 1),
    "720p_10": (10, ("plan",), 1),
    "720p_60": (60, ("plan",), 1),
}


def render(path, size_px, times):
    """A minute, so many times over."""
    import av

    rng = np.random.default_rng(0)
    width, height = size_px
    still = np.repeat(np.repeat(rng.integers(40, 200, (-(-height // 40), -(-width // 40), 3)), 40, 0), 40, 1)
    still = still[:height, :width].astype(np.int16)
    noise = rng.normal(0, 2, (8, height, width, 1)).round().astype(np.int16)
    packets = []
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "26", "bf": "0"}
        for t in tqdm(range(FPS * SECONDS), desc="rendering", leave=False):
            frame = still + noise[t % 8]
            x = int((width - 120) * (0.5 + 0.5 * np.sin(t / 375)))
            frame[height // 3 : height // 3 + 120, x : x + 120] = 230
            picture = av.VideoFrame.from_ndarray(np.clip(frame, 0, 255).astype(np.uint8), format="rgb24")
            packets += stream.encode(picture)
        packets += stream.encode()
        step = packets[1].pts - packets[0].pts
        for turn in range(times):
            for packet in packets:
                again = av.Packet(bytes(packet))
                again.stream, again.time_base, again.is_keyframe = (
                    stream,
                    packet.time_base,
                    packet.is_keyframe,
                )
                again.pts = packet.pts + turn * step * len(packets)
                again.dts = packet.dts + turn * step * len(packets)
                container.mux(again)


def run_decode(path, width_px):
    """The frames that a plan reads, as it reads them."""
    import framegate
    from framegate.tokenizers.gate.grid import grid_for

    taken = framegate.plan_frames(path, "fps", fps=SAMPLE_FPS)
    with framegate.open_video(path) as stream:
        grid = grid_for(stream.info, width_px=width_px, cell_px=28, tube_frames=1)
        size_px = grid.height_px, grid.width_px
        return sum(1 for _ in stream.frames(taken, size_px=size_px, pixel_format="gray"))


def run_plan(path, width_px):
    """The default preset's plan at a quarter of the cells."""
    import framegate

    plan = framegate.plan_video(
        path, keep_ratio=0.25, width_px=width_px, frames={"fps": SAMPLE_FPS, "max_frames": 10**6}
    )
    return len(plan.timestamps_seconds)


MODES = {"decoding": run_decode, "plan": run_plan}


def run_here(mode, path, width_px):
    """Frames, seconds, seconds of all cores and peak MiB of a mode, in this process."""
    import framegate.tokenizers.gate.video  # noqa: F401 (what a plan imports is not timed)

    started, cpu_before = time.perf_counter(), time.process_time()
    frames = MODES[mode](path, width_px)
    return {
        "frames": frames,
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu_before,
        "peak_mib": peak_mib(),
    }


def peak_mib():
    """The most memory that this process had; ru_maxrss would tell of the one that started it, too."""
    told = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(told["VmHWM"].split()[0]) / 1024


def measured(mode, path, width_px):
    """What `run_here` tells, from a process of its own."""
    command = [sys.executable, __file__, "--mode", mode, "--clip", str(path), "--width", str(width_px)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(run.stderr)
    return json.loads(run.stdout)


def rows_of(name, folder):
    """A row per mode of one video, medians of runs in turns."""
    size, (minutes, modes, rounds) = name.split("_")[0], VIDEOS[name]
    path = Path(folder) / f"{name}.mp4"
    render(path, SIZES[size], minutes * 60 // SECONDS)
    turns = tqdm([mode for _ in range(rounds) for mode in modes], desc=name, unit="run")
    runs = {mode: [] for mode in modes}
    for mode in turns:
        runs[mode].append(measured(mode, path, SIZES[size][0]))
    path.unlink()
    middle = {
        mode: {key: statistics.median(run[key] for run in told) for key in told[0]}
        for mode, told in runs.items()
    }
    decoding = middle.get("decoding")
    return [
        {
            "video": size,
            "minutes": minutes,
            "mode": mode,
            "frames": round(told["frames"]),
            "rounds": rounds,
            "seconds": round(told["seconds"], 1),
            "of_decoding": round(told["seconds"] / decoding["seconds"], 3) if decoding else "",
            "cpu_seconds": round(told["cpu_seconds"], 1),
            "cpu_of_decoding": round(told["cpu_seconds"] / decoding["cpu_seconds"], 3) if decoding else "",
            "peak_mib": round(told["peak_mib"], 1),
            "command": "python benchmarks/memory/bench_length.py",
        }
        | environment()
        for mode, told in middle.items()
    ]


def main():
    """Run one mode, or the videos asked for, and write their rows beside those that are there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mode", choices=list(MODES))
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--width", type=int)
    parser.add_argument("--video", choices=list(VIDEOS), help="one video's rows; all without it")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/length.csv")
    options = parser.parse_args()
    if options.mode:
        print(json.dumps(run_here(options.mode, str(options.clip), options.width)))
        return
    rows = {}
    if options.video:
        with options.out.open(newline="") as file:
            for row in csv.DictReader(file):
                rows.setdefault(f"{row['video']}_{row['minutes']}", []).append(row)
    with tempfile.TemporaryDirectory() as folder:
        for name in [options.video] if options.video else VIDEOS:
            rows[name] = rows_of(name, folder)
    write_csv(options.out, [row for name in VIDEOS for row in rows.get(name, [])])


if __name__ == "__main__":
    main()
