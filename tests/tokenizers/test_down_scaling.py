"""Down-scaling: the largest grid that a budget pays for, and plans in smaller frames."""

import pytest
from moving import as_rgb, busy_clip

import framegate
from framegate.config import FrontEndConfig
from framegate.errors import BudgetError, ConfigError
from framegate.tokenizers.gate.grid import scaled_px, smaller_grid
from framegate.tokenizers.gate.video import plan_frames_array
from framegate.tools.view.figures import plan_figures


@pytest.mark.parametrize(
    ("cells", "grid"),
    [(144, (9, 16)), (72, (6, 12)), (36, (4, 9)), (14.4, (3, 4)), (7.2, (2, 3)), (1, (1, 1))],
)
def test_grids_keep_their_coarser_side_as_fine_as_they_can(cells, grid):
    assert smaller_grid(9, 16, cells) == grid


def test_a_grid_of_no_cell_is_refused():
    with pytest.raises(BudgetError, match=r"0\.50 tokens per tube"):
        smaller_grid(9, 16, 0.5)


def test_sizes_are_whole_cells_within_the_budget():
    assert scaled_px((252, 448), cell_px=28, num_tubes=10, tokens=720) == (6 * 28, 12 * 28)
    assert scaled_px((252, 448), cell_px=28, num_tubes=10, tokens=1440) == (252, 448)
    for tokens in range(10, 1441, 13):
        height, width = scaled_px((252, 448), cell_px=28, num_tubes=10, tokens=tokens)
        assert 0 < height // 28 * (width // 28) * 10 <= tokens


@pytest.fixture(scope="module")
def frames():
    return as_rgb(busy_clip(3, 19, 48, 64))


@pytest.mark.parametrize("ratio", [0.5, 0.25, 0.1])
def test_a_plan_keeps_every_cell_of_smaller_frames_and_counts_against_full_size(frames, ratio):
    plan = framegate.plan_video(
        frames, "down_scaling", keep_ratio=ratio, width_px=64, cell_px=8, tube_frames=2
    )
    assert plan.keep.all()
    assert plan.num_cells == 480
    assert 0.6 * ratio <= plan.keep_ratio <= ratio
    assert plan.source_frames().shape[1:3] == (plan.height_px, plan.width_px)
    assert any(f"{plan.width_px} x {plan.height_px} px instead of 64 x 48" in note for note in plan.notes)
    assert plan_figures(plan).dense_tokens == 480


def test_a_ratio_of_one_and_a_cap_above_change_nothing(frames):
    for settings in ({"keep_ratio": 1.0}, {"keep_ratio": None, "max_video_tokens": 480}):
        plan = framegate.plan_video(frames, "down_scaling", width_px=64, cell_px=8, tube_frames=2, **settings)
        assert (plan.keep.shape, plan.num_cells, plan.notes) == ((10, 6, 8), 480, ())


def test_it_goes_alone_and_needs_a_budget(frames):
    with pytest.raises(ConfigError, match="down_scaling goes by a budget"):
        framegate.load_config("down_scaling", keep_ratio=None)
    with pytest.raises(ConfigError, match="down_scaling spends the whole budget"):
        framegate.load_config("gate", down_scaling=True, keep_ratio=0.5)
    with pytest.raises(ConfigError, match="as they are"):
        plan_frames_array(frames, config=framegate.load_config("down_scaling").plan, cell_px=8, tube_frames=2)
    assert not FrontEndConfig().scales_frames
