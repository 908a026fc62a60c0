"""generate through a front end: the caller's ids in and out, in every mode."""

import pytest
import torch
import transformers
from gated import masked_logits, random_keeps, with_keeps
from noted import anchors_of, first_video
from packaging.version import Version
from tiny import FAMILIES, moving_frames, stock_inputs, stock_model, stock_processor
from transformers import LogitsProcessor, StoppingCriteria
from transformers.generation.streamers import BaseStreamer

import framegate
from framegate.errors import AttachmentError

pytestmark = pytest.mark.floor

NEW = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False}


@pytest.fixture(params=FAMILIES, scope="module")
def case(request):
    """An attached model, gated inputs of two rows with different kept counts, and what greedy decoding must give."""
    model, processor = stock_model(request.param), stock_processor(request.param)
    videos = [[moving_frames()], [moving_frames(6, seed=1), moving_frames(4, 84, 112, seed=2)]]
    inputs = stock_inputs(processor, videos, ["What moves?", "And in the second one?"])
    keeps = random_keeps(inputs, 0.4)
    with torch.no_grad():
        tokens = torch.empty(2, 0, dtype=torch.long)
        for _ in range(6):
            logits = masked_logits(model, inputs, keeps, tokens)[:, -1]
            logits[:, model.config.text_config.eos_token_id] = -torch.inf
            tokens = torch.cat([tokens, logits.argmax(-1, keepdim=True)], 1)
    framegate.attach(model, None, "gate")
    return model, inputs, with_keeps(inputs, keeps), tokens


def one_row(case):
    """The first row alone."""
    model, inputs, gated, tokens = case
    cells = int(inputs["video_grid_thw"][0].prod()) // 4
    anchor = anchors_of(gated)[:cells]
    grid = inputs["video_grid_thw"][:1]
    own = torch.arange(int(grid[0, 0])).repeat_interleave(cells // int(grid[0, 0]))
    real = inputs["attention_mask"][0].bool()
    single = {name: inputs[name][:1, real] for name in ("input_ids", "attention_mask", "mm_token_type_ids")}
    if "second_per_grid_ts" in inputs:
        single["second_per_grid_ts"] = inputs["second_per_grid_ts"][:1]
    rows = int((anchor == own).sum()) * 4
    single |= {"pixel_values_videos": gated["pixel_values_videos"][:rows], "video_grid_thw": grid}
    return model, single | first_video(gated), tokens[:1]


def test_greedy_equals_the_masked_model_without_cache(case):
    model, inputs, gated, tokens = case
    out = model.generate(**gated, **NEW)
    assert torch.equal(out, torch.cat([inputs["input_ids"], tokens], 1))
    assert torch.equal(
        model.generate(gated["input_ids"], **{k: v for k, v in gated.items() if k != "input_ids"}, **NEW), out
    )


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
    model, inputs, gated, tokens = case
    if "prefill_chunk_size" in options and Version(transformers.__version__) < Version("5.23"):
        # stock transformers loses video features there
        with pytest.raises(AttachmentError, match="prefill_chunk_size"):
            model.generate(**gated, **NEW, **options)
        return
    out = model.generate(**gated, **NEW, **options)
    assert torch.equal(out, torch.cat([inputs["input_ids"], tokens], 1))


@pytest.mark.parametrize("returned", [1, 3])
def test_beams_begin_with_the_callers_ids(case, returned):
    model, inputs, gated, _ = case
    out = model.generate(
        **gated,
        **NEW,
        num_beams=3,
        num_return_sequences=returned,
        return_dict_in_generate=True,
        output_scores=True,
    )
    prompt = inputs["input_ids"].repeat_interleave(returned, 0)
    assert torch.equal(out.sequences[:, : prompt.shape[1]], prompt)
    assert out.sequences.shape == (2 * returned, prompt.shape[1] + 6)
    assert out.sequences_scores.shape == (2 * returned,)


def test_several_sequences_begin_with_the_callers_ids(case):
    model, inputs, gated, _ = case
    torch.manual_seed(0)
    out = model.generate(**gated, max_new_tokens=4, min_new_tokens=4, do_sample=True, num_return_sequences=3)
    prompt = inputs["input_ids"].repeat_interleave(3, 0)
    assert torch.equal(out[:, : prompt.shape[1]], prompt)
    assert len({tuple(row) for row in out[:3, -4:].tolist()}) > 1


class Recorder(StoppingCriteria, LogitsProcessor, BaseStreamer):
    """Keeps the ids it is shown; stops nothing, changes nothing."""

    def __init__(self):
        self.seen = []

    def __call__(self, input_ids, scores, **_):
        self.seen.append(input_ids.clone())
        return scores

    def put(self, value):
        self.seen.append(value.clone())

    def end(self):
        self.seen.append(None)


class StopAt(StoppingCriteria):
    def __init__(self, length):
        self.length = length

    def __call__(self, input_ids, scores, **_):
        return torch.full((len(input_ids),), input_ids.shape[1] >= self.length)


def test_criteria_processors_and_streamers_see_the_callers_ids(case):
    model, inputs, gated, tokens = case
    length = inputs["input_ids"].shape[1]
    recorder = Recorder()
    out = model.generate(**gated, **NEW, logits_processor=[recorder], stopping_criteria=[StopAt(length + 3)])
    assert out.shape[1] == length + 3
    full = torch.cat([inputs["input_ids"], tokens], 1)
    assert [torch.equal(ids, full[:, : length + i]) for i, ids in enumerate(recorder.seen)] == [True] * 3
    model, single, tokens = one_row(case)
    streamer = Recorder()
    model.generate(**single, **NEW, streamer=streamer)
    assert torch.equal(streamer.seen[0], single["input_ids"])
    assert torch.cat(streamer.seen[1:-1]).tolist() == tokens[0].tolist()
    assert streamer.seen[-1] is None


def test_prefix_function_sees_the_callers_ids(case):
    model, inputs, gated, _ = case
    rows = []

    def allowed(row, ids):
        rows.append((row, ids.clone()))
        return [65, 66]

    out = model.generate(**gated, max_new_tokens=2, do_sample=False, prefix_allowed_tokens_fn=allowed)
    assert set(out[:, -2:].flatten().tolist()) <= {65, 66}
    for row, ids in rows:
        assert torch.equal(ids[: inputs["input_ids"].shape[1]], inputs["input_ids"][row])


def test_lengths_are_the_callers(case):
    model, inputs, gated, tokens = case
    length = inputs["input_ids"].shape[1]
    out = model.generate(**gated, max_length=length + 4, min_length=length + 4, do_sample=False)
    assert torch.equal(out[:, length:], tokens[:, :4])
    from transformers import GenerationConfig

    config = GenerationConfig(max_length=length + 2, min_length=length + 2, do_sample=False, pad_token_id=0)
    assert model.generate(**gated, generation_config=config).shape[1] == length + 2
    assert config.max_length == length + 2
    with pytest.raises(AttachmentError, match=f"max_length={length}.*{length} tokens"):
        model.generate(**gated, max_length=length)


@pytest.mark.parametrize("whole", [True, False], ids=["whole-conversation", "new-tokens-alone"])
def test_a_second_turn_on_the_cache_equals_recomputing(case, whole):
    model, single, _ = one_row(case)
    first = model.generate(**single, **NEW, return_dict_in_generate=True)
    later = torch.randint(65, 90, (1, 5), generator=torch.Generator().manual_seed(3))
    ids = torch.cat([first.sequences, later], 1)
    mask = torch.ones_like(ids)
    types = torch.cat([single["mm_token_type_ids"], single["mm_token_type_ids"].new_zeros(1, 11)], 1)
    grown = single | {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": types}
    want = model.generate(**grown, **NEW)
    # the last token of the first turn was never fed to the model: it belongs to the new ones
    given = (
        ids if whole else ids[:, first.past_key_values.get_seq_length() - ids.shape[1] + _dropped(single) :]
    )
    got = model.generate(
        input_ids=given,
        attention_mask=mask,
        past_key_values=first.past_key_values,
        **NEW,
        return_dict_in_generate=True,
    )
    assert torch.equal(got.sequences[:, : given.shape[1]], given)
    assert torch.equal(got.sequences[:, -6:], want[:, -6:])
    third = torch.cat([ids, got.sequences[:, -6:], later], 1)
    if whole:
        again = model.generate(input_ids=third, past_key_values=got.past_key_values, **NEW)
        types = torch.cat([types, types.new_zeros(1, 11)], 1)
        grown |= {"input_ids": third, "attention_mask": torch.ones_like(third), "mm_token_type_ids": types}
        assert torch.equal(again, model.generate(**grown, **NEW))


def _dropped(single):
    """Tokens of the prompt that are not in the cache."""
    return len(single["framegate_plan"]) - len(single["pixel_values_videos"]) // 4


def test_what_cannot_be_translated_is_refused_by_name(case):
    model, _, gated, _ = case
    for name, value in (("prompt_lookup_num_tokens", 2), ("guidance_scale", 1.5)):
        with pytest.raises(AttachmentError, match=name):
            model.generate(**gated, **NEW, **{name: value})
    model, single, _ = one_row(case)
    cache = model.generate(**single, **NEW, return_dict_in_generate=True).past_key_values
    with pytest.raises(AttachmentError, match="past_key_values"):
        model.generate(**single, **NEW, past_key_values=cache)
    cache.crop(8 - cache.get_seq_length())
    with pytest.raises(AttachmentError, match="cropped"):
        model.generate(input_ids=single["input_ids"], past_key_values=cache, **NEW)
