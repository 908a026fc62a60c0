"""A token budget for each batch: drawn from a list, kept by the processor, and told to the model by what it notes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


def draw_keep_ratio(
    ratios: Sequence[float], *, seed: int, epoch: int, sample_ids: Sequence[str]
) -> float | None:
    """Draw the budget of a batch: by what is in the batch, so that workers and resumed runs draw the same.

    Args:
        ratios: to draw from, in (0, 1].
        seed: of the run.
        epoch: how often the data was seen before; another epoch is another draw.
        sample_ids: of the batch.

    Returns:
        One of the ratios, None when there are none.
    """
    if not ratios:
        return None
    return random.Random(f"{seed} {epoch} {' '.join(map(str, sample_ids))}").choice(list(ratios))


@contextmanager
def processor_budget(processor: Any, keep_ratio: float | None) -> Iterator[None]:
    """Let an attached processor keep another share for the length of a block; None changes nothing."""
    reader = processor.video_processor
    config = getattr(reader, "config", None)
    if keep_ratio is None or config is None:
        yield
        return
    reader.override.config = config.at({"keep_ratio": keep_ratio})
    try:
        yield
    finally:
        reader.override.config = None
