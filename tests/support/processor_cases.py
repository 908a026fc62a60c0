"""What the tests of the video processor share."""

import numpy as np
from transformers.video_utils import load_video

from framegate.configs.loader import load_config
from framegate.models.towers.patches import PatchLayout

DENSE, GATE = load_config("dense"), load_config("gate")
LAYOUT = PatchLayout(
    patch_size_px=14, temporal_patch_size=2, merge_size=2, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)
)


def chat(processor, blocks, **options):
    messages = [{"role": "user", "content": [*blocks, {"type": "text", "text": "What moves?"}]}]
    return processor.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt", **options
    )


def text_of(processor, inputs):
    return processor.tokenizer.decode(inputs["input_ids"][0])


def by_pyav(paths, sample_indices_fn=None):
    """Stands in for a stock processor's fetch_videos: the reader that needs no torchcodec."""
    if isinstance(paths, list):
        return list(zip(*(by_pyav(path, sample_indices_fn) for path in paths), strict=True))
    return load_video(paths, backend="pyav", sample_indices_fn=sample_indices_fn or every_frame)


def every_frame(metadata, **_):
    return np.arange(metadata.total_num_frames)
