"""A clip's luma for as long as a plan is searched: in memory while it is little, in a temporary file beyond.

An exact budget looks at a clip again and again. Two hours of pictures do not fit in memory, and reading the video once
more for every look would cost more than the plan; a file that the system keeps in its cache costs neither.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from framegate.errors import VideoError
from framegate.types import UInt8Array

HELD_BYTES = 96 << 20
# tubes that are looked at before the system may take their memory back
LOOK_TUBES = 64


class HeldLuma:
    """Takes tubes one by one and gives them back as one array."""

    def __init__(self) -> None:
        self._tubes: list[UInt8Array] = []
        self._shape: tuple[int, ...] = ()
        self._count = 0
        self._file: Any = None

    def append(self, tube: UInt8Array) -> None:
        """Hold a tube, uint8 [k, h, w], all of one shape.

        Raises:
            VideoError: the folder for temporary files is full.
        """
        self._shape, self._count = tube.shape, self._count + 1
        self._tubes.append(tube)
        if self._file is not None or self._count * tube.nbytes > HELD_BYTES:
            with self._room():
                self._spill()

    def array(self) -> UInt8Array:
        """All tubes, uint8 [T, k, h, w]; read-only where they are in a file, which goes with the array.

        Raises:
            VideoError: the folder for temporary files is full.
        """
        if self._file is None:
            return np.stack(self._tubes)
        # what is written last waits in a buffer: the disk may be full only now
        with self._room():
            self._file.flush()
            mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
            self._file.close()
        return np.frombuffer(mapped, np.uint8).reshape(self._count, *self._shape)

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="framegate-")  # noqa: SIM115 (it outlives this call)
        for tube in self._tubes:
            self._file.write(np.ascontiguousarray(tube).data)
        self._tubes = []

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            size_gb = self._count * int(np.prod(self._shape)) / 1e9
            raise VideoError(
                f"Planning holds {size_gb:.1f} GB of pictures in {tempfile.gettempdir()!r} so far, and no more can be "
                f"written ({problem}). Set TMPDIR to a folder with room, take fewer frames or a lower width, or leave "
                "the budget out."
            ) from problem


def in_turn(luma: UInt8Array) -> Iterator[UInt8Array]:
    """Give the tubes of [T, ...] one after the other, with no more of a file in memory than a few."""
    for place, tube in enumerate(luma):
        yield tube
        if place % LOOK_TUBES == LOOK_TUBES - 1:
            release(luma)
    release(luma)


def release(luma: UInt8Array) -> None:
    """Let the system take back the memory of what was read of a file; nothing for an array in memory."""
    owner: Any = luma
    while isinstance(owner, np.ndarray):
        owner = owner.base
    owner = owner.obj if isinstance(owner, memoryview) else owner
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)
