"""Scores of a file's frames: one pass in batches, checked scorers, and what is remembered of a video."""

import numpy as np
import pytest
import torch
from clips import write_clip
from moving import as_rgb, busy_clip

from framegate.errors import ConfigError, FrameError
from framegate.tokenizers.clip import open_video
from framegate.tokenizers.relevance import BetweenFrames, novelty
from framegate.tokenizers.scoring import (
    BATCH_FRAMES,
    ScoredOnce,
    open_file,
    score_frames,
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


def test_a_query_ranks_the_frames_in_batches(ramp):
    encoder = Brightness()
    scored = score_frames(ramp, every(ramp), scorer=encoder, query="bright")
    assert scored.indices.tolist() == list(range(40))
    assert np.all(np.diff(scored.scores) > 0)
    assert [shape[0] for shape in encoder.batches] == [BATCH_FRAMES, 40 - BATCH_FRAMES]
    assert np.all(np.diff(score_frames(ramp, every(ramp), scorer=encoder, query="dark").scores) < 0)


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
    scored = score_frames(ramp, every(ramp), scorer=Brightness(give), query="bright")
    plain = score_frames(ramp, every(ramp), scorer=Brightness(), query="bright")
    # bfloat16 holds 8 bits
    np.testing.assert_allclose(scored.scores, plain.scores, atol=2**-7)


def test_encoders_that_give_something_else_are_named(ramp):
    with pytest.raises(ConfigError, match=r"Brightness.encode_text gave \[1, 2\]; it must give \[D\]"):
        score_frames(ramp, every(ramp), scorer=Brightness(lambda f: f[None]), query="bright")
    with pytest.raises(ConfigError, match="encode_text gave .* with NaN or infinity"):
        score_frames(ramp, every(ramp), scorer=Brightness(lambda f: f * np.nan), query="bright")
    cut = Brightness(lambda f: f[..., :1] if f.ndim == 2 else f)
    with pytest.raises(ConfigError, match="encode_frames gave 1 features for each frame and encode_text 2"):
        score_frames(ramp, every(ramp), scorer=cut, query="bright")
    short = Brightness(lambda f: f[1:] if f.ndim == 2 else f)
    with pytest.raises(ConfigError, match=r"gave \[31, 2\] for 32 frames; it must give \[32, D\]"):
        score_frames(ramp, every(ramp), scorer=short, query="bright")
    uneven = Brightness(lambda f: f[:, : 1 + len(f) // 32] if f.ndim == 2 else f)
    with pytest.raises(ConfigError, match="gave 1 and 2 features for frames of one video"):
        score_frames(ramp, every(ramp), scorer=uneven, query="bright")


class Level:
    """Scores without features: how near the frame's brightness is to the level that the text names."""

    def __init__(self):
        self.seen = 0

    def score_frames(self, frames, text):
        self.seen += len(frames)
        return -np.abs(frames.mean(axis=(1, 2, 3)) - float(text))


def test_a_scorer_without_features_is_given_those_of_small_pictures(ramp):
    scored = score_frames(ramp, every(ramp), scorer=Level(), query="235")
    assert np.all(np.diff(scored.scores) > 0)
    # flat frames are alike
    unit = scored.features / np.linalg.norm(scored.features, axis=1, keepdims=True)
    assert (unit @ unit.T).min() > 0.99


def test_frames_are_compared_with_each_other_where_there_is_no_text(ramp):
    scored = score_frames(ramp, every(ramp), scorer=BetweenFrames(Brightness()))
    np.testing.assert_allclose(scored.scores, novelty(scored.features))
    assert scored.scores[0] == 1
    assert scored.scores[1:].max() < 0.01


def test_a_scorer_that_remembers_looks_at_a_frame_once(ramp, monkeypatch):
    encoder = Brightness()
    once = ScoredOnce(encoder)
    some = FramePlan.from_indices(np.arange(0, 40, 2), ramp.info.frame_times_seconds)
    first = score_frames(ramp, some, scorer=once, query="bright")
    assert [shape[0] for shape in encoder.batches] == [20]
    whole = score_frames(ramp, every(ramp), scorer=once, query="dark")
    assert [shape[0] for shape in encoder.batches] == [20, 20]
    np.testing.assert_array_equal(
        whole.scores, score_frames(ramp, every(ramp), scorer=encoder, query="dark").scores
    )
    monkeypatch.setattr(ramp, "frames", None)
    again = score_frames(ramp, some, scorer=once, query="bright")
    np.testing.assert_array_equal(again.scores, first.scores)


def test_scores_are_remembered_for_their_question(ramp):
    judge = Level()
    once = ScoredOnce(judge)
    for level in ("20", "235", "20"):
        scored = score_frames(ramp, every(ramp), scorer=once, query=level)
        assert int(np.argmax(scored.scores)) == (0 if level == "20" else 39)
    assert judge.seen == 80


def test_only_the_last_videos_are_remembered(ramp):
    judge = Level()
    once = ScoredOnce(judge, max_videos=1)
    for level in ("20", "235", "20"):
        score_frames(ramp, every(ramp), scorer=once, query=level)
    assert judge.seen == 120
    with pytest.raises(ConfigError, match="max_videos is 0"):
        ScoredOnce(judge, max_videos=0)


def test_a_file_that_was_written_over_is_another_video(tmp_path):
    path, once = tmp_path / "flat.mp4", ScoredOnce(Brightness())
    scores = []
    for level in (40, 200):
        write_clip(path, np.full((4 + level // 100, 32, 48, 3), level, np.uint8))
        with open_video(path) as stream:
            scores.append(score_frames(stream, every(stream), scorer=once, query="bright").scores[0])
    assert scores[1] > scores[0] + 0.3


def test_progress_is_drawn_where_it_is_asked_for(ramp, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    score_frames(ramp, every(ramp))
    assert capsys.readouterr().err == ""
    score_frames(ramp, every(ramp), show_progress=True)
    assert "40/40" in capsys.readouterr().err


def test_novelty_of_a_file_peaks_at_the_cut(tmp_path):
    clip = np.concatenate([busy_clip(0, 12, 48, 64, cut=False), busy_clip(9, 12, 48, 64, cut=False)])
    stream = open_video(write_clip(tmp_path / "cut.mp4", as_rgb(clip)))
    scores = score_frames(stream, every(stream)).scores
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
