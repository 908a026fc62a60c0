"""One HTML page with everything in it: it opens from a file, without a network."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from framegate.tools.view.figures import PlanFigures, tube_ends_seconds
from framegate.tools.view.stills import plot_shares

if TYPE_CHECKING:
    from framegate.tokenizers.gate.plan import GatePlan

LARGEST_EMBEDDED_BYTES = 8 * 2**20


@dataclass(frozen=True, kw_only=True)
class PageParts:
    """The files a page is made of; pictures as they are on a light and on a dark page.

    Args:
        overlay: the video.
        sheet: the contact sheet.
        timelines: tokens over time.
        frames: the chosen frames; None where all were taken.
    """

    overlay: Path
    sheet: Path
    timelines: tuple[Path, Path]
    frames: tuple[Path, Path] | None = None


def write_html(
    plan: GatePlan,
    figures: PlanFigures,
    parts: PageParts,
    path: Path,
    *,
    title: str,
    settings: Mapping[str, Any],
) -> None:
    """Write the page, with the figures per tube as JSON; a video above 8 MiB is linked instead of embedded."""
    page = (resources.files("framegate") / "assets" / "view.html").read_text(encoding="utf-8")
    rows = [*figure_rows(figures), *((name, "", str(value)) for name, value in settings.items())]
    values = {
        "title": escape(title),
        "summary": escape(_summary(figures)),
        "tiles": "".join(_tile(*tile) for tile in _tiles(figures)),
        "video": _video_source(parts.overlay),
        **_pictures("timeline", parts.timelines),
        **_pictures("frames", parts.frames),
        "sheet": _data_url(parts.sheet, "image/png"),
        "rows": "".join(_row(*row) for row in rows),
        "notes": "".join(f"<li>{escape(str(note))}</li>" for note in plan.notes),
        "notes_hidden": "" if plan.notes else "hidden",
        # "</script>" inside a string would end the script
        "data": json.dumps(plan_data(plan, figures)).replace("</", "<\\/"),
    }
    # in one pass, so that no value is searched for names
    filled = re.sub(r"\[\[(\w+)\]\]", lambda place: values[place[1]], page)
    path.write_text(filled, encoding="utf-8")


def plan_data(plan: GatePlan, figures: PlanFigures) -> dict[str, Any]:
    """Collect what the page's script, or a reader's own, needs of a plan, ready for JSON.

    `kept_cells` holds the flat numbers of the kept cells of each tube.
    """
    left, right = plot_shares()
    starts = np.asarray(plan.timestamps_seconds)
    return {
        "figures": figures.to_dict(),
        "starts_seconds": starts.round(4).tolist(),
        "end_seconds": round(float(tube_ends_seconds(plan)[-1]), 4),
        "kept": plan.keep.sum((1, 2)).tolist(),
        "keyframes": np.flatnonzero(plan.keyframes).tolist(),
        "kept_cells": [np.flatnonzero(keep).tolist() for keep in plan.keep],
        "plot_shares": [left, right],
    }


def figure_rows(figures: PlanFigures) -> list[tuple[str, str, str]]:
    """Word the figures as rows of a table: name, dense, kept (one value is a kept without a dense)."""
    rows, columns = figures.grid
    table = [
        (
            "cells encoded by the tower",
            f"{figures.dense_tokens:,}",
            shared(figures.kept_tokens, figures.tower_ratio),
        ),
        (
            "tokens in the prompt",
            f"{figures.dense_tokens:,}",
            shared(figures.prompt_tokens, figures.keep_ratio),
        ),
        ("patch memory (float32)", mebibytes(figures.dense_patch_bytes), mebibytes(figures.kept_patch_bytes)),
    ]
    if figures.video_seconds:
        dense, kept = figures.per_second(figures.dense_tokens), figures.per_second(figures.prompt_tokens)
        table.insert(2, ("tokens per second of video", f"{dense:,.1f}", f"{kept:,.1f}"))
        table.append(("video", "", f"{figures.video_seconds:,.2f} s"))
    table.append(("tubes", "", f"{figures.num_tubes:,} of {rows} x {columns} cells"))
    table.append(("keyframes", "", f"{figures.num_keyframes:,}"))
    return table


def shared(count: int, ratio: float) -> str:
    """Word a count with its share of the dense one."""
    return f"{count:,} ({ratio:.1%})"


def mebibytes(count: int) -> str:
    """Word a number of bytes in MiB."""
    return f"{count / 2**20:,.1f} MiB"


def _summary(figures: PlanFigures) -> str:
    length = f"{figures.video_seconds:,.1f} seconds of video: " if figures.video_seconds else ""
    tower = f"the vision tower encodes {figures.kept_tokens:,} of {figures.dense_tokens:,} cells"
    return f"{length}{tower}, the language model reads {figures.prompt_tokens:,} tokens."


def _tiles(figures: PlanFigures) -> list[tuple[str, str, str]]:
    tiles = [
        ("tower", f"{figures.tower_ratio:.1%}", f"{figures.kept_tokens:,} of {figures.dense_tokens:,} cells"),
        (
            "prompt",
            f"{figures.keep_ratio:.1%}",
            f"{figures.prompt_tokens:,} of {figures.dense_tokens:,} tokens",
        ),
        (
            "patch memory",
            mebibytes(figures.kept_patch_bytes),
            f"dense {mebibytes(figures.dense_patch_bytes)}",
        ),
        ("keyframes", f"{figures.num_keyframes:,}", f"of {figures.num_tubes:,} tubes"),
    ]
    if figures.video_seconds:
        dense, kept = figures.per_second(figures.dense_tokens), figures.per_second(figures.prompt_tokens)
        tiles.insert(2, ("tokens a second", f"{kept:,.1f}", f"dense {dense:,.1f}"))
    return tiles


def _tile(name: str, value: str, beside: str) -> str:
    words = f"<span>{escape(name)}</span><b>{escape(value)}</b><small>{escape(beside)}</small>"
    return f"<div class=tile>{words}</div>"


def _row(name: str, dense: str, kept: str) -> str:
    head = f"<tr><th scope=row>{escape(name)}</th>"
    if not dense:
        return f"{head}<td colspan=2 class=one>{escape(kept)}</td></tr>"
    return f"{head}<td>{escape(dense)}</td><td>{escape(kept)}</td></tr>"


def _video_source(path: Path) -> str:
    if path.stat().st_size > LARGEST_EMBEDDED_BYTES:
        return escape(path.name, quote=True)
    return _data_url(path, "video/mp4")


def _pictures(name: str, paths: tuple[Path, Path] | None) -> dict[str, str]:
    """A picture for light pages and for dark ones, and whether its section is hidden."""
    light, dark = ("", "") if paths is None else (_data_url(path, "image/png") for path in paths)
    return {f"{name}_light": light, f"{name}_dark": dark, f"{name}_hidden": "hidden" if paths is None else ""}


def _data_url(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
