"""The collator: conversations to padded batches, whole videos, and labels of the answers alone."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from framegate.errors import ConfigError
from framegate.tokenizers.gate.packing import NOTES_KEY, PLAN_KEY, unpack_plans
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.plan_config import PlanConfig
from framegate.tools.training.labels import completion_labels

Sample = Mapping[str, Any]
Batch = dict[str, Any]

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class CompletionCollator:
    """Makes batches for a training step; nothing of a video or of a prompt is ever cut off.

    Args:
        processor: attached to a front end; decodes, gates and writes the prompts.
        max_length: most tokens of a sample that may reach the language model, without the cells that the gate
            dropped; None for no limit.
        on_too_long: "error" refuses a longer sample; "skip" leaves it out of its batch, counted and logged. A batch
            that would be empty takes the next sample of the dataset that fits.
        dataset: where that sample comes from.
        keep_ratios: budgets of which one is drawn for each batch; empty keeps the processor's own.
        seed: of the draws.
        learn: "last" learns the last answer of a conversation, "all" every one.
    """

    processor: Any
    max_length: int | None = None
    on_too_long: str = "error"
    dataset: Any = None
    keep_ratios: tuple[float, ...] = ()
    seed: int = 0
    learn: str = "last"
    num_seen: int = field(default=0, init=False)
    num_skipped: int = field(default=0, init=False)

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Make one batch.

        Args:
            samples: each with `id` and `messages`, the last message the assistant's.

        Returns:
            What the processor gives, padded, with every key of the front end, the budget of the batch among its
            notes; `labels` int64 [B, S].

        Raises:
            ConfigError: a sample longer than max_length under "error", none in the dataset that fits under "skip", or
                an answer that cannot be labelled.
            VideoError: a video cannot be read.
        """
        ids, epoch = [str(sample["id"]) for sample in samples], samples[0].get("epoch", 0)
        ratio = draw_keep_ratio(self.keep_ratios, seed=self.seed, epoch=epoch, sample_ids=ids)
        self.num_seen += len(samples)
        with processor_budget(self.processor, ratio):
            batch, lengths = self._encode(samples)
            fitting = [sample for sample, length in zip(samples, lengths, strict=True) if self._fits(length)]
            if len(fitting) < len(samples):
                self._report_long(ids, lengths)
                batch, _ = self._encode(fitting or [self._stand_in(samples[0])])
        return batch

    def _encode(self, samples: Sequence[Sample]) -> tuple[Batch, list[int]]:
        """The padded batch, and how many tokens of each row reach the language model."""
        conversations = [list(sample["messages"]) for sample in samples]
        encoded = self.processor.apply_chat_template(
            conversations,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True, "truncation": False},
        )
        batch = {name: value for name, value in encoded.items() if isinstance(value, Tensor)}
        ids, mask = batch["input_ids"], batch["attention_mask"]
        dropped = dropped_per_row(self.processor, batch, conversations)
        lengths = [int(row.sum()) - count for row, count in zip(mask, dropped, strict=True)]
        labels = completion_labels(self.processor, conversations, ids, mask, learn=self.learn)
        return batch | {"labels": labels}, lengths

    def _fits(self, length: int) -> bool:
        return self.max_length is None or length <= self.max_length

    def _report_long(self, ids: Sequence[str], lengths: Sequence[int]) -> None:
        long = [f"{name} ({n:,} tokens)" for name, n in zip(ids, lengths, strict=True) if not self._fits(n)]
        if self.on_too_long == "error":
            raise ConfigError(
                f"Longer than max_length={self.max_length}: {', '.join(long)}. A video is never cut: raise max_length, "
                "lower keep_ratio, fps or turns, or set on_too_long='skip'."
            )
        self.num_skipped += len(long)
        logger.warning(
            "Left out, longer than max_length=%d: %s. So far %d of %d samples.",
            self.max_length,
            ", ".join(long),
            self.num_skipped,
            self.num_seen,
        )

    def _stand_in(self, sample: Sample) -> Sample:
        """The next sample that fits, so that every process has a batch in every step."""
        count = 0 if self.dataset is None else len(self.dataset)
        for step in range(1, count):
            candidate: Sample = self.dataset[(sample["index"] + step) % count]
            if self._fits(self._encode([candidate])[1][0]):
                return candidate
        raise ConfigError(
            f"A whole batch is longer than max_length={self.max_length}, and none of the dataset's {count} samples "
            "fits in its place; raise max_length, or lower keep_ratio or fps."
        )


def dropped_per_row(processor: Any, batch: Batch, conversations: Sequence[Sequence[Any]]) -> list[int]:
    """Count the placeholders of each conversation that will have no token in the prompt; 0 where nothing is noted."""
    videos = [_num_videos(conversation) for conversation in conversations]
    if NOTES_KEY not in batch or not sum(videos):
        return [0] * len(conversations)
    cells = None if PLAN_KEY not in batch else batch[PLAN_KEY].numpy()
    plans, accounts = unpack_plans(cells, batch[NOTES_KEY].numpy())
    config: PlanConfig = processor.video_processor.config
    dropped = [
        plan.keep.size - prompt_tokens(plan, config.at(account.shares))
        for plan, account in zip(plans, accounts, strict=True)
    ]
    assert len(dropped) == sum(videos)
    return [sum(dropped[sum(videos[:row]) : sum(videos[: row + 1])]) for row in range(len(videos))]


def prompt_tokens(plan: GatePlan, config: PlanConfig) -> int:
    """Count the tokens of a video that the language model will read, before the model is asked.

    As many as the prompt's budget says, at most those that something shows. Without a number in the budget as many as
    are encoded, or shown where tower_ratio alone was set; later stages may still leave fewer.
    """
    gate = config.gate
    refills = gate is not None and (gate.refill or gate.mode == "reuse")
    shown = int((plan.anchor >= 0).sum()) if refills else plan.num_kept
    if config.prompt.keep_ratio is not None or config.prompt.max_tokens is not None:
        return min(shown, config.prompt.most(plan.keep.size))
    return shown if config.budget.keep_ratio is not None or not refills else plan.num_kept


def _num_videos(conversation: Sequence[Any]) -> int:
    blocks = [message["content"] for message in conversation if not isinstance(message["content"], str)]
    return sum(block.get("type") == "video" for content in blocks for block in content)


def draw_keep_ratio(
    ratios: Sequence[float], *, seed: int, epoch: int, sample_ids: Sequence[str]
) -> float | None:
    """Draw the budget of a batch: by what is in the batch, so that workers and resumed runs draw the same.

    Args:
        ratios: to draw from, in (0, 1].
        seed: of the run.
        epoch: how often the data was seen before; another epoch is another draw.
        sample_ids: of the batch.

    Returns:
        One of the ratios, None when there are none.
    """
    if not ratios:
        return None
    return random.Random(f"{seed} {epoch} {' '.join(map(str, sample_ids))}").choice(list(ratios))


@contextmanager
def processor_budget(processor: Any, keep_ratio: float | None) -> Iterator[None]:
    """Let an attached processor keep another share for the length of a block; None changes nothing."""
    reader = processor.video_processor
    config = getattr(reader, "config", None)
    if keep_ratio is None or config is None:
        yield
        return
    reader.override.config = config.at({"keep_ratio": keep_ratio})
    try:
        yield
    finally:
        reader.override.config = None
