"""Several questions about one video: tower and language model read it once, and every question goes on from there."""

from __future__ import annotations

import copy
import time
from typing import Any

from framegate.errors import ConfigError
from framegate.tools.evaluation.ask import Answer, generated, question_inputs

# what no question begins with: up to here prompts about a video are the same
_OTHER_QUESTION = "|"


class SharedVideo:
    """Asks like `ask`, and keeps the cache of the last video's part of the prompt.

    Answers are those of `ask` up to the rounding of a prompt that is read in two parts. What is read from the question
    (condensation.relevance "query", select.use_query) cannot be shared, and is refused by the stage that asks for it.

    Args:
        model: a model with a front end attached.
        processor: its processor, attached as well.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        self.model, self.processor = model, processor
        self._video: str | None = None
        self._cache: Any = None
        self._report: Any = None

    def ask(self, *, video: str, question: str, max_new_tokens: int) -> Answer:
        """Ask one question, greedily.

        Args:
            video: path of the file.
            question: what to ask.
            max_new_tokens: longest answer.

        Returns:
            The answer; reading the video counts to the inputs of the first question about it.

        Raises:
            ConfigError: the prompt does not go on after the video, or a stage reads the question.
            FramegateError: what `ask` raises.
        """
        began = time.perf_counter()
        inputs = question_inputs(self.processor, video, question).to(self.model.device)
        if video != self._video:
            self._read(video, inputs)
        given = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        return generated(
            self.model,
            self.processor,
            inputs,
            report=lambda: self._report,
            began=began,
            max_new_tokens=max_new_tokens,
            given=given | {"past_key_values": copy.deepcopy(self._cache)},
        )

    def _read(self, video: str, inputs: Any) -> None:
        """Run the model on the part of the prompt that all questions about a video share."""
        import torch

        import framegate

        self._video = None
        ids = inputs["input_ids"]
        other = question_inputs(self.processor, video, _OTHER_QUESTION)["input_ids"].to(ids.device)
        shorter = min(ids.shape[1], other.shape[1])
        differs = (ids[0, :shorter] != other[0, :shorter]).nonzero()
        length = int(differs[0]) if len(differs) else shorter
        if not 0 < length < ids.shape[1]:
            raise ConfigError("The prompt ends with the video, so no question can go on from there.")
        per_token = {name for name, value in inputs.items() if value.shape[:2] == ids.shape}
        prefix = {name: value[:, :length] if name in per_token else value for name, value in inputs.items()}
        with torch.no_grad():
            self._cache = self.model(**prefix, use_cache=True, logits_to_keep=1).past_key_values
        front_end = framegate.front_end_of(self.model)
        assert front_end is not None
        self._report, self._video = front_end.report, video
