"""How long does planning take? An hour of H.264 at 360p: its index, every sampler that decodes nothing, and novelty.

    python benchmarks/plans/bench_plans.py --clips clips

Ten seconds of a real clip (bikes.mp4 of benchmarks/fetch_clips.py) at 640 x 360 px and 25 frames a second, encoded once
and put behind each other for an hour, in a temporary folder. `open`: from the path to the index of all frames.
`keyframes of the codec`: from the path to the plan. Samplers start from the index. Novelty is scored at two frames a
second over the first minutes, decoding included, and its speed is seconds of video a second. Everything in turns;
medians of wall and of CPU time of all cores. A target is met by CPU time, which on a machine without other work is no
less than wall. Writes results/planning.csv.
"""

import argparse
import shlex
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import av

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import environment, write_csv

import framegate
from framegate.tokenizers.clip import open_video, probe

HERE = Path(__file__).parent
SIZE_PX, FPS = (360, 640), 25
# most seconds that were wanted, and least speed
INDEX_SECONDS, PLAN_SECONDS, NOVELTY_SPEED = 1.0, 0.1, 20.0
WITHOUT_PIXELS = {
    "uniform": {"num_frames": 64},
    "fps": {},
    "clip_stride": {},
    "apollo": {},
    "slow_fast": {"intervals": ((600.0, 610.0), (3000.0, 3010.0))},
    "spotlight": {"between": ((15_000, 15_250), (75_000, 75_250))},
    "local_resample": {},
    "keyframes": {"keyframe_source": "codec"},
}


def render(clip, path, seconds):
    """The clip's frames at 360p, over and over until the video is so long."""
    with av.open(str(path), "w") as container, open_video(clip) as source:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "23", "preset": "fast"})
        stream.height, stream.width, stream.pix_fmt = *SIZE_PX, "yuv420p"
        packets = []
        for number, frame in enumerate(source.frames(size_px=SIZE_PX)):
            picture = av.VideoFrame.from_ndarray(frame.pixels, format="rgb24")
            picture.pts = number
            packets += stream.encode(picture)
        packets += stream.encode(None)
        length = (number + 1) * round(1 / (FPS * packets[0].time_base))
        data = [(bytes(packet), packet.pts, packet.dts, packet.is_keyframe) for packet in packets]
        time_base = packets[0].time_base
        for turn in range(round(seconds * FPS / (number + 1))):
            for content, shown, decoded, is_key in data:
                packet = av.Packet(content)
                packet.stream, packet.time_base, packet.is_keyframe = stream, time_base, is_key
                packet.pts, packet.dts = shown + turn * length, decoded + turn * length
                container.mux(packet)


def cases(path, scored_seconds):
    """What is timed: name to (function, most seconds, seconds of video whose speed is told or None)."""
    info = probe(path)

    def planned(name, **settings):
        return partial(framegate.plan_frames, info, name, **settings)

    codec = partial(framegate.plan_frames, path, "keyframes", **WITHOUT_PIXELS["keyframes"])
    found = {
        "open": (partial(probe, path), INDEX_SECONDS, None),
        "open, keyframes of the codec": (codec, INDEX_SECONDS, None),
    }
    for name, settings in WITHOUT_PIXELS.items():
        found[name] = (planned(name, **settings), PLAN_SECONDS, None)
    novelty = planned("tass", num_frames=32, end_seconds=scored_seconds)
    found["novelty (tass)"] = (novelty, scored_seconds / NOVELTY_SPEED, scored_seconds)
    return found


def measured(found, rounds):
    """Seconds of wall and of CPU by name, in turns; the first turn warms up."""
    spent = {name: [] for name in found}
    for turn in range(rounds + 1):
        for name, (function, *_) in found.items():
            wall, cpu = time.perf_counter(), time.process_time()
            function()
            if turn:
                spent[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return spent


def rows(found, spent, minutes):
    """A row per name."""
    command = shlex.join(["python", "benchmarks/plans/bench_plans.py", *sys.argv[1:]])
    for name, (_, most, video_seconds) in found.items():
        wall, cpu = (statistics.median(column) for column in zip(*spent[name], strict=True))
        yield {
            "what": name,
            "minutes": minutes if video_seconds is None else f"{video_seconds / 60:g}",
            "rounds": len(spent[name]),
            "seconds": f"{wall:.4f}",
            "cpu_seconds": f"{cpu:.4f}",
            "speed": "" if video_seconds is None else f"{video_seconds / wall:.1f}",
            "cpu_speed": "" if video_seconds is None else f"{video_seconds / cpu:.1f}",
            "target_seconds": f"{most:g}",
            "met": cpu <= most,
            **environment(),
            "command": command,
        }


def main():
    """Make the hour, time everything, write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--clips", type=Path, default=Path("clips"), help="folder of benchmarks/fetch_clips.py"
    )
    parser.add_argument("--minutes", type=int, default=60, help="length of the video")
    parser.add_argument("--scored-seconds", type=float, default=120.0, help="part whose novelty is scored")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv", type=Path, default=HERE / "results" / "planning.csv")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hour.mp4"
        render(options.clips / "bikes.mp4", path, 60 * options.minutes)
        found = cases(path, options.scored_seconds)
        spent = measured(found, options.rounds)
    write_csv(options.csv, list(rows(found, spent, options.minutes)))


if __name__ == "__main__":
    main()
