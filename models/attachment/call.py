"""One call of the model: opened with what the caller passed, closed with what goes back; hooks and `generate` use it.

A call is of one of three kinds, told apart when it is opened (`opening.open_call`): it brings a video
(`VideoCall`), it goes on from a cache that holds a compressed prompt (`ContinuedCall`), or neither (`Call`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from transformers.utils import ModelOutput

from framegate.errors import AttachmentError
from framegate.models.attachment.generation import refuse_unsupported
from framegate.models.attachment.keywords import (
    expand_output,
    holds_video,
    plain_mask,
    with_plain_mask,
    without_media,
    without_own_keys,
)
from framegate.models.attachment.serving import Attached
from framegate.models.prompt import (
    CachedPrompt,
    PromptMap,
    cache_of,
    carry_map,
    is_filled,
    new_columns,
)
from framegate.models.transformers_private import MEDIA_KEY, position_delta
from framegate.models.video_tokens import VideoTokens
from framegate.report import Report, StageReport


class Encoding(NamedTuple):
    """What the language model reads of a call, before it does.

    Args:
        inputs: keyword arguments for `generate` of the stock model, without a front end: the shorter prompt, its
            positions, and what the tower and the stages made.
        tokens: the tokens with their provenance; None where the call is the stock model's own.
    """

    inputs: dict[str, Any]
    tokens: VideoTokens | None


class Call:
    """A call without a video: the stock model runs it as it came.

    There are two ways to the stock model, `forward` and `for_generate`, and two back, `close` and `close_generated`.
    `report` is what the call did, None where it begins no prompt; `prompt` what the stock model reads in place of the
    caller's, None where that is the caller's own. `tokens` are those of videos that it reads.
    `caller` is the call as it came, `given` what of it is not cached.
    `lacks_video`, bool [] where the ids are, tells of placeholders without a video.

    Args:
        attached: the model and what is attached to it.
        given: the caller's keyword arguments by name, videos in pixel_values_videos.
    """

    # the stock model reads a video in this call: one that it brings, or one in its cache
    reads_video = False

    def __init__(self, attached: Attached, given: dict[str, Any]) -> None:
        self.attached, self.given, self.caller = attached, given, given
        self.report: Report | None = None
        self.tokens: VideoTokens | None = None
        self.lacks_video: torch.Tensor | None = None
        self.prompt: PromptMap | None = None
        self.past: PromptMap | None = None
        self.is_whole = False
        # where the time of the tower goes that the stock model runs itself
        self.clocked: StageReport | None = None
        self._started = 0.0

    def forward(self) -> dict[str, Any]:
        """Spell the call for the stock model's forward."""
        if not self.given.get(MEDIA_KEY) and not is_filled(cache_of(self.given)):
            self.report = self._without_video()
        return with_plain_mask(self.given)

    def for_generate(self, model: Any) -> dict[str, Any]:
        """Spell the call for the stock `generate` of a model."""
        self.report = self._without_video()
        return without_own_keys(self.given)

    def with_kinds(self, named: dict[str, Any]) -> dict[str, Any]:
        """Spell a forward within this call with what tells of each token that the model reads in it."""
        ids = named.get("input_ids")
        if self.prompt is None or ids is None:
            return named
        return named | self.attached.mechanism.read_along(self.caller, ids)

    def covers(self, named: Mapping[str, Any]) -> bool:
        """Tell whether a forward is one that the stock model makes within this call; another's videos are not."""
        return self.reads_video and (self.prompt is None or not holds_video(named))

    def close(self, output: Any) -> Any:
        """Bring what the stock model's forward returned to the caller's columns, and mark its cache."""
        if self.report is not None and (self.reads_video or self.given.get("pixel_values") is not None):
            self._mark_stock(cache_of(output) if isinstance(output, ModelOutput) else None)
        return output

    def close_generated(self, output: Any, short: Mapping[str, Any]) -> Any:
        """Mark the cache that `generate` filled: the one it returned, else the caller's own in what it was passed."""
        cache = cache_of(output) if isinstance(output, ModelOutput) else None
        cache = cache_of(short) if cache is None else cache
        if self.prompt is None:
            self._mark_stock(cache)
        elif is_filled(cache):
            carry_map(cache, self.prompt)
        return output

    def _mark_stock(self, cache: Any) -> None:
        """Remember where positions go on after media that the stock model placed: a compressed video may follow."""
        delta, ids = position_delta(self.attached.inner), self.given.get("input_ids")
        if delta is None or ids is None or self.past is not None or not is_filled(cache):
            return
        mask = self.given.get("attention_mask")
        mask = mask if isinstance(mask, torch.Tensor) and mask.shape == ids.shape else torch.ones_like(ids)
        placed = self.given.get("position_ids")
        if isinstance(placed, torch.Tensor) and placed.ndim == 3:
            # the caller's own, or those of `generate`: the stock model notes no delta of them
            highest = placed[-3:].masked_fill(mask == 0, 0).amax((0, 2))
            delta = (highest + 1 - mask.sum(1))[:, None]
        carry_map(cache, PromptMap.unseen(mask, delta.to(ids.device).expand(len(ids), 1)), is_short=False)

    def _part(self, carried: CachedPrompt | None, *, generating: bool) -> None:
        """Part what of the call is new from what is cached, which `_shortened` and `_whole` join again."""
        new = new_columns(self.caller, carried, may_be_whole=generating)
        self.given, self.past, self.is_whole = new.call, new.past, new.is_whole

    def _shortened(self, keep: torch.Tensor) -> dict[str, Any]:
        """Ids, mask and positions of the columns bool [B, n] that stay, for the stock model's forward."""
        mechanism, ids, mask = self.attached.mechanism, self.given["input_ids"], plain_mask(self.given)
        shown = mechanism.placeholders(self.given) | (ids == self.attached.inner.config.image_token_id)
        positions = mechanism.positions(self.given, mask).to(ids.device)
        new = PromptMap.build(keep, ids, mask, positions, placeholders=shown)
        is_placed = self.given.get("position_ids") is not None
        self.prompt = new if self.past is None else self.past.followed_by(new, is_placed=is_placed)
        given = {name: self.given.get(name) for name in mechanism.columns}
        beside = {name: new.shorten(values, 0) for name, values in given.items() if values is not None}
        return beside | {
            "input_ids": new.shorten(ids, self._pad_id),
            "attention_mask": self.prompt.mask,
            "position_ids": self.prompt.positions[..., self.prompt.cached_short :],
        }

    def _whole(self, short: dict[str, Any]) -> dict[str, Any]:
        """A shortened call for `generate`: positions of what is cached too, and its ids where the caller gave them."""
        assert self.prompt is not None
        whole = {"position_ids": self.prompt.positions}
        if self.is_whole:
            whole["input_ids"] = self.prompt.shorten(self.caller["input_ids"], self._pad_id)
        return short | whole

    @property
    def _pad_id(self) -> int:
        return getattr(self.attached.inner.config.get_text_config(), "pad_token_id", None) or 0

    @property
    def kept(self) -> torch.Tensor | None:
        """bool [B, n], columns of what the call brings that the language model reads; None for all."""
        return None

    def tower_starts(self) -> None:
        """Stand before the tower."""
        self._started = time.perf_counter()

    def tower_ends(self) -> None:
        """Stand behind it; images that go through the same tower count as well."""
        if self.clocked is not None:
            elapsed_ms = (time.perf_counter() - self._started) * 1000
            self.clocked.milliseconds = (self.clocked.milliseconds or 0.0) + elapsed_ms

    def _without_video(self) -> Report:
        report = Report(
            preset=self.attached.config.preset, notes=["No video in the call: the stock path ran."]
        )
        pixels, attached = self.given.get("pixel_values"), self.attached
        takes_frames = attached.mechanism.family.tower == "frames" and not attached.has_processor
        count = 0 if pixels is None else pixels.shape[:-3].numel()
        if takes_frames and count > 1 and not attached.config.is_identity:
            report.note(
                f"{count} pictures, or tiles of pictures, went the stock path. Where they are frames of a video, "
                "attach the processor as well, or say by framegate_video_frames how many each video has."
            )
        return report


class ContinuedCall(Call):
    """A later call on a cache that holds a compressed prompt, made in the caller's columns; it may bring pictures.

    Args:
        attached: the model and what is attached to it.
        given: the caller's keyword arguments by name.
        carried: what the cache remembers.
        report: of the call before, which this one goes on in.
        generating: the call is one of `generate`.

    Raises:
        AttachmentError: pictures before no new token, or a mask of the wrong width.
    """

    reads_video = True
    prompt: PromptMap

    def __init__(
        self,
        attached: Attached,
        given: dict[str, Any],
        carried: CachedPrompt,
        report: Report,
        *,
        generating: bool = False,
    ) -> None:
        super().__init__(attached, given)
        self.prompt, self.report = carried.prompt, report
        if self._shows_pictures:
            self._part(carried, generating=generating)

    @property
    def _shows_pictures(self) -> bool:
        return self.caller.get("pixel_values") is not None and self.caller.get("input_ids") is not None

    def forward(self) -> dict[str, Any]:
        """Spell the call for the stock model's forward.

        Raises:
            AttachmentError: no new token, or a mask of the wrong width.
        """
        if self._shows_pictures:
            rest = without_own_keys(self.given) | {"mm_token_type_ids": None}
            return rest | self._shortened(torch.ones_like(self.given["input_ids"], dtype=torch.bool))
        new = self.given["inputs_embeds"] if self.given.get("input_ids") is None else self.given["input_ids"]
        short = self._continued(new.shape[1])
        if short.get("position_ids") is None:
            positions = self.prompt.continued_positions(short["attention_mask"])
            short["position_ids"] = positions[..., -new.shape[1] :]
        return short

    def for_generate(self, model: Any) -> dict[str, Any]:
        """Spell the call for the stock `generate` of a model; ids are the whole conversation, or its new tokens.

        Raises:
            AttachmentError: as forward; or a mode of generate that cannot be translated.
        """
        refuse_unsupported(model, self.caller)
        if self._shows_pictures:
            return self._whole(self.forward())
        ids, prompt = self.given["input_ids"], self.prompt
        whole = prompt.opens(ids)
        seen = prompt.caller_length + self._cached_later() if whole else 0
        short = self._continued(ids.shape[1] - seen)
        return short | {
            "position_ids": prompt.continued_positions(short["attention_mask"]),
            "input_ids": prompt.shorten(ids, 0) if whole else ids,
        }

    def close(self, output: Any) -> Any:
        """Bring what the stock model's forward returned to the caller's columns."""
        if self._shows_pictures:
            return expand_output(output, self.prompt)
        weights = output.get("attentions") if isinstance(output, ModelOutput) else None
        if weights:
            output["attentions"] = tuple(map(self.prompt.expand_keys, weights))
        return output

    def _cached_later(self) -> int:
        """Tokens in the cache that came after the prompt."""
        return int(cache_of(self.given).get_seq_length()) - self.prompt.length

    def _continued(self, num_new: int) -> dict[str, Any]:
        """The call without what told of its media, its mask as wide as the short prompt and all that follows."""
        if num_new < 1:
            raise AttachmentError("input_ids hold no token after those in past_key_values; add at least one.")
        mask = self.prompt.continued_mask(self.given.get("attention_mask"), self._cached_later() + num_new)
        return without_media(self.attached, self.given) | {"attention_mask": mask}
