"""The grid tower on kept cells: its geometry, the dense tower where they must agree, masks where they must not."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_llava import llava_model

from framegate.errors import ConfigError
from framegate.models.families import family_of_type
from framegate.models.mechanism import mechanism_of
from framegate.models.towers.grid_encode import class_rows, groups_of, with_class_tokens
from framegate.models.towers.grid_geometry import (
    MediaFeatures,
    anchor_tubes,
    cut_patches,
    judged_size,
    patches_of_cells,
    pooled_side,
    reused_patches,
    supports,
    whole_frames,
)

pytestmark = pytest.mark.floor

# odd with an even number of cells as in 384 px, odd with an odd one, even
SIZES_PX = (104, 75, 56)
LAYERS = (-1, -2, [1, -1], 0)
CLOSE = {"rtol": 0, "atol": 2e-5}


def tower_of(inner):
    return mechanism_of(inner, family_of_type("llava_onevision"))


def keeps(side, frames=5, ratio=0.4, seed=0):
    """bool [F, H, W]: a whole frame, an empty one, and random ones."""
    cells = pooled_side(side, 2)
    keep = torch.from_numpy(np.random.default_rng(seed).random((frames, cells, cells)) < ratio)
    keep[0], keep[2] = True, False
    return keep


def frames_of(model, frames=5, seed=0):
    side_px = model.config.vision_config.image_size
    return torch.randn(frames, 3, side_px, side_px, generator=torch.Generator().manual_seed(seed))


def kept_rows(model, pixels, keep):
    return cut_patches(pixels, 14)[patches_of_cells(keep, tower_of(model.model).side)]


def first_block_rows(model):
    rows = []
    model.model.vision_tower.encoder.layers[0].register_forward_pre_hook(
        lambda _, args: rows.append(args[0].shape[0] * args[0].shape[1])
    )
    return rows


def masked_dense(model, pixels, keep, layers):
    """Stock modules on whole frames, keys of skipped patches hidden: an independent definition of `context: kept`."""
    inner, tower = model.model, model.model.vision_tower
    shown = patches_of_cells(keep, tower_of(inner).side).flatten(1)
    shown[~shown.any(1)] = True  # softmax over nothing; no cell of such a frame is looked at
    states = [tower.embeddings(pixels)]
    for block in tower.encoder.layers:
        states.append(block(states[-1], shown[:, None, None]))
    picked = states[layers] if isinstance(layers, int) else torch.cat([states[i] for i in layers], -1)
    return inner.apply_pooling(inner.multi_modal_projector(picked))[keep.flatten(1)]


def test_supports_are_the_patches_that_the_familys_pooling_reads():
    for side in range(1, 41):
        check_supports(side)


def check_supports(side):
    # one picture per patch, 1 in that patch alone: its pooled cells show who reads it
    impulses = torch.eye(side, dtype=torch.float64).view(side, 1, side, 1)
    weights = F.interpolate(impulses, size=[pooled_side(side, 2), 1], mode="bilinear")[:, 0, :, 0].T
    ends = supports(side, pooled_side(side, 2))
    # a sampled point on a patch's middle may carry a rounding's weight of its neighbour
    read = weights > 1e-6
    for cell, (first, last) in enumerate(ends.tolist()):
        inside = torch.zeros(side, dtype=torch.bool)
        inside[first : last + 1] = True
        assert not (read[cell] & ~inside).any(), side
        assert last - first <= 1, side


@pytest.mark.parametrize(("side", "patch_px"), [(27, 14), (24, 14), (5, 16), (7, 14), (1, 14)])
def test_the_middle_of_a_judged_cell_is_the_point_that_its_token_samples(side, patch_px):
    size = judged_size(side, patch_px, 2)
    cells = pooled_side(side, 2)
    assert size.judged_px == cells * size.cell_px
    middle_px = (torch.arange(cells, dtype=torch.float64) + 0.5) * size.cell_px
    patch = middle_px * size.seen_px / size.judged_px / patch_px - 0.5
    # what F.interpolate gives for a ramp is the coordinate it samples, where it does not leave the picture
    ramp = torch.arange(side, dtype=torch.float64).view(1, 1, side, 1)
    sampled = F.interpolate(ramp, size=[cells, 1], mode="bilinear").flatten()
    torch.testing.assert_close(patch.clamp(0, side - 1), sampled, rtol=0, atol=1e-9)


def test_the_released_size_is_judged_at_392_px():
    assert judged_size(27, 14, 2) == (378, 392, 28)


@pytest.mark.parametrize("side", [4, 5, 7, 27])
def test_patches_of_cells_are_the_union_of_their_supports(side):
    keep, ends = keeps(side, ratio=0.2), supports(side, pooled_side(side, 2)).tolist()
    want = torch.zeros(len(keep), side, side, dtype=torch.bool)
    for frame, row, column in keep.nonzero().tolist():
        (top, bottom), (left, right) = ends[row], ends[column]
        want[frame, top : bottom + 1, left : right + 1] = True
    assert torch.equal(patches_of_cells(keep, side), want)


def test_every_patch_is_read_by_some_cell():
    for side in range(1, 41):
        cells = pooled_side(side, 2)
        assert patches_of_cells(torch.ones(1, cells, cells, dtype=torch.bool), side).all(), side


@pytest.mark.parametrize("cell_patches", [1, 2, 3, 4])
def test_cells_that_divide_the_patches_read_their_own(cell_patches):
    side = 3 * cell_patches
    keep = torch.tensor([[[1, 0, 0], [0, 0, 1], [0, 0, 0]]]).bool()
    own = keep.repeat_interleave(cell_patches, 1).repeat_interleave(cell_patches, 2)
    assert torch.equal(patches_of_cells(keep, side), own)
    assert judged_size(side, 14, cell_patches) == (side * 14, side * 14, cell_patches * 14)


def test_a_class_token_goes_before_every_frame_that_has_rows():
    rows, token = torch.arange(1.0, 4.0)[:, None], torch.zeros(1, 1)
    whole, lengths = with_class_tokens(rows, [2, 0, 1], token)
    assert whole.flatten().tolist() == [0, 1, 2, 0, 3]
    assert lengths == [3, 0, 2]
    assert class_rows(lengths).tolist() == [True, False, False, True, False]
    assert with_class_tokens(rows[:0], [0, 0], token)[0].shape == (0, 1)


def test_anchors_are_the_latest_tube_that_encoded_the_patch():
    encoded = torch.tensor([[[0, 1]], [[1, 0]], [[0, 0]], [[0, 1]]]).bool()
    assert anchor_tubes(encoded).flatten(1).tolist() == [[-1, 0], [1, 0], [1, 0], [1, 3]]


def test_groups_hold_frames_in_order_and_no_more_rows_than_a_dense_frame():
    assert list(groups_of([9, 3, 0, 4, 2, 1, 9, 12], 9)) == [[9], [3, 4, 2], [1], [9], [12]]
    assert list(groups_of([3, 0, 2], 0)) == [[3], [2]]
    assert list(groups_of([0, 0], 9)) == []


@pytest.mark.parametrize("image_px", SIZES_PX)
@torch.no_grad()
def test_everything_kept_has_the_stock_features(image_px):
    model = llava_model(vision={"image_size": image_px})
    pixels = frames_of(model)
    keep = torch.ones_like(keeps(tower_of(model.model).side))
    got = tower_of(model.model).encode_kept(kept_rows(model, pixels, keep), keep)
    want = model.model.get_video_features(pixels[None], return_dict=True).pooler_output[0, :-1]
    torch.testing.assert_close(got, want, **CLOSE)


@pytest.mark.parametrize("layers", LAYERS, ids=str)
@pytest.mark.parametrize("image_px", SIZES_PX)
@torch.no_grad()
def test_kept_context_equals_the_dense_tower_with_skipped_keys_masked(image_px, layers):
    model = llava_model(vision={"image_size": image_px}, vision_feature_layer=layers)
    pixels, keep = frames_of(model), keeps(tower_of(model.model).side)
    rows = first_block_rows(model)
    patches = kept_rows(model, pixels, keep)
    got = tower_of(model.model).encode_kept(patches, keep)
    assert sum(rows) == (len(patches) if layers != 0 else 0)
    assert len(got) == int(keep.sum())
    torch.testing.assert_close(got, masked_dense(model, pixels, keep, layers), **CLOSE)


@pytest.mark.parametrize("image_px", SIZES_PX)
@torch.no_grad()
def test_whole_frames_have_the_dense_features(image_px):
    model = llava_model(vision={"image_size": image_px})
    pixels, keep = frames_of(model), torch.zeros_like(keeps(tower_of(model.model).side))
    keep[[1, 3]] = True
    got = tower_of(model.model).encode_kept(kept_rows(model, pixels, keep), keep)
    want = model.model.get_video_features(pixels[None], return_dict=True).pooler_output[0, :-1]
    torch.testing.assert_close(got, want[keep.flatten()], **CLOSE)


@torch.no_grad()
def test_the_calls_own_layers_replace_the_configurations():
    model = llava_model()
    pixels, keep = frames_of(model), keeps(tower_of(model.model).side)
    got = tower_of(model.model).encode_kept(
        kept_rows(model, pixels, keep), keep, {"vision_feature_layer": -2}
    )
    torch.testing.assert_close(got, masked_dense(model, pixels, keep, -2), **CLOSE)
    with pytest.raises(ConfigError, match=r"is 9; .* -4 to 3"):
        tower_of(model.model).encode_kept(kept_rows(model, pixels, keep), keep, {"vision_feature_layer": 9})


@torch.no_grad()
def test_attention_functions_agree_and_one_that_takes_no_pairs_gets_frames_alone():
    from transformers import AttentionInterface

    model, seen = llava_model(), []
    pixels, keep = frames_of(model), keeps(tower_of(model.model).side)
    patches = kept_rows(model, pixels, keep)
    want = tower_of(model.model).encode_kept(patches, keep)

    def no_masks(module, query, key, value, attention_mask, scaling, **_):
        assert attention_mask is None
        seen.append(query.shape[2])
        out = F.scaled_dot_product_attention(query, key, value, scale=scaling)
        return out.transpose(1, 2), None

    AttentionInterface.register("framegate_test_no_masks", no_masks)
    for name in ("eager", "framegate_test_no_masks"):
        model.model.vision_tower.config._attn_implementation = name
        torch.testing.assert_close(tower_of(model.model).encode_kept(patches, keep), want, **CLOSE)
    lengths = patches_of_cells(keep, 7).flatten(1).sum(1)
    assert seen == [length for length in lengths.tolist() if length for _ in range(3)]


def test_gradients_reach_every_part_of_the_tower():
    model = llava_model()
    pixels, keep = frames_of(model), keeps(tower_of(model.model).side)
    tower_of(model.model).encode_kept(kept_rows(model, pixels, keep), keep).square().sum().backward()
    tower = model.model.vision_tower
    parts = [tower.embeddings, *tower.encoder.layers, model.model.multi_modal_projector]
    for part in parts:
        assert all(weight.grad.abs().sum() > 0 for weight in part.parameters() if weight.ndim > 1)


@torch.no_grad()
def test_nothing_kept_gives_no_rows():
    model = llava_model()
    keep = torch.zeros(3, 4, 4, dtype=torch.bool)
    assert tower_of(model.model).encode_kept(torch.zeros(0, 588), keep).shape == (0, 64)


def test_patches_are_cut_and_put_together():
    pixels = torch.randn(2, 3, 104, 104)
    patches = cut_patches(pixels, 14)
    assert patches.shape == (2, 7, 7, 588)
    whole = whole_frames(patches, 14, 104)
    assert torch.equal(whole[..., :98, :98], pixels[..., :98, :98])
    assert not whole[..., 98:, :].any()
    assert not whole[..., 98:].any()


def test_reused_patches_are_their_anchors():
    encoded = torch.rand(4, 3, 3) < 0.5
    encoded[0] = True
    dense = torch.randn(4, 3, 3, 2)
    got = reused_patches(dense[encoded], encoded, anchor_tubes(encoded))
    want = dense.clone()
    for tube in range(1, 4):
        want[tube] = torch.where(encoded[tube][..., None], dense[tube], want[tube - 1])
    assert torch.equal(got, want)


@pytest.mark.parametrize("times", [1, 3])
def test_features_of_unlike_videos_are_repeated_per_row_and_flatten(times):
    model = llava_model()
    rows = [torch.randn(n, 64) for n in (3, 2, 4)]
    ids = torch.full((2, 8), 65)
    ids[0, 3:] = ids[1, 4:] = model.config.video_token_id  # videos of 3 and 2 in one row, of 4 in the other
    features = MediaFeatures(pooler_output=rows)
    assert torch.equal(features.pooler_output.flatten(0, 1), torch.cat(rows))
    model._expand_multimodal_outputs(ids, {"video": features}, expand_size=times)
    want = torch.cat([torch.cat(rows[:2])] * times + [rows[2]] * times)
    assert torch.equal(features.pooler_output.flatten(0, 1), want)
