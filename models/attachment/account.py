"""What a call enters into the report before its stages run."""

from __future__ import annotations

import resource
import sys
import warnings
from collections.abc import Mapping

import torch

from framegate.config import FrontEndConfig
from framegate.models.attachment.gating import Gated, Prepared
from framegate.models.attachment.remembering import Remembered
from framegate.models.attachment.serving import Attached
from framegate.models.stages.spatiotemporal import SPATIOTEMPORAL_NAME
from framegate.models.video_processor.hooks import why_no_stamps
from framegate.report import Report
from framegate.tokenizers.gate.config import MOTION_RULE
from framegate.tokenizers.gate.packing import fingerprint_of
from framegate.tokenizers.plan_config import PlanConfig


def account_for_settings(
    report: Report, attached: Attached, prepared: Prepared | None, shares: Mapping[str, float]
) -> None:
    """Note what else than the front end's own settings decides on a call.

    Args:
        report: filled in.
        attached: the model and what is attached to it.
        prepared: what an attached processor noted, None for none.
        shares: what all its videos asked for alike.
    """
    if shares:
        report.note(
            f"shares of this call: {', '.join(f'{name} {value:g}' for name, value in shares.items())}"
        )
    elif prepared is not None and any(account.shares for account in prepared.accounts):
        report.note(
            "videos of this call asked for shares of their own; each has its own budget in the prompt"
        )
    if torch.is_grad_enabled() and attached.inner.training:
        for said in _learning(attached):
            report.note(said)
            warnings.warn(said, stacklevel=2)
    for note in attached.class_notes:
        report.note(note)
    mechanism = attached.mechanism
    if mechanism.scaling.assumed and attached.config.gates and prepared is None:
        report.note(
            "no processor and no file of the checkpoint says how pixels were normalised: the own mean and spread "
            f"of {mechanism.family.model_type} assumed"
        )


FROZEN = (
    "the front end's parameters do not learn: they were frozen after attach, as PEFT freezes all that is not its own. "
    f"Attach after get_peft_model, give it modules_to_save=[{SPATIOTEMPORAL_NAME!r}] (the stage that learns), or call "
    "front_end.modules.requires_grad_(True)"
)
BESIDE_ADAPTER = (
    "the front end learns, and PEFT's save_pretrained writes the adapter alone: write the front end beside it by "
    "front_end.save_pretrained, save_finetuned or FrontEndCallback of framegate.tools.training, or attach before "
    f"get_peft_model and give it modules_to_save=[{SPATIOTEMPORAL_NAME!r}] (the stage that learns)"
)


def _learning(attached: Attached) -> list[str]:
    """What whoever trains a model should know of the front end's own parameters."""
    own = dict(attached.modules.named_parameters())
    if not own:
        return []
    learns = {name for name, weight in own.items() if weight.requires_grad}
    if not learns:
        return [FROZEN] if any(weight.requires_grad for weight in attached.inner.parameters()) else []
    is_saved = any("modules_to_save" in name.split(".") for name in learns)
    is_saved |= attached.modules.is_kept_beside
    return [BESIDE_ADAPTER] if attached.has_adapter and not is_saved else []


def account_for_processor(report: Report, prepared: Prepared, config: PlanConfig) -> None:
    """Enter what an attached processor did, wherever and whenever it ran.

    Args:
        report: filled in: duration, the stages "stream", "gate" and "patches", notes.
        prepared: what it noted.
        config: what decides on frames and cells beside this model.
    """
    videos = prepared.accounts
    if all(video.video_seconds is not None for video in videos):
        report.video_seconds = sum(video.video_seconds or 0.0 for video in videos)
    report.stage("stream").milliseconds = sum(video.stream_ms for video in videos)
    report.stage(
        "stream"
    ).note = f"{sum(video.num_frames for video in videos)} frames, read by the attached processor"
    if prepared.is_gated:
        report.stage("gate").milliseconds = sum(video.gate_ms for video in videos)
    report.stage("patches").milliseconds = sum(video.patches_ms for video in videos)
    for plan in prepared.plans:
        for note in plan.notes:
            report.note(note)
    if any(video.fingerprint != fingerprint_of(config.at(video.shares)) for video in videos):
        presets = ", ".join(sorted({video.preset for video in videos}))
        report.note(
            f"this batch was prepared under another configuration (preset {presets}) than the model's: its cells were "
            "used as they came"
        )


def account_for_identity(report: Report, config: FrontEndConfig, *, stock: bool) -> None:
    """Note why nothing is reduced.

    Args:
        report: filled in.
        config: the front end's configuration.
        stock: the stock path runs, since nothing else is to be done either.
    """
    if not config.is_identity:
        return
    if config.gate is not None or config.reduces_after_tower or config.down_scaling:
        why = "keep_ratio is 1.0: every stage that reduces stands aside"
    else:
        why = f"Preset {config.preset!r} has no gate and no later stage that reduces"
    report.note(f"{why}{': the stock path ran' if stock else ''}.")


def account_for_stamps(report: Report, attached: Attached, tubes: int, *, stamped: bool) -> None:
    """Note why stamps that were asked for are not in the prompt; a video of one tube has nothing to interleave.

    Args:
        report: filled in.
        attached: the model and what is attached to it.
        tubes: of the longest video of the call.
        stamped: stamps stand between the tubes of a video.
    """
    if attached.config.timestamps is None or stamped or tubes < 2:
        return
    family = attached.mechanism.family.model_type
    why = why_no_stamps(family, attached.config.plan, has_processor=attached.has_processor)
    report.note(
        why or "timestamps: the prompt has none between its tubes; make it with the attached processor"
    )


def account_for_clock(report: Report, device: torch.device) -> None:
    """Note whose milliseconds a report tells.

    Args:
        report: filled in.
        device: where the tower is.
    """
    if device.type != "cpu":
        report.note(f"milliseconds are the host's: work on {device.type} may go on behind them")


def account_for_gate(report: Report, gated: Gated, config: FrontEndConfig) -> None:
    """Enter what the gate passed and what the tower reads.

    Args:
        report: filled in.
        gated: the videos after the gate.
        config: the front end's configuration.
    """
    dense, kept = sum(gated.cells.cells_per_video), gated.cells.num_kept
    report.kept_tokens = report.encoded_cells = dense if config.reuses else kept
    for note in gated.notes:
        report.note(note)
    if config.gates:
        gate = report.stage("gate")
        gate.patches_in, gate.patches_out = gated.patches_in, len(gated.patches)
        gate.tokens_in, gate.tokens_out = dense, kept
        gate.milliseconds = gated.milliseconds or gate.milliseconds
        if config.gate is not None and config.gate.rule != MOTION_RULE:
            gate.note = f"by rule {config.gate.rule}"
    tower = report.stage("tower")
    # whole videos may have come as frames, which are no rows
    rows = gated.patches_in if config.reuses or kept == dense else len(gated.patches)
    tower.patches_in, tower.tokens_out = rows, report.kept_tokens
    tower.note = "reuse: every row is encoded" if config.reuses else ""


def account_for_memory(report: Report, found: Remembered) -> None:
    """Enter what the tower did not have to encode again.

    Args:
        report: filled in, after `account_for_gate`.
        found: what the tower and the store gave.
    """
    report.encoded_cells -= found.reused_cells
    report.reused_cells = found.reused_cells
    tower = report.stage("tower")
    tower.patches_in = round((tower.patches_in or 0) * found.share_read)
    told = f"{found.reused_cells:,} cells of {found.reused_tubes:,} tubes were remembered"
    tower.note = "; ".join(filter(None, (tower.note, told)))
    for note in found.notes:
        report.note(note)


def account_for_generate(report: Report | None, prompt_length: int, *, milliseconds: float) -> None:
    """Enter how long `generate` took beside the tower.

    Args:
        report: filled in; None for a call without one.
        prompt_length: columns of the prompt that it ran on.
        milliseconds: wall time, less that of the tower where the stock model runs it.
    """
    if report is None:
        return
    stage = report.stage("generate")
    stage.milliseconds = milliseconds
    stage.tokens_in, stage.note = prompt_length, "tokens: prompt, text and video"
    report.peak_memory_bytes = peak_memory_bytes()


def peak_memory_bytes() -> int:
    """Peak resident memory of the process so far."""
    # kilobytes on Linux, bytes on macOS
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def account_for_size(report: Report, dense_tokens: int) -> None:
    """Enter what an attached processor saved by smaller frames.

    Args:
        report: filled in; its tokens are those of the smaller frames so far.
        dense_tokens: tokens of the videos at full size.
    """
    stage = report.stage("down_scaling")
    stage.tokens_in, stage.tokens_out = dense_tokens, report.dense_tokens
    stage.note = "smaller frames, by the processor"
    report.dense_tokens = dense_tokens
