"""A clip as planners read it: tube by tube, or held at the resolution at which budgets are planned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cached_property

import cv2
import numpy as np

from framegate.tokenizers.gate.camera_motion import RememberedMotion, scaled
from framegate.tokenizers.gate.config import GateConfig
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.held_luma import HeldTubes
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.weights import weighed
from framegate.types import BoolArray, UInt8Array


class ClipTubes:
    """The tubes of one clip, for one plan.

    Args:
        tubes: uint8 [k, h, w] luma, or [k, h, w, 3] RGB for rules that compare colours; read once.
        grid: geometry of the frames.
        config: what the plan is made by; it decides how luma is held.
        forced_keyframe: tells whether a tube (by number) is encoded whole whatever changed.
    """

    def __init__(
        self,
        tubes: Iterable[UInt8Array],
        grid: CellGrid,
        config: GateConfig,
        forced_keyframe: Callable[[int], bool],
    ) -> None:
        # SSIM and L2 are judged as printed, at full resolution; the mean difference of half-size cells is as good.
        # A search by threshold sees what its thresholds are judged by, on every device.
        full = config.metric != "mad" or config.search == "threshold"
        has_quarters = config.residual_pool == "mean" or grid.cell_px % 4 == 0
        self._halves = grid.can_halve and has_quarters and not full
        self.grid = grid
        self.planning_grid = grid.halved() if self._halves else grid
        self.is_forced = forced_keyframe
        self._weight = config.weight
        # the camera is followed on plain luma
        self._follows_plain = config.motion == "camera" and config.weight != "luma"
        self._tubes = iter(tubes)
        self._held, self._plain = HeldTubes(), HeldTubes()

    def read(self, *, hold: bool = False) -> Iterator[UInt8Array]:
        """Read the tubes that nobody has read yet, as they come; `hold` keeps their luma in memory as well."""
        for tube in self._tubes:
            if hold:
                self._hold(tube)
            yield tube

    def _hold(self, tube: UInt8Array) -> None:
        judged = weighed(tube, self._weight)
        self._held.append(_halved(judged) if self._halves else judged)
        if self._follows_plain:
            self._plain.append(_halved(tube) if self._halves else tube)

    @cached_property
    def luma(self) -> UInt8Array:
        """All tubes, weighed as they are judged, uint8 [T, k, h, w] of `planning_grid`; reads and holds the rest.

        What is much lies in a file: go through it with `in_turn`, or `release` what was read.
        """
        for _ in self.read(hold=True):
            pass
        luma = self._held.array()
        self._held = HeldTubes()
        return luma

    @property
    def num_cells(self) -> int:
        """Cells of the whole clip."""
        return len(self.luma) * self.grid.num_cells

    @property
    def forced(self) -> BoolArray:
        """Tubes to encode whole, bool [T], the first among them."""
        return np.array([tube == 0 or self.is_forced(tube) for tube in range(len(self.luma))])

    def motion(self) -> RememberedMotion:
        """The camera's motion, on plain luma, in pixels of `planning_grid`."""
        luma = self.luma
        return RememberedMotion(self.planning_grid, self._plain.array() if self._follows_plain else luma)

    def on_full_frames(self, plan: GatePlan) -> GatePlan:
        """Carry a plan over from the resolution it was made at."""
        if not self._halves:
            return plan
        motion = scaled(plan.camera_motion, 2).astype(np.float32)
        return replace(plan, grid=self.grid, camera_motion=motion)


def _halved(tube: UInt8Array) -> UInt8Array:
    """Reduce a tube [k, h, w] to half its size by block means."""
    planes, height, width = tube.shape
    size = (width // 2, planes * height // 2)
    small = cv2.resize(tube.reshape(-1, width), size, interpolation=cv2.INTER_AREA)
    return small.reshape(planes, height // 2, width // 2)
