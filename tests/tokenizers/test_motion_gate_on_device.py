"""The gate where the pixels are: the CPU's decisions, kernels or not, and no waiting for the device."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from moving import busy_clip, jumping_clip
from torch._subclasses import FakeTensorMode

from framegate.errors import BudgetError, ConfigError
from framegate.kernels.dispatch import recording
from framegate.tokenizers.gate.config import Budget, GateConfig
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.on_device import device_run, scanned, searched, why_not_on_device
from framegate.tokenizers.gate.planners import plan_gate
from framegate.tokenizers.gate.planners.threshold import STRIDE, threshold_table

CELL = 8


def config(**settings_):
    return GateConfig(**({"motion": "none", "search": "threshold"} | settings_))


def clip(seed=0, frames=12, height=24, width=40, tube_frames=2):
    return busy_clip(seed, frames, height, width).reshape(-1, tube_frames, height, width)


def jumping(seed=0, tubes=8, rows=5, columns=8):
    """Many cells that differ, and tubes in which most of them change."""
    return jumping_clip(seed, tubes, 2, rows, columns, CELL)


def on_the_cpu(luma, gate, budget):
    _, tube_frames, height, width = luma.shape
    grid = CellGrid.of(height, width, cell_px=CELL, tube_frames=tube_frames)
    return plan_gate(iter(luma.reshape(-1, height, width)), grid, gate, budget)


@pytest.mark.parametrize("metric", ["mad", "ssim", "l2"])
@pytest.mark.parametrize("rules", [{}, {"max_age_tubes": 2}, {"keyframe_fraction": 0.2}])
def test_decisions_are_the_cpus(metric, rules):
    gate = config(metric=metric, **rules)
    budgets = ({}, {"keep_ratio": 0.5}, {"keep_ratio": 0.1}, {"max_tokens": 60}, {"keep_ratio": 1.0})
    for luma, budget in product((clip(), jumping()), budgets):
        allowed = Budget(**budget)
        wanted = on_the_cpu(luma, gate, allowed)
        found = device_run(torch.from_numpy(luma), gate, allowed, cell_px=CELL, backend="torch")
        np.testing.assert_array_equal(found.keep, wanted.keep)
        np.testing.assert_allclose(found.residual, wanted.residual, atol=1e-6)
        assert found.notes == wanted.notes


@pytest.mark.parametrize("ratio", [0.2, 0.3, 0.4, 0.6, 0.8])
@pytest.mark.parametrize("seed", [1, 2])
def test_budgets_are_met_as_on_the_cpu(ratio, seed):
    luma, allowed = jumping(seed), Budget(keep_ratio=ratio)
    for rules in ({}, {"keyframe_fraction": 0.2}):
        gate = config(**rules)
        found = device_run(torch.from_numpy(luma), gate, allowed, cell_px=CELL, backend="torch")
        np.testing.assert_array_equal(found.keep, on_the_cpu(luma, gate, allowed).keep)


def test_the_rule_of_whole_tubes_makes_a_difference():
    luma = torch.from_numpy(jumping())
    plain, ruled = (
        device_run(luma, config(keyframe_fraction=share), Budget(), cell_px=CELL, backend="torch")
        for share in (1.0, 0.2)
    )
    assert bool(ruled.keep[1:].all(axis=(1, 2)).any())
    assert plain.num_kept < ruled.num_kept


@pytest.mark.parametrize("entry", [250, 300, 330])
def test_a_budget_that_a_scan_meets_exactly_takes_that_scan(entry):
    luma = jumping()
    cells = on_the_cpu(luma, config(threshold=float(threshold_table("mad")[entry])), Budget()).num_kept
    wanted = looked_up(luma, cells)
    assert wanted.num_kept == cells, "nothing to fill up"
    allowed = Budget(keep_ratio=cells / wanted.keep.size)
    found = device_run(torch.from_numpy(luma), config(), allowed, cell_px=CELL, backend="torch")
    np.testing.assert_array_equal(found.keep, wanted.keep)


def test_a_cap_that_is_just_met_changes_nothing():
    luma = torch.from_numpy(jumping())
    plain = device_run(luma, config(), Budget(), cell_px=CELL, backend="torch")
    capped, below = (
        device_run(luma, config(), Budget(max_tokens=cap), cell_px=CELL, backend="torch")
        for cap in (plain.num_kept, plain.num_kept - 1)
    )
    np.testing.assert_array_equal(capped.keep, plain.keep)
    assert capped.notes == ()
    assert "replaced the threshold" in below.notes[0]


@settings(max_examples=25)
@given(st.integers(0, 99), st.floats(0.05, 0.95), st.sampled_from([None, 2, 3]))
def test_budgets_are_exact(seed, ratio, max_age_tubes):
    luma, allowed = clip(seed, frames=8), Budget(keep_ratio=ratio)
    run = device_run(
        torch.from_numpy(luma), config(max_age_tubes=max_age_tubes), allowed, cell_px=CELL, backend="torch"
    )
    assert run.num_kept == allowed.exact(run.keep.size)
    assert bool(run.keep[0].all()) or run.num_kept <= run.keep[0].size


def test_kernels_decide_the_same():
    luma, allowed = torch.from_numpy(clip(frames=6, height=16, width=16)), Budget(keep_ratio=0.5)
    with recording() as ran:
        found = device_run(luma, config(), allowed, cell_px=CELL, backend="triton")
    assert dict(ran) == {("anchor_scan", "triton"): 2}
    np.testing.assert_array_equal(
        found.keep, device_run(luma, config(), allowed, cell_px=CELL, backend="torch").keep
    )


def looked_up(luma, cells):
    """The run at the first entry that fits, by looking at every entry that the two rounds look at."""
    table = threshold_table("mad")

    def fits(entry):
        run = on_the_cpu(luma, config(threshold=float(table[entry])), Budget())
        return run if run.num_kept <= cells else None

    coarse = next(entry for entry in range(STRIDE - 1, len(table), STRIDE) if fits(entry))
    return next(run for entry in range(coarse - STRIDE + 1, coarse + 1) if (run := fits(entry)))


def test_what_is_left_goes_to_the_cells_that_differ_most():
    """Cells that change alike make the counts jump."""
    luma = clip()
    luma[:] = np.tile(luma[:, :, :8, :8], (1, 1, 3, 5))
    allowed = Budget(keep_ratio=0.45)
    run, found = looked_up(luma, allowed.exact(6 * 15)), on_the_cpu(luma, config(), allowed)
    assert run.num_kept < found.num_kept == allowed.exact(6 * 15)
    assert bool((found.keep | ~run.keep).all()), "what the threshold keeps is kept"
    left = np.where(run.keep, -1, run.residual)
    extra = found.keep & ~run.keep
    assert left[extra].min() >= left[~found.keep].max()
    assert np.flatnonzero(extra).max() < np.flatnonzero(~found.keep & (left == left[extra].min())).min()


@pytest.mark.parametrize("tubes", [3, 9])
@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_nothing_waits_for_the_device(tubes, backend, monkeypatch):
    """Tensors without values: whatever would read one on the host raises."""
    monkeypatch.setattr("framegate.kernels.dispatch.why_no_kernels", lambda device, **_: None)
    with FakeTensorMode():
        luma = torch.zeros(tubes, 2, 24, 40, dtype=torch.uint8)
        grid = CellGrid.of(24, 40, cell_px=CELL, tube_frames=2)
        run = searched(luma, grid, config(max_age_tubes=3), 40, backend)
        assert run.keep.shape == run.residual.shape == (tubes, 3, 5)
        assert scanned(luma, grid, config(), backend).keep.shape == (tubes, 3, 5)


def test_a_budget_below_one_token_is_refused():
    with pytest.raises(BudgetError, match="less than one token"):
        device_run(torch.from_numpy(clip()), config(), Budget(keep_ratio=1e-4), cell_px=CELL)


def test_what_stays_on_the_cpu_says_why():
    assert why_not_on_device(config(), Budget(keep_ratio=0.5)) is None
    assert why_not_on_device(config(search="optimum"), Budget()) is None
    assert "optimum" in why_not_on_device(config(search="optimum"), Budget(keep_ratio=0.5))
    for settings_ in ({"motion": "camera"}, {"rule": "rlt", "threshold": 0.1}):
        gate = GateConfig(**({"motion": "none"} | settings_))
        assert "are the CPU's" in why_not_on_device(gate, Budget())


@pytest.mark.parametrize(
    "settings_",
    [{"motion": "camera"}, {"reference": "previous"}, {"codec_keyframes": True}],
)
def test_a_search_by_threshold_says_what_it_needs(settings_):
    with pytest.raises(ConfigError, match=f'gate.search "threshold" needs gate.{next(iter(settings_))}'):
        config(**settings_)
