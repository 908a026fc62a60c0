"""Gating as the frames come: the plan of the same pass, live sources, the cap."""

import numpy as np
import pytest
from clips import write_clip

import framegate
from framegate.errors import BudgetError, FrameError
from framegate.tokenizers.gate.plan import GatePlan


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A still background, a block that moves from the eleventh of thirty frames on."""
    background = np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    frames = np.repeat(background.repeat(14, 0).repeat(14, 1)[None], 30, 0).copy()
    for t in range(10, 30):
        frames[t, 60:90, 4 * t : 4 * t + 30] = 255
    path = tmp_path_factory.mktemp("clip") / "block.mp4"
    write_clip(path, frames, times_ms=[100 * t for t in range(30)])
    return path


SIZE = {"width_px": 224, "cell_px": 28}


@pytest.mark.parametrize("tube_frames", [1, 2])
def test_a_file_as_a_stream_gives_the_plan_of_the_same_causal_pass(clip, tube_frames):
    settings = {"fps": 10, "motion": "none"}
    plan = framegate.plan_video(clip, "gate", **settings, **SIZE, tube_frames=tube_frames)
    with framegate.open_video(clip) as stream:
        tubes = list(framegate.gate_stream(stream, "gate", **settings, **SIZE, tube_frames=tube_frames))
    assert [float(tube.timestamps_seconds[0]) for tube in tubes] == plan.timestamps_seconds.tolist()
    assert tubes[0].keep.all()
    assert 0 < tubes[15 // tube_frames].num_kept < 20
    # the plan reads luma, the stream colours: a cell near the threshold may fall on either side
    differing = sum(int((tube.keep != keep).sum()) for tube, keep in zip(tubes, plan.keep, strict=True))
    assert differing <= 0.01 * plan.num_cells
    assert tubes[3].source_frames().shape == (tube_frames, *plan.source_frames().shape[1:])


def test_a_live_source_is_gated_as_it_comes(clip):
    with framegate.open_video(clip, format="mov", live_fps=5) as stream:
        tubes = framegate.gate_stream(stream, "gate", **SIZE)
        first = next(tubes)
        assert first.keep.all()
        rest = list(tubes)
    assert len(rest) == 14
    assert sum(tube.num_kept for tube in rest) < 0.3 * len(rest) * first.keep.size


def test_a_live_source_does_not_know_its_codecs_keyframes(clip):
    with framegate.open_video(clip, format="mov", live_fps=5) as stream:
        next(framegate.gate_stream(stream, "gate", codec_keyframes=True, **SIZE))
        assert any("codec keyframes stand aside" in note for note in stream.warnings)


def test_plans_of_tubes_join_into_a_run_with_its_frames(clip):
    settings = {"fps": 10, "motion": "none"}
    with framegate.open_video(clip) as stream:
        tubes = list(framegate.gate_stream(stream, "gate", **settings, **SIZE, tube_frames=4))
    # 30 frames in tubes of 4: the last frame repeats
    assert len(tubes) == 8
    last = tubes[-1].source_frames()
    np.testing.assert_array_equal(last[1], last[3])
    run = GatePlan.concatenate(tubes[3:])
    assert run.keep[0].all()
    assert run.timestamps_seconds.tolist() == [float(tube.timestamps_seconds[0]) for tube in tubes[3:]]
    np.testing.assert_array_equal(run.source_frames()[-4:], last)


def test_the_cap_ends_the_stream_and_is_met_exactly(clip):
    with framegate.open_video(clip, format="mov") as stream:
        tubes = list(framegate.gate_stream(stream, "gate", max_video_tokens=60, **SIZE))
    assert f"60 spent at {float(tubes[-1].timestamps_seconds[0]):.2f} s" in " ".join(stream.warnings)
    assert sum(tube.num_kept for tube in tubes) == 60
    assert len(tubes) < 30
    with framegate.open_video(clip) as stream:
        first = next(framegate.gate_stream(stream, "gate", max_video_tokens=5, **SIZE))
    assert first.num_kept == 5


def test_without_a_gate_every_cell_is_kept(clip):
    with framegate.open_video(clip) as stream:
        assert all(tube.keep.all() for tube in framegate.gate_stream(stream, "dense", **SIZE))


def test_exact_budgets_and_cells_too_large_are_refused(clip):
    with framegate.open_video(clip) as stream:
        with pytest.raises(BudgetError, match=r"keep_ratio=0.5.*max_video_tokens"):
            framegate.gate_stream(stream, "gate", keep_ratio=0.5)
        with pytest.raises(FrameError, match="cell"):
            framegate.gate_stream(stream, "gate", cell_px=500)


def test_what_stands_aside_is_told(clip):
    with framegate.open_video(clip) as stream:
        settings = {"reference": "previous", "codec_keyframes": True, "fps": 10, "max_frames": 5}
        assert len(list(framegate.gate_stream(stream, "gate", **settings, **SIZE))) == 5
        told = " ".join(stream.warnings)
    for words in ("camera motion stands aside", "max_frames 5"):
        assert words in told
