"""The video processor that is put in the stock one's place."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers.image_utils import SizeDict
from transformers.processing_utils import VideosKwargs
from transformers.utils import TensorType
from transformers.video_processing_utils import BatchFeature, VideoProcessorMixin
from transformers.video_utils import VideoMetadata, make_batched_metadata

from framegate.errors import ConfigError, FrameError, nearest
from framegate.models.families import family_of_type
from framegate.models.family import VideoSettings
from framegate.models.towers.grid_geometry import SHAPE_KEY
from framegate.models.towers.patches import Float32Array
from framegate.models.video_processor.gated_video import GatedVideo, Request, process_video
from framegate.models.video_processor.notes import FULL_SIZE_KEY, VideoNotes, call_key
from framegate.models.video_processor.resize import tower_size_px
from framegate.models.video_processor.settings import stock_values, video_settings
from framegate.models.video_processor.sources import flat_videos
from framegate.tokenizers.plan_config import PlanConfig


class QwenVideoKwargs(VideosKwargs, total=False):  # type: ignore[misc, call-arg]
    """Keyword arguments of a call beyond those all video processors share; the names are transformers'."""

    min_pixels: int
    max_pixels: int
    patch_size: int
    temporal_patch_size: int
    merge_size: int
    min_frames: int
    max_frames: int
    cap_pixels_per_frame: bool
    max_video_tokens: int


class GatedVideoProcessor(VideoProcessorMixin):  # type: ignore[misc]
    """Takes paths and frames as the stock video processor does, and hands over only the kept patches.

    It needs no torchvision. Its settings are attributes with the stock names (`size`, `image_mean`, ...).

    Args:
        model_type: of a supported family.
        values: settings of the stock video processor, its `to_dict()`; the family's defaults fill it up.
        config: what decides on frames and cells.
        replaced: the object it stands in for, given back on detach; None when there is none.

    Raises:
        AttachmentError: no such family here.
    """

    valid_kwargs = QwenVideoKwargs
    model_input_names = [
        "pixel_values_videos",
        "video_grid_thw",
        "framegate_anchor",
        "framegate_motion",
        "framegate_scale",
        "framegate_score",
        "framegate_time",
        SHAPE_KEY,
        FULL_SIZE_KEY,
    ]

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
        self.__dict__.update(settings | {"size": SizeDict(**settings["size"])})
        self.model_type = model_type
        self.config = config
        self.replaced = replaced
        self.last_call: tuple[VideoNotes, ...] = ()
        self.last_call_key: tuple[Any, ...] = ()
        self._names = tuple(settings)

    def preprocess(self, videos: Any, **call: Any) -> BatchFeature:
        """Read, gate and cut videos.

        Args:
            videos: a path, frames, or any nesting of them, as for the stock processor.
            call: the stock keyword arguments; fps, num_frames and max_frames choose the frames of paths.

        Returns:
            `pixel_values_videos` of the kept patches, `video_grid_thw` of the dense grids; where a gate
            ran also `framegate_anchor` int32 [cells], the tube that stands for each cell (-1: never
            shown), and under anchored context and camera motion `framegate_motion` float32 [cells, 2]; where frames
            were made smaller `framegate_full_size` int32 [V], what each would have cost in tokens. Families that
            pool patches to cells have `framegate_video_shape` int64 [V, 3], in cells, in place of the grids; where no
            gate ran they get whole frames, [V, F, C, h, w], and no key.

        Raises:
            VideoError: a file cannot be read.
            FrameError: frames or their metadata cannot be used.
            ConfigError: an unknown setting, or settings that contradict each other.

        Source: ours.
        """
        _check_names(call)
        given = {name: value for name, value in call.items() if value is not None}
        request = Request(
            model_type=self.model_type, settings=self._settings(given), config=self.config, call=given
        )
        flat = flat_videos(videos)
        metadata = _metadata_of(flat, given.get("video_metadata"))
        gated = [process_video(*pair, request) for pair in zip(flat, metadata, strict=True)]
        self.last_call = tuple(video.notes for video in gated)
        provenance = _provenance(gated)
        grids = torch.tensor([video.grid_thw for video in gated])
        pixels = torch.from_numpy(_together([video.rows for video in gated]))
        self.last_call_key = call_key(pixels, provenance.get("framegate_anchor"))
        if request.settings.judged is None:
            return _batch(
                gated, {"pixel_values_videos": pixels, "video_grid_thw": grids, **provenance}, given
            )
        shapes = {SHAPE_KEY: grids} if "framegate_anchor" in provenance else {}
        return _batch(gated, {"pixel_values_videos": pixels, **provenance, **shapes}, given)

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
        values["size"] = {edge: pixels for edge, pixels in dict(values["size"]).items() if pixels is not None}
        defaults = family_of_type(self.model_type).recipe.video_values
        return {
            name: value for name, value in values.items() if value is not None or defaults[name] is not None
        }

    def _settings(self, given: Mapping[str, Any]) -> VideoSettings:
        own = {name: getattr(self, name) for name in self._names}
        extra = ("min_pixels", "max_pixels")
        return video_settings(
            self.model_type, own | {k: v for k, v in given.items() if k in self._names or k in extra}
        )


def _check_names(call: Mapping[str, Any]) -> None:
    known = {*VideosKwargs.__annotations__, *QwenVideoKwargs.__annotations__}
    for name in call:
        if name not in known:
            raise ConfigError(f"Unknown video setting {name!r}. {nearest(name, known)}")


def _metadata_of(flat: Sequence[Any], given: Any) -> list[VideoMetadata | None]:
    """One entry per video; paths bring their own times."""
    if given is None:
        return [None] * len(flat)
    try:
        known = make_batched_metadata(flat, video_metadata=copy.deepcopy(given))
    except (ValueError, TypeError) as error:
        raise FrameError(f"video_metadata does not fit the {len(flat)} videos: {error}") from error
    if len(known) != len(flat):
        raise FrameError(f"video_metadata has {len(known)} entries for {len(flat)} videos; give one each.")
    return [None if isinstance(video, str) else entry for video, entry in zip(flat, known, strict=True)]


def _batch(
    videos: Sequence[GatedVideo], data: dict[str, torch.Tensor], given: Mapping[str, Any]
) -> BatchFeature:
    if "device" in given:
        data["pixel_values_videos"] = data["pixel_values_videos"].to(given["device"])
    tensor_type: str | TensorType | None = given.get("return_tensors")
    batch = BatchFeature(data=data, tensor_type=tensor_type)
    if given.get("return_metadata"):
        batch["video_metadata"] = [video.metadata for video in videos]
    return batch


def _together(parts: Sequence[Float32Array]) -> Float32Array:
    """Rows one after the other; whole frames [F, C, h, w] video by video."""
    if parts[0].ndim == 2:
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
    lengths = [len(part) for part in parts]
    if len(set(lengths)) > 1:
        raise FrameError(
            f"The videos have {lengths} frames; this family's model takes videos of one length in a call. Sample them "
            "alike (num_frames=...), pass them one by one, or attach a front end that gates."
        )
    return np.stack(parts)


def _provenance(videos: Sequence[GatedVideo]) -> dict[str, torch.Tensor]:
    """What was decided per cell, all videos together; each left out where no video says it."""
    times = [video.times_ms for video in videos if video.times_ms is not None]
    timed = {"framegate_time": torch.from_numpy(np.concatenate(times))} if times else {}
    full_size = [video.full_size_tokens for video in videos if video.full_size_tokens is not None]
    if full_size:
        timed[FULL_SIZE_KEY] = torch.tensor(full_size, dtype=torch.int32)
    if all(video.anchor is None for video in videos):
        return timed
    anchors = [_own_tubes(video) if video.anchor is None else video.anchor for video in videos]
    sizes = [len(anchor) for anchor in anchors]
    noted = {
        "framegate_motion": _noted([video.motion_px for video in videos], sizes, np.zeros(2, np.float32)),
        "framegate_scale": _noted([_sides(video) for video in videos], sizes, np.int8(1)),
        "framegate_score": _noted([video.score for video in videos], sizes, np.int32(0)),
    }
    if all(video.scale is None for video in videos):
        del noted["framegate_scale"]
    found = {"framegate_anchor": np.concatenate(anchors)} | noted
    return timed | {name: torch.from_numpy(values) for name, values in found.items() if values is not None}


def _noted(parts: Sequence[Any], sizes: Sequence[int], missing: Any) -> Any:
    """Put the videos' values together, `missing` for videos without; None when no video has any."""
    if all(part is None for part in parts):
        return None
    filled = [
        np.tile(missing, (size, *[1] * np.ndim(missing))) if part is None else part
        for part, size in zip(parts, sizes, strict=True)
    ]
    return np.concatenate(filled)


def _sides(video: GatedVideo) -> Any:
    """Side of the token at each cell, also where all tokens are cells."""
    if video.scale is not None or video.anchor is None:
        return video.scale
    return (video.anchor == _own_tubes(video)).astype(np.int8)


def _own_tubes(video: GatedVideo) -> Any:
    tubes = video.grid_thw[0]
    return np.repeat(np.arange(tubes, dtype=np.int32), video.notes.dense_tokens // tubes)
