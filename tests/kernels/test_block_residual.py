"""block_residual: naive formulas, and the OpenCV/NumPy path against the reference."""

import numpy as np
import pytest
import torch

from framegate.kernels.block_residual import block_residual
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.residual import residual_of


def pair(planes, height, width, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 256, (planes, height, width), dtype=np.uint8)
    near = np.clip(a.astype(int) + rng.integers(-9, 10, a.shape), 0, 255).astype(np.uint8)
    return a, np.where(rng.random(a.shape) < 0.9, near, 255 - a).astype(np.uint8)


def naive(a, b, cell_px, metric):
    _, height, width = a.shape
    out = np.empty((height // cell_px, width // cell_px))
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            cut = np.s_[:, row * cell_px : (row + 1) * cell_px, column * cell_px : (column + 1) * cell_px]
            x, y = a[cut].astype(float).ravel(), b[cut].astype(float).ravel()
            if metric == "mad":
                out[row, column] = np.abs(x - y).mean()
            elif metric == "l2":
                std = np.array([0.26862954, 0.26130258, 0.27577711])
                out[row, column] = np.linalg.norm(((x - y)[:, None] / 255 / std).ravel())
            else:
                x, y = x / 255, y / 255
                cov = np.mean((x - x.mean()) * (y - y.mean()))
                top = (2 * x.mean() * y.mean() + 1e-4) * (2 * cov + 9e-4)
                out[row, column] = 1 - top / (
                    (x.mean() ** 2 + y.mean() ** 2 + 1e-4) * (x.var() + y.var() + 9e-4)
                )
    return out


@pytest.mark.parametrize("metric", ["mad", "l2", "ssim"])
@pytest.mark.parametrize(("planes", "cell_px"), [(1, 28), (2, 28), (1, 5), (3, 1), (1, 300)])
def test_both_paths_give_the_naive_formula(metric, planes, cell_px):
    a, b = pair(planes, 2 * cell_px, 3 * cell_px, seed=cell_px)
    expected = naive(a, b, cell_px, metric)
    reference = block_residual(torch.from_numpy(a), torch.from_numpy(b), cell_px, metric).numpy()
    grid = CellGrid.of(2 * cell_px, 3 * cell_px, cell_px=cell_px, tube_frames=planes)
    fast = residual_of(metric)(a, b, grid)
    assert fast.dtype == reference.dtype == np.float32
    np.testing.assert_allclose(reference, expected, rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(fast, expected, rtol=2e-6, atol=2e-6)
    if metric == "mad":
        np.testing.assert_array_equal(fast, reference)


@pytest.mark.parametrize("metric", ["mad", "l2", "ssim"])
def test_equal_frames_differ_by_nothing(metric):
    a, _ = pair(2, 16, 24)
    frames = torch.from_numpy(a)
    assert block_residual(frames, frames, 8, metric).abs().max() < 1e-6
    assert np.abs(residual_of(metric)(a, a, CellGrid.of(16, 24, cell_px=8, tube_frames=2))).max() < 1e-6


def test_leading_dimensions_are_kept():
    a = torch.randint(0, 256, (4, 2, 1, 8, 12), dtype=torch.uint8)
    b = torch.randint(0, 256, (4, 2, 1, 8, 12), dtype=torch.uint8)
    out = block_residual(a, b, 4)
    assert out.shape == (4, 2, 2, 3)
    torch.testing.assert_close(out[3, 1], block_residual(a[3, 1], b[3, 1], 4), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("shape", "cell_px", "metric", "message"),
    [((1, 8, 9), 4, "mad", "no whole number"), ((1, 8, 8), 4, "psnr", "'psnr'")],
)
def test_wrong_arguments_are_named(shape, cell_px, metric, message):
    with pytest.raises(ValueError, match=message):
        block_residual(torch.zeros(shape), torch.zeros(shape), cell_px, metric)
