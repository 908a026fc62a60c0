"""Families that hear: sound beside and within videos, and the seconds by which it is laid between tubes."""

import numpy as np
import pytest
import torch
from family_cases import CLOSE, NAMES, NEW, called, family_pair
from tiny import moving_frames

import framegate
from framegate.errors import AttachmentError, PlaceholderError
from framegate.models.families import families

THINKERS = [name for name in NAMES if name.endswith("_thinker")]


@pytest.fixture
def pair(name):
    return family_pair(name)


def heard(processor, *, within):
    """Inputs of a video with its sound, laid between its tubes or beside it."""
    sound = np.sin(np.arange(24000) / 50).astype(np.float32)
    marks = "" if within else processor.audio_bos_token + processor.audio_token + processor.audio_eos_token
    out = processor(
        text=["<|vision_start|><|video_pad|><|vision_end|>" + marks],
        videos=[torch.from_numpy(moving_frames()).permute(0, 3, 1, 2)],
        video_metadata=[{"fps": 4.0, "total_num_frames": 8}],
        audio=[sound],
        audio_from_video_indices=[0] if within else None,
        load_audio_from_video=within,
        do_sample_frames=False,
        return_tensors="pt",
    )
    inputs = {name: value for name, value in out.items() if torch.is_tensor(value)}
    return inputs | ({"use_audio_in_video": True} if within else {})


@torch.no_grad()
@pytest.mark.parametrize("within", [True, False])
@pytest.mark.parametrize("name", THINKERS)
def test_sound_stays_and_is_read_where_it_was(pair, within):
    model, processor = pair
    inputs = heard(processor, within=within)
    want = model(**inputs).logits
    with framegate.attach(model, processor, "gate", keep_ratio=1.0):
        assert torch.equal(model(**heard(processor, within=within)).logits, want)
    with framegate.attach(model, None, "gate", keep_ratio=0.5):
        of_pixels = model(**inputs).logits
    with framegate.attach(model, processor, "gate", keep_ratio=0.5) as front_end:
        gated = heard(processor, within=within)
        torch.testing.assert_close(model(**gated).logits, of_pixels, **CLOSE)
        assert front_end.report.kept_tokens == front_end.report.dense_tokens // 2
        out = model.generate(**gated, **NEW)
        assert torch.equal(model.generate(**gated, **NEW, use_cache=False), out)


@pytest.mark.parametrize("name", THINKERS[:1])
def test_the_sound_of_a_whole_file_does_not_go_with_a_window_of_it(pair):
    model, processor = pair
    video = {"type": "video", "video": "talk.mp4", "video_start": 1.0, "video_end": 2.0}
    chat = [{"role": "user", "content": [video]}]
    with (
        framegate.attach(model, processor, "gate", keep_ratio=0.5),
        pytest.raises(AttachmentError, match="sound of all of talk.mp4.*audio_from_video_indices"),
    ):
        processor.apply_chat_template(chat, tokenize=True, return_dict=True, load_audio_from_video=True)


@pytest.mark.parametrize("name", THINKERS)
def test_seconds_of_a_tube_are_those_of_its_frames_and_stocks_guess_where_nobody_knows(name, pair):
    model, processor = pair
    with framegate.attach(model, processor, "gate", keep_ratio=0.5, timestamps=None) as front_end:
        seconds = called(processor, moving_frames())["video_second_per_grid"]
        assert seconds.tolist() == [0.5]
        video = torch.from_numpy(moving_frames()).permute(0, 3, 1, 2)
        text = ["<|vision_start|><|video_pad|><|vision_end|>"]
        out = processor(text=text, videos=[video], do_sample_frames=False, return_tensors="pt")
        assumed_fps = families()[name].recipe.assumed_fps
        assert out["video_second_per_grid"].tolist() == [2 / assumed_fps]
        model(**{name: value for name, value in out.items() if torch.is_tensor(value)})
        assert f"{assumed_fps:.0f} frames per second assumed" in str(front_end.report.notes)


@torch.no_grad()
@pytest.mark.parametrize("name", THINKERS)
def test_a_thinker_without_seconds_is_told_which(pair):
    model, processor = pair
    inputs = called(processor, moving_frames())
    del inputs["video_second_per_grid"]
    framegate.attach(model, None, "gate", keep_ratio=0.5)
    with pytest.raises(PlaceholderError, match="without video_second_per_grid"):
        model(**{name: value for name, value in inputs.items() if not name.startswith("framegate")})
