"""Rules for which cells are encoded, in place of the motion gate's own; all of them rivals', there to be compared with.

A rule scores the cells of a tube, and a budget pays for those of the highest scores unless the rule has a way of its
own. Adding one is a function and its row of `_RULES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator

from framegate.errors import ConfigError, nearest
from framegate.types import BoolArray, Float32Array, Float64Array, UInt8Array

SMALLEST_NORM = 1e-6
_KEYFRAME_EVERY = 4
# 0.1, the released configuration's, in levels of 255; that its pixels are normalised by ImageNet's deviations, as is
# usual for VideoMAE, is assumed
RLT_THRESHOLD = 0.1 * 255 * (0.229 + 0.224 + 0.225) / 3


@dataclass(frozen=True, kw_only=True)
class CellRule:
    """A rule, and what the configuration must know of it.

    Args:
        score: how much the cells of a tube ask to be encoded: cells of the tube before and of this one, uint8
            [H, W, k, cell, cell, 3], and the configuration's random numbers -> [H, W].
        compares: cells are compared with the tube before, in colour, and all of the first tube are encoded; else the
            rule does not look at pixels at all.
        threshold: a cell is encoded when its score is above this and there is no budget; None where a budget (or, for a
            rule that compares, a threshold of one's own) is needed.
        keep: cells that a budget pays for, from scores [T, H, W] and tokens; None for those of the highest scores.
    """

    score: Callable[[UInt8Array, UInt8Array, Generator], Any]
    compares: bool
    threshold: float | None = None
    keep: Callable[[Any, int], BoolArray] | None = None


def cell_rule_names() -> list[str]:
    """List the rules, sorted."""
    return sorted(_RULES)


def cell_rule(name: str) -> CellRule:
    """Look a rule up; ConfigError for an unknown one, the message names the nearest."""
    if name not in _RULES:
        raise ConfigError(f"Unknown cell rule {name!r}. {nearest(str(name), _RULES)}")
    return _RULES[name]


def _random(before: UInt8Array, after: UInt8Array, rng: Generator) -> Float64Array:
    """What any rule has to beat: a score drawn for every cell; the first tube has no privilege."""
    return rng.random(after.shape[:2])


def _uniform_frames(before: UInt8Array, after: UInt8Array, rng: Generator) -> Float64Array:
    """All cells of a tube alike, as if the video had been sampled at a lower rate."""
    return np.zeros(after.shape[:2])


def _whole_tubes(scores: Float64Array, tokens: int) -> BoolArray:
    """Whole tubes, evenly spread from the first on; tokens that do not fill a tube are left unspent."""
    tubes, rows, columns = scores.shape
    count = min(tokens // (rows * columns), tubes)
    chosen = np.zeros(scores.shape, bool)
    chosen[np.arange(count) * tubes // max(count, 1)] = True
    return chosen


def _keyframes_and_quarters(scores: Float64Array, tokens: int) -> BoolArray:
    """Every fourth tube whole, and between them the same number of cells a tube, those that changed most.

    Source: after the tower cache of STC (arXiv 2512.00891), which encodes reference frames whole and a quarter of the
        tokens of the others, told by the likeness of keys inside the tower; on pixels before it: ours.
    """
    tubes, rows, columns = scores.shape
    area = rows * columns
    chosen = np.zeros((tubes, area), bool)
    whole = np.arange(0, tubes, _KEYFRAME_EVERY)[: tokens // area]
    chosen[whole] = True
    between = np.setdiff1d(np.arange(tubes), whole)
    left = tokens - len(whole) * area
    for number, tube in enumerate(between):
        # what does not divide evenly goes to the earlier tubes
        count = min(left // len(between) + (number < left % len(between)), area)
        chosen[tube, np.argsort(-scores[tube].reshape(area), kind="stable")[:count]] = True
    return chosen.reshape(scores.shape)


def _rlt(before: UInt8Array, after: UInt8Array, rng: Generator) -> Float64Array:
    """Compare the first frame of the tube before with the last frame of this one, in [0, 255].

    Source: RLT (arXiv 2411.05222), section on static patches; per cell (2 x 2 patches in Qwen-VL) instead of per patch,
        and without its run-length embedding, which needs training.
    """
    return _mean_difference(before[:, :, :1], after[:, :, -1:])


def _dtd(before: UInt8Array, after: UInt8Array, rng: Generator) -> Float64Array:
    """Compare a tube with the tube before, frame by frame, in [0, 255].

    Source: differential token drop of TimeChat-Online (arXiv 2504.17343), pixel-level redundancy (L1 of neighbouring
        patches), over whole tubes: its released code compares the first frame of a tube of two with the last of the
        next, as RLT does.
    """
    return _mean_difference(before, after)


def _evs(before: UInt8Array, after: UInt8Array, rng: Generator) -> Float32Array:
    """One minus the cosine of a cell's RGB values and those of the same cell in the tube before, in [0, 1].

    Source: EVS, efficient video sampling (arXiv 2510.14624), with the measure of its implementation in vLLM, on pixels
        so that the tower is spared. The paper takes the L1 norm of pixels, which ranks cells as "dtd" does; vLLM takes
        the cosine of embeddings after the tower.
    """
    rows = [cells.reshape(*cells.shape[:2], -1).astype(np.float32) for cells in (before, after)]
    lengths = [np.linalg.norm(cells, axis=-1) for cells in rows]
    cosine = np.einsum("hwd,hwd->hw", *rows) / np.maximum(lengths[0] * lengths[1], SMALLEST_NORM)
    # black has no direction: it is as far as can be from all but black, and black that stays has not changed
    different: Float32Array = np.where(lengths[0] + lengths[1] > 0, 1 - cosine, np.float32(0))
    return different


def _mean_difference(before: UInt8Array, after: UInt8Array) -> Float64Array:
    """Average the absolute differences of all values of each cell: uint8 [H, W, ...] twice -> [H, W] in [0, 255]."""
    # not above: configurations ask for names alone
    import cv2

    rows, columns = after.shape[:2]
    flat = [np.ascontiguousarray(cells).reshape(rows, -1) for cells in (before, after)]
    difference: Float64Array = cv2.absdiff(*flat).reshape(rows, columns, -1).mean(-1)
    return difference


_RULES = {
    "random": CellRule(score=_random, compares=False),
    "uniform_frames": CellRule(score=_uniform_frames, compares=False, keep=_whole_tubes),
    "rlt": CellRule(score=_rlt, compares=True, threshold=RLT_THRESHOLD),
    "dtd": CellRule(score=_dtd, compares=True, threshold=RLT_THRESHOLD),
    "evs": CellRule(score=_evs, compares=True),
    "stc": CellRule(score=_dtd, compares=True, keep=_keyframes_and_quarters),
}
