"""The rivals' presets on real classes: budgets, identity, batches, generation, reports, and refusals by name."""

import pytest
import torch
from processor_cases import chat
from tiny import moving_frames, stock_inputs, stock_model, stock_processor
from tiny_llava import llava_model, llava_processor

import framegate
from framegate.errors import AttachmentError, BudgetError, ConfigError
from framegate.models.tiny import tiny_pair
from framegate.tokenizers.cell_rules import cell_rule_names

# "stc" has a share of the tower of its own, and selects behind it
RULES = [name for name in cell_rule_names() if name != "stc"]
BASELINES = [*RULES, "down_scaling", "vidcom2"]
WHOLE = ("uniform_frames", "down_scaling")  # spend at most the budget, in whole tubes or whole grids
NEW = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}


@pytest.fixture(params=["qwen2_5_vl", "qwen3_vl"])
def family(request):
    return request.param


@pytest.fixture(params=BASELINES)
def preset(request):
    return request.param


def met(report, preset, ratio):
    """Whether the budget was met: to the last token, or at most."""
    want = round(ratio * report.dense_tokens)
    return 0.5 * want < report.kept_tokens <= want if preset in WHOLE else report.kept_tokens == want


@torch.no_grad()
@pytest.mark.parametrize(("family", "ratio"), [("qwen2_5_vl", 0.5), ("qwen3_vl", 0.25)])
def test_budgets_on_frames_and_the_report_says_where_tokens_went(family, preset, ratio):
    model, processor = stock_model(family), stock_processor(family)
    whole = stock_inputs(processor, [[moving_frames()]], ["What moves?"])
    dense = int((whole["input_ids"] == model.config.video_token_id).sum())
    with framegate.attach(model, processor, preset, keep_ratio=ratio) as front_end:
        inputs = stock_inputs(processor, [[moving_frames()]], ["What moves?"])
        logits = model(**inputs).logits
        report = front_end.report
    assert logits.shape[:2] == inputs["input_ids"].shape
    assert torch.isfinite(logits).all()
    assert report.dense_tokens == dense
    assert met(report, preset, ratio)
    name = {"down_scaling": "down_scaling", "vidcom2": "select"}.get(preset, "gate")
    stage = report.stage(name)
    assert (stage.tokens_in, stage.tokens_out) == (dense, report.kept_tokens)
    assert name != "gate" or stage.note == f"by rule {preset}"
    assert report.stage("tower").tokens_out == (dense if preset == "vidcom2" else report.kept_tokens)


@torch.no_grad()
def test_stc_encodes_its_own_share_and_reads_what_is_asked_for(family):
    model, processor = stock_model(family), stock_processor(family)
    inputs = stock_inputs(processor, [[moving_frames()]], ["What moves?"])
    with framegate.attach(model, None, "stc", keep_ratio=0.25) as front_end:
        want, report = model(**inputs).logits, front_end.report
    assert report.encoded_cells == round(0.4375 * report.dense_tokens)
    assert report.kept_tokens == round(0.25 * report.dense_tokens)
    with framegate.attach(model, processor, "stc", keep_ratio=0.25):
        again = stock_inputs(processor, [[moving_frames()]], ["What moves?"])
        torch.testing.assert_close(model(**again).logits, want, rtol=0, atol=2e-4)


@torch.no_grad()
def test_a_ratio_of_one_is_the_stock_model_to_the_bit(family, preset):
    model, processor = stock_model(family), stock_processor(family)
    inputs = stock_inputs(processor, [[moving_frames()]], ["What moves?"])
    want = model(**inputs).logits
    with framegate.attach(model, None, preset, keep_ratio=1.0):
        assert torch.equal(model(**inputs).logits, want)
    with framegate.attach(model, processor, preset, keep_ratio=1.0):
        again = stock_inputs(processor, [[moving_frames()]], ["What moves?"])
        assert again.keys() - inputs.keys() <= {"framegate_notes"}  # the account of the reading, and no plan
        torch.testing.assert_close(model(**again).logits, want, rtol=0, atol=2e-4)


@torch.no_grad()
@pytest.mark.parametrize("preset", [*RULES, "vidcom2"])
def test_both_ways_in_agree(family, preset):
    model, processor = stock_model(family), stock_processor(family)
    inputs = stock_inputs(processor, [[moving_frames()]], ["What moves?"])
    with framegate.attach(model, None, preset, keep_ratio=0.5) as front_end:
        want, kept = model(**inputs).logits, front_end.report.kept_tokens
    with framegate.attach(model, processor, preset, keep_ratio=0.5) as front_end:
        inputs = stock_inputs(processor, [[moving_frames()]], ["What moves?"])
        torch.testing.assert_close(model(**inputs).logits, want, rtol=0, atol=2e-4)
        assert front_end.report.kept_tokens == kept


@torch.no_grad()
@pytest.mark.parametrize("family", ["qwen2_5_vl"])
def test_rows_of_a_batch_equal_single_rows(family, preset):
    model, processor = stock_model(family), stock_processor(family)
    first, second = moving_frames(), moving_frames(6, 84, 112, seed=1)
    with framegate.attach(model, processor, preset, keep_ratio=0.5) as front_end:
        both = stock_inputs(
            processor, [[first], [second]], ["What moves?", "Why does it move, do you think?"]
        )
        together, report = model(**both).logits, front_end.report
        alone = stock_inputs(processor, [[first]], ["What moves?"])
        single = model(**alone).logits
    assert report.num_videos == 2
    assert met(report, preset, 0.5)
    torch.testing.assert_close(together[0, -single.shape[1] :], single[0], rtol=0, atol=2e-5)


@torch.no_grad()
@pytest.mark.parametrize("family", ["qwen3_vl"])
def test_files_are_answered_with_and_without_a_cache(family, preset, clip):
    model, processor = tiny_pair(family)
    with framegate.attach(model, processor, preset, keep_ratio=0.25) as front_end:
        inputs = chat(processor, [{"type": "video", "path": str(clip)}])
        out = model.generate(**inputs, **NEW)
        assert torch.equal(model.generate(**inputs, **NEW, use_cache=False), out)
        assert met(front_end.report, preset, 0.25)
    assert torch.equal(out[:, : inputs["input_ids"].shape[1]], inputs["input_ids"])


@torch.no_grad()
@pytest.mark.parametrize("preset", RULES)
def test_rules_go_with_anchored_context_and_with_reuse(preset):
    model = stock_model("qwen2_5_vl")
    inputs = stock_inputs(stock_processor("qwen2_5_vl"), [[moving_frames()]], ["What moves?"])
    for settings in ({"context": "anchored"}, {"mode": "reuse"}):
        if preset == "random" and "mode" in settings:
            continue  # draws no anchor for some cells, which reuse refuses
        with framegate.attach(model, None, preset, keep_ratio=0.5, **settings) as front_end:
            assert torch.isfinite(model(**inputs).logits).all()
            stage = front_end.report.stage("gate")
            assert stage.tokens_out < stage.tokens_in
    with (
        framegate.attach(model, None, "random", keep_ratio=0.3, mode="reuse"),
        pytest.raises(BudgetError, match="reuse"),
    ):
        model(**inputs)


@torch.no_grad()
@pytest.mark.parametrize("ratio", [0.6, 0.3])
def test_selection_goes_after_a_gate(family, ratio):
    model = stock_model(family)
    inputs = stock_inputs(stock_processor(family), [[moving_frames()]], ["What moves?"])
    with framegate.attach(
        model, None, "gate", keep_ratio=ratio, tower_ratio=1.5 * ratio, select={"select_rule": "vidcom2"}
    ) as front_end:
        model(**inputs)
        report = front_end.report
    assert report.kept_tokens == round(ratio * report.dense_tokens) < report.stage("gate").tokens_out


@torch.no_grad()
def test_stock_pixels_cannot_be_scaled_down_and_say_so(family):
    model = stock_model(family)
    inputs = stock_inputs(stock_processor(family), [[moving_frames()]], ["What moves?"])
    with (
        framegate.attach(model, None, "down_scaling", keep_ratio=0.5),
        pytest.raises(AttachmentError, match="cut by a stock processor at full size"),
    ):
        model(**inputs)


@torch.no_grad()
def test_inputs_made_elsewhere_say_what_their_frames_would_have_cost(family):
    """A data loader's processor is another object than the one beside the model."""
    processor, model = stock_processor(family), stock_model(family)
    with framegate.attach(stock_model(family), processor, "down_scaling", keep_ratio=0.5):
        inputs = stock_inputs(processor, [[moving_frames()]], ["What moves?"])
    with framegate.attach(model, None, "down_scaling", keep_ratio=0.5) as front_end:
        model(**inputs)
        assert front_end.report.kept_tokens <= 0.5 * front_end.report.dense_tokens


def test_a_budget_below_one_token_per_tube_is_refused(family):
    model, processor = stock_model(family), stock_processor(family)
    with (
        framegate.attach(model, processor, "down_scaling", max_video_tokens=3),
        pytest.raises(BudgetError, match="a token per tube at least"),
    ):
        stock_inputs(processor, [[moving_frames()]], ["What moves?"])


@torch.no_grad()
@pytest.mark.parametrize("preset", [*RULES, "vidcom2"])
def test_grid_towers_meet_the_budget(preset):
    model, processor = llava_model(), llava_processor()
    counts = []
    for attached in (None, processor):
        with framegate.attach(model, attached, preset, keep_ratio=0.25) as front_end:
            inputs = stock_inputs(processor, [[moving_frames()]], ["What moves?"])
            out = model.generate(**inputs, **NEW)
            counts.append((front_end.report.kept_tokens, front_end.report.dense_tokens))
        assert torch.equal(out[:, :-4], inputs["input_ids"])
    assert counts == [(32, 128), (32, 128)]


def test_grid_towers_refuse_down_scaling_by_name():
    model, processor = llava_model(), llava_processor()
    with pytest.raises(ConfigError, match="LlavaOnevisionForConditionalGeneration takes frames of one size"):
        framegate.attach(model, processor, "down_scaling")
    assert framegate.front_end_of(model) is None
    framegate.attach(model, processor, "down_scaling", keep_ratio=1.0).detach()
