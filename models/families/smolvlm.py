"""SmolVLM (2): frames as pictures, squares of patches shuffled to a cell, and a time and marks before every frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from framegate.errors import ConfigError, FrameError, PlaceholderError, UnsupportedModelError
from framegate.models.cell_plan import CellPlan
from framegate.models.families._shared import HALF, SQUARE_FRAMES, STOCK_VALUES, square_rule, tiny_text
from framegate.models.family import Family, ProcessorRecipe, Square, TinyRecipe, Values, VideoSettings
from framegate.models.mechanism import Encoded
from framegate.models.towers.frames import FramesTower
from framegate.models.towers.grid_encode import embed_patches, encode_rows
from framegate.models.towers.patches import CHANNELS, Scaling
from framegate.models.transformers_private import PLACEHOLDER_METHOD
from framegate.tokenizers.plan_config import PlanConfig
from framegate.types import Int64Array

_TINY_PX = 128
# Side of a frame to side of a patch, px, and patches along a cell's: what checkpoints have, whose processors leave
# them to the model. SmolVLM2 2.2B; 500M and 256M; the class's own; the tiny model.
_CUTS = {384: (14, 3), 512: (16, 4), 364: (14, 2), _TINY_PX: (8, 4)}
# of a long video the stock rule leaves this much out at either end
_SKIPPED_SECONDS = 1

_VIDEO: Values = STOCK_VALUES | {
    "video_processor_type": "SmolVLMVideoProcessor",
    "size": {"longest_edge": 2048},
    "max_image_size": {"longest_edge": 512},
    "image_mean": list(HALF),
    "image_std": list(HALF),
    "resample": 1,
    "do_pad": True,
    "do_sample_frames": False,
    "fps": 1,
    "num_frames": 64,
}


def _told(found: Mapping[str, Any]) -> Values:
    """Settings of a file, which may hold sampling and size of videos apart (`video_sampling`)."""
    own = found.get("video_sampling") or {}
    names = {"num_frames": "max_frames", "fps": "fps", "size": "video_size"}
    told = {name: own[theirs] for name, theirs in names.items() if theirs in own} | dict(found)
    side_px = dict(told.get("size") or {}).get("height")
    return {"max_image_size": {"longest_edge": side_px}} | told if side_px else told


def _square(values: Mapping[str, Any]) -> Square:
    """Frames are brought to a longer side first, in their own aspect, and to the square then."""
    size, side_px = dict(values["size"]), dict(values["max_image_size"]).get("longest_edge")
    if side_px not in _CUTS:
        sides = ", ".join(map(str, sorted(_CUTS)))
        raise ConfigError(
            f"max_image_size is {values['max_image_size']}; SmolVLM has a longest_edge of {sides} px."
        )
    if not size.get("longest_edge") and (size.get("height"), size.get("width")) != (side_px, side_px):
        raise ConfigError(
            f"size is {size}; it needs 'longest_edge', in pixels, or 'height' and 'width' of {side_px}."
        )
    longer_px = size.get("longest_edge") if values["do_resize"] else None
    return Square(side_px, *_CUTS[side_px], longer_edge_px=longer_px)


def _built(values: Mapping[str, Any]) -> tuple[Values, Values]:
    side_px, patch_px, cell_patches = _square(values)[:3]
    scaled = {name: values[name] for name in ("image_mean", "image_std")}
    edges = {"size": {"longest_edge": 4 * side_px}, "max_image_size": {"longest_edge": side_px}}
    return scaled | edges, {"image_seq_len": (side_px // patch_px // cell_patches) ** 2}


def sample_rule(num_frames: int, video_fps: float | None, settings: VideoSettings) -> Int64Array:
    """Choose frames as SmolVLMVideoProcessor.sample_frames does: at a rate, evenly, and no more than num_frames."""
    fps, most = settings.fps, settings.num_frames
    if video_fps is None or fps is None or most is None:
        raise FrameError(
            f"SmolVLM samples by fps (here {fps}), at most num_frames ({most}), of frames whose own rate is known "
            f"(here {video_fps}); pass all, the last as fps of video_metadata, or do_sample_frames=False."
        )
    seconds = num_frames / video_fps
    wanted = max(min(round(fps * seconds), most), 1)
    first, last = 0, num_frames - 1
    if seconds - 2 * _SKIPPED_SECONDS > most * fps:
        skipped = _SKIPPED_SECONDS * video_fps
        first, last = int(skipped), min(int(num_frames - skipped), last)
    if first >= last:
        first, last = 0, num_frames - 1
    return np.unique(np.linspace(first, last, wanted, dtype=np.int64))


def _video_text(processor: Any, shape: tuple[int, int, int], metadata: Any) -> str:
    """What SmolVLM's processor writes for so many whole frames."""
    frames = torch.empty(1, shape[0], CHANNELS, 1, 1, device="meta")
    inputs = {"pixel_values": frames, "video_metadata": [metadata]}
    text: str = getattr(processor, PLACEHOLDER_METHOD)(inputs, video_idx=0)
    return text


def _finish(data: dict[str, Tensor], values: Mapping[str, Any], config: PlanConfig) -> dict[str, Tensor]:
    """Videos go to the model by the name of pictures; a mask of whole frames it makes itself."""
    rest = {name: value for name, value in data.items() if name != "pixel_values_videos"}
    return {"pixel_values": data["pixel_values_videos"]} | rest


class SmolVLMTower(FramesTower):
    """SmolVLM's vision transformer and its shuffle of patches to cells, of one model.

    Raises:
        UnsupportedModelError: frames or cells of a size that no checkpoint has.
    """

    consumed = ("pixel_values", "pixel_attention_mask")

    def __init__(self, inner: Any, family: Family, scaling: Scaling) -> None:
        super().__init__(inner, family, scaling)
        if _CUTS.get(self._image_px) != (self._patch_px, self.merge_size):
            raise UnsupportedModelError(
                f"{family.model_class} with frames of {self._image_px} px, patches of {self._patch_px} px and "
                f"scale_factor {self.merge_size} is not supported; supported are (frame: patch, scale_factor) {_CUTS}."
            )

    @property
    def merge_size(self) -> int:
        """Patches along the side of a cell."""
        return int(self.inner.config.scale_factor)

    def states(self, patches: Tensor, place: Tensor, lengths: list[int], call: dict[str, Any]) -> Tensor:
        """Last hidden states, after the tower's own layer norm."""
        place = self._positions_of_places(patches)[place]
        rows, lengths = embed_patches(self.tower, patches, place, lengths)
        encoded: Tensor = self.tower.post_layernorm(encode_rows(self.tower, rows, lengths, -1))
        return encoded

    def pool(self, grid: Tensor) -> Tensor:
        """The model's own shuffle of patches, projected."""
        pooled: Tensor = self.inner.connector(grid)
        return pooled

    def stock_features(self, pixels: Tensor, call: dict[str, Any]) -> Tensor:
        """The model's own features of frames."""
        return torch.stack(list(self.inner.get_image_features(pixels, return_dict=True).pooler_output))

    def closed(self, call: dict[str, Any]) -> dict[str, Any]:
        """Give whole videos [V, F, C, h, w] back as pixel_values, which this model takes so."""
        videos = call.get("pixel_values_videos")
        if videos is None:
            return call
        rest = {name: value for name, value in call.items() if name != "pixel_values_videos"}
        return rest | {"pixel_values": videos}

    def encode(self, pixels: Tensor, call: dict[str, Any], cells: CellPlan, **how: Any) -> Encoded:
        """Features of the kept cells in token order; PlaceholderError for a mask that hides parts of frames."""
        mask = call.get("pixel_attention_mask")
        if mask is not None and not bool(mask.all()):
            raise PlaceholderError(
                "pixel_attention_mask hides parts of frames, which a front end does not follow; pass videos of one "
                "length in a call, whose frames fill their squares."
            )
        return super().encode(pixels, call, cells, **how)

    def _positions_of_places(self, patches: Tensor) -> Tensor:
        """Which learned position each place of a whole frame has: int64 [n*n].

        The model finds them by fractions of the side in float32, which for some sides are not the places' own numbers.
        So its own embedding tells, with numbers for weights: a module of width 1.
        """
        vision = self.inner.config.vision_config
        sizes = {"image_size": self._image_px, "patch_size": self._patch_px, "num_channels": CHANNELS}
        # what its weights start from is drawn at random
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            teller = type(self.tower.embeddings)(type(vision)(**sizes, hidden_size=1))
        teller = teller.to(patches.device)
        with torch.no_grad():
            teller.patch_embedding.weight.zero_()
            teller.patch_embedding.bias.zero_()
            teller.position_embedding.weight.copy_(torch.arange(self.side**2)[:, None])
            frame = torch.zeros(1, CHANNELS, self._image_px, self._image_px, device=patches.device)
            shown = torch.ones(1, self.side, self.side, dtype=torch.bool, device=patches.device)
            numbers: Tensor = teller(pixel_values=frame, patch_attention_mask=shown)
        return numbers.flatten().long()


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    from transformers import SmolVLMConfig

    patch_px, cell_patches = _CUTS[_TINY_PX]
    tower: Values = {
        "model_type": "smolvlm_vision",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": _TINY_PX,
        "patch_size": patch_px,
    }
    return SmolVLMConfig(
        text_config=tiny_text(tokenizer, {"model_type": "llama"} | text),
        vision_config=tower | vision,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=cell_patches,
    )


FAMILY = Family(
    model_type="smolvlm",
    model_class="SmolVLMForConditionalGeneration",
    tower="frames",
    bind=SmolVLMTower,
    recipe=ProcessorRecipe(
        processor="SmolVLMProcessor",
        image_processor=("smolvlm.image_processing_pil_smolvlm", "SmolVLMImageProcessorPil"),
        arguments=("image_seq_len",),
        built=_built,
        video_values=_VIDEO,
        model_values=SQUARE_FRAMES,
        cell_patches=4,
        square=_square,
        told=_told,
        caps_frames=True,
        size_rule=square_rule,
        sample_rule=sample_rule,
        finish=_finish,
        video_text=_video_text,
        pictures_beside=False,
    ),
    tiny=TinyRecipe(
        config=_tiny_config,
        tokens=("<image>", "<video>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"),
        video_mark="<video>",
        image_mark="<image>",
        size={"height": _TINY_PX, "width": _TINY_PX},
        token_names={
            "image_token": "<image>",
            "fake_image_token": "<fake_token_around_image>",
            "global_image_token": "<global-img>",
            "end_of_utterance_token": "<end_of_utterance>",
            "video_token": "<video>",
        },
    ),
    needs=("num2words",),
    positions="1-D RoPE",
    timestamps="minutes and seconds before every frame, native",
    writes_times=True,
    reads_times=True,
    tower_modules=("vision_model",),
    merger_modules=("connector",),
    learned_positions=True,
    contexts=("kept",),
    notes="As internvl; its processor needs num2words. Cells are 3 x 3 patches (2.2B) or 4 x 4.",
)
