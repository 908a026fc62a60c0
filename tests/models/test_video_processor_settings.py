"""Patches and settings of the video processor: the stock layout, the stock size rules, wrong values named."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from processor_cases import DENSE, LAYOUT
from tiny import FAMILIES, moving_frames, stock_processor

from framegate.errors import ConfigError, FrameError, UnsupportedModelError
from framegate.models.families import family_of_type
from framegate.models.towers.patches import patchify, unpatchify
from framegate.models.video_processor import GatedVideoProcessor
from framegate.models.video_processor.reading import stock_indices
from framegate.models.video_processor.settings import stock_values, video_settings


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

        stock = getattr(
            transformers, family_of_type(family).recipe.video_values["video_processor_type"]
        )().to_dict()
        ours = GatedVideoProcessor(family, None, DENSE.plan).to_dict()
        assert {k: list(v) if isinstance(v, tuple) else v for k, v in stock.items()} == ours

    def test_older_files_spell_the_size_rule_by_pixels(self):
        found = {"min_pixels": 3136, "max_pixels": 50176, "image_processor_type": "Qwen2VLImageProcessor"}
        assert stock_values("qwen2_vl", found)["size"] == {"shortest_edge": 3136, "longest_edge": 50176}

    def test_unusable_settings_are_named(self):
        with pytest.raises(ConfigError, match="shortest_edge"):
            video_settings("qwen2_vl", stock_values("qwen2_vl") | {"size": {"longest_edge": 5}})
        with pytest.raises(ConfigError, match="resample is 4"):
            video_settings("qwen2_vl", stock_values("qwen2_vl", {"resample": 4}))
        with pytest.raises(UnsupportedModelError, match="qwen2_5_vl"):
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
        ours = GatedVideoProcessor(family, stock.to_dict(), DENSE.plan)
        expected = stock.get_num_of_video_patches(num_frames, height, width, {})
        assert ours.get_num_of_video_patches(num_frames, height, width) == expected

    @pytest.mark.parametrize("family", FAMILIES)
    def test_frames_smaller_than_a_cell_are_refused_where_stock_blows_them_up(self, family):
        processor = GatedVideoProcessor(family, stock_processor(family).video_processor.to_dict(), DENSE.plan)
        for height, width in ((20, 200), (200, 20)):
            with pytest.raises(FrameError, match=f"{height} x {width} px are smaller than one cell"):
                processor(np.zeros((2, height, width, 3), np.uint8), return_tensors="pt")

    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.parametrize("tokens", [2, 40, 200])
    def test_the_cap_per_frame_is_the_stock_one(self, family, tokens):
        stock = stock_processor(family).video_processor
        stock.cap_pixels_per_frame, stock.max_video_tokens = True, tokens
        stock.size = {"shortest_edge": 28 * 28, "longest_edge": 12 * 40 * 28 * 28}
        ours, frames = GatedVideoProcessor(family, stock.to_dict(), DENSE.plan), moving_frames(12, 200, 300)
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
