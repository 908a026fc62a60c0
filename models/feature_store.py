"""FeatureStore: what a tower made of tubes, kept in bounded memory for calls that show them again."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from torch import Tensor

from framegate.errors import ConfigError

Layers = tuple[Tensor, ...]


class FeatureStore:
    """Holds the features of tubes; where they are too many, those that were not used for longest go first.

    Several threads may share one. Copies and pickles of a front end know nothing of it.

    Args:
        max_bytes: most bytes of features that are held, on the device of the model.

    Raises:
        ConfigError: max_bytes below 1.
    """

    def __init__(self, max_bytes: int) -> None:
        if max_bytes < 1:
            raise ConfigError(f"max_bytes is {max_bytes}; a store of features needs at least 1, say 1 << 30.")
        self.max_bytes = max_bytes
        self._tubes: OrderedDict[bytes, Layers] = OrderedDict()
        self._num_bytes = 0
        self._made_by = b""
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"FeatureStore({self.num_tubes} tubes, {self.num_bytes:,} of {self.max_bytes:,} bytes)"

    @property
    def num_tubes(self) -> int:
        """Tubes that are held."""
        return len(self._tubes)

    @property
    def num_bytes(self) -> int:
        """Bytes of their features."""
        return self._num_bytes

    def forget(self) -> None:
        """Let all go."""
        with self._lock:
            self._tubes.clear()
            self._num_bytes = 0

    def follow(self, made_by: bytes) -> int:
        """Let all go that another tower made, or this one before it changed.

        Args:
            made_by: fingerprint of the tower as it is.

        Returns:
            Tubes that were let go.
        """
        with self._lock:
            lost = 0 if self._made_by == made_by else self.num_tubes
            if lost:
                self._tubes.clear()
                self._num_bytes = 0
            self._made_by = made_by
        return lost

    def take(self, key: bytes, *, made_by: bytes) -> Layers | None:
        """Find the features of a tube, [k, D] each; None where they are not held, or another tower made them."""
        with self._lock:
            found = self._tubes.get(key) if self._made_by == made_by else None
            if found is not None:
                self._tubes.move_to_end(key)
        return found

    def fits(self, layers: Layers) -> bool:
        """Tell whether the features of a tube can be held at all."""
        return _bytes_of(layers) <= self.max_bytes

    def put(self, key: bytes, layers: Layers, *, made_by: bytes) -> int:
        """Hold copies of the features of a tube; what is larger than the store, or of an older tower, is not held.

        Returns:
            Tubes that were let go for it.
        """
        lost = 0
        with self._lock:
            if not self.fits(layers) or key in self._tubes or self._made_by != made_by:
                return lost
            # a part of a call's features would keep all of them in memory
            self._tubes[key] = tuple(layer.detach().clone() for layer in layers)
            self._num_bytes += _bytes_of(layers)
            while self._num_bytes > self.max_bytes:
                _, old = self._tubes.popitem(last=False)
                self._num_bytes -= _bytes_of(old)
                lost += 1
        return lost


def _bytes_of(layers: Layers) -> int:
    return sum(layer.nelement() * layer.element_size() for layer in layers)
