"""What a model says of a frame alone when it is asked whether that frame is enough: SeViLA's localizer."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from framegate.errors import ConfigError
from framegate.models.scorers.single_frames import Medium, generated_by_frame
from framegate.settings import Count, checked
from framegate.types import UInt8Array

Mode = Literal["logit", "prob", "margin"]

PROMPT = "{query} Does this frame show what is needed to answer that? Answer yes or no."
_YES = ("yes", "Yes", " yes", " Yes")
_NO = ("no", "No", " no", " No")


class YesLogit:
    """Scores frames by a video LVLM's "yes".

    Args:
        model: a supported model, stock or attached, or any other of transformers that generates from pictures and text.
        processor: the model's own, with a chat template.
        prompt: the question about one frame, "{query}" standing for the query; None for one in the manner of SeViLA's.
        mode: "logit" the raw value of "yes" (the released code), "prob" its probability among all words (the paper),
            "margin" its value less that of "no", which is 0 where the model leans to neither.
        medium: "image" asks about a picture, "video" about a video of one frame, for models that know no pictures.
        batch_frames: frames asked about at a time.

    Attributes: `video_tokens` counts the tokens of all frames that were asked about; None where the processor does not
    tell which they are.

    Raises:
        ConfigError: a setting out of range, a prompt without "{query}", or a tokenizer in which yes and no begin alike.

    Source: SeViLA (arXiv 2305.06988) and its released code; its prompt is worded anew.
    """

    @checked
    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        prompt: str | None = None,
        mode: Mode = "logit",
        medium: Medium = "image",
        batch_frames: Count = 8,
    ) -> None:
        self.prompt = PROMPT if prompt is None else prompt
        if "{query}" not in self.prompt:
            raise ConfigError(
                f"yes_logit.prompt is {self.prompt!r}; it must hold '{{query}}', where the query goes."
            )
        self.model, self.processor = model, processor
        self.mode, self.medium, self.batch_frames = mode, medium, batch_frames
        self.yes, self.no = _first_tokens(processor.tokenizer)
        named = (getattr(processor, f"{name}_token_id", None) for name in ("image", "video"))
        self._placeholders = torch.tensor([token for token in named if token is not None])
        self.video_tokens: int | None = 0

    def score_frames(self, frames: UInt8Array, text: str) -> Tensor:
        """Score frames, each alone.

        Args:
            frames: uint8 [F, h, w, 3] RGB.
            text: the query.

        Returns:
            float32 [F], higher where the model rather says yes.
        """
        asked = generated_by_frame(
            self.model,
            self.processor,
            frames,
            self.prompt.replace("{query}", text),
            medium=self.medium,
            batch_frames=self.batch_frames,
            max_new_tokens=1,
        )
        scores = []
        for inputs, output in asked:
            self._count(inputs["input_ids"])
            scores.append(self._score(output.logits[0]))
        return torch.cat(scores)

    def _count(self, ids: Tensor) -> None:
        """Add a batch's frames; some processors name another token than the one that stands for a picture's patches."""
        shown = int(torch.isin(ids.cpu(), self._placeholders).sum())
        self.video_tokens = self.video_tokens + shown if shown and self.video_tokens is not None else None

    def _score(self, logits: Tensor) -> Tensor:
        """Score first words by their raw values, [B, V] -> float32 [B]; spellings of a word count together."""
        logits = logits.float()
        yes, no = (logits[:, ids].logsumexp(dim=1) for ids in (self.yes, self.no))
        if self.mode == "margin":
            return yes - no
        return yes if self.mode == "logit" else (yes - logits.logsumexp(dim=1)).exp()


def _first_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """First tokens of the spellings of yes and of no, without those that both share."""
    yes, no = (
        {tokenizer.encode(word, add_special_tokens=False)[0] for word in words} for words in (_YES, _NO)
    )
    if not yes - no or not no - yes:
        raise ConfigError(
            f"{type(tokenizer).__name__} begins yes and no with the same tokens, so that the first one tells nothing."
        )
    return sorted(yes - no), sorted(no - yes)
