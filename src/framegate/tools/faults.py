"""What becomes of a sample that cannot be used: one choice for training, evaluation and batches."""

from __future__ import annotations

from typing import Literal

from framegate.errors import FrameError

# "raise" ends the run at the first one; "skip" leaves it out, counted and listed
OnFault = Literal["raise", "skip"]
# what a video that cannot be read raises (VideoError is an OSError); never what is wrong with a setting
UNREADABLE: tuple[type[Exception], ...] = (OSError, FrameError)
