"""A plan that goes on from one before: tubes that come back keep their cells, the others are a run of their own."""

import numpy as np
import pytest
from tiny import moving_frames

import framegate
from framegate.errors import ConfigError, PlanError
from framegate.tokenizers.gate.packing import unpack_plans
from framegate.types import FramePlan

VIDEO = moving_frames(17, 84, 112)
TIMES = np.arange(17) / 2.0
ALL = np.arange(16)


def planned(indices, *, before=None, tube_frames=1, width_px=112, **options):
    frames = FramePlan.from_indices(np.asarray(indices), TIMES)
    options = {"tower_ratio": 0.25} | options
    return framegate.plan_video(
        VIDEO, plan=frames, before=before, width_px=width_px, tube_frames=tube_frames, fps=2.0, **options
    )


def check(plan):
    """Every cell is shown by one that is encoded, in its own tube or before, and the plan travels."""
    shown = plan.anchor >= 0
    tube = np.arange(len(plan.keep))[:, None, None]
    assert (plan.anchor <= tube).all()
    assert ((plan.anchor == tube) == plan.keep).all()
    t, y, x = np.nonzero(shown & ~plan.keep)
    if not plan.motion_px.any():
        assert plan.keep[plan.anchor[t, y, x], y, x].all()
    packed = plan.pack()
    (again,), _ = unpack_plans(packed.framegate_plan, packed.framegate_notes)
    assert np.array_equal(again.anchor, plan.anchor)
    assert np.array_equal(again.keep, plan.keep)


@pytest.mark.parametrize("first", [ALL[::2], ALL[:8], ALL[8:]], ids=["between", "behind", "ahead"])
def test_tubes_that_come_back_keep_their_cells(first):
    before = planned(first)
    plan = planned(ALL, before=before)
    check(plan)
    old = np.isin(ALL, first)
    assert np.array_equal(plan.keep[old], before.keep)
    # what shows a skipped cell of theirs shows it still
    shown = before.anchor >= 0
    assert np.array_equal(plan.anchor[old][shown], first[before.anchor][shown])
    assert plan.num_kept == planned(ALL).num_kept
    assert plan.keep[~old].sum() <= 0.55 * plan.num_kept
    assert "before: 8 of 16 tubes keep their cells, 8 are planned as a run of their own" in plan.notes
    assert np.array_equal(plan.source_frames(), planned(ALL).source_frames())
    third = planned(ALL[:12], before=plan)
    check(third)
    with pytest.raises(PlanError, match="one by one"):
        plan.reconstruct()


def test_pairs_come_back_as_pairs():
    before = planned(ALL[:8], tube_frames=2)
    plan = planned(ALL, before=before, tube_frames=2)
    check(plan)
    assert np.array_equal(plan.keep[:4], before.keep)
    other = planned(ALL + 1, before=before, tube_frames=2)
    assert "before: none of its tubes comes back as it was, all are planned anew" in other.notes
    assert np.array_equal(other.keep, planned(ALL + 1, tube_frames=2).keep)
    small = planned(ALL, before=before, tube_frames=2, width_px=56)
    assert "all are planned anew" in str(small.notes)


def test_a_tube_whose_anchors_are_gone_is_planned_anew():
    before = planned(ALL[:8])
    leaning = np.array([(tube < n).any() for n, tube in enumerate(before.anchor)])
    assert leaning.any()
    plan = planned(ALL[1:], before=before)
    check(plan)
    held = [note for note in plan.notes if note.startswith("before")]
    assert held == ["before: none of its tubes comes back as it was, all are planned anew"]
    # what was encoded whole leans on nothing
    whole = planned(ALL[:8], tower_ratio=1.0)
    plan = planned(ALL[4:], before=whole)
    check(plan)
    assert plan.keep[:4].all()
    assert "before: 4 of 12 tubes" in str(plan.notes)


def test_no_new_tube_and_caps():
    before = planned(ALL[:8])
    again = planned(ALL[:8], before=before)
    assert np.array_equal(again.anchor, before.anchor)
    cap = {"tower_ratio": None, "max_video_tokens": before.num_kept}
    assert f"its tubes alone spend max_video_tokens {before.num_kept}" in str(
        planned(ALL, before=before, **cap).notes
    )
    cap["max_video_tokens"] += 3
    plan = planned(ALL, before=before, **cap)
    check(plan)
    assert plan.num_kept == before.num_kept + 3
    by_threshold = planned(ALL, before=planned(ALL[:8], tower_ratio=None), tower_ratio=None)
    check(by_threshold)


def test_what_cannot_stand_before_is_refused():
    before = planned(ALL[:8])
    with pytest.raises(ConfigError, match="before is a FramePlan beside plan, a FramePlan"):
        planned(ALL, before=before.frames)
    with pytest.raises(ConfigError, match="before is a GatePlan beside plan, a GatePlan"):
        framegate.plan_video(VIDEO, plan=before, before=before)
    packed = before.pack()
    (travelled,), _ = unpack_plans(packed.framegate_plan, packed.framegate_notes)
    with pytest.raises(PlanError, match="does not know which frames"):
        planned(ALL, before=travelled)
