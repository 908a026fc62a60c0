"""A token budget for each batch: drawn from a list, followed by processor and model alike."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch.utils.hooks import RemovableHandle

from framegate.models.attachment import FrontEnd
from framegate.models.attachment.served import served_config

KEEP_RATIO_KEY = "framegate_keep_ratio"


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

    Source: ours.
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
    reader.config = replace(config, budget=replace(config.budget, keep_ratio=keep_ratio))
    try:
        yield
    finally:
        reader.config = config


def follow_keep_ratio(front_end: FrontEnd) -> RemovableHandle:
    """Let the model side serve each batch with the budget that the collator drew for it.

    Args:
        front_end: attached; its saved configuration stays as it is.

    Returns:
        Handle of the hook: `.remove()` ends it.

    Source: ours.
    """

    def serve(module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        ratio, config = kwargs.get(KEEP_RATIO_KEY), front_end.config
        config = config if ratio is None else replace(config, keep_ratio=ratio)
        front_end.served = served_config(config, front_end.family)
        return args, {name: value for name, value in kwargs.items() if name != KEEP_RATIO_KEY}

    # before the front end's own hook, which compresses
    handle: RemovableHandle = front_end.model.register_forward_pre_hook(serve, with_kwargs=True, prepend=True)
    return handle
