"""anchor_scan: the reference by hand, and the gate's scan against it."""

import numpy as np
import pytest
import torch
from moving import busy_clip

from framegate.kernels.anchor_scan import anchor_scan
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.scan import GateRules, GateScan


def test_slow_drift_is_encoded_once_it_adds_up():
    frames = torch.arange(0, 8).float().reshape(8, 1, 1, 1).expand(8, 1, 4, 4)
    keep, residual = anchor_scan(frames, 4, 2.5)
    assert keep.flatten().tolist() == [True, False, False, True, False, False, True, False]
    assert residual.flatten().tolist() == [0, 1, 2, 3, 1, 2, 3, 1]


@pytest.mark.parametrize("metric", ["mad", "ssim", "l2"])
@pytest.mark.parametrize("max_age", [None, 3])
@pytest.mark.parametrize("tube_frames", [1, 2])
def test_the_gates_scan_follows_the_reference(metric, max_age, tube_frames):
    clip = busy_clip(2, 16, 24, 40).reshape(-1, tube_frames, 24, 40)
    threshold = {"mad": 5.0, "ssim": 0.05, "l2": 1.0}[metric]
    keep, residual = anchor_scan(
        torch.from_numpy(clip), 8, threshold, metric=metric, max_age=max_age, keyframe_fraction=0.8
    )
    rules = GateRules(metric=metric, threshold=threshold, max_age_tubes=max_age, keyframe_fraction=0.8)
    scan = GateScan(CellGrid.of(24, 40, cell_px=8, tube_frames=tube_frames), rules)
    steps = [scan.step(tube) for tube in clip]
    np.testing.assert_array_equal(np.concatenate([step.keep for step in steps]), keep.numpy())
    np.testing.assert_allclose(np.concatenate([step.residual for step in steps]), residual.numpy(), atol=1e-6)
    assert 0 < keep[1:].float().mean() < 1
