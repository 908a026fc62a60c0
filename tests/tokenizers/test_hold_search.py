"""The search for the best moments to encode each cell: what it finds, what it holds, and what it leaves as it was."""

import tracemalloc
from threading import Barrier, Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moving import busy_clip

from framegate.tokenizers.gate.blas_threads import _Threads, one_blas_thread
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.hold_search import _bracketed, _rounds
from framegate.tokenizers.gate.hold_windows import HoldRules, solved
from framegate.tokenizers.gate.spending import highest

CELL = 8
PRICES = np.array([300, 1000, 3000, 1e4, 1e5], np.float32)


def grid_of(clip):
    return CellGrid.of(*clip.shape[2:], cell_px=CELL, tube_frames=clip.shape[1])


def rules_of(clip, **settings):
    return HoldRules(forced=np.arange(len(clip)) == 0, max_age_tubes=None, keyframe_fraction=1.0, **settings)


def by_cell(clip, parts=1):
    """Pixels float64 [cells, parts, T, p]."""
    grid, side = grid_of(clip), CELL if parts == 1 else CELL // 2
    cells = np.stack([grid.cells_of(tube) for tube in clip]).astype(np.float64)  # [T, H, W, k, c, c]
    split = cells.reshape(len(clip), grid.num_cells, clip.shape[1], CELL // side, side, CELL // side, side)
    return split.transpose(1, 3, 5, 0, 2, 4, 6).reshape(grid.num_cells, parts, len(clip), -1)


def error_of(keep, pixels):
    """What it costs each cell to show what was last encoded: keep bool [cells, T]."""
    parts = pixels.shape[1]
    held = np.maximum.accumulate(np.where(keep, np.arange(keep.shape[1]), 0), axis=1)
    shown = np.take_along_axis(pixels, held[:, None, :, None], axis=2)
    return (parts * ((pixels - shown) ** 2).sum(axis=3).max(axis=1)).sum(axis=1)


def cheapest(pixels, price):
    """Dynamic programming as it is written in books, one cell: pixels [parts, T, p] to bool [T]."""
    tubes, parts = pixels.shape[1], len(pixels)
    apart = parts * ((pixels[:, :, None] - pixels[:, None]) ** 2).sum(axis=3).max(axis=0)  # [T, T]
    best, came_from = np.zeros(tubes + 1), np.zeros(tubes, int)
    for end in range(tubes):
        costs = [best[first] + price + apart[first, first : end + 1].sum() for first in range(end + 1)]
        came_from[end], best[end + 1] = int(np.argmin(costs)), min(costs)
    keep, tube = np.zeros(tubes, bool), tubes - 1
    while tube >= 0:
        keep[came_from[tube]] = True
        tube = came_from[tube] - 1
    return keep


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_inside_a_window_every_plan_is_the_cheapest(pool):
    clip = busy_clip(3, 40, 2 * CELL, 3 * CELL, noise=3.0)[:, None]
    pixels = by_cell(clip, parts=1 if pool == "mean" else 4)
    found = solved(clip, grid_of(clip), np.arange(6), PRICES, rules=rules_of(clip, residual_pool=pool))
    for level, price in enumerate(PRICES):
        wanted = np.stack([cheapest(cell, float(price)) for cell in pixels])
        np.testing.assert_array_equal(found.keep(level), wanted)
    assert len(np.unique(found.counts[:, 0])) > 2


@pytest.mark.parametrize(("tubes", "window"), [(1, 8), (7, 8), (41, 8), (130, 300)])
def test_bits_counts_and_error_tell_of_one_plan(tubes, window, monkeypatch):
    """Over several windows and bands, the steps in a file."""
    monkeypatch.setattr("framegate.tokenizers.gate.hold_windows.CELLS_AT_ONCE", 4)
    monkeypatch.setattr("framegate.tokenizers.gate.hold_windows.STEPS_BYTES", 40)
    clip = busy_clip(4, 2 * tubes, 3 * CELL, 3 * CELL, noise=2.0).reshape(tubes, 2, 3 * CELL, 3 * CELL)
    cells = np.array([0, 2, 3, 4, 7, 8])
    rules = rules_of(clip, window_tubes=window)
    found = solved(clip, grid_of(clip), cells, PRICES, rules=rules)
    assert found.bits.shape == (5, 6, -(-tubes // 8))
    for level in range(5):
        keep = found.keep(level)
        assert keep.shape == (6, tubes)
        assert keep[:, 0].all()
        np.testing.assert_array_equal(keep.sum(axis=1), found.counts[level])
        np.testing.assert_allclose(
            found.error[level], error_of(keep, by_cell(clip)[cells]), rtol=1e-4, atol=40
        )
    mixed = found.keep(np.array([0, 4, 2, 1, 3, 0]))
    np.testing.assert_array_equal(mixed[1], found.keep(4)[1])


def test_what_the_search_holds_hardly_grows_with_the_clip(monkeypatch):
    """Bytes a cell and tube: a bit for each of five prices, and the anchors carried into each window."""
    monkeypatch.setattr("framegate.tokenizers.gate.hold_windows.STEPS_BYTES", 10_000)
    short = busy_clip(0, 256, 6 * CELL, 8 * CELL)[:, None]
    long = np.concatenate([short] * 4)

    def peak_bytes(clip):
        tracemalloc.start()
        solved(clip, grid_of(clip), np.arange(48), PRICES, rules=rules_of(clip))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak_bytes(short)
    assert peak_bytes(long) - peak_bytes(short) < 2 * 48 * (len(long) - len(short))


@pytest.mark.parametrize(
    ("noise", "budget", "looks", "looks_if_still"),
    [(0.0, 700, 3, 1), (0.2, 200, 1, 2)],
    ids=["nothing to spend on", "taken for still"],
)
def test_a_still_clip_needs_one_look_for_what_three_found(noise, budget, looks, looks_if_still):
    clip = busy_clip(1, 60, 3 * CELL, 4 * CELL, noise=noise, cut=False)[:, None]
    assert [prices[-1] for prices in _rounds(64.0)] == [128, 32, 8]

    def found(*, is_still):
        tried = []

        def solve(prices):
            tried.append(prices)
            return solved(clip, grid_of(clip), np.arange(12), prices, rules=rules_of(clip))

        return _bracketed(solve, 64.0, budget, is_still=is_still), len(tried)

    (step_by_step, many), (at_once, few) = found(is_still=False), found(is_still=True)
    assert (many, few) == (looks, looks_if_still)
    np.testing.assert_array_equal(at_once.bits, step_by_step.bits)
    np.testing.assert_array_equal(at_once.error, step_by_step.error)


@given(
    scores=st.lists(st.sampled_from([-np.inf, -1.0, 0.0, -0.0, 2.0, np.inf]), min_size=1, max_size=24),
    count=st.integers(0, 30),
    seed=st.none() | st.integers(0, 99),
)
def test_the_highest_are_those_of_a_stable_sort(scores, count, seed):
    scores = np.array(scores, np.float32)
    scores = scores.reshape(2, -1) if len(scores) % 2 == 0 else scores
    among = None if seed is None else np.random.default_rng(seed).random(scores.shape) < 0.6
    order = np.argsort(-scores, axis=None, kind="stable")
    order = order if among is None else order[among.flat[order]]
    wanted = np.zeros(scores.shape, bool)
    wanted.flat[order[:count]] = True
    np.testing.assert_array_equal(highest(scores, count, among=among), wanted)


def test_the_last_search_puts_the_threads_back():
    set_to = []
    threads = _Threads(lambda: 8, set_to.append)
    both = Barrier(2)

    def search():
        threads.enter()
        both.wait()
        threads.leave()

    searches = [Thread(target=search) for _ in range(2)]
    for one in searches:
        one.start()
    for one in searches:
        one.join()
    assert set_to == [1, 8]
    with one_blas_thread(), one_blas_thread():
        assert (np.eye(3) @ np.eye(3) == np.eye(3)).all()
