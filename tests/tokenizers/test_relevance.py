"""Scores of frames: likeness to a text, and novelty, with bounded memory and checked encoders."""

import numpy as np
import pytest
import torch
from clips import write_clip
from moving import as_rgb, busy_clip, texture

from framegate.errors import ConfigError, FrameError
from framegate.tokenizers.clip import open_video
from framegate.tokenizers.relevance import (
    BATCH_FRAMES,
    luma_features,
    novelty,
    open_file,
    score_by_novelty,
    score_by_query,
    similarity,
    small_size,
)
from framegate.types import FramePlan, VideoInfo


class Brightness:
    """Frames by mean brightness against the text "bright": a stand-in with known answers."""

    def __init__(self, give=lambda features: features):
        self.give = give
        self.batches = []

    def encode_frames(self, frames):
        self.batches.append(frames.shape)
        assert frames.dtype == np.uint8
        angle = frames.mean(axis=(1, 2, 3)) / 255 * np.pi / 2
        return self.give(np.stack([np.sin(angle), np.cos(angle)], axis=1))

    def encode_text(self, text):
        return self.give(np.array([3.0, 0.0]) if text == "bright" else np.array([0.0, 3.0]))


@pytest.fixture
def ramp(tmp_path):
    """Forty flat frames, each brighter than the one before."""
    levels = np.linspace(20, 235, 40).round().astype(np.uint8)
    return open_video(
        write_clip(tmp_path / "ramp.mp4", np.broadcast_to(levels[:, None, None, None], (40, 32, 48, 3)))
    )


def every(stream):
    return FramePlan.from_indices(np.arange(stream.info.num_frames), stream.info.frame_times_seconds)


def test_similarity_is_the_cosine():
    frames = np.array([[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0], [3.0, 3.0], [0.0, 0.0]])
    np.testing.assert_allclose(similarity(frames, np.array([4.0, 0.0])), [1, 0, -1, np.sqrt(0.5), 0])


def test_novelty_is_one_minus_the_cosine_to_the_frame_before():
    features = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    np.testing.assert_allclose(novelty(features), [1, 0, 1, 2])
    assert novelty(np.zeros((0, 3))).tolist() == []


def test_luma_features_ignore_brightness_contrast_and_noise_on_a_wall():
    picture, other = texture(24, 32, 0), texture(24, 32, 1)
    base = luma_features(picture)
    assert base @ luma_features(np.round(picture * 0.5 + 60).astype(np.uint8)) > 0.99
    assert base @ luma_features(other) < 0.3
    rng = np.random.default_rng(0)
    walls = [np.round(120 + rng.normal(0, 0.7, (24, 32))).astype(np.uint8) for _ in range(2)]
    assert luma_features(walls[0]) @ luma_features(walls[1]) > 0.8
    assert luma_features(walls[0]) @ base < 0.2


def test_a_query_ranks_the_frames_in_batches(ramp):
    encoder = Brightness()
    scored = score_by_query(ramp, every(ramp), encoder=encoder, text="bright")
    assert scored.indices.tolist() == list(range(40))
    assert np.all(np.diff(scored.scores) > 0)
    assert [shape[0] for shape in encoder.batches] == [BATCH_FRAMES, 40 - BATCH_FRAMES]
    assert np.all(np.diff(score_by_query(ramp, every(ramp), encoder=encoder, text="dark").scores) < 0)


@pytest.mark.parametrize(
    "give",
    [
        lambda features: torch.tensor(features, requires_grad=True),
        lambda features: torch.tensor(features, dtype=torch.bfloat16),
        lambda features: features.tolist(),
    ],
    ids=["grad", "bfloat16", "lists"],
)
def test_encoders_may_give_tensors_and_lists(ramp, give):
    scored = score_by_query(ramp, every(ramp), encoder=Brightness(give), text="bright")
    plain = score_by_query(ramp, every(ramp), encoder=Brightness(), text="bright")
    # bfloat16 holds 8 bits
    np.testing.assert_allclose(scored.scores, plain.scores, atol=2**-7)


def test_encoders_that_give_something_else_are_named(ramp):
    with pytest.raises(ConfigError, match=r"Brightness.encode_text gave \[1, 2\]; it must give \[D\]"):
        score_by_query(ramp, every(ramp), encoder=Brightness(lambda f: f[None]), text="bright")
    with pytest.raises(ConfigError, match="encode_text gave .* with NaN or infinity"):
        score_by_query(ramp, every(ramp), encoder=Brightness(lambda f: f * np.nan), text="bright")
    cut = Brightness(lambda f: f[..., :1] if f.ndim == 2 else f)
    with pytest.raises(
        ConfigError, match=r"encode_frames gave \[32, 1\] for 32 frames; it must give \[32, 2\]"
    ):
        score_by_query(ramp, every(ramp), encoder=cut, text="bright")


def test_scores_out_of_shape_or_not_finite():
    with pytest.raises(FrameError, match=r"\(2, 3\) and text features \(2,\)"):
        similarity(np.zeros((2, 3)), np.zeros(2))
    with pytest.raises(FrameError, match="NaN or infinity"):
        similarity(np.full((2, 3), np.nan), np.zeros(3))
    with pytest.raises(FrameError, match="must be"):
        novelty(np.zeros(3))


def test_novelty_of_a_file_peaks_at_the_cut(tmp_path):
    clip = np.concatenate([busy_clip(0, 12, 48, 64, cut=False), busy_clip(9, 12, 48, 64, cut=False)])
    stream = open_video(write_clip(tmp_path / "cut.mp4", as_rgb(clip)))
    scores = score_by_novelty(stream, every(stream)).scores
    assert scores[0] == 1
    assert int(np.argmax(scores[1:])) + 1 == 12
    assert np.sort(scores[1:])[-2] < 0.5 * scores[12]


def info(width, height, source="clip.mp4"):
    return VideoInfo(
        source=source,
        width_px=width,
        height_px=height,
        frame_times_seconds=np.zeros(1),
        duration_seconds=1.0,
        codec="raw",
    )


def test_frames_are_looked_at_small_and_never_enlarged():
    assert small_size(info(1920, 1080), shorter_px=224) == (224, 398)
    assert small_size(info(1080, 1920), longer_px=64) == (64, 36)
    assert small_size(info(100, 50), shorter_px=224) == (50, 100)
    assert small_size(info(4000, 10), longer_px=64) == (1, 64)


def test_frames_in_memory_cannot_be_opened():
    with pytest.raises(
        FrameError, match="'tass' looks at the pictures of a file, but these frames are in memory"
    ):
        open_file(info(8, 8, source=None), (None, None), "tass")
