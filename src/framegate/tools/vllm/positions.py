"""Positions of a prompt whose videos lack cells: those of the full prompt, of what is left of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from framegate.errors import PlaceholderError
from framegate.models.video_tokens import Shape


class Shown(NamedTuple):
    """A picture or a video in a prompt.

    Args:
        start: column of its first placeholder; of a video the column from which its tubes are looked for.
        shape: tubes, rows and columns of cells; 1 tube for a picture.
        counts: tokens of each tube.
        cells: int64 [n], the cells that have a token, of all tubes; None where they are known behind the tower alone.
        is_video: marks stand around each of its tubes.
    """

    start: int
    shape: Shape
    counts: Sequence[int]
    cells: Tensor | None
    is_video: bool = True


def prompt_positions(
    ids: Sequence[int], shown: Iterable[Shown], *, start_id: int, end_id: int
) -> tuple[Tensor, int]:
    """Place the tokens of a prompt as if every cell stood in it.

    A tube's cells stand at (s, s + row, s + column), and what follows it at s + max(H, W), whether or not it has a
    token; a cell that is known behind the tower alone stands at (s, s, s) until `moved` puts it right.

    Args:
        ids: the prompt.
        shown: what it shows, in order.
        start_id: the token before the placeholders of a tube or picture.
        end_id: the token behind them.

    Returns:
        int64 [3, n], and by how much the next token's position is ahead of its number.

    Raises:
        PlaceholderError: fewer tubes in the prompt than its videos have, or another number of placeholders.

    Source: transformers' get_rope_index of Qwen3-VL, on the full prompt; then indexed (ours).
    """
    ids = list(ids)
    parts: list[Tensor] = []
    done, at = 0, 0
    for item in shown:
        tubes, height, width = item.shape
        column = item.start
        for tube, cells in zip(range(tubes), _cells_of_tubes(item), strict=True):
            first, last = _run(ids, column, item, tube, start_id, end_id)
            parts.append(_text(at, first - done))
            at += first - done
            parts.append(at + _within(cells, width))
            at, done, column = at + max(height, width), last, last
    parts.append(_text(at, len(ids) - done))
    return torch.cat(parts, dim=1), at - done


def _run(ids: list[int], column: int, item: Shown, tube: int, start_id: int, end_id: int) -> tuple[int, int]:
    """First and last column of a tube's placeholders, the last not among them."""
    count = item.counts[tube]
    if not item.is_video:
        return column, column + count
    first = _mark(ids, start_id, column) + 1
    last = _mark(ids, end_id, first)
    if last - first != count:
        raise PlaceholderError(
            f"Tube {tube} was planned with {count} tokens, and its prompt has {last - first}."
        )
    return first, last


def moved(
    ids: Sequence[int] | Tensor,
    embeddings: Sequence[Tensor],
    positions: Tensor,
    num_computed: int,
    *,
    placeholders: tuple[int, ...],
) -> tuple[list[Tensor], Tensor, int]:
    """Put tokens at the rows and columns that came with their features.

    Args:
        ids: the prompt, [n].
        embeddings: of this step's part of the prompt, in order, [m, D + 2] each, row and column last.
        positions: of the prompt, int64 [3, n].
        num_computed: tokens of the prompt before this step's part.
        placeholders: tokens that stand for features.

    Returns:
        The embeddings without rows and columns, the positions, and how far the next token's is ahead of its number.

    Source: ours, in the place of EVS' `recompute_mrope_positions` of vLLM, which counts tokens on.
    """
    delta = int(positions.max()) + 1 - positions.shape[1]
    if not embeddings:
        return [], positions, delta
    places = torch.cat([each[:, -2:] for each in embeddings]).to(positions.device).long()
    known = torch.as_tensor(ids, device=positions.device)
    columns = torch.isin(known, torch.tensor(placeholders, device=known.device)).nonzero()[:, 0]
    columns = columns[columns >= num_computed][: len(places)]
    positions = positions.clone()
    positions[1:, columns] = positions[0, columns] + places[: len(columns)].T
    return [each[:, :-2] for each in embeddings], positions, delta


def _cells_of_tubes(item: Shown) -> list[Tensor | int]:
    """Per tube the cells that have a token, by their number in it; where nobody knows, how many."""
    tubes, height, width = item.shape
    if item.cells is None:
        return list(item.counts)
    tube = item.cells // (height * width)
    return [item.cells[tube == number] % (height * width) for number in range(tubes)]


def _within(cells: Tensor | int, width: int) -> Tensor:
    if isinstance(cells, int):
        return torch.zeros(3, cells, dtype=torch.long)
    return torch.stack([torch.zeros_like(cells), cells // width, cells % width])


def _text(at: int, length: int) -> Tensor:
    return (at + torch.arange(length)).expand(3, -1)


def _mark(ids: list[int], token: int, column: int) -> int:
    try:
        return ids.index(token, column)
    except ValueError as error:
        raise PlaceholderError(
            f"The prompt has no token {token} from column {column} on, where a video's tube is looked for."
        ) from error
