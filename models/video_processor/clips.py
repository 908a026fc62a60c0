"""A plan of several clips as several videos of one prompt, each with its own size and a text that says what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np

from framegate.errors import ConfigError
from framegate.models.video_processor.message import Asked
from framegate.tokenizers.caps import NO_CAPS, Caps
from framegate.tokenizers.clip import indexed
from framegate.tokenizers.clip.address import fetched
from framegate.tokenizers.plan_frames import planned_frames
from framegate.tokenizers.samplers import FramesConfig, limited, tells_clips
from framegate.tokenizers.scoring import reads_query
from framegate.tokenizers.time_code import clip_text, frame_text
from framegate.types import FramePlan

_WRITERS = {"clip": clip_text, "frame": frame_text}


def planned(
    asked: Asked, source: Any, question: str, frames: FramesConfig | None, caps: Caps = NO_CAPS
) -> Asked:
    """Choose the frames of a video whose message names a sampler in place of a plan.

    Args:
        asked: of the video.
        source: path, address, bytes or frames.
        question: the text of the message, for samplers that score frames by one and are given none.
        frames: the front end's own sampler, which chooses now where its plans tell clips apart (`CLIPS` in its file);
            any other does when the video is read.
        caps: the most that the video may take.

    Returns:
        The same with the plan of frames, of 768 at most where the options say nothing else.

    Raises:
        ConfigError: no sampler is named, or a setting that it does not have.
    """
    plan: Any = asked.plan
    if plan is None and frames is not None and not asked.sampling and tells_clips(frames.sampler):
        plan = frames.to_dict()
    if not isinstance(plan, Mapping):
        return asked
    settings = dict(plan)
    name = settings.pop("sampler", None)
    if name is None:
        raise ConfigError(
            f"The plan of a video in a message is {plan!r}; give a FramePlan, a GatePlan, or a sampler's name "
            'with its options, {"sampler": "uniform", "num_frames": 16}.'
        )
    if settings.get("query") is None and reads_query(settings.get("scorer")):
        settings["query"] = question
    window = zip(("start_seconds", "end_seconds"), asked.window_seconds, strict=True)
    settings |= {end: seconds for end, seconds in window if seconds is not None}
    frames_of = planned_frames(source, name, limited(settings), video_stream=asked.video_stream, caps=caps)
    return replace(asked, plan=frames_of)


def clips_of(plan: FramePlan, *, by_frame: bool = False) -> list[FramePlan]:
    """Take a plan apart by its groups, and each where its scale changes.

    Args:
        plan: frames of a file.
        by_frame: take every frame apart.

    Returns:
        The clips, group by group.
    """
    clips = []
    for number in np.unique(plan.group):
        group = plan.part(plan.group == number)
        ends = np.arange(1, len(group)) if by_frame else np.flatnonzero(np.diff(group.scale)) + 1
        clips += [group.part(positions) for positions in np.split(np.arange(len(group)), ends)]
    return clips


class ReadOnce:
    """A file whose packets are read when the first of its clips is opened, and known to the others.

    Args:
        source: path, address or bytes.
        video_stream: number of its video stream, None for the one that a player would show.
    """

    def __init__(self, source: Any, video_stream: int | None) -> None:
        self.source, self.video_stream = source, video_stream
        self._index: Any = None

    def __call__(self, caps: Caps) -> Any:
        """The file as `indexed` gives it, within the caps of the call."""
        if self._index is None:
            self._index = indexed(fetched(self.source, caps), self.video_stream, caps)
        return self._index


def asked_by_clip(asked: Asked, source: Any) -> list[tuple[str | None, Asked]]:
    """Say of each clip of a plan what is written before it, and what is asked of it.

    Args:
        asked: of a whole video.
        source: path, address, bytes or frames.

    Returns:
        Pairs of the text before a clip, None for none, and what is asked of it. A plan is one clip where its time code
        says nothing of clips and its frames are of one size.
    """
    plan = asked.plan
    if not isinstance(plan, FramePlan):
        if asked.time_code not in _WRITERS:
            return [(None, asked)]
        note = f"time_code={asked.time_code!r} of the message: not followed, for no plan of frames tells its clips"
        return [(None, replace(asked, notes=(*asked.notes, note)))]
    code = asked.time_code or plan.time_code
    several = len(np.unique(plan.scale)) > 1
    if code is None and several:
        code = "clip"
    if code not in _WRITERS and not several:
        return [(None, asked)]
    write = _WRITERS.get(code or "", lambda _: None)
    clips = clips_of(plan, by_frame=code == "frame")
    is_file = isinstance(source, str | PathLike | bytes)
    whole = replace(asked, read_once=ReadOnce(source, asked.video_stream)) if is_file else asked
    return [(write(clip), replace(whole, plan=clip, common_frames=len(plan))) for clip in clips]
