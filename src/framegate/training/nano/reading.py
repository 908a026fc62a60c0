"""The first lesson of framegate/nano: its tower alone learns to say which letter is in which patch, and of a marker in
which ninth of the frame it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from framegate.evaluation.generator.fonts import advance_px
from framegate.evaluation.generator.render import Renderer, draw_marker, paste, sign
from framegate.evaluation.generator.script import ALPHABET, CODE_LENGTH, Look, write_script
from framegate.models.video_processor.patches import PatchLayout, patchify
from framegate.training.nano.augment import augmented

MARKER = len(ALPHABET)
NO_LETTER = MARKER + 9
WIDTH_PX, HEIGHT_PX = 192, 128
_SLOTS = tuple((column, row) for row in range(3) for column in range(2))


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


def draw_page(seed: int, patch_px: int = 16) -> Page:
    """Draw a page: up to six codes at places of their own; in every other page some change from frame to frame.

    Args:
        seed: the same seed draws the same page.
        patch_px: side of a patch.

    Returns:
        Frames and letters.

    Source: ours.
    """
    rng = np.random.default_rng((seed, 11))
    script = write_script(seed, duration_seconds=0.25, size_px=(WIDTH_PX, HEIGHT_PX))
    background = Renderer(script)
    frames = np.stack([background.behind(0.0)] * 2)
    letters = np.full((2, HEIGHT_PX // patch_px, WIDTH_PX // patch_px), NO_LETTER)
    changes = rng.random() < 0.5
    for column, row in _SLOTS:
        centre = (
            int(48 + 96 * column + rng.uniform(-14, 14)),
            int(HEIGHT_PX * (row + 0.5) / 3 + rng.uniform(-5, 5)),
        )
        text = _code(rng)
        layer = sign(text, script.look) if text else None
        if not text and rng.random() < 0.7:
            # markers stand in all three columns, texts in two
            centre = int(WIDTH_PX * (rng.integers(3) + 0.5) / 3 + rng.uniform(-8, 8)), centre[1]
            for frame in range(2):
                draw_marker(frames[frame], centre, script.look)
            ninth = 3 * (3 * centre[1] // HEIGHT_PX) + 3 * centre[0] // WIDTH_PX
            letters[:, centre[1] // patch_px, centre[0] // patch_px] = MARKER + ninth
            continue
        for frame in range(2):
            if frame == 1 and changes and rng.random() < 0.5:
                text = _code(rng)
                layer = sign(text, script.look) if text else None
            if layer is not None:
                paste(frames[frame], layer, centre)
                _note(letters[frame], text, centre, script.look, patch_px)
    return Page(frames, letters)


def _code(rng: np.random.Generator) -> str:
    """A code, or nothing in every fifth place."""
    return "" if rng.random() < 0.2 else "".join(rng.choice(list(ALPHABET), CODE_LENGTH))


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
    """Draw pages as rows of the tower.

    Args:
        pages: how many.
        layout: of the tower's patches.
        seed: the same seed draws the same pages.

    Returns:
        Pixel rows, grids [pages, 3], letters int64 [tokens, 2, merge * merge] in the order of the tower's tokens.

    Source: ours.
    """
    rng = np.random.default_rng(seed)
    drawn = [draw_page(int(rng.integers(1 << 40)), layout.patch_size_px) for _ in range(pages)]
    rows = np.concatenate([patchify(augmented(page.frames, rng), layout) for page in drawn])
    merge = layout.merge_size
    letters = np.stack([page.letters for page in drawn])
    count, _, height, width = letters.shape
    cells = letters.reshape(count, 2, height // merge, merge, width // merge, merge)
    per_token = cells.transpose(0, 2, 4, 1, 3, 5).reshape(-1, 2, merge**2)  # [B*H*W, frames, patches]
    grid = torch.tensor([[1, height, width]] * count)
    return torch.from_numpy(rows), grid, torch.from_numpy(per_token)


def reading_loss(
    tower: Any, head: ReadingHead, batch: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, float]:
    """Compute the lesson's loss, and the share of letters that are read right.

    Args:
        tower: of the model.
        head: see ReadingHead.
        batch: of `reading_batch`.

    Returns:
        Scalar loss; share in [0, 1].

    Source: ours.
    """
    rows, grid, letters = batch
    tokens = tower(rows, grid_thw=grid).pooler_output
    logits = head(torch.cat(list(tokens)) if isinstance(tokens, (tuple, list)) else tokens)
    loss = functional.cross_entropy(logits.flatten(0, 2), letters.flatten(), weight=_weights(logits))
    there = letters != NO_LETTER
    return loss, float((logits.argmax(-1) == letters)[there].float().mean())


def _weights(like: torch.Tensor) -> torch.Tensor:
    """Letters count in full, emptiness little: it is most of a page."""
    weights = torch.ones(NO_LETTER + 1, dtype=like.dtype)
    weights[NO_LETTER] = 0.1
    return weights
