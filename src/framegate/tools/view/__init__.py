"""All pictures of a plan in one pass over its tubes."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from framegate.notebook import no_bar
from framegate.tools.view.chosen import write_frames
from framegate.tools.view.figures import PlanFigures, iter_tubes, plan_figures, tube_ends_seconds
from framegate.tools.view.html import PageParts, write_html
from framegate.tools.view.overlay import DARK, LIGHT, VideoWriter, paint_tube
from framegate.tools.view.stills import Tile, choose_tubes, make_tile, write_sheet, write_timeline

if TYPE_CHECKING:
    from framegate.config import FrontEndConfig
    from framegate.tokenizers.gate.plan import GatePlan

__all__ = ["PlanFigures", "ViewFiles", "plan_figures", "write_view"]


@dataclass(frozen=True, kw_only=True)
class ViewFiles:
    """The files of a view."""

    overlay: Path
    sheet: Path
    timeline: Path
    frames: Path | None
    page: Path

    def paths(self) -> list[Path]:
        """List them in the order they are told to the user."""
        found = [self.overlay, self.sheet, self.timeline, self.frames, self.page]
        return [path for path in found if path is not None]


def write_view(
    plan: GatePlan,
    folder: Path,
    *,
    title: str = "video",
    settings: Mapping[str, Any] | None = None,
    config: FrontEndConfig | None = None,
    side_by_side: bool = True,
    show_progress: bool = False,
) -> ViewFiles:
    """Write overlay.mp4, sheet.png, timeline.png, frames.png and view.html.

    Args:
        plan: the plan, with its frames.
        folder: where to; made when it is not there.
        title: name of the video, for the page.
        settings: what the plan was made with, for the page.
        config: what the plan was made with; says which skipped cells are shown again. None for none.
        side_by_side: show what the kept cells alone can show beside the overlay.
        show_progress: draw a progress bar on a terminal.

    Returns:
        Paths of the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = ViewFiles(
        overlay=folder / "overlay.mp4",
        sheet=folder / "sheet.png",
        timeline=folder / "timeline.png",
        frames=None if plan.frames is None else folder / "frames.png",
        page=folder / "view.html",
    )
    figures = plan_figures(plan, config)
    tiles = _write_overlay(
        plan, files.overlay, config=config, side_by_side=side_by_side, show_progress=show_progress
    )
    write_sheet(tiles, files.sheet)
    with tempfile.TemporaryDirectory() as scratch:
        dark = Path(scratch)
        for path, palette in ((files.timeline, LIGHT), (dark / "timeline.png", DARK)):
            write_timeline(plan, path, palette=palette, config=config)
        if plan.frames is not None and files.frames is not None:
            ends = tube_ends_seconds(plan)
            span = (float(plan.timestamps_seconds[0]), float(ends[-1]))
            for path, palette in ((files.frames, LIGHT), (dark / "frames.png", DARK)):
                write_frames(plan.frames, path, window_seconds=span, palette=palette)
        parts = PageParts(
            overlay=files.overlay,
            sheet=files.sheet,
            timelines=(files.timeline, dark / "timeline.png"),
            frames=None if files.frames is None else (files.frames, dark / "frames.png"),
        )
        write_html(plan, figures, parts, files.page, title=title, settings=settings or {})
    return files


def _write_overlay(
    plan: GatePlan, path: Path, *, config: FrontEndConfig | None, side_by_side: bool, show_progress: bool
) -> list[Tile]:
    """Write the video, and collect the tiles of the sheet on the way."""
    chosen = set(choose_tubes(plan))
    tiles = []
    bar = tqdm(
        iter_tubes(plan, with_rebuilt=side_by_side, config=config),
        total=len(plan.keep),
        desc="painting",
        unit="tube",
        leave=False,
        disable=no_bar(show_progress),
    )
    with VideoWriter(path) as video:
        for tube in bar:
            for pixels, seconds in zip(paint_tube(tube), tube.frame_times_seconds, strict=True):
                video.write(pixels, float(seconds - plan.timestamps_seconds[0]))
            if tube.index in chosen:
                tiles.append(make_tile(tube))
            if tube.index == tube.count - 1:
                # a player shows the last frame until the file's last time stamp
                video.write(pixels, tube.end_seconds - float(plan.timestamps_seconds[0]))
    return tiles
