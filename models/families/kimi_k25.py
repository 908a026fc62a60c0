"""Kimi K2.5: chunks of up to four frames, over which its tower attends and averages, each with a grid and a time."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from framegate.errors import ConfigError, FrameError, PlaceholderError, UnsupportedModelError
from framegate.models.cell_plan import CellPlan
from framegate.models.families._shared import (
    HALF,
    STOCK_VALUES,
    UNBOUNDED,
    built_for_patches,
    even_sample_rule,
    tiny_text,
)
from framegate.models.family import Family, ProcessorRecipe, TinyRecipe, Values, VideoSettings
from framegate.models.mechanism import Encoded
from framegate.models.towers.frames import FRAMES_KEY
from framegate.models.towers.one_axis import OneAxisTower
from framegate.models.towers.packed import TowerCall
from framegate.models.towers.packed_anchored import AnchorRows
from framegate.models.towers.patches import CHANNELS, Scaling
from framegate.models.transformers_private import interpolation, tower_kwargs
from framegate.tokenizers.gate.packing import NOTES_KEY, noted_shapes
from framegate.tokenizers.plan_config import PlanConfig

_VIDEOS, _GRIDS = "pixel_values_videos", "video_grid_thw"
# of a call that was opened: frames of each chunk, int64 [T]
_LENGTHS = "framegate_chunk_frames"
# dimensions of framegate's rows, [patches, C * t * p * p]; stock patches have more
_ROWS = 2
_TOKENS = {
    "image_token_id": "<|media_pad|>",
    "video_token_id": "<|kimi_k25_video_placeholder|>",
    "vision_start_token_id": "<|media_begin|>",
    "vision_end_token_id": "<|media_end|>",
}

_VIDEO: Values = STOCK_VALUES | {
    "video_processor_type": "Kimi_K25VideoProcessor",
    # in patches
    "size": {"max_height": 512, "max_width": 512},
    "max_patches": 4096,
    "image_mean": list(HALF),
    "image_std": list(HALF),
    "patch_size": 14,
    "temporal_patch_size": 4,
    "merge_size": 2,
    "do_sample_frames": True,
    "fps": 2,
}


def _bounds(values: Mapping[str, Any]) -> tuple[int, int]:
    """One cell, and so many patches as a frame may have; more where a part of a cell is filled up."""
    size, patch_px = dict(values["size"]), values["patch_size"]
    side = size.get("max_height")
    if not side or side != size.get("max_width"):
        raise ConfigError(f"size is {size}; it needs 'max_height' and 'max_width', in patches, equal.")
    return (patch_px * values["merge_size"]) ** 2, patch_px**2 * values["max_patches"]


def _sizes(height: int, width: int, settings: VideoSettings) -> tuple[tuple[int, int], tuple[int, int]]:
    """Size of a frame's content, and of its black canvas."""
    from transformers.models.kimi_k25.video_processing_kimi_k25 import navit_resize

    layout, stock = settings.layout, settings.stock
    sizes: tuple[tuple[int, int], tuple[int, int]] = navit_resize(
        height,
        width,
        patch_size=layout.patch_size_px,
        merge_kernel_size=layout.merge_size,
        max_patches=stock["max_patches"],
        max_size_per_side=dict(stock["size"])["max_height"],
    )
    return sizes


def size_rule(num_frames: int, height: int, width: int, settings: VideoSettings) -> tuple[int, int]:
    """The canvas; FrameError where frames may not be resized, nor laid on one, and hold no whole cells."""
    cell_px = settings.layout.cell_px
    if settings.do_resize:
        return _sizes(height, width, settings)[1]
    if height % cell_px or width % cell_px:
        raise FrameError(
            f"Frames of {height} x {width} px with do_resize=False; this tower takes sides of a multiple of "
            f"{cell_px} px."
        )
    return height, width


def content_rule(num_frames: int, height: int, width: int, settings: VideoSettings) -> tuple[int, int]:
    """What of the canvas a frame fills: smaller where it is too large, never larger."""
    return _sizes(height, width, settings)[0]


def _of_chunks(grid_thw: Tensor, lengths: Tensor) -> Tensor:
    """Frames, rows and columns of patches of each chunk, int64 [T, 3], of grids that count chunks and int64 [T]."""
    grids = grid_thw.repeat_interleave(grid_thw[:, 0], dim=0)
    return torch.cat([lengths.to(grids)[:, None], grids[:, 1:]], 1)


def _as_frames(rows: Tensor, chunks: Tensor, *, patch_px: int, merge: int) -> Tensor:
    """Rows of whole chunks, [N, C * t * p * p] cell by cell -> [P, C, p, p] frame by frame; fillers are left out."""
    cut = {"m": merge, "n": merge, "c": CHANNELS, "p": patch_px, "q": patch_px}
    parts = []
    for part, (length, height, _) in zip(
        rows.split(chunks[:, 1:].prod(1).tolist()), chunks.tolist(), strict=True
    ):
        whole = rearrange(part, "(H W m n) (c a p q) -> a (H m W n) c p q", H=height // merge, **cut)
        parts.append(whole[:length].flatten(0, 1))
    return torch.cat(parts)


def _as_chunks(pixels: Tensor, chunks: Tensor, *, full: int, merge: int) -> Tensor:
    """The way back: the last frame of a short chunk fills it up."""
    parts = []
    for part, (length, height, width) in zip(
        pixels.split(chunks.prod(1).tolist()), chunks.tolist(), strict=True
    ):
        frames = part.unflatten(0, (length, height * width))
        filled = torch.cat([frames, frames[-1:].expand(full - length, *frames.shape[1:])])
        parts.append(
            rearrange(
                filled,
                "a (H m W n) c p q -> (H W m n) (c a p q)",
                H=height // merge,
                m=merge,
                n=merge,
            )
        )
    return torch.cat(parts)


def _finish(data: dict[str, Tensor], values: Mapping[str, Any], config: PlanConfig) -> dict[str, Tensor]:
    """A grid for each chunk; rows of whole videos go as the stock processor lays them out, those of kept cells stay."""
    rows, grids, full = data[_VIDEOS], data[_GRIDS], values["temporal_patch_size"]
    lengths = []
    for metadata in values["video_metadata"]:
        whole, rest = divmod(len(metadata.frames_indices), full)
        lengths += [full] * whole + [rest] * bool(rest)
    chunks = _of_chunks(grids, torch.tensor(lengths))
    if len(rows) == int(grids.prod(1).sum()):
        rows = _as_frames(rows, chunks, patch_px=values["patch_size"], merge=values["merge_size"])
    return data | {_VIDEOS: rows, _GRIDS: chunks, "num_chunks_per_video": grids[:, 0].clone()}


class KimiTower(OneAxisTower):
    """Kimi K2.5's tower and projector, of one model; between `opened` and `closed` a chunk is a tube.

    Raises:
        UnsupportedModelError: cells that are no squares.
    """

    consumed = ("pixel_values", "image_grid_thw", _GRIDS, "mm_token_type_ids", _LENGTHS, FRAMES_KEY)

    def __init__(self, inner: Any, family: Family, scaling: Scaling) -> None:
        super().__init__(inner, family, scaling)
        kernel = list(self.tower.merge_kernel_size)
        if len(set(kernel)) != 1:
            raise UnsupportedModelError(
                f"{family.model_class} with merge_kernel_size {kernel} is not supported; supported are squares."
            )

    @property
    def merge_size(self) -> int:
        """Patches along the side of a cell."""
        return int(self.tower.merge_kernel_size[0])

    @property
    def tube_frames(self) -> int:
        """Frames of a chunk that is full."""
        return int(self.tower.config.pos_emb_time)

    def runner(self, call: dict[str, Any]) -> TowerCall:
        """How the tower is called in a call, some of whose chunks may be short."""
        return partial(self._run_chunks, call[_LENGTHS].cpu())

    def tube_lengths(self, call: dict[str, Any]) -> list[int] | None:
        """Frames of each chunk: what fills one up may be there in another."""
        found: list[int] = call[_LENGTHS].tolist()
        return found

    def encode(self, pixels: Tensor, call: dict[str, Any], cells: CellPlan, **how: Any) -> Encoded:
        """Features of the kept cells in token order, and whether it was guessed which chunks are a video's."""
        encoded = super().encode(pixels, call, cells, **how)
        told = call.get(NOTES_KEY) is not None or call.get(FRAMES_KEY) is not None
        if told or len(call[_LENGTHS]) == len(cells.shapes):
            return encoded
        note = (
            f"chunks of one size in one prompt were taken for one video, up to a short one ({len(cells.shapes)} videos "
            f"in all), for nothing says where one ends: attach the processor, or pass {FRAMES_KEY}, frames of each"
        )
        return encoded._replace(notes=(*encoded.notes, note))

    def opened(self, call: dict[str, Any]) -> dict[str, Any]:
        """The call with rows and grids of videos, and the frames of their chunks beside.

        Raises:
            PlaceholderError: pixels, grids and what is told of videos do not fit one another.
        """
        pixels, chunks = call.get(_VIDEOS), call.get(_GRIDS)
        if pixels is None or chunks is None:
            return call
        counts = self._chunks_of_videos(call, chunks)
        first = torch.tensor(counts).cumsum(0) - torch.tensor(counts)
        grids = chunks[first.to(chunks.device)].clone()
        grids[:, 0] = torch.tensor(counts)
        if not torch.equal(_of_chunks(grids, chunks[:, 0]), chunks):
            raise PlaceholderError(
                f"{_GRIDS} is {chunks.tolist()}, of videos of {counts} chunks: their sizes change."
            )
        if pixels.ndim > _ROWS:
            wanted = int(chunks.prod(1).sum())
            if len(pixels) != wanted:
                raise PlaceholderError(
                    f"{_VIDEOS} has {len(pixels)} patches; {_GRIDS} {chunks.tolist()} asks for {wanted}."
                )
            pixels = _as_chunks(pixels, chunks, full=self.tube_frames, merge=self.merge_size)
        return call | {_VIDEOS: pixels, _GRIDS: grids, _LENGTHS: chunks[:, 0]}

    def closed(self, call: dict[str, Any]) -> dict[str, Any]:
        """The call as the stock model takes it."""
        chunks = _of_chunks(call[_GRIDS], call[_LENGTHS])
        pixels = _as_frames(
            call[_VIDEOS], chunks, patch_px=self.tower.config.patch_size, merge=self.merge_size
        )
        rest = {name: value for name, value in call.items() if name not in (_LENGTHS, FRAMES_KEY)}
        return rest | {_VIDEOS: pixels, _GRIDS: chunks}

    def _chunks_of_videos(self, call: dict[str, Any], chunks: Tensor) -> list[int]:
        """Chunks of each video: as told, else up to a short chunk, another size, or the end of a prompt."""
        full = self.tube_frames
        if bool((chunks[:, 0] > full).any()):
            raise PlaceholderError(
                f"{_GRIDS} is {chunks.tolist()}; chunks of this tower have {full} frames at most."
            )
        if call.get(NOTES_KEY) is not None:
            counts = [shape[0] for shape in noted_shapes(call[NOTES_KEY])]
        elif call.get(FRAMES_KEY) is not None:
            counts = [-(-int(frames) // full) for frames in call[FRAMES_KEY]]
        else:
            ends = (chunks[:, 0] < full) | (chunks != chunks.roll(-1, 0))[:, 1:].any(1)
            if call.get("input_ids") is not None:
                cells = chunks[:, 1:].prod(1) // self.merge_size**2
                of_rows = self.placeholders(call).sum(1).cumsum(0)
                ends |= torch.isin(cells.cumsum(0), of_rows.to(cells))
            ends[-1] = True
            places = ends.nonzero().flatten() + 1
            counts = places.diff(prepend=places.new_zeros(1)).tolist()
        if sum(counts) != len(chunks):
            raise PlaceholderError(f"{_GRIDS} has {len(chunks)} chunks; the videos have {counts}.")
        return counts

    def _run_chunks(
        self, lengths: Tensor, rows: Tensor, grid_thw: Tensor, cells: CellPlan, kwargs: dict[str, Any]
    ) -> Any:
        """Call the tower on the frames of kept cells, as many as their chunks have, frames of a patch side by side."""
        merge, at = self.merge_size, rows.device
        kept = torch.tensor(cells.kept_per_tube) * merge**2
        each = lengths.repeat_interleave(kept).to(at)
        first = each.cumsum(0) - each
        row = torch.arange(len(rows), device=at).repeat_interleave(each)
        frame = torch.arange(len(row), device=at) - first[row]
        patch_px = self.tower.config.patch_size
        pixels = rows.unflatten(1, (CHANNELS, -1, patch_px, patch_px))[row, :, frame]
        learned = interpolation(self.tower.patch_embed.pos_emb, grid_thw.cpu(), merge)
        assert learned is not None
        shown = cells.keep.repeat_interleave(merge**2)
        places, weights = (part[shown].to(at)[row] for part in learned)
        segments, anchors = kept * lengths, kwargs.get("framegate_anchors")
        # anchors are found by the number of their chunk, so that one without a kept cell keeps its place
        ends = _boundaries(segments if anchors is not None else segments[segments > 0]).to(at)
        named = tower_kwargs(
            position_ids=kwargs["position_ids"][row], cu_seqlens=ends, interpolated=(places, weights)
        )
        told = (
            kwargs
            | named
            | {
                # a chunk of one frame has no place in time
                "frame_index": torch.where(each[row] > 1, frame + 1, 0),
                "temporal_merge_index": (row, 1 / each[row].float(), cells.num_kept),
            }
        )
        if anchors is not None:
            told["framegate_anchors"] = _anchors_of_frames(anchors, lengths.to(at), first)
        out = self.tower(pixels, grid_thw=grid_thw, **told)
        out.pooler_output = self.inner.mm_projector(out.pooler_output).squeeze(1)
        return out


def _boundaries(lengths: Tensor) -> Tensor:
    return F.pad(lengths.cumsum(0), (1, 0)).int()


def _anchors_of_frames(anchors: AnchorRows, lengths: Tensor, first: Tensor) -> AnchorRows:
    """Rows that stand for dense ones, of each frame of a chunk: those of the same frame of the anchor's chunk.

    An anchor lies in an earlier chunk of the video, which is full, or in the chunk itself.
    """
    counts = anchors.cu_tubes.diff().long()
    each = lengths.repeat_interleave(counts)
    row = torch.arange(len(each), device=each.device).repeat_interleave(each)
    frame = torch.arange(len(row), device=each.device) - (each.cumsum(0) - each)[row]
    return AnchorRows(
        first[anchors.rows][row] + frame, _boundaries(counts * lengths).to(first.device), None, None, None
    )


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    from transformers import Kimi_K25Config

    tower: Values = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "pos_emb_height": 8,
        "pos_emb_width": 8,
    }
    heads: Values = {
        "num_key_value_heads": 4,
        "q_lora_rank": 32,
        "kv_lora_rank": 32,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 16,
    }
    experts: Values = {
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "moe_intermediate_size": 32,
        "first_k_dense_replace": 1,
        "num_mtp_layers": 0,
    }
    return Kimi_K25Config(
        text_config=tiny_text(tokenizer, {"model_type": "deepseek_v3"} | heads | experts | text),
        vision_config=tower | vision,
        projection_hidden_size=32,
        **{name: tokenizer.convert_tokens_to_ids(token) for name, token in _TOKENS.items()},
    )


FAMILY = Family(
    model_type="kimi_k25",
    model_class="Kimi_K25ForConditionalGeneration",
    bind=KimiTower,
    recipe=ProcessorRecipe(
        processor="Kimi_K25Processor",
        image_processor=("kimi_k25.image_processing_kimi_k25", "Kimi_K25ImageProcessor"),
        built=built_for_patches,
        video_values=_VIDEO,
        model_values=UNBOUNDED,
        size_rule=size_rule,
        content_rule=content_rule,
        bounds=_bounds,
        sample_rule=even_sample_rule,
        finish=_finish,
    ),
    tiny=TinyRecipe(
        config=_tiny_config,
        tokens=(*_TOKENS.values(), "<|media_content|>"),
        video_mark=_TOKENS["video_token_id"],
        image_mark="<|media_begin|>image<|media_content|><|media_pad|><|media_end|>",
        token_names={"image_token": _TOKENS["image_token_id"], "video_token": _TOKENS["video_token_id"]},
    ),
    lowest_transformers="5.24",
    needs=("torchvision",),
    positions="1-D RoPE",
    timestamps="hours to milliseconds before every chunk of four frames, native",
    writes_times=True,
    reads_times=True,
    tower_modules=("vision_tower",),
    merger_modules=("mm_projector",),
    learned_positions=True,
    notes="A tube is a chunk of four frames, the last maybe of fewer, whose cells its tower averages. Pixels do not "
    "say where a video ends: where a prompt holds several, attach the processor, or pass framegate_video_frames.",
)
