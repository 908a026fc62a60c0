"""The attached video processor on files: the frames it takes, their times, what a damaged file leaves."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import write_clip
from noted import accounts_of
from processor_cases import DENSE, GATE, by_pyav, chat, text_of
from tiny import FAMILIES, stock_processor

from framegate.configs.loader import load_config
from framegate.errors import ConfigError, VideoNotFoundError
from framegate.models.towers.patches import unpatchify
from framegate.models.video_processor import attach_processor
from framegate.tokenizers.clip import Clip
from framegate.types import Frame, FramePlan

pytestmark = pytest.mark.floor


class TestFiles:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_a_path_gives_what_the_stock_processor_makes_of_the_same_frames(self, family, clip):
        """Nothing is reduced: stock's frames, stock's pixels, stock's text."""
        processor = stock_processor(family)
        # the reader that needs no torchcodec
        processor.video_processor.fetch_videos = by_pyav
        block, options = [{"type": "video", "path": str(clip)}], {"return_metadata": True}
        expected = chat(processor, block, processor_kwargs=dict(options))
        layout = attach_processor(processor, family, DENSE.plan).video_processor._settings({}).layout
        found = chat(processor, block, processor_kwargs=dict(options))
        want, got = (inputs["video_metadata"][0] for inputs in (expected, found))
        assert list(got.frames_indices) == list(want.frames_indices)
        assert got.sampled_fps == pytest.approx(want.sampled_fps)
        for name in set(expected) - {"pixel_values_videos", "video_metadata"}:
            assert torch.equal(found[name], expected[name]), name
        ours, stock = (
            unpatchify(inputs["pixel_values_videos"], inputs["video_grid_thw"][0].tolist(), layout).astype(
                int
            )
            for inputs in (found, expected)
        )
        assert np.abs(ours - stock).max() <= 1

    def test_a_turn_that_stock_leaves_out_is_noted(self, tmp_path):
        frames = np.zeros((8, 48, 64, 3), np.uint8)
        path = write_clip(tmp_path / "turned.mp4", frames, rotation_degrees=90)
        processor = stock_processor("qwen3_vl")
        attach_processor(processor, "qwen3_vl", DENSE.plan)
        (account,) = accounts_of(chat(processor, [{"type": "video", "path": str(path)}]))
        assert any("turned by 270 degrees" in note for note in account.notes)

    def test_frames_that_were_set_are_taken_and_noted(self, clip):
        processor = stock_processor("qwen2_vl")
        attach_processor(processor, "qwen2_vl", load_config("dense", fps=2).plan)
        (account,) = accounts_of(chat(processor, [{"type": "video", "path": str(clip)}]))
        assert account.num_frames == 20
        assert any("not by the checkpoint's own processor" in note for note in account.notes)

    @pytest.mark.parametrize("key", ["path", "video", "url"])
    def test_the_gate_works_on_files(self, key, clip):
        processor = stock_processor("qwen2_5_vl")
        attach_processor(processor, "qwen2_5_vl", load_config("gate", keep_ratio=0.25).plan)
        inputs = chat(processor, [{"type": "video", key: str(clip)}])
        (account,) = accounts_of(inputs)
        assert (account.num_frames, account.video_seconds) == (20, pytest.approx(10.0, abs=0.2))
        assert account.dense_tokens == int((inputs["input_ids"] == processor.video_token_id).sum())
        assert len(inputs["pixel_values_videos"]) == 4 * account.kept_tokens
        assert account.kept_tokens == round(0.25 * account.dense_tokens)
        assert min(account.stream_ms, account.gate_ms, account.patches_ms) > 0

    def test_path_objects_windows_and_batches(self, clip):
        processor = stock_processor("qwen3_vl")
        attach_processor(processor, "qwen3_vl", DENSE.plan)
        inputs = chat(processor, [{"type": "video", "path": clip, "video_start": 4.0, "video_end": 6.0}])
        assert "<4." in text_of(processor, inputs)
        assert "<3." not in text_of(processor, inputs)
        assert accounts_of(inputs)[0].num_frames == 4
        assert accounts_of(inputs)[0].video_seconds == pytest.approx(2.0)
        inputs = processor(
            text=["<|video_pad|>", "<|video_pad|>"], videos=[[Path(clip)], [str(clip)]], return_tensors="pt"
        )
        assert len(inputs["video_grid_thw"]) == 2

    def test_a_calls_own_sampling_wins(self, clip):
        processor = stock_processor("qwen2_vl")
        attach_processor(processor, "qwen2_vl", DENSE.plan)
        for options, frames in (({"fps": 1}, 10), ({"num_frames": 6}, 6), ({"do_sample_frames": False}, 100)):
            inputs = chat(processor, [{"type": "video", "path": str(clip)}], processor_kwargs=options)
            assert accounts_of(inputs)[0].num_frames == frames
        with pytest.raises(ConfigError, match="exclude each other"):
            chat(
                processor,
                [{"type": "video", "path": str(clip)}],
                processor_kwargs={"fps": 1, "num_frames": 4},
            )

    def test_times_are_the_containers_on_uneven_files(self, uneven_clip):
        processor = stock_processor("qwen3_vl")
        attach_processor(processor, "qwen3_vl", DENSE.plan)
        options = {"do_sample_frames": False, "return_metadata": True}
        inputs = chat(processor, [{"type": "video", "path": str(uneven_clip)}], processor_kwargs=options)
        times = np.array([*range(0, 2000, 100), *range(2000, 10000, 400)]) / 1000
        found = [float(time) for time in re.findall(r"<([\d.]+) seconds>", text_of(processor, inputs))]
        assert found == pytest.approx(times.reshape(-1, 2).mean(1), abs=0.051)  # one decimal is written
        assert inputs["video_metadata"][0].timestamps == pytest.approx(times, abs=1e-3)

    def test_the_time_step_of_qwen2_5_is_the_mean_one_and_collapse_is_noted(self, uneven_clip, clip):
        processor = stock_processor("qwen2_5_vl")
        attach_processor(processor, "qwen2_5_vl", DENSE.plan)
        options = {"do_sample_frames": False}
        inputs = chat(processor, [{"type": "video", "path": str(uneven_clip)}], processor_kwargs=options)
        assert float(inputs["second_per_grid_ts"][0]) == pytest.approx(2 * 9.6 / 39, rel=1e-3)
        inputs = chat(processor, [{"type": "video", "path": str(clip)}], processor_kwargs={"fps": 2})
        assert float(inputs["second_per_grid_ts"][0]) == pytest.approx(1.0)
        assert not any("share an id" in note for note in accounts_of(inputs)[0].notes)
        inputs = chat(processor, [{"type": "video", "path": str(clip)}], processor_kwargs={"fps": 8})
        assert any("share an id" in note for note in accounts_of(inputs)[0].notes)

    def test_a_missing_file_is_named(self):
        processor = stock_processor("qwen2_vl")
        attach_processor(processor, "qwen2_vl", GATE.plan)
        with pytest.raises(VideoNotFoundError, match="nowhere.mp4"):
            chat(processor, [{"type": "video", "path": "nowhere.mp4"}])


class FakeStream:
    """A stream that loses some frames and remembers what it was asked for."""

    def __init__(self, lost=()):
        self.lost, self.asked, self.warnings = lost, [], []
        self.codec_keyframes = np.zeros(0, np.int64)

    def frames(self, plan, *, size_px, pixel_format, resample):
        self.asked.append(plan.indices.tolist())
        shape = size_px if pixel_format == "gray" else (*size_px, 3)
        for index in plan.indices:
            if index not in self.lost:
                pixels = np.full(shape, index, np.uint8)
                yield Frame(index=int(index), timestamp_seconds=index / 10, pixels=pixels)


def fake_clip(lost=(), stride=1):
    plan = FramePlan.from_indices(np.arange(0, 9 * stride, stride), np.arange(9 * stride) / 10)
    return Clip(stream=FakeStream(lost), frames=plan, size_px=(28, 28), cell_px=28, tube_frames=2)


class TestClip:
    def test_only_tubes_with_kept_cells_are_decoded_again(self):
        clip = fake_clip()
        assert len(list(clip.pixels())) == 9
        tubes = list(clip.tubes(np.array([True, False, False, True, True])))
        # the last tube is not full: its last frame repeats
        assert [(number, frames[:, 0, 0, 0].tolist()) for number, frames in tubes] == [
            (0, [0, 1]),
            (3, [6, 7]),
            (4, [8, 8]),
        ]
        assert clip.stream.asked[1] == [0, 1, 6, 7, 8]

    def test_codec_keyframes_belong_to_the_tubes_that_were_read(self):
        clip = fake_clip(lost=(3,))
        clip.stream.codec_keyframes = np.array([0, 4])
        list(clip.pixels())
        assert [clip.has_codec_keyframe(tube) for tube in range(4)] == [True, True, False, False]

    def test_codec_keyframes_between_the_frames_in_use_count(self):
        clip = fake_clip(stride=3)
        clip.stream.codec_keyframes = np.array([0, 8, 20])
        list(clip.pixels())
        assert [clip.has_codec_keyframe(tube) for tube in range(5)] == [True, True, False, True, False]

    @pytest.mark.parametrize("needed", [None, np.ones(4, bool)])
    def test_lost_frames_leave_the_plan_and_tubes_close_up(self, needed):
        clip = fake_clip(lost=(3, 8))
        if needed is not None:
            assert [luma[0, 0] for luma in clip.pixels()] == [0, 1, 2, 4, 5, 6, 7]
        tubes = [(number, frames[:, 0, 0, 0].tolist()) for number, frames in clip.tubes(needed)]
        assert tubes == [(0, [0, 1]), (1, [2, 4]), (2, [5, 6]), (3, [7, 7])]
        assert clip.times_seconds.tolist() == [0.0, 0.1, 0.2, 0.4, 0.5, 0.6, 0.7]
