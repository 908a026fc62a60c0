"""The attached video processor against the stock one on the same frames, and what only it can do."""

import copy
import json
import pickle
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from clips import gradient_frames, write_clip
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny import FAMILIES, moving_frames, stock_inputs, stock_processor

from framegate.configs.loader import load_config
from framegate.errors import AttachmentError, ConfigError, FrameError, VideoNotFoundError
from framegate.models.video_processor import GatedVideoProcessor, attach_processor
from framegate.models.video_processor.clip import FileClip
from framegate.models.video_processor.metadata import TimedMetadata
from framegate.models.video_processor.patches import PatchLayout, patchify, unpatchify
from framegate.models.video_processor.sampling import stock_indices
from framegate.models.video_processor.settings import STOCK_DEFAULTS, stock_values, video_settings
from framegate.report import Report
from framegate.tokenizers.video_stream import open_video
from framegate.types import Frame, FramePlan

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


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Ten seconds at 10 frames per second; half the picture stands still."""
    frames = np.repeat(gradient_frames(1, height_px=96, width_px=128), 100, axis=0)
    for number, frame in enumerate(frames):
        frame[40:60, number : number + 20] = 230
    return write_clip(tmp_path_factory.mktemp("clips") / "steady.mp4", frames)


@pytest.fixture(scope="module")
def uneven_clip(tmp_path_factory):
    """A frame every 100 ms for 2 s, then one every 400 ms."""
    times_ms = [*range(0, 2000, 100), *range(2000, 10000, 400)]
    path = tmp_path_factory.mktemp("clips") / "uneven.mp4"
    return write_clip(path, gradient_frames(len(times_ms), height_px=96, width_px=128), times_ms=times_ms)


class TestPatches:
    @pytest.mark.parametrize("num_frames", [1, 4, 5])
    def test_rows_are_the_stock_processors_bit_for_bit(self, num_frames):
        from transformers import Qwen2VLVideoProcessor

        frames = np.random.default_rng(0).integers(0, 256, (num_frames, 56, 84, 3), dtype=np.uint8)
        stock = Qwen2VLVideoProcessor(
            image_mean=list(LAYOUT.mean), image_std=list(LAYOUT.std), do_resize=False
        )
        expected = stock(torch.from_numpy(frames), return_tensors="pt")
        assert np.array_equal(patchify(frames, LAYOUT), expected["pixel_values_videos"].numpy())

    def test_unpatchify_undoes_patchify(self):
        frames = np.random.default_rng(0).integers(0, 256, (6, 56, 84, 3), dtype=np.uint8)
        rows = patchify(frames, LAYOUT)
        assert np.array_equal(unpatchify(torch.from_numpy(rows), (3, 4, 6), LAYOUT), frames)
        assert np.array_equal(unpatchify(rows, (3, 4, 6), LAYOUT), frames)

    def test_a_mask_takes_those_cells_and_keeps_their_order(self):
        frames = np.random.default_rng(0).integers(0, 256, (6, 56, 84, 3), dtype=np.uint8)
        keep = np.random.default_rng(1).random((3, 2, 3)) < 0.4
        cells = patchify(frames, LAYOUT).reshape(keep.size, -1)
        assert np.array_equal(patchify(frames, LAYOUT, keep).reshape(keep.sum(), -1), cells[keep.ravel()])

    def test_what_does_not_fit_is_refused(self):
        with pytest.raises(FrameError, match="55 x 84 px"):
            patchify(np.zeros((2, 55, 84, 3), np.uint8), LAYOUT)
        with pytest.raises(FrameError, match=r"shape \(1, 1, 1\)"):
            patchify(np.zeros((2, 56, 84, 3), np.uint8), LAYOUT, np.ones((1, 1, 1), bool))
        with pytest.raises(FrameError, match="do not fit the grid"):
            unpatchify(np.zeros((5, LAYOUT.patch_dim)), (1, 2, 2), LAYOUT)


class TestSettings:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_defaults_are_those_of_the_stock_class(self, family):
        import transformers

        stock = getattr(transformers, STOCK_DEFAULTS[family]["video_processor_type"])().to_dict()
        ours = GatedVideoProcessor(family, None, DENSE).to_dict()
        assert {k: list(v) if isinstance(v, tuple) else v for k, v in stock.items()} == ours

    def test_older_files_spell_the_size_rule_by_pixels(self):
        found = {"min_pixels": 3136, "max_pixels": 50176, "image_processor_type": "Qwen2VLImageProcessor"}
        assert stock_values("qwen2_vl", found)["size"] == {"shortest_edge": 3136, "longest_edge": 50176}

    def test_unusable_settings_are_named(self):
        with pytest.raises(ConfigError, match="shortest_edge"):
            video_settings("qwen2_vl", stock_values("qwen2_vl") | {"size": {"longest_edge": 5}})
        with pytest.raises(ConfigError, match="resample is 4"):
            video_settings("qwen2_vl", stock_values("qwen2_vl", {"resample": 4}))
        with pytest.raises(AttachmentError, match="qwen2_5_vl"):
            stock_values("qwen2_5vl")

    @pytest.mark.parametrize("family", FAMILIES)
    @settings(max_examples=60, deadline=None)
    @given(
        num_frames=st.integers(2, 400),
        height=st.integers(32, 1200),
        width=st.integers(32, 1200),
    )
    def test_the_size_rule_counts_the_stock_patches(self, family, num_frames, height, width):
        stock = stock_processor(family).video_processor
        ours = GatedVideoProcessor(family, stock.to_dict(), DENSE)
        expected = stock.get_num_of_video_patches(num_frames, height, width, {})
        assert ours.get_num_of_video_patches(num_frames, height, width) == expected

    @pytest.mark.parametrize("family", FAMILIES)
    def test_frames_smaller_than_a_cell_are_refused_where_stock_blows_them_up(self, family):
        processor = GatedVideoProcessor(family, stock_processor(family).video_processor.to_dict(), DENSE)
        for height, width in ((20, 200), (200, 20)):
            with pytest.raises(FrameError, match=f"{height} x {width} px are smaller than one cell"):
                processor(np.zeros((2, height, width, 3), np.uint8), return_tensors="pt")

    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.parametrize("tokens", [2, 40, 200])
    def test_the_cap_per_frame_is_the_stock_one(self, family, tokens):
        stock = stock_processor(family).video_processor
        stock.cap_pixels_per_frame, stock.max_video_tokens = True, tokens
        stock.size = {"shortest_edge": 28 * 28, "longest_edge": 12 * 40 * 28 * 28}
        ours, frames = GatedVideoProcessor(family, stock.to_dict(), DENSE), moving_frames(12, 200, 300)
        grids = [
            side(frames, do_sample_frames=False, return_tensors="pt")["video_grid_thw"]
            for side in (stock, ours)
        ]
        assert grids[0].tolist() == grids[1].tolist()

    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.parametrize(
        "asked", [{"fps": 2}, {"fps": 0.7}, {"num_frames": 12}, {"fps": 30, "max_frames": 9}]
    )
    @pytest.mark.parametrize("total", [31, 250])
    def test_frames_in_memory_are_sampled_by_the_stock_rule(self, family, asked, total):
        from transformers.video_utils import VideoMetadata

        stock = stock_processor(family).video_processor
        for name, value in asked.items():
            setattr(stock, name, value)
        if family == "qwen3_vl" and "num_frames" in asked:
            stock.fps = None
        expected = stock.sample_frames(
            VideoMetadata(total_num_frames=total, fps=25.0), num_frames=asked.get("num_frames")
        )
        values = stock_values(family, stock.to_dict()) | asked
        found = stock_indices(total, 25.0, video_settings(family, values))
        assert found.tolist() == np.asarray(expected).tolist()


class TestFramesInMemory:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_without_a_gate_every_output_is_the_stock_one_bit_for_bit(self, family):
        processor = stock_processor(family)
        videos = [[moving_frames(7, 200, 300)], [moving_frames(4, 150, 90), moving_frames(6, 64, 64)]]
        expected = stock_inputs(processor, videos, ["What?", "And what is this?"])
        attach_processor(processor, family, DENSE)
        found = stock_inputs(processor, videos, ["What?", "And what is this?"])
        assert set(found) == set(expected)
        assert all(torch.equal(found[key], expected[key]) for key in expected)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_sampling_and_metadata_follow_the_stock_processor(self, family):
        processor = stock_processor(family)
        frames = torch.from_numpy(moving_frames(60)).permute(0, 3, 1, 2)
        metadata = [{"fps": 10.0, "total_num_frames": 60, "duration": 6.0, "frames_indices": list(range(60))}]
        call = {"text": ["<|video_pad|>"], "videos": [frames], "video_metadata": metadata}
        options = {"do_sample_frames": True, "fps": 2, "return_tensors": "pt", "return_metadata": True}
        expected = processor(**call, **options)
        attach_processor(processor, family, DENSE)
        found = processor(**call, **options)
        assert torch.equal(found["input_ids"], expected["input_ids"])
        assert torch.equal(found["pixel_values_videos"], expected["pixel_values_videos"])
        indices = [list(map(int, entry["video_metadata"][0].frames_indices)) for entry in (found, expected)]
        assert indices[0] == indices[1]

    def test_every_spelling_of_the_same_frames_gives_the_same_patches(self, tmp_path):
        processor = stock_processor("qwen2_vl")
        attach_processor(processor, "qwen2_vl", DENSE)
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
            (np.full((2, 56, 56, 3), np.nan), "Frame 0 holds NaN"),
            (np.random.default_rng(0).random((2, 56, 56, 3)), "0 to 255"),
            (np.zeros((2, 56, 56, 4), np.uint8), "1 or 3 channels"),
            (np.zeros((2, 2, 2, 56, 56, 3), np.uint8), "no video|shape"),
            (np.zeros((2, 56, 56 * 201, 3), np.uint8), "200 times"),
            ([Image.new("RGB", (56, 56)), Image.new("RGB", (28, 56))], "share a size|no video"),
            (7, "no video"),
        ],
    )
    def test_frames_that_are_none_are_refused(self, frames, words):
        processor = GatedVideoProcessor("qwen2_vl", None, DENSE)
        with pytest.raises(FrameError, match=words):
            processor(frames)

    def test_metadata_that_does_not_fit_is_refused(self):
        processor, frames = GatedVideoProcessor("qwen2_vl", None, DENSE), moving_frames(4)
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
        attach_processor(processor, "qwen3_vl", DENSE)
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
            out = GatedVideoProcessor(family, None, DENSE)(moving_frames(1), return_tensors="pt")
            assert int(out["video_grid_thw"][0, 0]) == 1

    def test_unknown_settings_are_named(self):
        with pytest.raises(ConfigError, match="num_frames"):
            GatedVideoProcessor("qwen2_vl", None, DENSE)(moving_frames(2), num_frame=3)

    def test_a_missing_rate_is_noted(self):
        processor = stock_processor("qwen2_5_vl")
        attachment = attach_processor(processor, "qwen2_5_vl", DENSE)
        processor(text=["<|video_pad|>"], videos=[moving_frames(4)], return_tensors="pt")
        assert any("24 frames per second assumed" in n for n in attachment.video_processor.last_call[0].notes)


class TestGate:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_kept_rows_are_the_dense_rows_of_the_kept_cells(self, family):
        processor = stock_processor(family)
        videos = [[moving_frames(8)], [moving_frames(5, 84, 140, seed=1)]]
        dense = stock_inputs(processor, videos, ["What?", "And?"])
        attach_processor(processor, family, GATE)
        gated = stock_inputs(processor, videos, ["What?", "And?"])
        for key in set(dense) - {"pixel_values_videos"}:
            assert torch.equal(gated[key], dense[key]), key
        counts = [int(t * h * w // 4) for t, h, w in gated["video_grid_thw"]]
        numbers = gated["video_grid_thw"][:, 0].tolist()
        tubes = [np.repeat(np.arange(t), n // t) for n, t in zip(counts, numbers, strict=True)]
        keep = gated["framegate_anchor"].numpy() == np.concatenate(tubes)
        assert 0 < keep.sum() < len(keep)
        assert keep[: counts[0] // int(gated["video_grid_thw"][0, 0])].all()
        cells = dense["pixel_values_videos"].reshape(len(keep), -1)
        assert torch.equal(gated["pixel_values_videos"].reshape(int(keep.sum()), -1), cells[keep])

    @pytest.mark.parametrize("family", FAMILIES)
    def test_a_budget_is_met_per_video(self, family):
        processor = stock_processor(family)
        videos = [[moving_frames(8)], [moving_frames(8, seed=1)]]
        attachment = attach_processor(processor, family, load_config("gate", keep_ratio=0.5))
        inputs = stock_inputs(processor, videos, ["What?", "And?"])
        account = attachment.video_processor.last_call
        assert [video.kept_tokens for video in account] == [video.dense_tokens // 2 for video in account]
        assert len(inputs["pixel_values_videos"]) == 4 * sum(video.kept_tokens for video in account)

    def test_where_everything_is_kept_the_anchors_say_so(self):
        """Without them the model would take the patches for ungated ones, and gate a second time."""
        processor = stock_processor("qwen2_vl")
        noise = np.random.default_rng(0).integers(0, 256, (4, 56, 84, 3), dtype=np.uint8)
        expected = stock_inputs(processor, [[noise]], ["What?"])
        attach_processor(processor, "qwen2_vl", GATE)
        found = stock_inputs(processor, [[noise]], ["What?"])
        assert set(found) == set(expected) | {"framegate_anchor"}
        tubes, height, width = found["video_grid_thw"][0].tolist()
        own = torch.arange(tubes, dtype=torch.int32).repeat_interleave(height * width // 4)
        assert torch.equal(found["framegate_anchor"], own)
        assert torch.equal(found["pixel_values_videos"], expected["pixel_values_videos"])

    def test_motion_is_handed_over_for_anchored_context_only(self):
        wide = (
            np.random.default_rng(0).integers(0, 256, (14, 40, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        )
        pan = np.stack([wide[:, 4 * t : 4 * t + 168] for t in range(12)])
        found = {}
        for context in ("kept", "anchored"):
            processor = stock_processor("qwen2_vl")
            attach_processor(processor, "qwen2_vl", load_config("gate", keep_ratio=0.5, context=context))
            found[context] = stock_inputs(processor, [[pan]], ["What?"])
        assert "framegate_motion" not in found["kept"]
        motion = found["anchored"]["framegate_motion"]
        assert motion.shape == (len(found["anchored"]["framegate_anchor"]), 2)
        assert motion.abs().max() > 2

    def test_codec_keyframes_of_frames_in_memory_are_noted_as_unknown(self):
        processor = GatedVideoProcessor("qwen2_vl", None, load_config("gate", codec_keyframes=True))
        processor(moving_frames(4))
        assert any("codec_keyframes stands aside" in note for note in processor.last_call[0].notes)

    def test_reuse_hands_over_the_same_keys(self):
        processor = stock_processor("qwen2_vl")
        attach_processor(processor, "qwen2_vl", load_config("gate", mode="reuse", motion="none"))
        inputs = stock_inputs(processor, [[moving_frames(8)]], ["What?"])
        own = np.repeat(np.arange(4), 24)
        assert len(inputs["pixel_values_videos"]) == 4 * int(
            (inputs["framegate_anchor"].numpy() == own).sum()
        )


class TestFiles:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_a_path_gives_what_the_stock_processor_makes_of_the_same_frames(self, family, clip):
        processor = stock_processor(family)
        attachment = attach_processor(processor, family, DENSE)
        found = chat(
            processor, [{"type": "video", "path": str(clip)}], processor_kwargs={"return_metadata": True}
        )
        layout = processor.video_processor._settings({}).layout
        attachment.detach()
        indices = found["video_metadata"][0].frames_indices
        assert len(indices) == 20
        with open_video(clip) as stream:
            frames = np.stack([frame.pixels for frame in stream.frames()])[indices]
        metadata = [{"fps": 10.0, "total_num_frames": 100, "duration": 10.0, "frames_indices": indices}]
        blocks = [{"type": "video", "video": frames}]
        expected = chat(
            processor, blocks, processor_kwargs={"video_metadata": metadata, "do_sample_frames": False}
        )
        assert torch.equal(found["video_grid_thw"], expected["video_grid_thw"])
        assert torch.equal(found["input_ids"], expected["input_ids"])
        # FFmpeg scales by area as it decodes, the stock processor by bicubic: edges differ, areas do not.
        ours, stock = (
            unpatchify(inputs["pixel_values_videos"], inputs["video_grid_thw"][0].tolist(), layout).astype(
                int
            )
            for inputs in (found, expected)
        )
        assert np.abs(ours - stock).mean() < 1.5

    @pytest.mark.parametrize("key", ["path", "video", "url"])
    def test_the_gate_works_on_files(self, key, clip):
        processor = stock_processor("qwen2_5_vl")
        attachment = attach_processor(processor, "qwen2_5_vl", load_config("gate", keep_ratio=0.25))
        inputs = chat(processor, [{"type": "video", key: str(clip)}])
        (account,) = attachment.video_processor.last_call
        assert (account.num_frames, account.video_seconds) == (20, pytest.approx(10.0, abs=0.2))
        assert account.dense_tokens == int((inputs["input_ids"] == processor.video_token_id).sum())
        assert len(inputs["pixel_values_videos"]) == 4 * account.kept_tokens
        assert account.kept_tokens == round(0.25 * account.dense_tokens)
        assert min(account.stream_ms, account.gate_ms, account.patches_ms) > 0

    def test_path_objects_windows_and_batches(self, clip):
        processor = stock_processor("qwen3_vl")
        attachment = attach_processor(processor, "qwen3_vl", DENSE)
        inputs = chat(processor, [{"type": "video", "path": clip, "video_start": 4.0, "video_end": 6.0}])
        assert "<4." in text_of(processor, inputs)
        assert "<3." not in text_of(processor, inputs)
        assert attachment.video_processor.last_call[0].num_frames == 4
        assert attachment.video_processor.last_call[0].video_seconds == pytest.approx(2.0)
        inputs = processor(
            text=["<|video_pad|>", "<|video_pad|>"], videos=[[Path(clip)], [str(clip)]], return_tensors="pt"
        )
        assert len(inputs["video_grid_thw"]) == 2

    def test_a_calls_own_sampling_wins(self, clip):
        processor = stock_processor("qwen2_vl")
        account = attach_processor(processor, "qwen2_vl", DENSE).video_processor
        for options, frames in (({"fps": 1}, 10), ({"num_frames": 6}, 6), ({"do_sample_frames": False}, 100)):
            chat(processor, [{"type": "video", "path": str(clip)}], processor_kwargs=options)
            assert account.last_call[0].num_frames == frames
        with pytest.raises(ConfigError, match="exclude each other"):
            chat(
                processor,
                [{"type": "video", "path": str(clip)}],
                processor_kwargs={"fps": 1, "num_frames": 4},
            )

    def test_times_are_the_containers_on_uneven_files(self, uneven_clip):
        processor = stock_processor("qwen3_vl")
        attach_processor(processor, "qwen3_vl", DENSE)
        options = {"do_sample_frames": False, "return_metadata": True}
        inputs = chat(processor, [{"type": "video", "path": str(uneven_clip)}], processor_kwargs=options)
        times = np.array([*range(0, 2000, 100), *range(2000, 10000, 400)]) / 1000
        found = [float(time) for time in re.findall(r"<([\d.]+) seconds>", text_of(processor, inputs))]
        assert found == pytest.approx(times.reshape(-1, 2).mean(1), abs=0.051)  # one decimal is written
        assert inputs["video_metadata"][0].timestamps == pytest.approx(times, abs=1e-3)

    def test_the_time_step_of_qwen2_5_is_the_mean_one_and_collapse_is_noted(self, uneven_clip, clip):
        processor = stock_processor("qwen2_5_vl")
        account = attach_processor(processor, "qwen2_5_vl", DENSE).video_processor
        options = {"do_sample_frames": False}
        inputs = chat(processor, [{"type": "video", "path": str(uneven_clip)}], processor_kwargs=options)
        assert float(inputs["second_per_grid_ts"][0]) == pytest.approx(2 * 9.6 / 39, rel=1e-3)
        inputs = chat(processor, [{"type": "video", "path": str(clip)}])
        assert float(inputs["second_per_grid_ts"][0]) == pytest.approx(1.0)
        assert account.last_call[0].notes == ()
        chat(processor, [{"type": "video", "path": str(clip)}], processor_kwargs={"fps": 8})
        assert any("share an id" in note for note in account.last_call[0].notes)

    def test_a_missing_file_is_named(self):
        processor = stock_processor("qwen2_vl")
        attach_processor(processor, "qwen2_vl", GATE)
        with pytest.raises(VideoNotFoundError, match="nowhere.mp4"):
            chat(processor, [{"type": "video", "path": "nowhere.mp4"}])


class FakeStream:
    """A stream that loses some frames and remembers what it was asked for."""

    def __init__(self, lost=()):
        self.lost, self.asked, self.warnings = lost, [], []

    def frames(self, plan, *, size_px, pixel_format):
        self.asked.append(plan.indices.tolist())
        shape = size_px if pixel_format == "gray" else (*size_px, 3)
        for index in plan.indices:
            if index not in self.lost:
                pixels = np.full(shape, index, np.uint8)
                yield Frame(index=int(index), timestamp_seconds=index / 10, pixels=pixels)


def fake_clip(lost=()):
    plan = FramePlan.from_indices(np.arange(9), np.arange(9) / 10)
    return FileClip(
        source="fake", stream=FakeStream(lost), plan=plan, size_px=(28, 28), tube_frames=2, video_seconds=1.0
    )


class TestFileClip:
    def test_only_tubes_with_kept_cells_are_decoded_again(self):
        clip = fake_clip()
        assert len(list(clip.luma())) == 9
        tubes = list(clip.tubes(np.array([True, False, False, True, True])))
        assert [(number, frames[:, 0, 0, 0].tolist()) for number, frames in tubes] == [
            (0, [0, 1]),
            (3, [6, 7]),
            (4, [8]),
        ]
        assert clip.stream.asked[1] == [0, 1, 6, 7, 8]

    def test_codec_keyframes_belong_to_the_tubes_that_were_read(self):
        clip = fake_clip(lost=(3,))
        clip.stream.codec_keyframes = np.array([0, 4])
        list(clip.luma())
        assert [clip.has_codec_keyframe(tube) for tube in range(4)] == [True, True, False, False]

    @pytest.mark.parametrize("needed", [None, np.ones(4, bool)])
    def test_lost_frames_leave_the_plan_and_tubes_close_up(self, needed):
        clip = fake_clip(lost=(3, 8))
        if needed is not None:
            assert [luma[0, 0] for luma in clip.luma()] == [0, 1, 2, 4, 5, 6, 7]
        tubes = [(number, frames[:, 0, 0, 0].tolist()) for number, frames in clip.tubes(needed)]
        assert tubes == [(0, [0, 1]), (1, [2, 4]), (2, [5, 6]), (3, [7])]
        assert clip.times_seconds.tolist() == [0.0, 0.1, 0.2, 0.4, 0.5, 0.6, 0.7]


class TestAttach:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_detach_gives_the_same_object_back(self, family):
        processor, other = stock_processor(family), stock_processor(family)
        stock, before = processor.video_processor, dict(vars(processor))
        attachment = attach_processor(processor, SimpleNamespace(model_type=family), GATE)
        assert isinstance(processor.video_processor, GatedVideoProcessor)
        assert type(other.video_processor) is type(stock)
        attachment.detach()
        attachment.detach()
        assert processor.video_processor is stock
        assert vars(processor) == before

    def test_copies_and_pickles_keep_working_on_their_own(self, clip):
        processor = stock_processor("qwen3_vl")
        attachment = attach_processor(processor, "qwen3_vl", GATE)
        twin_attachment = copy.deepcopy(attachment)
        sent = pickle.loads(pickle.dumps(processor))
        twin_attachment.detach()
        assert isinstance(processor.video_processor, GatedVideoProcessor)
        assert not isinstance(twin_attachment.processor.video_processor, GatedVideoProcessor)
        block = [{"type": "video", "path": clip, "video_start": 4.0, "video_end": 6.0}]
        assert torch.equal(chat(sent, block)["input_ids"], chat(processor, block)["input_ids"])
        assert len(sent.video_processor.last_call) == 1

    def test_what_was_set_on_the_instance_before_is_kept(self, clip):
        processor, seen = stock_processor("qwen2_vl"), []

        def own_template(conversation, **options):
            seen.append(conversation[0]["content"][0]["path"].window_seconds)
            return type(processor).apply_chat_template(processor, conversation, **options)

        processor.apply_chat_template = own_template
        attachment = attach_processor(processor, "qwen2_vl", DENSE)
        chat(processor, [{"type": "video", "path": clip, "video_start": 4.0}])
        assert seen == [(4.0, None)]
        attachment.detach()
        assert processor.apply_chat_template is own_template

    def test_what_cannot_carry_a_front_end_is_refused(self):
        processor = stock_processor("qwen2_vl")
        with pytest.raises(AttachmentError, match="qwen2_vl, qwen2_5_vl, qwen3_vl"):
            attach_processor(processor.tokenizer, "qwen2_vl", GATE)
        with pytest.raises(AttachmentError, match="Qwen3VLVideoProcessor"):
            attach_processor(processor, "qwen3_vl", GATE)
        attach_processor(processor, "qwen2_vl", GATE)
        with pytest.raises(AttachmentError, match="detach it first"):
            attach_processor(processor, "qwen2_vl", GATE)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_saving_writes_the_stock_files(self, family, tmp_path):
        processor = stock_processor(family)
        processor.save_pretrained(tmp_path / "stock")
        attach_processor(processor, family, GATE)
        processor.save_pretrained(tmp_path / "attached")
        names = sorted(path.name for path in (tmp_path / "stock").iterdir())
        assert sorted(path.name for path in (tmp_path / "attached").iterdir()) == names
        for name in names:
            texts = [(tmp_path / folder / name).read_text() for folder in ("stock", "attached")]
            assert texts[0] == texts[1] or json.loads(texts[0]) == json.loads(texts[1]), name

    def test_settings_changed_on_the_attached_processor_hold(self):
        processor = stock_processor("qwen2_vl")
        attach_processor(processor, "qwen2_vl", DENSE)
        processor.video_processor.size = {"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 2}
        out = processor.video_processor(moving_frames(2), return_tensors="pt")
        assert out["video_grid_thw"].tolist() == [[1, 2, 2]]

    def test_the_account_goes_into_a_report(self, clip):
        processor = stock_processor("qwen2_vl")
        attachment = attach_processor(processor, "qwen2_vl", GATE)
        report = Report(preset="gate")
        attachment.account(report)
        assert report.stages == []
        chat(processor, [{"type": "video", "path": str(clip)}])
        attachment.account(report)
        assert report.video_seconds == pytest.approx(10.0, abs=0.2)
        assert [stage.name for stage in report.stages] == ["stream", "gate", "patches"]
        assert all(stage.milliseconds for stage in report.stages)
