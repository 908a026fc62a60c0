"""A call that brings a video: gated, encoded, shortened, and brought back to the caller's columns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from framegate.errors import AttachmentError
from framegate.kernels.dispatch import recording
from framegate.models.attachment.account import (
    account_for_clock,
    account_for_gate,
    account_for_identity,
    account_for_memory,
    account_for_processor,
    account_for_settings,
    account_for_size,
    account_for_stamps,
    peak_memory_bytes,
)
from framegate.models.attachment.attention import wants_own_attention, why_not_anchored
from framegate.models.attachment.call import Call
from framegate.models.attachment.gating import (
    Gated,
    Prepared,
    check_placeholders,
    full_size_tokens,
    gate_call,
    prepared_by_processor,
)
from framegate.models.attachment.generation import expand_steps, refuse_unsupported
from framegate.models.attachment.keywords import (
    VIDEO_KEY,
    expand_output,
    kept_labels,
    plain_mask,
    without_media,
    without_own_keys,
)
from framegate.models.attachment.on_model import TOKENIZER_NAME, changes_tokens, running
from framegate.models.attachment.remembering import encode_remembered, why_not_remembered
from framegate.models.attachment.serving import Attached
from framegate.models.attachment.stage_call import stage_call
from framegate.models.cell_plan import CellPlan, whole_plan
from framegate.models.mechanism import Encoded
from framegate.models.prompt import CachedPrompt, kept_columns
from framegate.models.stages.registry import StageCall, run_stages
from framegate.models.towers.offloaded import device_for
from framegate.models.transformers_private import MEDIA_KEY
from framegate.models.video_tokens import VideoTokens
from framegate.report import Report


class VideoCall(Call):
    """A call that brings a video, and maybe what an attached processor noted on it (`prepared`).

    Args:
        attached: the model and what is attached to it.
        given: the caller's keyword arguments by name, with input_ids and pixel_values_videos.
        carried: what the call's cache remembers, None for nothing.
        generating: as `opening.open_call`.

    Raises:
        PlanError: as `opening.open_call`.
        AttachmentError: no token after those in the cache.
    """

    reads_video = True
    report: Report

    def __init__(
        self,
        attached: Attached,
        given: dict[str, Any],
        carried: CachedPrompt | None = None,
        *,
        generating: bool = False,
    ) -> None:
        self.prepared: Prepared | None = prepared_by_processor(given)
        self.shares = _shares_of_all(self.prepared)
        config = attached.config.override(**self.shares) if self.shares else attached.config
        super().__init__(replace(attached, config=config), given)
        self._on_short = carried is not None and carried.is_short
        if given.get("input_ids") is not None:
            self._part(carried, generating=generating)
        self.report = Report(preset=config.preset)
        self.encoded: Encoded | None = None

    def forward(self) -> dict[str, Any]:
        """Gate, encode, merge and shorten.

        Returns:
            Keyword arguments for the stock model; its own call where the stock path runs, and `prompt` stays None.

        Raises:
            AttachmentError: inputs_embeds in place of input_ids, encoded media beside pixels, pixels of a stock
                processor where frames should be smaller, or parameters that were offloaded after attach.
            PlaceholderError: placeholders, grids and pixels do not fit one another.
            BudgetError: the budget is below one token per video.
            ConfigError: a stage needs what the call does not bring.
        """
        with recording() as ran:
            short = self._short()
        self.report.kernels = {f"{op}: {path}": count for (op, path), count in sorted(ran.items())}
        self.report.peak_memory_bytes = peak_memory_bytes()
        if self.prompt is None:
            self.clocked = self.report.stage("tower")
            return short
        assert self.kept is not None
        return short | kept_labels(short, self.kept)

    def for_generate(self, model: Any) -> dict[str, Any]:
        """As forward; AttachmentError also for a mode of generate that cannot run on a shorter prompt."""
        short = self.forward()
        if self.prompt is None:
            return short
        refuse_unsupported(model, self.caller)
        return self._whole(short)

    def close(self, output: Any) -> Any:
        """Bring what the stock model's forward returned to the caller's columns, and mark its cache."""
        return super().close(output) if self.prompt is None else expand_output(output, self.prompt)

    def close_generated(self, output: Any, short: Any) -> Any:
        """Mark the cache, and bring states and attentions to the caller's columns."""
        output = super().close_generated(output, short)
        return output if self.prompt is None else expand_steps(output, self.prompt)

    @property
    def kept(self) -> Tensor | None:
        """bool [B, n], columns of this call that the language model read."""
        return None if self.prompt is None else self.prompt.kept[:, self.prompt.cached :]

    @property
    def _is_gated(self) -> bool:
        """Rows of kept cells came, not whole videos."""
        return self.prepared is not None and self.prepared.is_gated

    def _short(self) -> dict[str, Any]:
        config, mechanism, report = self.attached.config, self.attached.mechanism, self.report
        account_for_settings(report, self.attached, self.prepared, self.shares)
        shapes = mechanism.shapes(self.given)
        report.num_videos = len(shapes)
        if self.prepared is not None:
            account_for_processor(report, self.prepared, config.plan)
        report.dense_tokens = report.kept_tokens = sum(t * h * w for t, h, w in shapes)
        report.encoded_cells = report.dense_tokens
        full_size = full_size_tokens(self.prepared, config)
        if full_size is not None:
            account_for_size(report, full_size)
        # stamps are found in ids; embeddings instead of them are the stock model's to place
        stamped = self.given.get("input_ids") is not None and mechanism.is_stamped(self.given)
        stays = not stamped and not changes_tokens(self.attached.modules, config) and not self._on_short
        # the stock model's own path remembers nothing
        stays = stays and self.attached.store is None
        account_for_stamps(report, self.attached, max(shape[0] for shape in shapes), stamped=stamped)
        account_for_identity(report, config, stock=stays)
        if stays and config.is_identity and not self._is_gated:
            tower = report.stage("tower")
            tower.patches_in, tower.tokens_out = mechanism.num_patches(self.given), report.dense_tokens
            return self._as_stock(self.given[VIDEO_KEY])
        self._refuse_other_inputs()
        return self._gated(stays=stays)

    def _refuse_other_inputs(self) -> None:
        """What a shorter prompt cannot be made of, though stock takes it."""
        if self.given.get("input_ids") is None or self.given.get("inputs_embeds") is not None:
            raise AttachmentError(
                "pixel_values_videos came with inputs_embeds; a front end needs input_ids alone, for placeholders are "
                "found by their ids. keep_ratio=1.0 takes whatever the stock model takes."
            )
        if self.given.get(MEDIA_KEY):
            raise AttachmentError(f"Pass pixel_values_videos or {MEDIA_KEY}, not both.")
        plain_mask(self.given)

    def _gated(self, *, stays: bool) -> dict[str, Any]:
        """The call after the gate: the stock model's own where nothing changes it, or the shorter one."""
        mechanism, config = self.attached.mechanism, self.attached.config
        gated = gate_call(self.given, mechanism, config, self.prepared)
        placeholders = mechanism.placeholders(self.given)
        self._check_new(placeholders, gated.cells)
        check_placeholders(placeholders, gated.cells, mechanism.family.extra)
        account_for_gate(self.report, gated, config)
        account_for_clock(self.report, device_for(mechanism.tower, gated.patches))
        stage = stage_call(self, gated, placeholders)
        pixels = self._stock_pixels(gated) if stays and _fits(stage, gated.cells) else None
        if pixels is None:
            return self._compressed(gated, placeholders, stage)
        if not config.reuses:
            self.report.note("Every cell was kept: the stock path ran.")
        return self._as_stock(pixels)

    def _check_new(self, placeholders: Tensor, cells: CellPlan) -> None:
        """On a filled cache, refuse pixels of videos that are not among the new tokens."""
        extra = self.attached.mechanism.family.extra
        found, wanted = int(placeholders.sum()), sum(map(extra.count, cells.shapes))
        if self.past is not None and found != wanted:
            raise AttachmentError(
                f"Pixels of {wanted} cells came with past_key_values, and the tokens that are not cached hold {found} "
                "placeholders of videos. Leave out the pixels that the cache has seen; new pictures and videos go "
                "after what is cached."
            )

    def _as_stock(self, pixels: Tensor) -> dict[str, Any]:
        return without_own_keys(self.attached.mechanism.closed(self.caller | {VIDEO_KEY: pixels}))

    def _stock_pixels(self, gated: Gated) -> Tensor | None:
        """Pixels for the stock path, which serves when every cell has a token; None when it cannot."""
        if not (self.attached.config.reuses or bool(gated.cells.keep.all())):
            return None
        return self.attached.mechanism.stock_pixels(gated.patches, gated.cells, self.given)

    def _compressed(self, gated: Gated, placeholders: Tensor, stage: StageCall) -> dict[str, Any]:
        attached = self.attached
        tokens = run_stages(self._tokens(gated), running(attached.modules, attached.config), stage)
        assert self.encoded is not None
        return self._spelled(tokens, placeholders, self.encoded)

    def _spelled(self, tokens: VideoTokens, placeholders: Tensor, encoded: Encoded) -> dict[str, Any]:
        """The shorter call, in which the language model reads these tokens."""
        attached = self.attached
        self.tokens = tokens
        self.report.kept_tokens = tokens.num_tokens
        columns = kept_columns(
            attached.inner.config,
            self.given,
            placeholders,
            tokens,
            extra=attached.mechanism.family.extra,
            stamped=attached.mechanism.is_stamped(self.given),
        )
        self.report.kept_time_tokens = columns.num_stamped
        if columns.num_stamped:
            self.report.stage("timestamps").note = f"{columns.num_stamped:,} text tokens of stamps stay"
        media = attached.mechanism.media(encoded, tokens, self.given)
        return without_media(attached, self.given) | self._shortened(columns.keep) | {MEDIA_KEY: media}

    def _tokens(self, gated: Gated) -> VideoTokens:
        """Run the front end's tokenizer; with "reuse" on every cell, with its anchor's patches."""
        tokenizer = self.attached.modules[TOKENIZER_NAME]
        if not self.attached.config.reuses:
            tokens: VideoTokens = tokenizer(gated.patches, gated.cells, encode=self._encode)
            return tokens
        patches = self.attached.mechanism.reused_pixels(gated.patches, gated.cells, self.given)
        tokens = tokenizer(patches, whole_plan(gated.cells.shapes), encode=self._encode)
        return replace(tokens, age=_ages(gated.cells))

    def _encode(self, tower: Any, rows: Tensor, cells: CellPlan) -> Sequence[Tensor]:
        """How the tokenizer runs the tower in this call: `models.gated_residual_tokenizer.Encode`."""
        mechanism, config = self.attached.mechanism, self.attached.config
        anchored = config.context == "anchored" and config.gates
        why = why_not_anchored(tower, mechanism.family) if anchored else None
        if why is not None:
            self.report.note(f"context 'anchored' stands aside, kept cells see one another alone: {why}")
            anchored = False
        elif not anchored and wants_own_attention(tower, mechanism.family, config):
            self.report.note(
                "the tower attends segment by segment: it was moved to a GPU, or set to SDPA, after attach; attach "
                "again for the kernel"
            )

        def encode(rows: Tensor, cells: CellPlan) -> Encoded:
            return mechanism.encode(rows, self.given, cells, anchored=anchored, backend=config.backend)

        started = time.perf_counter()
        self.encoded = self._remembered(rows, cells, encode, anchored=anchored) or encode(rows, cells)
        self.report.stage("tower").milliseconds = (time.perf_counter() - started) * 1000
        for note in self.encoded.notes:
            self.report.note(note)
        return self.encoded.layers

    def _remembered(
        self, rows: Tensor, cells: CellPlan, encode: Callable[[Tensor, CellPlan], Encoded], *, anchored: bool
    ) -> Encoded | None:
        """What the tower makes of tubes that no earlier call encoded, beside the others; None without a store."""
        mechanism, store = self.attached.mechanism, self.attached.store
        if store is None:
            return None
        why = why_not_remembered(mechanism, rows, anchored=anchored)
        if why is not None:
            self.report.note(f"nothing is remembered of this call: {why}")
            return None
        found = encode_remembered(store, mechanism, rows, self.given, cells, encode)
        account_for_memory(self.report, found)
        return found.encoded


def _shares_of_all(prepared: Prepared | None) -> dict[str, float]:
    """What all videos of a call asked for alike; where they differ, each one's budget is looked up by itself."""
    asked = [] if prepared is None else [dict(account.shares) for account in prepared.accounts]
    return asked[0] if asked and all(shares == asked[0] for shares in asked) else {}


def _fits(stage: StageCall, cells: CellPlan) -> bool:
    """True when the prompt has room for every cell."""
    return stage.targets is None or all(
        target >= dense for target, dense in zip(stage.targets, cells.cells_per_video, strict=True)
    )


def _ages(cells: CellPlan) -> Tensor:
    """Tubes since what stands for each cell was encoded, int64 [C]."""
    area = torch.cat([torch.full((t * h * w,), h * w) for t, h, w in cells.shapes])
    return (torch.arange(len(cells.anchor)) - cells.anchor) // area
