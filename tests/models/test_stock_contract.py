"""transformers' contract: what stock does with caches, masks, embeddings and modes of generate, and so does this."""

import copy
import warnings

import pytest
import torch
from PIL import Image
from tiny import cache_name, moving_frames, one_video, stock_inputs, stock_model, stock_processor
from tiny_llava import llava_inputs, llava_model, llava_processor, stock_call

import framegate
from framegate.errors import AttachmentError
from framegate.models.attachment.opening import open_call
from framegate.models.tiny import tiny_pair
from framegate.report import Report
from framegate.tools.training import FrontEndCallback

CACHE = cache_name()
NEW = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "llava_onevision")
CLOSE = {"rtol": 0, "atol": 1e-4}


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


def model_of(family, **settings):
    return llava_model(**settings) if family == "llava_onevision" else stock_model(family, **settings)


def inputs_of(family, videos, questions, images=None):
    if family == "llava_onevision":
        return stock_call(llava_inputs(llava_processor(), videos, questions, images))
    return stock_inputs(stock_processor(family), videos, questions, images)


def video_of(family, seed=0, frames=6):
    return inputs_of(family, [[moving_frames(frames, seed=seed)]], ["And now?"])


def text_of(family, text="Hello there"):
    return inputs_of(family, [[]], [text])


def joined(*parts):
    """One call of several turns: what lies along the sequence joined, media in order."""
    along = ("input_ids", "attention_mask", "mm_token_type_ids")
    names = dict.fromkeys(name for part in parts for name in part)
    return {
        name: torch.cat([part[name] for part in parts if name in part], 1 if name in along else 0)
        for name in names
    }


def attached(family, **settings):
    model = model_of(family)
    front_end = framegate.attach(model, None, "gate", **({"keep_ratio": 0.4} | settings))
    return model, front_end


@torch.no_grad()
@pytest.mark.parametrize("mask", ["none", "new", "whole"])
def test_a_video_after_a_cached_prefix_of_text(family, mask):
    """Its mask and its positions go on from what is cached."""
    (model, _), text, video = attached(family), text_of(family), video_of(family)
    whole = joined(text, video)
    want = model(**whole).logits[:, -1]
    cache = model(**text, use_cache=True)[CACHE]
    masks = {"none": None, "new": video["attention_mask"], "whole": whole["attention_mask"]}
    out = model(**(video | {"attention_mask": masks[mask]}), **{CACHE: cache})
    torch.testing.assert_close(out.logits[:, -1], want, **CLOSE)
    assert out.logits.shape[1] == video["input_ids"].shape[1]
    # and on from there: the map on the cache covers the prefix too
    token = torch.tensor([[70]])
    later = joined(whole, {"input_ids": token, "attention_mask": token * 0 + 1})
    if "mm_token_type_ids" in whole:
        later["mm_token_type_ids"] = torch.cat([whole["mm_token_type_ids"], token.to(torch.int32) * 0], 1)
    want = model(**later).logits[:, -1]
    torch.testing.assert_close(model(input_ids=token, **{CACHE: out[CACHE]}).logits[:, -1], want, **CLOSE)


@torch.no_grad()
def test_the_prefix_of_a_row_may_be_padded(family):
    (model, _), texts = attached(family), inputs_of(family, [[], []], ["Hello there", "Hi"])
    videos = inputs_of(family, [[moving_frames(6)], [moving_frames(6, seed=1)]], ["And now?", "What?"])
    cache = model(**texts, use_cache=True)[CACHE]
    mask = torch.cat([texts["attention_mask"], videos["attention_mask"]], 1)
    got = model(**(videos | {"attention_mask": mask}), **{CACHE: cache}).logits[:, -1]
    for row, (seed, text, question) in enumerate([(0, "Hello there", "And now?"), (1, "Hi", "What?")]):
        one = joined(text_of(family, text), inputs_of(family, [[moving_frames(6, seed=seed)]], [question]))
        torch.testing.assert_close(got[row : row + 1], model(**one).logits[:, -1], **CLOSE)


@torch.no_grad()
def test_generate_goes_on_from_a_cached_prefix(family):
    (model, _), text, video = attached(family), text_of(family), video_of(family)
    whole = joined(text, video)
    want = model.generate(**whole, **NEW)
    cache = model(**text, use_cache=True)[CACHE]
    got = model.generate(**whole, **{CACHE: copy.deepcopy(cache)}, **NEW)
    assert torch.equal(got, want)
    new = video | {"attention_mask": whole["attention_mask"]}
    got = model.generate(**new, **{CACHE: copy.deepcopy(cache)}, **NEW)
    assert torch.equal(got[:, -4:], want[:, -4:])
    assert torch.equal(got[:, :-4], video["input_ids"])


@torch.no_grad()
def test_a_second_video_may_follow_a_compressed_one(family):
    (model, _), first, second = attached(family), video_of(family), video_of(family, seed=1)
    whole = joined(first, second)
    want = model(**whole, output_hidden_states=True)
    cache = model(**first, use_cache=True)[CACHE]
    out = model(**second, **{CACHE: cache}, output_hidden_states=True)
    start = first["input_ids"].shape[1]
    torch.testing.assert_close(out.logits, want.logits[:, start:], **CLOSE)
    torch.testing.assert_close(out.hidden_states[1], want.hidden_states[1][:, start:], **CLOSE)
    ids = torch.cat([whole["input_ids"], torch.tensor([[70, 71]])], 1)
    got = model.generate(input_ids=ids, **{CACHE: copy.deepcopy(out[CACHE])}, **NEW)
    zeros = torch.zeros(1, 2, dtype=torch.int32)
    grown = whole | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if "mm_token_type_ids" in whole:
        grown["mm_token_type_ids"] = torch.cat([whole["mm_token_type_ids"], zeros], 1)
    assert torch.equal(got, model.generate(**grown, **NEW))


def test_a_second_video_of_generate_follows_the_first_answer(family):
    (model, _), first, second = attached(family), video_of(family), video_of(family, seed=1)
    out = model.generate(**first, **NEW, return_dict_in_generate=True)
    answer = {"input_ids": out.sequences[:, -4:]}
    answer |= {"attention_mask": torch.ones_like(answer["input_ids"])}
    if "mm_token_type_ids" in first:
        answer["mm_token_type_ids"] = torch.zeros_like(answer["input_ids"])
    whole = joined(first, answer, second)
    want = model.generate(**whole, **NEW)
    media = {name: value for name, value in second.items() if name not in answer}
    got = model.generate(
        input_ids=whole["input_ids"],
        attention_mask=whole["attention_mask"],
        **media,
        **{CACHE: out[CACHE]},
        **NEW,
    )
    assert torch.equal(got, want)


@torch.no_grad()
def test_a_picture_may_follow_a_compressed_video(family):
    model, _ = attached(family)
    picture = [[Image.fromarray(moving_frames(1, 56, 84)[0])]]
    first, second = video_of(family), inputs_of(family, [[]], ["Same?"], picture)
    whole = joined(first, second)
    want = model(**whole).logits
    cache = model(**first, use_cache=True)[CACHE]
    got = model(**second, **{CACHE: copy.deepcopy(cache)}).logits
    torch.testing.assert_close(got, want[:, first["input_ids"].shape[1] :], **CLOSE)
    want = model.generate(**whole, **NEW)
    call = second | {name: whole[name] for name in ("input_ids", "attention_mask")}
    call.pop("mm_token_type_ids", None)
    assert torch.equal(model.generate(**call, **{CACHE: cache}, **NEW), want)


@torch.no_grad()
def test_a_compressed_video_may_follow_a_picture_that_stock_placed(family):
    model, _ = attached(family)
    picture = [[Image.fromarray(moving_frames(1, 56, 84)[0])]]
    first, second = inputs_of(family, [[]], ["This?"], picture), video_of(family)
    want = model(**joined(first, second)).logits[:, -1]
    cache = model(**first, use_cache=True)[CACHE]
    names = ("input_ids", "mm_token_type_ids", "image_grid_thw", "attention_mask")
    if family != "llava_onevision":
        places = model.base_model.get_rope_index(**{name: first[name] for name in names})[0]
        placed = model(**first, position_ids=places, use_cache=True)[CACHE]
        torch.testing.assert_close(model(**second, **{CACHE: placed}).logits[:, -1], want, **CLOSE)
    # what the stock model remembers of its last prompt is of another conversation by now
    model(**inputs_of(family, [[]], ["Others?"], [[Image.fromarray(moving_frames(1, 112, 112)[0])]]))
    torch.testing.assert_close(model(**second, **{CACHE: cache}).logits[:, -1], want, **CLOSE)


def test_pixels_that_the_cache_has_seen_are_refused(family):
    (model, _), video = attached(family), video_of(family)
    out = model.generate(**video, **NEW, return_dict_in_generate=True)
    ids = torch.cat([out.sequences, torch.tensor([[70, 71, 72]])], 1)
    with pytest.raises(AttachmentError, match="past_key_values.*has seen"):
        model.generate(**(video | {"input_ids": ids, "attention_mask": ids * 0 + 1}), **{CACHE: out[CACHE]})


MOVES = {
    "reorder": (lambda cache: cache.reorder_cache(torch.tensor([2, 0, 1])), [2, 0, 1]),
    "repeat": (lambda cache: cache.batch_repeat_interleave(2), [0, 0, 1, 1, 2, 2]),
    "select": (lambda cache: cache.batch_select_indices(torch.tensor([2, 1])), [2, 1]),
}


@torch.no_grad()
@pytest.mark.parametrize("move", list(MOVES))
@pytest.mark.parametrize("padding_side", ["left", "right"])
def test_the_map_on_a_cache_follows_its_rows(family, move, padding_side):
    if family == "llava_onevision":
        processor = llava_processor()
        processor.tokenizer.padding_side = padding_side
        make = lambda *call: stock_call(llava_inputs(processor, *call))  # noqa: E731
    else:
        processor = stock_processor(family)
        processor.tokenizer.padding_side = padding_side
        make = lambda *call: stock_inputs(processor, *call)  # noqa: E731
    model, _ = attached(family)
    videos = [[moving_frames(6, seed=seed)] for seed in range(3)]
    inputs = make(videos, ["What moves in it?", "Why?", "And how fast?"])
    moved, order = MOVES[move]
    token = torch.tensor([[70], [71], [72]])
    cache = model(**inputs, use_cache=True)[CACHE]
    mask = torch.cat([inputs["attention_mask"], torch.ones_like(token)], 1)
    still = model(input_ids=token, attention_mask=mask, **{CACHE: copy.deepcopy(cache)}).logits
    moved(cache)
    got = model(input_ids=token[order], attention_mask=mask[order], **{CACHE: cache}).logits
    torch.testing.assert_close(got, still[order], **CLOSE)


@torch.no_grad()
def test_rows_that_cannot_be_told_are_refused(family):
    model, _ = attached(family)
    inputs = inputs_of(family, [[moving_frames(6)], [moving_frames(6, seed=1)]], ["ab", "cd"])
    cache = model(**inputs, use_cache=True)[CACHE]
    layer = cache.layers[-1]
    layer.keys = layer.keys + 1
    with pytest.raises(AttachmentError, match="Row 0 of past_key_values"):
        model(input_ids=torch.tensor([[70], [71]]), **{CACHE: cache})
    layer.keys = layer.keys[:, :, :3]
    with pytest.raises(AttachmentError, match="DynamicCache that does not show its keys"):
        model(input_ids=torch.tensor([[70], [71]]), **{CACHE: cache})


@torch.no_grad()
def test_attentions_of_generate_come_in_the_callers_columns(family):
    model, _ = attached(family)
    model.set_attn_implementation("eager")
    video = video_of(family)
    width = video["input_ids"].shape[1]
    options = {"return_dict_in_generate": True, "output_attentions": True}
    out = model.generate(**video, **NEW, **options)
    want = model(**video, output_attentions=True).attentions
    torch.testing.assert_close(out.attentions[0], want, **CLOSE)
    cache = model(**video, use_cache=True)[CACHE]
    for step, weights in enumerate(out.attentions[1:]):
        token = out.sequences[:, width + step : width + step + 1]
        by_hand = model(input_ids=token, **{CACHE: cache}, output_attentions=True).attentions
        assert {tuple(layer.shape[2:]) for layer in weights} == {(1, width + step + 1)}
        torch.testing.assert_close(weights, by_hand, **CLOSE)
        dropped = want[0][0, 0, -1] == 0
        assert bool(dropped.any())
        assert not bool(weights[0][..., :width][..., dropped].any())
    beams = model.generate(**video, **NEW, **options, num_beams=2)
    assert beams.attentions[0][0].shape[2:] == (width, width)
    assert beams.attentions[-1][0].shape == (2, *out.attentions[-1][0].shape[1:])


@torch.no_grad()
@pytest.mark.parametrize("attach_first", [True, False])
def test_a_tower_that_accelerate_offloads(family, attach_first):
    """Its weights are on no device until its modules run; labels go through the hooks too."""
    from accelerate import cpu_offload

    video = video_of(family)
    (model, _), offloaded = attached(family), model_of(family)
    if attach_first:
        framegate.attach(offloaded, None, "gate", keep_ratio=0.4)
    cpu_offload(offloaded, execution_device=torch.device("cpu"))
    if not attach_first:
        framegate.attach(offloaded, None, "gate", keep_ratio=0.4)
    got, want = (one(**video, labels=video["input_ids"]) for one in (offloaded, model))
    assert torch.equal(got.logits, want.logits)
    assert torch.equal(got.loss, want.loss)
    assert torch.equal(offloaded.generate(**video, **NEW), model.generate(**video, **NEW))


def test_a_front_ends_own_parameters_may_be_offloaded(tmp_path):
    from accelerate import cpu_offload

    model, video = model_of("qwen2_5_vl"), video_of("qwen2_5_vl")
    front_end = framegate.attach(model, None, "kffocus", keep_ratio=0.5)
    front_end.module.time_gate.data.fill_(0.5)
    with torch.no_grad():
        want = model(**video).logits
        cpu_offload(model, execution_device=torch.device("cpu"))
        assert front_end.module.time_gate.is_meta
        assert torch.equal(model(**video).logits, want)
    assert front_end.state_dict()["spatiotemporal.time_gate"] == 0.5
    front_end.save_pretrained(tmp_path)
    again = framegate.attach(model_of("qwen2_5_vl"), None, tmp_path)
    assert again.module.time_gate == 0.5


def test_internvls_offloaded_tower_reads_its_own_positions():
    from accelerate import cpu_offload

    (model, processor), (offloaded, _) = tiny_pair("internvl"), tiny_pair("internvl")
    framegate.attach(model, processor, "gate", keep_ratio=0.4)
    inputs = one_video(processor, moving_frames())
    cpu_offload(offloaded, execution_device=torch.device("cpu"))
    framegate.attach(offloaded, None, "gate", keep_ratio=0.4)
    with torch.no_grad():
        assert torch.equal(offloaded(**inputs).logits, model(**inputs).logits)


@torch.no_grad()
@pytest.mark.parametrize("keep_ratio", [1.0, 0.4])
def test_placeholders_under_mask_0_keep_their_features(keep_ratio):
    """Stock puts features in by number, hidden or not; the mask hides them from the rest alone."""
    picture = [[Image.fromarray(moving_frames(1, 56, 84)[0])]]
    inputs = inputs_of("llava_onevision", [[moving_frames(6)]], ["What moves?"], picture)
    ids, mask = inputs["input_ids"][0], inputs["attention_mask"].clone()
    model = llava_model()
    for token in (model.config.video_token_id, model.config.image_token_id):
        first = int((ids == token).nonzero()[0])
        mask[:, first + 2 : first + 7] = 0
    whole = model(**(inputs | {"attention_mask": mask})).logits
    framegate.attach(model, None, "gate", keep_ratio=keep_ratio)
    out = model(**(inputs | {"attention_mask": mask}), use_cache=True)
    assert torch.isfinite(out.logits).all()
    token = torch.tensor([[70]])
    later = torch.cat([inputs["input_ids"], token], 1), torch.cat([mask, torch.ones_like(token)], 1)
    want = model(**(inputs | {"input_ids": later[0], "attention_mask": later[1]})).logits[:, -1]
    if keep_ratio == 1.0:
        assert torch.equal(out.logits, whole)
        return
    got = model(input_ids=token, attention_mask=later[1], **{CACHE: out[CACHE]}).logits[:, -1]
    torch.testing.assert_close(got, want, **CLOSE)
    # what is hidden can hold anything
    other = inputs | {"attention_mask": mask, "input_ids": inputs["input_ids"].clone()}
    assert torch.equal(model(**other).logits[:, -1], out.logits[:, -1])


def test_refusals_name_tensors_without_comparing_them(family):
    model, _ = attached(family)
    video = video_of(family)
    embeds = model.get_input_embeddings()(video["input_ids"])
    with pytest.raises(AttachmentError, match="inputs_embeds"):
        model.generate(**video, inputs_embeds=embeds, **NEW)
    with pytest.raises(AttachmentError, match="inputs_embeds"):
        model(**{name: value for name, value in video.items() if name != "input_ids"}, inputs_embeds=embeds)
    with pytest.raises(AttachmentError, match=r"attention_mask is \(1, 1, 4, 4\).*keep_ratio=1.0"):
        model(**(video | {"attention_mask": torch.zeros(1, 1, 4, 4)}))


@torch.no_grad()
def test_a_generation_configuration_is_merged_with_the_models_own(family):
    """A value that the given one leaves open is the model's, as in stock."""
    from transformers import GenerationConfig

    model, video = model_of(family), video_of(family)
    width = video["input_ids"].shape[1]
    model.generation_config.eos_token_id = None
    model.generation_config.max_length = width + 5
    given = GenerationConfig(do_sample=False)
    want = model.generate(**video, generation_config=given).shape[1]
    framegate.attach(model, None, "gate", keep_ratio=0.4)
    assert model.generate(**video, generation_config=given).shape[1] == want == width + 5
    assert (
        model.generate(**video, generation_config=GenerationConfig(max_length=width + 2)).shape[1]
        == width + 2
    )
    model.generation_config.token_healing = True
    with pytest.raises(AttachmentError, match="token_healing"):
        model.generate(**video, generation_config=given)


@torch.no_grad()
def test_at_ratio_1_whatever_stock_takes_is_taken(family):
    video = video_of(family)
    ids = video["input_ids"]
    rest = {name: value for name, value in video.items() if name != "input_ids"}
    embeds = model_of(family).get_input_embeddings()(ids)
    width = ids.shape[1]
    mask = torch.full((1, 1, width, width), torch.finfo(torch.float32).min).triu(1)
    places = torch.arange(width)[None]
    if family != "llava_onevision":
        names = ("input_ids", "mm_token_type_ids", "video_grid_thw", "attention_mask")
        places = model_of(family).base_model.get_rope_index(**{name: video[name] for name in names})[0]
    text = text_of(family)
    whole = joined(text, video)
    features = {"pixel_values_videos": video["pixel_values_videos"]}
    if "video_grid_thw" in video:
        features["video_grid_thw"] = video["video_grid_thw"]

    def answers(model):
        cache = model(**text, use_cache=True)[CACHE]
        yield model(**rest, inputs_embeds=embeds).logits
        yield model.generate(**video, inputs_embeds=embeds, **NEW)
        yield model(**(video | {"attention_mask": mask, "position_ids": places})).logits
        yield model(**(video | {"attention_mask": None}), **{CACHE: copy.deepcopy(cache)}).logits
        masked = video | {"attention_mask": whole["attention_mask"]}
        if family == "llava_onevision":  # get_rope_index of the others takes no such mask
            yield model(**masked, **{CACHE: copy.deepcopy(cache)}).logits
        yield model.generate(**whole, **{CACHE: cache}, **NEW)
        yield torch.cat(list(model.get_video_features(**features, return_dict=True).pooler_output))
        yield model(**video, output_hidden_states=True).hidden_states[-1]

    # each on a model of its own: the stock one remembers where the positions of its last prompt ended
    want, model = list(answers(model_of(family))), model_of(family)
    with framegate.attach(model, None, "gate", keep_ratio=1.0):
        got = list(answers(model))
    assert all(torch.equal(one, other) for one, other in zip(got, want, strict=True))
    with framegate.attach(model, None, "gate", keep_ratio=0.4):
        found = torch.cat(list(model.get_video_features(**features, return_dict=True).pooler_output))
    assert torch.equal(found, want[-2])


def test_an_assistant_drafts_on_the_compressed_prompt(family):
    model, _ = attached(family)
    video, draft = video_of(family), model_of(family, seed=1)
    want = model.generate(**video, **NEW)
    assert torch.equal(model.generate(**video, **NEW, assistant_model=draft), want)
    assert torch.equal(model.generate(**video, **NEW, assistant_model=attached(family)[0]), want)


def test_modes_of_generate_that_cannot_be_translated_are_refused_by_name(family):
    model, _ = attached(family)
    video, ids = video_of(family), torch.tensor([[70, 71]])
    for name, value in (
        ("prompt_lookup_num_tokens", 2),
        ("guidance_scale", 1.5),
        ("negative_prompt_ids", ids),
    ):
        with pytest.raises(AttachmentError, match=f"{name}.*keep_ratio=1.0"):
            model.generate(**video, **NEW, **{name: value})


def test_labels_count_rightly_past_the_outer_hook(family):
    """A trainer may call `model.forward` itself, or the class's: hooks of the model do not run then."""
    model, _ = attached(family)
    video = video_of(family)
    labels = video["input_ids"].clone()
    want = model(**video, labels=labels).loss
    dense = model_of(family)(**video, labels=labels).loss
    assert not torch.equal(want, dense)
    for forward in (model.forward, lambda **call: type(model).forward(model, **call)):
        assert torch.equal(forward(**video, labels=labels).loss, want)
        shifted = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=-100)
        assert torch.equal(forward(**video, labels=labels, shift_labels=shifted).loss, want)
    text = text_of(family)
    plain = model_of(family)(**text, labels=text["input_ids"]).loss
    assert torch.equal(model.forward(**text, labels=text["input_ids"]).loss, plain)


@torch.no_grad()
@pytest.mark.parametrize("name", ["qwen2_vl", "llava_onevision"])
def test_at_ratio_1_a_whole_graph_compiles(name):
    """Of text, as the stock model's does: with a video stock's own graph breaks in its tower."""
    torch._dynamo.reset()
    model, text = model_of(name), text_of(name)
    want = model(**text).logits
    with framegate.attach(model, None, "gate", keep_ratio=1.0) as front_end:
        whole = torch.compile(model.forward, backend="eager", fullgraph=True)
        torch.testing.assert_close(whole(**text).logits, want, **CLOSE)
        # a budget of a while is not lost in a graph that was made before
        with front_end.override(keep_ratio=0.4), pytest.raises(torch._dynamo.exc.Unsupported):
            whole(**text)
        torch.testing.assert_close(whole(**text).logits, want, **CLOSE)
    torch._dynamo.reset()


@torch.no_grad()
def test_continuous_batching_passes_and_is_refused_for_a_video():
    """Its cache is pages of many prompts: it has no length, and holds no prompt that could have been compressed."""
    model, _ = attached("qwen2_vl")
    text, video, pages = text_of("qwen2_vl"), video_of("qwen2_vl"), object()
    seen = []
    model.base_model.language_model.register_forward_pre_hook(
        lambda _, args, kwargs: (args, kwargs | {CACHE: seen.append(kwargs[CACHE])}), with_kwargs=True
    )
    out = model(**text | {"position_ids": torch.arange(text["input_ids"].shape[1])[None]}, **{CACHE: pages})
    assert seen == [pages]
    assert torch.isfinite(out.logits).all()
    with pytest.raises(AttachmentError, match="paged.*ids alone"):
        model.generate(**video, cache_implementation="paged", **NEW)


def test_every_parameter_of_a_front_end_can_be_sharded(tmp_path):
    """FSDP2 cuts parameters along their first dimension; a file from before has gates without any."""
    from safetensors.torch import load_file, save_file

    front_end = framegate.attach(model_of("qwen2_vl"), None, "kffocus", keep_ratio=0.5)
    assert front_end.module is not None
    assert all(weight.ndim for weight in front_end.modules.parameters())
    front_end.module.time_gate.data.fill_(0.5)
    front_end.save_pretrained(tmp_path)
    file = tmp_path / "front_end.safetensors"
    old = {
        name.replace("out_proj_", "out_proj."): weight[0].clone() if name.endswith("gate") else weight
        for name, weight in load_file(file).items()
    }
    save_file(old, file)
    again = framegate.attach(model_of("qwen2_vl"), None, tmp_path)
    assert again.module.time_gate.tolist() == [0.5]
    for name, weight in front_end.module.state_dict().items():
        assert torch.equal(again.module.state_dict()[name], weight)


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "out_proj"]])
def test_peft_after_attach_leaves_the_front_end_alone_and_frozen_parameters_are_told(targets):
    from peft import LoraConfig, get_peft_model

    model, video = model_of("llava_onevision"), video_of("llava_onevision")
    front_end = framegate.attach(model, None, "kffocus", keep_ratio=0.5)
    names = set(dict(front_end.modules.named_parameters()))
    wrapped = get_peft_model(model, LoraConfig(target_modules=targets, r=2))
    assert set(dict(front_end.modules.named_parameters())) == names
    wrapped.train()
    with pytest.warns(UserWarning, match="do not learn.*get_peft_model"):
        wrapped(**video, labels=video["input_ids"]).loss.backward()
    assert any("do not learn" in note for note in front_end.report.notes)
    front_end.modules.requires_grad_(True)
    with pytest.warns(UserWarning, match=r"writes the adapter alone: .*save_pretrained.*modules_to_save"):
        wrapped(**video, labels=video["input_ids"]).loss.backward()
    assert any("writes the adapter alone" in note for note in front_end.report.notes)
    # whoever sees to that is not told
    FrontEndCallback(front_end)
    wrapped(**video, labels=video["input_ids"]).loss.backward()
    assert not any("writes the adapter alone" in note for note in front_end.report.notes)
    assert not any("do not learn" in note for note in front_end.report.notes)
    assert front_end.module.time_gate.grad is not None


@torch.no_grad()
def test_placeholders_without_their_video_are_told(family):
    """As trainers make them that pass a video to generate alone."""
    model, front_end = attached(family)
    inputs = video_of(family)
    without = {key: inputs[key] for key in ("input_ids", "attention_mask")}
    with pytest.warns(UserWarning, match="hold placeholders of a video, but the call brings none"):
        model(**without)
    assert any("hold placeholders of a video" in note for note in front_end.report.notes)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model(**inputs)
        model(**text_of(family))
        model.generate(**inputs, **NEW)
        assert not any("hold placeholders of a video" in note for note in front_end.report.notes)
        with front_end.override(keep_ratio=1.0):
            model(**without)


def test_placeholders_are_not_read_within_a_call_where_they_are_on_a_device(family):
    """Ids without values stand for those on a GPU: whoever asks for a value makes the host wait, here an error."""
    _, front_end = attached(family)
    ids = video_of(family)["input_ids"].to("meta")
    call = open_call(front_end._attached, {"input_ids": ids}, Report(preset="none"))
    assert call.lacks_video.device.type == "meta"


@torch.no_grad()
def test_a_picture_where_frames_are_pictures_lacks_no_video(recwarn):
    model, processor = tiny_pair("internvl")
    block = {"type": "image", "image": Image.fromarray(moving_frames(1, 112, 112)[0])}
    content = [block, {"type": "text", "text": "What?"}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=True, return_dict=True, return_tensors="pt"
    )
    want = model(**inputs).logits
    with framegate.attach(model, processor, "gate", keep_ratio=0.4) as front_end:
        assert torch.equal(model(**inputs).logits, want)
        assert not [note for note in front_end.report.notes if "placeholders of a video" in note]
    assert not [one for one in recwarn if "placeholders of a video" in str(one.message)]
