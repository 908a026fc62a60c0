"""What a caller may hand over as a video, and how what a message asks of it travels with it through transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from typing import Any

from transformers.video_utils import make_batched_videos

from framegate.errors import FrameError
from framegate.models.video_processor.clips import asked_by_clip, planned
from framegate.models.video_processor.message import KEYS, NOTHING_ASKED, PLACES, Asked, asked_of
from framegate.models.video_processor.message import SHARES as SHARES
from framegate.tokenizers.caps import NO_CAPS, Caps
from framegate.tokenizers.clip.address import NAME_MOST_BYTES, located, shown
from framegate.tokenizers.clip.memory_source import CHANNELS
from framegate.tokenizers.samplers import FramesConfig


class CarriedVideo(str):
    """A video, and what is asked of it, as a string: transformers' processors pass those on as they are.

    Args:
        source: path, address, a file's bytes, or frames.
        asked: what a message asks of it.
    """

    source: Any
    asked: Asked

    def __new__(cls, source: Any, asked: Asked = NOTHING_ASKED) -> CarriedVideo:
        """Make the string, the source's name, and put both beside it."""
        name = str(source) if is_path(source) else shown(source)
        # a data: address would stand in messages with all that it holds
        video = super().__new__(cls, name if len(name) <= NAME_MOST_BYTES else shown(source))
        video.source, video.asked = source, asked
        return video

    def __getnewargs__(self) -> tuple[Any, Asked]:  # type: ignore[override]
        """Copies and pickles are made of the same."""
        return self.source, self.asked


def is_path(source: Any) -> bool:
    """True for a path or an address; names of other sources are no addresses."""
    return isinstance(source, str | PathLike)


def is_file(source: Any) -> bool:
    """True for what is opened as a file, and so has times of its own: not for frames."""
    return is_path(source) or isinstance(source, bytes)


def carried(video: Any) -> CarriedVideo:
    """A video with what is asked of it; nothing where it comes bare."""
    return video if isinstance(video, CarriedVideo) else CarriedVideo(_source_of(video))


def with_carried_videos(
    conversation: Any,
    notes: tuple[str, ...] = (),
    frames: FramesConfig | None = None,
    caps: Caps = NO_CAPS,
) -> Any:
    """Replace the videos of a conversation by ones that carry what their blocks ask.

    Args:
        conversation: messages, or a batch of them, as `apply_chat_template` takes them; not changed. Blocks have the
            keys of `framegate.models.video_processor.message.VideoKeys`.
        notes: on the whole of it, for the report of each video.
        frames: the front end's sampler, for files whose block names no frames; None where there is none.
        caps: its caps, for files that are looked at here.

    Returns:
        The same with a CarriedVideo wherever a video block holds one; several, with texts before them, where its plan
        of frames tells clips apart.

    Raises:
        ConfigError: a key that is mistyped, out of range, or contradicts another.
        FrameError: a plan of another kind, or an empty window.
    """
    if isinstance(conversation, Mapping):
        content = conversation.get("content")
        if not isinstance(content, list | tuple):
            return conversation
        question = " ".join(block["text"] for block in content if _is_text(block))
        blocks = [part for block in content for part in _with_video(block, notes, question, frames, caps)]
        return {**conversation, "content": blocks}
    if isinstance(conversation, list | tuple):
        return [with_carried_videos(part, notes, frames, caps) for part in conversation]
    return conversation


def with_carried_sources(videos: Any) -> Any:
    """Carry what transformers would drop or mistake, at any depth: paths, bytes, open files and grey frames.

    FrameError for what can be no video nor a part of one.
    """
    if isinstance(videos, list | tuple):
        if any(video is None for video in videos):
            raise _no_video(videos)
        return [with_carried_sources(video) for video in videos]
    if isinstance(videos, int | float | Mapping):
        raise _no_video(videos)
    source = _source_of(videos)
    if isinstance(source, bytes | PathLike) or _is_grey(source):
        return carried(source)
    return videos


def flat_videos(videos: Any) -> list[Any]:
    """Flatten what `videos=` may be: one video or any nesting of paths, frames, lists of pictures or their paths.
    One entry per video: a string, a list of pictures or of their paths, or frames [F, ., ., .]; FrameError for anything
    else.
    """
    videos = with_carried_sources(videos)
    if isinstance(videos, list) and any(isinstance(video, CarriedVideo) for video in videos):
        # beside one that is carried, the others are videos as well
        return [one for video in videos for one in flat_videos(video)]
    try:
        flat: list[Any] = make_batched_videos(videos)
    except (ValueError, IndexError, TypeError, OSError) as error:
        raise _no_video(videos) from error
    return flat


def _no_video(videos: Any) -> FrameError:
    return FrameError(
        f"videos is, or holds, a {type(videos).__name__}, which is no video; pass paths, a file's bytes, uint8 frames "
        "[F, h, w, 3] or lists of pictures."
    )


def _source_of(video: Any) -> Any:
    """An open file or a buffer as its bytes; anything else as it is."""
    return video if is_path(video) else located(video)


def _is_grey(video: Any) -> bool:
    """True for frames without an axis of channels, [F, h, w], which transformers takes for one picture."""
    shape: tuple[int, ...] = tuple(getattr(video, "shape", ()))
    return len(shape) == 3 and shape[-1] not in CHANNELS and shape[0] not in CHANNELS


def _from_url_block(block: Mapping[str, Any]) -> dict[str, Any]:
    """A video block of one as servers take them, {"type": "video_url", "video_url": {"url": ...}}."""
    given = block.get("video_url")
    url = given.get("url") if isinstance(given, Mapping) else given
    if url is None:
        raise FrameError(
            'A block of type "video_url" holds no "video_url": {"url": ...}; give the address there.'
        )
    others = {name: value for name, value in block.items() if name not in ("type", "video_url")}
    return others | {"type": "video", "url": url}


def _is_text(block: Any) -> bool:
    return isinstance(block, Mapping) and block.get("type") == "text" and isinstance(block.get("text"), str)


def _with_video(
    block: Any, notes: tuple[str, ...], question: str, frames: FramesConfig | None, caps: Caps
) -> list[Any]:
    """A block of a message as the blocks that stand for it: its video carries what is asked of it, clip by clip."""
    if isinstance(block, Mapping) and block.get("type") == "video_url":
        block = _from_url_block(block)
    if not isinstance(block, Mapping) or block.get("type") != "video":
        return [block]
    place = next((place for place in PLACES if block.get(place) is not None), None)
    # transformers' templates print what they do not know
    others = {name: value for name, value in block.items() if name not in KEYS and value is not None}
    if place is None:
        return [others]
    source = _source_of(block[place])
    asked = asked_of(block, in_memory=not is_file(source))
    asked = planned(replace(asked, notes=(*notes, *asked.notes)), source, question, frames, caps)
    blocks: list[Any] = []
    for text, of_clip in asked_by_clip(asked, source):
        blocks += [] if text is None else [{"type": "text", "text": text}]
        blocks.append(others | {place: CarriedVideo(source, of_clip)})
    return blocks
