"""Ray Data beside the local loop: 200 short clips, two workers each, in turns.

    python benchmarks/scale/bench_engines.py                      (needs framegate[ray])

A private Ray is started once, before the clock; its start is a column of its own. Both engines start their workers, who
import what they need, inside of the clock: `of_local` counts that, `of_local_running` goes from the first shard on the
disk to the last, where all are at work. Rows are medians, ratios those of the medians. Writes
benchmarks/scale/results/engines.csv.
"""

import argparse
import os
import shlex
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import environment, write_csv

VIDEOS, RENDERED, FRAMES, WORKERS, SHARD, TARGET = 200, 8, 50, 2, 5, 1.15


def render(folder):
    """Clips of five seconds at 320 x 240; so many of them rendered, the others are links."""
    import av

    for number in range(RENDERED):
        still = np.random.default_rng(number).integers(40, 200, (24, 32, 3), dtype=np.uint8)
        still = still.repeat(10, 0).repeat(10, 1)
        with av.open(str(folder / f"{number:03}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
            for t in range(FRAMES):
                frame = still.copy()
                frame[90:130, 5 * t : 5 * t + 40] = 230
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
    for number in range(RENDERED, VIDEOS):
        (folder / f"{number:03}.mp4").symlink_to(folder / f"{number % RENDERED:03}.mp4")


def rows_of(seconds, running, *, rounds, start_seconds):
    """A row for each engine: medians of its rounds, and of the local loop's."""
    local, local_running = (statistics.median(times["local"]) for times in (seconds, running))
    return [
        {
            "engine": engine,
            "videos": VIDEOS,
            "workers": WORKERS,
            "rounds": rounds,
            "seconds": round(statistics.median(spent), 1),
            "of_local": round(statistics.median(spent) / local, 3),
            "running_seconds": round(statistics.median(running[engine]), 1),
            "of_local_running": round(statistics.median(running[engine]) / local_running, 3),
            "target": TARGET if engine == "ray" else "",
            "load_average": round(os.getloadavg()[2], 1),
            "start_seconds": round(start_seconds, 1) if engine == "ray" else 0.0,
        }
        | environment()
        | {"command": shlex.join(["python", "benchmarks/scale/bench_engines.py", *sys.argv[1:]])}
        for engine, spent in seconds.items()
    ]


def main():
    """Run both engines in turns, and write the CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/engines.csv")
    options = parser.parse_args()
    import ray

    from framegate.tools.batch import Job, run_batch

    began = time.perf_counter()
    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, object_store_memory=200 << 20)
    start_seconds = time.perf_counter() - began
    seconds, running = {"local": [], "ray": []}, {"local": [], "ray": []}
    with tempfile.TemporaryDirectory() as work:
        videos = Path(work) / "videos"
        videos.mkdir()
        render(videos)
        for turn in range(options.rounds):
            for engine, spent in seconds.items():
                began, out = time.perf_counter(), Path(work) / f"{engine}{turn}"
                job = Job(overrides={"keep_ratio": 0.25, "fps": 4})
                done = run_batch(str(videos), job, out, engine=engine, workers=WORKERS, shard_videos=SHARD)
                spent.append(time.perf_counter() - began)
                written = [file.stat().st_mtime for file in out.glob("*.parquet")]
                running[engine].append(max(written) - min(written))
                print(f"{engine}: {spent[-1]:.1f} s, {running[engine][-1]:.1f} s of them running", flush=True)
                assert (done.made, done.errors) == (VIDEOS, 0)
    ray.shutdown()
    rows = rows_of(seconds, running, rounds=options.rounds, start_seconds=start_seconds)
    for row in rows:
        print(row)
    write_csv(options.out, rows)


if __name__ == "__main__":
    main()
