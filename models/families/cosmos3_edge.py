"""Cosmos 3 Edge: SigLIP 2 over packed frames, a frame a tube, whose rows hold their colours last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from framegate.models.cell_plan import CellPlan
from framegate.models.families._shared import (
    HALF,
    STOCK_VALUES,
    UNCAPPED,
    built_for_patches,
    qwen_token_ids,
    tiny_text,
    video_rule,
)
from framegate.models.family import Family, ProcessorRecipe, TinyRecipe, Values
from framegate.models.towers.packed import PackedTower
from framegate.models.towers.reordered import channels_first, channels_last
from framegate.models.transformers_private import SEGMENTS_KEY
from framegate.tokenizers.plan_config import PlanConfig

_VIDEOS = "pixel_values_videos"
_VIDEO: Values = STOCK_VALUES | {
    "video_processor_type": "Cosmos3EdgeVideoProcessor",
    "size": {"shortest_edge": 64 * 64, "longest_edge": 24 * 1024 * 1024},
    "image_mean": list(HALF),
    "image_std": list(HALF),
    "patch_size": 16,
    "temporal_patch_size": 1,
    "merge_size": 2,
    "min_frames": 4,
    "max_frames": 768,
    "do_sample_frames": True,
    "fps": 2,
    # its processor reads times, and does not ask for them itself
    "return_metadata": True,
}


def _finish(data: dict[str, Tensor], values: Mapping[str, Any], config: PlanConfig) -> dict[str, Tensor]:
    """Rows in the order of the stock video processor, kept or all."""
    return data | {_VIDEOS: channels_last(data[_VIDEOS])}


class Cosmos3EdgeTower(PackedTower):
    """Cosmos 3 Edge's tower and projector, of one model."""

    tube_frames = 1

    def run(self, rows: Tensor, grid_thw: Tensor, cells: CellPlan, kwargs: dict[str, Any]) -> Any:
        """Call the parts of the tower: as a whole it lays its learned positions over all patches of a grid."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        tower, own = self.tower, self.tower.embeddings
        learned = own.position_embedding.weight.unflatten(0, (own.position_embedding_size, -1))
        places = own.resize_positional_embeddings(learned, grid_thw, self.merge_size)
        kept = cells.keep.repeat_interleave(self.merge_size**2).to(places.device)
        embeds = own.patch_embedding(channels_last(rows)) + places[kept].to(rows.device)
        passed = {key: value for key, value in kwargs.items() if key == SEGMENTS_KEY or "framegate" in key}
        states = tower.post_layernorm(tower.encoder(embeds, grid_thw=grid_thw, **passed))
        return BaseModelOutputWithPooling(
            last_hidden_state=states, pooler_output=self.inner.projector(states)
        )

    def opened(self, call: dict[str, Any]) -> dict[str, Any]:
        """The call with the colours of its videos first."""
        rows = call.get(_VIDEOS)
        return call if rows is None else call | {_VIDEOS: channels_first(rows)}

    def closed(self, call: dict[str, Any]) -> dict[str, Any]:
        """The call as the stock model takes it."""
        return call | {_VIDEOS: channels_last(call[_VIDEOS])}


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    from transformers import Cosmos3EdgeConfig

    tower: Values = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_patches": 64,
        "patch_size": 16,
    }
    rope = {"mrope_section": [2, 3, 3]}
    return Cosmos3EdgeConfig(
        text_config=tiny_text(tokenizer, {"head_dim": 16} | text, rope=rope),
        vision_config=tower | vision,
        projector_hidden_size=64,
        **qwen_token_ids(tokenizer),
    )


FAMILY = Family(
    model_type="cosmos3_edge",
    model_class="Cosmos3EdgeForConditionalGeneration",
    bind=Cosmos3EdgeTower,
    recipe=ProcessorRecipe(
        processor="Cosmos3EdgeProcessor",
        image_processor=("cosmos3_edge.image_processing_pil_cosmos3_edge", "Cosmos3EdgeImageProcessorPil"),
        built=built_for_patches,
        video_values=_VIDEO,
        model_values=UNCAPPED,
        size_rule=video_rule,
        counts_time=True,
        finish=_finish,
    ),
    tiny=TinyRecipe(config=_tiny_config),
    # before, its language model took three axes of positions and no text axis beside them
    lowest_transformers="5.24",
    timestamps="text before every frame, native",
    writes_times=True,
    reads_times=True,
    merger_modules=("projector",),
    learned_positions=True,
    notes="Its learned positions are laid over the whole grid, of which kept patches take theirs.",
)
