"""generate of LLaVA-OneVision through a front end: the caller's ids in and out, cached and not, beams, second turns."""

import pytest
import torch
import transformers
from noted import anchors_of, plans_of
from packaging.version import Version
from tiny import moving_frames
from tiny_llava import llava_inputs, llava_model, llava_processor, masked_logits, random_keeps, with_keeps
from transformers import DynamicCache

import framegate
from framegate.errors import AttachmentError

pytestmark = pytest.mark.floor

NEW = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False}


@pytest.fixture(scope="module")
def case():
    """An attached model, inputs of two rows with different kept counts, and what greedy decoding must give."""
    model, processor = llava_model(), llava_processor()
    videos = [[moving_frames()], [moving_frames(6, seed=1), moving_frames(4, 84, 112, seed=2)]]
    inputs = llava_inputs(processor, videos, ["What moves?", "And in the second one?"])
    keeps = random_keeps(inputs, 0.4)
    with torch.no_grad():
        tokens = torch.empty(2, 0, dtype=torch.long)
        for _ in range(6):
            logits = masked_logits(model, inputs, keeps, tokens)[:, -1]
            logits[:, model.config.text_config.eos_token_id] = -torch.inf
            tokens = torch.cat([tokens, logits.argmax(-1, keepdim=True)], 1)
    framegate.attach(model, None, "gate")
    return model, inputs, keeps, tokens


def one_row(case):
    """The first row alone: its video, its ids without padding."""
    model, inputs, keeps, tokens = case
    real = inputs["attention_mask"][0].bool()
    single = {name: inputs[name][:1, real] for name in ("input_ids", "attention_mask")}
    return model, with_keeps(single | {"frames": inputs["frames"][:1]}, keeps[:1]), tokens[:1]


def test_greedy_equals_the_masked_model_without_cache(case):
    model, inputs, keeps, tokens = case
    gated = with_keeps(inputs, keeps)
    out = model.generate(**gated, **NEW)
    assert torch.equal(out, torch.cat([inputs["input_ids"], tokens], 1))
    assert torch.equal(model.generate(gated.pop("input_ids"), **gated, **NEW), out)


def test_a_single_row_says_the_same_as_in_the_batch(case):
    model, single, tokens = one_row(case)
    out = model.generate(**single, **NEW)
    assert torch.equal(out, torch.cat([single["input_ids"], tokens], 1))


@pytest.mark.parametrize(
    "options",
    [
        {"cache_implementation": "static", "disable_compile": True},
        {"use_cache": False},
        {"prefill_chunk_size": 16},
    ],
    ids=lambda options: next(iter(options)),
)
def test_caches_and_chunks_change_nothing(case, options):
    model, inputs, keeps, tokens = case
    gated = with_keeps(inputs, keeps)
    if "prefill_chunk_size" in options and Version(transformers.__version__) < Version("5.23"):
        with pytest.raises(AttachmentError, match="prefill_chunk_size"):
            model.generate(**gated, **NEW, **options)
        return
    out = model.generate(**gated, **NEW, **options)
    assert torch.equal(out, torch.cat([inputs["input_ids"], tokens], 1))


def test_beams_of_a_batch_are_those_of_single_rows(case):
    model, inputs, keeps, _ = case
    options = {"num_beams": 3, "return_dict_in_generate": True, "output_scores": True}
    out = model.generate(**with_keeps(inputs, keeps), **NEW, **options)
    assert torch.equal(out.sequences[:, : inputs["input_ids"].shape[1]], inputs["input_ids"])
    model, single, _ = one_row(case)
    alone = model.generate(**single, **NEW, **options)
    assert torch.equal(out.sequences[:1, -6:], alone.sequences[:, -6:])
    torch.testing.assert_close(out.sequences_scores[:1], alone.sequences_scores, rtol=0, atol=1e-4)


@pytest.mark.parametrize("returned", [1, 3])
def test_beams_and_sequences_begin_with_the_callers_ids(case, returned):
    model, inputs, keeps, _ = case
    out = model.generate(**with_keeps(inputs, keeps), **NEW, num_beams=3, num_return_sequences=returned)
    prompt = inputs["input_ids"].repeat_interleave(returned, 0)
    assert torch.equal(out[:, : prompt.shape[1]], prompt)
    assert out.shape == (2 * returned, prompt.shape[1] + 6)


def test_images_beside_videos_are_generated_from(case):
    from PIL import Image

    model = case[0]
    pictures = [[], [Image.fromarray(moving_frames(1, 56, 84)[0])]]
    videos = [[moving_frames()], [moving_frames(6, seed=1)]]
    inputs = llava_inputs(llava_processor(), videos, ["What moves?", "And there?"], pictures)
    keeps, tokens = random_keeps(inputs, 0.4), torch.empty(2, 0, dtype=torch.long)
    with torch.no_grad():
        framegate.front_end_of(model)
        for _ in range(3):
            logits = masked_logits(model, inputs, keeps, tokens)[:, -1]
            logits[:, model.config.text_config.eos_token_id] = -torch.inf
            tokens = torch.cat([tokens, logits.argmax(-1, keepdim=True)], 1)
    out = model.generate(**with_keeps(inputs, keeps), max_new_tokens=3, min_new_tokens=3, do_sample=False)
    assert torch.equal(out, torch.cat([inputs["input_ids"], tokens], 1))


def letters(count, seed=3):
    return torch.randint(65, 90, (1, count), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("whole", [True, False], ids=["whole-conversation", "new-tokens-alone"])
def test_a_second_turn_on_the_cache_equals_recomputing(case, whole):
    model, single, _ = one_row(case)
    first = model.generate(**single, **NEW, return_dict_in_generate=True)
    ids = torch.cat([first.sequences, letters(5)], 1)
    grown = single | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    want = model.generate(**grown, **NEW)
    dropped = int((anchors_of(single) != own_tubes(single)).sum())
    seen = first.past_key_values.get_seq_length() + dropped
    given = ids if whole else ids[:, seen - ids.shape[1] :]
    got = model.generate(
        input_ids=given,
        attention_mask=torch.ones_like(ids),
        past_key_values=first.past_key_values,
        **NEW,
        return_dict_in_generate=True,
    )
    assert torch.equal(got.sequences[:, : given.shape[1]], given)
    assert torch.equal(got.sequences[:, -6:], want[:, -6:])


def own_tubes(single):
    tubes, rows, columns = plans_of(single)[0].keep.shape
    return torch.arange(tubes).repeat_interleave(rows * columns)


def test_a_second_turn_on_the_callers_own_cache(case):
    model, single, _ = one_row(case)
    cache = DynamicCache()
    first = model.generate(**single, **NEW, past_key_values=cache)
    ids = torch.cat([first, letters(5)], 1)
    want = model.generate(**single | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, **NEW)
    assert torch.equal(model.generate(input_ids=ids, past_key_values=cache, **NEW), want)


@pytest.mark.parametrize("with_mask", [True, False], ids=["mask", "no-mask"])
@torch.no_grad()
def test_decoding_by_hand_on_the_cache_equals_no_cache(with_mask):
    model = llava_model()
    inputs = llava_inputs(llava_processor(), [[moving_frames()]], ["What moves?"])
    keeps, extra = random_keeps(inputs, 0.4), torch.tensor([[70, 71, 72]])
    want = masked_logits(model, inputs, keeps, extra)[:, -3:]
    with framegate.attach(model, None, "gate"):
        out = model(**with_keeps(inputs, keeps), use_cache=True)
        mask = torch.cat([inputs["attention_mask"], torch.ones(1, 1, dtype=torch.long)], 1)
        for step in range(3):
            options = {"attention_mask": mask} if with_mask else {}
            out = model(input_ids=extra[:, step : step + 1], past_key_values=out.past_key_values, **options)
            torch.testing.assert_close(out.logits[:, 0], want[:, step], rtol=0, atol=2e-5)
            mask = torch.cat([mask, mask[:, :1]], 1)
