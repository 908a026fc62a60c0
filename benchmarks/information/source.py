"""A clip as the benchmark sees it: its frames, what judges see in them, and what methods show of it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from information.features import drift
from information.methods import METHODS, Tiling
from information.metrics import psnr_db, spread, ssim
from information.presets import PRESETS, preset_shown
from information.text import recall

import framegate

FIRST_SECONDS = 25
OCR_FRAMES, FEATURE_FRAMES = 12, 24
SEED = 0


@dataclass(frozen=True)
class Judges:
    """The two networks that judge pictures."""

    read: object
    features: object


class Source:
    """A clip's frames, and what the judges see in them."""

    def __init__(self, path, fps, tube_frames, judges):
        self.path, self.fps, self.tube_frames, self.judges = path, fps, tube_frames, judges

    @cached_property
    def frames(self):
        """The frames, as the dense plan shows them: uint8 [F, h, w, 3]."""
        plan = framegate.plan_video(
            self.path,
            "dense",
            fps=self.fps,
            tube_frames=self.tube_frames,
            max_frames=None,
            end_seconds=FIRST_SECONDS,
        )
        return plan.source_frames()

    @cached_property
    def tokens(self):
        """Tokens of the dense clip."""
        return int(np.prod(Tiling(tube_frames=self.tube_frames).shape(self.frames)))

    @cached_property
    def lines(self):
        """Lines of text in some of the frames."""
        return self.read(self.frames)

    @cached_property
    def features(self):
        """ImageNet features of some of the frames."""
        return self.look(self.frames)

    def read(self, frames):
        """Read the text of as many frames as the source's are read."""
        return [self.judges.read(frame) for frame in frames[spread(len(frames), OCR_FRAMES)]]

    def look(self, frames):
        """Look at as many frames as the source's are looked at."""
        return self.judges.features(frames[spread(len(frames), FEATURE_FRAMES)])

    def show(self, method, ratio):
        """What a method shows of the clip at a share of its tokens."""
        if method in PRESETS:
            return preset_shown(
                method,
                self.path,
                fps=self.fps,
                ratio=ratio,
                tube_frames=self.tube_frames,
                end_seconds=FIRST_SECONDS,
            )
        budget = int(self.tokens * ratio + 0.5)
        return METHODS[method](self.frames, budget, SEED, Tiling(tube_frames=self.tube_frames))

    def measures(self, shown):
        """The four columns."""
        assert shown.shape == self.frames.shape, (shown.shape, self.frames.shape)
        # reading is what takes time, and a clip without text needs none
        ocr = recall(self.lines, self.read(shown)) if any(self.lines) else None
        return {
            "psnr_db": round(psnr_db(self.frames, shown), 3),
            "ssim": round(ssim(self.frames, shown), 5),
            "ocr_recall": "" if ocr is None else round(ocr, 4),
            "feature_drift": round(abs(drift(self.features, self.look(shown))), 6),
        }
