"""What every family promises, on its tiny model: one contract, found by the files of models/families."""

import inspect
import re

import pytest
import torch
from family_cases import CLOSE, FAMILIES, ONE_VIDEO, called, dense, family_pair, new_frames, new_words
from noted import plans_of
from tiny import moving_frames

import framegate
from framegate.models.cell_plan import CellPlan, whole_plan
from framegate.models.families import families, family_of
from framegate.models.mechanism import Encoded, mechanism_of
from framegate.models.video_tokens import VideoTokens

# what stock classes call the language model
TEXT = {"language_model", "text_model"}


@pytest.fixture(params=FAMILIES)
def name(request):
    return request.param


@pytest.fixture
def pair(name):
    return family_pair(name)


def stock(model, inputs):
    return model(**{k: v for k, v in inputs.items() if not k.startswith("framegate")}).logits


def test_a_family_is_one_file(name):
    family = families()[name]
    assert family.model_type == name
    assert inspect.getmodule(family.tiny.config).__name__ == f"framegate.models.families.{name}"
    assert name in [row["model_type"] for row in framegate.supported_models()]


@torch.no_grad()
def test_ratio_one_is_stock_to_the_bit_on_both_ways_in(pair):
    model, processor = pair
    inputs = dense(processor, moving_frames())
    want = stock(model, inputs)
    with framegate.attach(model, None, "gate", keep_ratio=1.0):
        assert torch.equal(model(**inputs).logits, want)
    with framegate.attach(model, processor, "gate", keep_ratio=1.0):
        assert torch.equal(model(**called(processor, moving_frames())).logits, want)


@torch.no_grad()
def test_both_ways_in_agree(pair):
    model, processor = pair
    inputs = dense(processor, moving_frames(), moving_frames(seed=1))
    with framegate.attach(model, None, "gate", keep_ratio=0.5) as front_end:
        of_pixels, report = model(**inputs).logits, front_end.report
    assert report.kept_tokens == report.dense_tokens // 2
    with framegate.attach(model, processor, "gate", keep_ratio=0.5) as front_end:
        gated = called(processor, moving_frames(), moving_frames(seed=1))
        of_processor = model(**gated).logits
        assert front_end.report.kept_tokens == report.kept_tokens
    shown = inputs["attention_mask"].bool()
    torch.testing.assert_close(of_processor[shown], of_pixels[shown], **CLOSE)


@torch.no_grad()
def test_a_gated_prompt_is_the_full_one_with_the_rest_masked(pair):
    model, processor = pair
    front_end = framegate.attach(model, processor, "gate", keep_ratio=0.4)
    inputs = called(processor, moving_frames())
    got = model(**inputs).logits
    front_end.detach()
    tower = mechanism_of(model.model, family_of(model))
    call = tower.opened(inputs)
    shapes = tuple(tower.shapes(call))
    placeholders, keep = tower.placeholders(call), kept_cells(inputs, shapes)
    cells = keep_plan(keep, shapes)
    encoded = tower.encode(call["pixel_values_videos"], call, cells, anchored=False, backend="auto")
    mask = inputs["attention_mask"].clone()
    mask[placeholders] = tower.family.extra.columns(keep.view(shapes[0])).long()
    shown = mask.bool()
    if leaves_traces(model):
        # what a mask hides would still fade the running state: the kept columns stand alone
        read, plan, layers = shown[0], cells, encoded.layers
    else:
        read, plan, layers = (
            torch.ones_like(shown[0]),
            whole_plan(shapes),
            [spread(layer, keep) for layer in encoded.layers],
        )
    tokens = VideoTokens.of_cells(layers, plan.keep, plan.anchor, shapes)
    positions = tower.positions(call, inputs["attention_mask"])[..., read]
    beside = {name: inputs[name][:, read] for name in tower.columns if name in inputs}
    want = model(
        **beside,
        input_ids=inputs["input_ids"][:, read],
        attention_mask=mask[:, read],
        position_ids=positions if len(positions) > 1 else positions[0],
        mm_encoder_outputs=tower.media(Encoded(layers, encoded.output), tokens, call),
        use_cache=False,
        **tower.read_along(inputs, inputs["input_ids"][:, read]),
    ).logits
    torch.testing.assert_close(got[shown], want[mask[:, read].bool()], **CLOSE)


# in the main suite test_remember.py stands for all
@pytest.mark.families
@torch.no_grad()
def test_tubes_that_are_remembered_are_as_encoded_anew(pair):
    model, processor = pair
    with framegate.attach(model, processor, "gate", keep_ratio=0.5) as front_end:
        inputs = called(processor, moving_frames(), moving_frames(seed=1))
        want, cells = model(**inputs).logits, front_end.report.encoded_cells
        with front_end.remember() as store:
            model(**called(processor, moving_frames()))
            got, report = model(**inputs).logits, front_end.report
            again = model(**inputs).logits
        shown = inputs["attention_mask"].bool()
        torch.testing.assert_close(got[shown], want[shown], **CLOSE)
        torch.testing.assert_close(again[shown], want[shown], **CLOSE)
        if front_end._attached.mechanism.encodes_tubes_apart:
            assert (report.encoded_cells, report.reused_cells) == (cells // 2, cells // 2)
            assert front_end.report.encoded_cells == 0
        else:
            assert (report.encoded_cells, store.num_tubes) == (cells, 0)
            assert "nothing is remembered of this call: " in str(report.notes)


def leaves_traces(model):
    """True where layers of linear attention keep a running state."""
    return "linear_attention" in (getattr(model.config.get_text_config(), "layer_types", None) or ())


def kept_cells(inputs, shapes):
    """Cells that are their own anchor, bool [N]."""
    keep = torch.from_numpy(plans_of(inputs)[0].keep)
    assert keep.shape == shapes[0]
    return keep.flatten()


def keep_plan(keep, shapes):
    own = torch.where(keep, torch.arange(len(keep)), -1)
    return CellPlan(keep=keep, anchor=own, shift_patches=None, shapes=shapes)


def spread(layer, keep):
    whole = layer.new_zeros(len(keep), layer.shape[1])
    whole[keep] = layer
    return whole


@torch.no_grad()
def test_generate_opens_with_the_callers_ids_and_needs_no_cache(pair):
    model, processor = pair
    with framegate.attach(model, processor, "gate", keep_ratio=0.5):
        inputs = called(processor, moving_frames(), moving_frames(seed=1))
        new = new_words(model)
        out = model.generate(**inputs, **new)
        assert torch.equal(out[:, : inputs["input_ids"].shape[1]], inputs["input_ids"])
        assert torch.equal(model.generate(**inputs, **new, use_cache=False), out)
        beams = model.generate(**inputs, **new, num_beams=2)
        assert beams.shape == out.shape


@torch.no_grad()
def test_refilled_where_no_cell_is_skipped_it_is_dense(name, pair):
    """Two videos in one prompt, so that each has to come to its own placeholders."""
    model, processor = pair
    videos, text = [new_frames(), new_frames(seed=1)], two_videos(processor)
    if name in ONE_VIDEO:
        videos, text = videos[:1], None
    want = stock(model, dense(processor, *videos, text=text))
    with framegate.attach(model, processor, threshold=1.0, timestamps=None) as front_end:
        got = model(**called(processor, *videos, text=text)).logits
        assert front_end.report.kept_tokens == front_end.report.dense_tokens
        assert {"refill", "select"} <= {stage.name for stage in front_end.report.stages}
    torch.testing.assert_close(got, want, **CLOSE)


def two_videos(processor):
    content = [{"type": "video"}, {"type": "video"}, {"type": "text", "text": "Which moves?"}]
    return [processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False)]


UNEVEN = [0, 1, 10, 11, 30, 31, 65, 66]


def test_the_prompt_tells_uneven_times(name, pair):
    """Frames at these seconds: the times in the text, one a tube in order, are each of its tube."""
    model, processor = pair
    if families()[name].timestamps in ("none", "frame numbers before every frame, native"):
        pytest.skip("no times in its prompt")
    times = {"fps": 1.0, "total_num_frames": 67, "duration": 67.0, "frames_indices": UNEVEN}
    with framegate.attach(model, processor, "gate", keep_ratio=0.5, timestamps={}):
        inputs = called(processor, new_frames(), metadata=times)
    text = processor.tokenizer.decode(inputs["input_ids"][0])
    told = [int(m or 0) * 60 + float(s) for m, s in re.findall(r"(?:(\d+):)?(\d+(?:\.\d+)?)", text)]
    tube = getattr(processor.video_processor, "temporal_patch_size", 1)
    spans = [UNEVEN[start : start + tube] for start in range(0, len(UNEVEN), tube)]
    rest = iter(told)
    for span in spans:
        assert any(span[0] - 0.01 <= time <= span[-1] + 0.01 for time in rest), (span, text)


@torch.no_grad()
def test_rows_of_a_batch_say_what_they_say_alone(pair):
    model, processor = pair
    videos = moving_frames(), moving_frames(seed=1)
    with framegate.attach(model, processor, keep_ratio=0.5, tower_ratio=0.25, timestamps=None):
        together = called(processor, *videos)
        batch = model(**together).logits
        for row, video in enumerate(videos):
            alone = model(**called(processor, video)).logits[0]
            shown = together["attention_mask"][row].bool()
            torch.testing.assert_close(batch[row][shown], alone, **CLOSE)


@torch.no_grad()
def test_two_videos_in_one_prompt_are_each_brought_to_their_share(name, pair):
    model, processor = pair
    text = two_videos(processor)
    if name in ONE_VIDEO:
        with pytest.raises(ValueError, match="At most one video"):
            called(processor, moving_frames(), moving_frames(seed=1), text=text)
        return
    with framegate.attach(model, processor, keep_ratio=0.5, tower_ratio=0.25, timestamps=None) as front_end:
        inputs = called(processor, moving_frames(), moving_frames(seed=1), text=text)
        logits = model(**inputs).logits
        report = front_end.report
    assert bool(torch.isfinite(logits).all())
    assert report.kept_tokens == report.dense_tokens // 2


@torch.no_grad()
def test_the_towers_first_block_reads_fewer_rows(pair):
    model, processor = pair
    tower, rows = mechanism_of(model.model, family_of(model)).tower, []

    def count(_, args, kwargs):
        states = args[0] if args else kwargs["hidden_states"]
        rows.append(states.numel() // states.shape[-1])

    blocks = next(part for part in tower.modules() if isinstance(part, torch.nn.ModuleList))
    with blocks[0].register_forward_pre_hook(count, with_kwargs=True):
        stock(model, dense(processor, moving_frames()))
        whole = sum(rows)
        rows.clear()
        with framegate.attach(model, processor, "gate", keep_ratio=0.25) as front_end:
            model(**called(processor, moving_frames()))
            stage = front_end.report.stage("gate")
    assert stage.patches_out <= 0.5 * stage.patches_in
    assert 0 < sum(rows) <= 0.5 * whole


@torch.no_grad()
def test_detached_both_are_stock(pair):
    model, processor = pair
    inputs = called(processor, moving_frames(), own=False)
    want = model(**inputs).logits
    framegate.attach(model, processor, keep_ratio=0.5).detach()
    after = called(processor, moving_frames(), own=False)
    assert after.keys() == inputs.keys()
    assert torch.equal(model(**after).logits, want)
    new = new_words(model)
    assert torch.equal(model.generate(**after, **new), model.generate(**inputs, **new))


@torch.no_grad()
def test_a_saved_folder_opens_attached_and_as_the_dense_model(pair, tmp_path):
    from transformers import AutoModelForImageTextToText

    from framegate.models.auto import AutoModelForImageTextToText as AutoAttached

    model, processor = pair
    inputs = called(processor, moving_frames(), own=False)
    want = model(**inputs).logits
    with framegate.attach(model, processor, "gate", keep_ratio=0.5):
        gated = called(processor, moving_frames())
        short = model(**gated).logits
        model.save_pretrained(tmp_path)
    plain = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    for weight in plain.parameters():
        weight.data = weight.data.clone()  # CPUs round by where weights lie; files lay them anywhere
    assert torch.equal(plain(**inputs).logits, want)
    loaded = AutoAttached.from_pretrained(tmp_path).eval()
    assert framegate.front_end_of(loaded).config.keep_ratio == 0.5
    torch.testing.assert_close(loaded(**gated).logits, short, **CLOSE)


def test_a_step_of_training_reaches_tower_and_language_model(pair):
    model, processor = pair
    with framegate.attach(model, processor, "gate", keep_ratio=0.5):
        inputs = called(processor, moving_frames())
        model(**inputs, labels=inputs["input_ids"]).loss.backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    parts = {name.split(".")[1] for name in grads if name.startswith("model.")}
    assert parts & TEXT
    assert parts & set(family_of(model).tower_modules)
    assert all(bool(torch.isfinite(grad).all()) for grad in grads.values())


def linear_layers(model):
    """Whole names: short ones, as "all-linear" finds them, name other modules of a thinker as well."""
    layers = [name for name, part in model.named_modules() if type(part) is torch.nn.Linear]
    return [name for name in layers if name != "lm_head"]


def test_a_step_of_training_reaches_adapters(pair):
    from peft import LoraConfig, get_peft_model

    model, processor = pair
    wrapped = get_peft_model(
        model, LoraConfig(r=2, target_modules=linear_layers(model), init_lora_weights=False)
    )
    with framegate.attach(wrapped, processor, keep_ratio=0.5, tower_ratio=0.25, timestamps=None):
        inputs = called(processor, moving_frames())
        wrapped(**inputs, labels=inputs["input_ids"]).loss.backward()
    grads = {name: p.grad for name, p in wrapped.named_parameters() if p.grad is not None}
    assert grads
    assert all("lora_" in name and bool(torch.isfinite(grad).all()) for name, grad in grads.items())
    assert any(TEXT & set(name.split(".")) and bool(grad.any()) for name, grad in grads.items())


@torch.no_grad()
def test_anchored_context_runs_or_stands_aside_by_name(pair):
    model, processor = pair
    with framegate.attach(model, processor, "gate", keep_ratio=0.5, context="anchored") as front_end:
        logits = model(**called(processor, moving_frames())).logits
        assert torch.isfinite(logits).all()
        said = str(front_end.report.notes)
    assert "anchored" in said
    assert ("stands aside, kept cells" in said) == ("anchored" not in family_of(model).contexts)


@torch.no_grad()
@pytest.mark.parametrize("name", ["qwen2_5_vl", "llava_onevision"], indirect=True)
def test_pixels_are_read_as_processor_or_checkpoint_scaled_them(pair, tmp_path):
    """A checkpoint with a mean of its own keeps the same cells on both ways in; without files the family's is named."""
    model, processor = pair
    processor.video_processor.image_mean, processor.video_processor.image_std = (
        [0.2, 0.3, 0.4],
        [0.4, 0.3, 0.2],
    )
    frames = moving_frames()
    inputs = dense(processor, frames)
    with framegate.attach(model, processor, "gate", keep_ratio=0.4):
        want = model(**called(processor, frames)).logits
        torch.testing.assert_close(model(**inputs).logits, want, **CLOSE)
    with framegate.attach(model, None, "gate", keep_ratio=0.4) as front_end:
        model(**inputs)
        assert front_end._scaling.mean == family_of(model).image_mean
        assert "the own mean and spread" in str(front_end.report.notes)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path).eval()
    with framegate.attach(loaded, None, "gate", keep_ratio=0.4) as front_end:
        torch.testing.assert_close(loaded(**inputs).logits, want, **CLOSE)
        assert "assumed" not in str(front_end.report.notes)
