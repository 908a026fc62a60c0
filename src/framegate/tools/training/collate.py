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
from framegate.models.video_processor.clips import asked_by_clip
from framegate.models.video_processor.message import Asked
from framegate.settings import check
from framegate.tokenizers.gate.packing import NOTES_KEY, PLAN_KEY, unpack_plans
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.plan_config import PlanConfig
from framegate.tools.faults import UNREADABLE, OnFault
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
        on_too_long: "raise" refuses a longer sample; "skip" leaves it out of its batch, counted, listed and logged. A
            batch that would be empty takes the next sample of the dataset that can be used.
        on_error: "raise" ends with the error of a video that cannot be read; "skip" leaves its sample out as well.
        dataset: where that sample comes from.
        keep_ratios: budgets of which one is drawn for each batch; empty keeps the processor's own.
        seed: of the draws.
        learn: "last" learns the last answer of a conversation, "all" every one.

    Attributes: `num_seen` and `num_skipped` count samples, each time they come; `skipped` holds, by id, why some were
    left out. Every worker of a DataLoader has a collator of its own; their logs tell what they left out.
    """

    processor: Any
    max_length: int | None = None
    on_too_long: OnFault = "raise"
    on_error: OnFault = "raise"
    dataset: Any = None
    keep_ratios: tuple[float, ...] = ()
    seed: int = 0
    learn: str = "last"
    num_seen: int = field(default=0, init=False)
    num_skipped: int = field(default=0, init=False)
    skipped: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        check(self, "")

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Make one batch.

        Args:
            samples: each with `id` and `messages`, the last message the assistant's.

        Returns:
            What the processor gives, padded, with every key of the front end, the budget of the batch among its
            notes; `labels` int64 [B, S].

        Raises:
            ConfigError: a sample longer than max_length under "raise", none in the dataset that can stand in under
                "skip", or an answer that cannot be labelled.
            VideoError: a video cannot be read, under "raise".
        """
        ids, epoch = [str(sample["id"]) for sample in samples], samples[0].get("epoch", 0)
        ratio = draw_keep_ratio(self.keep_ratios, seed=self.seed, epoch=epoch, sample_ids=ids)
        self.num_seen += len(samples)
        with processor_budget(self.processor, ratio):
            batch, reasons = self._tried(samples)
            if any(reasons):
                self._leave_out(samples, reasons)
                usable = [sample for sample, reason in zip(samples, reasons, strict=True) if reason is None]
                batch, _ = self._encode(usable or [self._stand_in(samples[0])])
        return batch

    def _tried(self, samples: Sequence[Sample]) -> tuple[Batch, list[str | None]]:
        """The batch, and why samples of it cannot be used; one that cannot be read leaves no batch."""
        try:
            batch, lengths = self._encode(samples)
        except UNREADABLE as error:
            if self.on_error == "raise":
                raise
            if len(samples) == 1:
                return {}, [f"{type(error).__name__}: {error}"]
            return {}, [self._tried([sample])[1][0] for sample in samples]
        reasons = [None if self._fits(length) else f"{length:,} tokens" for length in lengths]
        if self.on_too_long == "raise" and any(reasons):
            raise ConfigError(
                f"Longer than max_length={self.max_length}: {_spelled(samples, reasons)}. A video is never cut: raise "
                "max_length, lower keep_ratio, fps or turns, or set on_too_long='skip'."
            )
        return batch, reasons

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

    def _leave_out(self, samples: Sequence[Sample], reasons: Sequence[str | None]) -> None:
        self.skipped |= {
            str(sample["id"]): reason for sample, reason in zip(samples, reasons, strict=True) if reason
        }
        self.num_skipped += sum(reason is not None for reason in reasons)
        logger.warning(
            "Left out%s: %s. So far %d of %d samples.",
            "" if self.max_length is None else f" (max_length={self.max_length})",
            _spelled(samples, reasons),
            self.num_skipped,
            self.num_seen,
        )

    def _stand_in(self, sample: Sample) -> Sample:
        """The next sample that can be used, so that every process has a batch in every step."""
        count = 0 if self.dataset is None else len(self.dataset)
        for step in range(1, count):
            candidate: Sample = self.dataset[(sample["index"] + step) % count]
            if self._tried([candidate])[1] == [None]:
                return candidate
        raise ConfigError(
            f"No sample of a batch can be used (sample {sample['id']}: {self.skipped[str(sample['id'])]}), and none of "
            f"the dataset's {count} samples can stand in; see to the videos, raise max_length={self.max_length}, or "
            "lower keep_ratio or fps."
        )


def _spelled(samples: Sequence[Sample], reasons: Sequence[str | None]) -> str:
    pairs = zip(samples, reasons, strict=True)
    return ", ".join(f"{sample['id']} ({reason})" for sample, reason in pairs if reason)


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
    """Count the videos that the prompt shows: a plan of several clips is as many."""
    blocks = [message["content"] for message in conversation if not isinstance(message["content"], str)]
    videos = [block for content in blocks for block in content if block.get("type") == "video"]
    asked = (Asked(plan=block.get("plan"), time_code=block.get("time_code")) for block in videos)
    return sum(len(asked_by_clip(one, None)) for one in asked)


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
