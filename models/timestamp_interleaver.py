"""TimestampInterleaver: what tells a tube's time stands behind its tokens, as text or as embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from framegate.errors import FrameError
from framegate.models.video_tokens import VideoTokens, first_tubes, tokens_per_tube
from framegate.tokenizers.timestamps import TimestampsConfig, format_stamp, interleave


class Interleaved(NamedTuple):
    """One video with its stamps.

    Args:
        features: [M, D], tokens and stamps in the order in which they are read.
        is_video: bool [M], False at stamps.
    """

    features: Tensor
    is_video: Tensor


class TimestampInterleaver(nn.Module):
    """Writes the time of every tube that holds tokens behind them: DATE's timestamp tokens.

    Args:
        settings: how times are written.
        embed_text: text to embeddings [n, D], for example of a tokenizer and a model's input embeddings; needed for
            `forward` alone.
    """

    def __init__(
        self, settings: TimestampsConfig | None = None, embed_text: Callable[[str], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.settings = settings or TimestampsConfig()
        self._embed_text = embed_text

    def extra_repr(self) -> str:
        """Show an example in `print(model)`."""
        return self.stamp(12.3)

    def stamp(self, time_seconds: float) -> str:
        """Write one time, for example "<12.3s>"."""
        return format_stamp(time_seconds, stamp_format=self.settings.stamp_format)

    def text(self, tube_tokens: Sequence[int], times_seconds: Sequence[float], placeholder: str) -> str:
        """Write the text that stands for a video in a prompt.

        Args:
            tube_tokens: placeholders of each tube, each at least 0.
            times_seconds: time of each tube.
            placeholder: the family's video placeholder.

        Returns:
            Placeholders and stamps in turns.

        Raises:
            PlaceholderError: another number of times than of tubes.
            FrameError: a time that is not finite.
        """
        return interleave(tube_tokens, [self.stamp(time) for time in times_seconds], placeholder)

    def forward(self, tokens: VideoTokens, times_seconds: Sequence[Tensor]) -> list[Interleaved]:
        """Put the embeddings of stamps between the tokens of tubes, for a model that is fed embeddings.

        Args:
            tokens: of all videos.
            times_seconds: of each tube, [T] for each video.

        Returns:
            One sequence per video; tubes without tokens have no stamp.

        Raises:
            FrameError: not one time per tube, or no `embed_text` was given.
        """
        tubes = [shape[0] for shape in tokens.shapes]
        if self._embed_text is None or [len(times) for times in times_seconds] != tubes:
            raise FrameError(
                f"times_seconds has {[len(times) for times in times_seconds]} times for videos of {tubes} tubes, and "
                f"embed_text is {self._embed_text}; give one time per tube, and embed_text."
            )
        counts, starts = tokens_per_tube(tokens), first_tubes(tokens)
        parts = iter(tokens.features.split(counts.tolist()))
        found = []
        for number, times in enumerate(times_seconds):
            pieces: list[Tensor] = []
            marks: list[bool] = []
            for count, time in zip(
                counts[starts[number] : starts[number + 1]].tolist(), times.tolist(), strict=True
            ):
                part = next(parts)
                if not count:
                    continue
                stamp = self._embed_text(self.stamp(time)).to(part)
                pieces += [part, stamp]
                marks += [True] * count + [False] * len(stamp)
            features = torch.cat(pieces) if pieces else tokens.features[:0]
            found.append(Interleaved(features, torch.tensor(marks, dtype=torch.bool)))
        return found
