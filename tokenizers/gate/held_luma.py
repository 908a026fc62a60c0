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
import numpy.typing as npt

from framegate.errors import VideoError
from framegate.types import UInt8Array

HELD_BYTES = 96 << 20
# tubes that are looked at before the system may take their memory back
LOOK_TUBES = 32

Tubes = npt.NDArray[np.unsignedinteger]


class HeldTubes:
    """Takes what belongs to tubes one by one and gives it back as one array.

    Args:
        limit_bytes: what is more lies in a file; None for HELD_BYTES.
    """

    def __init__(self, limit_bytes: int | None = None) -> None:
        self._limit_bytes = HELD_BYTES if limit_bytes is None else limit_bytes
        self._count = self._bytes = 0
        self._held: Tubes | None = None
        self._file: Any = None

    def append(self, tube: Tubes) -> None:
        """Hold a tube's values, say luma uint8 [k, h, w], all of one shape and type.

        Raises:
            VideoError: the folder for temporary files is full.
        """
        if self._held is None:
            # one piece that the system fills as it is written to, and takes back whole
            self._held = np.empty((self._limit_bytes // tube.nbytes, *tube.shape), tube.dtype)
        self._count += 1
        self._bytes += tube.nbytes
        if self._count <= len(self._held):
            self._held[self._count - 1] = tube
        else:
            with self._room():
                self._spill(self._held, tube)

    def array(self) -> Any:
        """All tubes, [T, ...]; read-only where they are in a file, which goes with the array.

        Raises:
            VideoError: the folder for temporary files is full.
        """
        assert self._held is not None
        if self._file is None:
            return self._held[: self._count]
        # what is written last waits in a buffer: the disk may be full only now
        with self._room():
            self._file.flush()
            mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
            self._file.close()
        return np.frombuffer(mapped, self._held.dtype).reshape(self._count, *self._held.shape[1:])

    def _spill(self, held: Tubes, tube: Tubes) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="framegate-")  # noqa: SIM115 (it outlives this call)
            self._file.write(held.data)
            self._held = held[:0].copy()
        self._file.write(np.ascontiguousarray(tube).data)

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            raise VideoError(
                f"Planning holds {self._bytes / 1e9:.1f} GB of pictures in {tempfile.gettempdir()!r} so far, and no "
                f"more can be written ({problem}). Set TMPDIR to a folder with room, take fewer frames or a lower "
                "width, or leave the budget out."
            ) from problem


def in_turn(luma: UInt8Array) -> Iterator[UInt8Array]:
    """Give the tubes of [T, ...] one after the other, with no more of a file in memory than a few."""
    for place, tube in enumerate(luma):
        yield tube
        if place % LOOK_TUBES == LOOK_TUBES - 1:
            release(luma)
    release(luma)


def release(luma: Tubes) -> None:
    """Let the system take back the memory of what was read of a file; nothing for an array in memory."""
    owner: Any = luma
    while isinstance(owner, np.ndarray):
        owner = owner.base
    owner = owner.obj if isinstance(owner, memoryview) else owner
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)
