"""The tower's time where the stock path runs it, so that dense and compressed reports can stand side by side."""

from __future__ import annotations

import time
from typing import Any

import torch

from framegate.per_thread import PerThread
from framegate.report import StageReport


class TowerClock:
    """Adds the time between its two hooks to a stage; images that go through the same tower count as well."""

    def __init__(self) -> None:
        self._thread = PerThread(stage=None, started=0.0)

    @property
    def stage(self) -> StageReport | None:
        """Where this thread's time goes, None for nowhere."""
        found: StageReport | None = self._thread.stage
        return found

    @stage.setter
    def stage(self, stage: StageReport | None) -> None:
        self._thread.stage = stage

    @torch.compiler.disable
    def start(self, tower: Any, args: Any) -> None:
        """Stand before the tower."""
        self._thread.started = time.perf_counter()

    @torch.compiler.disable
    def stop(self, tower: Any, args: Any, output: Any) -> None:
        """Stand behind it."""
        if self.stage is not None:
            elapsed_ms = (time.perf_counter() - self._thread.started) * 1000
            self.stage.milliseconds = (self.stage.milliseconds or 0.0) + elapsed_ms
