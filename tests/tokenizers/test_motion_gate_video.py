"""plan_video: files and frames in memory, sizes, windows, and what a plan holds."""

import av
import numpy as np
import pytest
from moving import as_rgb, busy_clip, panned_clip

import framegate
from framegate.errors import BudgetError, FrameError, VideoNotFoundError


@pytest.fixture(scope="module")
def clip_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("gate") / "clip.mp4"
    clip = as_rgb(busy_clip(4, 24, 96, 160, noise=1.0, cut=False))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.options = {"g": "8", "bf": "0"}
        for frame in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_file_is_planned_at_the_asked_size_and_decoded_again_on_demand(clip_path):
    plan = framegate.plan_video(clip_path, "gate", fps=8, width_px=130, cell_px=16, keep_ratio=0.25)
    assert plan.keep.shape == (24, 5, 8)
    assert (plan.height_px, plan.width_px) == (80, 128)
    assert plan.num_kept == 240
    np.testing.assert_allclose(plan.timestamps_seconds, np.arange(24) / 8, atol=1e-6)
    source, shown = plan.source_frames(), plan.reconstruct()
    assert source.shape == shown.shape == (24, 80, 128, 3)
    np.testing.assert_array_equal(shown[0], source[0])
    held = [value for value in vars(plan).values() if isinstance(value, np.ndarray)]
    assert sum(value.nbytes for value in held) < 200_000


def test_whole_and_dense_plans_show_the_source(clip_path):
    for config in ({"preset": "dense"}, {"preset": "gate", "keep_ratio": 1.0, "gate": {}}):
        plan = framegate.plan_video(clip_path, config, fps=4, width_px=160, cell_px=32, tube_frames=2)
        assert plan.keep.all()
        assert plan.keep_ratio == 1.0
        np.testing.assert_array_equal(plan.reconstruct(), plan.source_frames())


def test_window_and_sampling_choose_the_frames(clip_path):
    plan = framegate.plan_video(
        clip_path, "gate", fps=4, start_seconds=1.0, end_seconds=2.0, width_px=160, cell_px=32
    )
    np.testing.assert_allclose(plan.timestamps_seconds, [1.0, 1.25, 1.5, 1.75], atol=0.13)
    uniform = framegate.plan_video(
        clip_path, "gate", sampler="uniform", num_frames=5, width_px=160, cell_px=32
    )
    assert len(uniform.keep) == 5
    assert len(uniform.source_frames()) == 5


def test_codec_keyframes_are_encoded_whole(clip_path):
    plan = framegate.plan_video(clip_path, "gate", fps=8, width_px=160, cell_px=32, codec_keyframes=True)
    assert np.flatnonzero(plan.keyframes).tolist() == [0, 8, 16]
    exact = framegate.plan_video(
        clip_path, "gate", fps=8, width_px=160, cell_px=32, codec_keyframes=True, keep_ratio=0.2
    )
    assert np.flatnonzero(exact.keyframes).tolist() == [0, 8, 16]
    tight = framegate.plan_video(
        clip_path, "gate", fps=8, width_px=160, cell_px=32, codec_keyframes=True, keep_ratio=0.1
    )
    assert tight.num_kept == 36
    assert any("1 codec keyframes stood aside" in note for note in tight.notes)


def test_frames_in_memory_are_all_used_and_fps_labels_them():
    clip = as_rgb(panned_clip(np.zeros((7, 2)), 56, 84))
    plan = framegate.plan_video(clip, "gate", fps=2, width_px=84, tube_frames=2)
    assert plan.timestamps_seconds.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert plan.keep.shape == (4, 2, 3)
    np.testing.assert_array_equal(plan.source_frames()[:7], clip)
    np.testing.assert_array_equal(plan.source_frames()[7], clip[6])
    noted = framegate.plan_video(clip, "gate", fps=2, width_px=84, codec_keyframes=True)
    assert any("codec_keyframes stands aside" in note for note in noted.notes)


def test_what_cannot_be_planned_is_named(clip_path, tmp_path):
    with pytest.raises(FrameError, match="160 x 96 px.*smaller than one cell of 112 x 112"):
        framegate.plan_video(clip_path, "gate", cell_px=112)
    with pytest.raises(FrameError, match="20 x 20 px"):
        framegate.plan_video(np.zeros((2, 20, 20, 3), np.uint8), "gate")
    with pytest.raises(BudgetError, match="less than one token"):
        framegate.plan_video(np.zeros((2, 56, 56, 3), np.uint8), "gate", width_px=56, keep_ratio=0.01)
    with pytest.raises(VideoNotFoundError):
        framegate.plan_video(tmp_path / "none.mp4", "gate")
