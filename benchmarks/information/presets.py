"""framegate's own presets: what the tokens of a plan show."""

import numpy as np
from information.methods import MID_GREY, Shown, Tiling

import framegate
from framegate.configs.loader import preset_names

PRESETS = ("grt", "grt_released", "gate", "framegate")


def known_presets():
    """Which of PRESETS this checkout has."""
    return [name for name in PRESETS if name in preset_names()]


def preset_shown(preset, path, *, fps, ratio, tube_frames, end_seconds):
    """Plan a clip, decoding included, and show it from what is left of its tokens."""
    config = framegate.load_config(preset, keep_ratio=ratio)
    plan = framegate.plan_video(
        path, config, fps=fps, tube_frames=tube_frames, max_frames=None, end_seconds=end_seconds
    )
    # after stages that average tokens of several cells, the plan's own reconstruction would show too much
    return (
        stages_shown(plan, config) if config.reduces_after_tower else Shown(plan.reconstruct(), plan.num_kept)
    )


def stages_shown(plan, config):
    """Run the stages after the tower on tokens whose features are their pixels, and show what they leave.

    Each cell shows the token that stands for it; one that none stands for holds what was last shown there. Pixels have
    no language-model head, so scenes are compared by features. Camera motion of the gate is left aside.
    """
    tokens = after_stages(plan, config)
    tiling = Tiling(plan.cell_px, plan.tube_frames)
    shown = np.full((len(plan.keep) * plan.tube_frames, plan.height_px, plan.width_px, 3), MID_GREY, np.uint8)
    pixels = tokens.features.round().clamp(0, 255).byte().numpy()
    pixels = pixels.reshape(-1, *tiling.cells(shown).shape[3:])  # [N, k, cell, cell, 3]
    target = tiling.cells(shown)
    for tube, token in enumerate(tokens.source.numpy().reshape(plan.keep.shape)):
        if tube:
            target[tube] = target[tube - 1]
        target[tube][token >= 0] = pixels[token[token >= 0]]
    return Shown(shown, tokens.num_tokens)


def after_stages(plan, config):
    """The VideoTokens that the stages leave."""
    import torch

    from framegate.models.stages.registry import StageCall, run_stages, stages
    from framegate.report import Report

    if config.scene_merge is not None:
        config = config.override(distribution="features")
    tokens = pixel_tokens(plan, config)
    call = StageCall(
        targets=targets_of(plan, config),
        exact=config.keep_ratio is not None,
        change=torch.from_numpy(plan.residual.ravel()),
        report=Report(preset=config.preset),
    )
    width = tokens.features.shape[1]
    modules = {
        name: spec.build(getattr(config, name, None), width)
        for name, spec in stages().items()
        if spec.reduces and getattr(config, name, None) is not None
    }
    with torch.inference_mode():
        return run_stages(tokens, modules | {"reduction": stages()["reduction"].build(None, width)}, call)


def targets_of(plan, config):
    """Tokens that the video may have in the end, None without a budget."""
    budget = config.budget
    if budget.keep_ratio is None and budget.max_tokens is None:
        return None
    return [budget.most(plan.num_cells)]


def pixel_tokens(plan, config):
    """Tokens whose features are pixels: the kept cells, or in the gate's mode "reuse" every cell with its anchor's."""
    import torch

    from framegate.models.video_tokens import VideoTokens

    shape, anchor = plan.keep.shape, anchor_cells(plan)
    pixels = Tiling(plan.cell_px, plan.tube_frames).cells(plan.source_frames())
    encoded, keep = np.arange(plan.keep.size), np.ones(plan.keep.size, bool)
    if config.gate is not None and config.gate.mode == "reuse":
        encoded, anchor = anchor, encoded
    else:
        keep = plan.keep.ravel()
        encoded = encoded[keep]
    features = pixels[np.unravel_index(encoded, shape)].reshape(len(encoded), -1)  # [N, k * cell * cell * 3]
    return VideoTokens.of_cells(
        [torch.from_numpy(features.astype(np.float32))],
        torch.from_numpy(keep),
        torch.from_numpy(anchor),
        [shape],
    )


def anchor_cells(plan):
    """Dense cell whose content stands for each cell, int64 [C], -1 for none; motion is left aside."""
    rows, columns = plan.keep.shape[1:]
    place = np.arange(rows * columns).reshape(rows, columns)
    return np.where(plan.anchor >= 0, plan.anchor * (rows * columns) + place, -1).astype(np.int64).ravel()
