"""The tower on kept cells: against the dense tower where they must agree, against masks where they must not."""

import numpy as np
import pytest
import torch
from tiny import FAMILIES, stock_model
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from framegate.models.cell_plan import cell_plan
from framegate.models.towers.packed import encode_kept
from framegate.models.towers.packed_anchored import framegate_attention
from framegate.models.towers.packed_layout import kept_patches
from framegate.models.transformers_private import OWN_ATTENTION

pytestmark = pytest.mark.floor

GRIDS = torch.tensor([[4, 8, 12], [2, 6, 6]])


@pytest.fixture(params=FAMILIES)
def tower(request):
    return stock_model(request.param).model.visual


def anchors_of(keep):
    """Latest tube that kept the cell, int32 [T, H, W], -1 before the first."""
    tubes = np.arange(len(keep))[:, None, None]
    return np.maximum.accumulate(np.where(keep, tubes, -1), 0).astype(np.int32)


def masks(ratio, seed=0, first=True):
    rng = np.random.default_rng(seed)
    keeps = [rng.random((t, h // 2, w // 2)) < ratio for t, h, w in GRIDS.tolist()]
    for keep in keeps:
        keep[0] |= first
    return keeps


def plan_of(tower, keeps, motions=None):
    cell_px = tower.config.patch_size * 2
    return cell_plan(
        [anchors_of(keep) for keep in keeps], motions or [None] * len(keeps), cell_px=cell_px, merge_size=2
    )


def pixels(tower, seed=0):
    width = 3 * 2 * tower.config.patch_size**2
    return torch.randn(int(GRIDS.prod(1).sum()), width, generator=torch.Generator().manual_seed(seed))


def dense(tower, values):
    out = tower(values, grid_thw=GRIDS, return_dict=True)
    return out.pooler_output, getattr(out, "deepstack_features", None)


@torch.no_grad()
def test_whole_tubes_have_the_dense_features(tower):
    keeps = masks(0.0)
    keeps[0][2] = True
    plan, values = plan_of(tower, keeps), pixels(tower)
    rows = []
    handle = tower.blocks[0].register_forward_pre_hook(
        lambda _, args, kwargs: rows.append(kwargs.get("hidden_states", args[0] if args else None).shape[0]),
        with_kwargs=True,
    )
    out = encode_kept(tower, values[kept_patches(tower, plan.keep)], GRIDS, plan)
    handle.remove()
    assert rows == [plan.num_kept * 4]
    want, deepstack = dense(tower, values)
    torch.testing.assert_close(torch.cat(out.pooler_output), want[plan.keep], rtol=0, atol=1e-5)
    assert [len(part) for part in out.pooler_output] == [int(keep.sum()) for keep in keeps]
    for got, layer in zip(getattr(out, "deepstack_features", []), deepstack or [], strict=True):
        torch.testing.assert_close(torch.cat(got), layer[plan.keep], rtol=0, atol=1e-5)


@torch.no_grad()
def test_kept_context_equals_the_dense_tower_with_skipped_keys_masked(tower):
    plan, values = plan_of(tower, masks(0.4)), pixels(tower)
    got = encode_kept(tower, values[kept_patches(tower, plan.keep)], GRIDS, plan)
    want = masked_dense(tower, values, plan)
    torch.testing.assert_close(torch.cat(got.pooler_output), want[plan.keep], rtol=1e-4, atol=1e-4)


def masked_dense(tower, values, plan):
    """The dense tower, skipped rows hidden from every query: an independent definition of `context: kept`."""
    from framegate.models.towers.packed_layout import layout

    hidden = ~plan.keep[layout(tower, GRIDS).order].repeat_interleave(4)
    original = tower.config._attn_implementation

    def attend(module, query, key, value, attention_mask, scaling=None, cu_seq_lens_q=None, **_):
        ends, out = cu_seq_lens_q.tolist(), []
        for start, end in zip(ends, ends[1:], strict=False):
            scores = query[:, :, start:end] @ key[:, :, start:end].transpose(2, 3) * scaling
            blocked = hidden[start:end]
            if not blocked.all():
                scores = scores.masked_fill(blocked, -torch.inf)
            out.append(scores.softmax(-1) @ value[:, :, start:end])
        return torch.cat(out, 2).transpose(1, 2), None

    AttentionInterface.register("flash_masked_reference", attend)
    try:
        tower.config._attn_implementation_internal = "flash_masked_reference"
        return dense(tower, values)[0]
    finally:
        tower.config._attn_implementation_internal = original
        AttentionInterface._global_mapping.pop("flash_masked_reference")


@pytest.fixture
def anchored_tower(tower):
    AttentionInterface.register(OWN_ATTENTION, framegate_attention)
    AttentionMaskInterface.register(OWN_ATTENTION, sdpa_mask)
    tower.config._attn_implementation_internal = OWN_ATTENTION
    return tower


@torch.no_grad()
def test_anchored_attention_without_a_plan_is_bit_equal_to_sdpa(tower):
    values = pixels(tower)
    want = dense(tower, values)[0]
    AttentionInterface.register(OWN_ATTENTION, framegate_attention)
    tower.config._attn_implementation_internal = OWN_ATTENTION
    assert torch.equal(dense(tower, values)[0], want)


@torch.no_grad()
def test_anchored_context_is_exact_on_a_static_video(anchored_tower):
    tower = anchored_tower
    values = pixels(tower)
    starts = [0, int(GRIDS[0].prod())]
    for (tubes, height, width), start in zip(GRIDS.tolist(), starts, strict=True):
        area = height * width
        values[start : start + tubes * area] = values[start : start + area].repeat(tubes, 1)
    plan = plan_of(tower, masks(0.3))
    got = encode_kept(tower, values[kept_patches(tower, plan.keep)], GRIDS, plan, anchored=True)
    want = dense(tower, values)[0][plan.keep]
    torch.testing.assert_close(torch.cat(got.pooler_output), want, rtol=0, atol=2e-5)
    kept = encode_kept(tower, values[kept_patches(tower, plan.keep)], GRIDS, plan_of(tower, masks(0.3)))
    assert (torch.cat(kept.pooler_output) - want).abs().max() > 1e-3


@torch.no_grad()
def test_anchored_context_with_cells_never_shown(anchored_tower):
    tower = anchored_tower
    plan, values = plan_of(tower, masks(0.3, first=False)), pixels(tower)
    assert bool((plan.anchor == -1).any())
    out = encode_kept(tower, values[kept_patches(tower, plan.keep)], GRIDS, plan, anchored=True)
    assert torch.isfinite(torch.cat(out.pooler_output)).all()


@torch.no_grad()
@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl"])
def test_anchored_keys_are_turned_to_the_skipped_cells_place(family):
    """First block, content moved by a whole cell: the gathered keys equal those of the shifted content itself."""
    tower = stock_model(family).model.visual
    from framegate.kernels.anchored_attention.reference import gathered
    from framegate.models.towers.packed_anchored import anchor_rows
    from framegate.models.towers.packed_layout import layout

    grid = torch.tensor([[2, 4, 8]])
    cell_px = tower.config.patch_size * 2
    keep = np.ones((2, 2, 4), dtype=bool)
    keep[1, :, 1:3] = False
    motion = np.zeros((2, 2, 4, 2), dtype=np.float32)
    motion[1, :, 1:3, 0] = cell_px
    plan = cell_plan([anchors_of(keep)], [motion], cell_px=cell_px, merge_size=2)
    dense_order = layout(tower, grid)
    rows = anchor_rows(tower, plan, dense_order)
    from transformers.vision_utils import get_vision_position_ids

    places = get_vision_position_ids(grid, 2)
    order = dense_order.order[plan.keep[dense_order.order]]
    head = tower.config.hidden_size if family == "qwen2_5_vl" else tower.config.embed_dim
    content = torch.randn(1, 1, 1, head // tower.config.num_heads)

    def turned(position_ids):
        cos, sin = tower.rotary_pos_emb(content, position_ids)
        first, second = content.chunk(2, -1)
        return content * cos + torch.cat((-second, first), -1) * sin

    cell_rows = places.view(-1, 4, 2)
    keys = turned(cell_rows[order].reshape(-1, 2))
    packed = keys[0].transpose(0, 1)  # [1, h, N, d] -> [N, h, d]
    found = gathered(packed, slice(0, len(rows.rows)), rows.rows, (rows.cos, rows.sin))
    shown = dense_order.order[plan.anchor[dense_order.order] >= 0]
    wanted = turned(cell_rows[shown].reshape(-1, 2))[0].transpose(0, 1)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
