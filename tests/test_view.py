"""Pictures of a plan: what is kept is clear, what is skipped is dim, times and counts are the plan's."""

import base64
import json
import re
from dataclasses import replace

import av
import numpy as np
import pytest
from clips import write_clip
from handmade_plan import handmade_plan
from PIL import Image

import framegate
from framegate.models.tiny import tiny_pair
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tools.view import plan_figures, write_view
from framegate.tools.view.chosen import write_frames
from framegate.tools.view.figures import ends_seconds, iter_tubes
from framegate.tools.view.html import plan_data
from framegate.tools.view.overlay import (
    DARK,
    FOOTER_PX,
    GAP_PX,
    HEADER_PX,
    KEYFRAME,
    LIGHT,
    VideoWriter,
    dim_skipped,
    paint_tube,
)
from framegate.tools.view.stills import WIDTH_PX, choose_tubes, nice_step, plot_shares, write_timeline
from framegate.types import FramePlan

ROWS, COLUMNS = 4, 15  # 420 px wide: no enlargement


def moving_square(num_frames=12, columns=COLUMNS):
    """A square that steps one cell to the right with each frame, over a fixed texture."""
    ground = np.random.default_rng(0).integers(90, 160, (ROWS * 28, columns * 28, 3), dtype=np.uint8)
    frames = np.repeat(ground[None], num_frames, axis=0)
    for index, frame in enumerate(frames):
        frame[28:56, 28 * index : 28 * index + 28] = (250, 20, 20)
    return frames


@pytest.fixture(scope="module")
def plan():
    return handmade_plan(moving_square(), fps=5.0)


@pytest.fixture(scope="module")
def view(plan, tmp_path_factory):
    plan.notes.append("a note with <angle> brackets and </script>")
    return write_view(
        plan, tmp_path_factory.mktemp("view"), title="a <b> & c.mp4", settings={"keep ratio": 0.25}
    )


def decode(path):
    with av.open(str(path)) as container:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def test_kept_cells_are_untouched_and_skipped_ones_dim():
    frame = moving_square(1)[0]
    keep = np.zeros((ROWS, COLUMNS), bool)
    keep[1, 3] = True
    shown = dim_skipped(frame, keep)
    inside = (slice(28 + 4, 56 - 4), slice(84 + 4, 112 - 4))
    assert np.array_equal(shown[inside], frame[inside])
    skipped = np.ones(frame.shape[:2], bool)
    skipped[28:56, 84:112] = False
    assert shown[skipped].mean() < 0.65 * frame[skipped].mean()
    colourful = np.ptp(frame[28:56, :28].astype(int), axis=-1).mean()
    assert np.ptp(shown[28:56, :28].astype(int), axis=-1).mean() < 0.3 * colourful


def test_cells_shown_again_are_told_from_those_left_out():
    frame, encoded = moving_square(1)[0], np.zeros((ROWS, COLUMNS), bool)
    encoded[1, 3] = True
    again = np.zeros((ROWS, COLUMNS), bool)
    again[2:] = True
    shown, dark = (dim_skipped(frame, encoded, again=which) for which in (again, None))
    lower, upper = shown[56:].astype(int), shown[:28].astype(int)
    assert (lower[..., 2] - lower[..., 0] > 30).all()
    assert lower.mean() > 1.3 * upper.mean()
    assert np.array_equal(shown[:56], dark[:56])


def test_figures_tell_tower_and_prompt_apart():
    keep = np.zeros((4, 2, 5), bool)
    keep[0, 0] = keep[2, 0, 0] = True  # of row 0 everything is shown again, of row 1 nothing ever
    plan = GatePlan.still(keep, CellGrid.of(56, 140, cell_px=28, tube_frames=1))
    gate = {"mode": "drop", "refill": True}
    for config, prompt in (
        (framegate.load_config("gate", tower_ratio=0.15, gate=gate), 20),
        (framegate.load_config("gate", tower_ratio=0.15, keep_ratio=0.25, gate=gate), 10),
        (framegate.load_config("gate", tower_ratio=0.15, gate=gate | {"refill": False}), 6),
    ):
        figures = plan_figures(plan, config)
        assert (figures.kept_tokens, figures.prompt_tokens, figures.dense_tokens) == (6, prompt, 40)
    assert plan_figures(plan).prompt_tokens == 6


def test_kept_cells_are_outlined_inside_themselves():
    frame = moving_square(1)[0]
    keep = np.zeros((ROWS, COLUMNS), bool)
    keep[2, 5] = True
    outlined = (dim_skipped(frame, keep) == DARK.kept).all(-1)
    assert outlined[56:84, 140:168].any()
    assert outlined.sum() == outlined[56:84, 140:168].sum()


def test_keyframes_are_framed_and_others_are_not():
    frame, keep = moving_square(1)[0], np.ones((ROWS, COLUMNS), bool)
    assert tuple(dim_skipped(frame, keep, is_keyframe=True)[0, 60]) == KEYFRAME
    assert np.array_equal(dim_skipped(frame, keep), frame)


def test_painted_tube_has_both_panes(plan):
    tube = next(iter_tubes(plan))
    (pixels,) = paint_tube(tube)
    height, width = plan.source.shape[1:3]
    assert pixels.shape == (HEADER_PX + height + FOOTER_PX, 2 * width + GAP_PX, 3)
    right = pixels[HEADER_PX : HEADER_PX + height, width + GAP_PX :]
    assert np.array_equal(right, plan.reconstruct()[0])


def test_small_frames_are_enlarged():
    tube = next(iter_tubes(handmade_plan(moving_square(2, columns=5)), with_rebuilt=False))
    (pixels,) = paint_tube(tube)
    assert pixels.shape[1] == 5 * 28 * 3


def test_tubes_carry_their_times_and_motion():
    plan = handmade_plan(moving_square(8), fps=4.0, tube_frames=2, start_seconds=3.0)
    plan.motion_px[2] = (1.5, -2.0)
    tubes = list(iter_tubes(plan))
    assert [tube.start_seconds for tube in tubes] == [3.0, 3.5, 4.0, 4.5]
    assert tubes[-1].end_seconds == 5.0
    assert tubes[1].frame_times_seconds.tolist() == [3.5, 3.75]
    assert tubes[2].motion_px == (1.5, -2.0)
    assert tubes[0].motion_px == (0.0, 0.0)


def test_overlay_plays_in_real_time(plan, view):
    frames = decode(view.overlay)
    assert [time for time, _ in frames[:3]] == pytest.approx([0.0, 0.2, 0.4], abs=1e-3)
    # the last frame is there twice, so that players show it for its time
    assert len(frames) == len(plan.source) + 1
    assert frames[-1][0] == pytest.approx(12 / 5, abs=1e-3)


def test_overlay_shows_what_the_plan_keeps(plan, view):
    _, pixels = decode(view.overlay)[6]
    pane = pixels[HEADER_PX : HEADER_PX + ROWS * 28, : COLUMNS * 28]
    source, keep = plan.source[6], plan.keep[6]
    cell = lambda image, row, column: image[row * 28 + 6 : row * 28 + 22, column * 28 + 6 : column * 28 + 22]  # noqa: E731
    for row, column in np.ndindex(*keep.shape):
        share = cell(pane, row, column).mean() / cell(source, row, column).mean()
        assert share == pytest.approx(1, abs=0.1) if keep[row, column] else share < 0.75


def test_video_times_may_be_uneven(tmp_path):
    times = [0.0, 0.04, 1.04, 1.04, 9.5]
    with VideoWriter(tmp_path / "uneven.mp4") as video:
        for seconds in times:
            video.write(np.full((64, 96, 3), 80, np.uint8), seconds)
    assert [time for time, _ in decode(tmp_path / "uneven.mp4")] == pytest.approx(times, abs=2e-3)


def test_sheet_takes_even_tubes_and_all_keyframes_up_to_a_limit():
    plan = handmade_plan(moving_square(12))
    plan.keyframes[[0, 4, 5]] = True
    assert choose_tubes(plan, num_even=3) == [0, 4, 5, 6, 11]
    plan.keyframes[:] = True
    assert len(choose_tubes(plan, num_even=1, max_keyframes=5)) == 5
    assert choose_tubes(handmade_plan(moving_square(1))) == [0]


def test_sheet_is_a_picture_of_that_many_tiles(plan, view):
    width, height = Image.open(view.sheet).size
    assert width == 12 + 4 * (384 + 12)
    assert (height - 12) % 3 == 0  # 12 tubes in rows of 4


@pytest.mark.parametrize(("span", "step"), [(25, 2.5), (12, 1.0), (3600, 500.0), (0.9, 0.1), (100, 10.0)])
def test_axis_steps_are_nice(span, step):
    assert nice_step(span, most=12) == pytest.approx(step)


def test_timeline_bars_are_as_high_as_the_counts(tmp_path):
    plan = handmade_plan(moving_square(12))
    plan.keep[1:] = False
    plan.keep[6] = True
    write_timeline(plan, tmp_path / "timeline.png")
    pixels = np.asarray(Image.open(tmp_path / "timeline.png").convert("RGB")).astype(int)
    left, right = plot_shares()
    column = lambda tube: round(WIDTH_PX * (left + (tube + 0.5) / 12 * (right - left)))  # noqa: E731
    kept = lambda tube: (np.abs(pixels[:, column(tube)] - (22, 163, 148)).sum(-1) < 30).sum()  # noqa: E731
    framed = (np.abs(pixels[:, column(0)] - KEYFRAME).sum(-1) < 30).sum()
    assert kept(6) > 200
    assert framed > 200
    assert kept(3) == 0


def test_timeline_grows_a_lane_when_something_moved(tmp_path):
    plan = handmade_plan(moving_square(6))
    write_timeline(plan, tmp_path / "still.png")
    plan.motion_px[3:] = (4.0, 0.0)
    write_timeline(plan, tmp_path / "moved.png")
    assert Image.open(tmp_path / "moved.png").size[1] > Image.open(tmp_path / "still.png").size[1]


def test_bars_of_chosen_frames_are_as_high_as_their_scores(tmp_path):
    times = np.arange(11.0)
    plan = FramePlan.from_indices(np.array([2, 5, 8]), times)
    plan = replace(plan, scores=np.array([0.0, 1.0, 0.5]), group=np.array([0, 1, 1]))
    write_frames(plan, tmp_path / "frames.png", window_seconds=(0.0, 10.0))
    pixels = np.asarray(Image.open(tmp_path / "frames.png").convert("RGB")).astype(int)
    left, right = plot_shares()
    column = lambda second: round(WIDTH_PX * (left + second / 10 * (right - left)))  # noqa: E731
    height = lambda second, colour: (np.abs(pixels[:, column(second)] - colour).sum(-1) < 60).sum()  # noqa: E731
    low, high, middle = height(2, LIGHT.kept), height(5, LIGHT.keyframe), height(8, LIGHT.keyframe)
    assert 0 < low < middle < high
    assert height(3, LIGHT.kept) == 0


def test_a_single_tube_can_be_drawn(tmp_path):
    plan = handmade_plan(moving_square(1))
    files = write_view(plan, tmp_path)
    assert all(path.stat().st_size > 0 for path in files.paths())
    assert plan_figures(plan).video_seconds is None


def test_page_needs_no_network_and_holds_all(plan, view):
    page = view.page.read_text()
    assert not re.search(r"\[\[[a-z_]+\]\]", page)
    assert not re.findall(r"(?:src|href|srcset)=[\"']?(?!data:)[\w/.:]+", page)
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    for kind, path in (("video/mp4", view.overlay), ("image/png", view.sheet), ("image/png", view.timeline)):
        assert f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}" in page


def test_page_shows_the_chosen_frames_where_some_were_chosen(plan, view, tmp_path):
    assert view.frames is None
    assert "<section hidden>\n<h2>Which frames" in view.page.read_text()
    times = np.arange(12) / 5.0
    chosen = replace(FramePlan.from_indices(np.array([0, 4, 8]), times), scores=np.array([0.1, 0.5, 0.3]))
    files = write_view(replace(plan, frames=chosen), tmp_path)
    page = files.page.read_text()
    assert "<section >\n<h2>Which frames" in page
    assert base64.b64encode(files.frames.read_bytes()).decode() in page


def test_page_escapes_what_users_wrote(view):
    page = view.page.read_text()
    assert "a &lt;b&gt; &amp; c.mp4" in page
    assert "a <b>" not in page
    assert "&lt;angle&gt;" in page


def test_page_data_is_the_plan(plan, view):
    page = view.page.read_text()
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])
    assert data == json.loads(json.dumps(plan_data(plan, plan_figures(plan))))
    kept = np.zeros(plan.keep.shape, bool)
    for tube, cells in enumerate(data["kept_cells"]):
        kept[tube].flat[cells] = True
    assert np.array_equal(kept, plan.keep)
    assert data["kept"] == plan.keep.sum((1, 2)).tolist()


def test_large_videos_are_linked(plan, tmp_path, monkeypatch):
    monkeypatch.setattr("framegate.tools.view.html.LARGEST_EMBEDDED_BYTES", 10)
    page = write_view(plan, tmp_path).page.read_text()
    assert 'src="overlay.mp4"' in page
    assert "data:video" not in page


def test_the_repeated_frame_of_a_last_tube_is_no_time():
    video = moving_square(5)
    plan = framegate.plan_video(video, "gate", keep_ratio=0.5, tube_frames=2, width_px=56, fps=2.0)
    figures = plan_figures(plan)
    assert (figures.num_tubes, figures.num_frames, figures.video_seconds) == (3, 5, 2.5)


def test_figures_count_cells_patches_and_bytes():
    plan = handmade_plan(moving_square(6), fps=2.0, tube_frames=2)
    figures = plan_figures(plan)
    assert figures.dense_tokens == 3 * 60
    assert figures.kept_tokens == plan.keep.sum()
    assert figures.dense_patch_bytes == 3 * 60 * 4 * (3 * 2 * 14 * 14) * 4
    assert figures.video_seconds == 3.0
    assert figures.num_frames == 6
    assert figures.to_dict()["prompt_tokens_per_second"] == pytest.approx(plan.keep.sum() / 3.0)


def test_the_last_tube_of_a_plan_without_an_end_lasts_as_long_as_the_median_one():
    assert ends_seconds(np.array([0.0, 0.5, 1.0, 4.0])).tolist() == [0.5, 1.0, 4.0, 4.5]
    assert ends_seconds(np.array([2.0])).tolist() == [3.0]


@pytest.mark.parametrize("window", [{}, {"end_seconds": 1.5}])
def test_the_last_tube_lasts_to_the_end_of_the_video_or_its_window(tmp_path, window):
    """Frames of a sampler may end long before; a plan that says no end has the median."""
    clip = write_clip(tmp_path / "clip.mp4", moving_square(20, columns=21))  # ten a second
    processor = tiny_pair("qwen2_5_vl")[1]
    for frames in ((4, 6, 8), (4,)):
        chosen = FramePlan.from_indices(np.array(frames), np.arange(20) / 10)
        for how in ({"width_px": 56}, {"processor": processor}):
            plan = framegate.plan_video(clip, "gate", keep_ratio=1, frames=chosen, **window, **how)
            figures = plan_figures(plan)
            end = window.get("end_seconds", 2.0)
            assert figures.video_seconds == pytest.approx(end - 0.4)
            assert list(iter_tubes(plan))[-1].end_seconds == pytest.approx(end)
            assert plan_data(plan, figures)["end_seconds"] == pytest.approx(end)
