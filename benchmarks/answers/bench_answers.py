"""Are questions about video still answered? framegate/nano against the shares of tower and prompt, and frames a second.

    python benchmarks/answers/bench_answers.py --clips clips                               (hours on 2 cores)
    python benchmarks/answers/bench_answers.py --clips clips --series choices --split validation
    python benchmarks/answers/bench_answers.py --clips clips --series plans --videos 2

Renders a set for each size of frames and seed of the generator (fonts and backgrounds that the model has not been
trained on; every third video has a real clip behind it), asks it under every run of series.py, and puts rows into
results/answers.csv: a row per size, all sizes together, cameras apart, per kind of question. Runs are taken up again
where they were cut off. Intervals: 95 %, videos resampled; shares of dense are paired, over the same resampled videos.
The series `plans` has long videos of one size instead (plans.py); its rows are told by their length.
"""

import argparse
import csv
import shlex
import sys
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from answers import plans
from answers.rows import pooled, rows_of
from answers.series import SERIES, Run, rival_of
from common import environment

import framegate
from framegate.cli.run import load_pair
from framegate.tools.evaluation import evaluate, read_folder
from framegate.tools.evaluation.generator import write_dataset
from framegate.tools.evaluation.generator.script import GENERATOR_VERSION, SIZES_PX

HERE = Path(__file__).parent
KINDS = (
    *("text_at", "grid", "when", "text_at", "order", "neighbour"),
    *("text_at", "changed", "appears", "count"),
)
CLIPS = ("vtest.avi", "bikes.mp4", "carphone_pristine.mp4")
SHORTEST_SECONDS, LONGEST_SECONDS = 8.0, 30.0
# the weights as shipped
TRAINING_FREE = "training_free"
# what tells a run from another
KEY = ("weights", "series", "split", "size", "camera", "name", "tower_ratio", "keep_ratio", "fps")
COLUMNS = (
    *("weights", "series", "name", "split", "size", "camera", "tower_ratio", "keep_ratio"),
    *("refill", "weight", "context", "select", "motion", "fps", "kind", "metric", "n", "errors"),
    *("value", "low", "high", "of_dense", "of_dense_low", "of_dense_high"),
    *("difference", "difference_low", "difference_high"),
    # the paired difference to VidCom2 behind the whole tower at the same share of the prompt; of plans, to uniform
    *("over_rival", "over_rival_low", "over_rival_high", "tower_share", "prompt_share"),
    # times to the first token are taken apart (bench_first_token.py)
    *("tokens_dense", "cells_encoded", "tokens_kept", "input_seconds", "after_tower_ms"),
    *("videos", "seeds", "device", "torch", "transformers", "commit", "command"),
)
# tower and prompt of what is told by kind and metric; of other runs hundreds of rows would hide the few that decide
TOLD_BY_KIND = {"dense": ((1.0, None),), "no video": ((1.0, None),), "framegate": ((0.25, 0.25), (0.25, 0.1))}
OF_ALL, SHARES = ("headline", "all"), ("correct", "still_right")
ALL_SERIES = SERIES | {"plans": plans.plans}
# sizes whose tubes hold more than a few tokens at a tenth of the prompt
WIDE = ("6x10", "8x14")


def drawn(series, options):
    """What is rendered for a series: settings of the generator by the name that rows have for it."""
    if series == "plans":
        asked = {"questions": plans.QUESTIONS, "kinds": plans.KINDS, "pace": plans.PACE, "size": plans.SIZE}
        return {f"{seconds} s": asked | {"duration_seconds": seconds} for seconds in plans.SECONDS}
    asked = {"questions": len(KINDS), "kinds": KINDS}
    asked |= {"duration_seconds": SHORTEST_SECONDS, "longest_seconds": LONGEST_SECONDS}
    return {size: asked | {"size": size} for size in options.sizes}


def question_sets(series, options):
    """Rendered questions of a series by size and seed; the same options find the same folders again."""
    sets = {}
    for size, settings in drawn(series, options).items():
        for seed in options.seeds:
            name = f"{options.split}{GENERATOR_VERSION}-{_file_name(size)}-{seed}-{options.videos}"
            folder = options.out / f"{name}{'-clips' if options.clips else ''}"
            if not (folder / "questions.jsonl").exists():
                part = folder.with_name(folder.name + ".part")
                write_dataset(
                    part,
                    split=options.split,
                    videos=options.videos,
                    seed=seed,
                    clips=[options.clips / clip for clip in CLIPS] if options.clips else [],
                    **settings,
                )
                part.rename(folder)
            sets[size, seed] = read_folder(folder)
    return sets


def _file_name(size):
    return size.replace(" ", "")


def without_markers(processor):
    """Take the times that Qwen3-VL's processor writes before every tube out of its prompts."""
    import re

    written = processor.replace_video_token
    processor.replace_video_token = lambda *args, **named: re.sub(
        r"<\d+\.\d seconds>", "", written(*args, **named)
    )


def pair(model_name, *, markers):
    """Model and processor without a front end."""
    model, processor = load_pair(model_name)
    if not markers:
        without_markers(processor)
    return model, processor


@cache
def asking_of(model_name, out, *, markers):
    """Model and processor without a front end, and what chooses frames by a question."""
    load = partial(pair, model_name, markers=markers)
    return plans.Asking(*load(), out, load_judge=load)


def of_camera(questions, camera):
    """The questions about videos of a camera."""
    if camera is None:
        return questions
    chosen = tuple(one for one in questions.questions if one.meta.get("camera") == camera)
    return replace(questions, questions=chosen)


def asked(run, sets, options):
    """Results of one run by size and seed, from their files if they are there."""
    asking = asking_of(options.model, options.out, markers=run.markers)
    model, processor = asking.model, asking.processor
    results = {}
    for (size, seed), questions in sets.items():
        folder = f"{options.split}-{_file_name(size)}-{seed}"
        out = options.out / options.weights / folder / f"{run.label}.jsonl"
        results[size, seed] = evaluate(
            model,
            processor,
            of_camera(questions, run.camera),
            run.preset,
            out=out,
            model_name="framegate/nano",
            max_new_tokens=8,
            videos=run.videos,
            **asking.arguments(run),
            **run.settings,
        )
    return results


def settings_of(run):
    """What a row is told by: the two shares, and how the tokens were come by."""
    config = framegate.load_config(run.preset, **run.settings)
    gate, select = config.gate, config.select
    return {
        "tower_ratio": 1.0 if gate is None or config.reuses else config.tower_budget.keep_ratio,
        "keep_ratio": config.keep_ratio,
        "refill": gate is not None and gate.refill,
        "weight": "" if gate is None else gate.weight,
        "context": config.context,
        "select": "" if select is None else select.select_rule,
        "motion": "" if gate is None else gate.motion,
    }


def table_rows(run, results, twins, options):
    """All rows of a run: all sizes, of those the cameras apart, and every size; twins: dense, and the rival or None."""
    known = list(dict.fromkeys(size for size, _ in results))
    shared = {
        "weights": options.weights,
        "series": run.series,
        "name": run.name,
        "split": options.split,
        **settings_of(run),
        "fps": run.fps,
        "videos": options.videos * len(options.seeds),
        "seeds": " ".join(map(str, options.seeds)),
        "command": shlex.join(["python", "benchmarks/answers/bench_answers.py", *sys.argv[1:]]),
    } | environment()
    rows = []
    together = {"all": known, " ".join(WIDE): WIDE} | {size: (size,) for size in known}
    for size, sizes in together.items():
        if not set(sizes) <= set(known):
            continue
        mine, dense, rival = (
            None if runs is None else pooled([found for (one, _), found in runs.items() if one in sizes])
            for runs in (results, *twins)
        )
        cameras = ("all", "still", "moving", "cuts") if size == "all" and run.camera is None else ("all",)
        for camera in cameras:
            told = shared | {"size": size, "camera": run.camera or camera}
            chosen = None if camera == "all" else camera
            rows += [told | row for row in rows_of(mine, dense, chosen, rival=rival)]
    if run.series == "plans" or (run.series == "budget" and run.name in TOLD_BY_KIND):
        return rows
    return [row for row in rows if row["kind"] in OF_ALL and row["metric"] in SHARES]


def spelled(value):
    """Numbers short, nothing as nothing."""
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def put(path, rows):
    """Put rows into the table in place of those of the same run."""

    def key(row):
        return tuple(spelled(row.get(name)) for name in KEY)

    old = list(csv.DictReader(path.open(newline=""))) if path.exists() else []
    new = {key(row) for row in rows}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(row for row in old if key(row) not in new)
        writer.writerows({name: spelled(row.get(name)) for name in COLUMNS} for row in rows)
    part.replace(path)


def wanted(run, options):
    """Whether --only, --prompts and --towers leave a run in; dense runs have no budget."""
    prompt, tower = (run.overrides.get(name) for name in ("keep_ratio", "tower_ratio"))
    named = options.only is None or run.name in options.only
    fits = options.towers is None or tower is None or tower in options.towers
    return named and fits and (options.prompts is None or prompt is None or prompt in options.prompts)


def options_of(parser):
    """Declare and read the command line."""
    parser.add_argument("--model", default="framegate/nano")
    parser.add_argument("--weights", default=TRAINING_FREE, help="what the rows call the weights")
    parser.add_argument("--series", nargs="+", default=["budget"], choices=list(ALL_SERIES))
    parser.add_argument("--only", nargs="+", help="names of the runs to do; all of the series without it")
    parser.add_argument("--towers", type=float, nargs="+", help="shares of the tower to do; all without it")
    parser.add_argument("--prompts", type=float, nargs="+", help="shares of the prompt to do; all without it")
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    parser.add_argument("--sizes", nargs="+", default=list(SIZES_PX), choices=list(SIZES_PX))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the generator")
    parser.add_argument("--videos", type=int, default=24, help="of each size and seed")
    parser.add_argument(
        "--clips", type=Path, help="folder of benchmarks/fetch_clips.py; none: drawn backgrounds only"
    )
    parser.add_argument("--out", type=Path, default=Path("out/answers"))
    parser.add_argument("--csv", type=Path, default=HERE / "results" / "answers.csv")
    return parser.parse_args()


def main():
    """Render, ask and put every run into the table."""
    options = options_of(
        argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    )
    for series in options.series:
        sets = question_sets(series, options)
        runs = [run for run in ALL_SERIES[series]() if wanted(run, options)]
        for number, run in enumerate(runs, 1):
            print(f"{number}/{len(runs)} {run.label}", flush=True)
            twins = [one and asked(one, sets, options) for one in twins_of(run, options.weights)]
            put(options.csv, table_rows(run, asked(run, sets, options), twins, options))


def twins_of(run, weights):
    """What a run is held against, run by run: dense, and a rival or None; weights that were tuned have none."""
    if run.series == "plans":
        return plans.twins_of(run)
    rival = rival_of(run) if weights == TRAINING_FREE else None
    return Run(run.series, "dense", "dense", {"fps": run.fps}, camera=run.camera), rival


if __name__ == "__main__":
    main()
