"""Which frames of a video: a sampler by its name, on a file, its bytes, frames, or what is known of a video."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from framegate.tokenizers.caps import NO_CAPS, Caps
from framegate.tokenizers.clip import open_video, probe
from framegate.tokenizers.clip.address import fetched
from framegate.tokenizers.samplers import sampler
from framegate.types import FramePlan, VideoInfo


def planned_frames(
    video: Any,
    name: str,
    settings: Mapping[str, Any],
    *,
    video_stream: int | None = None,
    caps: Caps = NO_CAPS,
) -> FramePlan:
    """Choose frames of a video, or of one of a file's streams, by a sampler's name; see `framegate.plan_frames`."""
    if isinstance(video, VideoInfo):
        return sampler(name)(video, **settings)
    source = fetched(video, caps)
    if isinstance(source, str | Path) and video_stream is None and caps == NO_CAPS:
        return sampler(name)(probe(source), **settings)
    with open_video(source, video_stream=video_stream, caps=caps) as stream:
        info = stream.info
    return sampler(name)(info, **settings)
