"""What is shown: content from outside the frame is not made up, old pictures are let go without harm."""

import numpy as np
import pytest
from moving import panned_clip

from framegate.tokenizers.gate import shown as shown_module
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.shown import ShownContent

GRID = CellGrid.of(56, 84, cell_px=28, tube_frames=1)
EVERY, NONE = np.ones((2, 3), bool), np.zeros((2, 3), bool)


def shift(x, y=0.0, tube_frames=1):
    return np.tile(np.float32([[1, 0, x], [0, 1, y]]), (tube_frames, 1, 1))


@pytest.mark.parametrize("step", [4.0, 1.0])
def test_border_cells_become_invalid_once_more_than_a_sliver_entered(step):
    content = ShownContent(GRID, ring_tubes=8)
    content.commit(panned_clip([(0, 0)], 56, 84), EVERY, None, None)
    entered = 0.0
    while entered < 16:
        prediction = content.predict(shift(step))
        entered += step
        assert prediction.outside[:, :2].sum() == 0
        # 4-px blocks: two of a cell's seven columns have entered once 6 px have
        assert prediction.outside[:, 2].all() == (entered > 6)
        content.commit(prediction.picture.copy(), NONE, prediction, EVERY)


def test_an_encoded_cell_is_valid_again():
    content = ShownContent(GRID, ring_tubes=8)
    content.commit(panned_clip([(0, 0)], 56, 84), EVERY, None, None)
    prediction = content.predict(shift(12.0))
    assert prediction.outside[:, 2].all()
    edge = np.array([[False, False, True]] * 2)
    content.commit(panned_clip([(12, 0)], 56, 84), edge, prediction, ~edge)
    assert not content.predict(shift(1.0)).outside.any()


def test_whole_pixel_motion_is_drawn_exactly():
    scene = panned_clip([(0, 0), (3, 2)], 56, 84)
    content = ShownContent(GRID, ring_tubes=8)
    content.commit(scene[:1], EVERY, None, None)
    drawn = content.predict(shift(3.0, 2.0)).picture
    np.testing.assert_array_equal(drawn[0, :-2, :-3], scene[1, :-2, :-3])


def test_rgb_follows_luma():
    scene = panned_clip([(0, 0)], 56, 84)
    grey, colour = ShownContent(GRID, ring_tubes=4), ShownContent(GRID, ring_tubes=4, channels=3)
    grey.commit(scene, EVERY, None, None)
    colour.commit(scene[..., None].repeat(3, -1), EVERY, None, None)
    for step in (0.3, 1.7, -0.6, 2.2, 0.1, -1.9):
        motion = np.float32([[[1.001, 0.01, step], [-0.01, 0.998, -step / 2]]])
        first, second = grey.predict(motion), colour.predict(motion)
        np.testing.assert_array_equal(first.picture[..., None].repeat(3, -1), second.picture)
        grey.commit(scene, NONE, first, EVERY)
        colour.commit(scene[..., None].repeat(3, -1), NONE, second, EVERY)


def test_content_older_than_the_ring_is_shown_on():
    content = ShownContent(GRID, ring_tubes=4)
    scene = panned_clip([(0, 0)], 56, 84)
    content.commit(scene, EVERY, None, None)
    for _ in range(11):
        content.commit(scene, NONE, None, None)
    drawn = content.predict(shift(5.0)).picture
    np.testing.assert_array_equal(drawn[0, :, :-5], scene[0, :, 5:])


def test_planes_of_a_tube_move_on_their_own():
    grid = CellGrid.of(56, 84, cell_px=28, tube_frames=2)
    scene = panned_clip([(0, 0), (10, 4)], 56, 84)
    content = ShownContent(grid, ring_tubes=5)
    content.commit(scene, EVERY, None, None)
    motion = np.concatenate([shift(2.0), shift(0.0, 6.0)])
    drawn = content.predict(motion).picture
    np.testing.assert_array_equal(drawn[0, :, :-2], scene[0, :, 2:])
    np.testing.assert_array_equal(drawn[1, :-6], scene[1, 6:])


def test_the_ring_stays_within_opencvs_limits_for_large_frames():
    small = CellGrid.of(336, 448, cell_px=28, tube_frames=2)
    large = CellGrid.of(2156, 3836, cell_px=28, tube_frames=2)
    assert shown_module.ring_tubes_for(small) == shown_module.MAX_RING_TUBES
    assert shown_module.ring_tubes_for(large) == shown_module.MIN_RING_TUBES
    content = ShownContent(large, ring_tubes=shown_module.MIN_RING_TUBES)
    assert max(content._mosaic.shape) < 2**15
