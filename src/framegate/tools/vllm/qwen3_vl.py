"""vLLM's Qwen3-VL with the gate in front of its tower, under a name of its own. Importing this needs vLLM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from vllm.model_executor.layers.attention.mm_encoder_attention import MMEncoderAttention
from vllm.model_executor.models.qwen3_vl import Qwen3VLDummyInputsBuilder, Qwen3VLForConditionalGeneration
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.platforms import current_platform
from vllm.utils.gpu_sync_debug import gpu_sync_allowed
from vllm.v1.worker.encoder_cudagraph_defs import EncoderCudaGraphConfig

from framegate.models.stages.select.stage import TokenSelect
from framegate.tools.vllm.kept import KeptPatches, grid_places, kept_patches, read_tokens, with_places
from framegate.tools.vllm.positions import Shown, moved, prompt_positions
from framegate.tools.vllm.qwen3_vl_processor import (
    COUNTS_KEY,
    SOURCE_KEY,
    GatedProcessingInfo,
    GatedProcessor,
)
from framegate.tools.vllm.settings import SETTINGS, check_server, selects, served_config


@MULTIMODAL_REGISTRY.register_processor(
    GatedProcessor, info=GatedProcessingInfo, dummy_inputs=Qwen3VLDummyInputsBuilder
)
class FramegateQwen3VLForConditionalGeneration(Qwen3VLForConditionalGeneration):
    """The tower encodes the cells that changed; the others show their anchors' features, at every DeepStack level.

    Untested on a GPU. Weights, language model and pictures are vLLM's own.

    Args:
        vllm_config: vLLM's; its model's configuration holds that of the gate (`settings.served_config`).
        prefix: of the weights.

    Raises:
        ConfigError: settings that are not followed, or `--video-pruning-rate` does not go with them.

    Source: the hooks are those of vLLM 0.33.0, model_executor/models/qwen3_vl.py and interfaces.py; ragged tower,
    refill, selection and positions are ours.
    """

    # vLLM splits towers over devices, counts tokens for adapters of the tower, and scales pixels, by whole grids
    supports_encoder_tp_data = False
    supports_tower_connector_lora = False
    supports_mm_device_do_normalize = False
    supported_video_pruning_methods = ("evs",)
    # vLLM's budget for the tower counts what the language model reads, and the tower may encode more
    requires_sequential_video_encoding = True

    def __init__(self, *, vllm_config: Any, prefix: str = "model") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        gate = served_config(getattr(self.config, SETTINGS, None))
        rate = self.multimodal_config.video_pruning_rate
        check_server(gate, pruning_rate=rate, on_cpu=current_platform.is_cpu())
        self._select = TokenSelect(gate.select) if selects(gate) else None
        # the flag makes vLLM move positions; its own pruning of features stands aside
        self.is_multimodal_pruning_enabled = False

    def get_encoder_cudagraph_config(self) -> EncoderCudaGraphConfig:
        """No graphs of the tower: they are made for whole grids, and go past `embed_multimodal`."""
        return replace(super().get_encoder_cudagraph_config(), modalities=[], max_frames_per_video=1)

    def embed_multimodal(self, **kwargs: Any) -> Any:
        """Encode the pictures, or the kept patches of the videos, of a step.

        Returns:
            Of each what the language model reads, [n, D * (1 + levels)]; where tokens are selected, row and column
            beside it.
        """
        if SOURCE_KEY in kwargs:
            return self._embed_videos(
                kwargs["pixel_values_videos"],
                kwargs["video_grid_thw"].tolist(),
                list(kwargs[SOURCE_KEY]),
                list(kwargs[COUNTS_KEY]),
            )
        features = super().embed_multimodal(**kwargs)
        if features is None or self._select is None:
            return features
        side = self.visual.spatial_merge_size
        return tuple(
            with_places(each, grid_places(height // side, width // side))
            for each, (_, height, width) in zip(features, kwargs["image_grid_thw"].tolist(), strict=True)
        )

    def _embed_videos(
        self, rows: Tensor, grids: list[list[int]], sources: list[Tensor], counts: list[Tensor]
    ) -> tuple[Tensor, ...]:
        side = self.visual.spatial_merge_size
        shapes = [(tubes, height // side, width // side) for tubes, height, width in grids]
        kept = [
            kept_patches(source, shape, merge_size=side)
            for source, shape in zip(sources, shapes, strict=True)
        ]
        metadata = encoder_metadata(self.visual, kept, grids)
        encoded = self.visual(rows, grids, encoder_metadata=metadata)
        cells = [len(patches.places) // side**2 for patches in kept]
        found = []
        with gpu_sync_allowed():
            for each, source, count, shape in zip(encoded.split(cells), sources, counts, shapes, strict=True):
                read = read_tokens(each, source, count, shape, width=self.visual_dim, select=self._select)
                found.append(read.features if self._select is None else with_places(*read))
        return tuple(found)

    def get_mrope_input_positions(
        self, input_tokens: list[int], mm_features: list[Any]
    ) -> tuple[Tensor, int]:
        """Place the tokens of a prompt as if every cell stood in it."""
        ordered = sorted(mm_features, key=lambda feature: feature.mm_position.offset)
        return prompt_positions(
            input_tokens,
            [self._shown(feature) for feature in ordered],
            start_id=self.config.vision_start_token_id,
            end_id=self.config.vision_end_token_id,
        )

    def _shown(self, feature: Any) -> Shown:
        side, start = self.config.vision_config.spatial_merge_size, feature.mm_position.offset
        tubes, height, width = feature.data[f"{feature.modality}_grid_thw"].data.tolist()
        shape = (tubes, height // side, width // side)
        if feature.modality == "image":
            cells = shape[1] * shape[2]
            return Shown(start, shape, [cells], torch.arange(cells), is_video=False)
        counts = feature.data[COUNTS_KEY].data
        shown = (feature.data[SOURCE_KEY].data >= 0).nonzero()[:, 0]
        is_known = self._select is None or len(shown) == int(counts.sum())
        return Shown(start, shape, counts.tolist(), shown if is_known else None)

    def recompute_mrope_positions(
        self,
        input_ids: list[int] | Tensor,
        multimodal_embeddings: Sequence[Tensor],
        mrope_positions: Tensor,
        num_computed_tokens: int,
    ) -> tuple[Sequence[Tensor], Tensor, int]:
        """Put selected tokens at the rows and columns that came with their features."""
        with gpu_sync_allowed():
            return moved(
                input_ids,
                multimodal_embeddings,
                mrope_positions,
                num_computed_tokens,
                placeholders=(self.config.image_token_id, self.config.video_token_id),
            )


def encoder_metadata(
    tower: Any, kept: Sequence[KeptPatches], grids: Sequence[Sequence[int]]
) -> dict[str, Tensor | None]:
    """What vLLM's tower would compute of whole grids, of the kept patches alone.

    Args:
        tower: Qwen3_VisionTransformer.
        kept: the patches of each video.
        grids: tubes, rows and columns of each video's dense grid, in patches.

    Returns:
        `encoder_metadata` of its forward.

    Source: vLLM 0.33.0, Qwen3_VisionTransformer.prepare_encoder_metadata.
    """
    learned, cosines, sines = [], [], []
    for patches, (_, height, width) in zip(kept, grids, strict=True):
        tube, places = [[1, height, width]], patches.places.to(tower.device)
        cos, sin = tower.rot_pos_emb(tube)
        learned.append(tower.fast_pos_embed_interpolate(tube)[places])
        cosines.append(cos[places])
        sines.append(sin[places])
    lengths = [length for patches in kept for length in patches.lengths]
    bounds = np.cumsum([0, *lengths], dtype=np.int32)
    backend = tower.attn_backend
    longest = MMEncoderAttention.compute_max_seqlen(backend, bounds)
    return {
        "pos_embeds": torch.cat(learned),
        "rotary_pos_emb_cos": torch.cat(cosines),
        "rotary_pos_emb_sin": torch.cat(sines),
        "sequence_lengths": MMEncoderAttention.maybe_compute_seq_lens(backend, bounds, tower.device),
        "max_seqlen": torch.tensor(longest, dtype=torch.int32),
        "cu_seqlens": MMEncoderAttention.maybe_recompute_cu_seqlens(
            backend,
            bounds,
            tower.hidden_size,
            tower.tp_size,
            tower.device,
            fp8_padded_hidden_size=tower.fp8_padded_hidden_size,
        ),
    }
