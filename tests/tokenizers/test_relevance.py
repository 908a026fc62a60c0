"""Encoders and scorers: what they must have and give, and the arithmetic of likeness and novelty."""

import numpy as np
import pytest
from moving import texture

from framegate.errors import ConfigError, FrameError
from framegate.tokenizers.relevance import (
    BetweenFrames,
    check_scorer,
    luma_features,
    novelty,
    scored_frames,
    similarity,
)


class Pictures:
    shorter_side_px = 384

    def encode_frames(self, frames):
        return frames.mean(axis=(1, 2))


class PicturesAndText(Pictures):
    def encode_text(self, text):
        return np.ones(3)


class Judge:
    def __init__(self, give=lambda scores: scores):
        self.give = give

    def score_frames(self, frames, text):
        return self.give(frames.mean(axis=(1, 2, 3)))


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


def test_scores_out_of_shape_or_not_finite():
    with pytest.raises(FrameError, match=r"\(2, 3\) and text features \(2,\)"):
        similarity(np.zeros((2, 3)), np.zeros(2))
    with pytest.raises(FrameError, match="NaN or infinity"):
        similarity(np.full((2, 3), np.nan), np.zeros(3))
    with pytest.raises(FrameError, match="must be"):
        novelty(np.zeros(3))


@pytest.mark.parametrize(
    ("scorer", "query", "message"),
    [
        (None, " ", "apex.query is ' '; it must be a question"),
        (object(), "who?", "apex.scorer is a object; it must have encode_frames"),
        (PicturesAndText(), None, "apex.scorer is given, but query is None"),
        (Judge(), None, "apex.scorer is given, but query is None"),
        (Pictures(), "who?", "apex.scorer, a Pictures, has no encode_text to read it with"),
    ],
)
def test_scorer_and_query_go_together(scorer, query, message):
    with pytest.raises(ConfigError, match=message):
        check_scorer(scorer, query, "apex")


def test_what_goes_together_passes():
    for scorer, query in ((None, None), (None, "who?"), (Pictures(), None), (Judge(), "who?")):
        check_scorer(scorer, query, "apex")
    between = BetweenFrames(PicturesAndText())
    check_scorer(between, None, "apex")
    assert between.shorter_side_px == 384
    assert between.encode_frames(np.full((2, 4, 4, 3), 7, np.uint8)).tolist() == [[7, 7, 7]] * 2


@pytest.mark.parametrize(
    ("give", "shape"),
    [
        (lambda scores: scores[1:], r"\[2\]"),
        (lambda scores: scores[:, None], r"\[3, 1\]"),
        (lambda scores: scores * np.nan, r"\[3\] with NaN or infinity"),
        (lambda scores: np.append(scores[:-1], np.inf), r"\[3\] with NaN or infinity"),
    ],
    ids=["short", "column", "nan", "infinite"],
)
def test_scores_of_a_wrong_length_or_not_finite(give, shape):
    with pytest.raises(
        ConfigError, match=rf"Judge.score_frames gave {shape} for 3 frames; it must give \[3\]"
    ):
        scored_frames(Judge(give), np.zeros((3, 4, 4, 3), np.uint8), "who?")
