"""`framegate view`: the pictures of a plan."""

from __future__ import annotations

from pathlib import Path

from framegate.cli.console import make_console
from framegate.cli.options import PlanOptions
from framegate.cli.plan import make_plan, print_plan


def view_command(options: PlanOptions, *, out: Path, side_by_side: bool) -> None:
    """Plan, draw, and say where the files are."""
    from framegate.tools.view import write_view

    planned = make_plan(options, show_progress=True)
    files = write_view(
        planned.plan,
        out,
        title=Path(options.video).name,
        settings=options.described(),
        figures=planned.figures,
        side_by_side=side_by_side,
        show_progress=True,
    )
    console = make_console()
    print_plan(console, options, planned)
    for path in files.paths():
        # soft_wrap: a path that is broken over two lines cannot be copied
        console.print(f"{path}  {path.stat().st_size / 1024:,.0f} KiB", highlight=False, soft_wrap=True)
    console.print(f"[bold]Open {files.page.resolve()}[/bold]", highlight=False, soft_wrap=True)
