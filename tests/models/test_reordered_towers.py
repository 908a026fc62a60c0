"""Families whose pixels come in an order of their own: what their stock video processors make, and the way back."""

import numpy as np
import pytest
import torch
import transformers
from family_cases import NAMES, called, family_pair
from tiny import moving_frames
from transformers.video_utils import VideoMetadata

import framegate
from framegate.errors import FrameError, PlaceholderError
from framegate.models.families import families
from framegate.models.mechanism import mechanism_of
from framegate.models.towers.reordered import by_cells, by_rows, channels_first, channels_last
from framegate.models.video_processor.sampling import stock_indices

# height and width that the family's size rule leaves as they are, Kimi's on a black canvas of whole cells
SIZES = {"gemma4": (336, 480), "kimi_k25": (100, 150), "minicpmv4_7": (448, 448), "molmo2": (126, 126)}


@pytest.fixture(params=[name for name in SIZES if name in NAMES])
def name(request):
    return request.param


def both(name, *videos):
    """What the stock video processor and framegate's make of the same frames."""
    reader = family_pair(name)[1].video_processor
    stock = getattr(transformers, reader.video_processor_type)(**reader.to_dict())
    frames = [torch.from_numpy(video).permute(0, 3, 1, 2) for video in videos]
    call = {"do_sample_frames": False, "return_tensors": "pt"}
    return stock(frames, **call), reader(frames, **call)


def test_frames_are_laid_out_as_the_stock_processor_does(name):
    size = SIZES[name]
    want, got = both(name, moving_frames(3, *size), moving_frames(5, *size, seed=1))
    assert got.keys() == want.keys()
    for key in want:
        values, expected = torch.as_tensor(got[key]), torch.as_tensor(np.asarray(want[key]))
        torch.testing.assert_close(values.double(), expected.double(), rtol=0, atol=1e-6)


def test_opened_and_closed_a_call_is_the_same_to_the_bit(name):
    model, processor = family_pair(name)
    inputs = called(processor, moving_frames(), moving_frames(seed=1), own=False)
    tower = mechanism_of(model.model, families()[name])
    opened = tower.opened(inputs)
    assert opened["pixel_values_videos"].shape == (tower.num_patches(opened), tower.layout.patch_dim)
    assert [shape[0] for shape in tower.shapes(opened)] == [8 // tower.tube_frames] * 2
    closed = tower.closed(opened)
    assert closed.keys() == inputs.keys()
    assert all(torch.equal(closed[key], inputs[key]) for key in inputs)


@pytest.mark.parametrize(("count", "fps"), [(9, 4.0), (300, 25.0), (5000, 24.0)])
def test_frames_are_sampled_as_the_stock_processor_does(name, count, fps):
    reader = family_pair(name)[1].video_processor
    stock = getattr(transformers, reader.video_processor_type)(**reader.to_dict())
    num_frames = 6 if name == "gemma4" else None
    metadata = VideoMetadata(total_num_frames=count, fps=fps, duration=count / fps)
    want = stock.sample_frames(metadata=metadata, num_frames=num_frames)
    given = {} if num_frames is None else {"num_frames": num_frames}
    settings = reader.request(reader.config, given).settings
    assert stock_indices(count, fps, settings).tolist() == np.asarray(want).tolist()


@pytest.mark.skipif("minicpmv4_7" not in NAMES, reason="came later")
def test_minicpm_refuses_slices_on_both_ways_in():
    model, processor = family_pair("minicpmv4_7")
    with (
        framegate.attach(model, processor, "gate", keep_ratio=0.5),
        pytest.raises(FrameError, match="slice_mode = False"),
    ):
        called(processor, moving_frames(8, 560, 560))
    inputs = called(processor, moving_frames(), own=False)
    config, ids = model.config, inputs["input_ids"].clone()
    second = (ids == config.image_start_id).nonzero()[1].tolist()
    ids[tuple(second)] = config.slice_start_id
    with (
        framegate.attach(model, None, "gate", keep_ratio=0.5),
        pytest.raises(PlaceholderError, match="Frames in slices"),
    ):
        model(**inputs | {"input_ids": ids})


def test_orders_undo_one_another():
    grids, rows = torch.tensor([[2, 4, 6], [1, 2, 2]]), torch.randn(52, 12)
    assert torch.equal(by_rows(by_cells(rows, grids, 2), grids, 2), rows)
    # the second patch of the second row belongs to the first cell
    assert by_cells(torch.arange(52), grids, 2)[:4].tolist() == [0, 1, 6, 7]
    assert torch.equal(channels_first(channels_last(rows)), rows)
