"""Every error framegate raises on a user's mistake: each names the value, the place and what would work."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# so many names are read at a glance
FEW = 24


class FramegateError(Exception):
    """Base of all errors of this package; each concrete one is also a ValueError, TypeError or OSError."""


class ConfigError(FramegateError, ValueError):
    """A setting is unknown, out of range or contradicts another."""


class BudgetError(ConfigError):
    """A token budget is out of range, or below one token per video."""


class BackendError(ConfigError):
    """A backend was named that cannot run here."""


class DisagreementError(FramegateError, ValueError):
    """What computes an op gives something else than its reference does."""


class UnsupportedModelError(FramegateError, TypeError):
    """The model's class is in no row of the family table."""


class AttachmentError(FramegateError, ValueError):
    """A front end cannot be attached, or a call cannot be served while it is attached."""


class PlaceholderError(FramegateError, ValueError):
    """Placeholders in the prompt and the features for them do not match in number."""


class FrameError(FramegateError, ValueError):
    """Frames or their time stamps cannot be used: wrong shape, too small, NaN, times that go back."""


class PlanError(FramegateError, ValueError):
    """A plan is cut, of another version, without its frames, or does not belong to what it is used for."""


class VideoError(FramegateError, OSError):
    """A video cannot be opened or decoded."""


class VideoNotFoundError(VideoError, FileNotFoundError):
    """There is no file at the given path."""


class CapError(FramegateError, ValueError):
    """A video of a request is beyond a cap (`framegate.tokenizers.caps.Caps`), whose name stands in `cap`."""

    def __init__(self, message: str, *, cap: str = "") -> None:
        super().__init__(message)
        self.cap = cap

    def __reduce__(self) -> tuple[object, ...]:
        return _cap_error, (str(self), self.cap)


class OutputError(FramegateError, OSError):
    """What was made cannot be written: a full disk, say."""


class UnanswerableError(FramegateError, ValueError):
    """A question has no video, or asks about a time outside it."""


def _cap_error(message: str, cap: str) -> CapError:
    """Make one anew, behind a process."""
    return CapError(message, cap=cap)


def nearest(name: str, known: Iterable[str]) -> str:
    """Word the help for a mistyped name, as the end of a message: the nearest known one, and all, where that helps."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]!r}?" if close else ""
    # a list of eighty settings would bury the one that was surely meant
    if len(names) > FEW and difflib.get_close_matches(name, names, n=1, cutoff=0.8):
        return hint
    return f"{hint} Known: {', '.join(names) or 'none'}.".lstrip()
