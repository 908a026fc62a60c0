"""The causal gate: one tube after the other, bounded memory, usable on live sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from framegate.tokenizers.gate.camera_motion import CameraTracker
from framegate.tokenizers.gate.config import GateConfig, Metric, Reference, ResidualPool
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.residual import residual_of
from framegate.tokenizers.gate.shown import Prediction, ShownContent, ring_tubes_for
from framegate.tokenizers.gate.weights import weighed
from framegate.types import BoolArray, Float32Array, UInt8Array

TRY_MOTION_ABOVE = 0.12

MotionSource = Callable[[int, UInt8Array, UInt8Array], Float32Array | None]


@dataclass(frozen=True, kw_only=True)
class GateRules:
    """What the causal gate goes by.

    Args:
        metric: name of the residual.
        threshold: a cell is encoded when its residual is above this.
        weight: what a change is worth, by name.
        residual_pool: how a cell's residual is taken from its quarters.
        reference: what a cell is compared with.
        max_age_tubes: encoded again after this many tubes, None never.
        keyframe_fraction: a tube of which a larger share changed is encoded whole.
    """

    metric: Metric
    threshold: float
    weight: str = "luma"
    residual_pool: ResidualPool = "mean"
    reference: Reference = "anchor"
    max_age_tubes: int | None = None
    keyframe_fraction: float = 0.8

    @classmethod
    def of(cls, config: GateConfig) -> GateRules:
        """Take the rules out of a configuration."""
        return cls(
            metric=config.metric,
            threshold=config.resolved_threshold,
            weight=config.weight,
            residual_pool=config.residual_pool,
            reference=config.reference,
            max_age_tubes=config.max_age_tubes,
            keyframe_fraction=config.keyframe_fraction,
        )


class GateScan:
    """Gates tubes as they come.

    Args:
        grid: geometry of the frames.
        rules: what to go by.
        motion_source: finds the camera's motion: (tube number, tube before, tube) -> float32 [k, 2, 3] or
            None; None tries no motion at all.

    Source: GRT (arXiv 2509.14199) section 3, without anchored reference and mode decision.
    """

    def __init__(
        self, grid: CellGrid, rules: GateRules, *, motion_source: MotionSource | None = None
    ) -> None:
        self._grid, self._rules, self._motion_source = grid, rules, motion_source
        self._residual_of = residual_of(rules.metric, rules.residual_pool)
        self._shown = ShownContent(grid, ring_tubes=ring_tubes_for(grid) if motion_source else 0)
        self._age = np.zeros((grid.rows, grid.columns), np.int64)
        # The tube before: plain, for the camera, and as it was judged.
        self._before: UInt8Array | None = None
        self._judged_before: UInt8Array | None = None
        self._tube = 0

    def step(self, tube: UInt8Array, *, force_keyframe: bool = False) -> GatePlan:
        """Decide on the next tube, uint8 [k, h, w] luma, contiguous; anchors outside it are -1, no time is told."""
        judged = weighed(tube, self._rules.weight)
        if self._before is None or force_keyframe:
            decision, camera = self._whole(judged), None
        else:
            decision, camera = self._decide(judged, self._before, tube)
        self._shown.commit(judged, decision.keep[0], camera, decision.moved[0] if camera else None)
        self._age = np.where(decision.keep[0], 0, self._age) + 1
        self._before, self._judged_before = tube, judged
        self._tube += 1
        return decision

    @property
    def shown(self) -> UInt8Array:
        """The luma, as judged, that kept cells alone can show after the last step, uint8 [k, h, w]."""
        return self._shown.picture

    def _whole(self, tube: UInt8Array) -> GatePlan:
        first = self._before is None
        every = np.ones((self._grid.rows, self._grid.columns), bool)
        residual = (
            np.zeros(every.shape, np.float32)
            if first
            else self._residual_of(tube, self._reference, self._grid)
        )
        return GatePlan.of_tube(every, residual, ~every, None, self._grid)

    @property
    def _reference(self) -> UInt8Array:
        anchored = self._rules.reference == "anchor"
        return self._shown.picture if anchored or self._judged_before is None else self._judged_before

    def _decide(
        self, tube: UInt8Array, plain_before: UInt8Array, plain: UInt8Array
    ) -> tuple[GatePlan, Prediction | None]:
        residual = self._residual_of(tube, self._reference, self._grid)
        moved, motion, camera = np.zeros(residual.shape, bool), None, None
        if self._motion_source and self._share_above(residual) > TRY_MOTION_ABOVE:
            motion = self._motion_source(self._tube, plain_before, plain)
        if motion is not None:
            candidate = self._shown.predict(motion)
            compensated = self._residual_of(tube, candidate.picture, self._grid)
            compensated[candidate.outside] = np.inf
            best = np.minimum(residual, compensated)
            if self._share_above(best) < self._share_above(residual):
                moved, residual, camera = compensated < residual, best, candidate
        keep = self._keep(residual)
        moved &= ~keep
        used = motion if moved.any() else None
        return GatePlan.of_tube(keep, residual, moved, used, self._grid), camera

    def _share_above(self, residual: Float32Array) -> float:
        return float(np.count_nonzero(residual > self._rules.threshold) / residual.size)

    def _keep(self, residual: Float32Array) -> BoolArray:
        rules = self._rules
        if self._share_above(residual) > rules.keyframe_fraction:
            return np.ones(residual.shape, bool)
        keep = residual > rules.threshold
        return keep if rules.max_age_tubes is None else keep | (self._age >= rules.max_age_tubes)


def moving_scan(grid: CellGrid, rules: GateRules) -> GateScan:
    """Make a causal gate that lets each tube try the camera's motion."""
    tracker = CameraTracker(grid)
    return GateScan(grid, rules, motion_source=lambda _, before, after: tracker.motion(before, after))
