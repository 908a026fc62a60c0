"""The collator: labels are the answers, videos stay whole, budgets are drawn and followed."""

import json
import logging

import pytest
import torch
from finetune_data import ANSWERS, SETTINGS, attached, benchmark_folder, checkpoint, collated
from noted import accounts_of

import framegate
from framegate.errors import ConfigError, VideoError
from framegate.tools.training import CompletionCollator, VideoQuestions, draw_keep_ratio

pytestmark = pytest.mark.floor

RATIOS = (0.5, 0.25, 0.1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return benchmark_folder(tmp_path_factory.mktemp("data") / "bench")


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def folder(request, tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("model"), request.param)


@pytest.fixture
def pair(folder):
    return attached(folder)


def answers_of(processor, batch):
    return [processor.tokenizer.decode(row[row != -100]) for row in batch["labels"]]


@pytest.mark.parametrize("side", ["left", "right"])
def test_labels_are_exactly_the_answers(pair, data, side):
    model, processor, _ = pair
    processor.tokenizer.padding_side = side
    batch = collated(processor, data, (0, 1, 2))
    assert answers_of(processor, batch) == [f"{answer}<|im_end|>" for answer in ANSWERS]
    learned = batch["labels"] != -100
    assert torch.equal(batch["labels"][learned], batch["input_ids"][learned])
    assert not (batch["input_ids"][learned] == model.config.video_token_id).any()
    # videos of three sizes in one batch
    assert len({tuple(grid) for grid in batch["video_grid_thw"].tolist()}) == 3
    assert torch.isfinite(model(**batch).loss)


def test_only_the_last_turn_is_learned_and_several_videos_come_along(pair, data):
    _, processor, _ = pair
    videos = [{"type": "video", "path": str(data / f"videos/v{number}.mp4")} for number in (0, 1)]
    turns = [("user", [*videos, {"type": "text", "text": "A?"}]), ("assistant", "one"), ("user", "B?")]
    messages = [{"role": role, "content": content} for role, content in [*turns, ("assistant", "two")]]
    batch = CompletionCollator(processor=processor)([{"id": "x", "messages": messages}])
    assert answers_of(processor, batch) == ["two<|im_end|>"]
    assert len(batch["video_grid_thw"]) == 2
    both = CompletionCollator(processor=processor, learn="all")([{"id": "x", "messages": messages}])
    assert answers_of(processor, both) == ["one<|im_end|>two<|im_end|>"]
    video_later = [messages[2] | {"content": videos}, messages[3]]
    with pytest.raises(ConfigError, match="or a video stands behind"):
        CompletionCollator(processor=processor, learn="all")(
            [{"id": "x", "messages": messages[:2] + video_later}]
        )


def test_questions_about_one_video_join_into_one_conversation(pair, tmp_path):
    _, processor, _ = pair
    data = benchmark_folder(tmp_path / "bench")
    lines = (data / "questions.jsonl").read_text().splitlines()
    more = [
        json.dumps(json.loads(lines[0]) | {"id": f"more{number}", "answer": f"A{number}"})
        for number in range(3)
    ]
    (data / "questions.jsonl").write_text("\n".join([lines[0], *more, *lines[1:]]))
    dataset = VideoQuestions(data, turns=3)
    assert [dataset[index]["id"] for index in range(len(dataset))] == ["q0", "more2", "q1", "q2"]
    batch = CompletionCollator(processor=processor, learn="all")([dataset[0], dataset[1]])
    assert len(batch["video_grid_thw"]) == 2
    assert answers_of(processor, batch) == [
        f"{ANSWERS[0]}<|im_end|>A0<|im_end|>A1<|im_end|>",
        "A2<|im_end|>",
    ]


def test_conversations_that_cannot_be_labelled_are_refused(pair, data):
    _, processor, _ = pair
    sample = VideoQuestions(data)[0]
    with pytest.raises(ConfigError, match="ends with 'user'"):
        CompletionCollator(processor=processor)([sample | {"messages": sample["messages"][:1]}])
    processor.chat_template = processor.chat_template.replace("<|im_end|>", "")
    with pytest.raises(ConfigError, match="learns to stop"):
        CompletionCollator(processor=processor)([sample])


def test_a_long_sample_is_refused_and_never_cut(pair, data):
    _, processor, _ = pair
    whole = collated(processor, data, (0,))
    dense = sum(note.dense_tokens - note.kept_tokens for note in accounts_of(whole))
    length = whole["input_ids"].shape[1] - dense
    with pytest.raises(ConfigError, match=rf"max_length={length - 1}: q0 \({length} tokens\).*never cut"):
        collated(processor, data, (0,), max_length=length - 1)
    # cells that the gate dropped do not count
    again = collated(processor, data, (0,), max_length=length)
    assert dense > 0
    assert torch.equal(again["pixel_values_videos"], whole["pixel_values_videos"])


def test_a_long_sample_is_left_out_with_a_counted_warning(pair, tmp_path, caplog):
    model, processor, _ = pair
    data = benchmark_folder(tmp_path / "bench", num_frames=(8, 40, 8))
    dataset = VideoQuestions(data)
    longest = max(collated(processor, data, (index,))["attention_mask"].sum() for index in (0, 2))
    collator = CompletionCollator(
        processor=processor, max_length=int(longest), on_too_long="skip", dataset=dataset
    )
    with caplog.at_level(logging.WARNING):
        batch = collator([dataset[0], dataset[1]])
    assert answers_of(processor, batch) == ["7KP<|im_end|>"]
    assert "q1" in caplog.text
    assert "1 of 2 samples" in caplog.text
    assert torch.isfinite(model(**batch).loss)
    # a batch of nothing else takes the next sample that fits
    assert answers_of(processor, collator([dataset[1]])) == ["3.2<|im_end|>"]
    assert (collator.num_skipped, collator.num_seen) == (2, 3)
    nothing = CompletionCollator(processor=processor, max_length=3, on_too_long="skip", dataset=dataset)
    with pytest.raises(ConfigError, match="none of the dataset's 3 samples"):
        nothing([dataset[1]])


def test_a_broken_video_is_refused_or_left_out_counted_and_listed(pair, tmp_path, caplog):
    model, processor, _ = pair
    data = benchmark_folder(tmp_path / "bench")
    broken = data / "videos/v1.mp4"
    broken.write_bytes(broken.read_bytes()[:700])
    dataset = VideoQuestions(data)
    with pytest.raises(VideoError, match="v1.mp4"):
        CompletionCollator(processor=processor, dataset=dataset)([dataset[0], dataset[1]])
    collator = CompletionCollator(processor=processor, dataset=dataset, on_error="skip")
    with caplog.at_level(logging.WARNING):
        batch = collator([dataset[0], dataset[1]])
    assert answers_of(processor, batch) == ["7KP<|im_end|>"]
    assert torch.isfinite(model(**batch).loss)
    assert "q1 (VideoError: " in caplog.text
    assert "1 of 2 samples" in caplog.text
    # a batch of nothing else takes the next sample that can be read
    assert answers_of(processor, collator([dataset[1]])) == ["3.2<|im_end|>"]
    assert (collator.num_skipped, collator.num_seen) == (2, 3)
    assert list(collator.skipped) == ["q1"]
    assert "v1.mp4" in collator.skipped["q1"]
    for name in ("v0", "v2"):
        (data / f"videos/{name}.mp4").write_bytes(b"none")
    with pytest.raises(
        ConfigError, match="sample q1: VideoError: .*none of the dataset's 3 samples can stand in"
    ):
        collator([dataset[1]])


def test_a_broken_and_a_long_sample_in_one_batch(pair, tmp_path):
    _, processor, _ = pair
    data = benchmark_folder(tmp_path / "bench", num_frames=(8, 40, 8))
    dataset = VideoQuestions(data)
    longest = int(collated(processor, data, (0,))["attention_mask"].sum())
    (data / "videos/v2.mp4").write_bytes(b"none")
    batch = [dataset[0], dataset[1], dataset[2]]
    both = CompletionCollator(
        processor=processor, max_length=longest, on_too_long="skip", on_error="skip", dataset=dataset
    )
    assert answers_of(processor, both(batch)) == ["7KP<|im_end|>"]
    assert list(both.skipped) == ["q1", "q2"]
    assert both.skipped["q1"].endswith(" tokens")
    strict = CompletionCollator(processor=processor, max_length=longest, on_error="skip", dataset=dataset)
    with pytest.raises(ConfigError, match=r"q1 \(.* tokens\).*never cut"):
        strict(batch)
    with pytest.raises(ConfigError, match="what replaces it: on_too_long='raise'"):
        CompletionCollator(processor=processor, on_too_long="error")


def test_budgets_are_drawn_by_seed_epoch_and_batch():
    draws = [draw_keep_ratio(RATIOS, seed=1, epoch=epoch, sample_ids=["a", "b"]) for epoch in range(60)]
    again = [draw_keep_ratio(RATIOS, seed=1, epoch=epoch, sample_ids=["a", "b"]) for epoch in range(60)]
    other = [draw_keep_ratio(RATIOS, seed=2, epoch=epoch, sample_ids=["a", "b"]) for epoch in range(60)]
    assert draws == again != other
    assert set(draws) == set(RATIOS)
    assert draw_keep_ratio((), seed=1, epoch=0, sample_ids=["a"]) is None


def test_each_batch_is_made_with_its_own_budget(pair, data):
    _, processor, front_end = pair
    before, seen, dataset = processor.video_processor.config, set(), VideoQuestions(data)
    collator = CompletionCollator(processor=processor, keep_ratios=RATIOS, seed=0)
    for epoch in range(8):
        dataset.set_epoch(epoch)
        batch = collator([dataset[0]])
        (note,) = accounts_of(batch)
        ratio = note.shares["keep_ratio"]
        assert note.kept_tokens == round(note.dense_tokens * ratio)
        seen.add(ratio)
    assert len(seen) > 1
    assert processor.video_processor.config is before
    assert front_end.config.keep_ratio == SETTINGS["keep_ratio"]


@torch.no_grad()
def test_the_model_side_follows_the_batch(folder, data):
    """A stage after the tower has the budget of the batch, then again the configuration's."""
    stages = {"scene_merge": {}, "tower_ratio": 1.0, **SETTINGS}
    model, processor, front_end = attached(folder, "gate", **stages)
    batch = collated(processor, data, (0,), keep_ratios=(0.25,))
    model(**batch)
    dense = front_end.report.dense_tokens
    assert front_end.report.kept_tokens == round(dense / 4)
    model(**collated(processor, data, (0,)))
    assert front_end.report.kept_tokens == round(dense / 2)


def test_folders_that_are_no_data_are_refused(data, tmp_path):
    with pytest.raises(ConfigError, match=r"no questions\.jsonl"):
        VideoQuestions(tmp_path)
    with pytest.raises(ConfigError, match="Did you mean 'validation'"):
        VideoQuestions(data, split="validatio")
    assert [len(VideoQuestions(data, split=split)) for split in ("train", "validation", None)] == [2, 1, 3]
    row = {"id": "a", "video": "v0.mp4", "question": "?", "answer": "x"}
    turns = [{"role": "user", "content": [{"type": "video", "path": "none.mp4"}]}]
    (tmp_path / "videos").symlink_to(data / "videos")
    for line, message in (
        ("", "has no question"),
        ("{", "line 1: no JSON"),
        ("[]", "line 1: a question is an object"),
        (json.dumps(row | {"answer": ""}), "line 1: answer is ''"),
        (json.dumps(row | {"meta": [1]}), r"line 1: meta is \[1\]"),
        (json.dumps(row | {"video": None}), "line 1: the question names no video"),
        (json.dumps(row | {"video": "none.mp4"}), r"line 1: there is no video .*none\.mp4"),
        (json.dumps(row | {"video": "../videos/v0.mp4"}), r"line 1: video is .*inside videos/"),
        (json.dumps(row) + "\n" + json.dumps(row), "line 2: the id 'a' is taken"),
        ("{\n" * 3, r"line 1: no JSON.*and 2 more"),
        (json.dumps({"id": "a", "messages": [{"role": "user"}]}), "line 1: messages are no list of turns"),
        (json.dumps({"id": "a", "messages": turns}), r"line 1: there is no video .*none\.mp4"),
    ):
        (tmp_path / "questions.jsonl").write_text(line + "\n")
        with pytest.raises(ConfigError, match=message):
            VideoQuestions(tmp_path)


def test_lines_may_hold_messages(data, tmp_path, pair):
    _, processor, _ = pair
    (tmp_path / "videos").symlink_to(data / "videos")
    user = [{"type": "video", "path": "v0.mp4"}, {"type": "text", "text": "What?"}]
    messages = [{"role": "user", "content": user}, {"role": "assistant", "content": "that"}]
    (tmp_path / "questions.jsonl").write_text(json.dumps({"id": "a", "messages": messages}))
    assert answers_of(processor, collated(processor, tmp_path, (0,))) == ["that<|im_end|>"]
    assert framegate.front_end_of(pair[0]) is pair[2]


def test_a_line_without_its_video_is_left_out_where_that_is_asked_for(tmp_path, caplog):
    data = benchmark_folder(tmp_path / "bench", num_frames=(8, 8, 8))
    (data / "videos" / sorted(path.name for path in (data / "videos").iterdir())[1]).unlink()
    with pytest.raises(ConfigError, match="line 2: there is no video"):
        VideoQuestions(data)
    with caplog.at_level(logging.WARNING):
        dataset = VideoQuestions(data, on_error="skip")
    assert (len(dataset), len(dataset.bad_rows)) == (2, 1)
    assert "line 2: there is no video" in caplog.text
