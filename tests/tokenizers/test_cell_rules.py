"""The rivals' rules: what each looks at, budgets to the last token, thresholds, provenance, and streams."""

import numpy as np
import pytest
from moving import as_rgb, busy_clip

import framegate
from framegate.errors import BudgetError, ConfigError
from framegate.tokenizers.cell_rules import cell_rule, cell_rule_names
from framegate.tokenizers.clip import open_video
from framegate.tokenizers.gate.config import GateConfig

CELL, ROWS, COLUMNS = 8, 6, 8
RULES = cell_rule_names()
COMPARING = [name for name in RULES if cell_rule(name).compares]
# "stc" shares its budget out over tubes first
BY_SCORE = [name for name in COMPARING if name != "stc"]
EXACT = ["random", *BY_SCORE]


@pytest.fixture(scope="module")
def frames():
    return as_rgb(busy_clip(3, 20, ROWS * CELL, COLUMNS * CELL))


def planned(frames, preset, tube_frames=2, **settings):
    if preset == "stc":
        # its preset has a share of the tower of its own, and selects behind it
        settings |= {"tower_ratio": settings.get("keep_ratio"), "select": None}
    return framegate.plan_video(
        frames, preset, width_px=frames.shape[2], cell_px=CELL, tube_frames=tube_frames, **settings
    )


def flat(value, *, k=2, cells=(1, 1)):
    """A tube's cells of one colour: uint8 [H, W, k, cell, cell, 3]."""
    return np.broadcast_to(np.array(value, np.uint8), (*cells, k, CELL, CELL, 3)).copy()


def distance(name, before, after):
    """How far a rule finds the cells of two tubes from each other."""
    return cell_rule(name).score(before, after, np.random.default_rng(0))


def test_every_rule_has_a_preset():
    for name in RULES:
        assert framegate.load_config(name).gate.rule == name
    with pytest.raises(ConfigError, match="Did you mean 'rlt'"):
        cell_rule("rlf")


@pytest.mark.parametrize(("name", "want"), [("rlt", 20.0), ("dtd", 15.0)])
def test_differences_are_means_over_all_channels_and_frames(name, want):
    before, after = flat((100, 100, 100)), flat((110, 100, 120))
    after[:, :, -1] += np.array([10, 10, 10], np.uint8)  # the last frame alone: |20|, |10|, |30|
    assert distance(name, before, after) == pytest.approx(want)


def test_rlt_sees_the_first_frame_before_and_the_last_one_after_alone():
    before, after = flat((90, 90, 90)), flat((90, 90, 90))
    before[:, :, 1], after[:, :, 0] = 200, 10
    assert distance("rlt", before, after) == 0
    assert distance("dtd", before, after) == pytest.approx((110 + 80) / 2)


def test_evs_knows_direction_and_not_brightness():
    red, dark_red, green = flat((200, 0, 0)), flat((100, 0, 0)), flat((0, 50, 0))
    assert distance("evs", red, dark_red) == pytest.approx(0, abs=1e-6)
    assert distance("evs", red, green) == pytest.approx(1)
    assert distance("evs", flat((0, 0, 0)), red) == 1
    assert distance("evs", flat((0, 0, 0)), flat((0, 0, 0))) == 0  # black bars have not changed


@pytest.mark.parametrize("name", BY_SCORE)
def test_rules_spend_on_the_first_tube_and_then_on_what_changes(name):
    frames = np.full((8, 16, 24, 3), 90, np.uint8)
    frames[4:, 8:, 16:, 0] = 220
    plan = planned(frames, name, keep_ratio=7 / 24)
    assert plan.keep[0].all()
    assert np.argwhere(plan.keep[1:]).tolist() == [[1, 1, 2]]
    np.testing.assert_array_equal(plan.reconstruct(), frames)
    below = planned(frames, name, keep_ratio=4 / 24)
    assert np.flatnonzero(below.keep).tolist() == [0, 1, 2, 3]  # ties to the earlier cell


def test_colour_alone_is_seen_and_luma_would_not_see_it():
    frames = np.full((4, 8, 16, 3), 128, np.uint8)
    frames[2:, :, 8:] = (255, 74, 128)  # the same luma
    kept = [planned(frames, name, keep_ratio=3 / 4).keep[1, 0].tolist() for name in COMPARING]
    assert kept == [[False, True]] * len(COMPARING)


@pytest.mark.parametrize("tokens", [1, 47, 48, 121, 479])
@pytest.mark.parametrize("name", EXACT)
def test_budgets_are_met_to_the_last_token(frames, name, tokens):
    plan = planned(frames, name, keep_ratio=tokens / 480)
    assert (plan.num_kept, plan.num_cells) == (tokens, 480)
    assert planned(frames, name, keep_ratio=0.5, max_video_tokens=tokens).num_kept == min(tokens, 240)
    assert plan.notes == ()


@pytest.mark.parametrize("name", RULES)
def test_a_ratio_of_one_keeps_everything(frames, name):
    assert planned(frames, name, keep_ratio=1.0).keep.all()


@pytest.mark.parametrize("name", RULES)
def test_anchors_are_the_last_kept_tube_at_the_same_place(frames, name):
    plan = planned(frames, name, keep_ratio=0.3)
    tubes = np.arange(10)[:, None, None]
    want = np.maximum.accumulate(np.where(plan.keep, tubes, -1), axis=0)
    np.testing.assert_array_equal(plan.anchor, want)
    assert not plan.motion_px.any()


def test_random_is_the_same_for_one_seed_and_another_for_the_next(frames):
    first, again, other = (planned(frames, "random", keep_ratio=0.2, seed=seed).keep for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    blank = planned(np.zeros_like(frames), "random", keep_ratio=0.2).keep
    assert np.array_equal(first, blank)


def test_uniform_frames_are_whole_evenly_spread_and_say_what_they_leave(frames):
    plan = planned(frames, "uniform_frames", keep_ratio=0.45)
    assert plan.keyframes.nonzero()[0].tolist() == [0, 2, 5, 7]
    assert plan.num_kept == 4 * 48
    assert plan.notes == ("gate.rule 'uniform_frames' leaves 24 of 216 tokens unspent",)
    assert planned(frames, "uniform_frames", keep_ratio=0.4).notes == ()
    with pytest.raises(BudgetError, match="47 tokens, and a tube of this video has 48"):
        planned(frames, "uniform_frames", keep_ratio=47 / 480)


def test_stc_takes_every_fourth_tube_whole_and_of_the_others_what_changed_most(frames):
    plan = planned(frames, "stc", keep_ratio=(3 + 7 / 4) / 10)
    kept = plan.keep.reshape(10, -1).sum(1)
    assert plan.keyframes.nonzero()[0].tolist() == [0, 4, 8]
    assert set(kept.tolist()) == {48, 12}
    for tokens in (1, 47, 48, 121, 479):
        assert planned(frames, "stc", keep_ratio=tokens / 480).num_kept == tokens
    changed = planned(frames, "dtd", keep_ratio=1.0).residual[1].reshape(-1)
    chosen = plan.keep[1].reshape(-1)
    assert changed[chosen].min() >= changed[~chosen].max()
    assert plan.num_kept == 3 * 48 + 7 * 12


@pytest.mark.parametrize("name", ["rlt", "dtd"])
def test_without_a_budget_the_threshold_decides(name):
    frames = np.full((6, 8, 24, 3), 90, np.uint8)
    frames[2:, :, 8:16] += 5
    frames[2:, :, 16:] += 6
    plan = planned(frames, name)
    assert plan.keep[:, 0].tolist() == [[True] * 3, [False, False, True], [False] * 3]
    assert planned(frames, name, threshold=4.5).keep[1, 0].tolist() == [False, True, True]
    capped = planned(frames, name, threshold=4.5, max_video_tokens=4)
    assert capped.keep[1, 0].tolist() == [False, False, True]
    assert "max_video_tokens 4 replaced the threshold, which would have kept 5" in capped.notes
    assert planned(frames, name, max_video_tokens=5).notes == ()


def test_evs_takes_a_threshold_of_ones_own():
    frames = np.full((4, 8, 16, 3), 90, np.uint8)
    frames[2:, :, 8:] = (200, 20, 20)
    assert planned(frames, "evs", keep_ratio=None, threshold=0.1).keep[1, 0].tolist() == [False, True]


@pytest.mark.parametrize(
    ("preset", "settings", "hint"),
    [
        ("gate", {"rule": "rlf", "motion": "none"}, "Did you mean 'rlt'"),
        ("gate", {"rule": "rlt"}, r"does not read gate\.motion, which is 'camera': set it to 'none'"),
        ("rlt", {"metric": "ssim"}, r"does not read gate\.metric"),
        ("dtd", {"max_age_tubes": 3}, r"does not read gate\.max_age_tubes"),
        ("random", {"threshold": 3.0}, "has no threshold"),
        ("random", {"seed": -1}, "0 or above"),
        ("random", {"keep_ratio": None}, "'random' goes by a budget alone: set keep_ratio"),
        ("uniform_frames", {"keep_ratio": None}, "'uniform_frames' goes by a budget"),
        ("evs", {"keep_ratio": None}, "'evs' goes by a budget"),
    ],
)
def test_settings_that_a_rule_does_not_read_are_refused(preset, settings, hint):
    with pytest.raises(ConfigError, match=hint):
        framegate.load_config(preset, **settings)


def test_the_motion_gate_is_what_it_was():
    assert GateConfig().rule == "motion"
    assert framegate.load_config("gate").plan.judged_format == "gray"
    assert framegate.load_config("rlt").plan.judged_format == "rgb24"
    assert framegate.load_config("rlt", keep_ratio=1.0).plan.judged_format == "gray"


@pytest.mark.parametrize("name", ["rlt", "dtd"])
@pytest.mark.parametrize("tube_frames", [1, 2])
def test_a_stream_decides_as_the_plan_does(frames, name, tube_frames):
    geometry = {"width_px": 64, "cell_px": CELL, "tube_frames": tube_frames}
    with open_video(frames, fps=10) as stream:
        tubes = list(framegate.gate_stream(stream, name, threshold=8.0, fps=10, **geometry))
    plan = planned(frames, name, tube_frames, threshold=8.0)
    np.testing.assert_array_equal(np.concatenate([tube.keep for tube in tubes]), plan.keep)
    assert 0 < plan.num_kept < plan.num_cells


@pytest.mark.parametrize("name", ["random", "uniform_frames", "down_scaling", "evs"])
def test_what_needs_the_whole_video_is_refused_on_a_stream(frames, name):
    with open_video(frames, fps=10) as stream, pytest.raises(ConfigError, match="needs the whole video"):
        framegate.gate_stream(stream, name, keep_ratio=None, max_video_tokens=50)
