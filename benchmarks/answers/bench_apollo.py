"""What Apollo's resampler, trained in front of framegate/nano, leaves of its answers at equal prompt tokens.

    python benchmarks/answers/bench_apollo.py out/apollo/final --clips clips

FOLDER is what `python examples/finetune.py examples/finetune/apollo.yaml` wrote. Asked are videos of
bench_answers.py's test split under four front ends, the last three at a quarter of tower and prompt: none, the
default, the resampler as it starts (it pools), and as it was trained. Puts apollo.csv; cut off, it goes on.
"""

import argparse
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from answers.bench_answers import HERE, question_sets
from answers.rows import pooled, rows_of
from common import environment, write_csv

from framegate.cli.run import load_pair
from framegate.tools.evaluation import evaluate
from framegate.tools.evaluation.generator.script import SIZES_PX
from framegate.tools.training import settings_from_argv

RECIPE = Path(__file__).parents[2] / "examples/finetune/apollo.yaml"
QUARTER = {"tower_ratio": 0.25, "keep_ratio": 0.25}
TOLD = ("headline", "all", "text_at", "grid")
SHOWN = ("value", "low", "high", "of_dense", "of_dense_low", "of_dense_high", "tower_share", "prompt_share")


def runs_of(folder):
    """Preset and settings of each front end by its name."""
    recipe = settings_from_argv([str(RECIPE)])["front_end_settings"]
    fps = {"fps": recipe["fps"]}
    return {
        "dense": ("dense", fps),
        "framegate": ("framegate", fps | QUARTER),
        "apollo, untrained": ("framegate", recipe | QUARTER),
        "apollo, trained": (str(folder), {"keep_ratio": QUARTER["keep_ratio"]}),
    }


def ask(name, preset, settings, *, pair, sets, options):
    """Results of one front end on all sets."""
    found = []
    for (size, seed), questions in sets.items():
        out = options.out / "apollo" / f"{options.split}-{size}-{seed}" / f"{name}.jsonl"
        asked = {"out": out, "model_name": "framegate/nano", "max_new_tokens": 8, "videos": "shared"}
        found.append(evaluate(*pair, questions, preset, **asked, **settings))
    return pooled(found)


def rows(results, dense, shared):
    """A row for each kind of question that is told."""
    return [
        shared | {"kind": row["kind"], "n": row["n"]} | {key: _short(row.get(key)) for key in SHOWN}
        for row in rows_of(results, dense)
        if row["kind"] in TOLD and row["metric"] == "correct"
    ]


def _short(value):
    return "" if value is None else round(value, 4)


def main():
    """Render, ask, write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=Path, help="folder of benchmarks/fetch_clips.py")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--videos", type=int, default=16, help="of each size and seed")
    parser.add_argument("--out", type=Path, default=Path("out/answers"))
    parser.add_argument("--csv", type=Path, default=HERE.parent / "learned" / "results" / "apollo.csv")
    parser.set_defaults(split="test", sizes=list(SIZES_PX))
    options = parser.parse_args()
    pair, sets, table, dense = load_pair("framegate/nano"), question_sets("budget", options), [], None
    shared = {"seeds": " ".join(map(str, options.seeds)), "videos": options.videos * len(options.seeds)}
    shared |= {"command": shlex.join(["python", "benchmarks/answers/bench_apollo.py", *sys.argv[1:]])}
    for name, (preset, settings) in runs_of(options.folder).items():
        results = ask(name, preset, settings, pair=pair, sets=sets, options=options)
        dense = dense or results
        table += rows(results, dense, {"name": name, **shared, **environment()})
        write_csv(options.csv, table)


if __name__ == "__main__":
    main()
