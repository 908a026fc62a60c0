"""Tiny stock models, stock processors (they need torchvision) and moving frames, without any network."""

import inspect

import numpy as np
import torch

from framegate.models.prompt.cached import CACHE_NAMES
from framegate.models.tiny import chat_template, tiny_model, tiny_tokenizer

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")


def stock_model(family, seed=0, **changes):
    return tiny_model(family, seed=seed, weight_std=0.15, **changes)


def cache_name():
    """What calls and outputs of the installed transformers name the cache; 5.24 renamed it."""
    from transformers import Qwen2VLModel

    taken = inspect.signature(Qwen2VLModel.forward).parameters
    return next(name for name in CACHE_NAMES if name in taken)


def stock_processor(family):
    """A processor of the stock class; its size rule allows up to 24 cells a time step."""
    import transformers as tf

    tokenizer, template = tiny_tokenizer(), chat_template(family)
    if family == "qwen3_vl":
        size = {"shortest_edge": 32 * 32 * 4, "longest_edge": 32 * 32 * 24 * 8}
        return tf.Qwen3VLProcessor(
            image_processor=tf.Qwen2VLImageProcessor(patch_size=16),
            tokenizer=tokenizer,
            video_processor=tf.Qwen3VLVideoProcessor(size=size),
            chat_template=template,
        )
    size = {"shortest_edge": 28 * 28 * 4, "longest_edge": 28 * 28 * 24}
    cls = tf.Qwen2VLProcessor if family == "qwen2_vl" else tf.Qwen2_5_VLProcessor
    return cls(
        image_processor=tf.Qwen2VLImageProcessor(),
        tokenizer=tokenizer,
        video_processor=tf.Qwen2VLVideoProcessor(size=size),
        chat_template=template,
    )


def moving_frames(num_frames=8, height_px=112, width_px=168, seed=0):
    """A textured still background with one block that moves: uint8 [F, h, w, 3]."""
    rng = np.random.default_rng(seed)
    background = rng.integers(0, 255, (1, height_px, width_px, 3), dtype=np.uint8)
    frames = np.repeat(background, num_frames, 0).copy()
    for t in range(num_frames):
        frames[t, 20:60, 10 * t : 10 * t + 40] = rng.integers(0, 255, 3)
    return frames


def stock_inputs(processor, videos, questions, images=None, **options):
    """Run a stock processor on frame arrays, one list of videos per question (frames at 4 fps)."""
    conversations = [
        [
            {
                "role": "user",
                "content": [
                    *({"type": "image"} for _ in (images or [[]] * len(questions))[i]),
                    *({"type": "video"} for _ in videos[i]),
                    {"type": "text", "text": question},
                ],
            }
        ]
        for i, question in enumerate(questions)
    ]
    text = [
        processor.apply_chat_template(c, add_generation_prompt=True, tokenize=False) for c in conversations
    ]
    flat = [torch.from_numpy(v).permute(0, 3, 1, 2) for group in videos for v in group]
    metadata = [
        {
            "fps": 4.0,
            "total_num_frames": len(v),
            "duration": len(v) / 4,
            "frames_indices": list(range(len(v))),
        }
        for v in flat
    ]
    media = {"videos": flat, "video_metadata": metadata, "do_sample_frames": False} if flat else {}
    if images:
        media["images"] = [picture for group in images for picture in group]
    out = processor(text=text, return_tensors="pt", padding=True, **media, **options)
    return {key: value for key, value in out.items() if torch.is_tensor(value)}


def one_video(processor, frames):
    """Run any processor, attached or not, on one video of frames at 4 fps and a question."""
    video = torch.from_numpy(frames).permute(0, 3, 1, 2)
    messages = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "What moves?"}]}]
    text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    metadata = [{"fps": 4.0, "total_num_frames": len(frames), "frames_indices": list(range(len(frames)))}]
    out = processor(
        text=[text], videos=[video], video_metadata=metadata, do_sample_frames=False, return_tensors="pt"
    )
    return {name: value for name, value in out.items() if torch.is_tensor(value)}
