"""Damaged videos and pictures by the thousand: flipped bits, lost parts, files grown together. Nothing may crash, hang
or lie.

    python tests/support/fuzz_videos.py --mutants 20000 --out benchmarks/fuzz/results/fuzz.csv
    python tests/support/fuzz_videos.py --corpus pictures --mutants 20000 --out benchmarks/fuzz/results/pictures.csv

Every mutant is a function of its number: `--first N --mutants 1` makes it again. A child process reads each one as a
user would: all frames, then a few by a plan, which seeks; pictures as a frame in a list. Findings are a child that dies
or takes more than ten seconds, an exception that is not framegate's, and, unless a note says that the file is damaged,
planned frames that a decode from the start does not give, another number of frames than plain FFmpeg gives, or other
pixels than Pillow gives.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parent))
import fuzz_pictures
from clips import gradient_frames

from framegate.provenance import commit

LIMIT_SECONDS = 10.0
# name, codec, pixel format: every container with every codec that PyAV's wheels encode into it
SEEDS = (
    ("h264.mp4", "libx264", "yuv420p"),
    ("h264.mkv", "libx264", "yuv420p"),
    ("h264.ts", "libx264", "yuv420p"),
    ("h264.flv", "libx264", "yuv420p"),
    ("h264.mov", "libx264", "yuv420p"),
    ("hevc.mp4", "libx265", "yuv420p"),
    ("hevc.mkv", "libx265", "yuv420p"),
    ("hevc.ts", "libx265", "yuv420p"),
    ("mpeg4.avi", "mpeg4", "yuv420p"),
    ("mpeg4.mp4", "mpeg4", "yuv420p"),
    ("mjpeg.avi", "mjpeg", "yuvj420p"),
    ("mpeg2.ts", "mpeg2video", "yuv420p"),
    ("mpeg2.mkv", "mpeg2video", "yuv420p"),
    ("mpeg1.mpg", "mpeg1video", "yuv420p"),
    ("vp8.webm", "libvpx", "yuv420p"),
    ("vp9.webm", "libvpx-vp9", "yuv420p"),
    ("av1.mkv", "libsvtav1", "yuv420p"),
    ("av1.mp4", "libsvtav1", "yuv420p"),
    ("flv1.flv", "flv1", "yuv420p"),
    ("a.gif", "gif", "rgb8"),
    ("prores.mov", "prores_ks", "yuv422p10le"),
    ("ffv1.mkv", "ffv1", "yuv420p"),
    ("png.mov", "png", "rgb24"),
    ("wmv2.avi", "wmv2", "yuv420p"),
    ("huffyuv.avi", "huffyuv", "yuv422p"),
    ("theora.ogv", "libtheora", "yuv420p"),
    ("apng.apng", "apng", "rgb24"),
    ("h263.mov", "h263p", "yuv420p"),
    ("dnxhd.mov", "dnxhd", "yuv422p"),
)
# encoders that would tell of themselves
_QUIET = {"libx265": {"x265-params": "log-level=none"}}


def seeds(folder: Path) -> dict[str, bytes]:
    """Encode a small clip in every way that this build of PyAV knows; those that it does not are left out."""
    made = {}
    for name, codec, pixel_format in SEEDS:
        path = folder / name
        if not path.exists():
            try:
                _encode(path, codec, pixel_format)
            except (av.FFmpegError, ValueError, LookupError):
                path.unlink(missing_ok=True)
                continue
        made[name] = path.read_bytes()
    return made


def _encode(path: Path, codec: str, pixel_format: str) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        stream.codec_context.gop_size = 4
        stream.codec_context.options = _QUIET.get(codec, {})
        for place, picture in enumerate(gradient_frames(10)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixel_format)
            frame.pts = place
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def mutant(number: int, clips: dict[str, bytes]) -> tuple[str, bytes]:
    """Damage a clip: its kind (clip and what was done) and its bytes, both by the number alone."""
    rng = np.random.default_rng((number, 14))
    names = sorted(clips)
    name = names[number % len(names)]
    data = bytearray(clips[name])
    how = str(rng.choice(["flip", "flips", "header", "cut", "hole", "zeros", "again", "splice"]))
    place, length = int(rng.integers(len(data))), int(rng.integers(1, max(2, len(data) // 4)))
    if how in ("flip", "flips", "header"):
        count = {"flip": 1, "flips": int(rng.integers(2, 60)), "header": int(rng.integers(1, 8))}[how]
        span = min(len(data), 400) if how == "header" else len(data)
        for at in rng.integers(0, span, count):
            data[at] ^= 1 << int(rng.integers(8))
    elif how == "cut":
        data = data[: max(1, place)]
    elif how == "hole":
        del data[place : place + length]
    elif how == "zeros":
        data[place : place + length] = bytes(len(data[place : place + length]))
    elif how == "again":
        data[place:place] = data[place : place + length]
    else:
        other = clips[names[int(rng.integers(len(names)))]]
        data = data[:place] + bytearray(other[int(rng.integers(len(other))) :])
    return f"{name} {how}", bytes(data)


def tried(data: bytes) -> str:
    """Read a video as a user would: "read", "noted" or "refused", else what is wrong."""
    import framegate
    from framegate.errors import FramegateError
    from framegate.types import FramePlan

    try:
        with framegate.open_video(data) as stream:
            whole = {frame.index: frame.pixels for frame in stream.frames(size_px=(24, 32))}
            noted = bool(stream.warnings)
            known = sorted(whole)[:: max(1, len(whole) // 3)]
            plan = FramePlan.from_indices(np.array(known), stream.info.frame_times_seconds)
            planned = list(stream.frames(plan, size_px=(24, 32)))
            noted |= bool(stream.warnings)
    except FramegateError:
        return "refused"
    except Exception as problem:
        return f"foreign {type(problem).__name__}: {str(problem)[:120]}"
    if noted:
        return "noted"
    if [frame.index for frame in planned] != known:
        return "a plan lost frames without a note"
    if not all(np.array_equal(frame.pixels, whole[frame.index]) for frame in planned):
        return "a plan gave other frames without a note"
    return "read" if len(whole) == plain_count(data) else "other frames than FFmpeg gives, without a note"


def plain_count(data: bytes) -> int:
    """How many frames of the video that framegate takes plain PyAV decodes."""
    from framegate.tokenizers.clip.container import video_stream_of

    with av.open(io.BytesIO(data), metadata_errors="replace") as container:
        stream = video_stream_of(container, "plain")
        try:
            return sum(1 for _ in container.decode(stream))
        except av.FFmpegError:
            return -1


class Corpus(NamedTuple):
    """What is damaged, and how a mutant is tried."""

    seeds: Callable[[Path], dict[str, bytes]]
    tried: Callable[[bytes], str]


CORPORA = {
    "videos": Corpus(seeds, tried),
    "pictures": Corpus(fuzz_pictures.seeds, fuzz_pictures.tried),
}


def child(folder: Path, corpus: str) -> None:
    """Answer numbers on the standard input with what became of those mutants."""
    originals = CORPORA[corpus].seeds(folder)
    for line in sys.stdin:
        kind, data = mutant(int(line), originals)
        began = time.perf_counter()
        print(json.dumps([kind, CORPORA[corpus].tried(data), time.perf_counter() - began]), flush=True)


class Child:
    """A process that tries mutants, started anew when it died or had to be ended."""

    def __init__(self, folder: Path, corpus: str = "videos") -> None:
        self._folder, self._corpus = folder, corpus
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, number: int) -> tuple[str, str, float]:
        """Kind of the mutant, what became of it, and seconds."""
        if self._process is None:
            command = [sys.executable, __file__, "--corpus", self._corpus, "--child", str(self._folder)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            self._looks = selectors.DefaultSelector()
            self._looks.register(self._process.stdout, selectors.EVENT_READ)
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()
        # the first answer waits for imports and clips as well
        line = self._process.stdout.readline() if self._looks.select(6 * LIMIT_SECONDS) else None
        if line:
            kind, outcome, seconds = json.loads(line)
            return kind, outcome if seconds <= LIMIT_SECONDS else f"hang of {seconds:.0f} s", seconds
        outcome = "hang" if line is None else f"crash {self._process.wait()}"
        self.close()
        return mutant(number, CORPORA[self._corpus].seeds(self._folder))[0], outcome, 6 * LIMIT_SECONDS

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


GOOD = ("read", "noted", "refused")


def fuzz(
    first: int, count: int, folder: Path, corpus: str = "videos"
) -> tuple[Counter[tuple[str, str]], list[tuple[int, str, str]]]:
    """Try mutants: how many came to what, by kind; and the findings with their numbers."""
    found: Counter[tuple[str, str]] = Counter()
    findings = []
    ask = Child(folder, corpus)
    try:
        for number in tqdm(range(first, first + count), disable=None, unit="mutant"):
            kind, outcome, _ = ask(number)
            found[kind, outcome.split(":")[0]] += 1
            if outcome not in GOOD:
                findings.append((number, kind, outcome))
    finally:
        ask.close()
    return found, findings


def main() -> None:
    """Run from a command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", choices=list(CORPORA), default="videos", help="what is damaged")
    parser.add_argument("--mutants", type=int, default=20000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--out", type=Path, help="CSV of what came of how many, by clip and damage")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        child(options.child, options.corpus)
        return
    os.environ.setdefault("SVT_LOG", "0")
    with tempfile.TemporaryDirectory() as folder:
        made = CORPORA[options.corpus].seeds(Path(folder))
        print(f"{len(made)} {options.corpus}: {', '.join(sorted(made))}")
        found, findings = fuzz(options.first, options.mutants, Path(folder), options.corpus)
    for number, kind, outcome in findings:
        print(f"mutant {number}, {kind}: {outcome}")
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        with options.out.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("clip", "damage", "outcome", "mutants", "commit", "command"))
            measured_at = commit() or "unknown"
            which = "" if options.corpus == "videos" else f"--corpus {options.corpus} "
            command = f"python tests/support/fuzz_videos.py {which}--first {options.first} --mutants {options.mutants}"
            rows.writerows(
                (*kind.split(), outcome, many, measured_at, command)
                for (kind, outcome), many in sorted(found.items())
            )
    print(
        {
            outcome: sum(n for (_, o), n in found.items() if o == outcome)
            for outcome in sorted({o for _, o in found})
        }
    )
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
