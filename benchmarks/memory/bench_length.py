"""Peak memory and time of a plan with an exact budget for ten minutes and an hour of video, beside decoding alone.

    python benchmarks/memory/bench_length.py

One minute at 25 frames a second, over and over: a still background, a block that walks, noise like a sensor's. Two
frames a second are taken, at the video's own width, and a quarter of the cells planned. Each row is a process of its
own, in turns; of 720p memory alone is of interest. Writes benchmarks/memory/results/length.csv.
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

FPS, SECONDS, SAMPLE_FPS = 25, 60, 2.0
SIZES = {"576p": (720, 576), "720p": (1280, 720)}
CLIPS = (("576p", 60, True), ("720p", 10, False), ("720p", 60, False))


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
        for t in tqdm(range(FPS * SECONDS), desc="rendering"):
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
    """The frames that a plan reads."""
    import framegate

    taken = framegate.plan_frames(path, "fps", fps=SAMPLE_FPS)
    with framegate.open_video(path) as stream:
        height = round(stream.info.height_px * width_px / stream.info.width_px / 28) * 28
        size_px = height, width_px // 28 * 28
        return sum(1 for _ in stream.frames(taken, size_px=size_px, pixel_format="gray"))


def run_plan(path, width_px):
    """The default preset's plan at a quarter of the cells."""
    import framegate

    plan = framegate.plan_video(
        path, keep_ratio=0.25, width_px=width_px, frames={"fps": SAMPLE_FPS, "max_frames": 10**6}
    )
    return len(plan.timestamps_seconds)


MODES = {"decoding": run_decode, "plan": run_plan}


def measure(mode, path, width_px):
    """Frames, seconds and peak MiB of a mode, run in a process of its own."""
    started = time.perf_counter()
    command = [sys.executable, __file__, "--mode", mode, "--clip", str(path), "--width", str(width_px)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(run.stderr)
    frames, peak_kib = map(int, run.stdout.split()[-2:])
    return frames, time.perf_counter() - started, peak_kib / 1024


def main():
    """Run one mode, or all of them, and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=list(MODES))
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--width", type=int)
    parser.add_argument("--out", default=Path(__file__).parent / "results/length.csv")
    options = parser.parse_args()
    if options.mode:
        print(MODES[options.mode](str(options.clip), options.width))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, times, beside_decoding in CLIPS:
            path = Path(folder) / f"{name}_{times}.mp4"
            render(path, SIZES[name], times)
            decoding_seconds = None
            for mode in MODES if beside_decoding else ["plan"]:
                frames, seconds, peak_mib = measure(mode, path, SIZES[name][0])
                decoding_seconds = seconds if mode == "decoding" else decoding_seconds
                rows.append(
                    {
                        "video": name,
                        "minutes": SECONDS * times // 60,
                        "mode": mode,
                        "frames": frames,
                        "seconds": round(seconds, 1),
                        "of_decoding": round(seconds / decoding_seconds, 3) if decoding_seconds else "",
                        "peak_mib": round(peak_mib, 1),
                        "command": "python benchmarks/memory/bench_length.py",
                    }
                )
                print(rows[-1])
            path.unlink()
    write_csv(options.out, [row | environment() for row in rows])


if __name__ == "__main__":
    main()
