"""Where callers do things differently: their own caches and masks, packed rows, copies, compilers, lost keys."""

import copy
import io

import pytest
import torch
from gated import random_keeps, token_mask, with_keeps
from tiny import FAMILIES, moving_frames, stock_inputs, stock_model, stock_processor
from transformers import DynamicCache

import framegate
from framegate.errors import AttachmentError, ConfigError, FrameError, PlaceholderError, PlanError

NEW = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


def inputs_of(family, num_frames=8, question="What moves?"):
    return stock_inputs(stock_processor(family), [[moving_frames(num_frames)]], [question])


def gated_of(family):
    inputs = inputs_of(family)
    return with_keeps(inputs, random_keeps(inputs, 0.4))


def longer(gated, new):
    """The same call with more text at the end."""
    zeros = torch.zeros_like(new)
    added = {"input_ids": new, "attention_mask": zeros + 1, "mm_token_type_ids": zeros}
    return gated | {name: torch.cat([gated[name], tail.to(gated[name])], 1) for name, tail in added.items()}


def letters(count, seed=3):
    return torch.randint(65, 90, (1, count), generator=torch.Generator().manual_seed(seed))


def test_a_second_turn_on_the_callers_own_cache(family):
    model, gated, cache = stock_model(family), gated_of(family), DynamicCache()
    framegate.attach(model, None, "gate")
    first = model.generate(**gated, **NEW, past_key_values=cache)
    ids = torch.cat([first, letters(5)], 1)
    want = model.generate(**longer(gated, ids[:, gated["input_ids"].shape[1] :]), **NEW)
    assert torch.equal(model.generate(input_ids=ids, past_key_values=cache, **NEW), want)


def test_a_second_turn_whose_new_tokens_alone_are_longer_than_the_prompt(family):
    model, gated = stock_model(family), gated_of(family)
    framegate.attach(model, None, "gate")
    first = model.generate(**gated, **NEW, return_dict_in_generate=True)
    new = letters(gated["input_ids"].shape[1] + 7)
    ids = torch.cat([first.sequences, new], 1)
    want = model.generate(**longer(gated, ids[:, gated["input_ids"].shape[1] :]), **NEW)
    # the last token of the first turn was never fed to the model
    given = ids[:, first.sequences.shape[1] - 1 :]
    mask = torch.ones_like(ids)
    got = model.generate(input_ids=given, attention_mask=mask, past_key_values=first.past_key_values, **NEW)
    assert torch.equal(got[:, -4:], want[:, -4:])


def test_a_cache_that_was_reset_is_an_empty_one(family):
    from transformers import StaticCache

    model, gated = stock_model(family), gated_of(family)
    cache = StaticCache(config=model.config.get_text_config(), max_cache_len=256)
    framegate.attach(model, None, "gate")
    want = model.generate(**gated, **NEW, past_key_values=cache, disable_compile=True)
    cache.reset()
    assert torch.equal(model.generate(**gated, **NEW, past_key_values=cache, disable_compile=True), want)


@torch.no_grad()
def test_masks_of_a_continued_call_may_be_as_wide_as_prompt_or_cache_and_nothing_else(family):
    model, gated = stock_model(family), gated_of(family)
    framegate.attach(model, None, "gate")
    token, width = letters(1), gated["input_ids"].shape[1]
    prefilled = model(**gated, use_cache=True).past_key_values
    short = prefilled.get_seq_length()
    logits = []
    for columns in (width + 1, short + 1):
        mask = torch.ones(1, columns, dtype=torch.long)
        call = {"input_ids": token, "attention_mask": mask, "past_key_values": copy.deepcopy(prefilled)}
        logits.append(model(**call).logits)
    assert torch.equal(*logits)
    with pytest.raises(AttachmentError, match=rf"3 wide.*must be {width + 1} wide"):
        model(input_ids=token, attention_mask=torch.ones(1, 3), past_key_values=prefilled)


def test_no_new_token_on_a_cache_is_refused(family):
    model, gated = stock_model(family), gated_of(family)
    framegate.attach(model, None, "gate")
    cache = model(**gated, use_cache=True).past_key_values
    with pytest.raises(AttachmentError, match="at least one"):
        model.generate(input_ids=gated["input_ids"], past_key_values=cache, **NEW)


def test_packed_rows_are_refused(family):
    model, gated = stock_model(family), gated_of(family)
    width = gated["input_ids"].shape[1]
    text = torch.cat([torch.arange(10), torch.arange(width - 10)])[None]
    call = {name: value for name, value in gated.items() if name != "attention_mask"}
    with framegate.attach(model, None, "gate"), pytest.raises(AttachmentError, match="packed"):
        model(**call, position_ids=torch.stack([text] * 4))


@torch.no_grad()
def test_position_ids_of_one_row_serve_the_batch(family):
    model, processor = stock_model(family), stock_processor(family)
    both = stock_inputs(processor, [[moving_frames()], [moving_frames(seed=1)]], ["ab", "cd"])
    gated = with_keeps(both, random_keeps(both, 0.4))
    row = torch.arange(both["input_ids"].shape[1])[None]
    with framegate.attach(model, None, "gate"):
        got = model(**gated, position_ids=row).logits
        assert torch.equal(got, model(**gated, position_ids=row.expand(2, -1)).logits)


def test_pixels_that_are_not_finite_are_refused_with_their_place(family):
    model, inputs = stock_model(family), inputs_of(family)
    inputs["pixel_values_videos"][17, 3] = float("nan")
    with framegate.attach(model, None, "gate"), pytest.raises(FrameError, match=r"video 0.*patch 17"):
        model(**inputs)


@torch.no_grad()
def test_anchored_context_keeps_the_identity_bit_equal_and_stands_aside_for_other_attention(family):
    model, inputs = stock_model(family), inputs_of(family)
    model.set_attn_implementation("eager")
    want = model(**inputs).logits
    options = {"context": "anchored", "motion": "none"}
    with framegate.attach(model, None, "gate", keep_ratio=1.0, **options):
        assert torch.equal(model(**inputs).logits, want)
    gated = gated_of(family)
    with framegate.attach(model, None, "gate", context="kept", motion="none"):
        kept = model(**gated).logits
    with framegate.attach(model, None, "gate", **options) as front_end:
        assert torch.equal(model(**gated).logits, kept)
        assert "'anchored' stands aside" in str(front_end.report.notes)
        assert "'eager'" in str(front_end.report.notes)


def test_hidden_states_of_generate_come_in_the_callers_columns(family):
    model, gated = stock_model(family), gated_of(family)
    with framegate.attach(model, None, "gate"):
        options = {"return_dict_in_generate": True, "output_hidden_states": True}
        out = model.generate(**gated, **NEW, **options)
        with torch.no_grad():
            want = model(**gated, output_hidden_states=True).hidden_states
        torch.testing.assert_close(out.hidden_states[0], want, rtol=0, atol=1e-5)
        assert {state.shape[1] for state in out.hidden_states[1]} == {1}


def test_hidden_states_of_a_second_turn_are_those_of_its_own_tokens(family):
    model, gated = stock_model(family), gated_of(family)
    framegate.attach(model, None, "gate")
    options = {"return_dict_in_generate": True, "output_hidden_states": True}
    first = model.generate(**gated, **NEW, **options)
    short = first.past_key_values.get_seq_length() - NEW["max_new_tokens"] + 1
    # as many new tokens as the short prompt has, the one that was never fed among them
    ids = torch.cat([first.sequences, letters(short - 1)], 1)
    second = model.generate(input_ids=ids, past_key_values=first.past_key_values, **NEW, **options)
    assert {state.shape[1] for state in second.hidden_states[0]} == {short}


def test_shift_labels_of_dropped_placeholders_do_not_count(family):
    model, inputs = stock_model(family), inputs_of(family)
    keeps = random_keeps(inputs, 0.4)
    framegate.attach(model, None, "gate")
    labels = inputs["input_ids"]
    shifted = torch.nn.functional.pad(labels, (0, 1), value=-100)[:, 1:]
    gated = with_keeps(inputs, keeps)
    want = model(**gated, labels=labels).loss
    torch.testing.assert_close(model(**gated, labels=labels, shift_labels=shifted).loss, want)
    assert int((~token_mask(model, inputs, keeps)).sum()) > 0


def test_saved_whole_and_loaded_it_still_compresses(family):
    model, gated = stock_model(family), gated_of(family)
    framegate.attach(model, None, "gate")
    want, file = model.generate(**gated, **NEW), io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    assert framegate.front_end_of(again).model is again
    assert torch.equal(again.generate(**gated, **NEW), want)
    assert framegate.front_end_of(again).report.kept_tokens * 4 == len(gated["pixel_values_videos"])


# a compiler takes half a minute for each; the suite compiles LLaVA-OneVision
@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_compiled_models_compress(family):
    model, inputs = stock_model(family), inputs_of(family)
    with framegate.attach(model, None, "gate", keep_ratio=0.4) as front_end:
        want = model(**inputs).logits
        got = torch.compile(model, backend="eager")(**inputs).logits
        torch.testing.assert_close(got, want, rtol=0, atol=1e-5)
        assert front_end.report.keep_ratio < 0.5


def test_save_pretrained_takes_what_the_stock_one_takes(tmp_path):
    model = stock_model("qwen2_vl")
    framegate.attach(model, None, "gate")
    model.save_pretrained(tmp_path / "a", True)
    assert (tmp_path / "a/front_end_config.json").is_file()
    model.save_pretrained(tmp_path / "b", is_main_process=False)
    assert not (tmp_path / "b/front_end_config.json").exists()


@torch.no_grad()
def test_reports_speak_of_the_call_they_follow(family):
    model, processor = stock_model(family), stock_processor(family)
    with framegate.attach(model, processor, "gate", keep_ratio=0.5) as front_end:
        first = stock_inputs(processor, [[moving_frames()]], ["a"])
        stock_inputs(processor, [[moving_frames(24, seed=5)]], ["a"])
        model(**first)
        assert front_end.report.video_seconds == pytest.approx(2.0)
        second = stock_inputs(processor, [[moving_frames(seed=5)]], ["a"])
        model(**second)
        assert front_end.report.video_seconds == pytest.approx(2.0)
        model(input_ids=letters(4))
        assert "No video" in str(front_end.report)


@torch.no_grad()
def test_the_tower_is_timed_on_every_path(family):
    model, inputs = stock_model(family), inputs_of(family)
    for preset, options in (
        ("dense", {}),
        ("gate", {"keep_ratio": 1.0}),
        ("gate", {"keep_ratio": 0.4}),
        ("gate", {"keep_ratio": 0.4, "mode": "reuse", "motion": "none"}),
    ):
        with framegate.attach(model, None, preset, **options) as front_end:
            model(**inputs)
            tower = front_end.report.stage("tower")
            assert tower.milliseconds > 0
            assert tower.patches_in in (len(inputs["pixel_values_videos"]), 4 * front_end.report.kept_tokens)
            first = tower.milliseconds
            model(input_ids=letters(3))
            assert tower.milliseconds == first


def test_lost_or_broken_keys_are_named(family):
    model, gated = stock_model(family), gated_of(family)
    with framegate.attach(model, None, "gate"):
        lost = {name: value for name, value in gated.items() if not name.startswith("framegate_")}
        with pytest.raises(PlaceholderError, match="remove_unused_columns=False"):
            model(**lost)
        with pytest.raises(PlanError, match="lie outside the tubes"):
            model(**gated | {"framegate_plan": gated["framegate_plan"] + 50})
        with pytest.raises(PlanError, match="came without framegate_notes"):
            model(**{name: value for name, value in gated.items() if name != "framegate_notes"})
        with pytest.raises(PlaceholderError, match="video_grid_thw"):
            model(**{name: value for name, value in gated.items() if name != "video_grid_thw"})
    with pytest.raises(ConfigError, match="42"):
        framegate.attach(model, None, 42)
