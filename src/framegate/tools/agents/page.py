"""One HTML page of an episode: every turn with thumbnails of what was looked at for it."""

from __future__ import annotations

import base64
import io
from html import escape

import numpy as np
from PIL import Image

from framegate.tokenizers.clip import open_video
from framegate.tools.agents.episode import COUNTS, Episode, Turn, kind_of
from framegate.tools.agents.grammar import Answer, Invalid
from framegate.types import FramePlan, UInt8Array

THUMBNAIL_HEIGHT_PX = 72
MOST_THUMBNAILS = 32
# a notebook takes a fragment into its own page: no rule may reach beyond it
_STYLE = (
    ".episode{font:15px/1.45 system-ui,sans-serif;margin:24px auto;max-width:1100px;padding:0 16px}"
    ".episode section{border-top:1px solid #8888;padding:12px 0}"
    ".episode pre{white-space:pre-wrap;margin:6px 0;background:#8882;padding:8px;border-radius:6px}"
    ".episode figure{display:inline-block;margin:2px;text-align:center;font-size:11px;opacity:.9}"
    ".episode img{display:block;border-radius:3px}.episode small{opacity:.75}.episode .bad{color:#d0382f}"
)


def page(episode: Episode) -> str:
    """Draw an episode as a page that opens from a file.

    Args:
        episode: of a video that can still be read.

    Returns:
        The page, with everything in it.

    Raises:
        VideoError: the video has gone.
    """
    title = escape(f"{episode.policy}: {episode.question}")
    scheme = "<style>:root{color-scheme:light dark}</style>"
    head = f"<!doctype html><html><head><meta charset=utf-8><title>{title}</title>{scheme}</head>"
    return f"{head}<body>{fragment(episode)}</body></html>"


def fragment(episode: Episode) -> str:
    """Draw an episode for a page that holds more; Args, Returns and Raises as for `page`."""
    pictures = thumbnails(episode, height_px=THUMBNAIL_HEIGHT_PX)
    answer = "no answer" if episode.answer is None else f"answer: {episode.answer}"
    totals = _counted({count: episode.total(count) for count in COUNTS})
    head = (
        f"<h2>{escape(episode.question)}</h2><p>{escape(episode.policy)}: <b>{escape(answer)}</b>, "
        f"stopped: {escape(episode.stopped)}<br><small>{escape(totals)}</small></p>"
    )
    turns = "".join(_section(number, turn, pictures) for number, turn in enumerate(episode.turns, start=1))
    return f"<style>{_STYLE}</style><div class=episode>{head}{turns}</div>"


def thumbnails(episode: Episode, *, height_px: int) -> dict[int, UInt8Array]:
    """Decode each frame that a page shows once.

    Args:
        episode: of a video that can still be read.
        height_px: of the pictures.

    Returns:
        Pictures uint8 [height_px, w, 3] by the number of the frame.
    """
    plans = [
        plan for turn in episode.turns if turn.looked_at is not None for plan in groups_of(turn.looked_at)
    ]
    shown = [shown_frames(plan) for plan in plans]
    if not shown:
        return {}
    wanted = np.unique(np.concatenate(shown))
    width_px = max(round(episode.video.width_px * height_px / episode.video.height_px), 1)
    plan = FramePlan.from_indices(wanted, episode.video.frame_times_seconds)
    with open_video(episode.source, video_stream=_stream(episode)) as stream:
        return {frame.index: frame.pixels for frame in stream.frames(plan, size_px=(height_px, width_px))}


def groups_of(plan: FramePlan) -> list[FramePlan]:
    """Take a plan apart by its groups."""
    return [plan.part(plan.group == number) for number in np.unique(plan.group)]


def shown_frames(plan: FramePlan) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Numbers of the frames of a plan whose thumbnails are shown, int64: all, or as many as fit spread over them."""
    wanted = np.unique(plan.indices)
    ranks = np.linspace(0, len(wanted) - 1, min(len(wanted), MOST_THUMBNAILS)).astype(np.int64)
    return np.asarray(wanted[ranks], np.int64)


def described(turn: Turn) -> str:
    """Word what a turn asks for."""
    action = turn.action
    if isinstance(action, Invalid):
        return f"invalid: {action.reason}"
    if isinstance(action, Answer):
        return f"{'forced ' if turn.is_forced else ''}answer: {action.text}"
    values = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in vars(action).items())
    return f"{kind_of(action).replace('_', ' ')}: {values}"


def looked(turn: Turn) -> str:
    """Word what a turn was shown."""
    if turn.looked_at is None:
        return turn.told or "nothing new"
    first, last = turn.looked_at.timestamps_seconds[[0, -1]]
    return f"{len(turn.looked_at)} frames, {first:.1f} to {last:.1f} s"


def _section(number: int, turn: Turn, pictures: dict[int, UInt8Array]) -> str:
    groups = [] if turn.looked_at is None else groups_of(turn.looked_at)
    frames = "".join(f"<div>{_strip(group, pictures)}</div>" for group in groups)
    attempt = f", attempt {turn.attempt + 1}" if turn.attempt else ""
    counts = _counted({count: getattr(turn, count) for count in COUNTS}, f"{turn.seconds:.2f} seconds")
    tag = '<b class="bad">' if isinstance(turn.action, Invalid) else "<b>"
    told = f"<p>{escape(turn.told)}</p>" if turn.told else ""
    text = f"<pre>{escape(turn.text)}</pre>" if turn.text else ""
    notes = "".join(f"<br>{escape(note)}" for note in turn.notes)
    return (
        f"<section><b>Turn {number}</b>{attempt}: {escape(looked(turn))}{told}{frames}{text}"
        f"{tag}{escape(described(turn))}</b><br><small>{escape(counts)}{notes}</small></section>"
    )


def _strip(plan: FramePlan, pictures: dict[int, UInt8Array]) -> str:
    figures = [
        f'<figure><img alt="frame {number}" src="{_jpeg(pictures[number])}">{number}</figure>'
        for number in shown_frames(plan).tolist()
        if number in pictures
    ]
    return "".join(figures)


def _counted(counts: dict[str, int | None], *more: str) -> str:
    words = [f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count is not None]
    return ", ".join([*words, *more])


def _jpeg(pixels: UInt8Array) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _stream(episode: Episode) -> int | None:
    """The stream that was planned for; frames in memory have none."""
    return episode.video.video_stream
