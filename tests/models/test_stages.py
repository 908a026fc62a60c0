"""All stages together: budgets met exactly, what each saved, presets on every family, queries, what was learned."""

import re

import numpy as np
import pytest
import torch
from gated import random_keeps
from noted import packed, plans_of
from processor_cases import chat, text_of
from safetensors import safe_open
from tiny import FAMILIES, moving_frames, stock_inputs, stock_model, stock_processor

import framegate
from framegate.errors import ConfigError, PlanError
from framegate.models.prompt import carried_map
from framegate.models.tiny import tiny_tokenizer

NEW = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
EVERY = {
    "scene_merge": {"divergence_threshold": 0.3, "recurring": True, "merge_repeats": True},
    "condensation": {"key_tubes_only": False},
    "spatiotemporal": {"time_heads": 2},
    "timestamps": {},
}


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


def inputs_of(family, num_frames=8, question="What moves?"):
    return stock_inputs(stock_processor(family), [[moving_frames(num_frames)]], [question])


def tokens_through(report):
    """(name, in, out) of the stages that count tokens, from the gate on."""
    names = ("gate", "scene_merge", "condensation", "reduction", "spatiotemporal")
    return [(s.name, s.tokens_in, s.tokens_out) for s in report.stages if s.name in names]


@torch.no_grad()
@pytest.mark.parametrize("ratio", [0.5, 0.25, 0.1, 0.03])
def test_gate_merge_and_condensation_meet_the_budget_together(family, ratio):
    model, inputs = stock_model(family), inputs_of(family)
    with framegate.attach(model, None, "gate", keep_ratio=ratio, **EVERY) as front_end:
        model(**inputs)
        report = front_end.report
    assert report.kept_tokens == round(ratio * report.dense_tokens)
    flow = tokens_through(report)
    assert flow[0][1] == report.dense_tokens
    for (_, _, left), (_, came, _) in zip(flow, flow[1:], strict=False):
        assert came == left
    assert flow[-1][2] == report.kept_tokens
    assert flow[0][2] > report.kept_tokens  # the gate passed more, the later stages brought it down


@torch.no_grad()
def test_a_cap_is_a_cap(family):
    model, inputs = stock_model(family), inputs_of(family)
    settings = {"condensation": {"key_tubes_only": False}, "gate": None, "max_video_tokens": 10}
    with framegate.attach(model, None, "gate", **settings) as front_end:
        model(**inputs)
        assert front_end.report.kept_tokens == 10
    with framegate.attach(model, None, "gate", **settings | {"max_video_tokens": 10_000}) as front_end:
        model(**inputs)
        assert front_end.report.kept_tokens < 96


@torch.no_grad()
def test_rows_of_a_batch_equal_single_rows_through_every_stage(family):
    processor, model = stock_processor(family), stock_model(family)
    first, second = moving_frames(), moving_frames(6, 84, 112, seed=1)
    both = stock_inputs(processor, [[first], [second]], ["What moves?", "Why does it move, do you think?"])
    alone = stock_inputs(processor, [[first]], ["What moves?"])
    with framegate.attach(model, None, "gate", keep_ratio=0.3, **EVERY):
        together, single = model(**both).logits, model(**alone).logits
    torch.testing.assert_close(together[0, -single.shape[1] :], single[0], rtol=0, atol=2e-5)


@torch.no_grad()
@pytest.mark.parametrize("preset", ["gate", "grt", "dense", "grt_released", "kffocus"])
def test_at_a_ratio_of_one_every_preset_without_stamps_is_the_stock_model(family, preset):
    model, inputs = stock_model(family), inputs_of(family)
    want = model(**inputs).logits
    with framegate.attach(model, None, preset, keep_ratio=1.0, sampler="fps"):
        assert torch.equal(model(**inputs).logits, want)


# every preset on one family; on the others those whose stages or prompts differ by family
ON_FILES = [("qwen2_5_vl", preset) for preset in sorted(framegate.preset_names())]
ON_FILES += [
    (family, preset) for family in ("qwen2_vl", "qwen3_vl") for preset in ("date", "framegate", "kffocus")
]


@torch.no_grad()
@pytest.mark.parametrize(("family", "preset"), ON_FILES)
def test_every_preset_answers_on_files(family, preset, clip):
    model, processor = stock_model(family), stock_processor(family)
    small = {"top_k_minimum": 4} if preset == "grt_released" else {}
    with framegate.attach(model, processor, preset, **small) as front_end:
        inputs = chat(processor, [{"type": "video", "path": str(clip)}])
        out = model.generate(**inputs, **NEW)
        assert torch.equal(model.generate(**inputs, **NEW, use_cache=False), out)
        report = front_end.report
    assert torch.equal(out[:, : inputs["input_ids"].shape[1]], inputs["input_ids"])
    assert report.kept_tokens < report.dense_tokens or preset in ("dense", "date")
    stamps = preset in ("date", "framegate")
    assert ("<0.0s>" in text_of(processor, inputs)) == (stamps and family != "qwen3_vl")
    if stamps and family == "qwen3_vl":
        assert any("native markers kept" in note for note in report.notes)


@torch.no_grad()
def test_grt_merges_scenes_that_come_back_and_its_released_code_drops_per_frame(family):
    frames = moving_frames(8)
    frames[4:] = frames[:4]
    model = stock_model(family)
    inputs = stock_inputs(stock_processor(family), [[frames]], ["What moves?"])
    with framegate.attach(model, None, "grt", keyframe_fraction=0.2, scene_cut_fraction=0.2) as front_end:
        model(**inputs)
        printed = {name: (came, left) for name, came, left in tokens_through(front_end.report)}
    assert printed["scene_merge"][1] < printed["scene_merge"][0]
    with framegate.attach(model, None, "grt_released", top_k_minimum=1) as front_end:
        model(**inputs)
        report = front_end.report
    assert report.stage("tower").patches_in == report.stage("gate").patches_in  # every row is encoded
    assert report.kept_tokens == report.dense_tokens // 2


@torch.no_grad()
def test_the_released_codes_choice_follows_the_gates_own_score(family):
    """Both ways in know how much each cell had changed."""
    model, processor = stock_model(family), stock_processor(family)
    inputs = stock_inputs(processor, [[moving_frames()]], ["What moves?"])
    with framegate.attach(model, None, "grt_released", keep_ratio=0.2) as front_end:
        want = model(**inputs).logits
    with framegate.attach(model, processor, "grt_released", keep_ratio=0.2) as front_end:
        inputs = stock_inputs(processor, [[moving_frames()]], ["What moves?"])
        assert plans_of(inputs)[0].residual.any()
        got = model(**inputs).logits
        assert front_end.report.kept_tokens == round(0.2 * front_end.report.dense_tokens)
    torch.testing.assert_close(got, want, rtol=0, atol=2e-4)


@torch.no_grad()
def test_relevance_follows_the_callers_scores(family):
    model = stock_model(family)
    settings = {"gate": None, "condensation": {"relevance": "query", "key_tubes_only": False}}
    inputs = inputs_of(family)
    with framegate.attach(model, None, "gate", **settings) as front_end:
        model(**inputs)
        kept = front_end.report.kept_tokens
        lit = [model(**inputs, framegate_relevance=torch.eye(4)[tube]).logits for tube in range(4)]
        assert front_end.report.kept_tokens == kept
    assert not torch.equal(lit[0], lit[3])


def letters(text):
    return tiny_tokenizer()(text)["input_ids"]


def turns(family, question, answer=""):
    """One video, a question, and what the model said to it."""
    inputs = inputs_of(family, question=question)
    tail = torch.tensor([letters(answer)], dtype=torch.long)
    zeros = torch.zeros_like(tail)
    added = {"input_ids": tail, "attention_mask": zeros + 1, "mm_token_type_ids": zeros}
    return inputs | {
        name: torch.cat([inputs[name], more.to(inputs[name])], 1) for name, more in added.items()
    }


QUERY = {"gate": None, "condensation": {"relevance": "query", "key_tubes_only": False, "light_share": 0.3}}


@torch.no_grad()
def test_relevance_by_query_reads_the_question_and_never_what_comes_after_it(family, monkeypatch):
    from framegate.models.stages.condensation import condense as stages

    seen = []

    def watched(queries, tokens):
        seen.append(queries)
        return query_relevance(queries, tokens)

    query_relevance = stages.query_relevance
    monkeypatch.setattr(stages, "query_relevance", watched)
    model = stock_model(family)
    with framegate.attach(model, None, "gate", **QUERY):
        asked = turns(family, "Where is the boat?")
        prompt = model(**asked).logits
        length = prompt.shape[1]
        for answer in ("NORTH", "zzzzzzzzzzzzzz", "At ten seconds."):
            longer = model(**turns(family, "Where is the boat?", answer)).logits
            torch.testing.assert_close(longer[:, :length], prompt, rtol=0, atol=2e-5)
        model(**turns(family, "Who?"))
    lengths = [len(queries[0]) for queries in seen]
    assert lengths == [len("Where is the boat?")] * 4 + [len("Who?")]
    ids = asked["input_ids"][0]
    want = letters("Where")
    start = next(i for i in range(len(ids)) if ids[i : i + 5].tolist() == want)
    torch.testing.assert_close(seen[0][0][:5], model.get_input_embeddings()(ids[start : start + 5]))


@torch.no_grad()
def test_relevance_by_query_without_a_question_is_refused(family):
    with (
        framegate.attach(stock_model(family), None, "gate", **QUERY) as front_end,
        pytest.raises(ConfigError, match="no text follows the video in its turn"),
    ):
        front_end.model(**turns(family, ""))


@torch.no_grad()
def test_times_of_the_video_reach_the_module(family, clip, uneven_clip):
    model, processor = stock_model(family), stock_processor(family)
    seen = []
    settings = {"spatiotemporal": {"time_heads": 2}, "keep_ratio": 0.5, "fps": 10}
    with framegate.attach(model, processor, "gate", **settings) as front_end:
        front_end.module.register_forward_pre_hook(lambda _, args: seen.append(args[1].times_seconds))
        inputs = chat(processor, [{"type": "video", "path": str(uneven_clip)}])
        model(**{k: v.bfloat16().float() if v.is_floating_point() else v for k, v in inputs.items()})
        want = framegate.plan_frames(uneven_clip, fps=10).timestamps_seconds[::2]
        torch.testing.assert_close(seen[0][0], torch.from_numpy(want), rtol=0, atol=1e-9)
        assert "spatiotemporal counts tubes" not in str(front_end.report)
        lines = np.asarray(inputs["framegate_notes"]).tobytes().decode()
        untold = re.sub(
            r'"times_seconds": \[[^]]*\]', lambda found: re.sub(r"[\d.]+", "NaN", found[0]), lines
        )
        inputs["framegate_notes"] = torch.from_numpy(np.frombuffer(untold.encode(), np.uint8).copy())
        inputs.pop("second_per_grid_ts", None)
        model(**inputs)
        assert seen[1] is None
        assert "spatiotemporal counts tubes" in str(front_end.report)


def test_the_module_is_a_part_of_the_model_while_attached_and_no_part_of_its_files(family, tmp_path):
    model = stock_model(family)
    names = set(model.state_dict())
    front_end = framegate.attach(model, None, "gate", keep_ratio=0.5, spatiotemporal={"time_heads": 2})
    ours = {id(weight) for weight in front_end.module.parameters()}
    assert ours <= {id(weight) for weight in model.parameters()}
    model.save_pretrained(tmp_path / "one")
    model.save_pretrained(tmp_path / "two", state_dict=model.state_dict())
    for folder in ("one", "two"):
        with safe_open(tmp_path / folder / "model.safetensors", "pt") as file:
            assert not [name for name in file.keys() if "framegate" in name]  # noqa: SIM118
        assert (tmp_path / folder / "front_end.safetensors").is_file()
    assert ours <= {id(weight) for weight in model.parameters()}
    front_end.detach()
    assert set(model.state_dict()) == names


def test_weights_are_found_beside_their_configuration_and_missed_when_gone(family, tmp_path):
    front_end = framegate.attach(stock_model(family), None, "gate", spatiotemporal={"time_heads": 2})
    front_end.module.time_gate.data.fill_(0.5)
    front_end.save_pretrained(tmp_path)
    again = framegate.attach(stock_model(family), None, tmp_path / "front_end_config.json")
    assert again.module.time_gate == 0.5
    (tmp_path / "front_end.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"front_end\.safetensors.*is missing"):
        framegate.attach(stock_model(family), None, tmp_path)


def test_the_spatiotemporal_module_learns_is_saved_and_answers_identically(family, tmp_path):
    model, inputs = stock_model(family), inputs_of(family)
    settings = {"keep_ratio": 0.4, "spatiotemporal": {"time_heads": 2}}
    front_end = framegate.attach(model, None, "gate", **settings)
    with torch.no_grad():
        plain = model(**inputs).logits
        framegate.front_end_of(model).module.time_gate.data.fill_(0.7)
        want = model(**inputs).logits
    assert not torch.equal(plain, want)
    model.zero_grad()
    model(**inputs, labels=inputs["input_ids"]).loss.backward()
    assert all(weight.grad is not None for weight in front_end.module.parameters())

    model.save_pretrained(tmp_path / "model")
    front_end.save_pretrained(tmp_path / "adapter")
    front_end.detach()
    assert {path.name for path in (tmp_path / "adapter").iterdir()} == {
        "front_end_config.json",
        "front_end.safetensors",
    }
    with torch.no_grad():
        alone = framegate.attach(stock_model(family), None, tmp_path / "adapter")
        assert torch.equal(alone.model(**inputs).logits, want)
        both = framegate.AutoModelForImageTextToText.from_pretrained(tmp_path / "model").eval()
        assert torch.equal(both(**inputs).logits, want)


def test_weights_of_another_width_are_refused(family, tmp_path):
    front_end = framegate.attach(stock_model(family), None, "gate", spatiotemporal={"time_heads": 2})
    front_end.save_pretrained(tmp_path)
    wider = stock_model("qwen2_vl", text={"hidden_size": 128}, vision={"hidden_size": 128})
    with pytest.raises(ConfigError, match="128"):
        framegate.attach(wider, None, tmp_path)
    assert framegate.front_end_of(wider) is None


@torch.no_grad()
def test_stamps_of_tubes_without_a_token_leave_with_them(clip):
    model, processor = stock_model("qwen2_5_vl"), stock_processor("qwen2_5_vl")
    with framegate.attach(model, processor, "framegate", keep_ratio=0.05) as front_end:
        inputs = chat(processor, [{"type": "video", "path": str(clip)}])
        seen = []
        handle = model.model.register_forward_hook(
            lambda _, args, kwargs, out: seen.append(out), with_kwargs=True
        )
        short = []
        inner = model.model.language_model.register_forward_pre_hook(
            lambda _, args, kwargs: short.append(kwargs["inputs_embeds"].shape[1]), with_kwargs=True
        )
        model(**inputs)
        handle.remove(), inner.remove()
        report = front_end.report
    text = text_of(processor, inputs)
    stamps = text.count("s>")
    others = inputs["input_ids"].shape[1] - report.dense_tokens
    assert stamps > 1
    assert short[0] < others + report.kept_tokens  # some stamps left
    assert short[0] > others - 8 * stamps + report.kept_tokens  # and some stayed


def test_labels_of_stamps_that_left_do_not_count(clip):
    model, processor = stock_model("qwen2_5_vl"), stock_processor("qwen2_5_vl")
    with framegate.attach(model, processor, "framegate", keep_ratio=0.05):
        inputs = chat(processor, [{"type": "video", "path": str(clip)}])
        ids = inputs["input_ids"]
        cache = model(**inputs, labels=ids, use_cache=True).past_key_values
        left = ~carried_map(cache).prompt.kept & (ids != model.config.video_token_id)
        assert 0 < int(left.sum()) < ids.shape[1] // 4
        nothing = model(**inputs, labels=ids.masked_fill(~left, -100)).loss
        last = torch.full_like(ids, -100)
        last[:, -1] = ids[:, -1]
        something = model(**inputs, labels=torch.where(left, ids, last)).loss
        alone = model(**inputs, labels=last).loss
    assert torch.isnan(nothing)  # no label counts
    assert torch.equal(something, alone)
    assert torch.isfinite(alone)


@torch.no_grad()
def test_what_stands_aside_says_so(family, clip):
    model, processor = stock_model(family), stock_processor(family)
    for preset in ("framegate", "kffocus", "grt", "grt_released"):
        with framegate.attach(model, processor, preset, keep_ratio=1.0, sampler="fps") as front_end:
            model(**chat(processor, [{"type": "video", "path": str(clip)}]))
            assert "every stage that reduces stands aside" in str(front_end.report).replace("\n", " ")
    with framegate.attach(model, None, "gate", keep_ratio=0.5) as front_end:
        model(**inputs_of(family), framegate_relevance=[1.0, 2.0, 3.0, 4.0])
        assert any("framegate_relevance is not read" in note for note in front_end.report.notes)
    with framegate.attach(model, processor, "date") as front_end:
        model(**chat(processor, [{"type": "video", "path": str(clip), "video_end": 0.5}]))
        assert not any("has none between its tubes" in note for note in front_end.report.notes)


@torch.no_grad()
def test_keys_that_do_not_fit_are_told(family):
    model, inputs = stock_model(family), inputs_of(family)
    with framegate.attach(model, None, "gate", keep_ratio=0.5, spatiotemporal={"time_heads": 2}):
        keeps = random_keeps(inputs, 1.0)
        keys = packed(keeps, cell_px=model.config.vision_config.patch_size * 2, tube_frames=2)
        other = packed(keeps, cell_px=14, tube_frames=2)
        with pytest.raises(PlanError, match="of 14 px; this call's have"):
            model(**inputs, **other)
        keys["framegate_plan"][:, 1] = 7
        with pytest.raises(PlanError, match="it is 1 for cells that are encoded"):
            model(**inputs, **keys)


@torch.no_grad()
def test_the_account_is_of_the_call_that_the_model_got(family, clip, uneven_clip):
    model, processor = stock_model(family), stock_processor(family)
    with framegate.attach(model, processor, "dense") as front_end:
        first = chat(processor, [{"type": "video", "path": str(clip), "video_end": 2.0}])
        second = chat(processor, [{"type": "video", "path": str(clip), "video_start": 5.0, "video_end": 9.0}])
        model(**second)
        assert front_end.report.video_seconds == pytest.approx(4.0, abs=0.2)
        model(**first)
        assert front_end.report.video_seconds == pytest.approx(2.0, abs=0.2)
