"""vLLM's processor of Qwen3-VL with a plan for every video. Importing this needs vLLM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from transformers import BatchFeature
from vllm.logger import init_logger
from vllm.model_executor.models.qwen3_vl import Qwen3VLMultiModalProcessor, Qwen3VLProcessingInfo
from vllm.multimodal.hasher import MultiModalHasher
from vllm.multimodal.inputs import MultiModalFieldConfig
from vllm.multimodal.parse import MultiModalDataItems, VideoProcessorItems
from vllm.platforms import current_platform

from framegate.config import FrontEndConfig
from framegate.errors import ConfigError
from framegate.models.video_processor.message import SHARES
from framegate.models.video_processor.processor import GatedVideoProcessor
from framegate.tokenizers.gate.packing import fingerprint_of
from framegate.tools.vllm.kept import is_encoded
from framegate.tools.vllm.planned import PlannedVideo, planned_video
from framegate.tools.vllm.settings import SETTINGS, check_server, served_config

# fields of a video beside vLLM's own: the cell that each cell shows, and the tokens of every tube
SOURCE_KEY, COUNTS_KEY = "framegate_source", "framegate_counts"
logger = init_logger("vllm.framegate")


class GatedProcessingInfo(Qwen3VLProcessingInfo):
    """What vLLM asks of the model before there is one, and the configuration of the gate."""

    @cached_property
    def gate(self) -> FrontEndConfig:
        """The configuration, checked against what vLLM was started with."""
        config = served_config(getattr(self.get_hf_config(), SETTINGS, None))
        rate = self.ctx.get_mm_config().video_pruning_rate
        check_server(config, pruning_rate=rate, on_cpu=current_platform.is_cpu())
        return config


class GatedProcessor(Qwen3VLMultiModalProcessor):
    """Hands the tower the patches that changed, and says how many tokens every tube has before it is scheduled.

    Pictures go vLLM's own way.

    Args:
        info: of the model.
        dummy_inputs: vLLM's own.
        options: vLLM's own.

    Raises:
        ConfigError: settings that are not followed, or `--video-pruning-rate` does not go with them.

    Source: the hooks are those of vLLM 0.33.0, multimodal/processing/processor.py; what they do is ours.
    """

    info: GatedProcessingInfo

    def __init__(self, info: GatedProcessingInfo, dummy_inputs: Any, **options: Any) -> None:
        super().__init__(info, dummy_inputs, **options)
        stock = info.get_video_processor().to_dict()
        self._reader = GatedVideoProcessor("qwen3_vl", stock, info.gate.plan)

    def _get_mm_hashes(self, inputs: Any) -> Any:
        """Tell videos of another configuration apart, in caches that outlive a server or are shared."""
        hashes = dict(super()._get_mm_hashes(inputs))
        algorithm, config = self.info.ctx.get_mm_config().mm_hasher_algorithm, self.info.gate
        told = f"{fingerprint_of(config.plan)} {config.select}"
        if "video" in hashes:
            hashes["video"] = [
                MultiModalHasher.hash_kwargs(algorithm, mm_hash=each, framegate=told)
                for each in hashes["video"]
            ]
        return hashes

    def _apply_hf_processor_main(
        self, mm_items: MultiModalDataItems, hf_kwargs: Mapping[str, object]
    ) -> BatchFeature:
        """Pictures as vLLM has them, and videos planned and cut."""
        others = MultiModalDataItems({name: items for name, items in mm_items.items() if name != "video"})
        data = super()._apply_hf_processor_main(others, hf_kwargs)
        videos = mm_items.get("video")
        if not videos:
            return data
        if not isinstance(videos, VideoProcessorItems):
            raise ConfigError(
                "video_embeds are not followed by framegate: send the video, or start vLLM's own model."
            )
        told = self._told(hf_kwargs)
        planned = [
            planned_video(frames, metadata, self._reader, self.info.gate, told)
            for frames, metadata in videos.get_processor_data()["videos"]
        ]
        data.update(self._batch(planned))
        return data

    def _told(self, hf_kwargs: Mapping[str, object]) -> dict[str, Any]:
        """What server and request say of videos, by transformers' names."""
        asked = [name for name in SHARES if name in hf_kwargs]
        if asked:
            raise ConfigError(
                f"{' and '.join(asked)} cannot be set by a request here: the server's --hf-overrides set them for all."
            )
        own = self.info._merge_and_resolve_mm_processor_kwargs(hf_kwargs).get("videos_kwargs", {})
        lists = [
            name for name, value in own.items() if isinstance(value, list) and name in ("fps", "num_frames")
        ]
        if lists:
            raise ConfigError(
                f"{' and '.join(lists)} for each video is not followed by framegate: set media_io_kwargs, by which "
                "its loader chooses frames."
            )
        return {name: value for name, value in own.items() if value is not None}

    def _batch(self, planned: Sequence[PlannedVideo]) -> dict[str, Any]:
        tube_frames = self.info.get_hf_config().vision_config.temporal_patch_size
        for note in dict.fromkeys(note for video in planned for note in video.notes):
            logger.info_once("framegate: %s", note)
        return {
            "pixel_values_videos": torch.cat([video.rows for video in planned]).to(
                self.info.ctx.model_config.dtype
            ),
            "video_grid_thw": torch.tensor([video.grid_thw for video in planned]),
            "timestamps": [
                self.info._calculate_timestamps(
                    list(video.metadata.frames_indices), video.metadata.fps, tube_frames
                )
                for video in planned
            ],
            SOURCE_KEY: [video.source for video in planned],
            COUNTS_KEY: [video.counts for video in planned],
        }

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        """Rows of kept patches alone, and the plan beside them."""
        rows_per_cell = self.info.get_hf_config().vision_config.spatial_merge_size ** 2
        kept = [int(is_encoded(source).sum()) for source in hf_inputs.get(SOURCE_KEY, [])]
        sizes = torch.tensor(kept, dtype=torch.long) * rows_per_cell
        return dict(super()._get_mm_fields_config(hf_inputs, hf_processor_mm_kwargs)) | {
            "pixel_values_videos": MultiModalFieldConfig.flat_from_sizes("video", sizes),
            SOURCE_KEY: MultiModalFieldConfig.batched("video", keep_on_cpu=True),
            COUNTS_KEY: MultiModalFieldConfig.batched("video", keep_on_cpu=True),
        }

    def _get_prompt_updates(
        self, mm_items: Any, hf_processor_mm_kwargs: Mapping[str, Any], out_mm_kwargs: Any
    ) -> Sequence[Any]:
        """After each time as many placeholders as that tube has tokens."""
        tokenizer, config = self.info.get_tokenizer(), self.info.get_hf_config()

        def video_tokens(number: int) -> Any:
            item = out_mm_kwargs["video"][number]
            return self.get_video_repl(
                tokens_per_frame=item[COUNTS_KEY].data.tolist(),
                timestamps=item["timestamps"].data,
                tokenizer=tokenizer,
                vision_start_token_id=config.vision_start_token_id,
                vision_end_token_id=config.vision_end_token_id,
                video_token_id=config.video_token_id,
                select_token_id=True,
            )

        stock = super()._get_prompt_updates(mm_items, hf_processor_mm_kwargs, out_mm_kwargs)
        return [
            replace(update, replacement=video_tokens) if update.modality == "video" else update
            for update in stock
        ]
