"""`framegate eval`: questions about a folder of videos, answered, scored and summed up."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framegate.cli.options import make_console
from framegate.cli.run import load_pair
from framegate.errors import ConfigError

if TYPE_CHECKING:
    from framegate.tools.evaluation.questions import QuestionSet
    from framegate.tools.evaluation.results import Results
    from framegate.tools.evaluation.summary import Comparison, Estimate, Figure

GENERATED = "generated"
GENERATED_VIDEOS, GENERATED_SPLIT = 20, "test"
# of what is wrong with the data, so many lines are shown; all of them stand in the results
SHOWN_PROBLEMS = 10
CAPTION = (
    "95 %: videos resampled; equal values: no width. tower, prompt, of: mean cells that the tower encodes and "
    "video tokens that the language model reads for a question, and those of the dense run. Seconds are medians: "
    "file to inputs (of the first question about a video; the others use them again), from there to the first token, "
    "and to the whole answer."
)


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """What to evaluate, on what, and where the results go; the options of `framegate eval`."""

    source: Path
    model: str | None
    preset: str
    overrides: dict[str, Any]
    out: Path
    csv: Path | None
    baseline: Path | None
    limit: int | None
    kinds: tuple[str, ...] | None
    generate: int | None
    split: str | None
    rendering: dict[str, Any]
    clips: Path | None
    max_new_tokens: int
    on_error: Any
    seed: int
    scorer: str | None = None

    @property
    def csv_path(self) -> Path:
        """Where the summary goes."""
        return self.csv or self.out.with_suffix(".csv")


def eval_command(options: EvalOptions, *, as_json: bool) -> bool:
    """Evaluate, write and print; tells whether any question was answered."""
    from framegate import load_config
    from framegate.models.nano import NANO
    from framegate.models.scorers import check_name, scorer_named
    from framegate.tools.evaluation import compare, evaluate, read_results, summarise
    from framegate.tools.evaluation.summary import append_csv, csv_rows, read_csv

    if options.csv_path == options.out:
        raise ConfigError(
            f"{options.out} is to hold the results and the summary; end --out in .jsonl, or set --csv."
        )
    # what is wrong with the files is told before a model is loaded
    load_config(options.preset, **options.overrides)
    check_name(options.scorer)
    read_csv(options.csv_path)
    base = None if options.baseline is None else read_results(options.baseline)
    questions = _read(options).select(kinds=options.kinds, split=options.split, limit=options.limit)
    _tell_problems(questions)
    model, processor = load_pair(options.model)
    results = evaluate(
        model,
        processor,
        questions,
        options.preset,
        out=options.out,
        model_name=options.model or NANO,
        max_new_tokens=options.max_new_tokens,
        command=shlex.join(["framegate", *sys.argv[1:]]),
        on_error=options.on_error,
        scorer=None if options.scorer is None else scorer_named(options.scorer, model, processor),
        **options.overrides,
    )
    figures = summarise(results, seed=options.seed)
    comparisons = [] if base is None else compare(results, base, seed=options.seed)
    append_csv(options.csv_path, csv_rows(results, figures, seed=options.seed))
    if as_json:
        print(json.dumps(_account(results, figures, comparisons), indent=2))
    else:
        _print(options, results, figures, comparisons)
    return any(row["status"] == "ok" for row in results.rows)


def _read(options: EvalOptions) -> QuestionSet:
    from framegate.tools.evaluation import read_dive, read_folder
    from framegate.tools.evaluation.dive import is_dive
    from framegate.tools.evaluation.questions import QUESTIONS_NAME

    wanted = options.generate
    is_word = str(options.source) == GENERATED and not (options.source / QUESTIONS_NAME).is_file()
    if wanted is not None or is_word:
        _generate(options, GENERATED_VIDEOS if wanted is None else wanted)
    elif options.rendering or options.clips is not None:
        raise ConfigError(
            "--pace, --size, --longest-seconds and --clips are of videos that are rendered, and "
            f"{options.source} is there; give another folder and --generate."
        )
    elif not options.source.exists():
        raise ConfigError(
            f"There is no folder {str(options.source)!r}. A benchmark is a folder with videos/ and {QUESTIONS_NAME}; "
            f"--generate {GENERATED_VIDEOS} makes one there."
        )
    return read_dive(options.source) if is_dive(options.source) else read_folder(options.source)


def _generate(options: EvalOptions, videos: int) -> None:
    """Render a benchmark, unless it is there already; a folder of other settings is never taken for it."""
    from framegate.tools.evaluation.generator import write_dataset
    from framegate.tools.evaluation.generator.script import GENERATOR_VERSION

    note = options.source / "generated.json"
    split = options.split or GENERATED_SPLIT
    version = {"generator": GENERATOR_VERSION}
    wanted: dict[str, Any] = {"split": split, "videos": videos, "seed": options.seed} | version
    wanted |= options.rendering
    clips = [] if options.clips is None else clip_files(options.clips)
    wanted |= {"clips": {path.name: path.stat().st_size for path in clips}} if clips else {}
    if options.source.exists():
        made = json.loads(note.read_text()) if note.is_file() else None
        if made != wanted:
            what = "holds no generated data" if made is None else f"was generated with {made}"
            raise ConfigError(f"{options.source} {what}, and {wanted} was asked for. Give another folder.")
        return
    # rendered beside its place: a run that is cut off leaves no half benchmark there
    part = options.source.with_name(f"{options.source.name}.part")
    write_dataset(part, split=split, videos=videos, seed=options.seed, clips=clips, **options.rendering)
    (part / note.name).write_text(json.dumps(wanted))
    part.rename(options.source)


def clip_files(folder: Path) -> list[Path]:
    """Find the videos of a folder of real clips, by name; ConfigError where there is none."""
    from framegate.tools.batch.items import VIDEO_SUFFIXES

    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    if not found:
        raise ConfigError(f"{folder} holds no clip; endings that count: {', '.join(VIDEO_SUFFIXES)}.")
    return found


def _tell_problems(questions: QuestionSet) -> None:
    told = [f"bad row left out: {row}" for row in questions.bad_rows]
    told += [f"no question about {name}" for name in questions.unasked_videos]
    more = [f"and {len(told) - SHOWN_PROBLEMS} more"] if len(told) > SHOWN_PROBLEMS else []
    for line in told[:SHOWN_PROBLEMS] + more:
        print(f"warning: {line}", file=sys.stderr)


def _account(
    results: Results, figures: Sequence[Figure], comparisons: Sequence[Comparison]
) -> dict[str, Any]:
    errors = {row["id"]: row["error"] for row in results.rows if row["status"] == "error"}
    return {
        "run": dict(results.header),
        "figures": [asdict(figure) for figure in figures],
        "comparisons": [asdict(comparison) for comparison in comparisons],
        "errors": errors,
    }


def _print(
    options: EvalOptions, results: Results, figures: Sequence[Figure], comparisons: Sequence[Comparison]
) -> None:
    console = make_console()
    console.print(_figure_table(results, figures))
    if comparisons:
        console.print(_comparison_table(options, comparisons))
    failed = [row for row in results.rows if row["status"] == "error"]
    for row in failed[:SHOWN_PROBLEMS]:
        console.print(f"error: {row['id']}: {row['error']}", style="red", highlight=False)
    if len(failed) > SHOWN_PROBLEMS:
        console.print(f"... and {len(failed) - SHOWN_PROBLEMS} more errors", style="red")
    bad, unasked = results.header["bad_rows"], results.header["unasked_videos"]
    console.print(
        f"{len(results.rows)} questions, {len(failed)} errors (counted as wrong), {len(bad)} bad rows left out, "
        f"{len(unasked)} videos without a question",
        highlight=False,
    )
    console.print(f"wrote {options.out} and {options.csv_path}", highlight=False)


def _figure_table(results: Results, figures: Sequence[Figure]) -> Any:
    from rich.table import Table

    head = results.header
    shares = {name: head.get(name) for name in ("tower_ratio", "keep_ratio")}
    asked = "".join(f", {name} {share:g}" for name, share in shares.items() if share is not None)
    rate = "" if head["fps"] is None else f", {head['fps']:g} fps"
    title = f"{head['model']}, preset {head['preset']}{asked}{rate}"
    table = Table(title=title, title_justify="left", caption=CAPTION, caption_justify="left")
    for name in ("kind", "metric"):
        table.add_column(name, no_wrap=True)
    for name in ("n", "value", "95 %", "tower", "prompt", "of", "input s", "first s", "whole s"):
        table.add_column(name, justify="right", no_wrap=True)
    for place, figure in enumerate(figures):
        begins = place == 0 or figures[place - 1].kind != figure.kind
        costs = _costs(figure) if begins else [""] * 6
        table.add_row(
            figure.kind if begins else "",
            figure.metric,
            str(figure.n) if begins else "",
            _number(figure.estimate.value),
            _interval(figure.estimate),
            *costs,
        )
    return table


def _comparison_table(options: EvalOptions, comparisons: Sequence[Comparison]) -> Any:
    from rich.table import Table

    table = Table(title=f"against {options.baseline}, same videos resampled", title_justify="left")
    for name in ("kind", "metric"):
        table.add_column(name)
    for name in ("n", "difference", "95 % of it", "ratio", "95 % of that"):
        table.add_column(name, justify="right")
    for one in comparisons:
        difference, ratio = one.difference, one.ratio
        cells = (_number(difference.value), _interval(difference), _number(ratio.value), _interval(ratio))
        table.add_row(one.kind, one.metric, str(one.n), *cells)
    return table


def _costs(figure: Figure) -> list[str]:
    tokens = [figure.costs.get(name) for name in ("cells_encoded", "tokens_kept", "tokens_dense")]
    seconds = [
        figure.costs.get(name) for name in ("input_seconds", "first_token_seconds", "generate_seconds")
    ]
    return ["-" if value is None else f"{value:,.0f}" for value in tokens] + [
        _number(value) for value in seconds
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(estimate: Estimate) -> str:
    return "-" if estimate.low is None else f"{_number(estimate.low)} to {_number(estimate.high)}"
