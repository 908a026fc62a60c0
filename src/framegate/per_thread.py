"""State that every thread has for itself, on objects that are copied and pickled."""

from __future__ import annotations

import threading
from typing import Any


class PerThread(threading.local):
    """Attributes that each thread sees its own values of; copies and pickles start without any.

    Args:
        defaults: what a thread finds that has set nothing yet.
    """

    def __init__(self, **defaults: Any) -> None:
        # threading.local calls this anew in every thread, with the same arguments
        self._defaults = defaults
        self.__dict__.update(defaults)

    def __deepcopy__(self, memo: Any) -> PerThread:
        return PerThread(**self._defaults)

    def __reduce__(self) -> tuple[Any, ...]:
        return _renewed, (self._defaults,)


def _renewed(defaults: dict[str, Any]) -> PerThread:
    return PerThread(**defaults)
