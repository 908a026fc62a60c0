"""What the attachment needs of a family's tower; each kind of tower in models/towers offers one such class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from framegate.kernels.backend import Backend
from framegate.models.cell_plan import CellPlan
from framegate.models.family import Family
from framegate.models.towers.patches import PatchLayout, Scaling
from framegate.models.video_tokens import Shape, VideoTokens
from framegate.types import UInt8Array


@dataclass(frozen=True, kw_only=True)
class JudgedFrames:
    """A video of a call as the gate judges it.

    Args:
        frames: uint8 [F, h, w, 3], at the size at which a cell is cell_px wide.
        cell_px: side of a cell.
        tube_frames: frames of a tube.
    """

    frames: UInt8Array
    cell_px: int
    tube_frames: int


class Encoded(NamedTuple):
    """What a tower made of kept cells.

    Args:
        layers: features [K, D] in token order: what enters the language model, then DeepStack layers.
        output: the tower's own output object, which carries what the stock model reads besides.
        notes: what a report should say of how they were encoded.
    """

    layers: list[Tensor]
    output: Any
    notes: tuple[str, ...] = ()


class Mechanism(Protocol):
    """A tower that can run on kept cells alone, of one model and one family.

    `consumed` names the keyword arguments that media and positions stand in for; `columns` those of one value a column,
    [B, S], that the language model reads besides; `encodes_tubes_apart` says that the features of a tube's kept cells
    come from these alone, and are all that is handed on of it.
    """

    consumed: tuple[str, ...]
    columns: tuple[str, ...]
    encodes_tubes_apart: bool
    inner: Any
    family: Family
    scaling: Scaling

    def __init__(self, inner: Any, family: Family, scaling: Scaling) -> None:
        """Bind to the model without its language-model head."""
        ...

    @property
    def tower(self) -> Any:
        """The vision tower, a module."""
        ...

    @property
    def layout(self) -> PatchLayout | None:
        """How a processor has to cut frames for the tower; None where it cuts frames of one size itself."""
        ...

    @property
    def cell_px(self) -> int:
        """Side of a cell in the frames that the gate judges."""
        ...

    @property
    def merge_size(self) -> int:
        """Patches along the side of a cell."""
        ...

    def shapes(self, call: dict[str, Any]) -> list[Shape]:
        """Tubes, rows and columns of cells of each video of a call."""
        ...

    def num_patches(self, call: dict[str, Any]) -> int:
        """Patches of all videos when nothing is skipped."""
        ...

    def judged(self, call: dict[str, Any]) -> list[JudgedFrames]:
        """The videos of stock pixels, as frames; raises PlaceholderError or FrameError for pixels that do not fit."""
        ...

    def luma(self, call: dict[str, Any]) -> list[Tensor] | None:
        """Luma of the videos of stock pixels where they are, uint8 [T, k, h, w] each; None for towers without."""
        ...

    def kept_pixels(self, call: dict[str, Any], cells: CellPlan, *, backend: Backend) -> Tensor:
        """Rows of the kept cells, in token order, out of stock pixels."""
        ...

    def check_kept(self, call: dict[str, Any], cells: CellPlan) -> None:
        """Raise PlaceholderError when the rows that a processor handed over do not fit its cells."""
        ...

    def tube_rows(self, pixels: Tensor, cells: CellPlan) -> list[Tensor]:
        """What `encode` reads of each tube, in order; those of some tubes, joined, are what it reads of these alone."""
        ...

    def tube_lengths(self, call: dict[str, Any]) -> list[int] | None:
        """Frames of each tube of a call, where equal rows may be of tubes that differ in it; None where none does."""
        ...

    def reused_pixels(self, pixels: Tensor, cells: CellPlan, call: dict[str, Any]) -> Tensor:
        """Rows of all cells, in token order, in which every skipped cell has its anchor's."""
        ...

    def stock_pixels(self, pixels: Tensor, cells: CellPlan, call: dict[str, Any]) -> Tensor | None:
        """The same as the stock model takes them; None where it takes no such videos in one call."""
        ...

    def encode(
        self, pixels: Tensor, call: dict[str, Any], cells: CellPlan, *, anchored: bool, backend: Backend
    ) -> Encoded:
        """Features of the kept cells in token order; the backend holds where the tower's attention is framegate's."""
        ...

    def read_along(self, caller: Mapping[str, Any], ids: Tensor) -> dict[str, Tensor]:
        """Keyword arguments of a caller that tell of each token, for the ids [B, n] that the model reads instead."""
        ...

    def media(self, encoded: Encoded, tokens: VideoTokens, call: dict[str, Any]) -> dict[str, Any]:
        """The tokens' features, and those of the call's images, by "video" and "image", for `MEDIA_KEY`."""
        ...

    def placeholders(self, call: dict[str, Any]) -> Tensor:
        """Which of the caller's tokens stand for videos, bool [B, S]."""
        ...

    def opened(self, call: dict[str, Any]) -> dict[str, Any]:
        """A caller's call with its videos in pixel_values_videos, wherever they came; unchanged without videos."""
        ...

    def closed(self, call: dict[str, Any]) -> dict[str, Any]:
        """A call with pixel_values_videos of whole videos as the stock model takes it."""
        ...

    def is_stamped(self, call: dict[str, Any]) -> bool:
        """True when stamps of time that the stock model cannot place stand between the tubes of a video."""
        ...

    def positions(self, call: dict[str, Any], attention_mask: Tensor) -> Tensor:
        """Positions of the caller's prompt, int64 [axes, B, S], as `PromptMap.build` takes them."""
        ...


def mechanism_of(inner: Any, family: Family, scaling: Scaling | None = None) -> Mechanism:
    """Bind a family's tower to a model, the family's way of scaling pixels where none is given.

    Raises:
        UnsupportedModelError: the model has another tower than its family's; the message names the one that works.
    """
    bound: Mechanism = family.bind(inner, family, scaling or family.scaling)
    return bound
