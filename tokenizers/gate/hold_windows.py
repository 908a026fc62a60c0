"""The best moments to encode each cell at given prices: dynamic programming over windows of a clip.

All cells pass a window before any sees the next, so that a clip is read from its beginning to its end and nothing but a
few anchors of each cell is carried along. What each step decided is read once more, backwards: a byte per cell, tube
and price, in a file where that is much.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from framegate.tokenizers.gate.blas_threads import one_blas_thread
from framegate.tokenizers.gate.config import ResidualPool
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.held_luma import LOOK_TUBES, HeldTubes, Tubes, release
from framegate.tokenizers.gate.residual import quartered
from framegate.types import BoolArray, Float32Array, Int32Array, UInt8Array

WINDOW_TUBES = 128
CARRIED_ANCHORS = 16
# what of a window is worked on at a time: cells of one band, fewer where they are large; cells of one product
CELLS_AT_ONCE, WINDOW_BYTES = 96, 8 << 20
PRODUCTS_AT_ONCE = 4
STEPS_BYTES = 8 << 20
# bands that are worked on side by side
MOST_THREADS = 4

Cells = npt.NDArray[np.intp]


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
        bits: which tubes are encoded, eight to a byte, uint8 [prices, cells, ceil(T / 8)].
        tubes: T.
        counts: encodings of each, int64 [prices, cells].
        error: squared error of each, float64 [prices, cells].
    """

    bits: UInt8Array
    tubes: int
    counts: npt.NDArray[np.int64]
    error: npt.NDArray[np.float64]

    def keep(self, level: npt.NDArray[np.int_] | int) -> BoolArray:
        """Tubes that each cell's plan at a price, int [cells] or one for all, encodes: bool [cells, T]."""
        chosen = self.bits[level, np.arange(self.bits.shape[1])]
        return np.unpackbits(chosen, axis=1, count=self.tubes).view(bool)


def solved(
    luma: UInt8Array, grid: CellGrid, cells: Cells, prices: Float32Array, *, rules: HoldRules
) -> Solutions:
    """Find the best plans of some cells, numbers [n] in reading order, at prices, float32 [P] rising.

    luma uint8 [T, k, h, w] is read once.
    """
    window = min(rules.window_tubes, len(luma))
    at_once = WINDOW_BYTES // (window * grid.tube_frames * grid.cell_px**2)
    count = -(-len(cells) // int(np.clip(at_once, 1, CELLS_AT_ONCE)))
    threads = min(os.cpu_count() or 1, MOST_THREADS) if count > 1 else 1
    parts = np.array_split(cells, min(-(-count // threads) * threads, len(cells)))
    bands = [_Holds(part, prices, rules) for part in parts]
    steps = _Steps(len(prices), len(cells))

    def passed(band: _Holds) -> Tubes:
        return band.passed(_pixels(luma, grid, band.cells, (start, end), rules), start)

    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(luma), window):
            end = min(start + window, len(luma))
            carried = np.concatenate([band.anchors for band in bands])
            chosen = list((pool.map if threads > 1 else map)(passed, bands))
            steps.append(start, carried, np.concatenate(chosen, axis=2))
    bits, counts = steps.traced()
    best = np.concatenate([band.best for band in bands], axis=1)
    error = best.astype(np.float64) - counts * prices[:, None].astype(np.float64)
    return Solutions(bits, len(luma), counts, error)


def _pixels(
    luma: UInt8Array, grid: CellGrid, cells: Cells, span: tuple[int, int], rules: HoldRules
) -> UInt8Array:
    """The pixels of some cells in the tubes of a window: uint8 [cells, 1 or 4 quarters, window, pixels]."""
    cell, (start, end) = grid.cell_px, span
    split = luma.reshape(len(luma), grid.tube_frames, grid.rows, cell, grid.columns, cell)
    row, column = np.divmod(cells, grid.columns)
    picked = np.empty((len(cells), end - start, grid.tube_frames, cell, cell), np.uint8)
    for first in range(start, end, LOOK_TUBES):
        some = slice(first, min(first + LOOK_TUBES, end))
        # [cells, T, k, c, c]: numpy moves separated indices to the front
        picked[:, some.start - start : some.stop - start] = split[some, :, row, :, column]
        release(luma)
    if rules.residual_pool == "mean":
        return picked.reshape(len(cells), 1, end - start, -1)
    half = quartered(grid).cell_px
    quarters = picked.reshape(len(cells), end - start, grid.tube_frames, 2, half, 2, half)
    return quarters.transpose(0, 3, 5, 1, 2, 4, 6).reshape(len(cells), 4, end - start, -1)


class _Holds:
    """A band of cells on its way through the windows, all prices at once.

    `best[p, c]` is the cost of everything before the current tube; `cost[p, c, a]` the cost so far when the
    cell now shows what anchor a encoded.
    """

    def __init__(self, cells: Cells, prices: Float32Array, rules: HoldRules) -> None:
        self.cells, self._prices, self._rules = cells, prices[:, None], rules
        self.anchors: Int32Array = np.zeros((len(cells), 0), np.int32)
        self.best = np.zeros((len(prices), len(cells)), np.float32)
        self._cost = np.zeros((len(prices), len(cells), 0), np.float32)
        self._shown: UInt8Array | None = None

    def passed(self, pixels: UInt8Array, start: int) -> Tubes:
        """Let the tubes of a window, uint8 [cells, parts, window, pixels], compete with the anchors carried into it.

        The place of each tube's best anchor among those carried and the window's own, [window, prices, cells].
        """
        (cells, _, window, _), carried = pixels.shape, self.anchors.shape[1]
        shown = pixels if self._shown is None else np.concatenate([self._shown, pixels], axis=2)
        inside = np.broadcast_to(np.arange(start, start + window, dtype=np.int32), (cells, window))
        anchors = np.concatenate([self.anchors, inside], axis=1)
        distance = _distances(shown, window)
        # what is still to come costs infinitely much: whole rows are faster than parts of them
        cost = np.full((*self.best.shape, carried + window), np.inf, np.float32)
        cost[:, :, :carried] = self._cost
        rows, every = cost.reshape(-1, carried + window), np.arange(self.best.size)
        chosen = np.empty((window, *self.best.shape), np.min_scalar_type(carried + window - 1))
        for place in range(window):
            self._expire(start + place, cost[:, :, : carried + place], anchors[:, : carried + place])
            cost[:, :, carried + place] = self.best + self._prices
            cost += distance[place]
            winner = cost.argmin(axis=2)
            self.best = rows[every, winner.reshape(-1)].reshape(winner.shape)
            chosen[place] = winner
        self._carry(cost, anchors, shown)
        return chosen

    def _expire(self, tube: int, cost: Float32Array, anchors: Int32Array) -> None:
        """Give up the anchors that a tube may not show any more."""
        rules = self._rules
        if rules.forced[tube]:
            cost[:] = np.inf
        elif rules.max_age_tubes is not None:
            cost[:, anchors <= tube - rules.max_age_tubes] = np.inf

    def _carry(self, cost: Float32Array, anchors: Int32Array, shown: UInt8Array) -> None:
        """Keep the anchors with the least regret at any price for the next window."""
        count = min(CARRIED_ANCHORS, anchors.shape[1])
        regret = (cost - self.best[:, :, None]).min(axis=0)  # [cells, anchors]
        nearest = np.sort(np.argsort(regret, axis=1, kind="stable")[:, :count], axis=1)
        self.anchors = np.take_along_axis(anchors, nearest, axis=1)
        self._cost = np.take_along_axis(cost, nearest[None], axis=2)
        # numpy moves separated indices to the front: [cells, carried, parts, pixels]
        self._shown = shown[np.arange(len(shown))[:, None], :, nearest].transpose(0, 2, 1, 3)


def _distances(shown: UInt8Array, window: int) -> Float32Array:
    """Squared distance of each tube of a window to all anchors, the farthest part of a cell counting for all of it.

    uint8 [cells, parts, anchors, pixels], the window's own tubes the last anchors -> float32 [window, cells, anchors].
    """
    cells, parts, anchors, pixels = shown.shape
    distance = np.empty((window, cells, anchors), np.float32)
    for first in range(0, cells, PRODUCTS_AT_ONCE):
        some = slice(first, first + PRODUCTS_AT_ONCE)
        found = _products(shown[some].reshape(-1, anchors, pixels).astype(np.float32), window)
        if parts > 1:
            found = (parts * found).reshape(-1, parts, window, anchors).max(axis=1)
        np.maximum(found.transpose(1, 0, 2), 0, out=distance[:, some])
    return distance


def _products(there: Float32Array, window: int) -> Float32Array:
    """Squared distances of the last `window` rows of pixels [cells, anchors, p] to all: [cells, window, anchors].

    `there` is centred in place: what all rows share need not be multiplied.
    """
    there -= there.mean(axis=1, keepdims=True)
    # A matrix times its own transpose: numpy takes the symmetric product, half the work of the window's rows alone.
    product: Float32Array = there @ there.transpose(0, 2, 1)
    norms = product.diagonal(axis1=1, axis2=2).copy()
    distance = product[:, -window:]
    distance *= -2.0
    distance += norms[:, None]
    distance += norms[:, -window:, None]
    return distance


class _Steps:
    """What was decided, step by step, and the way back from the last tube to the first."""

    def __init__(self, prices: int, cells: int) -> None:
        self._shape, self._tubes = (prices, cells), 0
        self._windows: list[tuple[int, Int32Array]] = []
        self._chosen = HeldTubes(STEPS_BYTES)

    def append(self, start: int, carried: Int32Array, chosen: Tubes) -> None:
        """Note a window's decisions [window, prices, cells] and the anchors carried into it, int32 [cells, carried]."""
        self._windows.append((start, carried))
        self._tubes += len(chosen)
        for step in chosen:
            self._chosen.append(step)

    def traced(self) -> tuple[UInt8Array, npt.NDArray[np.int64]]:
        """Follow every plan back: bits and counts, as in Solutions."""
        chosen = self._chosen.array()
        bits = np.zeros((*self._shape, -(-self._tubes // 8)), np.uint8)
        counts, tube = np.zeros(self._shape, np.int64), np.full(self._shape, self._tubes - 1)
        for start, carried in reversed(self._windows):
            while (here := tube >= start).any():
                price, cell = np.nonzero(here)
                place = chosen[tube[here], price, cell].astype(np.intp) - carried.shape[1]
                anchor = start + place
                old = place < 0
                anchor[old] = carried[cell[old], place[old]]
                bits[price, cell, anchor >> 3] |= (128 >> (anchor & 7)).astype(np.uint8)
                counts[here] += 1
                tube[here] = anchor - 1
            release(chosen)
        return bits, counts
