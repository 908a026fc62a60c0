"""The best moments to encode each cell of a still camera, under an exact budget.

Between two encodings a cell shows the first of them, so a plan for one cell is a list of moments and its cost
the squared error of what is held. For a price per encoding, dynamic programming finds the best list of every
cell; the price at which the counts add up to the budget gives the best plan of all cells together (Lagrange).
A threshold on the residual cannot reach this: it encodes passers-by the moment they enter and again when they
have left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from framegate.tokenizers.gate.config import ResidualPool
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.held_luma import LOOK_TUBES, release
from framegate.tokenizers.gate.residual import quartered
from framegate.types import BoolArray, Float32Array, Int32Array, UInt8Array

WINDOW_TUBES = 128
CARRIED_ANCHORS = 16
SAMPLED_CELLS = 24
CELLS_AT_ONCE, HISTORY_BYTES = 48, 24 << 20
SAMPLE_PRICES = 16
SAMPLE_PRICE_STEP = 2.5
LOWEST_PRICE = 64.0
PRICE_STEPS = (0.5, 0.7, 1.0, 1.4, 2.0)
FARTHER = 4.0
NEGLIGIBLE_PRICE = 16.0


@dataclass(frozen=True, kw_only=True)
class HoldRules:
    """What a plan must obey besides its price.

    Args:
        forced: tubes that are encoded whole, bool [T], the first among them.
        max_age_tubes: a cell is encoded again after this many tubes, None never.
        keyframe_fraction: a tube of which a larger share is encoded is encoded whole.
        residual_pool: "max" counts the quarter of a cell that differs most, for the whole of it.
        window_tubes: tubes that compete with each other at a time; a plan of so many is the best there is.
    """

    forced: BoolArray
    max_age_tubes: int | None
    keyframe_fraction: float
    residual_pool: ResidualPool = "mean"
    window_tubes: int = WINDOW_TUBES


@dataclass(frozen=True)
class Solutions:
    """Best plans of some cells at several prices, cheapest price first.

    Args:
        keep: bool [prices, cells, T].
        error: squared error of each, float64 [prices, cells].
    """

    keep: BoolArray
    error: npt.NDArray[np.float64]

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Encodings of each, int64 [prices, cells]."""
        return self.keep.sum(axis=2)


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
    tubes = len(luma)
    rough, share = _sampled(luma, grid, budget_cells, rules)
    index, price = _price_near(rough, share, _price_range(luma))
    rules = _with_cuts(rules, rough.keep[index], budget_cells // grid.num_cells)
    solutions = _bracketed(luma, grid, price, budget_cells, rules)
    keep = _mixed(solutions, budget_cells)  # [cells, T]
    return np.ascontiguousarray(keep.T).reshape(tubes, grid.rows, grid.columns)


def _sampled(
    luma: UInt8Array, grid: CellGrid, budget_cells: int, rules: HoldRules
) -> tuple[Solutions, float]:
    """A few cells' best plans at prices far apart, and their share of the budget."""
    sampled = np.unique(np.linspace(0, grid.num_cells - 1, SAMPLED_CELLS).round().astype(int))
    rough = _solve(luma, grid, sampled, _price_range(luma), rules)
    return rough, budget_cells / grid.num_cells * len(sampled)


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
    luma: UInt8Array, grid: CellGrid, price: float, budget_cells: int, rules: HoldRules
) -> Solutions:
    """Solve all cells at prices around the estimate, moved until they bracket the budget."""
    every = np.arange(grid.num_cells)
    prices = np.array(PRICE_STEPS, np.float32) * np.float32(price)
    solutions = _solve(luma, grid, every, prices, rules)
    while solutions.counts[0].sum() < budget_cells and prices[-1] > NEGLIGIBLE_PRICE:
        prices = prices / np.float32(FARTHER)
        solutions = _solve(luma, grid, every, prices, rules)
    while solutions.counts[-1].sum() > budget_cells:
        prices = prices * np.float32(FARTHER)
        solutions = _solve(luma, grid, every, prices, rules)
    return solutions


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
    return solutions.keep[level, np.arange(len(level))]


def _solve(
    luma: UInt8Array, grid: CellGrid, cells: npt.NDArray[np.int_], prices: Float32Array, rules: HoldRules
) -> Solutions:
    quarters = rules.residual_pool == "max"
    histories = _cell_histories(luma, grid, cells, quarters=quarters)
    parts = [_Holds(chunk, prices, rules).solve() for chunk in histories]
    return Solutions(
        np.concatenate([part.keep for part in parts], axis=1),
        np.concatenate([part.error for part in parts], axis=1),
    )


def _cell_histories(
    luma: UInt8Array, grid: CellGrid, cells: npt.NDArray[np.int_], *, quarters: bool
) -> Iterator[UInt8Array]:
    """The pixels of a few cells at a time through all tubes: uint8 [cells, 1 or 4 quarters, T, pixels]."""
    cell, tubes = grid.cell_px, len(luma)
    at_once = int(np.clip(HISTORY_BYTES // luma[:, :, :cell, :cell].size, 1, CELLS_AT_ONCE))
    split = luma.reshape(tubes, grid.tube_frames, grid.rows, cell, grid.columns, cell)
    for start in range(0, len(cells), at_once):
        row, column = np.divmod(cells[start : start + at_once], grid.columns)
        picked = np.empty((len(row), tubes, grid.tube_frames, cell, cell), np.uint8)
        for first in range(0, tubes, LOOK_TUBES):
            # [cells, T, k, c, c]: numpy moves separated indices to the front
            part = split[first : first + LOOK_TUBES, :, row, :, column]
            picked[:, first : first + LOOK_TUBES] = part
            release(luma)
        if quarters:
            half = quartered(grid).cell_px
            split_cells = picked.reshape(len(row), tubes, grid.tube_frames, 2, half, 2, half)
            yield split_cells.transpose(0, 3, 5, 1, 2, 4, 6).reshape(len(row), 4, tubes, -1)
        else:
            yield picked.reshape(len(row), 1, tubes, -1)


class _Holds:
    """Dynamic programming over the tubes of a few cells, all prices at once.

    `best[p, c]` is the cost of everything before the current tube; `cost[p, c, a]` the cost so far when the
    cell now shows what anchor a encoded.
    """

    def __init__(self, history: UInt8Array, prices: Float32Array, rules: HoldRules) -> None:
        self._history, self._prices, self._rules = history, prices[:, None], rules
        cells, _, self._tubes, _ = history.shape
        self._chosen: Int32Array = np.zeros((len(prices), cells, self._tubes), np.int32)
        self._best = np.zeros((len(prices), cells), np.float32)
        self._anchors: Int32Array = np.zeros((cells, 0), np.int32)
        self._cost = np.zeros((len(prices), cells, 0), np.float32)

    def solve(self) -> Solutions:
        for start in range(0, self._tubes, self._rules.window_tubes):
            self._window(start, min(start + self._rules.window_tubes, self._tubes))
        keep = self._traced()
        error = self._best.astype(np.float64) - keep.sum(axis=2) * self._prices.astype(np.float64)
        return Solutions(keep, error)

    def _window(self, start: int, end: int) -> None:
        """Let the tubes of a window compete with the anchors carried into it."""
        cells, carried = len(self._history), self._anchors.shape[1]
        inside = np.broadcast_to(np.arange(start, end, dtype=np.int32), (cells, end - start))
        anchors = np.concatenate([self._anchors, inside], axis=1)
        distance = self._distances(anchors, start, end)  # [window, cells, anchors]
        cost = np.concatenate(
            [self._cost, np.full((*self._best.shape, end - start), np.inf, np.float32)], axis=2
        )
        for tube in range(start, end):
            alive = carried + tube - start + 1
            self._step(tube, cost[:, :, :alive], anchors[:, :alive], distance[tube - start, :, :alive])
        self._carry(cost, anchors)

    def _step(self, tube: int, cost: Float32Array, anchors: Int32Array, distance: Float32Array) -> None:
        rules = self._rules
        if rules.forced[tube]:
            cost[:, :, :-1] = np.inf
        elif rules.max_age_tubes is not None:
            cost[:, anchors <= tube - rules.max_age_tubes] = np.inf
        cost[:, :, -1] = self._best + self._prices
        cost += distance
        winner = cost.argmin(axis=2)  # [prices, cells]
        cells = np.arange(winner.shape[1])
        self._best = cost[np.arange(len(winner))[:, None], cells, winner]
        self._chosen[:, :, tube] = anchors[cells, winner]

    def _distances(self, anchors: Int32Array, start: int, end: int) -> Float32Array:
        """Squared distance of each tube of the window to the anchors before it; quarters count for their cell."""
        cells, parts = self._history.shape[:2]
        distance = np.zeros((end - start, cells, anchors.shape[1]), np.float32)
        for cell, histories in enumerate(self._history):
            for pixels in histories:
                found = _products(pixels[anchors[cell]].astype(np.float32), end - start)
                np.maximum(distance[:, cell], found if parts == 1 else parts * found, out=distance[:, cell])
        return distance

    def _carry(self, cost: Float32Array, anchors: Int32Array) -> None:
        """Keep the anchors with the least regret at any price for the next window."""
        count = min(CARRIED_ANCHORS, anchors.shape[1])
        regret = (cost - self._best[:, :, None]).min(axis=0)  # [cells, anchors]
        nearest = np.sort(np.argsort(regret, axis=1, kind="stable")[:, :count], axis=1)
        self._anchors = np.take_along_axis(anchors, nearest, axis=1)
        self._cost = np.take_along_axis(cost, nearest[None], axis=2)

    def _traced(self) -> BoolArray:
        keep = np.zeros(self._chosen.shape, bool)
        price, cell = np.indices(keep.shape[:2])
        tube = np.full(keep.shape[:2], self._tubes - 1)
        while (open_ := tube >= 0).any():
            anchor = self._chosen[price[open_], cell[open_], tube[open_]]
            keep[price[open_], cell[open_], anchor] = True
            tube[open_] = anchor - 1
        return keep


def _products(there: Float32Array, window: int) -> Float32Array:
    """Squared distances of the last `window` rows of pixels [anchors, p] to the rows before: [window, anchors].

    `there` is centred in place: what all rows share need not be multiplied.
    """
    there -= there.mean(axis=0)
    # A matrix times its own transpose: numpy takes the symmetric product, half the work of the window's rows alone.
    product: Float32Array = there @ there.T
    norms = product.diagonal().copy()
    distance = product[-window:]
    distance *= -2.0
    distance += norms
    distance += norms[-window:, None]
    return distance
