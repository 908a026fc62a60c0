"""SmolVLM beside its stock processor: pixels, sampling, texts, what its files say, and what is refused."""

import numpy as np
import pytest
import torch
import transformers
from clips import gradient_frames, write_clip
from family_cases import CLOSE, called, dense, family_pair
from processor_cases import DENSE, by_pyav, chat, text_of
from tiny import moving_frames
from transformers.video_utils import VideoMetadata

import framegate
from framegate.errors import ConfigError, FrameError, PlaceholderError, UnsupportedModelError
from framegate.models.families import smolvlm
from framegate.models.families.smolvlm import FAMILY
from framegate.models.mechanism import mechanism_of
from framegate.models.tiny import tiny_model, tiny_tokenizer
from framegate.models.towers.grid_geometry import cut_patches
from framegate.models.video_processor import attach_processor
from framegate.models.video_processor.sampling import stock_indices
from framegate.models.video_processor.settings import stock_values, video_settings

pytest.importorskip("num2words")
NAME, PX = "smolvlm", 128


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Six seconds at 10 frames per second, wider than high; half the picture stands still."""
    frames = np.repeat(gradient_frames(1, height_px=150, width_px=250), 60, axis=0)
    for number, frame in enumerate(frames):
        frame[40:60, number : number + 20] = 230
    return str(write_clip(tmp_path_factory.mktemp("clips") / "steady.mp4", frames))


def stock_smolvlm(**settings):
    pytest.importorskip("torchvision")
    edges = {"size": {"longest_edge": 4 * PX}, "max_image_size": {"longest_edge": PX}}
    return transformers.SmolVLMProcessor(
        image_processor=transformers.SmolVLMImageProcessor(**edges),
        tokenizer=tiny_tokenizer(NAME),
        video_processor=transformers.SmolVLMVideoProcessor(**edges, **settings),
        image_seq_len=16,
    )


@torch.no_grad()
def test_a_call_draws_no_random_numbers():
    model, processor = family_pair(NAME)
    with framegate.attach(model, processor, "gate", keep_ratio=0.5):
        inputs, state = called(processor, moving_frames()), torch.get_rng_state()
        model(**inputs)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("size", [(60, 250), (250, 61), (PX, PX)])
def test_without_a_gate_pixels_and_text_are_the_stock_ones(size):
    processor, frames = stock_smolvlm(), moving_frames(8, *size)
    want = called(processor, frames)
    attach_processor(processor, NAME, DENSE.plan)
    got = called(processor, frames)
    # stock's mask of whole frames is what its model makes itself
    assert want.pop("pixel_attention_mask").all()
    assert got.keys() - {"framegate_notes"} == want.keys()
    assert torch.equal(got["input_ids"], want["input_ids"])
    torch.testing.assert_close(got["pixel_values"], want["pixel_values"], rtol=0, atol=1e-5)


def test_without_a_gate_a_file_gives_the_frames_and_text_of_stock(clip):
    processor = stock_smolvlm(fps=1, num_frames=4)
    processor.video_processor.fetch_videos = by_pyav
    want = chat(processor, [{"type": "video", "path": clip}])
    attach_processor(processor, NAME, DENSE.plan)
    got = chat(processor, [{"type": "video", "path": clip}])
    assert text_of(processor, got) == text_of(processor, want)
    assert "four frames from a 0:00:06" in text_of(processor, got)
    torch.testing.assert_close(got["pixel_values"], want["pixel_values"], rtol=0, atol=1.01 * 2 / 255)


@torch.no_grad()
def test_rows_come_with_the_text_of_whole_frames(clip):
    model, processor = family_pair(NAME)
    with framegate.attach(model, processor, "gate", keep_ratio=0.4) as front_end:
        inputs = chat(processor, [{"type": "video", "path": clip}])
        assert inputs["pixel_values"].ndim == 2
        frames = text_of(processor, inputs).count("Frame from 00:0")
        assert (inputs["input_ids"] == model.config.image_token_id).sum() == 16 * frames
        model(**inputs)
        assert front_end.report.dense_tokens == 16 * frames


def test_the_processors_own_rate_in_every_call_is_nobodys_wish(clip):
    """Its chat template hands fps=1 and num_frames=64 on, asked or not."""
    model, processor = family_pair(NAME)
    with framegate.attach(model, processor, "gate", keep_ratio=0.5, fps=3.0):
        counts = [
            text_of(processor, chat(processor, [{"type": "video", "path": clip}], **asked)).count(
                "Frame from"
            )
            for asked in ({}, {"fps": 2.0}, {"fps": 2.0, "num_frames": 5})
        ]
    assert counts == [18, 12, 5]


@pytest.mark.parametrize(
    ("total", "rate_fps"), [(1, 25.0), (31, 25.0), (250, 29.97), (2000, 24.0), (9000, 30.0), (80000, 24.0)]
)
def test_frames_are_sampled_by_its_own_rule(total, rate_fps):
    pytest.importorskip("torchvision")
    stock = transformers.SmolVLMVideoProcessor(fps=1, num_frames=64)
    of_video = VideoMetadata(total_num_frames=total, fps=rate_fps, duration=total / rate_fps)
    found = stock_indices(total, rate_fps, video_settings(NAME, stock_values(NAME)))
    assert found.tolist() == stock.sample_frames(of_video).tolist()


def test_sampling_without_a_rate_is_refused():
    with pytest.raises(FrameError, match="SmolVLM samples by fps"):
        stock_indices(8, None, video_settings(NAME, stock_values(NAME)))


def test_files_may_hold_the_sampling_of_videos_apart():
    apart = {"fps": 2, "max_frames": 32, "video_size": {"longest_edge": 384}}
    values = stock_values(NAME, {"video_sampling": apart, "max_image_size": {"longest_edge": 384}})
    settings = video_settings(NAME, values)
    assert (settings.fps, settings.num_frames, settings.longer_edge_px) == (2, 32, 384)
    # the 2.2B checkpoint's: 27 patches of 14 px, three to a cell
    assert settings.layout.patch_size_px == 14
    assert settings.cells_of((384, 384)) == (9, 9)
    # what was set since wins over what a file said
    assert stock_values(NAME, {"video_sampling": apart, "fps": 1})["fps"] == 1


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"max_image_size": {"longest_edge": 500}}, "max_image_size.*128, 364, 384, 512 px"),
        ({"size": {"height": 512, "width": 384}}, "longest_edge.*512"),
    ],
)
def test_frames_of_another_size_are_refused(found, told):
    with pytest.raises(ConfigError, match=told):
        video_settings(NAME, stock_values(NAME, found))


def test_a_model_cut_another_way_is_refused():
    with pytest.raises(UnsupportedModelError, match="frames of 64 px, patches of 8 px and scale_factor 4"):
        framegate.attach(tiny_model(NAME, vision={"image_size": 64}))


@torch.no_grad()
def test_learned_positions_are_the_models_where_fractions_of_the_side_miss_them(monkeypatch):
    monkeypatch.setitem(smolvlm._CUTS, 200, (8, 4))
    model = tiny_model(NAME, weight_std=0.15, vision={"image_size": 200})
    tower = mechanism_of(model.model, FAMILY)
    frame = torch.randn(1, 3, 200, 200)
    patches = cut_patches(frame, 8).flatten(0, 2)
    assert not torch.equal(tower._positions_of_places(patches), torch.arange(25**2))
    got = tower.states(patches, torch.arange(25**2), [25**2], {})
    torch.testing.assert_close(got, model.model.vision_model(frame).last_hidden_state[0], **CLOSE)


@torch.no_grad()
def test_a_mask_that_hides_parts_of_frames_is_refused_and_one_that_hides_none_is_not():
    model, processor = family_pair(NAME)
    inputs = dense(processor, moving_frames())
    mask = torch.ones(1, 8, PX, PX, dtype=torch.long)
    with framegate.attach(model, None, "gate", keep_ratio=0.5):
        want = model(**inputs).logits
        assert torch.equal(model(**inputs, pixel_attention_mask=mask).logits, want)
        mask[0, 1, 64:] = 0
        with pytest.raises(PlaceholderError, match="pixel_attention_mask hides"):
            model(**inputs, pixel_attention_mask=mask)
