"""All stages together: budgets met exactly, what each saved, presets on every family, queries, what was learned."""

import pytest
import torch
from processor_cases import chat, text_of
from tiny import FAMILIES, moving_frames, stock_inputs, stock_model, stock_processor

import framegate
from framegate.errors import ConfigError

NEW = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
EVERY = {
    "scene_merge": {"divergence_threshold": 0.3, "recurring": True, "merge_repeats": True},
    "condensation": {"key_tubes_only": False},
    "spatiotemporal": {"time_heads": 2},
    "gate_headroom": 1.6,
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


@torch.no_grad()
@pytest.mark.parametrize("preset", sorted(framegate.preset_names()))
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
        assert "framegate_score" in inputs
        got = model(**inputs).logits
        assert front_end.report.kept_tokens == round(0.2 * front_end.report.dense_tokens)
    torch.testing.assert_close(got, want, rtol=0, atol=2e-4)


@torch.no_grad()
def test_relevance_by_query_follows_the_question_or_the_callers_scores(family):
    model = stock_model(family)
    settings = {"gate": None, "condensation": {"relevance": "query", "key_tubes_only": False}}
    inputs = inputs_of(family)
    with framegate.attach(model, None, "gate", **settings) as front_end:
        model(**inputs)
        kept = front_end.report.kept_tokens
        lit = [model(**inputs, framegate_relevance=torch.eye(4)[tube]).logits for tube in range(4)]
        assert front_end.report.kept_tokens == kept
    assert not torch.equal(lit[0], lit[3])
    bare = dict(inputs)
    video = model.config.video_token_id
    bare["input_ids"] = torch.full_like(inputs["input_ids"], 65)
    bare["attention_mask"] = (inputs["input_ids"] == video).long()
    bare["input_ids"][inputs["input_ids"] == video] = video
    if family != "qwen3_vl":
        with (
            framegate.attach(model, None, "gate", **settings),
            pytest.raises(ConfigError, match="no text to be relevant to"),
        ):
            model(**bare)


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
