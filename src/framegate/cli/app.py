"""The commands and their options; each hands over to a module of its own that does the work.

What several commands share is read from typer's context, by the names of the options.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from framegate.cli.options import PlanOptions, overrides_of, parse_settings
from framegate.configs.loader import DEFAULT_PRESET
from framegate.errors import FramegateError
from framegate.version import __version__

USER_ERROR_EXIT = 2


class _Group(TyperGroup):
    """Turns a user's mistake into one line and an exit code; bugs keep their traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except FramegateError as error:
            raise _told(str(error)) from None
        except OSError as error:
            # a file that cannot be written; what cannot be read is a FramegateError
            if error.filename is None:
                raise
            raise _told(f"{error.filename}: {error.strerror}") from None


def _told(message: str) -> typer.Exit:
    typer.secho(f"error: {' '.join(message.split())}", fg="red", err=True)
    return typer.Exit(USER_ERROR_EXIT)


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Few, well-placed tokens of a dense video: what did not change is skipped before the vision tower.",
)

Video = Annotated[str, typer.Argument(help="Path or address of a video file.", metavar="VIDEO")]
Model = Annotated[
    str | None,
    typer.Option(help="Checkpoint, folder or hub id; framegate/nano, which ships, where none is given."),
]
Preset = Annotated[str, typer.Option(help="Preset name or YAML file.")]
KeepRatio = Annotated[
    float | None, typer.Option(help="Share of the dense tokens that the language model reads, in (0, 1].")
]
TowerRatio = Annotated[
    float | None, typer.Option(help="Share of the dense cells that the vision tower encodes, in (0, 1].")
]
MaxTokens = Annotated[int | None, typer.Option("--max-video-tokens", help="Cap on the video's tokens.")]
Fps = Annotated[float | None, typer.Option(help="Frames per second to look at.")]
Start = Annotated[float | None, typer.Option("--start", help="Start of the window, seconds.")]
End = Annotated[float | None, typer.Option("--end", help="End of the window, seconds.")]
TubeFrames = Annotated[int, typer.Option(help="Frames per tube: 2 in Qwen-VL towers, 1 elsewhere.")]
CellPx = Annotated[int, typer.Option(help="Side of a cell in pixels: 28, or 32 for Qwen3-VL.")]
Family = Annotated[
    str | None,
    typer.Option(
        help="Judge at the size, cells and tubes of this family, as qwen2_5_vl; replaces the three."
    ),
]
WidthPx = Annotated[int, typer.Option(help="Width the frames are judged at.")]
Setting = Annotated[
    list[str] | None, typer.Option("--set", help="Any other setting, name=value; repeatable.")
]
Query = Annotated[
    str | None, typer.Option(help="A question for the sampler, as --set sampler=tass; with --scorer.")
]
Scorer = Annotated[
    str | None,
    typer.Option(
        help="What scores frames by the question: screen_text, or where a model runs tower, yes_logit."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"framegate {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False,
) -> None:
    """Hold what belongs to no single command."""


@app.command()
def plan(
    context: typer.Context,
    video: Video,
    preset: Preset = DEFAULT_PRESET,
    keep_ratio: KeepRatio = None,
    tower_ratio: TowerRatio = None,
    max_video_tokens: MaxTokens = None,
    fps: Fps = None,
    start_seconds: Start = None,
    end_seconds: End = None,
    tube_frames: TubeFrames = 2,
    cell_px: CellPx = 28,
    width_px: WidthPx = 448,
    family: Family = None,
    query: Query = None,
    scorer: Scorer = None,
    settings: Setting = None,
    as_json: AsJson = False,
    out: Annotated[Path | None, typer.Option(help="Also write the plan to this JSON file.")] = None,
) -> None:
    """Count the tokens, patches and memory a video would take. Loads no model."""
    from framegate.cli.plan import plan_command

    plan_command(PlanOptions.of(context.params), as_json=as_json, out=out)


@app.command()
def view(
    context: typer.Context,
    video: Video,
    preset: Preset = DEFAULT_PRESET,
    keep_ratio: KeepRatio = None,
    tower_ratio: TowerRatio = None,
    max_video_tokens: MaxTokens = None,
    fps: Fps = None,
    start_seconds: Start = None,
    end_seconds: End = None,
    tube_frames: TubeFrames = 2,
    cell_px: CellPx = 28,
    width_px: WidthPx = 448,
    family: Family = None,
    query: Query = None,
    scorer: Scorer = None,
    settings: Setting = None,
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("out"),
    side_by_side: Annotated[
        bool, typer.Option(help="Show what the kept cells alone can show beside it.")
    ] = True,
) -> None:
    """Draw what is kept: overlay.mp4, sheet.png, timeline.png, frames.png and view.html."""
    from framegate.cli.plan import view_command

    view_command(PlanOptions.of(context.params), out=out, side_by_side=side_by_side)


@app.command()
def run(
    context: typer.Context,
    video: Video,
    question: Annotated[str, typer.Argument(help="What to ask about it.", metavar="QUESTION")],
    model: Model = None,
    family: Annotated[
        str | None, typer.Option(help="A tiny random model of this family in place of --model.")
    ] = None,
    preset: Preset = DEFAULT_PRESET,
    keep_ratio: KeepRatio = None,
    tower_ratio: TowerRatio = None,
    max_video_tokens: MaxTokens = None,
    fps: Fps = None,
    start: Start = None,
    end: End = None,
    scorer: Scorer = None,
    settings: Setting = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 64,
    compare: Annotated[
        bool | None,
        typer.Option(help="Ask the dense model first; by default where the model is framegate/nano."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask a video model a question and report what was skipped."""
    from framegate.cli.run import RunOptions, run_command

    options = RunOptions(
        video=video,
        window_seconds=(start, end),
        question=question,
        model=model,
        family=family,
        preset=preset,
        overrides=overrides_of(context.params),
        max_new_tokens=max_new_tokens,
        scorer=scorer,
    )
    run_command(options, compare=compare, as_json=as_json)


@app.command()
def batch(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(help="Folder, glob or manifest (.jsonl, .csv, .txt).", metavar="INPUT")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the shards; a run that was cut off goes on there.")],
    output: Annotated[
        str, typer.Option(help="plans, or of --model: patches (inputs, kept ones alone), tokens, answers.")
    ] = "plans",
    model: Model = None,
    family: Annotated[
        str | None, typer.Option(help="Plan at the size, cells and tubes of this family, as qwen2_5_vl.")
    ] = None,
    question: Annotated[
        str, typer.Option(help="What is asked where the manifest has no question.")
    ] = "Describe the video.",
    preset: Preset = DEFAULT_PRESET,
    keep_ratio: KeepRatio = None,
    tower_ratio: TowerRatio = None,
    max_video_tokens: MaxTokens = None,
    fps: Fps = None,
    settings: Setting = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 64,
    engine: Annotated[str, typer.Option(help="local: processes here; ray: a cluster.")] = "local",
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that read videos, 0 for this one; else one a core.")
    ] = None,
    shard_videos: Annotated[
        int | None, typer.Option(min=1, help="Most videos of a shard; else 32 plans, 4 of the others.")
    ] = None,
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="Try again the videos whose row is an error.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Plan, cut or ask a data set of videos into Parquet shards. Exit code 1 when no row is whole."""
    from framegate.cli.batch import BatchOptions, batch_command

    options = BatchOptions(
        source=source,
        out=out,
        output=output,
        model=model,
        family=family,
        question=question,
        preset=preset,
        overrides=overrides_of(context.params),
        max_new_tokens=max_new_tokens,
        engine=engine,
        workers=workers,
        shard_videos=shard_videos,
        retry_errors=retry_errors,
    )
    if not batch_command(options, as_json=as_json):
        raise typer.Exit(1)


@app.command()
def serve(
    context: typer.Context,
    model: Model = None,
    preset: Preset = DEFAULT_PRESET,
    keep_ratio: KeepRatio = None,
    tower_ratio: TowerRatio = None,
    max_video_tokens: MaxTokens = None,
    fps: Fps = None,
    settings: Setting = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 for other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.")] = 8000,
    device: Annotated[str, typer.Option(help="As transformers serve --device.")] = "auto",
    allow_local: Annotated[
        bool, typer.Option("--allow-local", help="Open paths and private addresses that a request names.")
    ] = False,
    cap_frames: Annotated[int | None, typer.Option(help="Most frames of a video; else 768.")] = None,
    cap_pixels: Annotated[int | None, typer.Option(help="Most pixels of a frame; else 4096 x 2160.")] = None,
    cap_seconds: Annotated[float | None, typer.Option(help="Longest video; else an hour.")] = None,
    cap_bytes: Annotated[int | None, typer.Option(help="Largest file; else 256 MiB.")] = None,
) -> None:
    """Answer OpenAI clients by the server of transformers, with a front end on its model and caps on requests."""
    from framegate.cli.serve import ServeOptions, serve_command

    serve_command(
        ServeOptions(
            model=model,
            preset=preset,
            overrides=overrides_of(context.params),
            caps={name: value for name, value in context.params.items() if name.startswith("cap_")},
            allow_local=allow_local,
            device=device,
            host=host,
            port=port,
        )
    )


@app.command()
def demo(
    model: Model = None,
    preset: Preset = DEFAULT_PRESET,
    keep_ratio: Annotated[float, typer.Option(help="Where the slider of the prompt's share begins.")] = 0.25,
    tower_ratio: Annotated[float, typer.Option(help="Where the slider of the tower's share begins.")] = 0.25,
    fps: Annotated[
        float | None,
        typer.Option(
            help="Where the slider of frames per second begins; else at 4 for framegate/nano, 2 for others."
        ),
    ] = None,
    settings: Setting = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 64,
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 for other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.")] = 7860,
) -> None:
    """Open a page for the browser: a question, two sliders, dense and compressed answers side by side."""
    from framegate.cli.demo import DemoOptions, demo_command

    demo_command(
        DemoOptions(
            model=model,
            preset=preset,
            tower_ratio=tower_ratio,
            keep_ratio=keep_ratio,
            fps=fps,
            overrides=parse_settings(settings),
            max_new_tokens=max_new_tokens,
            host=host,
            port=port,
        )
    )


@app.command(name="eval")
def evaluate(
    context: typer.Context,
    folder: Annotated[
        Path,
        typer.Argument(
            help='Folder with videos/ and questions.jsonl, or DIVE\'s; "generated" renders one.',
            metavar="FOLDER",
        ),
    ],
    model: Model = None,
    preset: Preset = DEFAULT_PRESET,
    keep_ratio: KeepRatio = None,
    tower_ratio: TowerRatio = None,
    max_video_tokens: MaxTokens = None,
    fps: Fps = None,
    scorer: Scorer = None,
    settings: Setting = None,
    out: Annotated[Path, typer.Option(help="File of results, taken up again.")] = Path("results.jsonl"),
    csv: Annotated[Path | None, typer.Option(help="Summary to add to; else beside the results.")] = None,
    baseline: Annotated[Path | None, typer.Option(help="Results of another run to compare with.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Ask the first so many questions.")] = None,
    kinds: Annotated[str | None, typer.Option(help="Kinds to ask, as text_at,when.")] = None,
    generate: Annotated[
        int | None, typer.Option(min=1, help="Render so many videos into FOLDER first.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Of rendered videos (else test), or the questions to ask (else all).")
    ] = None,
    pace: Annotated[
        str | None, typer.Option(help="Of their texts: slow, medium, fast or rapid; else drawn.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Of rendered frames, in 32-px cells: 4x6, 6x10 or 8x14; else 4x6.")
    ] = None,
    longest_seconds: Annotated[
        float | None,
        typer.Option(help="Draw lengths of rendered videos from 8 seconds up to this; else all 8."),
    ] = None,
    clips: Annotated[
        Path | None, typer.Option(help="Folder of real clips for every third rendered video.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 32,
    on_error: Annotated[
        str, typer.Option(help="skip: go on behind a question that fails; raise: end there.")
    ] = "skip",
    seed: Annotated[int, typer.Option(min=0, help="Of the intervals, and of rendered videos.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Ask questions with known answers about a folder of videos; score, time and sum up."""
    from framegate.cli.evaluate import EvalOptions, eval_command

    options = EvalOptions(
        source=folder,
        model=model,
        preset=preset,
        overrides=overrides_of(context.params),
        out=out,
        csv=csv,
        baseline=baseline,
        limit=limit,
        kinds=None if kinds is None else tuple(kind.strip() for kind in kinds.split(",")),
        generate=generate,
        split=split,
        rendering={
            name: value
            for name, value in {"pace": pace, "size": size, "longest_seconds": longest_seconds}.items()
            if value is not None
        },
        clips=clips,
        max_new_tokens=max_new_tokens,
        on_error=on_error,
        seed=seed,
        scorer=scorer,
    )
    if not eval_command(options, as_json=as_json):
        raise typer.Exit(1)


@app.command()
def agent(
    context: typer.Context,
    video: Video,
    question: Annotated[str, typer.Argument(help="What to ask about it.", metavar="QUESTION")],
    policy: Annotated[
        str, typer.Option(help="Who looks: frame_thinker, love_r1, earl, chronoforge or sevila.")
    ],
    policy_settings: Annotated[
        list[str] | None,
        typer.Option("--policy-set", help="A setting of the policy, name=value; repeatable."),
    ] = None,
    script: Annotated[
        Path | None,
        typer.Option(
            help="Say the turns of this file in place of a model: a JSON list, or --- between them."
        ),
    ] = None,
    constrained: Annotated[
        bool, typer.Option("--constrained", help="Let the model write legal turns alone.")
    ] = False,
    model: Model = None,
    family: Annotated[
        str | None, typer.Option(help="A tiny random model of this family in place of --model.")
    ] = None,
    preset: Preset = DEFAULT_PRESET,
    keep_ratio: KeepRatio = None,
    tower_ratio: TowerRatio = None,
    scorer: Annotated[
        str | None, typer.Option(help="Localizer of sevila: yes_logit, tower or screen_text.")
    ] = None,
    settings: Setting = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest turn, in tokens; the policy's where none is given.")
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(min=1, help="Video tokens of all turns, after which the answer is forced."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of turns that are sampled.")] = 0,
    html: Annotated[Path | None, typer.Option(help="Also write a page with thumbnails.")] = None,
    as_json: AsJson = False,
) -> None:
    """Let a video agent look more than once: prints its turns, and says why it stopped."""
    from framegate.cli.agent import AgentOptions, agent_command

    options = AgentOptions(
        video=video,
        question=question,
        policy=policy,
        settings=parse_settings(policy_settings),
        model=model,
        family=family,
        preset=preset,
        overrides=overrides_of(context.params),
        script=script,
        scorer=scorer,
        is_constrained=constrained,
        max_new_tokens=max_new_tokens,
        max_video_tokens=budget,
        seed=seed,
    )
    agent_command(options, as_json=as_json, html=html)


@app.command()
def bench(
    ops: Annotated[
        list[str] | None,
        typer.Argument(help="Kernels to time, as segment_merge; else all.", metavar="OPS"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for CSVs, <out>/<device>/<op>.csv; else none are written.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto for a GPU where there is one.")] = "auto",
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes, few rounds: to see that it works.")
    ] = False,
    compiles: Annotated[
        bool | None,
        typer.Option("--compile/--no-compile", help="Time torch.compile too; by default on a GPU alone."),
    ] = None,
    trials: Annotated[
        Path | None, typer.Option("--tests", help="Folder of the kernels' tests, which have to pass first.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Time the kernels beside their references and a floor. Exit code 1 when one is refused."""
    from framegate.cli.bench import BenchOptions, bench_command

    options = BenchOptions(
        ops=tuple(ops or ()), device=device, out=out, quick=quick, compiles=compiles, trials=trials
    )
    if not bench_command(options, as_json=as_json):
        raise typer.Exit(1)


@app.command()
def doctor(
    model: Annotated[
        str | None,
        typer.Option(help="Folder of a checkpoint to tell about, by its files alone.", metavar="FOLDER"),
    ] = None,
    video: Annotated[str | None, typer.Option(help="Video to count its tokens for.", metavar="FILE")] = None,
    as_json: AsJson = False,
) -> None:
    """Check versions, decoder, GPU and known-bad pairs, or a checkpoint. Exit code 1 when something is broken."""
    from framegate.cli.doctor import doctor_command

    if not doctor_command(model=model, video=video, as_json=as_json):
        raise typer.Exit(1)
