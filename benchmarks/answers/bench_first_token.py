"""How soon does the first token come, dense and compressed? From the file on and from the inputs on, in turns.

    python benchmarks/answers/bench_first_token.py                    (nano on the shipped clips; a minute)
    python benchmarks/answers/bench_first_token.py --fps 1 2 4 8 16 --seconds 12 --clips src/framegate/assets/slides.mp4
    python benchmarks/answers/bench_first_token.py --wide --rounds 2  (a 2B model's shape, random weights; 9 GiB)
    python benchmarks/answers/bench_first_token.py --wide --device cuda --attention flash_attention_2 --seconds 96

`dense` and `framegate` read the same frames of the same file by the same reader, in turns in one process; planning,
gathering, refilling and selecting are counted. The wide model is Qwen3-VL-2B's tower and language model at full width
and depth, in float32 (bfloat16 on a GPU), with nano's vocabulary; what it says means nothing, and takes as long. Rows
are added to results/first_token.csv in place of those of the same model, clip, rate, length and shares.
"""

import argparse
import csv
import shlex
import statistics
import sys
from itertools import product
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import environment

import framegate
from framegate.cli.run import load_pair
from framegate.models.nano.build import nano_processor
from framegate.models.tiny import tiny_model_of
from framegate.tools.evaluation.ask import ask

HERE = Path(__file__).parent
ASSETS = Path(framegate.__file__).parent / "assets"
# of tower and prompt; without shares the threshold decides
SHARES = ((0.25, 0.25), (0.25, 0.1), (0.1, 0.1), (None, None))
QUESTION = "What text stands at 2.0 seconds?"
KEY = ("model", "clip", "fps", "seconds", "tower_ratio", "keep_ratio")
# of Qwen3-VL-2B: width and depth of both parts
VISION = {
    "depth": 24,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_heads": 16,
    "out_hidden_size": 2048,
    "num_position_embeddings": 2304,
    "deepstack_visual_indexes": [5, 11, 17],
}
TEXT = {
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 5e6,
        "mrope_section": [24, 20, 20],
        "mrope_interleaved": True,
    },
}


def wide_pair():
    """A 2B model's shape with random weights, and nano's processor."""
    processor = nano_processor()
    model = tiny_model_of("qwen3_vl", processor.tokenizer, seed=0, vision=VISION, text=TEXT, tied=True)
    return model, processor


def turns_of(model, processor, clip, fps, options):
    """Milliseconds of every side by turn: (inputs, first token); of dense by None."""
    sides = {None: ("dense", {})} | {
        (tower, prompt): ("framegate", {"tower_ratio": tower, "keep_ratio": prompt} if tower else {})
        for tower, prompt in SHARES
    }
    spent = {side: [] for side in sides}
    for turn in range(options.rounds + 1):
        for side, (preset, settings) in sides.items():
            with framegate.attach(model, processor, preset, fps=fps, **settings):
                answer = ask(
                    model,
                    processor,
                    video=str(clip),
                    question=QUESTION,
                    window_seconds=(0.0, options.seconds),
                    max_new_tokens=1,
                )
            # the first turn warms everybody up
            if turn:
                spent[side].append((1000 * answer.input_seconds, 1000 * answer.first_token_seconds))
    return spent


def rows_of(name, clip, fps, spent, options):
    """One row per pair of shares: medians, and the ratio of dense's."""
    medians = {
        side: [statistics.median(column) for column in zip(*turns, strict=True)]
        for side, turns in spent.items()
    }
    dense_inputs, dense_first = medians.pop(None)
    shared = {"model": name, "clip": clip.name, "fps": fps, "seconds": options.seconds}
    shared |= {"rounds": options.rounds, "dense_inputs_ms": dense_inputs, "dense_first_token_ms": dense_first}
    command = shlex.join(["python", "benchmarks/answers/bench_first_token.py", *sys.argv[1:]])
    for (tower, prompt), (inputs, first) in medians.items():
        yield (
            shared
            | {
                "tower_ratio": tower or "",
                "keep_ratio": prompt or "",
                "inputs_ms": inputs,
                "first_token_ms": first,
                "sooner_from_inputs": dense_first / first,
                "sooner_from_file": (dense_inputs + dense_first) / (inputs + first),
            }
            | environment(None if options.device == "cpu" else torch.cuda.get_device_name(options.device))
            | {"command": command}
        )


def put(path, rows):
    """Put rows into the table in place of those of the same key."""
    rows = [
        {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in row.items()}
        for row in rows
    ]
    old = list(csv.DictReader(path.open(newline=""))) if path.exists() else []
    new = {tuple(row[name] for name in KEY) for row in rows}
    kept = [row for row in old if tuple(row[name] for name in KEY) not in new]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows([*kept, *rows])


def main():
    """Time the model on every clip."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wide", action="store_true", help="a 2B model's shape instead of nano")
    parser.add_argument(
        "--clips", type=Path, nargs="+", default=[ASSETS / "codes.mp4", ASSETS / "slides.mp4"]
    )
    parser.add_argument("--fps", type=float, nargs="+", default=[4.0])
    parser.add_argument("--seconds", type=float, default=4.0, help="of every clip, from its beginning")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--attention", help="of tower and language model: sdpa (the default) or flash_attention_2"
    )
    parser.add_argument("--csv", type=Path, default=HERE / "results" / "first_token.csv")
    options = parser.parse_args()
    name, (model, processor) = (
        ("Qwen3-VL-2B's shape", wide_pair())
        if options.wide
        else ("framegate/nano", load_pair("framegate/nano"))
    )
    if options.device != "cpu":
        model.to(options.device, torch.bfloat16)
    if options.attention:
        model.set_attn_implementation(options.attention)
    for clip, fps in product(options.clips, options.fps):
        rows = list(rows_of(name, clip, fps, turns_of(model, processor, clip, fps, options), options))
        for row in rows:
            print({key: row[key] for key in (*KEY, "sooner_from_inputs", "sooner_from_file")}, flush=True)
        put(options.csv, rows)


if __name__ == "__main__":
    main()
