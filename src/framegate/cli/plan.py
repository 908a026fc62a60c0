"""`framegate plan` and `framegate view`: what a video would cost, in figures and in pictures, without a model."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framegate.cli.options import PlanOptions, make_console
from framegate.tools.view.figures import PlanFigures, plan_figures
from framegate.tools.view.html import figure_rows, plan_data

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from framegate.config import FrontEndConfig
    from framegate.tokenizers.gate.plan import GatePlan
    from framegate.types import FramePlan


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A plan, its figures, and how long it took to make."""

    plan: GatePlan
    config: FrontEndConfig
    figures: PlanFigures
    milliseconds: float


def make_plan(options: PlanOptions, *, show_progress: bool) -> Planned:
    """Plan a video as the options say, with its figures and the time it took."""
    from framegate import load_config, plan_video

    _import_what_planning_needs(options)
    config = load_config(options.preset, **options.overrides)
    began = time.perf_counter()
    is_asked = options.query is not None or options.scorer is not None
    asked = {"frames": _asked_frames(options, config, show_progress)} if is_asked else {}
    plan = plan_video(
        options.video,
        options.preset,
        start_seconds=options.start_seconds,
        end_seconds=options.end_seconds,
        width_px=options.width_px,
        cell_px=options.cell_px,
        tube_frames=options.tube_frames,
        family=options.family,
        show_progress=show_progress,
        **options.overrides,
        **asked,
    )
    return Planned(
        plan=plan,
        config=config,
        figures=plan_figures(plan, config),
        milliseconds=1000 * (time.perf_counter() - began),
    )


def _asked_frames(options: PlanOptions, config: FrontEndConfig, show_progress: bool) -> FramePlan:
    """The frames of a sampler that reads a question."""
    from framegate import plan_frames
    from framegate.errors import ConfigError
    from framegate.models.scorers import scorer_named

    if options.scorer is None or options.query is None:
        raise ConfigError(
            f"--query is {options.query!r} and --scorer is {options.scorer!r}; give both, as --scorer screen_text."
        )
    settings = config.frames.to_dict()
    window = {"start_seconds": options.start_seconds, "end_seconds": options.end_seconds}
    scorer = scorer_named(options.scorer)
    asked = {"query": options.query, "scorer": scorer, "show_progress": show_progress}
    return plan_frames(options.video, **settings, **window, **asked)


def _import_what_planning_needs(options: PlanOptions) -> None:
    """Load modules beforehand: the time to plan is the plan's."""
    import framegate.tokenizers.gate.video  # noqa: F401

    if options.family is not None:
        import framegate.models.video_processor  # noqa: F401


def plan_command(options: PlanOptions, *, as_json: bool, out: Path | None) -> None:
    """Plan, print and maybe write."""
    planned = make_plan(options, show_progress=not as_json)
    account = _account(options, planned)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(account | {"plan": plan_data(planned.plan, planned.figures)}) + "\n")
    if as_json:
        print(json.dumps(account, indent=2))
        return
    console = make_console()
    print_plan(console, options, planned)
    if out is not None:
        console.print(f"written: {out}", highlight=False)


def print_plan(console: Console, options: PlanOptions, planned: Planned) -> None:
    """Print a plan's table and its notes."""
    console.print(plan_table(options, planned))
    for note in planned.plan.notes:
        console.print(f"note: {note}", highlight=False)


def plan_table(options: PlanOptions, planned: Planned) -> Table:
    """Lay a plan's figures out as a table, dense beside planned."""
    from rich.table import Table

    figures = planned.figures
    title = f"{options.video_name}: {figures.prompt_tokens:,} of {figures.dense_tokens:,} tokens"
    shares = f"tower {figures.tower_ratio:.1%}, prompt {figures.keep_ratio:.1%}"
    table = Table(title=f"{title} ({shares})", title_justify="left", title_style="bold")
    table.add_column("")
    table.add_column("dense", justify="right")
    table.add_column(Path(options.preset).stem, justify="right", style="green")
    for row in figure_rows(figures):
        table.add_row(*row)
    table.add_row("frames", "", f"{figures.num_frames:,}")
    each = planned.milliseconds / figures.num_frames
    table.add_row("time to plan", "", f"{planned.milliseconds:,.0f} ms, {each:.2f} a frame")
    return table


def _account(options: PlanOptions, planned: Planned) -> dict[str, Any]:
    return {
        "video": options.video,
        "settings": options.described(),
        "figures": planned.figures.to_dict(),
        "milliseconds": planned.milliseconds,
        "notes": list(planned.plan.notes),
    }


def view_command(options: PlanOptions, *, out: Path, side_by_side: bool) -> None:
    """Plan, draw, and say where the files are."""
    from framegate.tools.view import write_view

    planned = make_plan(options, show_progress=True)
    files = write_view(
        planned.plan,
        out,
        title=options.video_name,
        settings=options.described(),
        config=planned.config,
        side_by_side=side_by_side,
        show_progress=True,
    )
    console = make_console()
    print_plan(console, options, planned)
    for path in files.paths():
        # soft_wrap: a path that is broken over two lines cannot be copied
        console.print(f"{path}  {path.stat().st_size / 1024:,.0f} KiB", highlight=False, soft_wrap=True)
    console.print(f"Open {files.page.resolve()}", style="bold", highlight=False, soft_wrap=True)
