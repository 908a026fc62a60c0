"""Forward through a front end: equal to the stock model with the dropped tokens masked, in the caller's shape."""

import pytest
import torch
from gated import masked_logits, random_keeps, token_mask, with_keeps
from tiny import FAMILIES, moving_frames, stock_inputs, stock_model, stock_processor

import framegate
from framegate.errors import AttachmentError, PlaceholderError, PlanError

pytestmark = pytest.mark.floor

CLOSE = {"rtol": 0, "atol": 2e-5}


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


def batch(family, *, images=False, padding_side="left"):
    """Two rows, three videos of different sizes, one row longer than the other."""
    processor = stock_processor(family)
    processor.tokenizer.padding_side = padding_side
    videos = [[moving_frames()], [moving_frames(6, seed=1), moving_frames(4, 84, 112, seed=2)]]
    pictures = None
    if images:
        from PIL import Image

        pictures = [[], [Image.fromarray(moving_frames(1, 56, 84)[0])]]
    return stock_inputs(processor, videos, ["What moves?", "And in the second one?"], pictures)


@pytest.mark.parametrize("images", [False, True], ids=["videos", "images-beside"])
@pytest.mark.parametrize("padding_side", ["left", "right"])
@torch.no_grad()
def test_batch_equals_the_masked_full_sequence(family, images, padding_side):
    model, inputs = stock_model(family), batch(family, images=images, padding_side=padding_side)
    keeps = random_keeps(inputs, 0.4)
    want = masked_logits(model, inputs, keeps)
    with framegate.attach(model, None, "gate") as front_end:
        got = model(**with_keeps(inputs, keeps)).logits
        assert front_end.report.kept_tokens == sum(int(keep.sum()) for keep in keeps)
    assert got.shape == want.shape
    stays = token_mask(model, inputs, keeps)
    torch.testing.assert_close(got[stays], want[stays], **CLOSE)


@torch.no_grad()
def test_eager_attention_agrees(family):
    model, inputs = stock_model(family), batch(family)
    model.set_attn_implementation("eager")
    keeps = random_keeps(inputs, 0.4)
    want = masked_logits(model, inputs, keeps)
    with framegate.attach(model, None, "gate"):
        got = model(**with_keeps(inputs, keeps))
        assert got.attentions is None
        stays = token_mask(model, inputs, keeps)
        torch.testing.assert_close(got.logits[stays], want[stays], **CLOSE)


@torch.no_grad()
def test_rows_of_a_batch_equal_single_rows(family):
    processor, model = stock_processor(family), stock_model(family)
    first, second = moving_frames(), moving_frames(6, 84, 112, seed=1)
    both = stock_inputs(processor, [[first], [second]], ["What moves?", "Why does it move, do you think?"])
    keeps = random_keeps(both, 0.5)
    with framegate.attach(model, None, "gate"):
        together = model(**with_keeps(both, keeps)).logits
        alone = stock_inputs(processor, [[first]], ["What moves?"])
        single = model(**with_keeps(alone, keeps[:1])).logits
    torch.testing.assert_close(together[0, -single.shape[1] :], single[0], **CLOSE)


@torch.no_grad()
def test_the_identity_is_bit_equal(family):
    model, inputs = stock_model(family), batch(family)
    want = model(**inputs).logits
    front_end = framegate.attach(model, None, "gate", keep_ratio=1.0)
    assert torch.equal(model(**inputs).logits, want)
    assert "keep_ratio is 1.0" in str(front_end.report)
    front_end.detach()
    assert torch.equal(model(**inputs).logits, want)
    with framegate.attach(model, None, "dense") as front_end:
        assert torch.equal(model(**inputs).logits, want)
        assert "has no gate" in str(front_end.report)


@torch.no_grad()
def test_text_and_images_pass_untouched(family):
    from PIL import Image

    processor, model = stock_processor(family), stock_model(family)
    text = stock_inputs(processor, [[]], ["No video at all."])
    picture = Image.fromarray(moving_frames(1, 56, 84)[0])
    image = stock_inputs(processor, [[]], ["A picture."], [[picture]])
    for inputs in (text, image):
        want, ids = model(**inputs).logits, model.generate(**inputs, max_new_tokens=4)
        with framegate.attach(model, None, "gate", keep_ratio=0.1):
            assert torch.equal(model(**inputs).logits, want)
            assert torch.equal(model.generate(**inputs, max_new_tokens=4), ids)


def test_loss_counts_kept_labels_alone_and_gradients_flow(family):
    model, inputs = stock_model(family), batch(family)
    keeps = random_keeps(inputs, 0.4)
    stays = token_mask(model, inputs, keeps)
    # a row's first token has no token before it: behind left padding, stock predicts it from a padding column
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
    model_grad = model.model.visual.patch_embed.proj.weight.grad
    assert model_grad is not None
    assert model_grad.abs().sum() > 0


def test_gradient_checkpointing_gives_the_same_gradients(family):
    model, inputs = stock_model(family), batch(family)
    keeps = random_keeps(inputs, 0.4)
    framegate.attach(model, None, "gate")

    def gradient():
        model.zero_grad()
        model(**with_keeps(inputs, keeps), labels=inputs["input_ids"]).loss.backward()
        return model.model.visual.patch_embed.proj.weight.grad.clone()

    model.train()
    want = gradient()
    model.gradient_checkpointing_enable()
    torch.testing.assert_close(gradient(), want, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_the_inner_model_can_be_called_directly(family):
    model, inputs = stock_model(family), batch(family)
    keeps = random_keeps(inputs, 0.4)
    with framegate.attach(model, None, "gate"):
        logits = model(**with_keeps(inputs, keeps)).logits
        states = model.base_model(**with_keeps(inputs, keeps)).last_hidden_state
        first = model.base_model(**with_keeps(inputs, keeps), return_dict=False)[0]
    torch.testing.assert_close(model.lm_head(states), logits, **CLOSE)
    assert torch.equal(first, states)


@torch.no_grad()
def test_hidden_states_and_attentions_come_in_the_callers_shape(family):
    model, inputs = stock_model(family), batch(family)
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


@pytest.mark.parametrize("with_mask", [True, False], ids=["mask", "no-mask"])
@torch.no_grad()
def test_decoding_by_hand_on_the_cache_equals_no_cache(family, with_mask):
    processor, model = stock_processor(family), stock_model(family)
    inputs = stock_inputs(processor, [[moving_frames()]], ["What moves?"])
    keeps = random_keeps(inputs, 0.4)
    extra = torch.tensor([[70, 71, 72]])
    want = masked_logits(model, inputs, keeps, extra)[:, -3:]
    with framegate.attach(model, None, "gate"):
        out = model(**with_keeps(inputs, keeps), use_cache=True)
        mask = torch.cat([inputs["attention_mask"], torch.ones(1, 1, dtype=torch.long)], 1)
        for step in range(3):
            options = {"attention_mask": mask} if with_mask else {}
            out = model(input_ids=extra[:, step : step + 1], past_key_values=out.past_key_values, **options)
            torch.testing.assert_close(out.logits[:, 0], want[:, step], **CLOSE)
            mask = torch.cat([mask, mask[:, :1]], 1)


def test_mismatches_are_refused_with_both_numbers(family):
    model, inputs = stock_model(family), batch(family)
    keeps = random_keeps(inputs, 0.4)
    gated = with_keeps(inputs, keeps)
    with framegate.attach(model, None, "gate"):
        cut = gated | {
            name: gated[name][:, :-60] for name in ("input_ids", "attention_mask", "mm_token_type_ids")
        }
        with pytest.raises(PlaceholderError, match=r"\d+ video placeholders.*= \d+ cells"):
            model(**cut)
        fewer = gated | {"pixel_values_videos": gated["pixel_values_videos"][:-4]}
        with pytest.raises(PlaceholderError, match="patches"):
            model(**fewer)
        fewer = inputs | {"pixel_values_videos": inputs["pixel_values_videos"][:-4]}
        with pytest.raises(PlaceholderError, match="patches"):
            model(**fewer)
        with pytest.raises(PlanError, match="framegate_plan has"):
            model(**gated | {"framegate_plan": gated["framegate_plan"][:-1]})
        with pytest.raises(PlanError, match="was cut"):
            model(**gated | {"framegate_notes": gated["framegate_notes"][:-1]})
        embeds = {name: value for name, value in gated.items() if name != "input_ids"}
        with pytest.raises(AttachmentError, match="input_ids"):
            model(**embeds, inputs_embeds=model.get_input_embeddings()(gated["input_ids"]))


@torch.no_grad()
def test_reuse_keeps_every_token_and_embeds_the_anchors_pixels(family):
    model, inputs = stock_model(family), batch(family)
    keeps = random_keeps(inputs, 0.4)
    for keep in keeps:
        keep[0] = True
    gated = with_keeps(inputs, keeps)
    counts = [int(grid.prod()) for grid in inputs["video_grid_thw"]]
    copied = []
    starts = iter(torch.tensor([0, *counts]).cumsum(0)[:-1].tolist())
    for keep, start in zip(keeps, starts, strict=True):
        tubes = inputs["pixel_values_videos"][start : start + keep.size * 4].view(
            len(keep), keep[0].size, 4, -1
        )
        shown = tubes.clone()
        for t in range(1, len(keep)):
            shown[t] = torch.where(torch.from_numpy(keep[t].reshape(-1, 1, 1)), tubes[t], shown[t - 1])
        copied.append(shown.reshape(keep.size * 4, -1))
    want = model(**inputs | {"pixel_values_videos": torch.cat(copied)}).logits
    with framegate.attach(model, None, "gate", mode="reuse", motion="none") as front_end:
        assert torch.equal(model(**gated).logits, want)
        assert front_end.report.kept_tokens == front_end.report.dense_tokens
