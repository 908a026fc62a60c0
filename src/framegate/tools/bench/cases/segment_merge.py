"""segment_merge: tokens of a language model's width, four to a segment, forward and backward."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from framegate.kernels.segment_merge import segment_merge
from framegate.tools.bench.case import Case, Setting, Work

TOKENS = {"cuda": (1536, 6144, 24576), "cpu": (1536, 6144), "quick": (64,)}
WIDTH = {"cuda": 3584, "cpu": 3584, "quick": 48}
TOKENS_PER_SEGMENT = 4


def cases(setting: Setting) -> Iterator[Case]:
    """Make the cases of segment_merge."""
    for tokens in setting.choose(TOKENS):
        yield _case(setting, tokens)


def _case(setting: Setting, tokens: int) -> Case:
    width, segments = WIDTH[setting.size], tokens // TOKENS_PER_SEGMENT
    generator = setting.generator(1)
    # one row in every segment, the others anywhere, in no order
    drawn = torch.randint(segments, (tokens - segments,), generator=generator)
    segment = torch.cat([torch.arange(segments), drawn])[torch.randperm(tokens, generator=generator)]
    segment = segment.to(setting.device)
    size = torch.randint(1, 5, (tokens,), generator=generator).to(setting.device)
    features = setting.features(tokens, width).requires_grad_()
    rows = width * features.element_size()
    return Case(
        op="segment_merge",
        x_name="tokens",
        x=tokens,
        shape={"features": [tokens, width], "segments": segments},
        dtype=features.dtype,
        run=lambda backend: segment_merge(features, size, segment, segments, backend=backend),
        work={
            "forward": Work(num_bytes=(tokens + segments) * rows + (2 * tokens + segments) * 8),
            "backward": Work(num_bytes=(tokens + segments) * rows + 2 * tokens * 8),
        },
        leaves=(features,),
    )
