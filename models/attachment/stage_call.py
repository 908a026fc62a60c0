"""What the stages may ask of a call besides its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from framegate.config import FrontEndConfig
from framegate.errors import ConfigError
from framegate.models.attachment.gating import RELEVANCE_KEY, Gated, Prepared
from framegate.models.cell_plan import CellPlan
from framegate.models.stages.registry import StageCall
from framegate.models.video_tokens import Shape
from framegate.report import Report

if TYPE_CHECKING:
    from framegate.models.attachment.video_call import VideoCall


def stage_call(call: VideoCall, gated: Gated, placeholders: Tensor) -> StageCall:
    """Collect what the stages may ask of a call.

    Args:
        call: the call; its report is told what was given and is not read.
        gated: its videos after the gate.
        placeholders: bool [B, S], the videos' placeholders.

    Returns:
        What stages may ask for.

    Raises:
        BudgetError: keep_ratio is less than one token of a video.
    """
    attached, report, cells = call.attached, call.report, gated.cells
    config, relevance = attached.config, call.given.get(RELEVANCE_KEY)
    if relevance is not None and (config.condensation is None or config.is_identity):
        report.note(f"{RELEVANCE_KEY} is not read: no condensation runs.")
    counts = [attached.mechanism.family.extra.count(shape) for shape in cells.shapes]
    last = placeholders.nonzero()[torch.tensor(counts).cumsum(0) - 1].tolist()
    return StageCall(
        targets=prompt_targets(config, cells, call.prepared, report),
        exact=config.keep_ratio is not None,
        head=attached.head,
        change=gated.score,
        relevance=None if relevance is None else torch.as_tensor(relevance, dtype=torch.float32),
        query=lambda: question_embeddings(attached.inner, call.given, last),
        times_seconds=tube_times(call.given, cells.shapes, call.prepared),
        report=report,
    )


def prompt_targets(
    config: FrontEndConfig, cells: CellPlan, prepared: Prepared | None, report: Report
) -> list[int] | None:
    """Count the tokens that each video may have in the prompt.

    Args:
        config: the front end's configuration.
        cells: the flat plan of the call.
        prepared: what an attached processor noted; a video may ask for a share of its own.
        report: told which rule holds where no budget names a number.

    Returns:
        One count per video: what keep_ratio asks for, else max_video_tokens, else, where tokens are selected and
        tower_ratio is not set, as many as the tower encoded; None where nothing limits the prompt.

    Raises:
        BudgetError: keep_ratio is less than one token of a video.
    """
    dense = cells.cells_per_video
    asked = [account.shares for account in prepared.accounts] if prepared is not None else [{}] * len(dense)
    configs = [config.override(**shares) if shares else config for shares in asked]
    targets = [
        one.prompt_target(dense=count, encoded=kept, tubes=shape[0])
        for one, count, kept, shape in zip(configs, dense, cells.kept_per_video, cells.shapes, strict=True)
    ]
    if all(target is None for target in targets):
        return None
    if any(one.follows_gate for one in configs):
        report.note("no share is set: the prompt has at most as many tokens as the tower encoded")
    return [count if target is None else target for target, count in zip(targets, dense, strict=True)]


def tube_times(
    call: dict[str, Any], shapes: tuple[Shape, ...], prepared: Prepared | None
) -> list[Tensor] | None:
    """Read the time of each tube, in seconds, per video: an attached processor's, the stock one's step, or None."""
    tubes = [shape[0] for shape in shapes]
    if prepared is not None and all(np.isfinite(plan.timestamps_seconds).all() for plan in prepared.plans):
        return [torch.from_numpy(plan.timestamps_seconds) for plan in prepared.plans]
    steps = call.get("second_per_grid_ts")
    if steps is None:
        return None
    return [torch.arange(count) * float(step) for count, step in zip(tubes, steps, strict=True)]


def question_embeddings(inner: Any, call: dict[str, Any], last: list[list[int]]) -> list[Tensor]:
    """Embed the question about each video: the text that follows it in its own turn.

    What the model answers, and later turns, never count: a prompt's features do not depend on what comes after it.

    Args:
        inner: the model without its language-model head.
        call: keyword arguments with input_ids.
        last: row and column of each video's last placeholder.

    Returns:
        Per video the embeddings of its question, float [Q, D].

    Raises:
        ConfigError: no text between a video and the end of its turn.

    Source: ours; a stand-in for CLIP's text tower that needs no download.
    """
    return [inner.get_input_embeddings()(_question(inner.config, call, *place)) for place in last]


def _question(config: Any, call: dict[str, Any], row: int, column: int) -> Tensor:
    ids, mask = call["input_ids"][row], call.get("attention_mask")
    places = torch.arange(len(ids), device=ids.device)
    ended = places[(places > column) & torch.isin(ids, _end_ids(config, ids))]
    turn = (places > column) & (places < (int(ended[0]) if len(ended) else len(ids)))
    media = turn & ((ids == getattr(config, "video_token_id", -1)) | (ids == config.image_token_id))
    start = int(places[media].max()) if bool(media.any()) else column
    closed = places[turn & (places > start) & (ids == getattr(config, "vision_end_token_id", -1))]
    start = int(closed[0]) if len(closed) else start
    asked = ids[turn & (places > start) & (True if mask is None else mask[row].bool())]
    if len(asked) == 0:
        raise ConfigError(
            f"condensation.relevance is 'query', and no text follows the video in its turn (row {row} of input_ids): "
            f"put the question after the video, pass {RELEVANCE_KEY}, or use relevance='novelty'."
        )
    return asked


def _end_ids(config: Any, ids: Tensor) -> Tensor:
    """Tokens that end a turn."""
    end = getattr(config.get_text_config(), "eos_token_id", None)
    found = [] if end is None else [end] if isinstance(end, int) else list(end)
    return torch.tensor(found, dtype=ids.dtype, device=ids.device)
