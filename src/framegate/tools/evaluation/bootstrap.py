"""Percentile intervals from videos drawn anew: answers about one video are not independent of each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# at 2000 the ends of an interval still move by a tenth of its width from seed to seed
RESAMPLES = 10_000
LEVEL = 0.95
Float64Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Estimate:
    """A value with its interval, None where there is none: fewer than two videos, or a ratio over nothing."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Resampling:
    """How often each video is drawn in each resample; one resampling serves all that is compared.

    Args:
        videos: per question the video it is about.
        seed: of the draws.
        resamples: number of them.
    """

    def __init__(self, videos: Sequence[str], *, seed: int, resamples: int = RESAMPLES) -> None:
        names, self.clusters = np.unique(np.array(videos), return_inverse=True)
        self.num_videos = len(names)
        share = np.full(self.num_videos, 1 / self.num_videos)
        self.draws = np.random.default_rng(seed).multinomial(self.num_videos, share, size=resamples)  # [R, V]

    def mean(self, values: Sequence[float | None]) -> Estimate:
        """Estimate the mean over questions.

        Args:
            values: per question; None is left out of the mean.

        Returns:
            Mean and interval; of the resamples those that hold a value.
        """
        total, count = self._per_video(values)
        if not count.sum():
            return Estimate(None)
        sums, counts = self.draws @ total, self.draws @ count
        return self._estimate(float(total.sum() / count.sum()), sums[counts > 0] / counts[counts > 0], count)

    def difference(self, values: Sequence[float | None], base: Sequence[float | None]) -> Estimate:
        """Estimate the mean of value minus base over the questions that have both."""
        pairs = zip(values, base, strict=True)
        return self.mean([None if one is None or other is None else one - other for one, other in pairs])

    def ratio(self, values: Sequence[float | None], base: Sequence[float | None]) -> Estimate:
        """Estimate the mean of values over the mean of base, both of the same drawn videos."""
        both = [one is not None and other is not None for one, other in zip(values, base, strict=True)]
        top, count = self._per_video([one if has else None for one, has in zip(values, both, strict=True)])
        bottom, _ = self._per_video([one if has else None for one, has in zip(base, both, strict=True)])
        if not bottom.sum():
            return Estimate(None)
        sums, bases = self.draws @ top, self.draws @ bottom
        # a resample whose base is nothing has no ratio: then neither has the interval an honest end
        ratios = sums / bases if bases.all() else np.empty(0)
        return self._estimate(float(top.sum() / bottom.sum()), ratios, count)

    def _per_video(self, values: Sequence[float | None]) -> tuple[Float64Array, Float64Array]:
        """Sum and number of values per video, float64 [V] each."""
        given = np.array([value is not None for value in values], np.float64)
        numbers = np.array([value or 0.0 for value in values], np.float64)
        sums, counts = (np.bincount(self.clusters, column, self.num_videos) for column in (numbers, given))
        return sums.astype(np.float64), counts.astype(np.float64)

    def _estimate(self, value: float, drawn: Float64Array, count: Float64Array) -> Estimate:
        if np.count_nonzero(count) < 2 or not len(drawn):
            return Estimate(value)
        tail = 100 * (1 - LEVEL) / 2
        low, high = np.percentile(drawn, [tail, 100 - tail])
        return Estimate(value, float(low), float(high))
