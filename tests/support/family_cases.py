"""Tiny models of every family that this transformers has, and what their processors make of frames."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
import transformers
from packaging.version import Version

from framegate.models.families import families
from framegate.models.tiny import tiny_pair

NAMES = sorted(
    name
    for name, family in families().items()
    if Version(transformers.__version__) >= Version(family.lowest_transformers)
    and all(map(find_spec, family.needs))
)
# a family for every way in which towers, positions and times are served: what `make test` runs; the others differ from
# one of these in facts, and `make test-families` runs them all
REPRESENTATIVE = {
    *("qwen2_5_vl", "qwen3_vl", "qwen3_5", "glm4v", "qwen2_5_omni_thinker", "video_llama_3"),
    *("llava_onevision", "internvl", "video_llava", "molmo2", "gemma4", "minicpmv4_7"),
}
FAMILIES = [
    pytest.param(name, marks=[] if name in REPRESENTATIVE else [pytest.mark.families]) for name in NAMES
]
NEW = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
CLOSE = {"rtol": 0, "atol": 2e-4}
# a family's own compression of prompts would leave cells out that the tests count
OWN_COMPRESSION = "use_token_compression"
# what a stock model demands, and its stock processor gives only where a call asks for it
ASKED = {"Cosmos3EdgeProcessor": {"return_mm_token_type_ids": True}}
# stock processors that refuse a second video in a prompt
ONE_VIDEO = {"molmo2"}
EVEN = {"fps": 4.0, "total_num_frames": 8, "duration": 2.0, "frames_indices": list(range(8))}


def new_words(model):
    """Options of generate for a few words, and no placeholder, which weights without meaning might choose."""
    names = ("image_token_id", "video_token_id")
    ids = {getattr(model.config, name, None) for name in names} - {None}
    return NEW | {"suppress_tokens": sorted(ids)}


def family_pair(name):
    """Model and processor; its own compression is off."""
    model, processor = tiny_pair(name)
    if hasattr(processor.video_processor, OWN_COMPRESSION):
        setattr(processor.video_processor, OWN_COMPRESSION, False)
    return model, processor


def new_frames(seed=0):
    """Frames that share nothing, so that a threshold skips no cell: uint8 [8, h, w, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (8, 112, 168, 3), dtype=np.uint8)


def called(processor, *videos, own=True, text=None, images=None, metadata=EVEN):
    """Inputs of one row a video, or of `text`; `own` keeps framegate's keys, which a stock model would refuse."""
    chat = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "What moves?"}]}]
    each = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    out = processor(
        text=text or [each] * len(videos),
        **({} if images is None else {"images": images}),
        videos=[torch.from_numpy(video).permute(0, 3, 1, 2) for video in videos],
        video_metadata=[dict(metadata) for _ in videos],
        do_sample_frames=False,
        return_tensors="pt",
        padding=True,
        **ASKED.get(type(processor).__name__, {}),
    )
    return {k: v for k, v in out.items() if torch.is_tensor(v) and (own or not k.startswith("framegate"))}


def dense(processor, *videos, text=None):
    """Inputs as the stock processor makes them, told to be a video where the family's pixels do not say it."""
    inputs = called(processor, *videos, own=False, text=text)
    if "pixel_values_videos" not in inputs:
        inputs["framegate_video_frames"] = torch.tensor([8] * len(videos))
    return inputs
