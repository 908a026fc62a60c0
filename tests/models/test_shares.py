"""Budgets of one call: overridden for a while, by a keyword, by a message; and settings that cannot be assigned."""

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from processor_cases import chat
from tiny import stock_model, stock_processor

import framegate
from framegate.errors import BudgetError, ConfigError

FAMILY = "qwen2_5_vl"
SETTINGS = {"keep_ratio": 0.5, "gate": {"refill": True}, "select": {}, "fps": 4}


@pytest.fixture
def pair(clip):
    model, processor = stock_model(FAMILY), stock_processor(FAMILY)
    with framegate.attach(model, processor, "gate", **SETTINGS) as front_end:
        yield model, processor, front_end, {"type": "video", "path": str(clip)}


def shares(front_end):
    report = front_end.report
    return report.encoded_cells / report.dense_tokens, report.kept_tokens / report.dense_tokens


@torch.no_grad()
def test_override_holds_for_model_and_processor_and_only_inside(pair):
    model, processor, front_end, video = pair
    with front_end.override(keep_ratio=0.1, tower_ratio=0.25):
        inputs = chat(processor, [video])
        model(**inputs)
        assert shares(front_end) == pytest.approx((0.25, 0.1), abs=0.02)
    model(**chat(processor, [video]))
    assert shares(front_end) == pytest.approx((0.5, 0.5), abs=0.02)
    assert front_end.config.keep_ratio == 0.5
    # what was prepared inside is still served as it was prepared
    model(**inputs)
    assert shares(front_end) == pytest.approx((0.25, 0.1), abs=0.02)
    assert any("shares of this call" in note for note in front_end.report.notes)
    assert not any("another configuration" in note for note in front_end.report.notes)


@torch.no_grad()
def test_a_message_sets_shares_for_its_video(pair):
    model, processor, front_end, video = pair
    model(**chat(processor, [video | {"keep_ratio": 0.1}]))
    assert shares(front_end) == pytest.approx((0.1, 0.1), abs=0.02)
    model(**chat(processor, [video | {"keep_ratio": 0.1}, video]))
    assert front_end.report.kept_tokens == pytest.approx(0.3 * front_end.report.dense_tokens, abs=3)
    assert any("shares of their own" in note for note in front_end.report.notes)


@torch.no_grad()
def test_a_keyword_of_the_processor_sets_shares_for_a_call(pair):
    model, processor, front_end, video = pair
    messages = [{"role": "user", "content": [video, {"type": "text", "text": "What moves?"}]}]
    inputs = processor.apply_chat_template(
        messages,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        add_generation_prompt=True,
        processor_kwargs={"videos_kwargs": {"keep_ratio": 0.2, "tower_ratio": 0.4}},
    )
    model(**inputs)
    assert shares(front_end) == pytest.approx((0.4, 0.2), abs=0.02)


def test_shares_that_cannot_be_are_refused(pair):
    _, processor, front_end, video = pair
    with pytest.raises(ConfigError, match="takes keep_ratio, tower_ratio, max_video_tokens, not 'threshold'"):
        front_end.override(threshold=3.0).__enter__()
    with pytest.raises(BudgetError, match="keep_ratio is 2"):
        front_end.override(keep_ratio=2.0).__enter__()
    with pytest.raises(BudgetError, match="tower_ratio is 0"):
        chat(processor, [video | {"tower_ratio": 0.0}])


def test_a_setting_that_nothing_reads_cannot_be_assigned(pair):
    front_end = pair[2]
    with pytest.raises(AttributeError, match="would change nothing.*override"):
        front_end.keep_ratio = 0.1


@torch.no_grad()
def test_threads_override_apart_and_copies_start_plain(pair):
    model, processor, front_end, video = pair

    def kept(ratio):
        with front_end.override(keep_ratio=ratio):
            model(**chat(processor, [video]))
            return front_end.report.kept_tokens / front_end.report.dense_tokens

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(kept, [0.1, 0.4] * 2))
    assert found == pytest.approx([0.1, 0.4] * 2, abs=0.02)
    with front_end.override(keep_ratio=0.1):
        other = copy.deepcopy(model)
    assert framegate.front_end_of(other).config.keep_ratio == 0.5


@torch.no_grad()
def test_a_cap_above_what_the_gate_found_changes_nothing(clip):
    model, processor = stock_model(FAMILY), stock_processor(FAMILY)

    def tokens(**settings):
        with framegate.attach(model, processor, "framegate", fps=4, **settings) as front_end:
            model(**chat(processor, [{"type": "video", "path": str(clip)}]))
        return front_end.report.encoded_cells, front_end.report.kept_tokens

    encoded, read = tokens()
    assert encoded == read
    assert tokens(max_video_tokens=10 * encoded) == (encoded, encoded)
    assert tokens(max_video_tokens=encoded - 5) == (encoded - 5, encoded - 5)


def test_what_sends_everything_through_the_tower_refuses_a_share_of_it():
    with pytest.raises(
        BudgetError, match="'reuse' of preset 'grt_released' sends every cell through the tower"
    ):
        framegate.load_config("grt_released", tower_ratio=0.25)
    with pytest.raises(ConfigError, match=r"so it cannot meet keep_ratio=0.25; use"):
        framegate.load_config("date", keep_ratio=0.25)


def test_a_plan_says_that_tokens_are_selected_only_where_they_are(clip):
    whole = framegate.plan_video(clip, "framegate", tower_ratio=0.25)
    assert not any("select" in note for note in whole.notes)
    less = framegate.plan_video(clip, "framegate", tower_ratio=0.25, keep_ratio=0.1)
    assert any("select reduces further" in note for note in less.notes)
