"""The first lesson of framegate/nano: its tower alone learns to say which letter is in which patch, and of a marker in
which ninth of the frame it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from framegate.models.towers.patches import PatchLayout, patchify
from framegate.tools.evaluation.generator.looks import advance_px
from framegate.tools.evaluation.generator.render import Renderer, draw_marker, paste, sign
from framegate.tools.evaluation.generator.script import ALPHABET, CODE_LENGTH, Look, write_script
from framegate.tools.training.nano.batches import augmented

MARKER = len(ALPHABET)
NO_LETTER = MARKER + 9
# rows and columns of codes on a page, and how far a row may be off, by the page's size: nothing labelled is covered
_ROOM = {(192, 128): (3, 2, 5), (320, 192): (4, 3, 3), (448, 256): (5, 4, 3)}


@dataclass(frozen=True)
class Page:
    """One tube covered with texts.

    Args:
        frames: uint8 [2, h, w, 3].
        letters: int64 [2, h / 16, w / 16], per frame and patch the letter whose centre lies in it, MARKER and the
            number of its ninth of the frame (row by row) where a marker's does, NO_LETTER elsewhere.
    """

    frames: Any
    letters: Any

    @property
    def patch_px(self) -> int:
        """Side of a patch."""
        return int(self.frames.shape[1] // self.letters.shape[1])


def draw_page(seed: int, patch_px: int = 16, size_px: tuple[int, int] = (192, 128)) -> Page:
    """Draw a page full of codes, and markers in empty places; in every other page some codes change between frames.

    Args:
        seed: the same seed draws the same page.
        patch_px: side of a patch.
        size_px: width and height, of SIZES_PX.

    Returns:
        Frames and letters; nothing that is labelled is covered by something else.
    """
    rng = np.random.default_rng((seed, 11))
    script = write_script(seed, duration_seconds=0.25, size_px=size_px)
    (width_px, height_px), (rows, columns, off_px) = size_px, _ROOM[size_px]
    page = Page(
        np.stack([Renderer(script).behind(0.0)] * 2),
        np.full((2, height_px // patch_px, width_px // patch_px), NO_LETTER),
    )
    slot_px = width_px / columns
    changes = rng.random() < 0.5
    for row in range(rows):
        codes = [_codes(rng, changes) for _ in range(columns)]
        shift, y = rng.uniform(-8, 8), int(height_px * (row + 0.5) / rows + rng.uniform(-off_px, off_px))
        if not any(map(any, codes)) and rng.random() < 0.7:
            # an empty row: in any third of the frame
            _mark(page, (int(width_px * (rng.integers(3) + 0.5) / 3 + rng.uniform(-8, 8)), y), script.look)
            continue
        for column, pair in enumerate(codes):
            middle = slot_px * (column + 0.5)
            if any(pair):
                _write(page, pair, (middle + shift, y), slot_px, script.look, rng)
            elif rng.random() < 0.5:
                _mark(page, (int(middle + rng.uniform(-24, 24)), y), script.look)
    return page


def _codes(rng: np.random.Generator, changes: bool) -> tuple[str, str]:
    """What stands in a place in each frame: nothing in every fifth, and mostly the same in both."""

    def code() -> str:
        return "" if rng.random() < 0.2 else "".join(rng.choice(list(ALPHABET), CODE_LENGTH))

    first = code()
    return first, code() if first and changes and rng.random() < 0.5 else first


def _write(
    page: Page,
    codes: tuple[str, str],
    middle: tuple[float, int],
    slot_px: float,
    look: Look,
    rng: np.random.Generator,
) -> None:
    """Lay a code over each frame, as far to the side as its part of the page allows."""
    layers = [sign(code, look) if code else None for code in codes]
    width_px = max(layer.shape[1] for layer in layers if layer is not None)
    room_px = max((slot_px - width_px) / 2 - 8, 0)
    centre = int(middle[0] + rng.uniform(-room_px, room_px)), middle[1]
    for frame, (code, layer) in enumerate(zip(codes, layers, strict=True)):
        if layer is not None:
            paste(page.frames[frame], layer, centre)
            _note(page.letters[frame], code, centre, look, page.patch_px)


def _mark(page: Page, centre_px: tuple[int, int], look: Look) -> None:
    x, y = centre_px
    for frame in page.frames:
        draw_marker(frame, centre_px, look)
    height_px, width_px = page.frames.shape[1:3]
    ninth = 3 * (3 * y // height_px) + 3 * x // width_px
    page.letters[:, y // page.patch_px, x // page.patch_px] = MARKER + ninth


def _note(letters: Any, text: str, centre_px: tuple[int, int], look: Look, patch_px: int) -> None:
    advances = [look.stretch * advance_px(look.font, look.size_px, letter) for letter in text]
    pen = centre_px[0] - sum(advances) / 2
    for letter, advance in zip(text, advances, strict=True):
        column = min(max(int(pen + advance / 2) // patch_px, 0), letters.shape[1] - 1)
        letters[centre_px[1] // patch_px, column] = ALPHABET.index(letter)
        pen += advance


class ReadingHead(nn.Module):
    """Says per token which letters stand in its patches; needed for this lesson alone.

    Args:
        width: of a token.
        merge: patches along a cell's side.
    """

    def __init__(self, width: int, merge: int) -> None:
        super().__init__()
        self.merge = merge
        self.letters = nn.Linear(width, 2 * merge**2 * (NO_LETTER + 1))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map tokens [N, D] to logits [N, 2 frames, merge * merge patches, letters]."""
        return self.letters(tokens).view(len(tokens), 2, self.merge**2, NO_LETTER + 1)  # type: ignore[no-any-return]


def reading_batch(
    pages: int, layout: PatchLayout, seed: tuple[int, ...]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw pages of one size as rows of the tower.

    Args:
        pages: how many of the smallest size; fewer of a larger one.
        layout: of the tower's patches.
        seed: the same seed draws the same pages.

    Returns:
        Pixel rows, grids [pages, 3], letters int64 [tokens, 2, merge * merge] in the order of the tower's tokens.
    """
    rng = np.random.default_rng(seed)
    sizes = list(_ROOM)
    size_px = sizes[int(rng.choice(len(sizes), p=(0.4, 0.3, 0.3)))]
    pages = max(1, round(pages * sizes[0][0] * sizes[0][1] / (size_px[0] * size_px[1])))
    drawn = [draw_page(int(rng.integers(1 << 40)), layout.patch_size_px, size_px) for _ in range(pages)]
    rows = np.concatenate([patchify(augmented(page.frames, rng), layout) for page in drawn])
    merge = layout.merge_size
    letters = np.stack([page.letters for page in drawn])
    count, _, height, width = letters.shape
    cells = letters.reshape(count, 2, height // merge, merge, width // merge, merge)
    per_token = cells.transpose(0, 2, 4, 1, 3, 5).reshape(-1, 2, merge**2)  # [B*H*W, frames, patches]
    grid = torch.tensor([[1, height, width]] * count)
    return torch.from_numpy(rows), grid, torch.from_numpy(per_token)


def reading_loss(
    tower: Any, head: ReadingHead, batch: tuple[torch.Tensor, ...], *, head_alone: bool = False
) -> tuple[torch.Tensor, float]:
    """Compute the lesson's loss, and the share of letters that are read right.

    Args:
        tower: of the model.
        head: see ReadingHead.
        batch: of `reading_batch`.
        head_alone: the tower is not taught.

    Returns:
        Scalar loss; share in [0, 1].
    """
    rows, grid, letters = batch
    with torch.set_grad_enabled(not head_alone):
        tokens = tower(rows, grid_thw=grid).pooler_output
        tokens = torch.cat(list(tokens)) if isinstance(tokens, (tuple, list)) else tokens
    logits = head(tokens)
    loss = functional.cross_entropy(logits.flatten(0, 2), letters.flatten(), weight=_weights(logits))
    there = letters != NO_LETTER
    return loss, float((logits.argmax(-1) == letters)[there].float().mean())


def _weights(like: torch.Tensor) -> torch.Tensor:
    """Letters count in full, emptiness little: it is most of a page."""
    weights = torch.ones(NO_LETTER + 1, dtype=like.dtype, device=like.device)
    weights[NO_LETTER] = 0.1
    return weights
