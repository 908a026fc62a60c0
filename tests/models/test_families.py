"""What every family promises, on its tiny model: one contract, found by the files of models/families."""

import inspect

import numpy as np
import pytest
import torch
import transformers
from noted import plans_of
from packaging.version import Version
from tiny import moving_frames
from transformers.video_utils import VideoMetadata

import framegate
from framegate.errors import AttachmentError, PlaceholderError, UnsupportedModelError
from framegate.models.cell_plan import whole_plan
from framegate.models.families import families, family_of, family_of_type
from framegate.models.mechanism import Encoded, mechanism_of
from framegate.models.tiny import tiny_pair
from framegate.models.video_processor import shell
from framegate.models.video_processor.sampling import stock_indices
from framegate.models.video_processor.settings import stock_values, video_settings
from framegate.models.video_tokens import VideoTokens

NAMES = sorted(
    name
    for name, family in families().items()
    if Version(transformers.__version__) >= Version(family.lowest_transformers)
)
OMNI = [name for name in NAMES if "omni" in name]
NEW = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
CLOSE = {"rtol": 0, "atol": 2e-4}
# a family's own compression of prompts would leave cells out that the tests count
OWN_COMPRESSION = "use_token_compression"


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def pair(name):
    model, processor = tiny_pair(name)
    if hasattr(processor.video_processor, OWN_COMPRESSION):
        setattr(processor.video_processor, OWN_COMPRESSION, False)
    return model, processor


def called(processor, *videos, own=True):
    """Inputs of one row a video; `own` keeps framegate's keys, which a stock model would refuse."""
    chat = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "What moves?"}]}]
    text = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    out = processor(
        text=[text] * len(videos),
        videos=[torch.from_numpy(video).permute(0, 3, 1, 2) for video in videos],
        video_metadata=[
            {"fps": 4.0, "total_num_frames": 8, "duration": 2.0, "frames_indices": list(range(8))}
            for _ in videos
        ],
        do_sample_frames=False,
        return_tensors="pt",
        padding=True,
    )
    return {k: v for k, v in out.items() if torch.is_tensor(v) and (own or not k.startswith("framegate"))}


def dense(processor, *videos):
    """Inputs as the stock processor makes them, told to be a video where the family's pixels do not say it."""
    inputs = called(processor, *videos, own=False)
    if "pixel_values_videos" not in inputs:
        inputs["framegate_video_frames"] = torch.tensor([8] * len(videos))
    return inputs


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
    extra = torch.ones(tower.extra_placeholders, dtype=torch.bool)
    mask = inputs["attention_mask"].clone()
    mask[placeholders] = torch.cat([keep, extra]).long()
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
    want = model(
        input_ids=inputs["input_ids"][:, read],
        attention_mask=mask[:, read],
        position_ids=positions if len(positions) > 1 else positions[0],
        mm_encoder_outputs=tower.media(Encoded(layers, encoded.output), tokens, call),
        use_cache=False,
    ).logits
    torch.testing.assert_close(got[shown], want[mask[:, read].bool()], **CLOSE)


def leaves_traces(model):
    """True where layers of linear attention keep a running state."""
    return "linear_attention" in (getattr(model.config.get_text_config(), "layer_types", None) or ())


def kept_cells(inputs, shapes):
    """Cells that are their own anchor, bool [N]."""
    keep = torch.from_numpy(plans_of(inputs)[0].keep)
    assert keep.shape == shapes[0]
    return keep.flatten()


def keep_plan(keep, shapes):
    from framegate.models.cell_plan import CellPlan

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
        out = model.generate(**inputs, **NEW)
        assert torch.equal(out[:, : inputs["input_ids"].shape[1]], inputs["input_ids"])
        assert torch.equal(model.generate(**inputs, **NEW, use_cache=False), out)
        beams = model.generate(**inputs, **NEW, num_beams=2)
        assert beams.shape == out.shape


@torch.no_grad()
def test_the_tower_reads_fewer_rows(pair):
    model, processor = pair
    with framegate.attach(model, processor, "gate", keep_ratio=0.25) as front_end:
        model(**called(processor, moving_frames()))
        stage = front_end.report.stage("gate")
        assert stage.patches_out <= 0.5 * stage.patches_in


@torch.no_grad()
def test_detached_both_are_stock(pair):
    model, processor = pair
    inputs = called(processor, moving_frames(), own=False)
    want = model(**inputs).logits
    framegate.attach(model, processor, keep_ratio=0.5).detach()
    after = called(processor, moving_frames(), own=False)
    assert after.keys() == inputs.keys()
    assert torch.equal(model(**after).logits, want)
    assert torch.equal(model.generate(**after, **NEW), model.generate(**inputs, **NEW))


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
    assert "language_model" in parts
    assert parts & set(family_of(model).tower_modules)
    assert all(bool(torch.isfinite(grad).all()) for grad in grads.values())


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


@pytest.mark.parametrize("name", [name for name in NAMES if not families()[name].recipe.pictures_beside])
def test_a_picture_beside_a_video_is_refused_where_both_have_one_placeholder(name, pair):
    model, processor = pair
    video = torch.from_numpy(moving_frames()).permute(0, 3, 1, 2)
    marks = families()[name].tiny
    call = {"text": [marks.image_mark + marks.video_mark], "images": [moving_frames(1)[0]], "videos": [video]}
    with (
        framegate.attach(model, processor, "gate", keep_ratio=0.5),
        pytest.raises(AttachmentError, match="two calls"),
    ):
        processor(**call, return_tensors="pt", do_sample_frames=False)


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("glm")])
def test_glm_refuses_a_picture_beside_a_video_by_name_where_stock_miscounts(pair):
    model, processor = pair
    video = torch.from_numpy(moving_frames()).permute(0, 3, 1, 2)
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "video"}]}]
    text = processor.apply_chat_template(chat, tokenize=False)
    inputs = processor(
        text=[text],
        images=[moving_frames(1)[0]],
        videos=[video],
        video_metadata=[{"fps": 4.0, "total_num_frames": 8}],
        do_sample_frames=False,
        return_tensors="pt",
    )
    with pytest.raises(ValueError, match="do not match"):
        model(**inputs)
    framegate.attach(model, None, "gate", keep_ratio=0.5)
    with pytest.raises(AttachmentError, match="one placeholder.*ask about them in two"):
        model(**inputs)


@torch.no_grad()
@pytest.mark.parametrize("has_torchvision", [True, False])
@pytest.mark.parametrize(
    ("name", "other"), [(name, other) for name in NAMES for other in families()[name].processors_of]
)
def test_checkpoints_that_came_with_the_processor_of_kin(pair, other, has_torchvision, tmp_path, monkeypatch):
    model, _ = pair
    _, processor = tiny_pair(other)
    inputs = dense(processor, moving_frames())
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    monkeypatch.setattr(shell, "torchvision_found", lambda: has_torchvision)
    loaded, gates = framegate.from_pretrained(tmp_path, front_end={"preset": "gate", "keep_ratio": 0.5})
    assert type(gates).__name__ == families()[other].recipe.processor
    short = loaded(**called(gates, moving_frames())).logits
    with framegate.attach(model, None, "gate", keep_ratio=0.5):
        torch.testing.assert_close(model(**inputs).logits, short, **CLOSE)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("glm")])
@pytest.mark.parametrize(
    ("total", "rate_fps"), [(1, 25.0), (31, 25.0), (250, 29.97), (2000, 24.0), (9000, 30.0), (80000, 24.0)]
)
def test_frames_in_memory_are_sampled_by_the_familys_own_rule(name, total, rate_fps):
    pytest.importorskip("torchvision")
    values = stock_values(name)
    stock = getattr(transformers, values["video_processor_type"])()
    of_video = VideoMetadata(total_num_frames=total, fps=rate_fps, duration=total / rate_fps)
    found = stock_indices(total, rate_fps, video_settings(name, values))
    assert found.tolist() == [int(frame) for frame in stock.sample_frames(of_video)]


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("internvl", {"vision_feature_layer": -2}),
        ("internvl", {"vision_feature_select_strategy": "full"}),
        ("llava_onevision", {"vision_feature_select_strategy": "default"}),
    ],
)
def test_a_keyword_that_kept_cells_cannot_follow_is_refused_and_never_dropped(pair, other):
    model, processor = pair
    inputs = dense(processor, moving_frames())
    framegate.attach(model, None, "gate", keep_ratio=0.5)
    ((keyword, value),) = other.items()
    with pytest.raises(AttachmentError, match=f"{keyword} is {value!r}.*alone"):
        model(**inputs, **other)
    served = {"vision_feature_layer": -1, "vision_feature_select_strategy": None}
    assert torch.equal(model(**inputs, **{keyword: served[keyword]}).logits, model(**inputs).logits)


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in NAMES if "moe" in name])
def test_experts_are_balanced_over_what_the_language_model_read(pair):
    model, processor = pair
    with framegate.attach(model, processor, "gate", keep_ratio=0.5):
        inputs = called(processor, moving_frames(), moving_frames(seed=1)) | {"output_router_logits": True}
        out, trained = model(**inputs), model(**inputs, labels=inputs["input_ids"])
    assert len(out.router_logits[0]) < inputs["input_ids"].numel()
    assert torch.equal(out.aux_loss, trained.aux_loss)


def test_a_family_of_a_later_transformers_is_refused_with_the_release(monkeypatch):
    monkeypatch.setattr("transformers.__version__", "5.22.1")
    with pytest.raises(
        UnsupportedModelError, match=r"Qwen2_5OmniThinker.*from transformers 5.23 on.*5\.22\.1"
    ):
        family_of_type("qwen2_5_omni_thinker")


def heard(processor, *, within):
    """Inputs of a video with its sound, laid between its tubes or beside it."""
    sound = np.sin(np.arange(24000) / 50).astype(np.float32)
    marks = "" if within else processor.audio_bos_token + processor.audio_token + processor.audio_eos_token
    out = processor(
        text=["<|vision_start|><|video_pad|><|vision_end|>" + marks],
        videos=[torch.from_numpy(moving_frames()).permute(0, 3, 1, 2)],
        video_metadata=[{"fps": 4.0, "total_num_frames": 8}],
        audio=[sound],
        audio_from_video_indices=[0] if within else None,
        load_audio_from_video=within,
        do_sample_frames=False,
        return_tensors="pt",
    )
    inputs = {name: value for name, value in out.items() if torch.is_tensor(value)}
    return inputs | ({"use_audio_in_video": True} if within else {})


@torch.no_grad()
@pytest.mark.parametrize("within", [True, False])
@pytest.mark.parametrize("name", OMNI)
def test_sound_stays_and_is_read_where_it_was(pair, within):
    model, processor = pair
    inputs = heard(processor, within=within)
    want = model(**inputs).logits
    with framegate.attach(model, processor, "gate", keep_ratio=1.0):
        assert torch.equal(model(**heard(processor, within=within)).logits, want)
    with framegate.attach(model, None, "gate", keep_ratio=0.5):
        of_pixels = model(**inputs).logits
    with framegate.attach(model, processor, "gate", keep_ratio=0.5) as front_end:
        gated = heard(processor, within=within)
        torch.testing.assert_close(model(**gated).logits, of_pixels, **CLOSE)
        assert front_end.report.kept_tokens == front_end.report.dense_tokens // 2
        out = model.generate(**gated, **NEW)
        assert torch.equal(model.generate(**gated, **NEW, use_cache=False), out)


@pytest.mark.parametrize("name", OMNI[:1])
def test_the_sound_of_a_whole_file_does_not_go_with_a_window_of_it(pair):
    model, processor = pair
    video = {"type": "video", "video": "talk.mp4", "video_start": 1.0, "video_end": 2.0}
    chat = [{"role": "user", "content": [video]}]
    with (
        framegate.attach(model, processor, "gate", keep_ratio=0.5),
        pytest.raises(AttachmentError, match="sound of all of talk.mp4.*audio_from_video_indices"),
    ):
        processor.apply_chat_template(chat, tokenize=True, return_dict=True, load_audio_from_video=True)


@pytest.mark.parametrize("name", OMNI)
def test_seconds_of_a_tube_are_those_of_its_frames_and_stocks_guess_where_nobody_knows(name, pair):
    model, processor = pair
    with framegate.attach(model, processor, "gate", keep_ratio=0.5, timestamps=None) as front_end:
        seconds = called(processor, moving_frames())["video_second_per_grid"]
        assert seconds.tolist() == [0.5]
        video = torch.from_numpy(moving_frames()).permute(0, 3, 1, 2)
        text = ["<|vision_start|><|video_pad|><|vision_end|>"]
        out = processor(text=text, videos=[video], do_sample_frames=False, return_tensors="pt")
        assumed_fps = families()[name].recipe.assumed_fps
        assert out["video_second_per_grid"].tolist() == [2 / assumed_fps]
        model(**{name: value for name, value in out.items() if torch.is_tensor(value)})
        assert f"{assumed_fps:.0f} frames per second assumed" in str(front_end.report.notes)


@torch.no_grad()
@pytest.mark.parametrize("name", OMNI)
def test_a_thinker_without_seconds_is_told_which(pair):
    model, processor = pair
    inputs = called(processor, moving_frames())
    del inputs["video_second_per_grid"]
    framegate.attach(model, None, "gate", keep_ratio=0.5)
    with pytest.raises(PlaceholderError, match="without video_second_per_grid"):
        model(**{name: value for name, value in inputs.items() if not name.startswith("framegate")})


@torch.no_grad()
@pytest.mark.parametrize("name", ["internvl"])
def test_pictures_that_may_be_frames_are_told(pair):
    model, processor = pair
    inputs = called(processor, moving_frames(), own=False)
    front_end = framegate.attach(model, None, "gate", keep_ratio=0.5)
    model(**inputs)
    assert "8 pictures, or tiles of pictures, went the stock path" in str(front_end.report.notes)
