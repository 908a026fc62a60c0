"""Camera motion between two frames: sub-pixel translation, then affine where that helps.

One feature in each block of a coarse raster is followed by Lucas-Kanade at about half the usual width; a
robust fit takes the motion most of them share, so that objects that move on their own do not pull the
camera's motion along.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from framegate.tokenizers.gate.grid import CellGrid
from framegate.types import Float32Array, UInt8Array

WORKING_SIDE_PX = 224
MIN_SIDE_PX = 32
FEATURE_BLOCK_PX = 24
FEATURE_BLOCKS_PER_SIDE = 6
WEAK_FEATURE = 0.5
WINDOW_PX = 9
PYRAMID_LEVELS = 2
STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.01)
FIT_STEPS = 5
FIT_SCALE_PX = 0.15
INLIER_PX = 0.5
MIN_FEATURES = 8
MIN_SUPPORT = 0.3
GOOD_SUPPORT = 0.6
TRY_AFFINE_ABOVE_PX = 0.1
AFFINE_GAIN = 0.8
STILL_PX = 0.02
WORTHWHILE_SHIFT_PX = 0.1

Points = npt.NDArray[np.float32]
Affine = npt.NDArray[np.float64]


def is_large_enough(grid: CellGrid) -> bool:
    """True when frames, reduced to the working size, hold enough pixels to follow features."""
    return min(grid.height_px, grid.width_px) // _reduction(grid.height_px, grid.width_px) >= MIN_SIDE_PX


class CameraTracker:
    """Estimates the motion from tube to tube, each started from the one before.

    Args:
        grid: geometry of the frames.
    """

    def __init__(self, grid: CellGrid) -> None:
        self._shape = (grid.height_px, grid.width_px)
        self._velocity: tuple[float, float] = (0.0, 0.0)

    def motion(self, previous: UInt8Array, current: UInt8Array) -> Float32Array | None:
        """Estimate where each frame of a tube, uint8 [k, h, w], looks from, relative to that of the tube before.
        float32 [k, 2, 3], affine maps from pixels of the current frames to the previous ones; None when the camera
        stands still or too few features agree on a motion.
        """
        found = [self._follow(before, after) for before, after in zip(previous, current, strict=True)]
        if all(affine is None for affine in found):
            return None
        still = np.eye(2, 3)
        return np.stack([still if affine is None else affine for affine in found]).astype(np.float32)

    def _follow(self, before: UInt8Array, after: UInt8Array) -> Affine | None:
        affine = estimate(before, after, self._velocity)
        moves = affine is not None and largest_shift_px(affine, self._shape) > STILL_PX
        self._velocity = _centre_shift(affine, *self._shape) if affine is not None else (0.0, 0.0)
        return affine if moves else None


class RememberedMotion:
    """Estimates the motion of each tube of a clip once, however many plans ask for it.

    Args:
        grid: geometry of the frames.
        luma: uint8 [T, k, h, w], plain, whatever the gate judges.
    """

    def __init__(self, grid: CellGrid, luma: UInt8Array) -> None:
        self._tracker, self._luma = CameraTracker(grid), luma
        self._known: dict[int, Float32Array | None] = {}
        self.found_motion = False

    def __call__(self, tube: int, _before: UInt8Array, _after: UInt8Array) -> Float32Array | None:
        """Find a tube's motion, as CameraTracker does; the frames judged are not looked at."""
        if tube not in self._known:
            before, after = self._luma[tube - 1], self._luma[tube]
            found = self._known[tube] = self._tracker.motion(before, after)
            self.found_motion |= (
                found is not None and largest_shift_px(found, after.shape) > WORTHWHILE_SHIFT_PX
            )
        return self._known[tube]


def estimate(
    previous: UInt8Array, current: UInt8Array, velocity_px: tuple[float, float] = (0.0, 0.0)
) -> Affine | None:
    """Register two frames, uint8 [h, w], by Lucas-Kanade features, else by phase correlation.
    float64 [2, 3], the affine map from pixels of current to pixels of previous, started from a shift (x, y) in px; None
    when too few features agree.
    """
    reduction = _reduction(*current.shape)
    before, after = _reduced(previous, reduction), _reduced(current, reduction)
    points = _features(after)
    if len(points) < MIN_FEATURES:
        return None
    guess = np.array(velocity_px, np.float32) / np.float32(reduction)
    affine, support = _fit(*_followed(after, before, points, guess))
    if support < GOOD_SUPPORT:
        (x, y), _ = cv2.phaseCorrelate(after.astype(np.float32), before.astype(np.float32), _window(after))
        other, other_support = _fit(*_followed(after, before, points, np.array([x, y], np.float32)))
        affine, support = (other, other_support) if other_support > support else (affine, support)
    return scaled(affine, reduction) if support >= MIN_SUPPORT else None


def scaled(affine: npt.NDArray[np.floating], factor: int) -> Affine:
    """Carry affine maps [..., 2, 3] over to frames `factor` times as large; pixel centres are whole numbers in both."""
    offset = (factor - 1) / 2
    larger = affine.astype(np.float64)
    larger[..., 2] = factor * larger[..., 2] + offset - offset * (larger[..., 0] + larger[..., 1])
    return larger


def largest_shift_px(affine: npt.NDArray[np.floating], shape: tuple[int, ...]) -> float:
    """The farthest any corner of frames [..., h, w] moves under affine maps [..., 2, 3]."""
    height, width = shape[-2:]
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], float)
    moved = corners @ np.swapaxes(affine[..., :2], -1, -2) + affine[..., None, :, 2]
    return float(np.abs(moved - corners).max())


def _reduction(height_px: int, width_px: int) -> int:
    return max(1, round(max(height_px, width_px) / WORKING_SIDE_PX))


def _reduced(frame: UInt8Array, reduction: int) -> UInt8Array:
    if reduction == 1:
        return np.ascontiguousarray(frame)
    height, width = frame.shape[0] // reduction, frame.shape[1] // reduction
    cropped = frame[: height * reduction, : width * reduction]
    return cv2.resize(cropped, (width, height), interpolation=cv2.INTER_AREA)


def _window(frame: UInt8Array) -> Float32Array:
    return cv2.createHanningWindow((frame.shape[1], frame.shape[0]), cv2.CV_32F)


def _features(frame: UInt8Array) -> Points:
    """The strongest corner of each block, weak ones left out: float32 [N, 2] (x, y).

    Corners are looked for at half the size: where exactly a feature sits does not matter, how it moves does.
    """
    small = cv2.resize(frame, (frame.shape[1] // 2, frame.shape[0] // 2), interpolation=cv2.INTER_AREA)
    strength = cv2.cornerMinEigenVal(small, 3)
    block = max(2, min(FEATURE_BLOCK_PX, min(frame.shape) // FEATURE_BLOCKS_PER_SIDE) // 2)
    rows, columns = small.shape[0] // block, small.shape[1] // block
    cut = strength[: rows * block, : columns * block].reshape(rows, block, columns, block)
    blocks = cut.transpose(0, 2, 1, 3).reshape(rows * columns, block * block)
    best = blocks.argmax(axis=1)
    peaks = blocks[np.arange(len(blocks)), best]
    strong = np.flatnonzero((peaks > WEAK_FEATURE * _middle(peaks)) & (peaks > 0))
    row, column = (
        strong // columns * block + best[strong] // block,
        strong % columns * block + best[strong] % block,
    )
    return np.stack([2 * column, 2 * row], axis=1).astype(np.float32)


def _middle(values: npt.NDArray[Any]) -> Any:
    """The upper median along the first axis."""
    half = len(values) // 2
    return np.partition(values, half, axis=0)[half]


def _followed(after: UInt8Array, before: UInt8Array, points: Points, guess: Points) -> tuple[Affine, Affine]:
    """Find features of `after` in `before`: points that were found and their shifts, float64 [N, 2] each."""
    found, status, _ = cv2.calcOpticalFlowPyrLK(
        after,
        before,
        points[:, None].copy(),
        (points + guess)[:, None].copy(),
        winSize=(WINDOW_PX, WINDOW_PX),
        maxLevel=PYRAMID_LEVELS,
        criteria=STOP,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    seen = status[:, 0] > 0
    return points[seen].astype(np.float64), (found[:, 0] - points)[seen].astype(np.float64)


def _fit(points: Affine, shifts: Affine) -> tuple[Affine, float]:
    """The motion most features share, and the share of features that follow it."""
    if len(points) < MIN_FEATURES:
        return np.eye(2, 3), 0.0
    translation = _robust_mean(shifts, _middle(shifts))
    missed = np.sqrt(((shifts - translation) ** 2).sum(axis=1))
    rigid = np.concatenate([np.eye(2), translation[:, None]], axis=1), float(np.mean(missed < INLIER_PX))
    if _middle(missed) < TRY_AFFINE_ABOVE_PX:
        return rigid
    slopes = np.concatenate([np.ones((len(points), 1)), points], axis=1)
    affine = _robust_fit(slopes, shifts, np.concatenate([translation[None], np.zeros((2, 2))]))
    bent = _misses(slopes, shifts, affine)
    if np.mean(np.minimum(bent, INLIER_PX)) >= AFFINE_GAIN * np.mean(np.minimum(missed, INLIER_PX)):
        return rigid
    linear = np.eye(2) + affine[1:].T
    return np.concatenate([linear, affine[:1].T], axis=1), float(np.mean(bent < INLIER_PX))


def _misses(terms: Affine, shifts: Affine, solution: Affine) -> Affine:
    return np.linalg.norm(shifts - terms @ solution, axis=1)


def _robust_mean(shifts: Affine, middle: Affine) -> Affine:
    """Mean shift, reweighted so that features that move otherwise lose their say (Cauchy weights)."""
    for _ in range(FIT_STEPS):
        away = shifts - middle
        weights = 1.0 / (1.0 + (away * away).sum(axis=1) / FIT_SCALE_PX**2)
        middle = weights @ shifts / weights.sum()
    return middle


def _robust_fit(terms: Affine, shifts: Affine, solution: Affine) -> Affine:
    """Least squares with the same weights."""
    for _ in range(FIT_STEPS):
        weights = 1.0 / (1.0 + (_misses(terms, shifts, solution) / FIT_SCALE_PX) ** 2)
        weighted = terms * weights[:, None]
        normal = weighted.T @ terms
        solution = np.linalg.solve(
            normal + 1e-9 * np.trace(normal) * np.eye(len(normal)), weighted.T @ shifts
        )
    return solution


def _centre_shift(affine: Affine, height_px: int, width_px: int) -> tuple[float, float]:
    centre = np.array([(width_px - 1) / 2, (height_px - 1) / 2])
    x, y = affine[:, :2] @ centre + affine[:, 2] - centre
    return float(x), float(y)
