"""How anti-spoofing is judged: a threshold from development data, the half total error on test data, by source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from framegate.errors import ConfigError
from framegate.types import BoolArray, Float64Array


def eer_threshold(scores: Sequence[float], is_genuine: Sequence[bool]) -> float:
    """Find the threshold at which as many attacks are accepted as genuine videos are refused.

    Args:
        scores: of videos, higher for genuine ones.
        is_genuine: which they are; both kinds are needed.

    Returns:
        The middle between two neighbouring scores where the two rates are nearest to each other, of several the one
        with the lower rates, then the lower one. A video is accepted where its score is above it.

    Raises:
        ConfigError: one kind alone, numbers that do not fit, or a score that is none.
    """
    found, genuine = _checked(scores, is_genuine, "development data")
    values = np.unique(found)
    edges = np.concatenate([values[:1] - 1, (values[1:] + values[:-1]) / 2, values[-1:]])
    accepted, refused = error_rates(found, genuine, edges)
    best = np.lexsort((edges, accepted + refused, np.abs(accepted - refused)))[0]
    return float(edges[best])


def half_total_error(scores: Sequence[float], is_genuine: Sequence[bool], threshold: float) -> float:
    """Measure the half total error rate (HTER): the mean of attacks accepted and genuine videos refused.

    Args:
        scores: of test videos, higher for genuine ones.
        is_genuine: which they are; both kinds are needed.
        threshold: of `eer_threshold`, on other videos.

    Returns:
        Per cent, 0 to 100.

    Raises:
        ConfigError: as for `eer_threshold`.
    """
    found, genuine = _checked(scores, is_genuine, "test data")
    accepted, refused = error_rates(found, genuine, np.array([threshold]))
    return float(100 * (accepted[0] + refused[0]) / 2)


def error_rates(
    scores: Float64Array, is_genuine: BoolArray, thresholds: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Share of attacks accepted and of genuine videos refused at each threshold."""
    accepted = scores[:, None] > thresholds  # [N, thresholds]
    return accepted[~is_genuine].mean(0), (~accepted[is_genuine]).mean(0)


def leave_one_source_out(sources: Sequence[str]) -> Iterator[tuple[str, BoolArray]]:
    """Go through the sources of videos, each left out once.

    Args:
        sources: where each video comes from, a camera or a data set; at least two different ones.

    Returns:
        Name of each source, in order of name, and which videos are of it, bool [N].

    Raises:
        ConfigError: fewer than two sources.
    """
    names = sorted(set(sources))
    if len(names) < 2:
        raise ConfigError(f"All videos are of {names}; leaving one source out needs at least two.")
    return ((name, np.array([source == name for source in sources])) for name in names)


def _checked(
    scores: Sequence[float], is_genuine: Sequence[bool], what: str
) -> tuple[Float64Array, BoolArray]:
    found, genuine = np.asarray(scores, np.float64), np.asarray(is_genuine, bool)
    if found.ndim != 1 or found.shape != genuine.shape or not np.isfinite(found).all():
        raise ConfigError(
            f"Scores are {found.shape} and kinds {genuine.shape}; give one finite score a video."
        )
    check_both_kinds(genuine, what)
    return found, genuine


def check_both_kinds(is_genuine: BoolArray, what: str) -> None:
    """Raise ConfigError where videos are of one kind alone: no threshold can be found, no rate measured."""
    count = int(np.sum(is_genuine))
    if count in (0, len(is_genuine)):
        kind = "genuine videos" if count else "attacks"
        raise ConfigError(f"The {what} hold {len(is_genuine)} {kind} alone; both kinds are needed.")
