"""Kimi K2.5: chunks of which the last is short, frames on a black canvas, and which chunks are a video's."""

import numpy as np
import pytest
import torch
import transformers
from family_cases import CLOSE, NAMES, called, family_pair, new_frames
from tiny import moving_frames

import framegate
from framegate.errors import FrameError, PlaceholderError
from framegate.models.attachment.attention import TowerAttention
from framegate.models.cell_plan import CellPlan, whole_plan
from framegate.models.families import families
from framegate.models.mechanism import mechanism_of
from framegate.models.towers.frames import FRAMES_KEY

pytestmark = pytest.mark.skipif("kimi_k25" not in NAMES, reason="came with transformers 5.24")


@pytest.fixture
def pair():
    return family_pair("kimi_k25")


def metadata(count):
    return {
        "fps": 4.0,
        "total_num_frames": count,
        "duration": count / 4,
        "frames_indices": list(range(count)),
    }


def given(processor, frames, *, own=True):
    return called(processor, frames, own=own, metadata=metadata(len(frames)))


def of_both(reader, frames):
    """What the stock video processor and framegate's make of the same frames."""
    stock = transformers.Kimi_K25VideoProcessor(**reader.to_dict())
    video = torch.from_numpy(frames).permute(0, 3, 1, 2)
    call = {"do_sample_frames": False, "return_tensors": "pt"}
    return stock([video], **call), reader([video], **call)


@pytest.mark.parametrize(("size", "max_patches", "side"), [((250, 190), 60, 512), ((60, 700), 4096, 20)])
def test_frames_that_are_too_large_lie_scaled_on_their_canvas_as_in_the_stock_processor(
    pair, size, max_patches, side
):
    reader = pair[1].video_processor
    reader.max_patches, reader.size = max_patches, {"max_height": side, "max_width": side}
    noise = np.random.default_rng(0).integers(0, 256, (5, *size, 3), np.uint8)
    want, got = of_both(reader, noise)
    assert torch.equal(got["video_grid_thw"], want["video_grid_thw"])
    torch.testing.assert_close(got["pixel_values_videos"], want["pixel_values_videos"], rtol=0, atol=1e-6)


def test_frames_that_may_not_be_resized_need_whole_cells(pair):
    with pytest.raises(FrameError, match="100 x 150 px with do_resize=False.*multiple of 28"):
        pair[1].video_processor([moving_frames(4, 100, 150)], do_resize=False, do_sample_frames=False)


@torch.no_grad()
@pytest.mark.parametrize("count", [6, 5, 1])
def test_a_short_chunk_is_encoded_with_the_frames_that_it_has(pair, count):
    model, processor = pair
    inputs = given(processor, new_frames()[:count], own=False)
    want = model(**inputs).logits
    assert inputs["video_grid_thw"][:, 0].tolist() == [4, count % 4][-(-count // 4) * -1 :]
    with framegate.attach(model, processor, threshold=1.0, timestamps=None) as front_end:
        got = model(**given(processor, new_frames()[:count])).logits
        assert front_end.report.kept_tokens == front_end.report.dense_tokens
    torch.testing.assert_close(got, want, **CLOSE)


@torch.no_grad()
def test_both_ways_in_agree_on_a_short_chunk_and_a_canvas(pair):
    model, processor = pair
    frames = moving_frames(6, 100, 150)
    inputs = given(processor, frames, own=False)
    with framegate.attach(model, None, "gate", keep_ratio=0.5) as front_end:
        of_pixels = model(**inputs).logits
        assert "nothing says where one ends" in str(front_end.report.notes)
    with framegate.attach(model, processor, "gate", keep_ratio=0.5) as front_end:
        gated = given(processor, frames)
        torch.testing.assert_close(model(**gated).logits, of_pixels, **CLOSE)
        assert "nothing says" not in str(front_end.report.notes)


@torch.no_grad()
def test_what_fills_a_chunk_up_is_not_remembered_as_frames(pair):
    model, processor = pair
    still = np.repeat(moving_frames(1), 8, 0)
    with framegate.attach(model, processor, "gate", keep_ratio=1.0, timestamps=None) as front_end:
        short, whole = given(processor, still[:6]), given(processor, still)
        wanted = model(**short).logits
        with front_end.remember() as store:
            model(**whole)
            torch.testing.assert_close(model(**short).logits, wanted, **CLOSE)
            assert store.num_tubes == 2  # equal chunks are one


@torch.no_grad()
def test_videos_of_a_prompt_are_told_by_their_frames(pair):
    model, processor = pair
    content = [{"type": "video"}, {"type": "video"}]
    text = [processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False)]
    inputs = called(processor, moving_frames(), moving_frames(seed=1), own=False, text=text)
    tower = mechanism_of(model.model, families()["kimi_k25"])
    assert [shape[0] for shape in tower.shapes(tower.opened(inputs))] == [4]
    told = inputs | {FRAMES_KEY: torch.tensor([8, 8])}
    assert [shape[0] for shape in tower.shapes(tower.opened(told))] == [2, 2]
    with framegate.attach(model, None, "gate", keep_ratio=0.5) as front_end:
        short = model(**told).logits
        assert front_end.report.num_videos == 2
        assert "nothing says" not in str(front_end.report.notes)
    with framegate.attach(model, processor, "gate", keep_ratio=0.5):
        gated = called(processor, moving_frames(), moving_frames(seed=1), text=text)
        torch.testing.assert_close(model(**gated).logits, short, **CLOSE)
    with pytest.raises(PlaceholderError, match=r"4 chunks; the videos have \[2, 1\]"):
        tower.opened(inputs | {FRAMES_KEY: torch.tensor([8, 4])})


@torch.no_grad()
def test_anchors_stand_for_the_same_frame_of_a_still_video(pair):
    model, processor = pair
    inputs = given(processor, np.repeat(moving_frames(1), 8, 0), own=False)
    tower = mechanism_of(model.model, families()["kimi_k25"])
    call = tower.opened(inputs)
    shapes = tuple(tower.shapes(call))
    whole, half = whole_plan(shapes), torch.ones(shapes[0], dtype=torch.bool)
    half[1] = torch.rand(shapes[0][1:]) < 0.5
    keep, area = half.flatten(), half[0].numel()
    cells = CellPlan(
        keep=keep,
        anchor=torch.where(keep, whole.anchor, whole.anchor - area),
        shift_patches=None,
        shapes=shapes,
    )
    pixels = call["pixel_values_videos"]
    want = tower.encode(pixels, call, whole, anchored=False, backend="auto").layers[0]
    own = TowerAttention(tower.tower)
    kept = tower.kept_pixels(call, cells, backend="auto")
    got = tower.encode(kept, call, cells, anchored=True, backend="auto").layers[0]
    apart = tower.encode(kept, call, cells, anchored=False, backend="auto").layers[0]
    own.restore()
    torch.testing.assert_close(got, want[keep], **CLOSE)
    assert not torch.allclose(apart, want[keep], **CLOSE)
