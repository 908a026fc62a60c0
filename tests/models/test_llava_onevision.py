"""LLaVA-OneVision through a front end: forward, training, presets."""

import pytest
import torch
from tiny import moving_frames, stock_inputs
from tiny_llava import (
    llava_batch,
    llava_inputs,
    llava_model,
    llava_processor,
    masked_logits,
    random_keeps,
    some_pictures,
    stock_call,
    token_mask,
    tower_rows,
    with_keeps,
)

import framegate

pytestmark = pytest.mark.floor

CLOSE = {"rtol": 0, "atol": 2e-5}
NEW = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}


def single(num_frames=8, seed=0):
    return llava_inputs(llava_processor(), [[moving_frames(num_frames, seed=seed)]], ["What moves?"])


@pytest.mark.parametrize("images", [False, True], ids=["videos", "images-beside"])
@pytest.mark.parametrize("padding_side", ["left", "right"])
@torch.no_grad()
def test_batch_equals_the_masked_full_sequence(images, padding_side):
    model, inputs = llava_model(), llava_batch(images=images, padding_side=padding_side)
    keeps = random_keeps(inputs, 0.4)
    want = masked_logits(model, inputs, keeps)
    with framegate.attach(model, None, "gate") as front_end:
        rows = tower_rows(model)
        gated = with_keeps(inputs, keeps)
        got = model(**gated).logits
        of_images = inputs["pixel_values"].shape[1] * 49 if images else 0
        assert sum(rows) == len(gated["pixel_values_videos"]) + of_images
        assert front_end.report.kept_tokens == sum(int(keep.sum()) for keep in keeps)
        assert front_end.report.dense_tokens == sum(keep.size for keep in keeps)
    assert got.shape == want.shape
    stays = token_mask(model, inputs, keeps)
    torch.testing.assert_close(got[stays], want[stays], **CLOSE)


@torch.no_grad()
def test_eager_attention_agrees():
    model, inputs = llava_model(), llava_batch()
    model.set_attn_implementation("eager")
    keeps = random_keeps(inputs, 0.4)
    want = masked_logits(model, inputs, keeps)
    with framegate.attach(model, None, "gate"):
        got = model(**with_keeps(inputs, keeps))
        stays = token_mask(model, inputs, keeps)
        torch.testing.assert_close(got.logits[stays], want[stays], **CLOSE)


@torch.no_grad()
def test_positions_are_counted_without_gaps_where_gaps_would_be_read_as_documents():
    from transformers import AttentionInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register("flash_stand_in", sdpa_attention_forward)
    AttentionMaskInterface.register("flash_stand_in", sdpa_mask)
    model, inputs = llava_model(), single()
    keeps, seen = random_keeps(inputs, 0.4), []
    model.model.language_model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["position_ids"]), with_kwargs=True
    )
    with framegate.attach(model, None, "gate"):
        gapped = model(**with_keeps(inputs, keeps)).logits
        model.model.language_model.config._attn_implementation = "flash_stand_in"
        counted = model(**with_keeps(inputs, keeps)).logits
        out = model.generate(**with_keeps(inputs, keeps), **NEW)
        cache = model(**with_keeps(inputs, keeps), use_cache=True).past_key_values
        model(input_ids=torch.tensor([[70, 71]]), past_key_values=cache)
    assert bool((seen[0].diff() > 1).any())
    assert bool((seen[1].diff() == 1).all())
    assert not torch.allclose(gapped, counted, atol=1e-3)
    short = seen[1].shape[1]
    assert [int(step[0, -1]) for step in seen[3:6]] == [short, short + 1, short + 2]
    assert seen[-1].tolist() == [[short, short + 1]]
    assert out.shape[1] == inputs["input_ids"].shape[1] + 4


@torch.no_grad()
def test_rows_of_a_batch_equal_single_rows():
    model = llava_model()
    first, second = moving_frames(), moving_frames(6, 84, 112, seed=1)
    both = llava_inputs(
        llava_processor(), [[first], [second]], ["What moves?", "Why does it move, do you think?"]
    )
    keeps = random_keeps(both, 0.5)
    with framegate.attach(model, None, "gate"):
        together = model(**with_keeps(both, keeps)).logits
        alone = llava_inputs(llava_processor(), [[first]], ["What moves?"])
        one = model(**with_keeps(alone, keeps[:1])).logits
    torch.testing.assert_close(together[0, -one.shape[1] :], one[0], **CLOSE)


@torch.no_grad()
def test_the_identity_is_bit_equal():
    model = llava_model()
    videos = [[moving_frames()], [moving_frames(seed=1)]]
    call = stock_call(llava_inputs(llava_processor(), videos, ["a", "Why?"], some_pictures()))
    want = model(**call).logits
    with framegate.attach(model, None, "gate", keep_ratio=1.0) as front_end:
        assert torch.equal(model(**call).logits, want)
        assert "keep_ratio is 1.0" in str(front_end.report)
        assert front_end.report.stage("tower").milliseconds > 0
    with framegate.attach(model, None, "dense") as front_end:
        assert torch.equal(model(**call).logits, want)
    assert torch.equal(model(**call).logits, want)


@torch.no_grad()
def test_kept_whole_by_a_processor_is_bit_equal_to_stock():
    model = llava_model()
    inputs = llava_inputs(
        llava_processor(), [[moving_frames()], [moving_frames(seed=1)]], ["a", "Why?"], some_pictures()
    )
    keeps = random_keeps(inputs, 2.0)
    want = model(**stock_call(inputs)).logits
    with framegate.attach(model, None, "gate") as front_end:
        assert torch.equal(model(**with_keeps(inputs, keeps)).logits, want)
        assert "Every cell was kept" in str(front_end.report)
        unlike = llava_batch(images=True)  # stock pixels cannot hold videos of unlike length
        keeps = random_keeps(unlike, 2.0)
        got = model(**with_keeps(unlike, keeps)).logits
    real = unlike["attention_mask"].bool()
    torch.testing.assert_close(got[real], masked_logits(model, unlike, keeps)[real], **CLOSE)


@torch.no_grad()
def test_stock_pixels_are_gated_to_the_budget():
    model = llava_model()
    inputs = llava_inputs(
        llava_processor(), [[moving_frames()], [moving_frames(seed=1)]], ["a", "Why?"], some_pictures()
    )
    call = stock_call(inputs)
    rows = tower_rows(model)
    with framegate.attach(model, None, "gate", keep_ratio=0.25) as front_end:
        logits = model(**call).logits
        report = front_end.report
    assert (report.dense_tokens, report.kept_tokens, report.num_videos) == (256, 64, 2)
    tower = report.stage("tower")
    assert (report.stage("gate").patches_in, tower.tokens_out) == (2 * 8 * 49, 64)
    assert sum(rows) == tower.patches_in + call["pixel_values"].shape[1] * 49
    assert logits.shape[:2] == call["input_ids"].shape


@torch.no_grad()
def test_text_and_images_pass_untouched():
    from PIL import Image

    model, processor = llava_model(), llava_processor()
    text = stock_call(llava_inputs(processor, [[]], ["No video at all."]))
    picture = Image.fromarray(moving_frames(1, 56, 84)[0])
    image = stock_call(llava_inputs(processor, [[]], ["A picture."], [[picture]]))
    for inputs in (text, image):
        want, ids = model(**inputs).logits, model.generate(**inputs, max_new_tokens=4)
        with framegate.attach(model, None, "gate", keep_ratio=0.1):
            assert torch.equal(model(**inputs).logits, want)
            assert torch.equal(model.generate(**inputs, max_new_tokens=4), ids)


@torch.no_grad()
def test_a_row_of_text_beside_a_row_with_a_video():
    model = llava_model()
    inputs = llava_inputs(llava_processor(), [[], [moving_frames()]], ["Only text here.", "What moves?"])
    keeps = random_keeps(inputs, 0.4)
    want = masked_logits(model, inputs, keeps)
    with framegate.attach(model, None, "gate"):
        got = model(**with_keeps(inputs, keeps)).logits
    stays = token_mask(model, inputs, keeps)
    torch.testing.assert_close(got[stays], want[stays], **CLOSE)


def test_loss_counts_kept_labels_alone_and_gradients_flow():
    model, inputs = llava_model(), llava_batch()
    keeps = random_keeps(inputs, 0.4)
    stays = token_mask(model, inputs, keeps)
    first = inputs["attention_mask"].cumsum(1) <= 1
    labels = inputs["input_ids"].masked_fill(first, -100)
    logits = masked_logits(model, inputs, keeps)
    short = [(row[keep], target[keep]) for row, keep, target in zip(logits, stays, labels, strict=True)]
    losses = [torch.nn.functional.cross_entropy(r[:-1], t[1:], reduction="none") for r, t in short]
    want = torch.cat(losses).mean()
    framegate.attach(model, None, "gate")
    out = model(**with_keeps(inputs, keeps), labels=labels)
    torch.testing.assert_close(out.loss, want, rtol=0, atol=1e-4)
    assert out.logits.shape[:2] == labels.shape
    out.loss.backward()
    for part in (model.model.vision_tower.embeddings, model.model.multi_modal_projector):
        assert all(weight.grad.abs().sum() > 0 for weight in part.parameters())
    assert model.model.image_newline.grad.abs().sum() > 0


def test_gradient_checkpointing_gives_the_same_gradients():
    model, inputs = llava_model(), llava_batch()
    keeps = random_keeps(inputs, 0.4)
    framegate.attach(model, None, "gate")

    def gradient():
        model.zero_grad()
        model(**with_keeps(inputs, keeps), labels=inputs["input_ids"]).loss.backward()
        return model.model.vision_tower.embeddings.patch_embedding.weight.grad.clone()

    model.train()
    want = gradient()
    model.gradient_checkpointing_enable()
    torch.testing.assert_close(gradient(), want, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_the_inner_model_can_be_called_directly():
    model, inputs = llava_model(), llava_batch()
    keeps = random_keeps(inputs, 0.4)
    with framegate.attach(model, None, "gate"):
        logits = model(**with_keeps(inputs, keeps)).logits
        states = model.base_model(**with_keeps(inputs, keeps)).last_hidden_state
        first = model.base_model(**with_keeps(inputs, keeps), return_dict=False)[0]
    torch.testing.assert_close(model.lm_head(states), logits, **CLOSE)
    assert torch.equal(first, states)


@torch.no_grad()
def test_hidden_states_and_attentions_come_in_the_callers_shape():
    model, inputs = llava_model(), llava_batch(images=True)
    model.set_attn_implementation("eager")
    keeps = random_keeps(inputs, 0.4)
    length = inputs["input_ids"].shape[1]
    with framegate.attach(model, None, "gate"):
        out = model(**with_keeps(inputs, keeps), output_hidden_states=True, output_attentions=True)
    assert {state.shape[1] for state in out.hidden_states} == {length}
    assert {weights.shape[-2:] for weights in out.attentions} == {(length, length)}
    dropped = ~token_mask(model, inputs, keeps) & inputs["attention_mask"].bool()
    for weights in out.attentions:
        assert weights.transpose(1, 3)[dropped].abs().sum() == 0


@torch.no_grad()
def test_the_calls_own_feature_layer_is_respected():
    model, inputs = llava_model(), single()
    keeps = random_keeps(inputs, 0.4)
    gated = with_keeps(inputs, keeps)
    with framegate.attach(model, None, "gate"):
        got, default = model(**gated, vision_feature_layer=-2).logits, model(**gated).logits
    assert not torch.allclose(got, default, atol=1e-3)
    model.config.vision_feature_layer = -2
    want = masked_logits(model, inputs, keeps)
    stays = token_mask(model, inputs, keeps)
    torch.testing.assert_close(got[stays], want[stays], **CLOSE)


@torch.no_grad()
def test_reuse_keeps_every_token_and_embeds_the_anchors_pixels():
    model = llava_model()
    videos = [[moving_frames()], [moving_frames(seed=1)]]
    inputs = llava_inputs(llava_processor(), videos, ["a", "Why?"])
    keeps = random_keeps(inputs, 0.4)
    for keep in keeps:
        keep[0] = True
    copied = [
        _copied(frames, torch.from_numpy(keep)) for frames, keep in zip(inputs["frames"], keeps, strict=True)
    ]
    want = model(**stock_call(inputs | {"frames": copied})).logits
    with framegate.attach(model, None, "gate", mode="reuse", motion="none") as front_end:
        assert torch.equal(model(**with_keeps(inputs, keeps)).logits, want)
        assert front_end.report.kept_tokens == front_end.report.dense_tokens


@torch.no_grad()
def test_reuse_of_videos_of_unlike_length():
    model, inputs = llava_model(), llava_batch()
    keeps = random_keeps(inputs, 0.4)
    for keep in keeps:
        keep[0] = True
    copied = [
        _copied(frames, torch.from_numpy(keep)) for frames, keep in zip(inputs["frames"], keeps, strict=True)
    ]
    whole = random_keeps(inputs, 2.0)
    want = masked_logits(model, inputs | {"frames": copied}, whole)
    with framegate.attach(model, None, "gate", mode="reuse", motion="none"):
        got = model(**with_keeps(inputs, keeps)).logits
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(got[real], want[real], **CLOSE)


def _copied(frames, keep):
    """Frames in which a patch that no kept cell reads is its last shown content; by hand, patch by patch."""
    reads = [(0, 1), (2, 3), (3, 4), (5, 6)]  # of the 7 patches a side, by the 4 cells
    shown = frames.clone()
    for t in range(1, len(frames)):
        fresh = torch.zeros(7, 7, dtype=torch.bool)
        for row, column in keep[t].nonzero().tolist():
            for y in reads[row]:
                for x in reads[column]:
                    fresh[y, x] = True
        pixels = fresh.repeat_interleave(14, 0).repeat_interleave(14, 1)
        shown[t, :, :98, :98] = torch.where(pixels, frames[t, :, :98, :98], shown[t - 1, :, :98, :98])
    return shown


@pytest.mark.parametrize("preset", sorted({*framegate.preset_names()} - {"down_scaling"}))
@torch.no_grad()
def test_every_preset_runs_both_ways(preset):
    model, processor = llava_model(), llava_processor()
    for attached in (None, processor):
        with framegate.attach(model, attached, preset) as front_end:
            inputs = stock_inputs(processor, [[moving_frames()], [moving_frames(seed=1)]], ["a", "Why?"])
            logits = model(**inputs).logits
            out = model.generate(**inputs, **NEW)
        assert logits.shape[:2] == inputs["input_ids"].shape
        assert torch.isfinite(logits).all()
        assert torch.equal(out[:, :-4], inputs["input_ids"])
        report = front_end.report
        assert 0 < report.kept_tokens <= report.dense_tokens == 256
        rows = report.stage("tower").patches_in
        assert 0 < rows < 784 if front_end.config.gates and preset != "grt_released" else rows == 784
