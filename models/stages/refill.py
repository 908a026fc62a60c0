"""Refill: every shown cell has a token again, its own features or those of its anchor, so that no tube has holes."""

from __future__ import annotations

from torch import nn

from framegate.models.stages.registry import StageCall
from framegate.models.video_tokens import VideoTokens


class Refill(nn.Module):
    """Gives skipped cells the features of the encoded cell that stands for them, at every layer.

    Skipping a cell in the tower saves its work; leaving it out of the prompt loses what a question at a later time asks
    for. So the two are told apart: this stage fills the grid, and `TokenSelect` chooses what is read.

    Args:
        settings: None, there are none.
        width: unused.
    """

    def __init__(self, settings: None = None, width: int = 0) -> None:
        super().__init__()

    def forward(self, tokens: VideoTokens, call: StageCall | None = None) -> VideoTokens:
        """Fill the grid: a token for every cell that was encoded or has an anchor before it."""
        call = call or StageCall()
        filled = tokens.refilled()
        missing = filled.num_cells - filled.num_tokens
        if missing:
            call.note(f"refill: {missing:,} cells were never shown, and have no token")
        again = int((filled.age > 0).sum())
        call.report.stage("refill").note = f"{again:,} tokens show their anchor again"
        return filled
