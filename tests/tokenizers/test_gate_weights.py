"""What a change is worth: the contrast weight beside its formula, where weights apply, and pools of quarters."""

import cv2
import numpy as np
import pytest
from moving import as_rgb, busy_clip, panned_clip, texture

from framegate.configs.loader import load_config
from framegate.configs.upgrade import upgrade
from framegate.errors import ConfigError, FrameError
from framegate.tokenizers.gate.camera_motion import CameraTracker
from framegate.tokenizers.gate.config import GateConfig
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.planners import plan_gate
from framegate.tokenizers.gate.residual import mad, residual_of
from framegate.tokenizers.gate.scan import GateRules, GateScan
from framegate.tokenizers.gate.video import plan_frames_array
from framegate.tokenizers.gate.weights import WEIGHTS, default_threshold_of, weight_of
from framegate.tokenizers.gate.weights.contrast import _blurred

CELL = 28


def plan(clip, **overrides):
    config = load_config("gate", **overrides).plan
    return plan_frames_array(as_rgb(clip), config=config, cell_px=CELL, tube_frames=1)


def formula(luma):
    luma = luma.astype(np.float64)
    high = luma - cv2.GaussianBlur(luma, (0, 0), 3)
    return np.clip(np.round(128 + np.sign(high) * np.abs(high) ** 1.5 / 8), 0, 255)


def test_every_file_is_a_weight():
    assert WEIGHTS == ("contrast", "luma")
    frame = texture(60, 90)
    for name in WEIGHTS:
        weighed = weight_of(name)(frame)
        assert (weighed.dtype, weighed.shape) == (np.uint8, frame.shape)
        assert default_threshold_of(name) > 0


def test_contrast_is_the_formula_within_a_level():
    frame = texture(336, 448, blur=2.0)
    frame[100:140, 100:260] = 235
    cv2.putText(frame, "EXIT", (110, 132), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 16, 2)
    missed = np.abs(weight_of("contrast")(frame) - formula(frame))
    assert (missed <= 1)[8:-8, 8:-8].mean() > 0.99
    assert missed[8:-8, 8:-8].mean() < 0.3


def test_the_blur_of_contrast_is_opencvs_bit_for_bit():
    rng, sigma_px = np.random.default_rng(0), 2**0.5
    shapes = [(1, 1), (2, 9), (3, 1), (40, 61), (294, 364)] * 4
    for number, shape in enumerate(shapes):
        frame = rng.choice([0, 255], shape) if number < 5 else rng.integers(0, 256, shape)
        wanted = cv2.GaussianBlur(frame.astype(np.uint8), (9, 9), sigma_px)
        np.testing.assert_array_equal(_blurred(frame.astype(np.uint8)), wanted)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_contrast_of_nothing_is_the_middle(value):
    assert (weight_of("contrast")(np.full((29, 57), value, np.uint8)) == 128).all()


def test_letters_outlive_a_change_of_light():
    """Light that grows moves plain luma most; the contrast weight spends the budget on the letters."""
    scene = texture(2 * CELL, 4 * CELL, blur=6.0) // 2
    clip = np.repeat(scene[None], 8, axis=0)
    for number in range(8):
        clip[number, :, 2 * CELL :] += np.uint8(6 * number)
        cv2.putText(clip[number], str(number), (6, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 255, 2)
    letters = {
        weight: int(plan(clip, weight=weight, motion="none", keep_ratio=16 / 64).keep[1:, 0, 0].sum())
        for weight in WEIGHTS
    }
    assert letters["contrast"] > letters["luma"]


@pytest.mark.parametrize("ratio", [None, 0.3])
def test_the_camera_is_followed_on_plain_luma(monkeypatch, ratio):
    clip = panned_clip([(3 * step, step) for step in range(10)], 4 * CELL, 6 * CELL)
    seen = []
    follow = CameraTracker.motion
    monkeypatch.setattr(
        CameraTracker,
        "motion",
        lambda self, *tubes: (seen.append(tubes[1][0].copy()), follow(self, *tubes))[1],
    )
    plain = plan(clip, keep_ratio=ratio)
    frames, seen[:] = seen.copy(), []
    weighed = plan(clip, weight="contrast", keep_ratio=ratio)
    assert plain.moved.any()
    assert weighed.moved.any()
    known = {frame.tobytes() for frame in frames}
    assert seen
    assert all(frame.tobytes() in known for frame in seen)


def test_a_scan_and_a_plan_weigh_alike():
    clip = busy_clip(5, 10, 2 * CELL, 3 * CELL)
    config = load_config("gate", weight="contrast", motion="none").gate
    scan = GateScan(CellGrid.of(*clip.shape[1:], cell_px=CELL, tube_frames=1), GateRules.of(config))
    steps = [scan.step(frame[None]) for frame in clip]
    made = plan(clip, weight="contrast", motion="none")
    np.testing.assert_array_equal(made.keep, np.concatenate([step.keep for step in steps]))
    np.testing.assert_array_equal(made.residual, np.concatenate([step.residual for step in steps]))


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("pool", ["mean", "max"])
@pytest.mark.parametrize("motion", ["none", "camera"])
def test_budgets_are_exact_under_every_weight_and_pool(weight, pool, motion):
    clip = panned_clip([(3 * step, step) for step in range(9)], 4 * CELL, 6 * CELL, noise=2.0)
    made = plan(clip, weight=weight, residual_pool=pool, motion=motion, keep_ratio=0.4)
    assert made.num_kept == round(0.4 * made.keep.size)
    assert made.keep[0].all()


def test_the_largest_quarter_speaks_for_its_cell():
    grid = CellGrid.of(CELL, 2 * CELL, cell_px=CELL, tube_frames=2)
    tube, shown = np.zeros((2, 2, CELL, 2 * CELL), np.uint8)
    tube[:, : CELL // 2, CELL // 2 : CELL] = 40
    assert mad(tube, shown, grid).tolist() == [[10, 0]]
    assert residual_of("mad", "max")(tube, shown, grid).tolist() == [[40, 0]]


def test_small_changes_win_under_the_largest_quarter():
    clip = np.full((6, CELL, 2 * CELL), 100, np.uint8)
    for number in range(6):
        clip[number, :9, :9] += np.uint8(
            20 * (number % 2)
        )  # small and strong: 2.1 on average, 8.3 in its quarter
        clip[number, :, CELL:] += np.uint8(4 * (number % 2))  # all over, and weak
    settings = {"motion": "none", "keep_ratio": 7 / 12, "keyframe_fraction": 1.0}
    assert plan(clip, residual_pool="mean", **settings).keep[1:].sum(axis=0).tolist() == [[5, 0]]
    assert plan(clip, residual_pool="max", threshold=5.0, motion="none").keep[1:].sum(axis=0).tolist() == [
        [5, 0]
    ]


def test_cells_without_quarters_are_named():
    config = load_config("gate", residual_pool="max", motion="none").plan
    with pytest.raises(FrameError, match="Cells of 7 px have no quarters"):
        plan_frames_array(np.zeros((3, 14, 14), np.uint8), config=config, cell_px=7, tube_frames=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": "contrasts"}, r"Unknown gate.weight 'contrasts'. Did you mean 'contrast'\?"),
        ({"weight": "contrast", "metric": "ssim"}, r"gate.weight 'contrast' goes with gate.metric \"mad\""),
        ({"residual_pool": "max", "metric": "l2"}, "gate.residual_pool 'max' goes with"),
        ({"residual_pool": "median"}, "must be one of"),
        (
            {"weight": "contrast", "search": "threshold", "motion": "none"},
            "gate.weight 'luma', not 'contrast'",
        ),
        ({"weight": "contrast", "rule": "rlt", "motion": "none"}, r"does not read gate\.weight"),
        ({"refill": True, "mode": "reuse", "motion": "none"}, "gate.refill needs mode"),
    ],
)
def test_what_does_not_go_together_is_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        GateConfig(**settings)


def test_the_old_name_of_a_setting_is_refused_with_the_new_one():
    with pytest.raises(ConfigError, match=r"'max_age' is gone; what replaces it: max_age_tubes"):
        load_config("gate", max_age=3)
    with pytest.raises(ConfigError, match=r"'gate.max_age' is gone; what replaces it: max_age_tubes"):
        load_config({"preset": "gate", "gate": {"max_age": 3}})
    saved, _ = upgrade({"config_version": 1, "preset": "gate", "gate": {"max_age": 3}})
    assert saved["gate"] == {"max_age_tubes": 3}


@pytest.mark.parametrize("budget", [{}, {"keep_ratio": 0.3}, {"max_video_tokens": 30}])
def test_progress_is_told_to_the_end_and_never_goes_back(budget):
    clip = panned_clip([(3 * step, 0) for step in range(9)], 4 * CELL, 6 * CELL)
    config = load_config("gate", **budget)
    told = []
    grid = CellGrid.of(*clip.shape[1:], cell_px=CELL, tube_frames=1)
    plan_gate(iter(clip), grid, config.gate, config.plan.budget, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) > (2 if budget else 0)
