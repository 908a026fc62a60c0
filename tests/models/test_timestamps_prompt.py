"""Timestamps in the prompt: what the attached processor writes, and the hook that writes it."""

import copy
import pickle
import re
from dataclasses import replace

import pytest
import torch
from clips import gradient_frames, write_clip
from noted import accounts_of
from PIL import Image
from processor_cases import DENSE, GATE, chat, text_of
from stamped import CLOCK, SECONDS, STAMPED_FAMILIES, stamped, stamps_of, with_stamps, written
from tiny import moving_frames, stock_inputs, stock_model, stock_processor

from framegate.errors import AttachmentError, PlaceholderError
from framegate.models.prompt import token_types
from framegate.models.timestamp_interleaver import TimestampInterleaver
from framegate.models.tiny import chat_template, tiny_tokenizer
from framegate.models.transformers_private import VIDEOS_METHOD
from framegate.models.video_processor import attach_processor, build_processor
from framegate.models.video_processor.hooks import stamped_text, why_no_stamps
from framegate.models.video_processor.metadata import TimedMetadata

pytestmark = pytest.mark.floor


class TestText:
    @pytest.mark.parametrize("family", STAMPED_FAMILIES)
    def test_stamps_follow_tubes_inside_one_vision_block(self, family):
        processor = stamped(family)
        inputs = stock_inputs(processor, [[moving_frames(6)]], ["What?"])
        cells = int(inputs["video_grid_thw"].prod()) // 4 // 3
        block = f"[{cells}]<0.0s>[{cells}]<0.5s>[{cells}]<1.0s>"
        assert f"<|vision_start|>{block}<|vision_end|>What?" in written(text_of(processor, inputs))

    @pytest.mark.parametrize("family", STAMPED_FAMILIES)
    def test_nothing_but_the_text_changes(self, family):
        videos, questions = (
            [[moving_frames(7)], [moving_frames(4), moving_frames(6)]],
            ["What?", "And these?"],
        )
        expected = stock_inputs(stock_processor(family), videos, questions)
        found = stock_inputs(stamped(family), videos, questions)
        assert set(found) == {*expected, "framegate_notes"}
        text = {"input_ids", "attention_mask", "mm_token_type_ids"}
        assert all(torch.equal(found[key], expected[key]) for key in set(expected) - text)
        for pad in ("<|video_pad|>", "<|vision_start|>", "<|vision_end|>"):
            number = tiny_tokenizer().convert_tokens_to_ids(pad)
            assert (found["input_ids"] == number).sum() == (expected["input_ids"] == number).sum()

    @pytest.mark.parametrize("family", STAMPED_FAMILIES)
    @pytest.mark.parametrize(
        ("num_frames", "expected"),
        [(7, ["<0.0s>", "<0.5s>", "<1.0s>", "<1.5s>"]), (5, ["<0.0s>", "<0.5s>", "<1.0s>"]), (1, ["<0.0s>"])],
    )
    def test_odd_frame_counts(self, family, num_frames, expected):
        processor = stamped(family)
        inputs = stock_inputs(processor, [[moving_frames(num_frames)]], ["What?"])
        assert stamps_of(text_of(processor, inputs)) == expected

    @pytest.mark.parametrize("family", STAMPED_FAMILIES)
    def test_stamps_are_text_in_every_row_of_a_batch(self, family):
        processor = stamped(family)
        videos = [[moving_frames(4)], [moving_frames(2), moving_frames(7)]]
        picture = Image.fromarray(moving_frames(1)[0])
        inputs = stock_inputs(
            processor, videos, ["What?", "And how do these two differ?"], images=[[picture], []]
        )
        ids, types = inputs["input_ids"], inputs["mm_token_type_ids"]
        assert torch.equal(types, token_types(stock_model(family).config, ids).to(types))
        assert inputs["attention_mask"][0, 0] == 0  # padded on the left
        text = [processor.tokenizer.decode(row) for row in ids]
        assert stamps_of(text[0]) == ["<0.0s>", "<0.5s>"]
        assert stamps_of(text[1]) == ["<0.0s>", "<0.0s>", "<0.5s>", "<1.0s>", "<1.5s>"]
        assert len(stamps_of(processor.tokenizer.decode(ids[1][types[1] == 0]))) == 5

    def test_clock(self):
        processor = stamped("qwen2_vl", timestamps=CLOCK)
        times = [0.0, 1.0, 83.2, 84.0, 3723.9]
        metadata = TimedMetadata(
            times_seconds=times, total_num_frames=5, fps=1.0, frames_indices=list(range(5))
        )
        inputs = processor(
            text=["<|video_pad|>"],
            videos=[moving_frames(5)],
            video_metadata=[metadata],
            do_sample_frames=False,
        )
        text = processor.tokenizer.decode(inputs["input_ids"][0])
        assert stamps_of(text) == ["<00:00>", "<01:23>", "<01:02:03>"]

    @pytest.mark.parametrize("family", STAMPED_FAMILIES)
    @pytest.mark.parametrize("config", [DENSE, replace(GATE, keep_ratio=0.25)], ids=["dense", "gate"])
    def test_files_give_the_containers_times(self, family, config, tmp_path):
        times_ms = [0, 100, 700, 800, 2100, 2200, 5000]
        path = write_clip(
            tmp_path / "uneven.mp4", gradient_frames(7, height_px=96, width_px=128), times_ms=times_ms
        )
        processor = build_processor(family, tiny_tokenizer(), chat_template(family))
        attach_processor(processor, family, with_stamps(config).plan)
        inputs = chat(processor, [{"type": "video", "path": str(path)}], do_sample_frames=False)
        assert stamps_of(text_of(processor, inputs)) == ["<0.0s>", "<0.7s>", "<2.1s>", "<5.0s>"]
        assert "video_metadata" not in inputs

    def test_a_call_may_ask_for_metadata_or_not(self):
        processor = stamped("qwen2_vl")
        call = {"text": ["<|video_pad|>"], "videos": [moving_frames(4)]}
        for asked in (True, False):
            out = processor(**call, return_metadata=asked)
            assert ("video_metadata" in out) is asked
            assert len(stamps_of(processor.tokenizer.decode(out["input_ids"][0]))) == 2

    def test_a_call_may_change_the_frames_of_a_tube(self):
        processor = stamped("qwen2_vl")
        call = {"text": ["<|video_pad|>"], "videos": [moving_frames(4)], "do_sample_frames": False}
        metadata = [{"fps": 4.0, "total_num_frames": 4, "frames_indices": [0, 1, 2, 3]}]
        out = processor(**call, video_metadata=metadata, temporal_patch_size=1)
        text = written(processor.tokenizer.decode(out["input_ids"][0]))
        assert stamps_of(text) == ["<0.0s>", "<0.2s>", "<0.5s>", "<0.8s>"]
        assert len(set(re.findall(r"\[\d+\]", text))) == 1

    def test_frames_without_a_rate_take_the_familys_own(self):
        processor = stamped("qwen2_5_vl")
        out = processor(text=["<|video_pad|>"], videos=[moving_frames(4)], do_sample_frames=False)
        assert stamps_of(processor.tokenizer.decode(out["input_ids"][0])) == ["<0.0s>", "<0.1s>"]
        assert any("24 frames per second" in note for note in accounts_of(out)[0].notes)

    def test_what_does_not_divide_goes_with_the_last_tube(self):
        metadata = TimedMetadata(times_seconds=[0, 1, 2], total_num_frames=3, frames_indices=[0, 1, 2])
        text = stamped_text("V" * 13, "V", metadata, TimestampInterleaver(SECONDS), temporal_patch_size=1)
        assert text == "VVVV<0.0s>VVVV<1.0s>VVVVV<2.0s>"

    @pytest.mark.parametrize("text", ["VVxV", "V"])
    def test_text_that_cannot_be_parted_is_refused(self, text):
        metadata = TimedMetadata(times_seconds=[0, 1], total_num_frames=2, frames_indices=[0, 1])
        with pytest.raises(PlaceholderError, match="2 tubes"):
            stamped_text(text, "V", metadata, TimestampInterleaver(SECONDS), temporal_patch_size=1)


class TestHook:
    def test_without_timestamps_the_prompt_is_the_stock_one(self):
        expected = stock_inputs(stock_processor("qwen2_vl"), [[moving_frames(4)]], ["What?"])
        found = stock_inputs(stamped("qwen2_vl", timestamps=None), [[moving_frames(4)]], ["What?"])
        assert torch.equal(found["input_ids"], expected["input_ids"])

    @pytest.mark.parametrize("family", STAMPED_FAMILIES)
    def test_detach_gives_the_stock_prompt_back(self, family):
        processor = stock_processor(family)
        names = set(vars(processor))
        attachment = attach_processor(processor, family, with_stamps(DENSE).plan)
        assert VIDEOS_METHOD in vars(processor)
        attachment.detach()
        assert set(vars(processor)) == names
        expected = stock_inputs(stock_processor(family), [[moving_frames(4)]], ["What?"])
        found = stock_inputs(processor, [[moving_frames(4)]], ["What?"])
        assert torch.equal(found["input_ids"], expected["input_ids"])

    def test_a_second_processor_is_untouched(self):
        other = stock_processor("qwen2_vl")
        stamped("qwen2_vl")
        inputs = stock_inputs(other, [[moving_frames(4)]], ["What?"])
        assert stamps_of(text_of(other, inputs)) == []

    def test_copies_and_pickles_write_stamps_on_their_own(self):
        processor = stock_processor("qwen2_vl")
        attachment = attach_processor(processor, "qwen2_vl", with_stamps(DENSE).plan)
        copies = [copy.deepcopy(processor), pickle.loads(pickle.dumps(processor))]
        attachment.detach()
        for twin in copies:
            inputs = stock_inputs(twin, [[moving_frames(4)]], ["What?"])
            assert stamps_of(text_of(twin, inputs)) == ["<0.0s>", "<0.5s>"]

    def test_native_markers_are_kept_not_doubled(self):
        expected = stock_inputs(stock_processor("qwen3_vl"), [[moving_frames(6)]], ["What?"])
        processor = stock_processor("qwen3_vl")
        attach_processor(processor, "qwen3_vl", with_stamps(DENSE).plan)
        found = stock_inputs(processor, [[moving_frames(6)]], ["What?"])
        assert torch.equal(found["input_ids"], expected["input_ids"])
        assert any("native markers kept, not doubled" in note for note in accounts_of(found)[0].notes)

    def test_reasons(self):
        wanted = with_stamps(DENSE)
        assert why_no_stamps("qwen2_vl", wanted.plan) is None
        assert why_no_stamps("qwen2_vl", DENSE.plan, has_processor=False) is None
        assert "no processor" in why_no_stamps("qwen2_vl", wanted.plan, has_processor=False)
        assert "native" in why_no_stamps("qwen3_vl", wanted.plan, has_processor=False)

    def test_a_processor_without_that_step_is_refused(self):
        processor = stock_processor("qwen2_vl")
        processor.__class__ = type("Other", (), {"tokenizer": None})
        with pytest.raises(AttachmentError, match="Other has no _process_videos"):
            attach_processor(processor, "qwen2_vl", with_stamps(DENSE).plan)
