"""GLM-4.6V: GLM-4V with times to a tenth of a second, and frames sampled by a rate that falls with the length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from framegate.errors import FrameError
from framegate.models.families.glm4v import FAMILY as GLM4V
from framegate.models.families.glm4v import tiny_glm
from framegate.models.family import Values, VideoSettings
from framegate.types import Int64Array

# tubes a second of clips up to so many seconds; longer ones are sampled as the longest
_TUBES_PER_SECOND = {30: 3.0, 300: 1.0, 2400: 0.5}
_MAX_FRAMES = 640


def sample_rule(num_frames: int, video_fps: float | None, settings: VideoSettings) -> Int64Array:
    """Choose frames as Glm46VVideoProcessor.sample_frames does, which no fps changes: an even number of them."""
    if video_fps is None:
        raise FrameError("GLM-4.6V samples by time; pass video_metadata with fps, or do_sample_frames=False.")
    seconds, longest = num_frames / video_fps, max(_TUBES_PER_SECOND)
    counted = min(seconds, longest)
    rate = next(rate for limit, rate in _TUBES_PER_SECOND.items() if counted <= limit)
    per_second = rate * settings.layout.temporal_patch_size
    wanted = min(int(counted * per_second), _MAX_FRAMES)
    chosen = np.arange(0)
    if num_frames >= wanted:
        chosen = np.fromiter(_every(1 / per_second, num_frames, video_fps), dtype=np.int64)
    if len(chosen) != wanted:
        first, last = (chosen[0], chosen[-1]) if 0 < len(chosen) < wanted else (0, num_frames - 1)
        chosen = np.linspace(first, last, wanted, dtype=np.int64)
    chosen = np.unique(chosen)
    return np.append(chosen, chosen[-1:]) if len(chosen) % 2 else chosen


def _every(step_seconds: float, num_frames: int, video_fps: float) -> Iterator[int]:
    """The first frame at or after each step, none twice, to the last whole second."""
    due_seconds, whole_seconds = 0.0, int(num_frames / video_fps)
    for frame in range(num_frames):
        if frame * (1 / video_fps) >= due_seconds:
            due_seconds += step_seconds
            yield frame
            if due_seconds >= whole_seconds:
                return


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    return tiny_glm("Glm46VConfig", tokenizer, vision=vision, text=text)


FAMILY = replace(
    GLM4V,
    model_type="glm46v",
    model_class="Glm46VForConditionalGeneration",
    recipe=replace(
        GLM4V.recipe,
        processor="Glm46VProcessor",
        image_processor=("glm46v.image_processing_pil_glm46v", "Glm46VImageProcessorPil"),
        video_values={**GLM4V.recipe.video_values, "video_processor_type": "Glm46VVideoProcessor"},
        sample_rule=sample_rule,
    ),
    tiny=replace(GLM4V.tiny, config=_tiny_config),
    processors_of=(),
    timestamps="seconds to a tenth after every tube, native",
    notes="As glm4v.",
)
