"""Token budgets of one video, as counts of cells."""

from __future__ import annotations

import math
from dataclasses import dataclass

from framegate.errors import BudgetError

_ROUNDING_GUARD = 1e-9


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a video may cost.

    Args:
        keep_ratio: share of all cells that is kept, exactly; None for no such budget.
        max_tokens: cap; it only ever lowers the count, and is met exactly where it does.
    """

    keep_ratio: float | None = None
    max_tokens: int | None = None

    def exact(self, dense_tokens: int) -> int | None:
        """Count the cells that keep_ratio asks for, capped.

        Args:
            dense_tokens: cells of the whole video.

        Returns:
            The exact count, rounded half up; None when there is no keep_ratio.

        Raises:
            BudgetError: keep_ratio is less than one token of this video.
        """
        if self.keep_ratio is None:
            return None
        tokens = math.floor(self.keep_ratio * dense_tokens + 0.5 + _ROUNDING_GUARD)
        if tokens < 1:
            raise BudgetError(
                f"keep_ratio {self.keep_ratio} of this video's {dense_tokens} tokens is less than one token; "
                f"use at least {1 / dense_tokens:.2g}."
            )
        return (
            min(tokens, dense_tokens)
            if self.max_tokens is None
            else min(tokens, dense_tokens, self.max_tokens)
        )

    def most(self, dense_tokens: int) -> int:
        """Say the most tokens that a video may cost: what keep_ratio asks for, else the cap, else all.

        Args:
            dense_tokens: cells of the whole video.

        Returns:
            The count, at most dense_tokens.

        Raises:
            BudgetError: keep_ratio is less than one token of this video.
        """
        exact = self.exact(dense_tokens)
        if exact is not None:
            return exact
        return dense_tokens if self.max_tokens is None else min(dense_tokens, self.max_tokens)

    def replaced_threshold(self, found: int) -> str:
        """Tell that the cap was met in place of a threshold that would have kept `found` cells."""
        return f"max_video_tokens {self.max_tokens} replaced the threshold, which would have kept {found}"
