"""SeViLA's way back: a model answers from each frame alone, and frames from which it is right teach where to look."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from framegate.errors import ConfigError
from framegate.models.scorers.single_frames import Medium, generated_by_frame
from framegate.settings import Count, checked
from framegate.types import BoolArray, UInt8Array

Same = Callable[[str, str], bool]


@checked
def answers_by_frame(
    model: Any,
    processor: Any,
    frames: UInt8Array,
    question: str,
    *,
    max_new_tokens: Count = 8,
    medium: Medium = "image",
    batch_frames: Count = 8,
) -> list[str]:
    """Answer a question from each frame alone, greedily.

    Args:
        model: a supported model, stock or attached.
        processor: the model's own, with a chat template.
        frames: uint8 [F, h, w, 3] RGB.
        question: as the model is to read it, choices and all.
        max_new_tokens: longest answer.
        medium: "image" asks about a picture, "video" about a video of one frame.
        batch_frames: frames asked about at a time.

    Returns:
        An answer for each frame, without special tokens and spaces around.

    Raises:
        ConfigError: a setting out of range.

    Source: SeViLA (arXiv 2305.06988), reverse chain.
    """
    asked = generated_by_frame(
        model,
        processor,
        frames,
        question,
        medium=medium,
        batch_frames=batch_frames,
        max_new_tokens=max_new_tokens,
    )
    answers: list[str] = []
    for inputs, output in asked:
        sequences = output.sequences
        prompt = 0 if model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
        answers += processor.batch_decode(sequences[:, prompt:], skip_special_tokens=True)
    return [answer.strip() for answer in answers]


def pseudo_labels(answers: list[str], truth: str, *, same: Same | None = None) -> BoolArray:
    """Label frames for a localizer: yes where the answer from that frame alone is the true one.

    Args:
        answers: of each frame, as `answers_by_frame` gives them.
        truth: the true answer.
        same: tells whether an answer is the true one; None compares them without case and spaces around.

    Returns:
        bool [F].

    Raises:
        ConfigError: a truth without a letter, which every frame without an answer would meet.

    Source: SeViLA (arXiv 2305.06988), reverse chain: the answerer's letter equals the true one's.
    """
    if not truth.strip():
        raise ConfigError(f"truth is {truth!r}; it must be the true answer.")
    equal = same or (lambda answer, true: answer.strip().casefold() == true.strip().casefold())
    return np.array([equal(answer, truth) for answer in answers], bool)
