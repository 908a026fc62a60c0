"""The gate under camera motion: registration, the choice per cell, and the promise never to be worse."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moving import as_rgb, panned_clip, texture

from framegate.configs.loader import load_config
from framegate.tokenizers.gate import camera_motion
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.scan import GateRules, GateScan
from framegate.tokenizers.gate.video import plan_frames_array

HEIGHT, WIDTH, CELL = 112, 168, 28
GRID = CellGrid.of(HEIGHT, WIDTH, cell_px=CELL, tube_frames=1)


def plan(clip, tube_frames=1, **overrides):
    return plan_frames_array(
        as_rgb(clip), config=load_config("gate", **overrides).plan, cell_px=CELL, tube_frames=tube_frames
    )


def psnr(made):
    difference = made.source_frames().astype(float) - made.reconstruct()
    return 10 * np.log10(255**2 / max(np.mean(difference**2), 1e-9))


def glide(frames, step=(1.3, -0.45), start=(0.0, 40.0)):
    return np.asarray(start) + np.arange(frames)[:, None] * np.asarray(step)


def shift_of(affine):
    return camera_motion._centre_shift(affine, HEIGHT, WIDTH)


@pytest.mark.parametrize("shift", [(0.25, 0.0), (-0.5, 0.75), (3.4, -2.2), (11.6, 5.3)])
def test_sub_pixel_shifts_are_recovered(shift):
    before, after = panned_clip([(20, 20), (20 + shift[0], 20 + shift[1])], HEIGHT, WIDTH)
    np.testing.assert_allclose(shift_of(camera_motion.estimate(before, after)), shift, atol=0.05)


def test_large_shifts_are_found_by_phase_correlation():
    before, after = panned_clip([(60, 40), (98.5, 21.25)], HEIGHT, WIDTH)
    np.testing.assert_allclose(shift_of(camera_motion.estimate(before, after)), (38.5, -18.75), atol=0.1)


def test_zoom_and_turn_are_affine():
    scene = texture(HEIGHT, WIDTH, 3, blur=2.5)
    true = cv2.getRotationMatrix2D(((WIDTH - 1) / 2, (HEIGHT - 1) / 2), 1.0, 1.02)
    after = cv2.warpAffine(
        scene,
        true,
        (WIDTH, HEIGHT),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    found = camera_motion.estimate(scene, after)
    corners = np.array([[0, 0, 1], [WIDTH, 0, 1], [0, HEIGHT, 1], [WIDTH, HEIGHT, 1]], float)
    np.testing.assert_allclose(corners @ found.T, corners @ true.T, atol=0.25)


def test_an_object_does_not_pull_the_camera_along():
    before, after = panned_clip([(20, 20), (22, 20)], HEIGHT, WIDTH)
    thing = texture(60, 60, 9)
    before[20:80, 30:90], after[20:80, 38:98] = thing, thing
    np.testing.assert_allclose(shift_of(camera_motion.estimate(before, after)), (2, 0), atol=0.05)


@pytest.mark.parametrize("frames", [np.zeros((2, HEIGHT, WIDTH), np.uint8), None])
def test_no_motion_is_claimed_where_none_can_be_seen(frames):
    if frames is None:
        frames = np.random.default_rng(0).integers(0, 256, (2, HEIGHT, WIDTH), dtype=np.uint8)
    assert camera_motion.estimate(frames[0], frames[1]) is None


def test_motion_scales_with_the_picture():
    affine = np.array([[1.01, 0.02, 3.0], [-0.02, 0.99, -1.5]])
    doubled = camera_motion.scaled(affine, 2)
    point = np.array([7.25, 30.5])
    small = affine[:, :2] @ point + affine[:, 2]
    np.testing.assert_allclose(doubled[:, :2] @ (2 * point + 0.5) + doubled[:, 2], 2 * small + 0.5)


@pytest.mark.parametrize("tube_frames", [1, 2])
def test_a_pan_keeps_what_enters_and_little_else(tube_frames):
    clip = panned_clip(glide(24), HEIGHT, WIDTH, noise=1.0)
    camera, none = plan(clip, tube_frames), plan(clip, tube_frames, motion="none")
    assert camera.keep_ratio < 0.5 * none.keep_ratio
    assert camera.moved.any()


@pytest.mark.parametrize("tube_frames", [1, 2])
def test_a_pan_is_clearer_at_the_same_budget(tube_frames):
    clip = panned_clip(glide(24), HEIGHT, WIDTH, noise=1.0)
    camera, none = (plan(clip, tube_frames, keep_ratio=0.3, motion=m) for m in ("camera", "none"))
    assert camera.num_kept == none.num_kept
    assert psnr(camera) > psnr(none) + 4


def test_drift_is_bounded_under_motion_too():
    clip = panned_clip(glide(40), HEIGHT, WIDTH, noise=1.0)
    made = plan(clip, threshold=4.0)
    luma = made.reconstruct()[..., 0].reshape(-1, HEIGHT // CELL, CELL, WIDTH // CELL, CELL).astype(float)
    source = clip.reshape(luma.shape).astype(float)
    residual = np.abs(source - luma).mean(axis=(2, 4))
    assert residual.max() <= 4.0 + 1e-4
    np.testing.assert_allclose(residual[~made.keep], made.residual[~made.keep], atol=1e-4)


def test_moved_content_is_never_warped_twice():
    """A long glide shows content encoded far back; had it been resampled at every step it would have blurred."""
    clip = panned_clip(glide(30, step=(0.5, 0.0)), HEIGHT, WIDTH)
    made = plan(clip, threshold=6.0)
    oldest = (np.arange(30)[:, None, None] - made.anchor).max()
    assert oldest >= 20
    assert psnr(made) > 36


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ratio", [0.1, 0.3])
def test_motion_never_makes_a_budget_worse(seed, ratio):
    rng = np.random.default_rng(seed)
    wander = np.cumsum(rng.normal(0, [0.0, 0.2, 2.0][seed], (16, 2)), 0) + 30
    clip = panned_clip(wander, HEIGHT, WIDTH, seed=seed, noise=2.0)
    clip[6:12, 30:60, 20:70] = texture(30, 50, seed)
    camera, none = (plan(clip, keep_ratio=ratio, motion=m) for m in ("camera", "none"))
    assert camera.num_kept == none.num_kept
    assert psnr(camera) >= psnr(none)


def test_plans_are_the_same_every_time():
    clip = panned_clip([(2.0 * t, 0.5 * t) for t in range(12)], HEIGHT, 8 * CELL, noise=2.0)
    first, second = (plan(clip, keep_ratio=0.2) for _ in range(2))
    np.testing.assert_array_equal(first.keep, second.keep)
    np.testing.assert_array_equal(first.residual, second.residual)


def test_motion_never_keeps_more_without_a_budget():
    rng = np.random.default_rng(0)
    for jitter in (0.0, 0.1, 0.6, 3.0):
        clip = panned_clip(rng.normal(0, jitter, (14, 2)) + 20, HEIGHT, WIDTH, noise=2.0)
        assert plan(clip).num_kept <= plan(clip, motion="none").num_kept


def test_an_object_against_the_camera_is_content():
    offsets = glide(16, step=(2.0, 0.0))
    clip = panned_clip(offsets, HEIGHT, WIDTH)
    thing = texture(CELL, CELL, 11)
    boxes = []
    for number, frame in enumerate(clip):
        left = 20 + 5 * number
        frame[40 : 40 + CELL, left : left + CELL] = thing
        boxes.append(left)
    made = plan(clip)
    for number, left in enumerate(boxes[1:], start=1):
        assert made.keep[number, 1:3, (left + CELL // 2) // CELL].any()
    assert made.keep_ratio < 0.6


def test_each_cell_takes_the_better_candidate():
    """A sign painted on the lens stands still while the scene pans behind it."""
    clip = panned_clip(glide(12), HEIGHT, WIDTH)
    clip[:, :CELL, 2 * CELL : 4 * CELL] = texture(CELL, 2 * CELL, 5)
    made = plan(clip)
    sign = np.s_[1:, 0, 2:4]
    assert not made.keep[sign].any()
    assert not made.moved[sign].any()
    assert (made.motion_px[sign] == 0).all()
    assert (made.anchor[sign] == 0).all()
    assert made.moved[1:, 1:, :].mean() > 0.4


def test_motion_px_names_encoded_content():
    offsets = glide(14)
    clip = panned_clip(offsets, HEIGHT, WIDTH)
    made = plan(clip)
    tubes, rows, columns = np.nonzero(~made.keep)
    anchors, shift = made.anchor[tubes, rows, columns], made.motion_px[tubes, rows, columns]
    half = (CELL - 1) / 2
    row = ((rows * CELL + half + shift[:, 1]) // CELL).astype(int)
    column = ((columns * CELL + half + shift[:, 0]) // CELL).astype(int)
    assert made.keep[anchors, row, column].all()
    moved = made.moved[tubes, rows, columns]
    expected = offsets[tubes[moved]] - offsets[anchors[moved]]
    assert np.median(np.abs(shift[moved] - expected)) < 0.5
    assert np.abs(shift[moved] - expected).max() < 5.0


def test_still_tubes_cost_no_motion_search():
    calls = []
    clip = np.repeat(panned_clip([(0, 0)], HEIGHT, WIDTH), 6, axis=0)
    clip[3:, :CELL, :CELL] = 0
    scan = GateScan(
        GRID, GateRules(metric="mad", threshold=4.0), motion_source=lambda *call: calls.append(call[0])
    )
    for frame in clip:
        scan.step(frame[None])
    assert calls == []


def test_small_frames_say_why_motion_stands_aside():
    made = plan_frames_array(
        np.zeros((3, 16, 16, 3), np.uint8), config=load_config("gate").plan, cell_px=8, tube_frames=1
    )
    assert made.notes == ("camera motion stands aside: frames of 16 x 16 px hold too few features",)
    assert not made.moved.any()


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 1000),
    ratio=st.floats(0.03, 0.9),
    tube_frames=st.sampled_from([1, 2]),
    metric=st.sampled_from(["mad", "ssim", "l2"]),
)
def test_budgets_are_exact_and_anchors_shown_under_motion(seed, ratio, tube_frames, metric):
    rng = np.random.default_rng(seed)
    clip = panned_clip(np.cumsum(rng.normal(0, 1.5, (9, 2)), 0) + 30, HEIGHT, WIDTH, seed=seed, noise=1.0)
    made = plan(clip, tube_frames, keep_ratio=ratio, metric=metric)
    assert made.num_kept == int(np.floor(ratio * made.num_cells + 0.5))
    assert not (made.moved & made.keep).any()
    assert (made.anchor[made.keep] == np.nonzero(made.keep)[0]).all()
    assert (made.motion_px[made.keep] == 0).all()
    shown = made.reconstruct().reshape(len(made.keep), -1, *clip.shape[1:], 3)
    source = made.source_frames().reshape(shown.shape)
    for tube in range(len(made.keep)):
        kept = made.keep[tube]
        np.testing.assert_array_equal(
            made.grid.cells_of(shown[tube])[kept], made.grid.cells_of(source[tube])[kept]
        )
