"""The attached video processor against the stock one on the same frames, and what only it can do."""

import copy
import json
import pickle
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from noted import accounts_of, anchors_of, plans_of
from PIL import Image
from processor_cases import DENSE, GATE, chat, text_of
from tiny import FAMILIES, moving_frames, stock_inputs, stock_processor

from framegate.configs.loader import load_config
from framegate.errors import AttachmentError, ConfigError, FrameError
from framegate.models.attachment.account import account_for_processor
from framegate.models.attachment.gating import prepared_by_processor
from framegate.models.video_processor import GatedVideoProcessor, attach_processor
from framegate.models.video_processor.metadata import TimedMetadata
from framegate.report import Report

pytestmark = pytest.mark.floor


class TestFramesInMemory:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_without_a_gate_every_output_is_the_stock_one_bit_for_bit(self, family):
        processor = stock_processor(family)
        videos = [[moving_frames(7, 200, 300)], [moving_frames(4, 150, 90), moving_frames(6, 64, 64)]]
        expected = stock_inputs(processor, videos, ["What?", "And what is this?"])
        attach_processor(processor, family, DENSE.plan)
        found = stock_inputs(processor, videos, ["What?", "And what is this?"])
        assert set(found) == {*expected, "framegate_notes"}
        assert all(torch.equal(found[key], expected[key]) for key in expected)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_sampling_and_metadata_follow_the_stock_processor(self, family):
        processor = stock_processor(family)
        frames = torch.from_numpy(moving_frames(60)).permute(0, 3, 1, 2)
        metadata = [{"fps": 10.0, "total_num_frames": 60, "duration": 6.0, "frames_indices": list(range(60))}]
        call = {"text": ["<|video_pad|>"], "videos": [frames], "video_metadata": metadata}
        options = {"do_sample_frames": True, "fps": 2, "return_tensors": "pt", "return_metadata": True}
        expected = processor(**call, **options)
        attach_processor(processor, family, DENSE.plan)
        found = processor(**call, **options)
        assert torch.equal(found["input_ids"], expected["input_ids"])
        assert torch.equal(found["pixel_values_videos"], expected["pixel_values_videos"])
        indices = [list(map(int, entry["video_metadata"][0].frames_indices)) for entry in (found, expected)]
        assert indices[0] == indices[1]

    def test_every_spelling_of_the_same_frames_gives_the_same_patches(self, tmp_path):
        processor = stock_processor("qwen2_vl")
        attach_processor(processor, "qwen2_vl", DENSE.plan)
        frames = moving_frames(4)
        for number, frame in enumerate(frames):
            Image.fromarray(frame).save(tmp_path / f"{number}.png")
        files = [str(tmp_path / f"{number}.png") for number in range(4)]
        spellings = [
            frames,
            [frames],
            torch.from_numpy(frames).permute(0, 3, 1, 2),
            [[Image.fromarray(frame) for frame in frames]],
            [torch.from_numpy(frames).float()],
            [[files]],
        ]
        rows = [processor.video_processor(v, return_tensors="pt")["pixel_values_videos"] for v in spellings]
        assert all(torch.equal(row, rows[0]) for row in rows)

    @pytest.mark.parametrize(
        ("frames", "words"),
        [
            (np.full((2, 56, 56, 3), np.nan), "Frame 0 holds nan"),
            (np.random.default_rng(0).random((2, 56, 56, 3)) * 300, "0 to 255"),
            (np.zeros((2, 56, 56, 4), np.uint8), r"shape \(56, 56, 4\), not"),
            (np.zeros((2, 2, 2, 56, 56, 3), np.uint8), "no video|shape"),
            (np.zeros((2, 56, 56 * 201, 3), np.uint8), "200 times"),
            ([Image.new("RGB", (56, 56)), Image.new("RGB", (28, 56))], "share a size|no video|one size"),
            (7, "no video"),
        ],
    )
    def test_frames_that_are_none_are_refused(self, frames, words):
        processor = GatedVideoProcessor("qwen2_vl", None, DENSE.plan)
        with pytest.raises(FrameError, match=words):
            processor(frames)

    def test_metadata_that_does_not_fit_is_refused(self):
        processor, frames = GatedVideoProcessor("qwen2_vl", None, DENSE.plan), moving_frames(4)
        with pytest.raises(FrameError, match="1 videos"):
            processor([frames], video_metadata=[{"fps": 1.0, "total_num_frames": 4}] * 2)
        with pytest.raises(FrameError, match="3 frames_indices for 4 frames"):
            processor(
                [frames], video_metadata=[{"fps": 1.0, "total_num_frames": 4, "frames_indices": [0, 1, 2]}]
            )
        with pytest.raises(FrameError, match="time of frame 2"):
            processor(
                [frames], video_metadata=[{"fps": 1.0, "total_num_frames": 9, "frames_indices": [0, 5, 2, 6]}]
            )

    def test_times_of_the_callers_own_are_sampled_with_the_frames(self):
        processor = stock_processor("qwen3_vl")
        attach_processor(processor, "qwen3_vl", DENSE.plan)
        times = np.cumsum(np.linspace(0.1, 0.9, 20))
        metadata = TimedMetadata(
            times_seconds=times,
            total_num_frames=20,
            fps=1000.0,
            frames_indices=np.rint(times * 1000).tolist(),
        )
        options = {
            "video_metadata": [metadata],
            "do_sample_frames": True,
            "num_frames": 4,
            "return_tensors": "pt",
        }
        inputs = processor(text=["<|video_pad|>"], videos=[moving_frames(20)], **options)
        expected = times[[0, 6, 13, 19]].reshape(2, 2).mean(1)
        found = [float(time) for time in re.findall(r"<([\d.]+) seconds>", text_of(processor, inputs))]
        assert found == pytest.approx(expected, abs=0.051)

    def test_one_frame_fills_a_tube(self):
        for family in FAMILIES:
            out = GatedVideoProcessor(family, None, DENSE.plan)(moving_frames(1), return_tensors="pt")
            assert int(out["video_grid_thw"][0, 0]) == 1

    def test_unknown_settings_are_named(self):
        with pytest.raises(ConfigError, match="num_frames"):
            GatedVideoProcessor("qwen2_vl", None, DENSE.plan)(moving_frames(2), num_frame=3)

    def test_a_missing_rate_is_noted(self):
        processor = stock_processor("qwen2_5_vl")
        attach_processor(processor, "qwen2_5_vl", DENSE.plan)
        out = processor(text=["<|video_pad|>"], videos=[moving_frames(4)], return_tensors="pt")
        assert any("24 frames per second assumed" in note for note in accounts_of(out)[0].notes)


class TestGate:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_kept_rows_are_the_dense_rows_of_the_kept_cells(self, family):
        processor = stock_processor(family)
        videos = [[moving_frames(8)], [moving_frames(5, 84, 140, seed=1)]]
        dense = stock_inputs(processor, videos, ["What?", "And?"])
        attach_processor(processor, family, GATE.plan)
        gated = stock_inputs(processor, videos, ["What?", "And?"])
        for key in set(dense) - {"pixel_values_videos"}:
            assert torch.equal(gated[key], dense[key]), key
        counts = [int(t * h * w // 4) for t, h, w in gated["video_grid_thw"]]
        numbers = gated["video_grid_thw"][:, 0].tolist()
        tubes = [np.repeat(np.arange(t), n // t) for n, t in zip(counts, numbers, strict=True)]
        keep = anchors_of(gated).numpy() == np.concatenate(tubes)
        assert 0 < keep.sum() < len(keep)
        assert keep[: counts[0] // int(gated["video_grid_thw"][0, 0])].all()
        cells = dense["pixel_values_videos"].reshape(len(keep), -1)
        assert torch.equal(gated["pixel_values_videos"].reshape(int(keep.sum()), -1), cells[keep])

    @pytest.mark.parametrize("family", FAMILIES)
    def test_a_budget_is_met_per_video(self, family):
        processor = stock_processor(family)
        videos = [[moving_frames(8)], [moving_frames(8, seed=1)]]
        attach_processor(processor, family, load_config("gate", keep_ratio=0.5).plan)
        inputs = stock_inputs(processor, videos, ["What?", "And?"])
        account = accounts_of(inputs)
        assert [video.kept_tokens for video in account] == [video.dense_tokens // 2 for video in account]
        assert len(inputs["pixel_values_videos"]) == 4 * sum(video.kept_tokens for video in account)

    def test_where_everything_is_kept_the_anchors_say_so(self):
        """Without them the model would take the patches for ungated ones, and gate a second time."""
        processor = stock_processor("qwen2_vl")
        noise = np.random.default_rng(0).integers(0, 256, (4, 56, 84, 3), dtype=np.uint8)
        expected = stock_inputs(processor, [[noise]], ["What?"])
        attach_processor(processor, "qwen2_vl", GATE.plan)
        found = stock_inputs(processor, [[noise]], ["What?"])
        assert set(found) == {*expected, "framegate_notes", "framegate_plan"}
        tubes, height, width = found["video_grid_thw"][0].tolist()
        own = torch.arange(tubes, dtype=torch.int32).repeat_interleave(height * width // 4)
        assert torch.equal(anchors_of(found), own)
        assert torch.equal(found["pixel_values_videos"], expected["pixel_values_videos"])

    def test_motion_is_handed_over(self):
        wide = (
            np.random.default_rng(0).integers(0, 256, (14, 40, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        )
        pan = np.stack([wide[:, 4 * t : 4 * t + 168] for t in range(12)])
        processor = stock_processor("qwen2_vl")
        attach_processor(processor, "qwen2_vl", load_config("gate", keep_ratio=0.5).plan)
        (plan,) = plans_of(stock_inputs(processor, [[pan]], ["What?"]))
        assert plan.motion_px.shape == (*plan.keep.shape, 2)
        assert np.abs(plan.motion_px).max() > 2

    def test_codec_keyframes_of_frames_in_memory_are_noted_as_unknown(self):
        processor = stock_processor("qwen2_vl")
        attach_processor(processor, "qwen2_vl", load_config("gate", codec_keyframes=True).plan)
        out = processor.video_processor(moving_frames(4))
        assert any("codec_keyframes stands aside" in note for note in accounts_of(out)[0].notes)

    def test_reuse_hands_over_the_same_keys(self):
        processor = stock_processor("qwen2_vl")
        attach_processor(processor, "qwen2_vl", load_config("gate", mode="reuse", motion="none").plan)
        inputs = stock_inputs(processor, [[moving_frames(8)]], ["What?"])
        own = np.repeat(np.arange(4), 24)
        assert len(inputs["pixel_values_videos"]) == 4 * int((anchors_of(inputs).numpy() == own).sum())


class TestAttach:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_detach_gives_the_same_object_back(self, family):
        processor, other = stock_processor(family), stock_processor(family)
        stock, before = processor.video_processor, dict(vars(processor))
        attachment = attach_processor(processor, SimpleNamespace(model_type=family), GATE.plan)
        assert isinstance(processor.video_processor, GatedVideoProcessor)
        assert type(other.video_processor) is type(stock)
        attachment.detach()
        attachment.detach()
        assert processor.video_processor is stock
        assert vars(processor) == before

    def test_copies_and_pickles_keep_working_on_their_own(self, clip):
        processor = stock_processor("qwen3_vl")
        attachment = attach_processor(processor, "qwen3_vl", GATE.plan)
        twin_attachment = copy.deepcopy(attachment)
        sent = pickle.loads(pickle.dumps(processor))
        twin_attachment.detach()
        assert isinstance(processor.video_processor, GatedVideoProcessor)
        assert not isinstance(twin_attachment.processor.video_processor, GatedVideoProcessor)
        block = [{"type": "video", "path": clip, "video_start": 4.0, "video_end": 6.0}]
        found = chat(sent, block)
        assert torch.equal(found["input_ids"], chat(processor, block)["input_ids"])
        assert len(accounts_of(found)) == 1

    def test_what_was_set_on_the_instance_before_is_kept(self, clip):
        processor, seen = stock_processor("qwen2_vl"), []

        def own_template(conversation, **options):
            seen.append(conversation[0]["content"][0]["path"].asked.window_seconds)
            return type(processor).apply_chat_template(processor, conversation, **options)

        processor.apply_chat_template = own_template
        attachment = attach_processor(processor, "qwen2_vl", DENSE.plan)
        chat(processor, [{"type": "video", "path": clip, "video_start": 4.0}])
        assert seen == [(4.0, None)]
        attachment.detach()
        assert processor.apply_chat_template is own_template

    def test_what_cannot_carry_a_front_end_is_refused(self):
        processor = stock_processor("qwen2_vl")
        with pytest.raises(AttachmentError, match="qwen2_5_vl, .*qwen2_vl, .*qwen3_vl"):
            attach_processor(processor.tokenizer, "qwen2_vl", GATE.plan)
        with pytest.raises(AttachmentError, match="Qwen3VLVideoProcessor"):
            attach_processor(processor, "qwen3_vl", GATE.plan)
        attach_processor(processor, "qwen2_vl", GATE.plan)
        with pytest.raises(AttachmentError, match="detach it first"):
            attach_processor(processor, "qwen2_vl", GATE.plan)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_saving_writes_the_stock_files(self, family, tmp_path):
        processor = stock_processor(family)
        processor.save_pretrained(tmp_path / "stock")
        attach_processor(processor, family, GATE.plan)
        processor.save_pretrained(tmp_path / "attached")
        names = sorted(path.name for path in (tmp_path / "stock").iterdir())
        assert sorted(path.name for path in (tmp_path / "attached").iterdir()) == names
        for name in names:
            texts = [(tmp_path / folder / name).read_text() for folder in ("stock", "attached")]
            assert texts[0] == texts[1] or json.loads(texts[0]) == json.loads(texts[1]), name

    def test_settings_changed_on_the_attached_processor_hold(self):
        processor = stock_processor("qwen2_vl")
        attach_processor(processor, "qwen2_vl", DENSE.plan)
        processor.video_processor.size = {"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 2}
        out = processor.video_processor(moving_frames(2), return_tensors="pt")
        assert out["video_grid_thw"].tolist() == [[1, 2, 2]]

    def test_the_account_goes_into_a_report(self, clip):
        processor = stock_processor("qwen2_vl")
        attach_processor(processor, "qwen2_vl", GATE.plan)
        report = Report(preset="gate")
        prepared = prepared_by_processor(chat(processor, [{"type": "video", "path": str(clip)}]))
        account_for_processor(report, prepared, GATE.plan)
        assert report.video_seconds == pytest.approx(10.0, abs=0.2)
        assert [stage.name for stage in report.stages] == ["stream", "gate", "patches"]
        assert all(stage.milliseconds for stage in report.stages)
