"""The video processor that is put in the stock one's place."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers.image_utils import SizeDict
from transformers.utils import TensorType
from transformers.video_processing_utils import BatchFeature, VideoProcessorMixin
from transformers.video_utils import VideoMetadata, make_batched_metadata

from framegate.errors import AttachmentError, FrameError
from framegate.models.families import families, family_of_type
from framegate.models.family import VideoSettings
from framegate.models.timestamp_interleaver import TimestampInterleaver
from framegate.models.video_processor.gated_video import GatedVideo, packed_batch, process_video
from framegate.models.video_processor.hooks import why_no_stamps
from framegate.models.video_processor.message import SHARES, Asked, Given
from framegate.models.video_processor.metadata import checked_metadata
from framegate.models.video_processor.reading import Request, opened, tower_size_px
from framegate.models.video_processor.settings import (
    QwenVideoKwargs,
    check_followed,
    checked_setting,
    stock_values,
    video_settings,
)
from framegate.models.video_processor.sources import CarriedVideo, carried, flat_videos, is_file
from framegate.per_thread import PerThread
from framegate.tokenizers.caps import CAPS
from framegate.tokenizers.clip.address import fetched
from framegate.tokenizers.clip.window import WHOLE, Window, window_end_seconds
from framegate.tokenizers.gate.packing import NOTES_KEY, PLAN_KEY
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.video import plan_clip
from framegate.tokenizers.plan_config import PlanConfig
from framegate.types import UInt8Array


class GatedVideoProcessor(VideoProcessorMixin):  # type: ignore[misc]
    """Takes paths and frames as the stock video processor does, and hands over only the kept patches.

    It needs no torchvision. Its settings are attributes with the stock names (`size`, `image_mean`, ...).

    Args:
        model_type: of a supported family.
        values: settings of the stock video processor, its `to_dict()`; the family's defaults fill it up.
        config: what decides on frames and cells.
        replaced: the object it stands in for, given back on detach; None when there is none.

    Raises:
        AttachmentError: no such family here, or a setting that is not followed.
    """

    valid_kwargs = QwenVideoKwargs
    model_input_names = ["pixel_values_videos", "video_grid_thw", PLAN_KEY, NOTES_KEY]

    def __init__(
        self,
        model_type: str,
        values: Mapping[str, Any] | None,
        config: PlanConfig,
        *,
        replaced: Any = None,
    ) -> None:
        super().__init__()
        settings = stock_values(model_type, values)
        check_followed(model_type, settings.get)
        self.__dict__.update(settings)
        if "size" in settings:
            self.size = SizeDict(**settings["size"])
        self.model_type = model_type
        self.config = config
        # writes times behind tubes; None where none are asked for, and where the family writes its own
        self.interleaver = _interleaver(model_type, config)
        # a share that one thread set for a while (`front_end.override`)
        self.override = PerThread(config=None)
        self.replaced = replaced
        self.attachment_id = ""
        self._names = tuple(settings)

    def preprocess(self, videos: Any, **call: Any) -> BatchFeature:
        """Read, gate and cut videos.

        Args:
            videos: a path, frames, or any nesting of them, as for the stock processor.
            call: the stock keyword arguments; fps, num_frames and max_frames choose the frames of paths. While attached
                also keep_ratio and tower_ratio, for this call alone; the model side follows what the inputs say.
                cap_frames, cap_pixels, cap_seconds and cap_bytes lower the caps of the configuration.

        Returns:
            `pixel_values_videos` of the kept patches, and `video_grid_thw` of the dense grids; families that pool
            patches to cells have no grids, and where no gate ran whole frames, [V, F, C, h, w]. While attached also
            `framegate_notes`, uint8, a line per video: sizes, times, and what its reading cost; and where a gate ran
            `framegate_plan`, int32 [cells, 6], what was decided on every cell (`framegate.tokenizers.gate.packing`).

        Raises:
            VideoError: a file cannot be read.
            FrameError: frames or their metadata cannot be used.
            ConfigError: an unknown setting, or settings that contradict each other.
            PlanError: a plan of a video is for another size, number or time of frames.
            CapError: a video beyond a cap.
        """
        shares = {name: call.pop(name) for name in SHARES if call.get(name) is not None}
        caps = {name: checked_setting(name, call.pop(name)) for name in CAPS if call.get(name) is not None}
        config = (self.override.config or self.config).at(shares)
        config = replace(config, caps=config.caps.lowered(caps))
        request = self.request(config, call)
        given = request.call
        flat = [carried(video) for video in flat_videos(videos)]
        metadata = _metadata_of(flat, given.get("video_metadata"))
        gated = [
            process_video(video, times, self._request_of(video.asked, config, given))
            for video, times in zip(flat, metadata, strict=True)
        ]
        packed = packed_batch(gated, self.attachment_id) if self.replaced is not None else {}
        data = {"pixel_values_videos": _together([video.rows for video in gated]).to(given.get("device"))}
        if request.settings.judged is None:
            data["video_grid_thw"] = torch.tensor([video.grid_thw for video in gated])
        data |= {name: torch.from_numpy(values) for name, values in packed.items()}
        finish = family_of_type(self.model_type).recipe.finish
        if finish is not None:
            own = {name: getattr(self, name) for name in self._names}
            told = own | dict(given) | {"video_metadata": [video.metadata for video in gated]}
            data = finish(data, told, self.config)
        return _batch(gated, data, {"return_metadata": self.return_metadata} | dict(given))

    def request(self, config: PlanConfig, call: Mapping[str, Any]) -> Request:
        """Put a call's settings together.

        Args:
            config: what decides on frames and cells.
            call: the stock keyword arguments of the call.

        Returns:
            What is asked of each video.

        Raises:
            AttachmentError: a setting that is not followed.
            ConfigError: an unknown setting, or settings that contradict each other.
        """
        given = {name: checked_setting(name, value) for name, value in call.items()}
        given = {name: value for name, value in given.items() if value is not None}
        check_followed(self.model_type, given.get)
        settings = self._settings(given)
        if family_of_type(self.model_type).recipe.caps_frames:
            given = _capped(given, self.num_frames, self.fps)
        return Request(model_type=self.model_type, settings=settings, config=config, call=given)

    def get_num_of_video_patches(
        self, num_frames: int, height: int, width: int, videos_kwargs: Mapping[str, Any] | None = None
    ) -> int:
        """Count the patches of a video when nothing is skipped.

        Args:
            num_frames: frames that go in.
            height: of the source, in px.
            width: of the source, in px.
            videos_kwargs: settings to replace.

        Returns:
            Number of rows of the tower.
        """
        settings = self._settings({k: v for k, v in (videos_kwargs or {}).items() if v is not None})
        size_px = tower_size_px(num_frames, height, width, settings)
        rows, columns = (side // settings.layout.patch_size_px for side in size_px)
        return -(-num_frames // settings.layout.temporal_patch_size) * rows * columns

    def to_dict(self) -> dict[str, Any]:
        """Return what the stock video processor would save, so that plain transformers opens the folder."""
        values = {name: copy.deepcopy(getattr(self, name)) for name in self._names}
        if "size" in values:
            values["size"] = {
                edge: pixels for edge, pixels in dict(values["size"]).items() if pixels is not None
            }
        defaults = family_of_type(self.model_type).recipe.video_values
        return {
            name: value for name, value in values.items() if value is not None or defaults[name] is not None
        }

    def _request_of(self, asked: Asked, config: PlanConfig, call: Mapping[str, Any]) -> Request:
        """What is asked of one video: its message over the call."""
        request = self.request(config.at(asked.shares), asked.call(call))
        return replace(request, settings=asked.settings(request.settings))

    def _settings(self, given: Mapping[str, Any]) -> VideoSettings:
        own = {name: getattr(self, name) for name in self._names}
        extra = ("min_pixels", "max_pixels")
        return video_settings(
            self.model_type, own | {k: v for k, v in given.items() if k in self._names or k in extra}
        )


def _capped(given: dict[str, Any], num_frames: int | None, fps: float | None) -> dict[str, Any]:
    """Read num_frames beside an fps as the most frames; the processor's own two are what nobody asked for."""
    asked = given.get("num_frames"), given.get("fps")
    if None in asked:
        return given
    rest = {name: value for name, value in given.items() if name not in ("num_frames", "fps")}
    return rest if asked == (num_frames, fps) else rest | {"fps": asked[1], "max_frames": asked[0]}


def _interleaver(model_type: str, config: PlanConfig) -> TimestampInterleaver | None:
    if config.timestamps is None or why_no_stamps(model_type, config) is not None:
        return None
    return TimestampInterleaver(config.timestamps)


def _metadata_of(flat: Sequence[CarriedVideo], given: Any) -> list[VideoMetadata | None]:
    """One entry per video; paths bring their own times."""
    if given is None:
        return [None] * len(flat)
    try:
        known = make_batched_metadata(flat, video_metadata=copy.deepcopy(given))
    except (ValueError, TypeError) as error:
        raise FrameError(f"video_metadata does not fit the {len(flat)} videos: {error}") from error
    if len(known) != len(flat):
        raise FrameError(f"video_metadata has {len(known)} entries for {len(flat)} videos; give one each.")
    return [
        None if is_file(video.source) else checked_metadata(entry)
        for video, entry in zip(flat, known, strict=True)
    ]


def _batch(
    videos: Sequence[GatedVideo], data: dict[str, torch.Tensor], given: Mapping[str, Any]
) -> BatchFeature:
    tensor_type: str | TensorType | None = given.get("return_tensors")
    batch = BatchFeature(data=data, tensor_type=tensor_type)
    if given.get("return_metadata"):
        batch["video_metadata"] = [video.metadata for video in videos]
    return batch


def _together(parts: Sequence[np.ndarray[Any, Any]]) -> torch.Tensor:
    """Rows one after the other; whole frames [F, C, h, w] video by video."""
    if parts[0].ndim == 2:
        return torch.from_numpy(parts[0] if len(parts) == 1 else np.concatenate(parts))
    lengths = [len(part) for part in parts]
    if len(set(lengths)) > 1:
        raise FrameError(
            f"The videos have {lengths} frames; this family's model takes videos of one length in a call. Sample them "
            "alike (num_frames=...), pass them one by one, or attach a front end that gates."
        )
    return torch.from_numpy(np.stack(parts))


def plan_for_processor(
    video: Any,
    processor: Any,
    config: PlanConfig,
    *,
    window_seconds: Window = WHOLE,
    given: Given = None,
    before: GatePlan | None = None,
    video_stream: int | None = None,
    show_progress: bool = False,
) -> GatePlan:
    """Plan a video as a processor would, with its settings.

    Args:
        video: path, a file's bytes, or frames.
        processor: of a supported family, attached or not, or its video processor.
        config: what decides on frames and cells.
        window_seconds: clip window, of a file.
        given: frames or cells planned before.
        before: a plan of other frames of the same video; tubes of it that come back keep their cells.
        video_stream: number of a file's video stream, as `open_video` takes it.
        show_progress: draw bars on a terminal.

    Returns:
        The plan; a message of that processor takes it.

    Raises:
        AttachmentError: a processor of no supported family.
        VideoError: the file cannot be read.
        FrameError, PlanError: frames that cannot be used, or a plan that is not this video's.
    """
    stock = getattr(processor, "video_processor", processor)
    reader = stock if isinstance(stock, GatedVideoProcessor) else _reader_of(stock)
    # what a processor hands its video processor in every call
    request, video = (
        reader.request(config, getattr(processor, "videos_kwargs", {})),
        fetched(video, config.caps),
    )
    asked = Asked(window_seconds=window_seconds, plan=given, video_stream=video_stream)
    with opened(video, None, request, asked) as source:
        source.clip.show_progress = show_progress
        plan = plan_clip(
            source.clip, config, given=given if isinstance(given, GatePlan) else None, before=before
        )
        frames, end = source.clip.frames, window_end_seconds(source.clip.info, window_seconds)
    assert frames is not None

    def show() -> Iterator[UInt8Array]:
        with opened(video, None, request, replace(asked, plan=frames)) as source:
            yield from source.clip.judged_frames()

    notes = (*plan.notes, *source.notes)
    return replace(plan, frames=frames, end_seconds=end, open_frames=show, notes=notes)


def _reader_of(stock: Any) -> GatedVideoProcessor:
    """A stock video processor's settings, as a reader of its family."""
    values = stock.to_dict() if hasattr(stock, "to_dict") else {}
    kind = values.get("video_processor_type", type(stock).__name__)
    for name, family in families().items():
        if kind == family.recipe.video_values["video_processor_type"]:
            return GatedVideoProcessor(name, values, PlanConfig(preset="dense"))
    raise AttachmentError(
        f"{type(stock).__name__} is no video processor of a supported family: {', '.join(families())}."
    )
