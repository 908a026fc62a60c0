"""Batches that framegate/nano learns from: generated videos with several questions each, in one conversation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from framegate.models.towers.patches import PatchLayout, patchify
from framegate.tools.evaluation.generator.asking import Asked, ask_about
from framegate.tools.evaluation.generator.render import Renderer
from framegate.tools.evaluation.generator.script import Script, write_script
from framegate.tools.training.labels import IGNORED

# frames a second, and the paces at which few texts fall between two frames
_PACES = (
    (16.0, ("medium", "fast")),
    (4.0, ("slow", "medium", "fast")),
    (1.0, ("slow",)),
    (0.0, ("lasting",)),
)
LAYOUT = PatchLayout(
    patch_size_px=16, temporal_patch_size=2, merge_size=2, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
)


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """One step of the curriculum.

    Args:
        grid: rows and columns of cells of a frame.
        tubes: time steps of the video.
        videos: in a batch.
        questions: about each video.
        kinds: of question, drawn in turn.
        rates: frames per second, of which each batch draws one.
    """

    grid: tuple[int, int]
    tubes: int
    videos: int
    questions: int
    kinds: tuple[str, ...]
    rates: tuple[float, ...] = (2.0, 4.0, 4.0, 4.0, 8.0)


@dataclass(frozen=True)
class Batch:
    """Inputs of the model, and per answer token the number of the question it belongs to (-1: none).

    Args:
        inputs: keyword arguments of the model's forward, labels among them.
        owner: int64 [B, L].
        kinds: of every question, by its number.
    """

    inputs: dict[str, torch.Tensor]
    owner: torch.Tensor
    kinds: tuple[str, ...]

    def to(self, device: torch.device) -> Batch:
        """The same batch where the model is."""
        inputs = {name: value.to(device) for name, value in self.inputs.items()}
        return Batch(inputs, self.owner.to(device), self.kinds)


def make_batch(lesson: Lesson, tokenizer: Any, seed: tuple[int, ...]) -> Batch:
    """Draw a batch.

    Args:
        lesson: size of the videos and kinds of question.
        tokenizer: of framegate/nano.
        seed: the same seed gives the same batch.

    Returns:
        The batch, padded on the right.
    """
    rng = np.random.default_rng(seed)
    fps = float(rng.choice(lesson.rates))
    pixels: list[Any] = []
    rows: list[tuple[list[int], list[int]]] = []
    kinds: list[str] = []
    for _ in range(lesson.videos):
        script, asked = _video(lesson, rng, fps)
        times = np.arange(2 * lesson.tubes) / fps
        pixels.append(patchify(augmented(Renderer(script).frames(times), rng), LAYOUT))
        rows.append(_conversation(tokenizer, lesson, fps, asked, len(kinds)))
        kinds += [question.kind for question in asked]
    return Batch(*_padded(rows, np.concatenate(pixels), lesson, tokenizer), tuple(kinds))


def _video(lesson: Lesson, rng: np.random.Generator, fps: float) -> tuple[Script, list[Asked]]:
    """A script of the lesson's length that gives at least one question."""
    cell_px = LAYOUT.cell_px
    paces = next(names for slowest, names in _PACES if fps >= slowest)
    while True:
        script = write_script(
            int(rng.integers(1 << 40)),
            pace=str(rng.choice(paces)),
            duration_seconds=2 * lesson.tubes / fps,
            size_px=(lesson.grid[1] * cell_px, lesson.grid[0] * cell_px),
        )
        if script.texts and (
            asked := ask_about(script, int(rng.integers(1 << 40)), lesson.kinds, lesson.questions)
        ):
            # any kind may come first: a question is mostly asked alone
            return script, [asked[place] for place in rng.permutation(len(asked))]


def _conversation(
    tokenizer: Any, lesson: Lesson, fps: float, asked: list[Asked], first_question: int
) -> tuple[list[int], list[int]]:
    """Tokens, and for each the number of the question whose answer it belongs to, -1 outside answers."""
    pads = "<|video_pad|>" * math.prod(lesson.grid)
    video = "".join(
        f"<{(2 * tube + 0.5) / fps:.1f} seconds><|vision_start|>{pads}<|vision_end|>"
        for tube in range(lesson.tubes)
    )
    tokens: list[int] = []
    owner: list[int] = []
    for number, question in enumerate(asked):
        shown = video if number == 0 else ""
        prompt = f"<|im_start|>user\n{shown}{question.question}<|im_end|>\n<|im_start|>assistant\n"
        for text, whose in (
            (prompt, -1),
            (f"{question.answer}<|im_end|>", first_question + number),
            ("\n", -1),
        ):
            ids = tokenizer(text, add_special_tokens=False).input_ids
            tokens += ids
            owner += [whose] * len(ids)
    return tokens, owner


def _padded(
    rows: Any, pixels: Any, lesson: Lesson, tokenizer: Any
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    longest = max(len(tokens) for tokens, _ in rows)
    ids = torch.full((len(rows), longest), tokenizer.pad_token_id)
    owner = torch.full((len(rows), longest), -1)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for row, (tokens, whose) in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        owner[row, : len(tokens)] = torch.tensor(whose)
        mask[row, : len(tokens)] = 1
    grid = [lesson.tubes, *(side * LAYOUT.merge_size for side in lesson.grid)]
    inputs = {
        "input_ids": ids,
        "attention_mask": mask,
        "mm_token_type_ids": (ids == tokenizer.convert_tokens_to_ids("<|video_pad|>")).int() * 2,
        "pixel_values_videos": torch.from_numpy(pixels),
        "video_grid_thw": torch.tensor([grid] * len(rows)),
        "labels": torch.where(owner >= 0, ids, IGNORED),
    }
    return inputs, owner


def augmented(frames: Any, rng: np.random.Generator) -> Any:
    """Shift brightness and contrast; soften every fourth video. Frames are uint8 [F, h, w, 3], in and out."""
    gain, offset = rng.uniform(0.8, 1.2), rng.uniform(-20, 20)
    shifted = np.clip(frames * np.float32(gain) + np.float32(offset), 0, 255).astype(np.uint8)
    if rng.random() < 0.75:
        return shifted
    return np.stack([cv2.GaussianBlur(frame, (3, 3), 0) for frame in shifted])
