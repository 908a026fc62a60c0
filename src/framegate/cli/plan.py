"""`framegate plan`: what a video would cost, without a model."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framegate.cli.console import make_console
from framegate.cli.options import PlanOptions
from framegate.tools.view.figures import PlanFigures, plan_figures
from framegate.tools.view.html import figure_rows, plan_data

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from framegate.tokenizers.gate.plan import GatePlan


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A plan, its figures, and how long it took to make."""

    plan: GatePlan
    figures: PlanFigures
    milliseconds: float


def make_plan(options: PlanOptions, *, show_progress: bool) -> Planned:
    """Plan a video as the options say.

    Args:
        options: of the command line.
        show_progress: draw a progress bar on a terminal.

    Returns:
        The plan with its figures.

    Raises:
        FramegateError: as `framegate.plan_video`.
    """
    from framegate import plan_video

    _import_what_planning_needs(options)
    began = time.perf_counter()
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
        **options.overrides(),
    )
    return Planned(
        plan=plan,
        figures=plan_figures(plan),
        milliseconds=1000 * (time.perf_counter() - began),
    )


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
    title = f"{Path(options.video).name}: {figures.kept_tokens:,} of {figures.dense_tokens:,} tokens"
    table = Table(title=f"{title} ({figures.keep_ratio:.1%})", title_justify="left", title_style="bold")
    table.add_column("")
    table.add_column("dense", justify="right")
    table.add_column(Path(options.preset).stem, justify="right", style="green")
    for row in figure_rows(figures):
        table.add_row(*row)
    frames = figures.num_tubes * planned.plan.tube_frames
    table.add_row("frames", "", f"{frames:,}")
    table.add_row(
        "time to plan", "", f"{planned.milliseconds:,.0f} ms, {planned.milliseconds / frames:.2f} a frame"
    )
    return table


def _account(options: PlanOptions, planned: Planned) -> dict[str, Any]:
    return {
        "video": options.video,
        "settings": options.described(),
        "figures": planned.figures.to_dict(),
        "milliseconds": planned.milliseconds,
        "notes": list(planned.plan.notes),
    }
