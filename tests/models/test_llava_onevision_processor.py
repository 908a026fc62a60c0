"""The processor of LLaVA-OneVision with a front end: files and frames in, patches under kept cells out."""

import numpy as np
import pytest
import torch
from clips import gradient_frames, write_clip
from noted import anchors_of, plans_of
from processor_cases import by_pyav, chat
from tiny import moving_frames, stock_inputs
from tiny_llava import FAMILY, llava_model, llava_processor

import framegate
from framegate.configs.loader import load_config
from framegate.errors import AttachmentError, ConfigError, FrameError
from framegate.models.tiny import tiny_pair
from framegate.models.towers.grid_geometry import patches_of_cells
from framegate.models.video_processor import attach_processor, build_processor, load_processor

pytestmark = pytest.mark.floor

NEW = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Six seconds at 10 frames per second; half the picture stands still."""
    frames = np.repeat(gradient_frames(1, height_px=96, width_px=128), 60, axis=0)
    for number, frame in enumerate(frames):
        frame[40:60, number : number + 20] = 230
    return str(write_clip(tmp_path_factory.mktemp("clips") / "steady.mp4", frames))


def two_videos(processor):
    return stock_inputs(processor, [[moving_frames()], [moving_frames(seed=1)]], ["a", "Why?"])


def test_without_a_gate_the_pixels_are_the_stock_ones():
    processor = llava_processor()
    want = two_videos(processor)
    attach_processor(processor, FAMILY, load_config("dense").plan)
    got = two_videos(processor)
    assert got.keys() - {"framegate_notes"} == want.keys()  # the account of an attached processor
    assert torch.equal(got["input_ids"], want["input_ids"])
    torch.testing.assert_close(got["pixel_values_videos"], want["pixel_values_videos"], rtol=0, atol=1e-5)


def test_without_a_gate_a_file_gives_the_frames_and_pixels_of_stock(clip):
    processor = llava_processor()
    block = [{"type": "video", "path": clip}]
    # the reader that needs no torchcodec
    processor.video_processor.fetch_videos = by_pyav
    want = chat(processor, block)
    attach_processor(processor, FAMILY, load_config("dense").plan)
    got = chat(processor, block)
    assert torch.equal(got["input_ids"], want["input_ids"])
    level = 1 / 255 / min(processor.video_processor.image_std)
    torch.testing.assert_close(
        got["pixel_values_videos"], want["pixel_values_videos"], rtol=0, atol=1.01 * level
    )


@torch.no_grad()
def test_both_ways_in_keep_the_same_cells_and_say_the_same():
    model, processor = llava_model(), llava_processor()
    stock = two_videos(processor)
    with framegate.attach(model, None, "gate", keep_ratio=0.4) as front_end:
        want, one = model(**stock).logits, front_end.report
    with framegate.attach(model, processor, "gate", keep_ratio=0.4) as front_end:
        gated = two_videos(processor)
        got, other = model(**gated).logits, front_end.report
    assert torch.equal(gated["input_ids"], stock["input_ids"])
    assert one.kept_tokens == other.kept_tokens == round(0.4 * 256)
    assert (
        one.stage("tower").patches_in == other.stage("tower").patches_in == len(gated["pixel_values_videos"])
    )
    assert other.stage("stream").milliseconds > 0
    torch.testing.assert_close(got, want, rtol=0, atol=1e-4)


def test_keys_say_what_the_rows_do_not():
    processor = llava_processor()
    attach_processor(processor, FAMILY, load_config("gate", keep_ratio=0.3).plan)
    inputs = stock_inputs(processor, [[moving_frames()], [moving_frames(6, 84, 112, seed=1)]], ["a", "b"])
    assert [plan.keep.shape for plan in plans_of(inputs)] == [(8, 4, 4), (6, 4, 4)]
    own = torch.cat([torch.arange(t).repeat_interleave(16) for t in (8, 6)])
    keep = (anchors_of(inputs) == own).view(-1, 4, 4)
    assert len(inputs["pixel_values_videos"]) == int(patches_of_cells(keep, 7).sum())
    assert inputs["pixel_values_videos"].shape[1] == 3 * 14 * 14
    counts = (inputs["input_ids"] == processor.video_token_id).sum(1).tolist()
    assert counts == [8 * 16 + 1, 6 * 16 + 1]


def test_a_path_goes_through_the_chat_template_and_is_decoded_at_tower_size(clip):
    model, processor = llava_model(), llava_processor()
    with framegate.attach(model, processor, "gate", keep_ratio=0.25) as front_end:
        inputs = chat(processor, [{"type": "video", "path": clip, "video_end": 4.0}])
        assert [plan.keep.shape for plan in plans_of(inputs)] == [(8, 4, 4)]
        out = model.generate(**inputs, **NEW)
        assert torch.equal(out[:, : inputs["input_ids"].shape[1]], inputs["input_ids"])
        report = front_end.report
    assert (report.dense_tokens, report.kept_tokens) == (128, 32)
    assert report.video_seconds == pytest.approx(4.0, abs=0.2)


def test_the_default_preset_stamps_frames_and_leaves_anchored_context_aside(clip):
    model, processor = llava_model(), llava_processor()
    with framegate.attach(model, processor, keep_ratio=0.25, context="anchored") as front_end:
        inputs = chat(processor, [{"type": "video", "path": clip, "video_end": 4.0}])
        text = processor.tokenizer.decode(inputs["input_ids"][0])
        assert text.count("<video>") == 8 * 16 + 1
        assert "<video><0.0s><video>" in text
        out = model.generate(**inputs, **NEW)
        assert torch.equal(out[:, : inputs["input_ids"].shape[1]], inputs["input_ids"])
        assert front_end.report.kept_tokens == 32
        assert "stands aside" in str(front_end.report.notes)


def test_detach_gives_the_stock_processor_back():
    processor = llava_processor()
    stock, before = processor.video_processor, dict(vars(processor))
    want = two_videos(processor)
    attachment = attach_processor(processor, FAMILY, load_config("gate", keep_ratio=0.3).plan)
    assert processor.video_processor is not stock
    attachment.detach()
    assert vars(processor) == before
    got = two_videos(processor)
    assert all(torch.equal(got[name], want[name]) for name in want)


def test_videos_of_unlike_length_need_a_gate():
    processor = llava_processor()
    attach_processor(processor, FAMILY, load_config("dense").plan)
    with pytest.raises(FrameError, match=r"\[8, 6\] frames.*num_frames"):
        stock_inputs(processor, [[moving_frames(), moving_frames(6)]], ["a"])


def test_sizes_that_the_tower_cannot_take_are_refused():
    with pytest.raises(ConfigError, match="'height' and 'width'"):
        build_processor(FAMILY, llava_processor().tokenizer, size={"height": 104, "width": 90})
    processor = llava_processor()
    attach_processor(processor, FAMILY, load_config("gate").plan)
    with pytest.raises(FrameError, match="104 x 104"):
        stock_inputs(processor, [[moving_frames()]], ["a"], do_resize=False)
    with pytest.raises(AttachmentError, match="qwen2_vl expects"):
        attach_processor(llava_processor(), "qwen2_vl", load_config("gate").plan)


def test_the_tiny_pair_answers_about_a_file(clip):
    model, processor = tiny_pair(FAMILY)
    with framegate.attach(model, processor, keep_ratio=0.25) as front_end:
        inputs = chat(processor, [{"type": "video", "path": clip}])
        assert model.generate(**inputs, **NEW).shape[1] == inputs["input_ids"].shape[1] + 4
        assert front_end.report.keep_ratio == pytest.approx(0.25, abs=0.01)


def test_a_saved_pair_reads_back_and_answers_alike(tmp_path, clip):
    model, processor = llava_model(), llava_processor()
    front_end = framegate.attach(model, processor, "gate", keep_ratio=0.25)
    want = model.generate(**chat(processor, [{"type": "video", "path": clip}]), **NEW)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    front_end.detach()
    again, reader = framegate.from_pretrained(tmp_path)
    assert framegate.front_end_of(again).config.keep_ratio == 0.25
    assert torch.equal(again.generate(**chat(reader, [{"type": "video", "path": clip}]), **NEW), want)
    from transformers import AutoModelForImageTextToText, AutoProcessor

    stock = AutoProcessor.from_pretrained(tmp_path)
    assert type(stock.video_processor).__name__ == "LlavaOnevisionVideoProcessor"
    assert AutoModelForImageTextToText.from_pretrained(tmp_path).config.model_type == FAMILY


def test_a_processor_can_be_loaded_by_name(tmp_path):
    llava_processor().save_pretrained(tmp_path)
    assert type(load_processor(tmp_path)).__name__ == "LlavaOnevisionProcessor"
