"""What the hooks on a processor's methods share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class MethodHook:
    """Stands before a method of one processor; a plain object, so that copies and pickles of it work.

    Args:
        processor: the processor it is set on.
        previous: what was set on that instance before, None for the class's own method.
    """

    processor: Any
    previous: Any = None

    def stock(self, name: str) -> Any:
        """The method it stands before, bound to the processor."""
        return self.previous or getattr(type(self.processor), name).__get__(self.processor)
