"""Information at equal tokens: what the surviving tokens alone can show, against the source frames.

    pip install "framegate[bench]"
    python benchmarks/fetch_clips.py clips
    python benchmarks/information/bench_information.py clips                    # results/information.csv
    python benchmarks/information/bench_information.py clips --redo framegate   # measure this method anew

The first 25 s of each clip, 448 px wide, 28-px cells, two-frame tubes as Qwen-VL sees them. Rows that are in the CSV
already are kept, so that a run that was stopped goes on; presets that this checkout lacks are left out, and said. The
columns: psnr_db of the squared error pooled over RGB; ssim of luma, mean of the frames; ocr_recall, share of the lines
of text read in 12 source frames that are read again in the shown ones (empty: the clip has no text); feature_drift, one
minus the cosine of ImageNet features (EfficientNet-lite0) in 24 frames; seconds for planning and showing, with
decoding for framegate's presets and without for the other methods. Presets plan through `framegate.plan_video`.
"""

import argparse
import csv
import sys
import time
from importlib import metadata
from pathlib import Path

import cv2
from tqdm import tqdm

import framegate

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import environment, write_csv
from information.features import load_features
from information.methods import METHODS
from information.presets import PRESETS, known_presets
from information.source import Judges, Source
from information.text import load_reader

TABLE = Path(__file__).parent / "results" / "information.csv"
SLIDES = Path(framegate.__file__).parent / "assets" / "slides.mp4"
CLIPS = {"slides.mp4": 10, "vtest.avi": 10, "vtest_pan.mp4": 10, "bikes.mp4": 12, "carphone_pristine.mp4": 30}
BUDGETS = (0.5, 0.25, 0.1, 0.05)
KEY = ("clip", "tube_frames", "method", "budget")


def wanted(methods):
    """Pairs of method and budget; the dense tokens are one row."""
    return [(method, ratio) for method in methods for ratio in ((1.0,) if method == "dense" else BUDGETS)]


def row_of(source, method, ratio):
    """What one method can show of one clip at one budget."""
    dense = source.tokens  # decodes the clip, which is not the method's time
    started = time.perf_counter()
    shown = source.show(method, ratio)
    seconds = time.perf_counter() - started
    return {
        "clip": source.path.name,
        "fps": source.fps,
        "tube_frames": source.tube_frames,
        "frames": len(source.frames),
        "method": method,
        "budget": ratio,
        "tokens_dense": dense,
        "tokens": shown.tokens,
        **source.measures(shown.frames),
        "seconds": round(seconds, 2),
        **versions(),
    }


def versions():
    """Columns that say what measured a row."""
    names = {"opencv": "opencv-python-headless", "av": "av", "rapidocr": "rapidocr", "timm": "timm"}
    return {
        "framegate": framegate.__version__,
        **{column: metadata.version(package) for column, package in names.items()},
        "commit": environment()["commit"],
    }


def key_of(row):
    """What tells rows apart."""
    return tuple(str(row[name]) for name in KEY)


def rows_before(table, tube_frames, redo):
    """Rows of earlier runs, without those to measure anew."""
    if not table.exists():
        return []
    with table.open() as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if row["method"] not in redo or row["tube_frames"] != str(tube_frames)]


def in_order(rows):
    """Rows by clip, budget and method, as listed above."""
    clips, methods = list(CLIPS), [*METHODS, *PRESETS]
    return sorted(
        rows,
        key=lambda row: (
            str(row["tube_frames"]) != "2",
            clips.index(row["clip"]),
            -float(row["budget"]),
            methods.index(row["method"]),
        ),
    )


def measure(folder, tube_frames, methods, rows, table):
    """Add what is missing to the rows and save them after every clip, also when stopped."""
    judges = Judges(load_reader(), load_features())
    done = {key_of(row) for row in rows}
    todo = [
        (clip, *pair)
        for clip in CLIPS
        for pair in wanted(methods)
        if (clip, str(tube_frames), pair[0], str(pair[1])) not in done
    ]
    progress = tqdm(total=len(todo), desc="information", disable=None)
    for clip, fps in CLIPS.items():
        if all(cell[0] != clip for cell in todo):
            continue
        path = SLIDES if clip == SLIDES.name else folder / clip
        source = Source(path, fps, tube_frames, judges)
        try:
            for _, method, ratio in (cell for cell in todo if cell[0] == clip):
                progress.set_postfix_str(f"{clip} {method} {ratio:.0%}")
                rows.append(row_of(source, method, ratio))
                progress.update()
        finally:
            write_csv(table, in_order(rows))


def main():
    """Measure what is missing or to be redone, and write the CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where fetch_clips.py put the clips")
    parser.add_argument("--tube-frames", type=int, choices=[1, 2], default=2, help="frames of a token")
    parser.add_argument("--only", nargs="*", choices=[*METHODS, *PRESETS], help="these methods alone")
    parser.add_argument(
        "--redo", nargs="*", choices=[*METHODS, *PRESETS], default=[], help="measure these anew"
    )
    parser.add_argument("--table", type=Path, default=TABLE, help="where rows are kept")
    arguments = parser.parse_args()
    asked = [*METHODS, *PRESETS] if arguments.only is None else [*arguments.only, *arguments.redo]
    missing = [name for name in asked if name in PRESETS and name not in known_presets()]
    if missing:
        print(f"left out, no such preset in this checkout: {', '.join(missing)}")
    cv2.setNumThreads(1)
    methods = [name for name in dict.fromkeys(asked) if name not in missing]
    redo = [name for name in arguments.redo if name in methods]
    rows = rows_before(arguments.table, arguments.tube_frames, redo)
    measure(arguments.folder, arguments.tube_frames, methods, rows, arguments.table)


if __name__ == "__main__":
    main()
