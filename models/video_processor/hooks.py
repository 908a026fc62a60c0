"""Hooks on a processor's methods: stamps of time after every tube, and placeholders counted by cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers.video_utils import VideoMetadata

from framegate.errors import AttachmentError, PlaceholderError
from framegate.models.families import family_of_type
from framegate.models.timestamp_interleaver import TimestampInterleaver
from framegate.models.transformers_private import PLACEHOLDER_METHOD, VIDEOS_METHOD
from framegate.models.video_processor.metadata import frame_times_seconds, is_timed
from framegate.tokenizers.gate.packing import NOTES_KEY, noted_shapes
from framegate.tokenizers.plan_config import PlanConfig
from framegate.tokenizers.timestamps import tube_times_seconds


@dataclass(frozen=True)
class MethodHook:
    """Stands before a method of one processor; a plain object, so that copies and pickles of it work.

    Args:
        processor: the processor it is set on.
        previous: what was set on that instance before, None for the class's own method.
    """

    processor: Any
    previous: Any = None

    def stock(self, name: str) -> Any:
        """The method it stands before, bound to the processor."""
        return self.previous or getattr(type(self.processor), name).__get__(self.processor)


def _is_counted(processor: Any, video_inputs: Any) -> bool:
    """True where the stock processor counts placeholders: by the videos' dense sizes, or frames [V, F, C, h, w]."""
    if NOTES_KEY not in video_inputs:
        return True
    # where frames are pictures to the model, so are their pixels
    pixels = video_inputs["pixel_values_videos" if "pixel_values_videos" in video_inputs else "pixel_values"]
    if pixels.ndim == 5:
        return True
    return family_of_type(processor.video_processor.model_type).recipe.sizes_key in video_inputs


class PlaceholderHook(MethodHook):
    """Before `replace_video_token`: where rows of kept patches came, the video's cells are counted, not its frames.

    Seconds of a tube that the stock processor assumed are put right first, for it lays sound between tubes by them.
    """

    def __call__(self, video_inputs: Any, video_idx: int, **kwargs: Any) -> str:
        """Write the placeholders of one video, as many as the stock processor writes for whole frames."""
        key = _tube_seconds_key(self.processor)
        if key is not None and is_timed(metadata := video_inputs["video_metadata"][video_idx]):
            tube = self.processor.video_processor.temporal_patch_size
            video_inputs[key][video_idx] = tube / metadata.sampled_fps
        if _is_counted(self.processor, video_inputs):
            text: str = self.stock(PLACEHOLDER_METHOD)(video_inputs, video_idx=video_idx, **kwargs)
            return text
        tubes, rows, columns = noted_shapes(video_inputs[NOTES_KEY])[video_idx]
        family = family_of_type(self.processor.video_processor.model_type)
        if family.recipe.video_text is not None:
            times = video_inputs["video_metadata"][video_idx] if "video_metadata" in video_inputs else None
            return family.recipe.video_text(self.processor, (tubes, rows, columns), times)
        token: str = self.processor.video_token
        return token * family.extra.count((tubes, rows, columns))


def _tube_seconds_key(processor: Any) -> str | None:
    """Where a processor hands over seconds of a tube that it does not read; None for those that do."""
    model_type = getattr(processor.video_processor, "model_type", None)
    return None if model_type is None else family_of_type(model_type).recipe.tube_seconds_key


def why_no_stamps(model_type: str, config: PlanConfig, *, has_processor: bool = True) -> str | None:
    """Say why the timestamps that a configuration asks for are not written.

    Args:
        model_type: the family.
        config: what decides on frames and cells.
        has_processor: a processor is attached beside the model.

    Returns:
        A note for the report; None when they are written, or nobody asked.
    """
    if config.timestamps is None:
        return None
    family = family_of_type(model_type)
    if not family.takes_stamps:
        return f"timestamps: none written, for {model_type} has marks of its own around every tube"
    if family.writes_times:
        return f"timestamps: {model_type} writes a time before every tube itself; native markers kept, not doubled"
    if not has_processor:
        return "timestamps: none written, for no processor is attached: they are text in the prompt"
    return None


def check_stampable(processor: Any, model_type: str, config: PlanConfig) -> None:
    """Refuse a processor that has no step where stamps could be written.

    Raises:
        AttachmentError: the class lacks that step, which those of transformers have from 5.19 on.
    """
    wanted = config.timestamps is not None and why_no_stamps(model_type, config) is None
    if wanted and not hasattr(type(processor), VIDEOS_METHOD):
        raise AttachmentError(
            f"{type(processor).__name__} has no {VIDEOS_METHOD}, where timestamps are written; "
            "use one of transformers, or set timestamps to None."
        )


class StampsHook(MethodHook):
    """Around `_process_videos`: a stamp after every tube, as the attached front end says; else nothing.

    `replace_video_token` alone would not do: Qwen2-VL's is not told the times, unless metadata is asked for here, as it
    is for seconds of a tube that have to be put right.
    """

    def __call__(self, videos: Any, **kwargs: Any) -> tuple[Any, list[str]]:
        """Call the method, then write the stamps into its texts."""
        stock, reader = self.stock(VIDEOS_METHOD), self.processor.video_processor
        interleaver = getattr(reader, "interleaver", None)
        # processors that hear are handed what is for all of their parts
        of_videos = kwargs.get("videos_kwargs", kwargs)
        if interleaver is not None or _tube_seconds_key(self.processor) is not None:
            of_videos |= {"return_metadata": True}
        read, texts = stock(videos, **kwargs)
        if interleaver is None:
            return read, texts
        frames = of_videos.get("temporal_patch_size") or getattr(reader, "temporal_patch_size", None) or 1
        return read, [
            stamped_text(text, self.processor.video_token, metadata, interleaver, temporal_patch_size=frames)
            for text, metadata in zip(texts, read["video_metadata"], strict=True)
        ]


def stamped_text(
    text: str,
    placeholder: str,
    metadata: VideoMetadata,
    interleaver: TimestampInterleaver,
    *,
    temporal_patch_size: int,
) -> str:
    """Write the stamps of one video into the text that stands for it.

    Args:
        text: the family's own: placeholders and nothing else, as many for every tube. What does not divide goes
            with the last tube (LLaVA-OneVision's newline).
        placeholder: the family's video placeholder.
        metadata: of the frames that went in.
        interleaver: writes the times.
        temporal_patch_size: frames in a tube.

    Returns:
        The text with a stamp after every tube.

    Raises:
        PlaceholderError: the family's text holds more than placeholders, or fewer than tubes.
        FrameError: times that cannot be used.

    Source: DATE (arXiv 2509.09263), TIM.
    """
    count = text.count(placeholder)
    times = frame_times_seconds(metadata, len(metadata.frames_indices))
    tubes = tube_times_seconds(times.tolist(), temporal_patch_size=temporal_patch_size)
    if text != placeholder * count or count < len(tubes):
        raise PlaceholderError(
            f"A video of {len(tubes)} tubes is written as {count} times {placeholder!r}"
            f"{'' if text == placeholder * count else ' with other text'}; timestamps need placeholders alone, "
            "at least one per tube; attach with timestamps=None."
        )
    each, rest = divmod(count, len(tubes))
    return interleaver.text([*[each] * (len(tubes) - 1), each + rest], tubes, placeholder)
