"""Does a real model still answer? Accuracy of framegate/nano against tokens, frames per second and method.

    python benchmarks/answers/bench_answers.py --clips clips              (half an hour and more on 2 cores)
    python benchmarks/answers/bench_answers.py --clips clips --model FOLDER --weights gate_tuned --series budget

Renders a test set (fonts and backgrounds that the model has not been trained on; every third video has a real clip
from --clips behind it), asks it under every run of series.py, and adds a row per run and kind to results/answers.csv.
Runs are taken up again where they were cut off. Intervals: 95 %, videos resampled; the share of dense is paired, over
the same resampled videos.
"""

import argparse
import csv
import shlex
import statistics
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from answers.series import SERIES, Run
from common import environment, write_csv

import framegate
from framegate.cli.run import load_pair
from framegate.tools.evaluation import compare, evaluate, read_folder, summarise
from framegate.tools.evaluation.ask import ask
from framegate.tools.evaluation.generator import write_dataset
from framegate.tools.evaluation.generator.script import GENERATOR_VERSION

HERE = Path(__file__).parent
KINDS = ("text_at", "grid", "text_at", "when", "text_at", "order", "count")
CLIPS = ("vtest.avi", "bikes.mp4", "carphone_pristine.mp4")
# what tells a run from another
KEY = ("weights", "series", "split", "name", "tower_ratio", "keep_ratio", "fps")
COLUMNS = (
    *(
        "weights",
        "series",
        "name",
        "split",
        "tower_ratio",
        "keep_ratio",
        "refill",
        "weight",
        "context",
        "select",
        "motion",
        "fps",
        "kind",
        "metric",
        "n",
        "errors",
        "value",
        "low",
        "high",
    ),
    *("of_dense", "of_dense_low", "of_dense_high", "tokens_dense", "tokens_kept"),
    *("input_seconds", "first_token_seconds", "generate_seconds", "videos", "seed", "device", "torch"),
    *("transformers", "commit", "command"),
)


def test_set(folder, options):
    """The rendered questions; the same options find the same folder again."""
    if not (folder / "questions.jsonl").exists():
        clips = [options.clips / name for name in CLIPS] if options.clips else []
        part = folder.with_name(folder.name + ".part")
        write_dataset(
            part,
            split=options.split,
            videos=options.videos,
            seed=options.seed,
            questions=len(KINDS),
            kinds=KINDS,
            clips=clips,
        )
        part.rename(folder)
    return read_folder(folder)


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


def of_camera(questions, camera):
    """The questions about videos of a camera."""
    if camera is None:
        return questions
    return replace(
        questions,
        questions=tuple(one for one in questions.questions if one.meta.get("camera") == camera),
    )


def asked(run, questions, options):
    """Results of one run, from its file if it is there."""
    model, processor = pair(options.model, markers=run.markers)
    return evaluate(
        model,
        processor,
        of_camera(questions, run.camera),
        run.preset,
        out=options.out / options.weights / f"{options.split}-{run.label}.jsonl",
        model_name="framegate/nano",
        max_new_tokens=8,
        **run.overrides,
    )


def dense_twin(run):
    """The dense run that a run is held against: same frames, same questions."""
    return Run(run.series, "dense", "dense", {"fps": run.overrides["fps"]}, camera=run.camera)


def settings_of(run):
    """What a row is told by: the two shares, and how the tokens were come by."""
    config = framegate.load_config(run.preset, **run.overrides)
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


def rows_of(run, results, dense, options):
    """Rows of the table: every kind, its own metric."""
    ratios = {(one.kind, one.metric): one.ratio for one in compare(results, dense, seed=options.seed)}
    shared = {
        "weights": options.weights,
        "series": run.series,
        "name": run.name,
        "split": options.split,
        **settings_of(run),
        "fps": run.overrides["fps"],
        "videos": options.videos,
        "seed": options.seed,
        "command": shlex.join(["python", "benchmarks/answers/bench_answers.py", *sys.argv[1:]]),
    } | environment()
    rows = []
    for figure in summarise(results, seed=options.seed):
        if figure.metric not in ("correct", "exact_match", "cer", "token_f1", "time_error_seconds"):
            continue
        ratio = ratios.get((figure.kind, figure.metric))
        held = {} if ratio is None else {"value": ratio.value, "low": ratio.low, "high": ratio.high}
        row = shared | {
            "kind": figure.kind,
            "metric": figure.metric,
            "n": figure.n,
            "errors": figure.errors,
            "value": figure.estimate.value,
            "low": figure.estimate.low,
            "high": figure.estimate.high,
            "of_dense": held.get("value"),
            "of_dense_low": held.get("low"),
            "of_dense_high": held.get("high"),
        }
        rows.append(row | {name: value for name, value in figure.costs.items() if name in COLUMNS})
    return rows


def speed_row(questions, options, *, rounds=12):
    """Dense and framegate at 25 % on the same questions in turns: median milliseconds of each part."""
    model, processor = pair(options.model, markers=True)
    sides = {"dense": {"fps": 4}, "framegate": {"fps": 4, "keep_ratio": 0.25}}
    times = {name: [] for name in sides}
    for number in range(rounds + 2):
        one = questions.questions[number % len(questions.questions)]
        for name, settings in sides.items():
            with framegate.attach(model, processor, name, **settings):
                answer = ask(model, processor, video=str(one.path), question=one.question, max_new_tokens=8)
            if number >= 2:
                times[name].append((1000 * answer.first_token_seconds, 1000 * answer.input_seconds))
    row = {"weights": options.weights, "rounds": rounds}
    for name, pairs in times.items():
        first, inputs = (statistics.median(part) for part in zip(*pairs, strict=True))
        row |= {f"{name}_first_token_ms": round(first, 1), f"{name}_inputs_ms": round(inputs, 1)}
    command = shlex.join(["python", "benchmarks/answers/bench_answers.py", *sys.argv[1:]])
    return row | environment() | {"command": command}


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
    """Whether --only and --ratios leave a run in; dense runs have no budget."""
    ratio = run.overrides.get("keep_ratio")
    tower = run.overrides.get("tower_ratio")
    named = options.only is None or run.name in options.only
    fits = options.towers is None or tower is None or tower in options.towers
    return named and fits and (options.ratios is None or ratio is None or ratio in options.ratios)


def main():
    """Render, ask and put every run into the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="framegate/nano")
    parser.add_argument("--weights", default="training_free", help="what the rows call the weights")
    parser.add_argument("--series", nargs="+", default=list(SERIES), choices=list(SERIES))
    parser.add_argument("--only", nargs="+", help="names of the runs to do; all of the series without it")
    parser.add_argument("--ratios", nargs="+", type=float, help="budgets to do; all without it")
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    parser.add_argument("--towers", type=float, nargs="+", help="shares of the tower to do; all without it")
    parser.add_argument("--videos", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--clips", type=Path, help="folder of benchmarks/fetch_clips.py; none: drawn backgrounds only"
    )
    parser.add_argument("--out", type=Path, default=Path("out/answers"))
    parser.add_argument("--csv", type=Path, default=HERE / "results" / "answers.csv")
    parser.add_argument(
        "--speed", action="store_true", help="time dense and framegate in turns, and nothing else"
    )
    options = parser.parse_args()
    name = f"{options.split}{GENERATOR_VERSION}-{options.seed}-{options.videos}{'-clips' if options.clips else ''}"
    questions = test_set(options.out / name, options)
    (options.out / options.weights).mkdir(parents=True, exist_ok=True)
    if options.speed:
        write_csv(options.csv.with_name("speed.csv"), [speed_row(questions, options)])
        return
    runs = [run for series in options.series for run in SERIES[series]() if wanted(run, options)]
    for number, run in enumerate(runs, 1):
        print(f"{number}/{len(runs)} {run.label}", flush=True)
        results = asked(run, questions, options)
        put(options.csv, rows_of(run, results, asked(dense_twin(run), questions, options), options))


if __name__ == "__main__":
    main()
