"""The gate where the pixels are: the CPU's decisions, kernels or not, and no waiting for the device."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from moving import busy_clip
from torch._subclasses import FakeTensorMode

from framegate.errors import BudgetError, ConfigError
from framegate.kernels.dispatch import recording
from framegate.tokenizers.motion_gate.budget import Budget
from framegate.tokenizers.motion_gate.config import MotionGateConfig
from framegate.tokenizers.motion_gate.gate import plan_gate
from framegate.tokenizers.motion_gate.grid import CellGrid
from framegate.tokenizers.motion_gate.on_device import device_run, scanned, searched, why_not_on_device
from framegate.tokenizers.motion_gate.thresholds import STRIDE, threshold_table

CELL = 8


def config(**settings_):
    return MotionGateConfig(**({"motion": "none", "search": "threshold"} | settings_))


def clip(seed=0, frames=12, height=24, width=40, tube_frames=2):
    return busy_clip(seed, frames, height, width).reshape(-1, tube_frames, height, width)


def on_the_cpu(luma, gate, budget):
    _, tube_frames, height, width = luma.shape
    grid = CellGrid.of(height, width, cell_px=CELL, tube_frames=tube_frames)
    return plan_gate(iter(luma.reshape(-1, height, width)), grid, gate, budget)


@pytest.mark.parametrize("metric", ["mad", "ssim", "l2"])
@pytest.mark.parametrize("rules", [{}, {"max_age": 2}, {"keyframe_fraction": 0.4}])
@pytest.mark.parametrize(
    "budget", [{}, {"keep_ratio": 0.5}, {"keep_ratio": 0.1}, {"max_tokens": 30}, {"keep_ratio": 1.0}]
)
def test_decisions_are_the_cpus(metric, rules, budget):
    luma, gate, allowed = clip(), config(metric=metric, **rules), Budget(**budget)
    wanted = on_the_cpu(luma, gate, allowed)
    found = device_run(torch.from_numpy(luma), gate, allowed, cell_px=CELL, backend="torch")
    np.testing.assert_array_equal(found.keep, wanted.keep)
    assert found.notes == wanted.notes
    if budget != {"keep_ratio": 1.0}:  # where all is kept nothing is scanned
        np.testing.assert_allclose(found.residual, wanted.residual, atol=1e-6)


@settings(max_examples=25)
@given(st.integers(0, 99), st.floats(0.05, 0.95), st.sampled_from([None, 2, 3]))
def test_budgets_are_exact(seed, ratio, max_age):
    luma, allowed = clip(seed, frames=8), Budget(keep_ratio=ratio)
    run = device_run(torch.from_numpy(luma), config(max_age=max_age), allowed, cell_px=CELL, backend="torch")
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


def test_the_lowest_entry_that_fits_is_taken():
    """By looking at every entry that the two rounds look at; cells that change alike make the counts jump."""
    luma, gate = clip(), config()
    luma[:] = np.tile(luma[:, :, :8, :8], (1, 1, 3, 5))
    table, cells = threshold_table("mad"), Budget(keep_ratio=0.45).exact(6 * 15)

    def kept(entry):
        run = on_the_cpu(luma, config(threshold=float(table[entry])), Budget())
        return run if run.num_kept <= cells else None

    coarse = next(entry for entry in range(STRIDE - 1, len(table), STRIDE) if kept(entry))
    run = next(run for entry in range(coarse - STRIDE + 1, coarse + 1) if (run := kept(entry)))
    found = on_the_cpu(luma, gate, Budget(keep_ratio=0.45))
    assert run.num_kept < found.num_kept == cells
    assert bool((found.keep | ~run.keep).all()), "what the threshold keeps is kept"
    left = np.where(run.keep, -1, run.residual)
    extra = found.keep & ~run.keep
    assert left[extra].min() >= left[~found.keep].max()


@pytest.mark.parametrize("tubes", [3, 9])
@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_nothing_waits_for_the_device(tubes, backend, monkeypatch):
    """Tensors without values: whatever would read one on the host raises."""
    monkeypatch.setattr("framegate.kernels.dispatch.why_no_kernels", lambda device, **_: None)
    with FakeTensorMode():
        luma = torch.zeros(tubes, 2, 24, 40, dtype=torch.uint8)
        grid = CellGrid.of(24, 40, cell_px=CELL, tube_frames=2)
        run = searched(luma, grid, config(max_age=3), 40, backend)
        assert run.keep.shape == run.residual.shape == (tubes, 3, 5)
        assert scanned(luma, grid, config(), backend).keep.shape == (tubes, 3, 5)


def test_a_budget_below_one_token_is_refused():
    with pytest.raises(BudgetError, match="less than one token"):
        device_run(torch.from_numpy(clip()), config(), Budget(keep_ratio=1e-4), cell_px=CELL)


def test_what_stays_on_the_cpu_says_why():
    assert why_not_on_device(config(), Budget(keep_ratio=0.5)) is None
    assert why_not_on_device(config(search="optimum"), Budget()) is None
    assert "optimum" in why_not_on_device(config(search="optimum"), Budget(keep_ratio=0.5))
    for settings_ in ({"motion": "camera"}, {"scales": (1, 2)}, {"rule": "rlt", "threshold": 0.1}):
        gate = MotionGateConfig(**({"motion": "none"} | settings_))
        assert "are the CPU's" in why_not_on_device(gate, Budget())


@pytest.mark.parametrize(
    "settings_",
    [{"motion": "camera"}, {"scales": (1, 2)}, {"reference": "previous"}, {"codec_keyframes": True}],
)
def test_a_search_by_threshold_says_what_it_needs(settings_):
    with pytest.raises(ConfigError, match=f'gate.search "threshold" needs gate.{next(iter(settings_))}'):
        config(**settings_)
