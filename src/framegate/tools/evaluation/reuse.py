"""Questions about one video come one after the other: it is read, gated and cut for the first of them alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class LastVideo:
    """Stands before `preprocess` of a video processor, and gives its last result again when the same path is asked.

    Args:
        reader: an attached front end's video processor.
    """

    def __init__(self, reader: Any) -> None:
        self.reader, self.read = reader, reader.preprocess
        self.num_reused = 0
        self._asked: str | None = None
        self._result: dict[str, Any] = {}

    def __call__(self, videos: Any, **call: Any) -> Any:
        """Call the method, or repeat what it gave, the account of the first call with it."""
        from transformers.video_processing_utils import BatchFeature

        asked = _spelled(videos, call)
        if asked is not None and asked == self._asked:
            self.num_reused += 1
        else:
            self._asked = None
            self._result = dict(self.read(videos, **call))
            self._asked = asked
        # the caller takes entries out of it
        return BatchFeature(dict(self._result))


def _spelled(videos: Any, call: dict[str, Any]) -> str | None:
    """What is asked, where it is about paths; None for frames, which are too long to compare."""
    from framegate.models.video_processor.sources import flat_videos, given_plan

    flat = flat_videos(videos)
    if not all(isinstance(video, str) and given_plan(video) is None for video in flat):
        return None
    windows = [getattr(video, "window_seconds", None) for video in flat]
    return repr((flat, windows, sorted(call.items())))


@contextmanager
def last_video(reader: Any) -> Iterator[LastVideo]:
    """Let a video processor remember its last video for the length of a block.

    Args:
        reader: the video processor of an attached processor.

    Yields:
        What stands before its `preprocess`; `num_reused` counts the calls that read nothing.

    Source: ours.
    """
    memory = LastVideo(reader)
    reader.preprocess = memory
    try:
        yield memory
    finally:
        del reader.preprocess
