"""One thread for numpy's matrix products, for as long as many small ones are taken.

OpenBLAS, which numpy's wheels bring along, splits even a product of 144 x 196 values among the cores and waits for them
in a loop. Alone on a machine that gains next to nothing; beside other work, or in several workers, such a product takes
many times as long. The number of threads is the process's, so the last one out puts it back.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np

# where numpy's wheels keep OpenBLAS, and how its builds name their functions
_FOLDERS = ("../numpy.libs", ".dylibs")
_NAMES = ("scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads64_", "openblas_{}_num_threads")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Take matrix products on the thread that asks for them; where numpy has another BLAS, nothing changes."""
    threads = _threads_of_openblas()
    if threads is None:
        yield
        return
    threads.enter()
    try:
        yield
    finally:
        threads.leave()


class _Threads:
    """How many threads a BLAS may use, and who wants but one."""

    def __init__(self, get: Callable[[], int], put: Callable[[int], None]) -> None:
        self._get, self._put, self._lock = get, put, threading.Lock()
        self._inside, self._before = 0, 1

    def enter(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = self._get()
                self._put(1)
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._put(self._before)


@cache
def _threads_of_openblas() -> _Threads | None:
    root = Path(np.__file__).parent
    for path in (found for folder in _FOLDERS for found in (root / folder).glob("*openblas*")):
        try:
            library = ctypes.CDLL(str(path.resolve()))
        except OSError:
            continue
        for name in _NAMES:
            if hasattr(library, name.format("get")) and hasattr(library, name.format("set")):
                put = library[name.format("set")]
                put.restype = None
                return _Threads(library[name.format("get")], put)
    return None
