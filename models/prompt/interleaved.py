"""Positions of prompts whose videos are interrupted by stamps, and which columns those stamps are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from framegate.errors import PlaceholderError

_TEXT, _IMAGE, _VIDEO = 0, 1, 2
_NAMES = {_IMAGE: "image", _VIDEO: "video"}


def is_interleaved(
    input_ids: torch.Tensor,
    token_types: torch.Tensor,
    *,
    num_videos: int,
    vision_start_id: int | None,
) -> bool:
    """Tell whether stamps interrupt the videos of a prompt.

    Args:
        input_ids: int64 [B, S].
        token_types: int [B, S], text 0, image 1, video 2; what a mask hides is no interruption.
        num_videos: videos in the whole batch.
        vision_start_id: the token that opens a block of vision; None where the family has none.

    Returns:
        True when there are more runs of video placeholders than videos, and not every run is opened by
        vision_start_id, as it is where a family writes its own time markers (Qwen3-VL).
    """
    video = token_types == _VIDEO
    starts = video.clone()
    starts[:, 1:] &= ~video[:, :-1]
    opened = torch.zeros_like(starts)
    if vision_start_id is not None:
        opened[:, 1:] = input_ids[:, :-1] == vision_start_id
    return int(starts.sum()) > num_videos and bool((starts & ~opened).any())


def interleaved_positions(
    input_ids: torch.Tensor,
    token_types: torch.Tensor,
    attention_mask: torch.Tensor,
    image_grid_thw: torch.Tensor | None,
    video_grid_thw: torch.Tensor | None,
    *,
    spatial_merge_size: int,
    tube_steps: Sequence[float] | None = None,
) -> torch.Tensor:
    """Place the tokens of prompts in which stamps follow the tubes of a video.

    Tubes share the rows and columns of their video's first tube; time goes on by one from tube to stamp, within the
    stamp, and from stamp to tube. What follows the last tube starts beyond the largest position of that tube.
    Images, and videos in one run, are placed as in the stock model.

    Args:
        input_ids: int64 [B, S]; only its shape and device are read.
        token_types: int [B, S], text 0, image 1, video 2.
        attention_mask: [B, S], 1 for tokens; other columns get position 0.
        image_grid_thw: int64 [images, 3], in patches, in order of the prompts; None without images.
        video_grid_thw: int64 [videos, 3], in patches; None without videos.
        spatial_merge_size: patches along a side of a cell.
        tube_steps: per video what time advances from tube to tube where no stamp interrupts it (Qwen2.5-VL:
            tokens_per_second * second_per_grid_ts); None for 1.

    Returns:
        int64 [3, B, S]: time, row and column axes.

    Raises:
        PlaceholderError: placeholders do not fit the grids: another number, or an image within a video.

    Source: DATE (arXiv 2509.09263), TIM, its figure on position ids; what follows the last tube as in its released
    code.
    """
    images = _media(_IMAGE, image_grid_thw, spatial_merge_size)
    videos = _media(_VIDEO, video_grid_thw, spatial_merge_size, tube_steps)
    positions = torch.zeros((3, *input_ids.shape), dtype=torch.long)
    mask, types = attention_mask.bool().cpu(), token_types.cpu()
    for row in range(len(types)):
        parts = _row_positions(types[row][mask[row]].tolist(), images, videos)
        positions[:, row, mask[row]] = torch.cat([torch.zeros((3, 0), dtype=torch.long), *parts], dim=1)
    if next(images, None) or next(videos, None):
        raise PlaceholderError(
            "There are more grids of images or videos than the prompts have placeholders for."
        )
    return positions.to(input_ids.device)


@dataclass(frozen=True, kw_only=True)
class _Medium:
    """An image or video on its way into a row: its grid in cells, its step in time, and what was placed of it."""

    kind: int
    number: int
    grid: tuple[int, int, int]
    step: float = 1.0
    origin: int | None = None
    placed: int = 0

    def place(self, start: int, length: int) -> tuple[torch.Tensor, int, _Medium | None]:
        """Place a run of placeholders: positions int64 [3, length], the next free one, and what is left of the medium.

        PlaceholderError where the run ends within a tube, or is longer than what is left.
        """
        tubes, rows, columns = self.grid
        count, rest = divmod(length, rows * columns)
        if rest or count > tubes - self.placed:
            raise PlaceholderError(
                f"{length} {_NAMES[self.kind]} placeholders in a row for {_NAMES[self.kind]} {self.number}, of which "
                f"{tubes - self.placed} of {tubes} tubes of {rows * columns} are left; keep the processor's own text."
            )
        whole = count == tubes
        origin = start if self.origin is None else self.origin
        times = start + (torch.arange(count) * (self.step if whole else 1)).long()
        block = torch.stack(
            torch.meshgrid(times, origin + torch.arange(rows), origin + torch.arange(columns), indexing="ij")
        ).reshape(3, -1)  # [3, T*H*W]
        if whole:  # stock: the next position does not look at time
            return block, start + max(rows, columns), None
        if self.placed + count < tubes:
            return block, int(times[-1]) + 1, replace(self, origin=origin, placed=self.placed + count)
        return block, int(block[:, -rows * columns :].max()) + 1, None


def _media(
    kind: int, grid_thw: torch.Tensor | None, merge: int, steps: Sequence[float] | None = None
) -> Iterator[_Medium]:
    grids = [] if grid_thw is None else grid_thw.tolist()
    for number, (tubes, height, width) in enumerate(grids):
        step = 1.0 if steps is None else float(steps[number])
        yield _Medium(kind=kind, number=number, grid=(tubes, height // merge, width // merge), step=step)


def _row_positions(
    types: list[int], images: Iterator[_Medium], videos: Iterator[_Medium]
) -> Iterator[torch.Tensor]:
    """Positions of a row's runs, in order; grids are taken as their placeholders come."""
    start, rest = 0, None
    for kind, group in itertools.groupby(types):
        length = sum(1 for _ in group)
        if kind == _TEXT:
            yield (start + torch.arange(length)).expand(3, -1)
            start += length
            continue
        medium = rest or next(videos if kind == _VIDEO else images, None)
        if medium is None or medium.kind != kind:
            raise PlaceholderError(
                f"{length} {_NAMES[kind]} placeholders without a grid of their own, or within another medium; "
                "pass grids and ids of one processor call."
            )
        block, start, rest = medium.place(start, length)
        yield block
    if rest is not None:
        raise PlaceholderError(
            f"Video {rest.number} has {rest.placed} of its {rest.grid[0]} tubes in the prompt; was it truncated?"
        )


def stamp_columns(
    input_ids: torch.Tensor,
    token_types: torch.Tensor,
    tube_tokens: Sequence[Sequence[int]],
    *,
    vision_end_id: int | None,
) -> torch.Tensor:
    """Find the tube whose stamp a column belongs to, so that a stamp can leave with its tube.

    Text between two tubes of a video is the stamp of the first. After the last tube a stamp looks like any text: it
    ends where the vision block is closed, before the first vision_end_id, unless another image or video comes
    sooner. Without that token (families without vision marks) the last stamp is not told apart, and stays.

    Args:
        input_ids: int64 [B, S], a prompt with stamps (`is_interleaved`).
        token_types: int [B, S], text 0, image 1, video 2.
        tube_tokens: per video the placeholders of each tube, videos in order of the prompts.
        vision_end_id: the token that closes a block of vision; None where the family has none.

    Returns:
        int64 [B, S]: number of the tube, counted over all videos of the batch in order; -1 for every other column.

    Raises:
        PlaceholderError: another number of video placeholders than tube_tokens.
    """
    counts = torch.tensor([count for video in tube_tokens for count in video], dtype=torch.long)
    owner = torch.tensor(
        [number for number, video in enumerate(tube_tokens) for _ in video], dtype=torch.long
    )
    placeholders = int((token_types == _VIDEO).sum())
    if placeholders != int(counts.sum()):
        raise PlaceholderError(
            f"The prompts have {placeholders} video placeholders, and their tubes {int(counts.sum())} tokens; "
            "pass ids and grids of one processor call."
        )
    counts, owner = counts.to(input_ids.device), owner.to(input_ids.device)
    tube = torch.full(input_ids.shape, -1, device=input_ids.device)
    tube[token_types == _VIDEO] = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    media = token_types != _TEXT
    before, after = _last(media), _next(media)
    shown, coming = _look_up(tube, before), _look_up(tube, after)
    owners = torch.cat([owner, owner.new_tensor([-1])])  # index -1: no tube
    within = (shown >= 0) & (owners[shown] == owners[coming])
    is_end = input_ids == vision_end_id if vision_end_id is not None else torch.zeros_like(media)
    end = _look_up(_next(is_end), before, missing=0)
    places = torch.arange(input_ids.shape[1], device=input_ids.device)
    closing = (shown >= 0) & (owners[shown] != owners[coming]) & (places < end) & (end < after)
    return torch.where(~media & (within | closing), shown, -1)


def _last(mask: torch.Tensor) -> torch.Tensor:
    """Per column the nearest True at or before it in its row, -1 for none: int64 [B, S]."""
    places = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape)
    return torch.where(mask, places, -1).cummax(1).values


def _next(mask: torch.Tensor) -> torch.Tensor:
    """Per column the nearest True at or after it in its row, S for none: int64 [B, S]."""
    length = mask.shape[1]
    return length - 1 - _last(mask.flip(1)).flip(1)


def _look_up(values: torch.Tensor, places: torch.Tensor, *, missing: int = -1) -> torch.Tensor:
    """Values [B, S] at places [B, S] of the same row; `missing` where a place lies outside."""
    inside = (places >= 0) & (places < values.shape[1])
    return torch.where(inside, values.gather(1, places.clamp(0, values.shape[1] - 1)), missing)
