"""The gate without a camera: bounds, budgets, order and rules, on any clip."""

import mmap
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moving import as_rgb, busy_clip, panned_clip

from framegate.configs.loader import load_config
from framegate.errors import BudgetError, FrameError, VideoError
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.held_luma import HeldTubes, in_turn, release
from framegate.tokenizers.gate.residual import residual_of
from framegate.tokenizers.gate.scan import GateRules, GateScan
from framegate.tokenizers.gate.video import plan_frames_array

CELL = 8
METRIC_THRESHOLDS = {"mad": 6.0, "ssim": 0.1, "l2": 1.5}

few = settings(max_examples=25, deadline=None)
clips = st.builds(
    busy_clip,
    seed=st.integers(0, 10_000),
    frames=st.integers(1, 14),
    height=st.sampled_from([CELL, 3 * CELL]),
    width=st.sampled_from([2 * CELL, 4 * CELL]),
    noise=st.sampled_from([0.0, 2.0, 20.0]),
)
tube_sizes = st.sampled_from([1, 2, 3])


def plan(clip, tube_frames=1, **overrides):
    return plan_frames_array(
        as_rgb(clip), config=load_config("gate", **overrides).plan, cell_px=CELL, tube_frames=tube_frames
    )


def tubes_of(frames, tube_frames):
    return frames[..., 0].reshape(-1, tube_frames, *frames.shape[1:3])


@few
@given(clip=clips, tube_frames=tube_sizes, metric=st.sampled_from(["mad", "ssim", "l2"]))
def test_what_is_shown_for_a_skipped_cell_never_drifts_past_the_threshold(clip, tube_frames, metric):
    threshold = METRIC_THRESHOLDS[metric]
    made = plan(clip, tube_frames, metric=metric, threshold=threshold)
    source, shown = tubes_of(made.source_frames(), tube_frames), tubes_of(made.reconstruct(), tube_frames)
    for tube in range(len(made.keep)):
        residual = residual_of(metric)(source[tube], shown[tube], made.grid)
        assert (residual[~made.keep[tube]] <= threshold + 1e-5).all()
        assert (residual[made.keep[tube]] <= 1e-6).all()


@few
@given(
    clip=clips,
    tube_frames=tube_sizes,
    ratio=st.floats(0.02, 1.0),
    reference=st.sampled_from(["anchor", "previous"]),
)
def test_budget_is_met_exactly(clip, tube_frames, ratio, reference):
    tubes = -(-len(clip) // tube_frames)
    dense = tubes * clip.shape[1] // CELL * (clip.shape[2] // CELL)
    wanted = int(np.floor(ratio * dense + 0.5))
    if wanted < 1:
        with pytest.raises(BudgetError, match="less than one token"):
            plan(clip, tube_frames, keep_ratio=ratio, reference=reference)
        return
    made = plan(clip, tube_frames, keep_ratio=ratio, reference=reference)
    assert made.num_kept == wanted
    cells = made.keep[0].size
    assert made.keep[0].all() if wanted >= cells else not made.keep[1:].any()


@few
@given(clip=clips, cap=st.integers(1, 60), metric=st.sampled_from(["mad", "ssim", "l2"]))
def test_cap_only_ever_lowers_the_count(clip, cap, metric):
    free = plan(clip, metric=metric)
    capped = plan(clip, metric=metric, max_video_tokens=cap)
    assert capped.num_kept == min(cap, free.num_kept)
    if free.num_kept <= cap:
        np.testing.assert_array_equal(capped.keep, free.keep)


def test_cap_and_ratio_together_take_the_smaller():
    clip = busy_clip(0, 10, 3 * CELL, 4 * CELL)
    assert plan(clip, keep_ratio=0.5, max_video_tokens=40).num_kept == 40
    assert plan(clip, keep_ratio=0.25, max_video_tokens=40).num_kept == 30


@few
@given(clip=clips, thresholds=st.tuples(st.floats(0, 40), st.floats(0, 40)))
def test_previous_reference_is_monotone_in_the_threshold(clip, thresholds):
    loose, strict = (
        plan(clip, reference="previous", threshold=t, keyframe_fraction=1.0).keep for t in sorted(thresholds)
    )
    assert (loose | ~strict).all()


@few
@given(clip=clips, threshold=st.floats(0, 30))
def test_previous_reference_is_grt_as_printed(clip, threshold):
    made = plan(clip, reference="previous", threshold=threshold, keyframe_fraction=1.0)
    blocks = clip.astype(float).reshape(len(clip), clip.shape[1] // CELL, CELL, -1, CELL)
    change = np.abs(np.diff(blocks, axis=0)).mean(axis=(2, 4))
    np.testing.assert_array_equal(made.keep[1:], change.astype(np.float32) > threshold)
    assert any("previous" in note for note in made.notes)


@few
@given(clip=clips, age=st.integers(1, 6), tube_frames=tube_sizes, ratio=st.sampled_from([None, 0.5]))
def test_no_anchor_grows_older_than_max_age(clip, age, tube_frames, ratio):
    made = plan(clip, tube_frames, max_age_tubes=age, keep_ratio=ratio)
    if any("max_age_tubes" in note for note in made.notes):
        assert ratio is not None
        return
    ages = np.arange(len(made.keep))[:, None, None] - made.anchor
    assert ages[made.anchor >= 0].max() < age


def test_budget_comes_before_max_age_and_says_so():
    clip = busy_clip(0, 12, 3 * CELL, 4 * CELL, cut=False)
    made = plan(clip, keep_ratio=0.25, max_age_tubes=2, motion="none")
    assert made.num_kept == 36
    assert made.notes == ("max_age_tubes 2 was relaxed to 4: the budget comes first",)


@pytest.mark.parametrize("tube_frames", [1, 2])
@pytest.mark.parametrize("motion", ["none", "camera"])
def test_a_static_clip_keeps_one_tube(tube_frames, motion):
    clip = np.repeat(busy_clip(3, 1, 3 * CELL, 4 * CELL), 9, axis=0)
    made = plan(clip, tube_frames, motion=motion)
    assert made.keep[0].all()
    assert made.num_kept == 12
    assert made.keyframes.tolist() == [True] + [False] * (len(made.keep) - 1)
    assert (made.anchor == 0).all()
    np.testing.assert_array_equal(made.reconstruct(), made.source_frames())


def test_ties_of_score_go_to_the_earlier_position():
    clip = np.zeros((5, 2 * CELL, 2 * CELL), np.uint8)
    made = plan(clip, keep_ratio=7 / 20)
    assert np.flatnonzero(made.keep).tolist() == list(range(7))


def test_less_than_one_tube_keeps_the_cells_with_the_most_contrast():
    clip = np.zeros((4, 2 * CELL, 2 * CELL), np.uint8)
    clip[:, :CELL, CELL:] = np.arange(CELL) * 30
    clip[:, CELL:, :CELL] = np.arange(CELL) * 10
    made = plan(clip, keep_ratio=2 / 16)
    assert np.flatnonzero(made.keep).tolist() == [1, 2]
    assert (made.anchor[:, 0, 0] == -1).all()
    assert (made.anchor[:, 0, 1] == 0).all()
    assert (made.reconstruct()[:, :CELL, :CELL] == 128).all()


@few
@given(clip=clips, tube_frames=tube_sizes)
def test_keeping_everything_shows_the_source(clip, tube_frames):
    made = plan(clip, tube_frames, keep_ratio=1.0)
    assert made.keep.all()
    assert made.keyframes.all()
    padded = np.concatenate([clip, np.repeat(clip[-1:], -len(clip) % tube_frames, axis=0)])
    np.testing.assert_array_equal(made.source_frames(), as_rgb(padded))
    np.testing.assert_array_equal(made.reconstruct(), made.source_frames())


@few
@given(clip=clips, tube_frames=tube_sizes, ratio=st.sampled_from([None, 0.25, 0.5]))
def test_anchors_name_the_tube_that_is_shown(clip, tube_frames, ratio):
    made = plan(clip, tube_frames, keep_ratio=ratio)
    source, shown = tubes_of(made.source_frames(), tube_frames), tubes_of(made.reconstruct(), tube_frames)
    tubes, rows, columns = np.nonzero(made.anchor >= 0)
    anchors = made.anchor[tubes, rows, columns]
    assert made.keep[anchors, rows, columns].all()
    assert (made.anchor[made.keep] == np.nonzero(made.keep)[0]).all()
    for tube, row, column, anchor in zip(tubes, rows, columns, anchors, strict=True):
        np.testing.assert_array_equal(
            made.grid.cells_of(shown[tube])[row, column], made.grid.cells_of(source[anchor])[row, column]
        )


def test_a_tube_of_which_most_changed_is_encoded_whole():
    clip = np.zeros((6, 2 * CELL, 5 * CELL), np.uint8)
    clip[3:, :, : 4 * CELL + CELL // 2] = 200
    clip[3:, CELL:, 4 * CELL :] = 0
    changed = 9 / 10
    assert plan(clip, keyframe_fraction=0.8).keyframes.tolist() == [True, False, False, True, False, False]
    partly = plan(clip, keyframe_fraction=changed)
    assert partly.keep[3].sum() == 9
    assert not partly.keyframes[3]


def test_a_cut_is_encoded_whole_under_a_budget_too():
    clip = busy_clip(1, 20, 3 * CELL, 4 * CELL, noise=1.0, cut=False)
    clip[11:] = 255 - clip[11:]
    made = plan(clip, keep_ratio=0.3)
    assert made.keyframes[11]


def test_the_best_holds_wait_for_passers_by():
    """A threshold encodes what crosses a cell as it enters; the best plan waits until it has left."""
    clip = np.full((12, CELL, CELL), 100, np.uint8)
    clip[5] = 130
    clip[6:] = 115
    made = plan(clip, keep_ratio=2 / 12)
    assert np.flatnonzero(made.keep).tolist() == [0, 6]


def test_best_holds_match_every_plan_tried_by_hand():
    rng = np.random.default_rng(0)
    clip = rng.integers(0, 255, (7, 1, 1)).repeat(CELL, 1).repeat(CELL, 2).astype(np.uint8)
    values = clip[:, 0, 0].astype(float)

    def error(kept):
        held = np.maximum.accumulate(np.where(np.isin(np.arange(7), kept), np.arange(7), 0))
        return ((values - values[held]) ** 2).sum()

    from itertools import combinations

    for count in (2, 3, 4):
        best = min(error((0, *rest)) for rest in combinations(range(1, 7), count - 1))
        made = plan(clip, keep_ratio=count / 7, keyframe_fraction=1.0)
        assert made.num_kept == count
        assert error(np.flatnonzero(made.keep)) <= 1.3 * best


def test_windows_join_in_long_clips():
    made = plan(busy_clip(2, 150, 2 * CELL, 5 * CELL), keep_ratio=0.11)
    assert made.num_kept == 165
    assert made.keep[0].all()
    assert made.keep[140:].any()


@pytest.mark.parametrize(
    "settings", [{}, {"motion": "camera"}, {"search": "threshold", "motion": "none"}, {"weight": "contrast"}]
)
def test_a_clip_that_is_held_in_a_file_gets_the_same_plan(settings, monkeypatch):
    clip = panned_clip([(0.7 * place, 0.2 * place) for place in range(40)], 112, 144, noise=1.0)
    inside = plan(clip, tube_frames=2, keep_ratio=0.3, **settings)
    monkeypatch.setattr("framegate.tokenizers.gate.held_luma.HELD_BYTES", 40_000)
    monkeypatch.setattr("framegate.tokenizers.gate.held_luma.LOOK_TUBES", 3)
    monkeypatch.setattr("framegate.tokenizers.gate.hold_windows.LOOK_TUBES", 3)
    monkeypatch.setattr("framegate.tokenizers.gate.hold_windows.WINDOW_BYTES", 6_000)
    monkeypatch.setattr("framegate.tokenizers.gate.hold_windows.STEPS_BYTES", 100)
    in_a_file = plan(clip, tube_frames=2, keep_ratio=0.3, **settings)
    for name in ("keep", "moved", "residual", "camera_motion"):
        np.testing.assert_array_equal(getattr(in_a_file, name), getattr(inside, name))


def test_what_is_held_in_a_file_is_read_back_and_let_go(monkeypatch):
    monkeypatch.setattr("framegate.tokenizers.gate.held_luma.HELD_BYTES", 100)
    tubes = np.random.default_rng(0).integers(0, 256, (9, 2, 8, 8), np.uint8)
    held = HeldTubes()
    for tube in tubes:
        held.append(tube)
    luma = held.array()
    assert isinstance(
        luma.base.base if isinstance(luma.base, np.ndarray) else luma.base, mmap.mmap | memoryview
    )
    release(luma)
    np.testing.assert_array_equal(np.stack(list(in_turn(luma))), tubes)


def test_a_full_disk_is_named(monkeypatch):
    class Full:
        def write(self, _):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("framegate.tokenizers.gate.held_luma.HELD_BYTES", 0)
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: Full())
    with pytest.raises(VideoError, match="No space left on device.*Set TMPDIR"):
        HeldTubes().append(np.zeros((1, 8, 8), np.uint8))


def test_a_disk_that_is_full_at_the_last_write_is_named(monkeypatch):
    class Buffered:
        def write(self, _):
            pass

        def flush(self):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("framegate.tokenizers.gate.held_luma.HELD_BYTES", 0)
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: Buffered())
    held = HeldTubes()
    held.append(np.zeros((1, 8, 8), np.uint8))
    with pytest.raises(VideoError, match=f"in '{tempfile.gettempdir()}' .*Set TMPDIR .* a lower width"):
        held.array()


def test_stepwise_scan_equals_the_plan():
    clip = busy_clip(5, 12, 3 * CELL, 4 * CELL)
    config = load_config("gate", motion="none", max_age_tubes=5).gate
    grid = CellGrid.of(*clip.shape[1:], cell_px=CELL, tube_frames=2)
    scan = GateScan(grid, GateRules.of(config))
    steps = [scan.step(tube) for tube in clip.reshape(6, 2, *clip.shape[1:])]
    made = plan(clip, 2, motion="none", max_age_tubes=5)
    np.testing.assert_array_equal(made.keep, np.concatenate([step.keep for step in steps]))
    np.testing.assert_array_equal(made.residual, np.concatenate([step.residual for step in steps]))
    np.testing.assert_array_equal(scan.shown[..., None].repeat(3, -1), made.reconstruct()[-2:])


def test_dense_preset_keeps_everything_and_times_are_those_of_first_frames():
    clip = as_rgb(busy_clip(0, 5, CELL, 2 * CELL))
    times = np.array([0.0, 0.5, 1.25, 2.0, 9.0])
    made = plan_frames_array(clip, times, config=load_config("dense").plan, cell_px=CELL, tube_frames=2)
    assert made.keep.all()
    assert made.timestamps_seconds.tolist() == [0.0, 1.25, 9.0]
    assert (made.num_cells, made.keep_ratio, made.cell_px, made.tube_frames) == (6, 1.0, CELL, 2)
    assert (made.height_px, made.width_px) == (CELL, 2 * CELL)
    counted = plan_frames_array(clip, config=load_config("dense", fps=4).plan, cell_px=CELL, tube_frames=2)
    assert counted.timestamps_seconds.tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((3, 20, 16, 3), np.uint8, "16 x 20 px are no whole number of 8-px cells"),
        ((3, 4, 16, 3), np.uint8, "multiples of 8, at least 8 x 8 px"),
        ((0, 16, 16, 3), np.uint8, "give at least one"),
        ((3, 16, 16, 3), np.float32, "float32"),
        ((3, 16, 16, 4), np.uint8, r"\[3, 16, 16, 4\]"),
    ],
)
def test_frames_that_cannot_be_gated_are_named(shape, dtype, message):
    with pytest.raises(FrameError, match=message):
        plan_frames_array(
            np.zeros(shape, dtype), config=load_config("gate").plan, cell_px=CELL, tube_frames=1
        )


def test_wrong_number_of_times_is_named():
    with pytest.raises(FrameError, match="3 frames"):
        plan_frames_array(
            np.zeros((3, 8, 8, 3), np.uint8),
            np.zeros(2),
            config=load_config("gate").plan,
            cell_px=8,
            tube_frames=1,
        )
