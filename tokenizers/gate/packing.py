"""Plans as two arrays that travel with a batch, through workers and files, and the way back.

`framegate_plan` is int32 [cells, 6], a row per cell of all videos: anchor, 1 where it is encoded, residual, motion x
and y (bits of float32), time of its tube in ms. `framegate_notes` is uint8: one JSON line per video. Both join along
the first axis.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from framegate.errors import PlanError
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.plan_config import PlanConfig
from framegate.types import Int32Array, UInt8Array

PACKED_VERSION = 1
PLAN_KEY, NOTES_KEY = "framegate_plan", "framegate_notes"
ANCHOR, KEEP, RESIDUAL, MOTION_X, MOTION_Y, TIME_MS = COLUMNS = range(6)
# what stood for an encoded cell where a token was one of 2 x 2 or 4 x 4 cells; such plans are refused
_SIDES_OF_AREAS = (2, 4)


@dataclass(frozen=True, kw_only=True)
class Account:
    """Whose configuration decided on a video, and what that cost.

    Args:
        preset: name of the configuration.
        fingerprint: `fingerprint_of` the configuration.
        source: path or address; None for frames in memory.
        video_seconds: duration of the video or its window; None when unknown.
        num_frames: frames that went in.
        stream_ms: reading, decoding and scaling.
        gate_ms: deciding what to keep.
        patches_ms: cutting and normalising what was kept.
        shares: keep_ratio and tower_ratio that the call asked for itself.
        processor: id of the attachment that made the inputs, by which a front end finds it; empty for none.
    """

    preset: str = ""
    fingerprint: str = ""
    source: str | None = None
    video_seconds: float | None = None
    num_frames: int = 0
    stream_ms: float = 0.0
    gate_ms: float = 0.0
    patches_ms: float = 0.0
    shares: Mapping[str, float] = field(default_factory=dict)
    processor: str = ""


class Packed(NamedTuple):
    """A plan on its way: int32 [cells, 6] and uint8 [n]."""

    framegate_plan: Int32Array
    framegate_notes: UInt8Array


def fingerprint_of(config: PlanConfig) -> str:
    """Hash what decides on frames and cells, names for messages left out: 12 hexadecimal digits."""
    told = {
        name: getattr(config, name)
        for name in ("frames", "gate", "budget", "prompt", "down_scaling", "timestamps")
    }
    values = {name: asdict(value) if is_dataclass(value) else value for name, value in told.items()}  # type: ignore[arg-type]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def packed(plan: GatePlan, account: Account | None = None) -> Packed:
    """Write a plan as two arrays; `GatePlan.pack` is the usual way here.

    Times stand in the notes to the last bit; the column of milliseconds is 0 where nobody told them, and ends at 24
    days.
    """
    motion = plan.motion_px.reshape(-1, 2)
    times_ms = np.nan_to_num(plan.timestamps_seconds * 1000).round().clip(0, np.iinfo(np.int32).max)
    cells = np.empty((plan.keep.size, len(COLUMNS)), np.int32)
    cells[:, ANCHOR] = plan.anchor.reshape(-1)
    cells[:, KEEP] = plan.keep.reshape(-1)
    cells[:, RESIDUAL] = plan.residual.reshape(-1).view(np.int32)
    cells[:, MOTION_X] = np.ascontiguousarray(motion[:, 0]).view(np.int32)
    cells[:, MOTION_Y] = np.ascontiguousarray(motion[:, 1]).view(np.int32)
    cells[:, TIME_MS] = times_ms.repeat(plan.grid.num_cells)
    line = {
        "version": PACKED_VERSION,
        "shape": plan.keep.shape,
        "cell_px": plan.cell_px,
        "tube_frames": plan.tube_frames,
        "dense_cells": plan.dense_cells,
        "times_seconds": plan.timestamps_seconds.tolist(),
        "notes": plan.notes,
        **asdict(account or Account()),
    }
    return Packed(cells, np.frombuffer(json.dumps(line).encode() + b"\n", np.uint8).copy())


def unpack_plans(plan: Int32Array | None, notes: UInt8Array) -> tuple[list[GatePlan], list[Account]]:
    """Read the plans of a batch.

    Args:
        plan: `framegate_plan`, int32 [cells, 6], of one video or several; None where no gate ran, so that every cell
            is encoded.
        notes: `framegate_notes`, uint8 [n], of the same videos.

    Returns:
        Per video the plan, without its frames, and the account.

    Raises:
        PlanError: notes that were cut or come from a future version, cells that do not fit them or that no gate gives,
            or tokens for areas of several cells, which are gone.
    """
    if plan is None:
        plan = _every_cell(_lines(notes))
    if plan.ndim != 2 or plan.shape[1] != len(COLUMNS) or plan.dtype.kind not in "iu":
        raise PlanError(
            f"{PLAN_KEY} is {plan.dtype} {list(plan.shape)}; "
            f"it must be int32 [cells, {len(COLUMNS)}], as plans are packed."
        )
    lines = _lines(notes)
    sizes = [int(np.prod(line["shape"])) for line in lines]
    if sum(sizes) != len(plan):
        raise PlanError(
            f"{PLAN_KEY} has {len(plan)} cells; {NOTES_KEY} tells of {len(lines)} videos with "
            f"{' + '.join(map(str, sizes))} = {sum(sizes)}. Join both of the same videos, in one order."
        )
    parts = np.split(plan.astype(np.int32, copy=False), np.cumsum(sizes)[:-1])
    plans = [_plan(part, line, number) for number, (part, line) in enumerate(zip(parts, lines, strict=True))]
    accounts = [Account(**{name: line[name] for name in Account.__dataclass_fields__}) for line in lines]
    return plans, accounts


def noted_shapes(notes: Any) -> list[tuple[int, int, int]]:
    """Read the tubes, rows and columns of cells of each video of a batch from `framegate_notes`, array or tensor.

    PlanError for notes that were cut or come from a future version.
    """
    on_host = notes.cpu() if hasattr(notes, "cpu") else notes
    return [(t, h, w) for t, h, w in (line["shape"] for line in _lines(np.asarray(on_host)))]


def _every_cell(lines: list[dict[str, Any]]) -> Int32Array:
    """The rows of videos of which every cell is encoded."""
    sizes = [int(np.prod(line["shape"])) for line in lines]
    cells = np.zeros((sum(sizes), len(COLUMNS)), np.int32)
    tubes = [np.arange(line["shape"][0]).repeat(np.prod(line["shape"][1:])) for line in lines]
    cells[:, ANCHOR], cells[:, KEEP] = np.concatenate(tubes), 1
    return cells


def _lines(notes: UInt8Array) -> list[dict[str, Any]]:
    """The notes of each video, checked for version and completeness."""
    text = np.ascontiguousarray(notes, np.uint8).tobytes()
    cut = PlanError(
        f"{NOTES_KEY} ({len(text)} bytes) was cut or is not framegate's: pass it on whole, and join batches along the "
        "first axis without padding."
    )
    if not text.endswith(b"\n"):
        raise cut
    try:
        lines = [json.loads(line) for line in text.splitlines()]
    except ValueError as error:
        raise cut from error
    for line in lines:
        version = line.get("version") if isinstance(line, dict) else None
        if not isinstance(version, int):
            raise cut
        if not 1 <= version <= PACKED_VERSION:
            raise PlanError(
                f"{NOTES_KEY} has version {version}; this framegate reads 1 to {PACKED_VERSION}. Update framegate "
                "where the batch is read."
            )
        if not {"shape", "cell_px", "tube_frames", *Account.__dataclass_fields__} <= line.keys():
            raise cut
    return lines


def _plan(cells: Int32Array, line: dict[str, Any], video: int) -> GatePlan:
    tubes, rows, columns = shape = tuple(line["shape"])
    columns_of_cells = [np.ascontiguousarray(column) for column in cells.T]
    anchor, encoded = columns_of_cells[ANCHOR].reshape(shape), columns_of_cells[KEEP].reshape(shape)
    _check(anchor, encoded, video)
    motion = np.stack([columns_of_cells[axis].view(np.float32) for axis in (MOTION_X, MOTION_Y)], axis=-1)
    px, frames = line["cell_px"], line["tube_frames"]
    grid = CellGrid.of(rows * px, columns * px, cell_px=px, tube_frames=frames)
    still = GatePlan.still(encoded == 1, grid)
    return replace(
        still,
        residual=columns_of_cells[RESIDUAL].view(np.float32).reshape(shape),
        moved=(motion != 0).any(axis=-1).reshape(shape) & ~still.keep,
        timestamps_seconds=np.array(line["times_seconds"], np.float64),
        notes=tuple(line["notes"]),
        dense_cells=line["dense_cells"],
        traced=(anchor, motion.reshape(*shape, 2)),
    )


def _check(anchor: Int32Array, encoded: Int32Array, video: int) -> None:
    """Refuse cells that no gate gives."""
    own = np.arange(len(anchor), dtype=np.int32)[:, None, None]
    wrong = (anchor < -1) | (anchor > own)
    if wrong.any():
        what = (
            f"anchors {np.unique(anchor[wrong])[:5].tolist()} lie outside the tubes shown so far (0 to the cell's own, "
            f"of {len(anchor)}; -1 for none)"
        )
    elif np.isin(encoded, _SIDES_OF_AREAS).any():
        what = "tokens stand for areas of several cells, which are gone (gate.scales); make the inputs again"
    elif not np.isin(encoded, (0, 1)).all():
        what = f"column {KEEP} is {np.unique(encoded).tolist()}; it is 1 for cells that are encoded, else 0"
    elif ((anchor == own) != (encoded == 1)).any():
        what = "the cells that are encoded are not those that are their own anchor"
    else:
        return
    raise PlanError(f"{PLAN_KEY}, video {video}: {what}.")
