"""When and how coarsely to encode each area of a still camera: a plan for some rows of cells at several prices.

A first plan comes from dynamic programming: an area is refreshed as a whole, each time with the cheapest mix of
sides, or falls into smaller areas, down to cells, that are refreshed on their own. Sweeps through time then take one
tube after the other and choose its cheapest mix of skipping, coarse and fine again, all other tubes being as they are;
no step makes error plus price larger.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from framegate.tokenizers.gate.areas.levels import Value, mark, representatives
from framegate.tokenizers.gate.areas.tables import carried_errors, hold_errors
from framegate.tokenizers.gate.hold_search import HoldRules
from framegate.types import BoolArray, Float32Array, Int8Array, Int64Array, UInt8Array

CARRIED = -1


@dataclass(frozen=True)
class Patch:
    """Cells of a few rows, filled up to whole areas of the largest side.

    Args:
        real: bool [H', W'], cells of the grid.
        scales: sides of the levels, rising from 1.
    """

    real: BoolArray
    scales: tuple[int, ...]

    @classmethod
    def of(cls, rows: int, columns: int, scales: tuple[int, ...], height: int | None = None) -> Patch:
        """Fill cells up to whole areas; `height` leaves out rows below it."""
        side = scales[-1]
        real = np.zeros((height or -(-rows // side) * side, -(-columns // side) * side), bool)
        real[:rows, :columns] = True
        return cls(real, scales)

    def count(self, cover: Int8Array) -> npt.NDArray[np.int64]:
        """Count the tokens of each block over all tubes: int8 [P, T, H', W'] -> int64 [P, rows_d, columns_d]."""
        block = self.scales[-1]
        tokens = area_sums(((cover == 1) & self.real).sum(axis=1), block)
        for side in self.scales[1:]:
            encoded = (cover[..., ::side, ::side] == side).sum(axis=1)
            tokens = tokens + area_sums(encoded, block // side)
        return tokens

    @cached_property
    def tokens(self) -> dict[int, Float32Array]:
        """What encoding each area costs, by side: 1, or 0 outside the grid, float32 [rows_d, columns_d]."""
        cells = self.real.astype(np.float32)
        return {side: (area_sums(cells, side) > 0).astype(np.float32) for side in self.scales}


def area_sums(values: npt.NDArray[Value], side: int, *, axis: int = -2) -> npt.NDArray[Value]:
    """Sum [..., H', W', ...] over whole areas of a side; `axis` is that of H'."""
    if side == 1:
        return values
    axis %= values.ndim
    lead, (rows, columns), rest = values.shape[:axis], values.shape[axis : axis + 2], values.shape[axis + 2 :]
    # Row by row, then column by column: numpy sums slowly over two short axes at once.
    tall = values.reshape(*lead, rows // side, side, columns, *rest).sum(axis=axis + 1)
    total: npt.NDArray[Value] = tall.reshape(*lead, rows // side, columns // side, side, *rest).sum(
        axis=axis + 2
    )
    return total


def spread(areas: npt.NDArray[Value], side: int) -> npt.NDArray[Value]:
    """Repeat areas [..., rows_d, columns_d] over their cells [..., H', W']."""
    return areas if side == 1 else areas.repeat(side, axis=-2).repeat(side, axis=-1)


def cheapest(
    skip: Float32Array,
    costs: Float32Array,
    price: Float32Array,
    patch: Patch,
    largest: Int8Array | None = None,
) -> Int8Array:
    """Choose between skipping, fine and coarse tokens, area by area from the smallest up.

    Args:
        skip: error of skipping each cell, float32 [P, H', W'].
        costs: error of encoding it at each level, float32 [L, P, H', W'].
        price: of a token, float32 [P, 1, 1].
        patch: geometry.
        largest: largest side allowed at each cell, int8 [P, H', W']; None for any.

    Returns:
        Side of the token that covers each cell, int8 [P, H', W'], 0 for skipped ones. Ties go to the finer.
    """
    fine = costs[0] + price * patch.tokens[1]
    best = np.minimum(skip, fine)
    cover, last = (fine < skip).astype(np.int8), 1
    for level, side in enumerate(patch.scales[1:], start=1):
        split = area_sums(best, side // last)
        whole = area_sums(costs[level], side) + price * patch.tokens[side]
        taken = whole < split
        if largest is not None:
            taken &= largest[..., ::side, ::side] >= side
        best, last = np.where(taken, whole, split), side
        np.copyto(cover, np.int8(side), where=spread(taken, side))
    return cover


def scale_of(cover: Int8Array, scales: tuple[int, ...]) -> Int8Array:
    """Note the sides that cover each cell [..., H, W] at the representative cells only."""
    scale = (cover == 1).astype(np.int8)
    for side in scales[1:]:
        row, column = representatives(cover.shape[-2], cover.shape[-1], side)
        mark(scale, cover[..., row, column] == side, side)
    return scale


@dataclass(frozen=True)
class Held:
    """What a patch shows at the end of a window, per price.

    Args:
        pixels: uint8 [P, C, pixels].
        age: tubes since it was encoded, int64 [P, C].
    """

    pixels: UInt8Array
    age: Int64Array


class Window:
    """Plans for one patch over one window of tubes, all prices at once.

    Args:
        history: uint8 [L, C, T, pixels].
        weight: what each squared difference counts.
        patch: geometry of the C cells.
        price: of a token, float32 [P].
        rules: what is forced; `forced` for these tubes, bool [T].
        held: what is shown before, None at the start of a clip.
    """

    def __init__(
        self,
        history: UInt8Array,
        weight: int,
        patch: Patch,
        price: Float32Array,
        rules: HoldRules,
        held: Held | None,
    ) -> None:
        self._history, self._patch, self._rules, self._held = history, patch, rules, held
        self._price = price
        self._levels, self._cells, self._tubes, _ = history.shape
        self._shape = (len(price), *patch.real.shape)  # [P, H', W']
        self._errors = hold_errors(history, weight)  # [T + 1, L, C, T]
        self._carried = carried_errors(held.pixels, history, weight) if held is not None else None
        self._cover: Int8Array = np.zeros((self._tubes, *self._shape), np.int8)
        self._cell = np.broadcast_to(np.arange(self._cells).reshape(patch.real.shape), self._shape)

    def solve(self, *, sweeps: int) -> Int8Array:
        """Plan: side of the token that covers each cell, int8 [T, P, H', W'], 0 for skipped ones."""
        _FirstPlan(self._errors, self._carried, self._patch, self._price, self._rules, self._ages()).draw(
            self._cover
        )
        for _ in range(sweeps):
            if not self._sweep():
                break
        return self._cover

    def _ages(self) -> Int64Array:
        if self._held is None:
            return np.zeros(self._shape, np.int64)
        return self._held.age.reshape(self._shape)

    def _next_refresh(self) -> Int64Array:
        """For each tube the next one after it that refreshes the cell, T for none: int64 [T + 1, P, H', W']."""
        following = np.full((self._tubes + 1, *self._shape), self._tubes, np.int64)
        for tube in range(self._tubes - 1, 0, -1):
            following[tube - 1] = np.where(self._cover[tube] > 0, tube, following[tube])
        return following

    def _error_of(self, end: Int64Array, level: npt.ArrayLike, start: npt.ArrayLike) -> Float32Array:
        flat = ((end * self._levels + level) * self._cells + self._cell) * self._tubes + start
        return self._errors.take(flat)

    def _carried_error(self, end: Int64Array) -> Float32Array:
        assert self._carried is not None
        size = self._shape[0] * self._cells
        return self._carried.take(end * size + np.arange(size).reshape(self._shape))

    def _sweep(self) -> bool:
        """Choose every tube's cheapest mix once, in order; True when anything changed."""
        following, changed = self._next_refresh(), False
        start = np.full(self._shape, CARRIED, np.int64)
        level = np.zeros(self._shape, np.int64)
        price = self._price[:, None, None]
        index_of = np.zeros(max(self._patch.scales) + 1, np.int64)
        index_of[list(self._patch.scales)] = np.arange(self._levels)
        for tube in range(self._tubes):
            end = following[tube]
            skip = self._skip_error(tube, end, level, start)
            costs = np.stack([self._error_of(end, each, tube) for each in range(self._levels)])
            cover = cheapest(skip, costs, price, self._patch)
            changed |= bool((cover != self._cover[tube]).any())
            self._cover[tube] = cover
            refreshed = cover > 0
            np.copyto(start, tube, where=refreshed)
            np.copyto(level, index_of[cover], where=refreshed)
        return changed

    def _skip_error(self, tube: int, end: Int64Array, level: Int64Array, start: Int64Array) -> Float32Array:
        """Error of showing what is held until the next refresh; infinite where skipping is not allowed."""
        here = np.full(self._shape, tube, np.int64)
        held = self._error_of(end, level, start) - self._error_of(here, level, start)
        carried = start == CARRIED
        if self._carried is not None and carried.any():
            before = self._carried_error(end) - self._carried_error(here)
            held = np.where(carried, before, held)
        if self._rules.forced[tube]:
            held = np.full(self._shape, np.inf, np.float32)
        if self._rules.max_age_tubes is not None:
            age = np.where(carried, self._ages() + end, end - start)
            held = np.where(age > self._rules.max_age_tubes, np.float32(np.inf), held)
        return np.where(self._patch.real, held, np.float32(0))

    def error(self) -> Float32Array:
        """Squared error of the plan, cell by cell: float32 [P, H', W']."""
        following = self._next_refresh()
        total = np.zeros(self._shape, np.float32)
        refreshed = np.zeros(self._shape, bool)
        for tube in range(self._tubes):
            now = self._cover[tube] > 0
            if self._carried is not None:
                first = now & ~refreshed
                total[first] += self._carried_error(np.full(self._shape, tube, np.int64))[first]
            level = np.searchsorted(self._patch.scales, np.maximum(self._cover[tube], 1))
            total += np.where(now, self._error_of(following[tube], level, tube), np.float32(0))
            refreshed |= now
        if self._carried is not None:
            total[~refreshed] += self._carried[-1].reshape(self._shape)[~refreshed]
        return total

    def held(self) -> Held:
        """What is shown at the end."""
        refreshed = self._cover > 0
        last = self._tubes - 1 - refreshed[::-1].argmax(axis=0)  # [P, H', W']
        seen = refreshed.any(axis=0).reshape(len(self._price), -1)
        cover = np.take_along_axis(self._cover, last[None], axis=0)[0]
        level = np.searchsorted(self._patch.scales, np.maximum(cover, 1))
        pixels = self._history[level, self._cell, last].reshape(*seen.shape, -1)
        age = (self._tubes - last).reshape(seen.shape)
        if self._held is not None:
            pixels = np.where(seen[..., None], pixels, self._held.pixels)
            age = np.where(seen, age, self._held.age + self._tubes)
        return Held(pixels, age)


class _FirstPlan:
    """Dynamic programming over the moments at which areas are refreshed as a whole.

    `best[side]` [T + 1, P, rows_d, columns_d] is the cost of all tubes before the index, `chosen` the moment of the
    last refresh.
    """

    def __init__(
        self,
        errors: Float32Array,
        carried: Float32Array | None,
        patch: Patch,
        price: Float32Array,
        rules: HoldRules,
        age: Int64Array,
    ) -> None:
        self._errors, self._carried, self._patch, self._rules, self._age = errors, carried, patch, rules, age
        self._price = price
        self._tubes = len(errors) - 1
        self._best: dict[int, Float32Array] = {}
        self._chosen: dict[int, npt.NDArray[np.int16]] = {}
        for side in patch.scales:
            shape = (len(price), patch.real.shape[0] // side, patch.real.shape[1] // side)
            self._best[side] = np.zeros((*shape, self._tubes + 1), np.float32)
            self._chosen[side] = np.full((self._tubes + 1, *shape), CARRIED, np.int16)

    def draw(self, cover: Int8Array) -> None:
        """Write the plan into int8 [T, P, H', W']."""
        open_ = self._carried is not None
        first = 0
        for end in range(1, self._tubes + 1):
            if self._rules.forced[end - 1]:
                open_, first = False, end - 1
            self._step(end, first, open_=open_)
        self._trace(cover, self._governing())

    def _step(self, end: int, first: int, *, open_: bool) -> None:
        if self._rules.max_age_tubes is not None:
            first = max(first, end - self._rules.max_age_tubes)
        patch, price = self._patch, self._price[:, None, None, None]
        errors = self._errors[end, :, :, first:end].reshape(len(patch.scales), *patch.real.shape, -1)
        segment, last = errors[0] + price * patch.tokens[1][..., None], 1
        for level, side in enumerate(patch.scales):
            if level:
                whole = area_sums(errors[level], side, axis=-3) + price * patch.tokens[side][..., None]
                segment = np.minimum(area_sums(segment, side // last, axis=-3), whole)
                last = side
            best, chosen = self._best[side], self._chosen[side]
            total = segment + best[..., first:end]  # [P, rows_d, columns_d, moments]
            place = total.argmin(axis=-1)
            least = np.take_along_axis(total, place[..., None], axis=-1)[..., 0]
            kept = self._held_error(end, side) if open_ else np.float32(np.inf)
            best[..., end] = np.minimum(least, kept)
            chosen[end] = np.where(kept <= least, CARRIED, place + first)

    def _held_error(self, end: int, side: int) -> Float32Array:
        assert self._carried is not None
        cells = self._carried[end].reshape(-1, *self._patch.real.shape)
        if self._rules.max_age_tubes is not None:
            cells = np.where(self._age + end > self._rules.max_age_tubes, np.float32(np.inf), cells)
        return area_sums(np.where(self._patch.real, cells, np.float32(0)), side)

    def _governing(self) -> Int8Array:
        """The side of the areas that are refreshed as a whole, at each cell: int8 [P, H', W']."""
        best = self._best[1][..., -1]
        governing, last = np.ones(best.shape, np.int8), 1
        for side in self._patch.scales[1:]:
            split, whole = area_sums(best, side // last), self._best[side][..., -1]
            np.copyto(governing, np.int8(side), where=spread(whole < split, side))
            best, last = np.minimum(split, whole), side
        return governing

    def _trace(self, cover: Int8Array, governing: Int8Array) -> None:
        patch, price = self._patch, self._price[:, None, None]
        chosen = np.stack([spread(self._chosen[side], side) for side in patch.scales])
        level = np.searchsorted(patch.scales, governing)
        plan, row, column = (np.asarray(index) for index in np.indices(governing.shape))
        cell = row * governing.shape[2] + column
        end = np.full(governing.shape, self._tubes, np.int64)
        while True:
            start = chosen[level, end, plan, row, column].astype(np.int64)
            open_ = (end > 0) & (start != CARRIED)
            if not open_.any():
                return
            costs = np.stack([self._errors[end, each, cell, start] for each in range(len(patch.scales))])
            skip = np.full(governing.shape, np.inf, np.float32)
            sides = cheapest(skip, costs, price, patch, governing)
            open_ &= patch.real
            cover[start[open_], plan[open_], row[open_], column[open_]] = sides[open_]
            end = np.where(start == CARRIED, 0, start)
