"""Peak memory of the largest request that `framegate serve` takes by itself: 768 frames of 1080p, as a data: address.

    python benchmarks/memory/bench_request.py

Each family's processor, at the sizes of released checkpoints, reads the same rendered clip in a process of its own, at
the default preset with a quarter of the tokens and the caps of the server; one frame more is refused. Peak resident
memory is read at the end. Writes benchmarks/memory/results/request.csv.
"""

import argparse
import base64
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench_length import peak_mib
from bench_memory import render
from common import environment, write_csv

FAMILIES, FRAMES, FPS = ("qwen2_5_vl", "qwen3_vl"), 768, 2


def run_here(family, path):
    """A row of one family, in this process."""
    import framegate
    from framegate.errors import CapError
    from framegate.models.families import family_of_type
    from framegate.models.tiny import chat_template, tiny_tokenizer
    from framegate.models.video_processor import attach_processor, build_processor

    # of released checkpoints, where those of the class are others
    size = dict(family_of_type(family).video_size) or None
    processor = build_processor(family, tiny_tokenizer(), chat_template=chat_template(family), size=size)
    caps = {"cap_frames": FRAMES, "public_only": True}
    config = framegate.load_config("framegate", keep_ratio=0.25, fps=FPS, caps=caps)
    attach_processor(processor, family, config.plan)
    imports_mib = peak_mib()
    video = f"data:video/mp4;base64,{base64.b64encode(Path(path).read_bytes()).decode()}"
    out = processor.video_processor(videos=[video], return_tensors="pt")
    told = {
        "family": family,
        "frames": FRAMES,
        "patches": len(out["pixel_values_videos"]),
        "pixels_mib": round(out["pixel_values_videos"].nbytes / 2**20, 1),
        "imports_mib": round(imports_mib, 1),
        "peak_mib": round(peak_mib(), 1),
    }
    try:
        processor.video_processor(videos=[video], cap_frames=FRAMES - 1, return_tensors="pt")
    except CapError as error:
        return told | {"one_frame_less": error.cap}
    raise SystemExit("the cap did not hold")


def main():
    """Run one family, or all in turn, and write the CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--family", choices=FAMILIES)
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/request.csv")
    options = parser.parse_args()
    if options.family:
        print(json.dumps(run_here(options.family, options.clip)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        render(clip, frames=FRAMES, fps=FPS)
        for family in FAMILIES:
            command = [sys.executable, __file__, "--family", family, "--clip", str(clip)]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode:
                raise SystemExit(run.stderr)
            rows.append(json.loads(run.stdout) | environment())
            print(rows[-1])
    write_csv(options.out, rows)


if __name__ == "__main__":
    main()
