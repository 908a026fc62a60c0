"""The memory of a session: tokens tube by tube, whole while new, thinned and then left out as they grow old."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from framegate.errors import BudgetError
from framegate.models.live.stored import StoredVideo
from framegate.models.video_tokens import VideoTokens
from framegate.types import Float64Array

# of the budget, for tubes that are held whole; the other part is for the past
WHOLE_SHARE = 0.5


@dataclass(frozen=True, kw_only=True)
class StoredTube:
    """One tube in memory.

    Args:
        tokens: at least one, on a grid of one tube.
        times_seconds: of its frames, by the clock of the stream, float64 [k].
        number: among all tubes of the stream.
        encoded_cells: cells of the stream that the tower encoded up to here, with this tube's.
        change: by how much each cell had changed when the gate decided on it, float32 [C].
        news: cells whose content is not that of the tube held before, bool [C].
        is_whole: nothing was thinned out.
    """

    tokens: VideoTokens
    times_seconds: Float64Array
    number: int
    encoded_cells: int
    change: Tensor = field(repr=False)
    news: Tensor = field(repr=False)
    is_whole: bool = True

    @property
    def seconds(self) -> float:
        """Time of its first frame."""
        return float(self.times_seconds[0])

    @property
    def num_tokens(self) -> int:
        """Tokens that it holds."""
        return self.tokens.num_tokens


# a whole tube and a number of tokens to the tube with so many
Thin = Callable[[StoredTube, int], StoredTube]


def check_budget(max_tokens: int, tube_tokens: int) -> None:
    """Refuse a budget that does not hold two whole tubes.

    Raises:
        BudgetError: it tells what would.
    """
    if tube_tokens > max_tokens * WHOLE_SHARE:
        raise BudgetError(
            f"max_video_tokens is {max_tokens}, and a tube has {tube_tokens} tokens: a session holds at least two. "
            f"Give {2 * tube_tokens} or more, or a smaller width_px."
        )


class RollingMemory:
    """Holds a stream's tokens within a budget, for ever.

    The newest tubes are held whole, in half of the budget. One that grows too old for that is thinned to its most
    telling tokens. Where the other half is full too, a tube of the past is left out: the one whose absence makes the
    smallest gap for its age and loses the fewest news, so that the past is held the sparser the longer ago it is.

    Args:
        max_tokens: most tokens of all tubes.
        past_tokens_per_tube: tokens of a tube of the past.
        horizon_seconds: how long ago a tube may be; older ones go.
        thin: brings a tube down to so many tokens.

    Source: ours; the sparser past is that of logarithmic histories, the tokens that stay are those of the select rule.
    """

    def __init__(
        self, *, max_tokens: int, past_tokens_per_tube: int, horizon_seconds: float, thin: Thin
    ) -> None:
        self.max_tokens, self.past_tokens_per_tube = max_tokens, past_tokens_per_tube
        self.horizon_seconds, self._thin = horizon_seconds, thin
        self.tubes: list[StoredTube] = []
        self.num_tokens = 0

    def add(self, tube: StoredTube) -> None:
        """Hold a tube that follows the others, and let go what it takes.

        Raises:
            BudgetError: the budget does not hold two whole tubes.
        """
        check_budget(self.max_tokens, tube.num_tokens)
        self.tubes.append(tube)
        self.num_tokens += tube.num_tokens
        self._forget_old()
        while self.num_tokens > self.max_tokens:
            whole = [place for place, one in enumerate(self.tubes) if one.is_whole]
            held = sum(self.tubes[place].num_tokens for place in whole)
            if held > self.max_tokens * WHOLE_SHARE:
                self._thin_at(whole[0])
            else:
                self._leave_out(self._cheapest())

    def clear(self) -> None:
        """Let all go."""
        self.tubes, self.num_tokens = [], 0

    @property
    def num_bytes(self) -> int:
        """Bytes of all features."""
        layers = (layer for tube in self.tubes for layer in tube.tokens.layers)
        return sum(layer.nelement() * layer.element_size() for layer in layers)

    def _forget_old(self) -> None:
        oldest = self.tubes[-1].seconds - self.horizon_seconds
        while self.tubes[0].seconds < oldest:
            self._leave_out(0)

    def _thin_at(self, place: int) -> None:
        whole = self.tubes[place]
        thinned = self._thin(whole, min(self.past_tokens_per_tube, whole.num_tokens))
        self.tubes[place] = replace(thinned, is_whole=False)
        self.num_tokens += thinned.num_tokens - whole.num_tokens

    def _leave_out(self, place: int) -> None:
        gone = self.tubes.pop(place)
        self.num_tokens -= gone.num_tokens
        if place < len(self.tubes):
            after = self.tubes[place]
            # what changed in the one that went is not what the tube before it shows
            self.tubes[place] = replace(after, news=after.news | gone.news)

    def _cheapest(self) -> int:
        """The tube of the past that is missed least; the first one has no tube before it, and is missed most."""
        now, past = self.tubes[-1].seconds, [n for n, tube in enumerate(self.tubes) if not tube.is_whole]
        inner = [place for place in past if place > 0] or past
        return min(inner, key=lambda place: self._cost(place, now))

    def _cost(self, place: int, now: float) -> float:
        tube, tubes = self.tubes[place], self.tubes
        before, after = tubes[max(place - 1, 0)].seconds, tubes[min(place + 1, len(tubes) - 1)].seconds
        news = (1 + int(tube.news.sum())) / (1 + len(tube.news))
        # a scene that changes as a whole is worth more than one letter, but not as much more as it is larger
        return float((after - before) / max(now - tube.seconds, 1e-3) * news**0.5)


def joined(tubes: Sequence[StoredTube]) -> StoredVideo:
    """Join tubes, in order of time, to one video.

    Args:
        tubes: at least one, on one grid.

    Returns:
        Their tokens on the grid of these tubes alone, so that nothing of it depends on how long a stream has run.
    """
    first, last = tubes[0], tubes[-1]
    _, rows, columns = first.tokens.shapes[0]
    parts, area = [tube.tokens for tube in tubes], rows * columns
    starts = torch.tensor([0, *(part.num_tokens for part in parts)]).cumsum(0)
    tokens = VideoTokens(
        layers=tuple(torch.cat(layers) for layers in zip(*(part.layers for part in parts), strict=True)),
        cell=torch.cat([part.cell + number * area for number, part in enumerate(parts)]),
        size=torch.cat([part.size for part in parts]),
        source=torch.cat(
            [
                torch.where(part.source >= 0, part.source + start, -1)
                for part, start in zip(parts, starts, strict=False)
            ]
        ),
        age=torch.cat([part.age for part in parts]),
        shapes=((len(parts), rows, columns),),
        backend=parts[0].backend,
    )
    encoded_first = int((first.tokens.age == 0).sum())
    return StoredVideo(
        tokens=tokens,
        video_seconds=last.seconds - first.seconds,
        seen_tubes=last.number - first.number + 1,
        encoded_cells=last.encoded_cells - first.encoded_cells + encoded_first,
    )
