"""Tokens that stand for areas of cells: rows, tower, positions, and both ways in."""

import numpy as np
import pytest
import torch
from processor_cases import LAYOUT
from tiny import FAMILIES, moving_frames, stock_inputs, stock_model, stock_processor

import framegate
from framegate.errors import ConfigError, PlaceholderError
from framegate.models.cell_plan import cell_plan, covering
from framegate.models.families import family_of
from framegate.models.towers.packed import PackedTower, encode_kept
from framegate.models.towers.packed_layout import kept_patches
from framegate.models.towers.patches import patchify, patchify_areas
from framegate.tokenizers.gate.areas.levels import level_frames, mark
from framegate.tokenizers.gate.grid import CellGrid

CLOSE = {"rtol": 0, "atol": 2e-5}


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


def noise(num_frames, height_px, width_px, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (num_frames, height_px, width_px, 3), dtype=np.uint8)


def mixed_scale(tubes, rows, columns, seed=0):
    """Areas of 4 and of 2 cells and single cells, never one over the other; odd grids clip them."""
    rng = np.random.default_rng(seed)
    scale, taken = np.zeros((tubes, rows, columns), np.int8), np.zeros((tubes, rows, columns), bool)
    for side, share in ((4, 0.3), (2, 0.4), (1, 0.5)):
        for tube, row, column in np.ndindex(tubes, -(-rows // side), -(-columns // side)):
            area = (tube, slice(row * side, row * side + side), slice(column * side, column * side + side))
            if not taken[area].any() and rng.random() < share:
                taken[area] = True
                middle = (side - 1) // 2
                place = min(row * side + middle, rows - 1), min(column * side + middle, columns - 1)
                scale[tube, place[0], place[1]] = side
    return scale


def anchors_of(scale):
    """Latest tube that covered the cell, -1 before the first."""
    covered = covering(scale) >= 0
    tubes = np.arange(len(scale))[:, None, None]
    return np.maximum.accumulate(np.where(covered, tubes, -1), 0).astype(np.int32)


def test_cells_alone_are_cut_as_ever():
    frames = noise(4, 84, 112)
    keep = np.random.default_rng(1).random((2, 3, 4)) < 0.5
    got = patchify_areas(frames, LAYOUT, keep.astype(np.int8))
    np.testing.assert_array_equal(got, patchify(frames, LAYOUT, keep))


def test_rows_of_areas_are_those_of_the_reduced_frames_in_token_order():
    frames = noise(2, 84, 140)
    scale = np.zeros((1, 3, 5), np.int8)
    mark(scale, np.array([[[False, True, True], [False, False, False]]]), 2)
    scale[0, 0, 0] = scale[0, 2, 4] = 1
    grid = CellGrid.of(84, 140, cell_px=28, tube_frames=2)
    half = patchify(level_frames(frames, grid, 2), LAYOUT).reshape(2, 3, 4, -1)
    whole = patchify(frames, LAYOUT).reshape(3, 5, 4, -1)
    want = [whole[0, 0], half[0, 1], half[0, 2], whole[2, 4]]
    np.testing.assert_array_equal(patchify_areas(frames, LAYOUT, scale), np.concatenate(want))


def test_covered_cells_point_at_the_token_that_covers_them():
    scale = np.zeros((2, 3, 5), np.int8)
    mark(scale[0], np.ones((2, 3), bool), 2)
    scale[1, 2, 4] = 1
    plan = cell_plan([anchors_of(scale)], [None], cell_px=28, merge_size=2, scales=[scale])
    assert plan.num_kept == 7
    assert plan.is_mixed
    first, second = plan.anchor.reshape(2, 3, 5)
    assert first.tolist() == [[0, 0, 2, 2, 4], [0, 0, 2, 2, 4], [10, 10, 12, 12, 14]]
    assert second[2, 4] == 29
    assert torch.equal(second[:2], first[:2])


@torch.no_grad()
def test_a_tube_of_areas_has_the_features_of_the_smaller_video(family):
    """The tower sees areas as a video of a lower resolution, bit for bit what it makes of such a video."""
    model = stock_model(family)
    tower = PackedTower(model.model, family_of(model), family_of(model).scaling)
    layout = tower.layout
    cell = layout.cell_px
    frames = noise(4, 4 * cell, 6 * cell)
    scale = np.zeros((2, 4, 6), np.int8)
    mark(scale, np.ones((2, 2, 3), bool), 2)
    scale[1] = 1
    plan = cell_plan([anchors_of(scale)], [None], cell_px=cell, merge_size=2, scales=[scale])
    m = layout.merge_size
    call = {"video_grid_thw": torch.tensor([[2, 4 * m, 6 * m]])}
    rows = torch.from_numpy(patchify_areas(frames, layout, scale))
    got = tower.encode(rows, call, plan, anchored=False, backend="auto").layers[0]
    small = level_frames(frames[:2], CellGrid.of(4 * cell, 6 * cell, cell_px=cell, tube_frames=2), 2)
    tower_of = model.model.visual
    coarse = tower_of(
        torch.from_numpy(patchify(small, layout)),
        grid_thw=torch.tensor([[1, 2 * m, 3 * m]]),
        return_dict=True,
    ).pooler_output
    fine = tower_of(
        torch.from_numpy(patchify(frames[2:], layout)),
        grid_thw=torch.tensor([[1, 4 * m, 6 * m]]),
        return_dict=True,
    ).pooler_output
    torch.testing.assert_close(got, torch.cat([coarse, fine]), rtol=0, atol=1e-5)


@torch.no_grad()
def test_one_resolution_a_token_order_of_its_own(family):
    """Tokens of several sides come back in the order of their cells, over several videos."""
    model = stock_model(family)
    tower = PackedTower(model.model, family_of(model), family_of(model).scaling)
    cell, m = tower.layout.cell_px, tower.layout.merge_size
    shapes = [(2, 5, 7), (1, 4, 4)]
    scales = [mixed_scale(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    videos = [noise(2 * t, h * cell, w * cell, seed=t) for t, h, w in shapes]
    plan = cell_plan(
        [anchors_of(scale) for scale in scales], [None, None], cell_px=cell, merge_size=m, scales=scales
    )
    rows = [patchify_areas(video, tower.layout, scale) for video, scale in zip(videos, scales, strict=True)]
    grid = torch.tensor([[t, h * m, w * m] for t, h, w in shapes])
    got = tower.encode(
        torch.from_numpy(np.concatenate(rows)), {"video_grid_thw": grid}, plan, anchored=False, backend="auto"
    ).layers[0]
    sides = plan.side[plan.keep]
    assert set(sides.tolist()) == {1, 2, 4}
    for side in (1, 2, 4):
        want = []
        for video, scale, (t, h, w) in zip(videos, scales, shapes, strict=True):
            level = level_frames(video, CellGrid.of(h * cell, w * cell, cell_px=cell, tube_frames=2), side)
            keep = np.zeros((t, -(-h // side), -(-w // side)), bool)
            for tube, row, column in np.argwhere(scale == side):
                keep[tube, row // side, column // side] = True
            own = np.where(keep, np.arange(t)[:, None, None], -1).astype(np.int32)
            alone = cell_plan([own], [None], cell_px=cell, merge_size=m)
            if not keep.any():
                continue
            pixels = torch.from_numpy(patchify(level, tower.layout))
            small = torch.tensor([[t, keep.shape[1] * m, keep.shape[2] * m]])
            out = encode_kept(tower.tower, pixels[kept_patches(tower.tower, alone.keep)], small, alone)
            want += out.pooler_output
        torch.testing.assert_close(got[sides == side], torch.cat(want), rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("ratio", [0.4, 0.1])
def test_both_ways_in_keep_the_budget_and_agree(family, ratio, tmp_path):
    """Stock pixels and an attached processor, on the same frames, lead to the same logits."""
    frames = moving_frames(8, 112, 168)
    settings = {"keep_ratio": ratio, "scales": [1, 2, 4], "timestamps": None}
    model, processor = stock_model(family), stock_processor(family)
    inputs = stock_inputs(processor, [[frames]], ["What moves?"])
    with framegate.attach(model, None, "gate", **settings) as front_end:
        want = model(**inputs).logits
        report = front_end.report
    assert report.kept_tokens == round(ratio * report.dense_tokens)
    assert (report.stage("gate").note != "") == (ratio == 0.1)
    with framegate.attach(model, processor, "gate", **settings) as front_end:
        inputs = stock_inputs(processor, [[frames]], ["What moves?"])
        assert len(inputs["pixel_values_videos"]) == 4 * report.kept_tokens
        got = model(**inputs).logits
        assert front_end.report.kept_tokens == report.kept_tokens
    torch.testing.assert_close(got, want, rtol=0, atol=2e-4)


@torch.no_grad()
def test_generate_and_labels_with_areas(family):
    model, processor = stock_model(family), stock_processor(family)
    inputs = stock_inputs(processor, [[moving_frames()]], ["What moves?"])
    new = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    with framegate.attach(model, None, "gate", keep_ratio=0.3, scales=[1, 2]):
        cached = model.generate(**inputs, **new)
        assert torch.equal(cached[:, : inputs["input_ids"].shape[1]], inputs["input_ids"])
        assert torch.equal(model.generate(**inputs, **new, use_cache=False), cached)
        assert torch.isfinite(model(**inputs, labels=inputs["input_ids"]).loss)


def test_sides_that_do_not_fit_the_rows_are_told(family):
    model, processor = stock_model(family), stock_processor(family)
    framegate.attach(model, processor, "gate", keep_ratio=0.1, scales=[1, 2, 4])
    inputs = stock_inputs(processor, [[moving_frames()]], ["What moves?"])
    inputs["framegate_plan"][:, 1].fill_(1)  # every cell a token of its own, and rows for a tenth of them
    with pytest.raises(PlaceholderError, match="patches"):
        model(**inputs)


def test_areas_and_anchored_context_exclude_each_other():
    with pytest.raises(ConfigError, match="scales"):
        framegate.load_config("gate", scales=[1, 2], context="anchored", motion="none")
