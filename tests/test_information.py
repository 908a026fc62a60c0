"""The information benchmark: rivals that use exactly their tokens, and measures that know identity from loss."""

import numpy as np
import pytest
from information import bench_information as bench
from information import methods, metrics, summary, text
from information.methods import METHODS, MID_GREY, Tiling
from information.presets import after_stages, stages_shown
from moving import busy_clip

import framegate

TILING = Tiling(cell_px=8, tube_frames=2)
SCORED = ["rlt", "evs", "dtd"]


@pytest.fixture(scope="module")
def frames():
    luma = busy_clip(3, 20, 48, 64)
    return np.repeat(luma[..., None], 3, axis=-1)


def shown(method, frames, budget, tiling=TILING):
    return METHODS[method](frames, budget, 0, tiling)


@pytest.mark.parametrize("budget", [24, 48, 121, 240, 480])
@pytest.mark.parametrize("method", ["random", *SCORED])
def test_cells_are_spent_to_the_last_token(frames, method, budget):
    assert shown(method, frames, budget).tokens == budget


@pytest.mark.parametrize("budget", [47, 48, 121, 240, 480])
def test_whole_frames_and_smaller_frames_use_at_most_the_budget(frames, budget):
    assert shown("uniform_frames", frames, budget).tokens == budget // 48 * 48
    small = shown("down_scaling", frames, budget)
    assert 0.6 * budget < small.tokens <= budget


@pytest.mark.parametrize("method", ["random", "uniform_frames", *SCORED])
def test_methods_show_what_the_presets_of_their_names_show(frames, method):
    plan = framegate.plan_video(frames, method, keep_ratio=0.25, width_px=64, cell_px=8, tube_frames=2)
    result = shown(method, frames, 120)
    assert plan.num_kept == result.tokens
    np.testing.assert_array_equal(plan.reconstruct(), result.frames)


@pytest.mark.parametrize("method", METHODS)
def test_all_tokens_show_everything(frames, method):
    result = shown(method, frames, 480)
    assert result.tokens == 480
    np.testing.assert_array_equal(result.frames, frames)


def test_skipped_cells_hold_what_was_shown_and_are_grey_before(frames):
    keep = np.zeros((10, 6, 8), bool)
    keep[4, 2, 3] = True
    cells = TILING.cells(methods.held(frames, keep, TILING).frames)
    source = TILING.cells(frames)
    assert np.all(cells[:4] == MID_GREY)
    assert all(np.array_equal(cells[tube, 2, 3], source[4, 2, 3]) for tube in range(4, 10))
    assert np.all(cells[4:, :2] == MID_GREY)


@pytest.mark.parametrize("method", SCORED)
def test_rules_spend_on_the_first_tube_and_then_on_what_changes(method):
    frames = np.full((8, 16, 24, 3), 90, np.uint8)
    frames[4:, 8:, 16:, 0] = 220
    np.testing.assert_array_equal(shown(method, frames, 7).frames, frames)


def test_rlt_looks_from_the_first_frame_of_a_tube_to_the_last_of_the_next():
    frames = np.full((4, 8, 16, 3), 90, np.uint8)
    frames[1:3, :, 8:] = 200  # ends as it began: unseen between first and last frame
    frames[3, :, :8] = 91
    rlt, dtd = (shown(method, frames, 3).frames for method in ("rlt", "dtd"))
    assert np.array_equal(rlt[3, :, :8], frames[3, :, :8])
    assert np.array_equal(dtd[2, :, 8:], frames[2, :, 8:])


def test_uniform_frames_are_evenly_spread(frames):
    result = shown("uniform_frames", frames, 5 * 48).frames
    np.testing.assert_array_equal(result[::4], frames[::4])
    np.testing.assert_array_equal(result[2::4], frames[::4])


def test_frames_that_are_no_whole_cells_are_refused():
    with pytest.raises(ValueError, match="no whole number"):
        TILING.shape(np.zeros((3, 16, 16, 3), np.uint8))


def test_identity_is_infinite_psnr_and_ssim_1(frames):
    assert metrics.psnr_db(frames, frames) == float("inf")
    assert metrics.ssim(frames, frames) == 1.0


def test_psnr_and_ssim_of_flat_frames_are_the_formulas_values():
    a, b = np.full((2, 32, 32, 3), 100, np.uint8), np.full((2, 32, 32, 3), 110, np.uint8)
    assert metrics.psnr_db(a, b) == pytest.approx(10 * np.log10(255**2 / 100))
    c1 = 2.55**2
    assert metrics.ssim(a, b) == pytest.approx((2 * 100 * 110 + c1) / (100**2 + 110**2 + c1), rel=1e-4)


def test_psnr_pools_the_error_and_does_not_average_decibels():
    a = np.zeros((2, 8, 8, 3), np.uint8)
    b = a.copy()
    b[1] = 20
    assert metrics.psnr_db(a, b) == pytest.approx(10 * np.log10(255**2 / 200))


def test_ssim_falls_with_blur_and_with_noise(frames):
    noisy = np.clip(frames + np.random.default_rng(0).normal(0, 20, frames.shape), 0, 255).astype(np.uint8)
    assert metrics.ssim(frames, noisy) < 0.9
    assert metrics.ssim(frames, shown("down_scaling", frames, 121).frames) < 0.99


def test_spread_takes_both_ends_and_no_frame_twice():
    assert metrics.spread(250, 12)[[0, -1]].tolist() == [0, 249]
    assert metrics.spread(3, 12).tolist() == [0, 1, 2]


def test_recall_of_identity_is_1_and_empty_without_text():
    lines = [["order code 7316", "north pier"], []]
    assert text.recall(lines, lines) == 1.0
    assert text.recall([[], []], [["ghost"], []]) is None


def test_recall_allows_small_slips_once_per_line():
    source = [["order code 7316", "order code 7316"]]
    assert text.recall(source, [["order c0de 7316"]]) == 0.5
    assert text.recall(source, [["order"]]) == 0.0


def test_a_line_counts_at_its_own_time_only():
    assert text.recall([["north pier"], ["fish market"]], [["fish market"], ["north pier"]]) == 0.0


def test_edit_distance_counts_insertions_deletions_and_replacements():
    assert text.edit_distance("kitten", "sitting") == 3
    assert text.edit_distance("", "abc") == 3
    assert text.similarity("abcde", "abcdx") == pytest.approx(0.8)


def test_only_certain_lines_are_text():
    assert text.certain_lines(("K", "North  Pier", "blur"), (0.99, 0.95, 0.5)) == ["north pier"]


@pytest.mark.parametrize("tube_frames", [1, 2])
def test_stages_that_do_nothing_show_what_the_plan_shows(frames, tube_frames):
    config = framegate.load_config("gate", keep_ratio=0.2, motion="none")
    plan = framegate.plan_video(frames, config, width_px=64, cell_px=8, tube_frames=tube_frames)
    result = stages_shown(plan, config)
    assert result.tokens == plan.num_kept
    np.testing.assert_array_equal(result.frames, plan.reconstruct())


@pytest.mark.parametrize("preset", ["grt", "grt_released"])
@pytest.mark.parametrize("ratio", [0.3, 0.5])
def test_presets_with_stages_after_the_tower_meet_the_budget(frames, preset, ratio):
    config = framegate.load_config(preset, keep_ratio=ratio)
    plan = framegate.plan_video(frames, config, width_px=64, cell_px=8, tube_frames=2)
    assert stages_shown(plan, config).tokens == ratio * plan.num_cells < plan.num_kept


def test_cells_that_no_token_stands_for_hold_what_was_shown(frames):
    config = framegate.load_config("grt_released", keep_ratio=0.3)
    plan = framegate.plan_video(frames, config, width_px=64, cell_px=8, tube_frames=2)
    cells = TILING.cells(stages_shown(plan, config).frames)
    without = after_stages(plan, config).source.numpy().reshape(plan.keep.shape) < 0
    assert without[0].any()
    assert without[1:].any()
    assert np.all(cells[0][without[0]] == MID_GREY)
    np.testing.assert_array_equal(cells[1:][without[1:]], cells[:-1][without[1:]])


def test_merged_tokens_show_their_mean(frames):
    still = np.repeat(frames[:1], 8, axis=0)
    still[4:] = np.minimum(still[4:], 245) + 10
    config = framegate.load_config(
        "grt", keep_ratio=0.25, tower_ratio=0.5, keyframe_fraction=0.1, scene_cut_fraction=0.1
    )
    plan = framegate.plan_video(still, config, width_px=64, cell_px=8, tube_frames=2)
    assert plan.keep[[0, 2]].all()
    result = stages_shown(plan, config)
    mean = (still[0].astype(float) + still[4]) / 2
    assert result.tokens == 48
    assert np.abs(result.frames - mean).max() <= 0.5


def test_earlier_rows_are_kept_but_those_to_measure_anew(tmp_path):
    table = tmp_path / "rows.csv"
    assert bench.rows_before(table, 2, []) == []
    table.write_text("clip,tube_frames,method,budget\na,2,gate,0.5\na,2,rlt,0.5\na,1,gate,0.5\n")
    kept = bench.rows_before(table, 2, ["gate"])
    assert [bench.key_of(row) for row in kept] == [("a", "2", "rlt", "0.5"), ("a", "1", "gate", "0.5")]


def test_the_dense_tokens_are_one_row_and_other_methods_one_per_budget():
    assert bench.wanted(["dense", "gate"]) == [("dense", 1.0), *(("gate", ratio) for ratio in bench.BUDGETS)]


def row(method, psnr, drift, *, recall="", clip="a.mp4"):
    return {
        "clip": clip,
        "method": method,
        "budget": "0.25",
        "tokens": "25",
        "tokens_dense": "100",
        "psnr_db": str(psnr),
        "ssim": "0.9",
        "ocr_recall": recall,
        "feature_drift": str(drift),
    }


def test_the_table_sets_the_best_of_each_column_in_bold():
    lines = summary.table_rows([row("rlt", 30.0, 0.1), row("framegate", 31.0, 0.2)], 0.25)
    assert lines[0] == ["a.mp4", "rlt", "25 of 100", "30.00", "**0.9000**", "", "**0.1000**"]
    assert lines[1] == ["a.mp4", "framegate", "25 of 100", "**31.00**", "**0.9000**", "", "0.2000"]


def test_the_verdict_names_every_place_that_is_not_first_or_tied():
    rows = [row("rlt", 31.05, 0.1), row("framegate", 31.0, 0.2)]
    assert summary.losses(rows, [0.25]) == ["a.mp4 at 25%: feature_drift 0.2000 (rlt 0.1000)"]
    assert "first or tied (.1 dB, 1 %) in 2 of 3 places; not in a.mp4" in summary.verdict(rows, [0.25])
    assert "not measured yet" in summary.verdict(rows[:1], [0.25])
    assert summary.losses([row("rlt", 31.2, 0.1), row("framegate", 31.0, 0.1)], [0.25])
