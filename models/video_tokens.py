"""VideoTokens: the tokens between tower and language model, where they stand and what they stand for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from framegate.kernels.backend import Backend
from framegate.kernels.segment_merge import segment_merge

Shape = tuple[int, int, int]
# features [N, D], and by name size, segment, num_segments and backend -> means [M, D] and their sizes
Mean = Callable[..., tuple[Tensor, Tensor]]


def mean_of_segments(
    features: Tensor, *, size: Tensor, segment: Tensor, num_segments: int, backend: Backend
) -> tuple[Tensor, Tensor]:
    """Merge by segment_merge where the features are, whose index tensors come from the CPU."""
    at = features.device
    return segment_merge(features, size.to(at), segment.to(at), num_segments, backend=backend)


@dataclass(frozen=True, kw_only=True)
class VideoTokens:
    """The tokens of all videos of a call, in the order in which the language model reads them.

    Dense cells of all videos are numbered through: video by video, tube by tube, row by row. Index tensors live on the
    CPU, features where the model is.

    Args:
        layers: features [N, D] each; the first enters the language model, the others (DeepStack) its layers.
        cell: dense cell at which each token stands in the prompt, int64 [N], rising.
        size: number of dense cells that each token stands for, int64 [N], at least 1.
        source: token that stands for each dense cell, int64 [C]; -1 for cells that no token shows.
        age: tubes that have passed since each token's content was encoded, int64 [N]; 0 in the tube that encoded it. Of
            merged tokens the age of the youngest.
        shapes: tubes, rows and columns of cells of each video.
        backend: how features are merged, "auto", "torch" or "triton".
    """

    layers: tuple[Tensor, ...] = field(repr=False)
    cell: Tensor = field(repr=False)
    size: Tensor = field(repr=False)
    source: Tensor = field(repr=False)
    age: Tensor = field(repr=False)
    shapes: tuple[Shape, ...]
    backend: Backend = "auto"

    def __post_init__(self) -> None:
        assert len({len(self.cell), len(self.size), len(self.age), *map(len, self.layers)}) == 1, (
            "one row per token"
        )
        assert len(self.source) == sum(t * h * w for t, h, w in self.shapes), "one source per dense cell"
        assert bool((self.cell.diff() > 0).all()), "tokens stand in the order of their cells"

    @classmethod
    def of_cells(
        cls,
        layers: Sequence[Tensor],
        keep: Tensor,
        anchor: Tensor,
        shapes: Sequence[Shape],
        *,
        backend: Backend = "auto",
    ) -> VideoTokens:
        """Make tokens of what the gate kept; each cell is stood for by its anchor's token.

        layers: features [K, D] of the kept cells, in order; keep bool [C]; anchor int64 [C], its own where kept, -1 for
        none.
        """
        cell = keep.nonzero()[:, 0]
        rank = torch.full((len(keep),), -1, dtype=torch.long)
        rank[cell] = torch.arange(len(cell))
        source = torch.where(anchor >= 0, rank[anchor.clamp(min=0)], -1)
        size = torch.bincount(source[source >= 0], minlength=len(cell))
        return cls(
            layers=tuple(layers),
            cell=cell,
            size=size,
            source=source,
            age=torch.zeros_like(cell),
            shapes=tuple(shapes),
            backend=backend,
        )

    def refilled(self) -> VideoTokens:
        """Give every cell that something shows a token of its own: what stands for it, at its own place.

        Returns:
            One token per shown cell, every layer filled alike; its age says how old the content is, against the tube of
            the cell. Cells that were never shown have none.
        """
        cell = (self.source >= 0).nonzero()[:, 0]
        of_cell = self.source[cell]
        rows = of_cell.to(self.features.device)
        source = torch.full_like(self.source, -1)
        source[cell] = torch.arange(len(cell))
        filled = replace(
            self,
            layers=tuple(layer[rows] for layer in self.layers),
            cell=cell,
            size=torch.ones_like(cell),
            source=source,
            age=self.age[of_cell],
        )
        return replace(filled, age=filled.age + filled.tyx[:, 0] - self.tyx[of_cell, 0])

    @property
    def features(self) -> Tensor:
        """What enters the language model, [N, D]."""
        return self.layers[0]

    @property
    def num_tokens(self) -> int:
        """N, all videos together."""
        return len(self.cell)

    @property
    def num_cells(self) -> int:
        """C, dense cells of all videos."""
        return len(self.source)

    @property
    def counts(self) -> list[int]:
        """Tokens of each video."""
        return torch.bincount(self.video, minlength=len(self.shapes)).tolist()

    @property
    def video(self) -> Tensor:
        """Video of each token, int64 [N]."""
        return self._place()[:, 0]

    @property
    def tyx(self) -> Tensor:
        """Tube, row and column at which each token stands, in its own video, int64 [N, 3]."""
        return self._place()[:, 1:]

    def merged(self, segment: Tensor, *, mean: Mean = mean_of_segments) -> VideoTokens:
        """Replace the tokens of each segment by their size-weighted mean.

        Args:
            segment: int64 [N], any numbers of 0 and above that say which tokens belong together, all of one video; -1
                drops a token, and its cells are then shown by none.
            mean: what works out the means, for segments of which more is known.

        Returns:
            The fewer tokens, in the order of their cells. A merged one stands at a cell of its earliest members: in
            their tube, the one nearest to their middle, ties to the earlier cell.

        Source: ours; the earlier slot is where GRT's released code writes a merged scene.
        """
        numbers, of_token = torch.unique(segment[segment >= 0], return_inverse=True)
        compact = torch.full_like(segment, -1)
        compact[segment >= 0] = of_token
        stands = self._standing(compact, len(numbers))
        order = torch.argsort(self.cell[stands])
        compact[segment >= 0] = torch.argsort(order)[of_token]
        merged = [
            mean(
                layer,
                size=self.size,
                segment=compact,
                num_segments=len(numbers),
                backend=self.backend,
            )[0]
            for layer in self.layers
        ]
        size = torch.zeros(len(numbers), dtype=torch.long)
        size.index_add_(0, compact[compact >= 0], self.size[compact >= 0])
        source = torch.where(self.source >= 0, compact[self.source.clamp(min=0)], -1)
        cell, layers = self.cell[stands[order]], tuple(merged)
        return replace(self, layers=layers, cell=cell, size=size, source=source, age=self._youngest(compact))

    def kept(self, keep: Tensor) -> VideoTokens:
        """Leave the tokens of bool [N], unchanged and in order; cells of the others are shown by none."""
        if bool(keep.all()):
            return self
        rows = keep.nonzero()[:, 0]
        rank = torch.full((self.num_tokens + 1,), -1)  # the last place: cells that no token shows
        rank[rows] = torch.arange(len(rows))
        at = rows.to(self.features.device)
        return replace(
            self,
            layers=tuple(layer[at] for layer in self.layers),
            cell=self.cell[rows],
            size=self.size[rows],
            source=rank[self.source],
            age=self.age[rows],
        )

    def with_features(self, features: Tensor) -> VideoTokens:
        """Replace what enters the language model, [N, D]; the other layers stay."""
        return replace(self, layers=(features, *self.layers[1:]))

    def _place(self) -> Tensor:
        """Video, tube, row and column of each token, int64 [N, 4]."""
        cells = torch.tensor([t * h * w for t, h, w in self.shapes])
        starts = torch.cat([torch.zeros(1, dtype=torch.long), cells.cumsum(0)])
        video = torch.bucketize(self.cell, starts[1:], right=True)
        shape = torch.tensor(self.shapes)[video]
        inside = self.cell - starts[video]
        area = shape[:, 1] * shape[:, 2]
        row, column = (inside % area) // shape[:, 2], inside % area % shape[:, 2]
        return torch.stack([video, inside // area, row, column], dim=1)

    def _youngest(self, segment: Tensor) -> Tensor:
        """Least age in each segment, int64 [M]; -1 belongs to none."""
        member = segment >= 0
        youngest = self.age.new_zeros(int(segment.max()) + 1 if bool(member.any()) else 0)
        return youngest.scatter_reduce(0, segment[member], self.age[member], "amin", include_self=False)

    def _standing(self, segment: Tensor, num_segments: int) -> Tensor:
        """Token at whose cell each segment stands, int64 [M]."""
        place = self._place()
        moment = place[:, 0] * (int(place[:, 1].max()) + 1 if len(place) else 1) + place[:, 1]
        members = (segment >= 0).nonzero()[:, 0]
        first = torch.full((num_segments,), torch.iinfo(torch.long).max)
        first = first.scatter_reduce(0, segment[members], moment[members], "amin")
        early = members[moment[members] == first[segment[members]]]
        of_early, yx = segment[early], place[early, 2:].double()
        count = torch.bincount(of_early, minlength=num_segments)[:, None]
        middle = torch.zeros(num_segments, 2, dtype=torch.double).index_add(0, of_early, yx) / count
        distance = (yx - middle[of_early]).square().sum(1)
        order = distance.argsort(stable=True)  # ties to the earlier cell
        order = order[of_early[order].argsort(stable=True)]
        return early[order[torch.cat([torch.zeros(1, dtype=torch.long), count[:-1, 0].cumsum(0)])]]


def first_tubes(tokens: VideoTokens) -> list[int]:
    """Number of the first tube of each video, and behind them the number of all tubes."""
    starts = [0]
    for tubes, _, _ in tokens.shapes:
        starts.append(starts[-1] + tubes)
    return starts


def tube_of_token(tokens: VideoTokens) -> Tensor:
    """Number of the tube in which each token stands, int64 [N], rising."""
    return torch.tensor(first_tubes(tokens))[tokens.video] + tokens.tyx[:, 0]


def tokens_per_tube(tokens: VideoTokens) -> Tensor:
    """Number of tokens that stand in each tube, int64 [tubes]."""
    return torch.bincount(tube_of_token(tokens), minlength=first_tubes(tokens)[-1])


def cells_per_tube(tokens: VideoTokens) -> Tensor:
    """Number of cells of each tube, int64 [tubes]."""
    tubes, area = [t for t, _, _ in tokens.shapes], [h * w for _, h, w in tokens.shapes]
    return torch.tensor(area).repeat_interleave(torch.tensor(tubes))


def encoded_cells_per_tube(tokens: VideoTokens) -> Tensor:
    """Number of cells of each tube that were encoded in it, and a token of it stands for; int64 [tubes]."""
    cells = cells_per_tube(tokens)
    of_cell = torch.arange(len(cells)).repeat_interleave(cells)
    shown = tokens.source >= 0
    by = tokens.source[shown]
    own = (tube_of_token(tokens)[by] == of_cell[shown]) & (tokens.age[by] == 0)
    return torch.bincount(of_cell[shown][own], minlength=len(cells))


def tube_means(tokens: VideoTokens) -> Tensor:
    """Mean of the features of each tube's tokens, at least float32 [tubes, D], zeros where none stand."""
    features, count = tokens.features, tokens_per_tube(tokens)
    wide = features.to(torch.promote_types(features.dtype, torch.float32))
    tube = tube_of_token(tokens).to(features.device)
    total = wide.new_zeros(len(count), features.shape[1]).index_add(0, tube, wide)
    return total / count.clamp(min=1).to(wide)[:, None]


def merged_by(tokens: VideoTokens, segment: Tensor, *, mean: Mean = mean_of_segments) -> VideoTokens:
    """Merge tokens by segments of 0 and above, int64 [N]; the same object when each has a token of its own."""
    alone = len(torch.unique(segment)) == tokens.num_tokens
    return tokens if alone else tokens.merged(segment, mean=mean)
