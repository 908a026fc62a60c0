"""framegate/nano before its training: vocabulary, batches, marks and resuming."""

import numpy as np
import pytest
import torch
from transformers.video_utils import VideoMetadata

from framegate.errors import ConfigError
from framegate.evaluation.generator.script import ALPHABET
from framegate.models.nano.build import nano_model, nano_processor
from framegate.models.nano.vocabulary import TIMES, nano_tokenizer
from framegate.training.nano.batches import Batch, Lesson, make_batch
from framegate.training.nano.reading import NO_LETTER, draw_page
from framegate.training.nano.train import Trainer, exact_matches, forget_after

LESSON = Lesson(columns=3, rows=2, tubes=2, videos=2, questions=3, kinds=("text_at", "when"))


def test_every_time_is_one_token_in_markers_and_in_questions():
    tokenizer = nano_tokenizer()
    for time in (TIMES[0], "3.1", "13.7", TIMES[-1]):
        marker, question = (
            tokenizer.convert_ids_to_tokens(tokenizer(text).input_ids)
            for text in (f"<{time} seconds>", f"What text stands at {time} seconds?")
        )
        assert marker[1] == time
        assert question[1] == time


@pytest.mark.parametrize("text", ["What does the slide say?", "Größe 3.25 <b>", "A3C\n\t7"])
def test_any_text_survives_the_tokenizer(text):
    tokenizer = nano_tokenizer()
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_near_times_begin_near():
    table = nano_model().get_input_embeddings().weight.detach()
    ids = nano_tokenizer().convert_tokens_to_ids(["3.0", "3.1", "5.0"])
    here, near, far = torch.nn.functional.normalize(table[ids], dim=-1)
    assert here @ near > here @ far


def test_a_batch_is_what_the_processor_would_make():
    processor = nano_processor()
    batch = make_batch(LESSON, processor.tokenizer, (1, 2))
    ids, grid = batch.inputs["input_ids"][0], batch.inputs["video_grid_thw"][0]
    first = processor.tokenizer.decode(ids[: (batch.owner[0] >= 0).nonzero()[0]])
    question = first.rsplit("<|vision_end|>", 1)[1].split("<|im_end|>")[0]
    frames, height, width = int(grid[0]) * 2, int(grid[1]) * 16, int(grid[2]) * 16
    fps = batch_fps(first)
    text = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": question}]}],
        add_generation_prompt=True,
    )
    made = processor(
        text=[text],
        videos=[np.zeros((frames, height, width, 3), np.uint8)],
        video_metadata=[VideoMetadata(total_num_frames=frames, fps=fps, frames_indices=list(range(frames)))],
        do_sample_frames=False,
        return_tensors="pt",
    )
    assert made.input_ids[0].tolist() == ids[: made.input_ids.shape[1]].tolist()
    assert torch.equal(made.video_grid_thw[0], grid)
    assert made.pixel_values_videos.shape[1] == batch.inputs["pixel_values_videos"].shape[1]
    pads = made.mm_token_type_ids[0]
    assert torch.equal(pads, batch.inputs["mm_token_type_ids"][0, : len(pads)])


def batch_fps(prompt):
    first, second = (float(part.split(" seconds>")[0]) for part in prompt.split("<") if " seconds>" in part)
    return min((2.0, 4.0, 8.0), key=lambda fps: abs(2 / fps - (second - first)))


def test_labels_are_the_answers_and_their_ends():
    tokenizer = nano_tokenizer()
    batch = make_batch(LESSON, tokenizer, (4, 5))
    labels = batch.inputs["labels"]
    for number in range(len(batch.kinds)):
        answer = tokenizer.decode(labels[batch.owner == number])
        assert answer.endswith("<|im_end|>")
        text = answer.removesuffix("<|im_end|>")
        assert set(text) <= set(ALPHABET) if batch.kinds[number] == "text_at" else text in TIMES
    assert (labels[batch.owner < 0] == -100).all()


def test_a_match_needs_every_token_of_the_answer():
    labels = torch.tensor([[-100, 5, 6, -100, 7]])
    batch = Batch({"labels": labels}, torch.tensor([[-1, 0, 0, -1, 1]]), ("text_at", "when"))
    said = torch.tensor([[5, 9, 0, 7, 0]])
    logits = torch.nn.functional.one_hot(said, 10).float()
    assert exact_matches(logits, batch) == {"text_at": [False], "when": [True]}


def test_a_page_says_which_letter_is_in_which_patch():
    page = draw_page(3)
    changed = (page.frames[0] != page.frames[1]).any()
    assert changed == bool((page.letters[0] != page.letters[1]).any())
    there = page.letters[0] != NO_LETTER
    tiles = page.frames[0].reshape(8, 16, 12, 16, 3).transpose(0, 2, 1, 3, 4).reshape(8, 12, -1)
    # ink and what sets it off contrast more than a background does; an edge reaches into its neighbours
    assert tiles[there].std(-1).min() > np.median(tiles[~there].std(-1))


@pytest.mark.parametrize("lesson", [0, 1])
def test_a_run_that_is_cut_off_goes_on_as_if_it_had_not_been(tmp_path, lesson, monkeypatch):
    monkeypatch.setattr("framegate.training.nano.train.READING_PAGES", 2)
    monkeypatch.setattr("framegate.training.nano.train.CURRICULUM", (LESSON,))

    def trainer():
        made = Trainer(tmp_path, seed=1, peak_rate=1e-3, steps=3)
        made.progress.lesson = lesson
        return made

    whole = trainer()
    losses = [whole.step()["loss"] for _ in range(3)]
    cut = trainer()
    cut.step()
    cut.save()
    again = trainer()
    again.resume()
    assert [again.step()["loss"] for _ in range(2)] == losses[1:]
    with pytest.raises(ConfigError, match="of a run with"):
        Trainer(tmp_path, seed=2, peak_rate=1e-3, steps=3).resume()


def test_the_log_forgets_what_comes_again(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("step,loss\n20,1\n40,2\n60,3\n")
    forget_after(log, 40)
    assert log.read_text() == "step,loss\n20,1\n40,2\n"
