"""qwen-vl-utils decodes, framegate gates: the flow of its README, on both of its families."""

import re

import numpy as np
import pytest
import torch
from clips import write_clip
from noted import accounts_of
from PIL import Image
from tiny import moving_frames

import framegate
from framegate.models.tiny import tiny_pair

pytestmark = pytest.mark.clients
process_vision_info = pytest.importorskip("qwen_vl_utils").process_vision_info

PATCH_PX = {"qwen2_5_vl": 14, "qwen3_vl": 16}
QUESTION = {"type": "text", "text": "What moves?"}


def messages(video, **keys):
    return [{"role": "user", "content": [{"type": "video", "video": video, **keys}, QUESTION]}]


def inputs_of(processor, asked, patch_px):
    """The lines of the README."""
    text = processor.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    images, videos, kwargs = process_vision_info(
        asked, image_patch_size=patch_px, return_video_kwargs=True, return_video_metadata=True
    )
    videos, metadata = map(list, zip(*videos, strict=True))
    return processor(
        text=[text],
        images=images,
        videos=videos,
        video_metadata=metadata,
        do_resize=False,
        return_tensors="pt",
        **kwargs,
    )


def times_of(processor, inputs):
    text = processor.tokenizer.decode(inputs["input_ids"][0])
    return [float(time) for time in re.findall(r"<([\d.]+) seconds>", text)]


@pytest.mark.parametrize("family", PATCH_PX)
def test_a_file_is_gated_and_answered(family, clip):
    pytest.importorskip("decord", reason="qwen-vl-utils reads files by decord or torchcodec")
    model, processor = tiny_pair(family)
    asked = messages(str(clip), fps=4.0, min_pixels=32 * 32 * 4, max_pixels=32 * 32 * 24)
    stock = inputs_of(processor, asked, PATCH_PX[family])
    with framegate.attach(model, processor, keep_ratio=0.5) as front_end:
        inputs = inputs_of(processor, asked, PATCH_PX[family])
        assert torch.equal(inputs["video_grid_thw"], stock["video_grid_thw"])
        assert times_of(processor, inputs) == times_of(processor, stock)
        ids = model.generate(**inputs, max_new_tokens=3, do_sample=False)
        assert torch.equal(ids[:, : inputs["input_ids"].shape[1]], inputs["input_ids"])
        assert front_end.report.keep_ratio == pytest.approx(0.5)
    with framegate.attach(model, processor, "dense"):
        dense = inputs_of(processor, asked, PATCH_PX[family])
    assert all(torch.equal(dense[name], stock[name]) for name in stock)


@pytest.mark.parametrize("family", PATCH_PX)
def test_a_list_of_frames_has_the_times_of_sample_fps_either_way(family, tmp_path):
    for number, frame in enumerate(moving_frames(6)):
        Image.fromarray(frame).save(tmp_path / f"{number}.png")
    files = [f"file://{path}" for path in sorted(tmp_path.iterdir())]
    asked = messages(files, sample_fps=1.0)
    model, processor = tiny_pair(family)
    with framegate.attach(model, processor, "gate", keep_ratio=0.5):
        theirs = inputs_of(processor, asked, PATCH_PX[family])
        ours = processor.apply_chat_template(
            asked, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
    assert times_of(processor, ours) == times_of(processor, theirs)
    assert [account.video_seconds for account in accounts_of(ours)] == pytest.approx([6.0], abs=1.01)
    if family == "qwen2_5_vl":
        assert float(ours["second_per_grid_ts"][0]) == float(theirs["second_per_grid_ts"][0]) == 2.0


def test_a_fade_from_black_is_taken(tmp_path):
    pytest.importorskip("decord", reason="qwen-vl-utils reads files by decord or torchcodec")
    frames = np.zeros((8, 112, 168, 3), np.uint8)
    frames[4:] = 1
    clip = write_clip(tmp_path / "fade.mp4", frames, options={"qp": "0"})
    model, processor = tiny_pair("qwen2_5_vl")
    with framegate.attach(model, processor, "gate", keep_ratio=0.5) as front_end:
        inputs = inputs_of(processor, messages(str(clip)), PATCH_PX["qwen2_5_vl"])
        model.generate(**inputs, max_new_tokens=2, do_sample=False)
        assert front_end.report.keep_ratio == pytest.approx(0.5)
    # hardly lighter than black
    assert float(inputs["pixel_values_videos"].max() - inputs["pixel_values_videos"].min()) < 1.0
