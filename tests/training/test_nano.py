"""framegate/nano before its training: vocabulary, batches, marks and resuming."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText
from transformers.video_utils import VideoMetadata

import framegate
from framegate.errors import ConfigError
from framegate.models.nano import NANO, shipped_folder
from framegate.models.nano.build import TEXT, VISION, nano_model, nano_processor
from framegate.models.nano.vocabulary import LATER_TIMES, TIMES, nano_tokenizer
from framegate.models.tiny import tiny_model_of
from framegate.tools.evaluation.generator.script import ALPHABET, SIZES_PX, write_script
from framegate.tools.training.nano.batches import LAYOUT, Batch, Lesson, make_batch
from framegate.tools.training.nano.reading import (
    MARKER,
    NO_LETTER,
    ReadingHead,
    draw_page,
    reading_batch,
    reading_loss,
)
from framegate.tools.training.nano.train import (
    CURRICULUM,
    READING_SHARES,
    Trainer,
    answered,
    exact_matches,
    export,
    forget_after,
    train,
)
from framegate.tools.training.nano.weights import (
    FlatPatchEmbed,
    Muon,
    Optimizers,
    least_explained,
    load_grown,
)

LESSON = Lesson(grid=(2, 3), tubes=2, videos=2, questions=3, kinds=("text_at", "when"))


def test_every_time_is_one_token_in_markers_and_in_questions():
    tokenizer = nano_tokenizer()
    for time in (TIMES[0], "3.1", "13.7", TIMES[-1], "32.0", "63.9"):
        marker, question = (
            tokenizer.convert_ids_to_tokens(tokenizer(text).input_ids)
            for text in (f"<{time} seconds>", f"What text stands at {time} seconds?")
        )
        assert marker[1] == time
        assert question[1] == time


def test_a_late_time_is_its_seconds_and_its_tenth_and_no_part_of_a_code():
    tokenizer = nano_tokenizer()
    words = tokenizer.convert_ids_to_tokens(tokenizer("<123.5 seconds>").input_ids)
    assert words[1:3] == ["123.", "5"]
    assert LATER_TIMES[-1] == "600."
    assert tokenizer.convert_ids_to_tokens(tokenizer("When does 123 appear?").input_ids)[1:4] == [*"123"]


def test_a_slip_in_the_name_is_told_and_asks_no_hub():
    with pytest.raises(
        ConfigError, match=r"no model 'framegate/nan0'; the one that ships is 'framegate/nano'"
    ):
        framegate.from_pretrained("framegate/nan0")


def test_new_words_leave_the_old_ones_their_numbers():
    tokenizer, before = nano_tokenizer(), shipped_folder(NANO) / "tokenizer.json"
    old = {token["content"]: token["id"] for token in json.loads(before.read_text())["added_tokens"]}
    assert {word: tokenizer.convert_tokens_to_ids(word) for word in old} == old


def test_a_prompts_logits_are_left_out_and_nothing_else():
    model, batch = nano_model(), make_batch(LESSON, nano_tokenizer(), (1, 2))
    with torch.no_grad():
        logits, right = answered(model, batch)
        whole = model(**batch.inputs)
    assert torch.allclose(torch.nn.functional.cross_entropy(logits, right), whole.loss, atol=1e-5)


def test_a_new_head_learns_alone():
    model = nano_model()
    head = ReadingHead(192, 2)
    batch = reading_batch(1, LAYOUT, (0, 1))
    reading_loss(model.model.visual, head, batch, head_alone=True)[0].backward()
    assert head.letters.weight.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in model.parameters())


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
    # of the three tokens of answers
    logits = torch.nn.functional.one_hot(torch.tensor([5, 9, 7]), 10).float()
    assert exact_matches(logits, batch) == {"text_at": [False], "when": [True]}


def test_a_page_says_which_letter_is_in_which_patch():
    page = draw_page(3)
    changed = (page.frames[0] != page.frames[1]).any()
    assert changed == bool((page.letters[0] != page.letters[1]).any())
    there = page.letters[0] != NO_LETTER
    tiles = page.frames[0].reshape(8, 16, 12, 16, 3).transpose(0, 2, 1, 3, 4).reshape(8, 12, -1)
    # ink and what sets it off contrast more than a background does; an edge reaches into its neighbours
    assert tiles[there].std(-1).min() > np.median(tiles[~there].std(-1))


def test_no_marker_is_covered_or_named_wrongly():
    named = 0
    for seed in range(40):
        page, look = draw_page(seed), write_script(seed, duration_seconds=0.25).look
        for frame, letters in zip(page.frames, page.letters, strict=True):
            rows, columns = np.nonzero((letters >= MARKER) & (letters < NO_LETTER))
            ninths = 3 * (3 * (16 * rows + 8) // 128) + 3 * (16 * columns + 8) // 192
            assert (ninths == letters[rows, columns] - MARKER).all()
            # a disc of radius 10 px: two in one place count as one
            inside = (frame == look.marker_rgb).all(-1).sum()
            assert inside >= 280 * len(set(ninths))
            named += len(rows)
    assert named > 20


@pytest.mark.parametrize("size_px", SIZES_PX.values())
def test_every_letter_of_a_page_is_legible(size_px):
    for seed in range(12):
        page = draw_page(seed, size_px=size_px)
        height, width = page.letters.shape[1:]
        assert (16 * width, 16 * height) == size_px
        assert ((page.letters >= 0) & (page.letters < MARKER)).sum() > 2 * 3


@pytest.mark.parametrize("lesson", [0, 1])
def test_a_run_that_is_cut_off_goes_on_as_if_it_had_not_been(tmp_path, lesson, monkeypatch):
    monkeypatch.setattr("framegate.tools.training.nano.train.READING_PAGES", 2)
    monkeypatch.setattr("framegate.tools.training.nano.train.CURRICULUM", (LESSON,))
    monkeypatch.setattr("framegate.tools.training.nano.train.MIXTURES", ((LESSON,), (LESSON,)))

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


def smaller(**vision):
    return tiny_model_of("qwen3_vl", nano_tokenizer(), seed=5, vision=VISION | vision, text=TEXT, tied=True)


def logits(model):
    batch = make_batch(LESSON, nano_tokenizer(), (1, 2))
    with torch.no_grad():
        return model(**batch.inputs).logits


def test_new_layers_say_nothing_at_first():
    small, large = smaller(depth=3), nano_model(1)
    assert not torch.allclose(logits(large), logits(small), atol=1e-3)
    load_grown(large, small.state_dict(), "there")
    assert torch.allclose(logits(large), logits(small), atol=1e-5)


def test_old_units_of_a_wider_tower_listen_to_old_units_alone():
    small, large = smaller(hidden_size=128, num_heads=4, intermediate_size=384), nano_model(1)
    load_grown(large, small.state_dict(), "there")
    old, new = (model.model.visual.blocks[2] for model in (small, large))
    queries = new.attn.qkv.weight.view(3, 192, 192)
    assert torch.equal(queries[:, :128, :128], old.attn.qkv.weight.view(3, 128, 128))
    assert not queries[:, :128, 128:].any()
    assert not new.mlp.linear_fc2.weight[:, 384:].any()
    old, new = (model.model.visual.merger.linear_fc1.weight for model in (small, large))
    assert torch.equal(new.view(768, 4, 192)[:512, :, :128], old.view(512, 4, 128))
    assert not new.view(768, 4, 192)[:512, :, 128:].any()
    old, new = (model.model.visual.patch_embed.proj.weight for model in (small, large))
    assert torch.equal(new[:128], old)
    with pytest.raises(ConfigError, match="has no place in"):
        load_grown(small, large.state_dict(), "there")


def test_new_filters_are_those_that_the_old_ones_do_not_show():
    waves = nano_model().model.visual.patch_embed.proj.weight.detach()
    there = torch.arange(192) % 3 > 0
    chosen = least_explained(waves, waves[there], 64)
    cosine = torch.nn.functional.cosine_similarity(chosen.flatten(1), waves[~there].flatten(1))
    assert torch.allclose(cosine, torch.ones(64), atol=1e-5)


def test_weights_of_another_model_are_refused():
    model = nano_model()
    weights = model.state_dict()
    with pytest.raises(ConfigError, match="no place for lm.strange"):
        load_grown(model, weights | {"lm.strange": torch.zeros(1)}, "there")
    gone = "model.language_model.layers.3.mlp.up_proj.weight"
    with pytest.raises(ConfigError, match=f"it has no {gone}"):
        load_grown(model, {name: value for name, value in weights.items() if name != gone}, "there")


def test_what_a_run_writes_is_read_by_plain_transformers_and_by_the_next_run(tmp_path, monkeypatch):
    monkeypatch.setattr("framegate.tools.training.nano.train.READING_PAGES", 2)
    monkeypatch.setattr("framegate.tools.training.nano.train.CURRICULUM", (LESSON,))
    monkeypatch.setattr("framegate.tools.training.nano.train.MIXTURES", ((LESSON,), (LESSON,)))
    trainer = Trainer(tmp_path, seed=1, peak_rate=1e-3, steps=2, bf16=True)
    trainer.progress.lesson = 1
    train(trainer)
    export(trainer, tmp_path / "model")
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "model")
    trained = trainer.model.float().state_dict()
    assert model.dtype == torch.float32
    assert all(torch.equal(value, trained[name]) for name, value in model.state_dict().items())
    again = Trainer(tmp_path / "next", seed=1, peak_rate=1e-3, steps=2)
    again.start_from(tmp_path / "model")
    assert torch.allclose(logits(again.model.eval()), logits(model.eval()), atol=1e-4)


def test_reading_is_rehearsed_more_than_answering_until_videos_grow_longer(tmp_path):
    trainer = Trainer(tmp_path, seed=1, peak_rate=1e-3, steps=10)
    shares = []
    for lesson, step in ((0, 0), (1, 0), (len(CURRICULUM), 3), (len(CURRICULUM), 4)):
        trainer.progress.lesson, trainer.progress.step = lesson, step
        shares.append(trainer._reading_share())
    assert shares == [1.0, *READING_SHARES]


def test_the_flat_patch_embedding_is_the_convolution():
    tower = nano_model().model.visual
    rows = torch.randn(6, 1536)
    flat = FlatPatchEmbed(tower.patch_embed)
    assert torch.allclose(flat(rows), tower.patch_embed(rows), atol=1e-4)
    assert flat.state_dict().keys() == tower.patch_embed.state_dict().keys()


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon to compare with")
def test_muon_goes_where_torchs_own_goes():
    torch.manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in ((96, 32), (96, 32), (32, 80))]
    theirs = [torch.nn.Parameter(weight.detach().clone()) for weight in ours]
    begun = [weight.detach().clone() for weight in ours]
    optimizers = (
        Muon(ours, lr=1e-2, weight_decay=0.01),
        torch.optim.Muon(theirs, lr=1e-2, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(4):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for one, other, before in zip(ours, theirs, begun, strict=True):
        # theirs computes in bfloat16, which has three digits
        assert (one - other).norm() < 0.02 * (other - before).norm()


def test_the_tower_learns_from_few_questions(tmp_path, monkeypatch):
    monkeypatch.setattr("framegate.tools.training.nano.train.MIXTURES", ((LESSON,), (LESSON,)))
    monkeypatch.setattr("framegate.tools.training.nano.train.READING_SHARES", (0.0, 0.0, 0.0))
    trainer = Trainer(tmp_path, seed=0, peak_rate=1e-3, steps=100)
    trainer.progress.lesson = len(CURRICULUM)
    tower, language = trainer.model.model.visual, trainer.model.model.language_model
    taught = []
    for _ in range(10):
        before = [
            tower.blocks[0].mlp.linear_fc1.weight.clone(),
            language.layers[0].mlp.up_proj.weight.clone(),
        ]
        trainer.step()
        after = [tower.blocks[0].mlp.linear_fc1.weight, language.layers[0].mlp.up_proj.weight]
        assert not torch.equal(before[1], after[1])
        taught.append(not torch.equal(before[0], after[0]))
    assert 1 <= sum(taught) <= 5
    assert all(weight.requires_grad for weight in tower.parameters())


def test_every_weight_moves_under_one_optimiser():
    model, head = nano_model(), ReadingHead(192, 2)
    taken = [
        id(one)
        for part in Optimizers(model, head, 1e-3).parts
        for group in part.param_groups
        for one in group["params"]
    ]
    assert len(taken) == len(set(taken))
    assert set(taken) == {id(one) for module in (model, head) for one in module.parameters()}


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_device_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="--device cuda: .* cpu works everywhere"):
        Trainer(tmp_path, seed=1, peak_rate=1e-3, steps=2, device="cuda")


@pytest.mark.gpu
def test_a_gpu_learns_what_a_cpu_learns(tmp_path):
    losses = {}
    for device in ("cpu", "cuda"):
        (tmp_path / device).mkdir()
        trainer = Trainer(tmp_path / device, seed=1, peak_rate=1e-3, steps=4, device=device)
        losses[device] = [trainer.step()["loss"] for _ in range(4)]
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=1e-2)
