"""The best moments to encode each cell of a still camera, under an exact budget.

Between two encodings a cell shows the first of them, so a plan for one cell is a list of moments and its cost
the squared error of what is held. For a price per encoding, dynamic programming finds the best list of every
cell; the price at which the counts add up to the budget gives the best plan of all cells together (Lagrange).
A threshold on the residual cannot reach this: it encodes passers-by the moment they enter and again when they
have left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.hold_windows import HoldRules, Solutions, solved
from framegate.types import BoolArray, Float32Array, UInt8Array

SAMPLED_CELLS = 24
SAMPLE_PRICES = 16
SAMPLE_PRICE_STEP = 2.5
LOWEST_PRICE = 64.0
PRICE_STEPS = (0.5, 0.7, 1.0, 1.4, 2.0)
FARTHER = 4.0
NEGLIGIBLE_PRICE = 16.0


def best_holds(luma: UInt8Array, grid: CellGrid, budget_cells: int, rules: HoldRules) -> BoolArray:
    """Choose when to encode each cell so that the whole clip's squared error is small.

    Args:
        luma: uint8 [T, k, h, w].
        grid: geometry of these frames.
        budget_cells: cells that may be encoded; at least those that the rules force.
        rules: what is forced.

    Returns:
        bool [T, H, W]; at most budget_cells are True, and hardly fewer.

    Source: shortest path over keep times (as in optimal segmentation), Lagrange multipliers after Shoham and Gersho
    (1988). Exact up to a window's tubes; beyond, each cell's 16 best anchors are carried on.
    """
    sample = np.unique(np.linspace(0, grid.num_cells - 1, SAMPLED_CELLS).round().astype(int))
    share = budget_cells / grid.num_cells * len(sample)
    rough = solved(luma, grid, sample, _price_range(luma), rules=rules)
    index, price = _price_near(rough, share, _price_range(luma))
    rules = _with_cuts(rules, rough.keep(index), budget_cells // grid.num_cells)
    # the sample does not spend its share at any price
    is_still = index == 0 and bool(
        solved(luma, grid, sample, _rounds(price)[-1], rules=rules).counts[0].sum() < share
    )
    solve = partial(solved, luma, grid, np.arange(grid.num_cells), rules=rules)
    solutions = _bracketed(solve, price, budget_cells, is_still=is_still)
    keep = _mixed(solutions, budget_cells)  # [cells, T]
    return np.ascontiguousarray(keep.T).reshape(len(luma), grid.rows, grid.columns)


def _price_range(luma: UInt8Array) -> Float32Array:
    """Prices of one encoding in squared grey levels: from below sensor noise to a cell that flips for minutes."""
    return (LOWEST_PRICE * luma.shape[1] * SAMPLE_PRICE_STEP ** np.arange(SAMPLE_PRICES)).astype(np.float32)


def _price_near(rough: Solutions, share: float, prices: Float32Array) -> tuple[int, float]:
    """Interpolate, on logarithmic scales, the price at which the sampled cells meet their share of the budget."""
    counts = rough.counts.sum(axis=1)  # falls with the price
    index = int(np.argmax(counts <= share)) if (counts <= share).any() else len(counts) - 1
    if index == 0 or counts[index] > share:
        return index, float(prices[index])
    high, low = np.log(counts[index - 1]), np.log(counts[index])
    part = (high - np.log(share)) / max(high - low, 1e-9)
    return index, float(prices[index - 1] * (prices[index] / prices[index - 1]) ** part)


def _with_cuts(rules: HoldRules, keep: BoolArray, affordable_tubes: int) -> HoldRules:
    """Force the tubes of which the sampled cells nearly all want encoding, as long as the budget has room."""
    wanted = keep.mean(axis=0)  # [T]
    forced = rules.forced.copy()
    cuts = np.flatnonzero((wanted > rules.keyframe_fraction) & ~forced)
    forced[cuts[: max(0, affordable_tubes - _whole_tubes(rules))]] = True
    return replace(rules, forced=forced)


def _whole_tubes(rules: HoldRules) -> int:
    if rules.max_age_tubes is None:
        return int(rules.forced.sum())
    return int(rules.forced.sum()) + len(rules.forced) // rules.max_age_tubes


def _bracketed(
    solve: Callable[[Float32Array], Solutions], price: float, budget_cells: int, *, is_still: bool
) -> Solutions:
    """Solve all cells at prices around the estimate, moved until they bracket the budget or are negligible.

    What is still cannot spend the budget even at the last prices; as counts fall with the price, those before them need
    not be tried.
    """
    rounds = _rounds(price)
    if is_still:
        solutions = solve(rounds[-1])
        if solutions.counts[0].sum() < budget_cells:
            return solutions
    for prices in rounds:
        solutions = solve(prices)
        if solutions.counts[0].sum() >= budget_cells:
            break
    while solutions.counts[-1].sum() > budget_cells:
        prices = prices * np.float32(FARTHER)
        solutions = solve(prices)
    return solutions


def _rounds(price: float) -> list[Float32Array]:
    """Prices around an estimate, and lower ones until all are negligible."""
    rounds = [np.array(PRICE_STEPS, np.float32) * np.float32(price)]
    while rounds[-1][-1] > NEGLIGIBLE_PRICE:
        rounds.append(rounds[-1] / np.float32(FARTHER))
    return rounds


def _mixed(solutions: Solutions, budget_cells: int) -> BoolArray:
    """Give each cell one of its plans, bool [cells, T]: the dearest that fits for all, then the steps down that save
    most per encoding.
    """
    counts, error = solutions.counts, solutions.error
    fits = int(np.flatnonzero(counts.sum(axis=1) <= budget_cells)[0])
    level = np.full(counts.shape[1], fits)
    if fits:
        left = budget_cells - int(counts[fits].sum())
        extra, saved = counts[fits - 1] - counts[fits], error[fits] - error[fits - 1]
        for cell in np.argsort(-saved / np.maximum(extra, 1), kind="stable"):
            if 0 < extra[cell] <= left:
                level[cell] = fits - 1
                left -= int(extra[cell])
    return solutions.keep(level)
