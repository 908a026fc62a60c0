"""What a caller may hand over as a video, and how its window and plan travel with it through transformers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from transformers.video_utils import make_batched_videos

from framegate.errors import FrameError
from framegate.tokenizers.clip.memory_source import CHANNELS, MemoryFrames
from framegate.tokenizers.clip.window import WHOLE, Window
from framegate.tokenizers.gate.plan import GatePlan
from framegate.types import FramePlan

Given = FramePlan | GatePlan | None
# where a message may hold a video, as transformers reads it
_PLACES = ("video", "url", "path")
# what a message or a call may set for itself
SHARES = ("keep_ratio", "tower_ratio")


class ClipPath(str):
    """A path that carries a clip window and a plan through transformers' processors, which pass plain strings on.

    Args:
        path: file or address.
        start_seconds: start of the window, None for the beginning.
        end_seconds: end of the window, None for the end.
        plan: frames or cells planned before.
        shares: keep_ratio and tower_ratio of this video alone.
    """

    start_seconds: float | None
    end_seconds: float | None
    plan: Given
    shares: Mapping[str, float]

    def __new__(
        cls,
        path: str | Path,
        start_seconds: float | None = None,
        end_seconds: float | None = None,
        plan: Given = None,
        shares: Mapping[str, float] | None = None,
    ) -> ClipPath:
        """Make the string and put window and plan beside it."""
        clip = super().__new__(cls, os.fspath(path).removeprefix("file://"))
        clip.start_seconds, clip.end_seconds, clip.plan = start_seconds, end_seconds, plan
        clip.shares = shares or {}
        return clip

    @property
    def window_seconds(self) -> Window:
        """Start and end of the window."""
        return self.start_seconds, self.end_seconds


class PlannedFrames(np.ndarray[Any, Any]):
    """Frames in memory that carry plan and shares through transformers' processors; else an array like any other."""

    plan: Given = None
    shares: Mapping[str, float] = MappingProxyType({})

    def __array_finalize__(self, base: Any) -> None:
        """Views keep what was given."""
        self.plan, self.shares = getattr(base, "plan", None), getattr(base, "shares", {})


def given_plan(video: Any) -> Given:
    """The plan that a video carries, None for none."""
    return video.plan if isinstance(video, ClipPath | PlannedFrames) else None


def given_shares(video: Any) -> Mapping[str, float]:
    """The shares that a video asks for itself."""
    return video.shares if isinstance(video, ClipPath | PlannedFrames) else {}


def given_window(video: Any) -> Window:
    """The clip window that a video carries."""
    return video.window_seconds if isinstance(video, ClipPath) else WHOLE


def with_clip_paths(conversation: Any) -> Any:
    """Replace the videos of a conversation by ones that carry their window, their plan and their shares.

    Args:
        conversation: messages, or a batch of them, as `apply_chat_template` takes them; not changed. Blocks say
            `video_start`, `video_end`, `plan`, `keep_ratio`, `tower_ratio`.

    Returns:
        The same with a ClipPath wherever a video block holds a path, and PlannedFrames for frames with a plan.

    Raises:
        FrameError: a plan of another kind.
    """
    if isinstance(conversation, Mapping):
        content = conversation.get("content")
        if not isinstance(content, list | tuple):
            return conversation
        return {**conversation, "content": [_carrier(block) for block in content]}
    if isinstance(conversation, list | tuple):
        return [with_clip_paths(part) for part in conversation]
    return conversation


def without_path_objects(videos: Any) -> Any:
    """Spell Path objects as strings, at any depth: transformers drops them from lists otherwise."""
    if isinstance(videos, Path):
        return str(videos)
    if isinstance(videos, list | tuple):
        return [without_path_objects(video) for video in videos]
    return videos


def flat_videos(videos: Any) -> list[Any]:
    """Flatten what `videos=` may be: one video or any nesting of paths, frames, lists of pictures or their paths.
    One entry per video: a string, a list of pictures or of their paths, or frames [F, ., ., .]; FrameError for anything
    else.
    """
    if _is_grey(videos) or isinstance(videos, PlannedFrames | bytes):
        return [videos]
    if isinstance(videos, list | tuple) and any(
        _is_grey(video) or isinstance(video, PlannedFrames | bytes) for video in videos
    ):
        # transformers takes grey frames for one picture each, and would drop what an array carries
        return [one for video in videos for one in flat_videos(video)]
    try:
        flat: list[Any] = make_batched_videos(without_path_objects(videos))
    except (ValueError, IndexError, TypeError) as error:
        raise FrameError(
            f"videos is a {type(videos).__name__} that holds no video; pass paths, uint8 frames [F, h, w, 3] "
            "or lists of pictures."
        ) from error
    return flat


def _is_grey(video: Any) -> bool:
    """True for frames without an axis of channels, [F, h, w]."""
    shape: tuple[int, ...] = tuple(getattr(video, "shape", ()))
    return len(shape) == 3 and shape[-1] not in CHANNELS and shape[0] not in CHANNELS


def _carrier(block: Any) -> Any:
    """A block of a message whose video carries its window and its plan."""
    if not isinstance(block, Mapping) or block.get("type") != "video":
        return block
    plan = block.get("plan")
    if plan is not None and not isinstance(plan, FramePlan | GatePlan):
        raise FrameError(f"plan is a {type(plan).__name__}; give a FramePlan or a GatePlan.")
    carried = dict(block)
    shares = {name: carried.pop(name) for name in SHARES if carried.get(name) is not None}
    for place in _PLACES:
        if isinstance(value := block.get(place), str | Path):
            carried[place] = ClipPath(value, block.get("video_start"), block.get("video_end"), plan, shares)
        elif isinstance(value, bytes) and (
            plan or shares or block.get("video_start") or block.get("video_end")
        ):
            raise FrameError(
                f"A video of {len(value):,} bytes came with a window, a plan or a share; write it to a file and give "
                "the path."
            )
        elif value is not None and (plan is not None or shares):
            carried[place] = _planned(value, plan, shares)
    # transformers' templates print what they do not know
    carried.pop("plan", None)
    return carried


def _planned(frames: Any, plan: Given, shares: Mapping[str, float]) -> PlannedFrames:
    held = MemoryFrames(frames)
    planned = np.stack([held[place] for place in range(held.count)]).view(PlannedFrames)
    planned.plan, planned.shares = plan, shares
    return planned
