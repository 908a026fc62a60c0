"""The account of one processor call, per video: what was read, what was kept, how long it took."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from zlib import crc32

T = TypeVar("T")
# Tokens of each video before its frames were made smaller, int32 [V].
FULL_SIZE_KEY = "framegate_full_size"
SAMPLED_PIXELS = 4096


@dataclass(frozen=True, kw_only=True)
class VideoNotes:
    """What happened to one video of the last call.

    Args:
        source: path or address, None for frames in memory.
        video_seconds: duration of the video or its window, None when unknown.
        num_frames: frames that went in.
        dense_tokens: language-model tokens the stock processor would have made patches for.
        kept_tokens: tokens whose patches were made.
        stream_ms: reading, decoding and scaling.
        gate_ms: deciding what to keep.
        patches_ms: cutting and normalising what was kept.
        notes: reasons, fallbacks and warnings.
    """

    source: str | None
    video_seconds: float | None
    num_frames: int
    dense_tokens: int
    kept_tokens: int
    stream_ms: float
    gate_ms: float
    patches_ms: float
    notes: tuple[str, ...] = ()


def call_key(pixels: Any, anchor: Any) -> tuple[Any, ...]:
    """Tell calls apart by what they bring: shape and signs of the pixels, and the anchors.

    Args:
        pixels: tensor, pixel_values_videos of a call.
        anchor: tensor int32 [cells], None where no gate ran.

    Returns:
        A key to compare; the same wherever the tensors were moved to and whatever they were cast to.

    Source: ours.
    """
    flat = pixels.flatten()
    signs = (flat[:: max(1, len(flat) // SAMPLED_PIXELS)] > 0).cpu().numpy()
    anchors = b"" if anchor is None else anchor.int().cpu().numpy().tobytes()
    return (tuple(pixels.shape), crc32(signs.tobytes() + anchors))


class Stopwatch:
    """Adds up the wall time of named stages, in milliseconds."""

    def __init__(self) -> None:
        self.spent_ms = {"stream": 0.0, "gate": 0.0, "patches": 0.0}

    @contextmanager
    def timing(self, stage: str, *, apart_from: str | None = None) -> Iterator[None]:
        """Add the time of a block to a stage, without what another stage spends inside the block."""
        start, elsewhere = time.perf_counter(), self._spent(apart_from)
        try:
            yield
        finally:
            elapsed_ms = (time.perf_counter() - start) * 1e3
            self.spent_ms[stage] += elapsed_ms - (self._spent(apart_from) - elsewhere)

    def reading(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """Pass items on, the time of getting each added to a stage."""
        iterator = iter(items)
        while True:
            with self.timing(stage):
                item = next(iterator, self)
            if item is self:
                return
            yield item  # type: ignore[misc]

    def _spent(self, stage: str | None) -> float:
        return self.spent_ms[stage] if stage is not None else 0.0
