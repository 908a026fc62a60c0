"""The best moments and sides to encode a still camera's areas, under an exact budget of tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from framegate.tokenizers.gate.areas.holds import Patch, Window, area_sums, scale_of, spread
from framegate.tokenizers.gate.areas.tables import LevelSamples, histories
from framegate.tokenizers.gate.hold_search import LOWEST_PRICE, HoldRules, steps_within
from framegate.types import Float32Array, Int8Array

CELLS_AT_ONCE = 256
ROUGH_TUBES, ROUGH_PRICES, ROUGH_STEP = 32, 6, 8.0
WINDOW_TUBES, SWEEPS = 64, 3
# Rough prices miss by up to a factor of two either way.
PRICE_STEPS = (0.55, 0.85, 1.3, 2.0)
NEGLIGIBLE_PRICE = 1.0


@dataclass(frozen=True)
class Effort:
    """How much a search does.

    Args:
        tubes: longest window that is planned at once.
        sweeps: most sweeps over a window.
    """

    tubes: int
    sweeps: int


ROUGH, FINAL = Effort(ROUGH_TUBES, 0), Effort(WINDOW_TUBES, SWEEPS)


@dataclass(frozen=True)
class MixedSolutions:
    """Plans at several prices, cheapest first, and what they cost by block: areas of the largest side.

    Args:
        cover: side of the token that covers each cell, int8 [P, T, H, W]; 0 for skipped ones.
        tokens: int64 [P, rows of blocks, columns of blocks].
        error: squared error, float64, same shape.
    """

    cover: Int8Array
    tokens: npt.NDArray[np.int64]
    error: npt.NDArray[np.float64]

    @property
    def totals(self) -> npt.NDArray[np.int64]:
        """Tokens of each plan, int64 [P]."""
        return self.tokens.sum(axis=(1, 2))


@dataclass(frozen=True)
class RoughMix:
    """What a still camera's best mix will about cost.

    Args:
        price: of a token, in squared grey levels.
        error: squared error of all that is shown.
    """

    price: float
    error: float


def rough_mix(
    samples: LevelSamples, scales: tuple[int, ...], budget_tokens: int, rules: HoldRules
) -> RoughMix:
    """Estimate the price at which a budget is used up, from short windows and first plans.

    Args:
        samples: the clip's.
        scales: sides that tokens may have, rising from 1.
        budget_tokens: tokens that may be encoded; at least those that the rules force.
        rules: what is forced.

    Returns:
        Price and error; the best mix does a little better.
    """
    prices = _price_ladder(samples)
    plans = solved(samples.thinner(), scales, prices, rules, ROUGH)
    place = _crossing(plans.totals, budget_tokens)
    errors = np.maximum(plans.error.sum(axis=(1, 2)), 1.0)
    between = [float(np.exp(np.interp(place, np.arange(len(prices)), np.log(of)))) for of in (prices, errors)]
    return RoughMix(*between)


def best_mix(
    samples: LevelSamples, scales: tuple[int, ...], budget_tokens: int, rules: HoldRules, price: float
) -> Int8Array:
    """Choose when and how coarsely to encode each area so that the whole clip's squared error is small.

    Args:
        samples: the clip's.
        scales: sides that tokens may have, rising from 1.
        budget_tokens: tokens that may be encoded; at least those that the rules force.
        rules: what is forced.
        price: a first guess, as rough_mix makes it.

    Returns:
        Sides at representative cells, int8 [T, H, W], of at most budget_tokens tokens and hardly fewer.

    Source: Lagrange multipliers after Shoham and Gersho (1988), quadtrees after Sullivan and Baker (1994).
    """
    solutions = _bracketed(samples, scales, price, budget_tokens, rules)
    tokens = solutions.tokens.reshape(len(solutions.tokens), -1)
    error = solutions.error.reshape(tokens.shape)
    chosen = steps_within(tokens, error, budget_tokens).reshape(solutions.tokens.shape[1:])
    plan = spread(chosen, scales[-1])[: samples.rows, : samples.columns]
    cover = np.take_along_axis(solutions.cover, plan[None, None], axis=0)[0]
    return scale_of(cover, scales)


def _price_ladder(samples: LevelSamples) -> Float32Array:
    """Prices from below sensor noise to a block that flips for minutes."""
    frames = max(1, samples.pixels.shape[2] // samples.weight)
    return (LOWEST_PRICE * frames * ROUGH_STEP ** np.arange(ROUGH_PRICES)).astype(np.float32)


def _crossing(counts: npt.NDArray[np.int64], budget: int) -> float:
    """Interpolate, on a logarithmic scale, where counts that fall meet the budget: an index and part of a step."""
    fits = np.flatnonzero(counts <= budget)
    index = int(fits[0]) if len(fits) else len(counts) - 1
    if index == 0 or counts[index] > budget:
        return float(index)
    high, low = np.log(counts[index - 1]), np.log(max(counts[index], 1))
    return index - 1 + float((high - np.log(budget)) / max(high - low, 1e-9))


def _bracketed(
    samples: LevelSamples, scales: tuple[int, ...], price: float, budget: int, rules: HoldRules
) -> MixedSolutions:
    """Solve at prices around the estimate, moved until they bracket the budget."""
    prices = np.array(PRICE_STEPS, np.float32) * np.float32(price)
    solutions = solved(samples, scales, prices, rules, FINAL)
    while solutions.totals[0] < budget and prices[-1] > NEGLIGIBLE_PRICE:
        prices = prices * np.float32(PRICE_STEPS[0] / PRICE_STEPS[-1])
        solutions = solved(samples, scales, prices, rules, FINAL)
    while solutions.totals[-1] > budget:
        prices = prices * np.float32(PRICE_STEPS[-1] / PRICE_STEPS[0])
        solutions = solved(samples, scales, prices, rules, FINAL)
    return solutions


def solved(
    samples: LevelSamples, scales: tuple[int, ...], prices: Float32Array, rules: HoldRules, effort: Effort
) -> MixedSolutions:
    """Plan a clip at several prices, some rows of blocks at a time."""
    block = scales[-1]
    rows = block * max(1, CELLS_AT_ONCE // (block * samples.columns))
    bottom = -(-samples.rows // block) * block
    parts = [
        _solved_rows(samples, slice(top, min(top + rows, bottom)), scales, prices, rules, effort)
        for top in range(0, bottom, rows)
    ]
    cover = np.concatenate([part.cover for part in parts], axis=2)
    return MixedSolutions(
        cover[:, :, : samples.rows, : samples.columns],
        np.concatenate([part.tokens for part in parts], axis=1),
        np.concatenate([part.error for part in parts], axis=1),
    )


def _solved_rows(
    samples: LevelSamples,
    rows: slice,
    scales: tuple[int, ...],
    prices: Float32Array,
    rules: HoldRules,
    effort: Effort,
) -> MixedSolutions:
    """Plan some rows, window after window: each begins with what the one before shows at its end."""
    patch = Patch.of(samples.rows - rows.start, samples.columns, scales, rows.stop - rows.start)
    held, covers, errors = None, [], []
    for start in range(0, samples.tubes, effort.tubes):
        span = slice(start, min(start + effort.tubes, samples.tubes))
        here = replace(rules, forced=rules.forced[span])
        history = histories(samples, rows, span, scales[-1])
        window = Window(history, samples.weight, patch, prices, here, held)
        covers.append(window.solve(sweeps=effort.sweeps))
        errors.append(area_sums(window.error().astype(np.float64), scales[-1]))
        held = window.held()
    cover = np.concatenate(covers).swapaxes(0, 1)  # [P, T, H', W']
    return MixedSolutions(cover, patch.count(cover), np.sum(errors, axis=0))
