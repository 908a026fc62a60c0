"""Calls as an attached processor makes them, from chosen masks; and the stock model with the dropped tokens masked."""

import math

import numpy as np
import torch
from noted import anchors_of, packed


def random_keeps(inputs, ratio, seed=0):
    """Per video bool [T, H, W], at least one cell in each."""
    rng = np.random.default_rng(seed)
    keeps = [rng.random((t, h // 2, w // 2)) < ratio for t, h, w in inputs["video_grid_thw"].tolist()]
    for keep in keeps:
        keep.flat[0] = True
    return keeps


def with_keeps(inputs, keeps):
    """Stock inputs, cut down to the patches of kept cells, with the keys that an attached processor adds."""
    flat = torch.from_numpy(np.concatenate([keep.reshape(-1) for keep in keeps]))
    rows = inputs["pixel_values_videos"]
    patch_px = math.isqrt(rows.shape[1] // 6)
    kept = {"pixel_values_videos": rows[flat.repeat_interleave(4)]}
    return inputs | kept | packed(keeps, cell_px=2 * patch_px, tube_frames=2)


def token_mask(model, inputs, keeps):
    """bool [B, S]: tokens that stay."""
    placeholders = inputs["input_ids"] == model.config.video_token_id
    keep = torch.ones_like(placeholders)
    keep[placeholders] = torch.from_numpy(np.concatenate([k.reshape(-1) for k in keeps]))
    return keep & inputs["attention_mask"].bool()


def kept_features(model, inputs, keeps):
    """Features of the tower on kept cells, put into dense lists (zeros where dropped) for the stock model."""
    from framegate.models.cell_plan import cell_plan
    from framegate.models.towers.packed import encode_kept

    gated = with_keeps(inputs, keeps)
    anchors = np.split(anchors_of(gated).numpy(), np.cumsum([k.size for k in keeps])[:-1])
    plan = cell_plan(
        [a.reshape(k.shape) for a, k in zip(anchors, keeps, strict=True)],
        [None] * len(keeps),
        cell_px=model.config.vision_config.patch_size * 2,
        merge_size=2,
    )
    out = encode_kept(model.model.visual, gated["pixel_values_videos"], inputs["video_grid_thw"], plan)

    def dense(parts):
        filled = []
        for part, keep in zip(parts, keeps, strict=True):
            whole = part.new_zeros(keep.size, part.shape[-1])
            whole[torch.from_numpy(keep.reshape(-1))] = part
            filled.append(whole)
        return filled

    out.pooler_output = dense(out.pooler_output)
    if getattr(out, "deepstack_features", None) is not None:
        out.deepstack_features = [dense(layer) for layer in out.deepstack_features]
    return out


def masked_logits(model, inputs, keeps, extra_ids=None):
    """Logits of the stock model on the full prompt, dropped tokens hidden by the attention mask."""
    mask = token_mask(model, inputs, keeps).long()
    names = ("input_ids", "mm_token_type_ids", "image_grid_thw", "video_grid_thw", "second_per_grid_ts")
    call = {name: inputs[name] for name in names if name in inputs}
    positions, _ = model.model.get_rope_index(**call, attention_mask=inputs["attention_mask"])
    ids = inputs["input_ids"]
    if extra_ids is not None:
        ids = torch.cat([ids, extra_ids], 1)
        mask = torch.cat([mask, torch.ones_like(extra_ids)], 1)
        steps = torch.arange(extra_ids.shape[1]) + 1
        highest = positions.masked_fill(~inputs["attention_mask"].bool(), 0).amax((0, 2))
        positions = torch.cat([positions, (highest[:, None] + steps).expand(3, -1, -1)], 2)
    media = {"video": kept_features(model, inputs, keeps)}
    if "pixel_values" in inputs:
        media["image"] = model.model.get_image_features(
            inputs["pixel_values"], inputs["image_grid_thw"], return_dict=True
        )
    return model(
        input_ids=ids, attention_mask=mask, position_ids=positions, mm_encoder_outputs=media, use_cache=False
    ).logits
