"""The names of the paths an op may take; apart from `dispatch`, since configurations read them without torch."""

from __future__ import annotations

from typing import Literal, get_args

from framegate.errors import BackendError, nearest

Backend = Literal["auto", "torch", "triton"]
BACKENDS: tuple[str, ...] = get_args(Backend)


def check_backend(backend: str, place: str = "backend") -> None:
    """Refuse a backend that does not exist.

    Raises:
        BackendError: none of auto, torch and triton; the message names the nearest one.
    """
    if backend not in BACKENDS:
        raise BackendError(f"{place} is {backend!r}. {nearest(str(backend), BACKENDS)}")
